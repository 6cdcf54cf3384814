//! First guesses for nodes that enter a window.

use crate::error::{Error, Result, check_variance};
use crate::names::names;
use crate::nodes::Nodes;
use crate::schedule::Level;
use crate::score::Prediction;

/// First guess for a node that enters a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", deny_unknown_fields))]
#[non_exhaustive]
pub enum Entry {
    /// `LinearData` for nodes without noise of their own, `HeldData` for nodes with noise, both with variance 0.05:
    /// this took the fewest rounds. A node at sigma = 0 is treated like the node before it. For kernels
    /// ([`Prediction::Next`]) this is `Copy`.
    #[default]
    Auto,
    /// The newest state, as in PIADM and ParaDiGMS.
    Copy,
    /// The recurrence with the node's own noise, under the prediction for Gaussian data of this variance around a
    /// centre held from the last evaluated node: D = (alpha V x + sigma^2 mu) / (alpha^2 V + sigma^2),
    /// mu = (y + (alpha^2 V + sigma^2) s) / alpha. V = 0 holds the data prediction itself. This needs no evaluation
    /// of the score and puts every node at its own noise level.
    HeldData {
        /// V, variance of the data per element, at least 0.
        variance: f64,
    },
    /// Like `HeldData`, but with the centre extrapolated linearly in log-SNR through the centres of two evaluated
    /// nodes, by at most one unit.
    LinearData {
        /// V, variance of the data per element, at least 0.
        variance: f64,
    },
}

names! { Entry, "entry";
    Auto = "auto", Copy = "copy",
    HeldData = "held_data" { variance: "a variance of the data" },
    LinearData = "linear_data" { variance: "a variance of the data" },
}

/// Data variance that [`Entry::Auto`] assumes.
const AUTO_VARIANCE: f64 = 0.05;

/// How an entering node is filled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Guess {
    Copy,
    /// The recurrence under a held prediction, whose centre may be extrapolated.
    Held(HeldData),
}

/// The prediction for Gaussian data of this variance, around a centre that is held or extrapolated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HeldData {
    variance: f64,
    pub follows: bool,
}

/// The prediction between evaluated nodes of a window.
pub(crate) const BETWEEN: HeldData = HeldData { variance: AUTO_VARIANCE, follows: true };

/// The centre of the data at an evaluated node: the row of the evaluation, and the coefficients of point and
/// output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Centre {
    pub row: u32,
    pub on_point: f64,
    pub on_output: f64,
    pub log_snr: f64,
}

/// What replaces the outputs of nodes that have not been evaluated: a centre before them, and another one if the
/// straight line through both is followed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub before: Option<Centre>,
    pub other: Option<Centre>,
}

impl Held {
    /// The same centre without a line to follow, unless it `follows`.
    pub fn following(self, follows: bool) -> Self {
        Held { other: self.other.filter(|_| follows), ..self }
    }

    /// The centre at a level, as coefficients and the centres that they multiply.
    pub fn centres(&self, level: &Level) -> [Option<(f64, Centre)>; 2] {
        let (Some(before), Some(other)) = (self.before, self.other) else {
            return [self.before.map(|c| (1.0, c)), None];
        };
        let ahead = level.log_snr - before.log_snr;
        // a straight line does not lead far, but it does lead to another centre
        let ahead = if other.log_snr > before.log_snr { ahead } else { ahead.min(1.0) };
        let along = ahead / (before.log_snr - other.log_snr);
        match along.is_finite() {
            true => [Some((1.0 + along, before)), Some((-along, other))],
            false => [Some((1.0, before)), None],
        }
    }
}

impl Entry {
    /// The guess that this entry makes at node `j` of a list.
    pub(crate) fn at(self, list: &Nodes, j: usize, prediction: Prediction) -> Guess {
        match self {
            Entry::Auto if prediction == Prediction::Next => Guess::Copy,
            Entry::Auto => {
                let nodes = list.nodes();
                let own = if nodes[j].level.sigma == 0.0 { j.saturating_sub(1).max(1) } else { j };
                let noisy = (0..nodes[own].width).any(|to| !list.noise(own, to).is_empty());
                Guess::Held(HeldData { variance: AUTO_VARIANCE, follows: !noisy })
            }
            Entry::Copy => Guess::Copy,
            Entry::HeldData { variance } => Guess::Held(HeldData { variance, follows: false }),
            Entry::LinearData { variance } => Guess::Held(HeldData { variance, follows: true }),
        }
    }

    /// The same entry with a held centre: guesses that have not settled are too unreliable to extrapolate.
    pub(crate) fn still(self, prediction: Prediction) -> Self {
        match self {
            Entry::Auto if prediction != Prediction::Next => Entry::HeldData { variance: AUTO_VARIANCE },
            Entry::LinearData { variance } => Entry::HeldData { variance },
            given => given,
        }
    }

    /// Whether the entry works with a network that has this output.
    pub(crate) fn check(&self, prediction: Prediction) -> Result<()> {
        match *self {
            Entry::Auto | Entry::Copy => Ok(()),
            Entry::HeldData { .. } | Entry::LinearData { .. } if prediction == Prediction::Next => {
                Err(Error::unsupported(
                    "an entry that holds the data",
                    "a kernel, which predicts none",
                    "take Entry::Copy or Auto",
                ))
            }
            Entry::HeldData { variance } | Entry::LinearData { variance } => check_variance("entry variance", variance),
        }
    }
}

impl HeldData {
    /// The centre at an evaluated node as mu = u y + v f: (u, v).
    pub fn centre(&self, level: &Level, prediction: Prediction) -> (f64, f64) {
        let (alpha, sigma) = (level.alpha, level.sigma);
        let var = alpha * alpha * self.variance + sigma * sigma;
        let (p, q) = prediction.score_map(alpha, sigma);
        let (u, v) = ((1.0 + var * p) / alpha, var * q / alpha);
        // where the signal vanishes, the centre is the data prediction itself
        if u.is_finite() && v.is_finite() { (u, v) } else { prediction.data_map(alpha, sigma) }
    }

    /// The network output that corresponds to the held prediction, f = g x + k mu: (g, k).
    pub fn output(&self, level: &Level, prediction: Prediction) -> (f64, f64) {
        let (alpha, sigma) = (level.alpha, level.sigma);
        let var = alpha * alpha * self.variance + sigma * sigma;
        let (p, q) = prediction.data_map(alpha, sigma);
        ((alpha * self.variance / var - p) / q, sigma * sigma / var / q)
    }
}
