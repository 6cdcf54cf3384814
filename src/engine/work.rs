//! What samplers do in a round: evaluate, sweep, admit new nodes and release old ones.
//!
//! Spans and moves are in ascending order of their rings.

mod beside;

use crate::backend::{Backend, Change, NoiseRow, Plane};
use crate::engine::accept::coupling::Decision;
use crate::engine::accept::proposals::Proposals;
use crate::engine::entry::{Entry, Guess};
use crate::engine::iteration::linearisation::Linearisation;
use crate::engine::iteration::secant::Slopes;
use crate::engine::iteration::sites::Sites;
use crate::engine::machine::Machine;
use crate::engine::observer::Observer;
use crate::engine::output::Output;
use crate::engine::ring::Ring;
use crate::engine::rows::Evaluated;
use crate::engine::sizes::{PIECE, Sizes};
use crate::engine::span::{Move, Span, pieces};
use crate::engine::sweep::{Pass, Recurrence};
use crate::error::{Error, Result, reserve};
use crate::noise::{Address, NoiseKey, stream};
use crate::problem::Prepared;
use crate::score::ScoreFn;
use std::ops::{ControlFlow, RangeInclusive};

/// A run's machine, its evaluations and slopes, and its output.
#[derive(Debug)]
pub(crate) struct Work<B: Backend> {
    pub machine: Machine<B>,
    pub evaluated: Evaluated,
    pub slopes: Slopes,
    pub sites: Sites,
    pub proposals: Proposals,
    pub output: Output<B>,
    noise_rows: Vec<NoiseRow>,
    keys: Vec<NoiseKey>,
}

impl<B: Backend> Work<B> {
    /// Allocates; samples are then started by [`begin`](Self::begin).
    pub fn new(prepared: &Prepared<B>, sizes: &Sizes, sampler: &str) -> Result<Self> {
        let mut noise_rows = Vec::new();
        let most = sizes.targets().saturating_mul(sizes.layout.normals);
        reserve("addresses of noise", &mut noise_rows, most)?;
        Ok(Work {
            machine: Machine::new(prepared, sizes)?,
            evaluated: Evaluated::new(sizes)?,
            slopes: Slopes::new(sizes, prepared.count())?,
            sites: Sites::new(sizes)?,
            proposals: Proposals::new(sizes)?,
            output: Output::new(prepared, sampler)?,
            noise_rows,
            keys: Vec::new(),
        })
    }

    /// Puts a sample at its start, in a ring that is free.
    pub fn begin(&mut self, prepared: &Prepared<B>, slot: usize, ring: Ring) -> Result<()> {
        let Machine { layout, planes, .. } = &mut self.machine;
        let row = layout.state(ring, 0, 0).row as usize;
        prepared.backend().upload(prepared.start(slot), &mut planes[Plane::State], row)?;
        self.evaluated.begin(slot, ring);
        self.slopes.begin(slot, ring);
        self.sites.begin(&self.machine.layout, ring);
        Ok(())
    }

    /// For starts with several components, makes those that consist of noise.
    pub fn begin_further(&mut self, prepared: &Prepared<B>, spans: &[Span]) -> Result<()> {
        if prepared.lists().iter().all(|list| list.nodes()[0].width == 1) {
            return Ok(());
        }
        self.make_normals(prepared, spans.iter().map(|span| (*span, 0..=0)))?;
        let Machine { layout, program, .. } = &mut self.machine;
        program.clear();
        for span in spans {
            let list = prepared.list(span.slot);
            for component in 1..list.nodes()[0].width {
                for &(normal, c) in list.noise(0, component) {
                    program.term(c, layout.noise(span.ring, 0, normal as usize));
                }
                program.target(layout.state(span.ring, 0, component), None);
            }
            program.segment(layout.slot(span.ring));
        }
        self.machine.run()?;
        if self.machine.changes.iter().all(|c| c.finite) {
            return Ok(());
        }
        let sample = spans.first().map_or(0, |span| prepared.ids()[span.slot]);
        Err(Error::StateNotFinite { round: self.output.report.rounds, node: 0, sample })
    }

    /// One round: evaluates the score at every node of the windows that needs it; `Break` if the observer cancels.
    pub fn evaluate(
        &mut self,
        prepared: &Prepared<B>,
        score: &mut dyn ScoreFn<B>,
        spans: &[Span],
        observer: &mut dyn Observer<B>,
    ) -> Result<ControlFlow<()>> {
        let Work { machine, evaluated, sites, output, .. } = self;
        sites.choose(prepared, &machine.layout, evaluated, spans);
        sites.aim(prepared, machine)?;
        let watched = (&mut output.report, observer);
        let flow = evaluated.evaluate(prepared, machine, score, (spans, &mut sites.new), watched)?;
        if flow.is_continue() {
            sites.measure(prepared, machine, evaluated, output.report.rounds)?;
        }
        Ok(flow)
    }

    /// One sweep of all windows of a piece, of the nodes that the `decision` about each does not keep;
    /// [`change`](Self::change) then returns the change of each of them.
    pub fn sweep(
        &mut self,
        prepared: &Prepared<B>,
        (spans, decision): (&[Span], impl Fn(usize) -> Decision),
        linearisation: &Linearisation,
        barriers: &[usize],
    ) -> Result<()> {
        let Machine { layout, program, .. } = &mut self.machine;
        let (evaluated, slopes) = (&self.evaluated, &self.slopes);
        let pass = Pass::Over(&self.sites);
        let recurrence = Recurrence { prepared, layout, evaluated, slopes, linearisation, barriers, pass };
        program.clear();
        for (i, span) in spans.iter().enumerate() {
            let Decision { kept, beta } = decision(i);
            let first = span.lo + 1 + kept;
            let far = recurrence.far(span);
            for j in first..=span.hi {
                match beta.filter(|_| j == first) {
                    Some(beta) => recurrence.reflect(span, (j, beta), program),
                    None => recurrence.sweep(span, far.as_ref(), j, program),
                }
                self.proposals.set(span.ring, j, true);
            }
            program.segment(layout.slot(span.ring));
        }
        let components = layout.components;
        self.machine.run()?;
        if self.machine.changes.iter().all(|c| c.finite) {
            return Ok(());
        }
        self.proposals.check(&self.machine.program, &self.machine.changes, components);
        // the cause is either the score or a state that has overflowed
        let round = self.output.report.rounds;
        self.evaluated.check_outputs(prepared, &mut self.machine, round)?;
        let mut first = 0;
        for (i, span) in spans.iter().enumerate() {
            let (nodes, node) = (prepared.list(span.slot).nodes(), span.lo + 1 + decision(i).kept);
            if !self.change(first, nodes[node].width).finite {
                let sample = prepared.ids()[span.slot];
                return Err(Error::StateNotFinite { round, node, sample });
            }
            first += nodes[node..=span.hi].iter().map(|n| n.width).sum::<usize>();
        }
        Ok(())
    }

    /// The change that the last program made to the components of a node whose targets begin at `first`.
    pub fn change(&self, first: usize, width: usize) -> Change {
        let of_node = &self.machine.changes[first..first + width];
        of_node.iter().fold(Change { sum: 0.0, moved: false, finite: true }, |a, b| Change {
            sum: a.sum + b.sum,
            moved: a.moved || b.moved,
            finite: a.finite && b.finite,
        })
    }

    /// Moves the windows: new nodes get their noise and, by `entry`, a first guess; nodes that leave are stored as
    /// far back as the lookback needs.
    pub fn advance(
        &mut self,
        prepared: &Prepared<B>,
        moves: &[Move],
        entry: Option<&Entry>,
        linearisation: &Linearisation,
    ) -> Result<()> {
        let (components, lookback) = (self.machine.layout.components, self.machine.layout.lookback);
        let leaving = (lookback - 1) * (components + self.machine.layout.heads);
        let size = |m: &Move| 2 * (m.to.hi - m.from.hi) * components + leaving;
        for piece in pieces(moves, PIECE, size) {
            self.advance_piece(prepared, piece, entry, linearisation)?;
        }
        Ok(())
    }

    fn advance_piece(
        &mut self,
        prepared: &Prepared<B>,
        moves: &[Move],
        entry: Option<&Entry>,
        linearisation: &Linearisation,
    ) -> Result<()> {
        // before new nodes overwrite the rows of finished ones
        for m in moves {
            self.output.save(prepared, &self.machine, m)?;
        }
        self.make_normals(prepared, moves.iter().map(|m| (m.from, m.from.hi + 1..=m.to.hi)))?;
        self.use_noise(prepared, moves)?;
        // Where predictions overflow they need values to fall back on, namely copies. Overflow is rare, so the
        // copies are written in a second program when it happens. With lookback that is too late, since the first
        // program overwrites rows that the second would read.
        let late = self.machine.layout.lookback == 1 && entry.is_some_and(|e| *e != Entry::Copy);
        self.write_entries(prepared, moves, entry, linearisation, !late);
        if !self.machine.program.targets.is_empty() {
            self.machine.run()?;
            if self.machine.changes.iter().any(|c| !c.finite) {
                // such an output may be unused by the nodes of the window and yet be stored for later ones
                self.evaluated.check_outputs(prepared, &mut self.machine, self.output.report.rounds)?;
                if late {
                    self.write_entries(prepared, moves, entry, linearisation, true);
                    self.machine.run()?;
                }
                self.proposals.check(&self.machine.program, &self.machine.changes, self.machine.layout.components);
            }
        }
        for m in moves {
            self.use_guesses(prepared, m)?;
            // not earlier: the new nodes take the places of nodes that the program still read
            for j in m.from.hi + 1..=m.to.hi {
                self.evaluated.clear(m.from.ring, j);
                self.slopes.clear(m.from.ring.place(j));
            }
        }
        Ok(())
    }

    /// Fills all nodes after a window with first guesses from its last evaluation, since which no node has entered.
    /// The nodes become final as they are.
    pub fn fill(
        &mut self,
        prepared: &Prepared<B>,
        moved: &Move,
        entry: &Entry,
        linearisation: &Linearisation,
    ) -> Result<()> {
        let Move { from: evaluated_in, to: window } = *moved;
        let last = prepared.list(window.slot).nodes().len() - 1;
        // the remaining nodes of the window are kept as they are
        self.output.save(prepared, &self.machine, &Move { from: window, to: Span { lo: window.hi, ..window } })?;
        let mut reached = window.hi;
        while reached < last {
            // at most as many nodes as the ring has places to which no node looks back
            let end = last.min(reached + (window.ring.capacity - self.machine.layout.lookback).max(1));
            let from = Span { lo: reached, hi: reached, ..window };
            let to = Span { lo: end, hi: end, ..window };
            self.make_normals(prepared, std::iter::once((window, reached + 1..=end)))?;
            self.use_noise(prepared, &[Move { from, to }])?;
            let Machine { layout, program, .. } = &mut self.machine;
            let (evaluated, slopes, barriers) = (&self.evaluated, &self.slopes, &[][..]);
            let pass = Pass::Over(&self.sites);
            let recurrence = Recurrence { prepared, layout, evaluated, slopes, linearisation, barriers, pass };
            program.clear();
            recurrence.enter(&evaluated_in, (reached, reached + 1..=end), entry, true, program);
            program.segment(layout.slot(window.ring));
            self.machine.run()?;
            if self.machine.changes.iter().any(|c| !c.finite) {
                self.evaluated.check_outputs(prepared, &mut self.machine, self.output.report.rounds)?;
            }
            self.output.save(prepared, &self.machine, &Move { from, to })?;
            reached = end;
        }
        Ok(())
    }

    /// Writes the first guesses of new nodes, and stores the nodes that leave.
    fn write_entries(
        &mut self,
        prepared: &Prepared<B>,
        moves: &[Move],
        entry: Option<&Entry>,
        linearisation: &Linearisation,
        copies: bool,
    ) {
        let Machine { layout, program, .. } = &mut self.machine;
        let (evaluated, slopes, barriers) = (&self.evaluated, &self.slopes, &[][..]);
        let pass = Pass::Over(&self.sites);
        let recurrence = Recurrence { prepared, layout, evaluated, slopes, linearisation, barriers, pass };
        program.clear();
        for m in moves {
            if let Some(entry) = entry {
                recurrence.enter(&m.from, (m.from.hi, m.from.hi + 1..=m.to.hi), entry, copies, program);
                let (list, prediction) = (prepared.list(m.from.slot), prepared.prediction());
                for j in m.from.hi + 1..=m.to.hi {
                    self.proposals.set(m.from.ring, j, entry.at(list, j, prediction) != Guess::Copy);
                }
            }
            recurrence.leave(m, program);
            program.segment(layout.slot(m.from.ring));
        }
    }

    /// Makes the normals of nodes, except those that are given; each sample may have its own seed.
    fn make_normals(
        &mut self,
        prepared: &Prepared<B>,
        wanted: impl Iterator<Item = (Span, RangeInclusive<usize>)> + Clone,
    ) -> Result<()> {
        let Work { machine, noise_rows, keys, .. } = self;
        keys.clear();
        for (span, _) in wanted.clone() {
            let key = prepared.key(span.slot);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        for key in keys {
            noise_rows.clear();
            for (span, nodes) in wanted.clone().filter(|(span, _)| prepared.key(span.slot) == *key) {
                for j in nodes {
                    push_normals(noise_rows, prepared, machine, &span, j);
                }
            }
            noise_rows.sort_unstable_by_key(|r| r.row);
            prepared.backend().normals(*key, noise_rows, &mut machine.planes[Plane::Noise])?;
        }
        Ok(())
    }

    /// Replaces the normals of the dynamics by given ones.
    fn use_noise(&mut self, prepared: &Prepared<B>, moves: &[Move]) -> Result<()> {
        if !prepared.has_given_noise() {
            return Ok(());
        }
        let Machine { layout, planes, .. } = &mut self.machine;
        for m in moves {
            let Span { slot, ring, .. } = m.from;
            for j in m.from.hi + 1..=m.to.hi {
                for (k, normal) in prepared.list(slot).normals(j).iter().enumerate() {
                    if normal.stream == stream::DYNAMICS {
                        let given = prepared.given_noise(normal.step as usize, slot);
                        let row = layout.noise(ring, j, k).row as usize;
                        prepared.backend().upload(given, &mut planes[Plane::Noise], row)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Overwrites the guesses of new nodes by those that the problem provides.
    fn use_guesses(&mut self, prepared: &Prepared<B>, m: &Move) -> Result<()> {
        if !prepared.has_path() {
            return Ok(());
        }
        let Machine { layout, planes, .. } = &mut self.machine;
        for j in m.from.hi + 1..=m.to.hi {
            let step = prepared.list(m.from.slot).nodes()[j].step;
            if let Some(guess) = prepared.guess(step, m.from.slot) {
                let row = layout.state(m.from.ring, j, 0).row as usize;
                prepared.backend().upload(guess, &mut planes[Plane::State], row)?;
            }
        }
        Ok(())
    }
}

/// Adds the normals of node `j` that are not given.
fn push_normals<B: Backend>(
    wanted: &mut Vec<NoiseRow>,
    prepared: &Prepared<B>,
    machine: &Machine<B>,
    span: &Span,
    j: usize,
) {
    let sample = prepared.ids()[span.slot];
    for (k, normal) in prepared.list(span.slot).normals(j).iter().enumerate() {
        if prepared.has_given_noise() && normal.stream == stream::DYNAMICS {
            continue;
        }
        let address = Address { stream: normal.stream, step: normal.step, sample };
        wanted.push(NoiseRow { row: machine.layout.noise(span.ring, j, k).row, address });
    }
}
