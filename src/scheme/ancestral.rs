//! DDPM (arXiv 2006.11239) and DDIM (arXiv 2010.02502) in terms of the half log-SNR, without cancellation.

use super::{DdpmVariance, Form, Level, OneStep};

/// 1 - e^{-2h}: the share of the variance at u that the step renews.
fn renewed(t: &Level, u: &Level) -> f64 {
    -(-2.0 * (u.log_snr - t.log_snr)).exp_m1()
}

/// The posterior mean of x_u given x_t and x_0 = D, plus noise.
pub(super) fn ddpm(variance: DdpmVariance, t: &Level, u: &Level) -> OneStep {
    if u.sigma == 0.0 {
        return OneStep::denoise(u);
    }
    let w = renewed(t, u);
    let std = match variance {
        DdpmVariance::Small => u.sigma,
        DdpmVariance::Large => t.sigma,
    };
    OneStep {
        form: Form::Data,
        a: u.sigma / t.sigma * (t.log_snr - u.log_snr).exp(),
        b: u.alpha * w,
        c: std * w.sqrt(),
    }
}

/// a = sqrt(sigma_u^2 - c^2)/sigma_t, b = alpha_u - a alpha_t.
pub(super) fn ddim(eta: f64, t: &Level, u: &Level) -> OneStep {
    if u.sigma == 0.0 {
        return OneStep::denoise(u);
    }
    let w = renewed(t, u);
    let e2 = eta * eta;
    // (1 - w)(1 - eta^2 w) = 1 - q, in a form that stays accurate for small and for infinite steps
    let kept = ((1.0 - w) * (1.0 - e2 * w)).max(0.0);
    let q = w * (1.0 + e2) - e2 * w * w;
    OneStep {
        form: Form::Data,
        a: u.sigma * (1.0 - e2 * w).max(0.0).sqrt() / t.sigma,
        b: u.alpha * q / (1.0 + kept.sqrt()),
        c: eta * u.sigma * w.sqrt(),
    }
}
