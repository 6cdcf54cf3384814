//! Which samples take part in a round, and how far each one is.

use crate::backend::Backend;
use crate::engine::lanes::Lanes;
use crate::engine::ring::Ring;
use crate::engine::sizes::Sizes;
use crate::engine::span::Span;
use crate::error::{Result, reserved};
use crate::problem::Prepared;

/// The engine's bookkeeping for a sample.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Track {
    pub span: Span,
    /// Its list of nodes.
    pub list: usize,
    /// Whether the sample has a ring: from its first round until it is finished.
    pub open: bool,
    /// The first open block, for policies that have blocks.
    pub block: usize,
    /// Number of rounds in which the sample has taken part.
    pub rounds: u32,
}

/// All samples.
#[derive(Debug)]
pub(crate) struct Tracks {
    pub all: Vec<Track>,
    /// Samples that are not finished, those with the most nodes first: this order leaves the fewest rows idle at
    /// the end.
    waiting: Vec<u32>,
    lanes: Lanes,
    sizes: Sizes,
}

impl Tracks {
    pub fn new<B: Backend>(prepared: &Prepared<B>, sizes: &Sizes) -> Result<Self> {
        let slots = prepared.count();
        let ring = Ring { first: 0, capacity: 1 };
        let mut all = reserved("samples", slots)?;
        all.extend((0..slots).map(|slot| Track {
            span: Span { slot, ring, lo: 0, hi: 0 },
            list: prepared.list_of(slot),
            open: false,
            block: 0,
            rounds: 0,
        }));
        let mut lanes = Lanes::new(sizes.slots, sizes.top())?;
        lanes.reserve(sizes.slots)?;
        let mut tracks = Tracks { all, waiting: reserved("samples", slots)?, lanes, sizes: sizes.clone() };
        tracks.line_up(prepared);
        Ok(tracks)
    }

    /// Puts all samples back to their start.
    pub fn restart<B: Backend>(&mut self, prepared: &Prepared<B>) {
        for slot in 0..self.all.len() {
            self.close(slot);
            let track = &mut self.all[slot];
            (track.span.lo, track.span.hi, track.block, track.rounds) = (0, 0, 0, 0);
        }
        self.lanes.restart();
        self.line_up(prepared);
    }

    fn line_up<B: Backend>(&mut self, prepared: &Prepared<B>) {
        self.waiting.clear();
        self.waiting.extend(0..self.all.len() as u32);
        if prepared.lists().len() > 1 {
            let nodes = |slot: u32| prepared.list(slot as usize).nodes().len();
            self.waiting.sort_unstable_by_key(|slot| (std::cmp::Reverse(nodes(*slot)), *slot));
        }
    }

    /// Gives a sample a ring, if one is free.
    fn open(&mut self, slot: usize) -> bool {
        let list = self.all[slot].list;
        let Some(first) = self.lanes.take(self.sizes.orders[list]) else { return false };
        let ring = Ring { first: first * self.sizes.layout.unit, capacity: self.sizes.capacities[list] };
        let track = &mut self.all[slot];
        (track.span.ring, track.open) = (ring, true);
        true
    }

    /// Frees a sample's ring.
    pub fn close(&mut self, slot: usize) {
        let track = &mut self.all[slot];
        if std::mem::replace(&mut track.open, false) {
            let order = self.sizes.orders[track.list];
            self.lanes.give(track.span.ring.first / self.sizes.layout.unit, order);
        }
    }

    /// Chooses the windows of the next round: those of the first samples that fit in `rows`, where each needs
    /// `need(track)` rows. Windows that begin are also listed in `begun`.
    pub fn fill<B: Backend>(
        &mut self,
        prepared: &Prepared<B>,
        rows: usize,
        need: impl Fn(&Track) -> usize,
        (spans, begun): (&mut Vec<Span>, &mut Vec<Span>),
    ) {
        begun.clear();
        spans.clear();
        let all = &self.all;
        let done = |slot: u32| {
            let span = all[slot as usize].span;
            span.lo + 1 == prepared.list(span.slot).nodes().len()
        };
        self.waiting.retain(|slot| !done(*slot));
        // samples that have begun come first: those that may not wait have reserved their rows
        let mut taken = 0;
        for has_begun in [true, false] {
            for i in 0..self.waiting.len() {
                let slot = self.waiting[i] as usize;
                let track = &self.all[slot];
                let wanted = need(track);
                if track.open != has_begun || taken + wanted > rows {
                    continue;
                }
                if !has_begun {
                    if !self.open(slot) {
                        continue;
                    }
                    begun.push(self.all[slot].span);
                }
                taken += wanted;
                spans.push(self.all[slot].span);
            }
            if taken == rows {
                break;
            }
        }
        spans.sort_unstable_by_key(|s| s.ring.first);
        begun.sort_unstable_by_key(|s| s.ring.first);
    }
}
