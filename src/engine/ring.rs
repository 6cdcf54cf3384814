//! The memory layout: the one place that maps nodes, components, normals and sweeps to rows of arrays.

use crate::backend::{Plane, RowRef};
use std::ops::Range;

/// The places of a window. Its nodes use them cyclically, so the size of arrays depends on the window and not on
/// the number of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ring {
    /// The first place.
    pub first: usize,
    /// Number of places: enough for the nodes of the window and for as many before it as a node may look back.
    pub capacity: usize,
}

impl Ring {
    /// The place of a node.
    pub fn place(self, node: usize) -> usize {
        self.first + node % self.capacity
    }

    /// All places.
    pub fn places(self) -> Range<usize> {
        self.first..self.first + self.capacity
    }
}

/// What is kept of a sweep for Anderson acceleration: R or G.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Residual,
    State,
}

/// Numbers of rows per place, slot and evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Components of the widest node: state rows per place.
    pub components: usize,
    /// Noise rows per place.
    pub normals: usize,
    /// Components that the network sees.
    pub seen: usize,
    /// Rows of output per evaluation.
    pub heads: usize,
    /// How many nodes a node may look back.
    pub lookback: usize,
    /// Number of sweeps kept.
    pub history: usize,
    /// Whether each place has a row per component for a trial: what a node would be without corrections.
    pub trial: bool,
    /// Directions along which probes look.
    pub probes: usize,
    /// Places per slot: a ring takes one slot or several.
    pub unit: usize,
    /// Maximum number of evaluations in a round.
    pub evaluations: usize,
}

impl Layout {
    /// The slot in which a ring begins.
    pub fn slot(&self, ring: Ring) -> usize {
        ring.first / self.unit
    }

    /// Memory rows per slot for the points and outputs of the nodes before a window, and for a direction and its image
    /// per probe.
    fn fixed_rows(&self) -> usize {
        self.lookback_rows() + 2 * self.probes
    }

    fn lookback_rows(&self) -> usize {
        (self.lookback - 1) * (self.components + self.heads)
    }

    /// Memory rows per place: what is kept of past sweeps, then the trial. Both factors are small.
    fn kept_rows(&self) -> usize {
        (2 * self.history + usize::from(self.trial)) * self.components
    }

    /// State rows per slot.
    pub fn state_rows(&self) -> usize {
        self.unit * self.components
    }

    /// Memory rows per slot; `None` if they exceed the address space.
    pub fn memory_rows(&self) -> Option<usize> {
        let kept = self.unit.checked_mul(self.kept_rows())?;
        kept.checked_add(self.fixed_rows())
    }

    pub fn state(&self, ring: Ring, node: usize, component: usize) -> RowRef {
        row(Plane::State, ring.place(node) * self.components + component)
    }

    pub fn noise(&self, ring: Ring, node: usize, normal: usize) -> RowRef {
        row(Plane::Noise, ring.place(node) * self.normals + normal)
    }

    /// A component of the state at which the network was evaluated. The components that the network sees are in
    /// consecutive rows, as it receives them.
    pub fn point(&self, evaluation: u32, component: usize) -> RowRef {
        let evaluation = evaluation as usize;
        match component < self.seen {
            true => row(Plane::Point, evaluation * self.seen + component),
            false => row(Plane::Point, self.unseen(component) + evaluation),
        }
    }

    /// First row, in the points, of a component that the network does not see.
    pub fn unseen(&self, component: usize) -> usize {
        component * self.evaluations
    }

    pub fn output(&self, evaluation: u32, head: usize) -> RowRef {
        row(Plane::Output, evaluation as usize * self.heads + head)
    }

    /// The first memory row of a ring.
    fn memory_begin(&self, ring: Ring) -> usize {
        self.slot(ring) * (self.fixed_rows() + self.unit * self.kept_rows())
    }

    fn left(&self, ring: Ring, node: usize, column: usize) -> RowRef {
        let place = node % (self.lookback - 1) * (self.components + self.heads);
        row(Plane::Memory, self.memory_begin(ring) + place + column)
    }

    /// A component of the state at which the network was evaluated at a node that has left the window.
    pub fn left_point(&self, ring: Ring, node: usize, component: usize) -> RowRef {
        self.left(ring, node, component)
    }

    /// The network's output there.
    pub fn left_output(&self, ring: Ring, node: usize, head: usize) -> RowRef {
        self.left(ring, node, self.components + head)
    }

    /// A direction along which probes look.
    pub fn direction(&self, ring: Ring, m: usize) -> RowRef {
        row(Plane::Memory, self.memory_begin(ring) + self.lookback_rows() + m)
    }

    /// What they have seen there: the derivative of the data prediction.
    pub fn image(&self, ring: Ring, m: usize) -> RowRef {
        row(Plane::Memory, self.memory_begin(ring) + self.lookback_rows() + self.probes + m)
    }

    /// What sweep number `sweep` of the sample left at a node.
    pub fn history(&self, ring: Ring, node: usize, sweep: usize, what: Kept, component: usize) -> RowRef {
        let of_sweep = (sweep % self.history * self.components + component) * 2 + what as usize;
        self.kept(ring, node, of_sweep)
    }

    /// What a component of a node would be without corrections.
    pub fn trial(&self, ring: Ring, node: usize, component: usize) -> RowRef {
        self.kept(ring, node, self.history * 2 * self.components + component)
    }

    fn kept(&self, ring: Ring, node: usize, which: usize) -> RowRef {
        let place = node % ring.capacity * self.kept_rows();
        row(Plane::Memory, self.memory_begin(ring) + self.fixed_rows() + place + which)
    }
}

/// Fits in 32 bits: arrays have fewer than 2^32 rows, or they could not have been allocated.
fn row(plane: Plane, row: usize) -> RowRef {
    RowRef::new(plane, row as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Adjacent rings of one slot and of several: no two things that are alive at the same time share a row, and
    /// the rows of a ring lie in its slots.
    #[test]
    fn rows_are_apart_and_in_their_slots() {
        for (components, lookback, history, seen, heads) in
            [(1, 1, 0, 1, 1), (2, 3, 4, 1, 1), (3, 2, 2, 2, 4), (1, 41, 1, 1, 2)]
        {
            let (normals, unit, evaluations) = (2, 5 + lookback, 100);
            let trial = history % 2 == 0;
            let probes = lookback - 1;
            let layout =
                Layout { components, normals, seen, heads, lookback, history, trial, probes, unit, evaluations };
            let rings = [(0, 1), (1, 1), (2, 2), (4, 4), (8, 1)];
            let mut all = HashSet::new();
            for (slot, slots) in rings {
                let ring = Ring { first: slot * unit, capacity: slots * unit - usize::from(slots > 1) };
                // the nodes of a window and those before it
                let nodes = 1000..1000 + ring.capacity;
                let mut rows: Vec<RowRef> = Vec::new();
                for node in nodes.clone() {
                    rows.extend((0..components).map(|c| layout.state(ring, node, c)));
                    rows.extend((0..normals).map(|k| layout.noise(ring, node, k)));
                    rows.extend((0..components).filter(|_| trial).map(|c| layout.trial(ring, node, c)));
                    for sweep in 0..history {
                        for c in 0..components {
                            rows.push(layout.history(ring, node, 77 + sweep, Kept::State, c));
                            rows.push(layout.history(ring, node, 77 + sweep, Kept::Residual, c));
                        }
                    }
                }
                rows.extend((0..probes).flat_map(|m| [layout.direction(ring, m), layout.image(ring, m)]));
                for node in 1000 + 1 - lookback..1000 {
                    rows.extend((0..components).map(|c| layout.left_point(ring, node, c)));
                    rows.extend((0..heads).map(|h| layout.left_output(ring, node, h)));
                }
                for RowRef { plane, row } in rows {
                    let per_slot = match plane {
                        Plane::State => layout.state_rows(),
                        Plane::Memory => layout.memory_rows().unwrap(),
                        _ => unit * normals,
                    };
                    let inside = slot * per_slot..(slot + slots) * per_slot;
                    assert!(inside.contains(&(row as usize)), "{plane:?} {row} of slot {slot}");
                    assert!(all.insert((plane as usize, row)), "{plane:?} {row} twice");
                }
                assert_eq!(layout.slot(ring), slot);
                assert_eq!(nodes.map(|n| ring.place(n)).collect::<HashSet<_>>(), ring.places().collect());
            }
            let points = (0..evaluations as u32).flat_map(|r| (0..components.max(seen)).map(move |c| (r, c)));
            let points: HashSet<u32> = points.map(|(r, c)| layout.point(r, c).row).collect();
            assert_eq!(points.len(), evaluations * components.max(seen));
            assert!(points.iter().all(|row| (*row as usize) < evaluations * components.max(seen)));
        }
    }
}
