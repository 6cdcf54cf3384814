//! Samplers: one trait, a sequential reference, and the parallel engine.

mod anderson;
mod arrays;
mod automatic;
mod coarse;
mod corrector;
mod parareal;
mod piadm;
mod picard;
mod problem;
mod recurrence;
mod report;
mod sequential;
mod slopes;
mod solution;
mod variances;
mod workspace;

pub use automatic::{Automatic, Choice, Effort, Forecast, Latency, Reason};
pub use corrector::{Correction, PredictorCorrector};
pub use parareal::Parareal;
pub use piadm::{Dynamics, Piadm, Recipe};
pub use picard::{Coupling, Entry, Linearisation, OnStall, Picard, Policy, Tolerance, Window};
pub use problem::{Problem, Save};
pub use report::{Report, Stop};
pub use sequential::Sequential;
pub use solution::{Path, Solution};
pub use variances::Variances;

use crate::backend::Backend;
use crate::error::Result;
use crate::score::ScoreFn;
use std::ops::ControlFlow;

/// Turns a problem and a score into samples. Usable as `dyn Sampler<B>`.
///
/// Every sampler gives the same trajectory up to its tolerance: a tolerance of zero gives the bits of [`Sequential`], for a
/// score whose row results do not depend on the other rows.
pub trait Sampler<B: Backend>: Send + Sync {
    /// Samples, telling `observer` about every round.
    ///
    /// # Errors
    /// Bad settings, a failing score, numbers that are not finite, no convergence: see [`Error`](crate::Error). What was
    /// delivered to [`Observer::on_sample`] before an error remains valid.
    fn run(
        &self,
        problem: &Problem<'_, B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Solution<B>>;

    /// Samples without an observer.
    ///
    /// # Errors
    /// As [`run`](Sampler::run).
    fn sample(&self, problem: &Problem<'_, B>, score: &mut dyn ScoreFn<B>) -> Result<Solution<B>> {
        self.run(problem, score, &mut Silent)
    }
}

/// What an observer learns after a round.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Round<'a> {
    /// Number of the round, 1 is the first.
    pub round: usize,
    /// Score rows of this round.
    pub rows: usize,
    /// Steps each sample has finished, in the order of the batch.
    pub finished: &'a [usize],
    /// Steps a sample needs.
    pub steps: usize,
    /// Largest rms change among the nodes that left a window in this round.
    pub residual: f64,
}

/// Watches a run: progress, cancelling, delivery of samples as they finish. `FnMut(&Round) -> ControlFlow<()>` closures are
/// observers through [`on_round`].
pub trait Observer<B: Backend> {
    /// Called after every round; `Break` cancels the run, which then returns what it has ([`Stop::Cancelled`]).
    fn on_round(&mut self, round: &Round<'_>) -> ControlFlow<()> {
        let _ = round;
        ControlFlow::Continue(())
    }

    /// Called once a sample, as soon as it is finished: its place in the batch, its id and its state (1 x dim).
    fn on_sample(&mut self, slot: usize, id: u32, state: B::View<'_>) {
        let _ = (slot, id, state);
    }
}

struct Silent;
impl<B: Backend> Observer<B> for Silent {}

struct OnRound<F>(F);
impl<B: Backend, F: FnMut(&Round<'_>) -> ControlFlow<()>> Observer<B> for OnRound<F> {
    fn on_round(&mut self, round: &Round<'_>) -> ControlFlow<()> {
        (self.0)(round)
    }
}

/// An observer from a closure that is called after every round.
///
/// ```
/// use piadm::{Cpu, Ou, Picard, Prediction, Problem, Sampler, Scheme, TimeGrid, on_round, score_fn};
/// use std::ops::ControlFlow;
/// let mut score = score_fn::<f64>(Prediction::Score, |x, _, mut out| { out.zip_mut_with(&x, |o, x| *o = -x); Ok(()) });
/// let grid = TimeGrid::uniform(4.0, 0.1, 40)?;
/// let problem = Problem::new(Cpu::<f64>::new(), &Ou, grid, Scheme::default(), (2, 3));
/// let mut rounds = 0;
/// let mut watch = on_round(|round| { rounds = round.round; ControlFlow::Continue(()) });
/// let solution = Picard::default().run(&problem, &mut score, &mut watch)?;
/// drop(watch);
/// assert_eq!(rounds, solution.report.rounds);
/// # Ok::<(), piadm::Error>(())
/// ```
pub fn on_round<B: Backend>(f: impl FnMut(&Round<'_>) -> ControlFlow<()>) -> impl Observer<B> {
    OnRound(f)
}
