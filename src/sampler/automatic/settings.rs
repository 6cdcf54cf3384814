//! What is compared, and how the choice is made.

use crate::backend::Backend;
use crate::engine::accept::acceptance::Acceptance;
use crate::engine::settings::Picard;
use crate::error::{Error, Result};
use crate::nodes::{Extent, Nodes, Window};
use crate::problem::{Choice, Effort, Forecast, Latency, Prepared, Reason};
use crate::setters::setters;

/// Chooses, by the cost of a round, the window of a parallel sampler, or [`Sequential`](crate::Sequential) if
/// parallel sampling does not pay.
///
/// Let T(r) be the seconds for a round of r rows ([`Latency`]), and R the number of rounds for a window of w steps
/// ([`Effort`]). Then S samples on n steps with m evaluations per step take about
///
/// $$R(w/n)\; T\big(w\, m\, S\, (1 - 0.4\, w/n)\big), \qquad\text{sequentially}\qquad n\, m\, T(S);$$
///
/// The factor in parentheses accounts for the window getting shorter at the end of the run. The fastest sampler is
/// chosen, but a parallel one only if it takes at least 12 % less time than sequential sampling. The samples are
/// those of the chosen sampler, bit for bit. Candidate windows are the powers of two, the longest window, and those
/// that fill the parts of a [`Split`](crate::score::Split) score or the calls of a
/// [`Padded`](crate::score::Padded) one. A network that is slower in long calls gets shorter ones
/// ([`Choice::rows_per_call`]), and for a split score the choice says how many parts would pay
/// ([`Choice::parts_that_pay`]). [`Report::choice`](crate::Report::choice) tells what was chosen and why.
///
/// Without a `latency`, every run first measures one, in a few rounds whose results are discarded;
/// [`Report::probe_time`](crate::Report::probe_time) tells how long that took. The choice then depends on the
/// measurements, and so do the samples, up to the tolerance. With a `latency`, a run is as repeatable as one of the
/// chosen sampler.
///
/// To measure only once, pass the latency in the [`Choice`] to later runs: they measure nothing and always make the
/// same choice. Passing its effort too makes predictions more accurate if the run took more or fewer rounds than
/// the model predicts, and may change the choice.
///
/// ```
/// use piadm::{problem::Latency, Automatic, Grid, Ou, Prediction, Problem, Sampler, Scheme, score_fn};
/// let grid = Grid::log_snr(100).between(8.0, 0.01);
/// let problem = Problem::new(Ou, grid, Scheme::default()).samples(4).shape([2]).seed(1);
/// let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| {
///     out.zip_mut_with(&x, |o, x| *o = -x);
///     Ok(())
/// });
/// let first = Automatic::default().sample(&problem, &mut score)?;
/// let choice = first.report.choice.ok_or("no choice")?;
/// println!("{choice}"); // window 16, or sequential, and why
/// let again = Automatic::default().latency(choice.latency).sample(&problem, &mut score)?;
/// assert_eq!(again.report.choice.and_then(|c| c.window), choice.window);
/// assert_eq!(again.samples, first.samples);
///
/// // a call takes 20 ms, whatever its number of rows
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
    /// The parallel sampler. Its `window` is ignored; candidate windows respect its `row_budget`.
    pub base: Picard,
    /// The cost of a round; `None` (default) measures it before the run.
    pub latency: Option<Latency>,
    /// The number of rounds that a window takes; `None` (default) takes the measured model for the settings of
    /// `base`.
    pub effort: Option<Effort>,
    /// The longest window, in steps; default 256. Memory grows with it, see
    /// [`Problem::memory_estimate`](crate::Problem::memory_estimate).
    pub max_window: usize,
    /// How long measuring may take, as a fraction of the predicted time of sequential sampling; default 0.05. The
    /// first rounds of sequential sampling and of one short window are always measured.
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

impl Automatic {
    /// Sets the acceptance of the parallel sampler, `base`.
    ///
    /// ```
    /// use piadm::{Acceptance, Automatic};
    /// let automatic = Automatic::default().acceptance(Acceptance::Error(1e-3));
    /// assert_eq!(automatic.base.acceptance, Acceptance::Error(1e-3));
    /// ```
    #[must_use]
    pub fn acceptance(mut self, acceptance: Acceptance) -> Self {
        self.base.acceptance = acceptance;
        self
    }
}

/// A window may take at most this fraction of the time of sequential sampling: for runs of a millisecond the model
/// is no more accurate than that.
const GAIN: f64 = 0.88;
/// How much a window shortens at the end of a run: it evaluates fewer rows by this fraction of its share of the
/// run.
const RUN_OUT: f64 = 0.4;

impl Automatic {
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_window == 0 {
            return Err(Error::setting("max_window", 0, "at least 1 step"));
        }
        if !(self.probe_share >= 0.0 && self.probe_share.is_finite()) {
            return Err(Error::setting("probe_share", self.probe_share, "a finite number that is at least 0"));
        }
        if self.base.probes.is_some() {
            let with = "probes, whose rows its model of a round leaves out";
            return Err(Error::unsupported("Automatic", with, "leave probes out, or take Picard"));
        }
        if let Some(latency) = &self.latency {
            latency.check()?;
        }
        self.effort.as_ref().map_or(Ok(()), Effort::check)
    }

    /// The longest window on these nodes that fits in the row budget wherever it lies; 0 if none does.
    pub(crate) fn longest(&self, list: &Nodes) -> usize {
        let most = self.max_window.min(list.steps());
        let Some(rows) = self.base.row_budget else { return most };
        let fits = |window: usize| {
            let extent = Extent::new(Window::Steps(window), list);
            let nodes = extent.and_then(|extent| extent.most_nodes(self.base.policy.blocks()));
            nodes.is_ok_and(|nodes| nodes.first().is_none_or(|n| *n <= rows))
        };
        // bisection works because longer windows have at least as many nodes
        let (mut low, mut high) = (0, most);
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if fits(middle) { low = middle } else { high = middle - 1 }
        }
        low
    }

    /// The longest window on these nodes and its model, or the reason why there is nothing to compare.
    pub(crate) fn compares(&self, list: &Nodes) -> std::result::Result<(usize, Effort), Reason> {
        if !list.nodes().iter().any(|n| n.evaluate) {
            return Err(Reason::NoEvaluation);
        }
        let longest = self.longest(list);
        let effort = self.effort.or_else(|| Effort::of(&self.base, list)).ok_or(Reason::ZeroTolerance)?;
        if longest < 2 { Err(Reason::OneStep) } else { Ok((longest, effort)) }
    }

    /// What is chosen where there is nothing to compare.
    pub(crate) fn sequential(&self, reason: Reason) -> Choice {
        Choice {
            window: None,
            reason,
            sequential_seconds: None,
            best: None,
            rows_per_call: None,
            by_parts: Vec::new(),
            latency: self.latency.clone(),
            effort: None,
        }
    }

    /// What is chosen for a prepared problem and a score of so many parts, if a round takes that long.
    pub(crate) fn forecast<B: Backend>(&self, prepared: &Prepared<B>, parts: usize, latency: Latency) -> Choice {
        let list = longest_list(prepared);
        match self.compares(list) {
            Err(reason) => self.sequential(reason),
            Ok((longest, effort)) => {
                self.choose(list, (prepared.count(), prepared.grain(), parts), longest, effort, latency)
            }
        }
    }

    /// Chooses the sampler for `samples` samples on these nodes, and a score of this grain and so many parts.
    pub(crate) fn choose(
        &self,
        list: &Nodes,
        (samples, grain, parts): (usize, usize, usize),
        longest: usize,
        effort: Effort,
        latency: Latency,
    ) -> Choice {
        let (steps, samples) = (list.steps(), samples as f64);
        let most = list.nodes().iter().filter(|n| n.evaluate).count();
        // `more`: how many times as many parts
        let forecast = |window: usize, more: f64| {
            let rounds = effort.rounds(&self.base, window, steps, most);
            let share = window as f64 / steps as f64;
            let rows = share * most as f64 * samples * (1.0 - RUN_OUT * share);
            // a round over the budget is split into several
            let rows = rows.max(samples);
            let held = self.base.row_budget.map_or(rows, |budget| rows.min(budget as f64));
            let rounds = rounds * rows / held;
            let (seconds, rows_per_call) = latency.best_calls(held / more, grain);
            (Forecast { window, rounds, seconds: rounds * seconds }, rows_per_call)
        };
        let sequential = |more: f64| {
            let (seconds, rows_per_call) = latency.best_calls(samples / more, grain);
            (most as f64 * seconds, rows_per_call)
        };
        let best = |more: f64| {
            let of_step = most.div_ceil(steps).saturating_mul(samples as usize);
            let tried = windows(longest, of_step, (grain as f64 * more) as usize);
            tried.map(|window| forecast(window, more)).min_by(|a, b| a.0.seconds.total_cmp(&b.0.seconds))
        };
        let (now, once) = (best(1.0), sequential(1.0));
        let chosen = now.filter(|(b, _)| b.seconds <= GAIN * once.0);
        let window = chosen.map(|(b, _)| b.window);
        let reason = if window.is_some() { Reason::FewerRounds } else { Reason::RowCost };
        let by_parts = (0..=MOST_DOUBLINGS).filter(|_| parts > 0).map(|k| {
            let more = f64::from(1 << k) / parts as f64;
            let parallel = best(more).map_or(f64::INFINITY, |(b, _)| b.seconds);
            (1 << k, parallel.min(sequential(more).0))
        });
        Choice {
            window,
            reason,
            sequential_seconds: Some(once.0),
            best: now.map(|(b, _)| b),
            rows_per_call: chosen.map_or(once.1, |(_, rows)| rows),
            by_parts: by_parts.collect(),
            latency: Some(latency),
            effort: Some(effort),
        }
    }
}

/// Forecasts go up to 2 to this power parts.
const MOST_DOUBLINGS: u32 = 10;

/// The windows that are compared: 2, 4, 8, ..., the longest one, and those that give a network which takes `grain` rows
/// at a time 1, 2, 4, ... times as many. Windows in between would gain at most 4 % if the time is linear in the rows.
/// Networks work in tiles and need as long for some of these windows as for the next power of two, and a latency with
/// few points cannot tell which.
fn windows(longest: usize, rows_of_step: usize, grain: usize) -> impl Iterator<Item = usize> {
    let grains = grain.div_ceil(rows_of_step.max(1)).max(1);
    let doubled =
        move |first: usize| std::iter::successors(Some(first), |w| w.checked_mul(2)).take_while(move |w| *w < longest);
    let whole = doubled(grains).filter(|w| *w > 1 && !w.is_power_of_two());
    doubled(2).chain(whole).chain((longest > 1).then_some(longest))
}

/// If requests differ, the longest one decides.
pub(crate) fn longest_list<B: Backend>(prepared: &Prepared<B>) -> &Nodes {
    let lists = prepared.lists().iter();
    lists.max_by_key(|list| list.nodes().len()).map_or(prepared.list(0), |list| list)
}
