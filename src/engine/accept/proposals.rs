//! Which guesses may be verified.

use crate::backend::{Change, Plane, Program};
use crate::engine::ring::Ring;
use crate::engine::sizes::Sizes;
use crate::error::{Result, filled};

/// Per place, whether the guess is a proposal: every element is the recurrence's own, mhat + C xi with a mean that
/// does not depend on xi. A copied guess is none, nor one that kept elements because new ones had overflowed.
#[derive(Debug)]
pub(crate) struct Proposals {
    /// Empty if nothing is verified.
    places: Vec<bool>,
}

impl Proposals {
    pub fn new(sizes: &Sizes) -> Result<Self> {
        let places = if sizes.verified { sizes.places() } else { 0 };
        Ok(Proposals { places: filled("proposals", places, false)? })
    }

    /// Whether a node's guess may be verified.
    pub fn is(&self, ring: Ring, node: usize) -> bool {
        self.places[ring.place(node)]
    }

    /// Records that a node's guess is made by the recurrence, or copied.
    pub fn set(&mut self, ring: Ring, node: usize, made: bool) {
        if !self.places.is_empty() {
            self.places[ring.place(node)] = made;
        }
    }

    /// Takes back what a program has made of numbers that are not finite.
    pub fn check<E>(&mut self, program: &Program<E>, changes: &[Change], components: usize) {
        if self.places.is_empty() {
            return;
        }
        for (target, change) in program.targets.iter().zip(changes) {
            if target.out.plane == Plane::State && !change.finite {
                self.places[target.out.row as usize / components] = false;
            }
        }
    }
}
