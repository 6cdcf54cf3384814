//! What is to be sampled: schedule, grid, scheme, batch, noise, start.

use super::{Path, Picard, Variances};
use crate::backend::{Backend, Real};
use crate::error::{Error, Result};
use crate::grid::TimeGrid;
use crate::noise::{Address, MAX_ELEMENTS, NoiseKey, stream};
use crate::prediction::Prediction;
use crate::schedule::NoiseSchedule;
use crate::scheme::{Discretisation, Scheme};
use ndarray::{ArcArray, Array2, ArrayView2, ArrayView3, Axis, Ix3};

/// Which states a [`Solution`](super::Solution) keeps beside the samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Save {
    /// None.
    #[default]
    Nothing,
    /// The states at these steps (0 is the start).
    Steps(Vec<usize>),
    /// The states at every step: memory grows with the number of steps.
    All,
}

/// How the nodes come about.
#[derive(Clone, Debug)]
pub(super) enum Source<'a> {
    Scheme { schedule: &'a dyn NoiseSchedule, grid: TimeGrid, scheme: Scheme },
    List(Discretisation),
}

/// Where the trajectories start.
#[derive(Clone, Debug)]
pub(super) enum Start<'a, E> {
    /// At the grid's first point, from `std` times normals.
    Prior,
    /// At grid point `step`, from these states.
    State { step: usize, x: ArrayView2<'a, E> },
    /// At grid point `step`, from alpha x_0 + sigma normals.
    Data { step: usize, x0: ArrayView2<'a, E> },
}

/// A sampling problem: everything a sampler needs but the score.
///
/// The samples are a pure function of the problem and the score: the same seed and ids give the same samples whatever the sampler,
/// the batch, or the number of threads.
///
/// ```
/// use piadm::{Cpu, Ou, Problem, Scheme, TimeGrid};
/// let grid = TimeGrid::log_snr(&Ou, 8.0, 0.01, 100)?;
/// let problem = Problem::new(Cpu::<f32>::new(), &Ou, grid, Scheme::default(), (16, 784)).seed(7);
/// assert_eq!(problem.samples(), 16);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Problem<'a, B: Backend> {
    pub(super) backend: B,
    pub(super) source: Source<'a>,
    pub(super) dim: usize,
    pub(super) ids: Vec<u32>,
    pub(super) key: NoiseKey,
    pub(super) start: Start<'a, B::Elem>,
    pub(super) noise: Option<ArrayView3<'a, B::Elem>>,
    /// Normals of a coarse problem, in place of given ones.
    pub(super) coarse_noise: Option<ArcArray<B::Elem, Ix3>>,
    pub(super) save: Save,
    pub(super) path: Option<&'a Path<B::Elem>>,
    pub(super) variances: Option<&'a Variances>,
}

impl<'a, B: Backend> Problem<'a, B> {
    /// A batch of shape (samples, dim) to be sampled with `scheme` on `grid`; sample ids 0, 1, ..., seed 0.
    pub fn new(
        backend: B,
        schedule: &'a dyn NoiseSchedule,
        grid: TimeGrid,
        scheme: Scheme,
        (samples, dim): (usize, usize),
    ) -> Self {
        Self::from_source(backend, Source::Scheme { schedule, grid, scheme }, samples, dim)
    }

    /// The same for a list of nodes of your own; its start has unit variance unless [`with_init`](Problem::with_init) says otherwise.
    pub fn from_list(backend: B, list: Discretisation, (samples, dim): (usize, usize)) -> Self {
        Self::from_source(backend, Source::List(list), samples, dim)
    }

    fn from_source(backend: B, source: Source<'a>, samples: usize, dim: usize) -> Self {
        // ids are u32: a batch beyond that is refused by check(), which sees one id too many
        let ids = (0..=u32::MAX).take(samples.min(MAX_SAMPLES + 1)).collect();
        let (key, start) = (NoiseKey::new(0), Start::Prior);
        Problem {
            backend,
            source,
            dim,
            ids,
            key,
            start,
            noise: None,
            coarse_noise: None,
            save: Save::Nothing,
            path: None,
            variances: None,
        }
    }

    /// Seed of all noise, initial states included.
    pub fn seed(self, seed: u64) -> Self {
        let key = NoiseKey::new(seed).with_precision(self.key.precision());
        Problem { key, ..self }
    }

    /// The noise key, for the choice of its precision.
    pub fn with_key(self, key: NoiseKey) -> Self {
        Problem { key, ..self }
    }

    /// Sample ids: they address the noise, so a sample does not depend on its place in the batch. Their number is the
    /// batch size.
    pub fn with_ids(self, ids: Vec<u32>) -> Self {
        Problem { ids, ..self }
    }

    /// Starts from the given states (samples x dim) at the grid's first point.
    pub fn with_init(self, x: ArrayView2<'a, B::Elem>) -> Self {
        self.with_init_at(0, x)
    }

    /// Starts from the given states at grid point `step`; later steps keep the noise of the full grid.
    pub fn with_init_at(self, step: usize, x: ArrayView2<'a, B::Elem>) -> Self {
        Problem { start: Start::State { step, x }, ..self }
    }

    /// Starts from data (samples x dim) that the forward process takes to grid point `step` with the noise of the initial state:
    /// image to image, SDEdit (arXiv 2108.01073).
    pub fn with_data_at(self, step: usize, x0: ArrayView2<'a, B::Elem>) -> Self {
        Problem { start: Start::Data { step, x0 }, ..self }
    }

    /// Uses given normals of shape (steps, samples, dim), row m - 1 for step m, in place of addressed ones. The initial state
    /// stays addressed unless it is given too.
    pub fn with_noise(self, noise: ArrayView3<'a, B::Elem>) -> Self {
        Problem { noise: Some(noise), coarse_noise: None, ..self }
    }

    /// Which intermediate states to keep.
    pub fn with_save(self, save: Save) -> Self {
        Problem { save, ..self }
    }

    /// First guesses for [`Picard`], from a path of an earlier run, one of your own ([`Path::new`]) or one that was
    /// [`refine`](Problem::refine)d: a step takes the last saved state at or before it.
    pub fn with_path<'b>(self, path: &'b Path<B::Elem>) -> Problem<'b, B>
    where
        'a: 'b,
    {
        Problem { path: Some(path), ..self.shorter() }
    }

    /// Variances of the data, element by element: under [`Linearisation::Gaussian`](super::Linearisation::Gaussian) every element then has a
    /// slope of its own. They change rounds, not results.
    pub fn with_variances<'b>(self, variances: &'b Variances) -> Problem<'b, B>
    where
        'a: 'b,
    {
        Problem { variances: Some(variances), ..self.shorter() }
    }

    /// What it refers to may live shorter.
    fn shorter<'b>(self) -> Problem<'b, B>
    where
        'a: 'b,
    {
        let Problem { backend, source, dim, ids, key, start, noise, coarse_noise, save, path, variances } = self;
        // views in an enum keep their lifetime unless they are taken out
        let start = match start {
            Start::Prior => Start::Prior,
            Start::State { step, x } => Start::State { step, x },
            Start::Data { step, x0 } => Start::Data { step, x0 },
        };
        Problem { backend, source, dim, ids, key, start, noise, coarse_noise, save, path, variances }
    }

    /// Elements of a sample.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Batch size.
    pub fn samples(&self) -> usize {
        self.ids.len()
    }

    /// Sample ids, in the order of the batch.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The backend.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Bytes of working memory that a parallel run takes: it depends on the window, not on the number of steps. Saved states
    /// and the score's own memory come on top.
    ///
    /// # Errors
    /// As the run itself, for bad settings.
    pub fn memory_estimate(&self, sampler: &Picard, prediction: Prediction) -> Result<usize> {
        let list = self.list(prediction)?;
        let room = sampler.room(&list, self.samples())?;
        room.bytes::<B::Elem>(&list, self.samples(), self.dim, usize::from(self.variances.is_some()))
            .ok_or_else(|| Error::TooLarge { what: "working memory", why: "more bytes than can be addressed".into() })
    }

    pub(super) fn variances(&self) -> Option<&'a Variances> {
        self.variances
    }

    pub(super) fn key(&self) -> NoiseKey {
        self.key
    }

    /// The steps whose states are to be kept, ascending.
    pub(super) fn saved_steps(&self, list: &Discretisation) -> Vec<usize> {
        match &self.save {
            Save::Nothing => Vec::new(),
            Save::All => (list.first_step()..=list.last_step()).collect(),
            Save::Steps(steps) => {
                let mut steps = steps.clone();
                steps.sort_unstable();
                steps.dedup();
                steps
            }
        }
    }

    /// The part of the problem between two grid points, from given states.
    pub(super) fn segment<'b>(
        &'b self,
        prediction: Prediction,
        steps: std::ops::Range<usize>,
        x: ArrayView2<'b, B::Elem>,
        save: Vec<usize>,
    ) -> Result<Problem<'b, B>> {
        let Source::Scheme { schedule, grid, scheme } = &self.source else {
            return Err(Error::setting(
                "problem",
                "a list of nodes",
                "a schedule, a grid and a scheme, to be cut into blocks",
            ));
        };
        let start = Start::State { step: steps.start, x };
        let list = Discretisation::for_steps(*schedule, grid, scheme, prediction, steps)?;
        Ok(Problem { source: Source::List(list), start, save: Save::Steps(save), ..self.clone() })
    }

    /// Other nodes for the same samples, from given states.
    pub(super) fn correction<'b>(&'b self, list: Discretisation, x: ArrayView2<'b, B::Elem>) -> Problem<'b, B> {
        let start = Start::State { step: list.first_step(), x };
        let source = Source::List(list);
        Problem { source, start, save: Save::Nothing, noise: None, coarse_noise: None, path: None, ..self.clone() }
    }

    /// The nodes, from where the trajectories start.
    pub(super) fn list(&self, prediction: Prediction) -> Result<Discretisation> {
        let first = match self.start {
            Start::Prior => 0,
            Start::State { step, .. } | Start::Data { step, .. } => step,
        };
        match &self.source {
            Source::Scheme { schedule, grid, scheme } => {
                Discretisation::for_steps(*schedule, grid, scheme, prediction, first..grid.steps())
            }
            Source::List(list) if list.steps() == 0 || !list.nodes().last().is_some_and(|n| n.solution) => {
                Err(Error::setting(
                    "list",
                    format!("{} nodes", list.nodes().len()),
                    "a list that ends with the end of a step",
                ))
            }
            Source::List(list) if first == 0 || first == list.first_step() => Ok(list.clone()),
            Source::List(_) => Err(Error::setting("start step", first, "0 for a list of your own")),
        }
    }

    /// Sizes and shapes, before anything is allocated.
    pub(super) fn check(&self, list: &Discretisation) -> Result<()> {
        if self.dim == 0 || self.dim > MAX_ELEMENTS {
            return Err(Error::setting("dim", self.dim, "1 to 2^34 elements"));
        }
        if self.ids.is_empty() || self.ids.len() > MAX_SAMPLES {
            return Err(Error::setting("samples", self.ids.len(), "1 to 2^24 samples"));
        }
        if let Start::State { x, .. } | Start::Data { x0: x, .. } = &self.start {
            let what = "the initial state";
            if x.dim() != (self.ids.len(), self.dim) {
                return Err(Error::Shape { what, found: x.shape().to_vec(), expected: vec![self.ids.len(), self.dim] });
            }
            if let Some(bad) = x.iter().find(|v| !num_traits::Float::is_finite(**v)) {
                return Err(Error::setting(what, bad, "finite numbers"));
            }
        }
        if let Some(noise) = self.noise() {
            let what = "the given noise";
            // a part of a longer run has the noise of the whole
            let steps = match &self.source {
                Source::Scheme { grid, .. } => grid.steps(),
                Source::List(_) => list.last_step().max(noise.len_of(Axis(0))),
            };
            let expected = vec![steps, self.ids.len(), self.dim];
            if noise.shape() != expected.as_slice() {
                return Err(Error::Shape { what, found: noise.shape().to_vec(), expected });
            }
            if let Some(bad) = noise.iter().find(|v| !num_traits::Float::is_finite(**v)) {
                return Err(Error::setting(what, bad, "finite numbers"));
            }
            if list.normals() > 1 {
                return Err(Error::setting("normals", list.normals(), "at most 1 a step where noise is given"));
            }
        }
        if let Some(variances) = self.variances.map(Variances::values).filter(|v| v.len() != self.dim) {
            let what = "the variances of the data";
            return Err(Error::Shape { what, found: vec![variances.len()], expected: vec![self.dim] });
        }
        if let Some(path) = self.path {
            path.check(self.ids.len(), self.dim)?;
        }
        if let Save::Steps(steps) = &self.save
            && let Some(step) = steps.iter().find(|s| !(list.first_step()..=list.last_step()).contains(*s))
        {
            return Err(Error::setting("saved step", step, "a step of the run, the start included"));
        }
        Ok(())
    }

    /// Normals for one row of the batch at a given place.
    pub(super) fn normals(&self, stream: u32, step: u32, sample: u32, out: &mut [B::Elem]) {
        B::Elem::fill_normals(self.key, Address { stream, step, sample }, 0, out);
    }

    /// The states at the start, on the host.
    pub(super) fn initial(&self, list: &Discretisation) -> Result<Array2<B::Elem>> {
        if let Start::State { x, .. } = &self.start {
            return Ok(x.to_owned());
        }
        let level = list.nodes().first().map(|n| n.level);
        let prior = match &self.source {
            Source::Scheme { schedule, .. } => level.map_or(1.0, |l| schedule.prior_std(l.t)),
            Source::List(_) => 1.0,
        };
        let bytes = self.ids.len().saturating_mul(self.dim).saturating_mul(size_of::<B::Elem>());
        let mut data: Vec<B::Elem> = Vec::new();
        data.try_reserve_exact(self.ids.len().saturating_mul(self.dim))
            .map_err(|_| Error::OutOfMemory { what: "the initial state", bytes })?;
        data.resize(self.ids.len() * self.dim, B::Elem::default());
        let mut x = Array2::from_shape_vec((self.ids.len(), self.dim), data)
            .map_err(|_| Error::TooLarge { what: "the initial state", why: "its size overflows".into() })?;
        for (mut row, &id) in x.axis_iter_mut(Axis(0)).zip(&self.ids) {
            if let Some(row) = row.as_slice_mut() {
                self.normals(stream::INITIAL, 0, id, row);
            }
        }
        match (&self.start, level) {
            (Start::Data { x0, .. }, Some(level)) => {
                let (alpha, sigma) = (B::Elem::of(level.alpha), B::Elem::of(level.sigma));
                x.zip_mut_with(x0, |x, &x0| *x = alpha * x0 + sigma * *x);
            }
            _ => {
                let prior = B::Elem::of(prior);
                x.mapv_inplace(|x| prior * x);
            }
        }
        Ok(x)
    }

    /// Normals in place of addressed ones.
    fn noise(&self) -> Option<ArrayView3<'_, B::Elem>> {
        self.coarse_noise.as_ref().map(|noise| noise.view()).or_else(|| self.noise.as_ref().map(|noise| noise.view()))
    }

    /// The given noise of a step and slot, if noise was given.
    pub(super) fn given_noise(&self, step: usize, slot: usize) -> Option<ArrayView2<'_, B::Elem>> {
        let noise = self.noise()?;
        let m = step.checked_sub(1).filter(|m| *m < noise.len_of(Axis(0)))?;
        Some(noise.index_axis_move(Axis(0), m).index_axis_move(Axis(0), slot).insert_axis(Axis(0)))
    }

    /// The first guess of a step and slot, if a path was given.
    pub(super) fn guess(&self, step: usize, slot: usize) -> Option<ArrayView2<'a, B::Elem>> {
        self.path.and_then(|path| path.at_or_before(step, slot))
    }
}

/// The most samples a batch may have.
const MAX_SAMPLES: usize = 1 << 24;
