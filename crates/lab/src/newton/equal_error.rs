//! The loosest tolerance with which Newton's method reaches an error.

use crate::equal_error::{Outcome, exponent, loosest, tolerance};
use crate::newton::{Newton, Settings, Solution};
use crate::stats::row_errors;
use ndarray::ArrayView2;
use piadm::{BoxError, Cpu, Error, Problem, Sampler, Sequential};
use std::collections::HashMap;
use std::collections::hash_map::Entry::Vacant;

impl Newton {
    /// The run with the loosest tolerance whose median error is at most `target`, found as
    /// [`Case::equal_error`](crate::equal_error::Case::equal_error) finds it; `None` if there is none.
    pub fn equal_error(
        &mut self,
        problem: &Problem<Cpu<f32>>,
        seed: u64,
        window: usize,
        target: f64,
    ) -> Result<Option<Outcome>, BoxError> {
        let sequential = Sequential.sample(&problem.clone().seed(seed), self.score())?.samples;
        let mut known: HashMap<i32, Option<Outcome>> = HashMap::new();
        let good = |k: i32| {
            if let Vacant(place) = known.entry(k) {
                let tolerance = tolerance(k);
                let settings = Settings { seed, window, tolerance, deadline: None };
                place.insert(match self.run(problem, &settings) {
                    Ok(solution) => Some(outcome(&solution, sequential.view(), tolerance)),
                    Err(error) if matches!(error.downcast_ref(), Some(Error::StateNotFinite { .. })) => None,
                    Err(error) => return Err(error),
                });
            }
            Ok(known[&k].as_ref().is_some_and(|outcome| outcome.error <= target))
        };
        let Some(found) = loosest(exponent(target), good)? else { return Ok(None) };
        Ok(known.remove(&found).flatten())
    }
}

fn outcome(solution: &Solution, sequential: ArrayView2<'_, f32>, tolerance: f64) -> Outcome {
    let (nodes, samples, _) = solution.states.dim();
    let rows = solution.rows as f64 / (samples * (nodes - 1)) as f64;
    Outcome::new(tolerance, &solution.sample_rounds, rows, row_errors(solution.samples(), sequential))
}
