//! A time of a schedule, with all that is asked of it.

use crate::schedule::NoiseSchedule;

/// A time and its noise level: x = alpha x_0 + sigma eps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The schedule's time.
    pub t: f64,
    /// log alpha.
    pub log_alpha: f64,
    /// alpha.
    pub alpha: f64,
    /// sigma.
    pub sigma: f64,
    /// Half log-SNR lambda = log(alpha/sigma); infinite at sigma = 0, minus infinity at alpha = 0.
    pub log_snr: f64,
}

impl Level {
    /// The level of a schedule at time `t`.
    pub fn at(schedule: &dyn NoiseSchedule, t: f64) -> Self {
        Level {
            t,
            log_alpha: schedule.log_alpha(t),
            alpha: schedule.alpha(t),
            sigma: schedule.sigma(t),
            log_snr: schedule.log_snr(t),
        }
    }

    /// The Ornstein-Uhlenbeck time with the same signal-to-noise ratio, log(1 + e^{-2 lambda}): PIADM measures blocks
    /// in it.
    pub fn ou_time(&self) -> f64 {
        let x = -2.0 * self.log_snr;
        if x > 40.0 { x } else { x.exp().ln_1p() }
    }
}
