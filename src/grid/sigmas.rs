//! Noise-to-signal ratios by a rule or from a list, and the times at which a schedule has them.

use crate::error::{Error, Result};
use crate::grid::beta::Beta;
use crate::grid::times::{
    END_SLACK, between, check_ends, check_positive, check_range, check_reach, data_time, points, time_of_log_snr,
};
use crate::names::names;
use crate::schedule::NoiseSchedule;

/// How far, relative, a ratio of a list may lie beyond the schedule's range and still mean its end.
const LIST_SLACK: f64 = 1e-4;

/// How noise-to-signal ratios r = sigma/alpha are spaced from the largest (w = 0) to the smallest (w = 1), for
/// w = i/steps.
///
/// ```
/// use piadm::{grid::Sigmas, schedule::Edm, Grid};
///
/// let middle = |spacing| Ok::<_, piadm::Error>(Grid::sigmas(2, spacing).between(4.0, 1.0).times(&Edm)?[1]);
/// assert!((middle(Sigmas::Exponential)? - 2.0).abs() < 1e-14);
/// assert!((middle(Sigmas::Karras { rho: 1.0 })? - 2.5).abs() < 1e-14);
/// assert!((middle(Sigmas::Beta { alpha: 0.6, beta: 0.6 })? - 2.5).abs() < 1e-14);
/// assert!((middle(Sigmas::Polyexponential { rho: 2.0 })? - 2.0f64.sqrt()).abs() < 1e-14);
/// let angle = (4.0f64.atan() + 1.0f64.atan()) / 2.0;
/// assert!((middle(Sigmas::KlOptimal)? - angle.tan()).abs() < 1e-14);
/// assert_eq!("karras(rho=5)".parse::<Sigmas>()?, Sigmas::Karras { rho: 5.0 });
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Sigmas {
    /// r^(1/rho) in equal steps (Karras et al., arXiv 2206.00364, equation 5; rho = 7 there).
    Karras {
        /// Above 0; 1 is linear in r.
        rho: f64,
    },
    /// log r in equal steps: geometric ratios.
    Exponential,
    /// log r - log r_min falls like (1 - w)^rho (k-diffusion); 1 is exponential.
    Polyexponential {
        /// Above 0.
        rho: f64,
    },
    /// r - r_min falls like the quantile of the Beta law at 1 - w (Lee et al., arXiv 2407.12173; alpha = beta = 0.6).
    Beta {
        /// Above 0, at most 100.
        alpha: f64,
        /// Above 0, at most 100.
        beta: f64,
    },
    /// arctan r in equal steps: optimal for Gaussian data (Sabour et al., arXiv 2404.14507, theorem 3.1).
    KlOptimal,
}

names! { Sigmas, "spacing of sigmas";
    Karras = "karras" { rho: "a number" = 7.0 }, Exponential = "exponential",
    Polyexponential = "polyexponential" { rho: "a number" = 1.0 },
    Beta = "beta" { alpha: "a number" = 0.6, beta: "a number" = 0.6 }, KlOptimal = "kl_optimal",
}

/// The noisy end and the other one, as times and as half log-SNR, the logarithm of 1/r.
pub(super) struct Ends {
    times: (f64, f64),
    log_snr: (f64, f64),
}

impl Ends {
    /// From times of the schedule.
    pub fn of_times(schedule: &dyn NoiseSchedule, (t_max, t_min): (f64, f64), steps: usize) -> Result<Self> {
        check_ends(t_max, t_min)?;
        check_range(schedule, 0, t_max)?;
        check_range(schedule, steps, t_min)?;
        let (first, last) = (schedule.log_snr(t_max), schedule.log_snr(t_min));
        if !first.is_finite() {
            let expected = "a time at which the log-SNR is finite (alpha above 0)";
            return Err(Error::setting("t_max", t_max, expected));
        }
        if !last.is_finite() {
            let expected =
                "a time at which the log-SNR is finite (sigma above 0); then_data() adds a step to sigma = 0";
            return Err(Error::setting("t_min", t_min, expected));
        }
        Ok(Ends { times: (t_max, t_min), log_snr: (first, last) })
    }

    /// From ratios, which may be equal where there is but one level.
    pub fn of_sigmas(schedule: &dyn NoiseSchedule, (sigma_min, sigma_max): (f64, f64), steps: usize) -> Result<Self> {
        check_positive("sigma_min", sigma_min)?;
        check_positive("sigma_max", sigma_max)?;
        if sigma_max < sigma_min || (sigma_max == sigma_min && steps > 0) {
            return Err(Error::setting("sigma_max", sigma_max, "more than sigma_min"));
        }
        let (first, last) = (-sigma_max.ln(), -sigma_min.ln());
        check_reach(schedule, "sigma_max", sigma_max, first, END_SLACK)?;
        check_reach(schedule, "sigma_min", sigma_min, last, END_SLACK)?;
        let time = |lambda, sigma| time_of_log_snr(schedule, lambda, sigma);
        Ok(Ends { times: (time(first, sigma_max), time(last, sigma_min)), log_snr: (first, last) })
    }
}

/// `steps` + 1 times, the ends exactly.
pub(super) fn spaced(schedule: &dyn NoiseSchedule, ends: Ends, spacing: Sigmas, steps: usize) -> Result<Vec<f64>> {
    let (first, last) = ends.log_snr;
    let lambda: Box<dyn Fn(usize) -> f64> = match spacing {
        Sigmas::Exponential => Box::new(|i| between(first, last, i, steps)),
        Sigmas::Karras { rho } => {
            check_positive("rho", rho)?;
            // log of (1 + w ((min/max)^(1/rho) - 1))^rho: neither a large nor a small rho overflows or cancels.
            let drop = ((first - last) / rho).exp_m1();
            Box::new(move |i| first - rho * (i as f64 / steps as f64 * drop).ln_1p())
        }
        Sigmas::Polyexponential { rho } => {
            check_positive("rho", rho)?;
            Box::new(move |i| last + ((steps - i) as f64 / steps as f64).powf(rho) * (first - last))
        }
        Sigmas::Beta { alpha, beta } => {
            let law = Beta::new(alpha, beta)?;
            let (max, min) = ((-first).exp(), (-last).exp());
            Box::new(move |i| -(min + law.quantile((steps - i) as f64 / steps as f64) * (max - min)).ln())
        }
        Sigmas::KlOptimal => {
            let (max, min) = ((-first).exp().atan(), (-last).exp().atan());
            Box::new(move |i| -between(max, min, i, steps).tan().ln())
        }
    };
    let inner = (1..steps).map(|i| schedule.time_of_log_snr(lambda(i)));
    Ok(points(ends.times.0, inner, ends.times.1, steps))
}

/// The times of a list of ratios, of which the last may be 0.
pub(super) fn given(schedule: &dyn NoiseSchedule, ratios: &[f64]) -> Result<Vec<f64>> {
    let mut times = Vec::with_capacity(ratios.len());
    for (i, &ratio) in ratios.iter().enumerate() {
        if ratio == 0.0 && i + 1 == ratios.len() {
            times.push(data_time(schedule)?);
            continue;
        }
        if !(ratio > 0.0 && ratio.is_finite()) {
            let expected = "finite numbers above 0; the last one may be 0, the data";
            return Err(Error::setting("sigmas", format!("{ratio} at index {i}"), expected));
        }
        let lambda = -ratio.ln();
        check_reach(schedule, "sigmas", ratio, lambda, LIST_SLACK)?;
        times.push(time_of_log_snr(schedule, lambda, ratio));
    }
    Ok(times)
}
