//! How many rounds a window takes.

use crate::error::{Error, Result};
use crate::sampler::{Picard, Policy};
use crate::scheme::Discretisation;

/// A model of the rounds that a window takes. A window of w steps on a run of n, u = w/n of it, needs
///
/// $$R(u) = \frac1u + E(u), \qquad E(u) = E_\infty \frac{u^2}{u^2 + u_0^2}$$
///
/// rounds: 1/u to slide past all steps, and E more in which it waits for guesses to converge, none for a window so short that its first
/// sweeps are good enough. A policy of blocks takes (1 + E)/u, since every block waits.
///
/// Measured with the default sampler on a residual network, a U-Net and mixtures, 50 to 1,000 steps, windows of 4 steps to
/// half of the run and two grids: E depends on u alone, within a round or two.
///
/// | u | 0.016 | 0.032 | 0.064 | 0.13 | 0.26 | 0.5 | model |
/// |---|---|---|---|---|---|---|---|
/// | SDE, U-Net | 1.3 | 5.3 | 7.9 | 8.9 | 10 | | 9, 0.035 |
/// | SDE, residual network | 1.3 | 4.3 | 6.9 | 7.9 | 8.9 | 7.8 | |
/// | SDE, mixture | 1.8 | 2.5 | 3.9 | 5.4 | 5.1 | 5.0 | |
/// | ODE, residual network | 0.5 | 0.8 | 1.4 | 2.4 | 4.3 | 5.5 | 6, 0.17 |
///
/// ```
/// use piadm::{Automatic, Effort, Picard, Tolerance};
/// // the sequential bits where a window is known to pay: a tolerance of zero has no model of its own
/// let base = Picard { tolerance: Tolerance::ZERO, ..Picard::default() };
/// let effort = Some(Effort { rounds: 40.0, reach: 0.01 });
/// let automatic = Automatic { base, effort, ..Automatic::default() };
/// # let _ = automatic;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Effort {
    /// E_inf, the most rounds of waiting.
    pub rounds: f64,
    /// u_0, the window at which half of them are needed, as a part of the run.
    pub reach: f64,
}

impl Effort {
    /// The model for a sampler's settings on the nodes of a run; `None` where a tolerance of zero makes the rounds unpredictable.
    ///
    /// A tolerance ten times smaller takes three more rounds and a tenth of the reach (measured at 1e-3); iterations other than the
    /// default take about three times the rounds.
    pub(super) fn of(sampler: &Picard, list: &Discretisation) -> Option<Self> {
        let t = sampler.tolerance;
        let tolerance = [t.error, t.absolute, t.relative, t.posterior].into_iter().fold(0.0, f64::max);
        if tolerance == 0.0 {
            // with a fixed depth its rounds are known
            let most = sampler.max_sweeps? as f64;
            return Some(Effort { rounds: most, reach: 1e-9 });
        }
        let (rounds, reach) = if list.has_noise() { (9.0, 0.035) } else { (6.0, 0.17) };
        let decades = (1e-2 / tolerance).log10().max(0.0);
        let slow = sampler.policy == Policy::Sliding && !sampler.linearisation.is_measured();
        let factor = if slow { 3.0 } else { 1.0 };
        Some(Effort { rounds: factor * (rounds + 3.0 * decades), reach: reach * 0.1f64.powf(decades) })
    }

    pub(super) fn check(&self) -> Result<()> {
        if !(self.rounds >= 0.0 && self.rounds.is_finite()) {
            return Err(Error::setting("effort.rounds", self.rounds, "a finite number that is at least 0"));
        }
        if !(self.reach > 0.0 && self.reach.is_finite()) {
            return Err(Error::setting("effort.reach", self.reach, "a finite number above 0"));
        }
        Ok(())
    }

    /// E(u).
    fn waiting(&self, u: f64) -> f64 {
        self.rounds * u * u / (u * u + self.reach * self.reach)
    }

    /// The model, corrected by the rounds that a window took on a run of `steps`.
    pub(super) fn corrected(&self, sampler: &Picard, window: usize, steps: usize, rounds: f64) -> Self {
        let u = window as f64 / steps as f64;
        let waited = match sampler.policy {
            Policy::Sliding => rounds - 1.0 / u,
            _ => rounds * u - 1.0,
        };
        // short windows wait for less than the most, and say less about it
        Effort { rounds: (self.rounds + waited - self.waiting(u)).max(0.0), ..*self }
    }

    /// Rounds of a window of `window` steps on a run of `steps`, whose sequential run takes `most` rounds.
    pub(super) fn rounds(&self, sampler: &Picard, window: usize, steps: usize, most: usize) -> f64 {
        let u = window as f64 / steps as f64;
        let waiting = self.waiting(u);
        let depth = sampler.max_sweeps.map_or(f64::INFINITY, |k| k as f64);
        let rounds = match sampler.policy {
            Policy::Sliding => (1.0 / u + waiting).min(depth / u),
            _ => (1.0 + waiting).min(depth) / u,
        };
        rounds.clamp(1.0, most.max(1) as f64)
    }
}
