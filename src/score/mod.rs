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

use crate::backend::Backend;
use crate::error::Error;

/// Checks that a call's arrays have the shape rows x `dim`; without `dim` the states decide.
fn check_shapes<B: Backend>(
    x: B::View<'_>,
    rows: &Rows<'_>,
    out: &B::ViewMut<'_>,
    dim: Option<usize>,
) -> Result<(), Error> {
    let states = B::shape(x);
    let expected = [rows.len(), dim.unwrap_or(states[1])];
    let check = |what, found: [usize; 2]| {
        let shape = || Error::Shape { what, found: found.to_vec(), expected: expected.to_vec() };
        (found == expected).then_some(()).ok_or_else(shape)
    };
    check("the states given to a score", states)?;
    check("the output given to a score", B::shape_mut(out))
}
