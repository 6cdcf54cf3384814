//! Measures of sample quality with their sampling errors: how far samples are from other samples or from a known law.
//!
//! | measure | of | finds | cost |
//! |---|---|---|---|
//! | [`energy_distance`] | two sets | any difference of the laws | n^2 dim |
//! | [`sliced_wasserstein`] | two sets | any difference of the laws | p n (dim + 20) |
//! | [`frechet`], [`frechet_diagonal`], [`frechet_exact`] | two sets, two Gaussians | differences of mean and covariance | n dim^2 + 20 dim^3; n dim; dim^3 |
//! | [`gaussian_kl`] | a set, a mean and a variance | differences of a coordinate's mean and variance | n dim |
//! | [`mode_occupancy`] | a set, a [`Mixture`](crate::score::Mixture) | lost or misweighted modes, strays | n modes dim |
//!
//! Sets are `ArrayView2<T>` with one sample per row, f32 or f64; everything is computed in f64. Distances are
//! **squared**: their estimates have no bias (the energy distance) or none of order 1/n (the others, by the
//! jackknife). For equal laws they therefore scatter around 0 on both sides, and a value far above its error means
//! that the laws differ.
//!
//! # Sampling error
//! Errors come from the jackknife with g = 20 groups (fewer for sets with fewer rows; Efron and Stein, "The
//! jackknife estimate of variance", Ann. Statist. 9, 1981). With t the statistic of all rows and t_k the statistic
//! without group k of each set,
//!
//! $$\text{value} = g\,t - (g - 1)\,\bar t, \qquad \text{error}^2 = \frac{g-1}{g} \sum_k (t_k - \bar t)^2 .$$
//!
//! Rows must be independent, within a set and between the two sets. Rows are assigned to groups by a fixed
//! pseudo-random choice, so sets sorted by class do no harm. The error itself is known to about
//! 1/sqrt(2 (g - 1)) = 16 %. If the laws are equal, the first-order term of the distances vanishes and the estimated
//! error exceeds the true one by a factor of sqrt(2): it errs on the safe side. The same sets give the same bits on
//! every machine and with any number of threads. Reordering the rows changes the groups, and so changes errors, and
//! values by a fraction of their error.
//!
//! ```
//! use piadm::{ndarray::array, score::Mixture, quality};
//!
//! let target = Mixture::new([0.5, 0.5], array![[-1.0, 0.0], [1.0, 0.0]], [0.2, 0.2])?;
//! let (samples, exact) = (target.sample(500, 1)?, target.sample(500, 2)?);
//! let distance = quality::energy_distance(samples.view(), exact.view())?;
//! assert!(distance.value.abs() < 4.0 * distance.error);
//!
//! let shifted = &exact + 0.3;
//! let distance = quality::energy_distance(samples.view(), shifted.view())?;
//! assert!(distance.value > 4.0 * distance.error);
//! println!("energy distance {distance}");
//! # Ok::<(), piadm::Error>(())
//! ```

mod energy;
mod gaussian;
mod nuclear;
mod occupancy;
mod sliced;

pub use energy::energy_distance;
pub use gaussian::{frechet, frechet_diagonal, frechet_exact, gaussian_kl};
pub use occupancy::{Occupancy, mode_occupancy};
pub use sliced::sliced_wasserstein;

use crate::backend::{Backend, Cpu, Real};
use crate::error::{Error, Result};
use crate::noise::philox4x32_10;
use ndarray::{Array2, ArrayView2};

/// Number of groups of the jackknife.
const GROUPS: usize = 20;
/// Below this many rows a statistic without one group is not defined.
const MIN_ROWS: usize = 4;
/// Number of independent partial sums of a long sum: enough to fill a vector register.
const LANES: usize = 8;

/// A number estimated from samples.
///
/// ```
/// let estimate = piadm::quality::Estimate { value: 0.25, error: 0.01 };
/// assert_eq!(estimate.to_string(), "2.500e-1 ± 1.0e-2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Estimate {
    /// The estimate, in the unit of its measure.
    pub value: f64,
    /// Its standard error (one standard deviation) in the same unit.
    pub error: f64,
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3e} ± {:.1e}", self.value, self.error)
    }
}

/// Samples in f64, sorted by group.
struct Set {
    rows: Array2<f64>,
    groups: usize,
}

impl Set {
    /// Copies samples, called `name` in errors, and deals them into groups. Every set has its own deal: if row i of
    /// two sorted sets went to the same group, leaving out a group would remove the same part of both, and the
    /// effects would cancel.
    fn new<T: Real>(name: &'static str, x: ArrayView2<'_, T>, groups: usize, deal: u32) -> Result<Self> {
        check_finite(name, x)?;
        let mut rows = Cpu::<f64>::new().alloc("samples of a quality measure", x.nrows(), x.ncols(), 0.0)?;
        let mut order: Vec<(u32, usize)> =
            (0..x.nrows()).map(|i| (philox4x32_10([i as u32, deal, 0, 0], [0; 2])[0], i)).collect();
        order.sort_unstable();
        for (mut row, (_, i)) in rows.rows_mut().into_iter().zip(order) {
            row.zip_mut_with(&x.row(i), |to, from| *to = from.wide());
        }
        Ok(Set { rows, groups })
    }

    fn len(&self) -> usize {
        self.rows.nrows()
    }

    fn dim(&self) -> usize {
        self.rows.ncols()
    }

    /// The elements of a group's rows, row after row.
    fn group(&self, k: usize) -> &[f64] {
        let start = |k: usize| (self.len() * k / self.groups) * self.dim();
        self.rows.as_slice().and_then(|all| all.get(start(k)..start(k + 1))).unwrap_or(&[])
    }

    /// Number of rows in a group.
    fn size(&self, k: usize) -> usize {
        self.group(k).len() / self.dim()
    }
}

/// Two sets to compare, with the same number of groups.
fn two_sets<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<(Set, Set)> {
    check_size("x", x)?;
    if y.ncols() != x.ncols() {
        return Err(Error::Shape { what: "y", found: y.shape().to_vec(), expected: vec![y.nrows(), x.ncols()] });
    }
    check_size("y", y)?;
    let groups = GROUPS.min(x.nrows()).min(y.nrows());
    Ok((Set::new("x", x, groups, 0)?, Set::new("y", y, groups, 1)?))
}

/// Rejects sets without coordinates or with too few rows.
fn check_size<T>(what: &'static str, x: ArrayView2<'_, T>) -> Result<()> {
    let (rows, dim) = x.dim();
    if rows < MIN_ROWS || dim == 0 {
        return Err(Error::Shape { what, found: vec![rows, dim], expected: vec![rows.max(MIN_ROWS), dim.max(1)] });
    }
    Ok(())
}

/// Rejects NaN and infinities.
fn check_finite<T: Real>(name: &'static str, x: ArrayView2<'_, T>) -> Result<()> {
    let wrong = x.indexed_iter().find(|(_, v)| !v.is_finite());
    wrong.map_or(Ok(()), |((row, column), v)| {
        Err(Error::setting(name, format_args!("{v} in row {row}, column {column}"), "finite samples"))
    })
}

/// A statistic of all rows, and of the rows outside each group.
struct Replicates {
    all: f64,
    without: Vec<f64>,
}

impl Replicates {
    /// Evaluates a statistic of all rows (`None`) and of those outside each group.
    fn of(groups: usize, statistic: impl Fn(Option<usize>) -> f64 + Sync + Send) -> Self {
        let mut values = map(groups + 1, |k| statistic(k.checked_sub(1)));
        let without = values.split_off(1);
        Replicates { all: values.iter().sum(), without }
    }

    fn mean(&self) -> f64 {
        self.without.iter().sum::<f64>() / self.without.len() as f64
    }

    /// The statistic without its bias of order 1/n (Quenouille).
    fn unbiased(&self) -> f64 {
        let g = self.without.len() as f64;
        g * self.all - (g - 1.0) * self.mean()
    }

    /// The square of the standard error.
    fn variance(&self) -> f64 {
        let (g, mean) = (self.without.len() as f64, self.mean());
        (g - 1.0) / g * self.without.iter().map(|t| (t - mean) * (t - mean)).sum::<f64>()
    }
}

/// An estimate, unless the numbers behind it overflowed.
fn estimate(value: f64, variance: f64) -> Result<Estimate> {
    let error = variance.sqrt();
    if value.is_finite() && error.is_finite() {
        Ok(Estimate { value, error })
    } else {
        Err(Error::setting("estimate", value, "samples whose squares are finite: rescale them"))
    }
}

/// `f(0), ..., f(n - 1)`, in parallel with the feature `rayon`.
fn map<R: Send>(n: usize, f: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    #[cfg(feature = "rayon")]
    {
        use rayon::iter::{IntoParallelIterator, ParallelIterator};
        (0..n).into_par_iter().map(f).collect()
    }
    #[cfg(not(feature = "rayon"))]
    {
        (0..n).map(f).collect()
    }
}

/// Sum of `f(a_i, b_i)`, in an order that depends only on the length.
#[inline(always)]
fn sum_pairs(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += f(a, b);
        }
    }
    let rest = a_rest.iter().zip(b_rest).fold(0.0, |sum, (&a, &b)| sum + f(a, b));
    lanes.iter().sum::<f64>() + rest
}
