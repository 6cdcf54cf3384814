//! Time grids: the times at which a sampler stands, from the noise down to the data.

use crate::error::{Error, Result};
use crate::schedule::{Level, NoiseSchedule};
use times::TimeGrid;

mod index;
mod piadm;
mod scheduler;
pub(crate) mod times;
#[cfg(feature = "serde")]
mod written;

pub use piadm::Resolution;
pub use scheduler::Spacing;
pub use times::MAX_STEPS;

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
    /// Whether the last of the steps that the rule counts goes to the data.
    to_data: bool,
    /// Whether one more step goes to the data.
    then_data: bool,
}

/// How the times between the ends are spaced.
#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Times(Vec<f64>),
    Uniform { steps: usize },
    LogSnr { steps: usize },
    Karras { steps: usize, sigma_min: f64, sigma_max: f64, rho: f64 },
    Piadm { h: f64, resolution: Resolution },
    Table { spacing: Spacing, steps: usize },
    DpmSolver { spacing: Spacing, steps: usize },
    Euler { steps: usize },
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
        Self::of(Rule::LogSnr { steps })
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
        Self::of(Rule::Karras { steps, sigma_min, sigma_max, rho })
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
    /// halves to even.
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
        Self::of(Rule::Table { spacing, steps })
    }

    fn of(rule: Rule) -> Self {
        Grid { rule, ends: None, to_data: false, then_data: false }
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

    /// The same, for a network trained on a range of times.
    pub(crate) fn resolve(&self, schedule: &dyn NoiseSchedule, trained: Option<(f64, f64)>) -> Result<TimeGrid> {
        let mut times = self.points(schedule, trained)?;
        for _ in 0..usize::from(self.to_data) + usize::from(self.then_data) {
            if times.is_empty() {
                return Err(times::length_error(0));
            }
            times::check_within(&times, schedule)?;
            times.push(times::data_time(schedule)?);
        }
        let grid = TimeGrid::new(times)?;
        times::check_within(grid.times(), schedule)?;
        Ok(grid)
    }

    /// The times without a last step to the data.
    fn points(&self, schedule: &dyn NoiseSchedule, trained: Option<(f64, f64)>) -> Result<Vec<f64>> {
        let steps = self.spaced_steps(schedule)?;
        if let (Some(ends), false) = (self.ends, self.rule.has_free_ends()) {
            return Err(Error::Unsupported {
                what: "Grid::between",
                with: format!("{ends:?} on a grid with ends of its own"),
                instead: "leave it out, or take Grid::uniform, Grid::log_snr or Grid::piadm",
            });
        }
        let counted = self.rule.steps().is_some();
        match self.rule {
            Rule::Times(ref times) => Ok(times.clone()),
            _ if counted && steps == 0 && self.rule.has_free_ends() => self.noisy_end(schedule, trained),
            Rule::Uniform { .. } => times::uniform(self.ends(schedule, trained)?, steps),
            Rule::LogSnr { .. } => times::log_snr(schedule, self.ends(schedule, trained)?, steps),
            Rule::Karras { sigma_min, sigma_max, rho, .. } => {
                times::karras(schedule, (sigma_min, sigma_max), rho, steps)
            }
            Rule::Piadm { h, resolution } => {
                let ends = match self.ends {
                    Some(ends) => ends,
                    None => {
                        let (t_max, t_min) = self.ends(schedule, trained)?;
                        (Level::at(schedule, t_max).ou_time(), Level::at(schedule, t_min).ou_time())
                    }
                };
                let resolution = match resolution {
                    Resolution::Steps(_) => Resolution::Steps(steps),
                    step => step,
                };
                piadm::times(schedule, ends, h, resolution)
            }
            Rule::Table { spacing, .. } => index::entries(table(schedule)?, spacing, steps),
            Rule::DpmSolver { spacing, .. } => {
                // spaced as if there were one step more
                let mut times = index::entries(table(schedule)?, spacing, steps + 1)?;
                times.pop();
                Ok(times)
            }
            Rule::Euler { .. } => Ok(index::levels(schedule, table(schedule)?, steps)),
        }
    }

    /// How many steps the rule spaces; none where the data follow a single time, or where it does not count them.
    fn spaced_steps(&self, schedule: &dyn NoiseSchedule) -> Result<usize> {
        let Some(given) = self.rule.steps() else { return Ok(0) };
        let (least, most) = match (self.then_data, self.to_data) {
            (true, false) => (0, MAX_STEPS - 1),
            _ => (1, MAX_STEPS),
        };
        if !(least..=most).contains(&given) {
            return Err(Error::setting("steps", given, "1 to 2^24 steps, a last one to the data included"));
        }
        let steps = given - usize::from(self.to_data);
        let distinct = match self.rule {
            Rule::Table { .. } => steps < table(schedule)?,
            Rule::DpmSolver { .. } => steps + 1 < table(schedule)?,
            _ => true,
        };
        if !distinct {
            return Err(Error::setting("steps", given, "fewer steps, so that every time is an entry of its own"));
        }
        Ok(steps)
    }

    /// The ends that were given, or those of the schedule and the network.
    fn ends(&self, schedule: &dyn NoiseSchedule, trained: Option<(f64, f64)>) -> Result<(f64, f64)> {
        if let Some(ends) = self.ends {
            return Ok(ends);
        }
        let (first, last) = schedule.range();
        let first = if schedule.table().is_some() { 0.0 } else { first };
        let (least, most) = trained.unwrap_or((first, last));
        Ok((self.own_end("t_max", last.min(most), schedule)?, self.own_end("t_min", first.max(least), schedule)?))
    }

    /// The noisy end alone.
    fn noisy_end(&self, schedule: &dyn NoiseSchedule, trained: Option<(f64, f64)>) -> Result<Vec<f64>> {
        let most = trained.map_or(f64::INFINITY, |(_, most)| most);
        match (self.ends, &self.rule) {
            (None, _) => Ok(vec![self.own_end("t_max", schedule.range().1.min(most), schedule)?]),
            (Some((t_max, t_min)), rule) => {
                times::check_ends(t_max, t_min)?;
                let piadm = matches!(rule, Rule::Piadm { .. });
                Ok(vec![if piadm { piadm::noisy_end(schedule, t_max)? } else { t_max }])
            }
        }
    }

    /// An end that nobody has set: it must be one that a grid can have, and leave room for a last step to the data.
    fn own_end(&self, end: &'static str, time: f64, schedule: &dyn NoiseSchedule) -> Result<f64> {
        let has_log_snr = matches!(self.rule, Rule::Uniform { .. }) || schedule.log_snr(time).is_finite();
        let is_data = self.then_data && end == "t_min" && schedule.sigma(time) == 0.0;
        if time.is_finite() && has_log_snr && !is_data { Ok(time) } else { Err(Error::GridEnd { end, time }) }
    }
}

impl Rule {
    /// The number of steps, where it is given.
    fn steps(&self) -> Option<usize> {
        match *self {
            Rule::Uniform { steps }
            | Rule::LogSnr { steps }
            | Rule::Karras { steps, .. }
            | Rule::Piadm { resolution: Resolution::Steps(steps), .. }
            | Rule::Table { steps, .. }
            | Rule::DpmSolver { steps, .. }
            | Rule::Euler { steps } => Some(steps),
            Rule::Times(_) | Rule::Piadm { .. } => None,
        }
    }

    /// Whether the ends are not part of the rule.
    fn has_free_ends(&self) -> bool {
        matches!(self, Rule::Uniform { .. } | Rule::LogSnr { .. } | Rule::Piadm { .. })
    }
}

/// Number of entries of the schedule's table.
fn table(schedule: &dyn NoiseSchedule) -> Result<usize> {
    match schedule.table() {
        Some(n) if (1..=MAX_STEPS).contains(&n) => Ok(n),
        Some(n) => Err(Error::setting("schedule.table()", n, "1 to 2^24 entries")),
        None => Err(Error::Unsupported {
            what: "a grid of table entries",
            with: format!("{schedule:?}"),
            instead: "take a schedule with a table (Discrete), or another grid",
        }),
    }
}
