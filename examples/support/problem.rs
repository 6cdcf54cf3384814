//! A sampling problem with a known score, read from JSON: an isotropic Gaussian mixture, a noise schedule, a time grid
//! and a scheme. `docs/compare.md` describes the format.

use super::fields::{Parsed, library_value, read};
use piadm::ndarray::Array2;
use piadm::problem::ScheduleSpec;
use piadm::{Grid, Nodes, NoiseSchedule, Prediction, Scheme, score::Mixture};
use serde::Deserialize;
use serde_json::Value;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    target: Target,
    schedule: Value,
    grid: Grid,
    scheme: Value,
    #[serde(default = "score")]
    prediction: Prediction,
}

fn score() -> Prediction {
    Prediction::Score
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    std: Vec<f64>,
}

/// A problem file.
pub struct ProblemFile {
    /// The noise schedule.
    pub schedule: Arc<dyn NoiseSchedule>,
    /// The times, in the schedule's clock.
    pub grid: Grid,
    /// The time-stepping scheme.
    pub scheme: Scheme,
    /// The target's score, in the words of `prediction` of the file.
    pub mixture: Mixture,
}

impl ProblemFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Parsed<Self> {
        let named = |error: Box<dyn Error>| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| named(error.into()))?;
        Ok(Self::parse(&text).map_err(named)?)
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Parsed<Self> {
        let File { target, schedule, grid, scheme, prediction } = read(text)?;
        let mixture = mixture(target)?;
        let schedule: ScheduleSpec = library_value("schedule", schedule)?;
        let schedule = schedule.schedule().map_err(|error| format!("schedule: {error}"))?;
        grid.times(&schedule).map_err(|error| format!("grid: {error}"))?;
        let scheme: Scheme = library_value("scheme", scheme)?;
        // settings that do not fit together are found here, before anything is sampled
        Nodes::new(&schedule, &grid, &scheme, prediction).map_err(|error| format!("scheme: {error}"))?;
        let mixture = mixture.predicting(prediction);
        Ok(ProblemFile { schedule, grid, scheme, mixture })
    }
}

fn mixture(Target { weights, means, std }: Target) -> Parsed<Mixture> {
    let modes = means.len();
    let dim = means.first().map_or(0, Vec::len);
    if dim == 0 {
        return Err("target.means: expected at least one mean with at least one number".into());
    }
    if let Some((row, mean)) = means.iter().enumerate().find(|(_, mean)| mean.len() != dim) {
        let len = mean.len();
        return Err(format!("target.means: mean {row} has {len} numbers, expected {dim} as in mean 0").into());
    }
    for (name, len) in [("weights", weights.len()), ("std", std.len())] {
        if len != modes {
            return Err(format!("target.{name}: {len} numbers, expected {modes}, one for each mean").into());
        }
    }
    let means = Array2::from_shape_vec((modes, dim), means.concat())?;
    Mixture::new(weights, means, std).map_err(|error| format!("target: {error}").into())
}
