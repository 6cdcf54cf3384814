//! Errors of the crate as Python exceptions, with the crate's own text.

use piadm::Error;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use std::sync::{Arc, Mutex, PoisonError};

/// The exception for an error: `piadm.InputError` for what was asked for, `piadm.SamplingError` for what went wrong on
/// the way.
pub fn exception(py: Python<'_>, error: &Error) -> PyErr {
    match error {
        Error::Score { .. }
        | Error::ScoreNotFinite { .. }
        | Error::StateNotFinite { .. }
        | Error::NotConverged { .. }
        | Error::Part { .. }
        | Error::OutOfMemory { .. } => sampling(py, error.to_string()),
        _ => input(py, error.to_string()),
    }
}

/// `piadm.InputError`, a `ValueError`.
pub fn input(py: Python<'_>, text: String) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    of_class(py, &CLASS, "InputError", text)
}

/// `piadm.SamplingError`, a `RuntimeError`.
pub fn sampling(py: Python<'_>, text: String) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    of_class(py, &CLASS, "SamplingError", text)
}

fn of_class(py: Python<'_>, class: &'static PyOnceLock<Py<PyType>>, name: &str, text: String) -> PyErr {
    match class.import(py, "piadm._errors", name) {
        Ok(class) => PyErr::from_type(class.clone(), text),
        Err(error) => error,
    }
}

/// The first exception that Python code raised during a run: the caller gets this very object, with its traceback.
#[derive(Clone, Debug, Default)]
pub struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    /// Keeps an exception, unless there is an earlier one.
    pub fn keep(&self, error: PyErr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// Takes what was kept.
    pub fn take(&self) -> Option<PyErr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
