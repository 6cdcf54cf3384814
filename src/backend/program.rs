//! Lists of linear combinations, written by samplers and run by backends.

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

/// `coef * row`; for a correction `coef * (row - minus)`; for a correction whose slope differs from element to
/// element `(coef * (v / (v + shift))) * (row - minus)`, where v is the element of [`Plane::Variances`].
#[derive(Clone, Copy, Debug)]
pub struct Term<E> {
    /// The coefficient.
    pub coef: E,
    /// The row it multiplies.
    pub row: RowRef,
    /// The row that is subtracted first.
    pub minus: Option<RowRef>,
    /// The shift of a correction whose slope differs from element to element; above 0.
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

/// One linear combination. The row becomes `b + c`, where `b` is the sum of the plain terms and `c` the sum of the
/// corrections, both accumulated from +0 in the order listed.
#[derive(Clone, Debug)]
pub struct Target {
    /// The row to overwrite: a `State` or `Memory` row of the segment's own slot.
    pub out: RowRef,
    /// A row of another plane that equals `out` before this target runs, if there is one. A backend that has
    /// already read that row need not read `out`.
    pub before: Option<RowRef>,
    /// Its terms in [`Program::terms`].
    pub terms: Range<usize>,
}

/// The targets of one sample's slot.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The slot. It owns rows `slot * rows_per_slot ..` of `State` and of `Memory`, up to those of the next
    /// segment's slot.
    pub slot: usize,
    /// Its targets in [`Program::targets`], run in order.
    pub targets: Range<usize>,
}

/// Linear combinations of rows, grouped by slot: one segment per slot, in ascending order of slots. A program is
/// built bottom-up: first the terms, then the target that they form, then the segment of the targets.
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
    /// Empties the program but keeps its memory.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.targets.clear();
        self.terms.clear();
    }

    /// Adds `coef * row` to the next target; does nothing if the coefficient is 0.
    pub fn term(&mut self, coef: f64, row: RowRef) {
        if coef != 0.0 {
            self.terms.push(Term { coef: E::of(coef), row, minus: None, shift: None });
        }
    }

    /// Adds `coef * (row - minus)` to the next target. Does nothing if the coefficient is 0 or overflows, since
    /// such a correction would not help.
    pub fn correction(&mut self, coef: E, row: RowRef, minus: RowRef, shift: Option<E>) {
        if coef.is_finite() && coef != E::zero() {
            self.terms.push(Term { coef, row, minus: Some(minus), shift });
        }
    }

    /// Ends a target: the terms since the previous target form `out`.
    pub fn target(&mut self, out: RowRef, before: Option<RowRef>) {
        let first = self.targets.last().map_or(0, |t| t.terms.end);
        self.targets.push(Target { out, before, terms: first..self.terms.len() });
    }

    /// Adds a target that copies `row` to `out`.
    pub fn copy(&mut self, row: RowRef, out: RowRef) {
        self.term(1.0, row);
        self.target(out, None);
    }

    /// Ends a segment: the targets since the previous segment belong to `slot`. Does nothing if there are none.
    pub fn segment(&mut self, slot: usize) {
        let first = self.segments.last().map_or(0, |s| s.targets.end);
        if self.targets.len() > first {
            self.segments.push(Segment { slot, targets: first..self.targets.len() });
        }
    }
}

/// How a target changed its row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Change {
    /// Sum of (new - old)^2 over the elements, in the canonical order.
    pub sum: f64,
    /// Whether the bits of any element changed.
    pub moved: bool,
    /// Whether every new element was finite; elements that were not have kept their old value.
    pub finite: bool,
}

/// A row of normals to generate. Devices read this struct directly, hence `repr(C)`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct NoiseRow {
    /// Row of the noise array.
    pub row: u32,
    /// Address of the normals.
    pub address: Address,
}
