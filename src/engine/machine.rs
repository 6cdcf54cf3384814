//! The arrays of a run, and the programs that run on them.

use crate::backend::{Backend, Change, Plane, Planes, Program, Real, Vector};
use crate::engine::ring::Layout;
use crate::engine::sizes::{RowCounts, Sizes};
use crate::error::{Error, Result};
use crate::problem::{Prepared, Variances};
use ndarray::{ArrayView1, Axis};

/// Arrays, the program under construction, and the changes that the last program made.
#[derive(Debug)]
pub(crate) struct Machine<B: Backend> {
    backend: B,
    /// Elements of a row.
    pub dim: usize,
    pub layout: Layout,
    pub planes: Planes<B>,
    pub program: Program<B::Elem>,
    /// One change per target of the last program.
    pub changes: Vec<Change>,
    scratch: B::Scratch,
    /// The most targets and terms of a program, for which there is memory.
    most: [usize; 2],
}

impl<B: Backend> Machine<B> {
    pub fn new(prepared: &Prepared<B>, sizes: &Sizes) -> Result<Self> {
        let (backend, dim) = (prepared.backend(), prepared.dim());
        let rows = sizes.rows().ok_or_else(|| Error::TooLarge {
            what: "the window",
            why: format!("{} places for {} samples do not fit the address space", sizes.layout.unit, sizes.slots),
        })?;
        let (zero, nan) = (<B::Elem as Real>::of(0.0), <B::Elem as Real>::of(f64::NAN));
        let given = prepared.variances();
        let mut variances = backend.alloc("variances", usize::from(given.is_some()), dim, zero)?;
        if let Some(row) = given.map(Variances::relative) {
            backend.upload(ArrayView1::from(&row).insert_axis(Axis(0)), &mut variances, 0)?;
        }
        let RowCounts { state, memory, point, output, noise, earlier } = rows;
        let (earlier_point, earlier_output) = if earlier { (point, output) } else { (0, 0) };
        let arrays = [
            backend.alloc("states", state, dim, zero)?,
            backend.alloc("lookback", memory, dim, zero)?,
            backend.alloc("evaluation points", point, dim, zero)?,
            // NaN exposes rows that a score forgets to write
            backend.alloc("network outputs", output, dim, nan)?,
            backend.alloc("noise", noise, dim, zero)?,
            backend.alloc("earlier evaluation points", earlier_point, dim, zero)?,
            backend.alloc("earlier network outputs", earlier_output, dim, nan)?,
            variances,
        ];
        let layout = sizes.layout;
        let memory_rows = layout.memory_rows().unwrap_or(0);
        let mut machine = Machine {
            backend: backend.clone(),
            dim,
            layout,
            planes: Planes::new(arrays, layout.state_rows(), memory_rows),
            program: Program::default(),
            changes: Vec::new(),
            scratch: B::Scratch::default(),
            most: [sizes.targets(), sizes.targets().saturating_mul(sizes.terms_per_target)],
        };
        machine.reserve(sizes)?;
        Ok(machine)
    }

    /// Reserves memory for later programs, so that rounds do not allocate.
    fn reserve(&mut self, sizes: &Sizes) -> Result<()> {
        let what = "sweeps";
        let [targets, terms] = self.most;
        crate::error::reserve(what, &mut self.program.segments, targets.min(sizes.open()))?;
        crate::error::reserve(what, &mut self.program.targets, targets)?;
        crate::error::reserve(what, &mut self.program.terms, terms)?;
        crate::error::reserve(what, &mut self.changes, targets)?;
        self.backend.reserve(&mut self.scratch, targets, sizes.products(), self.dim)
    }

    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Runs the current program.
    pub fn run(&mut self) -> Result<()> {
        let Machine { backend, planes, program, changes, scratch, most, .. } = self;
        let size = [program.targets.len(), program.terms.len()];
        debug_assert!(size[0] <= most[0] && size[1] <= most[1], "a program of {size:?}, memory for {most:?}");
        backend.run(program, planes, scratch, changes)
    }

    /// Inner products of every group of `width` vectors.
    pub fn products(
        &mut self,
        vectors: &[Vector],
        width: usize,
        pairs: &[(usize, usize)],
        products: &mut Vec<f64>,
    ) -> Result<()> {
        self.backend.products(vectors, width, pairs, &self.planes, &mut self.scratch, products)
    }

    /// Copies rows of a plane to the points, packed from row `first` on.
    pub fn gather(&mut self, from: Plane, rows: &[u32], first: usize) -> Result<()> {
        let (rows_of, points) = self.planes.pair(from, Plane::Point);
        self.backend.gather(rows_of, rows, points, first)
    }
}
