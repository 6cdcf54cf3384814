//! Linear combinations of a few rows, element by element.

use super::LeafChange;
use crate::backend::Real;
use crate::backend::sum::{self, LEAF};

/// Elements per step in the tail of a row, the part after its last whole leaf.
const VECTOR: usize = 16;

/// The operands of P plain terms and C corrections, and their coefficients.
pub(super) struct Operands<'a, T, const P: usize, const C: usize> {
    pub a: [T; P],
    pub x: [&'a [T]; P],
    pub w: [T; C],
    pub y: [&'a [T]; C],
    pub z: [&'a [T]; C],
}

impl<T: Real, const P: usize, const C: usize> Operands<'_, T, P, C> {
    /// Replaces a row by its new elements and records the change of every leaf.
    #[inline(always)]
    pub fn replace_row(&self, out: &mut [T], leaves: &mut [LeafChange<T>], [new, square]: &mut [[T; LEAF]; 2]) {
        let mut first = 0;
        for (change, out) in leaves.iter_mut().zip(out.chunks_mut(LEAF)) {
            let n = out.len();
            if n == LEAF {
                self.combine::<LEAF>(first, out, new, square);
                *change = replace(out, new, sum::whole(square));
            } else {
                let mut at = 0;
                while at + VECTOR <= n {
                    self.combine::<VECTOR>(first + at, &out[at..], &mut new[at..], &mut square[at..]);
                    at += VECTOR;
                }
                while at < n {
                    self.combine::<1>(first + at, &out[at..], &mut new[at..], &mut square[at..]);
                    at += 1;
                }
                *change = replace(out, &mut new[..n], sum::leaf(&square[..n]));
            }
            first += LEAF;
        }
    }

    /// Computes L new elements from `at` on, and the squares of their changes. With a loop length known to the
    /// compiler this takes half the time.
    #[inline(always)]
    fn combine<const L: usize>(&self, at: usize, old: &[T], new: &mut [T], square: &mut [T]) {
        let (x, y, z) = (parts::<T, P, L>(&self.x, at), parts::<T, C, L>(&self.y, at), parts::<T, C, L>(&self.z, at));
        let old = part::<T, L>(old, 0);
        let new = &mut new[..L].as_chunks_mut::<L>().0[0];
        let square = &mut square[..L].as_chunks_mut::<L>().0[0];
        for i in 0..L {
            let mut sum = T::zero();
            for (a, x) in self.a.iter().zip(&x) {
                sum += *a * x[i];
            }
            let mut correction = T::zero();
            for (w, (y, z)) in self.w.iter().zip(y.iter().zip(&z)) {
                correction += *w * (y[i] - z[i]);
            }
            let combined = sum + correction;
            new[i] = combined;
            square[i] = (combined - old[i]) * (combined - old[i]);
        }
    }
}

/// L elements of every row.
#[inline(always)]
fn parts<'a, T, const N: usize, const L: usize>(rows: &[&'a [T]; N], at: usize) -> [&'a [T; L]; N] {
    rows.map(
        #[inline(always)]
        |row| part(row, at),
    )
}

/// L elements of a row.
#[inline(always)]
fn part<T, const L: usize>(row: &[T], at: usize) -> &[T; L] {
    &row[at..at + L].as_chunks::<L>().0[0]
}

/// Sum of the squares of the differences in a leaf.
#[inline(always)]
pub(super) fn square<T: Real>(out: &[T], new: &[T]) -> T {
    let mut square = [T::zero(); LEAF];
    // with a loop length known to the compiler this takes half the time
    if let ([out], [new]) = (out.as_chunks::<LEAF>().0, new.as_chunks::<LEAF>().0) {
        for i in 0..LEAF {
            square[i] = (new[i] - out[i]) * (new[i] - out[i]);
        }
        return sum::whole(&square);
    }
    for ((square, new), out) in square.iter_mut().zip(new).zip(out) {
        *square = (*new - *out) * (*new - *out);
    }
    sum::leaf(&square[..out.len()])
}

/// Replaces a leaf by its new elements, whose changes have this sum of squares, and returns what changed. Elements
/// that are not finite keep their old value. `new` is overwritten.
#[inline(always)]
pub(super) fn replace<T: Real>(out: &mut [T], new: &mut [T], mut sum: T) -> LeafChange<T> {
    let mut broken = false;
    // a finite sum of squares implies that all elements are finite
    if !sum.is_finite() {
        for (new, old) in new.iter_mut().zip(out.iter()) {
            if !new.is_finite() {
                broken = true;
                *new = *old;
            }
        }
        sum = square(out, new);
    }
    // the square of a tiny change may be 0; looking at all elements takes less time than stopping at the first
    let moved = sum > T::zero() || new.iter().zip(out.iter()).fold(false, |any, (new, old)| any | !new.same_bits(*old));
    out.copy_from_slice(new);
    LeafChange { sum, moved, broken }
}
