//! Windows that reach further than their rows: which nodes are evaluated.

use crate::engine::span::Span;
use crate::error::{Result, filled, reserved};

/// Which nodes of a window are evaluated in a round.
///
/// A window of W rows that reaches further evaluates W - W/4 nodes and, after them, every n-th node with the other W/4
/// rows. While a sample finishes at least so many nodes in a round, all W rows go to its nearest nodes.
#[derive(Debug)]
pub(crate) struct Reach {
    every: Option<usize>,
    /// Per list, the rows of a window.
    rows: Vec<usize>,
    /// Per sample, in how many consecutive rounds it got as far as it could; [`FAST`] if all rows go to its nearest
    /// nodes.
    limits: Vec<u8>,
}

/// A sample that is evaluated sparsely and gets as far as it can in so many rounds would get further. With fewer rounds
/// samples change to and fro, which costs what sparse evaluation saves.
const FAST: u8 = 3;

/// The rows of a window of `rows` that are spent on its far part.
fn far(rows: usize) -> usize {
    rows / 4
}

/// The number of steps or nodes of a window that reaches further than its rows.
pub(crate) fn reaching(rows: usize, every: Option<usize>) -> usize {
    rows.saturating_add(every.map_or(0, |every| far(rows).saturating_mul(every - 1)))
}

impl Reach {
    /// For windows that are evaluated in full.
    pub fn full() -> Self {
        Reach { every: None, rows: Vec::new(), limits: Vec::new() }
    }

    /// For windows of these rows, given per list.
    pub fn new(every: Option<usize>, rows: &[usize], samples: usize) -> Result<Self> {
        if every.is_none() {
            return Ok(Reach::full());
        }
        let mut own = reserved("the rows of windows", rows.len())?;
        own.extend(rows);
        Ok(Reach { every, rows: own, limits: filled("the speed of samples", samples, FAST)? })
    }

    /// Whether a node is evaluated, after `taken` others of its window.
    pub fn takes(&self, list: usize, span: &Span, node: usize, taken: usize) -> bool {
        let Some(every) = self.every else { return true };
        let rows = self.rows[list];
        let near = rows - far(rows);
        taken < rows && (node - span.lo < near || self.limits[span.slot] == FAST || node.is_multiple_of(every))
    }

    /// A sample begins.
    pub fn begin(&mut self, slot: usize) {
        if let Some(limits) = self.limits.get_mut(slot) {
            *limits = FAST;
        }
    }

    /// So many nodes of a sample have become final in a round.
    pub fn note(&mut self, list: usize, slot: usize, nodes: usize) {
        if let (Some(limits), Some(&rows)) = (self.limits.get_mut(slot), self.rows.get(list)) {
            *limits = if nodes < rows - far(rows) { 0 } else { FAST.min(*limits + 1) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reach, reaching};
    use crate::engine::ring::Ring;
    use crate::engine::span::Span;

    fn taken(reach: &Reach, lo: usize, hi: usize) -> Vec<usize> {
        let span = Span { slot: 0, ring: Ring { first: 0, capacity: 1 }, lo, hi };
        let mut nodes = Vec::new();
        for node in lo..hi {
            if reach.takes(0, &span, node, nodes.len()) {
                nodes.push(node);
            }
        }
        nodes
    }

    #[test]
    fn a_fast_sample_is_evaluated_densely() {
        let mut reach = Reach::new(Some(3), &[8], 1).unwrap();
        assert_eq!(reaching(8, Some(3)), 12);
        assert_eq!(taken(&reach, 10, 22), [10, 11, 12, 13, 14, 15, 16, 17]);
        reach.note(0, 0, 5);
        assert_eq!(taken(&reach, 10, 22), [10, 11, 12, 13, 14, 15, 18, 21]);
        assert_eq!(taken(&reach, 12, 24), [12, 13, 14, 15, 16, 17, 18, 21]);
        // at the end of the list
        assert_eq!(taken(&reach, 20, 23), [20, 21, 22]);
        for round in 0..4 {
            assert_eq!(taken(&reach, 10, 22)[7], if round < 3 { 21 } else { 17 });
            reach.note(0, 0, 6);
        }
        reach.note(0, 0, 5);
        assert_eq!(taken(&reach, 10, 22)[7], 21);
        reach.begin(0);
        assert_eq!(taken(&reach, 10, 22)[7], 17);
        assert_eq!(taken(&Reach::full(), 3, 9), [3, 4, 5, 6, 7, 8]);
        assert_eq!((reaching(3, Some(3)), reaching(64, Some(3)), reaching(64, None)), (3, 96, 64));
    }
}
