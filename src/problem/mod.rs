//! What is to be sampled: schedule, grid, scheme, batch, noise, start.

mod choice;
mod coarse;
mod path;
mod prepared;
mod report;
mod solution;
mod start;
mod variances;

pub use choice::{Choice, Effort, Forecast, Latency, Reason};
pub use path::Path;
pub use prepared::Prepared;
pub use report::{Guarantee, Report, Stop};
pub use solution::Solution;
pub(crate) use variances::Split;
pub use variances::Variances;

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::grid::TimeGrid;
use crate::nodes::{Correction, Discretisation, Scheme, Window};
use crate::noise::NoiseKey;
use crate::schedule::NoiseSchedule;
use crate::score::Prediction;
use ndarray::{ArcArray, ArcArray2, Axis, Ix3, Slice};
use start::{Ids, Start};
use std::sync::Arc;

/// Which states a [`Solution`] keeps beside the samples.
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
enum Source {
    Scheme { schedule: Arc<dyn NoiseSchedule>, grid: Arc<TimeGrid>, scheme: Scheme },
    List(Arc<Discretisation>),
}

/// Samples with the same nodes: a request.
#[derive(Clone, Debug)]
struct Request<E> {
    source: Source,
    correction: Option<(Window, Correction)>,
    /// How many they are.
    samples: usize,
    ids: Ids,
    key: NoiseKey,
    start: Start<E>,
}

/// A sampling problem: everything a sampler needs but the score. It owns what it is made of and is cheap to clone.
///
/// A sample is a pure function of its request, its id and the score. Exact samplers ([`Sequential`](crate::Sequential),
/// [`Acceptance::Exact`](crate::Acceptance::Exact)) all give the same bits; what others give depends on their settings, but not on the batch,
/// a row budget or the number of threads, unless samples are to wait for each other
/// ([`Coupling::WholeBatch`](crate::Coupling::WholeBatch)) or the window is chosen by a measured latency ([`Automatic`](crate::Automatic)).
///
/// ```
/// use piadm::{Cpu, Ou, Problem, Scheme, TimeGrid};
/// let grid = TimeGrid::log_snr(&Ou, 8.0, 0.01, 100)?;
/// let problem = Problem::new(Cpu::<f32>::new(), Ou, grid, Scheme::default(), (16, 784)).seed(7);
/// assert_eq!(problem.samples(), 16);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Problem<B: Backend> {
    backend: B,
    /// At least one.
    requests: Vec<Request<B::Elem>>,
    dim: usize,
    noise: Option<ArcArray<B::Elem, Ix3>>,
    save: Save,
    path: Option<Arc<Path<B::Elem>>>,
    variances: Option<Arc<Variances>>,
}

impl<B: Backend> Problem<B> {
    /// A batch of shape (samples, dim) to be sampled with `scheme` on `grid`; sample ids 0, 1, ..., seed 0.
    pub fn new(
        backend: B,
        schedule: impl NoiseSchedule + 'static,
        grid: TimeGrid,
        scheme: Scheme,
        (samples, dim): (usize, usize),
    ) -> Self {
        let (schedule, grid) = (Arc::new(schedule), Arc::new(grid));
        let source = Source::Scheme { schedule, grid, scheme };
        Self::from_source(backend, source, samples, dim)
    }

    /// The same for a list of nodes of your own; its start has unit variance unless [`with_init`](Problem::with_init) says otherwise.
    pub fn from_list(backend: B, list: Discretisation, (samples, dim): (usize, usize)) -> Self {
        Self::from_source(backend, Source::List(Arc::new(list)), samples, dim)
    }

    fn from_source(backend: B, source: Source, samples: usize, dim: usize) -> Self {
        let (ids, key, start) = (Ids::Count(samples), NoiseKey::new(0), Start::Prior);
        let request = Request { source, correction: None, samples, ids, key, start };
        let (noise, save, path, variances) = (None, Save::Nothing, None, None);
        Problem { backend, requests: vec![request], dim, noise, save, path, variances }
    }

    /// Unlike requests in one batch, in the order given: each keeps its schedule, grid, scheme, start, ids and seed, and its samples are those
    /// it has alone, bit for bit. What is saved ([`with_save`](Problem::with_save)) is what the first one asks for. Requests
    /// with the same seed and ids have the same noise: give each a seed, or ids of its own. [`seed`](Problem::seed) on the batch is one seed
    /// for all.
    ///
    /// ```
    /// use piadm::{Cpu, Ou, Problem, Scheme, TimeGrid};
    /// let request = |steps, seed| -> piadm::Result<_> {
    ///     let grid = TimeGrid::log_snr(&Ou, 8.0, 0.01, steps)?;
    ///     Ok(Problem::new(Cpu::<f32>::new(), Ou, grid, Scheme::default(), (2, 784)).seed(seed))
    /// };
    /// let batch = Problem::join([request(10, 1)?, request(500, 2)?])?;
    /// assert_eq!(batch.samples(), 4);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] for no request at all, for one with given noise or a path of first guesses, and for unlike variances; [`Error::Shape`] where their
    /// dimensions differ.
    pub fn join(requests: impl IntoIterator<Item = Self>) -> Result<Self> {
        let mut requests = requests.into_iter();
        let Some(mut batch) = requests.next() else {
            return Err(Error::setting("requests", 0, "at least 1 problem"));
        };
        let alone = |problem: &Self| match problem.noise.is_some() || problem.path.is_some() {
            true => {
                Err(Error::setting("request", "with noise or a path of its own", "one without, in a batch of several"))
            }
            false => Ok(()),
        };
        for mut next in requests {
            alone(&batch)?;
            alone(&next)?;
            if next.dim != batch.dim {
                let what = "a sample of a request";
                return Err(Error::Shape { what, found: vec![next.dim], expected: vec![batch.dim] });
            }
            if next.variances != batch.variances {
                return Err(Error::setting("variances of a request", "unlike those of the first", "the same, or none"));
            }
            batch.requests.append(&mut next.requests);
        }
        Ok(batch)
    }

    /// Langevin steps after every `block` of the scheme: PIADM-ODE's corrector, see [`Discretisation::corrected`]. For a list of nodes of your own
    /// this is an error when it is prepared: it has the corrections that were pushed to it.
    ///
    /// ```
    /// use piadm::{Correction, Cpu, Mixture, Ou, Picard, Problem, Sampler, Scheme, Sequential, TimeGrid, Window};
    /// let mut score = Mixture::new(vec![0.5, 0.5], ndarray::array![[-1.0, 0.0], [1.0, 0.0]], vec![0.3, 0.3])?;
    /// let grid = TimeGrid::log_snr(&Ou, 5.0, 0.01, 30)?;
    /// let problem = Problem::new(Cpu::<f32>::new(), Ou, grid, Scheme::Ddim { eta: 0.0 }, (4, 2)).seed(1);
    /// let corrected = problem.with_correction(Window::OuTime { ou_time: 1.0 }, Correction::default());
    /// let parallel = Picard::default().sample(&corrected, &mut score)?;
    /// assert!(parallel.report.rounds < Sequential.sample(&corrected, &mut score)?.report.rounds);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn with_correction(mut self, block: Window, correction: Correction) -> Self {
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
    pub fn with_key(mut self, key: NoiseKey) -> Self {
        self.requests.iter_mut().for_each(|request| request.key = key);
        self
    }

    /// Sample ids: they address the noise, so a sample does not depend on its place in the batch. Their number is the
    /// batch size; joined requests take theirs in order, and another number than theirs is an error when they are prepared.
    pub fn with_ids(mut self, ids: Vec<u32>) -> Self {
        let last = self.requests.len() - 1;
        let mut rest = &ids[..];
        for (i, request) in self.requests.iter_mut().enumerate() {
            let n = if i == last { rest.len() } else { request.ids.len().min(rest.len()) };
            let (own, others) = rest.split_at(n);
            (request.ids, rest) = (Ids::Given(own.into()), others);
        }
        if let [only] = &mut self.requests[..] {
            only.samples = only.ids.len();
        }
        self
    }

    /// Starts from the given states (samples x dim) at the grid's first point.
    pub fn with_init(self, x: impl Into<ArcArray2<B::Elem>>) -> Self {
        self.with_init_at(0, x)
    }

    /// Starts from the given states at grid point `step`; later steps keep the noise of the full grid.
    pub fn with_init_at(self, step: usize, x: impl Into<ArcArray2<B::Elem>>) -> Self {
        self.with_start(x.into(), |x| Start::State { step, x })
    }

    /// Starts from data (samples x dim) that the forward process takes to grid point `step` with the noise of the initial state:
    /// image to image, SDEdit (arXiv 2108.01073).
    pub fn with_data_at(self, step: usize, x0: impl Into<ArcArray2<B::Elem>>) -> Self {
        self.with_start(x0.into(), |x0| Start::Data { step, x0 })
    }

    /// Each request takes its rows in order.
    fn with_start(mut self, x: ArcArray2<B::Elem>, start: impl Fn(ArcArray2<B::Elem>) -> Start<B::Elem>) -> Self {
        let last = self.requests.len() - 1;
        let mut first = 0usize;
        for (i, request) in self.requests.iter_mut().enumerate() {
            let end = if i == last { x.nrows() } else { first.saturating_add(request.ids.len()).min(x.nrows()) };
            request.start = start(x.clone().slice_axis_move(Axis(0), Slice::from(first..end)));
            first = end;
        }
        self
    }

    /// Uses given normals of shape (steps, samples, dim), row m - 1 for step m, in place of addressed ones. The initial state
    /// stays addressed unless it is given too.
    pub fn with_noise(self, noise: impl Into<ArcArray<B::Elem, Ix3>>) -> Self {
        Problem { noise: Some(noise.into()), ..self }
    }

    /// Which intermediate states to keep.
    pub fn with_save(self, save: Save) -> Self {
        Problem { save, ..self }
    }

    /// First guesses for a parallel sampler, from a path of an earlier run, one of your own ([`Path::new`]) or one that was
    /// [`refine`](Problem::refine)d: a step takes the last saved state at or before it.
    pub fn with_path(self, path: impl Into<Arc<Path<B::Elem>>>) -> Self {
        Problem { path: Some(path.into()), ..self }
    }

    /// Variances of the data, element by element: under [`Linearisation::Gaussian`](crate::Linearisation::Gaussian) every element then has a
    /// slope of its own. They change rounds, not results.
    pub fn with_variances(self, variances: impl Into<Arc<Variances>>) -> Self {
        Problem { variances: Some(variances.into()), ..self }
    }

    /// Elements of a sample.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Batch size.
    pub fn samples(&self) -> usize {
        self.requests.iter().fold(0, |n, request| n.saturating_add(request.ids.len()))
    }

    /// The backend.
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// The only request, where a feature is not for unlike ones.
    fn request(&self, what: &'static str) -> Result<&Request<B::Elem>> {
        match &self.requests[..] {
            [request] => Ok(request),
            requests => Err(Error::setting(what, format!("{} joined requests", requests.len()), "a single request")),
        }
    }
}

impl<E> Request<E> {
    /// The nodes, from where the trajectories start.
    fn list(&self, prediction: Prediction) -> Result<Arc<Discretisation>> {
        let first = self.start.step();
        match &self.source {
            Source::Scheme { schedule, grid, scheme } => {
                let (schedule, steps) = (&**schedule, first..grid.steps());
                let list = match &self.correction {
                    None => Discretisation::for_steps(schedule, grid, scheme, prediction, steps),
                    Some((block, correction)) => {
                        Discretisation::corrected(schedule, grid, scheme, prediction, steps, (*block, correction))
                    }
                };
                list.map(Arc::new)
            }
            Source::List(_) if self.correction.is_some() => Err(Error::setting(
                "correction",
                "of a list of nodes",
                "a schedule, a grid and a scheme to be corrected",
            )),
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
}
