//! The paper's recipe: from the dimension and the accuracy to grid, scheme and sampler.

use crate::backend::Cpu;
use crate::engine::accept::acceptance::{Acceptance, Sweeps};
use crate::engine::settings::Picard;
use crate::error::{Error, Result};
use crate::grid::{Grid, Resolution};
use crate::names::names;
use crate::nodes::{Correction, Form, Scheme, Window};
use crate::problem::{Problem, Solution};
use crate::sampler::interface::Sampler;
use crate::schedule::{Level, NoiseSchedule};
use crate::score::ScoreFn;
use crate::setters::setters;

/// Which reverse dynamics is solved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Dynamics {
    /// The reverse stochastic differential equation (PIADM-SDE).
    #[default]
    Sde,
    /// The probability-flow ordinary differential equation (predictor of PIADM-ODE).
    Ode,
}

names! { Dynamics, "kind of dynamics"; Sde = "sde", Ode = "ode" }

/// PIADM, "Accelerating Diffusion Models with Parallel Sampling: Inference at Sub-Linear Time Complexity" (arXiv
/// 2405.15986), for data of `dim` elements and accuracy `delta`.
///
/// The paper fixes orders, not constants. All times are Ornstein-Uhlenbeck times, whatever the schedule. The defaults
/// here are:
///
/// | parameter | paper | default |
/// |---|---|---|
/// | `t_max`, horizon | O(log(d/delta^2)) | ln(d) + 2 ln(1/delta), at least 1; cut to the score's trained range |
/// | `h`, block length | O(1) | 1 |
/// | `eps`, step | SDE O(1/d), ODE O(1/sqrt d) | 1/(2d), at most 1/8; 1/(2 sqrt d), at most 1/4; steps are eps min(1, t) |
/// | `t_min`, early stop | delta | delta; raised to the score's trained range |
/// | `correction`, after each block (ODE) | friction O(sqrt L), time O(1/sqrt L), steps O(1/sqrt d) of it | [`Correction::for_dim`] |
/// | `depth`, sweeps per block | O(log(d/delta^2)) | 3 + half of ln(d) + 2 ln(1/delta), rounded up: measured to leave an error to the sequential path below delta/10 |
///
/// Every field that is `None` takes its default.
///
/// ```
/// use piadm::{sampler::Dynamics, score::Mixture, Ou, Piadm, Problem, Sampler};
/// let piadm = Piadm::new(2, 0.1, Dynamics::Sde);
/// let recipe = piadm.recipe(&Ou, None)?;
/// let mut score = Mixture::new(vec![0.5, 0.5], ndarray::array![[-1.0, 0.0], [1.0, 0.0]], vec![0.2, 0.2])?;
/// let problem = Problem::new(Ou, recipe.grid, recipe.scheme).samples(4).shape([2]).seed(1);
/// let solution = recipe.sampler.sample(&problem, &mut score)?;
/// assert_eq!(solution.report.sweeps.len(), 6); // blocks of length 1 from t_max = 5.3 on
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct Piadm {
    /// Elements of a sample, d.
    pub dim: usize,
    /// Accuracy delta in (0, 1).
    pub delta: f64,
    /// SDE or ODE.
    #[cfg_attr(feature = "serde", serde(default))]
    pub dynamics: Dynamics,
    /// Horizon.
    pub t_max: Option<f64>,
    /// Early stop.
    pub t_min: Option<f64>,
    /// Block length.
    pub h: Option<f64>,
    /// Step size at t >= 1.
    pub eps: Option<f64>,
    /// Number of steps, in place of `eps`.
    pub steps: Option<usize>,
    /// Sweeps a block.
    pub depth: Option<usize>,
    /// The corrector of PIADM-ODE.
    pub correction: Option<Correction>,
    /// Sweeps until nodes are accepted in place of a fixed depth; `depth`, where given too, is then the most sweeps a
    /// block may take.
    #[cfg_attr(feature = "serde", serde(rename = "tolerance"))]
    pub acceptance: Option<Acceptance>,
}

setters! { Piadm, "Piadm::new(2, 0.1, Dynamics::Ode)";
    dim: usize = "16",
    delta: f64 = "0.05",
    dynamics: Dynamics = "Dynamics::Sde",
    t_max?: f64 = "5.0",
    t_min?: f64 = "0.01",
    h?: f64 = "0.5",
    eps?: f64 = "0.125",
    steps?: usize = "100",
    depth?: usize = "4",
    correction?: Correction = "Correction::default()",
    acceptance?: Acceptance = "Acceptance::Exact",
}

/// What [`Piadm`] decides: plain values, to be used as they are or changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The paper's grid: uniform, then geometric near the data, cut at block ends.
    pub grid: Grid,
    /// Exponential integrator in score form.
    pub scheme: Scheme,
    /// Blocks with a barrier: the whole of PIADM-SDE, the predictor of PIADM-ODE.
    pub sampler: Picard,
    /// PIADM-ODE: the parallel underdamped Langevin corrector that follows every block of this length
    /// ([`Problem::correction`](crate::Problem::correction)). The published barrier is `sampler` with
    /// [`Window::Marked`]. `None` for the SDE.
    pub correction: Option<(Window, Correction)>,
}

impl Piadm {
    /// All defaults.
    pub const fn new(dim: usize, delta: f64, dynamics: Dynamics) -> Self {
        Piadm {
            dim,
            delta,
            dynamics,
            t_max: None,
            t_min: None,
            h: None,
            eps: None,
            steps: None,
            depth: None,
            correction: None,
            acceptance: None,
        }
    }

    /// Samples as the recipe says, with seed 0, in f32 on the CPU. For another seed, backend or sampler take the
    /// [`recipe`](Self::recipe).
    ///
    /// # Errors
    /// As [`recipe`](Self::recipe) and [`Sampler::run`](crate::Sampler::run).
    ///
    /// ```
    /// use piadm::prelude::*;
    /// use piadm::{sampler::Dynamics, score::Mixture};
    /// let mut score = Mixture::new(vec![0.5, 0.5], ndarray::array![[-1.0, 0.0], [1.0, 0.0]], vec![0.2, 0.2])?;
    /// let solution = Piadm::new(2, 0.1, Dynamics::Sde).sample(Ou, 4, &mut score)?;
    /// assert_eq!(solution.samples.dim(), (4, 2));
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn sample(
        &self,
        schedule: impl NoiseSchedule + 'static,
        samples: usize,
        score: &mut dyn ScoreFn<Cpu<f32>>,
    ) -> Result<Solution<Cpu<f32>>> {
        let recipe = self.recipe(&schedule, score.time_range())?;
        let mut problem = Problem::new(schedule, recipe.grid, recipe.scheme).samples(samples).shape([self.dim]);
        if let Some((block, correction)) = recipe.correction {
            problem = problem.correction(block, correction);
        }
        recipe.sampler.sample(&problem, score)
    }

    /// Grid, scheme and sampler on a schedule, for a score trained on `time_range` (in the schedule's own time, as
    /// [`Model::time_range`](crate::Model::time_range) gives it).
    ///
    /// # Errors
    /// [`Error::Setting`] for a dim of 0, a delta outside (0, 1) and parameters that no grid can be made of.
    pub fn recipe(&self, schedule: &dyn NoiseSchedule, time_range: Option<(f64, f64)>) -> Result<Recipe> {
        if self.dim == 0 {
            return Err(Error::setting("dim", 0, "at least 1"));
        }
        if !(self.delta > 0.0 && self.delta < 1.0) {
            return Err(Error::setting("delta", self.delta, "a number between 0 and 1"));
        }
        for (name, given) in [("t_max", self.t_max), ("t_min", self.t_min)] {
            if let Some(t) = given.filter(|t| !(*t > 0.0 && t.is_finite())) {
                return Err(Error::setting(name, t, "a finite time above 0"));
            }
        }
        let d = self.dim as f64;
        let horizon = d.ln() - 2.0 * self.delta.ln();
        let ou = |t| Level::at(schedule, t).ou_time();
        let (least, most) = time_range.map_or((0.0, f64::INFINITY), |(min, max)| (ou(min), ou(max)));
        let t_max = self.t_max.unwrap_or(horizon.max(1.0)).min(most);
        let t_min = self.t_min.unwrap_or(self.delta).max(least);
        let h = self.h.unwrap_or(1.0);
        let eps = self.eps.unwrap_or(match self.dynamics {
            Dynamics::Sde => (0.5 / d).min(0.125),
            Dynamics::Ode => (0.5 / d.sqrt()).min(0.25),
        });
        let resolution = self.steps.map_or(Resolution::Step(eps), Resolution::Steps);
        let stochasticity = match self.dynamics {
            Dynamics::Sde => 1.0,
            Dynamics::Ode => 0.0,
        };
        let sampler = match (self.acceptance, self.depth) {
            (None, depth) => Picard::piadm(h, Some(depth.unwrap_or((3.0 + (0.5 * horizon).max(0.0).ceil()) as usize))),
            (Some(acceptance), depth) => {
                let sweeps = depth.map_or(Sweeps::Unbounded, Sweeps::AtMost);
                Picard { acceptance, sweeps, ..Picard::piadm(h, None) }
            }
        };
        let correction = (self.dynamics == Dynamics::Ode)
            .then(|| (sampler.window, self.correction.unwrap_or(Correction::for_dim(self.dim))));
        let grid = Grid::piadm(h, resolution).between(t_max, t_min);
        grid.resolve(schedule, time_range)?;
        Ok(Recipe { correction, grid, scheme: Scheme::Exponential { form: Form::Score, stochasticity }, sampler })
    }
}
