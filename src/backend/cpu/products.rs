//! Inner products of rows, in the canonical order.

use super::{GRAIN, elementwise, join};
use crate::backend::sum::{LEAF, leaf};
use crate::backend::{Cpu, Plane, Planes, Real, RowRef, Vector};
use ndarray::Array2;

/// The most vectors of a group.
const WIDTH: usize = 8;

/// What every job reads.
struct Shared<'a, T> {
    vectors: &'a [Vector],
    width: usize,
    pairs: &'a [(usize, usize)],
    dim: usize,
    leaves: usize,
    state: &'a [T],
    memory: &'a [T],
    point: &'a [T],
    output: &'a [T],
    noise: &'a [T],
    earlier_point: &'a [T],
    earlier_output: &'a [T],
}

/// Fills `sums` with the sum of every pair of every leaf, group after group, and `products` with their totals.
pub(super) fn products<T: Real>(
    vectors: &[Vector],
    width: usize,
    pairs: &[(usize, usize)],
    planes: &Planes<'_, Cpu<T>>,
    sums: &mut Vec<T>,
    products: &mut Vec<f64>,
) {
    let dim = planes.state.ncols();
    let leaves = dim.div_ceil(LEAF);
    let groups = vectors.len() / width.max(1);
    let shared = Shared {
        vectors,
        width,
        pairs,
        dim,
        leaves,
        state: elements(planes.state),
        memory: elements(planes.memory),
        point: elements(planes.point),
        output: elements(planes.output),
        noise: elements(planes.noise),
        earlier_point: elements(planes.earlier_point),
        earlier_output: elements(planes.earlier_output),
    };
    sums.clear();
    sums.resize(groups * leaves * pairs.len(), T::zero());
    shared.split(0, sums);
    products.clear();
    for group in sums.chunks(leaves * pairs.len()) {
        let total = |pair: usize| group.iter().skip(pair).step_by(pairs.len()).fold(0.0, |sum, s| sum + s.wide());
        products.extend((0..pairs.len()).map(total));
    }
}

impl<T: Real> Shared<'_, T> {
    /// The leaves from `first` on, counted over all groups.
    fn split(&self, first: usize, sums: &mut [T]) {
        let jobs = sums.len() / self.pairs.len().max(1);
        if jobs > 1 && jobs * LEAF * self.width > GRAIN {
            let (low, high) = sums.split_at_mut(jobs / 2 * self.pairs.len());
            return join(true, || self.split(first, low), || self.split(first + jobs / 2, high));
        }
        crate::simd::dispatch(
            #[inline(always)]
            || self.leaves(first, sums),
        );
    }

    /// The same one after another.
    #[inline(always)]
    fn leaves(&self, first: usize, sums: &mut [T]) {
        let mut differences = [[T::zero(); LEAF]; WIDTH];
        let mut product = [T::zero(); LEAF];
        for (job, sums) in sums.chunks_mut(self.pairs.len()).enumerate() {
            let (group, column) = ((first + job) / self.leaves, (first + job) % self.leaves * LEAF);
            let n = LEAF.min(self.dim - column);
            let mut vectors: [&[T]; WIDTH] = [&[]; WIDTH];
            let group = self.vectors.iter().skip(group * self.width).take(self.width);
            for ((vector, v), difference) in vectors.iter_mut().zip(group).zip(&mut differences) {
                let row = self.row(v.row, column, n);
                *vector = match v.minus.map(|m| self.row(m, column, n)) {
                    None => row,
                    Some(minus) => {
                        elementwise(
                            row,
                            minus,
                            difference,
                            #[inline(always)]
                            |x, y| x - y,
                        );
                        &difference[..n]
                    }
                };
            }
            for (sum, &(a, b)) in sums.iter_mut().zip(self.pairs) {
                elementwise(
                    vectors[a],
                    vectors[b],
                    &mut product,
                    #[inline(always)]
                    |x, y| x * y,
                );
                *sum = leaf(&product[..n]);
            }
        }
    }

    #[inline(always)]
    fn row(&self, r: RowRef, column: usize, n: usize) -> &[T] {
        let plane = match r.plane {
            Plane::State => self.state,
            Plane::Memory => self.memory,
            Plane::Point => self.point,
            Plane::Output => self.output,
            Plane::Noise => self.noise,
            Plane::EarlierPoint => self.earlier_point,
            Plane::EarlierOutput => self.earlier_output,
        };
        let first = r.row as usize * self.dim + column;
        plane.get(first..first + n).unwrap_or(&[])
    }
}

/// All rows, one after another.
fn elements<T>(array: &Array2<T>) -> &[T] {
    array.as_slice().unwrap_or(&[])
}
