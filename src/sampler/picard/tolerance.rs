//! When a node counts as converged.

use crate::error::{Error, Result};
use crate::scheme::Node;

/// When a guess is as good as final. A node is accepted when the estimated error of its state is at most `error`, or when its last
/// change is at most the largest of the other three. Errors and changes are root mean squares over the elements.
///
/// All zero accepts only nodes whose elements did not change at all, and then the result has the bits of sequential sampling.
///
/// A change is not yet an error: a fast iteration is far ahead of its last change, a slow one is not. The estimate takes a
/// node's last two changes: if they fall by the ratio rho, what is left after the last is change * rho / (1 - rho); it is
/// never taken to be less than the change itself, since the first ratios are too good. Errors made while the
/// noise outweighs the signal are amplified by the steps that follow, so there `error` is multiplied by sqrt(alpha / sigma).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Tolerance {
    /// Estimated error, in units of the state. On trained networks the difference to the sequential samples (rms) is about this large.
    #[cfg_attr(feature = "serde", serde(default))]
    pub error: f64,
    /// Change, in units of the state.
    #[cfg_attr(feature = "serde", serde(default))]
    pub absolute: f64,
    /// Change, in units of sigma at the node.
    #[cfg_attr(feature = "serde", serde(default))]
    pub relative: f64,
    /// Change, in units of the standard deviation of DDPM's posterior over the node's step: ParaDiGMS's criterion.
    #[cfg_attr(feature = "serde", serde(default))]
    pub posterior: f64,
}

impl Tolerance {
    /// Accepts nothing but exact nodes.
    pub const ZERO: Tolerance = Tolerance { error: 0.0, absolute: 0.0, relative: 0.0, posterior: 0.0 };

    /// A tolerance for the estimated error.
    pub const fn error(error: f64) -> Self {
        Tolerance { error, ..Tolerance::ZERO }
    }

    /// A tolerance for the change.
    pub const fn absolute(absolute: f64) -> Self {
        Tolerance { absolute, ..Tolerance::ZERO }
    }

    pub(in crate::sampler) fn check(&self) -> Result<()> {
        for (name, value) in [
            ("tolerance.error", self.error),
            ("tolerance.absolute", self.absolute),
            ("tolerance.relative", self.relative),
            ("tolerance.posterior", self.posterior),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::setting(name, value, "a finite number that is at least 0"));
            }
        }
        Ok(())
    }

    /// Whether a node with this last change, and `earlier` the one before if there was one, is accepted.
    pub(in crate::sampler) fn accepts(&self, node: &Node, change: f64, earlier: Option<f64>) -> bool {
        let Node { level, posterior_std, .. } = *node;
        let largest = self.absolute.max(self.relative * level.sigma).max(self.posterior * posterior_std);
        // with a tolerance of zero only unchanged elements count: the square of a tiny change is 0
        if largest > 0.0 && change <= largest {
            return true;
        }
        let ratio = earlier.map_or(0.5, |earlier| (change / earlier).clamp(0.5, 0.95));
        let weight = (0.5 * level.log_snr).exp().min(1.0);
        // two changes too small to be squared have no ratio
        self.error > 0.0 && (change <= 0.0 || change * ratio / (1.0 - ratio) <= self.error * weight)
    }
}

impl Default for Tolerance {
    /// An estimated error of 1e-2: on data of unit variance a hundredth of a standard deviation, not visible in an image.
    fn default() -> Self {
        Tolerance::error(1e-2)
    }
}

#[cfg(test)]
mod tests {
    use super::Tolerance;
    use crate::schedule::Ou;
    use crate::scheme::{Level, Node};

    #[test]
    fn changes_and_their_ratios() {
        let level = Level::at(&Ou, 0.1);
        let node = Node { level, step: 1, solution: true, evaluate: true, posterior_std: 0.1 };
        let accepts = |change, earlier| Tolerance::error(1e-2).accepts(&node, change, earlier);
        assert!(accepts(0.9e-2, None) && !accepts(1.1e-2, None));
        // a ratio of 0.8 leaves four times the change, one of 0.95 or more nineteen times
        assert!(accepts(0.24e-2, Some(0.3e-2)) && !accepts(0.26e-2, Some(0.325e-2)));
        assert!(accepts(0.5e-3, Some(0.1e-3)) && !accepts(0.6e-3, Some(0.1e-3)));
        assert!(accepts(0.9e-2, Some(f64::INFINITY)) && accepts(0.0, Some(0.0)) && accepts(0.0, None));
        for earlier in [None, Some(0.0), Some(f64::INFINITY)] {
            assert!(!accepts(f64::INFINITY, earlier) && !accepts(f64::NAN, earlier));
            assert!(!Tolerance::ZERO.accepts(&node, 0.0, earlier));
        }
    }
}
