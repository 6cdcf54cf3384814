//! Lists of linear combinations, as samplers write and backends run them.

use crate::backend::{Plane, Real};
use crate::noise::Address;
use std::ops::Range;

/// A row of a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRef {
    /// The array.
    pub plane: Plane,
    /// Its row.
    pub row: u32,
}

impl RowRef {
    /// The row of a plane.
    pub const fn new(plane: Plane, row: u32) -> Self {
        RowRef { plane, row }
    }
}

/// `coef * row`, or `coef * (row - minus)` for a correction, or `(coef * (v / (v + shift))) * (row - minus)` for one whose slope differs
/// from element to element, v being those of [`Plane::Variances`].
#[derive(Clone, Copy, Debug)]
pub struct Term<E> {
    /// The coefficient.
    pub coef: E,
    /// The row it multiplies.
    pub row: RowRef,
    /// The row that is subtracted first.
    pub minus: Option<RowRef>,
    /// Of a correction, above 0.
    pub shift: Option<E>,
}

/// `row`, or `row - minus`: an operand of an inner product.
#[derive(Clone, Copy, Debug)]
pub struct Vector {
    /// The row.
    pub row: RowRef,
    /// The row that is subtracted.
    pub minus: Option<RowRef>,
}

/// One linear combination. With `b` the sum of its plain terms and `c` the sum of its corrections, both from +0 in the order
/// listed, the row becomes `b + c`.
#[derive(Clone, Debug)]
pub struct Target {
    /// Row that is overwritten: a `State` or `Memory` row of the segment's own slot.
    pub out: RowRef,
    /// A row of another plane that holds what `out` holds before, if there is one: a backend that has read one need not read the other.
    pub before: Option<RowRef>,
    /// Its terms in [`Program::terms`].
    pub terms: Range<usize>,
}

/// The targets of one sample's slot.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The slot: it owns rows `slot * rows_per_slot ..` of `State` and of `Memory`, up to those of the next segment's slot.
    pub slot: usize,
    /// Its targets in [`Program::targets`], run in order.
    pub targets: Range<usize>,
}

/// Linear combinations of rows, grouped by slot. Segments are sorted by slot, one per slot. It is written from its end: terms, then the target
/// that they make, then the segment of the targets.
#[derive(Clone, Debug)]
pub struct Program<E> {
    /// Segments in ascending order of slots.
    pub segments: Vec<Segment>,
    /// All targets, segment after segment.
    pub targets: Vec<Target>,
    /// All terms, target after target.
    pub terms: Vec<Term<E>>,
}

impl<E> Default for Program<E> {
    fn default() -> Self {
        Program { segments: Vec::new(), targets: Vec::new(), terms: Vec::new() }
    }
}

impl<E: Real> Program<E> {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.targets.clear();
        self.terms.clear();
    }

    /// `coef * row` for the next target; nothing if the coefficient is 0.
    pub fn term(&mut self, coef: f64, row: RowRef) {
        if coef != 0.0 {
            self.terms.push(Term { coef: E::of(coef), row, minus: None, shift: None });
        }
    }

    /// `coef * (row - minus)` for the next target; nothing if the coefficient is 0 or beyond the number format, where it would be of no help.
    pub fn correction(&mut self, coef: E, row: RowRef, minus: RowRef, shift: Option<E>) {
        if coef.is_finite() && coef != E::zero() {
            self.terms.push(Term { coef, row, minus: Some(minus), shift });
        }
    }

    /// The terms since the target before make `out`.
    pub fn target(&mut self, out: RowRef, before: Option<RowRef>) {
        let first = self.targets.last().map_or(0, |t| t.terms.end);
        self.targets.push(Target { out, before, terms: first..self.terms.len() });
    }

    /// `out` becomes `row`.
    pub fn copy(&mut self, row: RowRef, out: RowRef) {
        self.term(1.0, row);
        self.target(out, None);
    }

    /// The targets since the segment before are those of `slot`; nothing if there are none.
    pub fn segment(&mut self, slot: usize) {
        let first = self.segments.last().map_or(0, |s| s.targets.end);
        if self.targets.len() > first {
            self.segments.push(Segment { slot, targets: first..self.targets.len() });
        }
    }
}

/// What a target's row did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Change {
    /// Sum over elements of (new - old)^2 in the canonical order.
    pub sum: f64,
    /// Whether any element's bits changed.
    pub moved: bool,
    /// Whether every new element was finite; elements that were not kept their old value.
    pub finite: bool,
}

/// A row of normals to be made. Devices read it as it lies in memory.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct NoiseRow {
    /// Row of the noise array.
    pub row: u32,
    /// Address of the normals.
    pub address: Address,
}
