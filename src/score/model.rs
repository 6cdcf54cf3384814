//! The user's network: what it is, and its batched call.

use crate::backend::Backend;
use crate::error::BoxError;
use crate::score::{Prediction, Rows};

/// What a network is, wherever it runs.
///
/// ```
/// use piadm::{Model, Prediction};
/// struct Net;
/// impl Model for Net {
///     fn prediction(&self) -> Prediction {
///         Prediction::Noise
///     }
/// }
/// assert_eq!((Net.components(), Net.heads(), Net.max_rows()), (1, 1, None));
/// ```
pub trait Model {
    /// What the output means.
    fn prediction(&self) -> Prediction;

    /// The most rows a call may have, for networks bounded by memory; the sampler cuts a round into calls.
    fn max_rows(&self) -> Option<usize> {
        None
    }

    /// The times (smallest, largest) the network was trained on; a grid that asks for others is a typed error.
    fn time_range(&self) -> Option<(f64, f64)> {
        None
    }

    /// Leading components of a state that the network sees, at least 1: a state row of a call is then so many rows of `x`, one below the other.
    /// Images have one; a network in phase space sees position and velocity.
    fn components(&self) -> usize {
        1
    }

    /// Rows that the network answers per state, at least 1, one below the other in `out`. The first ones, as many as it sees components,
    /// are what `prediction` says of these; further ones are what the nodes' coefficients make of them.
    fn heads(&self) -> usize {
        self.components()
    }

    /// Of a kernel ([`Prediction::Next`]), whether its answer moves little where its input does. One that accepts and rejects, draws a component or
    /// rounds does not: an estimated error then means nothing, and only unchanged nodes can be accepted. See [`Kernel`](crate::Kernel).
    fn is_continuous(&self) -> bool {
        self.prediction() != Prediction::Next
    }

    /// Evaluations of a network that a row costs, where a kernel makes several: the report counts them.
    fn evaluations_per_row(&self) -> usize {
        1
    }
}

/// A score: the user's network, called once a round on all active rows at once.
///
/// `x` has shape rows x dim; `out` has the same shape and must be written completely, with finite numbers. If the
/// result of a row does not depend on the other rows of the call, parallel sampling at tolerance zero gives the
/// sequential samples bit for bit.
///
/// A closure becomes a score with [`score_fn`](crate::score_fn) or [`score_map`](crate::score_map); a type of your own may keep
/// weights and buffers. `&mut S` and `Box<S>` are scores too, also of `dyn ScoreFn<B>`.
///
/// ```
/// use piadm::ndarray::{ArrayView2, ArrayViewMut2};
/// use piadm::{BoxError, Cpu, Model, Prediction, Rows, ScoreFn};
///
/// /// The exact oracle of data that are standard normal.
/// struct Normal;
///
/// impl Model for Normal {
///     fn prediction(&self) -> Prediction {
///         Prediction::Score
///     }
/// }
///
/// impl ScoreFn<Cpu<f32>> for Normal {
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
pub trait ScoreFn<B: Backend>: Model {
    /// Evaluates the network on every row of `x` and writes its output to the same row of `out`.
    ///
    /// # Errors
    /// Whatever the network fails with; a sampler stops and returns it as the source of [`Error::Score`](crate::Error::Score).
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, out: B::ViewMut<'_>) -> Result<(), BoxError>;
}

/// A network of one component and one head, of which only this is known.
impl Model for Prediction {
    fn prediction(&self) -> Prediction {
        *self
    }
}

/// Makes a pointer to a score a score.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: Model + ?Sized> Model for $pointer {
            fn prediction(&self) -> Prediction {
                (**self).prediction()
            }

            fn max_rows(&self) -> Option<usize> {
                (**self).max_rows()
            }

            fn time_range(&self) -> Option<(f64, f64)> {
                (**self).time_range()
            }

            fn components(&self) -> usize {
                (**self).components()
            }

            fn heads(&self) -> usize {
                (**self).heads()
            }

            fn is_continuous(&self) -> bool {
                (**self).is_continuous()
            }

            fn evaluations_per_row(&self) -> usize {
                (**self).evaluations_per_row()
            }
        }

        impl<B: Backend, S: ScoreFn<B> + ?Sized> ScoreFn<B> for $pointer {
            fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, out: B::ViewMut<'_>) -> Result<(), BoxError> {
                (**self).eval(x, rows, out)
            }
        }
    )*};
}
forward!(&mut S, Box<S>);
