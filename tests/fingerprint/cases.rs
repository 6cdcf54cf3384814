//! The cases of cases.jsonl.

use crate::line::{Line, cells};
use crate::place::Place;
use crate::problem::ProblemFile;
use crate::samplers::{Listed, Settings};
use piadm::{Problem, Sampler, Save, Sequential};
use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    problem: Value,
    sampler: Value,
    pub dtype: String,
    samples: usize,
    seed: u64,
    /// Whether it runs on a device too.
    #[cfg_attr(not(feature = "cuda"), allow(dead_code))]
    pub device: bool,
    #[serde(default)]
    dyadic: bool,
}

/// All of them.
pub fn read() -> Vec<Case> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    include_str!("cases.jsonl").lines().map(parse).collect()
}

impl Case {
    pub fn run<P: Place>(&self, place: &P) -> Line {
        let cells = cells(place, |watch| {
            let file = ProblemFile::parse(&self.problem.to_string())?;
            let sampler = self.sampler.as_str().map_or_else(|| self.sampler.to_string(), str::to_owned);
            let listed = Listed::parse(&sampler)?;
            let shape = (self.samples, file.mixture.dim());
            let problem = Problem::on(place.backend(), file.schedule, file.grid, file.scheme)
                .samples(shape.0)
                .shape([shape.1])
                .seed(self.seed)
                .save(Save::All);
            let mut score = place.mixture(file.mixture)?;
            let sampler: Box<dyn Sampler<P::On>> = match listed.sampler {
                Settings::Sequential => Box::new(Sequential),
                Settings::Picard(picard) => picard,
                Settings::Parareal(parareal) => Box::new(parareal),
            };
            Ok(sampler.run(&problem, &mut score, watch)?)
        });
        Line { name: self.name.clone(), backend: P::NAME, dyadic: self.dyadic, cells }
    }
}
