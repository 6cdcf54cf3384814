//! Schemes: how a step of the time grid becomes affine nodes.
//!
//! A discretisation is a list of nodes, `x_j = sum_l A_l x_{j-l} + sum_l B_l f(x_{j-l}) + C xi`, with coefficients in f64 that are
//! computed once. Every sampler of the crate, sequential or parallel, runs the same list; a scheme only fills it. The kind of
//! the network's output is folded into A and B, so outputs are never converted.

mod ancestral;
mod discretisation;
mod dpm_solver;
mod exponential;
mod langevin;
mod presets;

pub use discretisation::{Discretisation, Level, Node, NodeTerms};
pub use langevin::Langevin;

use crate::error::{Error, Result};
use crate::grid::TimeGrid;
use crate::prediction::Prediction;
use crate::schedule::NoiseSchedule;
use discretisation::Assembler;

/// Which form of the oracle a step is written in: what is frozen over the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Form {
    /// The score is frozen (the paper's integrator).
    Score,
    /// The predicted noise is frozen.
    Noise,
    /// The data prediction is frozen: SDE-DPM-Solver++(1), DDIM, DDPM.
    #[default]
    Data,
}

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
/// With t -> u a step towards the data, h = lambda_u - lambda_t > 0 its length in half log-SNR, D the data prediction, s the score and
/// ups the stochasticity (1: reverse SDE, 0: probability-flow ODE). Steps that end at sigma = 0 are x = alpha_u D for every
/// scheme in data form, without noise.
///
/// ```
/// use piadm::{Discretisation, Ou, Prediction, Scheme, TimeGrid};
/// let grid = TimeGrid::log_snr(&Ou, 8.0, 0.01, 100)?;
/// let list = Discretisation::new(&Ou, &grid, &Scheme::Ddim { eta: 0.0 }, Prediction::Noise)?;
/// assert_eq!(list.steps(), 100);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields))]
#[non_exhaustive]
pub enum Scheme {
    /// Exponential integrator: the linear part is exact and `form` is frozen over the step. In score form with ups = 1 or 0
    /// on [`Ou`](crate::Ou) it is the integrator of PIADM-SDE and PIADM-ODE (arXiv 2405.15986, eq. 3.2); in data form it is
    /// SDE-DPM-Solver++(1) with eta = ups^2.
    Exponential {
        /// What is frozen; default data.
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
        /// Variance of the added noise; default small.
        #[cfg_attr(feature = "serde", serde(default))]
        variance: DdpmVariance,
    },
    /// DDIM (Song et al., arXiv 2010.02502).
    Ddim {
        /// eta in [0, 1], 0 deterministic and 1 ancestral; default 0.
        #[cfg_attr(feature = "serde", serde(default))]
        eta: f64,
    },
    /// SDE-DPM-Solver++ of first order (Lu et al., arXiv 2211.01095), eta as in k-diffusion.
    SdeDpmSolverPp1 {
        /// Noise level, at least 0; default 1.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        eta: f64,
    },
    /// DPM-Solver++(2M) for the ODE (arXiv 2211.01095, algorithm 2); of first order on the first step and into sigma = 0.
    #[cfg_attr(feature = "serde", serde(rename = "dpm_solver_pp_2m"))]
    DpmSolverPp2M {
        /// Takes the last step with first order; default false.
        #[cfg_attr(feature = "serde", serde(default))]
        lower_order_final: bool,
    },
    /// SDE-DPM-Solver++(2M), midpoint form.
    #[cfg_attr(feature = "serde", serde(rename = "sde_dpm_solver_pp_2m"))]
    SdeDpmSolverPp2M {
        /// Noise level, at least 0; default 1.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        eta: f64,
        /// Takes the last step with first order; default false.
        #[cfg_attr(feature = "serde", serde(default))]
        lower_order_final: bool,
    },
    /// Heun's second-order method for the ODE (Karras et al., arXiv 2206.00364, algorithm 1): two evaluations a step, one
    /// Euler step into sigma = 0 and out of alpha = 0.
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

/// One lag of a node: `a x + b (oracle)`, both at the node `lag` places before.
#[derive(Clone, Copy, Debug)]
struct Lag {
    lag: usize,
    form: Form,
    a: f64,
    b: f64,
}

impl Lag {
    fn data(lag: usize, a: f64, b: f64) -> Self {
        Lag { lag, form: Form::Data, a, b }
    }
}

/// A step that needs only its own start: a on x, b on the oracle, c on the noise.
#[derive(Clone, Copy, Debug)]
struct OneStep {
    form: Form,
    a: f64,
    b: f64,
    c: f64,
}

impl OneStep {
    /// The jump to sigma = 0 of every scheme in data form.
    fn denoise(u: &Level) -> Self {
        OneStep { form: Form::Data, a: 0.0, b: u.alpha, c: 0.0 }
    }

    fn lags(self) -> ([Lag; 1], f64) {
        ([Lag { lag: 1, form: self.form, a: self.a, b: self.b }], self.c)
    }
}

impl Scheme {
    /// Checks the settings.
    fn check(&self) -> Result<()> {
        let unit = |name, value: f64| match (0.0..=1.0).contains(&value) {
            true => Ok(()),
            false => Err(Error::setting(name, value, "a number in [0, 1]")),
        };
        match *self {
            Scheme::Exponential { stochasticity, .. } | Scheme::EulerMaruyama { stochasticity } => {
                unit("stochasticity", stochasticity)
            }
            Scheme::Ddim { eta } => unit("eta", eta),
            Scheme::SdeDpmSolverPp1 { eta } | Scheme::SdeDpmSolverPp2M { eta, .. }
                if !(eta >= 0.0 && eta.is_finite()) =>
            {
                Err(Error::setting("eta", eta, "a finite number that is at least 0"))
            }
            _ => Ok(()),
        }
    }

    /// A scheme of one evaluation and no memory with the same noise, and the kind of output it freezes: of that kind its A and C
    /// are those of the step without the network.
    pub(crate) fn first_order(&self) -> (Scheme, Prediction) {
        match *self {
            Scheme::Exponential { form: Form::Score, .. } | Scheme::EulerMaruyama { .. } => {
                (self.clone(), Prediction::Score)
            }
            Scheme::Exponential { form: Form::Noise, .. } => (self.clone(), Prediction::Noise),
            Scheme::DpmSolverPp2M { .. } | Scheme::Heun {} => (Scheme::Ddim { eta: 0.0 }, Prediction::Data),
            Scheme::SdeDpmSolverPp2M { eta, .. } => (Scheme::SdeDpmSolverPp1 { eta }, Prediction::Data),
            _ => (self.clone(), Prediction::Data),
        }
    }

    /// How many nodes back a node may reach.
    fn lookback(&self) -> usize {
        match self {
            Scheme::DpmSolverPp2M { .. } | Scheme::SdeDpmSolverPp2M { .. } | Scheme::Heun {} => 2,
            _ => 1,
        }
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

/// The grid points a step may look at.
#[derive(Clone, Copy, Debug)]
struct StepEnds {
    /// Start of the step before, if there is one.
    before: Option<Level>,
    t: Level,
    u: Level,
    /// Whether this is the grid's last step.
    last: bool,
}

impl Discretisation {
    /// The nodes of `scheme` on `grid` under `schedule`, for a network whose output is `prediction`.
    ///
    /// # Errors
    /// [`Error::GridRange`] for a grid outside the schedule, [`Error::Setting`] for settings outside their range and for steps
    /// in which the log-SNR does not rise, and [`Error::Singular`] where a formula divides by an alpha that is 0.
    pub fn new(schedule: &dyn NoiseSchedule, grid: &TimeGrid, scheme: &Scheme, prediction: Prediction) -> Result<Self> {
        Self::for_steps(schedule, grid, scheme, prediction, 0..grid.steps())
    }

    /// The same between grid points `steps.start` and `steps.end`, as if the points outside had never been: steps keep the full
    /// grid's numbers, and with them their noise.
    ///
    /// # Errors
    /// As [`Discretisation::new`], and [`Error::Setting`] where no step is left of the grid.
    pub fn for_steps(
        schedule: &dyn NoiseSchedule,
        grid: &TimeGrid,
        scheme: &Scheme,
        prediction: Prediction,
        steps: std::ops::Range<usize>,
    ) -> Result<Self> {
        scheme.check()?;
        grid.check(schedule)?;
        let first = steps.start;
        let times = grid.times().iter().take(steps.end.saturating_add(1)).skip(first);
        let levels: Vec<Level> = times.map(|&t| Level::at(schedule, t)).collect();
        let Some(&start) = levels.first().filter(|_| levels.len() > 1) else {
            return Err(Error::setting("start step", first, "less than the number of steps of the grid"));
        };
        let mut list = Assembler::new(start, first, scheme.lookback(), prediction)?;
        for (m, pair) in levels.windows(2).enumerate() {
            if let [t, u] = *pair {
                let h = u.log_snr - t.log_snr;
                if h.is_nan() || h <= 0.0 {
                    let value = format!("{h} from time {} to {}", t.t, u.t);
                    return Err(Error::setting("log-SNR step", value, "a number above 0: take longer steps"));
                }
                let before = m.checked_sub(1).and_then(|i| levels.get(i)).copied();
                let step = StepEnds { before, t, u, last: first + m + 1 == grid.steps() };
                scheme.push_step(&mut list, schedule, &step)?;
            }
        }
        Ok(list.finish())
    }
}
