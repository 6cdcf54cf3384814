//! Schemes: how a step of the time grid becomes nodes.

use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::grid::times::TimeGrid;
use crate::nodes::builder::Assembler;
use crate::nodes::list::Nodes;
use crate::nodes::step::{Form, StepEnds};
use crate::nodes::{ancestral, dpm_solver, exponential};
use crate::schedule::{Level, NoiseSchedule};
use crate::score::Prediction;

/// Variance of DDPM's ancestral noise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum DdpmVariance {
    /// The posterior's variance (beta tilde).
    #[default]
    Small,
    /// The forward step's variance (beta).
    Large,
}

/// A time-stepping scheme, independent of schedule, grid and network.
///
/// In the following, t -> u is a step towards the data, h = lambda_u - lambda_t > 0 its length in half log-SNR, D
/// the data prediction, s the score and ups the stochasticity (1: reverse SDE, 0: probability-flow ODE). For every
/// scheme in data form a step that ends at sigma = 0 is x = alpha_u D, without noise.
///
/// ```
/// use piadm::{schedule::Ou, Grid, Nodes, Prediction, Scheme};
/// let grid = Grid::log_snr(100).between(8.0, 0.01);
/// let list = Nodes::new(&Ou, &grid, &Scheme::Ddim { eta: 0.0 }, Prediction::Noise)?;
/// assert_eq!(list.steps(), 100);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields))]
#[non_exhaustive]
pub enum Scheme {
    /// Exponential integrator: the linear part is exact, and `form` is frozen over the step. In score form with
    /// ups = 1 or 0 on [`Ou`](crate::Ou) it is the integrator of PIADM-SDE or PIADM-ODE (arXiv 2405.15986, eq.
    /// 3.2); in data form it is SDE-DPM-Solver++(1) with eta = ups^2.
    Exponential {
        /// What is frozen; default: the data prediction.
        #[cfg_attr(feature = "serde", serde(default))]
        form: Form,
        /// ups in [0, 1]; default 1.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        stochasticity: f64,
    },
    /// Euler-Maruyama in the schedule's own time.
    EulerMaruyama {
        /// ups in [0, 1]; default 1.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        stochasticity: f64,
    },
    /// Ancestral sampling (Ho et al., arXiv 2006.11239).
    Ddpm {
        /// Variance of the added noise; default: small.
        #[cfg_attr(feature = "serde", serde(default))]
        variance: DdpmVariance,
    },
    /// DDIM (Song et al., arXiv 2010.02502).
    Ddim {
        /// eta in [0, 1]: 0 is deterministic, 1 is ancestral; default 0.
        #[cfg_attr(feature = "serde", serde(default))]
        eta: f64,
    },
    /// DDIM with clipped data and the noise of the unclipped data, from the two heads of
    /// [`ClipResidual`](crate::score::ClipResidual): `alpha_u` times the second head is added to DDIM's step. It is the
    /// default of diffusers' `DDIMScheduler` (`clip_sample = True`, `use_clipped_model_output = False`).
    DdimClipped {
        /// eta in [0, 1]; default 0.
        #[cfg_attr(feature = "serde", serde(default))]
        eta: f64,
    },
    /// The steps of a kernel, which answers the next state ([`Prediction::Next`]): x_u is its answer.
    Kernel {},
    /// First-order SDE-DPM-Solver++ (Lu et al., arXiv 2211.01095), eta as in k-diffusion.
    SdeDpmSolverPp1 {
        /// Noise level, at least 0; default 1.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        eta: f64,
    },
    /// DPM-Solver++(2M) for the ODE (arXiv 2211.01095, algorithm 2); first order in the first step and into
    /// sigma = 0.
    #[cfg_attr(feature = "serde", serde(rename = "dpm_solver_pp_2m"))]
    DpmSolverPp2M {
        /// Whether the last step is of first order; default false.
        #[cfg_attr(feature = "serde", serde(default))]
        lower_order_final: bool,
    },
    /// SDE-DPM-Solver++(2M), midpoint form.
    #[cfg_attr(feature = "serde", serde(rename = "sde_dpm_solver_pp_2m"))]
    SdeDpmSolverPp2M {
        /// Noise level, at least 0; default 1.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        eta: f64,
        /// Whether the last step is of first order; default false.
        #[cfg_attr(feature = "serde", serde(default))]
        lower_order_final: bool,
    },
    /// Heun's second-order method for the ODE (Karras et al., arXiv 2206.00364, algorithm 1): two evaluations per
    /// step, but a single Euler step into sigma = 0 and out of alpha = 0.
    Heun {},
}

#[cfg(feature = "serde")]
fn one() -> f64 {
    1.0
}

impl Default for Scheme {
    /// The reverse SDE in data form.
    fn default() -> Self {
        Scheme::Exponential { form: Form::Data, stochasticity: 1.0 }
    }
}

impl Scheme {
    /// Checks the settings.
    pub(crate) fn check(&self) -> Result<()> {
        let unit = |name, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::setting(name, value, "a number in [0, 1]")),
        };
        match *self {
            Scheme::Exponential { stochasticity, .. } | Scheme::EulerMaruyama { stochasticity } => {
                unit("stochasticity", stochasticity)
            }
            Scheme::Ddim { eta } | Scheme::DdimClipped { eta } => unit("eta", eta),
            Scheme::SdeDpmSolverPp1 { eta } | Scheme::SdeDpmSolverPp2M { eta, .. }
                if !(eta >= 0.0 && eta.is_finite()) =>
            {
                Err(Error::setting("eta", eta, "a finite number that is at least 0"))
            }
            _ => Ok(()),
        }
    }

    /// A one-step scheme with one evaluation and the same noise, and the kind of output that it freezes. With a
    /// network of that kind, its A and C alone are the step for an output of 0.
    pub(crate) fn first_order(&self) -> (Scheme, Prediction) {
        match *self {
            Scheme::Exponential { form: Form::Score, .. } | Scheme::EulerMaruyama { .. } => {
                (self.clone(), Prediction::Score)
            }
            Scheme::Exponential { form: Form::Noise, .. } => (self.clone(), Prediction::Noise),
            Scheme::Kernel {} => (Scheme::Kernel {}, Prediction::Next),
            Scheme::DdimClipped { eta } => (Scheme::Ddim { eta }, Prediction::Data),
            Scheme::DpmSolverPp2M { .. } | Scheme::Heun {} => (Scheme::Ddim { eta: 0.0 }, Prediction::Data),
            Scheme::SdeDpmSolverPp2M { eta, .. } => (Scheme::SdeDpmSolverPp1 { eta }, Prediction::Data),
            _ => (self.clone(), Prediction::Data),
        }
    }

    /// Adds the steps between two grid points as if there were none before them. If `open`, the last one does not
    /// end there: more stages will follow.
    pub(crate) fn push_steps(
        &self,
        list: &mut Assembler,
        schedule: &dyn NoiseSchedule,
        grid: &TimeGrid,
        steps: std::ops::Range<usize>,
        open: bool,
    ) -> Result<()> {
        list.reserve(steps.len())?;
        let level = |m: usize| Level::at(schedule, grid.times()[m]);
        let (mut before, mut t) = (None, level(steps.start));
        for m in steps.clone() {
            let u = level(m + 1);
            let h = u.log_snr - t.log_snr;
            if h.is_nan() || h <= 0.0 {
                let value = format!("{h} from time {} to {}", t.t, u.t);
                return Err(Error::setting(
                    "log-SNR step",
                    value,
                    "a number above 0: the log-SNR must rise in every step",
                ));
            }
            list.leave_open(open && m + 1 == steps.end);
            self.push_step(list, schedule, &StepEnds { before, t, u, last: m + 1 == grid.steps() })?;
            (before, t) = (Some(t), u);
        }
        Ok(())
    }

    /// Adds the nodes of one step.
    fn push_step(&self, list: &mut Assembler, schedule: &dyn NoiseSchedule, step: &StepEnds) -> Result<()> {
        let StepEnds { before, t, u, last } = *step;
        let (lags, c) = match *self {
            Scheme::Exponential { form, stochasticity } => {
                exponential::step(schedule, form, stochasticity, &t, &u).lags()
            }
            Scheme::EulerMaruyama { stochasticity } => {
                exponential::euler_maruyama(schedule, stochasticity, &t, &u).lags()
            }
            Scheme::Ddpm { variance } => ancestral::ddpm(variance, &t, &u).lags(),
            Scheme::Ddim { eta } => ancestral::ddim(eta, &t, &u).lags(),
            Scheme::DdimClipped { eta } => {
                let (lags, c) = ancestral::ddim(eta, &t, &u).lags();
                return list.beside(u, &lags, c, u.alpha);
            }
            Scheme::Kernel {} => return list.kernel(u),
            Scheme::SdeDpmSolverPp1 { eta } => exponential::data(eta, &t, &u).lags(),
            Scheme::DpmSolverPp2M { lower_order_final } => {
                let before = before.filter(|_| !(last && lower_order_final));
                return dpm_solver::push_2m(list, 0.0, before, t, u);
            }
            Scheme::SdeDpmSolverPp2M { eta, lower_order_final } => {
                let before = before.filter(|_| !(last && lower_order_final));
                return dpm_solver::push_2m(list, eta, before, t, u);
            }
            Scheme::Heun {} => return dpm_solver::push_heun(list, t, u),
        };
        list.solution(u, &lags, c)
    }
}

impl Nodes {
    /// The nodes of `scheme` on `grid` under `schedule`, for a network whose output is `prediction`.
    ///
    /// # Errors
    /// As [`Grid::times`]; [`Error::Setting`] for settings out of range and for steps in which the log-SNR does not
    /// rise; [`Error::Singular`] where a formula divides by an alpha of 0.
    pub fn new(schedule: &dyn NoiseSchedule, grid: &Grid, scheme: &Scheme, prediction: Prediction) -> Result<Self> {
        let grid = grid.resolve(schedule, None)?;
        Self::on_times(schedule, &grid, scheme, prediction, 0..grid.steps())
    }

    /// The same between grid points `steps.start` and `steps.end`, as if the grid had no points outside this range.
    /// Steps keep the numbers that they have in the full grid, and with them their noise.
    ///
    /// # Errors
    /// As [`Nodes::new`], and [`Error::Setting`] if the range leaves no step of the grid.
    pub fn for_steps(
        schedule: &dyn NoiseSchedule,
        grid: &Grid,
        scheme: &Scheme,
        prediction: Prediction,
        steps: std::ops::Range<usize>,
    ) -> Result<Self> {
        Self::on_times(schedule, &grid.resolve(schedule, None)?, scheme, prediction, steps)
    }

    /// The same on times that have already been resolved on this schedule.
    pub(crate) fn on_times(
        schedule: &dyn NoiseSchedule,
        grid: &TimeGrid,
        scheme: &Scheme,
        prediction: Prediction,
        steps: std::ops::Range<usize>,
    ) -> Result<Self> {
        scheme.check()?;
        let first = steps.start;
        let end = steps.end.min(grid.steps());
        let Some(&start) = grid.times().get(first).filter(|_| first < end) else {
            return Err(Error::setting("start step", first, "less than the number of steps of the grid"));
        };
        let mut list = Assembler::new(Level::at(schedule, start), first, prediction)?;
        scheme.push_steps(&mut list, schedule, grid, first..end, false)?;
        Ok(list.finish())
    }
}
