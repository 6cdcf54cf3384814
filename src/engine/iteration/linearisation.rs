//! How a sweep passes the change of a node on to later nodes: what an iteration assumes about the network.

use crate::error::{Error, Result, check_variance};
use crate::names::names;
use crate::nodes::{Link, Node};
use crate::problem::Variances;
use crate::score::Prediction;

/// Data variance that sets the slopes before any slope has been measured. Its value hardly matters, since only one
/// sweep uses it.
pub(crate) const FIRST_VARIANCE: f64 = 0.25;

/// What a sweep assumes about the network's slope J = df/dx.
///
/// One sweep is x'_j = Phi_j(x) + sum_l W_l (x'_{j-l} - x_{j-l}). Here Phi is the scheme's own step at the states x
/// at which the network was evaluated, and W_l = A_l + B_l J passes on how far these states have moved since. Every
/// choice has the same fixed point, the sequential trajectory; the choices differ in how fast they reach it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", deny_unknown_fields))]
#[non_exhaustive]
pub enum Linearisation {
    /// The score does not change with the state (J = 0 in score units): Picard iteration with the exponential
    /// integrator, as in PIADM (arXiv 2405.15986) and ParaTAA (arXiv 2402.09970).
    FrozenScore,
    /// W_1 = 1 and W_l = 0 for l > 1: the change is passed on unaltered, as in ParaDiGMS (arXiv 2305.16317).
    Identity,
    /// The slope for Gaussian data of this variance, at least 0. If the problem gives a variance per element
    /// ([`Problem::variances`](crate::Problem::variances)), those variances are multiplied by this one, and every
    /// element has its own slope.
    Gaussian {
        /// Variance of the data per element; 0 stands for point masses.
        variance: f64,
    },
    /// The slope measured between a node's last two evaluations, J = <df, dy> / <dy, dy> over the elements of a
    /// sample, clamped to its bounds ([`Prediction::slope_bounds`]): a secant method without extra evaluations. A
    /// node that has not been evaluated twice borrows the slope of the nearest earlier node, converted to its own
    /// noise level through the variance of Gaussian data with that slope. This is the default: it takes the fewest
    /// rounds at equal error on trained networks and on mixtures, and needs no knowledge of the data.
    #[default]
    Secant,
}

names! { Linearisation, "linearisation";
    FrozenScore = "frozen_score", Identity = "identity", Secant = "secant",
    Gaussian = "gaussian" { variance: "a variance of the data" },
}

/// Where a weight belongs in the recurrence: a link of node `j`, whose source may have left the window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub link: &'a Link,
    /// The node to which the link belongs, and the link's source.
    pub node: &'a Node,
    pub source: &'a Node,
    /// Whether the source has left the window.
    pub left: bool,
    /// Whether this is the nearest source of the same component.
    pub nearest: bool,
}

impl Linearisation {
    /// Whether this linearisation needs the slopes measured during a run.
    pub(crate) fn is_measured(&self) -> bool {
        matches!(self, Linearisation::Secant)
    }

    /// The error of a sample over what the last changes of its nodes make one expect: rounded from what was measured on
    /// the trained networks (`results/calibration.md`).
    pub(crate) fn error_factor(&self, accelerated: bool) -> f64 {
        match *self {
            Linearisation::Secant => 1.0,
            Linearisation::Identity => 1.5,
            Linearisation::Gaussian { .. } => 2.0,
            Linearisation::FrozenScore if accelerated => 0.5,
            Linearisation::FrozenScore => 0.25,
        }
    }

    /// Whether this linearisation works with a network that has this output.
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

    /// Mean variance of the data, if every element has a slope of its own; `None` if all elements share one slope.
    pub(crate) fn variance(&self, given: Option<&Variances>) -> Option<f64> {
        match *self {
            Linearisation::Gaussian { variance } => Some(variance * given?.mean()),
            _ => None,
        }
    }

    /// W at a place. `measured` is the slope measured there, if there is one. Each component that the network sees
    /// is paired with the head of the same number. Under `Identity`, a node that has left the window passes on its
    /// accepted state with a frozen score, for all lags; otherwise a step would mix the accepted with the evaluated
    /// state. A kernel without a slope is assumed to have the node's prefactor.
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
        // singular only where alpha = 0, that is at the start, which never moves
        let slope = if slope.is_finite() && (link.from as usize) < seen { slope } else { 0.0 };
        link.a + link.b * slope
    }
}
