//! Grids under their names in ComfyUI, where they are not known by others.

use crate::grid::index::Interpolation;
use crate::grid::{Grid, Last, Rule, Sigmas, Spacing, scheduler::to_data};

impl Grid {
    /// ComfyUI's `simple`: `n` entries of a table in nearly equal distances from the last one down, and then the data.
    ///
    /// ```
    /// use piadm::{schedule::Discrete, Grid};
    ///
    /// let times = Grid::simple(3).times(&Discrete::stable_diffusion())?;
    /// assert_eq!(times, [999.0, 666.0, 333.0, -1.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn simple(n: usize) -> Self {
        Self::ddpm_timesteps(n, Spacing::Simple)
    }

    /// ComfyUI's `normal`: `n` equally spaced indices from the last entry of a table to the first, and then the data.
    /// Between entries, log(sigma/alpha) is linear in the index. On a flow: [`uniform`](Self::uniform) with a
    /// [`shift`](Self::shift).
    ///
    /// ```
    /// use piadm::{schedule::Discrete, Grid};
    ///
    /// let times = Grid::normal(3).times(&Discrete::stable_diffusion())?;
    /// assert_eq!((times[0], times[2], times[3]), (999.0, 0.0, -1.0));
    /// assert!((times[1] - 499.5).abs() < 1e-3);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn normal(n: usize) -> Self {
        to_data(Rule::Levels { steps: n, interpolation: Interpolation::LogLinear })
    }

    /// ComfyUI's `sgm_uniform`: as [`normal`](Self::normal) for one more level, of which the last gives way to the
    /// data.
    ///
    /// ```
    /// use piadm::{schedule::Discrete, Grid};
    ///
    /// let times = Grid::sgm_uniform(3).times(&Discrete::stable_diffusion())?;
    /// assert_eq!(times, [999.0, 666.0, 333.0, -1.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn sgm_uniform(n: usize) -> Self {
        Grid { last: Last::InPlace, ..Self::normal(n) }
    }

    /// ComfyUI's `beta`: the `n` entries of a table at the quantiles 1, 1 - 1/n, ..., 1/n of the Beta law, rounded, and
    /// then the data (Lee et al., arXiv 2407.12173; alpha = beta = 0.6 there). diffusers' `use_beta_sigmas` spaces the
    /// ratios and not the entries: [`scheduler_sigmas`](Self::scheduler_sigmas).
    ///
    /// An entry that would be taken twice is an error; ComfyUI leaves it out.
    ///
    /// ```
    /// use piadm::{schedule::Discrete, Grid};
    ///
    /// let times = Grid::beta(4, 0.6, 0.6).times(&Discrete::stable_diffusion())?;
    /// assert_eq!(times, [999.0, 823.0, 500.0, 176.0, -1.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn beta(n: usize, alpha: f64, beta: f64) -> Self {
        to_data(Rule::BetaTable { steps: n, alpha, beta })
    }

    /// ComfyUI's `kl_optimal`: `n` noise levels whose arctan goes in equal steps from that of `sigma_max` to that of
    /// `sigma_min` ([`Sigmas::KlOptimal`]), and then sigma = 0.
    ///
    /// ```
    /// use piadm::{schedule::Edm, Grid};
    ///
    /// let times = Grid::kl_optimal(3, 0.03, 15.0).times(&Edm)?;
    /// assert!((times[1] - ((15.0f64.atan() + 0.03f64.atan()) / 2.0).tan()).abs() < 1e-14);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn kl_optimal(n: usize, sigma_min: f64, sigma_max: f64) -> Self {
        let sigmas = Some((sigma_min, sigma_max));
        to_data(Rule::Sigmas { steps: n, spacing: Sigmas::KlOptimal, sigmas })
    }

    /// `linear_quadratic` of Mochi and ComfyUI, for [`Flow`](crate::schedule::Flow): half of the steps take a small
    /// share `threshold` (0.025) of the way from 1 to 0, in equal steps; the others grow from there, linearly.
    /// [`between`](Self::between) sets other ends.
    ///
    /// ```
    /// use piadm::{schedule::Flow, Grid};
    ///
    /// let times = Grid::linear_quadratic(8, 0.025).times(&Flow)?;
    /// assert_eq!((times[0], times[8]), (1.0, 0.0));
    /// assert!((times[4] - 0.975).abs() < 1e-15);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn linear_quadratic(steps: usize, threshold: f64) -> Self {
        Self::of(Rule::LinearQuadratic { steps, threshold })
    }
}
