//! The integral behind `NoiseSchedule::score_weight`, for schedules without a closed form.

use super::NoiseSchedule;

/// Nodes and weights of the ten-point Gauss-Legendre rule on [-1, 1]; each node is used with both signs.
const GAUSS_LEGENDRE: [(f64, f64); 5] = [
    (0.14887433898163122, 0.29552422471475287),
    (0.4333953941292472, 0.26926671930999635),
    (0.6794095682990244, 0.21908636251598204),
    (0.8650633666889845, 0.1494513491505806),
    (0.9739065285171717, 0.06667134430868814),
];

/// Longest panel in half log-SNR; alpha as a function of lambda varies on a scale of one or more.
const PANEL: f64 = 0.5;

/// sigma falls towards the data, so the integrand falls at least like e^{-lambda}, and what lies this far above the
/// start of the step adds less than e^{-45} = 3e-20 of the result. It also makes steps to sigma = 0 finite.
const REACH: f64 = 45.0;

/// alpha_u times the integral of alpha d[(sigma/alpha)^2] from `u` to `t`, as the integral over lambda of
/// 2 alpha_u alpha(lambda) e^{-2 lambda} by composite Gauss-Legendre.
///
/// Integrating over lambda rather than t needs no scale of t, no rates, and is indifferent to kinks in t of a
/// variance-preserving schedule, whose alpha is a smooth function of lambda whatever its clock.
pub(super) fn score_weight_by_quadrature<S: NoiseSchedule + ?Sized>(schedule: &S, t: f64, u: f64) -> f64 {
    let start = schedule.log_snr(t);
    let length = schedule.log_snr(u) - start;
    if start.is_nan() || length.is_nan() {
        return f64::NAN;
    }
    if start == f64::NEG_INFINITY {
        return f64::INFINITY;
    }
    let length = length.min(REACH);
    let log_alpha_u = schedule.log_alpha(u);
    let integrand = |lambda: f64| {
        let time = schedule.time_of_log_snr(lambda);
        // log(alpha e^{-2 lambda}). Where alpha nearly vanishes many schedules run into t = 1, which resolves alpha
        // badly but sigma well, and alpha = sigma e^lambda.
        let log =
            if lambda < 0.0 { schedule.sigma(time).ln() - lambda } else { schedule.log_alpha(time) - 2.0 * lambda };
        // One exponential of the sum: its factors alone may overflow.
        (log_alpha_u + log).exp()
    };
    let panels = (length / PANEL).ceil().max(1.0);
    let half = 0.5 * length / panels;
    let mut sum = 0.0;
    for panel in 0..panels as usize {
        let centre = start + half * (2 * panel + 1) as f64;
        for (node, weight) in GAUSS_LEGENDRE {
            sum += weight * (integrand(centre - half * node) + integrand(centre + half * node));
        }
    }
    2.0 * half * sum
}
