//! When a node counts as converged.

use crate::error::{Error, Result};
use crate::scheme::Node;

/// A node is accepted when the root mean square over its elements of its last change is at most the largest of these three.
///
/// All zero accepts only nodes whose elements did not change at all, and then the result has the bits of sequential sampling. A
/// change is not yet an error: the error to the sequential path depends on how fast the iteration contracts.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Tolerance {
    /// In units of the state.
    #[cfg_attr(feature = "serde", serde(default))]
    pub absolute: f64,
    /// In units of sigma at the node.
    #[cfg_attr(feature = "serde", serde(default))]
    pub relative: f64,
    /// In units of the standard deviation of DDPM's posterior over the node's step: ParaDiGMS's criterion.
    #[cfg_attr(feature = "serde", serde(default))]
    pub posterior: f64,
}

impl Tolerance {
    /// Accepts nothing but exact nodes.
    pub const ZERO: Tolerance = Tolerance { absolute: 0.0, relative: 0.0, posterior: 0.0 };

    /// An absolute tolerance.
    pub const fn absolute(absolute: f64) -> Self {
        Tolerance { absolute, ..Tolerance::ZERO }
    }

    pub(super) fn check(&self) -> Result<()> {
        for (name, value) in [
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

    /// The largest rms change with which a node is accepted.
    pub(super) fn threshold(&self, node: &Node) -> f64 {
        self.absolute.max(self.relative * node.level.sigma).max(self.posterior * node.posterior_std)
    }
}

impl Default for Tolerance {
    /// 3e-3 in units of the state: on images of unit variance the samples then differ from the sequential ones by about 1e-2 (rms).
    fn default() -> Self {
        Tolerance::absolute(3e-3)
    }
}
