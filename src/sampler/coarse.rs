//! Solves of the same problem on a coarser grid with the same noise, and first guesses from them.

use super::problem::{Source, Start};
use super::{Path, Problem, Save};
use crate::backend::{Backend, Real};
use crate::error::{Error, Result};
use crate::grid::TimeGrid;
use crate::noise::stream;
use crate::prediction::Prediction;
use crate::schedule::NoiseSchedule;
use crate::scheme::{Discretisation, Scheme};
use ndarray::{Array3, Axis};

impl<'a, B: Backend> Problem<'a, B> {
    /// The same problem on every `every`-th time of its grid (and the last), with the same start and along the same noise: of the
    /// steps m that a coarse step spans it takes the normal sum_m w_m xi_m / |w|, where w_m = c_m prod_{i > m} a_i is what the
    /// noise of step m becomes when the network is silent (a acts on the state, c on the normal). For the exponential
    /// integrators, DDPM with small variance and the SDE-DPM-Solvers the coarse noise term is then the sum of the fine
    /// ones itself. All states are saved, for [`refine`](Problem::refine).
    ///
    /// ```
    /// use piadm::{Cpu, Ou, Path, Picard, Prediction, Problem, Sampler, Scheme, Sequential, TimeGrid, score_fn};
    /// let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| { out.zip_mut_with(&x, |o, x| *o = -x); Ok(()) });
    /// let grid = TimeGrid::log_snr(&Ou, 8.0, 0.01, 200)?;
    /// let problem = Problem::new(Cpu::<f32>::new(), &Ou, grid, Scheme::default(), (2, 3)).seed(1);
    /// let rough = Sequential.sample(&problem.coarse(20)?, &mut score)?; // 10 rounds
    /// let guesses = problem.refine(&rough.path, 20)?;
    /// let solution = Picard::default().sample(&problem.clone().with_path(&guesses), &mut score)?;
    /// assert!(solution.report.converged());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] for `every` = 0, for a list of nodes of your own (it has no grid to be coarsened), and for a start
    /// in the middle at a step that `every` does not divide; what the scheme's own discretisation gives.
    pub fn coarse(&self, every: usize) -> Result<Problem<'a, B>> {
        let Source::Scheme { schedule, grid, scheme } = &self.source else { return Err(no_grid()) };
        let points = self.points(every)?;
        let whole = (0..grid.steps()).step_by(every.max(1)).chain([grid.steps()]);
        let times: Vec<f64> = whole.filter_map(|m| grid.times().get(m).copied()).collect();
        let steps = times.len() - 1;
        let begins = steps + 1 - points.len();
        let mut coarse_noise = None;
        if has_noise(*schedule, grid, scheme, &points)? {
            let mut all = zeros((steps, self.samples(), self.dim()))?;
            all.slice_axis_mut(Axis(0), (begins..).into()).assign(&self.coarse_noise(&points)?);
            coarse_noise = Some(all.into_shared());
        }
        let source = Source::Scheme { schedule: *schedule, grid: TimeGrid::new(times)?, scheme: scheme.clone() };
        let mut start = self.start.clone();
        if let Start::State { step, .. } | Start::Data { step, .. } = &mut start {
            *step = begins;
        }
        Ok(Problem { source, start, noise: None, coarse_noise, save: Save::All, path: None, ..self.clone() })
    }

    /// First guesses for this problem ([`with_path`](Problem::with_path)) from the path of its [`coarse`](Problem::coarse) form: through
    /// the coarse states run the fine steps with their own noise, and with the constant prediction (of what the scheme
    /// freezes) that leads from one coarse state to the next.
    ///
    /// # Errors
    /// As [`coarse`](Problem::coarse); [`Error::Setting`] for a path that has not all states of the coarse problem, and
    /// [`Error::Shape`] for one of another batch.
    pub fn refine(&self, coarse: &Path<B::Elem>, every: usize) -> Result<Path<B::Elem>> {
        let points = self.points(every)?;
        coarse.check(self.samples(), self.dim())?;
        let (first, last) = (self.start_step(), points.last().copied().unwrap_or(0));
        let begins = first / every.max(1);
        if !coarse.steps().iter().copied().eq(begins..begins + points.len()) {
            let expected = "every step of the problem's coarse(every), as Save::All keeps them";
            return Err(Error::setting("steps of the coarse path", format!("{:?}", coarse.steps()), expected));
        }
        let guide = self.guide(&points)?;
        let mut path = Path::for_steps((first..=last).collect(), self.samples(), self.dim())?;
        let mut xi = vec![B::Elem::of(0.0); self.dim()];
        let mut x: Vec<f64> = Vec::with_capacity(self.dim());
        let mut pulls = Vec::new();
        for slot in 0..self.samples() {
            for (i, ends) in points.windows(2).enumerate() {
                let &[from, to] = ends else { continue };
                let state = |i| coarse.states().index_axis(Axis(0), i).index_axis_move(Axis(0), slot);
                x.clear();
                x.extend(state(i).iter().map(|v| v.wide()));
                // what a prediction of one, held from the block's start, adds
                let mut pull = 0.0;
                pulls.clear();
                let mut fine = path.states_mut().index_axis_mut(Axis(1), slot);
                fine.index_axis_mut(Axis(0), from - first).assign(&state(i));
                for step in from + 1..=to {
                    let j = step - first;
                    let (a, b, c) = (guide.a(j, 1, 0, 0), guide.b(j, 1, 0), guide.c(j, 0, 0));
                    pull = a * pull + b;
                    pulls.push(pull);
                    if c != 0.0 {
                        self.step_normals(step, slot, &mut xi);
                    }
                    for ((x, xi), out) in x.iter_mut().zip(&xi).zip(fine.index_axis_mut(Axis(0), j)) {
                        *x = if c == 0.0 { a * *x } else { a * *x + c * xi.wide() };
                        *out = B::Elem::of(*x);
                    }
                }
                let end = state(i + 1);
                for (step, share) in (from + 1..to).zip(&pulls).filter(|_| pull != 0.0) {
                    let inner = fine.index_axis_mut(Axis(0), step - first);
                    for ((out, x), end) in inner.into_iter().zip(&x).zip(end) {
                        *out = B::Elem::of(out.wide() + share / pull * (end.wide() - x));
                    }
                }
                fine.index_axis_mut(Axis(0), to - first).assign(&end);
            }
        }
        Ok(path)
    }

    /// Where the run starts.
    fn start_step(&self) -> usize {
        match self.start {
            Start::Prior => 0,
            Start::State { step, .. } | Start::Data { step, .. } => step,
        }
    }

    /// The fine steps at which the coarse ones end, the start first.
    fn points(&self, every: usize) -> Result<Vec<usize>> {
        let Source::Scheme { grid, .. } = &self.source else { return Err(no_grid()) };
        let first = self.start_step();
        if every == 0 {
            return Err(Error::setting("every", every, "at least 1 step"));
        }
        if first >= grid.steps() {
            return Err(Error::setting("start step", first, "less than the number of steps of the grid"));
        }
        if !first.is_multiple_of(every) {
            return Err(Error::setting("every", every, "a divisor of the step at which the run starts"));
        }
        Ok((first..grid.steps()).step_by(every).chain([grid.steps()]).collect())
    }

    /// Nodes of the coarse steps between `points`, numbered from 0, for Parareal.
    pub(super) fn coarse_list(&self, prediction: Prediction, points: &[usize]) -> Result<Discretisation> {
        let Source::Scheme { schedule, grid, scheme } = &self.source else { return Err(no_grid()) };
        let times: Vec<f64> = points.iter().filter_map(|m| grid.times().get(*m).copied()).collect();
        Discretisation::new(*schedule, &TimeGrid::new(times)?, scheme, prediction)
    }

    /// The fine steps between the points, of first order and of the kind of output that is frozen.
    fn guide(&self, points: &[usize]) -> Result<Discretisation> {
        let Source::Scheme { schedule, grid, scheme } = &self.source else { return Err(no_grid()) };
        guide(*schedule, grid, scheme, points)
    }

    /// The normals of the coarse steps between the points.
    pub(super) fn coarse_noise(&self, points: &[usize]) -> Result<Array3<B::Elem>> {
        let guide = self.guide(points)?;
        let first = guide.first_step();
        let mut noise = zeros((points.len().saturating_sub(1), self.samples(), self.dim()))?;
        let mut xi = vec![B::Elem::of(0.0); self.dim()];
        let mut sum = vec![0.0; self.dim()];
        for (ends, mut of_step) in points.windows(2).zip(noise.outer_iter_mut()) {
            let &[from, to] = ends else { continue };
            let mut product = 1.0;
            let mut weights: Vec<(usize, f64)> = Vec::with_capacity(to - from);
            for step in (from + 1..=to).rev() {
                weights.push((step, product * guide.c(step - first, 0, 0)));
                product *= guide.a(step - first, 1, 0, 0);
            }
            let norm = weights.iter().map(|(_, w)| w * w).sum::<f64>().sqrt();
            if norm == 0.0 {
                continue;
            }
            for (slot, mut row) in of_step.outer_iter_mut().enumerate() {
                sum.fill(0.0);
                for &(step, weight) in weights.iter().rev().filter(|(_, w)| *w != 0.0) {
                    self.step_normals(step, slot, &mut xi);
                    sum.iter_mut().zip(&xi).for_each(|(s, x)| *s += weight / norm * x.wide());
                }
                row.iter_mut().zip(&sum).for_each(|(out, s)| *out = B::Elem::of(*s));
            }
        }
        Ok(noise)
    }

    /// The normals of a step, given or addressed.
    fn step_normals(&self, step: usize, slot: usize, out: &mut [B::Elem]) {
        match self.given_noise(step, slot) {
            Some(given) => out.iter_mut().zip(given).for_each(|(out, x)| *out = *x),
            None => self.normals(stream::DYNAMICS, step as u32, self.ids().get(slot).copied().unwrap_or(0), out),
        }
    }
}

fn guide(schedule: &dyn NoiseSchedule, grid: &TimeGrid, scheme: &Scheme, points: &[usize]) -> Result<Discretisation> {
    let (one_step, frozen) = scheme.first_order();
    let steps = points.first().copied().unwrap_or(0)..points.last().copied().unwrap_or(0);
    Discretisation::for_steps(schedule, grid, &one_step, frozen, steps)
}

fn has_noise(schedule: &dyn NoiseSchedule, grid: &TimeGrid, scheme: &Scheme, points: &[usize]) -> Result<bool> {
    Ok(guide(schedule, grid, scheme, points)?.has_noise())
}

fn no_grid() -> Error {
    Error::setting("problem", "a list of nodes", "a schedule, a grid and a scheme: a list cannot be made coarser")
}

fn zeros<E: Real>((steps, samples, dim): (usize, usize, usize)) -> Result<Array3<E>> {
    let what = "the coarse noise";
    let too_large = || Error::TooLarge { what, why: format!("{steps} x {samples} x {dim} normals") };
    let len = steps.checked_mul(samples).and_then(|n| n.checked_mul(dim)).ok_or_else(too_large)?;
    let mut data = Vec::new();
    let bytes = len.saturating_mul(size_of::<E>());
    data.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { what, bytes })?;
    data.resize(len, E::of(0.0));
    Array3::from_shape_vec((steps, samples, dim), data).map_err(|_| too_large())
}
