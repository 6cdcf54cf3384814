//! Exponential integrators in score, noise and data form, and Euler-Maruyama (for the mathematics see PIADM, arXiv
//! 2405.15986, and DPM-Solver++, arXiv 2211.01095).

use crate::nodes::step::{Form, OneStep};
use crate::schedule::{Level, NoiseSchedule};

/// e^{-eta h}, also for infinite h.
fn decay(eta: f64, h: f64) -> f64 {
    if eta == 0.0 { 1.0 } else { (-eta * h).exp() }
}

/// 1 - e^{-2 eta h}, also for infinite h.
fn renewed(eta: f64, h: f64) -> f64 {
    if eta == 0.0 { 0.0 } else { -(-2.0 * eta * h).exp_m1() }
}

/// One step t -> u with stochasticity `ups`.
pub(crate) fn step(schedule: &dyn NoiseSchedule, form: Form, ups: f64, t: &Level, u: &Level) -> OneStep {
    let h = u.log_snr - t.log_snr;
    // alpha_u sqrt(rho_t^2 - rho_u^2) with rho = sigma/alpha
    let scale = (u.log_alpha - t.log_alpha).exp();
    let noise = ups * scale * t.sigma * (-(-2.0 * h).exp_m1()).sqrt();
    match form {
        Form::Score => {
            let b = 0.5 * (1.0 + ups * ups) * schedule.score_weight(t.t, u.t);
            OneStep { form, a: scale, b, c: noise }
        }
        Form::Noise => {
            let b = (1.0 + ups * ups) * scale * t.sigma * (-h).exp_m1();
            OneStep { form, a: scale, b, c: noise }
        }
        Form::Data => data(ups * ups, t, u),
    }
}

/// Data form: SDE-DPM-Solver++(1) with noise level `eta`.
pub(crate) fn data(eta: f64, t: &Level, u: &Level) -> OneStep {
    if u.sigma == 0.0 {
        return OneStep::denoise(u);
    }
    let h = u.log_snr - t.log_snr;
    OneStep {
        form: Form::Data,
        a: u.sigma / t.sigma * decay(eta, h),
        b: -u.alpha * (-(1.0 + eta) * h).exp_m1(),
        c: u.sigma * renewed(eta, h).sqrt(),
    }
}

/// Euler-Maruyama for dx = (-f x + (1 + ups^2)/2 g^2 s) dr + ups g dB over r = t - u, coefficients frozen at t.
pub(crate) fn euler_maruyama(schedule: &dyn NoiseSchedule, ups: f64, t: &Level, u: &Level) -> OneStep {
    let (f, g2) = schedule.rates(t.t);
    let e = t.t - u.t;
    OneStep { form: Form::Score, a: 1.0 - f * e, b: 0.5 * (1.0 + ups * ups) * g2 * e, c: ups * (g2 * e).sqrt() }
}
