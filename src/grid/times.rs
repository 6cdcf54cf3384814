//! The times of a run, and the rules that need no table.

use crate::error::{Error, Result};
use crate::schedule::NoiseSchedule;

/// The largest number of steps of a grid.
pub const MAX_STEPS: usize = 1 << 24;

/// How far a log-SNR may lie outside the schedule's range and still mean its end: tables often come in f32.
pub(super) const END_SLACK: f64 = 1e-6;

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

/// Of a way from `t_max` to `t_min` a small share `threshold` in equal steps, half of them, and the rest in steps that
/// grow linearly, without a jump of the step's length where they meet (movie models: Mochi).
pub(super) fn linear_quadratic((t_max, t_min): (f64, f64), threshold: f64, steps: usize) -> Result<Vec<f64>> {
    check_ends(t_max, t_min)?;
    let (linear, n) = ((steps / 2) as f64, steps as f64);
    if steps > 1 && !(threshold > 0.0 && threshold * n < linear) {
        let expected = "a share above 0 that half of the steps do not reach, if all are equal: below about a half";
        return Err(Error::setting("threshold", threshold, expected));
    }
    let slope = threshold / linear;
    let curvature = (1.0 - slope * n) / (n - linear).powi(2);
    let done = |i: f64| slope * i + curvature * (i - linear).max(0.0).powi(2);
    let inner = (1..steps).map(|i| t_max + done(i as f64) * (t_min - t_max));
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

pub(super) fn check_range(schedule: &dyn NoiseSchedule, index: usize, time: f64) -> Result<()> {
    let (min, max) = schedule.range();
    if (min..=max).contains(&time) { Ok(()) } else { Err(Error::GridRange { index, time, min, max }) }
}

/// Whether the schedule reaches the noise level with half log-SNR `lambda`, which the user wrote as `value`.
pub(super) fn check_reach(
    schedule: &dyn NoiseSchedule,
    name: &'static str,
    value: f64,
    lambda: f64,
    slack: f64,
) -> Result<()> {
    let (data, noise) = schedule.range();
    let (most, least) = (schedule.log_snr(data), schedule.log_snr(noise));
    if lambda > most + slack || lambda < least - slack {
        let expected = "a noise level that the schedule reaches";
        return Err(Error::setting(name, value, expected));
    }
    Ok(())
}

pub(super) fn length_error(points: usize) -> Error {
    Error::GridLength { points, max: MAX_STEPS + 1 }
}
