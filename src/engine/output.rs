//! What a run produces: finished samples, states along the way, the report.

use crate::backend::{Backend, Plane, Real};
use crate::engine::machine::Machine;
use crate::engine::span::{Move, Span};
use crate::error::{Result, filled};
use crate::problem::{Path, Prepared, Report, Solution, Verified};
use std::time::Instant;

/// Samples, path and report of a run in progress.
#[derive(Debug)]
pub(crate) struct Output<B: Backend> {
    pub samples: B::Array,
    pub path: Path<B::Elem>,
    pub report: Report,
    started: Instant,
}

impl<B: Backend> Output<B> {
    pub fn new(prepared: &Prepared<B>, sampler: &str) -> Result<Self> {
        let (slots, dim) = (prepared.count(), prepared.dim());
        let what = "the report";
        let mut sample_steps = filled(what, slots, 0)?;
        for (slot, steps) in sample_steps.iter_mut().enumerate() {
            *steps = prepared.list(slot).steps();
        }
        let report = Report {
            sampler: sampler.to_owned(),
            steps: sample_steps.iter().copied().max().unwrap_or(0),
            sample_steps,
            samples: slots,
            sample_rounds: filled(what, slots, 0)?,
            residuals: filled(what, slots, 0.0)?,
            ..Report::default()
        };
        Ok(Output {
            samples: prepared.backend().alloc("samples", slots, dim, <B::Elem as Real>::of(0.0))?,
            path: Path::default(),
            report,
            started: Instant::now(),
        })
    }

    /// Reserves memory for the states to be saved.
    pub fn open_path(&mut self, prepared: &Prepared<B>) -> Result<()> {
        self.path = prepared.path()?;
        Ok(())
    }

    /// Resets the output for another run of the same shape.
    pub fn restart(&mut self) {
        let old = std::mem::take(&mut self.report);
        let (mut sample_rounds, mut residuals, mut sweeps) = (old.sample_rounds, old.residuals, old.sweeps);
        sample_rounds.fill(0);
        residuals.fill(0.0);
        sweeps.clear();
        let Report { sampler, steps, sample_steps, samples, mut verified, .. } = old;
        verified.iter_mut().for_each(Verified::clear);
        self.report = Report {
            sampler,
            steps,
            sample_steps,
            samples,
            sample_rounds,
            residuals,
            sweeps,
            verified,
            ..Report::default()
        };
        self.started = Instant::now();
    }

    /// Copies finished states that are to be saved.
    pub fn save(&mut self, prepared: &Prepared<B>, machine: &Machine<B>, m: &Move) -> Result<()> {
        if self.path.steps().is_empty() {
            return Ok(());
        }
        for j in m.from.lo + 1..=m.to.lo {
            let node = &prepared.list(m.from.slot).nodes()[j];
            if let Some(place) = self.path.place(node.step).filter(|_| node.solution) {
                let row = machine.layout.state(m.from.ring, j, 0).row as usize;
                let state = machine.backend().download(&machine.planes[Plane::State], row..row + 1)?;
                self.path.row_mut(place, m.from.slot).assign(&state.row(0));
            }
        }
        Ok(())
    }

    /// Copies the current state of a sample to the returned samples.
    pub fn end(&mut self, machine: &Machine<B>, span: &Span) -> Result<()> {
        let row = machine.layout.state(span.ring, span.lo, 0).row;
        machine.backend().gather(&machine.planes[Plane::State], &[row], &mut self.samples, span.slot)
    }

    /// Ends the run. [`end`](Self::end) must have been called for every sample that has begun; the others are set
    /// to their start. `at(slot)` is the node that a sample has reached, `None` if it has not begun.
    pub fn finish(&mut self, prepared: &Prepared<B>, at: impl Fn(usize) -> Option<usize>) -> Result<()> {
        let slots = prepared.count();
        for slot in (0..slots).filter(|slot| at(*slot).is_none()) {
            prepared.backend().upload(prepared.start(slot), &mut self.samples, slot)?;
        }
        // the path of a cancelled run holds the steps that all samples have reached
        let short = (0..slots).filter(|slot| at(*slot).is_none_or(|j| j + 1 < prepared.list(*slot).nodes().len()));
        let reached = |slot: usize| {
            let list = prepared.list(slot);
            list.first_step() + finished_steps(list, at(slot).unwrap_or(0))
        };
        if let Some(reached) = short.map(reached).min() {
            self.path.truncate(reached);
        }
        self.report.solver_time = self.started.elapsed().saturating_sub(self.report.score_time);
        Ok(())
    }

    pub fn into_solution(self) -> Solution<B> {
        Solution { samples: self.samples, path: self.path, report: self.report }
    }

    /// A finished sample.
    pub fn view<'a>(&'a self, backend: &B, slot: usize) -> B::View<'a> {
        backend.view(&self.samples, slot..slot + 1)
    }
}

/// Number of steps finished at a node.
pub(crate) fn finished_steps(list: &crate::nodes::Nodes, j: usize) -> usize {
    let node = &list.nodes()[j];
    (node.step - usize::from(!node.solution)).saturating_sub(list.first_step())
}
