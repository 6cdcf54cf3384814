//! The results of samplers, as JSON lines or a table.

use piadm::Stop;
use serde::Serialize;
use serde_json::Value;
use std::error::Error;

/// What is printed about one sampler.
#[derive(Serialize)]
pub struct Line {
    /// Its name as it was listed.
    pub sampler: String,
    /// Its settings, defaults included.
    pub settings: Value,
    /// Element type of the run.
    pub dtype: &'static str,
    /// Steps of the grid.
    pub steps: usize,
    /// Batch size.
    pub samples: usize,
    /// Elements of a sample.
    pub dim: usize,
    /// What it did.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How a run ended.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Outcome {
    /// With samples.
    Measured(Box<Measured>),
    /// With an error.
    Failed {
        /// What it was.
        error: String,
    },
}

/// An error and what caused it.
pub fn message(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}

/// What a run took and how far it is from the sequential one.
#[derive(Serialize)]
pub struct Measured {
    /// Rounds until the last sample was done.
    pub rounds: usize,
    /// Rounds of each sample.
    pub sample_rounds: Vec<usize>,
    /// Calls of the score.
    pub score_calls: usize,
    /// Rows given to the score.
    pub score_rows: usize,
    /// Score rows a step and sample.
    pub rows_per_step: f64,
    /// Sweeps of each block; empty without blocks.
    pub sweeps: Vec<usize>,
    /// Largest rms change with which a node was accepted without being exact.
    pub max_residual: f64,
    /// Of each sample, the rms over elements of the difference at the last node; `None` if the reference failed.
    pub rms_to_sequential: Option<Vec<f64>>,
    /// Of each sample, the largest such difference at any node that ends a step; `None` where the paths were too long
    /// to be kept.
    pub max_path_error: Option<Vec<f64>>,
    /// Why the run ended.
    pub stop: Stop,
    /// Wall time of the run.
    pub seconds: f64,
    /// The part of it inside the score.
    pub score_seconds: f64,
}

const TITLES: [&str; 11] = [
    "sampler",
    "steps",
    "samples",
    "rounds",
    "calls",
    "rows",
    "rows/step",
    "rms at end",
    "rms on path",
    "stop",
    "seconds",
];

/// An aligned table; of the errors of several samples it shows the largest.
pub fn table(lines: &[Line]) -> String {
    let mut rows = vec![TITLES.map(str::to_owned).to_vec()];
    rows.extend(lines.iter().map(cells));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..TITLES.len()).map(width).collect();
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        // names stand on the left, numbers on the right
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            match column {
                0 => text += &format!("{cell:<width$}"),
                _ => text += &format!("  {cell:>width$}"),
            }
        }
        if let Some(Outcome::Failed { error }) = i.checked_sub(1).and_then(|i| lines.get(i)).map(|line| &line.outcome) {
            text += &format!("  error: {error}");
        }
        text.push('\n');
    }
    text
}

fn cells(line: &Line) -> Vec<String> {
    let mut cells = vec![line.sampler.clone(), line.steps.to_string(), line.samples.to_string()];
    if let Outcome::Measured(run) = &line.outcome {
        cells.extend([
            run.rounds.to_string(),
            run.score_calls.to_string(),
            run.score_rows.to_string(),
            format!("{:.2}", run.rows_per_step),
            largest(run.rms_to_sequential.as_deref()),
            largest(run.max_path_error.as_deref()),
            format!("{:?}", run.stop).to_lowercase(),
            format!("{:.3}", run.seconds),
        ]);
    }
    cells
}

fn largest(errors: Option<&[f64]>) -> String {
    let most = errors.map(|errors| errors.iter().copied().fold(0.0, f64::max));
    most.map_or_else(|| "-".to_owned(), |most| format!("{most:.2e}"))
}
