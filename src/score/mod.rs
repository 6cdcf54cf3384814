//! The user's network: one batched call is one round.

mod adapters;
mod closure;
#[cfg(feature = "cuda")]
#[allow(unsafe_code)]
mod device;
mod mixture;
mod model;
mod prediction;
mod rows;

pub use adapters::{Chunked, Clip, EdmPrecondition, Guided, Kernel, Pair, Threshold};
pub use closure::{IntoOutput, score_fn, score_images, score_map};
#[cfg(feature = "cuda")]
pub use device::{DeviceMixture, HostScore};
pub use mixture::Mixture;
pub use model::{Model, ScoreFn};
pub use prediction::Prediction;
pub use rows::{Destinations, Rows};

use crate::backend::Real;
use crate::error::Error;
use ndarray::{ArrayView2, ArrayViewMut2};

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
