//! How a sweep passes the change of a node on to the next ones, and how new nodes enter.

use crate::error::{Error, Result};
use crate::prediction::Prediction;
use crate::sampler::Variances;
use crate::scheme::{Discretisation, Level};

/// Data variance of the slopes before any has been measured; of little account, it serves one sweep.
pub(in crate::sampler) const FIRST_VARIANCE: f64 = 0.25;

/// What a sweep assumes of the network's slope J = df/dx.
///
/// One sweep is x'_j = Phi_j(x) + sum_l W_l (x'_{j-l} - x_{j-l}), where Phi is the scheme's own step at the states x at which the network
/// was evaluated and W_l = A_l + B_l J passes on how these states have moved since. Every choice has the same fixed point, the
/// sequential trajectory; they differ in how fast it is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", deny_unknown_fields))]
#[non_exhaustive]
pub enum Linearisation {
    /// The score does not move with the state (J = 0 in score units): Picard's iteration with the exponential integrator, as in PIADM
    /// (arXiv 2405.15986) and ParaTAA (arXiv 2402.09970).
    FrozenScore,
    /// W_1 = 1, W_l = 0 beyond: the change is handed on as it is, as in ParaDiGMS (arXiv 2305.16317).
    Identity,
    /// The slope of Gaussian data of this variance, at least 0. Where the problem has variances by element
    /// ([`Problem::with_variances`](crate::Problem::with_variances)) they are multiplied by it, and every element has a slope of its own.
    Gaussian {
        /// Variance of the data an element; 0 means point masses.
        variance: f64,
    },
    /// The slope measured between a node's last two evaluations, J = <df, dy> / <dy, dy> over the elements of a sample, within
    /// its bounds ([`Prediction::slope_bounds`]): a secant method that costs no evaluation. A node without two evaluations borrows the
    /// slope of the nearest one before it, converted to its own noise level by the variance of Gaussian data with that slope. The
    /// default: it takes the fewest rounds at equal error on trained networks and on mixtures, and knows nothing of the data.
    #[default]
    Secant,
}

/// A weight's place in the recurrence: from component `from` of node j - lag, which may have left the window, to `to` of node j.
#[derive(Clone, Copy, Debug)]
pub(in crate::sampler) struct Place {
    pub j: usize,
    pub lag: usize,
    pub to: usize,
    pub from: usize,
    pub left: bool,
}

impl Linearisation {
    /// Whether it needs the slopes that a run measures.
    pub(in crate::sampler) fn is_measured(&self) -> bool {
        matches!(self, Linearisation::Secant)
    }

    pub(super) fn check(&self) -> Result<()> {
        match *self {
            Linearisation::Gaussian { variance } => check_variance("linearisation variance", variance),
            _ => Ok(()),
        }
    }

    /// Mean variance of the data for whose slopes, element by element, it stands; `None` where all elements have the same slope.
    pub(in crate::sampler) fn variance(&self, given: Option<&Variances>) -> Option<f64> {
        match *self {
            Linearisation::Gaussian { variance } => Some(variance * given?.mean()),
            _ => None,
        }
    }

    /// W at a place, `measured` being the slope there, if there is one. Under the identity a node that has left the window hands
    /// its accepted state on with a frozen score, in all lags: otherwise a step would mix the accepted and the evaluated state.
    pub(in crate::sampler) fn weight(
        &self,
        list: &Discretisation,
        Place { j, lag, to, from, left }: Place,
        measured: Option<f64>,
        prediction: Prediction,
    ) -> f64 {
        let Some(level) = j.checked_sub(lag).and_then(|i| list.nodes().get(i)).map(|n| n.level) else { return 0.0 };
        let slope = match *self {
            Linearisation::Identity if !left => return f64::from(u8::from(lag == 1 && to == from)),
            Linearisation::Identity | Linearisation::FrozenScore => {
                prediction.slope_from_score(level.alpha, level.sigma, 0.0)
            }
            Linearisation::Gaussian { variance } => prediction.gaussian_slope(level.alpha, level.sigma, variance),
            Linearisation::Secant => {
                measured.unwrap_or_else(|| prediction.gaussian_slope(level.alpha, level.sigma, FIRST_VARIANCE))
            }
        };
        // singular only where alpha = 0, at the start, which never moves
        let slope = if slope.is_finite() && from == 0 { slope } else { 0.0 };
        list.a(j, lag, to, from) + list.b(j, lag, to) * slope
    }
}

/// First guess of a node that enters a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", deny_unknown_fields))]
#[non_exhaustive]
pub enum Entry {
    /// `LinearData` where no step has noise, `HeldData` where one has, both with variance 0.05: what took the fewest rounds.
    #[default]
    Auto,
    /// The newest state, as in PIADM and ParaDiGMS.
    Copy,
    /// The recurrence, with its own noise, under the prediction for Gaussian data of this variance around a centre held from the last
    /// evaluated node: D = (alpha V x + sigma^2 mu) / (alpha^2 V + sigma^2), mu = (y + (alpha^2 V + sigma^2) s) / alpha. V = 0 holds
    /// the data prediction itself. It costs no score and puts every node on its own noise level.
    HeldData {
        /// V, variance of the data an element, at least 0.
        variance: f64,
    },
    /// As `HeldData`, with the centre on the line in log-SNR through those of two evaluated nodes, followed for at most one unit.
    LinearData {
        /// V, variance of the data an element, at least 0.
        variance: f64,
    },
}

impl Entry {
    /// The choice that stands for `Auto` on a list of nodes.
    pub(super) fn on(self, list: &Discretisation) -> Self {
        const VARIANCE: f64 = 0.05;
        match self {
            Entry::Auto if list.has_noise() => Entry::HeldData { variance: VARIANCE },
            Entry::Auto => Entry::LinearData { variance: VARIANCE },
            given => given,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        match *self {
            Entry::Auto | Entry::Copy => Ok(()),
            Entry::HeldData { variance } | Entry::LinearData { variance } => check_variance("entry variance", variance),
        }
    }

    fn variance(&self) -> f64 {
        match *self {
            Entry::Auto | Entry::Copy => 0.0,
            Entry::HeldData { variance } | Entry::LinearData { variance } => variance,
        }
    }

    /// Whether the centre moves on.
    pub(in crate::sampler) fn follows(&self) -> bool {
        matches!(self, Entry::LinearData { .. })
    }

    /// The centre from an evaluated node, mu = u y + v f: (u, v).
    pub(in crate::sampler) fn centre(&self, level: &Level, prediction: Prediction) -> (f64, f64) {
        let (alpha, sigma) = (level.alpha, level.sigma);
        let var = alpha * alpha * self.variance() + sigma * sigma;
        let (p, q) = prediction.score_map(alpha, sigma);
        let (u, v) = ((1.0 + var * p) / alpha, var * q / alpha);
        // where the signal has vanished the centre is the data prediction itself
        if u.is_finite() && v.is_finite() { (u, v) } else { prediction.data_map(alpha, sigma) }
    }

    /// The output that the held prediction stands for, f = g x + k mu: (g, k).
    pub(in crate::sampler) fn output(&self, level: &Level, prediction: Prediction) -> (f64, f64) {
        let (alpha, sigma) = (level.alpha, level.sigma);
        let var = alpha * alpha * self.variance() + sigma * sigma;
        let (p, q) = prediction.data_map(alpha, sigma);
        ((alpha * self.variance() / var - p) / q, sigma * sigma / var / q)
    }
}

fn check_variance(name: &'static str, variance: f64) -> Result<()> {
    if variance >= 0.0 && variance.is_finite() {
        return Ok(());
    }
    Err(Error::setting(name, variance, "a finite number that is at least 0"))
}
