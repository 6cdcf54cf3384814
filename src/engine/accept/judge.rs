//! How far windows may move after a sweep.

use crate::engine::accept::acceptance::{Acceptance, Meaning, Sweeps};
use crate::engine::accept::book::{Book, Swept};
use crate::engine::span::Span;
use crate::error::{Error, Result};
use crate::nodes::Node;

/// How far a window may move after a sweep.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Number of nodes that become final.
    pub nodes: usize,
    /// The first guess whose successors were accepted only because they had reached the limit on sweeps.
    pub stalled_at: Option<usize>,
    /// Largest change of a node that left the window without being exact.
    pub residual: f64,
}

/// Judges the guesses of a window by their changes in the last sweep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judge<'a> {
    pub span: &'a Span,
    pub nodes: &'a [Node],
    pub book: &'a Book,
    pub sample: u32,
    /// Rounds in which the sample has taken part, this one included.
    pub rounds: u32,
    pub acceptance: &'a Acceptance,
    pub sweeps: Sweeps,
    pub meaning: Meaning,
    /// The first node of the window that was not evaluated; the nodes after it cannot be judged.
    pub skipped: usize,
}

impl Judge<'_> {
    fn swept(&self, node: usize) -> Swept {
        self.book.swept(self.span.ring, node)
    }

    /// How often a node has been swept.
    fn swept_times(&self, node: usize) -> usize {
        (self.rounds - self.book.entered(self.span.ring, node)) as usize
    }

    /// Whether a guess counts as final.
    fn accepts(&self, node: usize) -> bool {
        let Swept { rms, earlier, moved, finite } = self.swept(node);
        finite && (!moved || self.acceptance.accepts(&self.nodes[node], rms, earlier, self.meaning))
    }

    /// Whether the network output was evaluated at the node's newest state, or is not needed.
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

    /// Limits the progress to the guesses before the first that overflowed: it has kept its old value, so it cannot
    /// leave the window.
    pub fn whole(&self, progress: Progress) -> Progress {
        let lo = self.span.lo;
        let broken = (1..progress.nodes).find(|k| !self.swept(lo + 1 + k).finite);
        Progress { nodes: broken.unwrap_or(progress.nodes), ..progress }
    }

    /// The guesses that were kept, and the node after them: it was made anew from final nodes. So were nodes that
    /// follow one which has not moved or whose output is not needed.
    pub fn verified(&self, kept: usize) -> Progress {
        let mut last = self.span.lo + 1 + kept;
        while last < self.span.hi && self.exact(last) && self.swept(last + 1).finite {
            last += 1;
        }
        Progress { nodes: last - self.span.lo, ..Progress::default() }
    }

    /// The number of consecutive accepted nodes plus 1: the first node that fails was still computed from accepted
    /// ones.
    pub fn sliding(&self) -> Result<Progress> {
        let (lo, count) = (self.span.lo, self.span.guesses());
        let mut progress = Progress { nodes: count, ..Progress::default() };
        let mut exact = true;
        for k in 0..count {
            let node = lo + 1 + k;
            // A node is exact if its inputs are final. Its successor is exact too if the node's output was
            // evaluated at its final state.
            exact &= self.exact(node);
            if node == self.skipped {
                progress.nodes = k + 1;
                break;
            }
            if exact || self.accepts(node) {
                continue;
            }
            // the nodes after it must be swept again, unless the next one has reached the limit
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

    /// All blocks whose nodes are accepted, and the exact nodes of the first block that is not accepted. Blocks end
    /// at `ends`.
    pub fn blocks(&self, ends: &[usize]) -> Result<Progress> {
        let mut progress = Progress::default();
        // whether the start of the block is final and already was when the block was swept
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
            // the next block was swept from the previous end state of this one
            if !self.accepts(end) {
                return Ok(progress);
            }
        }
        Ok(progress)
    }

    /// Largest change among the nodes that leave without being exact. The last one does not count if it failed: it
    /// was computed from accepted nodes, after its change had been measured.
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
