//! The window chosen by what the network costs.

mod effort;
mod latency;

pub use effort::Effort;
pub use latency::Latency;

use super::{Observer, Picard, Problem, Sampler, Sequential, Solution, Stop, Window};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::scheme::Discretisation;
use crate::score::ScoreFn;
use latency::{Probe, measure};
use std::fmt;

/// Chooses the window of a parallel sampler, or [`Sequential`] where parallel sampling cannot pay, by what a round costs.
///
/// With T(r) the seconds of a round of r rows ([`Latency`]) and R the rounds of a window of w steps ([`Effort`]), S samples on n steps
/// of m evaluations take about
///
/// $$R(w/n)\; T\big(w\, m\, S\, (1 - 0.4\, w/n)\big), \qquad\text{sequentially}\qquad n\, m\, T(S);$$
///
/// the bracket is there because the window runs out at the end. The least of them is run, parallel only where it takes at least 12 % less, and
/// gives the samples of that sampler bit for bit. Windows are powers of two, or the longest. What was chosen and why is in
/// [`Report::choice`](super::Report::choice).
///
/// Without a `latency` every run measures one first, in a few rounds that are thrown away: [`Report::probe_time`](super::Report::probe_time)
/// says what that cost. Give the [`Choice`]'s latency to later runs: they measure nothing and always choose the same; its effort
/// makes their prediction better, or different, where the run took other rounds than the model.
///
/// ```
/// use piadm::{Automatic, Cpu, Latency, Ou, Prediction, Problem, Sampler, Scheme, TimeGrid, score_fn};
/// let grid = TimeGrid::log_snr(&Ou, 8.0, 0.01, 100)?;
/// let problem = Problem::new(Cpu::<f32>::new(), &Ou, grid, Scheme::default(), (4, 2)).seed(1);
/// let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| { out.zip_mut_with(&x, |o, x| *o = -x); Ok(()) });
/// let first = Automatic::default().sample(&problem, &mut score)?;
/// let choice = first.report.choice.ok_or("no choice")?;
/// println!("{choice}"); // window 16, or sequential, and why
/// let again = Automatic { latency: choice.latency, ..Automatic::default() }.sample(&problem, &mut score)?;
/// assert_eq!(again.report.choice.and_then(|c| c.window), choice.window);
/// assert_eq!(again.samples, first.samples);
///
/// // a call that takes 20 ms however many rows it has
/// let constant = Latency { points: vec![(4, 0.02), (1024, 0.02)] };
/// let parallel = Automatic { latency: Some(constant), ..Automatic::default() }.sample(&problem, &mut score)?;
/// assert_eq!(parallel.report.choice.and_then(|c| c.window), Some(100));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Automatic {
    /// The parallel sampler; its `window` is not used, and windows keep to its `row_budget`.
    pub base: Picard,
    /// What a round costs; `None` (default) measures it before the run.
    pub latency: Option<Latency>,
    /// How many rounds a window takes; `None` (default) takes the measured model for the base's settings.
    pub effort: Option<Effort>,
    /// The longest window, in steps; default 256. Memory grows with it: [`Problem::memory_estimate`].
    pub max_window: usize,
    /// How long measuring may last, as a part of the predicted time of sequential sampling; default 0.05. The first rounds of
    /// sequential sampling and of one short window are always measured.
    pub probe_share: f64,
}

impl Default for Automatic {
    fn default() -> Self {
        Automatic { base: Picard::default(), latency: None, effort: None, max_window: 256, probe_share: 0.05 }
    }
}

/// Why a sampler was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reason {
    /// The window saves more rounds than its rows cost: parallel sampling.
    FewerRounds,
    /// No window does: sequential sampling.
    RowCost,
    /// A tolerance of zero without a depth accepts a node only when it is exact, which may take as many rounds as steps: sequential
    /// sampling. An [`Automatic::effort`] overrules this.
    ZeroTolerance,
    /// There is a single step, or a single one is allowed: sequential sampling.
    OneStep,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::FewerRounds => "it saves more rounds than its rows cost",
            Reason::RowCost => "no window saves more rounds than its rows cost",
            Reason::ZeroTolerance => "a tolerance of zero may take as many rounds as steps",
            Reason::OneStep => "there is no window of more than one step",
        })
    }
}

/// What [`Automatic`] chose.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Choice {
    /// The window in steps; `None` is sequential sampling.
    pub window: Option<usize>,
    /// Why.
    pub reason: Reason,
    /// Predicted seconds of sequential sampling; `None` where there was nothing to compare.
    pub sequential_seconds: Option<f64>,
    /// The best window, chosen or not; `None` where none was compared.
    pub best: Option<Forecast>,
    /// The latency it was chosen by, for later runs; `None` where none was needed.
    pub latency: Option<Latency>,
    /// The model it was chosen by, after a parallel run corrected by the rounds that it took: for later runs of the same kind.
    pub effort: Option<Effort>,
}

/// What is predicted of a window.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Forecast {
    /// Steps of the window.
    pub window: usize,
    /// Rounds of the run.
    pub rounds: f64,
    /// Its seconds.
    pub seconds: f64,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.window {
            Some(window) => write!(f, "window {window}")?,
            None => write!(f, "sequential")?,
        }
        write!(f, ": {}", self.reason)?;
        if let (Some(sequential), Some(Forecast { window, rounds, seconds })) = (self.sequential_seconds, self.best) {
            write!(
                f,
                " (predicted: {seconds:.2e} s in {rounds:.0} rounds of window {window}, {sequential:.2e} s sequential)"
            )?;
        }
        Ok(())
    }
}

/// A window must be this much faster than sequential sampling: of runs of a millisecond the model is sure to no better.
const GAIN: f64 = 0.88;
/// What a window lacks at the end of a run, as a part of its share of the run.
const RUN_OUT: f64 = 0.4;

impl Automatic {
    fn check(&self) -> Result<()> {
        if self.max_window == 0 {
            return Err(Error::setting("max_window", 0, "at least 1 step"));
        }
        if !(self.probe_share >= 0.0 && self.probe_share.is_finite()) {
            return Err(Error::setting("probe_share", self.probe_share, "a finite number that is at least 0"));
        }
        if let Some(latency) = &self.latency {
            latency.check()?;
        }
        self.effort.as_ref().map_or(Ok(()), Effort::check)
    }

    /// The longest window on these nodes, with its stages within the row budget.
    fn longest(&self, list: &Discretisation) -> usize {
        let nodes = (list.nodes().len() - 1).div_ceil(list.steps().max(1));
        let budget = self.base.row_budget.map_or(usize::MAX, |rows| rows / nodes);
        self.max_window.min(list.steps()).min(budget)
    }

    /// The longest window on these nodes and its model, or why there is nothing to compare.
    fn compares(&self, list: &Discretisation) -> std::result::Result<(usize, Effort), Reason> {
        let longest = self.longest(list);
        let effort = self.effort.or_else(|| Effort::of(&self.base, list)).ok_or(Reason::ZeroTolerance)?;
        if longest < 2 { Err(Reason::OneStep) } else { Ok((longest, effort)) }
    }

    /// The sampler for `samples` on these nodes.
    fn choose(
        &self,
        list: &Discretisation,
        samples: usize,
        longest: usize,
        effort: Effort,
        latency: Latency,
    ) -> Choice {
        let (steps, samples) = (list.steps(), samples as f64);
        let most = list.nodes().iter().filter(|n| n.evaluate).count();
        let sequential = most as f64 * latency.seconds(samples);
        let forecast = |window: usize| {
            let rounds = effort.rounds(&self.base, window, steps, most);
            let share = window as f64 / steps as f64;
            let rows = share * most as f64 * samples * (1.0 - RUN_OUT * share);
            // a round over the budget becomes several
            let rows = rows.max(samples);
            let held = self.base.row_budget.map_or(rows, |budget| rows.min(budget as f64));
            let rounds = rounds * rows / held;
            Forecast { window, rounds, seconds: rounds * latency.seconds(held) }
        };
        let best = windows(longest).map(forecast).min_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let window = best.filter(|b| b.seconds <= GAIN * sequential).map(|b| b.window);
        let reason = if window.is_some() { Reason::FewerRounds } else { Reason::RowCost };
        Choice {
            window,
            reason,
            sequential_seconds: Some(sequential),
            best,
            latency: Some(latency),
            effort: Some(effort),
        }
    }
}

/// The windows that are compared: 2, 4, 8, ... and the longest. Those in between would gain 4 % at most where seconds are linear in the rows, and
/// networks, which work in tiles, need as long for some of them as for the next power of two: a latency of few points does not know which.
fn windows(longest: usize) -> impl Iterator<Item = usize> {
    let powers = (1..usize::BITS).map(|k| 1usize << k).take_while(move |w| *w < longest);
    powers.chain((longest > 1).then_some(longest))
}

impl<B: Backend> Sampler<B> for Automatic {
    fn run(
        &self,
        problem: &Problem<'_, B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Solution<B>> {
        self.check()?;
        let list = problem.list(score.prediction())?;
        problem.check(&list)?;
        // bad settings are told even where the base does not run
        Picard { window: Window::Steps(1), ..self.base.clone() }.room(&list, problem.samples())?;
        let mut probe = Probe::default();
        let mut choice = match self.compares(&list) {
            Err(reason) => Choice {
                window: None,
                reason,
                sequential_seconds: None,
                best: None,
                latency: self.latency.clone(),
                effort: None,
            },
            Ok((longest, effort)) => {
                let latency = match &self.latency {
                    Some(latency) => latency.clone(),
                    None => {
                        let (latency, cost) = measure(problem, score, self)?;
                        probe = cost;
                        latency
                    }
                };
                self.choose(&list, problem.samples(), longest, effort, latency)
            }
        };
        drop(list);
        let mut solution = match choice.window {
            Some(window) => {
                Picard { window: Window::Steps(window), ..self.base.clone() }.run(problem, score, observer)?
            }
            None => Sequential.run(problem, score, observer)?,
        };
        let report = &mut solution.report;
        "automatic".clone_into(&mut report.sampler);
        if let (Some(effort), Some(window), Stop::Converged) = (&mut choice.effort, choice.window, report.stop) {
            let mean = report.sample_rounds.iter().sum::<usize>() as f64 / report.samples as f64;
            *effort = effort.corrected(&self.base, window, report.steps, mean);
        }
        report.choice = Some(choice);
        (report.probe_rows, report.probe_time) = (probe.rows, probe.time);
        Ok(solution)
    }
}
