//! Closures as scores.

use crate::backend::{Cpu, Real};
use crate::error::{BoxError, Error};
use crate::score::{Model, Prediction, Rows, ScoreFn};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

/// A score from a closure that writes its output, for scores on the CPU.
///
/// The closure gets the states (rows x dim), what is known of each row, and the output to fill (rows x dim).
///
/// ```
/// use piadm::{Prediction, score_fn};
/// // data that are all zero: eps = x / sigma
/// let score = score_fn(Prediction::Noise, |x, rows, mut out| {
///     for (i, (x, mut out)) in x.rows().into_iter().zip(out.rows_mut()).enumerate() {
///         out.assign(&(&x / rows.sigma[i] as f32));
///     }
///     Ok(())
/// });
/// # fn is_score(_: impl piadm::ScoreFn<piadm::Cpu<f32>>) {}
/// # is_score(score);
/// ```
pub fn score_fn<T: Real>(
    prediction: Prediction,
    closure: impl FnMut(ArrayView2<'_, T>, &Rows<'_>, ArrayViewMut2<'_, T>) -> Result<(), BoxError>,
) -> impl ScoreFn<Cpu<T>> {
    Closure { prediction, closure }
}

/// A score from a closure that returns its output as an array of its own, as most networks do, for scores on the CPU.
///
/// An output of another shape than the states' is an [`Error::Shape`] in the error that the score returns.
///
/// ```
/// use piadm::{Prediction, score_map};
/// let score = score_map(Prediction::Score, |x, _rows| Ok(x.mapv(|v: f64| -v)));
/// # fn is_score(_: impl piadm::ScoreFn<piadm::Cpu<f64>>) {}
/// # is_score(score);
/// ```
pub fn score_map<T: Real>(
    prediction: Prediction,
    mut closure: impl FnMut(ArrayView2<'_, T>, &Rows<'_>) -> Result<Array2<T>, BoxError>,
) -> impl ScoreFn<Cpu<T>> {
    score_fn(prediction, move |x: ArrayView2<'_, T>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, T>| {
        let result = closure(x, rows)?;
        if result.shape() != out.shape() {
            let (found, expected) = (result.shape().to_vec(), out.shape().to_vec());
            return Err(Error::Shape { what: "the output of the score", found, expected }.into());
        }
        out.assign(&result);
        Ok(())
    })
}

struct Closure<F> {
    prediction: Prediction,
    closure: F,
}

impl<F> Model for Closure<F> {
    fn prediction(&self) -> Prediction {
        self.prediction
    }
}

impl<T: Real, F> ScoreFn<Cpu<T>> for Closure<F>
where
    F: FnMut(ArrayView2<'_, T>, &Rows<'_>, ArrayViewMut2<'_, T>) -> Result<(), BoxError>,
{
    fn eval(&mut self, x: ArrayView2<'_, T>, rows: &Rows<'_>, out: ArrayViewMut2<'_, T>) -> Result<(), BoxError> {
        (self.closure)(x, rows, out)
    }
}
