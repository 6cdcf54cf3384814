//! What samplers do with the arrays of a run: evaluate the score on windows of nodes, sweep, let nodes enter and leave.
//!
//! Spans and moves come in ascending order of their lanes.

mod round;

use super::anderson::Anderson;
use super::arrays::{Arrays, Room, lookback_rows};
use super::picard::{Entry, Linearisation};
use super::slopes::Slopes;
use super::{Path, Problem, Report, Solution};
use crate::backend::{Backend, Change, NoiseRow, Program, Real};
use crate::error::{Error, Result};
use crate::noise::{Address, stream};
use crate::prediction::Prediction;
use crate::scheme::{Discretisation, Node};
use crate::score::ScoreFn;
use ndarray::{Array2, Axis, Slice};
use round::Batch;
use std::time::Instant;

/// The window of one sample: node `lo` is final, nodes `lo + 1 ..= hi` are guesses. Its arrays are those of `lane`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub slot: usize,
    pub lane: usize,
    pub lo: usize,
    pub hi: usize,
}

/// A window that moves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub from: Span,
    pub to: Span,
}

pub(super) const NO_ROW: u32 = u32::MAX;

pub(super) struct Workspace<'p, 'a, B: Backend> {
    pub(super) problem: &'p Problem<'a, B>,
    pub list: Discretisation,
    pub report: Report,
    pub(super) prediction: Prediction,
    pub(super) capacity: usize,
    pub(super) arrays: Arrays<B>,
    batch: Batch,
    pub(super) row_of: Vec<u32>,
    pub(super) earlier_row_of: Vec<u32>,
    pub(super) slopes: Slopes,
    pub(super) anderson: Anderson,
    keeps_earlier: bool,
    /// Of every node, the node where its block begins, if changes are not handed on into blocks.
    pub(super) barriers: Vec<usize>,
    noise_rows: Vec<NoiseRow>,
    pub(super) program: Program<B::Elem>,
    changes: Vec<Change>,
    pub(super) scratch: B::Scratch,
    /// Where every sample starts.
    starts: Array2<B::Elem>,
    /// Finished samples.
    samples: B::Array,
    path: Path<B::Elem>,
    started: Instant,
}

impl<'p, 'a, B: Backend> Workspace<'p, 'a, B> {
    /// Allocates; samples then [`begin`](Self::begin).
    pub fn new(
        problem: &'p Problem<'a, B>,
        list: Discretisation,
        score: &dyn ScoreFn<B>,
        room: Room,
        sampler: &str,
    ) -> Result<Self> {
        let started = Instant::now();
        check_times(&list, score.time_range())?;
        if score.max_rows() == Some(0) {
            return Err(Error::setting("max_rows", 0, "at least 1 row a call"));
        }
        let (slots, dim) = (problem.samples(), problem.dim());
        let backend = problem.backend();
        let arrays = Arrays::new(backend, &list, room, dim, problem.variances())?;
        let mut path = Path::for_steps(problem.saved_steps(&list), slots, dim)?;
        let capacity = room.window + list.lookback();
        let starts = problem.initial(&list)?;
        for (slot, x) in starts.outer_iter().enumerate() {
            path.set(list.first_step(), slot, &x.insert_axis(Axis(0)).to_owned());
        }
        let report = Report {
            sampler: sampler.to_owned(),
            steps: list.steps(),
            samples: slots,
            sample_rounds: vec![0; slots],
            residuals: vec![0.0; slots],
            ..Report::default()
        };
        Ok(Workspace {
            problem,
            prediction: score.prediction(),
            capacity,
            arrays,
            batch: Batch::default(),
            row_of: vec![NO_ROW; room.lanes * capacity],
            earlier_row_of: vec![NO_ROW; room.lanes * capacity],
            slopes: Slopes::new(room.lanes, capacity),
            anderson: Anderson::new(room.history.saturating_sub(1)),
            keeps_earlier: room.earlier,
            barriers: Vec::new(),
            noise_rows: Vec::new(),
            program: Program::default(),
            changes: Vec::new(),
            scratch: B::Scratch::default(),
            list,
            report,
            samples: backend.alloc("samples", slots, dim, <B::Elem as Real>::of(0.0))?,
            starts,
            path,
            started,
        })
    }

    /// Places a sample at its start, in a lane that is free.
    pub fn begin(&mut self, slot: usize, lane: usize) -> Result<()> {
        let backend = self.problem.backend();
        let row = self.state_row(lane, 0, 0);
        let start = self.starts.slice_axis(Axis(0), Slice::from(slot..slot + 1));
        backend.upload(start, &mut self.arrays.state, row as usize)?;
        if self.list.components() == 2 {
            // velocities start from N(0, I)
            let sample = self.problem.ids().get(slot).copied().unwrap_or_default();
            let address = Address { stream: stream::CORRECTOR_START, step: self.list.first_step() as u32, sample };
            backend.normals(self.problem.key(), &[NoiseRow { row: row + 1, address }], &mut self.arrays.state)?;
        }
        // what the last sample in this lane has left
        let places = lane * self.capacity..(lane + 1) * self.capacity;
        self.row_of.get_mut(places).into_iter().for_each(|rows| rows.fill(NO_ROW));
        self.slopes.begin(lane);
        Ok(())
    }

    /// Copies where a sample is to the samples that are returned.
    pub fn end(&mut self, span: &Span) -> Result<()> {
        let row = self.state_row(span.lane, span.lo, 0);
        self.problem.backend().gather(&self.arrays.state, &[row], &mut self.samples, span.slot)
    }

    /// Ends the run: samples that have not begun are at their start, of the others [`end`](Self::end) was called, and all are at node
    /// `at(slot)`.
    pub fn finish(mut self, at: impl Fn(usize) -> Option<usize>) -> Result<Solution<B>> {
        let slots = self.problem.samples();
        for slot in (0..slots).filter(|slot| at(*slot).is_none()) {
            let start = self.starts.slice_axis(Axis(0), Slice::from(slot..slot + 1));
            self.problem.backend().upload(start, &mut self.samples, slot)?;
        }
        // of a cancelled run the path holds the steps that all samples have reached
        let reached = (0..slots).map(|slot| self.finished_steps(at(slot).unwrap_or(0))).min().unwrap_or(0);
        self.path.truncate(reached + self.list.first_step());
        self.report.solver_time = self.started.elapsed().saturating_sub(self.report.score_time);
        Ok(Solution { samples: self.samples, path: self.path, report: self.report })
    }

    /// From now on changes are not handed on across these nodes, but for those of nodes that have left.
    pub fn set_barriers(&mut self, boundaries: &[usize]) {
        let begins = |j: usize| boundaries.get(boundaries.partition_point(|b| *b < j).max(1) - 1).copied().unwrap_or(0);
        self.barriers = (0..self.list.nodes().len()).map(begins).collect();
    }

    pub fn node(&self, j: usize) -> Option<&Node> {
        self.list.nodes().get(j)
    }

    /// Sample ids.
    pub fn ids(&self) -> &[u32] {
        self.problem.ids()
    }

    /// Index of the last node.
    pub fn last(&self) -> usize {
        self.list.nodes().len() - 1
    }

    /// Steps finished at a node.
    pub fn finished_steps(&self, j: usize) -> usize {
        let finished = self.node(j).map_or(0, |n| n.step - usize::from(!n.solution));
        finished.saturating_sub(self.list.first_step())
    }

    pub(super) fn state_row(&self, lane: usize, node: usize, component: usize) -> u32 {
        (((lane * self.capacity) + node % self.capacity) * self.list.components() + component) as u32
    }

    pub(super) fn noise_row(&self, lane: usize, node: usize, normal: usize) -> u32 {
        (((lane * self.capacity) + node % self.capacity) * self.list.normals() + normal) as u32
    }

    /// Row of a component (or, after the last one, of the output) of the node `back` places before the window.
    pub(super) fn memory_row(&self, lane: usize, back: usize, component: usize) -> u32 {
        let row = (back - 1) * (self.list.components() + 1) + component;
        (lane * self.arrays.memory_rows() + row) as u32
    }

    pub(super) fn lookback_rows(&self) -> usize {
        lookback_rows(&self.list)
    }

    pub(super) fn point_row(&self, row: u32, component: usize) -> u32 {
        row + (component * self.arrays.row_limit) as u32
    }

    /// One sweep of all windows; [`change`](Self::change) then tells what every node did.
    pub fn sweep(&mut self, spans: &[Span], linearisation: &Linearisation) -> Result<()> {
        self.clear_program();
        for span in spans {
            let first = self.program.targets.len();
            for j in span.lo + 1..=span.hi {
                self.push_node(span, j, linearisation, None);
            }
            self.close_segment(span.lane, first);
        }
        self.run_program()?;
        if self.changes.iter().all(|c| c.finite) {
            return Ok(());
        }
        // the cause is either the score, or a state that grew beyond the number format
        self.check_outputs()?;
        let mut first = 0;
        for span in spans {
            if !self.change(first, 0).finite {
                let sample = self.problem.ids().get(span.slot).copied().unwrap_or_default();
                return Err(Error::StateNotFinite { round: self.report.rounds, node: span.lo + 1, sample });
            }
            first += span.hi - span.lo;
        }
        Ok(())
    }

    /// What the last sweep did to guess `k` of the windows that start at guess `first` of the sweep, over all components.
    pub fn change(&self, first: usize, k: usize) -> Change {
        let n = self.list.components();
        let of_node = self.changes.iter().skip((first + k) * n).take(n);
        of_node.fold(Change { sum: 0.0, moved: false, finite: true }, |a, b| Change {
            sum: a.sum + b.sum,
            moved: a.moved || b.moved,
            finite: a.finite && b.finite,
        })
    }

    /// Root mean square of a change.
    pub fn rms(&self, change: &Change) -> f64 {
        (change.sum / (self.problem.dim() * self.list.components()) as f64).sqrt()
    }

    /// Lets windows move: new nodes get their noise and, by `entry`, a first guess; nodes that leave are remembered as far as the
    /// lookback needs them.
    pub fn advance(&mut self, moves: &[Move], entry: Option<&Entry>, linearisation: &Linearisation) -> Result<()> {
        // before new nodes take the rows of finished ones
        for m in moves {
            self.save(m)?;
        }
        self.make_noise(moves)?;
        // Predictions need something to fall back on where they overflow. That is rare: copies are made then, unless what a second program
        // would read has already moved on.
        let late = self.list.lookback() == 1 && entry.is_some_and(|e| *e != Entry::Copy);
        self.push_entries(moves, entry, linearisation, !late);
        if !self.program.targets.is_empty() {
            self.run_program()?;
            if self.changes.iter().any(|c| !c.finite) {
                // an output that no node of the window used is still remembered for later ones
                self.check_outputs()?;
                if late {
                    self.push_entries(moves, entry, linearisation, true);
                    self.run_program()?;
                }
            }
        }
        for m in moves {
            self.use_guesses(m)?;
            // only now: the new nodes take the places of nodes that the program still read
            for j in m.from.hi + 1..=m.to.hi {
                let place = m.from.lane * self.capacity + j % self.capacity;
                if let Some(row) = self.row_of.get_mut(place) {
                    *row = NO_ROW;
                }
                self.slopes.clear(place);
            }
        }
        Ok(())
    }

    /// First guesses of new nodes and the memory of those that leave. With `copies`, elements of predictions that are not finite keep the value
    /// of the last node before.
    fn push_entries(&mut self, moves: &[Move], entry: Option<&Entry>, linearisation: &Linearisation, copies: bool) {
        self.clear_program();
        for m in moves {
            let first = self.program.targets.len();
            if let Some(entry) = entry {
                for j in m.from.hi + 1..=m.to.hi {
                    if copies {
                        self.push_copy(m.from.lane, m.from.hi, j);
                    }
                    if *entry != Entry::Copy {
                        self.push_node(&m.from, j, linearisation, Some(entry));
                    }
                }
            }
            self.push_memory(m);
            self.close_segment(m.from.lane, first);
        }
    }

    pub(super) fn run_program(&mut self) -> Result<()> {
        let planes = self.arrays.planes();
        self.problem.backend().run(&self.program, planes, &mut self.scratch, &mut self.changes)
    }

    fn make_noise(&mut self, moves: &[Move]) -> Result<()> {
        let mut wanted = std::mem::take(&mut self.noise_rows);
        wanted.clear();
        let normals = self.list.normals();
        for m in moves {
            let Span { slot, lane, .. } = m.from;
            let sample = self.problem.ids().get(slot).copied().unwrap_or_default();
            for j in m.from.hi + 1..=m.to.hi {
                let step = self.node(j).map_or(0, |n| n.step);
                for k in 0..normals {
                    if (0..self.list.components()).all(|to| self.list.c(j, to, k) == 0.0) {
                        continue;
                    }
                    let row = self.noise_row(lane, j, k);
                    if let Some(given) = self.problem.given_noise(step, slot) {
                        self.problem.backend().upload(given, &mut self.arrays.noise, row as usize)?;
                    } else {
                        let base = if self.list.components() == 2 { stream::CORRECTOR_1 } else { stream::DYNAMICS };
                        let stream = base + k as u32;
                        wanted.push(NoiseRow { row, address: Address { stream, step: step as u32, sample } });
                    }
                }
            }
        }
        wanted.sort_unstable_by_key(|r| r.row);
        self.problem.backend().normals(self.problem.key(), &wanted, &mut self.arrays.noise)?;
        self.noise_rows = wanted;
        Ok(())
    }

    /// Overwrites the guesses of new nodes by those of the problem, where it has any.
    fn use_guesses(&mut self, m: &Move) -> Result<()> {
        for j in m.from.hi + 1..=m.to.hi {
            let step = self.node(j).map_or(0, |n| n.step);
            if let Some(guess) = self.problem.guess(step, m.from.slot) {
                let row = self.state_row(m.from.lane, j, 0) as usize;
                self.problem.backend().upload(guess, &mut self.arrays.state, row)?;
            }
        }
        Ok(())
    }

    /// Copies finished states that are to be kept.
    fn save(&mut self, m: &Move) -> Result<()> {
        if self.path.steps().is_empty() {
            return Ok(());
        }
        for j in m.from.lo + 1..=m.to.lo {
            let Some(node) = self.list.nodes().get(j).filter(|n| n.solution) else { continue };
            if self.path.at(node.step).is_some() {
                let row = self.state_row(m.from.lane, j, 0) as usize;
                let state = self.problem.backend().download(&self.arrays.state, row..row + 1)?;
                self.path.set(node.step, m.from.slot, &state);
            }
        }
        Ok(())
    }

    /// A finished sample.
    pub fn view_sample(&self, slot: usize) -> B::View<'_> {
        self.problem.backend().view(&self.samples, slot..slot + 1)
    }
}

/// The score must have been trained at every time it is asked for.
fn check_times(list: &Discretisation, range: Option<(f64, f64)>) -> Result<()> {
    let Some((min, max)) = range else { return Ok(()) };
    if min.is_nan() || max.is_nan() || min > max {
        return Err(Error::setting("time_range", format!("({min}, {max})"), "(smallest, largest)"));
    }
    // a time grid that ends on the border may miss it by rounding
    let slack = 1e-9 * (max - min).min(max.abs());
    let outside = |t: f64| t < min - slack || t > max + slack;
    match list.nodes().iter().find(|n| n.evaluate && outside(n.level.t)) {
        Some(node) => Err(Error::TimeRange { time: node.level.t, min, max }),
        None => Ok(()),
    }
}
