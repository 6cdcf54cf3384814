//! Inner products of rows, in the canonical order.

use super::{GRAIN, elements, join};
use crate::backend::sum::{self, LEAF};
use crate::backend::{Cpu, MOST_VECTORS, Plane, Planes, Real, RowRef, Vector};
use crate::error::{Result, reserve};

/// Tails of at most this many elements, after the last whole leaf of a row, are handled as short ones.
const SHORT: usize = 16;

/// A row, and the row that is subtracted from it.
type Moved<'a, T> = (&'a [T], Option<&'a [T]>);

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
    variances: &'a [T],
}

/// Fills `sums` with the sum of every pair in every leaf, group after group, and `products` with their totals.
pub(super) fn products<T: Real>(
    vectors: &[Vector],
    width: usize,
    pairs: &[(usize, usize)],
    planes: &Planes<Cpu<T>>,
    sums: &mut Vec<T>,
    products: &mut Vec<f64>,
) -> Result<()> {
    let dim = planes[Plane::State].ncols();
    let leaves = dim.div_ceil(LEAF);
    let groups = vectors.len() / width.max(1);
    let shared = Shared {
        vectors,
        width,
        pairs,
        dim,
        leaves,
        state: elements(&planes[Plane::State]),
        memory: elements(&planes[Plane::Memory]),
        point: elements(&planes[Plane::Point]),
        output: elements(&planes[Plane::Output]),
        noise: elements(&planes[Plane::Noise]),
        earlier_point: elements(&planes[Plane::EarlierPoint]),
        earlier_output: elements(&planes[Plane::EarlierOutput]),
        variances: elements(&planes[Plane::Variances]),
    };
    sums.clear();
    products.clear();
    reserve("sums of products", sums, groups * leaves * pairs.len())?;
    reserve("products", products, groups * pairs.len())?;
    sums.resize(groups * leaves * pairs.len(), T::zero());
    shared.split(0, sums);
    for group in sums.chunks((leaves * pairs.len()).max(1)) {
        let total = |pair: usize| group.iter().skip(pair).step_by(pairs.len()).fold(0.0, |sum, s| sum + s.wide());
        products.extend((0..pairs.len()).map(total));
    }
    Ok(())
}

impl<T: Real> Shared<'_, T> {
    /// The leaves from `first` on, counted over all groups, split among threads.
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

    /// The same leaves, one after another.
    #[inline(always)]
    fn leaves(&self, first: usize, sums: &mut [T]) {
        let mut differences = [[T::zero(); LEAF]; MOST_VECTORS];
        let mut rows: [Moved<'_, T>; MOST_VECTORS] = [(&[], None); MOST_VECTORS];
        let mut known = None;
        for (job, sums) in (first..).zip(sums.chunks_mut(self.pairs.len().max(1))) {
            let (group, column) = (job / self.leaves, job % self.leaves * LEAF);
            if known != Some(group) {
                known = Some(group);
                let vectors = self.vectors.iter().skip(group * self.width).take(self.width);
                for (row, v) in rows.iter_mut().zip(vectors) {
                    *row = (self.row(v.row), v.minus.map(|m| self.row(m)));
                }
            }
            match self.dim - column {
                LEAF.. => self.leaf::<LEAF>(&rows, column, &mut differences, sums),
                ..=SHORT => self.end::<SHORT>(&rows, column, &mut differences, sums),
                _ => self.end::<LEAF>(&rows, column, &mut differences, sums),
            }
        }
    }

    /// L elements of a group's rows from `column` on.
    #[inline(always)]
    fn leaf<const L: usize>(
        &self,
        rows: &[Moved<'_, T>; MOST_VECTORS],
        column: usize,
        differences: &mut [[T; LEAF]; MOST_VECTORS],
        sums: &mut [T],
    ) {
        let none = [T::zero(); L];
        let rows = rows.map(|(row, minus)| (part(row, column, &none), minus.map(|m| part(m, column, &none))));
        let mut done = 0;
        // Two differences at a time: hardware prefetchers cope best with rows that are read side by side.
        if let ([(x, Some(x0)), (y, Some(y0)), ..], [dx, dy, ..]) = (&rows, &mut *differences) {
            for i in 0..L {
                dx[i] = x[i] - x0[i];
                dy[i] = y[i] - y0[i];
            }
            done = 2;
        }
        for ((row, minus), difference) in rows.iter().zip(&mut *differences).take(self.width).skip(done) {
            if let Some(minus) = minus {
                for i in 0..L {
                    difference[i] = row[i] - minus[i];
                }
            }
        }
        for (sum, &(a, b)) in sums.iter_mut().zip(self.pairs) {
            let operand = |v: usize| match rows[v] {
                (row, None) => row,
                (_, Some(_)) => differences[v].first_chunk::<L>().unwrap_or(&none),
            };
            let (a, b) = (operand(a), operand(b));
            let mut product = [T::zero(); LEAF];
            for i in 0..L {
                product[i] = a[i] * b[i];
            }
            *sum = if L == LEAF { sum::whole(&product) } else { sum::leaf(&product[..L]) };
        }
    }

    /// The tail of the rows after their last whole leaf, padded with zeros.
    #[inline(always)]
    fn end<const L: usize>(
        &self,
        rows: &[Moved<'_, T>; MOST_VECTORS],
        column: usize,
        differences: &mut [[T; LEAF]; MOST_VECTORS],
        sums: &mut [T],
    ) {
        let mut ends = [[[T::zero(); L]; 2]; MOST_VECTORS];
        for ((row, minus), [end, minus_end]) in rows.iter().zip(&mut ends).take(self.width) {
            end.iter_mut().zip(row.iter().skip(column)).for_each(|(e, x)| *e = *x);
            if let Some(minus) = minus {
                minus_end.iter_mut().zip(minus.iter().skip(column)).for_each(|(e, x)| *e = *x);
            }
        }
        let rows = std::array::from_fn(|v| (&ends[v][0][..], rows[v].1.map(|_| &ends[v][1][..])));
        self.leaf::<L>(&rows, 0, differences, sums);
    }

    #[inline(always)]
    fn row(&self, r: RowRef) -> &[T] {
        let plane = match r.plane {
            Plane::State => self.state,
            Plane::Memory => self.memory,
            Plane::Point => self.point,
            Plane::Output => self.output,
            Plane::Noise => self.noise,
            Plane::EarlierPoint => self.earlier_point,
            Plane::EarlierOutput => self.earlier_output,
            Plane::Variances => self.variances,
        };
        let first = r.row as usize * self.dim;
        plane.get(first..first + self.dim).unwrap_or(&[])
    }
}

/// L elements of a row from `column` on.
#[inline(always)]
fn part<'a, T, const L: usize>(row: &'a [T], column: usize, none: &'a [T; L]) -> &'a [T; L] {
    row.get(column..).and_then(|r| r.first_chunk()).unwrap_or(none)
}
