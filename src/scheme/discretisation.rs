//! The list of nodes that every sampler runs.

use super::{Form, Lag};
use crate::error::{Error, Result};
use crate::prediction::Prediction;
use crate::schedule::NoiseSchedule;

/// A time and its noise level: x = alpha x_0 + sigma eps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Level {
    /// The schedule's time.
    pub t: f64,
    /// log alpha.
    pub log_alpha: f64,
    /// alpha.
    pub alpha: f64,
    /// sigma.
    pub sigma: f64,
    /// Half log-SNR lambda = log(alpha/sigma); infinite at sigma = 0, minus infinity at alpha = 0.
    pub log_snr: f64,
}

impl Level {
    /// The level of a schedule at time `t`.
    pub fn at(schedule: &dyn NoiseSchedule, t: f64) -> Self {
        Level {
            t,
            log_alpha: schedule.log_alpha(t),
            alpha: schedule.alpha(t),
            sigma: schedule.sigma(t),
            log_snr: schedule.log_snr(t),
        }
    }

    /// The Ornstein-Uhlenbeck time with the same signal-to-noise ratio, log(1 + e^{-2 lambda}): PIADM measures blocks in it.
    pub fn ou_time(&self) -> f64 {
        let x = -2.0 * self.log_snr;
        if x > 40.0 { x } else { x.exp().ln_1p() }
    }
}

/// A place of the trajectory: the start, the end of a step, or a stage inside one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Node {
    /// Its noise level.
    pub level: Level,
    /// Index of the step it belongs to; the start has 0 and step m ends at solution node m. It addresses the node's noise.
    pub step: usize,
    /// Whether it ends a step, and is not a stage.
    pub solution: bool,
    /// Whether a later node needs the network's output here.
    pub evaluate: bool,
    /// Standard deviation of DDPM's posterior over its step, sigma_u sqrt(1 - e^{-2h}): the yardstick of ParaDiGMS.
    pub posterior_std: f64,
}

/// Coefficients of a node for [`Discretisation::push`], with L lags, n components and k normals.
#[derive(Clone, Copy, Debug)]
pub struct NodeTerms<'a> {
    /// On states, `[lag][component out][component in]`: L n n values.
    pub a: &'a [f64],
    /// On network outputs, `[lag][component]`: L n values.
    pub b: &'a [f64],
    /// On normals, `[component][normal]`: n k values.
    pub c: &'a [f64],
}

/// A strictly lower-triangular list of nodes,
/// `x_j = sum_l A_{j,l} x_{j-l} + sum_l B_{j,l} f(x_{j-l}, t_{j-l}) + C_j xi`, l = 1..L.
///
/// [`Discretisation::new`] makes it from a schedule, a grid and a scheme. A list of your own starts with
/// [`Discretisation::empty`] and grows by [`Discretisation::push`]; it may look back further and have two components a state
/// (position and velocity), of which the network sees the first. One-component lists take their normals from the stream of the dynamics,
/// two-component lists from those of the corrector, where the second component starts from N(0, I): see [`stream`](crate::noise::stream).
///
/// ```
/// use piadm::{Discretisation, Level, NodeTerms, Ou};
/// // x_1 = 0.9 x_0 + 0.1 f(x_0), no noise
/// let mut list = Discretisation::empty(Level::at(&Ou, 2.0), 1, 1, 1)?;
/// list.push(Level::at(&Ou, 1.0), true, NodeTerms { a: &[0.9], b: &[0.1], c: &[0.0] })?;
/// assert_eq!((list.steps(), list.nodes().len()), (1, 2));
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Discretisation {
    nodes: Vec<Node>,
    lookback: usize,
    components: usize,
    normals: usize,
    a: Vec<f64>,
    b: Vec<f64>,
    c: Vec<f64>,
    /// Level of the last solution node.
    solved: Level,
}

impl Discretisation {
    /// Only the start, at `level`, for nodes with `lookback` lags, `components` (1 or 2) a state and `normals` (at most 2)
    /// independent normals a step.
    ///
    /// # Errors
    /// [`Error::Setting`] outside these ranges.
    pub fn empty(level: Level, lookback: usize, components: usize, normals: usize) -> Result<Self> {
        let range = |name, value: usize, range: std::ops::RangeInclusive<usize>, expected| match range.contains(&value)
        {
            true => Ok(()),
            false => Err(Error::setting(name, value, expected)),
        };
        range("lookback", lookback, 1..=16, "1 to 16 nodes")?;
        range("components", components, 1..=2, "1 or 2")?;
        range("normals", normals, 0..=2, "at most 2")?;
        let start = Node { level, step: 0, solution: true, evaluate: false, posterior_std: 0.0 };
        Ok(Discretisation {
            nodes: vec![start],
            lookback,
            components,
            normals,
            a: vec![0.0; lookback * components * components],
            b: vec![0.0; lookback * components],
            c: vec![0.0; components * normals],
            solved: level,
        })
    }

    /// The same list with its start at `step` in place of 0, for runs that are a part of a longer one.
    pub fn numbered_from(mut self, step: usize) -> Self {
        let first = self.first_step();
        self.nodes.iter_mut().for_each(|node| node.step = node.step - first + step);
        self
    }

    /// Adds a node at `level`: the end of a step (`solution`), or a stage of the step that the next solution node ends.
    ///
    /// # Errors
    /// [`Error::Shape`] for slices of the wrong length, [`Error::Setting`] for coefficients that are not finite or reach before the
    /// start, [`Error::GridLength`] beyond the addressable steps.
    pub fn push(&mut self, level: Level, solution: bool, terms: NodeTerms<'_>) -> Result<()> {
        let (n, l, k) = (self.components, self.lookback, self.normals);
        for (what, given, expected) in [("a", terms.a, l * n * n), ("b", terms.b, l * n), ("c", terms.c, n * k)] {
            if given.len() != expected {
                return Err(Error::Shape { what, found: vec![given.len()], expected: vec![expected] });
            }
            if let Some(bad) = given.iter().find(|v| !v.is_finite()) {
                return Err(Error::setting(what, bad, "finite coefficients"));
            }
        }
        let j = self.nodes.len();
        let step = self.nodes.last().map_or(0, |node| node.step + usize::from(node.solution));
        if step > crate::grid::MAX_STEPS {
            return Err(Error::GridLength { points: step + 1, max: crate::grid::MAX_STEPS + 1 });
        }
        let used = |lag: usize, per_lag: usize, values: &[f64]| {
            values.iter().skip((lag - 1) * per_lag).take(per_lag).any(|&v| v != 0.0)
        };
        if let Some(lag) = (j + 1..=l).find(|&lag| used(lag, n * n, terms.a) || used(lag, n, terms.b)) {
            return Err(Error::setting("lag", lag, "a node that is not before the start"));
        }
        for lag in (1..=l.min(j)).filter(|&lag| used(lag, n, terms.b)) {
            if let Some(node) = self.nodes.get_mut(j - lag) {
                node.evaluate = true;
            }
        }
        let h = level.log_snr - self.solved.log_snr;
        let posterior_std = if level.sigma == 0.0 { 0.0 } else { level.sigma * (-(-2.0 * h).exp_m1()).max(0.0).sqrt() };
        self.nodes.push(Node { level, step, solution, evaluate: false, posterior_std });
        self.a.extend(terms.a);
        self.b.extend(terms.b);
        self.c.extend(terms.c);
        if solution {
            self.solved = level;
        }
        Ok(())
    }

    /// All nodes; the first is the start.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Index of the step that the start ends: 0, or more where a run starts inside a grid.
    pub fn first_step(&self) -> usize {
        self.nodes.first().map_or(0, |n| n.step)
    }

    /// Index of the last finished step.
    pub fn last_step(&self) -> usize {
        self.nodes.iter().rev().find(|n| n.solution).map_or(0, |n| n.step)
    }

    /// Number of finished steps in the list.
    pub fn steps(&self) -> usize {
        self.last_step() - self.first_step()
    }

    /// L, the number of nodes a node may reach back.
    pub fn lookback(&self) -> usize {
        self.lookback
    }

    /// Components of a state, 1 or 2.
    pub fn components(&self) -> usize {
        self.components
    }

    /// Independent normals a step.
    pub fn normals(&self) -> usize {
        self.normals
    }

    /// Whether any step adds noise.
    pub fn has_noise(&self) -> bool {
        self.c.iter().any(|c| *c != 0.0)
    }

    /// A_{j,l} from component `from` to component `to`; 0 outside the list.
    pub fn a(&self, node: usize, lag: usize, to: usize, from: usize) -> f64 {
        let n = self.components;
        let inside = (1..=self.lookback).contains(&lag) && to < n && from < n;
        let at = ((node * self.lookback + lag.saturating_sub(1)) * n + to) * n + from;
        if inside { self.a.get(at).copied().unwrap_or(0.0) } else { 0.0 }
    }

    /// B_{j,l} into component `to`; 0 outside the list.
    pub fn b(&self, node: usize, lag: usize, to: usize) -> f64 {
        let inside = (1..=self.lookback).contains(&lag) && to < self.components;
        let at = (node * self.lookback + lag.saturating_sub(1)) * self.components + to;
        if inside { self.b.get(at).copied().unwrap_or(0.0) } else { 0.0 }
    }

    /// C_j on normal `normal` into component `to`; 0 outside the list.
    pub fn c(&self, node: usize, to: usize, normal: usize) -> f64 {
        let inside = to < self.components && normal < self.normals;
        let at = (node * self.components + to) * self.normals + normal;
        if inside { self.c.get(at).copied().unwrap_or(0.0) } else { 0.0 }
    }
}

/// Fills a list from steps in the words of [`Form`], folding the network's kind of output into the coefficients.
pub(super) struct Assembler {
    list: Discretisation,
    prediction: Prediction,
    a: Vec<f64>,
    b: Vec<f64>,
}

impl Assembler {
    pub(super) fn new(start: Level, first_step: usize, lookback: usize, prediction: Prediction) -> Result<Self> {
        let list = Discretisation::empty(start, lookback, 1, 1)?.numbered_from(first_step);
        Ok(Assembler { list, prediction, a: vec![0.0; lookback], b: vec![0.0; lookback] })
    }

    pub(super) fn solution(&mut self, level: Level, lags: &[Lag], c: f64) -> Result<()> {
        self.add(level, true, lags, c)
    }

    pub(super) fn stage(&mut self, level: Level, lags: &[Lag], c: f64) -> Result<()> {
        self.add(level, false, lags, c)
    }

    pub(super) fn finish(self) -> Discretisation {
        self.list
    }

    /// With the oracle = P x + Q f at the lag's node, `a x + b oracle` is `(a + b P) x + b Q f`.
    fn add(&mut self, level: Level, solution: bool, lags: &[Lag], c: f64) -> Result<()> {
        self.a.fill(0.0);
        self.b.fill(0.0);
        let j = self.list.nodes.len();
        let mut from = level;
        for lag in lags {
            let Some(source) = j.checked_sub(lag.lag).and_then(|i| self.list.nodes.get(i)) else { continue };
            from = source.level;
            if !(lag.a.is_finite() && lag.b.is_finite()) {
                return Err(self.singular(&from, "a scheme in this form"));
            }
            let (p, q) = match lag.form {
                Form::Data => self.prediction.data_map(from.alpha, from.sigma),
                Form::Score => self.prediction.score_map(from.alpha, from.sigma),
                Form::Noise => {
                    let (p, q) = self.prediction.score_map(from.alpha, from.sigma);
                    (-from.sigma * p, -from.sigma * q)
                }
            };
            // a step that does not use the oracle needs no conversion, even where that is singular
            let (p, q) = if lag.b == 0.0 { (0.0, 0.0) } else { (p, q) };
            if !(p.is_finite() && q.is_finite()) {
                return Err(self.singular(&from, "turning this kind of output into what the scheme needs"));
            }
            if let (Some(a), Some(b)) = (self.a.get_mut(lag.lag - 1), self.b.get_mut(lag.lag - 1)) {
                *a += lag.a + lag.b * p;
                *b += lag.b * q;
            }
        }
        if !(c.is_finite() && self.a.iter().chain(&self.b).all(|v| v.is_finite())) {
            return Err(self.singular(&from, "a scheme in this form"));
        }
        self.list.push(level, solution, NodeTerms { a: &self.a, b: &self.b, c: &[c] })
    }

    fn singular(&self, from: &Level, what: &'static str) -> Error {
        let step = self.list.nodes.last().map_or(0, |node| node.step + usize::from(node.solution));
        Error::Singular { step, time: from.t, what }
    }
}
