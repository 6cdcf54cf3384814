//! Schemes: how a step of the time grid becomes nodes.

use crate::error::{Error, Result};
use crate::nodes::options::{BhVariant, Clock, DdpmVariance, Method, SolverType};
use crate::nodes::step::Form;
use crate::score::Prediction;

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
    /// DPM-Solver++ multistep of order 1 to 3 as `DPMSolverMultistepScheduler` of diffusers has it: with eta = 0 the
    /// ODE's 2M and 3M, else SDE-DPM-Solver++. Order 3 weighs the second derivative by half of its exact weight, there
    /// as here, so that it is of second order with a smaller error; [`UniPc`](Scheme::UniPc) without corrector is the
    /// method with the exact weight. First orders come first, and last into sigma = 0.
    #[cfg_attr(feature = "serde", serde(rename = "dpm_solver_pp"))]
    DpmSolverPp {
        /// 1 to 3; default 2.
        #[cfg_attr(feature = "serde", serde(default = "two"))]
        order: usize,
        /// Noise level, at least 0; default 0.
        #[cfg_attr(feature = "serde", serde(default))]
        eta: f64,
        /// How steps of order 2 extrapolate; default: midpoint.
        #[cfg_attr(feature = "serde", serde(default))]
        solver: SolverType,
        /// Whether the last step is of first order and, of order 3, the one before of second; default false.
        #[cfg_attr(feature = "serde", serde(default))]
        lower_order_final: bool,
    },
    /// UniPC (Zhao et al., arXiv 2302.04867) with data prediction: UniP of order 1 to 3 and, with `corrector`, UniC.
    /// One evaluation per step, at the predicted state; the corrected state takes its place in the next step, so errors
    /// are of order `order` + 1. Solution nodes are predicted states, as `UniPCMultistepScheduler` of diffusers
    /// returns them. Order 3 without corrector is the exponential Adams-Bashforth method in log-SNR.
    UniPc {
        /// 1 to 3; default 2.
        #[cfg_attr(feature = "serde", serde(default = "two"))]
        order: usize,
        /// Whether states are corrected; default true.
        #[cfg_attr(feature = "serde", serde(default = "yes"))]
        corrector: bool,
        /// B(h); default: bh2.
        #[cfg_attr(feature = "serde", serde(default))]
        variant: BhVariant,
        /// Whether the order falls to 1 towards the last step; default true.
        #[cfg_attr(feature = "serde", serde(default = "yes"))]
        lower_order_final: bool,
    },
    /// DEIS (Zhang and Chen, arXiv 2204.13902): noise predictions interpolated in log(sigma/alpha) and integrated
    /// exactly. First order in the first step and into sigma = 0.
    Deis {
        /// 1 to 3; default 2.
        #[cfg_attr(feature = "serde", serde(default = "two"))]
        order: usize,
        /// As for [`DpmSolverPp`](Scheme::DpmSolverPp); default false.
        #[cfg_attr(feature = "serde", serde(default))]
        lower_order_final: bool,
    },
    /// Linear multistep in sigma/alpha (`sample_lms` of k-diffusion, `LMSDiscreteScheduler` of diffusers): noise
    /// predictions interpolated in sigma/alpha.
    Lms {
        /// 1 to 4; default 4.
        #[cfg_attr(feature = "serde", serde(default = "four"))]
        order: usize,
        /// Whether the order falls to 1 towards the last step; default false: the step into sigma = 0 extrapolates too.
        #[cfg_attr(feature = "serde", serde(default))]
        lower_order_final: bool,
    },
    /// iPNDM (Zhang and Chen, arXiv 2204.13902, after arXiv 2202.09778): Adams-Bashforth coefficients of equal steps,
    /// on steps in sigma/alpha whatever their lengths: of second order where the ratio of two steps tends to 1, of
    /// first order elsewhere.
    Ipndm {
        /// 1 to 4; default 4.
        #[cfg_attr(feature = "serde", serde(default = "four"))]
        order: usize,
        /// Whether the order falls to 1 towards the last step; default false: the step into sigma = 0 extrapolates too.
        #[cfg_attr(feature = "serde", serde(default))]
        lower_order_final: bool,
    },
    /// DPM-Solver++(2S) (arXiv 2211.01095, algorithm 1 with r = 1/2), with eta > 0 ancestral as
    /// `sample_dpmpp_2s_ancestral` of k-diffusion: two evaluations per step, one into sigma = 0 and out of alpha = 0.
    #[cfg_attr(feature = "serde", serde(rename = "dpm_solver_pp_2s"))]
    DpmSolverPp2S {
        /// eta in [0, 1]; default 0.
        #[cfg_attr(feature = "serde", serde(default))]
        eta: f64,
    },
    /// DPM-Solver-2 as `sample_dpm_2` of k-diffusion and, with eta > 0, `sample_dpm_2_ancestral` have it: as
    /// [`DpmSolverPp2S`](Scheme::DpmSolverPp2S), but the noise of the stage is frozen.
    Dpm2 {
        /// eta in [0, 1]; default 0.
        #[cfg_attr(feature = "serde", serde(default))]
        eta: f64,
    },
    /// Multistep sampling of consistency models (arXiv 2303.01469, 2310.04378): x = alpha D + sigma xi.
    Lcm {},
    /// EDM's stochastic sampler (arXiv 2206.00364, algorithm 2): before a step with `s_tmin` <= sigma/alpha <= `s_tmax`
    /// the noise level rises by the factor 1 + min(`s_churn`/steps, sqrt(2) - 1). The raised state is a stage, at which
    /// the network is evaluated instead of at the step's start.
    EdmStochastic {
        /// Heun's step with two evaluations (default), or Euler's with one.
        #[cfg_attr(feature = "serde", serde(default = "yes"))]
        heun: bool,
        /// At least 0; default 0.
        #[cfg_attr(feature = "serde", serde(default))]
        s_churn: f64,
        /// At least 0; default 0.
        #[cfg_attr(feature = "serde", serde(default))]
        s_tmin: f64,
        /// At least 0; default infinity, which in JSON is left out.
        #[cfg_attr(feature = "serde", serde(default = "infinity", skip_serializing_if = "is_infinite"))]
        s_tmax: f64,
        /// Factor of the added noise, at least 0; default 1.
        #[cfg_attr(feature = "serde", serde(default = "one"))]
        s_noise: f64,
    },
    /// An explicit Runge-Kutta method for the probability flow in one of three clocks. The step into sigma = 0 is
    /// x = alpha D; out of alpha = 0 it is of first order, but in the clock of a flow.
    RungeKutta {
        /// The method; default: midpoint.
        #[cfg_attr(feature = "serde", serde(default))]
        method: Method,
        /// The clock; default: that of a flow.
        #[cfg_attr(feature = "serde", serde(default))]
        clock: Clock,
    },
}

#[cfg(feature = "serde")]
use defaults::*;

#[cfg(feature = "serde")]
mod defaults {
    pub(super) fn one() -> f64 {
        1.0
    }

    pub(super) fn infinity() -> f64 {
        f64::INFINITY
    }

    pub(super) fn is_infinite(value: &f64) -> bool {
        value.is_infinite()
    }

    pub(super) fn two() -> usize {
        2
    }

    pub(super) fn four() -> usize {
        4
    }

    pub(super) fn yes() -> bool {
        true
    }
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
        let order = |order: usize, most: usize, expected| match (1..=most).contains(&order) {
            true => Ok(()),
            false => Err(Error::setting("order", order, expected)),
        };
        let level = |name, value: f64| match value >= 0.0 && value.is_finite() {
            true => Ok(()),
            false => Err(Error::setting(name, value, "a finite number that is at least 0")),
        };
        match *self {
            Scheme::Exponential { stochasticity, .. } | Scheme::EulerMaruyama { stochasticity } => {
                unit("stochasticity", stochasticity)
            }
            Scheme::Ddim { eta }
            | Scheme::DdimClipped { eta }
            | Scheme::DpmSolverPp2S { eta }
            | Scheme::Dpm2 { eta } => unit("eta", eta),
            Scheme::SdeDpmSolverPp1 { eta } | Scheme::SdeDpmSolverPp2M { eta, .. } => level("eta", eta),
            Scheme::DpmSolverPp { order: n, eta, .. } => order(n, 3, "1, 2 or 3").and(level("eta", eta)),
            Scheme::UniPc { order: n, .. } | Scheme::Deis { order: n, .. } => order(n, 3, "1, 2 or 3"),
            Scheme::Lms { order: n, .. } | Scheme::Ipndm { order: n, .. } => order(n, 4, "1 to 4"),
            Scheme::EdmStochastic { s_churn, s_tmin, s_tmax, s_noise, .. } => {
                if s_tmax.is_nan() || s_tmax < 0.0 {
                    return Err(Error::setting("s_tmax", s_tmax, "a number that is at least 0"));
                }
                level("s_churn", s_churn).and(level("s_tmin", s_tmin)).and(level("s_noise", s_noise))
            }
            Scheme::Ddpm { .. }
            | Scheme::DpmSolverPp2M { .. }
            | Scheme::Heun {}
            | Scheme::Kernel {}
            | Scheme::Lcm {}
            | Scheme::RungeKutta { .. } => Ok(()),
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
            Scheme::UniPc { .. }
            | Scheme::Deis { .. }
            | Scheme::Lms { .. }
            | Scheme::Ipndm { .. }
            | Scheme::RungeKutta { .. } => (Scheme::Ddim { eta: 0.0 }, Prediction::Data),
            Scheme::SdeDpmSolverPp2M { eta, .. } | Scheme::DpmSolverPp { eta, .. } => {
                (Scheme::SdeDpmSolverPp1 { eta }, Prediction::Data)
            }
            Scheme::DpmSolverPp2S { eta } | Scheme::Dpm2 { eta } => (Scheme::Ddim { eta }, Prediction::Data),
            // its noise comes before the step: a step of one node with noise of about that size
            Scheme::EdmStochastic { s_churn, s_noise, .. } => {
                let eta = if s_churn > 0.0 && s_noise > 0.0 { 1.0 } else { 0.0 };
                (Scheme::SdeDpmSolverPp1 { eta }, Prediction::Data)
            }
            _ => (self.clone(), Prediction::Data),
        }
    }
}
