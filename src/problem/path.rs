//! States along the trajectory.

use crate::backend::Real;
use crate::error::{Error, Result, filled};
use ndarray::{Array3, ArrayView2, ArrayViewMut1, Axis};

/// Saved states of a run. If a batch joins requests of different lengths, samples that lack a step are NaN there.
///
/// ```
/// use piadm::{backend::Real, Path};
/// let path = Path::<f32>::new(vec![0, 10], ndarray::Array3::zeros((2, 4, 3)))?;
/// assert!(path.at(10).is_some() && path.at(5).is_none());
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Path<T> {
    steps: Vec<usize>,
    states: Array3<T>,
}

impl<T: Real> Path<T> {
    /// States of shape (steps.len(), samples, dim) at ascending steps.
    ///
    /// # Errors
    /// [`Error::Shape`] if the lengths differ, [`Error::Setting`] if the steps are not ascending.
    pub fn new(steps: Vec<usize>, states: Array3<T>) -> Result<Self> {
        if states.len_of(Axis(0)) != steps.len() {
            let mut expected = states.shape().to_vec();
            if let Some(first) = expected.first_mut() {
                *first = steps.len();
            }
            return Err(Error::Shape { what: "the path", found: states.shape().to_vec(), expected });
        }
        if !steps.is_sorted_by(|a, b| a < b) {
            return Err(Error::setting("steps of the path", format!("{steps:?}"), "ascending steps"));
        }
        Ok(Path { steps, states })
    }

    /// The saved steps, ascending.
    pub fn steps(&self) -> &[usize] {
        &self.steps
    }

    /// All states, with shape (steps, samples, dim).
    pub fn states(&self) -> &Array3<T> {
        &self.states
    }

    /// The states (samples x dim) at a saved step.
    pub fn at(&self, step: usize) -> Option<ArrayView2<'_, T>> {
        let i = self.steps.binary_search(&step).ok()?;
        Some(self.states.index_axis(Axis(0), i))
    }

    pub(crate) fn for_steps(steps: Vec<usize>, samples: usize, dim: usize, fill: T) -> Result<Self> {
        let what = "the saved path";
        let len = steps.len().checked_mul(samples).and_then(|n| n.checked_mul(dim));
        let too_large = || Error::TooLarge { what, why: format!("{} states of {samples} x {dim}", steps.len()) };
        let len = len.ok_or_else(too_large)?;
        let data = filled(what, len, fill)?;
        let shape = (steps.len(), samples, dim);
        Ok(Path { states: Array3::from_shape_vec(shape, data).map_err(|_| too_large())?, steps })
    }

    pub(crate) fn states_mut(&mut self) -> &mut Array3<T> {
        &mut self.states
    }

    /// Index at which a step is saved, if it is.
    pub(crate) fn place(&self, step: usize) -> Option<usize> {
        self.steps.binary_search(&step).ok()
    }

    /// Drops the steps after `last`.
    pub(crate) fn truncate(&mut self, last: usize) {
        let kept = self.steps.partition_point(|s| *s <= last);
        if kept < self.steps.len() {
            self.steps.truncate(kept);
            self.states.slice_axis_inplace(Axis(0), ndarray::Slice::from(..kept));
        }
    }

    pub(crate) fn check(&self, samples: usize, dim: usize) -> Result<()> {
        let expected = vec![self.steps.len(), samples, dim];
        if self.steps.is_empty() {
            return Err(Error::setting("steps of the path of first guesses", "none", "at least 1 saved step"));
        }
        if self.states.shape() != expected.as_slice() {
            return Err(Error::Shape {
                what: "the path of first guesses",
                found: self.states.shape().to_vec(),
                expected,
            });
        }
        if let Some(bad) = self.states.iter().find(|v| !v.is_finite()) {
            return Err(Error::setting("the path of first guesses", bad, "finite numbers"));
        }
        Ok(())
    }

    /// One sample's state (1 x dim) at the last saved step that is not later than `step`, or else at the first
    /// saved step.
    pub(crate) fn at_or_before(&self, step: usize, slot: usize) -> Option<ArrayView2<'_, T>> {
        let i = self.steps.partition_point(|s| *s <= step).saturating_sub(1);
        (i < self.steps.len())
            .then(|| self.states.index_axis(Axis(0), i).index_axis_move(Axis(0), slot).insert_axis(Axis(0)))
    }

    /// The row into which one sample's state at a saved step is written.
    pub(crate) fn row_mut(&mut self, place: usize, slot: usize) -> ArrayViewMut1<'_, T> {
        self.states.index_axis_mut(Axis(0), place).index_axis_move(Axis(0), slot)
    }
}
