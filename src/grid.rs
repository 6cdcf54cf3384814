//! Time grids: the times at which a sampler stands, from the noise down to the data.

use crate::error::{Error, Result};
use crate::schedule::NoiseSchedule;

mod index;
mod piadm;
mod scheduler;

pub use piadm::Resolution;
pub use scheduler::Spacing;

/// The largest number of steps of a grid.
pub const MAX_STEPS: usize = 1 << 24;

/// How far a log-SNR may lie outside the schedule's range and still mean its end: tables often come in f32.
const END_SLACK: f64 = 1e-6;

/// A strictly decreasing list of finite times: index 0 is the noisy end, each pair of neighbours is a step.
///
/// The times are those of one schedule; [`check`](TimeGrid::check) tells whether they lie in its range.
///
/// ```
/// use piadm::grid::TimeGrid;
/// use piadm::schedule::VpLinear;
///
/// let grid = TimeGrid::log_snr(&VpLinear::default(), 1.0, 1e-3, 20)?;
/// assert_eq!(grid.steps(), 20);
/// assert_eq!((grid.times()[0], grid.times()[20]), (1.0, 1e-3));
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(try_from = "Vec<f64>", into = "Vec<f64>")
)]
pub struct TimeGrid {
    times: Vec<f64>,
}

impl TimeGrid {
    /// A grid of the user's own times.
    ///
    /// # Errors
    /// [`Error::GridLength`] unless there are 2 to [`MAX_STEPS`] + 1 times, [`Error::GridNotFinite`] for a NaN or
    /// infinite time, and [`Error::GridOrder`] unless they strictly decrease.
    ///
    /// ```
    /// use piadm::grid::TimeGrid;
    ///
    /// assert_eq!(TimeGrid::new([1.0, 0.5, 0.1])?.steps(), 2);
    /// assert!(TimeGrid::new([0.1, 1.0]).is_err());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn new(times: impl Into<Vec<f64>>) -> Result<Self> {
        let times = times.into();
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

    /// The times, strictly decreasing.
    ///
    /// ```
    /// use piadm::grid::TimeGrid;
    ///
    /// assert_eq!(TimeGrid::new([1.0, 0.5])?.times(), &[1.0, 0.5]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// Number of steps, one less than there are times.
    ///
    /// ```
    /// use piadm::grid::TimeGrid;
    ///
    /// assert_eq!(TimeGrid::new([1.0, 0.5, 0.1])?.steps(), 2);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn steps(&self) -> usize {
        self.times.len() - 1
    }

    /// Whether every time lies in the range of `schedule`.
    ///
    /// # Errors
    /// [`Error::GridRange`] names the first time that does not.
    ///
    /// ```
    /// use piadm::{grid::TimeGrid, schedule::Flow};
    ///
    /// assert!(TimeGrid::new([1.0, 0.0])?.check(&Flow).is_ok());
    /// assert!(TimeGrid::new([1.5, 0.0])?.check(&Flow).is_err());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn check(&self, schedule: &dyn NoiseSchedule) -> Result<()> {
        let outside = |&(index, &time): &(usize, &f64)| check_range(schedule, index, time).is_err();
        match self.times.iter().enumerate().find(outside) {
            Some((index, &time)) => check_range(schedule, index, time),
            None => Ok(()),
        }
    }

    /// Equal steps in time, from `t_max` to `t_min`.
    ///
    /// # Errors
    /// [`Error::Setting`] unless `t_max` and `t_min` are finite and `t_max` > `t_min` and 1 <= `steps` <=
    /// [`MAX_STEPS`]; [`Error::GridOrder`] if neighbours collide in f64.
    ///
    /// ```
    /// use piadm::grid::TimeGrid;
    ///
    /// assert_eq!(TimeGrid::uniform(1.0, 0.0, 4)?.times(), &[1.0, 0.75, 0.5, 0.25, 0.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn uniform(t_max: f64, t_min: f64, steps: usize) -> Result<Self> {
        check_ends(t_max, t_min)?;
        check_steps(steps)?;
        Self::new((0..=steps).map(|i| between(t_max, t_min, i, steps)).collect::<Vec<_>>())
    }

    /// Equal steps in log-SNR, from exactly `t_max` to exactly `t_min`.
    ///
    /// # Errors
    /// As [`uniform`](Self::uniform); [`Error::GridRange`] if an end lies outside the schedule's range;
    /// [`Error::Setting`] if the log-SNR of an end is infinite (alpha(`t_max`) = 0 or sigma(`t_min`) = 0:
    /// [`then_data`](Self::then_data) adds a last step to sigma = 0).
    ///
    /// ```
    /// use piadm::{grid::TimeGrid, schedule::Edm};
    ///
    /// let grid = TimeGrid::log_snr(&Edm, 4.0, 1.0, 2)?;
    /// assert!((grid.times()[1] - 2.0).abs() < 1e-15); // geometric in sigma
    /// assert!(TimeGrid::log_snr(&Edm, 4.0, 0.0, 2).is_err());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn log_snr(schedule: &dyn NoiseSchedule, t_max: f64, t_min: f64, steps: usize) -> Result<Self> {
        check_ends(t_max, t_min)?;
        check_steps(steps)?;
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
        let inner = (1..steps).map(|i| schedule.time_of_log_snr(between(first, last, i, steps)));
        Self::from_parts(schedule, t_max, inner, t_min)
    }

    /// The grid of Karras et al. (arXiv 2206.00364, equation 5) in the noise-to-signal ratio sigma/alpha, which is
    /// sigma itself for variance-exploding schedules:
    /// ratio_i = (max^(1/rho) + i/steps (min^(1/rho) - max^(1/rho)))^rho. EDM uses 0.002, 80, rho = 7.
    ///
    /// The paper's last step, to sigma = 0, is added by [`then_data`](Self::then_data). A ratio within a millionth
    /// (relative) of the end of the schedule's range means that end.
    ///
    /// # Errors
    /// [`Error::Setting`] unless 0 < `sigma_min` < `sigma_max` and `rho` > 0, all finite, the schedule reaches
    /// both ratios, and 1 <= `steps` <= [`MAX_STEPS`]; [`Error::GridOrder`] if neighbours collide in f64.
    ///
    /// ```
    /// use piadm::{grid::TimeGrid, schedule::Edm};
    ///
    /// let grid = TimeGrid::karras(&Edm, 0.002, 80.0, 7.0, 17)?.then_data(&Edm)?;
    /// assert_eq!(grid.steps(), 18);
    /// assert!((grid.times()[1] - 57.586).abs() < 1e-3);
    /// assert_eq!(grid.times()[18], 0.0);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn karras(
        schedule: &dyn NoiseSchedule,
        sigma_min: f64,
        sigma_max: f64,
        rho: f64,
        steps: usize,
    ) -> Result<Self> {
        check_positive("sigma_min", sigma_min)?;
        check_positive("sigma_max", sigma_max)?;
        check_positive("rho", rho)?;
        if sigma_max <= sigma_min {
            return Err(Error::setting("sigma_max", sigma_max, "more than sigma_min"));
        }
        check_steps(steps)?;
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
        Self::from_parts(schedule, t_max, inner, t_min)
    }

    /// The same grid with one more step, to the data: the schedule's first time, where sigma = 0.
    ///
    /// # Errors
    /// [`Error::Setting`] if sigma is not 0 there; [`Error::GridRange`] if the grid does not fit the schedule;
    /// [`Error::GridOrder`] if it ends there already; [`Error::GridLength`] if it has [`MAX_STEPS`] steps.
    ///
    /// ```
    /// use piadm::{grid::TimeGrid, schedule::Flow};
    ///
    /// let grid = TimeGrid::uniform(1.0, 0.5, 2)?.then_data(&Flow)?;
    /// assert_eq!(grid.times(), &[1.0, 0.75, 0.5, 0.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn then_data(self, schedule: &dyn NoiseSchedule) -> Result<Self> {
        self.check(schedule)?;
        let data = schedule.range().0;
        if schedule.sigma(data) != 0.0 {
            let expected = "a schedule whose first time is the data (sigma = 0)";
            return Err(Error::setting("schedule.range().0", data, expected));
        }
        let mut times = self.times;
        times.push(data);
        Self::new(times)
    }

    /// The grid with ends `first` and `last` and the times of `inner` between them.
    fn from_parts(
        schedule: &dyn NoiseSchedule,
        first: f64,
        inner: impl Iterator<Item = f64>,
        last: f64,
    ) -> Result<Self> {
        let times = std::iter::once(first).chain(inner).chain([last]);
        let grid = Self::new(times.collect::<Vec<_>>())?;
        grid.check(schedule)?;
        Ok(grid)
    }
}

impl TryFrom<Vec<f64>> for TimeGrid {
    type Error = Error;

    fn try_from(times: Vec<f64>) -> Result<Self> {
        Self::new(times)
    }
}

impl From<TimeGrid> for Vec<f64> {
    fn from(grid: TimeGrid) -> Self {
        grid.times
    }
}

/// Point `i` of `steps` equal steps from `first` to `last`, both hit exactly.
fn between(first: f64, last: f64, i: usize, steps: usize) -> f64 {
    let (i, n) = (i as f64, steps as f64);
    (n - i) / n * first + i / n * last
}

/// The schedule's time of half log-SNR `lambda`, which is `guess` if that has it: so the times that a user wrote in
/// the schedule's own clock (sigma for EDM, OU time for Ornstein-Uhlenbeck) are hit without the inverse's rounding.
fn time_of_log_snr(schedule: &dyn NoiseSchedule, lambda: f64, guess: f64) -> f64 {
    if check_range(schedule, 0, guess).is_ok() && schedule.log_snr(guess) == lambda {
        guess
    } else {
        schedule.time_of_log_snr(lambda)
    }
}

fn check_positive(name: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 { Ok(()) } else { Err(Error::setting(name, value, "a finite number above 0")) }
}

fn check_ends(t_max: f64, t_min: f64) -> Result<()> {
    if !t_min.is_finite() {
        return Err(Error::setting("t_min", t_min, "a finite number"));
    }
    if !(t_max.is_finite() && t_max > t_min) {
        return Err(Error::setting("t_max", t_max, "a finite number above t_min"));
    }
    Ok(())
}

fn check_steps(steps: usize) -> Result<()> {
    match steps {
        1..=MAX_STEPS => Ok(()),
        _ => Err(Error::setting("steps", steps, "1 to 2^24 steps")),
    }
}

fn check_range(schedule: &dyn NoiseSchedule, index: usize, time: f64) -> Result<()> {
    let (min, max) = schedule.range();
    if (min..=max).contains(&time) { Ok(()) } else { Err(Error::GridRange { index, time, min, max }) }
}

/// Whether the schedule reaches the noise level with half log-SNR `lambda`, which the user wrote as `value`.
fn check_reach(schedule: &dyn NoiseSchedule, name: &'static str, value: f64, lambda: f64) -> Result<()> {
    let (data, noise) = schedule.range();
    let (most, least) = (schedule.log_snr(data), schedule.log_snr(noise));
    if lambda > most + END_SLACK || lambda < least - END_SLACK {
        let expected = "a noise level that the schedule reaches";
        return Err(Error::setting(name, value, expected));
    }
    Ok(())
}

fn length_error(points: usize) -> Error {
    Error::GridLength { points, max: MAX_STEPS + 1 }
}
