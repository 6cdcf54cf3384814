//! A round: the rows of all windows, packed, and the evaluation of the score on them.

use crate::backend::{Backend, Plane};
use crate::engine::machine::Machine;
use crate::engine::observer::Observer;
use crate::engine::reach::Reach;
use crate::engine::ring::Ring;
use crate::engine::sizes::Sizes;
use crate::engine::span::Span;
use crate::error::{Error, Result, filled, reserve};
use crate::nodes::Node;
use crate::noise::{Address, NoiseKey, stream};
use crate::problem::{Prepared, Report};
use crate::score::{Destinations, PartWork, Rows, ScoreFn};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

const NO_ROW: u32 = u32::MAX;

/// The row in which each node was evaluated, in this round and in the one before.
#[derive(Debug)]
pub(crate) struct Evaluated {
    /// Indexed by place.
    now: Vec<u32>,
    /// The same for the previous round; empty if not needed.
    before: Vec<u32>,
    batch: Batch,
    pub reach: Reach,
    /// What the parts of a split score had done before the current call.
    parts: Vec<PartWork>,
}

/// Further rows of a node: states near it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    pub span: Span,
    pub node: usize,
    /// The first of its rows.
    pub first: u32,
}

/// The rows of the current round.
#[derive(Debug, Default)]
struct Batch {
    slot: Vec<usize>,
    node: Vec<u32>,
    sample: Vec<u32>,
    t: Vec<f64>,
    alpha: Vec<f64>,
    sigma: Vec<f64>,
    /// Row of the state's first component.
    state: Vec<u32>,
    /// Rows to gather.
    wanted: Vec<u32>,
    to: Made,
}

/// For kernels: the node that each row leads to.
#[derive(Debug, Default)]
struct Made {
    t: Vec<f64>,
    alpha: Vec<f64>,
    sigma: Vec<f64>,
    address: Vec<Address>,
    key: Vec<NoiseKey>,
}

impl Made {
    fn clear(&mut self) {
        let Made { t, alpha, sigma, address, key } = self;
        [t, alpha, sigma].into_iter().for_each(Vec::clear);
        address.clear();
        key.clear();
    }

    fn push(&mut self, node: &Node, sample: u32, key: NoiseKey) {
        self.t.push(node.level.t);
        self.alpha.push(node.level.alpha);
        self.sigma.push(node.level.sigma);
        self.address.push(Address { stream: stream::DYNAMICS, step: node.step as u32, sample });
        self.key.push(key);
    }
}

impl Batch {
    fn new(rows: usize, seen: usize, kernel: bool) -> Result<Self> {
        let what = "the rows of a round";
        let mut batch = Batch::default();
        let Batch { slot, node, sample, t, alpha, sigma, state, wanted, .. } = &mut batch;
        reserve(what, slot, rows)?;
        for numbers in [node, sample, state] {
            reserve(what, numbers, rows)?;
        }
        for levels in [t, alpha, sigma] {
            reserve(what, levels, rows)?;
        }
        reserve(what, wanted, rows.saturating_mul(seen))?;
        if kernel {
            let Made { t, alpha, sigma, address, key } = &mut batch.to;
            for levels in [t, alpha, sigma] {
                reserve(what, levels, rows)?;
            }
            reserve(what, address, rows)?;
            reserve(what, key, rows)?;
        }
        Ok(batch)
    }

    fn clear(&mut self) {
        let Batch { slot, node, sample, t, alpha, sigma, state, to, .. } = self;
        slot.clear();
        [node, sample, state].into_iter().for_each(Vec::clear);
        [t, alpha, sigma].into_iter().for_each(Vec::clear);
        to.clear();
    }

    fn len(&self) -> usize {
        self.slot.len()
    }

    fn push(&mut self, slot: usize, sample: u32, j: usize, node: &Node) {
        self.slot.push(slot);
        self.node.push(j as u32);
        self.sample.push(sample);
        self.t.push(node.level.t);
        self.alpha.push(node.level.alpha);
        self.sigma.push(node.level.sigma);
    }
}

impl Evaluated {
    /// For windows of these sizes.
    pub fn new(sizes: &Sizes) -> Result<Self> {
        let (what, places) = ("the rows of all places", sizes.places());
        Ok(Evaluated {
            now: filled(what, places, NO_ROW)?,
            before: filled(what, if sizes.earlier { places } else { 0 }, NO_ROW)?,
            batch: Batch::new(sizes.layout.evaluations, sizes.layout.seen, sizes.kernel)?,
            reach: Reach::default(),
            parts: Vec::new(),
        })
    }

    /// The row of a node in this round.
    pub fn row(&self, ring: Ring, node: usize) -> Option<u32> {
        Some(self.now[ring.place(node)]).filter(|row| *row != NO_ROW)
    }

    /// The row of a node in the round before.
    pub fn earlier_row(&self, ring: Ring, node: usize) -> Option<u32> {
        Some(self.before[ring.place(node)]).filter(|row| *row != NO_ROW)
    }

    /// The first node of a window whose output is needed and was not evaluated in this round; `hi` if there is none.
    pub fn first_skipped(&self, span: &Span, nodes: &[Node]) -> usize {
        if self.reach.is_full() {
            return span.hi;
        }
        let skipped = |j: &usize| nodes[*j].evaluate && self.row(span.ring, *j).is_none();
        (span.lo..span.hi).find(skipped).unwrap_or(span.hi)
    }

    /// Forgets the evaluation at a node's place, for a node that enters.
    pub fn clear(&mut self, ring: Ring, node: usize) {
        self.now[ring.place(node)] = NO_ROW;
    }

    /// Forgets all evaluations in a ring, for a sample that begins.
    pub fn begin(&mut self, slot: usize, ring: Ring) {
        self.reach.begin(slot);
        self.now[ring.places()].fill(NO_ROW);
    }

    /// One round: evaluates the score at every node of the windows that needs it; `Break` if the observer cancels.
    pub fn evaluate<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        machine: &mut Machine<B>,
        score: &mut dyn ScoreFn<B>,
        (spans, probes): (&[Span], &mut [Probe]),
        (report, observer): (&mut Report, &mut dyn Observer<B>),
    ) -> Result<ControlFlow<()>> {
        if !self.before.is_empty() {
            machine.planes.turn();
            self.before.copy_from_slice(&self.now);
        }
        self.now.fill(NO_ROW);
        self.batch.clear();
        let layout = machine.layout;
        for span in spans {
            let id = prepared.ids()[span.slot];
            let before = self.batch.len();
            let nodes = prepared.list(span.slot).nodes();
            let list = prepared.list_of(span.slot);
            for (j, node) in nodes.iter().enumerate().take(span.hi).skip(span.lo).filter(|(_, n)| n.evaluate) {
                if !self.reach.takes(list, span, j, self.batch.len() - before) {
                    continue;
                }
                self.now[span.ring.place(j)] = self.batch.len() as u32;
                self.batch.push(span.slot, id, j, node);
                self.batch.state.push(layout.state(span.ring, j, 0).row);
                if let Some(makes) = prepared.made_by(span.slot, j) {
                    self.batch.to.push(&nodes[makes], id, prepared.key(span.slot));
                }
            }
            report.sample_rounds[span.slot] += usize::from(self.batch.len() > before);
        }
        let rows = self.batch.len();
        if rows == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        report.rounds += 1;
        self.gather(machine)?;
        self.add_probes(prepared, machine, probes)?;
        let flow = self.call(prepared, machine, score, (&mut *report, observer))?;
        if flow.is_break() {
            // a round that was not finished does not count, but for its calls and rows
            report.rounds -= 1;
            self.batch.slot[..rows].chunk_by(|a, b| a == b).for_each(|rows| report.sample_rounds[rows[0]] -= 1);
        }
        Ok(flow)
    }

    /// Packs the states to evaluate: first the components that the network sees, state after state, then each of
    /// the other components.
    fn gather<B: Backend>(&mut self, machine: &mut Machine<B>) -> Result<()> {
        let layout = machine.layout;
        let Batch { state, wanted, .. } = &mut self.batch;
        wanted.clear();
        wanted.extend(state.iter().flat_map(|row| (0..layout.seen as u32).map(move |component| row + component)));
        machine.gather(Plane::State, wanted, 0)?;
        for component in layout.seen..layout.components {
            wanted.clear();
            wanted.extend(state.iter().map(|row| row + component as u32));
            machine.gather(Plane::State, wanted, layout.unseen(component))?;
        }
        Ok(())
    }

    /// Adds the rows of probes behind those of the windows.
    fn add_probes<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        machine: &mut Machine<B>,
        probes: &mut [Probe],
    ) -> Result<()> {
        let (layout, first) = (machine.layout, self.batch.len());
        self.batch.wanted.clear();
        for Probe { span, node, first } in probes.iter_mut() {
            *first = self.batch.len() as u32;
            let (id, level) = (prepared.ids()[span.slot], &prepared.list(span.slot).nodes()[*node]);
            for m in 0..layout.probes {
                self.batch.push(span.slot, id, *node, level);
                self.batch.wanted.push(layout.image(span.ring, m).row);
            }
        }
        if probes.is_empty() { Ok(()) } else { machine.gather(Plane::Memory, &self.batch.wanted, first) }
    }

    /// Calls the score, more than once if its bound on rows requires it; `Break` if the observer cancels.
    fn call<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        machine: &mut Machine<B>,
        score: &mut dyn ScoreFn<B>,
        (report, observer): (&mut Report, &mut dyn Observer<B>),
    ) -> Result<ControlFlow<()>> {
        let Batch { slot, node, sample, t, alpha, sigma, to, .. } = &self.batch;
        let Made { t: to_t, alpha: to_alpha, sigma: to_sigma, address, key } = to;
        let to = Destinations { t: to_t, alpha: to_alpha, sigma: to_sigma, address, key };
        let all = Rows { t, alpha, sigma, id: sample, slot, shape: prepared.axes(), to };
        let rows = all.len();
        let chunk = score.max_rows().unwrap_or(rows).max(1);
        let (seen, heads) = (machine.layout.seen, machine.layout.heads);
        let mut spent = Duration::ZERO;
        let mut first = 0;
        while first < rows {
            if observer.on_call().is_break() {
                report.score_time += spent;
                return Ok(ControlFlow::Break(()));
            }
            let range = first..rows.min(first.saturating_add(chunk));
            let (points, outputs) = machine.planes.pair(Plane::Point, Plane::Output);
            let x = prepared.backend().view(points, seen * range.start..seen * range.end);
            let out = prepared.backend().view_mut(outputs, heads * range.start..heads * range.end);
            self.parts.clear();
            self.parts.extend_from_slice(score.parts());
            report.evaluations += score.evaluations(range.len());
            let clock = Instant::now();
            let answer = score.eval(x, &all.range(range.clone()), out);
            spent += clock.elapsed();
            report.note_parts(&self.parts, score.parts());
            report.score_calls += 1;
            report.score_rows += range.len();
            answer.map_err(|source| Error::Score {
                round: report.rounds,
                node: node[first] as usize,
                sample: sample[first],
                source,
            })?;
            first = range.end;
        }
        report.score_time += spent;
        Ok(ControlFlow::Continue(()))
    }

    /// Returns an error for the first output of this round that is not finite.
    pub fn check_outputs<B: Backend>(
        &self,
        prepared: &Prepared<B>,
        machine: &mut Machine<B>,
        round: usize,
    ) -> Result<()> {
        let heads = machine.layout.heads;
        let outputs = &mut machine.planes[Plane::Output];
        let mut outputs = prepared.backend().view_mut(outputs, 0..self.batch.len() * heads);
        let Some(row) = B::first_not_finite(&mut outputs)? else {
            return Ok(());
        };
        let row = row / heads;
        let (node, slot) = (self.batch.node[row] as usize, self.batch.slot[row]);
        let time = prepared.list(slot).nodes()[node].level.t;
        Err(Error::ScoreNotFinite { round, node, time, sample: self.batch.sample[row] })
    }
}
