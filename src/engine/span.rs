//! The windows of samples.

use crate::engine::ring::Ring;

/// The window of one sample: node `lo` is final, nodes `lo + 1 ..= hi` are guesses. Both are stored in `ring`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Place of the sample in the batch.
    pub slot: usize,
    pub ring: Ring,
    pub lo: usize,
    pub hi: usize,
}

impl Span {
    /// Number of guesses.
    pub fn guesses(&self) -> usize {
        self.hi - self.lo
    }
}

/// The move of a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Move {
    pub from: Span,
    pub to: Span,
}

/// Splits windows, in order, into pieces of at most `most` in total size; a longer window is a piece of its own.
/// What is built and judged at once thus stays small, however large the batch is.
pub(crate) fn pieces<T>(items: &[T], most: usize, size: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let mut total = 0usize;
        let over = rest.iter().position(|item| {
            total = total.saturating_add(size(item));
            total > most
        });
        let n = over.unwrap_or(rest.len()).max(1).min(rest.len());
        let (piece, others) = rest.split_at(n);
        rest = others;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::pieces;

    #[test]
    fn pieces_are_all_items_in_order() {
        let items = [3, 1, 1, 9, 2, 2, 1];
        for most in 1..20 {
            let cut: Vec<&[usize]> = pieces(&items, most, |n| *n).collect();
            assert_eq!(cut.concat(), items);
            assert!(cut.iter().all(|piece| piece.len() == 1 || piece.iter().sum::<usize>() <= most));
            // no piece had room for the next item
            for pair in cut.windows(2) {
                assert!(pair[0].iter().sum::<usize>() + pair[1][0] > most);
            }
        }
        assert_eq!(pieces(&[0usize; 0], 5, |n| *n).count(), 0);
    }
}
