//! What a network's output means, and the affine maps between these meanings.

use crate::names::names;

/// What a network's output `f` means. Except for [`Next`](Prediction::Next), all kinds express the same oracle
/// D = E[x_0 | x_t]. The crate folds the conversion into the coefficients of a step, so the output itself is never
/// rescaled.
///
/// With x = alpha x_0 + sigma eps and N = alpha^2 + sigma^2, every kind is affine in x and D: D = p x + q f
/// ([`data_map`](Prediction::data_map)), and the score is P x + Q f ([`score_map`](Prediction::score_map)).
///
/// ```
/// use piadm::Prediction;
/// let (p, q) = Prediction::Noise.data_map(0.8, 0.6); // D = (x - sigma eps) / alpha
/// assert!((p - 1.25).abs() < 1e-15 && (q + 0.75).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Prediction {
    /// The score, grad log p_t(x) = -eps / sigma.
    Score,
    /// The noise eps (DDPM, most published networks).
    Noise,
    /// The data D = E[x_0 | x].
    Data,
    /// v = alpha eps - sigma D (Salimans and Ho, arXiv 2202.00512).
    Velocity,
    /// The flow velocity eps - D (rectified flow).
    Flow,
    /// The next state: the oracle is a kernel, which need not be affine in its input. [`Rows::to`](crate::Rows::to)
    /// tells it where a row leads. It has no data prediction and no score: the maps below are NaN.
    Next,
}

names! { Prediction, "kind of output";
    Score = "score", Noise = "noise", Data = "data", Velocity = "velocity", Flow = "flow", Next = "next",
}

impl Prediction {
    /// (p, q) in D = p x + q f; not finite for score and noise outputs if alpha = 0.
    pub fn data_map(self, alpha: f64, sigma: f64) -> (f64, f64) {
        match self {
            Prediction::Score => (1.0 / alpha, sigma * sigma / alpha),
            Prediction::Noise => (1.0 / alpha, -sigma / alpha),
            Prediction::Data => (0.0, 1.0),
            Prediction::Velocity => {
                let n = alpha * alpha + sigma * sigma;
                (alpha / n, -sigma / n)
            }
            Prediction::Flow => (1.0 / (alpha + sigma), -sigma / (alpha + sigma)),
            Prediction::Next => (f64::NAN, f64::NAN),
        }
    }

    /// (P, Q) in score = P x + Q f; not finite if sigma = 0, except for score outputs.
    pub fn score_map(self, alpha: f64, sigma: f64) -> (f64, f64) {
        match self {
            Prediction::Score => (0.0, 1.0),
            Prediction::Noise => (0.0, -1.0 / sigma),
            Prediction::Data => (-1.0 / (sigma * sigma), alpha / (sigma * sigma)),
            Prediction::Velocity => {
                let n = alpha * alpha + sigma * sigma;
                (-1.0 / n, -alpha / (n * sigma))
            }
            Prediction::Flow => {
                let n = sigma * (alpha + sigma);
                (-1.0 / n, -alpha / n)
            }
            Prediction::Next => (f64::NAN, f64::NAN),
        }
    }

    /// Slope df/dx of the output for Gaussian data of variance `variance` around their mean; 0 stands for point
    /// masses.
    pub fn gaussian_slope(self, alpha: f64, sigma: f64, variance: f64) -> f64 {
        let var = alpha * alpha * variance + sigma * sigma;
        match self {
            Prediction::Score => -1.0 / var,
            Prediction::Noise => sigma / var,
            Prediction::Data => alpha * variance / var,
            Prediction::Velocity => alpha * sigma * (1.0 - variance) / var,
            Prediction::Flow => (sigma - alpha * variance) / var,
            Prediction::Next => f64::NAN,
        }
    }

    /// Slope df/dx of the output if the score has slope `score_slope`; not finite for data, velocity and flow
    /// outputs if alpha = 0.
    pub fn slope_from_score(self, alpha: f64, sigma: f64, score_slope: f64) -> f64 {
        let n = alpha * alpha + sigma * sigma;
        match self {
            Prediction::Score => score_slope,
            Prediction::Noise => -sigma * score_slope,
            Prediction::Data => (1.0 + sigma * sigma * score_slope) / alpha,
            Prediction::Velocity => -(sigma / alpha) * (1.0 + n * score_slope),
            Prediction::Flow => -(1.0 + (alpha + sigma) * sigma * score_slope) / alpha,
            Prediction::Next => f64::NAN,
        }
    }

    /// The variance of Gaussian data for which the output has this slope. It is infinite if the slope is larger
    /// than any Gaussian allows, and NaN if alpha or sigma is 0.
    pub(crate) fn variance_of_slope(self, alpha: f64, sigma: f64, slope: f64) -> f64 {
        let (p, q) = self.data_map(alpha, sigma);
        let signal = alpha * (p + q * slope);
        if signal >= 1.0 { f64::INFINITY } else { signal * sigma * sigma / (alpha * alpha * (1.0 - signal)) }
    }

    /// Bounds on the slope df/dx. The lower bound of the score's slope, -1/sigma^2, is exact, since the Jacobian is
    /// alpha^2 Cov(x_0 | x) / sigma^4 - 1/sigma^2; the upper bound, as far above 0, is a safeguard.
    pub fn slope_bounds(self, alpha: f64, sigma: f64) -> (f64, f64) {
        let bound = 1.0 / (sigma * sigma);
        match self {
            Prediction::Score => (-bound, bound),
            Prediction::Noise => (-1.0 / sigma, 1.0 / sigma),
            Prediction::Data => (0.0, 2.0 / alpha),
            Prediction::Velocity => (-(alpha * alpha + 2.0 * sigma * sigma) / (alpha * sigma), alpha / sigma),
            Prediction::Flow => (-(alpha + 2.0 * sigma) / (alpha * sigma), 1.0 / sigma),
            // a kernel that moves states apart by more than twice their distance is of no use
            Prediction::Next => (-2.0, 2.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_relative_eq;

    const KINDS: [Prediction; 5] =
        [Prediction::Score, Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow];

    /// The definitions, from x and D.
    fn output(kind: Prediction, alpha: f64, sigma: f64, x: f64, d: f64) -> f64 {
        let eps = (x - alpha * d) / sigma;
        match kind {
            Prediction::Score => -eps / sigma,
            Prediction::Noise => eps,
            Prediction::Data => d,
            Prediction::Velocity => alpha * eps - sigma * d,
            Prediction::Flow => eps - d,
            Prediction::Next => unreachable!("not one of the kinds"),
        }
    }

    #[test]
    fn maps_invert_the_definitions() {
        for (alpha, sigma) in [(0.9, 0.4358898943540674), (0.3, 0.7), (1.0, 5.0), (0.01, 0.99995)] {
            for kind in KINDS {
                let (x, d) = (1.3, -0.4);
                let f = output(kind, alpha, sigma, x, d);
                let (p, q) = kind.data_map(alpha, sigma);
                assert_relative_eq!(p * x + q * f, d, max_relative = 1e-12, epsilon = 1e-13);
                let (p, q) = kind.score_map(alpha, sigma);
                assert_relative_eq!(p * x + q * f, (alpha * d - x) / (sigma * sigma), max_relative = 1e-12);
            }
        }
    }

    #[test]
    fn bounds_of_slopes_are_those_of_the_score() {
        for (alpha, sigma) in [(0.9, 0.4), (0.3, 0.7), (1.0, 5.0)] {
            let bound = 1.0 / (sigma * sigma);
            for kind in KINDS {
                let ends = [-bound, bound].map(|s| kind.slope_from_score(alpha, sigma, s));
                let (low, high) = kind.slope_bounds(alpha, sigma);
                assert_relative_eq!(low, ends[0].min(ends[1]), max_relative = 1e-12, epsilon = 1e-12);
                assert_relative_eq!(high, ends[0].max(ends[1]), max_relative = 1e-12);
            }
        }
    }

    #[test]
    fn slopes_are_those_of_the_gaussian_oracle() {
        for (alpha, sigma, v) in [(0.9, 0.4, 0.25), (0.3, 0.7, 1.0), (1.0, 5.0, 0.0)] {
            let var = alpha * alpha * v + sigma * sigma;
            for kind in KINDS {
                let f = |x: f64| output(kind, alpha, sigma, x, alpha * v / var * x);
                let slope = f(1.0) - f(0.0);
                assert_relative_eq!(kind.gaussian_slope(alpha, sigma, v), slope, max_relative = 1e-12, epsilon = 1e-14);
                let from_score = kind.slope_from_score(alpha, sigma, -1.0 / var);
                assert_relative_eq!(from_score, slope, max_relative = 1e-12, epsilon = 1e-14);
                assert_relative_eq!(
                    kind.variance_of_slope(alpha, sigma, slope),
                    v,
                    max_relative = 1e-9,
                    epsilon = 1e-12
                );
            }
        }
    }
}
