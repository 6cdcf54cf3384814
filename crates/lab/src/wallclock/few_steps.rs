//! How few sequential steps of a second-order scheme give images of the same quality.

use crate::equal_error::Setting;
use ndarray::{Array2, Axis};
use networks::Network;
use piadm::quality::{Estimate, frechet_diagonal, sliced_wasserstein};
use piadm::{BoxError, Cpu, Problem, Sampler, Sequential, sampler::Dynamics};
use serde::{Deserialize, Serialize};

/// Numbers of steps that are tried.
const FEW: [usize; 9] = [5, 6, 8, 10, 12, 15, 20, 30, 50];
/// Samples of a batch.
const BATCH: usize = 64;
/// Directions of the sliced distance.
const DIRECTIONS: usize = 64;

/// Squared distances of a set of images to a set of the reference: second-order scheme, many steps, other noise.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Distance {
    /// Of the run.
    pub steps: usize,
    /// Sliced Wasserstein.
    pub sliced: Estimate,
    /// Fréchet with independent pixels.
    pub frechet: Estimate,
}

/// Quality of long runs of the first-order scheme and of short ones of the second-order scheme.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Quality {
    /// The reverse SDE or the ODE.
    pub dynamics: Dynamics,
    /// Images of a set.
    pub samples: usize,
    /// Steps of the reference.
    pub reference_steps: usize,
    /// The scheme that is sampled in parallel.
    pub first_order: Vec<Distance>,
    /// The scheme of the reference, with few steps.
    pub second_order: Vec<Distance>,
}

impl Quality {
    /// Samples `setting.samples` images for each of `steps` and for each of the few.
    pub fn measure(
        network: &mut dyn Network,
        setting: Setting,
        steps: &[usize],
        reference_steps: usize,
    ) -> Result<Self, BoxError> {
        let dim = network.dim();
        let Setting { dynamics, samples, seed, .. } = setting;
        let other = Setting { seed: seed.wrapping_add(1000), steps: reference_steps, ..setting };
        let reference = sample(network, &other.second_order(dim), samples)?;
        let mut distance = |steps, problem: fn(&Setting, usize) -> Problem<Cpu<f32>>| -> Result<_, BoxError> {
            let x = sample(network, &problem(&Setting { steps, ..setting }, dim), samples)?;
            let sliced = sliced_wasserstein(x.view(), reference.view(), DIRECTIONS, seed)?;
            Ok(Distance { steps, sliced, frechet: frechet_diagonal(x.view(), reference.view())? })
        };
        let first_order: Result<_, _> = steps.iter().map(|steps| distance(*steps, Setting::first_order)).collect();
        let second_order: Result<_, _> = FEW.into_iter().map(|steps| distance(steps, Setting::second_order)).collect();
        Ok(Quality { dynamics, samples, reference_steps, first_order: first_order?, second_order: second_order? })
    }

    /// The fewest steps whose distances are at most two errors above those of the long run.
    pub fn fewest(&self, steps: usize) -> Option<usize> {
        let long = self.first_order.iter().find(|d| d.steps == steps)?;
        let not_worse = |a: Estimate, b: Estimate| a.value <= b.value + 2.0 * a.error.hypot(b.error);
        let equal = |d: &&Distance| not_worse(d.sliced, long.sliced) && not_worse(d.frechet, long.frechet);
        self.second_order.iter().find(equal).map(|d| d.steps)
    }
}

/// Samples in batches, which bound the memory.
fn sample(network: &mut dyn Network, problem: &Problem<Cpu<f32>>, samples: usize) -> Result<Array2<f32>, BoxError> {
    let mut all = Array2::zeros((samples, network.dim()));
    for (batch, mut x) in all.axis_chunks_iter_mut(Axis(0), BATCH).enumerate() {
        let first = (batch * BATCH) as u32;
        let problem = problem.clone().samples(x.nrows()).ids(first..first + x.nrows() as u32);
        x.assign(&Sequential.sample(&problem, network)?.samples);
    }
    Ok(all)
}
