//! Networks that take a fixed number of rows.

use super::own_rows::OwnRows;
use super::scratch::Scratch;
use crate::backend::{Backend, Summand};
use crate::error::{BoxError, Error, Result};
use crate::score::{Model, Prediction, Rows, ScoreFn, check_call};

/// A network that is always called with the same number of rows, as captured CUDA graphs, TensorRT engines and compiled
/// ONNX models are.
///
/// Larger calls are cut, and the last one is filled by repeating its last row; what is answered to the copies is thrown
/// away. [`Report::evaluations`](crate::Report::evaluations) counts them, `score_rows` does not. Windows that fill the
/// calls waste nothing: [`Window::Grains`](crate::Window::Grains).
///
/// ```
/// use piadm::prelude::*;
/// use piadm::score::Padded;
/// let network = score_map(Prediction::Score, |x, _rows| {
///     assert_eq!(x.nrows(), 16); // a graph for 16 rows
///     x.mapv(|v: f32| -v)
/// });
/// let mut score = Padded::new(network, 16)?;
/// let problem = Problem::new(Ou, Grid::log_snr(50).between(8.0, 0.01), Scheme::ddim()).shape([3]);
/// let report = Picard::default().window(Window::Grains { grains: 1 }).sample(&problem, &mut score)?.report;
/// assert_eq!(report.evaluations, 16 * report.score_calls);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Padded<S> {
    inner: S,
    rows: usize,
    filled: OwnRows,
    states: Scratch,
    outputs: Scratch,
}

/// So many rows times components or heads do not overflow.
const MOST_ROWS: usize = 1 << 31;

impl<S: Model> Padded<S> {
    /// Calls `inner` with exactly `rows` rows.
    ///
    /// # Errors
    /// [`Error::Setting`] if `rows` is 0, above `inner`'s own bound, or above 2^31.
    pub fn new(inner: S, rows: usize) -> Result<Self> {
        if rows == 0 || rows > MOST_ROWS || inner.max_rows().is_some_and(|most| rows > most) {
            return Err(Error::setting("rows", rows, "1 to 2^31, and at most the network's own max_rows"));
        }
        let (filled, states, outputs) = Default::default();
        Ok(Padded { inner, rows, filled, states, outputs })
    }
}

impl<S: Model> Model for Padded<S> {
    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.inner)
    }

    fn max_rows(&self) -> Option<usize> {
        Some(self.rows)
    }

    fn evaluations(&self, rows: usize) -> usize {
        self.inner.evaluations(self.rows).saturating_mul(rows.div_ceil(self.rows))
    }

    fn grain(&self) -> usize {
        self.rows
    }

    fn sees_whole_calls(&self) -> bool {
        false
    }
}

impl<B: Backend, S: ScoreFn<B>> ScoreFn<B> for Padded<S> {
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, mut out: B::ViewMut<'_>) -> std::result::Result<(), BoxError> {
        let [seen, heads] = check_call::<B>(x, rows, &out, &self.inner)?;
        let each = self.rows;
        for first in (0..rows.len()).step_by(each) {
            let range = first..rows.len().min(first + each);
            let known = rows.range(range.clone());
            let states = B::part(x, seen * range.start..seen * range.end);
            let mut answers = B::part_mut(&mut out, heads * range.start..heads * range.end);
            let count = range.len();
            if count == each {
                self.inner.eval(states, &known, answers)?;
                continue;
            }
            let (backend, filled) = self.states.room::<B>("the states of a padded network", x, seen * each)?;
            let (_, answered) = self.outputs.room::<B>("the outputs of a padded network", x, heads * each)?;
            backend.combine(&[Summand::of(&[1.0], states)], None, backend.view_mut(filled, 0..seen * count))?;
            let last = B::part(states, seen * (count - 1)..seen * count);
            for copy in count..each {
                let copy = backend.view_mut(filled, seen * copy..seen * (copy + 1));
                backend.combine(&[Summand::of(&[1.0], last)], None, copy)?;
            }
            let which = (0..count).chain(std::iter::repeat_n(count - 1, each - count));
            let states = backend.view(filled, 0..seen * each);
            let known = self.filled.of(&known, which);
            self.inner.eval(states, &known, backend.view_mut(answered, 0..heads * each))?;
            let answered = backend.view(answered, 0..heads * count);
            backend.combine(&[Summand::of(&[1.0], answered)], None, B::part_mut(&mut answers, 0..heads * count))?;
        }
        Ok(())
    }
}
