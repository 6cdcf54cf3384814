//! Variances of the elements of the data, from which every element gets its own slope.

use crate::backend::Real;
use crate::error::{Error, Result};
use crate::schedule::Level;
use crate::score::Prediction;
use ndarray::{ArrayView2, Axis};

/// Variances of the data per element, given or measured. With them
/// ([`Problem::variances`](crate::Problem::variances)),
/// [`Linearisation::Gaussian`](crate::sampler::Linearisation::Gaussian) uses a slope of its own for every element.
///
/// They affect the number of rounds, not the result. They help if elements differ by orders of magnitude and hardly
/// depend on each other; the pixels of images are not of that kind (docs/numerics.md).
///
/// ```
/// use piadm::{problem::Variances, sampler::Linearisation, Cpu, Grid, Ou, Picard};
/// use piadm::{Prediction, Problem, Sampler, Scheme, Sequential, score_fn};
/// // data N(0, v) with v = 0.01, 1, 100: the score of x_t is -x / (alpha^2 v + sigma^2)
/// let spread = [0.01, 1.0, 100.0];
/// let mut score = score_fn::<f64>(Prediction::Score, |x, rows, mut out| {
///     for ((i, e), out) in out.indexed_iter_mut() {
///         *out = -x[[i, e]] / (rows.alpha[i].powi(2) * spread[e] + rows.sigma[i].powi(2));
///     }
///     Ok(())
/// });
/// let grid = |steps| Grid::log_snr(steps).between(8.0, 0.01);
/// // a calibration run: few steps, some samples
/// let few = Problem::on(Cpu::<f64>::new(), Ou, grid(20), Scheme::default()).samples(200).shape([3]).seed(2);
/// let measured = Variances::measure(Sequential.sample(&few, &mut score)?.samples.view())?;
/// let problem = Problem::on(Cpu::<f64>::new(), Ou, grid(200), Scheme::default()).samples(4).shape([3]).seed(1);
/// let sampler = Picard::default().linearisation(Linearisation::Gaussian { variance: 1.0 });
/// let without = sampler.sample(&problem, &mut score)?;
/// let with = sampler.sample(&problem.variances(measured), &mut score)?;
/// assert!(with.report.rounds < without.report.rounds);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Vec<f64>", into = "Vec<f64>"))]
pub struct Variances {
    values: Vec<f64>,
    mean: f64,
}

impl Variances {
    /// Given variances, one per element.
    ///
    /// # Errors
    /// [`Error::Setting`] unless all are finite and at least 0, and at least one is above 0.
    pub fn new(values: Vec<f64>) -> Result<Self> {
        let what = "variances of the data";
        if let Some(bad) = values.iter().find(|v| !(**v >= 0.0 && v.is_finite())) {
            return Err(Error::setting(what, bad, "finite numbers that are at least 0"));
        }
        let n = values.len() as f64;
        let mean = values.iter().map(|v| v / n).sum::<f64>();
        if !mean.is_normal() {
            return Err(Error::setting(what, format!("with mean {mean}"), "a mean above 0"));
        }
        Ok(Variances { values, mean })
    }

    /// The variance of each column of `rows`, for example of the samples of a short run or of training data.
    ///
    /// # Errors
    /// [`Error::Shape`] for fewer than two rows; otherwise as [`new`](Variances::new).
    pub fn measure<T: Real>(rows: ArrayView2<'_, T>) -> Result<Self> {
        if rows.nrows() < 2 {
            let expected = vec![2, rows.ncols()];
            return Err(Error::Shape { what: "rows to measure variances of", found: rows.shape().to_vec(), expected });
        }
        let n = rows.nrows() as f64;
        let variance = |column: ndarray::ArrayView1<'_, T>| {
            let mean = column.iter().map(|v| v.wide()).sum::<f64>() / n;
            column.iter().map(|v| (v.wide() - mean).powi(2)).sum::<f64>() / (n - 1.0)
        };
        Variances::new(rows.axis_iter(Axis(1)).map(variance).collect())
    }

    /// The variances, one per element.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Their mean.
    pub(crate) fn mean(&self) -> f64 {
        self.mean
    }

    /// In units of their mean, so that no number format overflows.
    pub(crate) fn relative<T: Real>(&self) -> Vec<T> {
        self.values.iter().map(|v| T::of(v / self.mean)).collect()
    }
}

impl TryFrom<Vec<f64>> for Variances {
    type Error = Error;
    fn try_from(values: Vec<f64>) -> Result<Self> {
        Variances::new(values)
    }
}

impl From<Variances> for Vec<f64> {
    fn from(variances: Variances) -> Self {
        variances.values
    }
}

/// Slopes that differ from element to element: a change is passed on by the factor `rest + gain * v / (v + shift)`,
/// where v is the element's variance in units of the mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Split {
    pub rest: f64,
    pub gain: f64,
    pub shift: f64,
}

impl Split {
    /// W = a + b J for the slope J of Gaussian data with this mean variance, J = (v / (v + shift) / alpha - p) / q.
    pub fn new(prediction: Prediction, level: &Level, (a, b): (f64, f64), variance: f64) -> Self {
        let (alpha, sigma) = (level.alpha, level.sigma);
        let (p, q) = prediction.data_map(alpha, sigma);
        Split { rest: a - b * p / q, gain: b / (q * alpha), shift: (sigma / alpha).powi(2) / variance }
    }
}

#[cfg(test)]
mod tests {
    use super::{Split, Variances};
    use crate::schedule::Level;
    use crate::schedule::Ou;
    use crate::score::Prediction::{self, Data, Flow, Noise, Score, Velocity};
    use approx::assert_relative_eq;

    const KINDS: [Prediction; 5] = [Score, Noise, Data, Velocity, Flow];

    #[test]
    fn a_split_is_the_gaussian_slope_of_every_element() {
        let level = Level::at(&Ou, 0.7);
        let (a, b, mean) = (0.8, -0.3, 2.5);
        for kind in KINDS {
            let split = Split::new(kind, &level, (a, b), mean);
            for v in [0.0, 1e-3, 1.0, 40.0] {
                let slope = kind.gaussian_slope(level.alpha, level.sigma, mean * v);
                let w = split.rest + split.gain * (v / (v + split.shift));
                assert_relative_eq!(w, a + b * slope, max_relative = 1e-12);
            }
        }
    }

    #[test]
    fn bad_variances_are_refused() {
        for bad in [vec![], vec![0.0, 0.0], vec![1.0, -1.0], vec![1.0, f64::NAN], vec![f64::INFINITY], vec![1e-320]] {
            assert!(Variances::new(bad.clone()).is_err(), "{bad:?}");
        }
        assert!(Variances::measure(ndarray::array![[1.0f32, 2.0]].view()).is_err());
        let measured = Variances::measure(ndarray::array![[1.0f32, 2.0], [3.0, 2.0]].view()).unwrap();
        assert_eq!(measured.values(), [2.0, 0.0]);
    }
}
