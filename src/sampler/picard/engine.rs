//! The rounds of a parallel run.

mod judge;

use super::{Entry, Picard, Policy};
use crate::backend::Backend;
use crate::error::Result;
use crate::sampler::anderson::Swept;
use crate::sampler::picard::window::Extent;
use crate::sampler::workspace::{Move, Span, Workspace};
use crate::sampler::{Observer, Problem, Round, Solution, Stop};
use crate::score::ScoreFn;

/// How far a window may move after a sweep.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Nodes that become final.
    nodes: usize,
    /// The first guess behind which nodes were accepted only because they had been swept as often as allowed.
    stalled_at: Option<usize>,
    /// Largest change with which one of the nodes left without being exact.
    residual: f64,
}

/// What the engine keeps a sample.
#[derive(Clone, Copy, Debug)]
struct Track {
    /// Its window; lane [`NO_LANE`] before it has begun and after it is done.
    span: Span,
    /// The first open block, of policies that have blocks.
    block: usize,
    /// Rounds it has taken part in.
    rounds: u32,
}

const NO_LANE: usize = usize::MAX;

struct Engine<'s, 'p, 'a, B: Backend> {
    settings: &'s Picard,
    entry: Entry,
    work: Workspace<'p, 'a, B>,
    extent: Extent,
    /// Where blocks begin and end.
    boundaries: Vec<usize>,
    tracks: Vec<Track>,
    /// Lanes without a sample, the next one last.
    free: Vec<usize>,
    /// Most rows of a round.
    rows: usize,
    /// Rows that a sample keeps from each step or block on; none where it may wait.
    kept_rows: Vec<usize>,
    /// Round of its sample in which each node of each window entered, `lane * capacity + node % capacity`.
    entered: Vec<u32>,
    /// Last change of each of them, NaN before there is one.
    changes: Vec<f64>,
    capacity: usize,
    /// Samples that begin in a round.
    begun: Vec<Span>,
    /// Windows to accelerate, and how often their nodes have been swept.
    swept: Vec<Swept>,
    counts: Vec<usize>,
}

pub(in crate::sampler) fn run<B: Backend>(
    settings: &Picard,
    problem: &Problem<'_, B>,
    score: &mut dyn ScoreFn<B>,
    observer: &mut dyn Observer<B>,
    name: &str,
) -> Result<Solution<B>> {
    let list = problem.list(score.prediction())?;
    problem.check(&list)?;
    let extent = Extent::new(settings.window, &list)?;
    let slots = problem.samples();
    let room = settings.room(&list, slots)?;
    let capacity = room.window + list.lookback();
    let mut work = Workspace::new(problem, list, &*score, room, name)?;
    let tracks = (0..slots).map(|slot| Track { span: Span { slot, lane: NO_LANE, lo: 0, hi: 0 }, block: 0, rounds: 0 });
    let boundaries = if settings.policy.blocks().is_some() { extent.boundaries() } else { Vec::new() };
    // rounds need not grow the list
    work.report.sweeps.reserve_exact(boundaries.len());
    if let Policy::Wavefront { .. } = settings.policy {
        work.set_barriers(&boundaries);
    }
    let engine = Engine {
        settings,
        entry: settings.entry.on(&work.list),
        work,
        boundaries,
        // slopes are measured between two rounds in a row: whether a sample waits must not depend on the others
        kept_rows: if room.earlier { extent.most_nodes(settings.policy) } else { Vec::new() },
        extent,
        tracks: tracks.collect(),
        free: (0..room.lanes).rev().collect(),
        rows: room.rows,
        entered: vec![0; room.lanes * capacity],
        changes: vec![f64::NAN; room.lanes * capacity],
        capacity,
        begun: Vec::with_capacity(room.lanes),
        swept: Vec::new(),
        counts: Vec::new(),
    };
    engine.run(problem, score, observer)
}

impl<B: Backend> Engine<'_, '_, '_, B> {
    fn run(
        mut self,
        problem: &Problem<'_, B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Solution<B>> {
        let last = self.work.last();
        let steps = self.work.list.steps();
        let mut spans: Vec<Span> = Vec::with_capacity(self.tracks.len());
        let mut progress = vec![Progress::default(); self.tracks.len()];
        let mut moves = Vec::with_capacity(self.tracks.len());
        let mut finished = vec![0; self.tracks.len()];
        let mut cancelled = false;
        while !cancelled {
            self.fill_round(&mut spans, &mut moves)?;
            if spans.is_empty() {
                break;
            }
            let before = self.work.report.score_rows;
            self.work.evaluate(score, &spans)?;
            if self.settings.linearisation.is_measured() {
                self.work.measure_slopes(&spans)?;
            }
            if self.settings.anderson > 0 {
                let tracks = &self.tracks;
                self.work.keep_states(&spans, |slot| tracks.get(slot).map_or(0, |t| t.rounds as usize + 1))?;
            }
            self.work.sweep(&spans, &self.settings.linearisation)?;
            self.judge(&spans, &mut progress)?;
            if self.settings.anderson > 0 {
                self.accelerate(&spans, &progress)?;
            }
            self.move_windows(&spans, &progress, &mut moves)?;
            let residual = progress.iter().take(spans.len()).fold(0.0, |max, p| f64::max(max, p.residual));
            for (count, track) in finished.iter_mut().zip(&self.tracks) {
                *count = self.work.finished_steps(track.span.lo);
            }
            // in the order of the batch
            moves.sort_unstable_by_key(|m| m.to.slot);
            for m in moves.iter().filter(|m| m.to.lo == last) {
                self.work.end(&m.to)?;
                self.free.push(m.to.lane);
                if let Some(track) = self.tracks.get_mut(m.to.slot) {
                    track.span.lane = NO_LANE;
                }
                let id = problem.ids().get(m.to.slot).copied().unwrap_or_default();
                observer.on_sample(m.to.slot, id, self.work.view_sample(m.to.slot));
            }
            let report = &self.work.report;
            let rows = report.score_rows - before;
            let round = Round { round: report.rounds, rows, finished: &finished, steps, residual };
            cancelled = observer.on_round(&round).is_break() && self.tracks.iter().any(|t| t.span.lo < last);
        }
        if cancelled {
            self.work.report.stop = Stop::Cancelled;
            for track in self.tracks.iter().filter(|t| t.span.lane != NO_LANE) {
                self.work.end(&track.span)?;
            }
        }
        // a sample that has not begun is at node 0
        let tracks = self.tracks;
        self.work.finish(|slot| tracks.get(slot).map(|t| t.span.lo).filter(|lo| *lo > 0))
    }

    /// The windows of the next round, in the order of their lanes: those of the first samples that fit.
    fn fill_round(&mut self, spans: &mut Vec<Span>, moves: &mut Vec<Move>) -> Result<()> {
        let last = self.work.last();
        let first = self.extent.end(self.work.list.first_step(), true);
        let has_blocks = self.settings.policy.blocks().is_some();
        let mut rows = 0;
        let mut begun = std::mem::take(&mut self.begun);
        begun.clear();
        spans.clear();
        for track in self.tracks.iter_mut().filter(|t| t.span.lo < last) {
            let begins = track.span.lane == NO_LANE;
            let open = if begins { first } else { track.span.hi - track.span.lo };
            let at = if has_blocks { track.block } else { self.work.finished_steps(track.span.lo) };
            let need = self.kept_rows.get(at).map_or(open, |kept| open.max(*kept));
            if rows + need > self.rows {
                continue;
            }
            if begins {
                let Some(lane) = self.free.pop() else { continue };
                track.span.lane = lane;
                self.work.begin(track.span.slot, lane)?;
                begun.push(track.span);
            }
            rows += need;
            spans.push(track.span);
            if rows == self.rows {
                break;
            }
        }
        spans.sort_unstable_by_key(|s| s.lane);
        if !begun.is_empty() {
            begun.sort_unstable_by_key(|s| s.lane);
            self.move_windows(&begun, &[], moves)?;
            for span in spans.iter_mut() {
                *span = self.tracks.get(span.slot).map_or(*span, |t| t.span);
            }
        }
        self.begun = begun;
        Ok(())
    }

    /// Anderson's step for the nodes that stay.
    fn accelerate(&mut self, spans: &[Span], progress: &[Progress]) -> Result<()> {
        let (mut swept, mut counts) = (std::mem::take(&mut self.swept), std::mem::take(&mut self.counts));
        swept.clear();
        counts.clear();
        for (span, p) in spans.iter().zip(progress) {
            let now = self.tracks.get(span.slot).map_or(0, |t| t.rounds as usize);
            swept.push(Swept { span: *span, lo: span.lo + p.nodes, now, first: counts.len() });
            counts.extend((span.lo + 1..=span.hi).map(|j| self.sweeps(span, j)));
        }
        let answer = self.work.accelerate(&swept, &counts);
        (self.swept, self.counts) = (swept, counts);
        answer
    }

    /// How often a node of a window has been swept.
    fn sweeps(&self, span: &Span, node: usize) -> usize {
        let entered = self.entered.get(span.lane * self.capacity + node % self.capacity).copied().unwrap_or(0);
        self.tracks.get(span.slot).map_or(0, |t| t.rounds - entered) as usize
    }

    /// The last node of a window after its start has moved to `lo`.
    fn end(&mut self, span: &Span, lo: usize) -> usize {
        let Some(open) = self.settings.policy.blocks() else {
            let (step, solution) = self.work.node(lo).map_or((0, true), |n| (n.step, n.solution));
            return self.extent.end(step, solution).max(span.hi);
        };
        let mut block = self.tracks.get(span.slot).map_or(0, |t| t.block);
        while let Some(&end) = self.boundaries.get(block + 1).filter(|end| **end <= lo) {
            let swept = self.sweeps(span, end);
            let sweeps = &mut self.work.report.sweeps;
            if sweeps.len() <= block {
                sweeps.resize(block + 1, 0);
            }
            if let Some(most) = sweeps.get_mut(block) {
                *most = (*most).max(swept);
            }
            block += 1;
        }
        if let Some(track) = self.tracks.get_mut(span.slot) {
            track.block = block;
        }
        // one more block, if so many may be open
        let ends = self.boundaries.iter().skip(block + 1).take(open);
        ends.copied().find(|end| *end > span.hi).unwrap_or(span.hi)
    }

    /// Moves the windows of `spans` and lets new nodes enter; windows without progress begin.
    fn move_windows(&mut self, spans: &[Span], progress: &[Progress], moves: &mut Vec<Move>) -> Result<()> {
        moves.clear();
        for (i, span) in spans.iter().enumerate() {
            let lo = span.lo + progress.get(i).map_or(0, |p| p.nodes);
            let hi = self.end(span, lo);
            let to = Span { lo, hi, ..*span };
            let Some(track) = self.tracks.get_mut(span.slot) else { continue };
            track.span = to;
            let rounds = track.rounds;
            for j in span.hi + 1..=hi {
                let place = span.lane * self.capacity + j % self.capacity;
                if let (Some(round), Some(change)) = (self.entered.get_mut(place), self.changes.get_mut(place)) {
                    (*round, *change) = (rounds, f64::NAN);
                }
            }
            moves.push(Move { from: *span, to });
        }
        self.work.advance(moves, Some(&self.entry), &self.settings.linearisation)
    }
}
