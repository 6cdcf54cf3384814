//! DDPM (arXiv 2006.11239) and DDIM (arXiv 2010.02502) in terms of the half log-SNR, without cancellation.

use crate::nodes::options::DdpmVariance;
use crate::nodes::step::{Form, OneStep};
use crate::schedule::Level;

/// 1 - e^{-2h}: the fraction of the variance at u that the step renews.
fn renewed(t: &Level, u: &Level) -> f64 {
    -(-2.0 * (u.log_snr - t.log_snr)).exp_m1()
}

/// The posterior mean of x_u given x_t and x_0 = D, plus noise.
pub(crate) fn ddpm(variance: DdpmVariance, t: &Level, u: &Level) -> OneStep {
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
pub(crate) fn ddim(eta: f64, t: &Level, u: &Level) -> OneStep {
    if u.sigma == 0.0 {
        return OneStep::denoise(u);
    }
    let w = renewed(t, u);
    let e2 = eta * eta;
    // With e^{-h} = alpha_t sigma_u / (alpha_u sigma_t) and w = 1 - e^{-2h}, sigma_u^2 - c^2 is sigma_u^2 times
    // `kept`,
    let shrink = (t.log_snr - u.log_snr).exp();
    let kept = (1.0 - e2) + e2 * shrink * shrink;
    // and b = alpha_u (1 - e^{-h} sqrt(kept)), written as a quotient without cancellation.
    let b = u.alpha * w * (1.0 + e2 * shrink * shrink) / (1.0 + shrink * kept.sqrt());
    OneStep { form: Form::Data, a: u.sigma * kept.sqrt() / t.sigma, b, c: eta * u.sigma * w.sqrt() }
}
