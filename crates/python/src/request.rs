//! What a caller asks for, as the crate's own problem and sampler.

use crate::errors::{exception, input};
use crate::network::{Number, Properties};
use numpy::{PyArray2, PyArray3, PyArrayMethods};
use piadm::ndarray::{Array2, Array3};
use piadm::problem::{ProblemSpec, ScheduleSpec};
use piadm::sampler::SamplerSpec;
use piadm::{Cpu, Grid, Path, Prediction, Problem, Save, Scheme};
use pyo3::prelude::*;
use std::str::FromStr;

/// The attributes of the Python object `piadm._sample.Request`. Specs are words or JSON; arrays have the request's
/// dtype, with samples flattened to rows.
#[derive(FromPyObject)]
pub struct Request<'py> {
    schedule: String,
    grid: String,
    scheme: String,
    sampler: String,
    prediction: String,
    shape: Vec<usize>,
    samples: Option<usize>,
    ids: Option<Vec<u32>>,
    seed: u64,
    save_all: bool,
    save_steps: Vec<usize>,
    pub double: bool,
    takes_rows: bool,
    max_rows: Option<usize>,
    time_range: Option<(f64, f64)>,
    init: Option<(usize, Bound<'py, PyAny>)>,
    data: Option<(usize, Bound<'py, PyAny>)>,
    noise: Option<Bound<'py, PyAny>>,
    guesses: Option<(Vec<usize>, Bound<'py, PyAny>)>,
}

impl Request<'_> {
    /// Lengths of the axes of a sample.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn properties(&self, py: Python<'_>) -> PyResult<Properties> {
        let prediction = Prediction::from_str(&self.prediction).map_err(|error| exception(py, &error))?;
        if prediction == Prediction::Next {
            return Err(input(py, "prediction = next: kernels are not for Python, take a network's output".into()));
        }
        let (takes_rows, max_rows, time_range) = (self.takes_rows, self.max_rows, self.time_range);
        Ok(Properties { prediction, takes_rows, max_rows, time_range })
    }

    pub fn sampler(&self, py: Python<'_>) -> PyResult<SamplerSpec> {
        let word = |name: &str| serde_json::from_value(name.into()).map_err(|error| error.to_string());
        read(py, "sampler", &self.sampler, word)
    }

    pub fn problem<T: Number>(&self, py: Python<'_>) -> PyResult<Problem<Cpu<T>>> {
        let word = |name: &str| Scheme::from_str(name).map_err(|error| error.to_string());
        let scheme = read(py, "scheme", &self.scheme, word)?;
        let (schedule, grid) = (schedule(py, &self.schedule)?, grid(py, &self.grid)?);
        let mut spec = ProblemSpec::new(schedule, grid, scheme, self.shape.clone());
        spec.samples = self.samples;
        spec.ids = self.ids.clone();
        spec.seed = self.seed;
        spec.save = match (self.save_all, self.save_steps.is_empty()) {
            (true, _) => Save::All,
            (false, true) => Save::Nothing,
            (false, false) => Save::Steps(self.save_steps.clone()),
        };
        let mut problem = spec.on(Cpu::<T>::new()).map_err(|error| exception(py, &error))?;
        if let Some((step, x)) = &self.init {
            problem = problem.init_at(*step, rows::<T>(x)?);
        }
        if let Some((step, x0)) = &self.data {
            problem = problem.data_at(*step, rows::<T>(x0)?);
        }
        if let Some(noise) = &self.noise {
            problem = problem.noise(planes::<T>(noise)?);
        }
        if let Some((steps, states)) = &self.guesses {
            let path = Path::new(steps.clone(), planes::<T>(states)?).map_err(|error| exception(py, &error))?;
            problem = problem.guesses(path);
        }
        Ok(problem)
    }
}

/// A copy of an array samples x dim.
pub fn rows<T: Number>(array: &Bound<'_, PyAny>) -> PyResult<Array2<T>> {
    Ok(array.cast::<PyArray2<T>>()?.to_owned_array())
}

/// A copy of an array steps x samples x dim.
fn planes<T: Number>(array: &Bound<'_, PyAny>) -> PyResult<Array3<T>> {
    Ok(array.cast::<PyArray3<T>>()?.to_owned_array())
}

/// A schedule from its name or JSON.
pub fn schedule(py: Python<'_>, text: &str) -> PyResult<ScheduleSpec> {
    read(py, "schedule", text, kind)
}

/// A grid from JSON.
pub fn grid(py: Python<'_>, text: &str) -> PyResult<Grid> {
    read(py, "grid", text, kind)
}

/// The kind of this name with its defaults.
fn kind<S: serde::de::DeserializeOwned>(name: &str) -> Result<S, String> {
    serde_json::from_value(serde_json::json!({ "kind": name })).map_err(|error| error.to_string())
}

/// Reads JSON as the crate does, or a word. An error says what it was to be.
fn read<S: serde::de::DeserializeOwned>(
    py: Python<'_>,
    what: &str,
    text: &str,
    word: impl Fn(&str) -> Result<S, String>,
) -> PyResult<S> {
    let text = text.trim();
    let read = match text.starts_with(['{', '[', '"']) {
        true => serde_json::from_str(text).map_err(|error| error.to_string()),
        false => word(text),
    };
    read.map_err(|error| input(py, format!("{what}: {error}")))
}
