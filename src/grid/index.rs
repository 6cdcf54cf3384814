//! Entries of a table, the timestep spacings in use for networks trained on discrete steps.
//!
//! The three rules and their names are those of Lin et al. (arXiv 2305.08891, table 2); rounding follows the
//! timestep_spacing settings of the diffusers library, so that a network sees the same timesteps.

use crate::error::{Error, Result};
use crate::grid::Spacing;
use crate::schedule::NoiseSchedule;

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
    }
}

/// The `steps` + 1 times at which sigma / alpha is that of equally spaced indices, linear between the entries.
pub(super) fn levels(schedule: &dyn NoiseSchedule, n: usize, steps: usize) -> Vec<f64> {
    let last = n - 1;
    let ratio = |k: f64| (-schedule.log_snr(k)).exp();
    let time = |i: usize| {
        let index = (i * last) as f64 / steps.max(1) as f64;
        let (below, part) = (index.floor(), index.fract());
        if part == 0.0 {
            return index;
        }
        schedule.time_of_log_snr(-((1.0 - part) * ratio(below) + part * ratio(below + 1.0)).ln())
    };
    (0..=steps).rev().map(time).collect()
}
