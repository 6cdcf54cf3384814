//! The exact oracle for data that follow a mixture of Gaussians.

mod oracle;

use crate::backend::sum::squared_distance;
use crate::backend::{Backend, Cpu};
use crate::error::{Error, Result};
use crate::noise::{Address, MAX_ELEMENTS, NoiseKey, NormalPrecision, stream};
use crate::portable::{exp_f64, ln_f64};
use crate::score::Prediction;
use ndarray::{Array1, Array2, ArrayView2};
use oracle::lanes_of;

/// An isotropic Gaussian mixture, sum_k w_k N(m_k, s_k^2 I), and the exact oracle for the data it describes.
///
/// It is a score on the CPU in f32 and in f64, for every schedule, since alpha and sigma come with the rows. Its
/// output is the score, or any other [`Prediction`] after [`predicting`](Mixture::predicting). It serves to
/// separate the error of a sampler from the error of a network. A data set is itself such a mixture, of points with
/// s_k = 0.
///
/// At (alpha, sigma) mode k is N(alpha m_k, v_k I), v_k = alpha^2 s_k^2 + sigma^2, and has the responsibility
/// r_k = softmax_k(ln w_k - dim/2 ln v_k - |x - alpha m_k|^2 / (2 v_k)). Every kind of output has the form
/// gamma x + sum_k c_k m_k:
///
/// | kind | gamma | c_k |
/// |---|---|---|
/// | score | -sum r_k / v_k | alpha r_k / v_k |
/// | noise | sigma sum r_k / v_k | -alpha sigma r_k / v_k |
/// | data | alpha sum r_k s_k^2 / v_k | sigma^2 r_k / v_k |
/// | velocity | alpha sigma sum r_k (1 - s_k^2) / v_k | -sigma (alpha^2 + sigma^2) r_k / v_k |
/// | flow | sum r_k (sigma - alpha s_k^2) / v_k | -sigma (alpha + sigma) r_k / v_k |
///
/// alpha = 0 is allowed for all of them, and sigma = 0 where every s_k > 0.
///
/// # Bits
/// The result of a row does not depend on the other rows, on threads or on the machine. It is computed in this order.
/// Squared distances: e = x_i - alpha m_ki in the element type (alpha rounded to it, multiplication before
/// subtraction); e e summed as in the crate's canonical sum (leaves of 128 in the element type, leaf after leaf in
/// f64); a distance above 1e300 counts as 1e300. In f64: v_k = (alpha alpha)(s_k s_k) + sigma sigma; l_k = (ln w_k -
/// (dim/2) ln v_k) - distance (0.5 / v_k), not below -f64::MAX; E_k = exp(l_k - max l); r_k = E_k (1 / sum E), the sum
/// over ascending k from +0; gamma = sum r_k gamma_k with gamma_k of [`Prediction::gaussian_slope`] for the variance
/// s_k s_k; c_k = r_k times (numerator / v_k), the numerator evaluated from left to right. Then gamma and c_k are
/// rounded to the element type, and out_i = gamma x_i, plus c_k m_ki for ascending k, leaving out the modes whose
/// rounded c_k is 0. There is no contraction, and exp and ln are the crate's own.
///
/// In f32 the distances have a relative error of about 1e-7. Where |x - alpha m_k|^2 / v_k is above 1e5 and two
/// modes are nearly tied, the responsibilities are therefore uncertain; f64 has no such limit in practice.
///
/// ```
/// use piadm::ndarray::{Array2, array};
/// use piadm::{score::Mixture, Cpu, Prediction, Rows, ScoreFn};
///
/// let mixture = Mixture::new([0.5, 0.5], array![[-2.0, 0.0], [2.0, 0.0]], [0.3, 0.3])?;
/// let mut mixture = mixture.predicting(Prediction::Data);
/// let x = array![[2.0, 0.1_f64]];
/// let mut data = Array2::zeros((1, 2));
/// let rows = Rows::new(&[0.1], &[1.0], &[0.3], &[0], &[0]).ok_or("lengths differ")?;
/// ScoreFn::<Cpu<f64>>::eval(&mut mixture, x.view(), &rows, data.view_mut())?;
/// // halfway between the state and the only near mode, as both have the same variance
/// assert!((data[[0, 0]] - 2.0).abs() < 1e-12 && (data[[0, 1]] - 0.05).abs() < 1e-12);
/// # Ok::<(), piadm::BoxError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Mixture {
    weights: Vec<f64>,
    log_weights: Vec<f64>,
    means: Array2<f64>,
    std: Vec<f64>,
    prediction: Prediction,
    single: Vec<f32>,
    double: Vec<f64>,
}

impl Mixture {
    /// A mixture of `means.nrows()` modes with weights, means (one per row) and standard deviations. Weights are
    /// divided by their sum; a mode with standard deviation 0 is a point.
    ///
    /// # Errors
    /// [`Error::Shape`] if the lengths differ or there is no mode or no coordinate; [`Error::Setting`] if a weight is
    /// not positive and finite, if their sum is not finite, if a mean is not finite, or if a standard deviation is
    /// negative or not finite.
    pub fn new(weights: impl Into<Vec<f64>>, means: Array2<f64>, std: impl Into<Vec<f64>>) -> Result<Self> {
        let (mut weights, std) = (weights.into(), std.into());
        let (modes, dim) = means.dim();
        if modes == 0 || dim == 0 {
            return Err(Error::Shape {
                what: "the means of a mixture",
                found: vec![modes, dim],
                expected: vec![modes.max(1), dim.max(1)],
            });
        }
        for (what, found) in [("the weights of a mixture", weights.len()), ("the deviations of a mixture", std.len())] {
            if found != modes {
                return Err(Error::Shape { what, found: vec![found], expected: vec![modes] });
            }
        }
        let reject = |name, values: &[f64], accepts: fn(f64) -> bool, expected| {
            let wrong = values.iter().find(|v| !v.is_finite() || !accepts(**v));
            wrong.map_or(Ok(()), |v| Err(Error::setting(name, v, expected)))
        };
        reject("weights", &weights, |w| w > 0.0, "positive finite weights")?;
        reject("std", &std, |s| s >= 0.0, "finite standard deviations, not negative")?;
        let means = means.as_standard_layout().into_owned();
        reject("means", means.as_slice().unwrap_or(&[]), |_| true, "finite means")?;
        let total: f64 = weights.iter().sum();
        reject("weights", &[total], |_| true, "weights with a finite sum")?;
        weights.iter_mut().for_each(|w| *w /= total);
        let log_weights = weights.iter().map(|&w| ln_f64(w)).collect();
        let (single, double) = (lanes_of(&means), lanes_of(&means));
        Ok(Mixture { weights, log_weights, means, std, prediction: Prediction::Score, single, double })
    }

    /// The same mixture with another kind of output.
    ///
    /// ```
    /// # use piadm::{ndarray::array, score::Mixture, Model, Prediction};
    /// let mixture = Mixture::new([1.0], array![[0.0]], [1.0])?.predicting(Prediction::Noise);
    /// assert_eq!(mixture.prediction(), Prediction::Noise);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    #[must_use]
    pub fn predicting(mut self, prediction: Prediction) -> Self {
        self.prediction = prediction;
        self
    }

    /// Number of elements of a sample.
    ///
    /// ```
    /// # use piadm::{ndarray::array, score::Mixture};
    /// assert_eq!(Mixture::new([1.0, 2.0], array![[0.0, 0.0, 1.0], [1.0, 2.0, 3.0]], [1.0, 0.5])?.dim(), 3);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn dim(&self) -> usize {
        self.means.ncols()
    }

    /// Number of modes.
    ///
    /// ```
    /// # use piadm::{ndarray::array, score::Mixture};
    /// assert_eq!(Mixture::new([1.0, 2.0], array![[0.0, 0.0, 1.0], [1.0, 2.0, 3.0]], [1.0, 0.5])?.modes(), 2);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn modes(&self) -> usize {
        self.std.len()
    }

    /// The weights of the modes; their sum is 1.
    ///
    /// ```
    /// # use piadm::{ndarray::array, score::Mixture};
    /// assert_eq!(Mixture::new([1.0, 3.0], array![[0.0], [1.0]], [0.1, 0.2])?.weights(), [0.25, 0.75]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The means of the modes, one per row.
    ///
    /// ```
    /// # use piadm::{ndarray::array, score::Mixture};
    /// assert_eq!(Mixture::new([1.0, 3.0], array![[0.0], [1.0]], [0.1, 0.2])?.means(), array![[0.0], [1.0]]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn means(&self) -> ArrayView2<'_, f64> {
        self.means.view()
    }

    /// The standard deviations of the modes.
    ///
    /// ```
    /// # use piadm::{ndarray::array, score::Mixture};
    /// assert_eq!(Mixture::new([1.0, 3.0], array![[0.0], [1.0]], [0.1, 0.2])?.std(), [0.1, 0.2]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn std(&self) -> &[f64] {
        &self.std
    }

    /// The mean of the data, sum_k w_k m_k.
    ///
    /// ```
    /// # use piadm::{ndarray::array, score::Mixture};
    /// let mixture = Mixture::new([1.0, 3.0], array![[0.0, 4.0], [4.0, 0.0]], [0.1, 0.1])?;
    /// assert_eq!(mixture.mean(), array![3.0, 1.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn mean(&self) -> Array1<f64> {
        let mut mean = Array1::zeros(self.dim());
        for (&w, m) in self.weights.iter().zip(self.means.rows()) {
            mean.scaled_add(w, &m);
        }
        mean
    }

    /// The variance of each coordinate of the data, sum_k w_k (s_k^2 + (m_k - mean)^2).
    ///
    /// ```
    /// # use piadm::{ndarray::array, score::Mixture};
    /// let mixture = Mixture::new([1.0, 1.0], array![[-1.0, 5.0], [1.0, 5.0]], [0.5, 0.5])?;
    /// assert_eq!(mixture.variance(), array![1.25, 0.25]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn variance(&self) -> Array1<f64> {
        let mean = self.mean();
        let mut variance = Array1::zeros(self.dim());
        for ((&w, &s), m) in self.weights.iter().zip(&self.std).zip(self.means.rows()) {
            variance.zip_mut_with(&(&m - &mean), |v, e| *v += w * (s * s + e * e));
        }
        variance
    }

    /// The log density log p(x) of alpha x_0 + sigma noise; `alpha` = 1 and `sigma` = 0 give that of the data.
    ///
    /// ```
    /// # use piadm::{ndarray::array, score::Mixture};
    /// let normal = Mixture::new([1.0], array![[0.0]], [1.0])?;
    /// let exact = -0.5 * (2.0 * std::f64::consts::PI).ln() - 0.125;
    /// assert!((normal.log_density(&[0.5], 1.0, 0.0)? - exact).abs() < 1e-15);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] if the length of `x` differs from that of the means; [`Error::Setting`] if alpha or sigma
    /// is negative or not finite, or if the variance of a mode is 0 (sigma = 0 for a point) or overflows.
    pub fn log_density(&self, x: &[f64], alpha: f64, sigma: f64) -> Result<f64> {
        if x.len() != self.dim() {
            return Err(Error::Shape {
                what: "the point of a density",
                found: vec![x.len()],
                expected: vec![self.dim()],
            });
        }
        self.check_level(alpha, sigma)?;
        let distance = |m: &[f64]| squared_distance(x, m, alpha);
        let mut logits: Vec<f64> = self.means.rows().into_iter().filter_map(|m| m.to_slice().map(distance)).collect();
        let max = self.logits(alpha, sigma, &mut logits);
        let total: f64 = logits.iter().map(|l| exp_f64(l - max)).sum();
        Ok(max + ln_f64(total) - 0.5 * self.dim() as f64 * ln_f64(2.0 * std::f64::consts::PI))
    }

    /// `n` exact samples of the data, one per row: a pure function of the seed, in which sample i does not depend
    /// on n.
    ///
    /// The mode of sample i is the one whose interval of cumulative weights contains u = exp(-(z_0^2 + z_1^2)/2),
    /// which is uniform; then x = m_k + s_k z. The normals are addressed noise in double precision on their own
    /// stream (5; step 1 for u, step 0 for z).
    ///
    /// ```
    /// # use piadm::{ndarray::array, score::Mixture};
    /// let points = Mixture::new([1.0, 1.0], array![[-1.0], [1.0]], [0.0, 0.0])?;
    /// assert!(points.sample(10, 7)?.iter().all(|x| x.abs() == 1.0));
    /// # Ok::<(), piadm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::TooLarge`] or [`Error::OutOfMemory`] if that many samples cannot be addressed or stored.
    pub fn sample(&self, n: usize, seed: u64) -> Result<Array2<f64>> {
        if self.dim() > MAX_ELEMENTS {
            return Err(Error::TooLarge {
                what: "the dimension of a mixture",
                why: format!("noise has {MAX_ELEMENTS} elements per row"),
            });
        }
        let key = NoiseKey::new(seed).with_precision(NormalPrecision::Double);
        let mut samples = Cpu::new().alloc("samples of a mixture", n, self.dim(), 0.0)?;
        for (sample, mut row) in (0..).zip(samples.rows_mut()) {
            let mut z = [0.0; 2];
            key.fill_f64(Address { stream: stream::DATA, step: 1, sample }, 0, &mut z);
            let u = exp_f64(-0.5 * (z[0] * z[0] + z[1] * z[1]));
            let mut total = 0.0;
            let before = |w: &&f64| {
                total += **w;
                total < u
            };
            let mode = self.weights.iter().take_while(before).count().min(self.modes() - 1);
            if let (Some(row), Some(s)) = (row.as_slice_mut(), self.std.get(mode)) {
                key.fill_f64(Address { stream: stream::DATA, step: 0, sample }, 0, row);
                row.iter_mut().zip(self.means.row(mode)).for_each(|(x, m)| *x = m + s * *x);
            }
        }
        Ok(samples)
    }
}
