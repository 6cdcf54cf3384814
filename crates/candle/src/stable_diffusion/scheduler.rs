//! diffusers' schedulers as schedule, grid and scheme.

use super::error::{Error, Result};
use piadm::grid::Spacing;
use piadm::nodes::{BhVariant, DdpmVariance, SolverType};
use piadm::schedule::Discrete;
use piadm::{Grid, Prediction, Scheme};
use serde::Deserialize;

/// `scheduler_config.json`, under the names of diffusers. Betas and the kind of prediction that a file does not say are
/// those of Stable Diffusion 1.5; other settings then have the default of the class.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the keys of the file")]
pub struct SchedulerConfig {
    /// Which scheduler; see [`SCHEDULERS`].
    #[serde(rename = "_class_name")]
    pub class_name: String,
    pub num_train_timesteps: usize,
    pub beta_start: f64,
    pub beta_end: f64,
    pub beta_schedule: String,
    pub prediction_type: String,
    #[serde(default)]
    pub timestep_spacing: Option<String>,
    #[serde(default)]
    pub steps_offset: usize,
    #[serde(default)]
    pub set_alpha_to_one: Option<bool>,
    #[serde(default)]
    pub final_sigmas_type: Option<String>,
    #[serde(default)]
    pub clip_sample: Option<bool>,
    #[serde(default)]
    pub algorithm_type: Option<String>,
    #[serde(default)]
    pub solver_order: Option<usize>,
    #[serde(default)]
    pub solver_type: Option<String>,
    #[serde(default)]
    pub variance_type: Option<String>,
    #[serde(default)]
    pub interpolation_type: Option<String>,
}

impl Default for SchedulerConfig {
    /// That of Stable Diffusion 1.5.
    fn default() -> Self {
        SchedulerConfig {
            class_name: "PNDMScheduler".into(),
            num_train_timesteps: 1000,
            beta_start: 0.00085,
            beta_end: 0.012,
            beta_schedule: "scaled_linear".into(),
            prediction_type: "epsilon".into(),
            timestep_spacing: None,
            steps_offset: 1,
            set_alpha_to_one: Some(false),
            final_sigmas_type: None,
            clip_sample: Some(false),
            algorithm_type: None,
            solver_order: None,
            solver_type: None,
            variance_type: None,
            interpolation_type: None,
        }
    }
}

/// How the timesteps of a class are spaced.
#[derive(Clone, Copy)]
enum Timesteps {
    Ddpm,
    DpmSolver,
    Euler,
}

impl Timesteps {
    fn grid(self, steps: usize, spacing: Spacing) -> Grid {
        match self {
            Timesteps::Ddpm => Grid::ddpm_timesteps(steps, spacing),
            Timesteps::DpmSolver => Grid::dpm_solver_timesteps(steps, spacing),
            Timesteps::Euler => Grid::euler_timesteps(steps, spacing),
        }
    }
}

/// The classes of diffusers that are known here; `docs/peers.md` of piadm says which grid and scheme they are.
///
/// `PNDMScheduler`, the default of Stable Diffusion 1.5, is not among piadm's schemes (its pseudo linear multistep
/// evaluates one step twice). In its place, DPM-Solver++(2M) runs on its timesteps: a multistep method too, of second
/// order, with one evaluation per step.
pub const SCHEDULERS: &[&str] = &[
    "PNDMScheduler",
    "DDIMScheduler",
    "DDPMScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "DEISMultistepScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "LMSDiscreteScheduler",
];

/// What a scheduler means here.
pub(super) struct Plan {
    pub schedule: Discrete,
    pub grid: Grid,
    pub scheme: Scheme,
    pub prediction: Prediction,
}

impl SchedulerConfig {
    /// Timesteps, their default spacing, whether the last step ends at the table's first entry, and the scheme, of a
    /// class. **The place to add a scheduler**, with its name in [`SCHEDULERS`].
    fn class(&self, steps: usize) -> Result<(Timesteps, &'static str, bool, Scheme)> {
        // piadm's `Clip` clips data, and these are latents
        let clips = |default: bool| match self.clip_sample.unwrap_or(default) {
            true => Err(unsupported("clip_sample", "true", "false, as for all models of latents")),
            false => Ok(()),
        };
        let sigma_min = self.final_sigmas_type.as_deref() == Some("sigma_min");
        Ok(match &self.class_name[..] {
            "PNDMScheduler" => (
                Timesteps::Ddpm,
                "leading",
                !self.set_alpha_to_one.unwrap_or(false),
                Scheme::dpm_solver_multistep(steps),
            ),
            "DDIMScheduler" => {
                clips(true)?;
                (Timesteps::Ddpm, "leading", !self.set_alpha_to_one.unwrap_or(true), Scheme::ddim())
            }
            "DDPMScheduler" => {
                clips(true)?;
                let variance = match self.variance_type.as_deref().unwrap_or("fixed_small") {
                    "fixed_small" => DdpmVariance::Small,
                    "fixed_large" => DdpmVariance::Large,
                    other => return Err(unsupported("variance_type", other, "fixed_small, fixed_large")),
                };
                (Timesteps::Ddpm, "leading", false, Scheme::Ddpm { variance })
            }
            "DPMSolverMultistepScheduler" => {
                let (order, lower_order_final) = (self.order()?, steps < 15);
                let solver = match self.solver_type.as_deref().unwrap_or("midpoint") {
                    "midpoint" => SolverType::Midpoint,
                    "heun" => SolverType::Heun,
                    other => return Err(unsupported("solver_type", other, "midpoint, heun")),
                };
                let eta = match self.algorithm_type.as_deref().unwrap_or("dpmsolver++") {
                    "dpmsolver++" => 0.0,
                    // its third order has a wrong sign, and piadm the right one
                    "sde-dpmsolver++" if order < 3 => 1.0,
                    other => {
                        let supported = "dpmsolver++, and sde-dpmsolver++ of order 1 or 2";
                        return Err(unsupported("algorithm_type", other, supported));
                    }
                };
                let scheme = Scheme::DpmSolverPp { order, eta, solver, lower_order_final };
                (Timesteps::DpmSolver, "linspace", sigma_min, scheme)
            }
            "UniPCMultistepScheduler" => {
                let variant = match self.solver_type.as_deref().unwrap_or("bh2") {
                    "bh1" => BhVariant::Bh1,
                    "bh2" => BhVariant::Bh2,
                    other => return Err(unsupported("solver_type", other, "bh1, bh2")),
                };
                let order = self.order()?;
                let scheme = Scheme::UniPc { order, corrector: true, variant, lower_order_final: true };
                (Timesteps::DpmSolver, "linspace", sigma_min, scheme)
            }
            "DEISMultistepScheduler" => {
                only("algorithm_type", &self.algorithm_type, "deis")?;
                only("solver_type", &self.solver_type, "logrho")?;
                let scheme = Scheme::Deis { order: self.order()?, lower_order_final: steps < 15 };
                (Timesteps::DpmSolver, "linspace", true, scheme)
            }
            "EulerDiscreteScheduler" => {
                only("interpolation_type", &self.interpolation_type, "linear")?;
                (Timesteps::Euler, "linspace", sigma_min, Scheme::euler())
            }
            "EulerAncestralDiscreteScheduler" => (Timesteps::Euler, "linspace", false, Scheme::euler_ancestral()),
            "LMSDiscreteScheduler" => (Timesteps::Euler, "linspace", false, Scheme::lms()),
            "HeunDiscreteScheduler" => (Timesteps::Euler, "linspace", false, Scheme::heun()),
            other => {
                return Err(unsupported(
                    "the scheduler",
                    other,
                    "PNDM, DDIM, DDPM, DPMSolverMultistep, UniPCMultistep, DEISMultistep, EulerDiscrete, \
                     EulerAncestralDiscrete, HeunDiscrete and LMSDiscrete",
                ));
            }
        })
    }

    fn order(&self) -> Result<usize> {
        match self.solver_order.unwrap_or(2) {
            order @ 1..=3 => Ok(order),
            order => Err(unsupported("solver_order", &order.to_string(), "1, 2 or 3")),
        }
    }

    /// The scheduler with so many steps.
    pub(super) fn plan(&self, steps: usize) -> Result<Plan> {
        let (timesteps, default, at_first_entry, scheme) = self.class(steps)?;
        let spacing = match self.timestep_spacing.as_deref().unwrap_or(default) {
            "leading" => Spacing::Leading { offset: self.steps_offset },
            "trailing" => Spacing::Trailing,
            "linspace" => Spacing::Linspace,
            other => return Err(unsupported("timestep_spacing", other, "leading, trailing, linspace")),
        };
        let (n, start, end) = (self.num_train_timesteps, self.beta_start, self.beta_end);
        let schedule = match &self.beta_schedule[..] {
            "linear" => Discrete::linear(n, start, end)?,
            "scaled_linear" => Discrete::scaled_linear(n, start, end)?,
            "squaredcos_cap_v2" => Discrete::cosine(n)?,
            other => return Err(unsupported("beta_schedule", other, "linear, scaled_linear, squaredcos_cap_v2")),
        };
        let prediction = match &self.prediction_type[..] {
            "epsilon" => Prediction::Noise,
            "v_prediction" => Prediction::Velocity,
            "sample" => Prediction::Data,
            other => return Err(unsupported("prediction_type", other, "epsilon, v_prediction, sample")),
        };
        let mut times = timesteps.grid(steps, spacing).times(&schedule)?;
        if at_first_entry {
            // a step from that entry to itself does nothing
            times.pop();
            if times.last().is_some_and(|last| *last > 0.0) {
                times.push(0.0);
            }
        }
        Ok(Plan { schedule, grid: Grid::new(times), scheme, prediction })
    }
}

fn unsupported(what: &str, found: &str, supported: &'static str) -> Error {
    Error::Architecture { what: what.into(), found: found.into(), supported }
}

fn only(what: &str, found: &Option<String>, supported: &'static str) -> Result<()> {
    match found.as_deref().unwrap_or(supported) == supported {
        true => Ok(()),
        false => Err(unsupported(what, found.as_deref().unwrap_or_default(), supported)),
    }
}
