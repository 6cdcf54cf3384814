//! Inner products of rows, in the canonical order.

use super::{GRAIN, join};
use crate::backend::sum::{LEAF, leaf};
use crate::backend::{Cpu, Plane, Planes, Real, RowRef, Vector};
use ndarray::ArrayView2;

/// The most vectors of a group.
const WIDTH: usize = 8;

/// What every job reads.
struct Shared<'a, T> {
    vectors: &'a [Vector],
    width: usize,
    pairs: &'a [(usize, usize)],
    leaves: usize,
    state: ArrayView2<'a, T>,
    memory: ArrayView2<'a, T>,
    point: ArrayView2<'a, T>,
    output: ArrayView2<'a, T>,
    noise: ArrayView2<'a, T>,
    earlier_point: ArrayView2<'a, T>,
    earlier_output: ArrayView2<'a, T>,
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
    let leaves = planes.state.ncols().div_ceil(LEAF);
    let groups = vectors.len() / width.max(1);
    let shared = Shared {
        vectors,
        width,
        pairs,
        leaves,
        state: planes.state.view(),
        memory: planes.memory.view(),
        point: planes.point.view(),
        output: planes.output.view(),
        noise: planes.noise.view(),
        earlier_point: planes.earlier_point.view(),
        earlier_output: planes.earlier_output.view(),
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
        let mut buffers = [[T::zero(); LEAF]; WIDTH];
        let mut product = [T::zero(); LEAF];
        for (job, sums) in sums.chunks_mut(self.pairs.len()).enumerate() {
            let (group, column) = ((first + job) / self.leaves, (first + job) % self.leaves * LEAF);
            let n = LEAF.min(self.state.ncols() - column);
            let vectors = self.vectors.iter().skip(group * self.width).take(self.width);
            for (buffer, vector) in buffers.iter_mut().zip(vectors) {
                let row = self.row(vector.row, column, n);
                match vector.minus.map(|m| self.row(m, column, n)) {
                    None => buffer[..row.len()].copy_from_slice(row),
                    Some(minus) => {
                        for ((b, &x), &y) in buffer.iter_mut().zip(row).zip(minus) {
                            *b = x - y;
                        }
                    }
                }
            }
            for (sum, &(a, b)) in sums.iter_mut().zip(self.pairs) {
                for ((p, &x), &y) in product.iter_mut().zip(&buffers[a][..n]).zip(&buffers[b][..n]) {
                    *p = x * y;
                }
                *sum = leaf(&product[..n]);
            }
        }
    }

    #[inline(always)]
    fn row(&self, r: RowRef, column: usize, n: usize) -> &[T] {
        let plane = match r.plane {
            Plane::State => &self.state,
            Plane::Memory => &self.memory,
            Plane::Point => &self.point,
            Plane::Output => &self.output,
            Plane::Noise => &self.noise,
            Plane::EarlierPoint => &self.earlier_point,
            Plane::EarlierOutput => &self.earlier_output,
        };
        plane.row(r.row as usize).to_slice().and_then(|r| r.get(column..column + n)).unwrap_or(&[])
    }
}
