//! Parareal over blocks of steps: SRDS.

mod plan;

use super::arrays::Room;
use super::picard::Linearisation;
use super::workspace::{Move, Span, Workspace};
use super::{Observer, Problem, Round, Sampler, Solution, Stop, Tolerance};
use crate::backend::{Backend, Plane, Real, RowRef, Segment, Target, Term};
use crate::error::{Error, Result};
use crate::scheme::Discretisation;
use crate::score::ScoreFn;
use ndarray::Axis;
use plan::{Part, Plan};

/// Parareal iterations over blocks of steps: SRDS (Selvam, Merchant, Ermon, arXiv 2412.08292).
///
/// M steps are cut into N blocks. From the start x_n of block n, F takes the block's steps one after another and G takes one step of
/// the same scheme across the whole block, with the noise of [`Problem::coarse`]. Iteration k + 1 is
///
/// $$x_{n+1}^{k+1} = F(x_n^k) + \[G(x_n^{k+1}) - G(x_n^k)\],$$
///
/// after the coarse solve $x_{n+1}^0 = G(x_n^0)$. Block starts that have not moved add nothing in the bracket, so the fixed point is the
/// sequential trajectory, bit for bit; after k iterations the first k blocks are exact, and are not evaluated again.
///
/// This is the pipelined form: block n begins iteration k in round k S + n - k, with S the steps of the longest block, as soon as its
/// start is known and while the blocks before it still run. G asks the network where F begins, so its evaluation is F's first
/// and no round is spent on coarse solves alone: k iterations take k S + N - k rounds, and all N of them N S, which is M, as in
/// [`Sequential`](super::Sequential), where N divides M. Blocks of one step are taken for two. A sample stops by itself, when
/// every block start and the last state are accepted in one iteration; what was evaluated of the next iteration by then
/// is counted.
///
/// Schemes must need one evaluation a step and no memory. First guesses of the problem are not used. Memory: four pairs of
/// states a block.
///
/// ```
/// use piadm::{Cpu, Ou, Parareal, Prediction, Problem, Sampler, Scheme, Sequential, TimeGrid, Tolerance, score_fn};
/// let grid = TimeGrid::log_snr(&Ou, 8.0, 0.01, 100)?;
/// let problem = Problem::new(Cpu::<f32>::new(), &Ou, grid, Scheme::Ddim { eta: 0.0 }, (4, 2)).seed(1);
/// let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| { out.zip_mut_with(&x, |o, x| *o = -x); Ok(()) });
/// let parallel = Parareal::default().sample(&problem, &mut score)?; // 10 blocks of 10 steps
/// assert!(parallel.report.rounds < 60);
/// let exact = Parareal { tolerance: Tolerance::ZERO, ..Parareal::default() };
/// assert_eq!(exact.sample(&problem, &mut score)?.samples, Sequential.sample(&problem, &mut score)?.samples);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Parareal {
    /// N, the number of blocks; `None` (default) takes the square root of the number of steps.
    pub blocks: Option<usize>,
    /// When a block's start, or the last state, is accepted; default an estimated error of 1e-2.
    pub tolerance: Tolerance,
    /// The most iterations; what they have given is then accepted as it is and the report says
    /// [`Stop::Depth`]. `None` (default) allows N, which are exact.
    pub max_iterations: Option<usize>,
}

/// What is kept of a sample.
#[derive(Clone, Debug)]
struct Track {
    /// Iterations in which a state was not accepted.
    failed: Vec<bool>,
    /// Of every block's end, the last change.
    changes: Vec<f64>,
    /// Of every iteration, the largest accepted change.
    largest: Vec<f64>,
    /// Rounds and iterations after which it was done.
    done: Option<(usize, usize)>,
}

struct Run<'p, 'a, B: Backend> {
    settings: &'p Parareal,
    work: Workspace<'p, 'a, B>,
    plan: Plan,
    coarse: Discretisation,
    tracks: Vec<Track>,
}

/// Lanes of a block: two that iterations take in turns, one whose rows hold G of both, one whose first row holds its start.
const LANES: usize = 4;
const COARSE: usize = 2;
const START: usize = 3;

impl<B: Backend> Sampler<B> for Parareal {
    fn run(
        &self,
        problem: &Problem<'_, B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Solution<B>> {
        self.tolerance.check()?;
        let list = problem.list(score.prediction())?;
        problem.check(&list)?;
        let plan = Plan::new(self, list.steps())?;
        let points: Vec<usize> = plan.nodes.iter().map(|node| list.first_step() + node).collect();
        let coarse = problem.coarse_list(score.prediction(), &points)?;
        if list.lookback() > 1 {
            let expected =
                "a scheme of one evaluation a step and no memory: exponential, ddpm, ddim, sde_dpm_solver_pp_1";
            return Err(Error::setting("scheme", "a multistep or two-stage scheme", expected));
        }
        let (slots, blocks) = (problem.samples(), plan.blocks());
        let room = Room {
            window: 1,
            lanes: slots.saturating_mul(LANES * (blocks + 1)),
            // starts are put together from three rows
            rows: slots.saturating_mul(3 * blocks),
            earlier: false,
            history: 0,
        };
        let work = Workspace::new(problem, list, &*score, room, "parareal")?;
        let track = Track {
            failed: vec![false; plan.most + 1],
            changes: vec![f64::NAN; blocks + 1],
            largest: vec![0.0; plan.most + 1],
            done: None,
        };
        let mut run = Run { settings: self, work, plan, coarse, tracks: vec![track; slots] };
        run.begin(&points)?;
        run.rounds(score, observer)
    }
}

impl<B: Backend> Run<'_, '_, B> {
    fn lane(&self, slot: usize, block: usize, which: usize) -> usize {
        (slot * (self.plan.blocks() + 1) + block) * LANES + which
    }

    fn running(&self) -> Vec<usize> {
        self.tracks.iter().enumerate().filter(|(_, t)| t.done.is_none()).map(|(slot, _)| slot).collect()
    }

    fn span(&self, slot: usize, part: Part) -> Span {
        let lo = self.plan.node(part.block) + part.step;
        Span { slot, lane: self.lane(slot, part.block, part.iteration % 2), lo, hi: (lo + 1).min(self.work.last()) }
    }

    /// Row of G of a block in an iteration.
    fn coarse_row(&self, slot: usize, block: usize, iteration: usize) -> u32 {
        self.work.state_row(self.lane(slot, block, COARSE), iteration % 2, 0)
    }

    /// Coarse noise, and all samples at their start.
    fn begin(&mut self, points: &[usize]) -> Result<()> {
        if self.coarse.has_noise() {
            let noise = self.work.problem.coarse_noise(points)?;
            for (block, of_block) in noise.outer_iter().enumerate() {
                for (slot, xi) in of_block.outer_iter().enumerate() {
                    let row = self.work.noise_row(self.lane(slot, block, COARSE), 0, 0);
                    let backend = self.work.problem.backend();
                    backend.upload(xi.insert_axis(Axis(0)), &mut self.work.arrays.noise, row as usize)?;
                }
            }
        }
        let first = Part { block: 0, iteration: 0, step: 0 };
        let mut moves = Vec::with_capacity(self.tracks.len());
        for slot in 0..self.tracks.len() {
            let to = self.span(slot, first);
            self.work.begin(slot, to.lane)?;
            moves.push(Move { from: Span { hi: to.lo, ..to }, to });
        }
        self.work.advance(&moves, None, &Linearisation::FrozenScore)
    }

    fn rounds(mut self, score: &mut dyn ScoreFn<B>, observer: &mut dyn Observer<B>) -> Result<Solution<B>> {
        let steps = self.work.list.steps();
        let mut finished = vec![0; self.tracks.len()];
        let mut round = 0;
        let mut running = self.running();
        while !running.is_empty() {
            let active = self.plan.active(round);
            let spans: Vec<Span> =
                running.iter().flat_map(|slot| active.iter().map(|part| self.span(*slot, *part))).collect();
            let before = self.work.report.score_rows;
            self.work.evaluate(score, &spans)?;
            self.work.sweep(&spans, &Linearisation::FrozenScore)?;
            self.coarse_steps(&running, &active)?;
            // the end of a block waits in its row until the next one begins
            let moves = spans.iter().zip(active.iter().cycle()).filter(|(_, p)| p.step + 1 < self.plan.len(p.block));
            let moves: Vec<Move> =
                moves.map(|(&from, _)| Move { from, to: Span { lo: from.lo + 1, hi: from.hi + 1, ..from } }).collect();
            self.work.advance(&moves, None, &Linearisation::FrozenScore)?;
            round += 1;
            let residual = self.starts(&running, round)?;
            for slot in running {
                let front = self.plan.front(round);
                let done = self.tracks.get(slot).is_some_and(|t| t.done.is_some());
                if let Some(count) = finished.get_mut(slot) {
                    *count = if done { steps } else { self.plan.node(front.block) + front.step };
                }
                if done {
                    let id = self.work.ids().get(slot).copied().unwrap_or_default();
                    observer.on_sample(slot, id, self.work.view_sample(slot));
                }
            }
            running = self.running();
            let rows = self.work.report.score_rows - before;
            let news = Round { round: self.work.report.rounds, rows, finished: &finished, steps, residual };
            if observer.on_round(&news).is_break() && !running.is_empty() {
                self.work.report.stop = Stop::Cancelled;
                break;
            }
        }
        for &slot in &running {
            let span = self.span(slot, self.plan.front(round));
            self.work.end(&span)?;
        }
        let report = &mut self.work.report;
        for (rounds, track) in report.sample_rounds.iter_mut().zip(&self.tracks) {
            *rounds = track.done.map_or(round, |(rounds, _)| rounds);
        }
        let iterations = self.tracks.iter().filter_map(|t| t.done.map(|(_, k)| k)).max().unwrap_or(0);
        if report.stop != Stop::Cancelled {
            report.sweeps = (1..=self.plan.blocks()).map(|n| n.min(iterations)).collect();
        }
        self.work.finish(|slot| finished.get(slot).copied())
    }

    /// G of the blocks that have begun an iteration in this round.
    fn coarse_steps(&mut self, running: &[usize], active: &[Part]) -> Result<()> {
        let of = <B::Elem as Real>::of;
        self.work.clear_program();
        for &slot in running {
            for part in active.iter().filter(|part| part.step == 0) {
                let span = self.span(slot, *part);
                let place = span.lane * self.work.capacity + span.lo % self.work.capacity;
                let to = self.lane(slot, part.block, COARSE);
                let (node, first) = (part.block + 1, self.work.program.targets.len());
                let out = RowRef { plane: Plane::State, row: self.coarse_row(slot, part.block, part.iteration) };
                let (a, b, c) = (self.coarse.a(node, 1, 0, 0), self.coarse.b(node, 1, 0), self.coarse.c(node, 0, 0));
                let noise = RowRef { plane: Plane::Noise, row: self.work.noise_row(to, 0, 0) };
                // a step without the network has not been evaluated, its state is where it was
                let row = self.work.row_of.get(place).copied().filter(|row| *row != super::workspace::NO_ROW);
                let state = RowRef { plane: Plane::State, row: self.work.state_row(span.lane, span.lo, 0) };
                let point = row.map_or(state, |row| RowRef { plane: Plane::Point, row });
                let output = row.map(|row| RowRef { plane: Plane::Output, row });
                let program = &mut self.work.program;
                let terms = program.terms.len();
                let all = [(a, Some(point)), (b, output), (c, Some(noise))];
                let all = all.into_iter().filter_map(|(coef, row)| Some((coef, row?)).filter(|_| coef != 0.0));
                program.terms.extend(all.map(|(coef, row)| Term { coef: of(coef), row, minus: None, shift: None }));
                let end = program.terms.len();
                program.targets.push(Target { out, before: None, terms: terms..end });
                self.work.close_segment(to, first);
            }
        }
        self.work.run_program()?;
        let parts = running.iter().flat_map(|slot| active.iter().filter(|p| p.step == 0).map(move |p| (slot, p)));
        for (i, (&slot, part)) in parts.enumerate() {
            self.check_finite(i, slot, part.block + 1)?;
        }
        Ok(())
    }

    fn check_finite(&self, target: usize, slot: usize, block: usize) -> Result<()> {
        if self.work.change(target, 0).finite {
            return Ok(());
        }
        let sample = self.work.ids().get(slot).copied().unwrap_or_default();
        Err(Error::StateNotFinite { round: self.work.report.rounds, node: self.plan.node(block), sample })
    }

    /// Puts together the starts that are known before a round, and ends the samples that are done. Gives the largest accepted change
    /// of these samples.
    fn starts(&mut self, running: &[usize], round: usize) -> Result<f64> {
        let known: Vec<Part> = self.plan.known(round).collect();
        let parts: Vec<(usize, Part)> =
            running.iter().flat_map(|slot| known.iter().map(|part| (*slot, *part))).collect();
        // programs read states of their own lane alone, so the others are taken to where the last points were
        let mut rows = Vec::new();
        self.work.clear_program();
        let unit = <B::Elem as Real>::of(1.0);
        for &(slot, Part { block, iteration: k, .. }) in &parts {
            let at = |i: usize| RowRef { plane: Plane::Point, row: i as u32 };
            let first = rows.len();
            if k == 0 {
                rows.push(self.coarse_row(slot, block - 1, 0));
            } else {
                let lane = self.lane(slot, block - 1, (k - 1) % 2);
                rows.push(self.work.state_row(lane, self.plan.node(block), 0));
            }
            if k > 0 && k < block {
                rows.extend([k, k - 1].map(|k| self.coarse_row(slot, block - 1, k)));
            }
            let own = RowRef { plane: Plane::State, row: self.work.state_row(self.lane(slot, block, START), 0, 0) };
            let begun = self.work.state_row(self.lane(slot, block, k % 2), self.plan.node(block), 0);
            for (which, out) in [(k % 2, RowRef { plane: Plane::State, row: begun }), (START, own)] {
                let (lane, target) = (self.lane(slot, block, which), self.work.program.targets.len());
                let program = &mut self.work.program;
                let terms = program.terms.len();
                program.terms.push(Term { coef: unit, row: at(first), minus: None, shift: None });
                if rows.len() > first + 1 {
                    program.terms.push(Term {
                        coef: unit,
                        row: at(first + 1),
                        minus: Some(at(first + 2)),
                        shift: None,
                    });
                }
                let end = program.terms.len();
                program.targets.push(Target { out, before: None, terms: terms..end });
                self.work.program.segments.push(Segment { slot: lane, targets: target..target + 1 });
            }
        }
        self.work.problem.backend().gather(&self.work.arrays.state, &rows, &mut self.work.arrays.point, 0)?;
        self.work.run_program()?;
        let mut ended = 0.0;
        for (i, &(slot, part)) in parts.iter().enumerate() {
            self.check_finite(2 * i + 1, slot, part.block)?;
            if self.judge(2 * i + 1, slot, part, round) {
                let largest = self.tracks.get(slot).and_then(|t| t.largest.get(part.iteration).copied());
                let largest = largest.filter(|_| part.iteration < self.plan.blocks()).unwrap_or(0.0);
                self.work.report.max_residual = self.work.report.max_residual.max(largest);
                ended = f64::max(ended, largest);
            }
        }
        let last = self.plan.blocks();
        let of_last = |part: &Part| part.block == last;
        let moves = parts.iter().map(|&(slot, part)| {
            let mut to = self.span(slot, part);
            to.hi = if of_last(&part) { to.lo } else { to.hi };
            Move { from: Span { lo: to.lo - 1, hi: to.lo, ..to }, to }
        });
        let moves: Vec<Move> = moves.collect();
        self.work.advance(&moves, None, &Linearisation::FrozenScore)?;
        for (m, &(slot, part)) in moves.iter().zip(&parts) {
            if of_last(&part) && self.tracks.get(slot).is_some_and(|t| t.done.is_some()) {
                self.work.end(&m.to)?;
            }
        }
        Ok(ended)
    }

    /// Notes how a start has changed, and tells whether its sample is done.
    fn judge(&mut self, target: usize, slot: usize, part: Part, round: usize) -> bool {
        let Part { block, iteration: k, .. } = part;
        if k == 0 {
            return false;
        }
        let change = self.work.change(target, 0);
        let rms = self.work.rms(&change);
        let Some(node) = self.work.node(self.plan.node(block)).copied() else { return false };
        let Some(track) = self.tracks.get_mut(slot) else { return false };
        let Some(last) = track.changes.get_mut(block) else { return false };
        let earlier = Some(std::mem::replace(last, rms)).filter(|e| !e.is_nan());
        let accepted = !change.moved || self.settings.tolerance.accepts(&node, rms, earlier);
        if let (Some(failed), Some(largest)) = (track.failed.get_mut(k), track.largest.get_mut(k)) {
            *failed |= !accepted;
            *largest = largest.max(rms);
        }
        if block < self.plan.blocks() {
            return false;
        }
        let failed = track.failed.get(k).copied().unwrap_or(true) && k < self.plan.blocks();
        if failed && k < self.plan.most {
            return false;
        }
        if failed {
            self.work.report.stop = Stop::Depth;
        }
        track.done = Some((round, k));
        if let Some(residual) = self.work.report.residuals.get_mut(slot) {
            *residual = rms;
        }
        true
    }
}
