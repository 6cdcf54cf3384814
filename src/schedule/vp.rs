//! Variance-preserving schedules with formulas: alpha^2 + sigma^2 = 1.

use std::f64::consts::FRAC_PI_2;

use super::NoiseSchedule;
use crate::error::{Error, Result};

/// sigma = sqrt(1 - alpha^2), without cancellation near alpha = 1.
pub(super) fn vp_sigma(log_alpha: f64) -> f64 {
    (-(2.0 * log_alpha).exp_m1()).sqrt()
}

/// The score weight of any variance-preserving schedule, 2 (alpha_u/alpha_t - 1), from log(alpha_u/alpha_t).
pub(super) fn vp_score_weight(log_ratio: f64) -> f64 {
    2.0 * log_ratio.exp_m1()
}

/// Ornstein-Uhlenbeck process dx = -x/2 dt + dB: alpha = e^{-t/2}, sigma^2 = 1 - e^{-t}, for t in [0, inf)
/// (PIADM, arXiv 2405.15986). Every variance-preserving schedule is this one in the time -2 log alpha.
///
/// ```
/// use piadm::schedule::{NoiseSchedule, Ou};
///
/// let t = Ou.time_of_log_snr(0.0); // alpha = sigma
/// assert!((t - 2.0f64.ln()).abs() < 1e-15);
/// assert!((Ou.alpha(t) - Ou.sigma(t)).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ou;

impl NoiseSchedule for Ou {
    fn log_alpha(&self, t: f64) -> f64 {
        -0.5 * t
    }

    fn sigma(&self, t: f64) -> f64 {
        vp_sigma(self.log_alpha(t))
    }

    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        // log(1 + e^{-2 lambda}); far on the noisy side e^{-2 lambda} alone would overflow.
        if lambda < 0.0 { -2.0 * lambda + (2.0 * lambda).exp().ln_1p() } else { (-2.0 * lambda).exp().ln_1p() }
    }

    fn range(&self) -> (f64, f64) {
        (0.0, f64::INFINITY)
    }

    fn rates(&self, _t: f64) -> (f64, f64) {
        (-0.5, 1.0)
    }

    fn prior_std(&self, _t: f64) -> f64 {
        1.0
    }

    fn score_weight(&self, t: f64, u: f64) -> f64 {
        vp_score_weight(0.5 * (t - u))
    }
}

/// Variance preserving with a linear noise rate beta(t) = beta_min + t (beta_max - beta_min), for t in [0, 1]:
/// log alpha = -(beta_max - beta_min) t^2/4 - beta_min t/2 (Song et al., arXiv 2011.13456, appendix C).
///
/// The default has beta_min = 0.1 and beta_max = 20.
///
/// ```
/// use piadm::schedule::{NoiseSchedule, VpLinear};
///
/// let schedule = VpLinear::default();
/// assert!((schedule.log_alpha(1.0) + 5.025).abs() < 1e-14);
/// assert_eq!(schedule.prior_std(1.0), 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VpLinear {
    beta_min: f64,
    beta_max: f64,
}

impl VpLinear {
    /// The schedule with noise rate `beta_min` at t = 0 and `beta_max` at t = 1, per unit of time.
    ///
    /// # Errors
    /// [`Error::Setting`] unless 0 < `beta_min` <= `beta_max` and both are finite.
    ///
    /// ```
    /// use piadm::schedule::VpLinear;
    ///
    /// assert_eq!(VpLinear::new(0.1, 20.0)?, VpLinear::default());
    /// assert!(VpLinear::new(20.0, 0.1).is_err());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn new(beta_min: f64, beta_max: f64) -> Result<Self> {
        if !(beta_min.is_finite() && beta_min > 0.0) {
            return Err(Error::setting("beta_min", beta_min, "a finite number above 0"));
        }
        if !(beta_max.is_finite() && beta_max >= beta_min) {
            return Err(Error::setting("beta_max", beta_max, "a finite number, at least beta_min"));
        }
        Ok(Self { beta_min, beta_max })
    }
}

impl Default for VpLinear {
    fn default() -> Self {
        Self { beta_min: 0.1, beta_max: 20.0 }
    }
}

impl NoiseSchedule for VpLinear {
    fn log_alpha(&self, t: f64) -> f64 {
        -t * (0.25 * (self.beta_max - self.beta_min) * t + 0.5 * self.beta_min)
    }

    fn sigma(&self, t: f64) -> f64 {
        vp_sigma(self.log_alpha(t))
    }

    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        // The positive root of (beta_max - beta_min)/2 t^2 + beta_min t = tau = -2 log alpha, in the form that
        // does not cancel; `hypot` because beta_min^2 may leave the range of f64.
        let tau = Ou.time_of_log_snr(lambda);
        if tau == f64::INFINITY {
            return 1.0;
        }
        let root = (self.beta_max - self.beta_min).sqrt() * (2.0 * tau).sqrt();
        let t = 2.0 * tau / (self.beta_min + self.beta_min.hypot(root));
        t.clamp(0.0, 1.0)
    }

    fn range(&self) -> (f64, f64) {
        (0.0, 1.0)
    }

    fn rates(&self, t: f64) -> (f64, f64) {
        let beta = self.beta_min + t * (self.beta_max - self.beta_min);
        (-0.5 * beta, beta)
    }

    fn prior_std(&self, _t: f64) -> f64 {
        1.0
    }

    fn score_weight(&self, t: f64, u: f64) -> f64 {
        // log alpha_u - log alpha_t with the factor t - u taken out of the difference of squares.
        let slope = 0.25 * (self.beta_max - self.beta_min) * (t + u) + 0.5 * self.beta_min;
        vp_score_weight((t - u) * slope)
    }
}

/// Variance-preserving cosine schedule alpha = cos(a (t + s)) / cos(a s) with a = pi / (2 (1 + s)), for t in [0, 1]
/// (Nichol and Dhariwal, arXiv 2102.09672, equation 17, without the clipping of its discrete betas).
///
/// The default offset is s = 0.008; s = 0 gives alpha = cos(pi t / 2). At t = 1 the state is pure noise: alpha = 0 and
/// log alpha is minus infinity.
///
/// ```
/// use piadm::schedule::{NoiseSchedule, VpCosine};
///
/// let schedule = VpCosine::default();
/// assert!((schedule.alpha(0.5).powi(2) - 0.493844).abs() < 1e-6);
/// assert_eq!(schedule.alpha(1.0), 0.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VpCosine {
    s: f64,
    /// a = pi / (2 (1 + s)).
    a: f64,
}

impl VpCosine {
    /// The schedule with offset `s`, in units of t.
    ///
    /// # Errors
    /// [`Error::Setting`] unless 0 <= `s` <= 1.
    ///
    /// ```
    /// use piadm::schedule::VpCosine;
    ///
    /// assert_eq!(VpCosine::new(0.008)?, VpCosine::default());
    /// assert!(VpCosine::new(-0.1).is_err());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn new(s: f64) -> Result<Self> {
        if (0.0..=1.0).contains(&s) {
            Ok(Self::with_offset(s))
        } else {
            Err(Error::setting("s", s, "a number in [0, 1]"))
        }
    }

    fn with_offset(s: f64) -> Self {
        Self { s, a: FRAC_PI_2 / (1.0 + s) }
    }

    /// sigma^2 = [cos^2(a s) - cos^2(a (t + s))] / cos^2(a s), as a product that does not cancel.
    fn variance(&self, t: f64) -> f64 {
        let cos_as = self.a.sin();
        (self.a * t).sin() * (self.a * (t + 2.0 * self.s)).sin() / (cos_as * cos_as)
    }
}

impl Default for VpCosine {
    fn default() -> Self {
        Self::with_offset(0.008)
    }
}

// a (1 + s) = pi/2 turns cos(a (t + s)) into sin(a (1 - t)), which is exact at t = 1, and cos(a s) into sin(a).
impl NoiseSchedule for VpCosine {
    fn log_alpha(&self, t: f64) -> f64 {
        if t < 0.5 { 0.5 * (-self.variance(t)).ln_1p() } else { self.alpha(t).ln() }
    }

    fn alpha(&self, t: f64) -> f64 {
        (self.a * (1.0 - t)).sin() / self.a.sin()
    }

    fn sigma(&self, t: f64) -> f64 {
        self.variance(t).sqrt()
    }

    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        let cos_as = self.a.sin();
        // The smaller of alpha^2 / sigma^2 and its inverse; it cannot overflow.
        let ratio = (-2.0 * lambda.abs()).exp();
        if lambda < 0.0 {
            let alpha = (ratio / (1.0 + ratio)).sqrt();
            return 1.0 - (cos_as * alpha).asin() / self.a;
        }
        // sin(a t) = sin(theta - a s) with theta = a (t + s), multiplied by sin(theta + a s) over itself:
        // [sin^2(theta) cos^2(a s) - cos^2(theta) sin^2(a s)] / (..), whose numerator is cos^2(a s) sigma^2.
        let variance = ratio / (1.0 + ratio);
        if variance == 0.0 {
            return 0.0; // with s = 0 the quotient would be 0/0
        }
        let sin_as = (self.a * self.s).sin();
        let scaled = cos_as * cos_as * variance;
        let sin_theta = (sin_as * sin_as + scaled).sqrt();
        let cos_theta = cos_as / (1.0 + ratio).sqrt();
        (scaled / (sin_theta * cos_as + cos_theta * sin_as)).asin() / self.a
    }

    fn range(&self) -> (f64, f64) {
        (0.0, 1.0)
    }

    fn rates(&self, t: f64) -> (f64, f64) {
        let f = -self.a / (self.a * (1.0 - t)).tan();
        (f, -2.0 * f)
    }

    fn prior_std(&self, _t: f64) -> f64 {
        1.0
    }

    fn score_weight(&self, t: f64, u: f64) -> f64 {
        // 2 (alpha_u - alpha_t) / alpha_t, the difference of the sines as a product.
        let mean = self.a * (1.0 - 0.5 * (t + u));
        4.0 * mean.cos() * (0.5 * self.a * (t - u)).sin() / (self.a * (1.0 - t)).sin()
    }
}
