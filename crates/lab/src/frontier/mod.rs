//! Sequential schemes with few steps and parallel sampling with many on the same problem: rounds against error.

mod pareto;
mod plan;
mod show;

use crate::stats::{largest, median};
use crate::{cli::Progress, residuals::Residuals, subject::random_mixture};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
pub use pareto::{Field, MEASURES, Measure};
use piadm::quality::{Estimate, energy_distance, frechet_diagonal, sliced_wasserstein};
use piadm::{
    Acceptance, BoxError, Cpu, Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme, ScoreFn, Sequential, Solution,
    Window, backend::Real, schedule::Level, score::Mixture,
};
use plan::{PLANS, Plan};
use serde::{Deserialize, Serialize};
pub use show::{report, save_plots};
use std::{fmt, time::Instant};

/// Where the grids begin and end, in OU time.
const T_MAX: f64 = 8.0;
const T_MIN: f64 = 0.01;
/// Samples of a batch.
const BATCH: usize = 128;

/// What is sampled, by name.
pub const PROBLEMS: [&str; 4] = [PLANS[0].0, PLANS[1].0, PLANS[2].0, PLANS[3].0];

/// The schemes that compete, with their published names: three of the ODE and two of the SDE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Rival {
    #[serde(rename = "DDIM")]
    Ddim,
    #[serde(rename = "DPM-Solver++(2M)")]
    Dpm2M,
    Heun,
    #[serde(rename = "SDE-DPM-Solver++(1)")]
    Sde1,
    #[serde(rename = "SDE-DPM-Solver++(2M)")]
    Sde2M,
}

impl Rival {
    const ODE: [Rival; 3] = [Rival::Ddim, Rival::Dpm2M, Rival::Heun];
    const SDE: [Rival; 2] = [Rival::Sde1, Rival::Sde2M];

    fn scheme(self) -> Scheme {
        match self {
            Rival::Ddim => Scheme::Ddim { eta: 0.0 },
            Rival::Dpm2M => Scheme::DpmSolverPp2M { lower_order_final: false },
            Rival::Heun => Scheme::Heun {},
            Rival::Sde1 => Scheme::SdeDpmSolverPp1 { eta: 1.0 },
            Rival::Sde2M => Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: false },
        }
    }

    fn calls_per_step(self) -> usize {
        if self == Rival::Heun { 2 } else { 1 }
    }
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Window in steps and tolerance, an estimated error, of a parallel run.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Parallel {
    window: usize,
    tolerance: f64,
}

/// Rms over the elements of the difference to the reference at the last node: over all samples, of the median sample
/// and of the worst one.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PathError {
    rms: f64,
    median: f64,
    worst: f64,
}

impl PathError {
    fn new<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Self {
        let square = |(x, y): (&T, &T)| (x.wide() - y.wide()).powi(2);
        let sample = |(x, y): (ArrayView1<'_, T>, ArrayView1<'_, T>)| x.iter().zip(y).map(square).sum();
        let mut squares: Vec<f64> = x.rows().into_iter().zip(y.rows()).map(sample).collect();
        squares.sort_by(f64::total_cmp);
        let rms = |square: f64, samples: usize| (square / (samples * x.ncols()) as f64).sqrt();
        PathError {
            rms: rms(squares.iter().sum(), squares.len()),
            median: rms(median(squares.iter().copied()), 1),
            worst: rms(largest(squares), 1),
        }
    }
}

/// Distances in distribution to the reference set: energy distance, squared sliced Wasserstein-2 distance and squared
/// Fréchet distance with independent coordinates.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Law {
    energy: Estimate,
    sliced: Estimate,
    frechet: Estimate,
    /// Of mixtures, the KL divergence per coordinate of the residuals to the nearest mode from their exact law.
    kl: Option<f64>,
}

/// One setting and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    rival: Rival,
    steps: usize,
    /// `None` for sequential sampling.
    parallel: Option<Parallel>,
    /// Evaluations one after another, of the slowest of the samples whose path is measured.
    pub rounds: usize,
    /// Mean over them.
    mean_rounds: f64,
    /// Score rows per sample: the work.
    pub rows: f64,
    /// Error of the path, of runs of the ODE.
    path: Option<PathError>,
    /// Of a set, where it was measured.
    law: Option<Law>,
}

impl Run {
    /// Whether it is a parallel one.
    pub fn is_parallel(&self) -> bool {
        self.parallel.is_some()
    }
}

/// All runs on a problem.
#[derive(Debug, Serialize, Deserialize)]
pub struct Findings {
    problem: String,
    dim: usize,
    /// Samples whose paths are measured, and those of a set whose law is measured.
    samples: usize,
    law_samples: usize,
    /// Of the reference path, and its rms difference to that of half as many.
    reference_steps: usize,
    reference_error: f64,
    /// A grey level of 255 in units of the state, of networks.
    grey_level: Option<f64>,
    runs: Vec<Run>,
    seconds: f64,
}

/// Runs everything on one of [`PROBLEMS`]. `samples` overrides the number of paths.
pub fn measure(name: &str, samples: Option<usize>, seed: u64, quick: bool) -> Result<Findings, BoxError> {
    let (_, plan) = PLANS.into_iter().find(|(known, _)| *known == name).ok_or("unknown problem")?;
    let mut plan = if quick { plan.quick() } else { plan };
    plan.samples = samples.unwrap_or(plan.samples);
    let Some(dim) = plan.mixture else {
        let mut score = networks::load(name, None)?;
        let (dim, grey_level) = (score.dim(), Some(1.0 / (255.0 * f64::from(score.norm().1))));
        let findings = Bench { plan, dim, seed, mixture: None, score: &mut *score }.explore(name)?;
        return Ok(Findings { grey_level, ..findings });
    };
    let mut score = random_mixture(16, dim, 0.3, seed)?.predicting(Prediction::Data);
    let mixture = Some(score.clone());
    let score: &mut dyn ScoreFn<Cpu<f64>> = &mut score;
    Bench { plan, dim, seed, mixture, score }.explore(name)
}

/// A problem and what is tried on it.
struct Bench<'a, T: Real> {
    plan: Plan,
    dim: usize,
    seed: u64,
    mixture: Option<Mixture>,
    score: &'a mut dyn ScoreFn<Cpu<T>>,
}

impl<T: Real> Bench<'_, T> {
    fn explore(mut self, name: &str) -> Result<Findings, BoxError> {
        let (started, plan) = (Instant::now(), self.plan);
        let laws = [(Rival::Dpm2M, [Rival::Ddim, Rival::Dpm2M]), (Rival::Sde2M, Rival::SDE)];
        let progress = Progress::new(name, Rival::ODE.len() + 3 * laws.len());
        let (few, many) = ((plan.samples, self.seed), (plan.law_samples, self.seed));
        let (path, _) = self.run(Rival::Dpm2M, (plan.reference, None), few)?;
        let (half, _) = self.run(Rival::Dpm2M, (plan.reference / 2, None), few)?;
        let mut runs = Vec::new();
        for rival in Rival::ODE {
            for setting in plan.paths(rival) {
                let (x, run) = self.run(rival, setting, few)?;
                runs.push(Run { path: Some(PathError::new(x.view(), path.view())), ..run });
            }
            progress.next(&format!("paths of {rival}"));
        }
        for (best, rivals) in laws {
            // of other noise: the sets must be independent
            let other = (plan.law_samples, self.seed.wrapping_add(1000));
            let (law, _) = self.run(best, (plan.law_reference, None), other)?;
            progress.next(&format!("reference set of {best}"));
            for rival in rivals {
                for setting in plan.laws(rival) {
                    let (x, run) = self.run(rival, setting, many)?;
                    runs.push(Run { law: Some(self.law(x.view(), law.view())?), ..run });
                }
                progress.next(&format!("law of {rival}"));
            }
        }
        Ok(Findings {
            problem: name.into(),
            dim: self.dim,
            samples: plan.samples,
            law_samples: plan.law_samples,
            reference_steps: plan.reference,
            reference_error: PathError::new(path.view(), half.view()).rms,
            grey_level: None,
            runs,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    /// Samples of a seed in batches, which bound the memory: a sample does not depend on its batch. The first of them
    /// are those whose paths are measured.
    fn run(
        &mut self,
        rival: Rival,
        (steps, parallel): (usize, Option<Parallel>),
        (samples, seed): (usize, u64),
    ) -> Result<(Array2<T>, Run), BoxError> {
        let grid = Grid::log_snr(steps).between(T_MAX, T_MIN);
        let (mut all, mut rounds, mut rows) = (Array2::zeros((samples, self.dim)), Vec::new(), 0);
        for (batch, mut x) in all.axis_chunks_iter_mut(Axis(0), BATCH).enumerate() {
            let (first, size) = ((batch * BATCH) as u32, x.nrows());
            let problem = Problem::on(Cpu::new(), Ou, grid.clone(), rival.scheme()).samples(size).shape([self.dim]);
            let problem = problem.seed(seed).ids(first..first + size as u32);
            let Solution { samples, report, .. } = match parallel {
                None => Sequential.sample(&problem, self.score)?,
                Some(Parallel { window, tolerance }) => {
                    let (window, acceptance) = (Window::Steps(window), Acceptance::Error(tolerance));
                    Picard::default().window(window).acceptance(acceptance).sample(&problem, self.score)?
                }
            };
            x.assign(&samples);
            rounds.extend(if parallel.is_some() { report.sample_rounds } else { vec![report.rounds; size] });
            rows += report.score_rows;
        }
        rounds.truncate(self.plan.samples);
        let mean_rounds = rounds.iter().sum::<usize>() as f64 / rounds.len() as f64;
        let rows = rows as f64 / samples as f64;
        let rounds = rounds.into_iter().max().ok_or("there are no samples")?;
        Ok((all, Run { rival, steps, parallel, rounds, mean_rounds, rows, path: None, law: None }))
    }

    fn law(&self, x: ArrayView2<'_, T>, reference: ArrayView2<'_, T>) -> Result<Law, BoxError> {
        Ok(Law {
            energy: energy_distance(x, reference)?,
            sliced: sliced_wasserstein(x, reference, 64, self.seed)?,
            frechet: frechet_diagonal(x, reference)?,
            kl: self.mixture.as_ref().map(|mixture| Residuals::new(x, mixture, &Level::at(&Ou, T_MIN)).kl()),
        })
    }
}
