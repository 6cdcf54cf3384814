//! What follows a sweep: deciding which nodes are final, and accelerating the others.

use crate::backend::Backend;
use crate::engine::accept::acceptance::{Acceptance, Meaning};
use crate::engine::accept::judge::{Judge, Progress};
use crate::engine::iteration::anderson::Swept;
use crate::engine::round::OfRound;
use crate::engine::session::Session;
use crate::engine::settings::{Coupling, Policy};
use crate::engine::sizes::PIECE;
use crate::engine::span::{Span, pieces};
use crate::error::Result;
use crate::problem::{Prepared, Stop};

impl<B: Backend> Session<B> {
    /// Decides which nodes are final, and accelerates those that are not.
    pub(crate) fn after_sweep(&mut self, prepared: &Prepared<B>, spans: &[Span]) -> Result<()> {
        self.judge(prepared, spans)?;
        if self.settings.anderson > 0 {
            self.accelerate(prepared, spans)?;
        }
        Ok(())
    }

    fn judging<'a>(&'a self, prepared: &'a Prepared<B>, span: &'a Span) -> Judge<'a> {
        Judge {
            span,
            nodes: prepared.list(span.slot).nodes(),
            book: &self.book,
            sample: prepared.ids()[span.slot],
            rounds: self.tracks.all[span.slot].rounds,
            acceptance: &self.settings.acceptance,
            sweeps: self.settings.sweeps,
            skipped: self.work.evaluated.first_skipped(span, prepared.list(span.slot).nodes()),
            meaning: Meaning::new::<B::Elem>(self.settings.error_factor()),
        }
    }

    /// Decides from the last sweep how far every window may move.
    fn judge(&mut self, prepared: &Prepared<B>, spans: &[Span]) -> Result<()> {
        for (i, span) in spans.iter().enumerate() {
            let track = &mut self.tracks.all[span.slot];
            track.rounds += 1;
            let block = track.block;
            let judge = self.judging(prepared, span);
            self.of_round.progress[i] = match self.settings.policy {
                _ if self.settings.acceptance == Acceptance::Law => judge.verified(self.of_round.decisions[i].kept),
                Policy::Sliding => judge.whole(judge.sliding()?),
                Policy::Blocks | Policy::Wavefront { .. } => {
                    judge.whole(judge.blocks(&self.windows.boundaries[block + 1..])?)
                }
            };
            self.work.output.report.residuals[span.slot] = self.book.swept(span.ring, span.hi).rms;
        }
        if self.settings.coupling == Coupling::WholeBatch {
            let progress = &mut self.of_round.progress[..spans.len()];
            let least = progress.iter().map(|p| p.nodes).min();
            progress.iter_mut().zip(least.into_iter().cycle()).for_each(|(p, least)| p.nodes = least);
        }
        for (i, span) in spans.iter().enumerate() {
            let Progress { nodes, stalled_at, .. } = self.of_round.progress[i];
            let residual = match self.settings.acceptance {
                Acceptance::Law => 0.0,
                _ => self.judging(prepared, span).residual(nodes),
            };
            self.of_round.progress[i].residual = residual;
            self.work.evaluated.reach.note(prepared.list_of(span.slot), span, nodes);
            let report = &mut self.work.output.report;
            report.max_residual = report.max_residual.max(residual);
            if stalled_at.is_some_and(|k| k + 1 < nodes) {
                report.stop = Stop::Depth;
            }
        }
        Ok(())
    }

    /// Applies Anderson acceleration to the nodes that stay.
    fn accelerate(&mut self, prepared: &Prepared<B>, spans: &[Span]) -> Result<()> {
        let components = self.work.machine.layout.components;
        let mut done = 0;
        for piece in pieces(spans, PIECE / 2, |span| span.guesses() * components) {
            let OfRound { swept, counts, progress, .. } = &mut self.of_round;
            swept.clear();
            counts.clear();
            for (span, p) in piece.iter().zip(&progress[done..]) {
                let rounds = self.tracks.all[span.slot].rounds;
                swept.push(Swept { span: *span, lo: span.lo + p.nodes, now: rounds as usize, first: counts.len() });
                let sweeps = |j| (rounds - self.book.entered(span.ring, j)) as usize;
                counts.extend((span.lo + 1..=span.hi).map(sweeps));
            }
            self.anderson.accelerate(prepared, &mut self.work.machine, swept, counts)?;
            done += piece.len();
        }
        Ok(())
    }
}
