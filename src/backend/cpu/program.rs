//! Programs of linear combinations, split into jobs.

use super::combine::{Operands, replace, square};
use super::{LeafChange, is_much, join};
use crate::backend::sum::LEAF;
use crate::backend::{Plane, Program, Real, RowRef, Segment, Term};
use ndarray::{ArrayView2, ArrayViewMut2, Axis};
use std::cmp::Ordering;
use std::ops::Range;

/// Columns that are combined term by term before they replace the old ones: the buffer fits the L1 cache.
const PIECE: usize = 8 * LEAF;
/// Maximum number of columns per job: rows that consecutive targets share stay in the cache, and rows are still
/// read in long runs.
const BLOCK: usize = 256 * LEAF;

/// What every job of a program reads.
pub(super) struct Shared<'a, T> {
    pub program: &'a Program<T>,
    /// Elements of a row.
    pub dim: usize,
    pub point: &'a [T],
    pub output: &'a [T],
    pub noise: &'a [T],
    pub variances: &'a [T],
    pub earlier_point: &'a [T],
    pub earlier_output: &'a [T],
    pub state_rows: usize,
    pub memory_rows: usize,
}

/// The part of the written arrays that belongs to some of the slots and columns.
pub(super) struct Block<'a, T> {
    /// Slot of the first state row.
    pub slot: usize,
    /// First column.
    pub column: usize,
    pub state: ArrayViewMut2<'a, T>,
    pub memory: ArrayViewMut2<'a, T>,
}

impl<T: Real> Shared<'_, T> {
    /// Splits the work into single segments of at most [`BLOCK`] columns, or fewer if that keeps another thread
    /// busy. `leaves` has a row for each target of the segments and a column for each leaf of the block.
    pub fn split(&self, segments: &[Segment], block: Block<'_, T>, leaves: ArrayViewMut2<'_, LeafChange<T>>) {
        let columns = block.state.ncols();
        let targets = leaves.nrows();
        let parallel = is_much(targets, columns);
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
            self.run(segment, Block { slot, column, state, memory }, leaves);
        }
    }

    /// Runs one segment on at most [`BLOCK`] columns: every target in order.
    #[inline(never)] // keeps its buffers out of the frames of the recursion above
    fn run(&self, segment: &Segment, mut block: Block<'_, T>, mut leaves: ArrayViewMut2<'_, LeafChange<T>>) {
        let targets = self.program.targets.get(segment.targets.clone()).unwrap_or(&[]);
        let mut buffers = [[T::zero(); LEAF]; 2];
        for (target, mut leaves) in targets.iter().zip(leaves.rows_mut()) {
            let terms = self.program.terms.get(target.terms.clone()).unwrap_or(&[]);
            let Some(leaves) = leaves.as_slice_mut() else { unreachable!("the leaves of a target are contiguous") };
            let plane = target.out.plane;
            let (own, other, rows) = match plane {
                Plane::Memory => (&mut block.memory, &block.state, self.memory_rows),
                _ => (&mut block.state, &block.memory, self.state_rows),
            };
            let at = target.out.row as usize - block.slot * rows;
            let columns = block.column..block.column + own.ncols();
            let (before, rest) = own.view_mut().split_at(Axis(0), at);
            let (out, after) = rest.split_at(Axis(0), 1);
            let Some(out) = out.into_slice() else { unreachable!("the columns of a row are contiguous") };
            let (before, after, other) = (before.view(), after.view(), other.view());
            let sources = Sources { shared: self, slot: block.slot, columns, plane, at, before, after, other };
            if !sources.in_one_pass(terms, out, leaves, &mut buffers) {
                crate::simd::dispatch(
                    #[inline(always)]
                    || sources.term_by_term(terms, out, leaves),
                );
            }
        }
    }
}

/// The rows that a target may read: all except its own.
struct Sources<'s, 'a, T> {
    shared: &'s Shared<'a, T>,
    slot: usize,
    columns: Range<usize>,
    /// The target's plane; `at` is the target's row in the slot, `before` and `after` are the slot's rows on either
    /// side of it.
    plane: Plane,
    at: usize,
    before: ArrayView2<'s, T>,
    after: ArrayView2<'s, T>,
    /// The slot's rows of the other written plane.
    other: ArrayView2<'s, T>,
}

impl<T: Real> Sources<'_, '_, T> {
    /// The block's columns of a row; `None` for the target's own row.
    fn row(&self, r: RowRef) -> Option<&[T]> {
        let row = r.row as usize;
        let array = match r.plane {
            Plane::State | Plane::Memory => {
                let rows = if r.plane == Plane::State { self.shared.state_rows } else { self.shared.memory_rows };
                let row = row - self.slot * rows;
                return match row.cmp(&self.at) {
                    _ if r.plane != self.plane => self.other.row(row).to_slice(),
                    Ordering::Less => self.before.row(row).to_slice(),
                    Ordering::Equal => None,
                    Ordering::Greater => self.after.row(row - self.at - 1).to_slice(),
                };
            }
            Plane::Point => self.shared.point,
            Plane::Output => self.shared.output,
            Plane::Noise => self.shared.noise,
            Plane::EarlierPoint => self.shared.earlier_point,
            Plane::EarlierOutput => self.shared.earlier_output,
            Plane::Variances => self.shared.variances,
        };
        let first = row * self.shared.dim;
        Some(&array[first + self.columns.start..first + self.columns.end])
    }

    /// Handles the usual numbers of terms, corrections last. All rows are read side by side in one pass, the access
    /// pattern that hardware prefetchers handle best.
    fn in_one_pass(
        &self,
        terms: &[Term<T>],
        out: &mut [T],
        leaves: &mut [LeafChange<T>],
        buffers: &mut [[T; LEAF]; 2],
    ) -> bool {
        let plain = terms.iter().take_while(|t| t.minus.is_none()).count();
        let (plain, corrections) = terms.split_at(plain);
        if !corrections.iter().all(|t| t.minus.is_some() && t.shift.is_none()) {
            return false;
        }
        macro_rules! pass {
            ($(($P:literal $C:literal))*) => {
                match (plain.len(), corrections.len()) {
                    $(($P, $C) => self.pass::<$P, $C>(plain, corrections, out, leaves, buffers),)*
                    _ => false,
                }
            };
        }
        pass!((1 0) (2 0) (3 0) (4 0) (5 0) (2 1) (3 1) (4 1) (3 2) (4 2))
    }

    /// The same for P plain terms and C corrections; `false` if the target is one of its own terms.
    fn pass<const P: usize, const C: usize>(
        &self,
        plain: &[Term<T>],
        corrections: &[Term<T>],
        out: &mut [T],
        leaves: &mut [LeafChange<T>],
        buffers: &mut [[T; LEAF]; 2],
    ) -> bool {
        let none: &[T] = &[];
        let mut operands = Operands { a: [T::zero(); P], x: [none; P], w: [T::zero(); C], y: [none; C], z: [none; C] };
        for (k, term) in plain.iter().enumerate().take(P) {
            let Some(row) = self.row(term.row) else { return false };
            (operands.a[k], operands.x[k]) = (term.coef, row);
        }
        for (k, term) in corrections.iter().enumerate().take(C) {
            let rows = (self.row(term.row), self.row(term.minus.unwrap_or(term.row)));
            let (Some(row), Some(minus)) = rows else { return false };
            (operands.w[k], operands.y[k], operands.z[k]) = (term.coef, row, minus);
        }
        crate::simd::dispatch(
            #[inline(always)]
            || operands.replace_row(out, leaves, buffers),
        );
        true
    }

    /// Handles any terms, one after another.
    #[inline(always)]
    fn term_by_term(&self, terms: &[Term<T>], out: &mut [T], leaves: &mut [LeafChange<T>]) {
        let variances = self.shared.variances.get(self.columns.start..).unwrap_or(&[]);
        let (mut new, mut corrections) = ([T::zero(); PIECE], [T::zero(); PIECE]);
        for (piece, leaves) in leaves.chunks_mut(PIECE / LEAF).enumerate() {
            let first = piece * PIECE;
            let n = PIECE.min(out.len() - first);
            let (new, corrections) = (&mut new[..n], &mut corrections[..n]);
            new.fill(T::zero());
            corrections.fill(T::zero());
            for term in terms {
                let row = |r| self.row(r).unwrap_or(out).get(first..first + n).unwrap_or(&[]);
                let x = row(term.row);
                match (term.minus, term.shift) {
                    (None, _) => new.iter_mut().zip(x).for_each(|(p, &x)| *p += term.coef * x),
                    (Some(minus), None) => {
                        let both = x.iter().zip(row(minus));
                        corrections.iter_mut().zip(both).for_each(|(c, (&x, &y))| *c += term.coef * (x - y));
                    }
                    (Some(minus), Some(shift)) => {
                        let all = x.iter().zip(row(minus)).zip(variances.get(first..).unwrap_or(&[]));
                        corrections.iter_mut().zip(all).for_each(|(c, ((&x, &y), &v))| {
                            *c += (term.coef * (v / (v + shift))) * (x - y);
                        });
                    }
                }
            }
            new.iter_mut().zip(corrections).for_each(|(p, c)| *p += *c);
            let out = out[first..first + n].chunks_mut(LEAF);
            for ((change, new), out) in leaves.iter_mut().zip(new.chunks_mut(LEAF)).zip(out) {
                *change = replace(out, new, square(out, new));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Backend, Change, Cpu, Planes, Target, sum};
    use ndarray::Array2;

    /// Runs a program whose slots have `rows` rows in both planes.
    fn run<T: Real>(
        program: &Program<T>,
        state: &mut Array2<T>,
        memory: &mut Array2<T>,
        point: &Array2<T>,
        rows: usize,
    ) -> Vec<Change> {
        let none = || Array2::zeros((0, state.ncols()));
        let arrays = [state.clone(), memory.clone(), point.clone(), none(), none(), none(), none(), none()];
        let mut planes = Planes::<Cpu<T>>::new(arrays, rows, rows);
        let mut changes = Vec::new();
        Cpu::new().run(program, &mut planes, &mut Default::default(), &mut changes).unwrap();
        state.assign(&planes[Plane::State]);
        memory.assign(&planes[Plane::Memory]);
        changes
    }

    /// Compares every number of terms and every length with sums written out one element at a time. Terms include
    /// states, lookback rows and a target that is one of its own terms.
    #[test]
    fn terms_in_one_pass_have_the_bits_of_terms_one_by_one() {
        let array = |rows: usize, n: usize, k: usize| {
            let value = |(r, i)| ((i * 7919 + r * 104_729 + k) % 1009) as f32 / 37.0 - 13.0;
            Array2::from_shape_fn((rows, n), value)
        };
        for (plain, corrections) in (0..=6).flat_map(|p| (0..=3).map(move |c| (p, c))) {
            for n in [1, 15, 16, 17, 127, 128, 129, 272, PIECE + 130] {
                for (out, own) in [(Plane::State, false), (Plane::Memory, false), (Plane::State, true)] {
                    let (mut state, mut memory, point) = (array(5, n, 1), array(5, n, 2), array(9, n, 3));
                    let at = |k: usize| match k % 3 {
                        0 => RowRef { plane: Plane::State, row: if own { 2 } else { 3 } },
                        1 => RowRef { plane: Plane::Memory, row: 1 },
                        _ => RowRef { plane: Plane::Point, row: k as u32 },
                    };
                    let coef = |k: usize| 0.37 + k as f32 / 3.0;
                    let term = |k: usize| Term {
                        coef: coef(k),
                        row: at(k),
                        minus: (k >= plain).then(|| at((k + 4) % 9)),
                        shift: None,
                    };
                    let terms: Vec<_> = (0..plain + corrections).map(term).collect();
                    let target = Target { out: RowRef { plane: out, row: 2 }, before: None, terms: 0..terms.len() };
                    let program =
                        Program { segments: vec![Segment { slot: 0, targets: 0..1 }], targets: vec![target], terms };
                    let row = |r: RowRef| match r.plane {
                        Plane::State => state.row(r.row as usize),
                        Plane::Memory => memory.row(r.row as usize),
                        _ => point.row(r.row as usize),
                    };
                    let expected = |i: usize| {
                        let sum = |range: Range<usize>, x: &dyn Fn(usize) -> f32| {
                            range.fold(0.0, |sum: f32, k| sum + coef(k) * x(k))
                        };
                        let own = sum(0..plain, &|k| row(at(k))[i]);
                        own + sum(plain..plain + corrections, &|k| row(at(k))[i] - row(at((k + 4) % 9))[i])
                    };
                    let expected: Vec<f32> = (0..n).map(expected).collect();
                    let before = row(program.targets[0].out).to_vec();
                    let square = |(x, y): (&f32, &f32)| (x - y) * (x - y);
                    let squares: Vec<f32> = expected.iter().zip(&before).map(square).collect();
                    let changes = run(&program, &mut state, &mut memory, &point, 5);
                    let new = if out == Plane::Memory { memory.row(2) } else { state.row(2) };
                    for (i, (new, expected)) in new.iter().zip(&expected).enumerate() {
                        assert_eq!(new.to_bits(), expected.to_bits(), "{plain} and {corrections} terms, {i} of {n}");
                    }
                    let total = squares.chunks(LEAF).fold(0.0, |total, s| total + f64::from(sum::leaf(s)));
                    assert!(changes[0].sum == total && changes[0].finite && changes[0].moved == (expected != before));
                }
            }
        }
    }

    /// Two slots with an empty one between them, and rows that are split into columns: the targets run in order,
    /// each on the rows of its own slot.
    #[test]
    fn slots_and_columns_are_kept_apart() {
        const ROWS: usize = 3;
        let n = BLOCK + 2 * LEAF + 5;
        let array = |rows: usize, k: usize| {
            let value = |(r, i)| ((i * 7919 + r * 104_729 + k) % 1009) as f64 / 37.0 - 13.0;
            Array2::from_shape_fn((rows, n), value)
        };
        let (mut state, mut memory, point) = (array(3 * ROWS, 1), array(3 * ROWS, 2), array(3, 3));
        let row = |plane, row: usize| RowRef { plane, row: row as u32 };
        let mut program = Program::default();
        for slot in [0, 2] {
            let own = |plane, k: usize| row(plane, slot * ROWS + k);
            let first = program.targets.len();
            // the last target is one of its own terms
            for (out, from) in [
                (own(Plane::State, 1), own(Plane::State, 0)),
                (own(Plane::Memory, 2), own(Plane::State, 1)),
                (own(Plane::State, 2), own(Plane::Memory, 2)),
                (own(Plane::State, 2), own(Plane::State, 2)),
            ] {
                let begin = program.terms.len();
                let minus = Some(row(Plane::Point, slot));
                program.terms.push(Term { coef: 0.5, row: from, minus: None, shift: None });
                program.terms.push(Term { coef: 0.3, row: row(Plane::Point, slot), minus: None, shift: None });
                program.terms.push(Term { coef: 0.7, row: from, minus, shift: None });
                program.targets.push(Target { out, before: None, terms: begin..program.terms.len() });
            }
            program.segments.push(Segment { slot, targets: first..program.targets.len() });
        }
        let (mut state_expected, mut memory_expected) = (state.clone(), memory.clone());
        for slot in [0, 2] {
            let at = slot * ROWS;
            for i in 0..n {
                let p = point[(slot, i)];
                let next = |x: f64| (0.5 * x + 0.3 * p) + 0.7 * (x - p);
                state_expected[(at + 1, i)] = next(state[(at, i)]);
                memory_expected[(at + 2, i)] = next(state_expected[(at + 1, i)]);
                state_expected[(at + 2, i)] = next(next(memory_expected[(at + 2, i)]));
            }
        }
        run(&program, &mut state, &mut memory, &point, ROWS);
        assert!(state == state_expected && memory == memory_expected);
    }
}
