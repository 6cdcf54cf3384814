//! The CPU backend: ndarray arrays and safe code; with the feature `rayon` it runs on the current rayon pool.
//!
//! Work is split recursively by slots and, at multiples of a leaf, by columns, so neither the number of threads nor
//! the order of work changes a bit.

mod combine;
mod products;
mod program;
mod views;

use super::combine::check_combination;
use super::sum::LEAF;
use super::{Backend, Change, Limit, NoiseRow, Planes, Program, Real, Summand, Vector, array_size, clamp};
use crate::error::{Error, Result, reserve};
use crate::noise::NoiseKey;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Slice};
use program::{Block, Shared};
use std::marker::PhantomData;
use std::ops::Range;

/// Below this many elements work is not worth handing to another thread: waking one takes as long as 2^15 elements.
const GRAIN: usize = 1 << 16;

/// Whether rows are worth handing to another thread. A short row counts as a whole leaf, since it takes as long.
fn is_much(rows: usize, columns: usize) -> bool {
    rows * columns.max(LEAF) > GRAIN
}

/// Arrays in main memory with elements of type `T` (f32 or f64).
///
/// With the feature `rayon` kernels run on the current rayon pool. Call samplers from a thread of that pool, for
/// example within `rayon::scope`. From any other thread every large kernel, and every evaluation of a network that
/// uses rayon itself, wakes the pool and waits for it. (A score that is not `Send` cannot move to the pool; it
/// still works where it is.)
///
/// ```
/// use piadm::{Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme, score_fn};
///
/// let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| {
///     out.zip_mut_with(&x, |o, x| *o = -x);
///     Ok(())
/// });
/// let grid = Grid::log_snr(100).between(8.0, 0.01);
/// let problem = Problem::new(Ou, grid, Scheme::default()).samples(4).shape([784]);
/// let solution = rayon::scope(|_| Picard::default().sample(&problem, &mut score))?;
/// assert_eq!(solution.samples.dim(), (4, 784));
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu<T>(PhantomData<T>);

impl<T: Real> Cpu<T> {
    /// The CPU.
    pub const fn new() -> Self {
        Cpu(PhantomData)
    }
}

/// The change of one leaf of a target's row.
#[derive(Clone, Copy, Debug, Default)]
struct LeafChange<T> {
    sum: T,
    moved: bool,
    broken: bool,
}

/// Working memory of [`Backend::run`], which the sampler keeps from round to round.
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
        let (len, bytes) = array_size::<T>(what, rows, dim)?;
        // zeroed memory costs nothing until a thread first touches it
        let mut data = bytemuck::allocation::try_zeroed_vec(len).map_err(|()| Error::OutOfMemory { what, bytes })?;
        if !fill.same_bits(T::zero()) {
            fill_all(&mut data, fill);
        }
        Array2::from_shape_vec((rows, dim), data)
            .map_err(|_| Error::TooLarge { what, why: format!("{rows} rows of {dim} elements") })
    }

    fn view<'a>(&self, array: &'a Array2<T>, rows: Range<usize>) -> ArrayView2<'a, T> {
        array.slice_axis(Axis(0), Slice::from(clamp(rows, array.nrows())))
    }

    fn view_mut<'a>(&self, array: &'a mut Array2<T>, rows: Range<usize>) -> ArrayViewMut2<'a, T> {
        let rows = clamp(rows, array.nrows());
        array.slice_axis_mut(Axis(0), Slice::from(rows))
    }

    fn of(_: ArrayView2<'_, T>) -> Self {
        Cpu::new()
    }

    fn shape(view: ArrayView2<'_, T>) -> [usize; 2] {
        view.dim().into()
    }

    fn shape_mut(view: &ArrayViewMut2<'_, T>) -> [usize; 2] {
        view.dim().into()
    }

    fn part<'a>(view: Self::View<'a>, rows: Range<usize>) -> Self::View<'a> {
        let rows = clamp(rows, view.nrows());
        view.slice_axis_move(Axis(0), Slice::from(rows))
    }

    fn part_mut<'a>(view: &'a mut ArrayViewMut2<'_, T>, rows: Range<usize>) -> ArrayViewMut2<'a, T> {
        let rows = clamp(rows, view.nrows());
        view.slice_axis_mut(Axis(0), Slice::from(rows))
    }

    fn split_mut(view: Self::ViewMut<'_>, row: usize) -> [Self::ViewMut<'_>; 2] {
        let row = row.min(view.nrows());
        view.split_at(Axis(0), row).into()
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

    fn read(&self, src: &Array2<T>, mut out: ArrayViewMut2<'_, T>) -> Result<()> {
        if out.dim() != src.dim() {
            return Err(Error::Shape {
                what: "rows to copy",
                found: out.shape().to_vec(),
                expected: src.shape().to_vec(),
            });
        }
        out.assign(src);
        Ok(())
    }

    fn gather(&self, src: &Array2<T>, rows: &[u32], dst: &mut Array2<T>, first: usize) -> Result<()> {
        gather(src.view(), rows, self.view_mut(dst, first..first.saturating_add(rows.len())));
        Ok(())
    }

    fn normals(&self, key: NoiseKey, rows: &[NoiseRow], dst: &mut Array2<T>) -> Result<()> {
        normals(key, rows, 0, 0, dst.view_mut());
        Ok(())
    }

    fn reserve(&self, scratch: &mut CpuScratch<T>, targets: usize, sums: usize, dim: usize) -> Result<()> {
        let leaves = dim.div_ceil(LEAF);
        reserve("row statistics", &mut scratch.leaves, targets.saturating_mul(leaves))?;
        reserve("sums of products", &mut scratch.sums, sums.saturating_mul(leaves))
    }

    fn run(
        &self,
        program: &Program<T>,
        planes: &mut Planes<Self>,
        scratch: &mut CpuScratch<T>,
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        let (state_rows, memory_rows) = (planes.state_rows, planes.memory_rows);
        let [state, memory, point, output, noise, earlier_point, earlier_output, variances] = &mut planes.arrays;
        let leaves = state.ncols().div_ceil(LEAF);
        scratch.leaves.clear();
        reserve("row statistics", &mut scratch.leaves, leaves * program.targets.len())?;
        scratch.leaves.resize(leaves * program.targets.len(), LeafChange::default());
        let shared = Shared {
            program,
            dim: state.ncols(),
            point: elements(point),
            output: elements(output),
            noise: elements(noise),
            variances: elements(variances),
            earlier_point: elements(earlier_point),
            earlier_output: elements(earlier_output),
            state_rows,
            memory_rows,
        };
        let block = Block { slot: 0, column: 0, state: state.view_mut(), memory: memory.view_mut() };
        let statistics = ArrayViewMut2::from_shape((program.targets.len(), leaves), &mut scratch.leaves)
            .map_err(|_| Error::TooLarge { what: "row statistics", why: "shape overflow".into() })?;
        shared.split(&program.segments, block, statistics);
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
        planes: &Planes<Self>,
        scratch: &mut CpuScratch<T>,
        products: &mut Vec<f64>,
    ) -> Result<()> {
        products::products(vectors, width, pairs, planes, &mut scratch.sums, products)
    }

    fn combine(
        &self,
        summands: &[Summand<'_, ArrayView2<'_, T>>],
        limit: Option<Limit<'_, ArrayView2<'_, T>>>,
        out: ArrayViewMut2<'_, T>,
    ) -> Result<()> {
        check_combination::<Self>(summands, limit.as_ref(), out.dim().into())?;
        views::Combination { summands, limit }.split(0, 0, out);
        Ok(())
    }

    fn first_not_finite(view: &mut ArrayViewMut2<'_, T>) -> Result<Option<usize>> {
        Ok(view.rows().into_iter().position(|row| row.iter().any(|v| !v.is_finite())))
    }
}

/// All elements, row after row.
fn elements<T>(array: &Array2<T>) -> &[T] {
    array.as_slice().unwrap_or(&[])
}

/// Runs both halves, in parallel where that pays.
fn join(parallel: bool, a: impl FnOnce() + Send, b: impl FnOnce() + Send) {
    // in a pool of one thread that thread would only take over the work of this one
    #[cfg(feature = "rayon")]
    if parallel && rayon::current_num_threads() > 1 {
        rayon::join(a, b);
        return;
    }
    let _ = parallel;
    a();
    b();
}

fn fill_all<T: Real>(out: &mut [T], value: T) {
    if out.len() > GRAIN {
        let (low, high) = out.split_at_mut(out.len() / 2);
        return join(true, || fill_all(low, value), || fill_all(high, value));
    }
    out.fill(value);
}

fn gather<T: Real>(src: ArrayView2<'_, T>, rows: &[u32], mut dst: ArrayViewMut2<'_, T>) {
    debug_assert_eq!(dst.nrows(), rows.len());
    // copies are fast even for short rows, so the elements alone decide
    if rows.len() > 1 && dst.len() > GRAIN {
        let mid = rows.len() / 2;
        let (low, high) = rows.split_at(mid);
        let (dst_low, dst_high) = dst.split_at(Axis(0), mid);
        return join(true, || gather(src, low, dst_low), || gather(src, high, dst_high));
    }
    for (mut to, &from) in dst.rows_mut().into_iter().zip(rows) {
        to.assign(&src.row(from as usize));
    }
}

/// `dst` holds the rows from `row` on and the columns from `column` on.
fn normals<T: Real>(key: NoiseKey, rows: &[NoiseRow], row: usize, column: usize, mut dst: ArrayViewMut2<'_, T>) {
    let big = is_much(rows.len(), dst.ncols());
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
