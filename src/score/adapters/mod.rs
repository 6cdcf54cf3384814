//! Scores made from other scores.

mod clip_residual;
mod edm;
mod guided;
mod kernel;
mod learned_variance;
mod own_rows;
mod padded;
pub(super) mod scratch;
mod threshold;

pub use clip_residual::ClipResidual;
pub use edm::EdmPrecondition;
pub use guided::{Guided, Pair};
pub use kernel::Kernel;
pub use learned_variance::LearnedVariance;
pub use padded::Padded;
pub use threshold::{Clip, Threshold};

use crate::backend::Backend;
use crate::error::{BoxError, Error, Result};
use crate::score::{Model, Prediction, Rows, ScoreFn};

/// What an adapter makes of outputs has no meaning for states.
fn check_no_kernel(what: &'static str, inner: &impl Model) -> Result<()> {
    match inner.prediction() {
        Prediction::Next => Err(Error::unsupported(what, "a kernel, which answers the next state", "wrap a network")),
        _ => Ok(()),
    }
}

/// The times that all these ranges share; `None` if none is bounded.
pub(super) fn common_times(ranges: impl IntoIterator<Item = Option<(f64, f64)>>) -> Option<(f64, f64)> {
    ranges.into_iter().flatten().reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)))
}

/// A score with a bound on the rows of one call: a sampler cuts larger rounds into several calls.
///
/// Nothing else changes, and if the result of a row does not depend on the other rows no bit of the samples does.
///
/// ```
/// use piadm::{score::Chunked, Model, Prediction, score_map};
/// let network = score_map(Prediction::Score, |x, _rows| Ok(x.mapv(|v: f32| -v)));
/// let score = Chunked::new(network, 64)?;
/// assert_eq!(score.max_rows(), Some(64));
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Chunked<S> {
    inner: S,
    max_rows: usize,
}

impl<S> Chunked<S> {
    /// Bounds the rows of a call of `inner` by `max_rows`, and by its own bound where that is smaller.
    ///
    /// # Errors
    /// [`Error::Setting`] if `max_rows` is 0.
    pub fn new(inner: S, max_rows: usize) -> Result<Self> {
        if max_rows == 0 {
            return Err(Error::setting("max_rows", max_rows, "at least one row a call"));
        }
        Ok(Chunked { inner, max_rows })
    }
}

impl<S: Model> Model for Chunked<S> {
    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.inner)
    }

    fn max_rows(&self) -> Option<usize> {
        Some(self.inner.max_rows().map_or(self.max_rows, |n| n.min(self.max_rows)))
    }
}

impl<B: Backend, S: ScoreFn<B>> ScoreFn<B> for Chunked<S> {
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, out: B::ViewMut<'_>) -> std::result::Result<(), BoxError> {
        self.inner.eval(x, rows, out)
    }
}
