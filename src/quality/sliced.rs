//! The sliced Wasserstein distance.

use super::{Estimate, Replicates, Set, estimate, map, sum_pairs, two_sets};
use crate::backend::Real;
use crate::error::{Error, Result};
use crate::noise::{Address, NoiseKey, NormalPrecision, stream};
use ndarray::ArrayView2;

/// The square of the sliced Wasserstein distance of order 2: the mean over directions u, uniform on the sphere, of the
/// squared Wasserstein distance of the projections u.x and u.y.
///
/// $$SW_2^2 = E_u \int_0^1 \left( F_{u \cdot x}^{-1}(q) - F_{u \cdot y}^{-1}(q) \right)^2 dq$$
///
/// (Bonneel, Rabin, Peyré, Pfister, "Sliced and Radon Wasserstein barycenters of measures", J. Math. Imaging Vision
/// 51, 2015). A translation by a has SW_2^2 = |a|^2 / dim. One-dimensional distances are exact, for sets of equal
/// or different sizes. The directions are `projections` normalised rows of addressed noise, a pure function of the
/// seed.
///
/// The [jackknife](crate::quality#sampling-error) removes the bias of order 1/n from the value, which can therefore
/// be negative; the remaining bias is a small fraction of the error. The error covers both the finite sets and the
/// finite number of directions. For laws with gaps between their modes the one-dimensional distance has a kink at
/// equality; there the value stays positive, by about one error. The cost is `projections` times (n + m) dim for
/// the projections, a sort, and 21 passes over sorted numbers.
///
/// ```
/// use piadm::{ndarray::array, quality::sliced_wasserstein, score::Mixture};
/// let normal = Mixture::new([1.0], array![[0.0, 0.0, 0.0]], [1.0])?;
/// let (x, y) = (normal.sample(1000, 1)?, normal.sample(1500, 2)? + 0.5);
/// let distance = sliced_wasserstein(x.view(), y.view(), 100, 7)?;
/// // three coordinates shifted by 0.5: 0.75 / 3
/// assert!((distance.value - 0.25).abs() < 4.0 * distance.error);
/// # Ok::<(), piadm::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] if the sets have different numbers of columns, no column or fewer than 4 rows; [`Error::Setting`]
/// if there are fewer than 2 projections or more than 2^32, if a sample is not finite or if the result overflows.
pub fn sliced_wasserstein<T: Real>(
    x: ArrayView2<'_, T>,
    y: ArrayView2<'_, T>,
    projections: usize,
    seed: u64,
) -> Result<Estimate> {
    if projections < 2 || u32::try_from(projections).is_err() {
        return Err(Error::setting("projections", projections, "2 or more, below 2^32"));
    }
    let (x, y) = two_sets(x, y)?;
    let groups = x.groups;
    let key = NoiseKey::new(seed).with_precision(NormalPrecision::Double);
    let slices = map(projections, |p| {
        let mut direction = vec![0.0; x.dim()];
        key.fill_f64(Address { stream: stream::DIRECTIONS, step: 0, sample: p as u32 }, 0, &mut direction);
        let norm = sum_pairs(&direction, &direction, |a, b| a * b).sqrt();
        direction.iter_mut().for_each(|u| *u /= norm);
        let (a, b) = (project(&x, &direction), project(&y, &direction));
        let distance = |without| wasserstein(&a, &b, without);
        let all = distance(None);
        Replicates { all, without: (0..groups).map(|k| distance(Some(k))).collect() }
    });
    let p = projections as f64;
    let mean = |of: &dyn Fn(&Replicates) -> f64| slices.iter().map(of).sum::<f64>() / p;
    let total = Replicates {
        all: mean(&|s| s.all),
        without: (0..groups).map(|k| mean(&|s| s.without.get(k).copied().unwrap_or(0.0))).collect(),
    };
    let value = total.unbiased();
    // directions scatter both by what they measure and by the noise of the sets; the latter is part of the total's
    // variance
    let scatter = mean(&|s| (s.unbiased() - value) * (s.unbiased() - value)) * p / (p - 1.0);
    let between = (scatter - mean(&Replicates::variance)).max(0.0);
    estimate(value, total.variance() + between / p)
}

/// The projections of a set in ascending order, with their groups.
fn project(set: &Set, direction: &[f64]) -> Vec<(f64, usize)> {
    let rows = |k| set.group(k).chunks_exact(set.dim()).map(move |row| (sum_pairs(row, direction, |a, b| a * b), k));
    let mut all: Vec<(f64, usize)> = (0..set.groups).flat_map(rows).collect();
    all.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    all
}

/// The squared Wasserstein distance of sorted numbers outside a group, found by traversing both quantile functions
/// together.
fn wasserstein(a: &[(f64, usize)], b: &[(f64, usize)], without: Option<usize>) -> f64 {
    let kept = |all: &[(f64, usize)]| all.iter().filter(|(_, k)| Some(*k) != without).count() as u64;
    let (n, m) = (kept(a), kept(b));
    let mut a = a.iter().filter(|(_, k)| Some(*k) != without);
    let mut b = b.iter().filter(|(_, k)| Some(*k) != without);
    // every number of a has mass m and every number of b mass n, in units of 1 / (n m): exact in integers
    let (mut left_a, mut left_b) = (0, 0);
    let (mut from, mut to) = (0.0, 0.0);
    let mut sum = 0.0;
    loop {
        if left_a == 0 {
            let Some(&(value, _)) = a.next() else { break };
            (from, left_a) = (value, m);
        }
        if left_b == 0 {
            let Some(&(value, _)) = b.next() else { break };
            (to, left_b) = (value, n);
        }
        let mass = left_a.min(left_b);
        sum += mass as f64 * ((from - to) * (from - to));
        left_a -= mass;
        left_b -= mass;
    }
    sum / (n as f64 * m as f64)
}

#[cfg(test)]
mod tests {
    use super::wasserstein;

    /// Repeats both sets to a common length and compares them rank by rank.
    fn by_repetition(a: &[f64], b: &[f64]) -> f64 {
        let repeat = |x: &[f64], times: usize| {
            let mut all = x.repeat(times);
            all.sort_by(f64::total_cmp);
            all
        };
        let (a, b) = (repeat(a, b.len()), repeat(b, a.len()));
        a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / a.len() as f64
    }

    #[test]
    fn quantile_functions_of_any_sizes_are_compared() {
        let wave = |i: usize, k: f64| (i as f64 * k).sin() * 3.0;
        for (n, m) in [(1, 1), (5, 5), (4, 6), (7, 3), (12, 5)] {
            let (a, b): (Vec<f64>, Vec<f64>) =
                ((0..n).map(|i| wave(i, 1.7)).collect(), (0..m).map(|i| wave(i, 0.9) + 1.0).collect());
            for without in [None, Some(1)] {
                let kept = |x: &[f64]| -> Vec<f64> {
                    (0..).zip(x).filter(|(i, _)| without.is_none_or(|k| i % 2 != k)).map(|(_, v)| *v).collect()
                };
                let sorted = |x: &[f64]| {
                    let mut all: Vec<(f64, usize)> = (0..).zip(x).map(|(i, v): (usize, _)| (*v, i % 2)).collect();
                    all.sort_by(|a, b| a.0.total_cmp(&b.0));
                    all
                };
                let expected = by_repetition(&kept(&a), &kept(&b));
                let found = wasserstein(&sorted(&a), &sorted(&b), without);
                assert!((found - expected).abs() < 1e-13, "{found} for {expected}, {n} and {m}");
            }
        }
    }
}
