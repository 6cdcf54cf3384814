//! The loosest tolerance with which Newton's method reaches an error.

use crate::equal_error::{EXPONENTS, FIRST, LOOSER, Outcome, RATIO};
use crate::newton::{Newton, Settings, Solution};
use crate::stats::{first_good, largest, median, row_errors};
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
        let mut good = |k: i32| {
            if let Vacant(place) = known.entry(k) {
                let tolerance = FIRST * RATIO.powi(-k);
                let settings = Settings { seed, window, tolerance, deadline: None };
                place.insert(match self.run(problem, &settings) {
                    Ok(solution) => Some(outcome(&solution, sequential.view(), tolerance)),
                    Err(error) if matches!(error.downcast_ref(), Some(Error::StateNotFinite { .. })) => None,
                    Err(error) => return Err(error),
                });
            }
            Ok::<_, BoxError>(known[&k].as_ref().is_some_and(|outcome| outcome.error <= target))
        };
        let guess = (FIRST / target).ln() / RATIO.ln();
        let Some(mut found) = first_good(EXPONENTS, guess.round() as i32, &mut good)? else { return Ok(None) };
        for k in (found - LOOSER).max(*EXPONENTS.start())..found {
            if good(k)? {
                found = k;
                break;
            }
        }
        Ok(known.remove(&found).flatten())
    }
}

fn outcome(solution: &Solution, sequential: ArrayView2<'_, f32>, tolerance: f64) -> Outcome {
    let (nodes, samples, _) = solution.states.dim();
    let errors = row_errors(solution.samples(), sequential);
    let rounds = || solution.sample_rounds.iter().map(|rounds| *rounds as f64);
    Outcome {
        tolerance,
        rounds: rounds().sum::<f64>() / samples as f64,
        rounds_median: median(rounds()),
        rows: solution.rows as f64 / (samples * (nodes - 1)) as f64,
        worst: largest(errors.iter().copied()),
        error: median(errors),
    }
}
