//! The energy distance.

use super::{Estimate, Replicates, Set, estimate, map, sum_pairs, two_sets};
use crate::backend::Real;
use crate::error::Result;
use ndarray::ArrayView2;

/// Elements of the block of rows that stays in cache while the rows of another group are read.
const BLOCK: usize = 1 << 12;

/// The energy distance of two sets of samples, 2 E|X - Y| - E|X - X'| - E|Y - Y'| with Euclidean norms.
///
/// It is 0 for equal laws and positive otherwise (Székely and Rizzo, "Energy statistics: a class of statistics
/// based on distances", J. Statist. Plann. Inference 143, 2013). It has the unit of the samples; some authors call
/// its square root the distance. The estimate is unbiased,
///
/// $$\frac{2}{nm} \sum_{ij} |x_i - y_j| - \frac{1}{n(n-1)} \sum_{i \ne j} |x_i - x_j| - \frac{1}{m(m-1)} \sum_{i \ne
/// j} |y_i - y_j| ,$$
///
/// and so can be negative. The error is that of the [jackknife](crate::quality#sampling-error). The cost is that of
/// (n m + n^2/2 + m^2/2) distances.
///
/// ```
/// use piadm::{ndarray::array, quality::energy_distance, score::Mixture};
/// let normal = Mixture::new([1.0], array![[0.0]], [1.0])?;
/// let (x, y) = (normal.sample(1000, 1)?, normal.sample(800, 2)? + 1.0);
/// let distance = energy_distance(x.view(), y.view())?;
/// // exact for N(0, 1) and N(1, 1): 2 E|N(1, 2)| - 2 E|N(0, 2)|
/// assert!((distance.value - 0.5418).abs() < 4.0 * distance.error);
/// # Ok::<(), piadm::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the sets have different numbers of columns, no column or fewer than 4 rows;
/// [`Error::Setting`](crate::Error::Setting) if a sample is not finite or the result overflows.
pub fn energy_distance<T: Real>(x: ArrayView2<'_, T>, y: ArrayView2<'_, T>) -> Result<Estimate> {
    let (x, y) = two_sets(x, y)?;
    let (xx, xy, yy) = (Table::within(&x), Table::between(&x, &y), Table::within(&y));
    let distance = |without| {
        let (n, m) = (rows(&x, without), rows(&y, without));
        2.0 * xy.sum(without) / (n * m) - xx.sum(without) / (n * (n - 1.0)) - yy.sum(without) / (m * (m - 1.0))
    };
    let replicates = Replicates::of(x.groups, distance);
    estimate(replicates.all, replicates.variance())
}

/// Number of rows outside a group.
fn rows(set: &Set, without: Option<usize>) -> f64 {
    (set.len() - without.map_or(0, |k| set.size(k))) as f64
}

/// Sums of the distances between the groups of two sets.
struct Table {
    groups: usize,
    sums: Vec<f64>,
}

impl Table {
    fn between(x: &Set, y: &Set) -> Self {
        let groups = x.groups;
        let sums = map(groups * groups, |at| distances(x.group(at / groups), y.group(at % groups), x.dim()));
        Table { groups, sums }
    }

    /// Both orders of every pair of groups, computed once.
    fn within(x: &Set) -> Self {
        let groups = x.groups;
        let pairs: Vec<(usize, usize)> = (0..groups).flat_map(|k| (0..=k).map(move |l| (k, l))).collect();
        let half =
            map(pairs.len(), |at| pairs.get(at).map_or(0.0, |&(k, l)| distances(x.group(k), x.group(l), x.dim())));
        let mut sums = vec![0.0; groups * groups];
        for ((k, l), sum) in pairs.into_iter().zip(half) {
            for at in [k * groups + l, l * groups + k] {
                sums.get_mut(at).into_iter().for_each(|s| *s = sum);
            }
        }
        Table { groups, sums }
    }

    /// The sum over all pairs of rows, leaving out a group.
    fn sum(&self, without: Option<usize>) -> f64 {
        let kept = |k: usize| Some(k) != without;
        let row = |row: &[f64]| (0..).zip(row).filter(|(l, _)| kept(*l)).map(|(_, s)| s).sum::<f64>();
        (0..).zip(self.sums.chunks(self.groups)).filter(|(k, _)| kept(*k)).map(|(_, r)| row(r)).sum()
    }
}

/// Sum of the distances from every row of `x` to every row of `y`.
fn distances(x: &[f64], y: &[f64], dim: usize) -> f64 {
    let mut total = 0.0;
    for y in y.chunks(BLOCK.div_ceil(dim) * dim) {
        for x in x.chunks_exact(dim) {
            let square = |y| sum_pairs(x, y, |x, y| (x - y) * (x - y));
            total += y.chunks_exact(dim).map(|y| square(y).sqrt()).sum::<f64>();
        }
    }
    total
}
