//! How a sweep passes the change of a node on to the next ones, that is, what an iteration assumes of the network.

use crate::error::{Error, Result, check_variance};
use crate::nodes::{Link, Node};
use crate::problem::Variances;
use crate::score::Prediction;

/// Data variance of the slopes before any has been measured; of little account, it serves one sweep.
pub(crate) const FIRST_VARIANCE: f64 = 0.25;

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
    /// ([`Problem::variances`](crate::Problem::variances)) they are multiplied by it, and every element has a slope of its own.
    Gaussian {
        /// Variance of the data per element; 0 means point masses.
        variance: f64,
    },
    /// The slope measured between a node's last two evaluations, J = <df, dy> / <dy, dy> over the elements of a sample, within
    /// its bounds ([`Prediction::slope_bounds`]): a secant method that costs no evaluation. A node without two evaluations borrows the
    /// slope of the nearest one before it, converted to its own noise level by the variance of Gaussian data with that slope. The
    /// default: it takes the fewest rounds at equal error on trained networks and on mixtures, and knows nothing of the data.
    #[default]
    Secant,
}

/// A weight's place in the recurrence: a link of node `j`, whose source may have left the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub link: &'a Link,
    /// The node that the link is of, and its source.
    pub node: &'a Node,
    pub source: &'a Node,
    /// Whether the source has left the window.
    pub left: bool,
    /// Whether it is the nearest source of the same component.
    pub nearest: bool,
}

impl Linearisation {
    /// Whether it needs the slopes that a run measures.
    pub(crate) fn is_measured(&self) -> bool {
        matches!(self, Linearisation::Secant)
    }

    /// Whether it can be had of a network with this output.
    pub(crate) fn check(&self, prediction: Prediction) -> Result<()> {
        match *self {
            Linearisation::Gaussian { .. } if prediction == Prediction::Next => {
                let instead = "take Linearisation::FrozenScore, Identity or Secant";
                Err(Error::unsupported("Linearisation::Gaussian", "a kernel, which has no score", instead))
            }
            Linearisation::Gaussian { variance } => check_variance("linearisation variance", variance),
            _ => Ok(()),
        }
    }

    /// Mean variance of the data for whose slopes, element by element, it stands; `None` where all elements have the same slope.
    pub(crate) fn variance(&self, given: Option<&Variances>) -> Option<f64> {
        match *self {
            Linearisation::Gaussian { variance } => Some(variance * given?.mean()),
            _ => None,
        }
    }

    /// W at a place, `measured` being the slope there, if there is one. Of the components that the network sees, each goes with the head of
    /// the same number. Under the identity a node that has left the window hands its accepted state on with a frozen score, in all lags:
    /// otherwise a step would mix the accepted and the evaluated state. A kernel without a slope is taken to have the node's prefactor.
    pub(crate) fn weight(&self, place: &Place<'_>, measured: Option<f64>, prediction: Prediction, seen: usize) -> f64 {
        let Place { link, node, source, left, nearest } = *place;
        let (alpha, sigma) = (source.level.alpha, source.level.sigma);
        let frozen = || match prediction {
            Prediction::Next => node.prefactor,
            _ => prediction.slope_from_score(alpha, sigma, 0.0),
        };
        let slope = match *self {
            Linearisation::Identity if !left => return f64::from(u8::from(nearest)),
            Linearisation::Identity | Linearisation::FrozenScore => frozen(),
            Linearisation::Gaussian { variance } => prediction.gaussian_slope(alpha, sigma, variance),
            Linearisation::Secant => measured.unwrap_or_else(|| match prediction {
                Prediction::Next => frozen(),
                _ => prediction.gaussian_slope(alpha, sigma, FIRST_VARIANCE),
            }),
        };
        // singular only where alpha = 0, at the start, which never moves
        let slope = if slope.is_finite() && (link.from as usize) < seen { slope } else { 0.0 };
        link.a + link.b * slope
    }
}
