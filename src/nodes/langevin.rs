//! Underdamped Langevin dynamics at a fixed noise level: the corrector of PIADM-ODE (arXiv 2405.15986, section 3.3;
//! Anari, Chewi and Vuong, arXiv 2401.09016).

use crate::error::{Error, Result};
use crate::grid::MAX_STEPS;
use crate::nodes::builder::Assembler;
use crate::nodes::list::Nodes;
use crate::nodes::terms::{NodeTerms, Normal};
use crate::noise::stream;
use crate::schedule::Level;
use crate::score::Prediction;

/// Steps of the underdamped Langevin equation
/// dx = w dt, dw = -gamma w dt + s(x) dt + sqrt(2 gamma) dB, whose stationary law has positions with score s.
///
/// Within a step of length k the score is frozen; everything else is exact. With g = gamma k, q = e^{-g} and
/// independent normals z1, z2,
///
/// - w' = q w + (1 - q)/gamma s + sqrt(1 - q^2) z1,
/// - x' = x + (1 - q)/gamma w + (g - 1 + q)/gamma^2 s + (1 - q)^2/(gamma sqrt(1 - q^2)) z1 + sqrt(C) z2,
///   C = (2/gamma^2)(g - 2 tanh(g/2)).
///
/// The states of the list have two components, position and velocity; the network sees positions only. Velocities
/// start from N(0, I). The bias of the stationary law is of first order in k.
///
/// ```
/// use piadm::{nodes::Langevin, sampler::Linearisation, schedule::Level};
/// use piadm::{Cpu, Ou, Picard, Prediction, Problem, Sampler, score_fn};
/// // a fixed log density, here N(0, 1/4): the score is -4 x
/// let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| {
///     out.zip_mut_with(&x, |o, x| *o = -4.0 * x);
///     Ok(())
/// });
/// let langevin = Langevin { friction: 2.8, step: 0.05, steps: 200 };
/// let list = langevin.list(Level::at(&Ou, 1.0), Prediction::Score, 0)?;
/// let problem = Problem::from_nodes(Cpu::<f32>::new(), list).samples(500).shape([2]);
/// let sampler = Picard::default().linearisation(Linearisation::FrozenScore);
/// let x = sampler.sample(&problem, &mut score)?.samples;
/// let variance = x.mapv(|x| x * x).mean().unwrap_or(0.0);
/// assert!((variance - 0.259).abs() < 0.03);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Langevin {
    /// gamma, per unit of time; above 0.
    pub friction: f64,
    /// k, the length of a step in Langevin time; above 0.
    pub step: f64,
    /// Number of steps; at least 1.
    pub steps: usize,
}

impl Langevin {
    /// The nodes at noise level `level`, for a network whose output is `prediction`. Steps are numbered from
    /// `first_step`, and their noise is addressed by these numbers: corrections of the same run must not share
    /// them.
    ///
    /// # Errors
    /// [`Error::Setting`] for settings out of range, [`Error::Singular`] if sigma = 0 and the output is not a
    /// score.
    pub fn list(&self, level: Level, prediction: Prediction, first_step: usize) -> Result<Nodes> {
        let terms = self.terms(&level, prediction, first_step)?;
        let velocity = Normal::new(stream::CORRECTOR_START, first_step);
        let start = NodeTerms::wide(2).c(1, velocity, 1.0);
        let mut list = Nodes::empty(level).numbered_from(first_step)?.with_start(&start)?;
        for step in first_step + 1..=first_step + self.steps {
            list.push(level, true, &terms(step))?;
        }
        Ok(list)
    }

    /// The same after the last node of a list, as stages of a step; the last stage ends that step. The noise is
    /// numbered from `first`.
    pub(crate) fn correct(
        &self,
        list: &mut Assembler,
        level: Level,
        prediction: Prediction,
        first: usize,
    ) -> Result<()> {
        let terms = self.terms(&level, prediction, first)?;
        let velocity = Normal::new(stream::CORRECTOR_START, first);
        list.push(level, false, &NodeTerms::wide(2).a(1, [0, 0], 1.0).c(1, velocity, 1.0))?;
        for step in first + 1..=first + self.steps {
            list.push(level, step == first + self.steps, &terms(step))?;
        }
        Ok(())
    }

    /// Whether the settings are in range, for steps after `first_step`.
    pub(crate) fn check(&self, first_step: usize) -> Result<()> {
        for (name, value) in [("friction", self.friction), ("step", self.step)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::setting(name, value, "a finite number above 0"));
            }
        }
        if self.steps == 0 || self.steps > MAX_STEPS.saturating_sub(first_step) {
            return Err(Error::setting("steps", self.steps, "1 to 2^24 steps in the whole run"));
        }
        Ok(())
    }

    /// The terms of position and velocity in a step.
    fn terms(&self, level: &Level, prediction: Prediction, first_step: usize) -> Result<impl Fn(usize) -> NodeTerms> {
        self.check(first_step)?;
        let (p, q) = prediction.score_map(level.alpha, level.sigma);
        if !(p.is_finite() && q.is_finite()) {
            let what = "turning this kind of output into a score";
            return Err(Error::Singular { step: first_step.saturating_add(1), time: level.t, what });
        }
        let StepCoefficients { keep, push, drift, velocity_noise, mixed_noise, position_noise } = self.coefficients();
        let both = NodeTerms::wide(2)
            .a(1, [0, 0], 1.0 + push * p)
            .a(1, [0, 1], drift)
            .b(1, [0, 0], push * q)
            .a(1, [1, 0], drift * p)
            .a(1, [1, 1], keep)
            .b(1, [1, 0], drift * q);
        Ok(move |step| {
            // z1 drives both
            let (z1, z2) = (Normal::new(stream::CORRECTOR_1, step), Normal::new(stream::CORRECTOR_2, step));
            both.clone().c(0, z1, mixed_noise).c(0, z2, position_noise).c(1, z1, velocity_noise)
        })
    }

    fn coefficients(&self) -> StepCoefficients {
        let (gamma, k) = (self.friction, self.step);
        let g = gamma * k;
        let rest = -(-g).exp_m1(); // 1 - q
        let velocity_noise = (-(-2.0 * g).exp_m1()).sqrt();
        // for small g, g - 1 + q and g - 2 tanh(g/2) suffer cancellation, so their series are used
        let (push, c) = if g < 0.1 {
            let push = [40_320.0, 5040.0, 720.0, 120.0, 24.0, 6.0, 2.0].iter().fold(0.0, |s, d| 1.0 / d - g * s);
            let c = [691.0 / 79_833_600.0, 31.0 / 362_880.0, 17.0 / 20_160.0, 1.0 / 120.0, 1.0 / 12.0];
            (k * k * push, 2.0 * gamma * k * k * k * c.iter().fold(0.0, |s, c| c - g * g * s))
        } else {
            ((g - rest) / (gamma * gamma), 2.0 * (g - 2.0 * (0.5 * g).tanh()) / (gamma * gamma))
        };
        StepCoefficients {
            keep: (-g).exp(),
            push,
            drift: rest / gamma,
            velocity_noise,
            mixed_noise: rest * rest / (gamma * velocity_noise),
            position_noise: c.sqrt(),
        }
    }
}

/// The coefficients of one step.
struct StepCoefficients {
    /// Velocity on velocity, q.
    keep: f64,
    /// Score on position.
    push: f64,
    /// Velocity on position, and score on velocity.
    drift: f64,
    /// z1 on velocity.
    velocity_noise: f64,
    /// z1 on position.
    mixed_noise: f64,
    /// z2 on position.
    position_noise: f64,
}
