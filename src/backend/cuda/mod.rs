//! The CUDA backend: the samplers of this crate on an NVIDIA GPU, with the bits of the CPU.
//!
//! Needs the feature `cuda` to build and NVIDIA's driver to run (525 or newer, a device of compute capability 8.0 or
//! newer); no toolkit. The kernels are embedded as PTX. Every array lives on one device and all work is enqueued on one
//! [stream](Cuda::stream); a round waits only for the numbers that decide how it goes on. A score sees [`DeviceRows`]
//! and enqueues its own work on the same stream.
//!
//! For a score that itself gives the same bits on both, f32 and f64 samples, rounds, rows and residuals are those of
//! [`Cpu`](super::Cpu), bit for bit: additions and multiplications are never contracted and every sum has the canonical
//! order.

mod combine;
pub(crate) mod device;
mod encode;
pub(crate) mod error;
mod open;
mod rows;
mod scratch;
pub(crate) mod staging;

pub use crate::error::DeviceError;
pub use device::{PTX, SOURCE};
pub use rows::{DeviceArray, DeviceRows, DeviceRowsMut};
pub use scratch::CudaScratch;

use super::sum::LEAF;
use super::{
    Backend, Change, Limit, MOST_VECTORS, NoiseRow, Plane, Planes, Program, Real, Summand, Vector, array_size, clamp,
};
use crate::error::{Error, Result};
use crate::noise::{NoiseKey, NormalPrecision};
use cudarc::driver::{DeviceRepr, ValidAsZeroBits};
use device::{Device, launch};
use encode::addresses;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use staging::{Part, Word};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;

// As in the kernels' sources.
const WARP: u32 = 32;
const ROW_THREADS: u32 = 256;
const WIDE_WARPS: u32 = 4;
const TILE: u32 = 8;
const FOLD_THREADS: u32 = 128;
const PRODUCT_WARPS: u32 = 4;
/// CUDA's handle of the per-thread default stream.
const PER_THREAD_STREAM: usize = 2;

/// An element type that a device computes in: f32 or f64.
///
/// ```
/// use piadm::{Cuda, cuda::DeviceElem};
/// /// A device for numbers of either precision.
/// fn first<T: DeviceElem>() -> piadm::Result<Cuda<T>> {
///     Cuda::new(0)
/// }
/// # let _ = (first::<f32>, first::<f64>);
/// ```
pub trait DeviceElem: Real + DeviceRepr + ValidAsZeroBits + Word {
    /// What the names of its kernels end with.
    #[doc(hidden)]
    const SUFFIX: &'static str;
    /// Whether normals are made from 53 random bits.
    #[doc(hidden)]
    fn is_double(key: NoiseKey) -> bool;
}

impl DeviceElem for f32 {
    const SUFFIX: &'static str = "f32";
    fn is_double(_: NoiseKey) -> bool {
        false
    }
}

impl DeviceElem for f64 {
    const SUFFIX: &'static str = "f64";
    fn is_double(key: NoiseKey) -> bool {
        key.precision() == NormalPrecision::Double
    }
}

/// Arrays on an NVIDIA GPU, elements of type `T` (f32 or f64). A clone is another handle to the same stream.
///
/// ```
/// use piadm::{cuda::DeviceError, Cuda, Error};
/// match Cuda::<f32>::new(0) {
///     Ok(backend) => println!("{backend:?}"),
///     Err(Error::Device(DeviceError::NoDriver(why))) => println!("no driver here: {why}"),
///     Err(error) => println!("{error}"),
/// }
/// ```
pub struct Cuda<T> {
    pub(crate) device: Arc<Device>,
    element: PhantomData<fn() -> T>,
}

impl<T> Clone for Cuda<T> {
    fn clone(&self) -> Self {
        Cuda { device: self.device.clone(), element: PhantomData }
    }
}

/// Whether both enqueue on the same stream.
impl<T> PartialEq for Cuda<T> {
    fn eq(&self, other: &Self) -> bool {
        *self.device.stream() == *other.device.stream()
    }
}

impl<T> Debug for Cuda<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cuda<{}> {{ device: {} }}", std::any::type_name::<T>(), self.device.context().ordinal())
    }
}

/// Blocks of threads that take four elements each, for one row.
pub(crate) fn blocks_of_row(dim: usize, threads: u32) -> usize {
    dim.div_ceil(4 * threads as usize)
}

/// A row number that does not fit its array: never from a sampler of this crate.
fn no_such_row() -> Error {
    Error::TooLarge { what: "a row number", why: "it lies beyond its array".into() }
}

impl<T: DeviceElem> Backend for Cuda<T> {
    type Elem = T;
    type Array = DeviceArray<T>;
    type View<'a> = DeviceRows<'a, T>;
    type ViewMut<'a> = DeviceRowsMut<'a, T>;
    type Scratch = CudaScratch<T>;

    fn alloc(&self, what: &'static str, rows: usize, dim: usize, fill: T) -> Result<DeviceArray<T>> {
        let (len, _) = array_size::<T>(what, rows, dim)?;
        let queue = self.device.queue()?;
        let array = DeviceArray { slice: self.device.allocate(what, len)?, device: self.device.clone(), rows, dim };
        // a few waves of blocks; each thread goes on through the array
        let blocks = len.div_ceil(ROW_THREADS as usize).min(1 << 16);
        let (address, count) = (array.address(&self.device)?, len as u64);
        // SAFETY: the array has `len` elements.
        unsafe { launch!(self.device, &self.device.kernels.fill, blocks, ROW_THREADS, address, count, fill) }?;
        drop(queue);
        Ok(array)
    }

    fn view<'a>(&self, array: &'a DeviceArray<T>, rows: Range<usize>) -> DeviceRows<'a, T> {
        array.view().part(clamp(rows, array.rows))
    }

    fn view_mut<'a>(&self, array: &'a mut DeviceArray<T>, rows: Range<usize>) -> DeviceRowsMut<'a, T> {
        let rows = clamp(rows, array.rows);
        let DeviceArray { slice, device, dim, .. } = array;
        let view = slice.slice_mut(rows.start * *dim..rows.end * *dim);
        DeviceRowsMut { view, device, rows: rows.len(), dim: *dim }
    }

    fn of(view: DeviceRows<'_, T>) -> Self {
        Cuda { device: view.array.device.clone(), element: PhantomData }
    }

    fn shape(view: DeviceRows<'_, T>) -> [usize; 2] {
        [view.rows, view.dim]
    }

    fn shape_mut(view: &DeviceRowsMut<'_, T>) -> [usize; 2] {
        [view.rows, view.dim]
    }

    fn part<'a>(view: Self::View<'a>, rows: Range<usize>) -> Self::View<'a> {
        view.part(clamp(rows, view.rows))
    }

    fn part_mut<'a>(view: &'a mut DeviceRowsMut<'_, T>, rows: Range<usize>) -> DeviceRowsMut<'a, T> {
        view.part(clamp(rows, view.rows))
    }

    fn split_mut(view: Self::ViewMut<'_>, row: usize) -> [Self::ViewMut<'_>; 2] {
        let row = row.min(view.rows);
        view.split_at(row)
    }

    fn upload(&self, src: ArrayView2<'_, T>, dst: &mut DeviceArray<T>, row: usize) -> Result<()> {
        let rows = clamp(row..row.saturating_add(src.nrows()), dst.rows);
        if src.dim() != (rows.len(), dst.dim) {
            return Err(Error::Shape {
                what: "rows to copy",
                found: src.shape().to_vec(),
                expected: vec![rows.len(), dst.dim],
            });
        }
        let host = src.as_standard_layout();
        let to = dst.address(&self.device)? + (row * dst.dim * size_of::<T>()) as u64;
        self.device.queue()?.upload(host.as_slice().unwrap_or(&[]), to)
    }

    fn download(&self, src: &DeviceArray<T>, rows: Range<usize>) -> Result<Array2<T>> {
        self.device.owns(src.slice.stream())?;
        let view = self.view(src, rows);
        let mut host = Vec::new();
        self.device.queue()?.fetch(view.address(), view.rows * view.dim, &mut host)?;
        Array2::from_shape_vec((view.rows, view.dim), host)
            .map_err(|_| Error::TooLarge { what: "rows on the host", why: "shape overflow".into() })
    }

    fn read(&self, src: &DeviceArray<T>, mut out: ArrayViewMut2<'_, T>) -> Result<()> {
        let host = self.download(src, 0..src.rows)?;
        if out.dim() != host.dim() {
            return Err(Error::Shape {
                what: "rows to copy",
                found: out.shape().to_vec(),
                expected: host.shape().to_vec(),
            });
        }
        out.assign(&host);
        Ok(())
    }

    fn gather(&self, src: &DeviceArray<T>, rows: &[u32], dst: &mut DeviceArray<T>, first: usize) -> Result<()> {
        let fits = first.checked_add(rows.len()).is_some_and(|end| end <= dst.rows) && src.dim == dst.dim;
        if !fits || rows.iter().any(|r| *r as usize >= src.rows) {
            return Err(no_such_row());
        }
        let (from, to) = (src.address(&self.device)?, dst.address(&self.device)?);
        let mut queue = self.device.queue()?;
        let [list] = queue.stage([Part::of(rows)])?;
        let blocks = blocks_of_row(src.dim, ROW_THREADS);
        let (first, dim, each) = (first as u64, src.dim as u64, blocks as u32);
        let kernel = &self.device.kernels.gather;
        // SAFETY: all rows were checked against their arrays.
        unsafe { launch!(self.device, kernel, rows.len() * blocks, ROW_THREADS, list, from, to, first, dim, each) }
    }

    fn normals(&self, key: NoiseKey, rows: &[NoiseRow], dst: &mut DeviceArray<T>) -> Result<()> {
        if rows.iter().any(|r| r.row as usize >= dst.rows) {
            return Err(no_such_row());
        }
        let kernel = if T::is_double(key) { &self.device.normals_double } else { &self.device.kernels.normals };
        let blocks = blocks_of_row(dst.dim, ROW_THREADS);
        let (to, dim, each) = (dst.address(&self.device)?, dst.dim as u64, blocks as u32);
        let (low, high) = (key.seed() as u32, (key.seed() >> 32) as u32);
        let mut queue = self.device.queue()?;
        let [list] = queue.stage([Part::of(rows)])?;
        // SAFETY: all rows were checked against the array.
        unsafe { launch!(self.device, kernel, rows.len() * blocks, ROW_THREADS, list, to, dim, each, low, high) }
    }

    fn run(
        &self,
        program: &Program<T>,
        planes: &mut Planes<Self>,
        scratch: &mut CudaScratch<T>,
        changes: &mut Vec<Change>,
    ) -> Result<()> {
        let words = &mut scratch.words;
        words.encode(program, &addresses(&self.device, planes)?).ok_or_else(no_such_row)?;
        changes.clear();
        let variances = &planes[Plane::Variances];
        let has_variances = variances.rows > 0 && variances.dim == planes[Plane::State].dim;
        if words.shifts && !has_variances {
            return Err(no_such_row());
        }
        let variances = planes[Plane::Variances].address(&self.device)?;
        let (count, leaves) = (words.targets.len(), planes[Plane::State].dim.div_ceil(LEAF));
        if count == 0 {
            return Ok(());
        }
        let device = &*self.device;
        let mut queue = device.queue()?;
        let sums = scratch.sums.room(device, "sums of a sweep", leaves * count)?;
        let flags = scratch.flags.room(device, "flags of a sweep", leaves * count)?;
        // a change is as long as two f64
        let answers = scratch.answers.room(device, "changes of a sweep", 2 * count)?;
        let [terms, targets, segments] =
            queue.stage([Part::of(&words.terms), Part::of(&words.targets), Part::of(&words.segments)])?;
        let segment_count = words.segments.len();
        // long windows of few elements leave most of a device idle, unless targets are prepared side by side
        let few = segment_count * leaves <= device.few_leaves && count > 2 * segment_count;
        let (dim, leaf_count, target_count) = (planes[Plane::State].dim as u64, leaves as u32, count as u32);
        // SAFETY: the words name rows of the planes, which the sampler's borrow keeps alive and its own; variances are
        // a row where a word has a shift; sums and flags have an entry for every leaf of every target.
        unsafe {
            if few || words.shifts {
                let (kernel, blocks) = (&device.kernels.run_long, segment_count * leaves);
                #[rustfmt::skip]
                launch!(
                    device, kernel, blocks, TILE * WARP,
                    terms, targets, segments, variances, sums, flags, dim, leaf_count, target_count,
                )?;
            } else {
                let blocks = segment_count * leaves.div_ceil(WIDE_WARPS as usize);
                let kernel = &device.kernels.run_wide;
                #[rustfmt::skip]
                launch!(
                    device, kernel, blocks, WIDE_WARPS * WARP,
                    terms, targets, segments, sums, flags, dim, leaf_count, target_count,
                )?;
            }
            let (kernel, blocks) = (&device.kernels.fold_changes, count.div_ceil(FOLD_THREADS as usize));
            launch!(device, kernel, blocks, FOLD_THREADS, sums, flags, leaf_count, target_count, answers)?;
        }
        scratch.changes.clear();
        queue.fetch(answers, count, &mut scratch.changes)?;
        changes.extend(scratch.changes.iter().map(|c| Change {
            sum: c.sum,
            moved: c.moved != 0,
            finite: c.finite != 0,
        }));
        Ok(())
    }

    fn products(
        &self,
        vectors: &[Vector],
        width: usize,
        pairs: &[(usize, usize)],
        planes: &Planes<Self>,
        scratch: &mut CudaScratch<T>,
        products: &mut Vec<f64>,
    ) -> Result<()> {
        let at = addresses(&self.device, planes)?;
        encode::encode_vectors(vectors, &at, &mut scratch.vectors).ok_or_else(no_such_row)?;
        encode::encode_pairs(pairs, &mut scratch.pairs);
        if width > MOST_VECTORS || pairs.iter().any(|&(a, b)| a.max(b) >= width) {
            return Err(no_such_row());
        }
        products.clear();
        let (groups, leaves) = (vectors.len() / width.max(1), planes[Plane::State].dim.div_ceil(LEAF));
        let count = groups * pairs.len();
        if count == 0 {
            return Ok(());
        }
        let device = &*self.device;
        let mut queue = device.queue()?;
        let sums = scratch.sums.room(device, "sums of products", leaves * count)?;
        let totals = scratch.answers.room(device, "products", count)?;
        let [vectors, pair_words] = queue.stage([Part::of(&scratch.vectors), Part::of(&scratch.pairs)])?;
        let jobs = groups * leaves;
        let (group_width, pair_count, job_count) = (width as u32, pairs.len() as u32, jobs as u64);
        let (dim, leaf_count, total_count) = (planes[Plane::State].dim as u64, leaves as u32, count as u64);
        let kernel = &device.kernels.products;
        // SAFETY: the words name rows of the planes, pairs lie inside a group, sums have an entry for every pair of
        // every leaf.
        unsafe {
            launch!(
                device,
                kernel,
                jobs.div_ceil(PRODUCT_WARPS as usize),
                PRODUCT_WARPS * WARP,
                vectors,
                pair_words,
                group_width,
                pair_count,
                job_count,
                dim,
                leaf_count,
                sums
            )?;
            let (kernel, blocks) = (&device.kernels.fold_sums, count.div_ceil(FOLD_THREADS as usize));
            launch!(device, kernel, blocks, FOLD_THREADS, sums, leaf_count, total_count, totals)?;
        }
        queue.fetch(totals, count, products)
    }

    fn combine(
        &self,
        summands: &[Summand<'_, DeviceRows<'_, T>>],
        limit: Option<Limit<'_, DeviceRows<'_, T>>>,
        out: DeviceRowsMut<'_, T>,
    ) -> Result<()> {
        combine::combine(&self.device, summands, limit, out)
    }

    fn first_not_finite(view: &mut DeviceRowsMut<'_, T>) -> Result<Option<usize>> {
        let (device, from) = (view.device, view.address());
        let mut queue = device.queue()?;
        let [found] = queue.stage([Part::of(&[u32::MAX])])?;
        let blocks = blocks_of_row(view.dim, ROW_THREADS);
        let (first, dim, each) = (0u64, view.dim as u64, blocks as u32);
        let kernel = &device.kernels.not_finite;
        // SAFETY: the rows lie inside the array; `found` is one number.
        unsafe { launch!(device, kernel, view.rows * blocks, ROW_THREADS, from, first, dim, each, found) }?;
        let mut answer: Vec<u32> = Vec::new();
        queue.fetch(found, 1, &mut answer)?;
        Ok(answer.first().filter(|row| **row != u32::MAX).map(|row| *row as usize))
    }
}
