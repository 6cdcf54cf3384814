//! Programs of linear combinations, cut into jobs.

use super::{GRAIN, LeafChange, elementwise, join};
use crate::backend::sum::{LEAF, leaf};
use crate::backend::{Plane, Program, Real, RowRef, Segment, Term};
use ndarray::{ArrayView2, ArrayViewMut2, Axis};

/// Columns that are combined before they replace the old ones: long runs for the memory, a buffer for the first-level cache.
const PIECE: usize = 8 * LEAF;
/// Elements at a time of what rows end with after their last whole leaf.
const VECTOR: usize = 16;
/// Columns of a job, at most: what a target shares with the next ones stays in the cache, and rows are read in long runs.
const BLOCK: usize = 64 * LEAF;

/// What every job of a program reads.
pub(super) struct Shared<'a, T> {
    pub program: &'a Program<T>,
    pub point: ArrayView2<'a, T>,
    pub output: ArrayView2<'a, T>,
    pub noise: ArrayView2<'a, T>,
    pub variances: &'a [T],
    pub earlier_point: ArrayView2<'a, T>,
    pub earlier_output: ArrayView2<'a, T>,
    pub state_rows: usize,
    pub memory_rows: usize,
}

/// The part of the written arrays that belongs to some slots and columns.
pub(super) struct Block<'a, T> {
    /// Slot of the first state row.
    pub slot: usize,
    /// First column.
    pub column: usize,
    pub state: ArrayViewMut2<'a, T>,
    pub memory: ArrayViewMut2<'a, T>,
}

impl<T: Real> Shared<'_, T> {
    /// Cuts the work into single segments of at most [`BLOCK`] columns, or fewer where that employs another thread.
    /// `leaves` has a row for each of their targets and a column for each leaf of the block.
    pub fn split(&self, segments: &[Segment], block: Block<'_, T>, leaves: ArrayViewMut2<'_, LeafChange<T>>) {
        let columns = block.state.ncols();
        let targets = leaves.nrows();
        let parallel = targets * columns > GRAIN;
        let Block { slot, column, state, memory } = block;
        if let (true, Some(middle)) = (segments.len() > 1, segments.get(segments.len() / 2)) {
            let (low, high) = segments.split_at(segments.len() / 2);
            let slots = middle.slot - slot;
            let (s0, s1) = state.split_at(Axis(0), slots * self.state_rows);
            let (m0, m1) = memory.split_at(Axis(0), slots * self.memory_rows);
            let (l0, l1) = leaves.split_at(Axis(0), low.iter().map(|s| s.targets.len()).sum());
            let a = Block { slot, column, state: s0, memory: m0 };
            let b = Block { slot: middle.slot, column, state: s1, memory: m1 };
            join(parallel, || self.split(low, a, l0), || self.split(high, b, l1));
        } else if columns > BLOCK || (columns > 2 * LEAF && self.program.segments.len() == 1 && parallel) {
            let cut = (columns + LEAF) / (2 * LEAF) * LEAF;
            let (s0, s1) = state.split_at(Axis(1), cut);
            let (m0, m1) = memory.split_at(Axis(1), cut);
            let (l0, l1) = leaves.split_at(Axis(1), cut / LEAF);
            let a = Block { slot, column, state: s0, memory: m0 };
            let b = Block { slot, column: column + cut, state: s1, memory: m1 };
            join(parallel, || self.split(segments, a, l0), || self.split(segments, b, l1));
        } else if let Some(segment) = segments.first() {
            crate::simd::dispatch(
                #[inline(always)]
                || self.run(segment, Block { slot, column, state, memory }, leaves),
            );
        }
    }

    /// One segment on at most [`BLOCK`] columns: every target in order.
    #[inline(always)]
    fn run(&self, segment: &Segment, mut block: Block<'_, T>, mut leaves: ArrayViewMut2<'_, LeafChange<T>>) {
        let columns = block.state.ncols();
        let mut buffer = [T::zero(); PIECE];
        let targets = self.program.targets.get(segment.targets.clone()).unwrap_or(&[]);
        for (target, mut leaves) in targets.iter().zip(leaves.rows_mut()) {
            let terms = self.program.terms.get(target.terms.clone()).unwrap_or(&[]);
            let at = target.out.row as usize;
            let Some(leaves) = leaves.as_slice_mut() else { continue };
            for (piece, leaves) in leaves.chunks_mut(PIECE / LEAF).enumerate() {
                let first = piece * PIECE;
                let new = &mut buffer[..PIECE.min(columns - first)];
                combine(
                    terms,
                    new,
                    self.variances.get(block.column + first..).unwrap_or(&[]),
                    #[inline(always)]
                    |r| self.row(&block, r, first),
                );
                let out = match target.out.plane {
                    Plane::Memory => block.memory.row_mut(at - block.slot * self.memory_rows),
                    _ => block.state.row_mut(at - block.slot * self.state_rows),
                };
                let Some(out) = out.into_slice().and_then(|out| out.get_mut(first..)) else { continue };
                for ((change, new), out) in leaves.iter_mut().zip(new.chunks_mut(LEAF)).zip(out.chunks_mut(LEAF)) {
                    *change = replace(out, new);
                }
            }
        }
    }

    /// The columns of a source row from column `first` of the block on.
    #[inline(always)]
    fn row<'a>(&'a self, block: &'a Block<'_, T>, r: RowRef, first: usize) -> &'a [T] {
        let row = r.row as usize;
        let shared = |a: &'a ArrayView2<'_, T>| a.row(row).to_slice().and_then(|r| r.get(block.column + first..));
        let own = |a: &'a ArrayViewMut2<'_, T>, rows| a.row(row - block.slot * rows).to_slice();
        match r.plane {
            Plane::State => own(&block.state, self.state_rows).and_then(|r| r.get(first..)),
            Plane::Memory => own(&block.memory, self.memory_rows).and_then(|r| r.get(first..)),
            Plane::Point => shared(&self.point),
            Plane::Output => shared(&self.output),
            Plane::Noise => shared(&self.noise),
            Plane::EarlierPoint => shared(&self.earlier_point),
            Plane::EarlierOutput => shared(&self.earlier_output),
        }
        .unwrap_or(&[])
    }
}

/// The sum of the plain terms plus the sum of the corrections. Rows may be longer than `new`.
///
/// The usual numbers of terms, corrections last, take a single pass.
#[inline(always)]
fn combine<'a, T: Real>(terms: &[Term<T>], new: &mut [T], variances: &[T], row: impl Fn(RowRef) -> &'a [T]) {
    let plain = terms.iter().take_while(|t| t.minus.is_none()).count();
    let (plain, corrections) = terms.split_at(plain);
    let is_usual = |t: &Term<T>| t.minus.is_some() && t.shift.is_none();
    let usual = if corrections.iter().all(is_usual) { corrections.len() } else { usize::MAX };
    macro_rules! fused {
        ($(($P:literal $C:literal))*) => {
            match (plain.len(), usual) {
                $(($P, $C) => fused::<T, $P, $C>(plain, corrections, new, row),)*
                _ => {
                    let mut sums = [T::zero(); PIECE];
                    let sums = &mut sums[..new.len()];
                    new.fill(T::zero());
                    for term in terms {
                        let x = row(term.row);
                        match (term.minus, term.shift) {
                            (None, _) => new.iter_mut().zip(x).for_each(|(p, &x)| *p += term.coef * x),
                            (Some(minus), None) => {
                                let both = x.iter().zip(row(minus));
                                sums.iter_mut().zip(both).for_each(|(c, (&x, &y))| *c += term.coef * (x - y));
                            }
                            (Some(minus), Some(shift)) => {
                                let all = x.iter().zip(row(minus)).zip(variances);
                                sums.iter_mut().zip(all).for_each(|(c, ((&x, &y), &v))| {
                                    *c += (term.coef * (v / (v + shift))) * (x - y);
                                });
                            }
                        }
                    }
                    new.iter_mut().zip(sums).for_each(|(p, c)| *p += *c);
                }
            }
        };
    }
    fused!((1 0) (2 0) (3 0) (4 0) (5 0) (2 1) (3 1) (4 1) (3 2) (4 2));
}

/// [`combine`] for P plain terms and C corrections.
#[inline(always)]
fn fused<'a, T: Real, const P: usize, const C: usize>(
    plain: &[Term<T>],
    corrections: &[Term<T>],
    new: &mut [T],
    row: impl Fn(RowRef) -> &'a [T],
) {
    let n = new.len();
    let (mut a, mut w) = ([T::zero(); P], [T::zero(); C]);
    let none: &[T] = &[];
    let (mut x, mut y, mut z) = ([none; P], [none; C], [none; C]);
    let row = |r| row(r).get(..n);
    for k in 0..P {
        let Some(own) = row(plain[k].row) else { return };
        (a[k], x[k]) = (plain[k].coef, own);
    }
    for k in 0..C {
        let Term { coef, row: own, minus, .. } = corrections[k];
        let (Some(own), Some(minus)) = (row(own), row(minus.unwrap_or(own))) else { return };
        (w[k], y[k], z[k]) = (coef, own, minus);
    }
    let mut at = 0;
    while at + LEAF <= n {
        chunk::<T, P, C, LEAF>((&a, &x), (&w, &y, &z), at, new);
        at += LEAF;
    }
    while at + VECTOR <= n {
        chunk::<T, P, C, VECTOR>((&a, &x), (&w, &y, &z), at, new);
        at += VECTOR;
    }
    while at < n {
        chunk::<T, P, C, 1>((&a, &x), (&w, &y, &z), at, new);
        at += 1;
    }
}

/// L elements of [`fused`] from `at` on: a loop of a length that the compiler knows takes half the time.
#[inline(always)]
fn chunk<T: Real, const P: usize, const C: usize, const L: usize>(
    (a, x): (&[T; P], &[&[T]; P]),
    (w, y, z): (&[T; C], &[&[T]; C], &[&[T]; C]),
    at: usize,
    new: &mut [T],
) {
    let any = part::<T, L>(x[0], at);
    let (mut xs, mut ys, mut zs) = ([any; P], [any; C], [any; C]);
    for k in 0..P {
        xs[k] = part(x[k], at);
    }
    for k in 0..C {
        (ys[k], zs[k]) = (part(y[k], at), part(z[k], at));
    }
    let new = &mut new[at..at + L].as_chunks_mut::<L>().0[0];
    for i in 0..L {
        let mut sum = T::zero();
        for k in 0..P {
            sum += a[k] * xs[k][i];
        }
        let mut correction = T::zero();
        for k in 0..C {
            correction += w[k] * (ys[k][i] - zs[k][i]);
        }
        new[i] = sum + correction;
    }
}

/// L elements of a row.
#[inline(always)]
fn part<T, const L: usize>(row: &[T], at: usize) -> &[T; L] {
    &row[at..at + L].as_chunks::<L>().0[0]
}

/// Sum of the squares of the differences in a leaf.
#[inline(always)]
fn change<T: Real>(out: &[T], new: &[T]) -> T {
    let mut square = [T::zero(); LEAF];
    elementwise(
        new,
        out,
        &mut square,
        #[inline(always)]
        |new, old| (new - old) * (new - old),
    );
    leaf(&square[..out.len()])
}

/// Replaces a leaf by its new elements and says what that changed; elements that are not finite keep their old value. `new` is
/// overwritten.
#[inline(always)]
fn replace<T: Real>(out: &mut [T], new: &mut [T]) -> LeafChange<T> {
    let mut sum = change(out, new);
    let mut broken = false;
    // a finite sum of squares comes from finite elements only
    if !sum.is_finite() {
        for (new, old) in new.iter_mut().zip(out.iter()) {
            if !new.is_finite() {
                broken = true;
                *new = *old;
            }
        }
        sum = change(out, new);
    }
    // the square of a tiny change is 0; looking at all elements takes less time than to stop at the first
    let moved = sum > T::zero() || new.iter().zip(out.iter()).fold(false, |any, (new, old)| any | !new.same_bits(*old));
    out.copy_from_slice(new);
    LeafChange { sum, moved, broken }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every number of terms and every length against the sums written out one element at a time.
    #[test]
    fn terms_in_one_pass_have_the_bits_of_terms_one_by_one() {
        let rows: Vec<Vec<f32>> = (0..9)
            .map(|r| (0..PIECE).map(|i| ((i * 7919 + r * 104_729) % 1009) as f32 / 37.0 - 13.0).collect())
            .collect();
        let at = |row: usize| RowRef { plane: Plane::Point, row: row as u32 };
        for (plain, corrections) in (0..=6).flat_map(|p| (0..=3).map(move |c| (p, c))) {
            let coef = |k: usize| 0.37 + k as f32 / 3.0;
            let term = |k: usize| Term {
                coef: coef(k),
                row: at(k),
                minus: (k >= plain).then(|| at((k + 3) % 9)),
                shift: None,
            };
            let terms: Vec<_> = (0..plain + corrections).map(term).collect();
            for n in [0, 1, 15, 16, 17, 127, 128, 129, 272, PIECE] {
                let mut new = vec![f32::NAN; n];
                combine(&terms, &mut new, &[], |r| &rows[r.row as usize]);
                for (i, new) in new.iter().enumerate() {
                    let sum = |range: std::ops::Range<usize>, x: &dyn Fn(usize) -> f32| {
                        range.fold(0.0, |sum: f32, k| sum + coef(k) * x(k))
                    };
                    let own = sum(0..plain, &|k| rows[k][i]);
                    let moved = sum(plain..plain + corrections, &|k| rows[k][i] - rows[(k + 3) % 9][i]);
                    assert_eq!(new.to_bits(), (own + moved).to_bits(), "{plain} and {corrections} terms, {i} of {n}");
                }
            }
        }
    }
}
