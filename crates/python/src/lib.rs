//! [piadm] for Python: NumPy in and out, any callable as the network.
//!
//! The interpreter's lock is released while piadm works and taken for the network's calls. What Python code raises
//! during a run comes back to the caller as it is.

#![deny(unsafe_code)]
#![warn(missing_docs)]

mod errors;
mod network;
mod progress;
mod report;
mod request;
mod session;
mod solution;

use crate::errors::{Raised, exception, sampling};
use crate::network::{Network, Number};
use crate::progress::Progress;
use crate::request::Request;
use crate::solution::{Solution, shaped};
use numpy::{IntoPyArray, PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use std::sync::OnceLock;

/// Samples what a request asks for.
#[pyfunction]
fn sample(py: Python<'_>, network: Py<PyAny>, request: Request<'_>, progress: Option<Py<PyAny>>) -> PyResult<Solution> {
    match request.double {
        false => sample_in::<f32>(py, network, &request, progress),
        true => sample_in::<f64>(py, network, &request, progress),
    }
}

fn sample_in<T: Number>(
    py: Python<'_>,
    network: Py<PyAny>,
    request: &Request<'_>,
    progress: Option<Py<PyAny>>,
) -> PyResult<Solution> {
    same_process(py)?;
    let raised = Raised::default();
    let problem = request.problem::<T>(py)?;
    let sampler = request.sampler(py)?.sampler();
    let mut network = Network::<T>::new(network, request.properties(py)?, raised.clone());
    let mut progress = Progress { call: progress, raised: raised.clone() };
    let result = py.detach(|| sampler.run(&problem, &mut network, &mut progress));
    if let Some(error) = raised.take() {
        return Err(error);
    }
    let solution = result.map_err(|error| exception(py, &error))?;
    let count = solution.samples.nrows();
    let samples = shaped(solution.samples.into_pyarray(py).to_dyn(), &[count], request.shape())?;
    Solution::new(py, samples, &solution.path, solution.report, request.shape())
}

/// The threads that piadm works on do not survive a fork: waiting for them would never end.
fn same_process(py: Python<'_>) -> PyResult<()> {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    if *PROCESS.get_or_init(std::process::id) == std::process::id() {
        return Ok(());
    }
    let text = "piadm was used in this process's parent, and its threads do not survive a fork: start processes with \
                multiprocessing.get_context(\"spawn\")";
    Err(sampling(py, text.into()))
}

/// The times of a grid on a schedule, from the noise to the data: one more than there are steps.
#[pyfunction]
fn times<'py>(py: Python<'py>, schedule: &str, grid: &str) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (schedule, grid) = (request::schedule(py, schedule)?, request::grid(py, grid)?);
    let times = schedule.schedule().and_then(|schedule| grid.times(&*schedule));
    Ok(PyArray1::from_vec(py, times.map_err(|error| exception(py, &error))?))
}

#[pymodule(gil_used = true)]
fn _piadm(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<network::CallRows>()?;
    module.add_class::<progress::Round>()?;
    module.add_class::<report::Report>()?;
    module.add_class::<session::Session>()?;
    module.add_class::<Solution>()?;
    module.add_function(wrap_pyfunction!(sample, module)?)?;
    module.add_function(wrap_pyfunction!(times, module)?)
}
