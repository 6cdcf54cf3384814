//! The recurrence, written once: it turns sweeps and the first guesses of new nodes into programs for the backend.
//!
//! x'_j = sum_l A x_{j-l} + sum_l B f_{j-l} + C xi_j + sum_l W (x'_{j-l} - x_{j-l}), where x are the states at
//! which f was evaluated and x' the newest states.

use crate::backend::{Backend, Program, Real, RowRef};
use crate::engine::entry::{BETWEEN, Centre, Entry, Guess, Held, HeldData};
use crate::engine::iteration::linearisation::{Linearisation, Place};
use crate::engine::iteration::secant::Slopes;
use crate::engine::iteration::sites::Sites;
use crate::engine::ring::{Layout, Ring};
use crate::engine::rows::Evaluated;
use crate::engine::span::{Move, Span};
use crate::nodes::{Link, Nodes};
use crate::problem::{Prepared, Split};
use std::ops::RangeInclusive;

/// Where the contribution of a node comes from.
#[derive(Clone, Copy, Debug)]
enum Source {
    /// The node does not need the network: only its newest state contributes.
    State,
    /// The network was evaluated there in this round, in this row.
    Row(u32),
    /// The node has left the window.
    Left,
    /// The network has not been evaluated there yet: a held prediction stands in for it.
    Held,
}

/// What stands in for the outputs behind the last evaluated node of a window.
pub(crate) struct Far {
    last: usize,
    held: Held,
}

/// Everything that determines a node's new state.
pub(crate) struct Recurrence<'a, B: Backend> {
    pub prepared: &'a Prepared<B>,
    pub layout: &'a Layout,
    pub evaluated: &'a Evaluated,
    pub slopes: &'a Slopes,
    pub linearisation: &'a Linearisation,
    /// Per node, the node where its block begins, if changes are not passed on into blocks; otherwise empty.
    pub barriers: &'a [usize],
    pub pass: Pass<'a>,
}

/// Where a sweep writes new states.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pass<'a> {
    /// Beside the states, which stay as they are.
    Beside,
    /// Over the states. Changes are passed on as probes have seen too.
    Over(&'a Sites),
}

impl<B: Backend> Recurrence<'_, B> {
    fn source(&self, span: &Span, list: &Nodes, i: usize) -> Source {
        if !list.nodes()[i].evaluate {
            return Source::State;
        }
        if i >= span.hi {
            return Source::Held;
        }
        if i < span.lo {
            return Source::Left;
        }
        match self.evaluated.row(span.ring, i) {
            Some(row) => Source::Row(row),
            // the window has just begun: nothing has been evaluated
            None => Source::Held,
        }
    }

    /// What stands in for the outputs behind the last evaluated node of a window. `None` if all nodes are evaluated.
    pub fn far(&self, span: &Span) -> Option<Far> {
        let list = self.prepared.list(span.slot);
        (!self.evaluated.reach.is_full()).then(|| {
            let (last, held) = self.held(span, list, &BETWEEN);
            Far { last: last.unwrap_or(span.lo), held }
        })
    }

    /// A sweep of node `j`.
    pub fn sweep(&self, span: &Span, far: Option<&Far>, j: usize, program: &mut Program<B::Elem>) {
        let list = self.prepared.list(span.slot);
        let begins = self.barriers.get(j).copied();
        // the start of a window has not moved since its score was evaluated: no correction there
        let hands_on = |i: usize| i < span.lo || (i > span.lo && begins.is_none_or(|b| i > b));
        let held = |link: &Link| matches!(self.source(span, list, j - link.lag as usize), Source::Held);
        if let Some(far) = far.filter(|_| (0..list.nodes()[j].width).any(|to| list.links(j, to).iter().any(held))) {
            // after a node that was not evaluated
            for to in 0..list.nodes()[j].width {
                self.predict(span, list, (j, to), (&BETWEEN, &|i| self.between(span, list, far, i)), program);
                self.replace(span, list, (j, to), program);
            }
            return;
        }
        for to in 0..list.nodes()[j].width {
            self.formula(span, list, (j, to), program);
            for link in list.links(j, to).iter().filter(|link| hands_on(j - link.lag as usize)) {
                self.correction(span, list, (j, to), link, program);
            }
            self.replace(span, list, (j, to), program);
        }
    }

    /// The newest state of a node.
    fn newest(&self, span: &Span, i: usize, component: usize) -> RowRef {
        match self.pass {
            // the start of a window does not move
            Pass::Beside if i > span.lo => self.layout.trial(span.ring, i, component),
            _ => self.layout.state(span.ring, i, component),
        }
    }

    /// Ends the target of a guess. A guess has not changed since its score was evaluated, so its point equals the old
    /// state.
    fn replace(&self, span: &Span, list: &Nodes, (j, to): (usize, usize), program: &mut Program<B::Elem>) {
        if let Pass::Beside = self.pass {
            program.target(self.layout.trial(span.ring, j, to), None);
            return;
        }
        let before = match self.source(span, list, j) {
            Source::Row(row) => Some(self.layout.point(row, to)),
            _ => None,
        };
        program.target(self.layout.state(span.ring, j, to), before);
    }

    /// The node's own formula at the states where the network was evaluated.
    fn formula(&self, span: &Span, list: &Nodes, (j, to): (usize, usize), program: &mut Program<B::Elem>) {
        for link in list.links(j, to).iter().filter(|link| link.a != 0.0) {
            let i = j - link.lag as usize;
            let row = match self.source(span, list, i) {
                Source::Row(row) => self.layout.point(row, link.from as usize),
                Source::Left => self.layout.left_point(span.ring, i, link.from as usize),
                Source::State | Source::Held => self.newest(span, i, link.from as usize),
            };
            program.term(link.a, row);
        }
        for link in list.links(j, to).iter().filter(|link| link.b != 0.0) {
            let i = j - link.lag as usize;
            match self.source(span, list, i) {
                Source::Row(row) => program.term(link.b, self.layout.output(row, link.from as usize)),
                Source::Left => program.term(link.b, self.layout.left_output(span.ring, i, link.from as usize)),
                Source::State | Source::Held => {}
            }
        }
        self.noise(span.ring, list, (j, to), program);
    }

    /// What node `j` would be if all nodes before it stayed as they are: its exact state, if they are final. It is
    /// written beside the state, over a copy of it, so that the change of the second target is the difference.
    pub fn try_out(&self, span: &Span, j: usize, program: &mut Program<B::Elem>) {
        let list = self.prepared.list(span.slot);
        for to in 0..list.nodes()[j].width {
            let trial = self.layout.trial(span.ring, j, to);
            program.copy(self.layout.state(span.ring, j, to), trial);
            self.formula(span, list, (j, to), program);
            program.target(trial, None);
        }
    }

    /// Reflects the noise of node `j`, which has been tried out: x' - beta (x' - x). The difference comes first, since
    /// beta is large where x' is near x.
    pub fn reflect(&self, span: &Span, (j, beta): (usize, f64), program: &mut Program<B::Elem>) {
        let list = self.prepared.list(span.slot);
        for to in 0..list.nodes()[j].width {
            let (trial, state) = (self.layout.trial(span.ring, j, to), self.layout.state(span.ring, j, to));
            program.term(1.0, trial);
            program.correction(<B::Elem as Real>::of(-beta), trial, state, None);
            self.replace(span, list, (j, to), program);
        }
    }

    fn noise(&self, ring: Ring, list: &Nodes, (j, to): (usize, usize), program: &mut Program<B::Elem>) {
        for &(normal, c) in list.noise(j, to) {
            program.term(c, self.layout.noise(ring, j, normal as usize));
        }
    }

    /// The term W (x' - x) of a link.
    fn correction(
        &self,
        span: &Span,
        list: &Nodes,
        (j, to): (usize, usize),
        link: &Link,
        program: &mut Program<B::Elem>,
    ) {
        let (i, from) = (j - link.lag as usize, link.from as usize);
        let (node, source) = (&list.nodes()[j], &list.nodes()[i]);
        if from >= source.width {
            return;
        }
        let minus = match self.source(span, list, i) {
            Source::Row(row) => self.layout.point(row, from),
            Source::Left => self.layout.left_point(span.ring, i, from),
            Source::State | Source::Held => return,
        };
        let nearest = || list.links(j, to).iter().find(|other| other.from as usize == to);
        let nearest = from == to && nearest().is_some_and(|other| other.lag == link.lag);
        let place = Place { link, node, source, left: i < span.lo, nearest };
        let row = self.newest(span, i, from);
        let prediction = self.prepared.prediction();
        if let Some([rest, gain, shift]) = self.split(&place) {
            program.correction(rest, row, minus, None);
            program.correction(gain, row, minus, Some(shift));
            return;
        }
        let measured = self.slopes.at(span.ring.place(i));
        let weight = self.linearisation.weight(&place, measured, prediction, self.layout.seen);
        program.correction(<B::Elem as Real>::of(weight), row, minus, None);
        if let Pass::Over(sites) = self.pass {
            sites.terms(self.layout, (span.ring, i), link.b, program);
        }
    }

    /// W per element, if elements have slopes of their own; `None` if all share one slope, or if a number
    /// overflows.
    fn split(&self, place: &Place<'_>) -> Option<[B::Elem; 3]> {
        let variance = self.linearisation.variance(self.prepared.variances()).filter(|_| place.link.from == 0)?;
        let weights = (place.link.a, place.link.b);
        let Split { rest, gain, shift } =
            Split::new(self.prepared.prediction(), &place.source.level, weights, variance);
        let split = [rest, gain, shift].map(<B::Elem as Real>::of);
        let [.., shift] = split;
        (split.iter().all(|s| num_traits::Float::is_finite(*s)) && shift.wide() > 0.0).then_some(split)
    }

    /// First guesses of `nodes`, made from the evaluations in `span` or copied from node `newest`. With `copies`,
    /// elements of predictions that are not finite keep the value of the copy.
    pub fn enter(
        &self,
        span: &Span,
        (newest, nodes): (usize, RangeInclusive<usize>),
        entry: &Entry,
        copies: bool,
        program: &mut Program<B::Elem>,
    ) {
        let list = self.prepared.list(span.slot);
        let prediction = self.prepared.prediction();
        let mut held = None;
        for j in nodes {
            let guess = entry.at(list, j, prediction);
            if copies || guess == Guess::Copy {
                self.copy(span.ring, list, (newest, j), program);
            }
            if let Guess::Held(data) = guess {
                // all guesses of a window are held predictions of the same variance, so the centres are found once
                let held = held.get_or_insert_with(|| self.held(span, list, &data).1).following(data.follows);
                for to in 0..list.nodes()[j].width {
                    self.predict(span, list, (j, to), (&data, &|_| held), program);
                    program.target(self.layout.state(span.ring, j, to), None);
                }
            }
        }
    }

    /// Copies the newest state, that of node `from`. A component that it lacks is copied from the node before `j`
    /// if that one also has just entered, and is otherwise made from noise alone.
    fn copy(&self, ring: Ring, list: &Nodes, (from, j): (usize, usize), program: &mut Program<B::Elem>) {
        let width = |i: usize| list.nodes()[i].width;
        for component in 0..width(j) {
            if component < width(from) {
                program.term(1.0, self.layout.state(ring, from, component));
            } else if j - 1 > from && component < width(j - 1) {
                program.term(1.0, self.layout.state(ring, j - 1, component));
            } else {
                self.noise(ring, list, (j, component), program);
            }
            program.target(self.layout.state(ring, j, component), None);
        }
    }

    /// The recurrence of node `j`, in which a held prediction stands in for the outputs of nodes that have not been
    /// evaluated. `held` gives the centres for a source.
    fn predict(
        &self,
        span: &Span,
        list: &Nodes,
        (j, to): (usize, usize),
        (data, held): (&HeldData, &dyn Fn(usize) -> Held),
        program: &mut Program<B::Elem>,
    ) {
        let prediction = self.prepared.prediction();
        // the prediction applies only if the network sees a single component; other outputs are held as they are
        let predicts = |head: u32| head == 0 && self.layout.seen == 1;
        for link in list.links(j, to) {
            let i = j - link.lag as usize;
            let from = link.from as usize;
            match self.source(span, list, i) {
                Source::State => program.term(link.a, self.layout.state(span.ring, i, from)),
                Source::Row(row) if link.a != 0.0 => program.term(link.a, self.layout.point(row, from)),
                Source::Left if link.a != 0.0 => program.term(link.a, self.layout.left_point(span.ring, i, from)),
                Source::Held => {
                    let slope =
                        if predicts(link.from) { data.output(&list.nodes()[i].level, prediction).0 } else { 0.0 };
                    let own = if link.b == 0.0 { 0.0 } else { link.b * slope };
                    program.term(link.a + own, self.layout.state(span.ring, i, from));
                }
                Source::Row(_) | Source::Left => {}
            }
        }
        for link in list.links(j, to).iter().filter(|link| link.b != 0.0) {
            let i = j - link.lag as usize;
            match self.source(span, list, i) {
                Source::State => {}
                Source::Row(row) => program.term(link.b, self.layout.output(row, link.from as usize)),
                Source::Left => program.term(link.b, self.layout.left_output(span.ring, i, link.from as usize)),
                Source::Held if predicts(link.from) => {
                    let level = &list.nodes()[i].level;
                    let centre = link.b * data.output(level, prediction).1;
                    for (weight, c) in held(i).centres(level).into_iter().flatten() {
                        program.term(centre * weight * c.on_point, self.layout.point(c.row, 0));
                        program.term(centre * weight * c.on_output, self.layout.output(c.row, 0));
                    }
                }
                Source::Held => {
                    if let Some(c) = held(i).before {
                        program.term(link.b, self.layout.output(c.row, link.from as usize));
                    }
                }
            }
        }
        self.noise(span.ring, list, (j, to), program);
        for link in list.links(j, to).iter().filter(|link| j - link.lag as usize != span.lo) {
            self.correction(span, list, (j, to), link, program);
        }
    }

    fn is_evaluated(&self, span: &Span, list: &Nodes, i: usize) -> bool {
        list.nodes()[i].evaluate && self.evaluated.row(span.ring, i).is_some()
    }

    fn centre(&self, span: &Span, list: &Nodes, data: &HeldData, i: usize) -> Option<Centre> {
        let Source::Row(row) = self.source(span, list, i) else { return None };
        let level = &list.nodes()[i].level;
        let (on_point, on_output) = data.centre(level, self.prepared.prediction());
        Some(Centre { row, on_point, on_output, log_snr: level.log_snr })
    }

    /// The last evaluated node, and the centres behind it: its own and, to extrapolate it, that of an earlier node.
    fn held(&self, span: &Span, list: &Nodes, data: &HeldData) -> (Option<usize>, Held) {
        let evaluated = |i: &usize| self.is_evaluated(span, list, *i);
        let last = (span.lo..span.hi).rev().find(evaluated);
        let first = last.and_then(|last| {
            // near enough for a straight line, far enough apart that the difference is not just error
            let back = (span.guesses() / 4).max(2);
            (span.lo.max(last.saturating_sub(back))..last).find(evaluated)
        });
        let centre = |i| self.centre(span, list, data, i);
        (last, Held { before: last.and_then(centre), other: first.and_then(centre) })
    }

    /// The centres at the evaluated nodes before and after node `i`; behind the last one, those of an entry.
    fn between(&self, span: &Span, list: &Nodes, far: &Far, i: usize) -> Held {
        if i > far.last {
            let guess = Entry::Auto.at(list, i, self.prepared.prediction());
            return far.held.following(matches!(guess, Guess::Held(data) if data.follows));
        }
        let evaluated = |i: &usize| self.is_evaluated(span, list, *i);
        let centre = |i| self.centre(span, list, &BETWEEN, i);
        let before = (span.lo..i).rev().find(evaluated);
        Held { before: before.and_then(centre), other: (i..=far.last).find(evaluated).and_then(centre) }
    }

    /// Stores point and output of the nodes that leave, as far back as later nodes look.
    pub fn leave(&self, m: &Move, program: &mut Program<B::Elem>) {
        let list = self.prepared.list(m.from.slot);
        let back = self.layout.lookback - 1;
        if back == 0 {
            return;
        }
        let ring = m.from.ring;
        for i in m.from.lo.max(m.to.lo.saturating_sub(back))..m.to.lo {
            let Source::Row(row) = self.source(&m.from, list, i) else { continue };
            for component in 0..list.nodes()[i].width {
                program.copy(self.layout.point(row, component), self.layout.left_point(ring, i, component));
            }
            for head in 0..self.layout.heads {
                program.copy(self.layout.output(row, head), self.layout.left_output(ring, i, head));
            }
        }
    }
}
