//! Evaluation of the oracle: scalars per row from squared distances, then one weighted sum of states and means.

use super::Mixture;
use crate::backend::sum::{LEAF, add_squared_distances, from_lanes, lane_places, to_lanes};
use crate::backend::{Cpu, Real};
use crate::error::{BoxError, Error, Result};
use crate::portable::{exp_f64, ln_f64};
use crate::score::Prediction;
use crate::score::{Model, Rows, ScoreFn, check_shapes};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};

/// Below this product of elements and modes, rows are not worth handing to another thread.
#[cfg(feature = "rayon")]
const GRAIN: usize = 1 << 15;
/// Replaces a squared distance that overflows: that far out, the widest mode is responsible for everything.
const FAR: f64 = 1e300;

impl Mixture {
    /// Rejects levels at which the variance of a mode is not positive and finite.
    pub(crate) fn check_level(&self, alpha: f64, sigma: f64) -> Result<()> {
        if self.prediction == Prediction::Next {
            return Err(Error::unsupported(
                "a mixture",
                "Prediction::Next",
                "take another kind of output: a mixture is not a kernel",
            ));
        }
        for (name, value) in [("alpha", alpha), ("sigma", sigma)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::setting(name, value, "a finite number, not negative"));
            }
        }
        match self.std.iter().map(|&s| variance(s, alpha, sigma)).find(|v| !v.is_normal()) {
            Some(v) => Err(Error::setting(
                "alpha^2 std^2 + sigma^2",
                v,
                "a positive finite variance of every mode: sigma > 0 for points",
            )),
            None => Ok(()),
        }
    }

    /// Turns squared distances into log weights and returns the largest.
    pub(super) fn logits(&self, alpha: f64, sigma: f64, distances: &mut [f64]) -> f64 {
        let (mut of, mut half, mut log) = (f64::NAN, 0.0, 0.0);
        let mut max = -f64::MAX;
        for ((d, &s), &log_weight) in distances.iter_mut().zip(&self.std).zip(&self.log_weights) {
            if s != of {
                (of, [half, log, ..]) = (s, self.level(alpha, sigma, s));
            }
            *d = ((log_weight - log) - d.min(FAR) * half).max(-f64::MAX);
            max = max.max(*d);
        }
        max
    }

    /// Turns squared distances into the coefficients c_k and returns gamma.
    fn coefficients(&self, alpha: f64, sigma: f64, distances: &mut [f64]) -> f64 {
        let max = self.logits(alpha, sigma, distances);
        distances.iter_mut().for_each(|l| *l = exp_f64(*l - max));
        let share = 1.0 / distances.iter().fold(0.0, |sum, e| sum + e);
        let (mut of, mut slope, mut weight) = (f64::NAN, 0.0, 0.0);
        let mut gamma = 0.0;
        for (e, &s) in distances.iter_mut().zip(&self.std) {
            if s != of {
                (of, [.., slope, weight]) = (s, self.level(alpha, sigma, s));
            }
            let r = *e * share;
            gamma += r * slope;
            *e = r * weight;
        }
        gamma
    }

    /// Scalars for a mode of deviation `std` at a level, where its variance is v: 1 / (2 v), (dim / 2) ln v, the
    /// slope of its own output, and c_k / r_k.
    pub(crate) fn level(&self, alpha: f64, sigma: f64, std: f64) -> [f64; 4] {
        let v = variance(std, alpha, sigma);
        let slope = self.prediction.gaussian_slope(alpha, sigma, std * std);
        [0.5 / v, 0.5 * self.dim() as f64 * ln_f64(v), slope, self.numerator(alpha, sigma) / v]
    }

    /// ln w_k.
    #[cfg(feature = "cuda")]
    pub(crate) fn log_weights(&self) -> &[f64] {
        &self.log_weights
    }

    /// c_k v_k / r_k.
    fn numerator(&self, alpha: f64, sigma: f64) -> f64 {
        match self.prediction {
            Prediction::Score => alpha,
            Prediction::Noise => -alpha * sigma,
            Prediction::Data => sigma * sigma,
            Prediction::Velocity => -sigma * (alpha * alpha + sigma * sigma),
            Prediction::Flow => -sigma * (alpha + sigma),
            Prediction::Next => f64::NAN,
        }
    }

    /// Evaluates the rows one after another, in parallel if there is enough work.
    fn rows<T: Element>(&self, x: &[T], rows: &Rows<'_>, out: &mut [T]) {
        let dim = self.dim();
        #[cfg(feature = "rayon")]
        if rows.len() > 1 && rows.len() * self.means.len() > GRAIN {
            let half = rows.len() / 2;
            let ((x0, x1), (out0, out1)) = (x.split_at(half * dim), out.split_at_mut(half * dim));
            rayon::join(
                || self.rows(x0, &rows.range(0..half), out0),
                || self.rows(x1, &rows.range(half..rows.len()), out1),
            );
            return;
        }
        let mut scratch = vec![0.0; self.modes()];
        let levels = rows.alpha.iter().zip(rows.sigma);
        for ((x, out), (&alpha, &sigma)) in x.chunks_exact(dim).zip(out.chunks_exact_mut(dim)).zip(levels) {
            self.row(x, alpha, sigma, out, &mut scratch);
        }
    }

    /// Evaluates one row. The means are stored leaf after leaf and in lane order, so both passes read them once, in
    /// whole vectors.
    fn row<T: Element>(&self, x: &[T], alpha: f64, sigma: f64, out: &mut [T], scratch: &mut [f64]) {
        let blocks = || x.chunks(LEAF).zip(T::means(self).chunks(self.modes() * LEAF));
        let (mut place, mut sum) = ([T::zero(); LEAF], [T::zero(); LEAF]);
        scratch.fill(0.0);
        for (x, block) in blocks() {
            let place = &mut place[..lane_places(x.len())];
            to_lanes(x, place);
            add_squared_distances(place, block, T::of(alpha), scratch);
        }
        let gamma = T::of(self.coefficients(alpha, sigma, scratch));
        for ((x, block), out) in blocks().zip(out.chunks_mut(LEAF)) {
            let places = lane_places(x.len());
            let (place, sum) = (&mut place[..places], &mut sum[..places]);
            to_lanes(x, place);
            sum.iter_mut().zip(&*place).for_each(|(s, &x)| *s = gamma * x);
            // two modes per pass over the sum: the same additions with half the memory traffic
            let mut active =
                scratch.iter().map(|&c| T::of(c)).zip(block.chunks_exact(places)).filter(|(c, _)| *c != T::zero());
            while let Some((c0, m0)) = active.next() {
                match active.next() {
                    Some((c1, m1)) => {
                        sum.iter_mut().zip(m0).zip(m1).for_each(|((s, &m0), &m1)| *s = (*s + c0 * m0) + c1 * m1);
                    }
                    None => sum.iter_mut().zip(m0).for_each(|(s, &m)| *s += c0 * m),
                }
            }
            from_lanes(sum, out);
        }
    }
}

/// Variance of a mode at a level.
fn variance(std: f64, alpha: f64, sigma: f64) -> f64 {
    alpha * alpha * (std * std) + sigma * sigma
}

/// The first leaf of every row in lane order, then the second, and so on.
pub(super) fn lanes_of<T: Real>(means: &Array2<f64>) -> Vec<T> {
    let mut all = Vec::new();
    let (mut leaf, mut place) = (Vec::new(), [T::zero(); LEAF]);
    for columns in means.axis_chunks_iter(ndarray::Axis(1), LEAF) {
        let place = &mut place[..lane_places(columns.ncols())];
        for row in columns.rows() {
            leaf.clear();
            leaf.extend(row.iter().map(|&m| T::of(m)));
            to_lanes(&leaf, place);
            all.extend_from_slice(place);
        }
    }
    all
}

/// An element type for which a mixture keeps its means: f32 and f64.
pub trait Element: Real {
    /// The means of a mixture as [`lanes_of`] arranges them.
    #[doc(hidden)]
    fn means(mixture: &Mixture) -> &[Self];
}

impl Element for f32 {
    fn means(mixture: &Mixture) -> &[f32] {
        &mixture.single
    }
}

impl Element for f64 {
    fn means(mixture: &Mixture) -> &[f64] {
        &mixture.double
    }
}

impl Model for Mixture {
    fn prediction(&self) -> Prediction {
        self.prediction
    }
}

impl<T: Element> ScoreFn<Cpu<T>> for Mixture {
    fn eval(
        &mut self,
        x: ArrayView2<'_, T>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, T>,
    ) -> std::result::Result<(), BoxError> {
        check_shapes::<Cpu<T>>(x, rows, &out, Some(self.dim()))?;
        for (&alpha, &sigma) in rows.alpha.iter().zip(rows.sigma) {
            self.check_level(alpha, sigma)?;
        }
        let x = x.as_standard_layout();
        let x = x.as_slice().unwrap_or(&[]);
        match out.as_slice_mut() {
            Some(out) => self.rows(x, rows, out),
            None => {
                let mut own = Array2::zeros(out.dim());
                self.rows(x, rows, own.as_slice_mut().unwrap_or(&mut []));
                out.assign(&own);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::sum::squared_distance;

    /// The arithmetic in the order documented for [`Mixture`], written out without blocks, lanes or shared scalars.
    fn plain<T: Element>(mixture: &Mixture, x: &[T], alpha: f64, sigma: f64) -> Vec<T> {
        let means: Vec<Vec<T>> =
            mixture.means.rows().into_iter().map(|m| m.iter().map(|&m| T::of(m)).collect()).collect();
        let v: Vec<f64> = mixture.std.iter().map(|&s| (alpha * alpha) * (s * s) + sigma * sigma).collect();
        let l: Vec<f64> = (0..v.len())
            .map(|k| {
                let distance = squared_distance(x, &means[k], T::of(alpha)).min(1e300);
                ((ln_f64(mixture.weights[k]) - (x.len() as f64 / 2.0) * ln_f64(v[k])) - distance * (0.5 / v[k]))
                    .max(f64::MIN)
            })
            .collect();
        let max = l.iter().copied().fold(f64::MIN, f64::max);
        let e: Vec<f64> = l.iter().map(|l| exp_f64(l - max)).collect();
        let share = 1.0 / e.iter().fold(0.0, |sum, e| sum + e);
        let (mut gamma, mut c) = (0.0, Vec::new());
        for k in 0..v.len() {
            let r = e[k] * share;
            gamma += r * mixture.prediction.gaussian_slope(alpha, sigma, mixture.std[k] * mixture.std[k]);
            c.push(T::of(r * (mixture.numerator(alpha, sigma) / v[k])));
        }
        let gamma = T::of(gamma);
        let element = |i: usize| {
            let used = (0..v.len()).filter(|&k| c[k] != T::zero());
            used.fold(gamma * x[i], |sum, k| sum + c[k] * means[k][i])
        };
        (0..x.len()).map(element).collect()
    }

    fn has_the_documented_bits<T: Element>() {
        let wave = |i: usize| (i as f64 * 0.7 + 0.1 * (i * i % 17) as f64).sin();
        for (modes, dim) in [(1, 1), (2, 3), (3, 4), (5, 64), (8, 65), (7, 129), (4, 300)] {
            let means = Array2::from_shape_fn((modes, dim), |(k, i)| 1.5 * wave(k * dim + i));
            let weights: Vec<f64> = (0..modes).map(|k| 0.3 + k as f64).collect();
            let std: Vec<f64> = (0..modes).map(|k| 0.3 * ((k / 2) % 3) as f64).collect();
            let mixture = Mixture::new(weights, means, std).unwrap();
            for kind in [Prediction::Score, Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow]
            {
                let mut mixture = mixture.clone().predicting(kind);
                for (alpha, sigma) in [(0.9, 0.4), (1.0, 0.05), (0.0, 1.0), (1.0, 30.0)] {
                    let x = Array2::from_shape_fn((1, dim), |(_, i)| {
                        T::of(alpha * 1.5 * wave(i + dim) + sigma * 1.2 * wave(3 * i + 5))
                    });
                    let mut out = Array2::zeros((1, dim));
                    let (alphas, sigmas) = ([alpha], [sigma]);
                    let rows = Rows::new(&[0.0], &alphas, &sigmas, &[0], &[0]).unwrap();
                    mixture.eval(x.view(), &rows, out.view_mut()).unwrap();
                    let expected = plain(&mixture, x.as_slice().unwrap(), alpha, sigma);
                    let same = out.iter().zip(&expected).all(|(a, b)| a.same_bits(*b));
                    assert!(same, "{modes} modes, {dim} elements, {kind:?}, alpha {alpha}, sigma {sigma}");
                }
            }
        }
    }

    #[test]
    fn results_have_the_documented_bits() {
        has_the_documented_bits::<f32>();
        has_the_documented_bits::<f64>();
    }
}
