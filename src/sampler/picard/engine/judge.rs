//! How far windows may move after a sweep.

use super::{Engine, Progress};
use crate::backend::{Backend, Change};
use crate::error::{Error, Result};
use crate::sampler::Stop;
use crate::sampler::picard::{Coupling, OnStall, Policy};
use crate::sampler::workspace::Span;

impl<B: Backend> Engine<'_, '_, '_, B> {
    /// How far every window may move, by the changes of the last sweep.
    pub(super) fn judge(&mut self, spans: &[Span], progress: &mut [Progress]) -> Result<()> {
        let mut first = 0;
        for (span, progress) in spans.iter().zip(progress.iter_mut()) {
            if let Some(track) = self.tracks.get_mut(span.slot) {
                track.rounds += 1;
            }
            *progress = match self.settings.policy {
                Policy::Sliding => self.judge_sliding(span, first)?,
                Policy::Blocks | Policy::Wavefront { .. } => self.judge_blocks(span, first)?,
            };
            // a guess that overflowed has kept its old value: it cannot leave
            let broken = (1..progress.nodes).find(|&k| !self.work.change(first, k).finite);
            progress.nodes = broken.unwrap_or(progress.nodes);
            let rms = self.work.rms(&self.work.change(first, span.hi - span.lo - 1));
            if let Some(residual) = self.work.report.residuals.get_mut(span.slot) {
                *residual = rms;
            }
            first += span.hi - span.lo;
        }
        if self.settings.coupling == Coupling::WholeBatch
            && let Some(least) = progress.iter().take(spans.len()).map(|p| p.nodes).min()
        {
            progress.iter_mut().for_each(|p| p.nodes = least);
        }
        let mut first = 0;
        for (span, p) in spans.iter().zip(progress.iter_mut()) {
            p.residual = self.residual(span, first, p.nodes);
            for k in 0..span.hi - span.lo {
                let rms = self.work.rms(&self.work.change(first, k));
                let place = span.lane * self.capacity + (span.lo + 1 + k) % self.capacity;
                if let Some(change) = self.changes.get_mut(place) {
                    *change = rms;
                }
            }
            first += span.hi - span.lo;
            let report = &mut self.work.report;
            report.max_residual = report.max_residual.max(p.residual);
            if p.stalled_at.is_some_and(|k| k + 1 < p.nodes) {
                report.stop = Stop::Depth;
            }
        }
        Ok(())
    }

    /// Largest change among the nodes that leave without being exact. The last one does not count where it failed: it was computed
    /// from accepted nodes after its change was taken.
    fn residual(&self, span: &Span, first: usize, nodes: usize) -> f64 {
        let mut exact = true;
        (0..nodes).fold(0.0, |max, k| {
            let node = span.lo + 1 + k;
            let change = self.work.change(first, k);
            let (accepted, rms) = self.accepts(span.lane, node, &change);
            let counts = !exact && (accepted || k + 1 < nodes);
            exact &= self.exact(node, &change);
            if counts { f64::max(max, rms) } else { max }
        })
    }

    /// Whether a guess is as good as final: (accepted, its rms change).
    fn accepts(&self, lane: usize, node: usize, change: &Change) -> (bool, f64) {
        let earlier = self.changes.get(lane * self.capacity + node % self.capacity).copied().filter(|c| !c.is_nan());
        let rms = self.work.rms(change);
        let close = self.work.node(node).is_some_and(|n| self.settings.tolerance.accepts(n, rms, earlier));
        (change.finite && (!change.moved || close), rms)
    }

    /// Whether the node's newest state is where its network output was or need not be taken.
    fn exact(&self, node: usize, change: &Change) -> bool {
        change.finite && (!change.moved || self.work.node(node).is_some_and(|n| !n.evaluate))
    }

    fn not_converged(&self, span: &Span, first: usize, k: usize, sweeps: usize) -> Error {
        let rms = |k| self.work.rms(&self.work.change(first, k));
        Error::NotConverged {
            sample: self.work.ids().get(span.slot).copied().unwrap_or_default(),
            node: span.lo + 1 + k,
            sweeps,
            residual: rms(k),
            residuals: (k..span.hi - span.lo).map(rms).collect(),
        }
    }

    /// 1 + the number of consecutive accepted nodes: the first failing one was computed from accepted ones.
    fn judge_sliding(&self, span: &Span, first: usize) -> Result<Progress> {
        let count = span.hi - span.lo;
        let mut progress = Progress { nodes: count, ..Progress::default() };
        let mut exact = true;
        for k in 0..count {
            let node = span.lo + 1 + k;
            let change = self.work.change(first, k);
            // a node whose inputs are final is exact, and hands on its exactness where its output was taken at its final state
            exact &= self.exact(node, &change);
            if exact || self.accepts(span.lane, node, &change).0 {
                continue;
            }
            // the nodes behind it must be swept again, unless the next one has been as often as allowed
            if k + 1 == count {
                break;
            }
            let sweeps = self.sweeps(span, node + 1);
            if self.settings.max_sweeps.is_none_or(|most| sweeps < most) {
                progress.nodes = k + 1;
                break;
            }
            if self.settings.on_stall == OnStall::Error {
                return Err(self.not_converged(span, first, k + 1, sweeps));
            }
            progress.stalled_at = progress.stalled_at.or(Some(k));
        }
        Ok(progress)
    }

    /// All blocks whose nodes are accepted, up to the first one that is not, and of that one the exact nodes.
    fn judge_blocks(&self, span: &Span, first: usize) -> Result<Progress> {
        let mut progress = Progress::default();
        let block = self.tracks.get(span.slot).map_or(0, |t| t.block);
        // whether the block starts from a state that is final and has been when it was swept
        let mut settled = true;
        for &end in self.boundaries.iter().skip(block + 1).take_while(|end| **end <= span.hi) {
            let start = progress.nodes;
            let count = end - span.lo - start;
            let changes = (start..start + count).map(|k| (span.lo + 1 + k, self.work.change(first, k)));
            let unmoved = changes.clone().take_while(|(node, c)| self.exact(*node, c)).count();
            let exact = if settled { (1 + unmoved).min(count) } else { 0 };
            let failing = changes.clone().position(|(node, c)| !self.accepts(span.lane, node, &c).0);
            if let (Some(k), true) = (failing, exact < count) {
                let sweeps = self.sweeps(span, end);
                if self.settings.max_sweeps.is_none_or(|most| sweeps < most) {
                    progress.nodes += exact;
                    return Ok(progress);
                }
                if self.settings.on_stall == OnStall::Error {
                    return Err(self.not_converged(span, first, start + k, sweeps));
                }
                progress.stalled_at = progress.stalled_at.or(Some(start + k));
            }
            progress.nodes += count;
            settled &= unmoved == count;
            // the next block has been swept from where this one ended before
            if changes.clone().last().is_some_and(|(node, c)| !self.accepts(span.lane, node, &c).0) {
                return Ok(progress);
            }
        }
        Ok(progress)
    }
}
