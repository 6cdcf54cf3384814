//! Time grids: the times at which a sampler stands, from the noise down to the data.

use crate::error::Result;
use crate::schedule::NoiseSchedule;

mod align_your_steps;
mod beta;
mod comfy;
mod flow;
mod index;
mod piadm;
mod resolve;
mod scheduler;
mod sigmas;
pub(crate) mod times;
#[cfg(feature = "serde")]
mod written;

pub use align_your_steps::AlignYourSteps;
pub use piadm::Resolution;
pub use scheduler::Spacing;
pub use sigmas::Sigmas;
pub use times::MAX_STEPS;

use index::Interpolation;

/// How the times of a run are chosen: a recipe, which a [`Problem`](crate::Problem) works out on its schedule.
///
/// The times strictly decrease; the first is the noisy end, and two neighbours make a step. Nothing is checked before
/// the recipe meets a schedule: [`times`](Grid::times) shows what it gives there, or says what is wrong.
///
/// Where [`between`](Grid::between) does not set them, the ends are those of the schedule's range, or of the range that
/// the network was trained on ([`Model::time_range`](crate::Model::time_range)) where that is narrower. Of a table of
/// noise levels the range is from its first entry to its last.
///
/// ```
/// use piadm::Grid;
/// use piadm::schedule::{Discrete, VpLinear};
///
/// let times = Grid::log_snr(20).between(1.0, 1e-3).times(&VpLinear::default())?;
/// assert_eq!((times[0], times[20]), (1.0, 1e-3));
/// let times = Grid::log_snr(20).times(&Discrete::stable_diffusion())?;
/// assert_eq!((times[0], times[20]), (999.0, 0.0));
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "written::Written", into = "written::Written"))]
pub struct Grid {
    rule: Rule,
    /// Noisy end and data end, where the user sets them.
    ends: Option<(f64, f64)>,
    last: Last,
    /// Whether one more step goes to the data.
    then_data: bool,
    /// The noise-to-signal ratio of every spaced time is multiplied by it; 1 leaves them as they are.
    shift: f64,
}

/// What the last of the steps is that the rule counts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Last {
    /// One like the others.
    #[default]
    Spaced,
    /// A step to the data; the others are spaced.
    Data,
    /// A step to the data; all are spaced, and the last time gives way to the data.
    InPlace,
}

/// How the times between the ends are spaced.
#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Times(Vec<f64>),
    Ratios(Vec<f64>),
    Uniform {
        steps: usize,
    },
    LinearQuadratic {
        steps: usize,
        threshold: f64,
    },
    /// With the smallest and the largest ratio, where the rule has them.
    Sigmas {
        steps: usize,
        spacing: Sigmas,
        sigmas: Option<(f64, f64)>,
    },
    AlignYourSteps {
        steps: usize,
        model: AlignYourSteps,
    },
    Piadm {
        h: f64,
        resolution: Resolution,
    },
    Table {
        steps: usize,
        spacing: Spacing,
    },
    Levels {
        steps: usize,
        interpolation: Interpolation,
    },
    BetaTable {
        steps: usize,
        alpha: f64,
        beta: f64,
    },
}

impl Grid {
    /// Times of your own, strictly decreasing.
    ///
    /// ```
    /// use piadm::{schedule::Ou, Grid};
    ///
    /// assert_eq!(Grid::new([1.0, 0.5, 0.1]).times(&Ou)?.len(), 3);
    /// assert!(Grid::new([0.1, 1.0]).times(&Ou).is_err());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn new(times: impl Into<Vec<f64>>) -> Self {
        Self::of(Rule::Times(times.into()))
    }

    /// Equal steps in time.
    ///
    /// ```
    /// use piadm::{schedule::Flow, Grid};
    ///
    /// assert_eq!(Grid::uniform(4).times(&Flow)?, [1.0, 0.75, 0.5, 0.25, 0.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn uniform(steps: usize) -> Self {
        Self::of(Rule::Uniform { steps })
    }

    /// Equal steps in the log-SNR, which must be finite at both ends ([`then_data`](Self::then_data) adds a last step
    /// to sigma = 0).
    ///
    /// ```
    /// use piadm::{schedule::Edm, Grid};
    ///
    /// let times = Grid::log_snr(2).between(4.0, 1.0).times(&Edm)?;
    /// assert!((times[1] - 2.0).abs() < 1e-15); // geometric in sigma
    /// assert!(Grid::log_snr(2).times(&Edm).is_err()); // from infinity to 0
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn log_snr(steps: usize) -> Self {
        Self::sigmas(steps, Sigmas::Exponential)
    }

    /// Noise-to-signal ratios sigma/alpha of your own, strictly decreasing, on any schedule: sigma itself on
    /// [`Edm`](crate::schedule::Edm), t = r/(1 + r) on [`Flow`](crate::schedule::Flow), a time between the entries on a
    /// table. A 0 at the end means the data.
    ///
    /// A ratio that is at most 1e-4 (relative) beyond the end of the schedule's range means that end: lists are often
    /// printed with five digits. The sigmas of a flow pipeline are times: [`Grid::new`].
    ///
    /// ```
    /// use piadm::{schedule::{Discrete, Edm, Flow}, Grid};
    ///
    /// let grid = Grid::from_sigmas([3.0, 1.0, 0.0]);
    /// assert_eq!(grid.times(&Edm)?, [3.0, 1.0, 0.0]);
    /// assert_eq!(grid.times(&Flow)?, [0.75, 0.5, 0.0]);
    /// let times = Grid::from_sigmas([14.615, 1.0]).times(&Discrete::stable_diffusion())?;
    /// assert_eq!(times[0], 999.0); // 14.6146
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn from_sigmas(sigmas: impl Into<Vec<f64>>) -> Self {
        Self::of(Rule::Ratios(sigmas.into()))
    }

    /// Noise-to-signal ratios sigma/alpha that are spaced by a rule, between those at the ends: of the schedule, of a
    /// table its entries, or [`between`](Self::between) two times. [`karras`](Self::karras) and its kin take ratios for
    /// ends instead.
    ///
    /// ```
    /// use piadm::{grid::Sigmas, schedule::Discrete, Grid};
    ///
    /// let times = Grid::sigmas(19, Sigmas::Karras { rho: 7.0 }).then_data().times(&Discrete::stable_diffusion())?;
    /// assert_eq!((times[0], times[19], times[20]), (999.0, 0.0, -1.0));
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn sigmas(steps: usize, spacing: Sigmas) -> Self {
        Self::of(Rule::Sigmas { steps, spacing, sigmas: None })
    }

    /// The grid of Karras et al. (arXiv 2206.00364, equation 5) in the noise-to-signal ratio sigma/alpha, which is
    /// sigma itself for variance-exploding schedules:
    /// ratio_i = (max^(1/rho) + i/steps (min^(1/rho) - max^(1/rho)))^rho. EDM uses 0.002, 80, rho = 7.
    ///
    /// The paper's last step, to sigma = 0, is added by [`then_data`](Self::then_data). A ratio within a millionth
    /// (relative) of the end of the schedule's range means that end.
    ///
    /// ```
    /// use piadm::{schedule::Edm, Grid};
    ///
    /// let times = Grid::karras(17, 0.002, 80.0, 7.0).then_data().times(&Edm)?;
    /// assert_eq!((times.len(), times[18]), (19, 0.0));
    /// assert!((times[1] - 57.586).abs() < 1e-3);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn karras(steps: usize, sigma_min: f64, sigma_max: f64, rho: f64) -> Self {
        Self::of(Rule::Sigmas { steps, spacing: Sigmas::Karras { rho }, sigmas: Some((sigma_min, sigma_max)) })
    }

    /// The grid of PIADM (arXiv 2405.15986): blocks of Ornstein-Uhlenbeck length `h`, cut from `t_max` down, and in
    /// each block steps proportional to min(1, t): uniform above t = 1, geometric below.
    ///
    /// The ends and `h` are in OU time, log(1 + (sigma/alpha)^2), so that the grid has the same noise levels for every
    /// schedule; for [`Ou`](crate::schedule::Ou) they are its own times. The last block may be shorter. Block ends are
    /// grid points, and a block has equal steps in the clock s = t above 1 and 1 + log t below: for
    /// [`Resolution::Step`] as many as keep them at most that long, for [`Resolution::Steps`] its share of the whole
    /// clock, rounded, and at least one.
    ///
    /// ```
    /// use piadm::{grid::Resolution, schedule::Ou, Grid};
    ///
    /// let times = Grid::piadm(1.0, Resolution::Step(0.5)).between(3.0, 0.25).times(&Ou)?;
    /// // Blocks end at 2, 1 and 0.25; the last has ceil(log(4) / 0.5) = 3 steps.
    /// assert_eq!(times.len() - 1, 2 + 2 + 3);
    /// assert_eq!(times[..5], [3.0, 2.5, 2.0, 1.5, 1.0]);
    /// assert!((times[6] / times[5] - 0.25f64.cbrt()).abs() < 1e-15);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn piadm(h: f64, resolution: Resolution) -> Self {
        Self::of(Rule::Piadm { h, resolution })
    }

    /// `steps` + 1 entries of the schedule's table, spaced as networks trained on discrete steps are sampled.
    ///
    /// With N entries and n = `steps` + 1 times, [`Leading`](Spacing::Leading) takes the indices i floor(N/n) + offset,
    /// [`Trailing`](Spacing::Trailing) round(N - i N/n) - 1 and [`Linspace`](Spacing::Linspace) round(i (N-1)/(n-1)),
    /// halves to even; [`Simple`](Spacing::Simple) takes N - 1 - floor(i N/n).
    ///
    /// ```
    /// use piadm::{grid::Spacing, schedule::Discrete, Grid};
    ///
    /// let schedule = Discrete::stable_diffusion();
    /// let times = |spacing| Grid::table(3, spacing).times(&schedule);
    /// assert_eq!(times(Spacing::Leading { offset: 1 })?, [751.0, 501.0, 251.0, 1.0]);
    /// assert_eq!(times(Spacing::Trailing)?, [999.0, 749.0, 499.0, 249.0]);
    /// assert_eq!(times(Spacing::Linspace)?, [999.0, 666.0, 333.0, 0.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn table(steps: usize, spacing: Spacing) -> Self {
        Self::of(Rule::Table { steps, spacing })
    }

    fn of(rule: Rule) -> Self {
        Grid { rule, ends: None, last: Last::Spaced, then_data: false, shift: 1.0 }
    }

    /// The first and the last time, in the schedule's clock, or in OU time for [`piadm`](Self::piadm).
    ///
    /// ```
    /// use piadm::{schedule::Ou, Grid};
    ///
    /// assert_eq!(Grid::uniform(2).between(3.0, 1.0).times(&Ou)?, [3.0, 2.0, 1.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn between(mut self, t_max: f64, t_min: f64) -> Self {
        self.ends = Some((t_max, t_min));
        self
    }

    /// One more step, to the data: the schedule's first time, where sigma = 0. A grid of 0 steps is then its noisy end
    /// and the data.
    ///
    /// ```
    /// use piadm::{schedule::Flow, Grid};
    ///
    /// let grid = Grid::uniform(2).between(1.0, 0.5).then_data();
    /// assert_eq!(grid.times(&Flow)?, [1.0, 0.75, 0.5, 0.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn then_data(mut self) -> Self {
        self.then_data = true;
        self
    }

    /// The times on a schedule.
    ///
    /// # Errors
    /// [`Error::Setting`] for a setting out of its range: a number of steps beyond 1 to [`MAX_STEPS`], ends that are
    /// not finite or not in order, noise levels that the schedule does not reach, indices that are not distinct, a last
    /// step to data that the schedule does not have. [`Error::GridEnd`] where an end has to be set.
    /// [`Error::GridLength`], [`Error::GridNotFinite`], [`Error::GridOrder`] and [`Error::GridRange`] for times that
    /// are no grid on this schedule, also where neighbours collide in f64. [`Error::Unsupported`] for entries of a
    /// table where the schedule has none.
    ///
    /// [`Error::Setting`]: crate::Error::Setting
    /// [`Error::GridEnd`]: crate::Error::GridEnd
    /// [`Error::GridLength`]: crate::Error::GridLength
    /// [`Error::GridNotFinite`]: crate::Error::GridNotFinite
    /// [`Error::GridOrder`]: crate::Error::GridOrder
    /// [`Error::GridRange`]: crate::Error::GridRange
    /// [`Error::Unsupported`]: crate::Error::Unsupported
    ///
    /// ```
    /// use piadm::{schedule::{Flow, Ou}, Error, Grid};
    ///
    /// assert_eq!(Grid::uniform(1).times(&Flow)?, [1.0, 0.0]);
    /// assert!(matches!(Grid::uniform(1).times(&Ou), Err(Error::GridEnd { .. }))); // infinite
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn times(&self, schedule: &(impl NoiseSchedule + ?Sized)) -> Result<Vec<f64>> {
        self.resolve(&schedule, None).map(Vec::from)
    }
}
