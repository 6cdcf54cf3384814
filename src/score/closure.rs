//! Closures as scores.

use crate::backend::{Cpu, Real};
use crate::error::{BoxError, Error};
use crate::score::{Model, Prediction, Rows, ScoreFn};
use ndarray::{
    Array, ArrayView, ArrayView1, ArrayView2, ArrayView4, ArrayViewMut, ArrayViewMut1, ArrayViewMut2, Axis, Dimension,
    Ix2, Ix4,
};
#[cfg(feature = "rayon")]
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// A score from a closure that writes its output, for scores on the CPU.
///
/// The closure gets the states (rows x dim), what is known of each row, and the output to fill (rows x dim). Both
/// arrays are in standard layout.
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

/// A score from a closure that evaluates one row, for networks that gain nothing from a batch or lose by it: the rows
/// of a call run on the threads of the current rayon pool, one row at a time on each. Without the feature `rayon` they
/// run one after another.
///
/// The closure gets one state (dim elements), what is known of it (a [`Rows`] with one entry), and the output to fill.
/// It is called from several threads, so it may not change anything; it may well lock scratch memory of its own. The
/// result of a row cannot depend on the other rows.
///
/// ```
/// use piadm::{Prediction, score_rows};
/// // data that are all zero: eps = x / sigma
/// let score = score_rows(Prediction::Noise, |x, row, mut out| {
///     out.assign(&(&x / row.sigma[0] as f32));
///     Ok(())
/// });
/// # fn is_score(_: impl piadm::ScoreFn<piadm::Cpu<f32>>) {}
/// # is_score(score);
/// ```
pub fn score_rows<T: Real>(
    prediction: Prediction,
    closure: impl Fn(ArrayView1<'_, T>, &Rows<'_>, ArrayViewMut1<'_, T>) -> Result<(), BoxError> + Sync,
) -> impl ScoreFn<Cpu<T>> {
    score_fn(prediction, move |x: ArrayView2<'_, T>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, T>| {
        let of_row = |(i, out): (usize, ArrayViewMut1<'_, T>)| closure(x.row(i), &rows.range(i..i + 1), out).err();
        let outputs = out.axis_iter_mut(Axis(0));
        // of several errors that of the first row, whatever came first in time
        #[cfg(feature = "rayon")]
        let failed = outputs.into_par_iter().enumerate().with_max_len(1).map(of_row).find_map_first(|error| error);
        #[cfg(not(feature = "rayon"))]
        let failed = outputs.into_iter().enumerate().find_map(of_row);
        failed.map_or(Ok(()), Err)
    })
}

/// A score from a closure that returns its output as an array of its own, as most networks do, for scores on the CPU.
///
/// The closure gets the states (rows x dim, in standard layout) and what is known of each row. It returns an array of
/// the same shape, or a `Result` of one whose error is [`BoxError`], so that `?` works in it. An output of another
/// shape is an [`Error::Shape`] in the error that the score returns.
///
/// ```
/// use piadm::{Prediction, score_map};
/// let score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f64| -v));
/// let fails = score_map(Prediction::Score, |x, _rows| {
///     let gain: f64 = "-1".parse()?;
///     Ok(&x * gain)
/// });
/// # fn is_score(_: impl piadm::ScoreFn<piadm::Cpu<f64>>) {}
/// # is_score(score);
/// # is_score(fails);
/// ```
pub fn score_map<T: Real, R: IntoOutput<T, Ix2>>(
    prediction: Prediction,
    mut closure: impl FnMut(ArrayView2<'_, T>, &Rows<'_>) -> R,
) -> impl ScoreFn<Cpu<T>> {
    score_fn(prediction, move |x: ArrayView2<'_, T>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, T>| {
        let result = closure(x, rows).into_output()?;
        assign(result.view(), out.view_mut())
    })
}

/// The same for networks of images: the closure gets the states as \[rows, channels, height, width\] and returns its
/// output in that shape.
///
/// The problem's samples must have three axes, [`Problem::shape`](crate::Problem::shape)`([channels, height, width])`.
///
/// ```
/// use piadm::prelude::*;
/// let mut unet = score_images(Prediction::Noise, |x: ndarray::ArrayView4<f32>, _rows| {
///     assert_eq!(x.shape()[1..], [3, 8, 8]);
///     x.mapv(|v| 0.5 * v) // net.forward(x, rows.t)
/// });
/// let problem = Problem::new(Discrete::stable_diffusion(), Grid::log_snr(20), Scheme::default()).shape([3, 8, 8]);
/// assert_eq!(Picard::default().sample(&problem, &mut unet)?.samples.dim(), (1, 3 * 8 * 8));
/// # Ok::<(), piadm::Error>(())
/// ```
pub fn score_images<T: Real, R: IntoOutput<T, Ix4>>(
    prediction: Prediction,
    mut closure: impl FnMut(ArrayView4<'_, T>, &Rows<'_>) -> R,
) -> impl ScoreFn<Cpu<T>> {
    score_fn(prediction, move |x: ArrayView2<'_, T>, rows: &Rows<'_>, out: ArrayViewMut2<'_, T>| {
        let not_images = || Error::Unsupported {
            what: "score_images",
            with: format!("samples of shape {:?}", rows.shape),
            instead: "give the problem .shape([channels, height, width])",
        };
        let &[channels, height, width] = rows.shape else { return Err(not_images().into()) };
        let shape = (x.nrows(), channels, height, width);
        let images = x.into_shape_with_order(shape).map_err(|_| not_images())?;
        let result = closure(images, rows).into_output()?;
        assign(result.view(), out.into_shape_with_order(shape).map_err(|_| not_images())?)
    })
}

fn assign<T: Real, D: Dimension>(result: ArrayView<'_, T, D>, mut out: ArrayViewMut<'_, T, D>) -> Result<(), BoxError> {
    if result.shape() != out.shape() {
        let (found, expected) = (result.shape().to_vec(), out.shape().to_vec());
        return Err(Error::Shape { what: "the output of the score", found, expected }.into());
    }
    out.assign(&result);
    Ok(())
}

/// What a closure may return to [`score_map`] and [`score_images`]: an array, or a `Result` of one.
pub trait IntoOutput<T, D> {
    /// The array, or why there is none.
    ///
    /// # Errors
    /// What the network failed with.
    fn into_output(self) -> Result<Array<T, D>, BoxError>;
}

impl<T, D> IntoOutput<T, D> for Array<T, D> {
    fn into_output(self) -> Result<Array<T, D>, BoxError> {
        Ok(self)
    }
}

impl<T, D> IntoOutput<T, D> for Result<Array<T, D>, BoxError> {
    fn into_output(self) -> Result<Array<T, D>, BoxError> {
        self
    }
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
