//! Thresholding of the data prediction.

use crate::backend::{Backend, Cpu, Limit, Real, Summand};
use crate::error::{BoxError, Error, Result};
use crate::score::check_shapes;
use crate::score::{Model, Prediction, Rows, ScoreFn};
use ndarray::{ArrayView2, ArrayViewMut1, ArrayViewMut2, Zip};

/// The maps D = p x + q f and f = (D - p x) / q between output and data prediction of one row, in f64.
#[derive(Clone, Copy)]
pub(super) struct DataMap {
    p: f64,
    q: f64,
}

impl DataMap {
    pub fn new(prediction: Prediction, alpha: f64, sigma: f64) -> Result<Self> {
        let (p, q) = prediction.data_map(alpha, sigma);
        if !p.is_finite() || !q.is_finite() {
            return Err(Error::setting(
                "alpha",
                alpha,
                "a positive alpha to threshold the data behind a score or noise output",
            ));
        }
        if q == 0.0 {
            return Err(Error::setting(
                "sigma",
                sigma,
                "a positive sigma to threshold the data behind an output of another kind",
            ));
        }
        Ok(DataMap { p, q })
    }

    /// p x; x is not read where p is 0.
    fn known<T: Real>(self, x: T) -> f64 {
        if self.p == 0.0 { 0.0 } else { self.p * x.wide() }
    }

    pub fn data<T: Real>(self, x: T, f: T) -> f64 {
        self.known(x) + self.q * f.wide()
    }

    fn output<T: Real>(self, x: T, data: f64) -> T {
        T::of((data - self.known(x)) / self.q)
    }
}

/// Whether a data prediction can be clipped to [min, max].
pub(super) fn check_limits(min: f64, max: f64) -> Result<()> {
    match min.is_finite() && max.is_finite() && min < max {
        true => Ok(()),
        false => Err(Error::setting("min, max", format!("{min}, {max}"), "finite bounds with min < max")),
    }
}

/// Static thresholding: the data prediction is clipped to [min, max], element by element.
///
/// With D = p x + q f as in [`Prediction::data_map`], an element with D < min or D > max gets the output f = (D' - p x)
/// / q of the bound D', computed in f64; every other element keeps its bits. Elements that are not finite are passed
/// on, so that a sampler sees them.
///
/// Score and noise outputs do not determine D where alpha = 0, and no output but D itself does where sigma = 0:
/// evaluation there is an [`Error::Setting`].
///
/// The adapter works wherever the inner score does, on the CPU and on a device.
///
/// ```
/// use piadm::{score::Clip, Prediction, score_map};
/// let network = score_map(Prediction::Noise, |x, _rows| Ok(&x * 0.5_f32));
/// let score = Clip::new(network, -1.0, 1.0)?;
/// # fn is_score(_: impl piadm::ScoreFn<piadm::Cpu<f32>>) {}
/// # is_score(score);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Clip<S> {
    inner: S,
    min: f64,
    max: f64,
    /// (p, q) of the rows of a call.
    maps: Vec<[f64; 2]>,
}

impl<S> Clip<S> {
    /// Clips the data prediction behind `inner` to [min, max].
    ///
    /// # Errors
    /// [`Error::Setting`] unless min < max are finite.
    pub fn new(inner: S, min: f64, max: f64) -> Result<Self> {
        check_limits(min, max)?;
        Ok(Clip { inner, min, max, maps: Vec::new() })
    }
}

impl<S: Model> Model for Clip<S> {
    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.inner)
    }
}

impl<B: Backend, S: ScoreFn<B>> ScoreFn<B> for Clip<S> {
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, mut out: B::ViewMut<'_>) -> std::result::Result<(), BoxError> {
        check_shapes::<B>(x, rows, &out, None)?;
        self.maps.clear();
        for (&alpha, &sigma) in rows.alpha.iter().zip(rows.sigma) {
            let DataMap { p, q } = DataMap::new(self.inner.prediction(), alpha, sigma)?;
            self.maps.push([p, q]);
        }
        self.inner.eval(x, rows, B::part_mut(&mut out, 0..rows.len()))?;
        let limit = Limit { map: &self.maps, x, low: self.min, high: self.max };
        B::of(x).combine(&[Summand::held(&[1.0])], Some(limit), out)?;
        Ok(())
    }
}

/// Dynamic thresholding (Imagen: Saharia et al., arXiv 2205.11487, section 2.3) for data in [-1, 1].
///
/// Row by row, s is the given quantile of |D| over the row's elements, at least 1 and at most `ceiling`; D is clipped
/// to [-s, s] and divided by s. The quantile interpolates linearly between order statistics: of n sorted values it is
/// the one at place quantile (n - 1), counted from 0. A row with s = 1 and no |D| > 1 keeps its bits; a `ceiling` of 1
/// is [`Clip`] to [-1, 1]. Elements that are not finite are passed on. Where D is not determined, evaluation fails as
/// for [`Clip`].
///
/// The adapter works on the CPU only, because it needs order statistics. On a device, wrap it in a `HostScore`.
///
/// ```
/// use piadm::{score::Threshold, Prediction, score_map};
/// let network = score_map(Prediction::Data, |x, _rows| Ok(&x * 1.5_f32));
/// let score = Threshold::new(network, 0.995, 10.0)?;
/// # fn is_score(_: impl piadm::ScoreFn<piadm::Cpu<f32>>) {}
/// # is_score(score);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Threshold<S> {
    inner: S,
    quantile: f64,
    ceiling: f64,
}

impl<S> Threshold<S> {
    /// Thresholds the data prediction behind `inner` at a `quantile` in [0, 1] (Imagen: 0.995) of its absolute values,
    /// never above `ceiling`, which may be infinite.
    ///
    /// # Errors
    /// [`Error::Setting`] if `quantile` is outside [0, 1] or `ceiling` below 1.
    pub fn new(inner: S, quantile: f64, ceiling: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&quantile) {
            return Err(Error::setting("quantile", quantile, "a number from 0 to 1"));
        }
        if ceiling.is_nan() || ceiling < 1.0 {
            return Err(Error::setting("ceiling", ceiling, "at least 1"));
        }
        Ok(Threshold { inner, quantile, ceiling })
    }

    /// Thresholds one row; `sizes` is working memory.
    fn row<T: Real>(
        &self,
        map: DataMap,
        x: ndarray::ArrayView1<'_, T>,
        out: ArrayViewMut1<'_, T>,
        sizes: &mut Vec<f64>,
    ) {
        sizes.clear();
        sizes.extend(x.iter().zip(&out).map(|(&x, &f)| map.data(x, f).abs()).filter(|d| d.is_finite()));
        let s = quantile(sizes, self.quantile).clamp(1.0, self.ceiling);
        Zip::from(out).and(x).for_each(|out, &x| {
            let data = map.data(x, *out);
            let scaled = data.clamp(-s, s) / s;
            if data.is_finite() && data != scaled {
                *out = map.output(x, scaled);
            }
        });
    }
}

/// The quantile of some values, which are reordered; 0 if there are none.
fn quantile(values: &mut [f64], quantile: f64) -> f64 {
    let Some(last) = values.len().checked_sub(1) else { return 0.0 };
    let place = quantile * last as f64;
    let below = place.floor();
    let (_, &mut low, above) = values.select_nth_unstable_by((below as usize).min(last), f64::total_cmp);
    let high = above.iter().copied().fold(f64::INFINITY, f64::min);
    if above.is_empty() { low } else { low + (place - below) * (high - low) }
}

impl<S: Model> Model for Threshold<S> {
    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.inner)
    }
}

impl<T: Real, S: ScoreFn<Cpu<T>>> ScoreFn<Cpu<T>> for Threshold<S> {
    fn eval(
        &mut self,
        x: ArrayView2<'_, T>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, T>,
    ) -> std::result::Result<(), BoxError> {
        check_shapes::<Cpu<T>>(x, rows, &out, None)?;
        self.inner.eval(x, rows, out.view_mut())?;
        let mut sizes = Vec::with_capacity(x.ncols());
        for (((x, out), &alpha), &sigma) in x.rows().into_iter().zip(out.rows_mut()).zip(rows.alpha).zip(rows.sigma) {
            let map = DataMap::new(self.inner.prediction(), alpha, sigma)?;
            self.row(map, x, out, &mut sizes);
        }
        Ok(())
    }
}
