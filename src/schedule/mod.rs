//! Noise schedules: the forward law `x_t = alpha(t) x_0 + sigma(t) noise`.
//!
//! Every schedule of the field is one pair of functions `alpha(t)` and `sigma(t)`; samplers only see them through
//! the half log-SNR `lambda(t) = log(alpha / sigma)`, which falls with `t`. Times run from `range().0` (data) to
//! `range().1` (noise); they have no unit of their own, every schedule defines its clock.
//!
//! | schedule | alpha, sigma | source |
//! |---|---|---|
//! | [`Ou`] | e^{-t/2}, sqrt(1 - e^{-t}) | PIADM, arXiv 2405.15986 |
//! | [`VpLinear`] | log alpha = -(beta_max - beta_min) t^2/4 - beta_min t/2 | Song et al., arXiv 2011.13456 |
//! | [`VpCosine`] | alpha^2 = cos^2((t+s)/(1+s) pi/2) / cos^2(s/(1+s) pi/2) | Nichol and Dhariwal, arXiv 2102.09672 |
//! | [`Discrete`] | a table of `alphas_cumprod`, log alpha linear between its entries | DDPM, arXiv 2006.11239 |
//! | [`Ve`] | 1, sqrt(t) | Song et al.; EDM, arXiv 2206.00364, table 1 |
//! | [`Edm`] | 1, t | EDM |
//! | [`Flow`] | 1 - t, t | rectified flow, arXiv 2209.03003 |

use std::fmt::Debug;

mod discrete;
mod level;
mod quadrature;
mod ve;
mod vp;

pub use discrete::Discrete;
pub use level::Level;
pub use ve::{Edm, Flow, Ve};
pub use vp::{Ou, VpCosine, VpLinear};

use quadrature::score_weight_by_quadrature;

/// The forward process of a diffusion model, `x_t = alpha(t) x_0 + sigma(t) noise`.
///
/// Implement it for a schedule of your own; the required methods are what a sampler needs, accurate at both ends.
/// `alpha` must not vanish except at the noisy end, and `log_snr` must strictly decrease. Nothing here fails: a time
/// outside `range()`, or a NaN, gives a meaningless number or NaN, and grids are checked against the range instead.
///
/// ```
/// use piadm::schedule::{NoiseSchedule, Ve};
///
/// /// Variance exploding with sigma = t^2.
/// #[derive(Debug)]
/// struct Quadratic;
///
/// impl NoiseSchedule for Quadratic {
///     fn log_alpha(&self, _t: f64) -> f64 {
///         0.0
///     }
///     fn sigma(&self, t: f64) -> f64 {
///         t * t
///     }
///     fn time_of_log_snr(&self, lambda: f64) -> f64 {
///         (-0.5 * lambda).exp()
///     }
///     fn range(&self) -> (f64, f64) {
///         (0.0, f64::INFINITY)
///     }
///     fn rates(&self, t: f64) -> (f64, f64) {
///         (0.0, 4.0 * t * t * t)
///     }
/// }
///
/// // Where alpha = 1 the score weight is the difference of the variances.
/// assert!((Quadratic.score_weight(1.5, 1.0) - (1.5f64.powi(4) - 1.0)).abs() < 1e-12);
/// assert_eq!(Quadratic.prior_std(3.0), 9.0);
/// ```
pub trait NoiseSchedule: Debug + Send + Sync {
    /// log alpha(t); minus infinity where alpha vanishes.
    ///
    /// ```
    /// use piadm::schedule::{NoiseSchedule, Ou};
    /// assert_eq!(Ou.log_alpha(3.0), -1.5);
    /// ```
    fn log_alpha(&self, t: f64) -> f64;

    /// sigma(t), without cancellation near the data.
    ///
    /// ```
    /// use piadm::schedule::{NoiseSchedule, Ou};
    /// assert!((Ou.sigma(1e-12) - 1e-6).abs() < 1e-15);
    /// ```
    fn sigma(&self, t: f64) -> f64;

    /// The time at which the half log-SNR is `lambda`, the inverse of [`log_snr`](NoiseSchedule::log_snr).
    /// A `lambda` that the range does not reach gives the nearest end of the range.
    ///
    /// ```
    /// use piadm::schedule::{NoiseSchedule, Ou};
    /// assert!((Ou.time_of_log_snr(Ou.log_snr(0.7)) - 0.7).abs() < 1e-12);
    /// ```
    fn time_of_log_snr(&self, lambda: f64) -> f64;

    /// The closed interval of times on which the schedule is defined: (data, noise).
    ///
    /// ```
    /// use piadm::schedule::{NoiseSchedule, Flow};
    /// assert_eq!(Flow.range(), (0.0, 1.0));
    /// ```
    fn range(&self) -> (f64, f64);

    /// Number of entries of a schedule that is a table, with times 0, 1, ... for its entries; `None` for others.
    ///
    /// ```
    /// use piadm::schedule::{NoiseSchedule, Discrete, Ou};
    /// assert_eq!((Discrete::stable_diffusion().table(), Ou.table()), (Some(1000), None));
    /// ```
    fn table(&self) -> Option<usize> {
        None
    }

    /// (f, g^2) of the forward equation dx = f(t) x dt + g(t) dB with the same law:
    /// f = d log alpha / dt and g^2 = -2 sigma^2 d lambda / dt (Song et al., arXiv 2011.13456).
    /// Not finite where alpha = 0; callers refuse that.
    ///
    /// ```
    /// use piadm::schedule::{NoiseSchedule, Ou};
    /// assert_eq!(Ou.rates(2.0), (-0.5, 1.0)); // dx = -x/2 dt + dB
    /// ```
    fn rates(&self, t: f64) -> (f64, f64);

    /// alpha(t).
    ///
    /// ```
    /// use piadm::schedule::{NoiseSchedule, Flow};
    /// assert!((Flow.alpha(0.25) - 0.75).abs() < 1e-15);
    /// ```
    fn alpha(&self, t: f64) -> f64 {
        self.log_alpha(t).exp()
    }

    /// Half log-SNR lambda(t) = log(alpha / sigma).
    ///
    /// ```
    /// use piadm::schedule::{NoiseSchedule, Flow};
    /// assert!(Flow.log_snr(0.5).abs() < 1e-15); // as much noise as data
    /// ```
    fn log_snr(&self, t: f64) -> f64 {
        self.log_alpha(t) - self.sigma(t).ln()
    }

    /// Standard deviation of the law a sampler starts from at time `t`: sigma(t) by default, 1 for variance-preserving
    /// schedules, whose data have unit variance by convention.
    ///
    /// ```
    /// use piadm::schedule::{NoiseSchedule, Edm, Ou};
    /// assert_eq!((Ou.prior_std(5.0), Edm.prior_std(80.0)), (1.0, 80.0));
    /// ```
    fn prior_std(&self, t: f64) -> f64 {
        self.sigma(t)
    }

    /// alpha_u times the integral of alpha_r d[(sigma_r / alpha_r)^2] for r from `u` to `t > u`: the weight of a frozen
    /// score in an exponential integrator step from `t` down to `u` (before the factor (1 + ups^2)/2).
    /// sigma(u) may be 0; not finite where alpha(t) = 0.
    ///
    /// The default integrates numerically over the log-SNR, to about 1e-12 relative for smooth schedules, or to the
    /// rounding of log_snr(u) - log_snr(t) where the step is so short that this is larger. Shipped schedules give
    /// the closed form.
    ///
    /// ```
    /// use piadm::schedule::{NoiseSchedule, Ve};
    /// assert_eq!(Ve.score_weight(3.0, 2.0), 1.0); // the difference of the variances
    /// ```
    fn score_weight(&self, t: f64, u: f64) -> f64 {
        score_weight_by_quadrature(self, t, u)
    }
}

/// Makes a pointer to a schedule a schedule.
macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<S: NoiseSchedule + ?Sized> NoiseSchedule for $pointer {
            fn log_alpha(&self, t: f64) -> f64 {
                (**self).log_alpha(t)
            }

            fn sigma(&self, t: f64) -> f64 {
                (**self).sigma(t)
            }

            fn time_of_log_snr(&self, lambda: f64) -> f64 {
                (**self).time_of_log_snr(lambda)
            }

            fn range(&self) -> (f64, f64) {
                (**self).range()
            }

            fn table(&self) -> Option<usize> {
                (**self).table()
            }

            fn rates(&self, t: f64) -> (f64, f64) {
                (**self).rates(t)
            }

            fn alpha(&self, t: f64) -> f64 {
                (**self).alpha(t)
            }

            fn log_snr(&self, t: f64) -> f64 {
                (**self).log_snr(t)
            }

            fn prior_std(&self, t: f64) -> f64 {
                (**self).prior_std(t)
            }

            fn score_weight(&self, t: f64, u: f64) -> f64 {
                (**self).score_weight(t, u)
            }
        }
    )*};
}
forward!(&S, Box<S>, std::sync::Arc<S>);
