//! The grid of PIADM: blocks of fixed Ornstein-Uhlenbeck length, with steps that shrink near the data.

use super::{
    MAX_STEPS, TimeGrid, between, check_ends, check_positive, check_reach, check_steps, length_error, time_of_log_snr,
};
use crate::error::{Error, Result};
use crate::schedule::{NoiseSchedule, Ou};

/// A remainder below this fraction of a block, or of a step, is rounding and gets no block or step of its own.
const ROUNDING: f64 = 1e-9;

/// How finely [`TimeGrid::piadm`] cuts its blocks.
///
/// ```
/// use piadm::grid::{Resolution, TimeGrid};
/// use piadm::schedule::Ou;
///
/// let by_step = TimeGrid::piadm(&Ou, 3.0, 1.0, 1.0, Resolution::Step(0.1))?;
/// let by_count = TimeGrid::piadm(&Ou, 3.0, 1.0, 1.0, Resolution::Steps(20))?;
/// assert_eq!(by_step, by_count);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Resolution {
    /// The longest step in the clock of the grid: e of the paper's steps e min(1, t).
    Step(f64),
    /// The number of steps in all.
    Steps(usize),
}

impl TimeGrid {
    /// The grid of PIADM (arXiv 2405.15986): blocks of Ornstein-Uhlenbeck length `h`, cut from `t_max` down, and in
    /// each block steps proportional to min(1, t): uniform above t = 1, geometric below.
    ///
    /// `t_max`, `t_min` and `h` are in OU time, log(1 + (sigma/alpha)^2), so that the grid has the same noise levels
    /// for every schedule; for [`Ou`] they are its own times. The last block may be shorter. Block ends are grid
    /// points, and a block has equal steps in the clock s = t above 1 and 1 + log t below: for
    /// [`Resolution::Step`] as many as keep them at most that long, for [`Resolution::Steps`] its share
    /// of the whole clock, rounded, and at least one.
    ///
    /// # Errors
    /// [`Error::Setting`] unless 0 < `t_min` < `t_max`, `h` > 0 and the step length > 0, all finite, the schedule
    /// reaches both noise levels, and there is a step for every block; [`Error::GridLength`] unless there are 1 to
    /// [`MAX_STEPS`] steps; [`Error::GridOrder`] if neighbours collide in f64.
    ///
    /// ```
    /// use piadm::grid::{Resolution, TimeGrid};
    /// use piadm::schedule::Ou;
    ///
    /// let grid = TimeGrid::piadm(&Ou, 3.0, 0.25, 1.0, Resolution::Step(0.5))?;
    /// // Blocks end at 2, 1 and 0.25; the last has ceil(log(4) / 0.5) = 3 steps.
    /// assert_eq!(grid.steps(), 2 + 2 + 3);
    /// assert_eq!(grid.times()[..5], [3.0, 2.5, 2.0, 1.5, 1.0]);
    /// assert!((grid.times()[6] / grid.times()[5] - 0.25f64.cbrt()).abs() < 1e-15);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn piadm(schedule: &dyn NoiseSchedule, t_max: f64, t_min: f64, h: f64, resolution: Resolution) -> Result<Self> {
        check_positive("t_min", t_min)?;
        check_ends(t_max, t_min)?;
        check_positive("h", h)?;
        check_reach(schedule, "t_max", t_max, Ou.log_snr(t_max))?;
        check_reach(schedule, "t_min", t_min, Ou.log_snr(t_min))?;
        let blocks = ((t_max - t_min) / h - ROUNDING).ceil().max(1.0);
        if blocks > MAX_STEPS as f64 {
            return Err(length_error((blocks as usize).saturating_add(1)));
        }
        let blocks = blocks as usize;
        let end = |k: usize| {
            if k == blocks { t_min } else { t_max - k as f64 * h }
        };
        let steps = steps_of_blocks(blocks, resolution, |k| clock(end(k)))?;
        let mut times = vec![time_of_ou(schedule, t_max)];
        for (k, steps) in steps.into_iter().enumerate() {
            let (first, last) = (clock(end(k)), clock(end(k + 1)));
            let inner = (1..steps).map(|i| time_of_clock(between(first, last, i, steps)));
            times.extend(inner.chain([end(k + 1)]).map(|tau| time_of_ou(schedule, tau)));
        }
        let grid = Self::new(times)?;
        grid.check(schedule)?;
        Ok(grid)
    }
}

/// The number of steps of each block, given the clock at the ends of the blocks.
fn steps_of_blocks(blocks: usize, resolution: Resolution, clock_at_end: impl Fn(usize) -> f64) -> Result<Vec<usize>> {
    let mut steps = Vec::with_capacity(blocks);
    match resolution {
        Resolution::Step(longest) => {
            check_positive("Resolution::Step", longest)?;
            let mut total = 0.0;
            for k in 0..blocks {
                let length = clock_at_end(k) - clock_at_end(k + 1);
                let count = (length / longest - ROUNDING).ceil().max(1.0);
                total += count;
                if total > MAX_STEPS as f64 {
                    return Err(length_error((total as usize).saturating_add(1)));
                }
                steps.push(count as usize);
            }
        }
        Resolution::Steps(n) => {
            check_steps(n)?;
            if n < blocks {
                return Err(Error::setting(
                    "Resolution::Steps",
                    format!("{n} steps for {blocks} blocks"),
                    "at least one step for each block",
                ));
            }
            // Rounding the running sum, not each share, makes the total exact.
            let first = clock_at_end(0);
            let whole = first - clock_at_end(blocks);
            let mut before = 0;
            for k in 1..=blocks {
                let share = (first - clock_at_end(k)) / whole * n as f64;
                let after = (share.round() as usize).clamp(before + 1, n - (blocks - k));
                steps.push(after - before);
                before = after;
            }
        }
    }
    Ok(steps)
}

/// The clock in which the steps are equal: ds = dt / min(1, t).
fn clock(tau: f64) -> f64 {
    if tau >= 1.0 { tau } else { 1.0 + tau.ln() }
}

fn time_of_clock(s: f64) -> f64 {
    if s >= 1.0 { s } else { (s - 1.0).exp() }
}

fn time_of_ou(schedule: &dyn NoiseSchedule, tau: f64) -> f64 {
    time_of_log_snr(schedule, Ou.log_snr(tau), tau)
}
