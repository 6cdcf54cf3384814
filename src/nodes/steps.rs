//! Lists of nodes from schemes and grids.

use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::grid::times::TimeGrid;
use crate::nodes::builder::Assembler;
use crate::nodes::churn::Churn;
use crate::nodes::list::Nodes;
use crate::nodes::multistep::{self, Interpolation};
use crate::nodes::scheme::Scheme;
use crate::nodes::step::{Form, MOST_PAST, OneStep, StepEnds};
use crate::nodes::{ancestral, dpm_solver, exponential, runge_kutta};
use crate::schedule::{Level, NoiseSchedule};
use crate::score::Prediction;

impl Scheme {
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
        let mut past = [level(steps.start); MOST_PAST];
        let (mut known, mut t) = (0, level(steps.start));
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
            let left = grid.steps() - (m + 1);
            self.push_step(list, schedule, &StepEnds { past: &past[..known], t, u, left, steps: grid.steps() })?;
            past.rotate_right(1);
            (past[0], known, t) = (t, MOST_PAST.min(known + 1), u);
        }
        Ok(())
    }

    /// Adds the nodes of one step.
    fn push_step(&self, list: &mut Assembler, schedule: &dyn NoiseSchedule, step: &StepEnds) -> Result<()> {
        let StepEnds { past, t, u, left, .. } = *step;
        let before = |lower_order_final| past.first().copied().filter(|_| !(left == 0 && lower_order_final));
        let limited = |order: usize, lower: bool| if lower { order.min(left + 1) } else { order };
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
                return dpm_solver::push_2m(list, 0.0, before(lower_order_final), t, u);
            }
            Scheme::SdeDpmSolverPp2M { eta, lower_order_final } => {
                return dpm_solver::push_2m(list, eta, before(lower_order_final), t, u);
            }
            Scheme::Heun {} => return dpm_solver::push_heun(list, t, u),
            Scheme::DpmSolverPp { order, eta, solver, lower_order_final } => {
                return dpm_solver::push_multistep(list, step, eta, limited(order, lower_order_final), solver);
            }
            Scheme::UniPc { order, corrector, variant, lower_order_final } => {
                return multistep::push_uni_pc(list, step, order, corrector, variant, lower_order_final);
            }
            Scheme::Deis { order, lower_order_final } => {
                let order = limited(order, lower_order_final);
                return multistep::push_noise(list, step, order, Interpolation::LogSnr);
            }
            Scheme::Lms { order, lower_order_final } => {
                let order = limited(order, lower_order_final);
                return multistep::push_noise(list, step, order, Interpolation::Sigma);
            }
            Scheme::Ipndm { order, lower_order_final } => {
                let order = limited(order, lower_order_final);
                return multistep::push_noise(list, step, order, Interpolation::Even);
            }
            Scheme::DpmSolverPp2S { eta } => {
                return runge_kutta::push_ancestral(list, schedule, Form::Data, eta, t, u);
            }
            Scheme::Dpm2 { eta } => return runge_kutta::push_ancestral(list, schedule, Form::Noise, eta, t, u),
            Scheme::Lcm {} => OneStep { form: Form::Data, a: 0.0, b: u.alpha, c: u.sigma }.lags(),
            Scheme::EdmStochastic { heun, s_churn, s_tmin, s_tmax, s_noise } => {
                let churn = Churn { churn: s_churn, t_min: s_tmin, t_max: s_tmax, noise: s_noise };
                return churn.push(list, schedule, heun, step);
            }
            Scheme::RungeKutta { method, clock } => {
                return runge_kutta::push(list, schedule, method, clock, t, u);
            }
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
