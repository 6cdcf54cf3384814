//! Solving the same problem on a coarser grid with the same noise, and first guesses from that solution.

use crate::backend::{Backend, Real};
use crate::error::{Error, Result, filled, reserved};
use crate::grid::Grid;
use crate::grid::times::TimeGrid;
use crate::nodes::{Nodes, Scheme};
use crate::noise::stream;
use crate::problem::request::{Request, Source};
use crate::problem::start::{Start, normals};
use crate::problem::{Path, Problem, Save};
use crate::schedule::NoiseSchedule;
use crate::score::Prediction;
use ndarray::{Array3, ArrayView2, Axis};
use std::sync::Arc;

impl<B: Backend> Problem<B> {
    /// The same problem on every `every`-th time of its grid (and the last one), with the same start and the same
    /// noise. For a coarse step that spans the fine steps m it takes the normal sum_m w_m xi_m / |w|. Here
    /// w_m = c_m prod_{i > m} a_i is what becomes of the noise of step m if the output of the network is 0 (a
    /// multiplies the state, c the normal). For the exponential integrators, DDPM with small variance and the
    /// SDE-DPM-Solvers, the coarse noise term is then exactly the sum of the fine ones. All states are saved, for
    /// [`refine`](Problem::refine).
    ///
    /// Where a grid leaves its ends to the range of the network ([`Model::time_range`](crate::Model::time_range)), take
    /// the coarse form of the [`resolved`](Problem::resolved) problem: no network is known here.
    ///
    /// ```
    /// use piadm::{Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme, Sequential, score_fn};
    /// let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| {
    ///     out.zip_mut_with(&x, |o, x| *o = -x);
    ///     Ok(())
    /// });
    /// let grid = Grid::log_snr(200).between(8.0, 0.01);
    /// let problem = Problem::new(Ou, grid, Scheme::default()).samples(2).shape([3]).seed(1);
    /// let rough = Sequential.sample(&problem.coarse(20)?, &mut score)?; // 10 rounds
    /// let guesses = problem.refine(&rough.path, 20)?;
    /// let solution = Picard::default().sample(&problem.clone().guesses(guesses), &mut score)?;
    /// assert!(solution.report.converged());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] for `every` = 0 and for a start at a step that `every` does not divide;
    /// [`Error::Unsupported`] for a list of nodes of your own (it has no grid to coarsen) and for corrections;
    /// otherwise the errors of the scheme's own discretisation.
    pub fn coarse(&self, every: usize) -> Result<Problem<B>> {
        let GridOf { request, schedule, grid, scheme } = self.grid()?;
        let points = self.points(every)?;
        let whole = (0..grid.steps()).step_by(every.max(1)).chain([grid.steps()]);
        let times: Vec<f64> = whole.map(|m| grid.times()[m]).collect();
        let steps = times.len() - 1;
        let begins = steps + 1 - points.len();
        let mut noise = None;
        if self.guide(&points)?.has_noise() {
            let mut all = zeros((steps, self.count(), self.dim()))?;
            all.slice_axis_mut(Axis(0), (begins..).into()).assign(&self.coarse_noise(&points)?);
            noise = Some(all.into_shared());
        }
        let (grid, scheme) = (Grid::new(times), scheme.clone());
        let source = Source::Scheme { schedule: schedule.clone(), grid, scheme };
        let mut start = request.start.clone();
        if let Start::State { step, .. } | Start::Data { step, .. } = &mut start {
            *step = begins;
        }
        let request = Request { source, start, ..request.clone() };
        Ok(Problem { requests: vec![request], noise, save: Save::All, path: None, ..self.clone() })
    }

    /// First guesses for this problem ([`guesses`](Problem::guesses)) from the path of its
    /// [`coarse`](Problem::coarse) form. Between two coarse states the fine steps run with their own noise and with
    /// the constant prediction (of what the scheme freezes) that leads from the first state to the second.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).shape([2]);
    /// let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
    /// let rough = Sequential.sample(&problem.coarse(8)?, &mut score)?;
    /// let path = problem.refine(&rough.path, 8)?;
    /// assert_eq!(path.states().dim(), (41, 1, 2));
    /// # Ok::<(), piadm::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`coarse`](Problem::coarse); [`Error::Setting`] for a path that lacks states of the coarse problem, and
    /// [`Error::Shape`] for the path of another batch.
    pub fn refine(&self, coarse: &Path<B::Elem>, every: usize) -> Result<Path<B::Elem>> {
        let points = self.points(every)?;
        coarse.check(self.count(), self.dim())?;
        let (first, last) = (points[0], points[points.len() - 1]);
        let begins = first / every.max(1);
        if !coarse.steps().iter().copied().eq(begins..begins + points.len()) {
            let expected = "every step of the problem's coarse(every), as Save::All keeps them";
            return Err(Error::setting("steps of the coarse path", format!("{:?}", coarse.steps()), expected));
        }
        let guide = self.guide(&points)?;
        let mut path = Path::for_steps((first..=last).collect(), self.count(), self.dim(), B::Elem::of(0.0))?;
        let mut xi = filled("normals of a step", self.dim(), B::Elem::of(0.0))?;
        let mut x: Vec<f64> = reserved("a state", self.dim())?;
        let mut pulls = Vec::new();
        for slot in 0..self.count() {
            for (i, ends) in points.windows(2).enumerate() {
                let (from, to) = (ends[0], ends[1]);
                let state = |i| coarse.states().index_axis(Axis(0), i).index_axis_move(Axis(0), slot);
                x.clear();
                x.extend(state(i).iter().map(|v| v.wide()));
                // what a prediction of 1, held from the start of the block, adds to the state
                let mut pull = 0.0;
                pulls.clear();
                let mut fine = path.states_mut().index_axis_mut(Axis(1), slot);
                fine.index_axis_mut(Axis(0), from - first).assign(&state(i));
                for step in from + 1..=to {
                    let j = step - first;
                    let (a, b, c) = (guide.a(j, 1, 0, 0), guide.b(j, 1, 0, 0), guide.c(j, 0, 0));
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

    /// The request to coarsen, if it has a grid.
    fn grid(&self) -> Result<GridOf<'_, B::Elem>> {
        self.check_sizes()?;
        let request = self.request("a coarse problem")?;
        match &request.source {
            Source::Scheme { .. } if request.correction.is_some() => Err(Error::unsupported(
                "a coarse problem",
                "corrections, which cannot be made coarser",
                "leave them out",
            )),
            Source::Scheme { schedule, grid, scheme } => {
                let grid = grid.resolve(schedule, None)?;
                Ok(GridOf { request, schedule, grid, scheme })
            }
            Source::List(_) => Err(Error::unsupported(
                "a coarse problem",
                "nodes of your own, which cannot be made coarser",
                "take a schedule, a grid and a scheme",
            )),
        }
    }

    /// The fine steps at which the coarse ones end, preceded by the start.
    fn points(&self, every: usize) -> Result<Vec<usize>> {
        let GridOf { request, grid, .. } = self.grid()?;
        let first = request.start.step();
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

    /// Nodes of the coarse steps between `points`, numbered from 0.
    pub(crate) fn coarse_list(&self, prediction: Prediction, points: &[usize]) -> Result<Nodes> {
        let GridOf { schedule, grid, scheme, .. } = self.grid()?;
        let times: Vec<f64> = points.iter().map(|m| grid.times()[*m]).collect();
        Nodes::new(&**schedule, &Grid::new(times), scheme, prediction)
    }

    /// The fine steps between the points, by a first-order scheme for the kind of output that it freezes.
    fn guide(&self, points: &[usize]) -> Result<Nodes> {
        let GridOf { schedule, grid, scheme, .. } = self.grid()?;
        let (one_step, frozen) = scheme.first_order();
        let steps = points[0]..points[points.len() - 1];
        Nodes::on_times(&**schedule, &grid, &one_step, frozen, steps)
    }

    /// The normals of the coarse steps between the points.
    pub(crate) fn coarse_noise(&self, points: &[usize]) -> Result<Array3<B::Elem>> {
        let guide = self.guide(points)?;
        let first = guide.first_step();
        let mut noise = zeros((points.len().saturating_sub(1), self.count(), self.dim()))?;
        let mut xi = filled("normals of a step", self.dim(), B::Elem::of(0.0))?;
        let mut sum = filled("a sum of normals", self.dim(), 0.0)?;
        for (ends, mut of_step) in points.windows(2).zip(noise.outer_iter_mut()) {
            let (from, to) = (ends[0], ends[1]);
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

    /// The noise given for a step and slot, if any.
    pub(super) fn given_noise(&self, step: usize, slot: usize) -> Option<ArrayView2<'_, B::Elem>> {
        let noise = self.noise.as_ref()?;
        let m = step.checked_sub(1).filter(|m| *m < noise.len_of(Axis(0)))?;
        let of_step = noise.view().index_axis_move(Axis(0), m);
        Some(of_step.index_axis_move(Axis(0), slot).insert_axis(Axis(0)))
    }

    /// The normals of a step, either given or addressed.
    fn step_normals(&self, step: usize, slot: usize, out: &mut [B::Elem]) {
        let request = &self.requests[0];
        match self.given_noise(step, slot) {
            Some(given) => out.iter_mut().zip(given).for_each(|(out, x)| *out = *x),
            None => normals(request.key, stream::DYNAMICS, step as u32, request.ids.id(slot), out),
        }
    }
}

/// A request that has a grid.
struct GridOf<'p, E> {
    request: &'p Request<E>,
    schedule: &'p Arc<dyn NoiseSchedule>,
    grid: TimeGrid,
    scheme: &'p Scheme,
}

fn zeros<E: Real>((steps, samples, dim): (usize, usize, usize)) -> Result<Array3<E>> {
    let what = "the coarse noise";
    let too_large = || Error::TooLarge { what, why: format!("{steps} x {samples} x {dim} normals") };
    let len = steps.checked_mul(samples).and_then(|n| n.checked_mul(dim)).ok_or_else(too_large)?;
    Array3::from_shape_vec((steps, samples, dim), filled(what, len, E::of(0.0))?).map_err(|_| too_large())
}
