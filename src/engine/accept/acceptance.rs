//! When a node counts as converged.

use crate::backend::Real;
use crate::error::{Error, Result};
use crate::nodes::{Node, Nodes};
use crate::problem::Guarantee;

/// When a guess counts as final. Errors and changes are root mean squares over the elements of a node.
///
/// A change is not yet an error: a fast iteration is much closer to its limit than its last change, a slow one is
/// not. The estimate uses a node's last two changes. If they fall by the ratio rho, the error that remains after
/// the last one is change * rho / (1 - rho). No ratio below 1/2 is believed, since the first ones are too optimistic.
/// So that a tolerance means about the same error whatever the iteration, the estimate is multiplied by 1/4 for a
/// frozen score (1/2 with Anderson acceleration), 3/2 for the identity and 2 for Gaussian slopes. Errors made while the
/// noise outweighs the signal are amplified by the steps that follow, so there the allowed error is multiplied by
/// sqrt(alpha / sigma).
///
/// Changes as small as roundings have no ratio, and do not fall any more. Where an error is allowed, a change of eight
/// units in the last place of sqrt(alpha^2 + sigma^2), a state's size for data of unit variance, therefore counts as
/// none: 1e-6 for f32 near the data. A run guarantees no smaller error than that at the end of its list.
///
/// ```
/// use piadm::{Acceptance, Picard};
/// let exact = Picard::default().acceptance(Acceptance::Exact);
/// assert_eq!(Picard::default().acceptance, Acceptance::Error(1e-2));
/// # let _ = exact;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Numbers", into = "Numbers"))]
#[non_exhaustive]
pub enum Acceptance {
    /// The elements did not change at all: the result has the bits of sequential sampling.
    Exact,
    /// The guess has been verified against the node's law, given the nodes before it: samples then have exactly the law
    /// of sequential samples, though not the path that their seed has there.
    ///
    /// Given the states before it, a node is normal with a mean m, and so is its guess, with a mean $\hat m$ and the
    /// same noise $\xi$. With $\delta = (m - \hat m)/c$ the guess is kept if
    /// $\log u \le \langle \xi, \delta \rangle - |\delta|^2/2$, where u is a uniform number of its own. Otherwise the
    /// noise is reflected along $\delta$ and the window goes on from there. There is no tolerance. For lists with
    /// noise, [`Policy::Sliding`](crate::sampler::Policy) and samples that do not wait for each other; a node without
    /// noise is kept only if it is exact.
    ///
    /// The law is that of all samples of a run. Those that finish first are not a fair selection: see
    /// [`Observer::on_sample`](crate::Observer::on_sample).
    Law,
    /// The estimated error is at most this, in units of the state. On trained networks the rms difference from
    /// sequential samples is about this large.
    Error(f64),
    /// The last change is at most the largest of these.
    Change {
        /// In units of the state.
        absolute: f64,
        /// In units of sigma at the node.
        relative: f64,
        /// In units of the standard deviation of DDPM's posterior over the node's step: the criterion of ParaDiGMS.
        posterior: f64,
    },
    /// The estimated error is at most `error`, or the last change is at most the largest of the other bounds;
    /// either one is enough.
    Either {
        /// As [`Acceptance::Error`].
        error: f64,
        /// As in [`Acceptance::Change`].
        absolute: f64,
        /// As in [`Acceptance::Change`].
        relative: f64,
        /// As in [`Acceptance::Change`].
        posterior: f64,
    },
}

/// What a change of a node means.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meaning {
    /// The error of a sample over the estimate from its changes.
    pub factor: f64,
    /// A unit in the last place of 1.
    pub unit: f64,
}

impl Meaning {
    pub fn new<E: Real>(factor: f64) -> Self {
        Meaning { factor, unit: unit::<E>() }
    }
}

/// A unit in the last place of 1.
fn unit<E: Real>() -> f64 {
    E::epsilon().wide()
}

/// A change of so many units in the last place of a state's rms size counts as none where an error is allowed. The
/// largest of many normal numbers is some four times as large as their rms, so these are two to four units of the
/// largest element.
const ROUNDINGS: f64 = 8.0;

/// The largest change of a node that counts as none.
fn rounding(node: &Node, unit: f64) -> f64 {
    ROUNDINGS * unit * node.level.alpha.hypot(node.level.sigma)
}

impl Acceptance {
    /// A bound on the change, in units of the state.
    pub const fn change(absolute: f64) -> Self {
        Acceptance::Change { absolute, relative: 0.0, posterior: 0.0 }
    }

    /// The bounds error, absolute, relative and posterior; 0 for those not set.
    pub(crate) fn numbers(&self) -> [f64; 4] {
        match *self {
            Acceptance::Exact | Acceptance::Law => [0.0; 4],
            Acceptance::Error(error) => [error, 0.0, 0.0, 0.0],
            Acceptance::Change { absolute, relative, posterior } => [0.0, absolute, relative, posterior],
            Acceptance::Either { error, absolute, relative, posterior } => [error, absolute, relative, posterior],
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let names = ["acceptance.error", "acceptance.absolute", "acceptance.relative", "acceptance.posterior"];
        for (name, value) in names.into_iter().zip(self.numbers()) {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::setting(name, value, "a finite number that is at least 0"));
            }
        }
        Ok(())
    }

    /// Whether only exact nodes are accepted.
    pub(crate) fn is_exact(&self) -> bool {
        *self != Acceptance::Law && self.numbers() == [0.0; 4]
    }

    /// Whether to accept a node that last moved by `change` and, if it was swept before, by `earlier` in the sweep
    /// before.
    pub(crate) fn accepts(&self, node: &Node, change: f64, earlier: Option<f64>, meaning: Meaning) -> bool {
        let [error, absolute, relative, posterior] = self.numbers();
        let largest = absolute.max(relative * node.level.sigma).max(posterior * node.posterior_std);
        // with zero tolerances only unchanged elements count, but the square of a tiny change is 0 as well
        if largest > 0.0 && change <= largest {
            return true;
        }
        let ratio = earlier.map_or(0.5, |earlier| (change / earlier).clamp(0.5, 0.95));
        let weight = (0.5 * node.level.log_snr).exp().min(1.0);
        // changes as small as roundings have no ratio
        error > 0.0
            && (change <= rounding(node, meaning.unit)
                || meaning.factor * change * ratio / (1.0 - ratio) <= error * weight)
    }

    /// What a run of these lists on these numbers guarantees if all nodes were accepted.
    pub(crate) fn guarantee<'a, E: Real>(&self, lists: impl IntoIterator<Item = &'a Nodes>) -> Guarantee {
        let rounding = |list: &Nodes| list.nodes().last().map_or(0.0, |end| rounding(end, unit::<E>()));
        match *self {
            Acceptance::Law => Guarantee::Law,
            _ if self.is_exact() => Guarantee::Bits,
            Acceptance::Error(error) => Guarantee::Error(lists.into_iter().map(rounding).fold(error, f64::max)),
            _ => Guarantee::None,
        }
    }
}

impl Default for Acceptance {
    /// An estimated error of 1e-2: on data of unit variance that is a hundredth of a standard deviation, which is
    /// not visible in an image.
    fn default() -> Self {
        Acceptance::Error(1e-2)
    }
}

/// How often a node may be swept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sweeps {
    /// Until it is accepted.
    #[default]
    Unbounded,
    /// At most this often; then it is accepted as it is, and the report says [`Stop::Depth`](crate::Stop::Depth).
    /// With [`Acceptance::Exact`] this is a fixed depth, as in the paper.
    AtMost(usize),
    /// At most this often; if it is not accepted by then, the run fails with [`Error::NotConverged`].
    Within(usize),
}

impl Sweeps {
    /// The bound, if there is one.
    pub(crate) fn most(self) -> Option<usize> {
        match self {
            Sweeps::Unbounded => None,
            Sweeps::AtMost(most) | Sweeps::Within(most) => Some(most),
        }
    }
}

/// The serialised form of an acceptance: the numbers of a tolerance, all 0 for an exact one, or `law`.
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct Numbers {
    error: f64,
    absolute: f64,
    relative: f64,
    posterior: f64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    law: bool,
}

#[cfg(feature = "serde")]
impl From<Acceptance> for Numbers {
    fn from(acceptance: Acceptance) -> Self {
        let [error, absolute, relative, posterior] = acceptance.numbers();
        Numbers { error, absolute, relative, posterior, law: acceptance == Acceptance::Law }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Numbers> for Acceptance {
    type Error = &'static str;

    fn try_from(numbers: Numbers) -> std::result::Result<Self, &'static str> {
        let Numbers { error, absolute, relative, posterior, law } = numbers;
        match (error == 0.0, [absolute, relative, posterior] == [0.0; 3]) {
            (true, true) if law => Ok(Acceptance::Law),
            _ if law => Err("exactness in law has no tolerance: leave out its numbers, or law"),
            (true, true) => Ok(Acceptance::Exact),
            (false, true) => Ok(Acceptance::Error(error)),
            (true, false) => Ok(Acceptance::Change { absolute, relative, posterior }),
            (false, false) => Ok(Acceptance::Either { error, absolute, relative, posterior }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Acceptance, Meaning};
    use crate::nodes::Node;
    use crate::schedule::{Level, Ou};

    const PLAIN: Meaning = Meaning { factor: 1.0, unit: 0.0 };

    #[test]
    fn changes_and_their_ratios() {
        let level = Level::at(&Ou, 0.1);
        let node =
            Node { level, step: 1, solution: true, evaluate: true, width: 1, posterior_std: 0.1, prefactor: 1.0 };
        let accepts = |change, earlier| Acceptance::Error(1e-2).accepts(&node, change, earlier, PLAIN);
        assert!(accepts(0.9e-2, None) && !accepts(1.1e-2, None));
        // a ratio of 0.8 leaves four times the change, a ratio of 0.95 or more nineteen times
        assert!(accepts(0.24e-2, Some(0.3e-2)) && !accepts(0.26e-2, Some(0.325e-2)));
        assert!(accepts(0.5e-3, Some(0.1e-3)) && !accepts(0.6e-3, Some(0.1e-3)));
        assert!(accepts(0.9e-2, Some(f64::INFINITY)) && accepts(0.0, Some(0.0)) && accepts(0.0, None));
        // either criterion is enough
        let either = Acceptance::Either { error: 1e-2, absolute: 0.0, relative: 0.0, posterior: 0.5 };
        assert!(either.accepts(&node, 0.049, Some(0.05), PLAIN) && !either.accepts(&node, 0.051, Some(0.05), PLAIN));
        assert!(either.accepts(&node, 0.009, None, PLAIN));
        for earlier in [None, Some(0.0), Some(f64::INFINITY)] {
            assert!(!accepts(f64::INFINITY, earlier) && !accepts(f64::NAN, earlier));
            assert!(!Acceptance::Exact.accepts(&node, 0.0, earlier, Meaning { unit: 1.0, ..PLAIN }));
        }
    }
}
