//! The arrays of a run, and how much room they take.

use super::Variances;
use crate::backend::{Backend, Planes, Real};
use crate::error::{Error, Result};
use crate::scheme::Discretisation;
use ndarray::{ArrayView1, Axis};

/// What a sampler needs room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// The most nodes of a sample's window.
    pub window: usize,
    /// Windows that are open at once.
    pub lanes: usize,
    /// The most nodes that a round evaluates.
    pub rows: usize,
    /// Whether the points and outputs of the round before are kept.
    pub earlier: bool,
    /// Sweeps whose states and residuals are kept.
    pub history: usize,
}

/// Rows of each array.
#[derive(Clone, Copy, Debug)]
struct RowCounts {
    state: usize,
    memory: usize,
    point: usize,
    output: usize,
    noise: usize,
}

impl Room {
    fn rows(self, list: &Discretisation) -> Option<RowCounts> {
        let n = list.components();
        let capacity = self.window.checked_add(list.lookback())?;
        let history = capacity.checked_mul(self.history)?.checked_mul(2 * n)?;
        let memory = history.checked_add(lookback_rows(list))?;
        let nodes = self.lanes.checked_mul(capacity)?;
        Some(RowCounts {
            state: nodes.checked_mul(n)?,
            memory: self.lanes.checked_mul(memory)?,
            point: self.rows.checked_mul(n)?,
            output: self.rows,
            noise: nodes.checked_mul(list.normals())?,
        })
    }

    /// Bytes of all arrays, of where `slots` samples start and of what they become, and of `more` rows.
    pub fn bytes<E>(self, list: &Discretisation, slots: usize, dim: usize, more: usize) -> Option<usize> {
        let RowCounts { state, memory, point, output, noise } = self.rows(list)?;
        let rounds = if self.earlier { 2 } else { 1 };
        let evaluated = point.checked_add(output)?.checked_mul(rounds)?;
        let ends = slots.checked_mul(2)?.checked_add(more)?;
        let rows = [memory, noise, evaluated, ends].iter().try_fold(state, |sum, r| sum.checked_add(*r))?;
        rows.checked_mul(dim)?.checked_mul(size_of::<E>())
    }
}

/// Rows for point and output of the nodes before a window.
pub(super) fn lookback_rows(list: &Discretisation) -> usize {
    (list.lookback() - 1) * (list.components() + 1)
}

/// The arrays. Nodes of a lane live in a ring of `capacity` rows, so memory depends on the window and not on the number of steps.
pub(super) struct Arrays<B: Backend> {
    pub state: B::Array,
    pub memory: B::Array,
    pub point: B::Array,
    pub output: B::Array,
    /// Point and output of the round before, without rows where no linearisation needs them.
    pub earlier_point: B::Array,
    pub earlier_output: B::Array,
    pub noise: B::Array,
    /// Relative variances of the elements, one row, or none.
    variances: B::Array,
    /// Rows of `output`.
    pub row_limit: usize,
    /// Rows of `state` and of `memory` that a lane owns.
    state_rows: usize,
    memory_rows: usize,
}

impl<B: Backend> Arrays<B> {
    pub fn new(backend: &B, list: &Discretisation, room: Room, dim: usize, given: Option<&Variances>) -> Result<Self> {
        let rows = room.rows(list).ok_or_else(|| Error::TooLarge {
            what: "the window",
            why: format!("{} nodes of {} samples do not fit the address space", room.window, room.lanes),
        })?;
        let earlier = |rows: usize| if room.earlier { rows } else { 0 };
        let (zero, nan) = (<B::Elem as Real>::of(0.0), <B::Elem as Real>::of(f64::NAN));
        let mut variances = backend.alloc("variances", usize::from(given.is_some()), dim, zero)?;
        if let Some(row) = given.map(Variances::relative) {
            backend.upload(ArrayView1::from(&row).insert_axis(Axis(0)), &mut variances, 0)?;
        }
        Ok(Arrays {
            state: backend.alloc("states", rows.state, dim, zero)?,
            memory: backend.alloc("lookback", rows.memory, dim, zero)?,
            point: backend.alloc("evaluation points", rows.point, dim, zero)?,
            // NaN shows rows that a score forgets to write
            output: backend.alloc("network outputs", rows.output, dim, nan)?,
            earlier_point: backend.alloc("earlier evaluation points", earlier(rows.point), dim, zero)?,
            earlier_output: backend.alloc("earlier network outputs", earlier(rows.output), dim, nan)?,
            noise: backend.alloc("noise", rows.noise, dim, zero)?,
            variances,
            row_limit: rows.output,
            state_rows: (room.window + list.lookback()) * list.components(),
            memory_rows: rows.memory / room.lanes.max(1),
        })
    }

    /// Rows of `memory` that a lane owns: the lookback's, then the history.
    pub fn memory_rows(&self) -> usize {
        self.memory_rows
    }

    /// What was evaluated becomes the round before.
    pub fn turn(&mut self) {
        std::mem::swap(&mut self.point, &mut self.earlier_point);
        std::mem::swap(&mut self.output, &mut self.earlier_output);
    }

    pub fn planes(&mut self) -> Planes<'_, B> {
        Planes {
            state: &mut self.state,
            memory: &mut self.memory,
            point: &self.point,
            output: &self.output,
            earlier_point: &self.earlier_point,
            earlier_output: &self.earlier_output,
            noise: &self.noise,
            variances: &self.variances,
            state_rows: self.state_rows,
            memory_rows: self.memory_rows,
        }
    }
}
