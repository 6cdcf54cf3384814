//! What is to be sampled: schedule, grid, scheme, batch, noise, start.

mod choice;
mod coarse;
mod fits;
mod path;
mod prepared;
mod report;
mod request;
mod solution;
#[cfg(feature = "serde")]
mod spec;
mod start;
mod variances;

pub use choice::{Choice, Effort, Forecast, Latency, Reason};
pub use path::Path;
pub use prepared::Prepared;
pub use report::{Guarantee, Report, Stop};
pub use solution::Solution;
#[cfg(feature = "serde")]
pub use spec::{BetaSchedule, ProblemSpec, ScheduleSpec};
pub(crate) use variances::Split;
pub use variances::Variances;

use crate::backend::{Backend, Cpu};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::nodes::{Correction, Nodes, Scheme, Window};
use crate::noise::NoiseKey;
use crate::schedule::NoiseSchedule;
use crate::score::Model;
use ndarray::{ArcArray, ArcArray2, Axis, Ix3, Slice};
use request::{Request, Source};
use start::{Ids, Start};
use std::sync::Arc;

/// Which states a [`Solution`] keeps beside the samples.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Save {
    /// None.
    #[default]
    Nothing,
    /// The states at these steps (0 is the start).
    Steps(Vec<usize>),
    /// The states at every step: memory grows with the number of steps.
    All,
}

/// A sampling problem: everything a sampler needs but the score. It owns what it is made of and is cheap to clone.
///
/// The states of a batch are rows of `dim` elements, where `dim` is the product of the [`shape`](Problem::shape); the
/// network is called with rows too, and [`Rows::shaped`](crate::Rows::shaped) gives them the shape of a sample.
///
/// A sample is a pure function of its request, its id and the score. Exact samplers ([`Sequential`](crate::Sequential),
/// [`Acceptance::Exact`](crate::Acceptance::Exact)) all give the same bits; what others give depends on their settings,
/// but not on the batch, a row budget or the number of threads, unless samples are to wait for each other
/// ([`Coupling::WholeBatch`](crate::sampler::Coupling::WholeBatch)) or the window is chosen by a measured latency
/// ([`Automatic`](crate::Automatic)).
///
/// ```
/// use piadm::prelude::*;
/// let problem = Problem::new(Discrete::stable_diffusion(), Grid::log_snr(500), Scheme::default())
///     .samples(16)
///     .shape([4, 64, 64])
///     .seed(7);
/// assert_eq!((problem.count(), problem.dim()), (16, 4 * 64 * 64));
/// ```
#[derive(Clone, Debug)]
pub struct Problem<B: Backend> {
    backend: B,
    /// At least one.
    requests: Vec<Request<B::Elem>>,
    /// Axes of a sample; none until they are set.
    shape: Arc<[usize]>,
    noise: Option<ArcArray<B::Elem, Ix3>>,
    save: Save,
    path: Option<Arc<Path<B::Elem>>>,
    variances: Option<Arc<Variances>>,
}

impl Problem<Cpu<f32>> {
    /// One sample with `scheme` on `grid`, of a [`shape`](Problem::shape) still to be set, in f32 on the CPU; sample
    /// ids 0, 1, ..., seed 0.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let problem = Problem::new(VpLinear::default(), Grid::log_snr(100).between(1.0, 1e-3), Scheme::ddim()).shape([2]);
    /// let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v)); // of data N(0, 1)
    /// assert_eq!(Sequential.sample(&problem, &mut score)?.samples.dim(), (1, 2));
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn new(schedule: impl NoiseSchedule + 'static, grid: Grid, scheme: Scheme) -> Self {
        Self::on(Cpu::new(), schedule, grid, scheme)
    }
}

impl<B: Backend> Problem<B> {
    /// The same in another precision, or on another backend.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let problem = Problem::on(Cpu::<f64>::new(), Ou, Grid::uniform(40).between(4.0, 0.1), Scheme::default());
    /// # let _ = problem;
    /// ```
    pub fn on(backend: B, schedule: impl NoiseSchedule + 'static, grid: Grid, scheme: Scheme) -> Self {
        Self::from_source(backend, Source::Scheme { schedule: Arc::new(schedule), grid, scheme })
    }

    /// The same for nodes of your own; their start has unit variance unless [`init`](Problem::init) says otherwise.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// use piadm::nodes::Langevin;
    /// let level = piadm::schedule::Level::at(&Ou, 0.1);
    /// let nodes = Langevin { friction: 1.0, step: 0.1, steps: 50 }.list(level, Prediction::Score, 0)?;
    /// let problem = Problem::from_nodes(Cpu::<f32>::new(), nodes).samples(8).shape([2]);
    /// # let _ = problem;
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn from_nodes(backend: B, nodes: Nodes) -> Self {
        Self::from_source(backend, Source::List(Arc::new(nodes)))
    }

    fn from_source(backend: B, source: Source) -> Self {
        let (ids, key, start) = (Ids::default(), NoiseKey::new(0), Start::Prior);
        let request = Request { source, correction: None, ids, key, start };
        let (noise, save, path, variances) = (None, Save::Nothing, None, None);
        Problem { backend, requests: vec![request], shape: Arc::new([]), noise, save, path, variances }
    }

    /// How many samples, with ids 0, 1, ...; of joined requests so many each. Where [`ids`](Problem::ids) or states to
    /// start from are given, they say how many there are; if this is said too, it must be the same number.
    pub fn samples(mut self, samples: usize) -> Self {
        self.requests.iter_mut().for_each(|request| request.ids.count = Some(samples));
        self
    }

    /// Lengths of the axes of a sample, in the order of memory (the last one is contiguous): `[2]`, or `[3, 64, 64]`.
    pub fn shape(mut self, shape: impl AsRef<[usize]>) -> Self {
        self.shape = shape.as_ref().into();
        self
    }

    /// Unlike requests in one batch, in the order given: each keeps its schedule, grid, scheme, start, ids and seed,
    /// and its samples are those it has alone, bit for bit. What is saved ([`save`](Problem::save)) is what the first
    /// one asks for. Requests with the same seed and ids have the same noise: give each a seed, or ids of its own.
    /// [`seed`](Problem::seed) on the batch is one seed for all.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let request = |steps, seed| {
    ///     let grid = Grid::log_snr(steps).between(8.0, 0.01);
    ///     Problem::new(Ou, grid, Scheme::default()).samples(2).shape([784]).seed(seed)
    /// };
    /// let batch = Problem::join([request(10, 1), request(500, 2)])?;
    /// assert_eq!(batch.count(), 4);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] for no request at all, [`Error::Unsupported`] for one with given noise or a path of first
    /// guesses, and for unlike variances; [`Error::Shape`] where their shapes differ.
    pub fn join(requests: impl IntoIterator<Item = Self>) -> Result<Self> {
        let mut requests = requests.into_iter();
        let Some(mut batch) = requests.next() else {
            return Err(Error::setting("requests", 0, "at least 1 problem"));
        };
        batch.requests.iter_mut().for_each(Request::keep_count);
        let alone = |problem: &Self| match problem.noise.is_some() || problem.path.is_some() {
            true => Err(Error::unsupported(
                "Problem::join",
                "requests with given noise or guesses",
                "sample them one by one",
            )),
            false => Ok(()),
        };
        for mut next in requests {
            alone(&batch)?;
            alone(&next)?;
            if next.shape != batch.shape {
                let what = "a sample of a request";
                return Err(Error::Shape { what, found: next.shape.to_vec(), expected: batch.shape.to_vec() });
            }
            if next.variances != batch.variances {
                let with = "requests with unlike variances";
                return Err(Error::unsupported("Problem::join", with, "give all of them the same, or none"));
            }
            next.requests.iter_mut().for_each(Request::keep_count);
            batch.requests.append(&mut next.requests);
        }
        Ok(batch)
    }

    /// Langevin steps after every `block` of the scheme: PIADM-ODE's corrector, see [`Nodes::corrected`]. For a list of
    /// nodes of your own this is an error when it is prepared: it has the corrections that were pushed to it.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// use piadm::{nodes::Correction, score::Mixture, Window};
    /// let mut score = Mixture::new(vec![0.5, 0.5], ndarray::array![[-1.0, 0.0], [1.0, 0.0]], vec![0.3, 0.3])?;
    /// let grid = Grid::log_snr(30).between(5.0, 0.01);
    /// let problem = Problem::new(Ou, grid, Scheme::ddim()).samples(4).shape([2]).seed(1);
    /// let corrected = problem.correction(Window::OuTime { ou_time: 1.0 }, Correction::default());
    /// let parallel = Picard::default().sample(&corrected, &mut score)?;
    /// assert!(parallel.report.rounds < Sequential.sample(&corrected, &mut score)?.report.rounds);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn correction(mut self, block: Window, correction: Correction) -> Self {
        self.requests.iter_mut().for_each(|request| request.correction = Some((block, correction)));
        self
    }

    /// Seed of all noise, initial states included.
    pub fn seed(mut self, seed: u64) -> Self {
        for request in &mut self.requests {
            request.key = NoiseKey::new(seed).with_precision(request.key.precision());
        }
        self
    }

    /// The noise key, for the choice of its precision.
    pub fn key(mut self, key: NoiseKey) -> Self {
        self.requests.iter_mut().for_each(|request| request.key = key);
        self
    }

    /// Sample ids, 0, 1, ... where none are given: they address the noise, so a sample does not depend on its place in
    /// the batch. As many as there are [`samples`](Problem::samples), if that is said too; joined requests take theirs
    /// in order. Another number is an error when the problem is prepared.
    pub fn ids(mut self, ids: impl IntoIterator<Item = u32>) -> Self {
        let ids: Vec<u32> = ids.into_iter().collect();
        let last = self.requests.len() - 1;
        let mut rest = &ids[..];
        for (i, request) in self.requests.iter_mut().enumerate() {
            // what is too many or too few is found when the problem is prepared
            let n = if i == last { rest.len() } else { request.ids.samples().min(rest.len()) };
            let (own, others) = rest.split_at(n);
            (request.ids.given, rest) = (Some(own.into()), others);
        }
        self
    }

    /// Starts from the given states (samples x dim) at the grid's first point.
    pub fn init(self, x: impl Into<ArcArray2<B::Elem>>) -> Self {
        self.init_at(0, x)
    }

    /// Starts from the given states at grid point `step`; later steps keep the noise of the full grid.
    pub fn init_at(self, step: usize, x: impl Into<ArcArray2<B::Elem>>) -> Self {
        self.with_start(x.into(), |x| Start::State { step, x })
    }

    /// Starts from data (samples x dim) that the forward process takes to grid point `step` with the noise of the
    /// initial state: image to image, SDEdit (arXiv 2108.01073).
    pub fn data_at(self, step: usize, x0: impl Into<ArcArray2<B::Elem>>) -> Self {
        self.with_start(x0.into(), |x0| Start::Data { step, x0 })
    }

    /// Each request takes its rows in order.
    fn with_start(mut self, x: ArcArray2<B::Elem>, start: impl Fn(ArcArray2<B::Elem>) -> Start<B::Elem>) -> Self {
        let last = self.requests.len() - 1;
        let mut first = 0usize;
        for (i, request) in self.requests.iter_mut().enumerate() {
            let end = if i == last { x.nrows() } else { first.saturating_add(request.ids.samples()).min(x.nrows()) };
            request.start = start(x.clone().slice_axis_move(Axis(0), Slice::from(first..end)));
            request.ids.starts = Some(end - first);
            first = end;
        }
        self
    }

    /// Uses given normals of shape (steps, samples, dim), row m - 1 for step m, in place of addressed ones. The initial
    /// state stays addressed unless it is given too.
    pub fn noise(self, noise: impl Into<ArcArray<B::Elem, Ix3>>) -> Self {
        Problem { noise: Some(noise.into()), ..self }
    }

    /// Which intermediate states to keep.
    pub fn save(self, save: Save) -> Self {
        Problem { save, ..self }
    }

    /// First guesses for a parallel sampler, from a path of an earlier run, one of your own ([`Path::new`]) or one that
    /// was [`refine`](Problem::refine)d: a step takes the last saved state at or before it.
    pub fn guesses(self, path: impl Into<Arc<Path<B::Elem>>>) -> Self {
        Problem { path: Some(path.into()), ..self }
    }

    /// Variances of the data, element by element: under
    /// [`Linearisation::Gaussian`](crate::sampler::Linearisation::Gaussian) every element then has a slope of its own.
    /// They change rounds, not results.
    pub fn variances(self, variances: impl Into<Arc<Variances>>) -> Self {
        Problem { variances: Some(variances.into()), ..self }
    }

    /// Elements of a sample: the product of its shape.
    pub fn dim(&self) -> usize {
        self.shape.iter().fold(1, |n: usize, axis| n.saturating_mul(*axis))
    }

    /// How many samples there are.
    pub fn count(&self) -> usize {
        self.requests.iter().fold(0, |n, request| n.saturating_add(request.ids.len()))
    }

    /// The backend.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// The same problem with the times of its grids worked out for a model, whose range may decide where they end
    /// ([`Model::time_range`]): what is made of it without the model, such as a [`coarse`](Problem::coarse) form, then
    /// has the same ends.
    ///
    /// # Errors
    /// As [`Grid::times`]; [`Error::Setting`] for a range that is none.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let problem = Problem::new(Discrete::stable_diffusion(), Grid::log_snr(100), Scheme::ddim()).shape([2]);
    /// let coarse = problem.resolved(&Prediction::Noise)?.coarse(10)?;
    /// # let _ = coarse;
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn resolved(&self, model: &(impl Model + ?Sized)) -> Result<Self> {
        let trained = fits::trained_range(model)?;
        let mut problem = self.clone();
        for request in &mut problem.requests {
            if let Source::Scheme { schedule, grid, .. } = &mut request.source {
                *grid = Grid::new(grid.resolve(schedule, trained)?);
            }
        }
        Ok(problem)
    }

    /// The only request, where a feature is not for unlike ones.
    pub(crate) fn check_single(&self, what: &'static str) -> Result<()> {
        self.request(what).map(|_| ())
    }

    fn request(&self, what: &'static str) -> Result<&Request<B::Elem>> {
        match &self.requests[..] {
            [request] => Ok(request),
            requests => {
                let with = format!("{} joined requests", requests.len());
                Err(Error::unsupported(what, with, "use it with a single request"))
            }
        }
    }
}
