//! The number of rounds that a window takes.

use crate::engine::accept::acceptance::Acceptance;
use crate::engine::settings::{Picard, Policy};
use crate::nodes::Nodes;
use crate::problem::Effort;

impl Effort {
    /// The model for a sampler's settings on the nodes of a run; `None` if a tolerance of zero makes the number of
    /// rounds unpredictable.
    ///
    /// A tolerance ten times smaller takes three more rounds and a tenth of the reach (measured at 1e-3).
    /// Iterations other than the default take about three times as many rounds.
    pub(super) fn of(sampler: &Picard, list: &Nodes) -> Option<Self> {
        if sampler.acceptance == Acceptance::Law {
            // a window stops where a guess is refused, however long it is (measured on the residual network)
            return Some(Effort { rounds: 10.5, reach: 0.01 });
        }
        let tolerance = sampler.acceptance.numbers().into_iter().fold(0.0, f64::max);
        if tolerance == 0.0 {
            // with a fixed depth the number of rounds is known
            let most = sampler.sweeps.most()? as f64;
            return Some(Effort { rounds: most, reach: 1e-9 });
        }
        let (rounds, reach) = if list.has_noise() { (9.0, 0.035) } else { (6.0, 0.17) };
        let decades = (1e-2 / tolerance).log10().max(0.0);
        let slow = sampler.policy == Policy::Sliding && !sampler.linearisation.is_measured();
        let factor = if slow { 3.0 } else { 1.0 };
        Some(Effort { rounds: factor * (rounds + 3.0 * decades), reach: reach * 0.1f64.powf(decades) })
    }

    /// The rounds of waiting, E(u).
    fn waiting(&self, u: f64) -> f64 {
        self.rounds * u * u / (u * u + self.reach * self.reach)
    }

    /// The model, corrected by the number of rounds that a window took on a run of `steps` steps.
    pub(super) fn corrected(&self, sampler: &Picard, window: usize, steps: usize, rounds: f64) -> Self {
        let (first, u) = begin(sampler, window, steps);
        let rounds = rounds - first;
        let waited = match sampler.policy {
            Policy::Sliding => rounds - 1.0 / u,
            _ => rounds * u - 1.0,
        };
        // short windows wait for less than the maximum, and say less about it
        Effort { rounds: (self.rounds + waited - self.waiting(u)).max(0.0), ..*self }
    }

    /// Number of rounds for a window of `window` steps on a run of `steps` steps whose sequential run takes `most`
    /// rounds.
    pub(super) fn rounds(&self, sampler: &Picard, window: usize, steps: usize, most: usize) -> f64 {
        let (first, u) = begin(sampler, window, steps);
        let waiting = self.waiting(u);
        let depth = sampler.sweeps.most().map_or(f64::INFINITY, |k| k as f64);
        let rounds = match sampler.policy {
            Policy::Sliding => (1.0 / u + waiting).min(depth / u),
            _ => (1.0 + waiting).min(depth) / u,
        };
        (first + rounds).clamp(1.0, most.max(1) as f64)
    }
}

/// The steps that are taken one at a time, and the window as a part of the others.
fn begin(sampler: &Picard, window: usize, steps: usize) -> (f64, f64) {
    let first = sampler.warm_up.min(steps.saturating_sub(1));
    (first as f64, window as f64 / (steps - first) as f64)
}
