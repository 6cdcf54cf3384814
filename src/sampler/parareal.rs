//! Parareal over blocks of steps: SRDS.

mod plan;

use crate::backend::{Backend, Plane, Real, RowRef};
use crate::engine::accept::acceptance::{Acceptance, Meaning};
use crate::engine::accept::coupling::Decision;
use crate::engine::iteration::linearisation::Linearisation;
use crate::engine::machine::Machine;
use crate::engine::observer::{Observer, Round};
use crate::engine::ring::Ring;
use crate::engine::sizes::{PIECE, Room, Sizes};
use crate::engine::span::{Move, Span, pieces};
use crate::engine::step;
use crate::engine::work::Work;
use crate::error::{Error, Result};
use crate::nodes::Nodes;
use crate::problem::{Guarantee, Prepared, Problem, Solution, Stop};
use crate::sampler::interface::Sampler;
use crate::sampler::parareal::plan::{Part, Plan};
use crate::score::{Prediction, ScoreFn};
use crate::setters::setters;
use ndarray::Axis;

/// Parareal iterations over blocks of steps: SRDS (Selvam, Merchant, Ermon, arXiv 2412.08292).
///
/// M steps are cut into N blocks. From the start x_n of block n, F takes the steps of the block one after another,
/// and G takes one step of the same scheme across the whole block with the noise of [`Problem::coarse`]. Iteration
/// k + 1 is
///
/// $$x_{n+1}^{k+1} = F(x_n^k) + \[G(x_n^{k+1}) - G(x_n^k)\],$$
///
/// after the coarse solve $x_{n+1}^0 = G(x_n^0)$. If the start of a block has not moved, the bracket vanishes. The
/// fixed point is therefore the sequential trajectory, bit for bit; after k iterations the first k blocks are exact
/// and are not evaluated again.
///
/// This is the pipelined form. With S the steps of the longest block, block n begins iteration k in round k S + n -
/// k, as soon as its start is known and while the blocks before it are still running. G evaluates the network where
/// F begins, so its evaluation is also the first one of F, and no round is spent on coarse solves alone: k
/// iterations take k S + N - k rounds. All N iterations take N S rounds; if N divides M this is M, as in
/// [`Sequential`](crate::Sequential). If blocks have one step, S counts as 2. A sample stops by itself when every
/// block start and the last state are accepted in the same iteration; rows of the next iteration that have been
/// evaluated by then are counted.
///
/// Schemes must need one evaluation per step and no memory. First guesses of the problem are not used. Memory: four
/// pairs of states per block.
///
/// ```
/// use piadm::{Acceptance, Grid, Ou, Parareal, Prediction, Problem, Sampler, Scheme, Sequential, score_fn};
/// let grid = Grid::log_snr(100).between(8.0, 0.01);
/// let problem = Problem::new(Ou, grid, Scheme::Ddim { eta: 0.0 }).samples(4).shape([2]).seed(1);
/// let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| {
///     out.zip_mut_with(&x, |o, x| *o = -x);
///     Ok(())
/// });
/// let parallel = Parareal::default().sample(&problem, &mut score)?; // 10 blocks of 10 steps
/// assert!(parallel.report.rounds < 60);
/// let exact = Parareal::default().acceptance(Acceptance::Exact);
/// assert_eq!(exact.sample(&problem, &mut score)?.samples, Sequential.sample(&problem, &mut score)?.samples);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Parareal {
    /// N, the number of blocks; `None` (default) takes the square root of the number of steps.
    pub blocks: Option<usize>,
    /// When the start of a block, or the last state, is accepted; default: at an estimated error of 1e-2.
    #[cfg_attr(feature = "serde", serde(rename = "tolerance"))]
    pub acceptance: Acceptance,
    /// Maximum number of iterations. The states are then accepted as they are, and the report says
    /// [`Stop::Depth`](crate::Stop::Depth). `None` (default) allows N iterations, which give exact states.
    pub max_iterations: Option<usize>,
}

setters! { Parareal, "Parareal::default()";
    blocks?: usize = "8",
    acceptance: Acceptance = "Acceptance::Exact",
    max_iterations?: usize = "3",
}

/// Bookkeeping for a sample.
#[derive(Clone, Debug)]
struct Track {
    /// Per iteration, whether a state was not accepted.
    failed: Vec<bool>,
    /// Per end of a block, the last change.
    changes: Vec<f64>,
    /// Per iteration, the largest accepted change.
    largest: Vec<f64>,
    /// The rounds and iterations that the sample took, once it is finished.
    done: Option<(usize, usize)>,
}

struct Run<'p, B: Backend> {
    settings: &'p Parareal,
    prepared: &'p Prepared<B>,
    problem: &'p Problem<B>,
    list: &'p Nodes,
    work: Work<B>,
    plan: Plan,
    coarse: Nodes,
    tracks: Vec<Track>,
}

/// Lanes per block: two that alternate between iterations, one whose rows hold G of these two, and one whose first
/// row holds the start of the block.
const LANES: usize = 4;
const COARSE: usize = 2;
const START: usize = 3;

impl<B: Backend> Sampler<B> for Parareal {
    #[inline(never)] // compiled once: see sampler/compiled.rs
    fn run(
        &self,
        problem: &Problem<B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Solution<B>> {
        self.acceptance.check()?;
        if self.acceptance == Acceptance::Law {
            let with = "Acceptance::Law, which verifies guesses of windows";
            return Err(Error::unsupported("Parareal", with, "take Picard"));
        }
        problem.check_single("Parareal")?;
        let problem = &problem.resolved(&*score)?;
        let prepared = problem.prepare(&*score)?;
        let list = prepared.one_list("Parareal")?;
        let plan = Plan::new(self.blocks, self.max_iterations, list.steps())?;
        let points: Vec<usize> = plan.nodes.iter().map(|node| list.first_step() + node).collect();
        let staged = list.nodes().len() > list.steps() + 1;
        if list.lookback() > 1 || staged || score.prediction() == Prediction::Next {
            let with = "a multistep or two-stage scheme, or a kernel";
            let instead = "take Scheme::Exponential, EulerMaruyama, Ddpm, Ddim or SdeDpmSolverPp1";
            return Err(Error::unsupported("Parareal", with, instead));
        }
        let coarse = problem.coarse_list(score.prediction(), &points)?;
        let (slots, blocks) = (prepared.count(), plan.blocks());
        let lanes = slots.saturating_mul(LANES * (blocks + 1));
        // the start of a block is the sum of three rows
        let evaluations = slots.saturating_mul(3 * blocks);
        let room = Room { lanes, evaluations, earlier: false, history: 0, verified: false, probes: None };
        let mut sizes = Sizes::new(&prepared, &[1], room)?;
        sizes.slots = lanes;
        let mut work = Work::new(&prepared, &sizes, "parareal")?;
        work.output.open_path(&prepared)?;
        let track = Track {
            failed: vec![false; plan.most + 1],
            changes: vec![f64::NAN; blocks + 1],
            largest: vec![0.0; plan.most + 1],
            done: None,
        };
        let tracks = vec![track; slots];
        let mut run = Run { settings: self, prepared: &prepared, problem, list, work, plan, coarse, tracks };
        run.begin(&points)?;
        run.rounds(score, observer)
    }
}

impl<B: Backend> Run<'_, B> {
    /// A lane of a block, as the ring of a window of one node.
    fn lane(&self, slot: usize, block: usize, which: usize) -> Ring {
        let unit = self.work.machine.layout.unit;
        Ring { first: ((slot * (self.plan.blocks() + 1) + block) * LANES + which) * unit, capacity: unit }
    }

    fn running(&self) -> Vec<usize> {
        self.tracks.iter().enumerate().filter(|(_, t)| t.done.is_none()).map(|(slot, _)| slot).collect()
    }

    fn span(&self, slot: usize, part: Part) -> Span {
        let lo = self.plan.node(part.block) + part.step;
        let ring = self.lane(slot, part.block, part.iteration % 2);
        Span { slot, ring, lo, hi: (lo + 1).min(self.list.nodes().len() - 1) }
    }

    /// The row of G for a block in an iteration.
    fn coarse_row(&self, slot: usize, block: usize, iteration: usize) -> RowRef {
        self.work.machine.layout.state(self.lane(slot, block, COARSE), iteration % 2, 0)
    }

    /// Sets the coarse noise and puts all samples at their start.
    fn begin(&mut self, points: &[usize]) -> Result<()> {
        if self.coarse.has_noise() {
            let noise = self.problem.coarse_noise(points)?;
            for (block, of_block) in noise.outer_iter().enumerate() {
                for (slot, xi) in of_block.outer_iter().enumerate() {
                    let lane = self.lane(slot, block, COARSE);
                    let Machine { layout, planes, .. } = &mut self.work.machine;
                    let row = layout.noise(lane, 0, 0).row as usize;
                    self.prepared.backend().upload(xi.insert_axis(Axis(0)), &mut planes[Plane::Noise], row)?;
                }
            }
        }
        let first = Part { block: 0, iteration: 0, step: 0 };
        let mut moves = Vec::with_capacity(self.tracks.len());
        for slot in 0..self.tracks.len() {
            let to = self.span(slot, first);
            self.work.begin(self.prepared, slot, to.ring)?;
            moves.push(Move { from: Span { hi: to.lo, ..to }, to });
        }
        self.work.advance(self.prepared, &moves, None, &Linearisation::FrozenScore)
    }

    fn rounds(mut self, score: &mut dyn ScoreFn<B>, observer: &mut dyn Observer<B>) -> Result<Solution<B>> {
        let steps = self.list.steps();
        let mut finished = vec![0; self.tracks.len()];
        let mut round = 0;
        let mut running = self.running();
        while !running.is_empty() {
            let active = self.plan.active(round);
            let spans: Vec<Span> =
                running.iter().flat_map(|slot| active.iter().map(|part| self.span(*slot, *part))).collect();
            let before = self.work.output.report.score_rows;
            if self.work.evaluate(self.prepared, score, &spans, observer)?.is_break() {
                self.work.output.report.stop = Stop::Cancelled;
                break;
            }
            for piece in pieces(&spans, PIECE, |_| 1) {
                self.work.sweep(self.prepared, (piece, |_| Decision::default()), &Linearisation::FrozenScore, &[])?;
            }
            for piece in pieces(&running, PIECE, |_| active.len()) {
                self.coarse_steps(piece, &active)?;
            }
            // the end of a block stays in its row until the next block begins
            let moves = spans.iter().zip(active.iter().cycle()).filter(|(_, p)| p.step + 1 < self.plan.len(p.block));
            let moves: Vec<Move> =
                moves.map(|(&from, _)| Move { from, to: Span { lo: from.lo + 1, hi: from.hi + 1, ..from } }).collect();
            self.work.advance(self.prepared, &moves, None, &Linearisation::FrozenScore)?;
            round += 1;
            let mut residual = 0.0;
            let known = self.plan.known(round).count();
            for piece in pieces(&running, PIECE / 2, |_| known) {
                residual = f64::max(residual, self.starts(piece, round)?);
            }
            for slot in running {
                let front = self.plan.front(round);
                let done = self.tracks[slot].done.is_some();
                finished[slot] = if done { steps } else { self.plan.node(front.block) + front.step };
                if done {
                    let state = self.work.output.view(self.prepared.backend(), slot);
                    observer.on_sample(slot, self.prepared.ids()[slot], state);
                }
            }
            running = self.running();
            let rows = self.work.output.report.score_rows - before;
            let news = Round { round: self.work.output.report.rounds, rows, finished: &finished, steps, residual };
            if observer.on_round(&news).is_break() && !running.is_empty() {
                self.work.output.report.stop = Stop::Cancelled;
                break;
            }
        }
        for &slot in &running {
            let span = self.span(slot, self.plan.front(round));
            self.work.output.end(&self.work.machine, &span)?;
        }
        let report = &mut self.work.output.report;
        for (rounds, track) in report.sample_rounds.iter_mut().zip(&self.tracks) {
            *rounds = track.done.map_or(round, |(rounds, _)| rounds);
        }
        let iterations = self.tracks.iter().filter_map(|t| t.done.map(|(_, k)| k)).max().unwrap_or(0);
        if report.stop != Stop::Cancelled {
            report.sweeps = (1..=self.plan.blocks()).map(|n| n.min(iterations)).collect();
        }
        let exact = self.settings.acceptance.guarantee::<B::Elem>([self.list]);
        report.guarantee = if report.stop == Stop::Converged { exact } else { Guarantee::None };
        self.work.output.finish(self.prepared, |slot| Some(finished[slot]))?;
        Ok(self.work.output.into_solution())
    }

    /// G of the blocks that begin an iteration in this round.
    fn coarse_steps(&mut self, running: &[usize], active: &[Part]) -> Result<()> {
        let mut program = std::mem::take(&mut self.work.machine.program);
        program.clear();
        let layout = self.work.machine.layout;
        for &slot in running {
            for part in active.iter().filter(|part| part.step == 0) {
                let Span { ring, lo, .. } = self.span(slot, *part);
                let to = self.lane(slot, part.block, COARSE);
                // a step without the network has no evaluation, and its state has not changed
                let row = self.work.evaluated.row(ring, lo);
                let point = row.map_or(layout.state(ring, lo, 0), |row| layout.point(row, 0));
                let rows = (point, row.map(|row| layout.output(row, 0)), layout.noise(to, 0, 0));
                let out = self.coarse_row(slot, part.block, part.iteration);
                step::step(&self.coarse, part.block + 1, rows, out, &mut program);
                program.segment(layout.slot(to));
            }
        }
        self.work.machine.program = program;
        self.work.machine.run()?;
        let parts = running.iter().flat_map(|slot| active.iter().filter(|p| p.step == 0).map(move |p| (slot, p)));
        for (i, (&slot, part)) in parts.enumerate() {
            self.check_finite(i, slot, part.block + 1)?;
        }
        Ok(())
    }

    fn check_finite(&self, target: usize, slot: usize, block: usize) -> Result<()> {
        if self.work.change(target, 1).finite {
            return Ok(());
        }
        let (round, node) = (self.work.output.report.rounds, self.plan.node(block));
        Err(Error::StateNotFinite { round, node, sample: self.prepared.ids()[slot] })
    }

    /// Computes the block starts that are known before a round, and ends the samples that are finished. Returns the
    /// largest accepted change of these samples.
    fn starts(&mut self, running: &[usize], round: usize) -> Result<f64> {
        let known: Vec<Part> = self.plan.known(round).collect();
        let parts: Vec<(usize, Part)> =
            running.iter().flat_map(|slot| known.iter().map(|part| (*slot, *part))).collect();
        // programs read only states of their own lane, so rows of other lanes are first copied over the last points
        let mut rows = Vec::new();
        let layout = self.work.machine.layout;
        let mut program = std::mem::take(&mut self.work.machine.program);
        program.clear();
        for &(slot, Part { block, iteration: k, .. }) in &parts {
            let at = |i: usize| RowRef::new(Plane::Point, i as u32);
            let first = rows.len();
            rows.push(match k {
                0 => self.coarse_row(slot, block - 1, 0).row,
                _ => layout.state(self.lane(slot, block - 1, (k - 1) % 2), self.plan.node(block), 0).row,
            });
            if k > 0 && k < block {
                rows.extend([k, k - 1].map(|k| self.coarse_row(slot, block - 1, k).row));
            }
            let begun = (self.lane(slot, block, k % 2), self.plan.node(block));
            for (lane, node) in [begun, (self.lane(slot, block, START), 0)] {
                program.term(1.0, at(first));
                if rows.len() > first + 1 {
                    program.correction(<B::Elem as Real>::of(1.0), at(first + 1), at(first + 2), None);
                }
                program.target(layout.state(lane, node, 0), None);
                program.segment(layout.slot(lane));
            }
        }
        self.work.machine.program = program;
        self.work.machine.gather(Plane::State, &rows, 0)?;
        self.work.machine.run()?;
        let mut ended = 0.0;
        for (i, &(slot, part)) in parts.iter().enumerate() {
            self.check_finite(2 * i + 1, slot, part.block)?;
            if self.judge(2 * i + 1, slot, part, round) {
                let exact = part.iteration == self.plan.blocks();
                let largest = if exact { 0.0 } else { self.tracks[slot].largest[part.iteration] };
                let report = &mut self.work.output.report;
                report.max_residual = report.max_residual.max(largest);
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
        self.work.advance(self.prepared, &moves, None, &Linearisation::FrozenScore)?;
        for (m, &(slot, part)) in moves.iter().zip(&parts) {
            if of_last(&part) && self.tracks[slot].done.is_some() {
                self.work.output.end(&self.work.machine, &m.to)?;
            }
        }
        Ok(ended)
    }

    /// Records how a start has changed, and returns whether its sample is finished.
    fn judge(&mut self, target: usize, slot: usize, part: Part, round: usize) -> bool {
        let Part { block, iteration: k, .. } = part;
        if k == 0 {
            return false;
        }
        let change = self.work.change(target, 1);
        let rms = (change.sum / self.prepared.dim() as f64).sqrt();
        let node = self.list.nodes()[self.plan.node(block)];
        let track = &mut self.tracks[slot];
        let earlier = Some(std::mem::replace(&mut track.changes[block], rms)).filter(|e| !e.is_nan());
        let meaning = Meaning::new::<B::Elem>(1.0);
        let accepted = !change.moved || self.settings.acceptance.accepts(&node, rms, earlier, meaning);
        track.failed[k] |= !accepted;
        track.largest[k] = track.largest[k].max(rms);
        if block < self.plan.blocks() {
            return false;
        }
        let failed = track.failed[k] && k < self.plan.blocks();
        if failed && k < self.plan.most {
            return false;
        }
        track.done = Some((round, k));
        let report = &mut self.work.output.report;
        if failed {
            report.stop = Stop::Depth;
        }
        report.residuals[slot] = rms;
        true
    }
}
