//! Grids of table indices, the timestep spacings in use for networks trained on discrete steps.
//!
//! The three rules and their names are those of Lin et al. (arXiv 2305.08891, table 2); rounding follows the
//! timestep_spacing settings of the diffusers library, so that a network sees the same timesteps.

use super::{MAX_STEPS, TimeGrid, check_steps};
use crate::error::{Error, Result};

impl TimeGrid {
    /// Table indices i * floor(N/n) + `offset` for i = n-1..0, with N = `n_train` and n = `steps` + 1 times
    /// (DDIM's spacing; Stable Diffusion uses `offset` = 1). It reaches neither N-1 nor, usually, full noise.
    ///
    /// # Errors
    /// [`Error::Setting`] unless 1 <= `steps` <= [`MAX_STEPS`], 1 <= `n_train` <= [`MAX_STEPS`], the n indices are distinct (n <= N) and all lie below N.
    ///
    /// ```
    /// use piadm::grid::TimeGrid;
    ///
    /// assert_eq!(TimeGrid::leading(1000, 3, 1)?.times(), &[751.0, 501.0, 251.0, 1.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn leading(n_train: usize, steps: usize, offset: usize) -> Result<Self> {
        check_table(n_train, steps)?;
        let stride = n_train / (steps + 1);
        let first = (steps * stride).saturating_add(offset);
        if first >= n_train {
            let expected = "an offset that keeps the largest index below n_train";
            return Err(Error::setting("offset", offset, expected));
        }
        from_indices((0..=steps).rev().map(|i| (i * stride + offset) as f64))
    }

    /// Table indices round(N - i N/n) - 1 for i = 0..n-1, halves to even, with N = `n_train` and n = `steps` + 1
    /// times. It starts at the last entry N-1.
    ///
    /// # Errors
    /// As [`leading`](Self::leading).
    ///
    /// ```
    /// use piadm::grid::TimeGrid;
    ///
    /// assert_eq!(TimeGrid::trailing(1000, 3)?.times(), &[999.0, 749.0, 499.0, 249.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn trailing(n_train: usize, steps: usize) -> Result<Self> {
        check_table(n_train, steps)?;
        let n = n_train as f64;
        // The step as numpy's arange rounds it: it decides which way a half goes.
        let stride = (n - n / (steps + 1) as f64) - n;
        from_indices((0..=steps).map(|i| (n + i as f64 * stride).round_ties_even() - 1.0))
    }

    /// Table indices round(i (N-1)/(n-1)) for i = n-1..0, halves to even, with N = `n_train` and n = `steps` + 1
    /// times. It has both the first and the last entry.
    ///
    /// # Errors
    /// As [`leading`](Self::leading).
    ///
    /// ```
    /// use piadm::grid::TimeGrid;
    ///
    /// assert_eq!(TimeGrid::linspace(1000, 3)?.times(), &[999.0, 666.0, 333.0, 0.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn linspace(n_train: usize, steps: usize) -> Result<Self> {
        check_table(n_train, steps)?;
        let stride = (n_train - 1) as f64 / steps as f64;
        from_indices((0..=steps).rev().map(|i| (i as f64 * stride).round_ties_even()))
    }
}

fn check_table(n_train: usize, steps: usize) -> Result<()> {
    check_steps(steps)?;
    if !(1..=MAX_STEPS).contains(&n_train) {
        return Err(Error::setting("n_train", n_train, "1 to 2^24 entries"));
    }
    if steps >= n_train {
        return Err(Error::setting("steps", steps, "fewer steps than n_train, so that all indices are distinct"));
    }
    Ok(())
}

fn from_indices(indices: impl Iterator<Item = f64>) -> Result<TimeGrid> {
    TimeGrid::new(indices.collect::<Vec<_>>())
}
