//! Entries of a table, the timestep spacings in use for networks trained on discrete steps.
//!
//! The three rules and their names are those of Lin et al. (arXiv 2305.08891, table 2); rounding follows the
//! timestep_spacing settings of the diffusers library, so that a network sees the same timesteps.

use crate::error::{Error, Result};
use crate::grid::Spacing;
use crate::grid::beta::Beta;
use crate::schedule::NoiseSchedule;

/// What is expected of a number of steps.
pub(super) const DISTINCT: &str = "fewer steps, so that every time is an entry of its own";

/// What is linear in the index between two entries: sigma/alpha, or its logarithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interpolation {
    Linear,
    LogLinear,
}

/// `steps` + 1 of the `n` entries, from the noise down; there are that many.
pub(super) fn entries(n: usize, spacing: Spacing, steps: usize) -> Result<Vec<f64>> {
    let (entries, size) = (steps + 1, n as f64);
    match spacing {
        Spacing::Leading { offset } => {
            let stride = n / entries;
            let first = (steps * stride).saturating_add(offset);
            if first >= n {
                return Err(Error::setting("offset", offset, "an offset that keeps the largest index in the table"));
            }
            Ok((0..entries).rev().map(|i| (i * stride + offset) as f64).collect())
        }
        Spacing::Trailing => {
            // the step as numpy's arange rounds it: it decides which way a half goes
            let stride = (size - size / entries as f64) - size;
            Ok((0..entries).map(|i| (size + i as f64 * stride).round_ties_even() - 1.0).collect())
        }
        Spacing::Linspace => {
            // a single entry is the first, as numpy's linspace has it
            let stride = (size - 1.0) / steps.max(1) as f64;
            Ok((0..entries).rev().map(|i| (i as f64 * stride).round_ties_even()).collect())
        }
        Spacing::Simple => {
            let stride = size / entries as f64;
            Ok((0..entries).map(|i| size - 1.0 - (i as f64 * stride).floor()).collect())
        }
    }
}

/// The `steps` + 1 of the `n` entries that lie at equally spaced quantiles of the Beta law.
pub(super) fn beta(n: usize, (alpha, beta): (f64, f64), steps: usize) -> Result<Vec<f64>> {
    let law = Beta::new(alpha, beta)?;
    let share = |i: usize| 1.0 - i as f64 / (steps + 1) as f64;
    let times: Vec<f64> = (0..=steps).map(|i| (law.quantile(share(i)) * (n - 1) as f64).round_ties_even()).collect();
    match times.windows(2).all(|pair| pair[1] < pair[0]) {
        true => Ok(times),
        false => Err(Error::setting("steps", steps + 1, DISTINCT)),
    }
}

/// The `steps` + 1 times at which sigma / alpha is that of equally spaced indices, interpolated between the entries.
pub(super) fn levels(schedule: &dyn NoiseSchedule, n: usize, interpolation: Interpolation, steps: usize) -> Vec<f64> {
    let last = n - 1;
    // one level: torch's linspace begins with the noise, numpy's with the data
    if steps == 0 && matches!(interpolation, Interpolation::LogLinear) {
        return vec![last as f64];
    }
    let time = |i: usize| {
        let index = (i * last) as f64 / steps.max(1) as f64;
        let (below, part) = (index.floor(), index.fract());
        if part == 0.0 {
            return index;
        }
        let ends = [below, below + 1.0].map(|k| schedule.log_snr(k));
        let lambda = match interpolation {
            Interpolation::Linear => {
                let ratio = ends.map(|lambda| (-lambda).exp());
                -((1.0 - part) * ratio[0] + part * ratio[1]).ln()
            }
            Interpolation::LogLinear => (1.0 - part) * ends[0] + part * ends[1],
        };
        schedule.time_of_log_snr(lambda)
    };
    (0..=steps).rev().map(time).collect()
}
