//! Few steps in the right places: GITS (Chen et al., arXiv 2405.11326).
//!
//! Trajectories of the probability-flow ODE have nearly the same shape, whatever they start from. So a few of them,
//! sampled in many steps by any scheme and sampler, tell where long steps do harm: [`StepCosts::measure`] finds the
//! error of every Euler step between two of their times, and [`StepCosts::grid`] the times whose errors have the least
//! sum, by dynamic programming. This is done once per network; the result is a [`Grid`] like any other, which can be
//! written to a file, as can the costs.
//!
//! A grid of few steps is what to take where steps may be few at all. It does not make the many small steps of another
//! grid.
//!
//! ```
//! use piadm::gits::{Metric, StepCosts};
//! use piadm::{prelude::*, ndarray::array, score::Mixture};
//!
//! let mut network = Mixture::new([0.5, 0.5], array![[-1.0, 0.2], [1.0, -0.4]], [0.2, 0.3])?;
//! let teacher = Grid::karras(60, 0.002, 80.0, 7.0);
//! let teacher = Problem::new(Edm, teacher, Scheme::dpmpp_2m()).samples(64).shape([2]);
//! let costs = StepCosts::measure(&teacher, &Picard::default(), &mut network, Metric::L2)?;
//! let grid = costs.grid(6, 1.0)?;
//! let times = grid.times(&Edm)?;
//! assert_eq!((times.len(), times[0]), (7, 80.0));
//! # Ok::<(), piadm::Error>(())
//! ```

use crate::backend::{Backend, Cpu, Real};
use crate::error::{BoxError, Error, Result, filled, reserved};
use crate::grid::{Grid, MAX_STEPS};
use crate::names::names;
use crate::nodes::Nodes;
use crate::problem::{Prepared, Problem, Save};
use crate::sampler::Sampler;
use crate::schedule::Level;
use crate::score::{Rows, ScoreFn};
use ndarray::{Array2, ArrayView2, Axis};

/// How the error of a step is measured. X stands for x/alpha, and r for sigma/alpha.
///
/// ```
/// use piadm::gits::Metric;
/// assert_eq!("l2".parse::<Metric>()?, Metric::L2);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Metric {
    /// The sum of the absolute errors of X.
    L1,
    /// The length of the error of X.
    #[default]
    L2,
    /// By how much the step's end is further than the trajectory from the straight line between the trajectory's ends.
    /// It may be negative. This is the paper's default; on mixtures it may miss the best grid of 5 steps.
    Deviation,
}

names! { Metric, "measure of a step's error"; L1 = "l1", L2 = "l2", Deviation = "deviation" }

/// The mean error of an Euler step between any two of some times.
///
/// ```
/// use piadm::{gits::StepCosts, ndarray::array};
/// let costs = StepCosts::new([1.0, 0.0], array![[0.0, 0.2], [0.0, 0.0]])?;
/// assert_eq!(costs.times(), [1.0, 0.0]);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Written", into = "Written"))]
pub struct StepCosts {
    times: Vec<f64>,
    /// times x times; only what is above the diagonal has a meaning.
    costs: Array2<f64>,
}

impl StepCosts {
    /// Samples the trajectories of `problem`, whose grid has the times to choose from and whose scheme is the teacher,
    /// and measures the error of a step from each of its times to each later one.
    ///
    /// A step from X_i to time j is Y = X_i + (r_j - r_i) E_i with E = (X - D)/r, D the data prediction: an Euler step
    /// of the ODE, which is DDIM's. Its error is the distance from Y to X_j by `metric`, averaged over the samples. The
    /// paper takes 256 samples of 60 steps; 32 give almost the same grids. Beyond the sampler's calls, the network is
    /// evaluated once at every state, in calls of one row per sample.
    ///
    /// # Errors
    /// Those of the sampler. [`Error::Unsupported`] for schemes that add noise, joined requests, kernels, several
    /// components or heads; [`Error::Setting`] for no samples and for a noisy end with alpha = 0; [`Error::Score`]
    /// where the network fails.
    ///
    /// ```
    /// use piadm::gits::{Metric, StepCosts};
    /// use piadm::prelude::*;
    /// let mut network = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v)); // of data N(0, 1)
    /// let grid = Grid::log_snr(20).between(6.0, 0.01);
    /// let teacher = Problem::new(Ou, grid, Scheme::dpmpp_2m()).samples(4).shape([2]);
    /// let costs = StepCosts::measure(&teacher, &Sequential, &mut network, Metric::L2)?;
    /// assert!(costs.costs()[[0, 20]] > costs.costs()[[0, 1]]); // the longer step errs more
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn measure<T: Real>(
        problem: &Problem<Cpu<T>>,
        sampler: &dyn Sampler<Cpu<T>>,
        score: &mut dyn ScoreFn<Cpu<T>>,
        metric: Metric,
    ) -> Result<Self> {
        problem.check_single("StepCosts::measure")?;
        let prepared = problem.prepare(&*score)?;
        let list = prepared.list(0);
        let levels = levels(list, (score.components(), score.heads()))?;
        let path = sampler.sample(&problem.clone().save(Save::All), score)?.path;
        let states = path.states();
        let count = levels.len();
        let mut data = reserved("the data predictions", count - 1)?;
        for (place, level) in levels[..count - 1].iter().enumerate() {
            data.push(predict(&prepared, score, states.index_axis(Axis(0), place), level, place)?);
        }
        let zeros = filled("the costs of steps", count.saturating_mul(count), 0.0)?;
        let shape = (count, count);
        let mut costs = Array2::from_shape_vec(shape, zeros)
            .map_err(|_| Error::TooLarge { what: "the costs of steps", why: "their number overflows".into() })?;
        for sample in 0..prepared.count() {
            let of_node = |place: usize| {
                let scale = 1.0 / levels[place].alpha;
                states.index_axis(Axis(0), place).row(sample).mapv(|x| scale * x.wide())
            };
            let path: Vec<_> = (0..count).map(of_node).collect();
            let line = &path[count - 1] - &path[0];
            let length = line.dot(&line);
            // the squared distance of a point from the line
            let away = |point: &ndarray::Array1<f64>| {
                let from = point - &path[0];
                let along = if length == 0.0 { 0.0 } else { from.dot(&line) / length };
                (from.dot(&from) - along * along * length).max(0.0)
            };
            for (i, predicted) in data.iter().enumerate() {
                let r = levels[i].sigma / levels[i].alpha;
                let slope = (&path[i] - &predicted.row(sample)) / r;
                for j in i + 1..count {
                    let end = &path[i] + &slope * (levels[j].sigma / levels[j].alpha - r);
                    costs[[i, j]] += match metric {
                        Metric::L1 => (&end - &path[j]).mapv(f64::abs).sum(),
                        Metric::L2 => (&end - &path[j]).mapv(|x| x * x).sum().sqrt(),
                        // the last time is on the line
                        Metric::Deviation if j + 1 == count => away(&end).sqrt(),
                        Metric::Deviation => away(&end).sqrt() - away(&path[j]).sqrt(),
                    };
                }
            }
        }
        costs /= prepared.count() as f64;
        StepCosts::new(levels.iter().map(|level| level.t).collect::<Vec<_>>(), costs)
    }

    /// Costs of your own: entry (i, j), i < j, is that of a step from time i to time j.
    ///
    /// # Errors
    /// [`Error::Shape`] unless `costs` is square with a row per time, [`Error::Setting`] for fewer than two times and
    /// for a cost above the diagonal that is not finite.
    ///
    /// ```
    /// use piadm::{gits::StepCosts, ndarray::array};
    /// let costs = StepCosts::new([2.0, 1.0, 0.0], array![[0.0, 0.1, 9.0], [0.0, 0.0, 0.3], [0.0, 0.0, 0.0]])?;
    /// assert_eq!(costs.best(2, 1.0)?, (vec![0, 1, 2], 0.4));
    /// assert_eq!(costs.best(1, 1.0)?, (vec![0, 2], 9.0));
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn new(times: impl Into<Vec<f64>>, costs: Array2<f64>) -> Result<Self> {
        let times = times.into();
        let count = times.len();
        if !(2..=MAX_STEPS + 1).contains(&count) {
            return Err(Error::setting("times", count, "2 to 2^24 + 1 times"));
        }
        if costs.dim() != (count, count) {
            let (found, expected) = (costs.shape().to_vec(), vec![count, count]);
            return Err(Error::Shape { what: "the costs of steps", found, expected });
        }
        let above = costs.indexed_iter().filter(|((i, j), _)| i < j);
        if let Some(((i, j), cost)) = above.clone().find(|(_, cost)| !cost.is_finite()) {
            let value = format!("{cost} from time {i} to time {j}");
            return Err(Error::setting("cost of a step", value, "finite costs"));
        }
        Ok(StepCosts { times, costs })
    }

    /// The times to choose from.
    ///
    /// ```
    /// use piadm::{gits::StepCosts, ndarray::Array2};
    /// assert_eq!(StepCosts::new([1.0, 0.0], Array2::zeros((2, 2)))?.times(), [1.0, 0.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// The costs, times x times; only what is above the diagonal has a meaning.
    ///
    /// ```
    /// use piadm::{gits::StepCosts, ndarray::Array2};
    /// assert_eq!(StepCosts::new([1.0, 0.0], Array2::zeros((2, 2)))?.costs().dim(), (2, 2));
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn costs(&self) -> ArrayView2<'_, f64> {
        self.costs.view()
    }

    /// Which times to take for so many steps, the first and the last among them, and their cost, the least of all
    /// sum_k gamma^k c_k with c_k the cost of step k = 0, 1, .... A `gamma` above 1 weighs the steps near the data
    /// more; the paper takes 1.15 for small images and 1.2 for Stable Diffusion.
    ///
    /// # Errors
    /// [`Error::Setting`] unless 1 <= `steps` < times and `gamma` is finite and positive.
    ///
    /// ```
    /// use piadm::{gits::StepCosts, ndarray::array};
    /// let costs = array![[0.0, 0.1, 0.5, 9.0], [0.0, 0.0, 0.2, 0.4], [0.0, 0.0, 0.0, 0.3], [0.0, 0.0, 0.0, 0.0]];
    /// let costs = StepCosts::new([3.0, 2.0, 1.0, 0.0], costs)?;
    /// assert_eq!(costs.best(2, 1.0)?, (vec![0, 1, 3], 0.5));
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn best(&self, steps: usize, gamma: f64) -> Result<(Vec<usize>, f64)> {
        let last = self.times.len() - 1;
        if !(1..=last).contains(&steps) {
            return Err(Error::setting("steps", steps, "at least 1, and fewer than there are times"));
        }
        if !(gamma > 0.0 && gamma.is_finite()) {
            return Err(Error::setting("gamma", gamma, "a finite positive number"));
        }
        // the cost of the rest from each time on, in 1, 2, ... steps, and the next time; infinite where it cannot be
        let mut rest: Vec<f64> =
            (0..=last).map(|i| if i < last { self.costs[[i, last]] } else { f64::INFINITY }).collect();
        let mut next = reserved("the choices of steps", steps)?;
        next.push(filled("the choices of a step", last + 1, last)?);
        for _ in 1..steps {
            let least = |i: usize| {
                let ways = (i + 1..last).map(|j| (self.costs[[i, j]] + gamma * rest[j], j));
                ways.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, last))
            };
            let (longer, choice) = (0..=last).map(least).unzip();
            rest = longer;
            next.push(choice);
        }
        let mut chosen = vec![0];
        for choice in next.iter().rev() {
            chosen.push(choice[chosen[chosen.len() - 1]]);
        }
        Ok((chosen, rest[0]))
    }

    /// The grid of so many steps with the least cost: see [`best`](Self::best).
    ///
    /// # Errors
    /// As [`best`](Self::best).
    ///
    /// ```
    /// use piadm::{gits::StepCosts, ndarray::array, Flow};
    /// let costs = StepCosts::new([1.0, 0.5, 0.0], array![[0.0, 0.1, 9.0], [0.0, 0.0, 0.3], [0.0, 0.0, 0.0]])?;
    /// assert_eq!(costs.grid(1, 1.0)?.times(&Flow)?, [1.0, 0.0]);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn grid(&self, steps: usize, gamma: f64) -> Result<Grid> {
        let (chosen, _) = self.best(steps, gamma)?;
        Ok(Grid::new(chosen.into_iter().map(|i| self.times[i]).collect::<Vec<_>>()))
    }
}

/// The levels of a list's solution nodes, whose errors can be measured.
fn levels(list: &Nodes, of_model: (usize, usize)) -> Result<Vec<Level>> {
    let refuse = |with: &str, instead| Err(Error::unsupported("StepCosts::measure", with, instead));
    if list.has_noise() {
        return refuse("a scheme that adds noise", "take a scheme of the ODE, such as Scheme::dpmpp_2m()");
    }
    if of_model != (1, 1) || list.components() != 1 {
        return refuse("several components or heads", "take a network of images");
    }
    let levels: Vec<Level> = list.nodes().iter().filter(|node| node.solution).map(|node| node.level).collect();
    match levels.iter().find(|level| level.alpha == 0.0) {
        Some(level) => Err(Error::setting("time", level.t, "times with alpha > 0: let the grid begin a little later")),
        None => Ok(levels),
    }
}

/// The data predictions at states of one level, samples x dim.
fn predict<T: Real>(
    prepared: &Prepared<Cpu<T>>,
    score: &mut dyn ScoreFn<Cpu<T>>,
    states: ArrayView2<'_, T>,
    level: &Level,
    node: usize,
) -> Result<Array2<f64>> {
    let (p, q) = score.prediction().data_map(level.alpha, level.sigma);
    if !(p.is_finite() && q.is_finite()) {
        let instead = "take a network whose output determines the data";
        return Err(Error::unsupported("StepCosts::measure", format!("{} outputs", score.prediction()), instead));
    }
    let (count, dim) = states.dim();
    let most = score.max_rows().unwrap_or(count).clamp(1, count);
    let mut outputs = Array2::zeros((count, dim));
    let mut first = 0;
    while first < count {
        let end = (first + most).min(count);
        let n = end - first;
        let (t, alpha, sigma) = (vec![level.t; n], vec![level.alpha; n], vec![level.sigma; n]);
        let slot: Vec<usize> = (first..end).collect();
        let failed = |source: BoxError| Error::Score { round: 0, node, sample: prepared.ids()[first], source };
        let Some(rows) = Rows::new(&t, &alpha, &sigma, &prepared.ids()[first..end], &slot) else {
            unreachable!("one entry per row")
        };
        let rows = rows.with_shape(prepared.axes());
        let (seen, mut answered) = (Cpu::part(states, first..end), outputs.view_mut());
        let answered = Cpu::part_mut(&mut answered, first..end);
        score.eval(seen, &rows, answered).map_err(failed)?;
        first = end;
    }
    Ok(ndarray::Zip::from(states).and(&outputs).map_collect(|x, f: &T| p * x.wide() + q * f.wide()))
}

/// Costs in a file.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    times: Vec<f64>,
    costs: Vec<Vec<f64>>,
}

#[cfg(feature = "serde")]
impl TryFrom<Written> for StepCosts {
    type Error = Error;

    fn try_from(Written { times, costs }: Written) -> Result<Self> {
        let count = times.len();
        if let Some(row) = costs.iter().find(|row| row.len() != count) {
            let (found, expected) = (vec![costs.len(), row.len()], vec![count, count]);
            return Err(Error::Shape { what: "the costs of steps", found, expected });
        }
        let rows = costs.len();
        match Array2::from_shape_vec((rows, count), costs.concat()) {
            Ok(costs) => StepCosts::new(times, costs),
            Err(_) => Err(Error::setting("times", count, "at least two times")),
        }
    }
}

#[cfg(feature = "serde")]
impl From<StepCosts> for Written {
    fn from(costs: StepCosts) -> Self {
        Written { times: costs.times, costs: costs.costs.outer_iter().map(|row| row.to_vec()).collect() }
    }
}
