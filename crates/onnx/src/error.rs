//! Why a graph is no score.

use crate::{Engine, Port};
use std::path::PathBuf;

/// What went wrong when a graph was loaded or run. Errors of a run come as the source of `piadm::Error::Score`.
///
/// ```
/// use piadm_onnx::{Error, Onnx};
/// let error = Onnx::file("missing.onnx").load(piadm::Prediction::Noise).unwrap_err();
/// assert!(matches!(error, Error::File { .. }));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// ONNX Runtime cannot be loaded.
    #[error(
        "ONNX Runtime cannot be loaded from {}: {why}; `pip install onnxruntime` (1.17 or later) and give its \
         capi/libonnxruntime.so.1.x as Onnx::library or in ORT_DYLIB_PATH, or take Engine::Tract",
        path.display()
    )]
    Library {
        /// The library that was tried.
        path: PathBuf,
        /// What the loader or the library said.
        why: String,
    },
    /// A process has one ONNX Runtime.
    #[error("ONNX Runtime is loaded from {}, a process cannot take a second from {}", loaded.display(), asked.display())]
    SecondLibrary {
        /// The library of this process.
        loaded: PathBuf,
        /// The other one.
        asked: PathBuf,
    },
    /// The crate was built without this engine.
    #[error("piadm-onnx was built without {engine}: enable its feature `{engine}`")]
    Engine {
        /// The engine.
        engine: Engine,
    },
    /// The engine cannot read or run the graph: no ONNX, an operator that it lacks, a failed run.
    #[error("{engine} {what}: {why}")]
    Graph {
        /// The engine.
        engine: Engine,
        /// What failed.
        what: &'static str,
        /// What the engine said.
        why: String,
    },
    /// No input or output has this name.
    #[error("the graph has no {what} {name:?}; there are: {}", crate::port::list(there))]
    Name {
        /// `input` or `output`.
        what: &'static str,
        /// The name.
        name: String,
        /// Those there are.
        there: Vec<Port>,
    },
    /// Which input or output is meant cannot be told.
    #[error("cannot tell the {what} among: {}; {instead}", crate::port::list(there))]
    Ambiguous {
        /// `state`, `time` or `output`.
        what: &'static str,
        /// The candidates.
        there: Vec<Port>,
        /// What to do.
        instead: &'static str,
    },
    /// An input or output has numbers of a type that it cannot have.
    #[error("{port}: the {what} must be {expected}")]
    Type {
        /// What it is for.
        what: &'static str,
        /// The input or output.
        port: Port,
        /// What it can be.
        expected: &'static str,
    },
    /// An input or output has another shape than what it is for.
    #[error("{port}: expected {expected}")]
    Shape {
        /// The input or output.
        port: Port,
        /// What was expected of it.
        expected: String,
    },
    /// A setting is out of its range.
    #[error("{setting} = {value}: expected {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What it can be.
        expected: String,
    },
    /// A condition has no row for the place of a sample in the batch.
    #[error("the condition {name:?} has {rows} rows, none for the sample at place {slot} of the batch")]
    Slot {
        /// The input.
        name: String,
        /// Rows of the condition.
        rows: usize,
        /// The sample's place.
        slot: usize,
    },
    /// What the network should be told of a time is not a finite number.
    #[error("{what} is {value} at t = {t}: the grid should end before such times")]
    Time {
        /// What the network is told.
        what: crate::Time,
        /// Its value.
        value: f64,
        /// The time.
        t: f64,
    },
    /// A call of the score had arrays of another shape than its graph.
    #[error("a call has states of shape {found:?}, expected {expected:?}: give the problem the shape {shape:?}")]
    Call {
        /// Rows and elements of the states or of the output.
        found: [usize; 2],
        /// What they should be.
        expected: [usize; 2],
        /// The graph's sample.
        shape: Vec<usize>,
    },
}
