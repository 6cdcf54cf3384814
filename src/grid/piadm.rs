//! The grid of PIADM: blocks of fixed Ornstein-Uhlenbeck length, with steps that shrink near the data.

use crate::error::{Error, Result};
use crate::grid::times::{
    END_SLACK, MAX_STEPS, between, check_ends, check_positive, check_reach, length_error, time_of_log_snr,
};
use crate::schedule::{NoiseSchedule, Ou};

/// A remainder below this fraction of a block, or of a step, is rounding and gets no block or step of its own.
const ROUNDING: f64 = 1e-9;

/// How finely [`Grid::piadm`](crate::Grid::piadm) cuts its blocks.
///
/// ```
/// use piadm::{grid::Resolution, schedule::Ou, Grid};
///
/// let times = |resolution| Grid::piadm(1.0, resolution).between(3.0, 1.0).times(&Ou);
/// assert_eq!(times(Resolution::Step(0.1))?, times(Resolution::Steps(20))?);
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

/// The times of [`Grid::piadm`](crate::Grid::piadm), with ends in OU time.
pub(super) fn times(
    schedule: &dyn NoiseSchedule,
    (t_max, t_min): (f64, f64),
    h: f64,
    resolution: Resolution,
) -> Result<Vec<f64>> {
    check_positive("t_min", t_min)?;
    check_ends(t_max, t_min)?;
    check_positive("h", h)?;
    check_reach(schedule, "t_max", t_max, Ou.log_snr(t_max), END_SLACK)?;
    check_reach(schedule, "t_min", t_min, Ou.log_snr(t_min), END_SLACK)?;
    let mut times = vec![time_of_ou(schedule, t_max)];
    let blocks = ((t_max - t_min) / h - ROUNDING).ceil().max(1.0);
    if blocks > MAX_STEPS as f64 {
        return Err(length_error((blocks as usize).saturating_add(1)));
    }
    let blocks = blocks as usize;
    let end = |k: usize| {
        if k == blocks { t_min } else { t_max - k as f64 * h }
    };
    let steps = steps_of_blocks(blocks, resolution, |k| clock(end(k)))?;
    for (k, steps) in steps.into_iter().enumerate() {
        let (first, last) = (clock(end(k)), clock(end(k + 1)));
        let inner = (1..steps).map(|i| time_of_clock(between(first, last, i, steps)));
        times.extend(inner.chain([end(k + 1)]).map(|tau| time_of_ou(schedule, tau)));
    }
    Ok(times)
}

/// The time at the noisy end.
pub(super) fn noisy_end(schedule: &dyn NoiseSchedule, t_max: f64) -> Result<f64> {
    check_positive("t_max", t_max)?;
    check_reach(schedule, "t_max", t_max, Ou.log_snr(t_max), END_SLACK)?;
    Ok(time_of_ou(schedule, t_max))
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
