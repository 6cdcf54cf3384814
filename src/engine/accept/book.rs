//! What sweeps have done to the nodes of all windows.

use crate::backend::Change;
use crate::engine::ring::Ring;
use crate::engine::sizes::Sizes;
use crate::error::{Result, filled};

/// What the last sweep did to a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swept {
    /// Root mean square of the change over the node's elements.
    pub rms: f64,
    /// The same for the sweep before, if there was one.
    pub earlier: Option<f64>,
    /// Whether any element's bits changed.
    pub moved: bool,
    /// Whether every new element was finite.
    pub finite: bool,
}

const MOVED: u8 = 1;
const FINITE: u8 = 2;

/// The last two changes of every node and the round in which it entered, indexed by place.
#[derive(Debug)]
pub(crate) struct Book {
    /// Counted in rounds of the node's sample.
    entered: Vec<u32>,
    now: Vec<f64>,
    earlier: Vec<f64>,
    flags: Vec<u8>,
}

impl Book {
    pub fn new(sizes: &Sizes) -> Result<Self> {
        let (what, places) = ("changes", sizes.places());
        Ok(Book {
            entered: filled(what, places, 0)?,
            now: filled(what, places, f64::NAN)?,
            earlier: filled(what, places, f64::NAN)?,
            flags: filled(what, places, 0)?,
        })
    }

    /// Records that a node enters in this round of its sample.
    pub fn enter(&mut self, ring: Ring, node: usize, round: u32) {
        let place = ring.place(node);
        (self.entered[place], self.now[place]) = (round, f64::NAN);
    }

    /// The round in which a node entered.
    pub fn entered(&self, ring: Ring, node: usize) -> u32 {
        self.entered[ring.place(node)]
    }

    /// Records a sweep of a node with this many elements.
    pub fn note(&mut self, ring: Ring, node: usize, change: Change, elements: usize) {
        let place = ring.place(node);
        self.earlier[place] = self.now[place];
        self.now[place] = (change.sum / elements as f64).sqrt();
        self.flags[place] = if change.moved { MOVED } else { 0 } | if change.finite { FINITE } else { 0 };
    }

    /// The last sweep of a node.
    pub fn swept(&self, ring: Ring, node: usize) -> Swept {
        let place = ring.place(node);
        let flags = self.flags[place];
        Swept {
            rms: self.now[place],
            earlier: Some(self.earlier[place]).filter(|c| !c.is_nan()),
            moved: flags & MOVED != 0,
            finite: flags & FINITE != 0,
        }
    }
}
