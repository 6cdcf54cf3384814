//! What is compared, and how the choice is made.

use crate::backend::Backend;
use crate::engine::settings::Picard;
use crate::error::{Error, Result};
use crate::nodes::{Extent, Nodes, Window};
use crate::problem::{Choice, Effort, Forecast, Latency, Prepared, Reason};
use crate::setters::setters;

/// Chooses the window of a parallel sampler, or [`Sequential`](crate::Sequential) where parallel sampling cannot pay, by what a round costs.
///
/// With T(r) the seconds of a round of r rows ([`Latency`]) and R the rounds of a window of w steps ([`Effort`]), S samples on n steps
/// of m evaluations take about
///
/// $$R(w/n)\; T\big(w\, m\, S\, (1 - 0.4\, w/n)\big), \qquad\text{sequentially}\qquad n\, m\, T(S);$$
///
/// the bracket is there because the window runs out at the end. The least of them is run, parallel only where it takes at least 12 % less, and
/// gives the samples of that sampler bit for bit. Windows are powers of two, or the longest. What was chosen and why is in
/// [`Report::choice`](crate::Report::choice).
///
/// Without a `latency` what is chosen depends on what was measured, and so, up to the tolerance, do the samples; with one, a run is as
/// repeatable as that of the chosen sampler.
///
/// Without a `latency` every run measures one first, in a few rounds that are thrown away: [`Report::probe_time`](crate::Report::probe_time)
/// says what that cost. Give the [`Choice`]'s latency to later runs: they measure nothing and always choose the same; its effort
/// makes their prediction better, or different, where the run took other rounds than the model.
///
/// ```
/// use piadm::{problem::Latency, Automatic, Grid, Ou, Prediction, Problem, Sampler, Scheme, score_fn};
/// let grid = Grid::log_snr(100).between(8.0, 0.01);
/// let problem = Problem::new(Ou, grid, Scheme::default()).samples(4).shape([2]).seed(1);
/// let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| { out.zip_mut_with(&x, |o, x| *o = -x); Ok(()) });
/// let first = Automatic::default().sample(&problem, &mut score)?;
/// let choice = first.report.choice.ok_or("no choice")?;
/// println!("{choice}"); // window 16, or sequential, and why
/// let again = Automatic::default().latency(choice.latency).sample(&problem, &mut score)?;
/// assert_eq!(again.report.choice.and_then(|c| c.window), choice.window);
/// assert_eq!(again.samples, first.samples);
///
/// // a call that takes 20 ms however many rows it has
/// let constant = Latency { points: vec![(4, 0.02), (1024, 0.02)] };
/// let parallel = Automatic::default().latency(constant).sample(&problem, &mut score)?;
/// assert_eq!(parallel.report.choice.and_then(|c| c.window), Some(100));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Automatic {
    /// The parallel sampler; its `window` is not used, and windows keep to its `row_budget`.
    pub base: Picard,
    /// What a round costs; `None` (default) measures it before the run.
    pub latency: Option<Latency>,
    /// How many rounds a window takes; `None` (default) takes the measured model for the base's settings.
    pub effort: Option<Effort>,
    /// The longest window, in steps; default 256. Memory grows with it: [`Problem::memory_estimate`](crate::Problem::memory_estimate).
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

setters! { Automatic, "Automatic::default()";
    base: Picard = "Picard::default().acceptance(Acceptance::Exact)",
    latency?: Latency = "Latency { points: vec![(1, 1e-3), (64, 2e-3)] }",
    effort?: Effort = "Effort { rounds: 40.0, reach: 0.01 }",
    max_window: usize = "128",
    probe_share: f64 = "0.02",
}

/// A window must be this much faster than sequential sampling: of runs of a millisecond the model is sure to no better.
const GAIN: f64 = 0.88;
/// What a window lacks at the end of a run, as a part of its share of the run.
const RUN_OUT: f64 = 0.4;

impl Automatic {
    pub(crate) fn check(&self) -> Result<()> {
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

    /// The longest window on these nodes that the row budget holds wherever it stands; 0 where it holds none.
    pub(crate) fn longest(&self, list: &Nodes) -> usize {
        let most = self.max_window.min(list.steps());
        let Some(rows) = self.base.row_budget else { return most };
        let fits = |window: usize| {
            let extent = Extent::new(Window::Steps(window), list);
            let nodes = extent.and_then(|extent| extent.most_nodes(self.base.policy.blocks()));
            nodes.is_ok_and(|nodes| nodes.first().is_none_or(|n| *n <= rows))
        };
        // longer windows have no fewer nodes
        let (mut low, mut high) = (0, most);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if fits(middle) { low = middle } else { high = middle - 1 }
        }
        low
    }

    /// The longest window on these nodes and its model, or why there is nothing to compare.
    pub(crate) fn compares(&self, list: &Nodes) -> std::result::Result<(usize, Effort), Reason> {
        if !list.nodes().iter().any(|n| n.evaluate) {
            return Err(Reason::NoEvaluation);
        }
        let longest = self.longest(list);
        let effort = self.effort.or_else(|| Effort::of(&self.base, list)).ok_or(Reason::ZeroTolerance)?;
        if longest < 2 { Err(Reason::OneStep) } else { Ok((longest, effort)) }
    }

    /// The sampler for `samples` on these nodes.
    pub(crate) fn choose(
        &self,
        list: &Nodes,
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

/// Of unlike requests the longest decides.
pub(crate) fn longest_list<B: Backend>(prepared: &Prepared<B>) -> &Nodes {
    let lists = prepared.lists().iter();
    lists.max_by_key(|list| list.nodes().len()).map_or(prepared.list(0), |list| list)
}
