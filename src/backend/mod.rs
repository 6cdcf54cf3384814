//! Where arrays live and how a sweep runs on them: one interface for the CPU and for other devices.
//!
//! A backend knows nothing of schedules, schemes or windows. It is given coefficients and row numbers: a
//! [`Program`] is a list of linear combinations of rows that runs in order, element by element. Everything that a
//! sampler does to states (sweeps, first guesses of new nodes, lookback) is such a list.

mod combine;
mod cpu;
#[cfg(feature = "cuda")]
#[allow(unsafe_code)]
pub mod cuda;
mod planes;
mod program;
mod real;
pub(crate) mod sum;

#[doc(hidden)]
pub use combine::{Limit, Summand};
pub use cpu::Cpu;
#[cfg(feature = "cuda")]
pub use cuda::Cuda;
#[doc(hidden)]
pub use planes::{Plane, Planes};
#[doc(hidden)]
pub use program::{Change, NoiseRow, Program, RowRef, Segment, Target, Term, Vector};
pub use real::Real;

use crate::error::{Error, Result};
use crate::noise::NoiseKey;
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use std::fmt::Debug;
use std::ops::Range;

/// Where arrays live. The backend fixes the element type: `Cpu<f32>`, `Cpu<f64>`. The trait is sealed: users choose
/// a backend but cannot add one.
///
/// ```
/// use piadm::prelude::*;
/// /// A solver that runs wherever the network does.
/// fn solve<B: Backend>(problem: &Problem<B>, score: &mut dyn ScoreFn<B>) -> piadm::Result<usize> {
///     Ok(Picard::default().sample(problem, score)?.report.rounds)
/// }
/// # let problem = Problem::new(Ou, Grid::uniform(9).between(4.0, 0.1), Scheme::ddim()).shape([2]);
/// # let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
/// assert!(solve(&problem, &mut score)? <= 9);
/// # Ok::<(), piadm::Error>(())
/// ```
pub trait Backend: Clone + Debug + PartialEq + Send + Sync + 'static + sealed::Sealed {
    /// f32 or f64.
    type Elem: Real;
    /// An owned array of size rows x dim.
    type Array: Send + Sync + Debug + 'static;
    /// A read-only view of contiguous rows, as a score sees it.
    type View<'a>: Copy + Send + Sync;
    /// A writable view of contiguous rows.
    type ViewMut<'a>: Send;
    /// Working memory of [`run`](Backend::run), kept from round to round.
    #[doc(hidden)]
    type Scratch: Default + Send + Debug;

    /// Allocates an array with every element set to `fill`.
    #[doc(hidden)]
    fn alloc(&self, what: &'static str, rows: usize, dim: usize, fill: Self::Elem) -> Result<Self::Array>;
    /// A view of some rows of an array.
    #[doc(hidden)]
    fn view<'a>(&self, array: &'a Self::Array, rows: Range<usize>) -> Self::View<'a>;
    /// A writable view of some rows of an array.
    #[doc(hidden)]
    fn view_mut<'a>(&self, array: &'a mut Self::Array, rows: Range<usize>) -> Self::ViewMut<'a>;
    /// The backend on which a view's array lives.
    #[doc(hidden)]
    fn of(view: Self::View<'_>) -> Self;
    /// Rows of a view, and elements per row.
    #[doc(hidden)]
    fn shape(view: Self::View<'_>) -> [usize; 2];
    /// The same for a writable view.
    #[doc(hidden)]
    fn shape_mut(view: &Self::ViewMut<'_>) -> [usize; 2];
    /// A view of some rows of a view.
    #[doc(hidden)]
    fn part<'a>(view: Self::View<'a>, rows: Range<usize>) -> Self::View<'a>;
    /// A writable view of some rows of a writable view.
    #[doc(hidden)]
    fn part_mut<'a>(view: &'a mut Self::ViewMut<'_>, rows: Range<usize>) -> Self::ViewMut<'a>;
    /// The rows of a writable view before this one, and those from it on.
    #[doc(hidden)]
    fn split_mut(view: Self::ViewMut<'_>, row: usize) -> [Self::ViewMut<'_>; 2];
    /// Copies rows from the host to the rows from `row` on.
    #[doc(hidden)]
    fn upload(&self, src: ArrayView2<'_, Self::Elem>, dst: &mut Self::Array, row: usize) -> Result<()>;
    /// Copies rows to the host.
    #[doc(hidden)]
    fn download(&self, src: &Self::Array, rows: Range<usize>) -> Result<Array2<Self::Elem>>;
    /// Copies all rows to an array on the host.
    #[doc(hidden)]
    fn read(&self, src: &Self::Array, out: ArrayViewMut2<'_, Self::Elem>) -> Result<()>;
    /// Copies row `rows[i]` of `src` to row `first + i` of `dst`.
    #[doc(hidden)]
    fn gather(&self, src: &Self::Array, rows: &[u32], dst: &mut Self::Array, first: usize) -> Result<()>;
    /// Fills rows of `dst` with addressed normals; `rows` are in ascending order.
    #[doc(hidden)]
    fn normals(&self, key: NoiseKey, rows: &[NoiseRow], dst: &mut Self::Array) -> Result<()>;
    /// Reserves memory for programs with this many targets and products with this many sums, on rows of `dim`
    /// elements.
    #[doc(hidden)]
    fn reserve(&self, scratch: &mut Self::Scratch, targets: usize, sums: usize, dim: usize) -> Result<()> {
        let _ = (scratch, targets, sums, dim);
        Ok(())
    }
    /// Runs a program; `changes` receives one [`Change`] per target.
    #[doc(hidden)]
    fn run(
        &self,
        program: &Program<Self::Elem>,
        planes: &mut Planes<Self>,
        scratch: &mut Self::Scratch,
        changes: &mut Vec<Change>,
    ) -> Result<()>;
    /// Inner products in the canonical order: for each group of `width` vectors those of `pairs`, group after
    /// group.
    #[doc(hidden)]
    fn products(
        &self,
        vectors: &[Vector],
        width: usize,
        pairs: &[(usize, usize)],
        planes: &Planes<Self>,
        scratch: &mut Self::Scratch,
        products: &mut Vec<f64>,
    ) -> Result<()>;
    /// Writes the sum of the summands to `out`. Coefficients are rounded to elements; products are added in the order
    /// listed, the first one to nothing; an empty sum is +0. A limit, if there is one, then bounds the result.
    #[doc(hidden)]
    fn combine(
        &self,
        summands: &[Summand<'_, Self::View<'_>>],
        limit: Option<Limit<'_, Self::View<'_>>>,
        out: Self::ViewMut<'_>,
    ) -> Result<()>;
    /// The first row that holds a value that is not finite.
    #[doc(hidden)]
    fn first_not_finite(view: &mut Self::ViewMut<'_>) -> Result<Option<usize>>;
}

/// The most vectors of a group of products.
pub(crate) const MOST_VECTORS: usize = 8;

/// Number of elements and bytes of an array, if they are addressable.
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

/// The range, clamped to `n` rows.
fn clamp(rows: Range<usize>, n: usize) -> Range<usize> {
    let end = rows.end.min(n);
    rows.start.min(end)..end
}

mod sealed {
    /// Keeps [`Backend`](super::Backend) sealed.
    pub trait Sealed {}
    impl<T: super::Real> Sealed for super::Cpu<T> {}
    #[cfg(feature = "cuda")]
    impl<T: super::cuda::DeviceElem> Sealed for super::Cuda<T> {}
}
