//! Tolerances and windows with which the parallel samplers enter a race.

use crate::equal_error::{Case, Outcome, Setting};
use crate::presets::{OURS, Preset, preset};
use networks::Network;
use piadm::{BoxError, sampler::Dynamics};
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// The median error of the images that is asked for.
const TARGET: f64 = 1e-2;
/// Errors this near to it are near enough.
const NEAR: RangeInclusive<f64> = 0.6 * TARGET..=1.1 * TARGET;
/// Runs to find a tolerance.
const TRIALS: usize = 5;
/// The presets that take part.
pub const NAMES: [&str; 6] = ["piadm-blocks", "paradigms", "parataa", "wavefront", "parareal", OURS];

/// A sampler with its window, and the run that showed its tolerance.
pub struct Entrant {
    /// The sampler.
    pub preset: &'static Preset,
    /// Steps; 0 without a window.
    pub window: usize,
    /// What it took for all images of the search.
    pub outcome: Outcome,
}

/// What is known of the tolerances of a dynamics, by preset and window: those that were found for fewer steps.
pub type Tolerances = HashMap<(&'static str, usize), f64>;

/// Every sampler with every window, each with a tolerance that gives about the target; without those that never stay
/// finite.
pub fn entrants(
    known: &mut Tolerances,
    network: &mut dyn Network,
    setting: Setting,
    windows: &[usize],
) -> Result<Vec<Entrant>, BoxError> {
    let dim = network.dim();
    let mut case = Case::new(network, dim, setting)?;
    let mut all = Vec::new();
    for preset in NAMES.map(preset) {
        let windows = if preset.windowed { windows } else { &[0] };
        for &window in windows.iter().filter(|w| **w <= setting.steps) {
            if let Some(outcome) = tune(known, &mut case, preset, window)? {
                known.insert((preset.name, window), outcome.tolerance);
                all.push(Entrant { preset, window, outcome });
            }
        }
    }
    Ok(all)
}

/// Errors are about proportional to tolerances. `None` if no run stays finite.
fn tune(
    known: &Tolerances,
    case: &mut Case<'_>,
    preset: &'static Preset,
    window: usize,
) -> Result<Option<Outcome>, BoxError> {
    let first = match case.setting.dynamics {
        _ if preset.name == OURS => 1e-2,
        Dynamics::Sde => 5e-2,
        Dynamics::Ode => 4e-3,
    };
    let mut tolerance = known.get(&(preset.name, window)).copied().unwrap_or(first);
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
    Ok(best)
}

/// Seconds of a call by a line through the measured ones next to it, of which there are at least two.
pub fn interpolate(points: &[(usize, f64)], rows: f64) -> f64 {
    let k = points.partition_point(|p| (p.0 as f64) < rows).clamp(1, points.len() - 1);
    let (a, b) = (points[k - 1], points[k]);
    a.1 + (b.1 - a.1) * (rows - a.0 as f64) / (b.0 - a.0) as f64
}

/// Of every sampler the window with which `images` images should take the fewest seconds, by its rounds and by what
/// calls take.
pub fn fastest<'a>(entrants: &'a [Entrant], steps: usize, images: usize, latency: &[(usize, f64)]) -> Vec<&'a Entrant> {
    let seconds = |e: &Entrant| {
        let rows = e.outcome.rows * steps as f64 / e.outcome.rounds * images as f64;
        e.outcome.rounds * interpolate(latency, rows)
    };
    let of = |name: &str| {
        let own = entrants.iter().filter(|e| e.preset.name == name);
        own.min_by(|a, b| seconds(a).total_cmp(&seconds(b)))
    };
    NAMES.into_iter().filter_map(of).collect()
}
