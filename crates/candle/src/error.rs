//! What can be wrong with a model's output.

use candle_core::{DType, DeviceLocation};

/// Why a model's output cannot be a score's; it comes as the source of `piadm::Error::Score`.
///
/// ```
/// let error = piadm_candle::Error::Shape { found: vec![4, 3], expected: vec![4, 2] };
/// assert_eq!(error.to_string(), "the output of the model has shape [4, 3], expected [4, 2], that of the states");
/// ```
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The output has not the shape of the states.
    #[error("the output of the model has shape {found:?}, expected {expected:?}, that of the states")]
    Shape {
        /// Its shape.
        found: Vec<usize>,
        /// The states' shape.
        expected: Vec<usize>,
    },
    /// The output has not the dtype of the states.
    #[error("the output of the model is {found:?}, expected {expected:?}: convert it with to_dtype in the closure")]
    DType {
        /// Its dtype.
        found: DType,
        /// The sampler's.
        expected: DType,
    },
    /// Something lies on another device than the score's; two devices of candle with one number are two devices.
    #[error("{what} is on {found:?}, expected the device of the score, {expected:?}: make one Device and clone it")]
    Device {
        /// What it is.
        what: &'static str,
        /// Where it lies.
        found: DeviceLocation,
        /// Where it should.
        expected: DeviceLocation,
    },
    /// The sampler enqueues its work on another stream than candle.
    #[cfg(feature = "cuda")]
    #[error("the sampler's stream is not that of the score's device: make the backend with cuda_backend(&device)")]
    Stream,
}
