//! Sequential schemes with few steps and parallel sampling with many on the same problem: rounds against error.

use super::network;
use super::plan::Plan;
use ndarray::{Array2, ArrayView1, ArrayView2, Axis};
use ndarray_rand::RandomExt;
use ndarray_rand::rand::SeedableRng;
use piadm::quality::{Estimate, energy_distance, frechet_diagonal, sliced_wasserstein};
use piadm::{
    Acceptance, BoxError, Cpu, Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme, ScoreFn, Sequential, Solution,
    Window, backend::Real, schedule::Level, score::Mixture,
};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Where the grids begin and end, in OU time.
pub const T_MAX: f64 = 8.0;
/// See [`T_MAX`].
pub const T_MIN: f64 = 0.01;
const MODES: usize = 16;
const STD: f64 = 0.3;
const MEAN_VARIANCE: f64 = 0.91;
/// Samples of a batch.
const BATCH: usize = 128;

/// What is sampled, by name.
pub const PROBLEMS: [&str; 4] = ["mixture-64", "mixture-1024", "mlp", "unet"];

/// The schemes that compete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rival {
    /// ODE, first order.
    #[serde(rename = "DDIM")]
    Ddim,
    /// ODE, second order.
    #[serde(rename = "DPM-Solver++(2M)")]
    Dpm2M,
    /// ODE, second order, two evaluations a step.
    Heun,
    /// SDE, first order.
    #[serde(rename = "SDE-DPM-Solver++(1)")]
    Sde1,
    /// SDE, second order.
    #[serde(rename = "SDE-DPM-Solver++(2M)")]
    Sde2M,
}

impl Rival {
    /// Those of the probability-flow ODE.
    pub const ODE: [Rival; 3] = [Rival::Ddim, Rival::Dpm2M, Rival::Heun];
    /// Those of the reverse SDE.
    pub const SDE: [Rival; 2] = [Rival::Sde1, Rival::Sde2M];

    /// As published.
    pub fn name(self) -> &'static str {
        match self {
            Rival::Ddim => "DDIM",
            Rival::Dpm2M => "DPM-Solver++(2M)",
            Rival::Heun => "Heun",
            Rival::Sde1 => "SDE-DPM-Solver++(1)",
            Rival::Sde2M => "SDE-DPM-Solver++(2M)",
        }
    }

    /// Whether it solves the ODE.
    pub fn is_ode(self) -> bool {
        Rival::ODE.contains(&self)
    }

    fn scheme(self) -> Scheme {
        match self {
            Rival::Ddim => Scheme::Ddim { eta: 0.0 },
            Rival::Dpm2M => Scheme::DpmSolverPp2M { lower_order_final: false },
            Rival::Heun => Scheme::Heun {},
            Rival::Sde1 => Scheme::SdeDpmSolverPp1 { eta: 1.0 },
            Rival::Sde2M => Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: false },
        }
    }

    fn calls_a_step(self) -> usize {
        if self == Rival::Heun { 2 } else { 1 }
    }
}

/// Window in steps and tolerance of a parallel run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Parallel {
    /// Steps.
    pub window: usize,
    /// Estimated error.
    pub tolerance: f64,
}

/// Rms over the elements of the difference to the reference at the last node.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PathError {
    /// Over all samples.
    pub rms: f64,
    /// Of the median sample.
    pub median: f64,
    /// Of the worst sample.
    pub worst: f64,
}

/// Distances in distribution to the reference set; squared ones but for the energy distance.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Law {
    /// Energy distance.
    pub energy: Estimate,
    /// Sliced Wasserstein-2.
    pub sliced: Estimate,
    /// Fréchet distance with independent coordinates.
    pub frechet: Estimate,
    /// Of mixtures, the KL divergence a coordinate of the residuals to the nearest mode from their exact law.
    pub kl: Option<f64>,
}

/// One setting and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Its scheme.
    pub rival: Rival,
    /// Steps of the grid.
    pub steps: usize,
    /// `None` for sequential sampling.
    pub parallel: Option<Parallel>,
    /// Evaluations one after another, of the slowest of the samples whose path is measured.
    pub rounds: usize,
    /// Mean over them.
    pub mean_rounds: f64,
    /// Score rows a sample: the work.
    pub rows: f64,
    /// Error of the path, of runs of the ODE.
    pub path: Option<PathError>,
    /// Distance in distribution, where it was measured.
    pub law: Option<Law>,
}

/// All runs on a problem.
#[derive(Debug, Serialize, Deserialize)]
pub struct Findings {
    /// Its name.
    pub problem: String,
    /// Elements of a sample.
    pub dim: usize,
    /// Samples whose paths are measured.
    pub samples: usize,
    /// Samples of a set whose law is measured.
    pub law_samples: usize,
    /// Steps of the reference path.
    pub reference_steps: usize,
    /// Rms difference of the reference path to that of half as many steps.
    pub reference_error: f64,
    /// A grey level of 255 in units of the state, of networks.
    pub grey_level: Option<f64>,
    /// What was measured.
    pub runs: Vec<Run>,
    /// How long it took.
    pub seconds: f64,
}

/// Runs everything on a problem. `samples` overrides the number of paths.
pub fn measure(name: &str, samples: Option<usize>, seed: u64, quick: bool) -> Result<Findings, BoxError> {
    let mut plan = Plan::new(name, quick);
    plan.samples = samples.unwrap_or(plan.samples);
    let field = Field { name, plan, dim: 0, seed, mixture: None, grey_level: None };
    let dim = match name {
        "mixture-64" => 64,
        "mixture-1024" => 1024,
        _ => {
            let mut score = network::load(name, None)?;
            let (dim, grey_level) = (score.dim(), Some(1.0 / (255.0 * f64::from(score.norm().1))));
            return Field { dim, grey_level, ..field }.explore::<f32>(&mut *score);
        }
    };
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let means = Array2::random_using((MODES, dim), rand_distr::Normal::new(0.0, MEAN_VARIANCE.sqrt())?, &mut rng);
    let mut score = Mixture::new([1.0; MODES], means, [STD; MODES])?.predicting(Prediction::Data);
    let mixture = Some(score.clone());
    Field { dim, mixture, ..field }.explore::<f64>(&mut score)
}

/// A problem and what is tried on it.
struct Field<'a> {
    name: &'a str,
    plan: Plan,
    dim: usize,
    seed: u64,
    mixture: Option<Mixture>,
    grey_level: Option<f64>,
}

/// Samples, their rounds and the score rows of all.
struct Samples<T> {
    x: Array2<T>,
    rounds: Vec<usize>,
    rows: usize,
}

impl Field<'_> {
    fn explore<T: Real>(&self, score: &mut dyn ScoreFn<Cpu<T>>) -> Result<Findings, BoxError> {
        let (started, plan) = (Instant::now(), &self.plan);
        let few = (plan.samples, self.seed);
        let path = self.run(score, Rival::Dpm2M, plan.reference, few, None)?.x;
        let half = self.run(score, Rival::Dpm2M, plan.reference / 2, few, None)?.x;
        // of other noise: the sets must be independent
        let many = (plan.law_samples, self.seed + 1000);
        let mut runs = Vec::new();
        for rival in Rival::ODE {
            for &n in &plan.evaluations {
                runs.push(self.one(score, rival, n / rival.calls_a_step(), None, Some(&path), None)?);
            }
            let parallel =
                if plan.first_order || rival != Rival::Ddim { self.settings(&plan.steps) } else { Vec::new() };
            for parallel in parallel {
                runs.push(self.one(score, rival, parallel.0, Some(parallel.1), Some(&path), None)?);
            }
            self.tell(started, &format!("paths of {}", rival.name()));
        }
        let law_settings = |steps: usize| plan.law_settings.iter().map(move |p| (steps, *p));
        for (best, rivals) in [(Rival::Dpm2M, [Rival::Ddim, Rival::Dpm2M]), (Rival::Sde2M, Rival::SDE)] {
            let law = self.run(score, best, plan.law_reference, many, None)?.x;
            self.tell(started, &format!("reference set of {}", best.name()));
            for rival in rivals {
                for &n in &plan.law_evaluations {
                    runs.push(self.one(score, rival, n, None, None, Some(&law))?);
                }
                // of first order it is not in the running
                let law_steps = plan.law_steps.iter().filter(|_| rival != Rival::Ddim);
                for (steps, parallel) in law_steps.flat_map(|n| law_settings(*n)) {
                    runs.push(self.one(score, rival, steps, Some(parallel), None, Some(&law))?);
                }
                self.tell(started, &format!("law of {}", rival.name()));
            }
        }
        Ok(Findings {
            problem: self.name.into(),
            dim: self.dim,
            samples: plan.samples,
            law_samples: plan.law_samples,
            reference_steps: plan.reference,
            reference_error: path_error(path.view(), half.view()).rms,
            grey_level: self.grey_level,
            runs,
            seconds: started.elapsed().as_secs_f64(),
        })
    }

    fn tell(&self, started: Instant, what: &str) {
        eprintln!("{:<13}{:>6.0} s  {what}", self.name, started.elapsed().as_secs_f64());
    }

    /// Every setting of a parallel run; of the windows as long as the grid only the shortest.
    fn settings(&self, steps: &[usize]) -> Vec<(usize, Parallel)> {
        let mut all = Vec::new();
        for &n in steps {
            let longest = self.plan.windows.iter().position(|w| *w >= n).map_or(self.plan.windows.len(), |i| i + 1);
            for &window in &self.plan.windows[..longest] {
                all.extend(self.plan.tolerances.iter().map(|&tolerance| (n, Parallel { window, tolerance })));
            }
        }
        all
    }

    /// Samples in batches, which bound the memory: a sample does not depend on its batch.
    fn run<T: Real>(
        &self,
        score: &mut dyn ScoreFn<Cpu<T>>,
        rival: Rival,
        steps: usize,
        (samples, seed): (usize, u64),
        parallel: Option<Parallel>,
    ) -> Result<Samples<T>, BoxError> {
        let grid = Grid::log_snr(steps).between(T_MAX, T_MIN);
        let mut all = Samples { x: Array2::zeros((samples, self.dim)), rounds: Vec::new(), rows: 0 };
        for (batch, mut x) in all.x.axis_chunks_iter_mut(Axis(0), BATCH).enumerate() {
            let first = (batch * BATCH) as u32;
            let shape = (x.nrows(), self.dim);
            let problem =
                Problem::on(Cpu::new(), Ou, grid.clone(), rival.scheme()).samples(shape.0).shape([shape.1]).seed(seed);
            let problem = problem.ids(first..first + shape.0 as u32);
            let Solution { samples, report, .. } = match parallel {
                None => Sequential.sample(&problem, score)?,
                Some(Parallel { window, tolerance }) => {
                    let (window, acceptance) = (Window::Steps(window), Acceptance::Error(tolerance));
                    Picard::default().window(window).acceptance(acceptance).sample(&problem, score)?
                }
            };
            x.assign(&samples);
            all.rounds.extend(if parallel.is_some() { report.sample_rounds } else { vec![report.rounds; shape.0] });
            all.rows += report.score_rows;
        }
        Ok(all)
    }

    /// One setting, against a reference path or a reference set. The first samples of a set are those whose paths are
    /// measured.
    fn one<T: Real>(
        &self,
        score: &mut dyn ScoreFn<Cpu<T>>,
        rival: Rival,
        steps: usize,
        parallel: Option<Parallel>,
        path: Option<&Array2<T>>,
        law: Option<&Array2<T>>,
    ) -> Result<Run, BoxError> {
        let n = self.plan.samples;
        let samples = if law.is_some() { self.plan.law_samples } else { n };
        let Samples { x, rounds, rows } = self.run(score, rival, steps, (samples, self.seed), parallel)?;
        let rounds: Vec<usize> = rounds.into_iter().take(n).collect();
        Ok(Run {
            rival,
            steps,
            parallel,
            rounds: rounds.iter().copied().max().unwrap_or(0),
            mean_rounds: rounds.iter().sum::<usize>() as f64 / rounds.len() as f64,
            rows: rows as f64 / samples as f64,
            path: path.map(|reference| path_error(x.view(), reference.view())),
            law: law.map(|reference| self.law(x.view(), reference.view())).transpose()?,
        })
    }

    fn law<T: Real>(&self, x: ArrayView2<'_, T>, reference: ArrayView2<'_, T>) -> Result<Law, BoxError> {
        Ok(Law {
            energy: energy_distance(x, reference)?,
            sliced: sliced_wasserstein(x, reference, 64, self.seed)?,
            frechet: frechet_diagonal(x, reference)?,
            kl: self.mixture.as_ref().map(|mixture| residual_kl(x, mixture)),
        })
    }
}

fn path_error<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> PathError {
    let square = |(x, y): (&T, &T)| (x.wide() - y.wide()).powi(2);
    let sample = |(x, y): (ArrayView1<'_, T>, ArrayView1<'_, T>)| x.iter().zip(y).map(square).sum::<f64>();
    let mut squares: Vec<f64> = x.rows().into_iter().zip(y.rows()).map(sample).collect();
    squares.sort_by(f64::total_cmp);
    let (n, rms) = (squares.len(), |square: f64, samples: usize| (square / (samples * x.ncols()) as f64).sqrt());
    PathError {
        rms: rms(squares.iter().sum(), n),
        median: rms(0.5 * (squares[(n - 1) / 2] + squares[n / 2]), 1),
        worst: rms(squares[n - 1], 1),
    }
}

/// KL divergence of a Gaussian with the moments of the residuals to the nearest mode from their law at [`T_MIN`], N(0,
/// v): with variance ratio r, (r - 1 - ln r) / 2 + mean^2 / (2 v). Of n exact residuals it is 1/n, give or take 1/n.
fn residual_kl<T: Real>(x: ArrayView2<'_, T>, mixture: &Mixture) -> f64 {
    let level = Level::at(&Ou, T_MIN);
    let v = (level.alpha * STD).powi(2) + level.sigma.powi(2);
    let (mut sum, mut squares) = (0.0, 0.0);
    for x in x.rows() {
        let of_mode = |m: ArrayView1<'_, f64>| {
            let residual = x.iter().zip(m).map(|(x, m)| x.wide() - level.alpha * m);
            residual.fold((0.0, 0.0), |(sum, squares), e| (sum + e, squares + e * e))
        };
        let moments = mixture.means().rows().into_iter().map(of_mode).min_by(|a, b| a.1.total_cmp(&b.1));
        let (s, q) = moments.unwrap_or_default();
        (sum, squares) = (sum + s, squares + q);
    }
    let mean = sum / x.len() as f64;
    let ratio = (squares / x.len() as f64 - mean * mean) / v;
    0.5 * (ratio - 1.0 - ratio.ln() + mean * mean / v)
}
