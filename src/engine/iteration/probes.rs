//! The setting of probes.

use crate::backend::MOST_VECTORS;
use crate::error::{Error, Result};
use crate::setters::setters;

/// The most directions of a site: their inner products with a change are computed at once.
pub(crate) const MOST_DIRECTIONS: usize = MOST_VECTORS - 1;

/// Additional rows that measure the network's Jacobian along a few directions, so that sweeps pass changes on with
/// more than one number as the slope.
///
/// A sample has a site: a node p, at whose first evaluation the network is also called at y + eps U_m, with eps = 0.3
/// sigma, for a few directions U_m. The differences give I = J U, J being the Jacobian of the data prediction. In the
/// sweeps of the next rounds, a change z of any node of the window is passed on as the measured slope s says, but for
/// its part along U, for which I stands: J z is taken to be s (z - U U^T z) + I U^T z. The directions of the next site
/// are the orthonormalised I: a subspace iteration along the path, which begins with normals. The part of a node's
/// change along U is taken from a sweep without probes, so all that it costs besides the rows is one more sweep and
/// some inner products per round.
///
/// At the same bound on changes the rounds are about the same, but less error is left; so with at least four directions
/// that are at most 32 nodes apart, [`Acceptance::Error`](crate::Acceptance::Error) estimates 0.7 of it and takes
/// fewer rounds. `results/probes.md` says what was measured.
///
/// ```
/// use piadm::sampler::{Probes, Sequential};
/// use piadm::{Acceptance, Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme, score::Mixture};
/// let means = ndarray::array![[1.0, 0.0, 0.5], [-1.0, 0.3, 0.0]];
/// let mut score = Mixture::new([0.5, 0.5], means, [0.2, 0.2])?.predicting(Prediction::Data);
/// let problem = Problem::new(Ou, Grid::log_snr(60).between(8.0, 0.01), Scheme::ddim()).shape([3]);
/// let exact = Picard::default().probes(Probes::default()).acceptance(Acceptance::Exact);
/// assert_eq!(exact.sample(&problem, &mut score)?.samples, Sequential.sample(&problem, &mut score)?.samples);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[non_exhaustive]
pub struct Probes {
    /// Number of directions, 1 to 7: additional rows of a round in which a sample gets a new site. Never more than the
    /// sample has elements.
    pub directions: usize,
    /// Number of nodes from one site to the next, at least 1.
    pub every: usize,
}

impl Default for Probes {
    fn default() -> Self {
        Probes { directions: MOST_DIRECTIONS, every: 32 }
    }
}

setters! { Probes, "Probes::default()";
    directions: usize = "4",
    every: usize = "16",
}

impl Probes {
    pub(crate) fn check(&self) -> Result<()> {
        if !(1..=MOST_DIRECTIONS).contains(&self.directions) {
            return Err(Error::setting("probes.directions", self.directions, "1 to 7"));
        }
        if self.every == 0 {
            return Err(Error::setting("probes.every", 0, "at least 1 node"));
        }
        Ok(())
    }

    /// What probes leave of the error that changes make one expect: 0.3 to 0.8 on the trained networks with seven
    /// directions (`results/probes.md`), here nearer to the upper end, so that tolerances hold. Other settings were not
    /// measured.
    pub(crate) fn error_factor(&self) -> f64 {
        if self.directions >= 4 && self.every <= 32 { 0.7 } else { 1.0 }
    }
}
