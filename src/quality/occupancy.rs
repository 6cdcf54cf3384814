//! How samples are distributed over the modes of a mixture.

use super::{Estimate, check_finite, map};
use crate::backend::Real;
use crate::error::{Error, Result};
use crate::portable::ln_f64;
use crate::score::Mixture;
use ndarray::{ArrayView1, ArrayView2};

/// The fractions of a set of samples that belong to each mode and to none; they add up to 1.
///
/// ```
/// # use piadm::{ndarray::array, quality::mode_occupancy, score::Mixture};
/// let mixture = Mixture::new([1.0, 3.0], array![[-1.0], [1.0]], [0.1, 0.1])?;
/// let occupancy = mode_occupancy(array![[-1.1], [0.9], [1.0], [0.0]].view(), &mixture, 5.0)?;
/// assert_eq!([occupancy.modes[0].value, occupancy.modes[1].value, occupancy.outside.value], [0.25, 0.5, 0.25]);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Occupancy {
    /// The fraction in every mode, in the mixture's order.
    pub modes: Vec<Estimate>,
    /// The fraction that is far from every mode.
    pub outside: Estimate,
}

/// Counts the samples of each mode of a mixture.
///
/// A sample belongs to the mode k with the largest posterior w_k N(x; m_k, s_k^2 I), the first one in a tie, unless
/// it is farther than `radius` standard deviations from every mode: |x - m_k| > radius s_k sqrt(dim) for all k. The
/// factor sqrt(dim) gives a radius the same meaning in every dimension: in high dimension the samples of a mode
/// have |x - m_k| close to s_k sqrt(dim). In one dimension radius 5 puts 6e-7 of a mode's samples outside; in 100
/// dimensions radius 1.5 puts fewer outside. An infinite radius leaves nothing outside.
///
/// Where modes overlap, the fraction in a mode differs from its weight even for exact samples, so compare with
/// exact samples there. Errors are binomial, sqrt(p (1 - p) / n) with Laplace's p = (count + 1) / (n + 2), so that
/// a mode without samples also has an error, about 1/n. The cost is n modes dim.
///
/// ```
/// # use piadm::{ndarray::array, quality::mode_occupancy, score::Mixture};
/// let mixture = Mixture::new([1.0, 3.0], array![[-1.0, 0.0], [1.0, 0.0]], [0.1, 0.1])?;
/// let occupancy = mode_occupancy(mixture.sample(1000, 3)?.view(), &mixture, 5.0)?;
/// for (part, weight) in occupancy.modes.iter().zip([0.25, 0.75]) {
///     assert!((part.value - weight).abs() < 4.0 * part.error);
/// }
/// assert_eq!(occupancy.outside.value, 0.0);
/// # Ok::<(), piadm::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if there is no sample or the samples and the mixture have different dimensions;
/// [`Error::Setting`] if the radius is not positive, a sample is not finite, or a mode is a point (its standard
/// deviation or its variance is 0), for which there is no posterior.
pub fn mode_occupancy<T: Real>(x: ArrayView2<'_, T>, mixture: &Mixture, radius: f64) -> Result<Occupancy> {
    if x.nrows() == 0 || x.ncols() != mixture.dim() {
        return Err(Error::Shape {
            what: "x",
            found: x.shape().to_vec(),
            expected: vec![x.nrows().max(1), mixture.dim()],
        });
    }
    if radius.is_nan() || radius <= 0.0 {
        return Err(Error::setting("radius", radius, "a positive number of standard deviations"));
    }
    if let Some(s) = mixture.std().iter().find(|s| !(*s * *s).is_normal()) {
        return Err(Error::setting("std", s, "modes whose variance is positive and finite, not points"));
    }
    check_finite("x", x)?;
    let means = mixture.means();
    let modes: Vec<Mode<'_>> = means
        .rows()
        .into_iter()
        .zip(mixture.weights().iter().zip(mixture.std()))
        .map(|(mean, (&weight, &std))| Mode { mean, std, log_weight: ln_f64(weight) - x.ncols() as f64 * ln_f64(std) })
        .collect();
    let mut counts = vec![0; modes.len()];
    for count in map(x.nrows(), |i| nearest(x.row(i), &modes, radius)).into_iter().flatten() {
        if let Some(count) = counts.get_mut(count) {
            *count += 1;
        }
    }
    let inside: usize = counts.iter().sum();
    let part = |count: usize| fraction(count, x.nrows());
    Ok(Occupancy { modes: counts.into_iter().map(part).collect(), outside: part(x.nrows() - inside) })
}

struct Mode<'a> {
    mean: ArrayView1<'a, f64>,
    std: f64,
    /// ln (w / s^dim).
    log_weight: f64,
}

/// The mode of a sample, unless it is far from all modes.
fn nearest<T: Real>(x: ArrayView1<'_, T>, modes: &[Mode<'_>], radius: f64) -> Option<usize> {
    let limit = radius * (x.len() as f64).sqrt();
    let mut near = false;
    let mut best = (f64::NEG_INFINITY, None);
    for (k, mode) in modes.iter().enumerate() {
        // in units of the deviation, so that squares do not overflow unnecessarily
        let square = x.iter().zip(&mode.mean).fold(0.0, |sum, (x, m)| {
            let e = (x.wide() - m) / mode.std;
            sum + e * e
        });
        near |= square.sqrt() <= limit;
        let posterior = mode.log_weight - 0.5 * square;
        if posterior > best.0 || best.1.is_none() {
            best = (posterior, Some(k));
        }
    }
    best.1.filter(|_| near)
}

/// A fraction of n with its binomial error.
fn fraction(count: usize, n: usize) -> Estimate {
    let (count, n) = (count as f64, n as f64);
    let p = (count + 1.0) / (n + 2.0);
    Estimate { value: count / n, error: (p * (1.0 - p) / n).sqrt() }
}
