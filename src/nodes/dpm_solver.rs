//! Second-order schemes: DPM-Solver++(2M), its SDE form (arXiv 2211.01095), and Heun (arXiv 2206.00364).

use crate::error::Result;
use crate::nodes::builder::Assembler;
use crate::nodes::exponential;
use crate::nodes::step::Lag;
use crate::schedule::Level;

/// Data form with D + (D - D_before)/(2r) in place of D, where r is the ratio of the last two steps in log-SNR.
pub(crate) fn push_2m(list: &mut Assembler, eta: f64, before: Option<Level>, t: Level, u: Level) -> Result<()> {
    let one = exponential::data(eta, &t, &u);
    let (lags, c) = one.lags();
    match before {
        Some(before) if u.sigma > 0.0 => {
            let extrapolation = 0.5 * (u.log_snr - t.log_snr) / (t.log_snr - before.log_snr);
            let lags = [Lag::data(1, one.a, one.b * (1.0 + extrapolation)), Lag::data(2, 0.0, -one.b * extrapolation)];
            list.solution(u, &lags, c)
        }
        _ => list.solution(u, &lags, c),
    }
}

/// An Euler stage at u, then the trapezoidal solution, both at time u.
pub(crate) fn push_heun(list: &mut Assembler, t: Level, u: Level) -> Result<()> {
    let euler = exponential::data(0.0, &t, &u);
    let (lags, c) = euler.lags();
    if u.sigma == 0.0 || t.alpha == 0.0 {
        return list.solution(u, &lags, c);
    }
    let h = u.log_snr - t.log_snr;
    let scale = (u.log_alpha - t.log_alpha).exp();
    list.stage(u, &lags, c)?;
    let stage = Lag::data(1, -0.5 * h.exp_m1(), 0.5 * u.alpha * h.exp_m1());
    let start = Lag::data(2, 0.5 * scale * (1.0 + (-h).exp()), -0.5 * u.alpha * (-h).exp_m1());
    list.solution(u, &[stage, start], 0.0)
}
