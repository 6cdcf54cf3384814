//! Samples of a mixture against their exact law: residuals to the nearest modes.

use ndarray::{ArrayView1, ArrayView2};
use piadm::{backend::Real, schedule::Level, score::Mixture};
use serde::{Deserialize, Serialize};

/// How far the residuals of samples to their nearest modes are from their exact law N(0, v).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Residuals {
    /// Mean residual over sqrt v.
    pub mean: f64,
    /// Variance of the residuals over v.
    pub variance_ratio: f64,
    /// Nearest mode of each sample.
    pub modes: Vec<usize>,
}

impl Residuals {
    /// Of samples, one per row, at a noise level. The modes have one standard deviation.
    pub fn new<T: Real>(samples: ArrayView2<'_, T>, mixture: &Mixture, level: &Level) -> Self {
        let v = level.alpha.powi(2) * mixture.std()[0].powi(2) + level.sigma.powi(2);
        let (means, mut sum, mut squares, mut modes) = (mixture.means(), 0.0, 0.0, Vec::new());
        for x in samples.rows() {
            let moments = |mean: ArrayView1<'_, f64>| {
                let residuals = x.iter().zip(mean).map(|(x, m)| x.wide() - level.alpha * m);
                residuals.fold((0.0, 0.0), |(sum, squares), e| (sum + e, squares + e * e))
            };
            let nearest =
                means.rows().into_iter().map(moments).enumerate().min_by(|(_, a), (_, b)| a.1.total_cmp(&b.1));
            let (mode, (s, q)) = nearest.expect("a mixture has a mode");
            (sum, squares) = (sum + s, squares + q);
            modes.push(mode);
        }
        let n = samples.len() as f64;
        let mean = sum / n;
        Residuals { mean: mean / v.sqrt(), variance_ratio: (squares / n - mean * mean) / v, modes }
    }

    /// KL divergence per coordinate of a Gaussian with these moments from the exact one, (r - 1 - ln r)/2 + mean^2/(2v)
    /// with the variance ratio r.
    ///
    /// For n exact residuals its expectation and its standard deviation are 1/n: chi^2 with 2 degrees of freedom over
    /// 2n.
    pub fn kl(&self) -> f64 {
        let r = self.variance_ratio;
        0.5 * (r - 1.0 - r.ln() + self.mean * self.mean)
    }

    /// Of all residuals of equally many samples each.
    pub fn pooled<'a>(all: impl Iterator<Item = &'a Residuals> + Clone) -> Self {
        let modes = all.clone().flat_map(|q| q.modes.iter().copied()).collect();
        let moments: Vec<(f64, f64)> = all.map(|q| (q.mean, q.variance_ratio + q.mean * q.mean)).collect();
        let n = moments.len() as f64;
        let mean = moments.iter().map(|m| m.0).sum::<f64>() / n;
        let square = moments.iter().map(|m| m.1).sum::<f64>() / n;
        Residuals { mean, variance_ratio: square - mean * mean, modes }
    }

    /// How many samples are in each of `modes` modes, and chi^2 = sum (count - expected)^2 / expected against equal
    /// weights, which is about `modes - 1` for exact samples.
    pub fn occupancy(&self, modes: usize) -> (Vec<usize>, f64) {
        let counts: Vec<usize> = (0..modes).map(|mode| self.modes.iter().filter(|m| **m == mode).count()).collect();
        let expected = self.modes.len() as f64 / modes as f64;
        let chi_square = counts.iter().map(|c| (*c as f64 - expected).powi(2) / expected).sum();
        (counts, chi_square)
    }
}
