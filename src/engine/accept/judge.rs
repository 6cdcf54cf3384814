//! How far windows may move after a sweep.

use crate::engine::accept::acceptance::{Acceptance, Sweeps};
use crate::engine::accept::book::{Book, Swept};
use crate::engine::span::Span;
use crate::error::{Error, Result};
use crate::nodes::Node;

/// How far a window may move after a sweep.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Nodes that become final.
    pub nodes: usize,
    /// The first guess behind which nodes were accepted only because they had been swept as often as allowed.
    pub stalled_at: Option<usize>,
    /// Largest change with which one of the nodes left without being exact.
    pub residual: f64,
}

/// Judges the guesses of a window by what the last sweep did to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge<'a> {
    pub span: &'a Span,
    pub nodes: &'a [Node],
    pub book: &'a Book,
    pub sample: u32,
    /// Rounds that the sample has taken part in, this one included.
    pub rounds: u32,
    pub acceptance: &'a Acceptance,
    pub sweeps: Sweeps,
}

impl Judge<'_> {
    fn swept(&self, node: usize) -> Swept {
        self.book.swept(self.span.ring, node)
    }

    /// How often a node has been swept.
    fn swept_times(&self, node: usize) -> usize {
        (self.rounds - self.book.entered(self.span.ring, node)) as usize
    }

    /// Whether a guess is as good as final.
    fn accepts(&self, node: usize) -> bool {
        let Swept { rms, earlier, moved, finite } = self.swept(node);
        finite && (!moved || self.acceptance.accepts(&self.nodes[node], rms, earlier))
    }

    /// Whether the node's newest state is where its network output was or need not be taken.
    fn exact(&self, node: usize) -> bool {
        let swept = self.swept(node);
        swept.finite && (!swept.moved || !self.nodes[node].evaluate)
    }

    fn may_go_on(&self, sweeps: usize) -> bool {
        self.sweeps.most().is_none_or(|most| sweeps < most)
    }

    fn not_converged(&self, node: usize, sweeps: usize) -> Error {
        let rms = |node| self.swept(node).rms;
        let residuals = (node..=self.span.hi).map(rms).collect();
        Error::NotConverged { sample: self.sample, node, sweeps, residual: rms(node), residuals }
    }

    /// Before the window's end a guess that overflowed has kept its old value: it cannot leave.
    pub fn whole(&self, progress: Progress) -> Progress {
        let lo = self.span.lo;
        let broken = (1..progress.nodes).find(|k| !self.swept(lo + 1 + k).finite);
        Progress { nodes: broken.unwrap_or(progress.nodes), ..progress }
    }

    /// 1 + the number of consecutive accepted nodes: the first failing one was computed from accepted ones.
    pub fn sliding(&self) -> Result<Progress> {
        let (lo, count) = (self.span.lo, self.span.guesses());
        let mut progress = Progress { nodes: count, ..Progress::default() };
        let mut exact = true;
        for k in 0..count {
            let node = lo + 1 + k;
            // a node whose inputs are final is exact, and hands on its exactness where its output was taken at its final state
            exact &= self.exact(node);
            if exact || self.accepts(node) {
                continue;
            }
            // the nodes behind it must be swept again, unless the next one has been as often as allowed
            if k + 1 == count {
                break;
            }
            let sweeps = self.swept_times(node + 1);
            if self.may_go_on(sweeps) {
                progress.nodes = k + 1;
                break;
            }
            if let Sweeps::Within(_) = self.sweeps {
                return Err(self.not_converged(node + 1, sweeps));
            }
            progress.stalled_at = progress.stalled_at.or(Some(k));
        }
        Ok(progress)
    }

    /// All blocks whose nodes are accepted, up to the first one that is not, and of that one the exact nodes. Blocks end at `ends`.
    pub fn blocks(&self, ends: &[usize]) -> Result<Progress> {
        let mut progress = Progress::default();
        // whether the block starts from a state that is final and has been when it was swept
        let mut settled = true;
        for &end in ends.iter().take_while(|end| **end <= self.span.hi) {
            let start = self.span.lo + progress.nodes;
            let count = end - start;
            let nodes = start + 1..=end;
            let unmoved = nodes.clone().take_while(|node| self.exact(*node)).count();
            let exact = if settled { (1 + unmoved).min(count) } else { 0 };
            let failing = nodes.clone().find(|node| !self.accepts(*node));
            if let (Some(node), true) = (failing, exact < count) {
                let sweeps = self.swept_times(end);
                if self.may_go_on(sweeps) {
                    progress.nodes += exact;
                    return Ok(progress);
                }
                if let Sweeps::Within(_) = self.sweeps {
                    return Err(self.not_converged(node, sweeps));
                }
                progress.stalled_at = progress.stalled_at.or(Some(node - self.span.lo - 1));
            }
            progress.nodes += count;
            settled &= unmoved == count;
            // the next block has been swept from where this one ended before
            if !self.accepts(end) {
                return Ok(progress);
            }
        }
        Ok(progress)
    }

    /// Largest change among the nodes that leave without being exact. The last one does not count where it failed: it was computed
    /// from accepted nodes after its change was taken.
    pub fn residual(&self, nodes: usize) -> f64 {
        let mut exact = true;
        (0..nodes).fold(0.0, |max, k| {
            let node = self.span.lo + 1 + k;
            let counts = !exact && (self.accepts(node) || k + 1 < nodes);
            exact &= self.exact(node);
            if counts { f64::max(max, self.swept(node).rms) } else { max }
        })
    }
}
