//! Schedules that are not variance preserving: variance exploding in two clocks, and rectified flow.

use super::NoiseSchedule;

/// Variance exploding, alpha = 1 and sigma = sqrt(t), for t in [0, inf): Brownian motion in its own time
/// (Song et al., arXiv 2011.13456; EDM, arXiv 2206.00364, table 1).
///
/// ```
/// use piadm::schedule::{NoiseSchedule, Ve};
///
/// assert_eq!(Ve.sigma(4.0), 2.0);
/// assert_eq!(Ve.score_weight(4.0, 1.0), 3.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ve;

impl NoiseSchedule for Ve {
    fn log_alpha(&self, _t: f64) -> f64 {
        0.0
    }

    fn sigma(&self, t: f64) -> f64 {
        t.sqrt()
    }

    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        (-2.0 * lambda).exp()
    }

    fn range(&self) -> (f64, f64) {
        (0.0, f64::INFINITY)
    }

    fn rates(&self, _t: f64) -> (f64, f64) {
        (0.0, 1.0)
    }

    fn score_weight(&self, t: f64, u: f64) -> f64 {
        t - u
    }
}

/// Variance exploding with the noise level as time, alpha = 1 and sigma = t, for t in [0, inf)
/// (EDM, Karras et al., arXiv 2206.00364).
///
/// ```
/// use piadm::schedule::{Edm, NoiseSchedule};
///
/// assert_eq!(Edm.time_of_log_snr(-(80.0f64.ln())).round(), 80.0);
/// assert_eq!(Edm.rates(3.0), (0.0, 6.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edm;

impl NoiseSchedule for Edm {
    fn log_alpha(&self, _t: f64) -> f64 {
        0.0
    }

    fn sigma(&self, t: f64) -> f64 {
        t
    }

    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        (-lambda).exp()
    }

    fn range(&self) -> (f64, f64) {
        (0.0, f64::INFINITY)
    }

    fn rates(&self, t: f64) -> (f64, f64) {
        (0.0, 2.0 * t)
    }

    fn score_weight(&self, t: f64, u: f64) -> f64 {
        (t - u) * (t + u)
    }
}

/// Rectified flow, alpha = 1 - t and sigma = t, for t in [0, 1] (Liu et al., arXiv 2209.03003).
///
/// At t = 1 the state is pure noise: alpha = 0 and log alpha is minus infinity.
///
/// ```
/// use piadm::schedule::{Flow, NoiseSchedule};
///
/// assert_eq!(Flow.time_of_log_snr(0.0), 0.5);
/// assert_eq!(Flow.alpha(1.0), 0.0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow;

impl NoiseSchedule for Flow {
    fn log_alpha(&self, t: f64) -> f64 {
        (-t).ln_1p()
    }

    fn sigma(&self, t: f64) -> f64 {
        t
    }

    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        // Near the data 1 / e^lambda would be 1 / inf for the smallest times; e^{-lambda} is not.
        if lambda > 0.0 {
            let e = (-lambda).exp();
            e / (1.0 + e)
        } else {
            1.0 / (1.0 + lambda.exp())
        }
    }

    fn range(&self) -> (f64, f64) {
        (0.0, 1.0)
    }

    fn rates(&self, t: f64) -> (f64, f64) {
        (-1.0 / (1.0 - t), 2.0 * t / (1.0 - t))
    }

    fn alpha(&self, t: f64) -> f64 {
        1.0 - t
    }

    fn score_weight(&self, t: f64, u: f64) -> f64 {
        // With 1 + x = (1-u)/(1-t), 2 (1-u) [1/(1-t) - 1/(1-u) + log((1-t)/(1-u))] is a sum of two terms >= 0.
        let x = (t - u) / (1.0 - t);
        2.0 * (x_minus_ln_1p(x) + u * x.ln_1p())
    }
}

/// x - log(1 + x) for x >= 0, to full relative precision.
fn x_minus_ln_1p(x: f64) -> f64 {
    if x >= 0.5 {
        return x - x.ln_1p();
    }
    // log(1 + x) = 2 atanh(y) = 2 (y + y^3/3 + ...) with y = x/(2 + x) <= 1/5, and x - 2 y = x y.
    let y = x / (2.0 + x);
    let square = y * y;
    // The first term left out is y^22/23 = 2e-17 of the sum.
    let tail = (1..=10).rev().fold(0.0, |sum, k| 1.0 / f64::from(2 * k + 1) + square * sum);
    y * (x - 2.0 * square * tail)
}
