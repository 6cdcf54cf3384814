//! A problem, worked out for a model: the nodes of every sample and where it starts.

use crate::backend::{Backend, Real};
use crate::error::{Error, Result, filled, reserved};
use crate::nodes::{Nodes, Normal};
use crate::noise::{MAX_ELEMENTS, NoiseKey, stream};
use crate::problem::fits::{check_model, made_by, trained_range};
use crate::problem::request::Source;
use crate::problem::start::MAX_SAMPLES;
use crate::problem::{Path, Problem, Save, Variances};
use crate::score::{Model, Prediction};
use ndarray::{Array2, ArrayView2, Axis, Slice};
use std::sync::Arc;

/// A problem whose lists of nodes and starting states have been worked out for a model, ready to be run, and run again.
///
/// ```
/// use piadm::{Grid, Ou, Prediction, Problem, Scheme, score_map};
/// let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
/// let grid = Grid::log_snr(100).between(8.0, 0.01);
/// let problem = Problem::new(Ou, grid, Scheme::default()).samples(4).shape([2]).seed(1);
/// let prepared = problem.prepare(&score)?;
/// assert_eq!(prepared.count(), 4);
/// # let _ = &mut score;
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Debug)]
pub struct Prepared<B: Backend> {
    problem: Problem<B>,
    prediction: Prediction,
    components: usize,
    heads: usize,
    continuous: bool,
    grain: usize,
    /// Unlike lists.
    lists: Vec<Arc<Nodes>>,
    /// Of every request, its list.
    list_of: Vec<usize>,
    /// Of every sample, its request and its id.
    request_of: Vec<u32>,
    ids: Vec<u32>,
    starts: Array2<B::Elem>,
    /// Of every list and evaluated node, the node that a kernel makes of it; empty for networks.
    makes: Vec<Vec<u32>>,
}

impl<B: Backend> Problem<B> {
    /// Works out nodes and starts for a model.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).shape([2]);
    /// problem.prepare(&Prediction::Noise)?; // finds all that is wrong before a network is called
    /// assert!(problem.shape([0]).prepare(&Prediction::Noise).is_err());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    ///
    /// # Errors
    /// Everything that can be wrong with a problem: [`Error::Setting`], [`Error::Shape`], [`Error::GridRange`],
    /// [`Error::Singular`], [`Error::TimeRange`], [`Error::OutOfMemory`].
    pub fn prepare(&self, model: &(impl Model + ?Sized)) -> Result<Prepared<B>> {
        let mut prepared = self.outline(model)?;
        let (samples, dim) = (self.count(), self.dim());
        let zeros = filled("the initial state", samples.saturating_mul(dim), <B::Elem as Real>::of(0.0))?;
        prepared.starts = Array2::from_shape_vec((samples, dim), zeros)
            .map_err(|_| Error::TooLarge { what: "the initial state", why: "its size overflows".into() })?;
        prepared.fill_starts();
        Ok(prepared)
    }

    /// The same without the starts: what the sizes of a run depend on.
    pub(crate) fn outline(&self, model: &(impl Model + ?Sized)) -> Result<Prepared<B>> {
        self.check_sizes()?;
        let (prediction, trained) = (model.prediction(), trained_range(model)?);
        let mut lists: Vec<Arc<Nodes>> = Vec::new();
        let mut list_of = reserved("requests", self.requests.len())?;
        for request in &self.requests {
            let list = request.list(prediction, trained)?;
            let known = lists.iter().position(|known| Arc::ptr_eq(known, &list) || **known == *list);
            list_of.push(known.unwrap_or(lists.len()));
            if known.is_none() {
                lists.push(list);
            }
        }
        self.check(&lists)?;
        for list in &lists {
            check_model(list, model)?;
        }
        let samples = self.count();
        let (mut request_of, mut ids) = (reserved("samples", samples)?, reserved("sample ids", samples)?);
        for (i, request) in self.requests.iter().enumerate() {
            request_of.extend((0..request.ids.len()).map(|_| i as u32));
            ids.extend((0..request.ids.len()).map(|place| request.ids.id(place)));
        }
        let makes = match prediction {
            Prediction::Next => lists.iter().map(|list| made_by(list)).collect::<Result<_>>()?,
            _ => Vec::new(),
        };
        if prediction == Prediction::Next && self.noise.is_some() {
            return Err(Error::unsupported(
                "given noise",
                "a kernel, which takes its random numbers by their addresses",
                "leave it out",
            ));
        }
        Ok(Prepared {
            problem: self.clone(),
            prediction,
            components: model.components(),
            heads: model.heads(),
            continuous: model.is_continuous(),
            grain: model.grain().max(1),
            lists,
            list_of,
            request_of,
            ids,
            starts: Array2::default((0, 0)),
            makes,
        })
    }

    /// How large everything is, before any list is made.
    pub(super) fn check_sizes(&self) -> Result<()> {
        let (samples, dim) = (self.count(), self.dim());
        if self.shape.is_empty() || dim == 0 || dim > MAX_ELEMENTS {
            let expected = "the lengths of a sample's axes, as in .shape([3, 64, 64]), 1 to 2^33 elements in all";
            return Err(Error::setting("shape", format!("{:?}", self.shape), expected));
        }
        if samples == 0 || samples > MAX_SAMPLES {
            return Err(Error::setting("samples", samples, "1 to 2^24 samples"));
        }
        self.requests.iter().try_for_each(|request| request.ids.check())
    }

    /// Shapes of what was given, before anything is allocated.
    fn check(&self, lists: &[Arc<Nodes>]) -> Result<()> {
        let (samples, dim) = (self.count(), self.dim());
        for request in &self.requests {
            request.check_start(dim)?;
        }
        if let Some(noise) = &self.noise {
            let what = "the given noise";
            let (request, list) = (self.request(what)?, &lists[0]);
            // a part of a longer run has the noise of the whole
            let steps = match &request.source {
                Source::Scheme { .. } => list.last_step(),
                Source::List(_) => list.last_step().max(noise.len_of(Axis(0))),
            };
            let expected = vec![steps, samples, dim];
            if noise.shape() != expected.as_slice() {
                return Err(Error::Shape { what, found: noise.shape().to_vec(), expected });
            }
            if let Some(bad) = noise.iter().find(|v| !num_traits::Float::is_finite(**v)) {
                return Err(Error::setting(what, bad, "finite numbers"));
            }
            let all = || (1..list.nodes().len()).flat_map(|j| list.normals(j));
            let given = |normal: &&Normal| normal.stream == stream::DYNAMICS;
            if list.has_noise() && !all().any(|normal| given(&normal)) {
                let with = "nodes whose noise is not that of the dynamics";
                return Err(Error::unsupported("given noise", with, "leave it out"));
            }
            let lacks = |normal: &&Normal| given(normal) && !(1..=steps).contains(&(normal.step as usize));
            if let Some(normal) = list.normals(0).iter().find(given).or_else(|| all().find(lacks)) {
                return Err(Error::setting(
                    what,
                    format!("without step {}", normal.step),
                    "noise for every step that takes it",
                ));
            }
        }
        if let Some(variances) = self.variances.as_ref().map(|v| v.values()).filter(|v| v.len() != dim) {
            let what = "the variances of the data";
            return Err(Error::Shape { what, found: vec![variances.len()], expected: vec![dim] });
        }
        if let Some(path) = &self.path {
            path.check(samples, dim)?;
        }
        if let Save::Steps(steps) = &self.save {
            let has = |step: usize| lists.iter().any(|list| (list.first_step()..=list.last_step()).contains(&step));
            if let Some(step) = steps.iter().find(|step| !has(**step)) {
                return Err(Error::setting("saved step", step, "a step of the run, the start included"));
            }
        }
        Ok(())
    }
}

impl<B: Backend> Prepared<B> {
    /// Another seed for all samples: other starts and other noise, the same nodes. Nothing is allocated.
    pub fn reseed(&mut self, seed: u64) {
        for request in &mut self.problem.requests {
            request.key = NoiseKey::new(seed).with_precision(request.key.precision());
        }
        self.fill_starts();
    }

    /// Other states to start from (samples x dim), at the same steps. Nothing is allocated.
    ///
    /// # Errors
    /// [`Error::Shape`] for another shape, [`Error::Setting`] for numbers that are not finite.
    pub fn restart(&mut self, x: ArrayView2<'_, B::Elem>) -> Result<()> {
        let what = "the initial state";
        if x.dim() != self.starts.dim() {
            return Err(Error::Shape { what, found: x.shape().to_vec(), expected: self.starts.shape().to_vec() });
        }
        if let Some(bad) = x.iter().find(|v| !num_traits::Float::is_finite(**v)) {
            return Err(Error::setting(what, bad, "finite numbers"));
        }
        self.starts.assign(&x);
        Ok(())
    }

    fn fill_starts(&mut self) {
        let mut first = 0;
        for (request, list) in self.problem.requests.iter().zip(&self.list_of) {
            let end = first + request.ids.len();
            request.fill_start(&self.lists[*list], self.starts.slice_axis_mut(Axis(0), Slice::from(first..end)));
            first = end;
        }
    }

    /// Batch size.
    pub fn count(&self) -> usize {
        self.ids.len()
    }

    /// Elements of a sample.
    pub fn dim(&self) -> usize {
        self.problem.dim()
    }

    /// Lengths of the axes of a sample.
    pub(crate) fn axes(&self) -> &[usize] {
        &self.problem.shape
    }

    /// Sample ids, in the order of the batch.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// The backend.
    pub fn backend(&self) -> &B {
        &self.problem.backend
    }

    /// The nodes of a sample.
    pub fn list(&self, slot: usize) -> &Nodes {
        &self.lists[self.list_of(slot)]
    }

    /// What the network's output means.
    pub fn prediction(&self) -> Prediction {
        self.prediction
    }

    /// Whether small changes of states are small changes of outputs.
    pub(crate) fn is_continuous(&self) -> bool {
        self.continuous
    }

    /// Rows that take the network as long as one.
    pub(crate) fn grain(&self) -> usize {
        self.grain
    }

    /// Components that the network sees, and rows that it answers.
    pub(crate) fn shape(&self) -> (usize, usize) {
        (self.components, self.heads)
    }

    /// Unlike lists.
    pub(crate) fn lists(&self) -> &[Arc<Nodes>] {
        &self.lists
    }

    /// Which of them a sample has.
    pub(crate) fn list_of(&self, slot: usize) -> usize {
        self.list_of[self.request_of[slot] as usize]
    }

    /// The only list, where a feature is not for unlike ones.
    pub(crate) fn one_list(&self, what: &'static str) -> Result<&Nodes> {
        match &self.lists[..] {
            [list] => Ok(list),
            lists => {
                let with = format!("{} unlike requests", lists.len());
                Err(Error::unsupported(what, with, "join requests with the same nodes only"))
            }
        }
    }

    /// The seed of a sample's noise.
    pub(crate) fn key(&self, slot: usize) -> NoiseKey {
        self.problem.requests[self.request_of[slot] as usize].key
    }

    /// Where a sample starts (1 x dim).
    pub(crate) fn start(&self, slot: usize) -> ArrayView2<'_, B::Elem> {
        self.starts.slice_axis(Axis(0), Slice::from(slot..slot + 1))
    }

    /// The node that a kernel makes of its answer at node `j`.
    pub(crate) fn made_by(&self, slot: usize, j: usize) -> Option<usize> {
        self.makes.get(self.list_of(slot)).map(|makes| makes[j] as usize)
    }

    pub(crate) fn variances(&self) -> Option<&Variances> {
        self.problem.variances.as_deref()
    }

    /// Whether noise was given.
    pub(crate) fn has_given_noise(&self) -> bool {
        self.problem.noise.is_some()
    }

    /// Whether first guesses were given.
    pub(crate) fn has_path(&self) -> bool {
        self.problem.path.is_some()
    }

    /// The given noise of a step and slot, where noise was given: for every step that takes it.
    pub(crate) fn given_noise(&self, step: usize, slot: usize) -> ArrayView2<'_, B::Elem> {
        let given = self.problem.given_noise(step, slot);
        assert!(given.is_some(), "step {step} has no noise");
        given.unwrap_or_else(|| self.start(slot))
    }

    /// The first guess of a step and slot, if a path was given.
    pub(crate) fn guess(&self, step: usize, slot: usize) -> Option<ArrayView2<'_, B::Elem>> {
        self.problem.path.as_ref().and_then(|path| path.at_or_before(step, slot))
    }

    /// Room for the states that are to be kept, with the starts in it.
    pub(crate) fn path(&self) -> Result<Path<B::Elem>> {
        let steps = match &self.problem.save {
            Save::Nothing => Vec::new(),
            Save::All => {
                let first = self.lists.iter().map(|list| list.first_step()).min().unwrap_or(0);
                let last = self.lists.iter().map(|list| list.last_step()).max().unwrap_or(0);
                (first..=last).collect()
            }
            Save::Steps(steps) => {
                let mut steps = steps.clone();
                steps.sort_unstable();
                steps.dedup();
                steps
            }
        };
        let fill = if self.lists.len() > 1 { f64::NAN } else { 0.0 };
        let mut path = Path::for_steps(steps, self.count(), self.dim(), <B::Elem as Real>::of(fill))?;
        for slot in 0..self.count() {
            if let Some(place) = path.place(self.list(slot).first_step()) {
                path.row_mut(place, slot).assign(&self.start(slot).row(0));
            }
        }
        Ok(path)
    }
}
