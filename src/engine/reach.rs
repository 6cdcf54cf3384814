//! Windows that reach further than their rows: which nodes are evaluated.

use crate::engine::span::Span;
use crate::error::{Result, filled, reserved};
use crate::nodes::{Node, Nodes};
use std::sync::Arc;

/// Which nodes of a window are evaluated in a round.
///
/// A window of W rows that reaches further evaluates W - W/4 nodes and, of those behind them, every n-th with the other
/// W/4 rows. A sample begins with all rows on its nearest nodes, and keeps to that until a round finishes fewer than
/// W - W/4 of them. By default every node is evaluated.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    /// How many evaluations apart far ones are; `None` if every node is evaluated.
    every: Option<usize>,
    /// Per list, the rows of a window.
    rows: Vec<usize>,
    /// Per list and node, the number of evaluations before it.
    before: Vec<Vec<usize>>,
    /// Per sample, in how many consecutive rounds it got as far as it could, up to [`FAST`].
    fast_rounds: Vec<u8>,
}

/// The largest stride.
pub(crate) const MOST_STRIDE: usize = 64;
/// After so many rounds in which a sample got as far as it could, all rows go to its nearest nodes. With fewer rounds
/// samples change to and fro, which costs what a further reach saves.
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
    /// For windows of these rows, given per list.
    pub fn new(every: Option<usize>, rows: &[usize], lists: &[Arc<Nodes>], samples: usize) -> Result<Self> {
        if every.is_none() {
            return Ok(Reach::default());
        }
        let what = "the reach of windows";
        let (mut own, mut before) = (reserved(what, rows.len())?, reserved(what, lists.len())?);
        own.extend(rows);
        for list in lists {
            let mut numbers = reserved(what, list.nodes().len())?;
            let count =
                |taken: &mut usize, node: &Node| Some(std::mem::replace(taken, *taken + usize::from(node.evaluate)));
            numbers.extend(list.nodes().iter().scan(0, count));
            before.push(numbers);
        }
        Ok(Reach { every, rows: own, before, fast_rounds: filled(what, samples, FAST)? })
    }

    /// Whether every node of every window is evaluated.
    pub fn is_full(&self) -> bool {
        self.every.is_none()
    }

    /// Whether a node is evaluated, after `taken` others of its window.
    pub fn takes(&self, list: usize, span: &Span, node: usize, taken: usize) -> bool {
        let Some(every) = self.every else { return true };
        let rows = self.rows[list];
        let near = node - span.lo < rows - far(rows);
        let all = span.guesses() <= rows || self.fast_rounds[span.slot] == FAST;
        taken < rows && (near || all || self.before[list][node].is_multiple_of(every))
    }

    /// A sample begins.
    pub fn begin(&mut self, slot: usize) {
        if let Some(fast) = self.fast_rounds.get_mut(slot) {
            *fast = FAST;
        }
    }

    /// So many nodes of a window have become final in a round.
    pub fn note(&mut self, list: usize, span: &Span, nodes: usize) {
        if let (Some(fast), Some(&rows)) = (self.fast_rounds.get_mut(span.slot), self.rows.get(list)) {
            *fast = if nodes < span.guesses().min(rows - far(rows)) { 0 } else { FAST.min(*fast + 1) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Reach, reaching};
    use crate::engine::ring::Ring;
    use crate::engine::span::Span;
    use crate::grid::Grid;
    use crate::nodes::{Nodes, Scheme};
    use crate::schedule::Ou;
    use crate::score::Prediction;
    use std::sync::Arc;

    fn span(lo: usize, hi: usize) -> Span {
        Span { slot: 0, ring: Ring { first: 0, capacity: 1 }, lo, hi }
    }

    fn taken(reach: &Reach, lo: usize, hi: usize) -> Vec<usize> {
        let mut nodes = Vec::new();
        for node in lo..hi {
            if reach.takes(0, &span(lo, hi), node, nodes.len()) {
                nodes.push(node);
            }
        }
        nodes
    }

    #[test]
    fn a_fast_sample_is_evaluated_densely() {
        let grid = Grid::log_snr(40).between(5.0, 0.1);
        let list = Arc::new(Nodes::new(&Ou, &grid, &Scheme::default(), Prediction::Data).unwrap());
        let mut reach = Reach::new(Some(3), &[8], &[list], 1).unwrap();
        assert_eq!(taken(&reach, 10, 22), [10, 11, 12, 13, 14, 15, 16, 17]);
        reach.note(0, &span(10, 22), 5);
        assert_eq!(taken(&reach, 10, 22), [10, 11, 12, 13, 14, 15, 18, 21]);
        assert_eq!(taken(&reach, 12, 24), [12, 13, 14, 15, 16, 17, 18, 21]);
        // a window that fits its rows, such as the last one of a list
        assert_eq!(taken(&reach, 14, 22), [14, 15, 16, 17, 18, 19, 20, 21]);
        for round in 0..4 {
            assert_eq!(taken(&reach, 10, 22)[7], if round < 3 { 21 } else { 17 });
            reach.note(0, &span(10, 22), 6);
        }
        reach.note(0, &span(10, 22), 5);
        assert_eq!(taken(&reach, 10, 22)[7], 21);
        // windows of single steps, which are finished in full
        (0..3).for_each(|lo| reach.note(0, &span(lo, lo + 1), 1));
        assert_eq!(taken(&reach, 10, 22)[7], 17);
        reach.note(0, &span(10, 22), 5);
        reach.begin(0);
        assert_eq!(taken(&reach, 10, 22)[7], 17);
        assert_eq!(taken(&Reach::default(), 3, 9), [3, 4, 5, 6, 7, 8]);
        assert_eq!(
            [reaching(8, Some(3)), reaching(3, Some(3)), reaching(64, Some(3)), reaching(64, None)],
            [12, 3, 96, 64]
        );
    }
}
