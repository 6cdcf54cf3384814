//! One point of the scaling law: a mixture in `dim` dimensions, sampled sequentially and by PIADM.

use ndarray::{Array2, ArrayView2};
use ndarray_rand::RandomExt;
use ndarray_rand::rand::SeedableRng;
use piadm::grid::Resolution;
use piadm::{
    BoxError, Cpu, Grid, Ou, Picard, Prediction, Problem, Sampler, Save, Scheme, Sequential, nodes::Form,
    sampler::Dynamics, schedule::Level, score::Mixture,
};
use serde::{Deserialize, Serialize};
use std::time::Instant;

/// Modes of the mixture, of equal weight.
pub const MODES: usize = 8;
/// Standard deviation of a mode; with means of variance 0.91 a coordinate has variance 1.
pub const STD: f64 = 0.3;
const MEAN_VARIANCE: f64 = 0.91;
/// Samples of a run.
pub const SAMPLES: usize = 2;
/// Where the grid ends.
pub const T_MIN: f64 = 0.01;
/// Working memory of a run, bytes: 3 GiB.
pub const MEMORY: usize = 3 << 30;

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

/// How far the residuals of samples to their nearest modes are from their exact law N(0, v).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Quality {
    /// Mean residual over sqrt v.
    pub mean: f64,
    /// Variance of the residuals over v.
    pub variance_ratio: f64,
    /// Nearest mode of each sample.
    pub modes: Vec<usize>,
}

impl Quality {
    /// KL divergence a coordinate of a Gaussian with these moments to the exact one, (r - 1 - ln r)/2 + mean^2/(2v).
    ///
    /// For n exact residuals its expectation and its standard deviation are 1/n: chi^2 with 2 degrees of freedom over
    /// 2n.
    pub fn kl(&self) -> f64 {
        let r = self.variance_ratio;
        0.5 * (r - 1.0 - r.ln() + self.mean * self.mean)
    }

    /// Of all residuals of equally many samples each.
    pub fn pooled<'a>(all: impl Iterator<Item = &'a Quality> + Clone) -> Quality {
        let modes = all.clone().flat_map(|q| q.modes.iter().copied()).collect();
        let moments: Vec<(f64, f64)> = all.map(|q| (q.mean, q.variance_ratio + q.mean * q.mean)).collect();
        let n = moments.len() as f64;
        let mean = moments.iter().map(|m| m.0).sum::<f64>() / n;
        let square = moments.iter().map(|m| m.1).sum::<f64>() / n;
        Quality { mean, variance_ratio: square - mean * mean, modes }
    }

    /// How many samples are in each mode, and chi^2 = sum (count - expected)^2 / expected against equal weights, which
    /// is about `MODES - 1` for exact samples.
    pub fn occupancy(&self) -> ([usize; MODES], f64) {
        let counts = std::array::from_fn(|mode| self.modes.iter().filter(|m| **m == mode).count());
        let expected = self.modes.len() as f64 / MODES as f64;
        (counts, counts.iter().map(|c| (*c as f64 - expected).powi(2) / expected).sum())
    }

    /// Of samples, one a row, at a noise level.
    pub fn new(samples: ArrayView2<'_, f32>, means: &Array2<f64>, level: &Level) -> Quality {
        let v = level.alpha.powi(2) * STD.powi(2) + level.sigma.powi(2);
        let (mut sum, mut squares, mut modes) = (0.0, 0.0, Vec::new());
        for x in samples.rows() {
            let residual = |mode: usize| x.iter().zip(means.row(mode)).map(|(x, m)| f64::from(*x) - level.alpha * m);
            let distance = |mode: &usize| residual(*mode).map(|e| e * e).sum::<f64>();
            let nearest = (0..MODES).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0);
            sum += residual(nearest).sum::<f64>();
            squares += distance(&nearest);
            modes.push(nearest);
        }
        let n = samples.len() as f64;
        let mean = sum / n;
        Quality { mean: mean / v.sqrt(), variance_ratio: (squares / n - mean * mean) / v, modes }
    }
}

/// What one seed gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Seed of mixture and noise.
    pub seed: u64,
    /// Sequential depth of PIADM.
    pub rounds: usize,
    /// Sweeps of each block.
    pub sweeps: Vec<usize>,
    /// Score rows of both samples.
    pub score_rows: usize,
    /// Rms over samples and elements of the difference to the sequential samples.
    pub rms_end: f64,
    /// Largest such difference at the end of a block.
    pub rms_path: f64,
    /// Samples of PIADM against the target.
    pub parallel: Quality,
    /// Sequential samples against the target.
    pub sequential: Quality,
    /// Wall time of PIADM.
    pub parallel_seconds: f64,
    /// Wall time of sequential sampling.
    pub sequential_seconds: f64,
}

impl Run {
    /// Sweeps a block.
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
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let normal = rand_distr::Normal::new(0.0, MEAN_VARIANCE.sqrt())?;
        let means = Array2::random_using((MODES, self.dim), normal, &mut rng);
        let mut score = Mixture::new(vec![1.0; MODES], means.clone(), vec![STD; MODES])?;
        let problem = self.problem(seed)?;
        let clock = Instant::now();
        let sequential = Sequential.sample(&problem, &mut score)?;
        let sequential_seconds = clock.elapsed().as_secs_f64();
        let clock = Instant::now();
        let parallel = sampler().sample(&problem, &mut score)?;
        let parallel_seconds = clock.elapsed().as_secs_f64();
        let rms = |a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>| {
            let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            (squares / a.len() as f64).sqrt()
        };
        let ends = parallel.path.states().outer_iter().zip(sequential.path.states().outer_iter());
        let level = Level::at(&Ou, T_MIN);
        Ok(Run {
            seed,
            rounds: parallel.report.rounds,
            score_rows: parallel.report.score_rows,
            rms_end: rms(parallel.samples.view(), sequential.samples.view()),
            rms_path: ends.map(|(a, b)| rms(a, b)).fold(0.0, f64::max),
            parallel: Quality::new(parallel.samples.view(), &means, &level),
            sequential: Quality::new(sequential.samples.view(), &means, &level),
            sweeps: parallel.report.sweeps,
            parallel_seconds,
            sequential_seconds,
        })
    }
}
