//! Measures, chooses and samples.

use crate::backend::Backend;
use crate::engine::observer::Observer;
use crate::engine::settings::Picard;
use crate::engine::windows;
use crate::error::Result;
use crate::nodes::Window;
use crate::problem::{Problem, Solution, Stop};
use crate::sampler::automatic::latency::{Probe, measure};
use crate::sampler::automatic::settings::{Automatic, longest_list};
use crate::sampler::interface::Sampler;
use crate::sampler::sequential::Sequential;
use crate::score::{Chunked, ScoreFn};
use std::ops::ControlFlow;

/// Cancels before the first call, where measuring was cancelled: a run that has not begun.
struct Cancelled;

impl<B: Backend> Observer<B> for Cancelled {
    fn on_call(&mut self) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

impl<B: Backend> Sampler<B> for Automatic {
    #[inline(never)] // compiled once: see sampler/compiled.rs
    fn run(
        &self,
        problem: &Problem<B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Solution<B>> {
        self.check()?;
        let prepared = problem.prepare(&*score)?;
        let list = longest_list(&prepared);
        // invalid settings are reported even if the base does not run
        windows::sizes(&Picard { window: Window::Steps(1), ..self.base.clone() }, &prepared)?;
        let mut probe = Probe::default();
        let mut choice = match self.compares(list) {
            Err(reason) => self.sequential(reason),
            Ok((longest, effort)) => {
                let latency = match &self.latency {
                    Some(latency) => latency.clone(),
                    None => {
                        let (latency, cost) = measure(problem, score, self, observer)?;
                        if cost.cancelled {
                            let mut solution = Sequential.run(problem, score, &mut Cancelled)?;
                            let report = &mut solution.report;
                            "automatic".clone_into(&mut report.sampler);
                            (report.probe_rows, report.probe_time) = (cost.rows, cost.time);
                            return Ok(solution);
                        }
                        probe = cost;
                        latency
                    }
                };
                let parts = score.parts().iter().filter(|part| part.failure.is_none()).count();
                let shape = (prepared.count(), prepared.grain(), parts);
                self.choose(list, shape, longest, effort, latency)
            }
        };
        drop(prepared);
        let mut cut;
        let score: &mut dyn ScoreFn<B> = match choice.rows_per_call {
            Some(rows) => {
                cut = Chunked::new(score, rows)?;
                &mut cut
            }
            None => score,
        };
        let mut solution = match choice.window {
            Some(window) => {
                Picard { window: Window::Steps(window), ..self.base.clone() }.run(problem, score, observer)?
            }
            // a window of one step gives the sequential bits and respects these limits
            None if self.base.deadline.is_some() || self.base.row_budget.is_some() => {
                Picard { window: Window::Steps(1), ..self.base.clone() }.run(problem, score, observer)?
            }
            None => Sequential.run(problem, score, observer)?,
        };
        let report = &mut solution.report;
        "automatic".clone_into(&mut report.sampler);
        if let (Some(effort), Some(window), Stop::Converged) = (&mut choice.effort, choice.window, report.stop) {
            let mean = report.sample_rounds.iter().sum::<usize>() as f64 / report.samples as f64;
            *effort = effort.corrected(&self.base, window, report.steps, mean);
        }
        report.choice = Some(choice);
        (report.probe_rows, report.probe_time) = (probe.rows, probe.time);
        Ok(solution)
    }
}
