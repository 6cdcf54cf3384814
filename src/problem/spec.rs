//! A problem as plain values, to be written to and read from JSON, TOML and the like.

use crate::backend::{Backend, Cpu};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::names::names;
use crate::nodes::Scheme;
use crate::problem::{Problem, Save};
use crate::schedule::{Discrete, Edm, Flow, NoiseSchedule, Ou, Ve, VpCosine, VpLinear};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a [`Problem`] is made of where its schedule is one of this crate's: everything that can be written down. Arrays
/// (given starts, noise, guesses) and schedules of your own are given to the problem that is made of it.
///
/// ```
/// use piadm::problem::ProblemSpec;
/// let text = r#"{
///     "schedule": {"kind": "discrete", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"},
///     "grid": {"kind": "trailing", "steps": 20, "final_sigma_zero": true},
///     "scheme": {"kind": "ddim"},
///     "shape": [4, 64, 64],
///     "seed": 7
/// }"#;
/// let spec: ProblemSpec = serde_json::from_str(text)?;
/// let problem = spec.problem()?;
/// assert_eq!((problem.count(), problem.dim()), (1, 4 * 64 * 64));
/// assert_eq!(serde_json::from_str::<ProblemSpec>(&serde_json::to_string(&spec)?)?, spec);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProblemSpec {
    /// The noise schedule.
    pub schedule: ScheduleSpec,
    /// The time grid.
    pub grid: Grid,
    /// The time-stepping scheme; default [`Scheme::default`].
    #[serde(default)]
    pub scheme: Scheme,
    /// Lengths of the axes of a sample.
    pub shape: Vec<usize>,
    /// How many samples; default as many as there are `ids`, or one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<usize>,
    /// Their ids; default 0, 1, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<u32>>,
    /// Seed of all noise; default 0.
    #[serde(default)]
    pub seed: u64,
    /// Which states are kept; default none.
    #[serde(default)]
    pub save: Save,
}

impl ProblemSpec {
    /// One sample of this shape, with seed 0.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// use piadm::problem::{ProblemSpec, ScheduleSpec};
    /// let spec = ProblemSpec::new(ScheduleSpec::Flow {}, Grid::uniform(20), Scheme::default(), [3, 32, 32]);
    /// assert_eq!(spec.problem()?.dim(), 3 * 32 * 32);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn new(schedule: ScheduleSpec, grid: Grid, scheme: Scheme, shape: impl Into<Vec<usize>>) -> Self {
        let (samples, ids, seed, save) = (None, None, 0, Save::Nothing);
        ProblemSpec { schedule, grid, scheme, shape: shape.into(), samples, ids, seed, save }
    }

    /// The problem, in f32 on the CPU.
    ///
    /// # Errors
    /// As [`ScheduleSpec::schedule`]. What is wrong with the rest is found when the problem is prepared.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// use piadm::problem::{ProblemSpec, ScheduleSpec};
    /// let wrong = ScheduleSpec::VpLinear { beta_min: 20.0, beta_max: 0.1 };
    /// assert!(ProblemSpec::new(wrong, Grid::uniform(20), Scheme::default(), [2]).problem().is_err());
    /// ```
    pub fn problem(&self) -> Result<Problem<Cpu<f32>>> {
        self.on(Cpu::new())
    }

    /// The problem in another precision, or on another backend.
    ///
    /// # Errors
    /// As [`problem`](Self::problem).
    ///
    /// ```
    /// use piadm::prelude::*;
    /// use piadm::problem::{ProblemSpec, ScheduleSpec};
    /// let spec = ProblemSpec::new(ScheduleSpec::Flow {}, Grid::uniform(20), Scheme::default(), [2]);
    /// let problem = spec.on(Cpu::<f64>::new())?;
    /// # let _ = problem;
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn on<B: Backend>(&self, backend: B) -> Result<Problem<B>> {
        let schedule = self.schedule.schedule()?;
        let mut problem = Problem::on(backend, schedule, self.grid.clone(), self.scheme.clone());
        if let Some(samples) = self.samples {
            problem = problem.samples(samples);
        }
        if let Some(ids) = &self.ids {
            problem = problem.ids(ids.iter().copied());
        }
        Ok(problem.shape(&self.shape).seed(self.seed).save(self.save.clone()))
    }
}

/// A schedule of this crate, by its name and settings.
///
/// ```
/// use piadm::problem::ScheduleSpec;
/// let spec: ScheduleSpec = serde_json::from_str(r#"{"kind": "vp_linear"}"#)?;
/// assert_eq!(spec, ScheduleSpec::VpLinear { beta_min: 0.1, beta_max: 20.0 });
/// assert_eq!(spec.schedule()?.range(), (0.0, 1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ScheduleSpec {
    /// [`Ou`].
    Ou {},
    /// [`VpLinear`].
    VpLinear {
        /// Default 0.1.
        #[serde(default = "beta_min")]
        beta_min: f64,
        /// Default 20.
        #[serde(default = "beta_max")]
        beta_max: f64,
    },
    /// [`VpCosine`].
    VpCosine {
        /// Default 0.008.
        #[serde(default = "s")]
        s: f64,
    },
    /// [`Discrete`], from a table or from a rule for one.
    Discrete {
        /// The table; then there is no rule.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alphas_cumprod: Option<Vec<f64>>,
        /// Entries of the table; default 1000.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        num_train_timesteps: Option<usize>,
        /// First beta; default 1e-4.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        beta_start: Option<f64>,
        /// Last beta; default 0.02.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        beta_end: Option<f64>,
        /// How the betas rise; default linear.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        beta_schedule: Option<BetaSchedule>,
        /// Betas of your own ([`Discrete::from_betas`]); then there is neither table nor rule.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trained_betas: Option<Vec<f64>>,
        /// Whether the table is rescaled to end in pure noise ([`Discrete::zero_terminal_snr`]); default no.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        rescale_betas_zero_snr: bool,
    },
    /// [`Ve`].
    Ve {},
    /// [`Edm`].
    Edm {},
    /// [`Flow`].
    Flow {},
}

/// Rules for the betas of a table, under their names in diffusers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BetaSchedule {
    /// [`Discrete::linear`].
    #[default]
    Linear,
    /// [`Discrete::scaled_linear`].
    ScaledLinear,
    /// [`Discrete::cosine`], which takes no betas.
    #[serde(rename = "squaredcos_cap_v2")]
    Cosine,
    /// [`Discrete::sigmoid`].
    Sigmoid,
}

names! { BetaSchedule, "rule for betas";
    Linear = "linear", ScaledLinear = "scaled_linear", Cosine = "squaredcos_cap_v2", Sigmoid = "sigmoid",
}

fn beta_min() -> f64 {
    0.1
}

fn beta_max() -> f64 {
    20.0
}

fn s() -> f64 {
    0.008
}

impl ScheduleSpec {
    /// The schedule.
    ///
    /// # Errors
    /// What its constructor says of its settings; [`Error::Unsupported`] for a table together with a rule.
    ///
    /// ```
    /// use piadm::problem::ScheduleSpec;
    /// assert_eq!(ScheduleSpec::Edm {}.schedule()?.sigma(3.0), 3.0);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn schedule(&self) -> Result<Arc<dyn NoiseSchedule>> {
        Ok(match self {
            ScheduleSpec::Ou {} => Arc::new(Ou),
            &ScheduleSpec::VpLinear { beta_min, beta_max } => Arc::new(VpLinear::new(beta_min, beta_max)?),
            &ScheduleSpec::VpCosine { s } => Arc::new(VpCosine::new(s)?),
            ScheduleSpec::Discrete {
                alphas_cumprod,
                num_train_timesteps,
                beta_start,
                beta_end,
                beta_schedule,
                trained_betas,
                rescale_betas_zero_snr,
            } => {
                let rule = (*num_train_timesteps, *beta_start, *beta_end, *beta_schedule);
                let table = match (alphas_cumprod, trained_betas, rule) {
                    (Some(table), None, (None, None, None, None)) => Discrete::new(table.as_slice())?,
                    (None, Some(betas), (None, None, None, None)) => Discrete::from_betas(betas)?,
                    (None, None, rule) => table_by_rule(rule)?,
                    (Some(_), _, _) => {
                        let with = "settings of a rule for a table";
                        return Err(Error::unsupported("alphas_cumprod", with, "give the table or the rule"));
                    }
                    (None, Some(_), _) => {
                        let with = "settings of a rule for a table";
                        return Err(Error::unsupported("trained_betas", with, "give the betas or the rule"));
                    }
                };
                Arc::new(if *rescale_betas_zero_snr { table.zero_terminal_snr()? } else { table })
            }
            ScheduleSpec::Ve {} => Arc::new(Ve),
            ScheduleSpec::Edm {} => Arc::new(Edm),
            ScheduleSpec::Flow {} => Arc::new(Flow),
        })
    }
}

/// The table of a rule: number of entries, first and last beta, how they rise.
fn table_by_rule(rule: (Option<usize>, Option<f64>, Option<f64>, Option<BetaSchedule>)) -> Result<Discrete> {
    let (n, start, end, rise) = rule;
    let rise = rise.unwrap_or_default();
    if rise == BetaSchedule::Cosine && (start.is_some() || end.is_some()) {
        return Err(Error::unsupported("squaredcos_cap_v2", "betas: it makes its own", "leave them out"));
    }
    let (n, start, end) = (n.unwrap_or(1000), start.unwrap_or(1e-4), end.unwrap_or(0.02));
    match rise {
        BetaSchedule::Linear => Discrete::linear(n, start, end),
        BetaSchedule::ScaledLinear => Discrete::scaled_linear(n, start, end),
        BetaSchedule::Cosine => Discrete::cosine(n),
        BetaSchedule::Sigmoid => Discrete::sigmoid(n, start, end),
    }
}
