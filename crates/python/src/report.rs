//! The report of a run as attributes.

use crate::errors::sampling;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Rounds, rows, residuals and times of a run. `str(report)` is a table, `report.to_dict()` all of it.
#[pyclass(module = "piadm", frozen)]
pub struct Report(pub piadm::Report);

/// Getters of numbers that are fields or methods of the crate's report.
macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $type:ty = $get:expr;)*) => {
        #[pymethods]
        impl Report {
            $($(#[$doc])*
            #[getter]
            fn $name(&self) -> $type {
                let get: fn(&piadm::Report) -> $type = $get;
                get(&self.0)
            })*

            /// All of the report as plain values: what the crate writes as JSON. Times are {"secs", "nanos"}.
            fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
                static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
                let text = serde_json::to_string(&self.0).map_err(|error| sampling(py, error.to_string()))?;
                LOADS.import(py, "json", "loads")?.call1((text,))
            }

            fn __str__(&self) -> String {
                self.0.to_string()
            }

            fn __repr__(&self) -> String {
                let piadm::Report { sampler, rounds, score_rows, stop, .. } = &self.0;
                format!("<piadm.Report {sampler}: {rounds} rounds, {score_rows} rows, {stop}>")
            }
        }
    };
}

getters! {
    /// Name of the sampler.
    sampler: String = |report| report.sampler.clone();
    /// Steps of the run.
    steps: usize = |report| report.steps;
    /// Number of samples.
    samples: usize = |report| report.samples;
    /// Rounds until the last sample was finished: the sequential depth.
    rounds: usize = |report| report.rounds;
    /// Rounds of each sample.
    sample_rounds: Vec<usize> = |report| report.sample_rounds.clone();
    /// Calls of the network; more than rounds only if max_rows splits a round.
    calls: usize = |report| report.score_calls;
    /// Rows given to the network.
    rows: usize = |report| report.score_rows;
    /// Rows given to the network per step and sample.
    rows_per_step: f64 = |report| report.rows_per_step();
    /// Sweeps of each block; empty for samplers without blocks.
    sweeps: Vec<usize> = |report| report.sweeps.clone();
    /// Last rms change of each sample's last node.
    residuals: Vec<f64> = |report| report.residuals.clone();
    /// Largest rms change with which a node was accepted without being exact.
    max_residual: f64 = |report| report.max_residual;
    /// Why the run ended: converged, depth, cancelled or deadline.
    stop: String = |report| report.stop.to_string();
    /// Whether every node met the tolerance.
    converged: bool = |report| report.converged();
    /// What the run guarantees for the samples, in words.
    guarantee: String = |report| report.guarantee.to_string();
    /// What the sampler "automatic" chose and why, in words; None for the others.
    choice: Option<String> = |report| report.choice.as_ref().map(ToString::to_string);
    /// The window that it chose, in steps; None for sequential sampling and for other samplers.
    chosen_window: Option<usize> = |report| report.choice.as_ref().and_then(|choice| choice.window);
    /// Seconds of the run, without what "automatic" measured before it.
    seconds: f64 = |report| report.total_time().as_secs_f64();
    /// Seconds inside the network, the copies to and from NumPy included.
    network_seconds: f64 = |report| report.score_time.as_secs_f64();
    /// Seconds outside the network.
    solver_seconds: f64 = |report| report.solver_time.as_secs_f64();
    /// Rows that "automatic" gave to the network to measure it, not part of rows.
    probe_rows: usize = |report| report.probe_rows;
    /// Seconds that this took.
    probe_seconds: f64 = |report| report.probe_time.as_secs_f64();
}
