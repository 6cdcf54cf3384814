//! How few sequential steps of a second-order scheme give images of the same quality.

use super::equal_error::Setting;
use super::network::Network;
use ndarray::{Array2, Axis};
use piadm::quality::{Estimate, frechet_diagonal, sliced_wasserstein};
use piadm::{BoxError, Cpu, Grid, Ou, Problem, Sampler, Scheme, Sequential, sampler::Dynamics};
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
    pub steps: usize,
    /// Sliced Wasserstein.
    pub sliced: Estimate,
    /// Fréchet with independent pixels.
    pub frechet: Estimate,
}

/// Quality of long runs of the first-order scheme and of short ones of the second-order scheme.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Quality {
    pub dynamics: Dynamics,
    pub samples: usize,
    pub reference_steps: usize,
    /// The scheme that is sampled in parallel.
    pub first_order: Vec<Distance>,
    pub second_order: Vec<Distance>,
}

/// DPM-Solver++(2M), or its SDE variant.
pub fn second_order(dynamics: Dynamics) -> Scheme {
    match dynamics {
        Dynamics::Sde => Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: false },
        _ => Scheme::DpmSolverPp2M { lower_order_final: false },
    }
}

/// The same problem with the second-order scheme.
pub fn short(setting: Setting, dim: usize) -> Result<Problem<Cpu<f32>>, BoxError> {
    let grid = Grid::log_snr(setting.steps).between(8.0, 0.01);
    let shape = (setting.samples, dim);
    Ok(Problem::on(Cpu::new(), Ou, grid, second_order(setting.dynamics))
        .samples(shape.0)
        .shape([shape.1])
        .seed(setting.seed))
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
        let other = Setting { seed: setting.seed + 1000, steps: reference_steps, ..setting };
        let reference = sample(network, &short(other, dim)?, setting.samples)?;
        let mut distance = |problem: &Problem<Cpu<f32>>, steps| -> Result<Distance, BoxError> {
            let x = sample(network, problem, setting.samples)?;
            Ok(Distance {
                steps,
                sliced: sliced_wasserstein(x.view(), reference.view(), DIRECTIONS, setting.seed)?,
                frechet: frechet_diagonal(x.view(), reference.view())?,
            })
        };
        let (mut first_order, mut second_order) = (Vec::new(), Vec::new());
        for &steps in steps {
            first_order.push(distance(&Setting { steps, ..setting }.problem(dim)?, steps)?);
        }
        for steps in FEW {
            second_order.push(distance(&short(Setting { steps, ..setting }, dim)?, steps)?);
        }
        let Setting { dynamics, samples, .. } = setting;
        Ok(Quality { dynamics, samples, reference_steps, first_order, second_order })
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
