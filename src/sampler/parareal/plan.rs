//! The schedule of Parareal: when each block makes each iteration.

use crate::error::{Error, Result};

/// When each block makes each iteration.
pub(super) struct Plan {
    /// Nodes at which blocks begin, followed by the end of the last block.
    pub(super) nodes: Vec<usize>,
    /// Number of rounds between iterations of the first block.
    stride: usize,
    /// Index of the last iteration.
    pub(super) most: usize,
}

/// A block in an iteration, `step` steps after its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) block: usize,
    pub(super) iteration: usize,
    pub(super) step: usize,
}

impl Plan {
    /// A plan for these numbers of blocks and iterations. By default the number of blocks is the square root of the
    /// number of steps, and the number of iterations is that of blocks.
    pub(super) fn new(blocks: Option<usize>, max_iterations: Option<usize>, steps: usize) -> Result<Self> {
        let blocks = blocks.unwrap_or_else(|| (steps as f64).sqrt().round().max(1.0) as usize);
        if !(1..=steps).contains(&blocks) {
            return Err(Error::setting("blocks", blocks, "1 to the number of steps"));
        }
        if max_iterations == Some(0) {
            return Err(Error::setting("max_iterations", 0, "at least 1 iteration"));
        }
        let end = |n: usize| (n as u128 * steps as u128 / blocks as u128) as usize;
        let nodes = (0..=blocks).map(end).collect();
        let stride = steps.div_ceil(blocks).max(2);
        Ok(Plan { nodes, stride, most: max_iterations.unwrap_or(blocks).min(blocks) })
    }

    pub(super) fn blocks(&self) -> usize {
        self.nodes.len() - 1
    }

    pub(super) fn node(&self, block: usize) -> usize {
        self.nodes.get(block).copied().unwrap_or(0)
    }

    pub(super) fn len(&self, block: usize) -> usize {
        self.node(block + 1) - self.node(block)
    }

    /// The round in which a block begins an iteration; the first round is 0.
    fn begins(&self, block: usize, iteration: usize) -> usize {
        block + iteration * (self.stride - 1)
    }

    /// The parts that are evaluated in a round, in the order of the lanes.
    pub(super) fn active(&self, round: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        for block in 0..self.blocks().min(round + 1) {
            let newest = ((round - block) / (self.stride - 1)).min(block).min(self.most);
            let mut own: Vec<Part> = (0..=newest)
                .rev()
                .map(|iteration| Part { block, iteration, step: round - self.begins(block, iteration) })
                .take_while(|part| part.step < self.stride)
                // of the last iteration only the coarse step is used
                .filter(|part| part.step < if part.iteration == self.most { 1 } else { self.len(block) })
                .collect();
            own.sort_unstable_by_key(|part| part.iteration % 2);
            parts.extend(own);
        }
        parts
    }

    /// The block starts that become known before a round; the start after the last block is the final state.
    pub(super) fn known(&self, round: usize) -> impl Iterator<Item = Part> {
        (1..=self.blocks().min(round)).filter_map(move |block| {
            let iteration = (round - block) / (self.stride - 1);
            let now = self.begins(block, iteration) == round && iteration <= block.min(self.most);
            now.then_some(Part { block, iteration, step: 0 })
        })
    }

    /// The exact block in progress before a round, and its step.
    pub(super) fn front(&self, round: usize) -> Part {
        let block = (round / self.stride).min(self.most).min(self.blocks() - 1);
        let end = if block == self.most { 1 } else { self.len(block) - 1 };
        Part { block, iteration: block, step: (round - block * self.stride).min(end) }
    }
}
