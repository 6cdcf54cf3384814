//! The user's network: one batched call is one round.

mod adapters;
mod closure;
mod mixture;

pub use adapters::{Chunked, Clip, EdmPrecondition, Guided, Pair, Threshold};
pub use closure::{score_fn, score_map};
pub use mixture::Mixture;

use crate::backend::{Backend, Real};
use crate::error::{BoxError, Error};
use crate::prediction::Prediction;
use ndarray::{ArrayView2, ArrayViewMut2};

/// What a sampler knows of the rows of one call: row `i` of the batch has time `t[i]` and so on.
///
/// ```
/// use piadm::Rows;
/// let rows = Rows::new(&[0.3, 0.1], &[0.9, 0.97], &[0.4, 0.2], &[7, 7], &[0, 0]).ok_or("lengths differ")?;
/// assert_eq!(rows.len(), 2);
/// assert_eq!(rows.range(1..2).sigma, [0.2]);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Rows<'a> {
    /// Time of each row; rows of one call have different times.
    pub t: &'a [f64],
    /// alpha(t) of each row.
    pub alpha: &'a [f64],
    /// sigma(t) of each row.
    pub sigma: &'a [f64],
    /// Sample id of each row: the number that addresses its noise.
    pub sample: &'a [u32],
    /// Place of the row's sample in the batch, 0 to samples - 1: use it to look up a label or a prompt.
    pub slot: &'a [usize],
}

impl<'a> Rows<'a> {
    /// Rows for calling a score outside of a sampler; all slices have one entry a row. `None` if their lengths differ.
    pub fn new(t: &'a [f64], alpha: &'a [f64], sigma: &'a [f64], sample: &'a [u32], slot: &'a [usize]) -> Option<Self> {
        let n = t.len();
        (alpha.len() == n && sigma.len() == n && sample.len() == n && slot.len() == n).then_some(Rows {
            t,
            alpha,
            sigma,
            sample,
            slot,
        })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.t.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.t.is_empty()
    }

    /// The rows of a range; an empty selection where the range does not fit.
    pub fn range(&self, range: std::ops::Range<usize>) -> Rows<'a> {
        Rows {
            t: self.t.get(range.clone()).unwrap_or(&[]),
            alpha: self.alpha.get(range.clone()).unwrap_or(&[]),
            sigma: self.sigma.get(range.clone()).unwrap_or(&[]),
            sample: self.sample.get(range.clone()).unwrap_or(&[]),
            slot: self.slot.get(range).unwrap_or(&[]),
        }
    }
}

/// A score: the user's network, called once a round on all active rows at once.
///
/// `x` has shape rows x dim; `out` has the same shape and must be written completely, with finite numbers. If the
/// result of a row does not depend on the other rows of the call, parallel sampling at tolerance zero gives the
/// sequential samples bit for bit.
///
/// A closure becomes a score with [`score_fn`] or [`score_map`]; a type of your own may keep weights and buffers. `&mut
/// S` and `Box<S>` are scores too, also of `dyn ScoreFn<B>`.
///
/// ```
/// use piadm::ndarray::{ArrayView2, ArrayViewMut2};
/// use piadm::{BoxError, Cpu, Prediction, Rows, ScoreFn};
///
/// /// The exact oracle of data that are standard normal.
/// struct Normal;
///
/// impl ScoreFn<Cpu<f32>> for Normal {
///     fn prediction(&self) -> Prediction {
///         Prediction::Score
///     }
///
///     fn eval(
///         &mut self,
///         x: ArrayView2<'_, f32>,
///         rows: &Rows<'_>,
///         mut out: ArrayViewMut2<'_, f32>,
///     ) -> Result<(), BoxError> {
///         for (i, (x, mut out)) in x.rows().into_iter().zip(out.rows_mut()).enumerate() {
///             let variance = rows.alpha[i].powi(2) + rows.sigma[i].powi(2);
///             out.assign(&(&x * (-1.0 / variance) as f32));
///         }
///         Ok(())
///     }
/// }
/// # let _ = Normal;
/// ```
pub trait ScoreFn<B: Backend> {
    /// What the output means.
    fn prediction(&self) -> Prediction;

    /// Evaluates the network on every row of `x` and writes its output to the same row of `out`.
    ///
    /// # Errors
    /// Whatever the network fails with; a sampler stops and returns it as the source of [`Error::Score`].
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, out: B::ViewMut<'_>) -> Result<(), BoxError>;

    /// The most rows a call may have, for networks bounded by memory; the sampler cuts a round into calls.
    fn max_rows(&self) -> Option<usize> {
        None
    }

    /// The times (smallest, largest) the network was trained on; a grid that asks for others is a typed error.
    fn time_range(&self) -> Option<(f64, f64)> {
        None
    }
}

/// Makes a pointer to a score a score.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<B: Backend, S: ScoreFn<B> + ?Sized> ScoreFn<B> for $pointer {
            fn prediction(&self) -> Prediction {
                (**self).prediction()
            }

            fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, out: B::ViewMut<'_>) -> Result<(), BoxError> {
                (**self).eval(x, rows, out)
            }

            fn max_rows(&self) -> Option<usize> {
                (**self).max_rows()
            }

            fn time_range(&self) -> Option<(f64, f64)> {
                (**self).time_range()
            }
        }
    )*};
}
forward!(&mut S, Box<S>);

/// Checks that a call's arrays have the shape rows x `dim`; without `dim` the states decide.
fn check_shapes<T: Real>(
    x: &ArrayView2<'_, T>,
    rows: &Rows<'_>,
    out: &ArrayViewMut2<'_, T>,
    dim: Option<usize>,
) -> Result<(), Error> {
    let expected = [rows.len(), dim.unwrap_or(x.ncols())];
    let check = |what, found: &[usize]| {
        let shape = || Error::Shape { what, found: found.to_vec(), expected: expected.to_vec() };
        (found == expected).then_some(()).ok_or_else(shape)
    };
    check("the states given to a score", x.shape())?;
    check("the output given to a score", out.shape())
}
