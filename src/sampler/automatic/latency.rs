//! Measures the cost of a round.

use crate::backend::Backend;
use crate::engine::accept::acceptance::Sweeps;
use crate::engine::observer::{Observer, Round, Silent};
use crate::engine::settings::Picard;
use crate::error::Result;
use crate::nodes::Window;
use crate::problem::{Latency, Problem, Save};
use crate::sampler::automatic::settings::{Automatic, longest_list};
use crate::sampler::interface::Sampler;
use crate::sampler::sequential::Sequential;
use crate::score::{Chunked, ScoreFn};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// The cost of measuring.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probe {
    pub rows: usize,
    pub time: Duration,
    pub cancelled: bool,
}

impl Latency {
    /// Times the first rounds of sequential sampling, in one call and in shorter ones, and of increasingly long windows
    /// on the problem's own initial states, and discards the results. `settings` determine how many windows are
    /// measured: see [`Automatic::max_window`] and [`Automatic::probe_share`].
    ///
    /// ```
    /// use piadm::{problem::Latency, Automatic, Grid, Ou, Prediction, Problem, Sampler, Scheme, score_fn};
    /// let grid = Grid::log_snr(100).between(8.0, 0.01);
    /// let problem = Problem::new(Ou, grid, Scheme::default()).samples(4).shape([2]);
    /// let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| {
    ///     out.zip_mut_with(&x, |o, x| *o = -x);
    ///     Ok(())
    /// });
    /// let latency = Latency::measure(&problem, &mut score, &Automatic::default())?;
    /// let automatic = Automatic::default().latency(latency);
    /// let first = automatic.sample(&problem.clone().seed(1), &mut score)?; // measures nothing
    /// assert_eq!(first.report.probe_rows, 0);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    ///
    /// # Errors
    /// As a run: invalid settings, a failing score, numbers that are not finite.
    pub fn measure<B: Backend>(
        problem: &Problem<B>,
        score: &mut dyn ScoreFn<B>,
        settings: &Automatic,
    ) -> Result<Latency> {
        measure(problem, score, settings, &mut Silent).map(|(latency, _)| latency)
    }
}

/// Ratio of the lengths of consecutive windows that are measured.
const STRIDE: usize = 8;
/// Rows get cheaper in a longer window if a row takes at most this fraction of its time in the window before.
const CHEAPER: f64 = 0.9;

/// Until `observer` cancels: then the probe says so.
pub(super) fn measure<B: Backend>(
    problem: &Problem<B>,
    score: &mut dyn ScoreFn<B>,
    settings: &Automatic,
    observer: &mut dyn Observer<B>,
) -> Result<(Latency, Probe)> {
    settings.check()?;
    let started = Instant::now();
    let prepared = problem.prepare(&*score)?;
    let list = longest_list(&prepared);
    let (rounds, steps) = (list.nodes().iter().filter(|n| n.evaluate).count(), list.steps());
    let longest = settings.longest(list);
    let grain = prepared.grain().div_ceil(rounds.div_ceil(steps).max(1) * prepared.count());
    drop(prepared);
    let problem = problem.clone().save(Save::Nothing);
    let mut probe = Probe::default();
    let mut watch = Stopwatch::new(2, observer);
    Sequential.run(&problem, score, &mut watch)?;
    probe.rows += watch.evaluated;
    probe.cancelled = watch.cancelled;
    let (first_rows, seconds) = (watch.rows, watch.seconds());
    let mut points = vec![(first_rows, seconds)];
    let budget = settings.probe_share * rounds as f64 * seconds;
    // shorter calls, as long as rows get cheaper in them; in the worst case each takes as long as the whole round
    let (mut of_call, mut each) = (first_rows, seconds);
    while of_call > 1 && !probe.cancelled {
        let shorter = of_call.div_ceil(STRIDE);
        let calls = first_rows.div_ceil(shorter);
        if (2 * calls) as f64 * each > budget - started.elapsed().as_secs_f64() {
            break;
        }
        let mut watch = Stopwatch::new(2, observer);
        Sequential.run(&problem, &mut Chunked::new(&mut *score, shorter)?, &mut watch)?;
        probe.rows += watch.evaluated;
        probe.cancelled = watch.cancelled;
        let now = (watch.seconds() / calls as f64).min(each);
        let cheaper = now / (shorter as f64) < CHEAPER * each / of_call as f64;
        points.insert(0, (shorter, now));
        (of_call, each) = (shorter, now);
        if !cheaper {
            break;
        }
    }
    // a short run gets a short probe
    let mut window = (steps / 16).clamp(2, STRIDE).next_multiple_of(grain).min(longest);
    // the first two rounds touch memory for the first time
    let mut repeats = 3;
    while window > 1 && !probe.cancelled {
        // a probe ends before it matters whether a node converges, so the bound on sweeps must not make it fail
        let sweeps = settings.base.sweeps.most().map_or(Sweeps::Unbounded, Sweeps::AtMost);
        let sampler = Picard { window: Window::Steps(window), sweeps, warm_up: 0, ..settings.base.clone() };
        let mut watch = Stopwatch { row: seconds / first_rows as f64, ..Stopwatch::new(repeats, observer) };
        sampler.run(&problem, score, &mut watch)?;
        probe.rows += watch.evaluated;
        probe.cancelled = watch.cancelled;
        let Some(&(rows, earlier)) = points.last().filter(|p| p.0 < watch.rows) else { break };
        let seconds = watch.seconds();
        // more rows do not take less time: earlier measurements that were slower had been disturbed
        points.iter_mut().for_each(|p| p.1 = p.1.min(seconds));
        points.push((watch.rows, seconds));
        let latency = Latency { points };
        let left = budget - started.elapsed().as_secs_f64();
        // the longest window for which there is time, as long as rows still get cheaper
        let cheaper = seconds / (watch.rows as f64) < CHEAPER * earlier / rows as f64;
        let expected = |next: usize| latency.line(watch.rows as f64 * next as f64 / window as f64);
        let fits = |repeats: usize| {
            let next = [STRIDE, 4, 2].into_iter().map(|k| window.saturating_mul(k).min(longest));
            next.filter(|w| *w > window).find(|w| repeats as f64 * expected(*w) <= left).map(|w| (w, repeats))
        };
        let next = fits(2).or_else(|| fits(1)).filter(|_| cheaper);
        points = latency.points;
        let Some(next) = next else { break };
        (window, repeats) = next;
    }
    probe.time = started.elapsed();
    Ok((Latency { points }, probe))
}

/// Times rounds that are as large as the first one, and ends the run after `repeats` of them.
struct Stopwatch<'o, B: Backend> {
    /// Who may cancel.
    observer: &'o mut dyn Observer<B>,
    cancelled: bool,
    repeats: usize,
    /// Seconds per row in a smaller round: if rows do not get cheaper, two rounds are enough.
    row: f64,
    before: Instant,
    /// Rows of the first round; `evaluated` counts the rows of all rounds.
    rows: usize,
    evaluated: usize,
    least: Duration,
}

impl<'o, B: Backend> Stopwatch<'o, B> {
    fn new(repeats: usize, observer: &'o mut dyn Observer<B>) -> Self {
        let (before, least) = (Instant::now(), Duration::MAX);
        Stopwatch { observer, cancelled: false, repeats, row: 0.0, before, rows: 0, evaluated: 0, least }
    }

    /// The fastest round, but at least a nanosecond, so that the result is above 0.
    fn seconds(&self) -> f64 {
        self.least.as_secs_f64().max(1e-9)
    }
}

impl<B: Backend> Observer<B> for Stopwatch<'_, B> {
    fn on_call(&mut self) -> ControlFlow<()> {
        let flow = self.observer.on_call();
        self.cancelled |= flow.is_break();
        flow
    }

    fn on_round(&mut self, round: &Round<'_>) -> ControlFlow<()> {
        let now = Instant::now();
        self.rows = self.rows.max(round.rows);
        if round.rows == self.rows {
            self.least = self.least.min(now.duration_since(self.before));
        }
        self.evaluated += round.rows;
        self.before = now;
        let dear = self.seconds() > CHEAPER * self.row * self.rows as f64;
        let enough = round.round >= self.repeats || (round.round == 2 && self.row > 0.0 && dear);
        if enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
