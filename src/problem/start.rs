//! Who the samples are and where they start.

use crate::backend::Real;
use crate::error::{Error, Result};
use crate::nodes::Nodes;
use crate::noise::{Address, NoiseKey, stream};
use crate::problem::request::{Request, Source};
use ndarray::{ArcArray2, ArrayViewMut2, Axis};
use std::sync::Arc;

/// The most samples a batch may have.
pub(super) const MAX_SAMPLES: usize = 1 << 24;

/// Sample ids: 0, 1, ... or those that were given.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    /// How many, where that was said.
    pub count: Option<usize>,
    pub given: Option<Arc<[u32]>>,
    /// How many states there are to start from.
    pub starts: Option<usize>,
}

impl Ids {
    /// One where nothing was said.
    pub fn len(&self) -> usize {
        match &self.given {
            Some(ids) => ids.len(),
            None => self.count.or(self.starts).unwrap_or(1),
        }
    }

    /// How many there are to be, whatever ids were given.
    pub fn samples(&self) -> usize {
        self.count.unwrap_or(self.len())
    }

    /// The id of a place, of batches that are not too large.
    pub fn id(&self, place: usize) -> u32 {
        match &self.given {
            None => place as u32,
            Some(ids) => ids[place],
        }
    }

    pub fn check(&self) -> Result<()> {
        match self.count.filter(|count| *count != self.len()) {
            None => Ok(()),
            Some(count) => {
                let with = format!("another number of samples: {} ids, {count} samples", self.len());
                Err(Error::unsupported("Problem::ids", with, "give one id per sample, or leave out samples(..)"))
            }
        }
    }
}

/// Where the trajectories start.
#[derive(Clone, Debug)]
pub(super) enum Start<E> {
    /// At the grid's first point, from `std` times normals.
    Prior,
    /// At grid point `step`, from these states.
    State { step: usize, x: ArcArray2<E> },
    /// At grid point `step`, from alpha x_0 + sigma normals.
    Data { step: usize, x0: ArcArray2<E> },
}

impl<E> Start<E> {
    /// The grid point.
    pub fn step(&self) -> usize {
        match self {
            Start::Prior => 0,
            Start::State { step, .. } | Start::Data { step, .. } => *step,
        }
    }
}

impl<E: Real> Request<E> {
    /// Shape and numbers of what was given.
    pub(super) fn check_start(&self, dim: usize) -> Result<()> {
        if let Start::State { x, .. } | Start::Data { x0: x, .. } = &self.start {
            let what = "the initial state";
            if x.dim() != (self.ids.len(), dim) {
                return Err(Error::Shape { what, found: x.shape().to_vec(), expected: vec![self.ids.len(), dim] });
            }
            if let Some(bad) = x.iter().find(|v| !num_traits::Float::is_finite(**v)) {
                return Err(Error::setting(what, bad, "finite numbers"));
            }
        }
        Ok(())
    }

    /// Writes the states at the start, row by row.
    pub(super) fn fill_start(&self, list: &Nodes, mut x: ArrayViewMut2<'_, E>) {
        if let Start::State { x: given, .. } = &self.start {
            return x.assign(given);
        }
        for (place, mut row) in x.axis_iter_mut(Axis(0)).enumerate() {
            if let Some(row) = row.as_slice_mut() {
                normals(self.key, stream::INITIAL, 0, self.ids.id(place), row);
            }
        }
        let level = list.nodes()[0].level;
        if let Start::Data { x0, .. } = &self.start {
            let (alpha, sigma) = (E::of(level.alpha), E::of(level.sigma));
            return x.zip_mut_with(x0, |x, &x0| *x = alpha * x0 + sigma * *x);
        }
        let prior = E::of(match &self.source {
            Source::Scheme { schedule, .. } => schedule.prior_std(level.t),
            Source::List(_) => 1.0,
        });
        x.mapv_inplace(|x| prior * x);
    }
}

/// Normals for one row of the batch at a given place.
pub(super) fn normals<E: Real>(key: NoiseKey, stream: u32, step: u32, sample: u32, out: &mut [E]) {
    E::fill_normals(key, Address { stream, step, sample }, 0, out);
}
