//! What is said of a graph before it is loaded.

use crate::{Error, OnnxScore};
use piadm::Prediction;
use piadm::ndarray::{Array1, ArrayD, IxDyn};
use std::fmt::{Display, Formatter};
use std::path::PathBuf;
use std::str::FromStr;

/// What runs the graph.
///
/// ```
/// use piadm_onnx::Engine;
/// assert_eq!("tract".parse::<Engine>()?, Engine::Tract);
/// # Ok::<(), piadm_onnx::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// ONNX Runtime, a library that is loaded when the first graph is (feature `ort`). All of ONNX; threads of its own.
    Ort,
    /// tract, in Rust (feature `tract`). Nothing to install; most of ONNX. Rows run on the threads of the rayon pool.
    Tract,
}

impl Default for Engine {
    /// ONNX Runtime if the crate was built with it.
    fn default() -> Self {
        if cfg!(feature = "ort") { Engine::Ort } else { Engine::Tract }
    }
}

/// What the network is told of a row's time.
///
/// ```
/// use piadm_onnx::Time;
/// assert_eq!(Time::Sigma.of(0.7, 0.6, 0.8), 0.8 / 0.6);
/// assert_eq!("half_log_snr".parse::<Time>()?.of(0.7, 0.6, 0.8), (0.6f64 / 0.8).ln());
/// # Ok::<(), piadm_onnx::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Time {
    /// The schedule's time t; for `Discrete` schedules the real-valued index.
    #[default]
    T,
    /// sigma / alpha, the noise level of EDM and k-diffusion.
    Sigma,
    /// ln(sigma / alpha); with a scale of 1/4 the c_noise of EDM (Karras et al., arXiv 2206.00364, table 1).
    LogSigma,
    /// ln(alpha / sigma), half the logarithm of the signal-to-noise ratio.
    HalfLogSnr,
    /// t rounded to a whole number, for networks with a table of timesteps.
    Index,
}

impl Time {
    /// The number for a row.
    ///
    /// ```
    /// assert_eq!(piadm_onnx::Time::Index.of(19.7, 1.0, 1.0), 20.0);
    /// ```
    pub fn of(self, t: f64, alpha: f64, sigma: f64) -> f64 {
        match self {
            Time::T => t,
            Time::Sigma => sigma / alpha,
            Time::LogSigma => (sigma / alpha).ln(),
            Time::HalfLogSnr => (alpha / sigma).ln(),
            Time::Index => t.round(),
        }
    }
}

/// Words for an enum.
macro_rules! words {
    ($type:ident, $what:literal; $($variant:ident = $name:literal),*) => {
        impl Display for $type {
            fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $($type::$variant => $name),* })
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match text.trim() {
                    $($name => Ok($type::$variant),)*
                    other => {
                        Err(Error::Setting { setting: $what, value: other.into(), expected: [$($name),*].join(", ") })
                    }
                }
            }
        }
    };
}
words! { Engine, "engine"; Ort = "ort", Tract = "tract" }
words! { Time, "time";
    T = "t", Sigma = "sigma", LogSigma = "log_sigma", HalfLogSnr = "half_log_snr", Index = "index"
}

/// How a network is told the time: `scale * what + offset`. An input of whole numbers gets it rounded.
///
/// ```
/// use piadm_onnx::{Time, TimeInput};
/// let c_noise = TimeInput::new(Time::LogSigma).scale(0.25);
/// assert_eq!((c_noise.scale, c_noise.offset), (0.25, 0.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TimeInput {
    /// What it is told.
    pub what: Time,
    /// The factor, 1 by default.
    pub scale: f64,
    /// What is added after the factor, 0 by default.
    pub offset: f64,
}

impl Default for TimeInput {
    fn default() -> Self {
        TimeInput::new(Time::default())
    }
}

impl TimeInput {
    /// This, with scale 1 and offset 0.
    pub fn new(what: Time) -> Self {
        TimeInput { what, scale: 1.0, offset: 0.0 }
    }

    /// Sets the factor.
    #[must_use]
    pub fn scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// Sets what is added.
    #[must_use]
    pub fn offset(mut self, offset: f64) -> Self {
        self.offset = offset;
        self
    }
}

/// What an input other than state and time gets: labels, embeddings of prompts, observations, masks, scales.
///
/// Numbers are f64 here and become the graph's own; labels are whole numbers.
///
/// ```
/// use piadm_onnx::Condition;
/// let labels = Condition::labels([3, 1, 4]).no_class([10.0]);
/// assert_eq!(labels.samples(), Some(3));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    pub(crate) values: ArrayD<f64>,
    pub(crate) by_slot: bool,
    pub(crate) no_class: Option<Vec<f64>>,
}

impl Condition {
    /// The same for all rows: an array in the shape of the input without its axis of rows, or of the whole input if
    /// that has no such axis.
    pub fn constant(values: impl Into<ArrayD<f64>>) -> Self {
        Condition { values: values.into(), by_slot: false, no_class: None }
    }

    /// One number for all rows.
    pub fn number(value: f64) -> Self {
        Condition::constant(ArrayD::from_elem(IxDyn(&[]), value))
    }

    /// One row of the array for each sample, by its place in the batch (`rows.slot`): shape \[samples, ...\].
    pub fn by_slot(values: impl Into<ArrayD<f64>>) -> Self {
        Condition { values: values.into(), by_slot: true, no_class: None }
    }

    /// One label for each sample of the batch.
    pub fn labels(labels: impl IntoIterator<Item = u32>) -> Self {
        Condition::by_slot(labels.into_iter().map(f64::from).collect::<Array1<f64>>().into_dyn())
    }

    /// What stands for no condition, in the unconditional half of a guided network
    /// ([`OnnxScore::guided`](crate::OnnxScore::guided)).
    #[must_use]
    pub fn no_class(mut self, row: impl Into<Vec<f64>>) -> Self {
        self.no_class = Some(row.into());
        self
    }

    /// How many samples there are rows for; `None` for a constant.
    pub fn samples(&self) -> Option<usize> {
        self.by_slot.then(|| self.values.shape().first().copied().unwrap_or(0))
    }

    /// Elements of a row.
    pub(crate) fn row_len(&self) -> usize {
        if self.by_slot { self.values.shape().iter().skip(1).product() } else { self.values.len() }
    }

    /// In standard layout.
    pub(crate) fn flat(&self) -> Vec<f64> {
        self.values.iter().copied().collect()
    }
}

impl From<f64> for Condition {
    fn from(value: f64) -> Self {
        Condition::number(value)
    }
}

/// Where the graph is.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    File(PathBuf),
    Bytes(Vec<u8>),
}

/// A graph and what is to be known of it: [`Onnx::load`] makes it a score.
///
/// ```no_run
/// use piadm::prelude::*;
/// use piadm_onnx::{Condition, Onnx};
/// let mut unet = Onnx::file("unet.onnx").condition("label", Condition::labels([7])).load(Prediction::Velocity)?;
/// let problem = Problem::new(Ou, Grid::log_snr(250).between(8.0, 0.01), Scheme::default()).shape([1, 28, 28]);
/// let image = Picard::default().sample(&problem, &mut unet)?.samples;
/// # let _: piadm::ndarray::Array2<f32> = image;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Inputs
/// The inputs that no condition names are the state and, if the network is told it, the time. The state has the shape
/// rows x sample, the time one number per row (\[rows\], \[rows, 1\], ...) or one number in all. A graph that takes one
/// number for all rows is called with one row at a time, since the rows of a call have different times.
///
/// # Rows
/// A graph whose first axis is fixed to n rows is called with exactly n: a call is cut, and what is missing is filled
/// by copies of its last row. [`batch`](Self::batch) does the same with a graph that would take any number.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Onnx {
    pub(crate) source: Source,
    /// What runs it.
    pub engine: Engine,
    /// The input that takes the states; found by its shape if `None`.
    pub state: Option<String>,
    /// The input that takes the times; found by its shape if `None`.
    pub time: Option<String>,
    /// The output; needed only if there are several.
    pub output: Option<String>,
    /// What the network is told of the time.
    pub time_input: TimeInput,
    /// What other inputs get.
    pub conditions: Vec<(String, Condition)>,
    /// Lengths of the axes of a sample, where the graph leaves them free.
    pub shape: Option<Vec<usize>>,
    /// Rows of every call to the engine; any number if `None`.
    pub batch: Option<usize>,
    /// The largest number of rows that the sampler may give in a call.
    pub max_rows: Option<usize>,
    /// The times (smallest, largest) that the network was trained on.
    pub time_range: Option<(f64, f64)>,
    /// ONNX Runtime's library; without it, that of ORT_DYLIB_PATH.
    pub library: Option<PathBuf>,
    /// Threads within an operator of ONNX Runtime; its own choice, all cores, if `None`. tract runs on the rayon pool.
    pub threads: Option<usize>,
}

/// One setter per field.
macro_rules! setters {
    ($($field:ident: $type:ty),* $(,)?) => {
        impl Onnx {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](#structfield.", stringify!($field), ").")]
                #[must_use]
                pub fn $field(mut self, $field: impl Into<$type>) -> Self {
                    self.$field = $field.into();
                    self
                }
            )*
        }
    };
}
setters! { engine: Engine, time_input: TimeInput, batch: Option<usize>, max_rows: Option<usize>,
    time_range: Option<(f64, f64)>, threads: Option<usize>,
}

impl Onnx {
    fn new(source: Source) -> Self {
        Onnx {
            source,
            engine: Engine::default(),
            state: None,
            time: None,
            output: None,
            time_input: TimeInput::default(),
            conditions: Vec::new(),
            shape: None,
            batch: None,
            max_rows: None,
            time_range: None,
            library: None,
            threads: None,
        }
    }

    /// The graph of a file. Weights beside it (external data) are found by ONNX Runtime.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Onnx::new(Source::File(path.into()))
    }

    /// The graph of the bytes of a file.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Onnx::new(Source::Bytes(bytes.into()))
    }

    /// Names the input that takes the states.
    #[must_use]
    pub fn state(mut self, name: impl Into<String>) -> Self {
        self.state = Some(name.into());
        self
    }

    /// Names the input that takes the times.
    #[must_use]
    pub fn time(mut self, name: impl Into<String>) -> Self {
        self.time = Some(name.into());
        self
    }

    /// Names the output.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>) -> Self {
        self.output = Some(name.into());
        self
    }

    /// Sets the lengths of the axes of a sample.
    #[must_use]
    pub fn shape(mut self, shape: impl Into<Vec<usize>>) -> Self {
        self.shape = Some(shape.into());
        self
    }

    /// Sets ONNX Runtime's library.
    #[must_use]
    pub fn library(mut self, path: impl Into<PathBuf>) -> Self {
        self.library = Some(path.into());
        self
    }

    /// Gives an input a condition; the last one counts.
    #[must_use]
    pub fn condition(mut self, input: impl Into<String>, condition: impl Into<Condition>) -> Self {
        self.conditions.push((input.into(), condition.into()));
        self
    }

    /// Loads the graph, whose output is such a prediction.
    ///
    /// # Errors
    /// [`Error`], if the file, the library or the graph cannot be read, or if the graph does not fit the settings.
    pub fn load(&self, prediction: Prediction) -> Result<OnnxScore, Error> {
        OnnxScore::load(self, prediction)
    }
}
