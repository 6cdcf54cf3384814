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
#[cfg(feature = "rayon")]
mod split;

pub use adapters::{
    Chunked, Clip, ClipResidual, EdmPrecondition, Guided, Kernel, LearnedVariance, Padded, Pair, Threshold,
};
pub use closure::{IntoOutput, score_fn, score_images, score_map, score_rows};
#[cfg(feature = "cuda")]
pub use device::{DeviceMixture, DeviceScore, HostScore};
pub use mixture::Mixture;
pub use model::{Model, PartWork, ScoreFn};
pub use prediction::Prediction;
pub use rows::{Destinations, Rows};
#[cfg(feature = "rayon")]
pub use split::{OnFailure, Shares, Split};

pub use crate::error::Fault;

use crate::backend::Backend;
use crate::error::Error;

/// Checks that a call's arrays have the shape rows x `dim`; without `dim` the states decide.
fn check_shapes<B: Backend>(
    x: B::View<'_>,
    rows: &Rows<'_>,
    out: &B::ViewMut<'_>,
    dim: Option<usize>,
) -> Result<(), Error> {
    check_rows::<B>(x, rows, out, [1, 1], dim)
}

/// Checks that a call's arrays have the rows that this network sees and answers per state; returns these two numbers.
fn check_call<B: Backend>(
    x: B::View<'_>,
    rows: &Rows<'_>,
    out: &B::ViewMut<'_>,
    model: &impl Model,
) -> Result<[usize; 2], Error> {
    let of_row = [model.components(), model.heads()];
    check_rows::<B>(x, rows, out, of_row, None).map(|()| of_row)
}

fn check_rows<B: Backend>(
    x: B::View<'_>,
    rows: &Rows<'_>,
    out: &B::ViewMut<'_>,
    [seen, answered]: [usize; 2],
    dim: Option<usize>,
) -> Result<(), Error> {
    let states = B::shape(x);
    let check = |what, found: [usize; 2], of_row: usize| {
        let expected = [rows.len() * of_row, dim.unwrap_or(states[1])];
        let shape = || Error::Shape { what, found: found.to_vec(), expected: expected.to_vec() };
        (found == expected).then_some(()).ok_or_else(shape)
    };
    check("the states given to a score", states, seen)?;
    check("the output given to a score", B::shape_mut(out), answered)
}
