//! Runs of parallel samplers on one problem, and the loosest tolerance with which they reach an error.

use crate::presets::Preset;
use crate::stats::{first_good, largest, median, row_errors};
use ndarray::Array2;
use piadm::sampler::{Dynamics, Round, on_round};
use piadm::{
    BoxError, Cpu, Error, Grid, NoiseSchedule, Ou, Problem, Sampler, Scheme, ScoreFn, Sequential, nodes::Form,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ops::{ControlFlow, RangeInclusive};

/// Ornstein-Uhlenbeck times of the ends of all grids.
const FIRST_TIME: f64 = 8.0;
const LAST_TIME: f64 = 0.01;
/// Tolerances are `FIRST * RATIO^-k` for k in [`EXPONENTS`].
const FIRST: f64 = 0.5;
/// One tolerance over the next.
pub const RATIO: f64 = 1.25;
/// Exponents of the tolerances.
pub const EXPONENTS: RangeInclusive<i32> = -18..=60;
/// Errors are not quite monotone in the tolerance: so many tolerances looser than the one that was found are tried too.
const LOOSER: i32 = 4;

/// What a run took and what it reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The sampler's tolerance, in its own units.
    pub tolerance: f64,
    /// Rounds of a sample, mean over samples.
    pub rounds: f64,
    /// The same, median.
    pub rounds_median: f64,
    /// Score rows per step and sample.
    pub rows: f64,
    /// Rms difference to the sequential sample over its elements, median over samples.
    pub error: f64,
    /// The same, worst sample.
    pub worst: f64,
}

/// Steps, batch and noise of a problem.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// The reverse SDE or the ODE.
    pub dynamics: Dynamics,
    /// Of the grid.
    pub steps: usize,
    /// Of the batch.
    pub samples: usize,
    /// Of the noise.
    pub seed: u64,
}

impl Setting {
    /// The first-order exponential integrator in data form.
    pub fn first_order(&self, dim: usize) -> Problem<Cpu<f32>> {
        let stochasticity = if self.dynamics == Dynamics::Sde { 1.0 } else { 0.0 };
        self.problem(Scheme::Exponential { form: Form::Data, stochasticity }, dim)
    }

    /// DPM-Solver++(2M), or its SDE variant.
    pub fn second_order(&self, dim: usize) -> Problem<Cpu<f32>> {
        let scheme = match self.dynamics {
            Dynamics::Sde => Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: false },
            Dynamics::Ode => Scheme::DpmSolverPp2M { lower_order_final: false },
        };
        self.problem(scheme, dim)
    }

    /// Euler's method with equal steps in the time sigma / (alpha + sigma) of a rectified flow: DDIM takes the same
    /// steps, up to the scale of the states.
    pub fn flow_euler(&self, dim: usize) -> Problem<Cpu<f32>> {
        self.on(flow_uniform(self.steps), Scheme::ddim(), dim)
    }

    /// Steps uniform in the log-SNR.
    fn problem(&self, scheme: Scheme, dim: usize) -> Problem<Cpu<f32>> {
        self.on(Grid::log_snr(self.steps).between(FIRST_TIME, LAST_TIME), scheme, dim)
    }

    fn on(&self, grid: Grid, scheme: Scheme, dim: usize) -> Problem<Cpu<f32>> {
        Problem::on(Cpu::new(), Ou, grid, scheme).samples(self.samples).shape([dim]).seed(self.seed)
    }
}

/// Ornstein-Uhlenbeck times between those of the other grids that are uniform in the time sigma / (alpha + sigma).
pub fn flow_uniform(steps: usize) -> Grid {
    let flow_time = |t: f64| Ou.sigma(t) / (Ou.alpha(t) + Ou.sigma(t));
    let (first, last) = (flow_time(FIRST_TIME), flow_time(LAST_TIME));
    let time = |m: usize| {
        let s = first + (last - first) * m as f64 / steps as f64;
        Ou.time_of_log_snr(((1.0 - s) / s).ln())
    };
    Grid::new((0..=steps).map(time).collect::<Vec<_>>())
}

impl Outcome {
    /// From the rounds and the rms errors of all samples.
    pub(crate) fn new(tolerance: f64, sample_rounds: &[usize], rows: f64, errors: Vec<f64>) -> Self {
        let rounds = || sample_rounds.iter().map(|r| *r as f64);
        Outcome {
            tolerance,
            rounds: rounds().sum::<f64>() / sample_rounds.len() as f64,
            rounds_median: median(rounds()),
            rows,
            worst: largest(errors.iter().copied()),
            error: median(errors),
        }
    }
}

/// The tolerance of an exponent.
pub(crate) fn tolerance(exponent: i32) -> f64 {
    FIRST * RATIO.powi(-exponent)
}

/// The exponent of a tolerance, which may lie between two numbers.
pub(crate) fn exponent(tolerance: f64) -> f64 {
    (FIRST / tolerance).ln() / RATIO.ln()
}

/// The exponent of the loosest tolerance that is good, looked for from a guess.
pub(crate) fn loosest(
    guess: f64,
    mut good: impl FnMut(i32) -> Result<bool, BoxError>,
) -> Result<Option<i32>, BoxError> {
    let Some(found) = first_good(EXPONENTS, guess.round() as i32, &mut good)? else { return Ok(None) };
    for k in (found - LOOSER).max(*EXPONENTS.start())..found {
        if good(k)? {
            return Ok(Some(k));
        }
    }
    Ok(Some(found))
}

/// What a run gives: `None` where it does not stay finite, or where a search finds nothing.
type Tried = Result<Option<Outcome>, BoxError>;

/// A problem with its sequential samples.
pub struct Case<'s> {
    /// What it was made from.
    pub setting: Setting,
    /// What it samples from.
    pub score: &'s mut dyn ScoreFn<Cpu<f32>>,
    problem: Problem<Cpu<f32>>,
    sequential: Array2<f32>,
    /// Runs by preset, window and exponent.
    known: HashMap<(&'static str, usize, i32), Option<Outcome>>,
    /// Target and exponent of each preset's last search.
    last: HashMap<&'static str, (f64, i32)>,
}

impl<'s> Case<'s> {
    /// Samples sequentially, with steps of first order.
    pub fn new(score: &'s mut dyn ScoreFn<Cpu<f32>>, dim: usize, setting: Setting) -> Result<Self, BoxError> {
        Case::of(score, setting, setting.first_order(dim))
    }

    /// Samples sequentially from a problem of this setting.
    pub fn of(
        score: &'s mut dyn ScoreFn<Cpu<f32>>,
        setting: Setting,
        problem: Problem<Cpu<f32>>,
    ) -> Result<Self, BoxError> {
        let sequential = Sequential.sample(&problem, score)?.samples;
        Ok(Case { setting, score, problem, sequential, known: HashMap::new(), last: HashMap::new() })
    }

    /// A run with the tolerance of this exponent, which is remembered.
    pub fn at(&mut self, preset: &'static Preset, window: usize, exponent: i32) -> Tried {
        let key = (preset.name, if preset.windowed { window } else { 0 }, exponent);
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let outcome = self.run(preset, window, tolerance(exponent))?;
        self.known.insert(key, outcome.clone());
        Ok(outcome)
    }

    /// A run with this tolerance.
    pub fn run(&mut self, preset: &Preset, window: usize, tolerance: f64) -> Tried {
        let outcome = self.outcome(&*(preset.sampler)(window, tolerance))?;
        Ok(outcome.map(|outcome| Outcome { tolerance, ..outcome }))
    }

    /// A run of a sampler that has no tolerance: it says 0. `None` also for schemes that the sampler does not take.
    pub fn outcome(&mut self, sampler: &dyn Sampler<Cpu<f32>>) -> Tried {
        let solution = match sampler.sample(&self.problem, &mut *self.score) {
            Ok(solution) => solution,
            Err(Error::ScoreNotFinite { .. } | Error::StateNotFinite { .. } | Error::Unsupported { .. }) => {
                return Ok(None);
            }
            Err(other) => return Err(other.into()),
        };
        let errors = row_errors(solution.samples.view(), self.sequential.view());
        let report = &solution.report;
        Ok(Some(Outcome::new(0.0, &report.sample_rounds, report.rows_per_step(), errors)))
    }

    /// The residual of every round of a run with this tolerance: the largest change among the nodes that left a window.
    pub fn residuals(&mut self, preset: &Preset, window: usize, tolerance: f64) -> Result<Vec<f64>, BoxError> {
        let mut residuals = Vec::new();
        let mut observer = on_round(|round: &Round<'_>| {
            residuals.push(round.residual);
            ControlFlow::Continue(())
        });
        (preset.sampler)(window, tolerance).run(&self.problem, &mut *self.score, &mut observer)?;
        Ok(residuals)
    }

    /// The run with the loosest tolerance whose median error is at most `target`.
    pub fn equal_error(&mut self, preset: &'static Preset, window: usize, target: f64) -> Tried {
        // errors are about proportional to tolerances: begin where the last search ended
        let (known, found) = self.last.get(preset.name).copied().unwrap_or((FIRST, 0));
        let guess = f64::from(found) + exponent(target) - exponent(known);
        let good = |k| Ok(self.at(preset, window, k)?.is_some_and(|o| o.error <= target));
        let Some(found) = loosest(guess, good)? else { return Ok(None) };
        self.last.insert(preset.name, (target, found));
        self.at(preset, window, found)
    }

    /// The largest window, a multiple of 8, with which an error takes at most `rows` rows per step, and its run.
    pub fn equal_rows(
        &mut self,
        preset: &'static Preset,
        guess: usize,
        target: f64,
        rows: f64,
    ) -> Result<Option<(usize, Outcome)>, BoxError> {
        let most = (self.setting.steps / 8) as i32;
        let window = |k: i32| 8 * (most + 1 - k) as usize;
        let good = |k: i32| {
            let outcome = self.equal_error(preset, window(k), target)?;
            Ok::<_, BoxError>(outcome.is_some_and(|o| o.rows <= rows))
        };
        let Some(k) = first_good(1..=most, most + 1 - (guess / 8) as i32, good)? else { return Ok(None) };
        Ok(self.equal_error(preset, window(k), target)?.map(|outcome| (window(k), outcome)))
    }
}
