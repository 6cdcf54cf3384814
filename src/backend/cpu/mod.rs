//! The CPU backend: ndarray arrays, safe code, the current rayon pool where the feature `rayon` is on.
//!
//! Work is cut recursively by slots and by columns at multiples of a leaf, so neither the number of threads nor the order of work
//! changes a bit.

mod products;

use super::sum::{LEAF, leaf};
use super::{Backend, Change, NoiseRow, Plane, Planes, Program, Real, RowRef, Segment, Vector};
use crate::error::{Error, Result};
use crate::noise::NoiseKey;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice};
use std::marker::PhantomData;
use std::ops::Range;

/// Columns of one job: a few leaves of every row of a window stay in cache.
const BLOCK: usize = 4 * LEAF;
/// Elements below which work is not worth handing to another thread.
const GRAIN: usize = 1 << 14;

/// Arrays in main memory, elements of type `T` (f32 or f64).
///
/// ```
/// let backend = piadm::Cpu::<f32>::new();
/// # let _ = backend;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu<T>(PhantomData<T>);

impl<T: Real> Cpu<T> {
    /// The CPU.
    pub const fn new() -> Self {
        Cpu(PhantomData)
    }
}

/// What one leaf of a target's row did.
#[derive(Clone, Copy, Debug, Default)]
struct LeafChange<T> {
    sum: T,
    moved: bool,
    broken: bool,
}

/// Working memory of [`Backend::run`], kept by the sampler from round to round.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct CpuScratch<T> {
    leaves: Vec<LeafChange<T>>,
    sums: Vec<T>,
}

impl<T: Real> Backend for Cpu<T> {
    type Elem = T;
    type Array = Array2<T>;
    type View<'a> = ArrayView2<'a, T>;
    type ViewMut<'a> = ArrayViewMut2<'a, T>;
    type Scratch = CpuScratch<T>;

    fn alloc(&self, what: &'static str, rows: usize, dim: usize, fill: T) -> Result<Array2<T>> {
        let too_large = || Error::TooLarge {
            what,
            why: format!("{rows} rows of {dim} elements do not fit the address space or 2^32 rows"),
        };
        let len = rows.checked_mul(dim).ok_or_else(too_large)?;
        let bytes = len.checked_mul(size_of::<T>()).filter(|b| isize::try_from(*b).is_ok()).ok_or_else(too_large)?;
        u32::try_from(rows).map_err(|_| too_large())?;
        let mut data = Vec::new();
        data.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { what, bytes })?;
        data.resize(len, fill);
        Array2::from_shape_vec((rows, dim), data).map_err(|_| too_large())
    }

    fn view<'a>(&self, array: &'a Array2<T>, rows: Range<usize>) -> ArrayView2<'a, T> {
        array.slice_axis(Axis(0), Slice::from(clamp(rows, array.nrows())))
    }

    fn view_mut<'a>(&self, array: &'a mut Array2<T>, rows: Range<usize>) -> ArrayViewMut2<'a, T> {
        let rows = clamp(rows, array.nrows());
        array.slice_axis_mut(Axis(0), Slice::from(rows))
    }

    fn upload(&self, src: ArrayView2<'_, T>, dst: &mut Array2<T>, row: usize) -> Result<()> {
        let mut dst = self.view_mut(dst, row..row.saturating_add(src.nrows()));
        if dst.dim() != src.dim() {
            return Err(Error::Shape {
                what: "rows to copy",
                found: src.shape().to_vec(),
                expected: dst.shape().to_vec(),
            });
        }
        dst.assign(&src);
        Ok(())
    }

    fn download(&self, src: &Array2<T>, rows: Range<usize>) -> Result<Array2<T>> {
        let view = self.view(src, rows);
        let mut host = self.alloc("rows on the host", view.nrows(), view.ncols(), T::zero())?;
        host.assign(&view);
        Ok(host)
    }

    fn gather(&self, src: &Array2<T>, rows: &[u32], dst: &mut Array2<T>, first: usize) -> Result<()> {
        gather(src.view(), rows, self.view_mut(dst, first..first.saturating_add(rows.len())));
        Ok(())
    }

    fn normals(&self, key: NoiseKey, rows: &[NoiseRow], dst: &mut Array2<T>) -> Result<()> {
        normals(key, rows, 0, 0, dst.view_mut());
        Ok(())
    }

    fn run(
        &self,
        program: &Program<T>,
        planes: Planes<'_, Self>,
        scratch: &mut CpuScratch<T>,
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        let leaves = planes.state.ncols().div_ceil(LEAF);
        scratch.leaves.clear();
        scratch.leaves.resize(leaves * program.targets.len(), LeafChange::default());
        let shared = Shared {
            program,
            point: planes.point.view(),
            output: planes.output.view(),
            noise: planes.noise.view(),
            earlier_point: planes.earlier_point.view(),
            earlier_output: planes.earlier_output.view(),
            state_rows: planes.state_rows,
            memory_rows: planes.memory_rows,
        };
        let block = Block {
            slot: 0,
            column: 0,
            state: planes.state.view_mut(),
            memory: planes.memory.view_mut(),
            leaves: ArrayViewMut2::from_shape((program.targets.len(), leaves), &mut scratch.leaves)
                .map_err(|_| Error::TooLarge { what: "row statistics", why: "shape overflow".into() })?,
        };
        shared.split(&program.segments, block);
        changes.clear();
        changes.extend(scratch.leaves.chunks(leaves.max(1)).map(|row| Change {
            sum: row.iter().fold(0.0, |sum, l| sum + l.sum.wide()),
            moved: row.iter().any(|l| l.moved),
            finite: !row.iter().any(|l| l.broken),
        }));
        Ok(())
    }

    fn products(
        &self,
        vectors: &[Vector],
        width: usize,
        pairs: &[(usize, usize)],
        planes: Planes<'_, Self>,
        scratch: &mut CpuScratch<T>,
        products: &mut Vec<f64>,
    ) -> Result<()> {
        products::products(vectors, width, pairs, &planes, &mut scratch.sums, products);
        Ok(())
    }

    fn first_not_finite(&self, array: &Array2<T>, rows: Range<usize>) -> Result<Option<usize>> {
        let rows = clamp(rows, array.nrows());
        Ok(rows
            .clone()
            .zip(self.view(array, rows).rows())
            .find(|(_, r)| r.iter().any(|v| !v.is_finite()))
            .map(|(i, _)| i))
    }
}

/// A range that fits `n` rows.
fn clamp(rows: Range<usize>, n: usize) -> Range<usize> {
    let end = rows.end.min(n);
    rows.start.min(end)..end
}

/// Runs both halves, in parallel where that pays.
fn join(parallel: bool, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    #[cfg(feature = "rayon")]
    if parallel {
        rayon::join(a, b);
        return;
    }
    let _ = parallel;
    a();
    b();
}

fn gather<T: Real>(src: ArrayView2<'_, T>, rows: &[u32], mut dst: ArrayViewMut2<'_, T>) {
    if dst.len() > GRAIN && rows.len() > 1 {
        let mid = rows.len() / 2;
        let (low, high) = rows.split_at(mid);
        let (dst_low, dst_high) = dst.split_at(Axis(0), mid);
        return join(true, || gather(src, low, dst_low), || gather(src, high, dst_high));
    }
    for (mut to, &from) in dst.rows_mut().into_iter().zip(rows) {
        to.assign(&src.row(from as usize));
    }
}

/// `dst` holds rows from `row` and columns from `column` on.
fn normals<T: Real>(key: NoiseKey, rows: &[NoiseRow], row: usize, column: usize, mut dst: ArrayViewMut2<'_, T>) {
    let big = rows.len() * dst.ncols() > GRAIN;
    if big && rows.len() > 1 {
        let (low, high) = rows.split_at(rows.len() / 2);
        let cut = high.first().map_or(row, |r| r.row as usize);
        let (dst_low, dst_high) = dst.split_at(Axis(0), cut - row);
        return join(true, || normals(key, low, row, column, dst_low), || normals(key, high, cut, column, dst_high));
    }
    if big {
        let cut = (dst.ncols() / 2).next_multiple_of(LEAF);
        let (dst_low, dst_high) = dst.split_at(Axis(1), cut);
        return join(
            true,
            || normals(key, rows, row, column, dst_low),
            || {
                normals(key, rows, row, column + cut, dst_high);
            },
        );
    }
    for r in rows {
        if let Some(out) = dst.row_mut(r.row as usize - row).as_slice_mut() {
            T::fill_normals(key, r.address, column, out);
        }
    }
}

/// What every job of a program reads.
struct Shared<'a, T> {
    program: &'a Program<T>,
    point: ArrayView2<'a, T>,
    output: ArrayView2<'a, T>,
    noise: ArrayView2<'a, T>,
    earlier_point: ArrayView2<'a, T>,
    earlier_output: ArrayView2<'a, T>,
    state_rows: usize,
    memory_rows: usize,
}

/// The part of the written arrays that belongs to some slots and columns.
struct Block<'a, T> {
    /// Slot of the first state row.
    slot: usize,
    /// First column.
    column: usize,
    state: ArrayViewMut2<'a, T>,
    memory: ArrayViewMut2<'a, T>,
    /// One row a target of the segments at hand, one column a leaf.
    leaves: ArrayViewMut2<'a, LeafChange<T>>,
}

impl<T: Real> Shared<'_, T> {
    /// Cuts the work into single segments of at most [`BLOCK`] columns.
    fn split(&self, segments: &[Segment], block: Block<'_, T>) {
        let columns = block.state.ncols();
        let targets = block.leaves.nrows();
        let parallel = targets * columns > GRAIN;
        let Block { slot, column, state, memory, leaves } = block;
        if let (true, Some(middle)) = (segments.len() > 1, segments.get(segments.len() / 2)) {
            let (low, high) = segments.split_at(segments.len() / 2);
            let slots = middle.slot - slot;
            let (s0, s1) = state.split_at(Axis(0), slots * self.state_rows);
            let (m0, m1) = memory.split_at(Axis(0), slots * self.memory_rows);
            let (l0, l1) = leaves.split_at(Axis(0), low.iter().map(|s| s.targets.len()).sum());
            let a = Block { slot, column, state: s0, memory: m0, leaves: l0 };
            let b = Block { slot: middle.slot, column, state: s1, memory: m1, leaves: l1 };
            join(parallel, || self.split(low, a), || self.split(high, b));
        } else if columns > BLOCK {
            let cut = (columns / 2).next_multiple_of(LEAF);
            let (s0, s1) = state.split_at(Axis(1), cut);
            let (m0, m1) = memory.split_at(Axis(1), cut);
            let (l0, l1) = leaves.split_at(Axis(1), cut / LEAF);
            let a = Block { slot, column, state: s0, memory: m0, leaves: l0 };
            let b = Block { slot, column: column + cut, state: s1, memory: m1, leaves: l1 };
            join(parallel, || self.split(segments, a), || self.split(segments, b));
        } else if let Some(segment) = segments.first() {
            crate::simd::dispatch(
                #[inline(always)]
                || self.run(segment, Block { slot, column, state, memory, leaves }),
            );
        }
    }

    /// One segment on at most [`BLOCK`] columns: every target in order.
    #[inline(always)]
    fn run(&self, segment: &Segment, mut block: Block<'_, T>) {
        let n = block.state.ncols();
        let mut plain = [T::zero(); BLOCK];
        let mut correction = [T::zero(); BLOCK];
        let targets = self.program.targets.get(segment.targets.clone()).unwrap_or(&[]);
        for (target, mut leaves) in targets.iter().zip(block.leaves.rows_mut()) {
            let (plain, correction) = (&mut plain[..n], &mut correction[..n]);
            plain.fill(T::zero());
            correction.fill(T::zero());
            for term in self.program.terms.get(target.terms.clone()).unwrap_or(&[]) {
                let source =
                    |r: RowRef| self.row(&block.state, &block.memory, segment.slot, block.slot, r, block.column, n);
                match term.minus {
                    None => {
                        for (p, &x) in plain.iter_mut().zip(source(term.row)) {
                            *p += term.coef * x;
                        }
                    }
                    Some(minus) => {
                        for ((c, &x), &y) in correction.iter_mut().zip(source(term.row)).zip(source(minus)) {
                            *c += term.coef * (x - y);
                        }
                    }
                }
            }
            let at = target.out.row as usize;
            let mut out = match target.out.plane {
                Plane::Memory => block.memory.row_mut(at - block.slot * self.memory_rows),
                _ => block.state.row_mut(at - block.slot * self.state_rows),
            };
            let Some(out) = out.as_slice_mut() else { continue };
            for (p, c) in plain.iter_mut().zip(correction.iter()) {
                *p += *c;
            }
            let leaves = leaves.iter_mut().zip(plain.chunks_mut(LEAF)).zip(out.chunks_mut(LEAF));
            for ((change, new), out) in leaves {
                *change = replace(out, new);
            }
        }
    }

    /// The columns of a source row.
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    fn row<'a>(
        &'a self,
        state: &'a ArrayViewMut2<'_, T>,
        memory: &'a ArrayViewMut2<'_, T>,
        _slot: usize,
        first_slot: usize,
        r: RowRef,
        column: usize,
        n: usize,
    ) -> &'a [T] {
        let row = r.row as usize;
        let shared = |a: &'a ArrayView2<'_, T>| a.row(row).to_slice().and_then(|r| r.get(column..column + n));
        match r.plane {
            Plane::State => state.row(row - first_slot * self.state_rows).to_slice(),
            Plane::Memory => memory.row(row - first_slot * self.memory_rows).to_slice(),
            Plane::Point => shared(&self.point),
            Plane::Output => shared(&self.output),
            Plane::Noise => shared(&self.noise),
            Plane::EarlierPoint => shared(&self.earlier_point),
            Plane::EarlierOutput => shared(&self.earlier_output),
        }
        .unwrap_or(&[])
    }
}

/// Sum of the squares of the differences in a leaf.
#[inline(always)]
fn change<T: Real>(out: &[T], new: &[T]) -> T {
    let mut square = [T::zero(); LEAF];
    for ((s, new), old) in square.iter_mut().zip(new).zip(out) {
        let e = *new - *old;
        *s = e * e;
    }
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
    // the square of a tiny change is 0
    let moved = sum > T::zero() || new.iter().zip(out.iter()).any(|(new, old)| !new.same_bits(*old));
    out.copy_from_slice(new);
    LeafChange { sum, moved, broken }
}
