//! What is to be sampled: schedule, grid, scheme, batch, noise, start.

mod choice;
mod coarse;
mod fits;
mod given;
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
pub use report::{Guarantee, Report, Stop, Verified};
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
use ndarray::{ArcArray, Ix3};
use request::{Request, Source};
use start::{Ids, Start};
use std::sync::Arc;

/// Which states a [`Solution`] keeps beside the samples.
///
/// ```
/// use piadm::prelude::*;
/// let grid = Grid::log_snr(40).between(6.0, 0.01);
/// let problem = Problem::new(Ou, grid, Scheme::default()).shape([2]).save(Save::Steps(vec![0, 20]));
/// let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
/// let path = Sequential.sample(&problem, &mut score)?.path;
/// assert_eq!(path.steps(), [0, 20]);
/// # Ok::<(), piadm::Error>(())
/// ```
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
    /// let grid = Grid::log_snr(100).between(1.0, 1e-3);
    /// let problem = Problem::new(VpLinear::default(), grid, Scheme::ddim()).shape([2]);
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
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).samples(3);
    /// assert_eq!(problem.count(), 3);
    /// ```
    pub fn samples(mut self, samples: usize) -> Self {
        self.requests.iter_mut().for_each(|request| request.ids.count = Some(samples));
        self
    }

    /// Lengths of the axes of a sample, in the order of memory (the last one is contiguous): `[2]`, or `[3, 64, 64]`.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).shape([3, 64, 64]);
    /// assert_eq!(problem.dim(), 3 * 64 * 64);
    /// ```
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
    ///
    /// ```
    /// # use piadm::prelude::*;
    /// # let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).samples(2).shape([2]);
    /// # let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
    /// let a = Sequential.sample(&problem.clone().seed(1), &mut score)?;
    /// let b = Sequential.sample(&problem.seed(2), &mut score)?;
    /// assert_ne!(a.samples, b.samples);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn seed(mut self, seed: u64) -> Self {
        for request in &mut self.requests {
            request.key = NoiseKey::new(seed).with_precision(request.key.precision());
        }
        self
    }

    /// The noise key, for the choice of its precision.
    ///
    /// ```
    /// use piadm::noise::{NoiseKey, NormalPrecision};
    /// use piadm::prelude::*;
    /// let grid = Grid::log_snr(40).between(6.0, 0.01);
    /// let problem = Problem::on(Cpu::<f64>::new(), Ou, grid, Scheme::default());
    /// let problem = problem.key(NoiseKey::new(7).with_precision(NormalPrecision::Double)); // of 53 random bits
    /// # let _ = problem;
    /// ```
    pub fn key(mut self, key: NoiseKey) -> Self {
        self.requests.iter_mut().for_each(|request| request.key = key);
        self
    }

    /// Elements of a sample: the product of its shape.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let problem = Problem::new(Ou, Grid::uniform(10).between(4.0, 0.1), Scheme::default()).shape([1, 28, 28]);
    /// assert_eq!(problem.dim(), 784);
    /// ```
    pub fn dim(&self) -> usize {
        self.shape.iter().fold(1, |n: usize, axis| n.saturating_mul(*axis))
    }

    /// How many samples there are.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let problem = Problem::new(Ou, Grid::uniform(10).between(4.0, 0.1), Scheme::default()).ids([4, 7, 9]);
    /// assert_eq!(problem.count(), 3);
    /// ```
    pub fn count(&self) -> usize {
        self.requests.iter().fold(0, |n, request| n.saturating_add(request.ids.len()))
    }

    /// The backend.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let problem = Problem::on(Cpu::<f64>::new(), Ou, Grid::uniform(10).between(4.0, 0.1), Scheme::default());
    /// assert_eq!(*problem.backend(), Cpu::<f64>::new());
    /// ```
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
