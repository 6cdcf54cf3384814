//! The grids of published samplers, ending at sigma = 0, under the names by which their users know them.

use super::{TimeGrid, check_steps};
use crate::error::{Error, Result};
use crate::schedule::{Discrete, NoiseSchedule};

/// Which entries of a table the steps start from: `timestep_spacing` of the diffusers library (Lin et al.,
/// arXiv 2305.08891, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Spacing {
    /// Multiples of a whole stride, shifted by `offset` (`steps_offset`; 1 for Stable Diffusion, 0 by default).
    Leading {
        /// Added to every index.
        offset: usize,
    },
    /// From the last entry down.
    Trailing,
    /// Both the first and the last entry.
    Linspace,
}

impl TimeGrid {
    /// The timesteps of `DDPMScheduler` and `DDIMScheduler` and then the data: `steps` table indices from
    /// [`leading`](TimeGrid::leading), [`trailing`](TimeGrid::trailing) or [`linspace`](TimeGrid::linspace), and
    /// sigma = 0. With one step, `Leading` stands at its offset, `Trailing` at the last entry and `Linspace` at entry 0.
    ///
    /// `set_alpha_to_one = False` and `final_sigmas_type = "sigma_min"` end at time 0, table entry 0, in place of -1.
    ///
    /// # Errors
    /// [`Error::Setting`] unless 1 <= `steps` <= [`MAX_STEPS`](super::MAX_STEPS) and the indices are distinct and in
    /// the table.
    ///
    /// ```
    /// use piadm::grid::{Spacing, TimeGrid};
    /// use piadm::schedule::Discrete;
    ///
    /// let schedule = Discrete::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = TimeGrid::ddpm_timesteps(&schedule, Spacing::Leading { offset: 1 }, 4)?;
    /// assert_eq!(grid.times(), &[751.0, 501.0, 251.0, 1.0, -1.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn ddpm_timesteps(schedule: &Discrete, spacing: Spacing, steps: usize) -> Result<Self> {
        check_steps(steps)?;
        let n = schedule.len();
        let grid = match (spacing, steps) {
            (Spacing::Leading { offset }, 1) if offset >= n => {
                return Err(Error::setting("offset", offset, "an index of the table"));
            }
            (Spacing::Leading { offset }, 1) => return Self::new([offset as f64, -1.0]),
            (Spacing::Trailing, 1) => return Self::new([(n - 1) as f64, -1.0]),
            (Spacing::Linspace, 1) => return Self::new([0.0, -1.0]),
            (Spacing::Leading { offset }, _) => Self::leading(n, steps - 1, offset),
            (Spacing::Trailing, _) => Self::trailing(n, steps - 1),
            (Spacing::Linspace, _) => Self::linspace(n, steps - 1),
        };
        grid?.then_data(schedule)
    }

    /// The timesteps of `DPMSolverMultistepScheduler` and then the data. `Leading` and `Linspace` are spaced as if there
    /// were one step more, whose timestep, the smallest, is left out; `Trailing` is
    /// [`ddpm_timesteps`](TimeGrid::ddpm_timesteps)'.
    ///
    /// # Errors
    /// As [`ddpm_timesteps`](TimeGrid::ddpm_timesteps).
    ///
    /// ```
    /// use piadm::grid::{Spacing, TimeGrid};
    /// use piadm::schedule::Discrete;
    ///
    /// let schedule = Discrete::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = TimeGrid::dpm_solver_timesteps(&schedule, Spacing::Linspace, 3)?;
    /// assert_eq!(grid.times(), &[999.0, 666.0, 333.0, -1.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn dpm_solver_timesteps(schedule: &Discrete, spacing: Spacing, steps: usize) -> Result<Self> {
        let grid = match spacing {
            Spacing::Leading { offset } => Self::leading(schedule.len(), steps, offset)?,
            Spacing::Linspace => Self::linspace(schedule.len(), steps)?,
            Spacing::Trailing => return Self::ddpm_timesteps(schedule, spacing, steps),
        };
        let mut times = grid.times;
        if let Some(last) = times.last_mut() {
            *last = -1.0;
        }
        Self::new(times)
    }

    /// The noise levels of `EulerDiscreteScheduler` and `HeunDiscreteScheduler` and then the data. `Leading` and
    /// `Trailing` are [`ddpm_timesteps`](TimeGrid::ddpm_timesteps)'; `Linspace` does not round the indices and takes
    /// sigma/alpha linear between the entries of the table.
    ///
    /// The times are those at which this schedule, whose log alpha is linear, has that sigma/alpha. They differ from
    /// the fractional index that these schedulers hand to the network by at most 0.043 of an index on the table of
    /// Stable Diffusion, and by 0.0013 beyond index 50.
    ///
    /// # Errors
    /// As [`ddpm_timesteps`](TimeGrid::ddpm_timesteps), but `Linspace` may have more steps than the table has entries;
    /// [`Error::GridOrder`] for levels that collide, as all between a last entry 0 and the entry before it do.
    ///
    /// ```
    /// use piadm::grid::{Spacing, TimeGrid};
    /// use piadm::schedule::Discrete;
    ///
    /// let schedule = Discrete::scaled_linear(1000, 0.00085, 0.012)?;
    /// let grid = TimeGrid::euler_timesteps(&schedule, Spacing::Linspace, 3)?;
    /// assert_eq!((grid.times()[0], grid.times()[2], grid.times()[3]), (999.0, 0.0, -1.0));
    /// assert!((grid.times()[1] - 499.5).abs() < 1e-3);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn euler_timesteps(schedule: &Discrete, spacing: Spacing, steps: usize) -> Result<Self> {
        if spacing != Spacing::Linspace || steps < 2 {
            return Self::ddpm_timesteps(schedule, spacing, steps);
        }
        check_steps(steps)?;
        let (last, parts) = (schedule.len() - 1, (steps - 1) as f64);
        let ratio = |k: f64| (-schedule.log_snr(k)).exp();
        let time = |i: usize| {
            let index = (i * last) as f64 / parts;
            let (below, part) = (index.floor(), index.fract());
            if part == 0.0 {
                return index;
            }
            schedule.time_of_log_snr(-((1.0 - part) * ratio(below) + part * ratio(below + 1.0)).ln())
        };
        Self::new((0..steps).rev().map(time).collect::<Vec<_>>())?.then_data(schedule)
    }

    /// `get_sigmas_karras` of k-diffusion: `n` noise levels from `sigma_max` to `sigma_min`, as
    /// [`karras`](TimeGrid::karras) spaces them, and then sigma = 0. That is `n` steps; `rho` is 7 by default there.
    ///
    /// # Errors
    /// As [`karras`](TimeGrid::karras) with `n` - 1 steps and [`then_data`](TimeGrid::then_data).
    ///
    /// ```
    /// use piadm::{grid::TimeGrid, schedule::Edm};
    ///
    /// let grid = TimeGrid::get_sigmas_karras(&Edm, 3, 0.002, 80.0, 7.0)?;
    /// assert_eq!((grid.times()[0], grid.times()[2], grid.times()[3]), (80.0, 0.002, 0.0));
    /// assert!((grid.times()[1] - 2.515).abs() < 1e-3);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn get_sigmas_karras(
        schedule: &dyn NoiseSchedule,
        n: usize,
        sigma_min: f64,
        sigma_max: f64,
        rho: f64,
    ) -> Result<Self> {
        Self::karras(schedule, sigma_min, sigma_max, rho, n.saturating_sub(1))?.then_data(schedule)
    }
}
