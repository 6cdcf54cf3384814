//! The arrays of a run.

use crate::backend::Backend;
use std::ops::{Index, IndexMut};

/// Which array a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Current guesses of all nodes of the windows.
    State,
    /// Points and outputs of the last nodes that left each window (for schemes with lookback), then the history of
    /// past sweeps.
    Memory,
    /// The states at which the score was evaluated in this round, packed.
    Point,
    /// The score's outputs, packed like `Point`.
    Output,
    /// The frozen normals of the nodes of the windows.
    Noise,
    /// `Point` of the previous round.
    EarlierPoint,
    /// `Output` of the previous round.
    EarlierOutput,
    /// Relative variances of the elements: one row, or none if no term has a shift.
    Variances,
}

impl Plane {
    /// All planes in the order of their numbers.
    pub const ALL: [Plane; 8] = [
        Plane::State,
        Plane::Memory,
        Plane::Point,
        Plane::Output,
        Plane::Noise,
        Plane::EarlierPoint,
        Plane::EarlierOutput,
        Plane::Variances,
    ];
}

/// The arrays that programs read. Programs write `State` and `Memory` only.
#[derive(Debug)]
pub struct Planes<B: Backend> {
    pub(super) arrays: [B::Array; Plane::ALL.len()],
    /// State rows per slot.
    pub state_rows: usize,
    /// Memory rows per slot.
    pub memory_rows: usize,
}

impl<B: Backend> Planes<B> {
    /// Arrays in the order of [`Plane::ALL`], with this many state and memory rows per slot.
    pub fn new(arrays: [B::Array; Plane::ALL.len()], state_rows: usize, memory_rows: usize) -> Self {
        Planes { arrays, state_rows, memory_rows }
    }

    /// Makes the points and outputs of this round those of the previous round.
    pub fn turn(&mut self) {
        self.arrays.swap(Plane::Point as usize, Plane::EarlierPoint as usize);
        self.arrays.swap(Plane::Output as usize, Plane::EarlierOutput as usize);
    }

    /// Borrows one array for reading and another for writing.
    pub fn pair(&mut self, from: Plane, to: Plane) -> (&B::Array, &mut B::Array) {
        let (from, to) = (from as usize, to as usize);
        assert_ne!(from, to, "a plane is read while it is written");
        let (low, high) = self.arrays.split_at_mut(from.max(to));
        if from < to { (&low[from], &mut high[0]) } else { (&high[0], &mut low[to]) }
    }
}

impl<B: Backend> Index<Plane> for Planes<B> {
    type Output = B::Array;
    fn index(&self, plane: Plane) -> &B::Array {
        &self.arrays[plane as usize]
    }
}

impl<B: Backend> IndexMut<Plane> for Planes<B> {
    fn index_mut(&mut self, plane: Plane) -> &mut B::Array {
        &mut self.arrays[plane as usize]
    }
}
