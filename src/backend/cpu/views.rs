//! Linear combinations of the rows of views.

use super::{is_much, join};
use crate::backend::sum::LEAF;
use crate::backend::{Limit, Real, Summand};
use ndarray::{ArrayView1, ArrayView2, ArrayViewMut1, ArrayViewMut2, Axis, Slice, Zip};

/// What every job reads.
pub(super) struct Combination<'a, T> {
    pub summands: &'a [Summand<'a, ArrayView2<'a, T>>],
    pub limit: Option<Limit<'a, ArrayView2<'a, T>>>,
}

impl<T: Real> Combination<'_, T> {
    /// `out` holds rows from `row` and columns from `column` on.
    pub fn split(&self, row: usize, column: usize, mut out: ArrayViewMut2<'_, T>) {
        let (rows, columns) = out.dim();
        if is_much(rows, columns) {
            let (axis, cut) = if rows > 1 { (0, rows / 2) } else { (1, (columns / 2).next_multiple_of(LEAF)) };
            let (low, high) = out.split_at(Axis(axis), cut);
            let (high_row, high_column) = if rows > 1 { (row + cut, column) } else { (row, column + cut) };
            return join(true, || self.split(row, column, low), || self.split(high_row, high_column, high));
        }
        for (i, mut out) in (row..).zip(out.rows_mut()) {
            let columns = (column..).step_by(LEAF);
            for (first, out) in columns.zip(out.axis_chunks_iter_mut(Axis(0), LEAF)) {
                self.leaf(i, first, out);
            }
        }
    }

    /// The elements of row `i` from `first` on.
    fn leaf(&self, i: usize, first: usize, mut out: ArrayViewMut1<'_, T>) {
        let mut room = [T::zero(); LEAF];
        let end = first + out.len();
        let mut sum = ArrayViewMut1::from(&mut room[..out.len()]);
        let mut is_first = true;
        for summand in self.summands {
            let by = T::of(of_row(summand.by, i));
            if by == T::zero() {
                continue;
            }
            let rows = match &summand.rows {
                Some(rows) => row(rows, i, first, end),
                None => out.view(),
            };
            let sum = Zip::from(&mut sum).and(rows);
            match is_first {
                true => sum.for_each(|sum, &value| *sum = by * value),
                false => sum.for_each(|sum, &value| *sum += by * value),
            }
            is_first = false;
        }
        if let Some(limit) = &self.limit {
            let [p, q] = of_row(limit.map, i);
            Zip::from(&mut sum).and(row(&limit.x, i, first, end)).for_each(|y, &x| {
                let known = if p == 0.0 { 0.0 } else { p * x.wide() };
                let value = known + q * y.wide();
                let bound = value.clamp(limit.low, limit.high);
                if value.is_finite() && value != bound {
                    *y = T::of((bound - known) / q);
                }
            });
        }
        out.assign(&sum);
    }
}

/// That of row `i`, or of all rows.
fn of_row<C: Copy>(values: &[C], i: usize) -> C {
    values[if values.len() == 1 { 0 } else { i }]
}

fn row<'a, T>(view: &'a ArrayView2<'_, T>, i: usize, first: usize, end: usize) -> ArrayView1<'a, T> {
    view.row(i).slice_axis_move(Axis(0), Slice::from(first..end))
}
