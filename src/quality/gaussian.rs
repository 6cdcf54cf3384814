//! Measures based on first and second moments.

use super::nuclear::{cholesky, overlap};
use super::{Estimate, GROUPS, Replicates, Set, check_size, estimate, map, two_sets};
use crate::backend::{Backend, Cpu, Real};
use crate::error::{Error, Result};
use crate::portable::ln_f64;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

/// How far, relative to the deviations, a covariance may be from a symmetric positive semidefinite matrix.
const SYMMETRY: f64 = 1e-6;

/// The squared Fréchet (Wasserstein-2) distance of the Gaussians fitted to two sets of samples,
///
/// $$|\mu_x - \mu_y|^2 + \mathrm{tr} \left( \Sigma_x + \Sigma_y - 2 (\Sigma_x^{1/2} \Sigma_y
/// \Sigma_x^{1/2})^{1/2} \right)$$
///
/// with full covariances (divisor n - 1), for up to a few hundred coordinates (Dowson and Landau, "The Fréchet
/// distance between multivariate normal distributions", J. Multivariate Anal. 12, 1982; for images in the features
/// of a network: Heusel et al., FID, [arXiv 1706.08500](https://arxiv.org/abs/1706.08500)). Its unit is that of the
/// samples, squared.
///
/// With fitted covariances the plain formula is too large by about dim^2 / n. The
/// [jackknife](crate::quality#sampling-error) removes the bias of order 1/n, which needs n well above dim. The cost
/// is (n + m) dim^2 for the moments and 21 singular value problems of size dim (one-sided Jacobi).
///
/// ```
/// use piadm::{ndarray::array, quality::frechet, score::Mixture};
/// let normal = |std| Mixture::new([1.0], array![[0.0, 0.0]], [std]);
/// let (x, y) = (normal(1.0)?.sample(2000, 1)?, normal(2.0)?.sample(2000, 2)? + 1.0);
/// let distance = frechet(x.view(), y.view())?;
/// // |(1, 1)|^2 + 2 (2 - 1)^2
/// assert!((distance.value - 4.0).abs() < 4.0 * distance.error);
/// # Ok::<(), piadm::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the sets have different numbers of columns, no column or fewer than 4 rows;
/// [`Error::Setting`] if a sample is not finite or the result overflows; [`Error::TooLarge`] or
/// [`Error::OutOfMemory`] if 20 matrices of dim^2 numbers cannot be allocated.
pub fn frechet<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<Estimate> {
    let (x, y) = two_sets(x, y)?;
    let (x, y) = (Moments::new(x, true)?, Moments::new(y, true)?);
    let replicates = Replicates::of(x.counts.len(), |without| {
        let (a, b) = (x.covariance(without), y.covariance(without));
        let shift = square_norm(&(x.mean(without) - y.mean(without)));
        shift + a.diag().sum() + b.diag().sum() - 2.0 * overlap(&cholesky(a.view()), &cholesky(b.view()))
    });
    estimate(replicates.unbiased(), replicates.variance())
}

/// The squared Fréchet distance of Gaussians with independent coordinates fitted to two sets of samples, the sum over
/// coordinates of (mu_x - mu_y)^2 + (s_x - s_y)^2 with standard deviations s.
///
/// As [`frechet`] with the off-diagonal covariances set to 0: it works in any dimension but is blind to
/// correlations. The cost is (n + m) dim.
///
/// ```
/// use piadm::{ndarray::array, quality::frechet_diagonal, score::Mixture};
/// let normal = |std| Mixture::new([1.0], array![[0.0, 0.0]], [std]);
/// let (x, y) = (normal(1.0)?.sample(2000, 1)?, normal(2.0)?.sample(2000, 2)? + 1.0);
/// let distance = frechet_diagonal(x.view(), y.view())?;
/// assert!((distance.value - 4.0).abs() < 4.0 * distance.error);
/// # Ok::<(), piadm::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the sets have different numbers of columns, no column or fewer than 4 rows; [`Error::Setting`]
/// if a sample is not finite or the result overflows.
pub fn frechet_diagonal<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<Estimate> {
    let (x, y) = two_sets(x, y)?;
    let (x, y) = (Moments::new(x, false)?, Moments::new(y, false)?);
    let deviation = |of: &Moments, without| of.variance(without).mapv(f64::sqrt);
    let replicates = Replicates::of(x.counts.len(), |without| {
        square_norm(&(x.mean(without) - y.mean(without)))
            + square_norm(&(deviation(&x, without) - deviation(&y, without)))
    });
    estimate(replicates.unbiased(), replicates.variance())
}

/// The squared Fréchet distance of two Gaussians given by their means and covariances: the formula of [`frechet`].
///
/// Covariances may be singular; then the result is accurate to about 1e-7 of the traces, otherwise to about 1e-14.
/// The cost is that of a singular value problem of size dim.
///
/// ```
/// use piadm::ndarray::array;
/// use piadm::quality::frechet_exact;
/// let (zero, unit) = (array![0.0, 0.0], array![[1.0, 0.0], [0.0, 1.0]]);
/// let (mean, covariance) = (array![3.0, 0.0], array![[4.0, 0.0], [0.0, 9.0]]);
/// let distance = frechet_exact((zero.view(), unit.view()), (mean.view(), covariance.view()))?;
/// assert!((distance - (9.0 + 1.0 + 4.0)).abs() < 1e-13);
/// # Ok::<(), piadm::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the means are empty or the shapes do not match; [`Error::Setting`] if a number is not
/// finite, the result overflows or a covariance is not symmetric and positive semidefinite (to 1e-6 of the
/// deviations).
pub fn frechet_exact(
    x: (ArrayView1<'_, f64>, ArrayView2<'_, f64>),
    y: (ArrayView1<'_, f64>, ArrayView2<'_, f64>),
) -> Result<f64> {
    let dim = x.0.len().max(1);
    for ((mean, covariance), names) in
        [(x, ["the mean of x", "the covariance of x"]), (y, ["the mean of y", "the covariance of y"])]
    {
        let [mean_name, covariance_name] = names;
        check_length(mean_name, mean, dim)?;
        if covariance.dim() != (dim, dim) {
            let found = covariance.shape().to_vec();
            return Err(Error::Shape { what: covariance_name, found, expected: vec![dim, dim] });
        }
    }
    let factor = |name, covariance: ArrayView2<'_, f64>| {
        let l = cholesky(covariance);
        let deviation = covariance.diag().mapv(|v| v.abs().sqrt());
        let scale = deviation.iter().flat_map(|a| deviation.iter().map(move |b| a * b));
        let product = l.dot(&l.t());
        // written so that NaN does not pass
        let fits = |found: &f64, product: &f64, scale: f64| (found - product).abs() <= SYMMETRY * scale;
        let wrong = covariance.indexed_iter().zip(&product).zip(scale).find(|((c, p), s)| !fits(c.1, p, *s));
        match wrong {
            None => Ok(l),
            Some(((((row, column), found), _), _)) => Err(Error::setting(
                name,
                format_args!("a matrix with {found} in row {row}, column {column}"),
                "a finite symmetric positive semidefinite matrix",
            )),
        }
    };
    let (a, b) = (factor("covariance of x", x.1)?, factor("covariance of y", y.1)?);
    let shift = square_norm(&(&x.0 - &y.0));
    let spread = x.1.diag().sum() + y.1.diag().sum() - 2.0 * overlap(&a, &b);
    // rounding can make the spread negative
    estimate(shift + spread.max(0.0), 0.0).map(|e| e.value)
}

/// The Kullback-Leibler divergence of N(m, v), fitted to every coordinate of the samples, from N(mean, variance),
/// averaged over coordinates:
///
/// $$\frac{1}{2 \dim} \sum_i \left( \frac{v_i + (m_i - \text{mean}_i)^2}{\text{variance}_i} - 1 - \ln
/// \frac{v_i}{\text{variance}_i} \right)$$
///
/// in nats per coordinate (S. Kullback, "Information Theory and Statistics", Wiley 1959, chapter 9, applied to each
/// coordinate separately). It is blind to correlations and to all moments but two; for coordinates that are
/// independent and Gaussian it is the divergence of the laws divided by dim. Value and error are those of the
/// [jackknife](crate::quality#sampling-error); the plain formula is too large by about 1/n. The cost is n dim.
///
/// ```
/// use piadm::{ndarray::array, quality::gaussian_kl, score::Mixture};
/// let target = Mixture::new([1.0, 1.0], array![[-1.0, 0.0], [1.0, 0.0]], [0.5, 0.5])?;
/// let x = target.sample(1000, 1)?;
/// let divergence = gaussian_kl(x.view(), target.mean().view(), target.variance().view())?;
/// assert!(divergence.value.abs() < 4.0 * divergence.error);
/// # Ok::<(), piadm::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the lengths do not match, or if there is no column or fewer than 4 rows; [`Error::Setting`]
/// if a number is not finite, a variance is not positive, a coordinate has the same value in all samples (or in all
/// but one group: the divergence is then infinite), or the result overflows.
pub fn gaussian_kl<T: Real>(
    x: ArrayView2<'_, T>,
    mean: ArrayView1<'_, f64>,
    variance: ArrayView1<'_, f64>,
) -> Result<Estimate> {
    check_size("x", x)?;
    check_length("mean", mean, x.ncols())?;
    check_length("variance", variance, x.ncols())?;
    if let Some(v) = variance.iter().find(|v| **v <= 0.0) {
        return Err(Error::setting("variance", v, "positive variances"));
    }
    let moments = Moments::new(Set::new("x", x, GROUPS.min(x.nrows()), 0)?, false)?;
    let groups = moments.counts.len();
    let constant = |without| moments.variance(without).iter().position(|v| *v <= 0.0);
    if let Some(column) = (0..groups).find_map(|k| constant(Some(k))) {
        return Err(Error::setting("x", format_args!("constant column {column}"), "coordinates that vary"));
    }
    let replicates = Replicates::of(groups, |without| {
        let (m, v) = (moments.mean(without), moments.variance(without));
        let terms = m.iter().zip(&v).zip(&mean).zip(&variance).map(|(((m, v), mean), variance)| {
            let shift = m - mean;
            (v + shift * shift) / variance - 1.0 - ln_f64(v / variance)
        });
        0.5 * terms.sum::<f64>() / m.len() as f64
    });
    estimate(replicates.unbiased(), replicates.variance())
}

/// Rejects a vector of the wrong length and numbers that are not finite.
fn check_length(what: &'static str, x: ArrayView1<'_, f64>, dim: usize) -> Result<()> {
    if x.len() != dim {
        return Err(Error::Shape { what, found: vec![x.len()], expected: vec![dim] });
    }
    x.iter().find(|v| !v.is_finite()).map_or(Ok(()), |v| Err(Error::setting(what, v, "finite numbers")))
}

fn square_norm(x: &Array1<f64>) -> f64 {
    x.iter().fold(0.0, |sum, x| sum + x * x)
}

/// Sums of the rows of every group and of their products, relative to the mean of the set. The moments of all rows
/// outside a group are sums of these, without cancellation.
struct Moments {
    centre: Array1<f64>,
    counts: Vec<f64>,
    /// One row per group.
    sums: Array2<f64>,
    /// One row per group: the squares of the coordinates, or all products a_i a_j with j <= i in a matrix.
    products: Array2<f64>,
}

impl Moments {
    fn new(mut set: Set, full: bool) -> Result<Self> {
        let (n, dim, groups) = (set.len() as f64, set.dim(), set.groups);
        let centre = set.rows.sum_axis(Axis(0)) / n;
        set.rows.rows_mut().into_iter().for_each(|mut row| row -= &centre);
        let width = if full { dim.saturating_mul(dim) } else { dim };
        let mut sums = Cpu::new().alloc("sums of samples", groups, dim, 0.0)?;
        let mut products = Cpu::new().alloc("products of samples", groups, width, 0.0)?;
        let parts = map(groups, |k| {
            let (mut sum, mut product) = (vec![0.0; dim], vec![0.0; width]);
            for row in set.group(k).chunks_exact(dim) {
                sum.iter_mut().zip(row).for_each(|(s, x)| *s += x);
                if full {
                    for (i, (to, x)) in product.chunks_exact_mut(dim).zip(row).enumerate() {
                        to.iter_mut().zip(row).take(i + 1).for_each(|(p, y)| *p += x * y);
                    }
                } else {
                    product.iter_mut().zip(row).for_each(|(p, x)| *p += x * x);
                }
            }
            (sum, product)
        });
        for ((mut sum, mut product), part) in sums.rows_mut().into_iter().zip(products.rows_mut()).zip(parts) {
            sum.assign(&ArrayView1::from(&part.0));
            product.assign(&ArrayView1::from(&part.1));
        }
        let counts = (0..groups).map(|k| set.size(k) as f64).collect();
        Ok(Moments { centre, counts, sums, products })
    }

    /// The sum of the rows of `table`, and the number of samples, outside a group.
    fn left(&self, table: &Array2<f64>, without: Option<usize>) -> (Array1<f64>, f64) {
        let (mut total, mut count) = (Array1::zeros(table.ncols()), 0.0);
        for (k, (row, n)) in table.rows().into_iter().zip(&self.counts).enumerate() {
            if Some(k) != without {
                total += &row;
                count += n;
            }
        }
        (total, count)
    }

    fn mean(&self, without: Option<usize>) -> Array1<f64> {
        let (sum, n) = self.left(&self.sums, without);
        &self.centre + &(sum / n)
    }

    /// The variance of every coordinate, never negative.
    fn variance(&self, without: Option<usize>) -> Array1<f64> {
        let ((sum, n), (mut variance, _)) = (self.left(&self.sums, without), self.left(&self.products, without));
        variance.zip_mut_with(&sum, |v, s| *v = ((*v - s * s / n) / (n - 1.0)).max(0.0));
        variance
    }

    /// The lower triangle of the covariance; zeros above.
    fn covariance(&self, without: Option<usize>) -> Array2<f64> {
        let ((sum, n), (products, _)) = (self.left(&self.sums, without), self.left(&self.products, without));
        let square = products.into_shape_with_order((sum.len(), sum.len()));
        let Ok(mut covariance) = square else { unreachable!("there is a product for every pair of coordinates") };
        for (i, (mut row, a)) in covariance.rows_mut().into_iter().zip(&sum).enumerate() {
            row.iter_mut().zip(&sum).take(i + 1).for_each(|(p, b)| *p = (*p - a * b / n) / (n - 1.0));
        }
        covariance
    }
}
