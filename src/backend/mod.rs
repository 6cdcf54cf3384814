//! Where arrays live and how a sweep runs on them: one interface for the CPU and for devices.
//!
//! A backend knows nothing of schedules, schemes or windows. It gets coefficients and row numbers: [`Program`] is a list of
//! linear combinations of rows that is run in order, element by element, and everything a sampler does to states (sweep, entry of
//! new nodes, lookback) is such a list.

mod cpu;
#[cfg(feature = "cuda")]
#[allow(unsafe_code)]
pub mod cuda;
mod real;
pub(crate) mod sum;

pub use cpu::Cpu;
#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use real::Real;

use crate::error::{Error, Result};
use crate::noise::{Address, NoiseKey};
use ndarray::{Array2, ArrayView2};
use std::fmt::Debug;
use std::ops::Range;

/// Which array a row belongs to.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Current guesses of all nodes of the windows.
    State,
    /// The states at which the score was evaluated in this round, packed.
    Point,
    /// What the score answered, packed like `Point`.
    Output,
    /// The frozen normals of the nodes of the windows.
    Noise,
    /// Point and output of the last nodes that left each window (schemes with lookback).
    Memory,
    /// `Point` of the round before.
    EarlierPoint,
    /// `Output` of the round before.
    EarlierOutput,
}

/// A row of a plane.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRef {
    /// The array.
    pub plane: Plane,
    /// Its row.
    pub row: u32,
}

/// `coef * row`, or `coef * (row - minus)` for a correction, or `(coef * (v / (v + shift))) * (row - minus)` for one whose slope differs
/// from element to element, v being those of [`Planes::variances`].
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Term<E> {
    /// The coefficient.
    pub coef: E,
    /// The row it multiplies.
    pub row: RowRef,
    /// The row that is subtracted first.
    pub minus: Option<RowRef>,
    /// Of a correction, above 0.
    pub shift: Option<E>,
}

/// `row`, or `row - minus`: an operand of an inner product.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Vector {
    /// The row.
    pub row: RowRef,
    /// The row that is subtracted.
    pub minus: Option<RowRef>,
}

/// One linear combination. With `b` the sum of its plain terms and `c` the sum of its corrections, both from +0 in the order
/// listed, the row becomes `b + c`.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Target {
    /// Row that is overwritten: a `State` or `Memory` row of the segment's own slot.
    pub out: RowRef,
    /// A row of another plane that holds what `out` holds before, if there is one: a backend that has read one need not read the other.
    pub before: Option<RowRef>,
    /// Its terms in [`Program::terms`].
    pub terms: Range<usize>,
}

/// The targets of one sample's slot.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Segment {
    /// The slot: it owns rows `slot * rows_per_slot ..` of `State` and of `Memory`.
    pub slot: usize,
    /// Its targets in [`Program::targets`], run in order.
    pub targets: Range<usize>,
}

/// Linear combinations of rows, grouped by slot. Segments are sorted by slot, one a slot.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct Program<E> {
    /// Segments in ascending order of slots.
    pub segments: Vec<Segment>,
    /// All targets, segment after segment.
    pub targets: Vec<Target>,
    /// All terms, target after target.
    pub terms: Vec<Term<E>>,
}

/// What a target's row did.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Change {
    /// Sum over elements of (new - old)^2 in the canonical order.
    pub sum: f64,
    /// Whether any element's bits changed.
    pub moved: bool,
    /// Whether every new element was finite; elements that were not kept their old value.
    pub finite: bool,
}

/// A row of normals to be made. Devices read it as it lies in memory.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct NoiseRow {
    /// Row of the noise array.
    pub row: u32,
    /// Address of the normals.
    pub address: Address,
}

/// The arrays a program reads and writes.
#[doc(hidden)]
#[derive(Debug)]
pub struct Planes<'a, B: Backend> {
    /// Read and written, `slots * state_rows` rows.
    pub state: &'a mut B::Array,
    /// Read and written, `slots * memory_rows` rows.
    pub memory: &'a mut B::Array,
    /// Read.
    pub point: &'a B::Array,
    /// Read.
    pub output: &'a B::Array,
    /// Read.
    pub earlier_point: &'a B::Array,
    /// Read.
    pub earlier_output: &'a B::Array,
    /// Read.
    pub noise: &'a B::Array,
    /// Read, one row; none where no term has a shift.
    pub variances: &'a B::Array,
    /// State rows a slot owns.
    pub state_rows: usize,
    /// Memory rows a slot owns.
    pub memory_rows: usize,
}

/// Where arrays live. The element type lives inside: `Cpu<f32>`, `Cpu<f64>`. Sealed: users choose a backend, they do not write one.
pub trait Backend: Clone + Debug + Send + Sync + 'static + sealed::Sealed {
    /// f32 or f64.
    type Elem: Real;
    /// An owned array, rows x dim.
    type Array: Send + Sync + Debug;
    /// A read-only view of contiguous rows, as a score sees it.
    type View<'a>: Copy;
    /// A writable view of contiguous rows.
    type ViewMut<'a>;
    /// Working memory of [`run`](Backend::run), kept from round to round.
    #[doc(hidden)]
    type Scratch: Default + Send + Debug;

    /// A new array, every element `fill`.
    #[doc(hidden)]
    fn alloc(&self, what: &'static str, rows: usize, dim: usize, fill: Self::Elem) -> Result<Self::Array>;
    /// Rows of an array.
    #[doc(hidden)]
    fn view<'a>(&self, array: &'a Self::Array, rows: Range<usize>) -> Self::View<'a>;
    /// Rows of an array, writable.
    #[doc(hidden)]
    fn view_mut<'a>(&self, array: &'a mut Self::Array, rows: Range<usize>) -> Self::ViewMut<'a>;
    /// Copies host rows to the rows from `row` on.
    #[doc(hidden)]
    fn upload(&self, src: ArrayView2<'_, Self::Elem>, dst: &mut Self::Array, row: usize) -> Result<()>;
    /// Copies rows to the host.
    #[doc(hidden)]
    fn download(&self, src: &Self::Array, rows: Range<usize>) -> Result<Array2<Self::Elem>>;
    /// Row `first + i` of `dst` becomes row `rows[i]` of `src`.
    #[doc(hidden)]
    fn gather(&self, src: &Self::Array, rows: &[u32], dst: &mut Self::Array, first: usize) -> Result<()>;
    /// Fills rows of `dst` with addressed normals; `rows` ascend.
    #[doc(hidden)]
    fn normals(&self, key: NoiseKey, rows: &[NoiseRow], dst: &mut Self::Array) -> Result<()>;
    /// Runs a program and says what every target did: `changes` gets one [`Change`] a target.
    #[doc(hidden)]
    fn run(
        &self,
        program: &Program<Self::Elem>,
        planes: Planes<'_, Self>,
        scratch: &mut Self::Scratch,
        changes: &mut Vec<Change>,
    ) -> Result<()>;
    /// Inner products, each in the canonical order: of every group of `width` vectors those of `pairs`, group after group.
    #[doc(hidden)]
    fn products(
        &self,
        vectors: &[Vector],
        width: usize,
        pairs: &[(usize, usize)],
        planes: Planes<'_, Self>,
        scratch: &mut Self::Scratch,
        products: &mut Vec<f64>,
    ) -> Result<()>;
    /// The first row of a range that holds a value that is not finite.
    #[doc(hidden)]
    fn first_not_finite(&self, array: &Self::Array, rows: Range<usize>) -> Result<Option<usize>>;
}

/// Elements and bytes of an array, if they can be addressed.
fn array_size<E>(what: &'static str, rows: usize, dim: usize) -> Result<(usize, usize)> {
    let len = rows.checked_mul(dim);
    let bytes = len.and_then(|len| len.checked_mul(size_of::<E>())).filter(|b| isize::try_from(*b).is_ok());
    match (len, bytes, u32::try_from(rows)) {
        (Some(len), Some(bytes), Ok(_)) => Ok((len, bytes)),
        _ => Err(Error::TooLarge {
            what,
            why: format!("{rows} rows of {dim} elements do not fit the address space or 2^32 rows"),
        }),
    }
}

/// A range that fits `n` rows.
fn clamp(rows: Range<usize>, n: usize) -> Range<usize> {
    let end = rows.end.min(n);
    rows.start.min(end)..end
}

mod sealed {
    /// Keeps [`Backend`](super::Backend) closed.
    pub trait Sealed {}
    impl<T: super::Real> Sealed for super::Cpu<T> {}
    #[cfg(feature = "cuda")]
    impl<T: super::cuda::DeviceElem> Sealed for super::Cuda<T> {}
}
