//! Tolerances and windows with which the parallel samplers enter a race.

use super::equal_error::{Case, Outcome, Setting};
use super::network::Network;
use super::presets::{OURS, PRESETS, Preset};
use piadm::{BoxError, sampler::Dynamics};
use std::collections::HashMap;

/// The median error of the images that is asked for.
pub const TARGET: f64 = 1e-2;
/// Errors this near to it are near enough.
const NEAR: std::ops::RangeInclusive<f64> = 0.6 * TARGET..=1.1 * TARGET;
/// Runs to find a tolerance.
const TRIALS: usize = 5;
/// The samplers, as they are called in `presets.rs`.
pub const NAMES: [&str; 6] = ["piadm-blocks", "paradigms", "parataa", "wavefront", "parareal", OURS];

/// A sampler with its window, and the run that showed its tolerance.
pub struct Entrant {
    pub preset: &'static Preset,
    pub window: usize,
    pub outcome: Outcome,
}

/// What is known of tolerances: those that were found for fewer steps.
#[derive(Default)]
pub struct Tuner {
    known: HashMap<(&'static str, usize, bool), f64>,
}

impl Tuner {
    /// Every sampler with every window, each with a tolerance that gives about the target.
    pub fn entrants(
        &mut self,
        network: &mut dyn Network,
        setting: Setting,
        windows: &[usize],
    ) -> Result<Vec<Entrant>, BoxError> {
        let dim = network.dim();
        let mut case = Case::new(network, dim, setting)?;
        let mut all = Vec::new();
        for preset in PRESETS.iter().filter(|p| NAMES.contains(&p.name)) {
            let windows: &[usize] = if preset.windowed { windows } else { &[0] };
            for &window in windows.iter().filter(|w| **w <= setting.steps) {
                if let Some(outcome) = self.tune(&mut case, preset, window)? {
                    all.push(Entrant { preset, window, outcome });
                }
            }
        }
        Ok(all)
    }

    /// Errors are about proportional to tolerances. `None` if no run stays finite.
    fn tune(&mut self, case: &mut Case, preset: &'static Preset, window: usize) -> Result<Option<Outcome>, BoxError> {
        let sde = case.setting.dynamics == Dynamics::Sde;
        let first = match (preset.name == OURS, sde) {
            (true, _) => 1e-2,
            (_, true) => 5e-2,
            (_, false) => 4e-3,
        };
        let key = (preset.name, window, sde);
        let mut tolerance = self.known.get(&key).copied().unwrap_or(first);
        let mut best: Option<Outcome> = None;
        for _ in 0..TRIALS {
            let Some(outcome) = case.run(preset, window, tolerance)? else {
                tolerance *= 0.25;
                continue;
            };
            let (error, rows) = (outcome.error, outcome.rows);
            // the nearest to the target that does not exceed it, or else the nearest
            let distance = |e: f64| (e > *NEAR.end(), (e / TARGET).ln().abs());
            if best.as_ref().is_none_or(|b| distance(error) < distance(b.error)) {
                best = Some(outcome);
            }
            // nothing is left to be saved where every row is evaluated once
            if NEAR.contains(&error) || (error < TARGET && rows < 1.005) {
                break;
            }
            tolerance *= (0.85 * TARGET / error.max(1e-9)).clamp(0.1, 4.0);
        }
        if let Some(best) = &best {
            self.known.insert(key, best.tolerance);
        }
        Ok(best)
    }
}

/// Seconds of a call between measured ones.
pub fn interpolate(points: &[(usize, f64)], rows: f64) -> f64 {
    let k = points.partition_point(|p| (p.0 as f64) < rows).clamp(1, points.len().max(2) - 1);
    let (Some(a), Some(b)) = (points.get(k - 1), points.get(k)) else { return f64::NAN };
    a.1 + (b.1 - a.1) * (rows - a.0 as f64) / (b.0 - a.0) as f64
}

/// Of every sampler the window with which `images` images should take the fewest seconds, by its rounds and by what
/// calls take.
pub fn fastest<'a>(entrants: &'a [Entrant], steps: usize, images: usize, latency: &[(usize, f64)]) -> Vec<&'a Entrant> {
    let seconds = |e: &Entrant| {
        let rows = e.outcome.rows * steps as f64 / e.outcome.rounds * images as f64;
        e.outcome.rounds * interpolate(latency, rows)
    };
    let of = |name: &&str| {
        let own = entrants.iter().filter(move |e| e.preset.name == *name);
        own.min_by(|a, b| seconds(a).total_cmp(&seconds(b)))
    };
    NAMES.iter().filter_map(of).collect()
}
