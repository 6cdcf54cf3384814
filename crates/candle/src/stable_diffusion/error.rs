//! What can be wrong with a folder, a request, or the numbers of a model.

use candle_core::DType;
use std::path::PathBuf;

/// Why a text-to-image model could not be loaded or asked.
///
/// ```
/// use candle_core::DType;
/// let error = piadm_candle::stable_diffusion::Error::NotFinite { what: "U-Net", dtype: DType::F16 };
/// assert!(error.to_string().contains("f16 overflowed"));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No file of these names is there.
    #[error("{folder:?} has none of {tried:?}: give the folder of a diffusers model, with {tried:?} in it")]
    Missing {
        /// Where it was looked for.
        folder: PathBuf,
        /// The names, any of which would do.
        tried: Vec<String>,
    },
    /// A file is there and cannot be read.
    #[error("{file:?} cannot be read: {source}")]
    File {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A settings file is no JSON of the expected form.
    #[error("{file:?} is not as expected: {source}")]
    Json {
        /// The file.
        file: PathBuf,
        /// What is wrong, and where.
        source: serde_json::Error,
    },
    /// A weights file is no safetensors file.
    #[error("{file:?} is no safetensors file: {source}")]
    Safetensors {
        /// The file.
        file: PathBuf,
        /// What candle said.
        source: candle_core::Error,
    },
    /// A weights file lacks a tensor of the architecture.
    #[error("{file:?} has no tensor {name}: it is of another architecture, or incomplete")]
    Tensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor has not the shape that the architecture asks for.
    #[error("tensor {name} of {file:?} has shape {found:?}, expected {expected:?}: it is of another architecture")]
    TensorShape {
        /// The file.
        file: PathBuf,
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The architecture's.
        expected: Vec<usize>,
    },
    /// A model or a scheduler that is not offered here.
    #[error("{what} is {found}, which is not supported; supported: {supported}")]
    Architecture {
        /// The setting, as in the folder's files.
        what: String,
        /// Its value.
        found: String,
        /// The values that are.
        supported: &'static str,
    },
    /// A setting of a request.
    #[error("{what} is {found}, expected {expected}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// A part of the model answered with numbers that are not finite.
    #[error("the output of the {what} is not finite: {}", advice(*.dtype))]
    NotFinite {
        /// The part.
        what: &'static str,
        /// The type that it computes in.
        dtype: DType,
    },
    /// A prompt cannot be made into tokens.
    #[error("the tokenizer: {0}")]
    Tokenizer(String),
    /// An error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// An error of piadm.
    #[error(transparent)]
    Piadm(#[from] piadm::Error),
}

fn advice(dtype: DType) -> &'static str {
    match dtype {
        DType::F16 => "f16 overflowed; load the model with DType::F32, or with DType::BF16 on a GPU",
        _ => "weights or inputs are not finite, or not those of this architecture",
    }
}

/// The `Result` of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Fails where a tensor has elements that are not finite.
pub(crate) fn check_finite(what: &'static str, dtype: DType, output: &candle_core::Tensor) -> Result<()> {
    // x 0 is 0 for every finite x and NaN for all others
    let zero = (output.to_dtype(DType::F32)? * 0.0)?.sum_all()?.to_scalar::<f32>()?;
    match zero == 0.0 {
        true => Ok(()),
        false => Err(Error::NotFinite { what, dtype }),
    }
}
