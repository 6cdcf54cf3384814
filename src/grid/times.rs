//! The times of a run, and the rules that need no table.

use crate::error::{Error, Result};
use crate::schedule::NoiseSchedule;

/// The largest number of steps of a grid.
pub const MAX_STEPS: usize = 1 << 24;

/// How far a log-SNR may lie outside the schedule's range and still mean its end: tables often come in f32.
const END_SLACK: f64 = 1e-6;

/// A recipe worked out: strictly decreasing finite times, at least two. Index 0 is the noisy end, each pair of
/// neighbours is a step.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TimeGrid {
    times: Vec<f64>,
}

impl TimeGrid {
    /// Refuses times that are no grid on any schedule.
    pub fn new(times: Vec<f64>) -> Result<Self> {
        if times.len() < 2 || times.len() > MAX_STEPS + 1 {
            return Err(length_error(times.len()));
        }
        if let Some((index, &time)) = times.iter().enumerate().find(|(_, t)| !t.is_finite()) {
            return Err(Error::GridNotFinite { index, time });
        }
        for (index, pair) in times.windows(2).enumerate() {
            if let &[previous, time] = pair
                && time >= previous
            {
                return Err(Error::GridOrder { index: index + 1, previous, time });
            }
        }
        Ok(Self { times })
    }

    pub fn times(&self) -> &[f64] {
        &self.times
    }

    pub fn steps(&self) -> usize {
        self.times.len() - 1
    }
}

impl From<TimeGrid> for Vec<f64> {
    fn from(grid: TimeGrid) -> Self {
        grid.times
    }
}

/// Equal steps in time, from `t_max` to `t_min`.
pub(super) fn uniform((t_max, t_min): (f64, f64), steps: usize) -> Result<Vec<f64>> {
    check_ends(t_max, t_min)?;
    Ok(points(t_max, (1..steps).map(|i| between(t_max, t_min, i, steps)), t_min, steps))
}

/// Equal steps in log-SNR, from exactly `t_max` to exactly `t_min`.
pub(super) fn log_snr(schedule: &dyn NoiseSchedule, (t_max, t_min): (f64, f64), steps: usize) -> Result<Vec<f64>> {
    check_ends(t_max, t_min)?;
    check_range(schedule, 0, t_max)?;
    check_range(schedule, steps, t_min)?;
    let (first, last) = (schedule.log_snr(t_max), schedule.log_snr(t_min));
    if !first.is_finite() {
        let expected = "a time at which the log-SNR is finite (alpha above 0)";
        return Err(Error::setting("t_max", t_max, expected));
    }
    if !last.is_finite() {
        let expected = "a time at which the log-SNR is finite (sigma above 0); then_data() adds a step to sigma = 0";
        return Err(Error::setting("t_min", t_min, expected));
    }
    let inner = (1..steps).map(|i| schedule.time_of_log_snr(between(first, last, i, steps)));
    Ok(points(t_max, inner, t_min, steps))
}

/// Equal steps in the `rho`-th root of sigma / alpha (arXiv 2206.00364, equation 5).
pub(super) fn karras(
    schedule: &dyn NoiseSchedule,
    (sigma_min, sigma_max): (f64, f64),
    rho: f64,
    steps: usize,
) -> Result<Vec<f64>> {
    check_positive("sigma_min", sigma_min)?;
    check_positive("sigma_max", sigma_max)?;
    check_positive("rho", rho)?;
    if sigma_max <= sigma_min {
        return Err(Error::setting("sigma_max", sigma_max, "more than sigma_min"));
    }
    let (first, last) = (-sigma_max.ln(), -sigma_min.ln());
    check_reach(schedule, "sigma_max", sigma_max, first)?;
    check_reach(schedule, "sigma_min", sigma_min, last)?;
    // log of (1 + w ((min/max)^(1/rho) - 1))^rho: neither a large nor a small rho overflows or cancels.
    let drop = ((first - last) / rho).exp_m1();
    let inner = (1..steps).map(|i| {
        let w = i as f64 / steps as f64;
        schedule.time_of_log_snr(first - rho * (w * drop).ln_1p())
    });
    let t_max = time_of_log_snr(schedule, first, sigma_max);
    let t_min = time_of_log_snr(schedule, last, sigma_min);
    Ok(points(t_max, inner, t_min, steps))
}

/// Both ends and what is between them; the first alone where there is no step.
pub(super) fn points(first: f64, inner: impl Iterator<Item = f64>, last: f64, steps: usize) -> Vec<f64> {
    let last = (steps > 0).then_some(last);
    std::iter::once(first).chain(inner).chain(last).collect()
}

/// The time of the data, for a last step to it.
pub(super) fn data_time(schedule: &dyn NoiseSchedule) -> Result<f64> {
    let data = schedule.range().0;
    if schedule.sigma(data) != 0.0 {
        let expected = "a schedule whose first time is the data (sigma = 0)";
        return Err(Error::setting("schedule.range().0", data, expected));
    }
    Ok(data)
}

/// Point `i` of `steps` equal steps from `first` to `last`, both hit exactly.
pub(super) fn between(first: f64, last: f64, i: usize, steps: usize) -> f64 {
    let (i, n) = (i as f64, steps as f64);
    (n - i) / n * first + i / n * last
}

/// The schedule's time of half log-SNR `lambda`, which is `guess` if that has it: so the times that a user wrote in
/// the schedule's own clock (sigma for EDM, OU time for Ornstein-Uhlenbeck) are hit without the inverse's rounding.
pub(super) fn time_of_log_snr(schedule: &dyn NoiseSchedule, lambda: f64, guess: f64) -> f64 {
    if check_range(schedule, 0, guess).is_ok() && schedule.log_snr(guess) == lambda {
        guess
    } else {
        schedule.time_of_log_snr(lambda)
    }
}

pub(super) fn check_positive(name: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 { Ok(()) } else { Err(Error::setting(name, value, "a finite number above 0")) }
}

pub(super) fn check_ends(t_max: f64, t_min: f64) -> Result<()> {
    if !t_min.is_finite() {
        return Err(Error::setting("t_min", t_min, "a finite number"));
    }
    if !(t_max.is_finite() && t_max > t_min) {
        return Err(Error::setting("t_max", t_max, "a finite number above t_min"));
    }
    Ok(())
}

/// Whether every time lies in the range of the schedule.
pub(super) fn check_within(times: &[f64], schedule: &dyn NoiseSchedule) -> Result<()> {
    times.iter().enumerate().try_for_each(|(index, &time)| match time.is_finite() {
        true => check_range(schedule, index, time),
        false => Err(Error::GridNotFinite { index, time }),
    })
}

fn check_range(schedule: &dyn NoiseSchedule, index: usize, time: f64) -> Result<()> {
    let (min, max) = schedule.range();
    if (min..=max).contains(&time) { Ok(()) } else { Err(Error::GridRange { index, time, min, max }) }
}

/// Whether the schedule reaches the noise level with half log-SNR `lambda`, which the user wrote as `value`.
pub(super) fn check_reach(schedule: &dyn NoiseSchedule, name: &'static str, value: f64, lambda: f64) -> Result<()> {
    let (data, noise) = schedule.range();
    let (most, least) = (schedule.log_snr(data), schedule.log_snr(noise));
    if lambda > most + END_SLACK || lambda < least - END_SLACK {
        let expected = "a noise level that the schedule reaches";
        return Err(Error::setting(name, value, expected));
    }
    Ok(())
}

pub(super) fn length_error(points: usize) -> Error {
    Error::GridLength { points, max: MAX_STEPS + 1 }
}
