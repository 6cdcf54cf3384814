//! The scaling law: a mixture in ever more dimensions, sampled sequentially and by PIADM.

mod show;

use crate::stats::{Fit, largest, median, rms};
use crate::{cli::Progress, residuals::Residuals, subject::random_mixture};
use ndarray::ArrayView2;
use piadm::{
    BoxError, Cpu, Grid, Ou, Picard, Prediction, Problem, Sampler, Save, Scheme, Sequential, grid::Resolution,
    nodes::Form, sampler::Dynamics, schedule::Level,
};
use serde::{Deserialize, Serialize};
pub use show::{plot, tables};
use std::{fmt, time::Instant};

/// Modes of the mixture, of equal weight.
pub const MODES: usize = 8;
/// Standard deviation of a mode.
pub const STD: f64 = 0.3;
/// Samples of a run.
pub const SAMPLES: usize = 2;
/// Where the grid ends.
pub const T_MIN: f64 = 0.01;
/// Working memory of a run, bytes: 3 GiB.
pub const MEMORY: usize = 3 << 30;

/// Dynamics, and a number of steps as a function of the dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Curve {
    #[serde(rename = "SDE, M = max(64, d)")]
    Sde,
    #[serde(rename = "ODE, M = 16 sqrt d")]
    Ode,
    #[serde(rename = "SDE, M = 16 d")]
    Fine,
}

impl Curve {
    const ALL: [Curve; 3] = [Curve::Sde, Curve::Ode, Curve::Fine];

    fn setting(self, dim: usize) -> Setting {
        let (dynamics, steps) = match self {
            Curve::Sde => (Dynamics::Sde, dim.max(64)),
            Curve::Ode => (Dynamics::Ode, (16.0 * (dim as f64).sqrt()) as usize),
            Curve::Fine => (Dynamics::Sde, 16 * dim),
        };
        Setting { dim, dynamics, steps }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Dimension, dynamics and number of steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Elements of a sample.
    pub dim: usize,
    /// SDE or ODE.
    pub dynamics: Dynamics,
    /// Steps of the grid.
    pub steps: usize,
}

/// What one seed, of mixture and noise, gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    seed: u64,
    /// Sequential depth of PIADM.
    pub rounds: usize,
    /// Sweeps of each block.
    pub sweeps: Vec<usize>,
    /// Score rows of both samples.
    score_rows: usize,
    /// Rms over samples and elements of the difference to the sequential samples.
    pub rms_end: f64,
    /// Largest such difference at the end of a block.
    pub rms_path: f64,
    /// Samples of PIADM against the target.
    pub parallel: Residuals,
    /// Sequential samples against the target.
    pub sequential: Residuals,
    parallel_seconds: f64,
    sequential_seconds: f64,
}

impl Run {
    /// Sweeps per block.
    pub fn mean_sweeps(&self) -> f64 {
        self.sweeps.iter().sum::<usize>() as f64 / self.sweeps.len() as f64
    }
}

/// The paper's iteration: blocks of OU length 1, J = 0, swept until no node changes by more than 1e-2.
fn sampler() -> Picard {
    Picard::piadm(1.0, None)
}

impl Setting {
    fn problem(&self, seed: u64) -> Result<Problem<Cpu<f32>>, BoxError> {
        let t_max = (self.dim as f64).ln() + 4.0;
        let grid = Grid::piadm(1.0, Resolution::Steps(self.steps)).between(t_max, T_MIN);
        // states are compared where blocks end
        let is_end = |t: f64| (t_max - t - (t_max - t).round()).abs() < 1e-9 || t == T_MIN;
        let times = grid.times(&Ou)?;
        let ends = times.iter().enumerate().skip(1).filter(|(_, t)| is_end(**t)).map(|(step, _)| step).collect();
        let stochasticity = if self.dynamics == Dynamics::Sde { 1.0 } else { 0.0 };
        let scheme = Scheme::Exponential { form: Form::Score, stochasticity };
        let problem = Problem::on(Cpu::new(), Ou, grid, scheme).samples(SAMPLES).shape([self.dim]);
        Ok(problem.seed(seed).save(Save::Steps(ends)))
    }

    /// Bytes of working memory of the parallel run.
    pub fn memory(&self) -> Result<usize, BoxError> {
        Ok(self.problem(0)?.memory_estimate(&sampler(), &Prediction::Score)?)
    }

    /// The same with steps halved until the working memory suffices.
    pub fn capped(mut self) -> Result<Self, BoxError> {
        while self.memory()? > MEMORY {
            self.steps /= 2;
        }
        Ok(self)
    }

    /// Samples sequentially and in parallel with the same noise.
    pub fn run(&self, seed: u64) -> Result<Run, BoxError> {
        let mixture = random_mixture(MODES, self.dim, STD, seed)?;
        let (problem, mut score) = (self.problem(seed)?, mixture.clone());
        let clock = Instant::now();
        let sequential = Sequential.sample(&problem, &mut score)?;
        let sequential_seconds = clock.elapsed().as_secs_f64();
        let clock = Instant::now();
        let parallel = sampler().sample(&problem, &mut score)?;
        let parallel_seconds = clock.elapsed().as_secs_f64();
        // differences are rounded to f32
        let error = |a: ArrayView2<'_, f32>, b| rms((&a - &b).iter().map(|difference| (difference, &0.0)));
        let ends = parallel.path.states().outer_iter().zip(sequential.path.states().outer_iter());
        let level = Level::at(&Ou, T_MIN);
        Ok(Run {
            seed,
            rounds: parallel.report.rounds,
            score_rows: parallel.report.score_rows,
            rms_end: error(parallel.samples.view(), sequential.samples.view()),
            rms_path: largest(ends.map(|(a, b)| error(a, b))),
            parallel: Residuals::new(parallel.samples.view(), &mixture, &level),
            sequential: Residuals::new(sequential.samples.view(), &mixture, &level),
            sweeps: parallel.report.sweeps,
            parallel_seconds,
            sequential_seconds,
        })
    }
}

/// All seeds of a curve at a dimension; `capped` where memory did not allow the steps of the curve.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Point {
    curve: Curve,
    dim: usize,
    steps: usize,
    capped: bool,
    memory_bytes: usize,
    runs: Vec<Run>,
}

impl Point {
    fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(of))
    }
}

/// What is fitted: a quantity of a run.
type Quantity = (&'static str, fn(&Run) -> f64);
/// Against what: a function of ln d.
type Law = (&'static str, fn(f64) -> f64);

const ROUNDS: Quantity = ("rounds", |r| r.rounds as f64);
const BLOCKS: Quantity = ("blocks", |r| r.sweeps.len() as f64);
const SWEEPS: Quantity = ("sweeps a block", Run::mean_sweeps);
const LN_ROUNDS: Quantity = ("ln rounds", |r| (r.rounds as f64).ln());
const LN: Law = ("ln d", |l| l);
const SQUARE: Law = ("(ln d)^2", |l| l * l);
const LN_LN: Law = ("ln ln d", f64::ln);
#[rustfmt::skip]
const FITS: [(Quantity, Law); 7] = [
    (ROUNDS, LN), (ROUNDS, SQUARE), (BLOCKS, LN), (BLOCKS, SQUARE), (SWEEPS, LN), (SWEEPS, SQUARE), (LN_ROUNDS, LN_LN),
];

/// A fit to a curve's points that are not capped.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    curve: Curve,
    quantity: String,
    against: String,
    #[serde(flatten)]
    fit: Fit,
}

/// Everything that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    points: Vec<Point>,
    fits: Vec<Line>,
}

/// Runs all curves at these dimensions, with seeds from 0.
pub fn measure(dims: &[usize], seeds: u64) -> Result<Results, BoxError> {
    let progress = Progress::new("scaling", dims.len() * Curve::ALL.len());
    let mut points: Vec<Point> = Vec::new();
    for (dim, curve) in dims.iter().flat_map(|dim| Curve::ALL.map(|curve| (*dim, curve))) {
        let wanted = curve.setting(dim);
        let setting = wanted.capped()?;
        let Setting { steps, .. } = setting;
        let run = |seed| {
            progress.tell(points.len(), &format!("d = {dim}, {}: {steps} steps, seed {seed}", show::printed(curve)));
            setting.run(seed)
        };
        // curves meet where M = max(64, d) is 16 d, and may meet at the cap
        let runs = match points.iter().find(|p| Setting { steps: p.steps, ..p.curve.setting(p.dim) } == setting) {
            Some(same) => same.runs.clone(),
            None => (0..seeds).map(run).collect::<Result<_, _>>()?,
        };
        let (capped, memory_bytes) = (setting != wanted, setting.memory()?);
        points.push(Point { curve, dim, steps, capped, memory_bytes, runs });
    }
    let fits = fits(&points);
    Ok(Results { points, fits })
}

fn fits(points: &[Point]) -> Vec<Line> {
    let mut fits = Vec::new();
    for curve in Curve::ALL {
        let used: Vec<&Point> = points.iter().filter(|p| p.curve == curve && !p.capped).collect();
        let Some(first) = used.first() else { continue };
        for ((quantity, value), (against, law)) in FITS {
            let x: Vec<f64> = used.iter().map(|p| law((p.dim as f64).ln())).collect();
            let of_seed = |seed: usize| used.iter().map(|p| value(&p.runs[seed])).collect();
            let y: Vec<Vec<f64>> = (0..first.runs.len()).map(of_seed).collect();
            let line = |fit| Line { curve, quantity: quantity.into(), against: against.into(), fit };
            fits.extend(Fit::new(&x, &y).map(line));
        }
    }
    fits
}
