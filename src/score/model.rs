//! The user's network: its properties, and its batched call.

use crate::backend::Backend;
use crate::error::BoxError;
use crate::score::{Prediction, Rows};
use std::time::Duration;

/// Properties of a network, independent of where it runs.
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

    /// For scores made from another one, that one: what is not answered here is answered there.
    fn inner(&self) -> Option<&dyn Model> {
        None
    }

    /// Maximum number of rows per call, for networks limited by memory; the sampler splits a round into several
    /// calls.
    fn max_rows(&self) -> Option<usize> {
        self.inner().and_then(|inner| inner.max_rows())
    }

    /// The range of times (smallest, largest) on which the network was trained; a grid that leaves it gives a typed
    /// error.
    fn time_range(&self) -> Option<(f64, f64)> {
        self.inner().and_then(|inner| inner.time_range())
    }

    /// Number of leading components of a state that the network sees, at least 1. In a call, each state takes this
    /// many consecutive rows of `x`. Images have one component; a network in phase space sees position and
    /// velocity.
    fn components(&self) -> usize {
        self.inner().map_or(1, |inner| inner.components())
    }

    /// Number of output rows per state, at least 1, consecutive in `out`. The first ones, one per component that
    /// the network sees, have the meaning of `prediction` for that component; further ones mean what the nodes'
    /// coefficients make of them.
    fn heads(&self) -> usize {
        self.inner().map_or_else(|| self.components(), |inner| inner.heads())
    }

    /// For a kernel ([`Prediction::Next`]), whether its output changes little when its input changes little.
    /// Kernels that accept and reject, draw a component or round are not continuous: an estimated error then means
    /// nothing, and only unchanged nodes can be accepted. See [`Kernel`](crate::score::Kernel).
    fn is_continuous(&self) -> bool {
        let network = self.prediction() != Prediction::Next;
        // a kernel made of a network says nothing of itself
        let same = self.inner().filter(|inner| network || inner.prediction() == Prediction::Next);
        same.map_or(network, |inner| inner.is_continuous())
    }

    /// Number of network evaluations that a call with so many rows makes; used for the report.
    fn evaluations(&self, rows: usize) -> usize {
        self.inner().map_or(rows, |inner| inner.evaluations(rows))
    }

    /// Number of rows that take as long as one, at least 1: those that several devices evaluate at the same time
    /// ([`Split`](crate::score::Split)), or that every call computes ([`Padded`](crate::score::Padded)). Rounds of a
    /// multiple of it waste nothing: see [`Window::Grains`](crate::Window::Grains).
    fn grain(&self) -> usize {
        self.inner().map_or(1, |inner| inner.grain())
    }

    /// Whether the network sees the rows of a call together and in their places, as most do. Scores that cut a call or
    /// fill it up ([`Split`](crate::score::Split), [`Padded`](crate::score::Padded)) do not hand it on like that.
    fn sees_whole_calls(&self) -> bool {
        self.inner().is_none_or(|inner| inner.sees_whole_calls())
    }

    /// What the parts of a [`Split`](crate::score::Split) score have done since it was made; empty for other scores.
    fn parts(&self) -> &[PartWork] {
        self.inner().map_or(&[], |inner| inner.parts())
    }
}

/// What a part of a [`Split`](crate::score::Split) score has done.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PartWork {
    /// Rows that it answered.
    pub rows: usize,
    /// Time inside the part.
    pub time: Duration,
    /// Why it is no longer called, if it has failed.
    pub failure: Option<String>,
}

/// A score: the user's network, called once per round on all active rows.
///
/// `x` has shape rows x dim; `out` has the same shape and must be filled completely with finite numbers. If the
/// result for a row does not depend on the other rows of the call, parallel sampling at a tolerance of zero gives
/// the sequential samples bit for bit.
///
/// A closure becomes a score with [`score_fn`](crate::score_fn) or [`score_map`](crate::score_map); a type of your
/// own can hold weights and buffers. `&mut S` and `Box<S>` are scores too, including for `S = dyn ScoreFn<B>`.
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
    /// Any error of the network; the sampler stops and returns it as the source of
    /// [`Error::Score`](crate::Error::Score).
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, out: B::ViewMut<'_>) -> Result<(), BoxError>;
}

/// A network with one component and one head of which only the kind of output is known.
impl Model for Prediction {
    fn prediction(&self) -> Prediction {
        *self
    }
}

/// Makes pointers to scores scores themselves.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: Model + ?Sized> Model for $pointer {
            fn prediction(&self) -> Prediction {
                (**self).prediction()
            }

            fn inner(&self) -> Option<&dyn Model> {
                (**self).inner()
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

            fn evaluations(&self, rows: usize) -> usize {
                (**self).evaluations(rows)
            }

            fn grain(&self) -> usize {
                (**self).grain()
            }

            fn sees_whole_calls(&self) -> bool {
                (**self).sees_whole_calls()
            }

            fn parts(&self) -> &[PartWork] {
                (**self).parts()
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
