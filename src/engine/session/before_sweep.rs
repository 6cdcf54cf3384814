//! What precedes a sweep: what is measured while the states are still those that the network saw.

use crate::backend::Backend;
use crate::engine::accept::acceptance::Acceptance;
use crate::engine::session::Session;
use crate::engine::span::Span;
use crate::engine::work::Work;
use crate::error::Result;
use crate::problem::Prepared;
use std::ops::Range;

impl<B: Backend> Session<B> {
    /// Stores what the iteration needs of the evaluations and of the states, and verifies guesses. `of_piece` are the
    /// places of these windows among those of the round.
    pub(crate) fn before_sweep(
        &mut self,
        prepared: &Prepared<B>,
        spans: &[Span],
        of_piece: Range<usize>,
    ) -> Result<()> {
        let lawful = self.settings.acceptance == Acceptance::Law;
        let Work { machine, evaluated, slopes, .. } = &mut self.work;
        if self.settings.linearisation.is_measured() {
            slopes.measure(prepared, machine, evaluated, spans, lawful)?;
        }
        if self.settings.anderson > 0 {
            let tracks = &self.tracks.all;
            self.anderson.keep(prepared, machine, spans, |slot| tracks[slot].rounds as usize + 1)?;
        }
        self.work.look(prepared, spans, &self.settings.linearisation, &self.windows.barriers)?;
        if lawful {
            let decisions = &mut self.of_round.decisions[of_piece];
            self.law.judge(prepared, &mut self.work, &self.settings.linearisation, spans, decisions)?;
            let verified = &mut self.work.output.report.verified;
            assert!(verified.is_some(), "a session that verifies guesses counts them");
            if let Some(verified) = verified {
                for (span, decision) in spans.iter().zip(decisions) {
                    verified.note(span.slot, decision.kept, decision.beta.is_some());
                }
            }
        }
        Ok(())
    }
}
