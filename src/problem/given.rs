//! What a problem is given beside schedule, grid and scheme: ids, starts, noise, first guesses, variances.

use crate::backend::Backend;
use crate::problem::start::Start;
use crate::problem::{Path, Problem, Save, Variances};
use ndarray::{ArcArray, ArcArray2, Axis, Ix3, Slice};
use std::sync::Arc;

impl<B: Backend> Problem<B> {
    /// Sample ids, 0, 1, ... where none are given: they address the noise, so a sample does not depend on its place in
    /// the batch. As many as there are [`samples`](Problem::samples), if that is said too; joined requests take theirs
    /// in order. Another number is an error when the problem is prepared.
    ///
    /// ```
    /// # use piadm::prelude::*;
    /// # let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).samples(2).shape([2]);
    /// # let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
    /// // the second sample of a batch, alone
    /// let both = Sequential.sample(&problem, &mut score)?;
    /// let alone = Sequential.sample(&problem.samples(1).ids([1]), &mut score)?;
    /// assert_eq!(alone.samples.row(0), both.samples.row(1));
    /// # Ok::<(), piadm::Error>(())
    /// ```
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
    ///
    /// ```
    /// # use piadm::prelude::*;
    /// # let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).samples(2).shape([2]);
    /// # let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
    /// let problem = problem.init(ndarray::array![[0.5, -0.5], [1.0, 2.0]]).save(Save::Steps(vec![0]));
    /// let solution = Sequential.sample(&problem, &mut score)?;
    /// assert_eq!(solution.path.states()[[0, 1, 1]], 2.0);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn init(self, x: impl Into<ArcArray2<B::Elem>>) -> Self {
        self.init_at(0, x)
    }

    /// Starts from the given states at grid point `step`; later steps keep the noise of the full grid.
    ///
    /// ```
    /// # use piadm::prelude::*;
    /// # let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).samples(2).shape([2]);
    /// # let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
    /// // the second half of a run
    /// let whole = Sequential.sample(&problem.clone().save(Save::Steps(vec![20])), &mut score)?;
    /// let middle = whole.path.states().index_axis(ndarray::Axis(0), 0).to_owned();
    /// let second = Sequential.sample(&problem.init_at(20, middle), &mut score)?;
    /// assert_eq!((second.samples, second.report.rounds), (whole.samples, 20));
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn init_at(self, step: usize, x: impl Into<ArcArray2<B::Elem>>) -> Self {
        self.with_start(x.into(), |x| Start::State { step, x })
    }

    /// Starts from data (samples x dim) that the forward process takes to grid point `step` with the noise of the
    /// initial state: image to image, SDEdit (arXiv 2108.01073).
    ///
    /// ```
    /// # use piadm::prelude::*;
    /// # let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).samples(2).shape([2]);
    /// # let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
    /// let images = ndarray::array![[0.5, -0.5], [1.0, 2.0]];
    /// let solution = Sequential.sample(&problem.data_at(30, images), &mut score)?;
    /// assert_eq!(solution.report.rounds, 10); // of 40 steps
    /// # Ok::<(), piadm::Error>(())
    /// ```
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
    /// state stays addressed unless it is given too, and so do the uniform numbers of
    /// [`Acceptance::Law`](crate::Acceptance::Law): change the seed from run to run there.
    ///
    /// ```
    /// # use piadm::prelude::*;
    /// # let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).samples(2).shape([2]);
    /// # let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
    /// let quiet = problem.noise(ndarray::Array3::zeros((40, 2, 2)));
    /// let solution = Sequential.sample(&quiet, &mut score)?;
    /// # let _ = solution;
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn noise(self, noise: impl Into<ArcArray<B::Elem, Ix3>>) -> Self {
        Problem { noise: Some(noise.into()), ..self }
    }

    /// Which intermediate states to keep.
    ///
    /// ```
    /// # use piadm::prelude::*;
    /// # let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).samples(2).shape([2]);
    /// # let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
    /// let solution = Sequential.sample(&problem.save(Save::All), &mut score)?;
    /// assert_eq!(solution.path.states().dim(), (41, 2, 2));
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn save(self, save: Save) -> Self {
        Problem { save, ..self }
    }

    /// First guesses for a parallel sampler, from a path of an earlier run, one of your own ([`Path::new`]) or one that
    /// was [`refine`](Problem::refine)d: a step takes the last saved state at or before it.
    ///
    /// ```
    /// # use piadm::prelude::*;
    /// # let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).samples(2).shape([2]);
    /// # let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
    /// let before = Sequential.sample(&problem.clone().save(Save::All), &mut score)?;
    /// let again = Picard::default().sample(&problem.guesses(before.path), &mut score)?;
    /// assert_eq!(again.report.rounds, 1);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn guesses(self, path: impl Into<Arc<Path<B::Elem>>>) -> Self {
        Problem { path: Some(path.into()), ..self }
    }

    /// Variances of the data, element by element: under
    /// [`Linearisation::Gaussian`](crate::sampler::Linearisation::Gaussian) every element then has a slope of its own.
    /// They change rounds, not results.
    ///
    /// ```
    /// # use piadm::prelude::*;
    /// # let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).samples(2).shape([2]);
    /// # let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
    /// use piadm::{problem::Variances, sampler::Linearisation};
    /// let problem = problem.variances(Variances::new(vec![1.0, 0.25])?);
    /// let sampler = Picard::default().linearisation(Linearisation::Gaussian { variance: 1.0 });
    /// let solution = sampler.sample(&problem, &mut score)?;
    /// # let _ = solution;
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn variances(self, variances: impl Into<Arc<Variances>>) -> Self {
        Problem { variances: Some(variances.into()), ..self }
    }
}
