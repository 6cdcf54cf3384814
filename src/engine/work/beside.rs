//! What is made of nodes beside their states, which stay as they are.

use crate::backend::Backend;
use crate::engine::iteration::linearisation::Linearisation;
use crate::engine::machine::Machine;
use crate::engine::span::Span;
use crate::engine::sweep::{Pass, Recurrence};
use crate::engine::work::Work;
use crate::error::Result;
use crate::problem::Prepared;

impl<B: Backend> Work<B> {
    /// Tries out the guesses of each window up to node `ends[i]`, without it. The changes are those of a copy and a
    /// trial per component of a node.
    pub fn try_out(
        &mut self,
        prepared: &Prepared<B>,
        spans: &[Span],
        ends: &[usize],
        linearisation: &Linearisation,
    ) -> Result<()> {
        let Machine { layout, program, .. } = &mut self.machine;
        let (evaluated, slopes, barriers) = (&self.evaluated, &self.slopes, &[][..]);
        let pass = Pass::Over(&self.sites);
        let recurrence = Recurrence { prepared, layout, evaluated, slopes, linearisation, barriers, pass };
        program.clear();
        for (span, end) in spans.iter().zip(ends) {
            for j in span.lo + 1..*end {
                recurrence.try_out(span, j, program);
            }
            program.segment(layout.slot(span.ring));
        }
        self.machine.run()
    }

    /// Sweeps the windows that have a site beside their states, and looks at the changes along its directions.
    pub fn look(
        &mut self,
        prepared: &Prepared<B>,
        spans: &[Span],
        linearisation: &Linearisation,
        barriers: &[usize],
    ) -> Result<()> {
        let Work { machine, evaluated, slopes, sites, .. } = self;
        let Machine { layout, program, .. } = machine;
        if !spans.iter().any(|span| sites.is_known(layout, span)) {
            return Ok(());
        }
        let recurrence =
            Recurrence { prepared, layout, evaluated, slopes, linearisation, barriers, pass: Pass::Beside };
        program.clear();
        for span in spans.iter().filter(|span| sites.is_known(layout, span)) {
            (span.lo + 1..span.hi).for_each(|j| recurrence.sweep(span, None, j, program));
            program.segment(layout.slot(span.ring));
        }
        machine.run()?;
        sites.look(prepared, machine, (evaluated, slopes), spans)
    }
}
