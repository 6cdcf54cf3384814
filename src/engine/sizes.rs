//! How much memory a run needs.

use crate::backend::sum::LEAF;
use crate::backend::{Backend, Change, NoiseRow, Real, Segment, Target, Term, Vector};
use crate::engine::accept::coupling::Products;
use crate::engine::iteration::probes::Probes;
use crate::engine::ring::Layout;
use crate::error::{Error, Result};
use crate::nodes::Nodes;
use crate::problem::Prepared;
use crate::score::Prediction;

/// Maximum number of targets per program; larger batches are split into several programs.
pub(crate) const PIECE: usize = 1 << 15;

/// What a sampler needs memory for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Number of windows open at once.
    pub lanes: usize,
    /// Maximum number of evaluations per round.
    pub evaluations: usize,
    /// Whether the points and outputs of the previous round are kept.
    pub earlier: bool,
    /// Number of sweeps whose states and residuals are kept.
    pub history: usize,
    /// Whether guesses are verified.
    pub verified: bool,
    pub probes: Option<Probes>,
}

/// The sizes of all arrays, and what determines them.
#[derive(Clone, Debug)]
pub(crate) struct Sizes {
    pub layout: Layout,
    /// Number of slots in the array of places.
    pub slots: usize,
    /// Per list, log2 of the number of slots that a window takes.
    pub orders: Vec<u32>,
    /// Per list, the number of places in these slots that a window uses.
    pub capacities: Vec<usize>,
    pub earlier: bool,
    /// Whether guesses are verified.
    pub verified: bool,
    /// Whether the oracle is a kernel, whose rows also say which node they lead to.
    pub kernel: bool,
    /// Nodes from one site of probes to the next.
    pub every: usize,
    /// Maximum number of terms per target.
    pub terms_per_target: usize,
    samples: usize,
    dim: usize,
    variances: bool,
    lists: usize,
}

/// Number of rows of each array.
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
    /// For windows of at most `windows` nodes, given per list.
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
        // every sample has its own window, or the samples of a queue take turns
        let slots = if room.lanes >= samples {
            (0..samples).try_fold(0usize, |sum, slot| sum.checked_add(1 << orders[prepared.list_of(slot)]))
        } else {
            room.lanes.checked_mul(1 << top)
        };
        let (seen, heads) = prepared.shape();
        let probes = room.probes.map_or(0, |probes| probes.directions.min(prepared.dim()));
        let layout = Layout {
            components: most(Nodes::components),
            normals: most(Nodes::most_normals),
            seen,
            heads,
            lookback,
            history: room.history,
            trial: room.verified || room.probes.is_some(),
            probes,
            unit,
            evaluations: room.evaluations,
        };
        Ok(Sizes {
            layout,
            slots: slots.ok_or_else(too_large)?,
            orders,
            capacities,
            earlier: room.earlier,
            verified: room.verified,
            kernel: prepared.prediction() == Prediction::Next,
            every: room.probes.map_or(1, |probes| probes.every),
            // a copy made first, links as state, output and correction, and held predictions for links without an
            // output
            terms_per_target: most(most_terms) + room.history + 1 + 2 * probes * lookback,
            samples,
            dim: prepared.dim(),
            variances: prepared.variances().is_some(),
            lists: lists.iter().map(|list| list.bytes()).sum(),
        })
    }

    /// The largest order of any window.
    pub fn top(&self) -> u32 {
        self.orders.iter().copied().max().unwrap_or(0)
    }

    /// Number of places in all slots.
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

    /// Maximum number of targets in a program: those of a piece of the batch, which holds at least one window.
    pub fn targets(&self) -> usize {
        let Layout { components, heads, lookback, probes, .. } = self.layout;
        // two guesses per node, or the two rows kept of a sweep, plus the rows of nodes that leave
        let of = |places: usize, windows: usize| {
            let leaving = windows.saturating_mul((lookback - 1) * (components + heads) + 2 * probes);
            places.saturating_mul(2 * components).saturating_add(leaving)
        };
        let window = self.capacities.iter().map(|capacity| of(*capacity, 1)).max().unwrap_or(0);
        window.max(PIECE.min(of(self.places(), self.open())))
    }

    /// Bytes of all arrays, of the starts and results of the samples, and of the bookkeeping per node and sample.
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
            // the partial sums of a row
            + 2 * size_of::<E>() * self.dim.div_ceil(LEAF)
            + size_of::<NoiseRow>() * self.layout.normals;
        let (segments, places) = (self.open().min(targets), self.places());
        let mut of_place = PER_PLACE;
        if self.earlier {
            of_place += PER_MEASURED_PLACE;
        }
        if self.verified {
            of_place += PER_VERIFIED_PLACE;
        }
        let probes = self.layout.probes;
        if probes > 0 {
            of_place += 1 + 2 * probes * size_of::<f64>();
        }
        let of_probed = (probes + 1) * size_of::<Vector>() + (probes + 2) * size_of::<f64>();
        let Layout { components, normals, seen, .. } = self.layout;
        let of_measured = size_of::<(usize, usize)>() + 3 * seen * (size_of::<Vector>() + size_of::<f64>());
        let of_verified = size_of::<(usize, usize)>()
            + (components + normals) * size_of::<Vector>()
            + Products::count(components, normals) * size_of::<f64>();
        let noted = [
            (targets, program),
            (segments, size_of::<Segment>()),
            (self.measured(), of_measured),
            (self.judged(), of_verified),
            (self.products(), size_of::<E>() * self.dim.div_ceil(LEAF)),
            (if probes > 0 { self.measured() } else { 0 }, of_probed),
            (if probes > 0 { self.open() } else { 0 }, PER_SITE),
            (places, of_place),
            (self.layout.evaluations, PER_ROW),
            (self.slots, PER_SLOT),
            (self.open(), PER_OPEN_SAMPLE),
            (self.samples, PER_SAMPLE),
            (1, self.lists),
        ];
        noted.iter().try_fold(arrays, |sum, (n, each)| sum.checked_add(n.checked_mul(*each)?))
    }

    /// Maximum number of nodes of a program whose guesses are verified.
    pub fn judged(&self) -> usize {
        if self.verified { self.targets().min(self.places()) } else { 0 }
    }

    /// Maximum number of nodes of a program whose slopes are measured.
    pub fn measured(&self) -> usize {
        if self.earlier { self.targets().min(self.places()) } else { 0 }
    }

    /// Maximum number of inner products at a time: three per component of a measured node, or those of a verified one.
    pub fn products(&self) -> usize {
        let Layout { components, normals, seen, probes, .. } = self.layout;
        let verified = self.judged().saturating_mul(Products::count(components, normals));
        let probed = self.measured().saturating_mul(probes).max(self.open().saturating_mul(probes * (probes + 1) / 2));
        verified.max(self.measured().saturating_mul(3 * seen)).max(probed)
    }

    /// Maximum number of samples that have a window at the same time.
    pub fn open(&self) -> usize {
        self.samples.min(self.slots)
    }
}

/// Bookkeeping per place, in bytes: its row in the round, its last two changes, their flags, and the round in which
/// it entered.
const PER_PLACE: usize = 4 + 8 + 8 + 1 + 4;
/// Additional bookkeeping per place where slopes are measured: its row in the previous round, and a slope.
const PER_MEASURED_PLACE: usize = 4 + 9;
/// Additional bookkeeping per place where guesses are verified: whether its guess may be.
const PER_VERIFIED_PLACE: usize = 1;
/// Bookkeeping per evaluation, in bytes: its slot, node and sample, its level, and the row of its state.
const PER_ROW: usize = 8 + 4 + 4 + 24 + 4 + 4;
/// Bookkeeping per sample with a window and probes: its site, and what makes a new one.
const PER_SITE: usize = 416 + 56 + 7 * 40 + 28 * 8;
/// Bytes per slot, for the list of free slots.
const PER_SLOT: usize = 8;
/// Bytes per sample with a window: the window (twice), its move and its progress.
const PER_OPEN_SAMPLE: usize = 40 + 40 + 80 + 32;
/// Bytes per sample: its id, its request, its place in the queue, its part of the report, its progress and its data
/// variance.
const PER_SAMPLE: usize = 8 + 4 + 24 + 8 + 72 + 8;

/// Maximum number of terms per component of a node: three per link, the noise, and the two centres of a held
/// prediction per link.
fn most_terms(list: &Nodes) -> usize {
    let rows = (0..list.nodes().len()).flat_map(|j| (0..list.nodes()[j].width).map(move |to| (j, to)));
    rows.map(|(j, to)| 5 * list.links(j, to).len() + list.noise(j, to).len()).max().unwrap_or(0)
}
