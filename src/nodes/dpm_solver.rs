//! DPM-Solver++(2M) and (3M), their SDE forms (arXiv 2211.01095), and Heun (arXiv 2206.00364).

use crate::error::Result;
use crate::nodes::builder::Assembler;
use crate::nodes::exponential;
use crate::nodes::options::SolverType;
use crate::nodes::phi::phi;
use crate::nodes::step::{Lag, StepEnds};
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

/// The multistep form of order `order`, lower where there is no past. With h' = (1 + eta) h the weights of the slopes
/// are h' phi_2(-h') and, for order 3, h' phi_3(-h'), both as diffusers and k-diffusion have them. The second
/// derivative's exact weight would be 2 h' phi_3(-h'), so order 3 is not reached: see the documentation of the scheme.
pub(crate) fn push_multistep(
    list: &mut Assembler,
    step: &StepEnds,
    eta: f64,
    order: usize,
    solver: SolverType,
) -> Result<()> {
    let StepEnds { past, t, u, .. } = *step;
    let (points, n) = step.points(order);
    let one = exponential::data(eta, &t, &u);
    if n == 1 || u.sigma == 0.0 {
        let (lags, c) = one.lags();
        return list.solution(u, &lags, c);
    }
    if n == 2 && solver == SolverType::Midpoint {
        return push_2m(list, eta, past.first().copied(), t, u);
    }
    let h = (1.0 + eta) * (u.log_snr - t.log_snr);
    let slope = u.alpha * h * phi(2, -h);
    let r0 = -points[1];
    if n == 2 {
        let lags = [Lag::data(1, one.a, one.b + slope / r0), Lag::data(2, 0.0, -slope / r0)];
        return list.solution(u, &lags, one.c);
    }
    let r1 = points[1] - points[2];
    let curvature = u.alpha * h * phi(3, -h);
    // on the differences D - D_1 over r0 and D_1 - D_2 over r1
    let second = (slope * r0 + curvature) / (r0 + r1);
    let (first, second) = ((slope + second) / r0, -second / r1);
    let lags = [Lag::data(1, one.a, one.b + first), Lag::data(2, 0.0, second - first), Lag::data(3, 0.0, -second)];
    list.solution(u, &lags, one.c)
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
