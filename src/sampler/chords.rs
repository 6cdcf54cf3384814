//! Staggered solvers that correct each other: CHORDS.

mod plan;

use crate::backend::{Backend, RowRef};
use crate::engine::accept::coupling::Decision;
use crate::engine::iteration::linearisation::Linearisation;
use crate::engine::observer::{Observer, Round};
use crate::engine::ring::Ring;
use crate::engine::sizes::{PIECE, Room, Sizes};
use crate::engine::span::{Move, Span, pieces};
use crate::engine::step;
use crate::engine::work::Work;
use crate::error::{Error, Result, filled, reserved};
use crate::nodes::Nodes;
use crate::problem::{Guarantee, Prepared, Problem, Solution, Stop};
use crate::sampler::chords::plan::Plan;
use crate::sampler::interface::Sampler;
use crate::score::{Prediction, ScoreFn};
use crate::setters::setters;

/// CHORDS (Han, Ye, Li, Xu, Zou, Ermon, arXiv 2507.15260): several solvers at staggered times, each corrected by the
/// one behind it. For the probability-flow ODE; the result is approximate.
///
/// Of K solvers ("cores") number k starts at step i_k of N, with 0 = i_1 < i_2 < ... < i_K: core 1 is the slowest, and
/// takes every step of the grid. A state x at time t with network output f leads to G(t, u; x, f) at time u; that is
/// the scheme's own step from t to u, however far. Core k + 1 starts from
///
/// $$x^{k+1}\_{i\_{k+1}} = G(t\_{i\_k}, t\_{i\_{k+1}}; x^k\_{i\_k}, f^k\_{i\_k}),$$
///
/// the first evaluation of core k, so it starts one round later than core k. In every round each core is evaluated
/// once, all in one batch, and takes one step. When core k - 1 is evaluated at the node b from which core k started, it
/// tells how wrong that start was. Core k, whose step ends at node u by then, is rectified by
///
/// $$x^k\_u \leftarrow x^k\_u + G(t\_b, t\_u; x^{k-1}\_b, f^{k-1}\_b) - G(t\_b, t\_u; x^k\_b, f^k\_b),$$
///
/// and u takes the place of b. This happens every i_k - i_{k-1} rounds. For Euler's method G is x + (u - t) dx/dt, and
/// the rectification is the paper's, (u - b)(dx/dt - dx'/dt) + x - x'; with [`Flow`](crate::Flow) that is
/// [`Scheme::Ddim`](crate::Scheme::Ddim) with eta = 0. For other schemes it is that of the authors' code.
///
/// Core k takes the last step in round k - 1 + N - i_k; `output` says which one to wait for. Cores faster than that one
/// would not change it and are left out. Core 1 gives the bits of [`Sequential`](crate::Sequential). No other core has
/// a tolerance: the report says [`Stop::Depth`] and guarantees nothing, and its residual is the rms size of the
/// output's last rectification. Of every step the path holds the state of the slowest core that has taken it.
///
/// Schemes must be deterministic, need one evaluation per step and have no memory. First guesses of the problem are not
/// used. Memory: four states and an evaluation per core.
///
/// ```
/// use piadm::{Chords, Grid, Ou, Prediction, Problem, Sampler, Scheme, Sequential, score_map};
/// let grid = Grid::log_snr(50).between(8.0, 0.01);
/// let problem = Problem::new(Ou, grid, Scheme::ddim()).samples(4).shape([2]).seed(1);
/// // data N(0, 1/4)
/// let mut score = score_map(Prediction::Score, |x, rows| {
///     let mut out = x.mapv(|v: f32| -v);
///     for (mut row, t) in out.outer_iter_mut().zip(rows.t) {
///         row /= (1.0 - 0.75 * (-t).exp()) as f32;
///     }
///     out
/// });
/// let fast = Chords::default().sample(&problem, &mut score)?; // 8 cores, the fastest of which starts at step 40
/// assert_eq!(fast.report.rounds, 7 + 50 - 40);
/// let exact = Sequential.sample(&problem, &mut score)?;
/// assert!((&fast.samples - &exact.samples).iter().all(|e| e.abs() < 0.02));
/// let slow = Chords::default().output(1).sample(&problem, &mut score)?;
/// assert_eq!(slow.samples, exact.samples);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Chords {
    /// K, the number of cores; `None` (default): that of the starts, or else 8, which needs about 20 steps.
    pub cores: Option<usize>,
    /// i_1 to i_K, the steps at which they start: 0, then ascending. `None` (default) takes those that the paper gives
    /// for K = 4, 6 and 8 and N = 50, in proportion to N: 0, 2, 4, 8, 16, 24, 32 and 40 for K = 8. For other K up to 9
    /// it takes starts by the rule that these follow.
    pub starts: Option<Vec<usize>>,
    /// The core whose result is returned, from 1, the slowest, to K; `None` (default): K.
    pub output: Option<usize>,
}

setters! { Chords, "Chords::default()";
    cores?: usize = "4",
    starts?: Vec<usize> = "vec![0, 3, 6, 12]",
    output?: usize = "1",
}

struct Run<'p, B: Backend> {
    prepared: &'p Prepared<B>,
    work: Work<B>,
    plan: Plan,
    /// The steps from the start of a core to that of the next one, and one to the end.
    jumps: Nodes,
    /// Per core, from the second on, the steps between its anchors.
    strides: Vec<Nodes>,
    /// Sample, core and node of every target of the last program.
    targets: Vec<(usize, usize, usize)>,
}

/// Windows of one node leave no corrections to a linearisation.
const ANY: Linearisation = Linearisation::FrozenScore;
/// A core has two places for its current step, and after them two for point and output at its anchor.
const PLACES: usize = 2;

impl<B: Backend> Sampler<B> for Chords {
    #[inline(never)] // compiled once: see sampler/compiled.rs
    fn run(
        &self,
        problem: &Problem<B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Solution<B>> {
        problem.check_single("Chords")?;
        let problem = &problem.resolved(&*score)?;
        let prepared = problem.prepare(&*score)?;
        let list = prepared.one_list("Chords")?;
        let idle = || list.nodes().iter().take(list.steps()).any(|node| !node.evaluate);
        if list.lookback() > 1 || list.has_noise() || score.prediction() == Prediction::Next || idle() {
            let with = "noise, a multistep or two-stage scheme, a kernel, or steps that do not use the network";
            let instead = "take Scheme::Ddim with eta = 0, or Exponential or EulerMaruyama without stochasticity";
            return Err(Error::unsupported("Chords", with, instead));
        }
        let plan = Plan::new(self.cores, self.starts.as_ref(), self.output, list.steps())?;
        let steps_between = |nodes: &[usize]| {
            let points: Vec<usize> = nodes.iter().map(|node| list.first_step() + node).collect();
            problem.coarse_list(score.prediction(), &points)
        };
        let cores = plan.cores();
        let jumps = steps_between(&[&plan.starts[..], &[list.steps()]].concat())?;
        let strides = (1..cores).map(|core| steps_between(&plan.anchors(core))).collect::<Result<_>>()?;
        let lanes = prepared.count().saturating_mul(cores);
        let room = Room { lanes, evaluations: lanes, earlier: false, history: 0, verified: false, probes: None };
        let mut sizes = Sizes::new(&prepared, &[2 * PLACES - 1], room)?;
        sizes.slots = lanes;
        let mut work = Work::new(&prepared, &sizes, "chords")?;
        work.output.open_path(&prepared)?;
        let run = Run { prepared: &prepared, work, plan, jumps, strides, targets: Vec::new() };
        run.rounds(score, observer)
    }
}

impl<B: Backend> Run<'_, B> {
    /// The ring of a core. Fast cores come first, so that slow ones save their states last.
    fn ring(&self, slot: usize, core: usize) -> Ring {
        let cores = self.plan.cores();
        Ring { first: (slot * cores + cores - 1 - core) * self.work.machine.layout.unit, capacity: PLACES }
    }

    /// In the order of their rings.
    fn cores(&self) -> impl Iterator<Item = usize> + use<B> {
        (0..self.plan.cores()).rev()
    }

    fn rounds(mut self, score: &mut dyn ScoreFn<B>, observer: &mut dyn Observer<B>) -> Result<Solution<B>> {
        let (prepared, rounds) = (self.prepared, self.plan.rounds());
        let (slots, steps) = (prepared.count(), prepared.list(0).steps());
        let mut finished = filled("finished steps", slots, 0)?;
        let mut spans = reserved("the windows of a round", slots * self.plan.cores())?;
        let mut samples = reserved("the samples of a round", slots)?;
        for slot in 0..slots {
            samples.push(slot);
            self.work.begin(prepared, slot, self.ring(slot, 0))?;
        }
        for round in 0..rounds {
            spans.clear();
            for slot in 0..slots {
                let active = self.cores().filter_map(|core| Some((core, self.plan.at(core, round)?)));
                spans.extend(active.map(|(core, lo)| Span { slot, ring: self.ring(slot, core), lo, hi: lo + 1 }));
            }
            let before = self.work.output.report.score_rows;
            if self.work.evaluate(prepared, score, &spans, observer)?.is_break() {
                self.work.output.report.stop = Stop::Cancelled;
                break;
            }
            for piece in pieces(&spans, PIECE, |_| 1) {
                self.work.sweep(prepared, (piece, |_| Decision::default()), &ANY, &[])?;
            }
            // per core, two rows may be stored at an anchor and a state rectified
            let cores = self.plan.cores();
            for slots in pieces(&samples, PIECE, |_| 3 * cores) {
                self.exchange(slots, round)?;
            }
            for &from in &spans {
                let to = Span { lo: from.hi, ..from };
                self.work.output.save(prepared, &self.work.machine, &Move { from, to })?;
            }
            let done = round + 1 == rounds;
            // what is final before the output is there
            finished.fill(if done { steps } else { round + 1 });
            if done {
                self.end(observer)?;
            }
            let report = &self.work.output.report;
            let residual = if done { report.max_residual } else { 0.0 };
            let rows = report.score_rows - before;
            let news = Round { round: report.rounds, rows, finished: &finished, steps, residual };
            if observer.on_round(&news).is_break() && !done {
                self.work.output.report.stop = Stop::Cancelled;
                break;
            }
        }
        if self.work.output.report.stop == Stop::Cancelled {
            for (slot, &lo) in finished.iter().enumerate() {
                let span = Span { slot, ring: self.ring(slot, 0), lo, hi: lo };
                self.work.output.end(&self.work.machine, &span)?;
            }
        }
        let report = &mut self.work.output.report;
        report.sample_rounds.fill(report.rounds);
        self.work.output.finish(prepared, |slot| Some(finished[slot]))?;
        Ok(self.work.output.into_solution())
    }

    /// Delivers the states of the fastest core.
    fn end(&mut self, observer: &mut dyn Observer<B>) -> Result<()> {
        let (prepared, fastest) = (self.prepared, self.plan.cores() - 1);
        let last = prepared.list(0).steps();
        for slot in 0..prepared.count() {
            let span = Span { slot, ring: self.ring(slot, fastest), lo: last, hi: last };
            self.work.output.end(&self.work.machine, &span)?;
            observer.on_sample(slot, prepared.ids()[slot], self.work.output.view(prepared.backend(), slot));
        }
        let report = &mut self.work.output.report;
        report.max_residual = report.residuals.iter().fold(0.0, |most, rms| f64::max(most, *rms));
        (report.stop, report.guarantee) = match fastest {
            0 => (Stop::Converged, Guarantee::Bits),
            _ => (Stop::Depth, Guarantee::None),
        };
        Ok(())
    }

    /// Point and output of a core in this round.
    fn evaluation(&self, slot: usize, core: usize, round: usize) -> [RowRef; 2] {
        let layout = &self.work.machine.layout;
        let row = self.plan.at(core, round).and_then(|node| self.work.evaluated.row(self.ring(slot, core), node));
        assert!(row.is_some(), "core {core} has no evaluation in round {round}");
        let row = row.unwrap_or(0);
        [layout.point(row, 0), layout.output(row, 0)]
    }

    /// What cores tell each other after their steps: a core at its anchor stores its evaluation there, a core that
    /// arrives at its next anchor is rectified, and a core that begins in the next round gets its start.
    fn exchange(&mut self, slots: &[usize], round: usize) -> Result<()> {
        let mut program = std::mem::take(&mut self.work.machine.program);
        program.clear();
        self.targets.clear();
        let layout = self.work.machine.layout;
        for &slot in slots {
            for core in self.cores().filter(|core| *core > 0) {
                let ring = self.ring(slot, core);
                let at_anchor = Ring { first: ring.first + PLACES, ..ring };
                let anchor = [0, 1].map(|place| layout.state(at_anchor, place, 0));
                if let Some(node) = self.plan.at(core, round) {
                    if self.plan.at_anchor(core, round) {
                        for (row, out) in self.evaluation(slot, core, round).into_iter().zip(anchor) {
                            program.copy(row, out);
                            self.targets.push((slot, core, node));
                        }
                    }
                    if let Some(m) = self.plan.arrives(core, round) {
                        let state = layout.state(ring, node + 1, 0);
                        program.term(1.0, state);
                        let slower = self.evaluation(slot, core - 1, round);
                        step::step_change(&self.strides[core - 1], m, slower, anchor, &mut program);
                        program.target(state, None);
                        self.targets.push((slot, core, node + 1));
                    }
                } else if round + 1 == core {
                    let start = self.plan.starts[core];
                    let [point, output] = self.evaluation(slot, core - 1, round);
                    let rows = (point, Some(output), layout.noise(ring, 0, 0));
                    step::step(&self.jumps, core, rows, layout.state(ring, start, 0), &mut program);
                    self.targets.push((slot, core, start));
                }
                program.segment(layout.slot(ring));
            }
        }
        self.work.machine.program = program;
        self.work.machine.run()?;
        for (target, &(slot, core, node)) in self.targets.iter().enumerate() {
            let change = self.work.change(target, 1);
            let report = &mut self.work.output.report;
            if !change.finite {
                let (round, sample) = (report.rounds, self.prepared.ids()[slot]);
                return Err(Error::StateNotFinite { round, node, sample });
            }
            let rectified = self.plan.at(core, round).is_some_and(|at| node > at);
            if rectified && core + 1 == self.plan.cores() {
                report.residuals[slot] = (change.sum / self.prepared.dim() as f64).sqrt();
            }
        }
        Ok(())
    }
}
