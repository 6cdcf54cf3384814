//! First guesses as `Entry::Auto` makes them: the prediction for Gaussian data around a centre from the last
//! evaluations.

use piadm::{Nodes, Prediction, schedule::Level};

/// Variance of the data that `Entry::Auto` assumes.
const VARIANCE: f64 = 0.05;

/// The centre of the data at an evaluated node as mu = u y + v f, y being the point of the evaluation: (u, v).
pub fn centre(level: &Level, prediction: Prediction) -> (f64, f64) {
    let (alpha, sigma) = (level.alpha, level.sigma);
    let var = alpha * alpha * VARIANCE + sigma * sigma;
    let (p, q) = prediction.score_map(alpha, sigma);
    ((1.0 + var * p) / alpha, var * q / alpha)
}

/// The output that stands in for a missing one, f = g x + k mu: (g, k).
pub fn output(level: &Level, prediction: Prediction) -> (f64, f64) {
    let (alpha, sigma) = (level.alpha, level.sigma);
    let var = alpha * alpha * VARIANCE + sigma * sigma;
    let (p, q) = prediction.data_map(alpha, sigma);
    ((alpha * VARIANCE / var - p) / q, sigma * sigma / var / q)
}

/// The evaluated node from which, with the last one, the centre of a window is extrapolated: `last` ends the evaluated
/// nodes that begin at `lo`, and the window has `guesses` nodes.
pub fn earlier(lo: usize, last: usize, guesses: usize) -> Option<usize> {
    // near enough for a straight line, far enough apart that the difference is not just error
    Some(lo.max(last.saturating_sub((guesses / 4).max(2)))).filter(|first| *first < last)
}

/// Whether a node's guess extrapolates the centre: a node without noise does. One at sigma = 0 is treated like the node
/// before it.
pub fn follows(list: &Nodes, j: usize) -> bool {
    let own = if list.nodes()[j].level.sigma == 0.0 { j.saturating_sub(1).max(1) } else { j };
    list.normals(own).is_empty()
}

/// How far a level lies beyond the last of two others, in units of their distance in the log-SNR, and at most one unit
/// of the log-SNR.
pub fn along(level: &Level, last: &Level, first: &Level) -> f64 {
    (level.log_snr - last.log_snr).min(1.0) / (last.log_snr - first.log_snr)
}
