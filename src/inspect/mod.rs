//! Whether a network is wired right: what its outputs mean, whether its rows depend on each other, what a call costs.

mod calls;
mod readings;
mod report;

pub use report::{CallCost, Difference, Inspection, LevelErrors, NotFinite, Verdict};

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::grid::MAX_STEPS;
use crate::inspect::calls::{Caller, Rows, difference};
use crate::inspect::readings::{errors_at, margin, ranking, verdict};
use crate::problem::{Latency, Prepared, Problem};
use crate::sampler::Automatic;
use crate::schedule::Level;
use crate::score::{Prediction, ScoreFn};
use crate::setters::setters;
use ndarray::ArrayView2;

/// Noises data to some levels of the problem's grid and looks at what the network makes of it: [`Inspect::run`] with
/// the default settings.
///
/// A network whose [`Prediction`] is named wrong, that gets its time on another scale or its data unscaled, samples
/// without an error and gives nonsense. This tells: the error of the denoised data under each reading of the outputs,
/// whether a row depends on its batch, whether two equal calls agree, where outputs are not finite, what calls cost,
/// and what [`Automatic`] would choose.
///
/// # Errors
/// As [`Inspect::run`].
///
/// ```
/// use piadm::inspect::Verdict;
/// use piadm::prelude::*;
/// use piadm::score::Mixture;
///
/// // trained to answer v, and told to be a network for noise
/// let mixture = Mixture::new([0.5, 0.5], ndarray::array![[-1.0, 0.0], [1.0, 0.5]], [0.2, 0.2])?;
/// let data = mixture.sample(64, 1)?.mapv(|v| v as f32);
/// let mut trained = mixture.predicting(Prediction::Velocity);
/// let mut score = score_fn::<f32>(Prediction::Noise, |x, rows, out| {
///     ScoreFn::<Cpu<f32>>::eval(&mut trained, x, rows, out)
/// });
/// let problem = Problem::new(VpLinear::default(), Grid::uniform(50).between(1.0, 0.01), Scheme::ddim()).shape([2]);
/// let report = piadm::inspect(&problem, &mut score, data.view())?;
/// println!("{report}"); // the outputs look like velocity, and the network says that it answers noise ...
/// assert_eq!(report.verdict, Verdict::LooksLike(Prediction::Velocity));
/// # Ok::<(), piadm::Error>(())
/// ```
pub fn inspect<B: Backend>(
    problem: &Problem<B>,
    score: &mut dyn ScoreFn<B>,
    data: ArrayView2<'_, B::Elem>,
) -> Result<Inspection> {
    Inspect::default().run(problem, score, data)
}

/// How much is looked at.
///
/// ```
/// use piadm::inspect::Inspect;
/// use piadm::prelude::*;
/// let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v)); // of data N(0, 1)
/// let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).shape([2]);
/// let data = ndarray::array![[0.3_f32, -1.2]];
/// let report = Inspect::default().levels(3).rows(vec![1, 4]).run(&problem, &mut score, data.view())?;
/// assert_eq!((report.levels.len(), report.costs.len()), (3, 2));
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspect {
    /// At most so many noise levels of the grid; default 7.
    pub levels: usize,
    /// Numbers of rows of the calls that are timed, three times each; default 1, 8 and 64. With none, there is no
    /// choice of [`Automatic`] either.
    pub rows: Vec<usize>,
}

impl Default for Inspect {
    fn default() -> Self {
        Inspect { levels: 7, rows: vec![1, 8, 64] }
    }
}

setters! { Inspect, "inspect::Inspect::default()";
    levels: usize = "3",
    rows: Vec<usize> = "vec![1, 16]",
}

/// Rows of the call that is made twice and then row by row.
const COMPARED: usize = 8;
/// Elements that are denoised at every level if the data have fewer: the same data with other noise.
const ELEMENTS: usize = 256;
/// The most rows that are denoised at every level.
const MOST_ROWS: usize = 64;

impl Inspect {
    /// Looks at a network: about 64 rows at each level (fewer for few data of many elements), some more in calls of one
    /// and eight rows, and the calls that are timed. Calls respect [`Model::max_rows`](crate::Model::max_rows).
    ///
    /// `data` is rows x dim, as the network was trained on it. Row i goes with sample i of the problem, its id and its
    /// slot, so give labelled networks the data of their labels; it begins again with the first sample where there are
    /// more rows. The noise is that of the problem's seed, so all but the seconds (and what is chosen by them) is the
    /// same each time, as far as the network is.
    ///
    /// # Errors
    /// What is wrong with the problem ([`Problem::prepare`]); [`Error::Setting`] for no data, data that are not finite
    /// and bad settings; [`Error::Shape`] for data of another dimension; [`Error::Unsupported`] for kernels, networks
    /// in phase space, unlike requests and grids whose evaluated levels have no signal or no noise; [`Error::Score`]
    /// where the network fails in a call that is not merely timed.
    ///
    /// ```
    /// use piadm::inspect::{Inspect, Verdict};
    /// use piadm::prelude::*;
    /// let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v)); // of data N(0, 1)
    /// let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.01), Scheme::default()).shape([3]);
    /// let data = ndarray::array![[0.3_f32, -1.2, 0.8], [-0.5, 0.1, 1.9]];
    /// let report = Inspect::default().run(&problem, &mut score, data.view())?;
    /// assert_eq!(report.verdict, Verdict::AsDeclared);
    /// assert!(report.is_sound());
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn run<B: Backend>(
        &self,
        problem: &Problem<B>,
        score: &mut dyn ScoreFn<B>,
        data: ArrayView2<'_, B::Elem>,
    ) -> Result<Inspection> {
        self.check(&*score)?;
        let prepared = problem.prepare(&*score)?;
        check_data(&prepared, data)?;
        let levels = self.levels_of(&prepared)?;
        let declared = prepared.prediction();
        let mut caller = Caller::new(&prepared, score, data, &levels);

        let rows = data.nrows().max(ELEMENTS.div_ceil(prepared.dim())).min(MOST_ROWS);
        let (mut errors, mut not_finite) = (Vec::new(), Vec::new());
        for (i, level) in levels.iter().enumerate() {
            let rows = Rows::at_level(i, rows);
            let out = caller.call_or_fail(rows)?;
            errors.push(errors_at(level, &caller.states(rows), data, &out, &mut not_finite));
        }

        let rows = Rows::over_levels(COMPARED);
        let (first, second) = (caller.call_or_fail(rows)?, caller.call_or_fail(rows)?);
        let mut alone = first.clone();
        for row in 0..COMPARED {
            alone.row_mut(row).assign(&caller.call_or_fail(rows.only(row))?.row(0));
        }
        let (repeat, batch) = (difference(&first, &second), difference(&first, &alone));

        let mut sizes = self.rows.clone();
        sizes.sort_unstable();
        sizes.dedup();
        let costs = sizes.into_iter().map(|rows| caller.time(rows)).collect::<Result<Vec<_>>>()?;
        let points: Vec<_> = costs.iter().filter_map(|cost| cost.seconds.map(|s| (cost.rows, s))).collect();
        let parts = caller.parts();
        let choice = (!points.is_empty()).then(|| Automatic::default().forecast(&prepared, parts, Latency { points }));
        let (readings, elements) = (ranking(&errors), data.len());
        let verdict = verdict(declared, &errors, &readings, elements);
        let margin = margin(elements);
        Ok(Inspection { declared, levels: errors, readings, margin, verdict, batch, repeat, not_finite, costs, choice })
    }

    fn check<B: Backend>(&self, score: &dyn ScoreFn<B>) -> Result<()> {
        if self.levels == 0 {
            return Err(Error::setting("levels", 0, "at least 1 level"));
        }
        if let Some(&rows) = self.rows.iter().find(|rows| !(1..=MAX_STEPS).contains(*rows)) {
            return Err(Error::setting("rows", rows, "calls of 1 to 2^24 rows"));
        }
        if score.prediction() == Prediction::Next {
            let with = "a kernel, which answers the next state";
            return Err(Error::unsupported("inspect", with, "inspect the network that it is made of"));
        }
        match score.components() {
            1 => Ok(()),
            n => {
                let with = format!("a network that sees {n} components of a state");
                Err(Error::unsupported("inspect", with, "inspect a network that sees positions only"))
            }
        }
    }

    /// Levels at which the problem evaluates the network, from the noise down, with both signal and noise.
    fn levels_of<B: Backend>(&self, prepared: &Prepared<B>) -> Result<Vec<Level>> {
        let nodes = prepared.one_list("inspect")?.nodes().iter().filter(|node| node.evaluate);
        let mut levels: Vec<Level> = nodes.map(|node| node.level).filter(|l| l.alpha > 0.0 && l.sigma > 0.0).collect();
        levels.dedup_by(|a, b| a.t == b.t);
        let Some(last) = levels.len().checked_sub(1) else {
            let with = "a grid that evaluates the network nowhere between pure noise and the data";
            return Err(Error::unsupported("inspect", with, "take more steps, or begin after alpha = 0"));
        };
        let n = self.levels.min(levels.len());
        // a single one is in the middle
        let place = |i: usize| if n == 1 { last / 2 } else { i * last / (n - 1) };
        Ok((0..n).map(|i| levels[place(i)]).collect())
    }
}

fn check_data<B: Backend>(prepared: &Prepared<B>, data: ArrayView2<'_, B::Elem>) -> Result<()> {
    let (what, dim) = ("the data to inspect with", prepared.dim());
    if data.nrows() == 0 {
        return Err(Error::setting(what, "no rows", "at least one sample of the data"));
    }
    if data.ncols() != dim {
        return Err(Error::Shape { what, found: data.shape().to_vec(), expected: vec![data.nrows(), dim] });
    }
    match data.iter().find(|v| !num_traits::Float::is_finite(**v)) {
        Some(bad) => Err(Error::setting(what, bad, "finite numbers")),
        None => Ok(()),
    }
}
