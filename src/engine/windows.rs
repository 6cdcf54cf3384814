//! Where windows end, and how many rows they need.

use crate::backend::Backend;
use crate::engine::accept::acceptance::Acceptance;
use crate::engine::accept::coupling;
use crate::engine::settings::{Picard, Policy};
use crate::engine::sizes::Sizes;
use crate::engine::tracks::Track;
use crate::error::Result;
use crate::nodes::Extent;
use crate::problem::Prepared;

/// The windows that a sampler's settings give on the lists of a problem.
#[derive(Debug)]
pub(crate) struct Windows {
    /// One per list.
    pub extents: Vec<Extent>,
    /// The most rows of a window, one per list.
    pub most_rows: Vec<usize>,
    /// Nodes where blocks begin and end, for policies that have blocks.
    pub boundaries: Vec<usize>,
    /// Per node, where its block begins, if changes are not passed on into blocks.
    pub barriers: Vec<usize>,
    /// Maximum number of open blocks, for policies that have blocks.
    open: Option<usize>,
    /// Number of steps that are taken one at a time before windows open.
    warm_up: usize,
    /// Rows for the probes of a sample.
    probes: usize,
    /// Per list, the rows that a sample at each node reserves; empty if it may wait.
    kept: Vec<Vec<usize>>,
}

/// The array sizes of a sampler on a prepared problem, where windows end on its lists, and the most rows of a window
/// per list.
pub(crate) fn sizes<B: Backend>(settings: &Picard, prepared: &Prepared<B>) -> Result<(Sizes, Vec<Extent>, Vec<usize>)> {
    settings.check(prepared.prediction())?;
    settings.check_lists(prepared)?;
    if settings.acceptance == Acceptance::Law {
        coupling::check(prepared.lists().iter().map(|list| &**list))?;
    }
    let extents = |window| prepared.lists().iter().map(|list| Extent::new(window, list)).collect::<Result<Vec<_>>>();
    let open = settings.policy.blocks();
    let longest = |extent: &Extent| Ok(extent.most_nodes(open)?.first().copied().unwrap_or(1));
    let longest = |extents: &[Extent]| extents.iter().map(longest).collect::<Result<Vec<usize>>>();
    let window = settings.window.of_grain(prepared.grain())?;
    let (rows, extents) = (longest(&extents(window)?)?, extents(settings.reaching(window))?);
    let room = settings.room(prepared, &rows)?;
    Ok((Sizes::new(prepared, &longest(&extents)?, room)?, extents, rows))
}

impl Windows {
    /// `measured` says whether slopes are measured between consecutive rounds. If so, samples may not wait: the
    /// result of a sample would then depend on the other samples.
    pub fn new(
        settings: &Picard,
        extents: Vec<Extent>,
        most_rows: Vec<usize>,
        (measured, probes): (bool, usize),
    ) -> Result<Self> {
        let open = settings.policy.blocks();
        let boundaries = if open.is_some() { extents[0].boundaries() } else { Vec::new() };
        let mut barriers = Vec::new();
        if let Policy::Wavefront { .. } = settings.policy {
            barriers.push(0);
            barriers.extend(boundaries.windows(2).flat_map(|block| (block[0]..block[1]).map(move |_| block[0])));
        }
        let kept = |extent: &Extent| if measured { extent.most_nodes(open) } else { Ok(Vec::new()) };
        let mut kept = extents.iter().map(kept).collect::<Result<Vec<_>>>()?;
        for (kept, most) in kept.iter_mut().zip(&most_rows) {
            kept.iter_mut().for_each(|rows| *rows = (*rows).min(*most));
        }
        Ok(Windows { extents, most_rows, boundaries, barriers, open, warm_up: settings.warm_up, probes, kept })
    }

    /// Number of rows that a sample needs in a round.
    pub fn rows(&self, track: &Track) -> usize {
        let open = if track.open { track.span.guesses() } else { self.extents[track.list].end(0) };
        let open = open.min(self.most_rows[track.list]);
        let at = if self.open.is_some() { self.boundaries[track.block] } else { track.span.lo };
        self.probes + self.kept[track.list].get(at).map_or(open, |kept| open.max(*kept))
    }

    /// Closes the blocks that end at `lo` or before, and records how often each was swept.
    pub fn end_blocks(&self, block: &mut usize, lo: usize, swept: impl Fn(usize) -> usize, sweeps: &mut Vec<usize>) {
        while let Some(&end) = self.boundaries.get(*block + 1).filter(|end| **end <= lo) {
            if sweeps.len() <= *block {
                sweeps.resize(*block + 1, 0);
            }
            sweeps[*block] = sweeps[*block].max(swept(end));
            *block += 1;
        }
    }

    /// The last node of a window that ended at `hi` once its start has moved to `lo`.
    pub fn end(&self, track: &Track, hi: usize, lo: usize) -> usize {
        let Some(open) = self.open else {
            let extent = &self.extents[track.list];
            let (finished, next) = extent.step(lo);
            let end = extent.end(lo);
            return if finished < self.warm_up { end.min(next) } else { end }.max(hi);
        };
        // open one more block if the maximum allows
        let ends = self.boundaries.iter().skip(track.block + 1).take(open);
        ends.copied().find(|end| *end > hi).unwrap_or(hi)
    }
}
