//! Programs and vectors as the kernels read them: rows become addresses.

use super::device::Device;
use super::staging::Word;
use super::{DeviceArray, DeviceElem};
use crate::backend::{Cuda, NoiseRow, Plane, Planes, Program, Real, RowRef, Vector};
use crate::error::{Error, Result};

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct TermWord<T> {
    row: u64,
    /// 0 where nothing is subtracted.
    minus: u64,
    coef: T,
    /// 0 where the coefficient is that of all elements.
    shift: T,
    dependent: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct TargetWord {
    out: u64,
    /// 0 where no other row holds the old value.
    before: u64,
    first: u32,
    end: u32,
    dependent: u32,
    unused: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct SegmentWord {
    first: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct VectorWord {
    row: u64,
    minus: u64,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct PairWord {
    a: u32,
    b: u32,
}

#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct ChangeWord {
    pub sum: f64,
    pub moved: u32,
    pub finite: u32,
}

// SAFETY: numbers in C's layout. Bytes that pad a term are copied as they are and read by nobody.
unsafe impl<T: Word> Word for TermWord<T> {}
// SAFETY: numbers in C's layout.
unsafe impl Word for TargetWord {}
// SAFETY: as above.
unsafe impl Word for SegmentWord {}
// SAFETY: as above.
unsafe impl Word for VectorWord {}
// SAFETY: as above.
unsafe impl Word for PairWord {}
// SAFETY: as above.
unsafe impl Word for NoiseRow {}
// SAFETY: as above.
unsafe impl Word for ChangeWord {}

/// Where the planes lie and how many rows they have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub planes: [(u64, usize); Plane::ALL.len()],
    pub bytes_of_row: u64,
}

impl Addresses {
    /// The address of a row; `None` if the plane has no such row.
    fn of(&self, r: RowRef) -> Option<u64> {
        let (start, rows) = self.planes[r.plane as usize];
        let row = r.row as usize;
        (row < rows).then(|| start + row as u64 * self.bytes_of_row)
    }
}

/// Where the planes of a sweep lie.
pub(crate) fn addresses<T: DeviceElem>(device: &Device, planes: &Planes<Cuda<T>>) -> Result<Addresses> {
    let dim = planes[Plane::State].dim;
    // rows of another length are none that a program can name
    let of = |a: &DeviceArray<T>| Ok::<_, Error>((a.address(device)?, if a.dim == dim { a.rows } else { 0 }));
    let mut all = [(0, 0); Plane::ALL.len()];
    for (at, plane) in all.iter_mut().zip(Plane::ALL) {
        *at = of(&planes[plane])?;
    }
    Ok(Addresses { planes: all, bytes_of_row: (dim * size_of::<T>()) as u64 })
}

/// The words of a program, kept from round to round.
#[derive(Debug)]
pub(crate) struct Words<T> {
    pub terms: Vec<TermWord<T>>,
    pub targets: Vec<TargetWord>,
    pub segments: Vec<SegmentWord>,
    /// Whether a term has a shift.
    pub shifts: bool,
    /// Of every state and memory row, the number of the segment that wrote it last.
    written: [Vec<u64>; 2],
    segment: u64,
}

impl<T> Default for Words<T> {
    fn default() -> Self {
        let (terms, targets, segments) = (Vec::new(), Vec::new(), Vec::new());
        Words { terms, targets, segments, shifts: false, written: [vec![], vec![]], segment: 0 }
    }
}

impl<T: Real> Words<T> {
    /// Encodes a program; `None` if it names a row that is not there.
    pub fn encode(&mut self, program: &Program<T>, addresses: &Addresses) -> Option<()> {
        self.terms.clear();
        self.targets.clear();
        self.segments.clear();
        self.shifts = false;
        for (written, (_, rows)) in self.written.iter_mut().zip(addresses.planes) {
            written.resize(rows, 0);
        }
        for segment in &program.segments {
            self.segment += 1;
            let first = self.targets.len() as u32;
            let mut before = None;
            for target in program.targets.get(segment.targets.clone())? {
                let first = self.terms.len() as u32;
                for term in program.terms.get(target.terms.clone())? {
                    // what the target before has in its registers is not read ahead
                    let depends = |r: RowRef| self.is_written(r) || Some(r) == before;
                    let dependent = depends(term.row) || term.minus.is_some_and(depends);
                    let shift = term.shift.filter(|_| term.minus.is_some());
                    self.shifts |= shift.is_some();
                    self.terms.push(TermWord {
                        row: addresses.of(term.row)?,
                        minus: term.minus.map_or(Some(0), |m| addresses.of(m))?,
                        coef: term.coef,
                        shift: shift.unwrap_or(T::zero()),
                        dependent: u32::from(dependent),
                    });
                }
                before = target.before;
                self.targets.push(TargetWord {
                    out: addresses.of(target.out)?,
                    before: target.before.map_or(Some(0), |b| addresses.of(b))?,
                    first,
                    end: self.terms.len() as u32,
                    dependent: u32::from(self.is_written(target.out)),
                    unused: 0,
                });
                *self.written.get_mut(target.out.plane as usize)?.get_mut(target.out.row as usize)? = self.segment;
            }
            self.segments.push(SegmentWord { first, end: self.targets.len() as u32 });
        }
        Some(())
    }

    fn is_written(&self, r: RowRef) -> bool {
        self.written.get(r.plane as usize).and_then(|w| w.get(r.row as usize)) == Some(&self.segment)
    }
}

/// Encodes vectors; `None` if one names a row that is not there.
pub(crate) fn encode_vectors(vectors: &[Vector], addresses: &Addresses, words: &mut Vec<VectorWord>) -> Option<()> {
    words.clear();
    for v in vectors {
        words.push(VectorWord { row: addresses.of(v.row)?, minus: v.minus.map_or(Some(0), |m| addresses.of(m))? });
    }
    Some(())
}

/// Encodes pairs of vectors of a group.
pub(crate) fn encode_pairs(pairs: &[(usize, usize)], words: &mut Vec<PairWord>) {
    words.clear();
    words.extend(pairs.iter().map(|&(a, b)| PairWord { a: a as u32, b: b as u32 }));
}
