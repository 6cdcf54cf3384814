//! Denoisers in [ONNX](https://onnx.ai) files as scores of [piadm].
//!
//! [`Onnx`] says where the graph is and what its inputs are, [`Onnx::load`] makes it an [`OnnxScore`]. It runs in ONNX
//! Runtime (feature `ort`) or in tract (feature `tract`): [`Engine`].
//!
//! # Bits
//! `Acceptance::Exact` gives the samples of `Sequential` bit for bit if a row of the output does not depend on the
//! other rows of a call, nor on their number. The README says what was found for either engine. [`Onnx::batch`] makes
//! all calls of one size, which is the way to such rows where the number matters; with `batch(1)` a row never meets
//! another.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(not(any(feature = "ort", feature = "tract")))]
compile_error!("piadm-onnx needs an engine: enable the feature `ort` or `tract`");

mod engine;
mod error;
mod port;
mod roles;
mod score;
mod settings;

pub use error::Error;
pub use port::{Axis, Element, Port};
pub use score::OnnxScore;
pub use settings::{Condition, Engine, Onnx, Time, TimeInput};
