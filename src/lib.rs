//! Sample diffusion models in parallel over time.
//!
//! (essay to come)
#![cfg_attr(not(feature = "cuda"), forbid(unsafe_code))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod backend;
mod error;
pub mod grid;
pub mod noise;
mod portable;
mod prediction;
pub mod sampler;
pub mod schedule;
pub mod scheme;
pub mod score;

pub use backend::{Backend, Cpu, Real};
pub use error::{BoxError, Error, Result};
pub use grid::TimeGrid;
pub use ndarray;
pub use noise::NoiseKey;
pub use prediction::Prediction;
pub use sampler::{
    Coupling, Dynamics, Entry, Linearisation, Observer, OnStall, Path, Piadm, Picard, Policy, Problem, Recipe, Report,
    Round, Sampler, Save, Sequential, Solution, Stop, Tolerance, Window, on_round,
};
pub use schedule::{Discrete, Edm, Flow, NoiseSchedule, Ou, Ve, VpCosine, VpLinear};
pub use scheme::{DdpmVariance, Discretisation, Form, Level, Node, NodeTerms, Scheme};
pub use score::{Chunked, Clip, EdmPrecondition, Guided, Mixture, Pair, Rows, ScoreFn, Threshold, score_fn, score_map};
