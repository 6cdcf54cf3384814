//! The grids of published samplers, ending at sigma = 0, under the names by which their users know them.

use crate::grid::index::Interpolation;
use crate::grid::{Grid, Last, Rule, Sigmas};
use crate::names::names;

/// Which entries of a table the steps start from: `timestep_spacing` of the diffusers library (Lin et al.,
/// arXiv 2305.08891, table 2), and that of ComfyUI's `simple`.
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
    /// From the last entry down, rounded towards the noise: ComfyUI's `simple`.
    Simple,
}

names! { Spacing, "spacing of timesteps";
    Leading = "leading" { offset: "a whole number" = 0 }, Trailing = "trailing", Linspace = "linspace", Simple = "simple",
}

impl Grid {
    /// The timesteps of `DDPMScheduler` and `DDIMScheduler` and then the data: `steps` entries of the
    /// [`table`](Grid::table) and sigma = 0. With one step, `Leading` stands at its offset, `Trailing` at the last
    /// entry and `Linspace` at entry 0.
    ///
    /// `set_alpha_to_one = False` and `final_sigmas_type = "sigma_min"` end at time 0, table entry 0, in place of -1.
    ///
    /// ```
    /// use piadm::{grid::Spacing, schedule::Discrete, Grid};
    ///
    /// let grid = Grid::ddpm_timesteps(4, Spacing::Leading { offset: 1 });
    /// assert_eq!(grid.times(&Discrete::stable_diffusion())?, [751.0, 501.0, 251.0, 1.0, -1.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn ddpm_timesteps(steps: usize, spacing: Spacing) -> Self {
        to_data(Rule::Table { steps, spacing })
    }

    /// The timesteps of `DPMSolverMultistepScheduler` and then the data. `Leading` and `Linspace` are spaced as if
    /// there were one step more, whose timestep, the smallest, is left out; `Trailing` is
    /// [`ddpm_timesteps`](Grid::ddpm_timesteps)'.
    ///
    /// ```
    /// use piadm::{grid::Spacing, schedule::Discrete, Grid};
    ///
    /// let grid = Grid::dpm_solver_timesteps(3, Spacing::Linspace);
    /// assert_eq!(grid.times(&Discrete::stable_diffusion())?, [999.0, 666.0, 333.0, -1.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn dpm_solver_timesteps(steps: usize, spacing: Spacing) -> Self {
        match spacing {
            Spacing::Trailing | Spacing::Simple => Self::ddpm_timesteps(steps, spacing),
            _ => Grid { last: Last::InPlace, ..Self::table(steps, spacing) },
        }
    }

    /// The noise levels of `EulerDiscreteScheduler` and `HeunDiscreteScheduler` and then the data. `Leading` and
    /// `Trailing` are [`ddpm_timesteps`](Grid::ddpm_timesteps)'; `Linspace` does not round the indices and takes
    /// sigma/alpha linear between the entries of the table, so that it may have more steps than the table has entries.
    ///
    /// The times are those at which this schedule, whose log alpha is linear, has that sigma/alpha. They differ from
    /// the fractional index that these schedulers hand to the network by at most 0.043 of an index on the table of
    /// Stable Diffusion, and by 0.0013 beyond index 50.
    ///
    /// ```
    /// use piadm::{grid::Spacing, schedule::Discrete, Grid};
    ///
    /// let times = Grid::euler_timesteps(3, Spacing::Linspace).times(&Discrete::stable_diffusion())?;
    /// assert_eq!((times[0], times[2], times[3]), (999.0, 0.0, -1.0));
    /// assert!((times[1] - 499.5).abs() < 1e-3);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn euler_timesteps(steps: usize, spacing: Spacing) -> Self {
        match spacing {
            Spacing::Linspace => to_data(Rule::Levels { steps, interpolation: Interpolation::Linear }),
            _ => Self::ddpm_timesteps(steps, spacing),
        }
    }

    /// `get_sigmas_karras` of k-diffusion: `n` noise levels from `sigma_max` to `sigma_min`, as
    /// [`karras`](Grid::karras) spaces them, and then sigma = 0. That is `n` steps; `rho` is 7 by default there.
    ///
    /// ```
    /// use piadm::{schedule::Edm, Grid};
    ///
    /// let times = Grid::get_sigmas_karras(3, 0.002, 80.0, 7.0).times(&Edm)?;
    /// assert_eq!((times[0], times[2], times[3]), (80.0, 0.002, 0.0));
    /// assert!((times[1] - 2.515).abs() < 1e-3);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn get_sigmas_karras(n: usize, sigma_min: f64, sigma_max: f64, rho: f64) -> Self {
        to_data(Rule::Sigmas { steps: n, spacing: Sigmas::Karras { rho }, sigmas: Some((sigma_min, sigma_max)) })
    }

    /// `get_sigmas_exponential` of k-diffusion: `n` noise levels in geometric steps from `sigma_max` to `sigma_min`,
    /// and then sigma = 0.
    ///
    /// ```
    /// use piadm::{schedule::Edm, Grid};
    ///
    /// let times = Grid::get_sigmas_exponential(3, 0.5, 8.0).times(&Edm)?;
    /// assert_eq!((times[0], times[2], times[3]), (8.0, 0.5, 0.0));
    /// assert!((times[1] - 2.0).abs() < 1e-14);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn get_sigmas_exponential(n: usize, sigma_min: f64, sigma_max: f64) -> Self {
        to_data(Rule::Sigmas { steps: n, spacing: Sigmas::Exponential, sigmas: Some((sigma_min, sigma_max)) })
    }

    /// `get_sigmas_polyexponential` of k-diffusion: `n` noise levels, log sigma falling like a power `rho` of the way
    /// that is left ([`Sigmas::Polyexponential`]), and then sigma = 0.
    ///
    /// ```
    /// use piadm::{schedule::Edm, Grid};
    ///
    /// let times = Grid::get_sigmas_polyexponential(3, 0.5, 8.0, 2.0).times(&Edm)?;
    /// assert!((times[1] - 1.0).abs() < 1e-14); // a quarter of log 16 above 0.5
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn get_sigmas_polyexponential(n: usize, sigma_min: f64, sigma_max: f64, rho: f64) -> Self {
        let spacing = Sigmas::Polyexponential { rho };
        to_data(Rule::Sigmas { steps: n, spacing, sigmas: Some((sigma_min, sigma_max)) })
    }

    /// The noise levels of diffusers' schedulers with `use_karras_sigmas`, `use_exponential_sigmas` or
    /// `use_beta_sigmas`: `n` sigmas between those of the last and the first entry of the table, and then the data.
    ///
    /// `EulerDiscreteScheduler` and `HeunDiscreteScheduler` take the ends of their timesteps instead, which are those
    /// of the table with `timestep_spacing = "linspace"`; [`between`](Self::between) sets others. The network is told
    /// the time that has the sigma; DPM-Solver rounds it to an entry.
    ///
    /// ```
    /// use piadm::{grid::Sigmas, schedule::Discrete, Grid};
    ///
    /// let grid = Grid::scheduler_sigmas(20, Sigmas::Karras { rho: 7.0 });
    /// let times = grid.times(&Discrete::stable_diffusion())?;
    /// assert_eq!((times[0], times[19], times[20]), (999.0, 0.0, -1.0));
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn scheduler_sigmas(n: usize, spacing: Sigmas) -> Self {
        Grid { last: Last::Data, ..Self::sigmas(n, spacing) }
    }
}

/// A grid whose last step goes to the data.
pub(super) fn to_data(rule: Rule) -> Grid {
    Grid { last: Last::Data, ..Grid::of(rule) }
}
