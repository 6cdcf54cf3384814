//! The cases of cases.jsonl.

use crate::line::{Line, cells};
use crate::place::Place;
use ndarray::Array2;
use piadm::{Grid, Prediction, Problem, Save, Scheme, problem::ScheduleSpec, sampler::SamplerSpec, score::Mixture};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    problem: OnMixture,
    sampler: SamplerSpec,
    pub dtype: String,
    samples: usize,
    seed: u64,
    /// Whether it runs on a device too.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    pub device: bool,
    #[serde(default)]
    dyadic: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnMixture {
    target: Target,
    schedule: ScheduleSpec,
    grid: Grid,
    scheme: Scheme,
    #[serde(default = "score")]
    prediction: Prediction,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    std: Vec<f64>,
}

fn score() -> Prediction {
    Prediction::Score
}

/// All of them.
pub fn read() -> Vec<Case> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    include_str!("cases.jsonl").lines().map(parse).collect()
}

impl Case {
    pub fn run<P: Place>(&self, place: &P) -> Line {
        let cells = cells(place, |watch| {
            let OnMixture { target: Target { weights, means, std }, schedule, grid, scheme, prediction } =
                &self.problem;
            let shape = (means.len(), means[0].len());
            let means = Array2::from_shape_vec(shape, means.concat())?;
            let mixture = Mixture::new(weights.as_slice(), means, std.as_slice())?.predicting(*prediction);
            let problem = Problem::on(place.backend(), schedule.schedule()?, grid.clone(), scheme.clone())
                .samples(self.samples)
                .shape([mixture.dim()])
                .seed(self.seed)
                .save(Save::All);
            Ok(self.sampler.sampler().run(&problem, &mut *place.mixture(mixture)?, watch)?)
        });
        Line { name: self.name.clone(), backend: P::NAME, dyadic: self.dyadic, cells }
    }
}
