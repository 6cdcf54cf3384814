//! Medians, differences of samples, straight lines by least squares, and searches.

use ndarray::ArrayView2;
use piadm::backend::Real;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// y = `intercept` + `slope` x, fitted for every seed on its own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fit {
    /// Mean over seeds.
    pub intercept: f64,
    /// Mean over seeds.
    pub slope: f64,
    /// Standard error of the mean slope, deviation over seeds / sqrt(seeds): how little other seeds would change it,
    /// not how well a line fits. `None` for a single seed.
    pub seeds_error: Option<f64>,
    /// Standard error of least squares, from the residuals: what scatter around the line leaves open. `None` for two
    /// points.
    pub line_error: Option<f64>,
    /// Means over seeds minus the line, point by point.
    pub residuals: Vec<f64>,
    /// Root mean square of the residuals.
    pub residual_rms: f64,
}

impl Fit {
    /// Fits the rows of `y`, one a seed, against `x`; `None` without at least two different `x`.
    pub fn new(x: &[f64], y: &[Vec<f64>]) -> Option<Self> {
        let lines = y.iter().map(|y| line(x, y)).collect::<Option<Vec<_>>>()?;
        let (seeds, points) = (lines.len() as f64, x.len() as f64);
        let mean = |part: fn(&(f64, f64)) -> f64| lines.iter().map(part).sum::<f64>() / seeds;
        let (intercept, slope) = (mean(|l| l.0), mean(|l| l.1));
        let deviations = lines.iter().map(|l| (l.1 - slope).powi(2)).sum::<f64>();
        let seeds_error = (lines.len() > 1).then(|| (deviations / (seeds - 1.0) / seeds).sqrt());
        // the mean of the lines is the line through the means
        let means = (0..x.len()).map(|i| y.iter().map(|y| y[i]).sum::<f64>() / seeds);
        let residuals: Vec<f64> = x.iter().zip(means).map(|(x, y)| y - intercept - slope * x).collect();
        let squares = residuals.iter().map(|r| r * r).sum::<f64>();
        let line_error = (x.len() > 2).then(|| (squares / (points - 2.0) / spread(x)).sqrt());
        let residual_rms = (squares / points).sqrt();
        (!lines.is_empty()).then_some(Fit { intercept, slope, seeds_error, line_error, residuals, residual_rms })
    }
}

/// Sum of squared distances to the mean.
fn spread(x: &[f64]) -> f64 {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    x.iter().map(|x| (x - mean).powi(2)).sum()
}

/// Intercept and slope.
fn line(x: &[f64], y: &[f64]) -> Option<(f64, f64)> {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let spread = spread(x);
    let slope = x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
    (spread > 0.0).then_some((mean_y - slope * mean_x, slope))
}

/// The middle value, or the mean of the two middle ones; NaN of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => f64::NAN,
        (n, half) if n % 2 == 0 => 0.5 * (values[half - 1] + values[half]),
        (_, half) => values[half],
    }
}

/// The largest value; 0 of nothing.
pub fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, f64::max)
}

/// Root mean square difference of each row to the same row of `b`.
pub fn row_errors<T: Real>(a: ArrayView2<'_, T>, b: ArrayView2<'_, T>) -> Vec<f64> {
    a.outer_iter().zip(b.outer_iter()).map(|(a, b)| rms(a.iter().zip(b))).collect()
}

/// Root mean square difference over pairs.
pub fn rms<'a, T: Real>(pairs: impl Iterator<Item = (&'a T, &'a T)>) -> f64 {
    let (mut squares, mut count) = (0.0, 0usize);
    for (a, b) in pairs {
        squares += (a.wide() - b.wide()).powi(2);
        count += 1;
    }
    (squares / count as f64).sqrt()
}

/// The first k of `range` that is `good`, `None` where there is none, for a property that holds from some k on.
///
/// Goes from `guess` towards the boundary in doubling steps and then halves what is left. Where the property comes and
/// goes, k is good and k - 1 is not, but an earlier k may be good too.
pub fn first_good<E>(
    range: RangeInclusive<i32>,
    guess: i32,
    mut good: impl FnMut(i32) -> Result<bool, E>,
) -> Result<Option<i32>, E> {
    // k <= bad is known not to be good and k >= fine is known to be, both by convention outside of the range
    let (start, end) = (*range.start(), *range.end());
    let (mut bad, mut fine) = (start - 1, end + 1);
    let mut step = 1;
    let mut k = guess.clamp(start, end.max(start));
    while fine - bad > 1 {
        if good(k)? {
            fine = k;
        } else {
            bad = k;
        }
        k = match (bad < start, fine > end) {
            (true, false) if fine - step > bad => fine - step,
            (false, true) if bad + step < fine => bad + step,
            _ => bad + (fine - bad) / 2,
        };
        step *= 2;
    }
    Ok((fine <= end).then_some(fine))
}
