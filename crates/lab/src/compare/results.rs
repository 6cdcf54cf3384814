//! The results of samplers, as JSON lines or a table.

use super::arguments::Dtype;
use crate::stats::{largest, row_errors};
use crate::table;
use piadm::backend::Real;
use piadm::{Cpu, Solution, Stop, sampler::SamplerSpec};
use serde::Serialize;
use serde_json::Value;

/// What is printed about one sampler.
#[derive(Serialize)]
pub struct Line {
    /// Its name.
    pub sampler: &'static str,
    /// Its settings, defaults included.
    pub settings: Value,
    /// Element type of the run.
    pub dtype: Dtype,
    /// Steps of the grid.
    pub steps: usize,
    /// Batch size.
    pub samples: usize,
    /// Elements of a sample.
    pub dim: usize,
    /// What it did, if it did not fail.
    #[serde(flatten)]
    pub measured: Option<Measured>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a run took and how far it is from the sequential one.
#[derive(Serialize)]
pub struct Measured {
    rounds: usize,
    sample_rounds: Vec<usize>,
    score_calls: usize,
    score_rows: usize,
    rows_per_step: f64,
    sweeps: Vec<usize>,
    max_residual: f64,
    /// Per sample at the last node; `None` if the reference failed.
    rms_to_sequential: Option<Vec<f64>>,
    /// Per sample, the largest at any node that ends a step; `None` where the paths were too long to be kept.
    max_path_error: Option<Vec<f64>>,
    stop: Stop,
    seconds: f64,
    score_seconds: f64,
}

impl Measured {
    /// Compares a run with the reference. Both paths were saved, or neither.
    pub fn new<T: Real>(run: &Solution<Cpu<T>>, seconds: f64, reference: Option<&Solution<Cpu<T>>>) -> Self {
        let report = &run.report;
        let max_path_error = reference.filter(|_| !run.path.steps().is_empty()).map(|reference| {
            let nodes = run.path.states().outer_iter().zip(reference.path.states().outer_iter());
            let errors: Vec<Vec<f64>> = nodes.map(|(own, sequential)| row_errors(own, sequential)).collect();
            (0..report.samples).map(|sample| largest(errors.iter().map(|errors| errors[sample]))).collect()
        });
        Measured {
            rounds: report.rounds,
            sample_rounds: report.sample_rounds.clone(),
            score_calls: report.score_calls,
            score_rows: report.score_rows,
            rows_per_step: report.rows_per_step(),
            sweeps: report.sweeps.clone(),
            max_residual: report.max_residual,
            rms_to_sequential: reference.map(|reference| row_errors(run.samples.view(), reference.samples.view())),
            max_path_error,
            stop: report.stop,
            seconds,
            score_seconds: report.score_time.as_secs_f64(),
        }
    }
}

/// All settings of a sampler, defaults included: those of the `picard` that it stands for, or its own.
pub fn settings(sampler: &SamplerSpec) -> serde_json::Result<Value> {
    let own = match sampler.picard() {
        Some(picard) => return serde_json::to_value(picard),
        None => serde_json::to_value(sampler)?,
    };
    Ok(own.get(sampler.name()).cloned().unwrap_or_default())
}

const TITLES: &str = "sampler,steps,samples,rounds,calls,rows,rows/step,rms at end,rms on path,stop,seconds";

/// An aligned table; of the errors of several samples it shows the largest. A failed sampler has its error in its row.
pub fn table(lines: &[Line]) -> String {
    let table = table::table(TITLES.split(','), 1, lines.iter().map(cells));
    let errors = std::iter::once(&None).chain(lines.iter().map(|line| &line.error));
    let row = |(row, error): (&str, &Option<String>)| match error {
        Some(error) => format!("{row}  error: {error}\n"),
        None => format!("{row}\n"),
    };
    table.lines().zip(errors).map(row).collect()
}

fn cells(line: &Line) -> Vec<String> {
    let mut cells = vec![line.sampler.to_owned(), line.steps.to_string(), line.samples.to_string()];
    let most = |errors: &Option<Vec<f64>>| {
        errors.as_ref().map_or_else(|| "-".to_owned(), |errors| format!("{:.2e}", largest(errors.iter().copied())))
    };
    if let Some(run) = &line.measured {
        cells.extend([run.rounds, run.score_calls, run.score_rows].map(|count| count.to_string()));
        cells.extend([format!("{:.2}", run.rows_per_step), most(&run.rms_to_sequential), most(&run.max_path_error)]);
        cells.extend([run.stop.to_string(), format!("{:.3}", run.seconds)]);
    }
    cells
}
