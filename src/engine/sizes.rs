//! How much room a run takes.

use crate::backend::sum::LEAF;
use crate::backend::{Backend, Change, NoiseRow, Real, Segment, Target, Term, Vector};
use crate::engine::ring::Layout;
use crate::error::{Error, Result};
use crate::nodes::Nodes;
use crate::problem::Prepared;
use crate::score::Prediction;

/// Targets of a program, at the most: programs are cut where a batch has more.
pub(crate) const PIECE: usize = 1 << 15;

/// What a sampler needs room for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Windows that are open at once.
    pub lanes: usize,
    /// The most evaluations of a round.
    pub evaluations: usize,
    /// Whether the points and outputs of the round before are kept.
    pub earlier: bool,
    /// Sweeps whose states and residuals are kept.
    pub history: usize,
}

/// Rows of all arrays, and what they hold.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    pub layout: Layout,
    /// Slots of the array of places.
    pub slots: usize,
    /// Of every list, log2 of the slots that a window takes.
    pub orders: Vec<u32>,
    /// Of every list, the places that it uses of them.
    pub capacities: Vec<usize>,
    pub earlier: bool,
    /// Whether the oracle is a kernel, whose rows say where they lead.
    pub kernel: bool,
    /// The most terms that a node's component is made of.
    pub terms_per_target: usize,
    samples: usize,
    dim: usize,
    variances: bool,
    lists: usize,
}

/// Rows of each array.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowCounts {
    pub state: usize,
    pub memory: usize,
    pub point: usize,
    pub output: usize,
    pub noise: usize,
    pub earlier: bool,
}

impl Sizes {
    /// For windows of at most so many nodes, list by list.
    pub fn new<B: Backend>(prepared: &Prepared<B>, windows: &[usize], room: Room) -> Result<Self> {
        let lists = prepared.lists();
        let most = |of: fn(&Nodes) -> usize| lists.iter().map(|list| of(list)).max().unwrap_or(0);
        let lookback = most(Nodes::lookback);
        let too_large = || Error::TooLarge { what: "the window", why: "its nodes do not fit the address space".into() };
        let capacities: Option<Vec<usize>> = windows.iter().map(|window| window.checked_add(lookback)).collect();
        let capacities = capacities.ok_or_else(too_large)?;
        let unit = capacities.iter().copied().min().unwrap_or(1);
        let order = |capacity: usize| capacity.div_ceil(unit).next_power_of_two().ilog2();
        let orders: Vec<u32> = capacities.iter().map(|capacity| order(*capacity)).collect();
        let samples = prepared.count();
        let top = orders.iter().copied().max().unwrap_or(0);
        // every sample has its own window, or a queue takes turns
        let slots = if room.lanes >= samples {
            (0..samples).try_fold(0usize, |sum, slot| sum.checked_add(1 << orders[prepared.list_of(slot)]))
        } else {
            room.lanes.checked_mul(1 << top)
        };
        let (seen, heads) = prepared.shape();
        let layout = Layout {
            components: most(Nodes::components),
            normals: most(Nodes::most_normals),
            seen,
            heads,
            lookback,
            history: room.history,
            unit,
            evaluations: room.evaluations,
        };
        Ok(Sizes {
            layout,
            slots: slots.ok_or_else(too_large)?,
            orders,
            capacities,
            earlier: room.earlier,
            kernel: prepared.prediction() == Prediction::Next,
            // a copy in advance, links as state, output and correction, held predictions for links that have none yet
            terms_per_target: most(most_terms) + room.history + 1,
            samples,
            dim: prepared.dim(),
            variances: prepared.variances().is_some(),
            lists: lists.iter().map(|list| list.bytes()).sum(),
        })
    }

    /// The largest order of a window.
    pub fn top(&self) -> u32 {
        self.orders.iter().copied().max().unwrap_or(0)
    }

    /// Places of all slots.
    pub fn places(&self) -> usize {
        self.slots.saturating_mul(self.layout.unit)
    }

    pub fn rows(&self) -> Option<RowCounts> {
        let Layout { components, normals, seen, heads, evaluations, unit, .. } = self.layout;
        let places = self.slots.checked_mul(unit)?;
        Some(RowCounts {
            state: places.checked_mul(components)?,
            memory: self.slots.checked_mul(self.layout.memory_rows()?)?,
            point: evaluations.checked_mul(components.max(seen))?,
            output: evaluations.checked_mul(heads)?,
            noise: places.checked_mul(normals)?,
            earlier: self.earlier,
        })
    }

    /// The most targets of a program: those of a piece of the batch, which has one window at least.
    pub fn targets(&self) -> usize {
        let Layout { components, heads, lookback, .. } = self.layout;
        // two guesses per node, or what is kept of a sweep; then what leaves
        let of = |places: usize, windows: usize| {
            let leaving = windows.saturating_mul((lookback - 1) * (components + heads));
            places.saturating_mul(2 * components).saturating_add(leaving)
        };
        let window = self.capacities.iter().map(|capacity| of(*capacity, 1)).max().unwrap_or(0);
        window.max(PIECE.min(of(self.places(), self.open())))
    }

    /// Bytes of all arrays, of where the samples start and of what they become, and of what is noted per node and sample.
    pub fn bytes<E: Real>(&self) -> Option<usize> {
        let RowCounts { state, memory, point, output, noise, .. } = self.rows()?;
        let rounds = if self.earlier { 2 } else { 1 };
        let evaluated = point.checked_add(output)?.checked_mul(rounds)?;
        let ends = self.samples.checked_mul(2)?.checked_add(usize::from(self.variances))?;
        let rows = [memory, noise, evaluated, ends].iter().try_fold(state, |sum, r| sum.checked_add(*r))?;
        let arrays = rows.checked_mul(self.dim)?.checked_mul(size_of::<E>())?;
        let targets = self.targets();
        let program = size_of::<Target>()
            + size_of::<Change>()
            + self.terms_per_target.checked_mul(size_of::<Term<E>>())?
            // what the sum of a row is put together from
            + 2 * size_of::<E>() * self.dim.div_ceil(LEAF)
            + size_of::<NoiseRow>() * self.layout.normals;
        let (segments, places) = (self.open().min(targets), self.places());
        let (mut of_place, mut groups) = (PER_PLACE, 0);
        if self.earlier {
            of_place += PER_MEASURED_PLACE;
            groups = targets.min(places);
        }
        let sums = size_of::<f64>() + size_of::<E>() * self.dim.div_ceil(LEAF);
        let of_group = size_of::<(usize, usize)>() + 3 * self.layout.seen * (size_of::<Vector>() + sums);
        let noted = [
            (targets, program),
            (segments, size_of::<Segment>()),
            (groups, of_group),
            (places, of_place),
            (self.layout.evaluations, PER_ROW),
            (self.slots, PER_SLOT),
            (self.open(), PER_OPEN_SAMPLE),
            (self.samples, PER_SAMPLE),
            (1, self.lists),
        ];
        noted.iter().try_fold(arrays, |sum, (n, each)| sum.checked_add(n.checked_mul(*each)?))
    }

    /// The most samples that have a window at once.
    pub fn open(&self) -> usize {
        self.samples.min(self.slots)
    }
}

/// Bytes that are noted per place: its row of the round, its last two changes and when it entered.
const PER_PLACE: usize = 4 + 8 + 8 + 1 + 4;
/// The same where slopes are measured: its row of the round before, and a slope.
const PER_MEASURED_PLACE: usize = 4 + 9;
/// Bytes that are noted per evaluation: whose it is, its level, and where its state lies.
const PER_ROW: usize = 8 + 4 + 4 + 24 + 4 + 4;
/// Bytes per slot: that it is free.
const PER_SLOT: usize = 8;
/// Bytes per sample with a window: the window, twice, how it moves and how far.
const PER_OPEN_SAMPLE: usize = 40 + 40 + 80 + 32;
/// Bytes per sample: its id, request and place in the line, its part of the report, how far it is, and its data variance.
const PER_SAMPLE: usize = 8 + 4 + 24 + 8 + 72 + 8;

/// The most terms of a component of a node: every link three times, noise, and the two centres of a held prediction per link.
fn most_terms(list: &Nodes) -> usize {
    let rows = (0..list.nodes().len()).flat_map(|j| (0..list.nodes()[j].width).map(move |to| (j, to)));
    rows.map(|(j, to)| 5 * list.links(j, to).len() + list.noise(j, to).len()).max().unwrap_or(0)
}
