//! What outputs mean: the error of the data that each reading makes of them.

use crate::backend::Real;
use crate::inspect::report::{LevelErrors, NotFinite, Verdict};
use crate::schedule::Level;
use crate::score::Prediction;
use ndarray::{Array2, ArrayView2};

/// The readings that are compared.
const KINDS: [Prediction; 5] =
    [Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow, Prediction::Score];
/// Errors below it count as none.
const FLOOR: f64 = 1e-3;
/// A reading that is worse than another by less than this factor is not told from it, however many data there are.
const MARGIN: f64 = 1.05;
/// A network whose best reading errs by more than this factor denoises nothing.
const NO_DENOISER: f64 = 2.0;

/// The errors of each reading at a level: of the finite rows, the root mean square of D - x_0 in units of the error of
/// the best multiple of the noisy state, sqrt(V sigma^2 / (alpha^2 V + sigma^2)) with V the mean square of the data.
pub(super) fn errors_at<E: Real>(
    level: &Level,
    states: &Array2<E>,
    data: ArrayView2<'_, E>,
    outputs: &Array2<E>,
    not_finite: &mut Vec<NotFinite>,
) -> LevelErrors {
    let Level { t: time, alpha, sigma, .. } = *level;
    let maps = KINDS.map(|kind| kind.data_map(alpha, sigma));
    let (mut sums, mut square, mut elements) = ([0.0; KINDS.len()], 0.0, 0.0);
    let mut bad_rows = 0;
    for (row, (x, f)) in states.rows().into_iter().zip(outputs.rows()).enumerate() {
        let row = row % data.nrows();
        let bad = f.iter().filter(|f| !f.is_finite()).count();
        if bad > 0 {
            bad_rows += 1;
            not_finite.push(NotFinite { time, row, elements: bad });
            continue;
        }
        for ((x, f), data) in x.iter().zip(f).zip(data.row(row)) {
            let (x, f, data) = (x.wide(), f.wide(), data.wide());
            for (sum, (p, q)) in sums.iter_mut().zip(maps) {
                *sum += (p * x + q * f - data).powi(2);
            }
            square += data * data;
            elements += 1.0;
        }
    }
    let variance = if square > 0.0 { square / elements } else { 1.0 };
    let unit = (variance / (alpha * alpha * variance + sigma * sigma)).sqrt() * sigma;
    let error = |sum: f64| (sum / elements).sqrt() / unit;
    let errors = KINDS.into_iter().zip(sums).map(|(kind, sum)| (kind, error(sum))).collect();
    LevelErrors { time, ratio: sigma / alpha, errors, bad_rows }
}

/// How much worse than the best reading each one is, at the level where it is worst, from the best one on; none where
/// no output is finite. (A mean over the levels would not tell as much: where there is almost no noise, or almost no
/// signal, several readings err alike.)
pub(super) fn ranking(levels: &[LevelErrors]) -> Vec<(Prediction, f64)> {
    let of_level = |level: &LevelErrors| KINDS.map(|kind| level.error(kind).unwrap_or(f64::NAN) + FLOOR);
    let least = |errors: &[f64]| errors.iter().copied().fold(f64::INFINITY, f64::min);
    let known: Vec<_> = levels.iter().map(of_level).filter(|errors| least(errors).is_finite()).collect();
    if known.is_empty() {
        return Vec::new();
    }
    let worst = |k: usize| known.iter().map(|errors| errors[k] / least(errors)).fold(1.0, f64::max);
    let mut ranking: Vec<_> = KINDS.iter().enumerate().map(|(k, kind)| (*kind, worst(k))).collect();
    ranking.sort_by(|a, b| a.1.total_cmp(&b.1));
    ranking
}

/// By which factor a reading must be worse to be told from another by so many numbers of the data.
pub(super) fn margin(elements: usize) -> f64 {
    MARGIN * (1.0 + 1.0 / (elements as f64).sqrt())
}

/// Which reading explains the outputs, given so many numbers of the data.
pub(super) fn verdict(
    declared: Prediction,
    levels: &[LevelErrors],
    ranking: &[(Prediction, f64)],
    elements: usize,
) -> Verdict {
    let Some(&(best, least)) = ranking.first() else { return Verdict::NoDenoiser };
    let logs = levels.iter().filter_map(|level| level.error(best)).filter(|e| e.is_finite()).map(|e| (e + FLOOR).ln());
    let (n, sum) = logs.fold((0.0, 0.0), |(n, sum), log| (n + 1.0, sum + log));
    if sum > n * NO_DENOISER.ln() {
        return Verdict::NoDenoiser;
    }
    let of_declared = ranking.iter().find(|(kind, _)| *kind == declared).map_or(f64::INFINITY, |(_, worst)| *worst);
    if of_declared <= least {
        Verdict::AsDeclared
    } else if of_declared <= margin(elements) * least {
        Verdict::Undecided(best)
    } else {
        Verdict::LooksLike(best)
    }
}
