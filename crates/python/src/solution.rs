//! What a run returns.

use crate::network::Number;
use crate::report::Report;
use numpy::{PyArrayDyn, PyArrayMethods, ToPyArray};
use piadm::Path;
use pyo3::prelude::*;

/// Samples and what it took to make them.
#[pyclass(module = "piadm", frozen, get_all)]
pub struct Solution {
    /// The samples: an array [samples, *shape].
    samples: Py<PyAny>,
    /// Rounds, rows, residuals, times.
    report: Py<Report>,
    /// The saved states: an array [saved steps, samples, *shape], or None if none were asked for.
    trajectory: Option<Py<PyAny>>,
    /// The steps of the trajectory; 0 is the start.
    trajectory_steps: Vec<usize>,
}

impl Solution {
    pub fn new<T: Number>(
        py: Python<'_>,
        samples: Py<PyAny>,
        path: &Path<T>,
        report: piadm::Report,
        shape: &[usize],
    ) -> PyResult<Self> {
        let trajectory = match path.steps() {
            [] => None,
            steps => Some(shaped(path.states().to_pyarray(py).to_dyn(), &[steps.len(), report.samples], shape)?),
        };
        let trajectory_steps = path.steps().to_vec();
        Ok(Solution { samples, report: Py::new(py, Report(report))?, trajectory, trajectory_steps })
    }
}

/// The same memory with the axes of a sample.
pub fn shaped<T: Number>(array: &Bound<'_, PyArrayDyn<T>>, leading: &[usize], shape: &[usize]) -> PyResult<Py<PyAny>> {
    let axes: Vec<usize> = leading.iter().chain(shape).copied().collect();
    Ok(array.reshape(axes)?.into_any().unbind())
}

#[pymethods]
impl Solution {
    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let shape = self.samples.bind(py).getattr("shape")?;
        Ok(format!("<piadm.Solution samples {shape}, {}>", self.report.bind(py).repr()?))
    }
}
