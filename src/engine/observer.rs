//! Observers of a run.

use crate::backend::Backend;
use std::ops::ControlFlow;

/// What an observer is told after each round.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Round<'a> {
    /// Number of the round, starting from 1.
    pub round: usize,
    /// Number of score rows in this round.
    pub rows: usize,
    /// Number of steps that each sample has finished, in batch order.
    pub finished: &'a [usize],
    /// Number of steps per sample.
    pub steps: usize,
    /// Largest rms change among the nodes that left a window in this round.
    pub residual: f64,
}

/// Watches a run, to show progress, to cancel it, or to deliver samples as they finish. [`on_round`] turns a
/// closure `FnMut(&Round) -> ControlFlow<()>` into an observer.
pub trait Observer<B: Backend> {
    /// Called after every round. `Break` cancels the run, which then returns what it has
    /// ([`Stop::Cancelled`](crate::Stop::Cancelled)).
    fn on_round(&mut self, round: &Round<'_>) -> ControlFlow<()> {
        let _ = round;
        ControlFlow::Continue(())
    }

    /// Called before every call of the score, of which a round has several where
    /// [`Model::max_rows`](crate::Model::max_rows) cuts it, and while [`Automatic`](crate::Automatic) measures. `Break`
    /// cancels the run as after the round before: what the unfinished round has evaluated is thrown away.
    fn on_call(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// Called once per sample, as soon as it is finished, with its place in the batch, its id and its state (1 x
    /// dim). How long a sample takes depends on the sample: those that come first are no fair selection of all of
    /// them, under [`Acceptance::Law`](crate::Acceptance::Law) either.
    fn on_sample(&mut self, slot: usize, id: u32, state: B::View<'_>) {
        let _ = (slot, id, state);
    }
}

pub(crate) struct Silent;
impl<B: Backend> Observer<B> for Silent {}

/// See [`on_round`].
#[derive(Clone, Debug)]
pub struct OnRound<F>(F);

impl<B: Backend, R: IntoFlow, F: FnMut(&Round<'_>) -> R> Observer<B> for OnRound<F> {
    fn on_round(&mut self, round: &Round<'_>) -> ControlFlow<()> {
        (self.0)(round).into_flow()
    }
}

/// What a closure may return to [`on_round`]: nothing, or whether to go on.
pub trait IntoFlow {
    /// Whether to go on.
    fn into_flow(self) -> ControlFlow<()>;
}

impl IntoFlow for () {
    fn into_flow(self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl IntoFlow for ControlFlow<()> {
    fn into_flow(self) -> ControlFlow<()> {
        self
    }
}

/// An observer from a closure that is called after every round. It returns nothing, or `Break` to cancel the run.
///
/// ```
/// use piadm::prelude::*;
/// use piadm::sampler::on_round;
/// let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
/// let problem = Problem::new(Ou, Grid::uniform(40).between(4.0, 0.1), Scheme::default()).shape([3]);
/// let mut rounds = 0;
/// let mut watch = on_round(|round| rounds = round.round);
/// let solution = Picard::default().run(&problem, &mut score, &mut watch)?;
/// assert_eq!(rounds, solution.report.rounds);
/// # Ok::<(), piadm::Error>(())
/// ```
pub fn on_round<R: IntoFlow, F: FnMut(&Round<'_>) -> R>(f: F) -> OnRound<F> {
    OnRound(f)
}
