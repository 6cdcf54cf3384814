//! Verifies the guesses of windows, so that what leaves them has the law of sequential sampling.

use crate::backend::{Backend, Vector};
use crate::engine::accept::coupling::{Decision, Products, Verdict, verdict};
use crate::engine::iteration::linearisation::Linearisation;
use crate::engine::machine::Machine;
use crate::engine::sizes::Sizes;
use crate::engine::span::Span;
use crate::engine::work::Work;
use crate::error::{Result, reserve};
use crate::nodes::Normal;
use crate::noise::Address;
use crate::problem::Prepared;

/// Index of the uniform number that decides about a node, at the address of the node's first normals. No two nodes
/// share normals, so no two nodes share this number; the lower indices of an address are free for other uses.
const INDEX: u32 = u32::MAX;

/// The inner products of a round.
#[derive(Debug)]
pub(crate) struct Law {
    pairs: Vec<(usize, usize)>,
    vectors: Vec<Vector>,
    products: Vec<f64>,
    /// Windows and nodes to which the groups of products belong.
    groups: Vec<(usize, usize)>,
    /// Per window, its first node that cannot be kept.
    ends: Vec<usize>,
}

impl Law {
    pub fn new(sizes: &Sizes) -> Result<Self> {
        let (components, normals) = (sizes.layout.components, sizes.layout.normals);
        let (what, groups) = ("the verification of guesses", sizes.judged());
        let open = if sizes.verified { sizes.open() } else { 0 };
        let mut law = Law {
            pairs: Products::pairs(components, normals).collect(),
            vectors: Vec::new(),
            products: Vec::new(),
            groups: Vec::new(),
            ends: Vec::new(),
        };
        reserve(what, &mut law.vectors, groups.saturating_mul(components + normals))?;
        reserve(what, &mut law.products, groups.saturating_mul(law.pairs.len()))?;
        reserve(what, &mut law.groups, groups)?;
        reserve(what, &mut law.ends, open)?;
        Ok(law)
    }

    /// Decides about the guesses of the windows: from the start of each on, guesses are kept until one is not. The last
    /// node of a window is always made anew, since keeping it would save no evaluation.
    pub fn judge<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        work: &mut Work<B>,
        linearisation: &Linearisation,
        spans: &[Span],
        decisions: &mut [Decision],
    ) -> Result<()> {
        self.ends.clear();
        self.ends.extend(spans.iter().map(|span| {
            let proposed = (span.lo + 1..span.hi).take_while(|j| work.proposals.is(span.ring, *j));
            span.lo + 1 + proposed.count()
        }));
        work.try_out(prepared, spans, &self.ends, linearisation)?;
        self.products(prepared, &mut work.machine, spans)?;
        let components = work.machine.layout.components;
        let mut groups = self.groups.iter().zip(self.products.chunks_exact(self.pairs.len().max(1))).peekable();
        for (i, (span, decision)) in spans.iter().zip(decisions).enumerate() {
            let (list, sample) = (prepared.list(span.slot), prepared.ids()[span.slot]);
            *decision = Decision { kept: self.ends[i] - span.lo - 1, beta: None };
            while let Some(((_, j), values)) = groups.next_if(|((window, _), _)| *window == i) {
                let kept = j - span.lo - 1;
                if kept > decision.kept {
                    // a node before it is made anew
                    continue;
                }
                let (inner, square) = Products { components, values }.whitened(list, *j);
                let Normal { stream, step } = list.normals(*j)[0];
                let u = prepared.key(span.slot).uniform(Address { stream, step, sample }, INDEX);
                match verdict(u, inner, square) {
                    Verdict::Keep => {}
                    Verdict::Take => *decision = Decision { kept, beta: None },
                    Verdict::Reflect { beta } => *decision = Decision { kept, beta: Some(beta) },
                }
            }
        }
        Ok(())
    }

    /// The inner products of all nodes that have moved and may yet be kept; ends windows before nodes that cannot be.
    fn products<B: Backend>(&mut self, prepared: &Prepared<B>, machine: &mut Machine<B>, spans: &[Span]) -> Result<()> {
        self.groups.clear();
        self.vectors.clear();
        let layout = machine.layout;
        // per component, a copy and a trial
        let mut changes = machine.changes.chunks_exact(2).map(|pair| pair[1]);
        for (i, span) in spans.iter().enumerate() {
            let list = prepared.list(span.slot);
            let tried = self.ends[i];
            for j in span.lo + 1..tried {
                let width = list.nodes()[j].width;
                let (mut moved, mut possible) = (false, j < self.ends[i]);
                for (to, change) in changes.by_ref().take(width).enumerate() {
                    moved |= change.moved;
                    // without noise, only the exact state has its law
                    possible &= change.finite && (!change.moved || !list.noise(j, to).is_empty());
                }
                if !possible {
                    self.ends[i] = self.ends[i].min(j);
                } else if moved {
                    self.groups.push((i, j));
                    for a in 0..layout.components {
                        let (row, minus) = (layout.trial(span.ring, j, a), layout.state(span.ring, j, a));
                        let none = layout.trial(span.ring, j, 0);
                        let (row, minus) = if a < width { (row, minus) } else { (none, none) };
                        self.vectors.push(Vector { row, minus: Some(minus) });
                    }
                    let own = list.normals(j).len();
                    for k in 0..layout.normals {
                        let (row, none) = (layout.noise(span.ring, j, k), layout.noise(span.ring, j, 0));
                        let vector = Vector { row, minus: None };
                        self.vectors.push(if k < own { vector } else { Vector { row: none, minus: Some(none) } });
                    }
                }
            }
        }
        machine.products(&self.vectors, layout.components + layout.normals, &self.pairs, &mut self.products)
    }
}
