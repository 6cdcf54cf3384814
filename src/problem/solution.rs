//! What a run returns.

use crate::backend::Backend;
use crate::problem::{Path, Report};

/// Samples and what it took to make them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Solution<B: Backend> {
    /// The samples, samples x dim, in the order of the batch. After a cancelled run an unfinished sample stands at its
    /// last finished node.
    pub samples: B::Array,
    /// The states that [`Save`](crate::Save) asked for.
    pub path: Path<B::Elem>,
    /// Rounds, rows, residuals, times.
    pub report: Report,
}
