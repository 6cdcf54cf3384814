//! What all samplers have in common.

use crate::backend::Backend;
use crate::engine::observer::{Observer, Silent};
use crate::error::Result;
use crate::problem::{Problem, Solution};
use crate::score::ScoreFn;

/// Turns a problem and a score into samples. Usable as `dyn Sampler<B>`.
///
/// Every sampler gives the same trajectory up to its tolerance: a tolerance of zero gives the bits of
/// [`Sequential`](crate::Sequential), for a score whose row results do not depend on the other rows. Only
/// [`Chords`](crate::Chords) has no tolerance.
pub trait Sampler<B: Backend>: Send + Sync {
    /// Samples, telling `observer` about every round.
    ///
    /// # Errors
    /// Bad settings, a failing score, numbers that are not finite, no convergence: see [`Error`](crate::Error). What
    /// was delivered to [`Observer::on_sample`] before an error remains valid.
    fn run(
        &self,
        problem: &Problem<B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Solution<B>>;

    /// Samples without an observer.
    ///
    /// # Errors
    /// As [`run`](Sampler::run).
    fn sample(&self, problem: &Problem<B>, score: &mut dyn ScoreFn<B>) -> Result<Solution<B>> {
        self.run(problem, score, &mut Silent)
    }
}
