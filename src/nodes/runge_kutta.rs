//! Explicit Runge-Kutta methods for the probability flow, in one of three clocks, and their ancestral forms.

use crate::error::Result;
use crate::nodes::builder::Assembler;
use crate::nodes::options::{Clock, Method};
use crate::nodes::phi::phi;
use crate::nodes::step::{Form, Lag, Oracle};
use crate::nodes::{ancestral, exponential};
use crate::schedule::{Level, NoiseSchedule};

/// Most evaluations of a step.
const MOST_STAGES: usize = 4;

/// A stage, or the solution if it is the last: its level and the weights of the outputs before it. Relative to the
/// step's length in a polynomial clock, in units of alpha in log-SNR.
struct Stage {
    level: Level,
    weights: [f64; MOST_STAGES],
}

/// The level between two others.
fn middle(schedule: &dyn NoiseSchedule, clock: Clock, t: &Level, u: &Level) -> Level {
    let log_snr = match clock {
        Clock::LogSnr => 0.5 * (t.log_snr + u.log_snr),
        // rho = e^{-lambda}, the mean of both, from the smaller one
        Clock::Sigma => u.log_snr - (0.5 * (u.log_snr - t.log_snr).exp_m1()).ln_1p(),
        Clock::Flow => {
            let share = |level: &Level| level.sigma / (level.alpha + level.sigma);
            let sigma = 0.5 * (share(t) + share(u));
            (1.0 - sigma).ln() - sigma.ln()
        }
    };
    Level::at(schedule, schedule.time_of_log_snr(log_snr))
}

/// One step. Into sigma = 0 it is x = alpha D in every clock; out of alpha = 0 it is of first order but in the clock
/// of a flow.
pub(crate) fn push(
    list: &mut Assembler,
    schedule: &dyn NoiseSchedule,
    method: Method,
    clock: Clock,
    t: Level,
    u: Level,
) -> Result<()> {
    if u.sigma == 0.0 || (t.alpha == 0.0 && clock != Clock::Flow) {
        let (lags, c) = exponential::data(0.0, &t, &u).lags();
        return list.solution(u, &lags, c);
    }
    let at = |level: Level, weights: &[f64]| {
        let mut all = [0.0; MOST_STAGES];
        all[..weights.len()].copy_from_slice(weights);
        Stage { level, weights: all }
    };
    let mid = || middle(schedule, clock, &t, &u);
    let stages = match (clock, method) {
        (Clock::LogSnr, Method::Midpoint) => {
            let mid = mid();
            vec![at(mid, &[rise(&t, &mid)]), at(u, &[0.0, rise(&t, &u)])]
        }
        (Clock::LogSnr, Method::Heun) => {
            let h = u.log_snr - t.log_snr;
            let slope = h * phi(2, -h);
            vec![at(u, &[rise(&t, &u)]), at(u, &[rise(&t, &u) - slope, slope])]
        }
        (Clock::LogSnr, Method::Rk4) => {
            // Cox and Matthews, J. Comput. Phys. 176 (2002), equations 26 to 29, with linear part -1
            let (mid, h) = (mid(), u.log_snr - t.log_snr);
            let half = rise(&t, &mid);
            let (one, two, three) = (phi(1, -h), phi(2, -h), phi(3, -h));
            let ends = [one - 3.0 * two + 4.0 * three, 2.0 * (two - 2.0 * three), 4.0 * three - two];
            let ends = ends.map(|w| h * w);
            vec![
                at(mid, &[half]),
                at(mid, &[0.0, half]),
                at(u, &[-half * half, 0.0, 2.0 * half]),
                at(u, &[ends[0], ends[1], ends[1], ends[2]]),
            ]
        }
        (_, Method::Midpoint) => {
            let mid = mid();
            let share = length(clock, &t, &mid) / length(clock, &t, &u);
            vec![at(mid, &[share]), at(u, &[0.0, 1.0])]
        }
        (_, Method::Heun) => vec![at(u, &[1.0]), at(u, &[0.5, 0.5])],
        (_, Method::Rk4) => {
            let mid = mid();
            let sixth = 1.0 / 6.0;
            vec![
                at(mid, &[0.5]),
                at(mid, &[0.0, 0.5]),
                at(u, &[0.0, 0.0, 1.0]),
                at(u, &[sixth, 2.0 * sixth, 2.0 * sixth, sixth]),
            ]
        }
    };
    let oracle = match clock {
        Clock::LogSnr => Oracle::Frozen(Form::Data),
        Clock::Sigma => Oracle::Frozen(Form::Noise),
        Clock::Flow => Oracle::Velocity,
    };
    let length = if clock == Clock::LogSnr { 1.0 } else { length(clock, &t, &u) };
    for (i, Stage { level, weights }) in stages.iter().enumerate() {
        let unit = unit(clock, level) * length;
        let start = if clock == Clock::LogSnr { level.sigma / t.sigma } else { unit / length / self::unit(clock, &t) };
        let mut lags = [Lag { lag: i + 1, oracle, a: start, b: unit * weights[0] }; MOST_STAGES];
        for (j, weight) in weights.iter().enumerate().take(i + 1).skip(1) {
            lags[j] = Lag { lag: i + 1 - j, oracle, a: 0.0, b: unit * weight };
        }
        match i + 1 == stages.len() {
            true => list.solution(*level, &lags[..=i], 0.0)?,
            false => list.stage(*level, &lags[..=i], 0.0)?,
        }
    }
    Ok(())
}

/// 1 - e^{-h}.
fn rise(t: &Level, u: &Level) -> f64 {
    -(t.log_snr - u.log_snr).exp_m1()
}

/// x divided by this moves with the oracle in the clock.
fn unit(clock: Clock, level: &Level) -> f64 {
    match clock {
        Clock::LogSnr | Clock::Sigma => level.alpha,
        Clock::Flow => level.alpha + level.sigma,
    }
}

/// The step in sigma / unit, negative: alpha_t alpha_u (rho_u - rho_t) over the units of both, without cancellation.
fn length(clock: Clock, t: &Level, u: &Level) -> f64 {
    -u.alpha * t.sigma * rise(t, u) / (unit(clock, t) * unit(clock, u))
}

/// A step of second order with one stage halfway in log-SNR to the level down to which the deterministic part of DDIM
/// with this eta steps: DPM-Solver++(2S) where the data prediction of the stage is frozen, DPM-Solver-2 where its noise
/// is, as k-diffusion has them.
pub(crate) fn push_ancestral(
    list: &mut Assembler,
    schedule: &dyn NoiseSchedule,
    form: Form,
    eta: f64,
    t: Level,
    u: Level,
) -> Result<()> {
    let whole = ancestral::ddim(eta, &t, &u);
    let h = u.log_snr - t.log_snr;
    // sigma_down^2 is this part of sigma_u^2 (in sigma/alpha)
    let kept = (1.0 - eta * eta) + eta * eta * (-2.0 * h).exp();
    if u.sigma == 0.0 || t.alpha == 0.0 || kept == 0.0 {
        let (lags, c) = whole.lags();
        return list.solution(u, &lags, c);
    }
    let down = h - 0.5 * kept.ln();
    let mid = Level::at(schedule, schedule.time_of_log_snr(t.log_snr + 0.5 * down));
    let (lags, _) = exponential::data(0.0, &t, &mid).lags();
    list.stage(mid, &lags, 0.0)?;
    let lost = -(-down).exp_m1();
    let lags = match form {
        Form::Noise => {
            let scale = u.alpha / t.alpha;
            [Lag::new(1, form, 0.0, -scale * t.sigma * lost), Lag::new(2, form, scale, 0.0)]
        }
        _ => [Lag::data(1, 0.0, u.alpha * lost), Lag::data(2, u.sigma * kept.sqrt() / t.sigma, 0.0)],
    };
    list.solution(u, &lags, whole.c)
}
