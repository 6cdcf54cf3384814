//! EDM's stochastic sampler (arXiv 2206.00364, algorithm 2): noise is added before a deterministic step.

use crate::error::{Error, Result};
use crate::nodes::builder::Assembler;
use crate::nodes::step::{Lag, StepEnds};
use crate::nodes::{dpm_solver, exponential};
use crate::schedule::{Level, NoiseSchedule};

/// Settings of the algorithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Churn {
    pub churn: f64,
    pub t_min: f64,
    pub t_max: f64,
    pub noise: f64,
}

impl Churn {
    /// gamma of the paper's line 5.
    fn gamma(&self, step: &StepEnds) -> f64 {
        let ratio = step.t.sigma / step.t.alpha;
        let inside = ratio.is_finite() && (self.t_min..=self.t_max).contains(&ratio);
        if inside { (self.churn / step.steps as f64).min(std::f64::consts::SQRT_2 - 1.0) } else { 0.0 }
    }

    /// The raised level as a stage, if noise is added, and then Euler's or Heun's step from there.
    pub(crate) fn push(
        &self,
        list: &mut Assembler,
        schedule: &dyn NoiseSchedule,
        heun: bool,
        step: &StepEnds,
    ) -> Result<()> {
        let StepEnds { mut t, u, .. } = *step;
        let gamma = self.gamma(step);
        if gamma > 0.0 {
            let log_snr = t.log_snr - gamma.ln_1p();
            let raised = Level::at(schedule, schedule.time_of_log_snr(log_snr));
            // outside its range a schedule answers the nearest end
            let apart = (raised.log_snr - log_snr).abs();
            if apart.is_nan() || apart > 1e-6 * gamma {
                return Err(Error::setting(
                    "s_churn",
                    self.churn,
                    "noise levels inside the schedule's range: start the grid at less noise, or lower s_tmax",
                ));
            }
            let std = raised.alpha * t.sigma / t.alpha * (gamma * (2.0 + gamma)).sqrt() * self.noise;
            let add = Lag::data(1, raised.alpha / t.alpha, 0.0);
            list.stage(raised, &[add], std)?;
            t = raised;
        }
        if heun {
            return dpm_solver::push_heun(list, t, u);
        }
        let (lags, c) = exponential::data(0.0, &t, &u).lags();
        list.solution(u, &lags, c)
    }
}
