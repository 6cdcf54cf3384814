//! When which block makes which iteration.

use crate::error::{Error, Result};

/// Which block makes which iteration when.
pub(super) struct Plan {
    /// Nodes at which blocks begin and, last, end.
    pub(super) nodes: Vec<usize>,
    /// Rounds between iterations of the first block.
    stride: usize,
    /// The last iteration.
    pub(super) most: usize,
}

/// A block in an iteration, some steps after its start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) block: usize,
    pub(super) iteration: usize,
    pub(super) step: usize,
}

impl Plan {
    /// For so many blocks and iterations at the most, or as many as suit the number of steps.
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

    /// The round in which a block begins an iteration, 0 is the first.
    fn begins(&self, block: usize, iteration: usize) -> usize {
        block + iteration * (self.stride - 1)
    }

    /// What is evaluated in a round, in the order of the lanes.
    pub(super) fn active(&self, round: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        for block in 0..self.blocks().min(round + 1) {
            let newest = ((round - block) / (self.stride - 1)).min(block).min(self.most);
            let mut own: Vec<Part> = (0..=newest)
                .rev()
                .map(|iteration| Part { block, iteration, step: round - self.begins(block, iteration) })
                .take_while(|part| part.step < self.stride)
                // of the last iteration only the coarse step is of use
                .filter(|part| part.step < if part.iteration == self.most { 1 } else { self.len(block) })
                .collect();
            own.sort_unstable_by_key(|part| part.iteration % 2);
            parts.extend(own);
        }
        parts
    }

    /// The starts of blocks, and the last state, that are known before a round.
    pub(super) fn known(&self, round: usize) -> impl Iterator<Item = Part> {
        (1..=self.blocks().min(round)).filter_map(move |block| {
            let iteration = (round - block) / (self.stride - 1);
            let now = self.begins(block, iteration) == round && iteration <= block.min(self.most);
            now.then_some(Part { block, iteration, step: 0 })
        })
    }

    /// The exact block that is on its way before a round, and how far it is.
    pub(super) fn front(&self, round: usize) -> Part {
        let block = (round / self.stride).min(self.most).min(self.blocks() - 1);
        let end = if block == self.most { 1 } else { self.len(block) - 1 };
        Part { block, iteration: block, step: (round - block * self.stride).min(end) }
    }
}
