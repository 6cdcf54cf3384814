//! How a sweep, the entry of nodes and the lookback's memory become programs for the backend: this is the one place where the
//! recurrence is written.

use super::picard::{Entry, Linearisation, Place};
use super::variances::Split;
use super::workspace::{Move, NO_ROW, Span, Workspace};
use crate::backend::{Backend, Plane, Real, RowRef, Segment, Target, Term};
use crate::scheme::Level;

/// Where a node's contribution comes from.
#[derive(Clone, Copy, Debug)]
enum From {
    /// The network is not needed there: the newest state alone.
    State,
    /// It was evaluated in this round, at this row.
    Row(u32),
    /// It left the window; `k` places before the window's start.
    Memory(usize),
    /// It has not been evaluated yet: the held prediction stands in.
    Held,
}

/// The centre of the data at an evaluated node: a point and an output, and what multiplies them.
#[derive(Clone, Copy, Debug)]
struct Centre {
    row: u32,
    on_point: f64,
    on_output: f64,
    log_snr: f64,
}

/// The prediction that stands in for outputs of nodes that have not been evaluated.
#[derive(Clone, Copy, Debug)]
struct Held {
    last: Option<Centre>,
    first: Option<Centre>,
}

impl Held {
    /// The centre at a level: weights and what they multiply.
    fn centres(&self, level: &Level) -> [Option<(f64, Centre)>; 2] {
        let (Some(last), Some(first)) = (self.last, self.first) else { return [self.last.map(|c| (1.0, c)), None] };
        let along = (level.log_snr - last.log_snr).min(1.0) / (last.log_snr - first.log_snr);
        if along.is_finite() { [Some((1.0 + along, last)), Some((-along, first))] } else { [Some((1.0, last)), None] }
    }
}

impl<B: Backend> Workspace<'_, '_, B> {
    pub(super) fn clear_program(&mut self) {
        self.program.segments.clear();
        self.program.targets.clear();
        self.program.terms.clear();
    }

    pub(super) fn close_segment(&mut self, lane: usize, first: usize) {
        let end = self.program.targets.len();
        if end > first {
            self.program.segments.push(Segment { slot: lane, targets: first..end });
        }
    }

    fn term(&mut self, coef: f64, plane: Plane, row: u32) {
        if coef != 0.0 {
            let row = RowRef { plane, row };
            self.program.terms.push(Term { coef: <B::Elem as Real>::of(coef), row, minus: None, shift: None });
        }
    }

    pub(super) fn close_target(&mut self, plane: Plane, row: u32, first_term: usize) {
        let terms = first_term..self.program.terms.len();
        self.program.targets.push(Target { out: RowRef { plane, row }, before: None, terms });
    }

    fn source(&self, span: &Span, i: usize) -> From {
        match self.node(i) {
            Some(node) if !node.evaluate => From::State,
            _ if i >= span.hi => From::Held,
            _ if i < span.lo => From::Memory(span.lo - i),
            _ => From::Row(self.row_of.get(span.lane * self.capacity + i % self.capacity).copied().unwrap_or(NO_ROW)),
        }
    }

    /// The recurrence of node `j`:
    /// sum_l A x_{j-l} + sum_l B f_{j-l} + C xi + sum_l W (x'_{j-l} - x_{j-l}),
    /// with x the states at which f was evaluated and x' the newest ones. Nodes that have not been evaluated contribute by `entry`.
    pub(super) fn push_node(&mut self, span: &Span, j: usize, linearisation: &Linearisation, entry: Option<&Entry>) {
        let n = self.list.components();
        let lags = self.list.lookback().min(j);
        let held = entry.map(|e| self.held(span, e));
        for to in 0..n {
            let first = self.program.terms.len();
            for lag in 1..=lags {
                let i = j - lag;
                for from in 0..n {
                    let a = self.list.a(j, lag, to, from);
                    match self.source(span, i) {
                        From::State => self.term(a, Plane::State, self.state_row(span.lane, i, from)),
                        From::Row(r) => self.term(a, Plane::Point, self.point_row(r, from)),
                        From::Memory(back) => self.term(a, Plane::Memory, self.memory_row(span.lane, back, from)),
                        From::Held => {
                            let own =
                                if from == 0 { self.list.b(j, lag, to) * self.held_slope(entry, i).0 } else { 0.0 };
                            self.term(a + own, Plane::State, self.state_row(span.lane, i, from));
                        }
                    }
                }
            }
            for lag in 1..=lags {
                let i = j - lag;
                let b = self.list.b(j, lag, to);
                match self.source(span, i) {
                    From::State => {}
                    From::Row(r) => self.term(b, Plane::Output, r),
                    From::Memory(back) => self.term(b, Plane::Memory, self.memory_row(span.lane, back, n)),
                    From::Held => {
                        let centre = b * self.held_slope(entry, i).1;
                        let level = self.node(i).map(|n| n.level);
                        for (weight, c) in held.iter().zip(level).flat_map(|(h, level)| h.centres(&level)).flatten() {
                            self.term(centre * weight * c.on_point, Plane::Point, c.row);
                            self.term(centre * weight * c.on_output, Plane::Output, c.row);
                        }
                    }
                }
            }
            for k in 0..self.list.normals() {
                self.term(self.list.c(j, to, k), Plane::Noise, self.noise_row(span.lane, j, k));
            }
            // the start of a window is where its score was evaluated: no correction there
            let begins = self.barriers.get(j).copied().filter(|_| entry.is_none());
            let hands_on = |i: usize| i < span.lo || (i > span.lo && begins.is_none_or(|b| i > b));
            for lag in (1..=lags).filter(|lag| hands_on(j - lag)) {
                let i = j - lag;
                let (plane, old) = match self.source(span, i) {
                    From::Row(r) => (Plane::Point, self.point_row(r, 0)),
                    From::Memory(back) => (Plane::Memory, self.memory_row(span.lane, back, 0)),
                    From::State | From::Held => continue,
                };
                let place = span.lane * self.capacity + i % self.capacity;
                let measured = self.slopes.at(place);
                let stride = if plane == Plane::Point { self.arrays.row_limit as u32 } else { 1 };
                for from in 0..n {
                    let row = RowRef { plane: Plane::State, row: self.state_row(span.lane, i, from) };
                    let minus = Some(RowRef { plane, row: old + from as u32 * stride });
                    let at = Place { j, lag, to, from, left: i < span.lo };
                    let split = self.split(at, linearisation.variance(self.problem.variances()));
                    let weights = match split {
                        Some([rest, gain, shift]) => [(rest, None), (gain, Some(shift))],
                        None => {
                            let weight = linearisation.weight(&self.list, at, measured, self.prediction);
                            [(<B::Elem as Real>::of(weight), None), (<B::Elem as Real>::of(0.0), None)]
                        }
                    };
                    // a slope beyond the number format is no help: then the change is not handed on
                    for (coef, shift) in weights.into_iter().filter(|(coef, _)| is_useful(*coef)) {
                        self.program.terms.push(Term { coef, row, minus, shift });
                    }
                }
            }
            self.close_target(Plane::State, self.state_row(span.lane, j, to), first);
            // a guess has not changed since its score was evaluated
            let before = match self.source(span, j) {
                From::Row(r) if entry.is_none() => Some(RowRef { plane: Plane::Point, row: self.point_row(r, to) }),
                _ => None,
            };
            if let Some(target) = self.program.targets.last_mut() {
                target.before = before;
            }
        }
    }

    /// W by element, for Gaussian data of this mean variance; `None` where it is the same for all, or beyond the number format.
    fn split(&self, place: Place, variance: Option<f64>) -> Option<[B::Elem; 3]> {
        let Place { j, lag, to, from, .. } = place;
        let level = self.node(j - lag)?.level;
        let weights = (self.list.a(j, lag, to, from), self.list.b(j, lag, to));
        let Split { rest, gain, shift } = Split::new(self.prediction, &level, weights, variance.filter(|_| from == 0)?);
        let split = [rest, gain, shift].map(<B::Elem as Real>::of);
        let [.., shift] = split;
        (split.iter().all(|s| num_traits::Float::is_finite(*s)) && shift.wide() > 0.0).then_some(split)
    }

    pub(super) fn push_copy(&mut self, lane: usize, from: usize, to: usize) {
        for component in 0..self.list.components() {
            let first = self.program.terms.len();
            self.term(1.0, Plane::State, self.state_row(lane, from, component));
            self.close_target(Plane::State, self.state_row(lane, to, component), first);
        }
    }

    /// What the entry's prediction is made of: the centre at the last evaluated node and, to follow its motion, at an earlier one.
    fn held(&self, span: &Span, entry: &Entry) -> Held {
        let evaluated = |i: &usize| self.node(*i).is_some_and(|n| n.evaluate);
        let centre = |i: usize| {
            let (From::Row(row), Some(node)) = (self.source(span, i), self.node(i)) else { return None };
            let (on_point, on_output) = entry.centre(&node.level, self.prediction);
            Some(Centre { row, on_point, on_output, log_snr: node.level.log_snr })
        };
        let last = (span.lo..span.hi).rev().find(evaluated);
        let first = last.filter(|_| entry.follows()).and_then(|last| {
            // near enough to be on a line, far enough that the difference is not that of two errors
            let back = ((span.hi - span.lo) / 4).max(2);
            (span.lo.max(last.saturating_sub(back))..last).find(evaluated)
        });
        Held { last: last.and_then(centre), first: first.and_then(centre) }
    }

    /// What the held prediction at node `i` puts on its state and on the centre.
    fn held_slope(&self, entry: Option<&Entry>, i: usize) -> (f64, f64) {
        match (entry, self.node(i)) {
            (Some(entry), Some(node)) => entry.output(&node.level, self.prediction),
            _ => (0.0, 0.0),
        }
    }

    /// Keeps point and output of the last nodes before the new start; farther ones first, since they come from nearer places.
    pub(super) fn push_memory(&mut self, m: &Move) {
        let n = self.list.components();
        let lane = m.from.lane;
        for back in (1..self.list.lookback()).rev() {
            let Some(i) = m.to.lo.checked_sub(back) else { continue };
            let source = self.source(&m.from, i);
            for component in 0..=n {
                let (plane, row) = match source {
                    From::Row(r) if component == n => (Plane::Output, r),
                    From::Row(r) => (Plane::Point, self.point_row(r, component)),
                    From::Memory(old) if old < self.list.lookback() && old != back => {
                        (Plane::Memory, self.memory_row(lane, old, component))
                    }
                    _ => continue,
                };
                let first = self.program.terms.len();
                self.term(1.0, plane, row);
                self.close_target(Plane::Memory, self.memory_row(lane, back, component), first);
            }
        }
    }
}

fn is_useful<T: Real>(coef: T) -> bool {
    coef.is_finite() && coef != T::zero()
}
