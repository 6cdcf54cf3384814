//! Buffers for the windows of a round.

use crate::engine::accept::coupling::Decision;
use crate::engine::accept::judge::Progress;
use crate::engine::iteration::anderson::Swept;
use crate::engine::sizes::Sizes;
use crate::engine::span::{Move, Span};
use crate::error::{Result, filled, reserved};

/// Data that every round rewrites.
#[derive(Debug)]
pub(crate) struct OfRound {
    pub spans: Vec<Span>,
    pub begun: Vec<Span>,
    pub progress: Vec<Progress>,
    /// What verification leaves to be swept; all of each window where nothing is verified.
    pub decisions: Vec<Decision>,
    pub moves: Vec<Move>,
    pub finished: Vec<usize>,
    /// Windows to accelerate; `counts` says how often their nodes have been swept.
    pub swept: Vec<Swept>,
    pub counts: Vec<usize>,
}

impl OfRound {
    pub fn new(sizes: &Sizes, samples: usize) -> Result<Self> {
        let (what, open) = ("the windows of a round", sizes.open());
        let accelerated = if sizes.layout.history > 0 { open } else { 0 };
        let counts = if sizes.layout.history > 0 { sizes.targets() } else { 0 };
        Ok(OfRound {
            spans: reserved(what, open)?,
            begun: reserved(what, open)?,
            progress: filled(what, open, Progress::default())?,
            decisions: filled(what, open, Decision::default())?,
            moves: reserved(what, open)?,
            finished: filled(what, samples, 0)?,
            swept: reserved(what, accelerated)?,
            counts: reserved(what, counts)?,
        })
    }
}
