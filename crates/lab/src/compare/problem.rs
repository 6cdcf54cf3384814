//! A sampling problem, read from JSON: an isotropic Gaussian mixture, whose score is known, or a trained network, and a
//! noise schedule, a time grid and a scheme. `docs/compare.md` describes the format.

use crate::cli::about;
use ndarray::Array2;
use networks::Network;
use piadm::problem::ScheduleSpec;
use piadm::{BoxError, Grid, Model, Nodes, NoiseSchedule, Prediction, Scheme, score::Mixture};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    target: Option<Mixed>,
    network: Option<String>,
    schedule: Box<RawValue>,
    grid: Grid,
    scheme: Box<RawValue>,
    prediction: Option<Prediction>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mixed {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    std: Vec<f64>,
}

/// What is sampled from.
pub enum Target {
    /// A mixture, in the words of `prediction` of the file.
    Mixture(Mixture),
    /// A trained network, in its own words.
    Network(Box<dyn Network>),
}

/// A problem file.
pub struct ProblemFile {
    /// The noise schedule.
    pub schedule: Arc<dyn NoiseSchedule>,
    /// The times, in the schedule's clock.
    pub grid: Grid,
    /// The time-stepping scheme.
    pub scheme: Scheme,
    /// What is sampled from.
    pub target: Target,
}

impl ProblemFile {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, BoxError> {
        let text = std::fs::read_to_string(path).map_err(about(path))?;
        Self::parse(&text).map_err(about(path))
    }

    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, BoxError> {
        let File { target, network, schedule, grid, scheme, prediction } = read(text)?;
        let target = match (target, network, prediction) {
            (Some(target), None, given) => {
                Target::Mixture(mixture(target)?.predicting(given.unwrap_or(Prediction::Score)))
            }
            (None, Some(name), None) => {
                Target::Network(networks::load(&name, None).map_err(|error| format!("network: {error}"))?)
            }
            (None, Some(_), Some(_)) => return Err("prediction: a network has its own".into()),
            (Some(_), Some(_), _) => return Err("network: does not go with a target".into()),
            (None, None, _) => return Err("missing field `target` or `network`".into()),
        };
        let prediction = match &target {
            Target::Mixture(mixture) => mixture.prediction(),
            Target::Network(network) => network.prediction(),
        };
        let schedule: ScheduleSpec = tagged("schedule", &schedule)?;
        if matches!(target, Target::Network(_)) && schedule != (ScheduleSpec::Ou {}) {
            return Err("schedule: the networks were trained on ou; take that, or a target".into());
        }
        let schedule = schedule.schedule().map_err(|error| format!("schedule: {error}"))?;
        grid.times(&schedule).map_err(|error| format!("grid: {error}"))?;
        let scheme = tagged("scheme", &scheme)?;
        // settings that do not fit together are found here, before anything is sampled
        Nodes::new(&schedule, &grid, &scheme, prediction).map_err(|error| format!("scheme: {error}"))?;
        Ok(ProblemFile { schedule, grid, scheme, target })
    }
}

fn mixture(Mixed { weights, means, std }: Mixed) -> Result<Mixture, BoxError> {
    let dim = means.first().map_or(0, Vec::len);
    if let Some((row, mean)) = means.iter().enumerate().find(|(_, mean)| mean.len() != dim) {
        let len = mean.len();
        return Err(format!("target.means: mean {row} has {len} numbers, expected {dim} as in mean 0").into());
    }
    let means = Array2::from_shape_vec((means.len(), dim), means.concat())?;
    Mixture::new(weights, means, std).map_err(|error| format!("target: {error}").into())
}

/// A value of a type with a tag `kind`. Such a type does not tell which field its error is about: it is the first that
/// is refused next to the tag alone.
fn tagged<T: DeserializeOwned>(path: &str, text: &RawValue) -> Result<T, BoxError> {
    let value: Value = serde_json::from_str(text.get())?;
    let kind = &value["kind"];
    if T::deserialize(json!({ "kind": kind })).is_ok() {
        for (name, field) in value.as_object().into_iter().flatten() {
            T::deserialize(json!({ "kind": kind, name: field })).map_err(|error| format!("{path}.{name}: {error}"))?;
        }
    }
    T::deserialize(&value).map_err(|error| format!("{path}: {error}"))?;
    // a field that is given twice is seen only in the text
    serde_json::from_str(text.get()).map_err(|error| format!("{path}: {error}").into())
}

/// A value from JSON; an error begins with the path of the field that it is about.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, BoxError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}
