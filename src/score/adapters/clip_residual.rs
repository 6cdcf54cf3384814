//! Clipped data beside the noise that is left as it was.

use crate::backend::{Backend, Cpu, Real};
use crate::error::{BoxError, Error, Result};
use crate::score::adapters::check_no_kernel;
use crate::score::adapters::scratch::Scratch;
use crate::score::adapters::threshold::{DataMap, check_limits};
use crate::score::{Model, Prediction, Rows, ScoreFn, check_rows};
use ndarray::{ArrayView2, ArrayViewMut2};

/// The network's output and, as a second head, what clipping changes of its data prediction: D' - D, where D' is D
/// clipped to [min, max].
///
/// diffusers' `DDIMScheduler` clips D by default, but moves on with the noise of the unclipped data
/// (`use_clipped_model_output = False`). No data prediction corresponds to that, so that [`Clip`](super::Clip) cannot
/// say it; [`Scheme::DdimClipped`](crate::Scheme::DdimClipped) takes its step from these two heads. Where nothing is
/// clipped, the second head is exactly 0. D is as in [`Clip`](super::Clip), and evaluation fails where it is not
/// determined. The adapter works on the CPU.
///
/// ```
/// use piadm::{prelude::*, grid::Spacing, score::ClipResidual};
/// let network = score_map(Prediction::Noise, |x, _rows| x.mapv(|v: f32| 0.5 * v));
/// let mut score = ClipResidual::new(network, -1.0, 1.0)?;
/// let grid = Grid::ddpm_timesteps(20, Spacing::Trailing);
/// let problem = Problem::new(Discrete::cosine(1000)?, grid, Scheme::DdimClipped { eta: 0.0 }).shape([8]);
/// let samples = Picard::default().sample(&problem, &mut score)?.samples;
/// assert!(samples.iter().all(|x| x.abs() <= 1.0));
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClipResidual<S> {
    inner: S,
    min: f64,
    max: f64,
    outputs: Scratch,
}

impl<S> ClipResidual<S> {
    /// Puts beside a network's output what clipping its data prediction to [min, max] changes.
    ///
    /// # Errors
    /// [`Error::Setting`] unless min < max are finite.
    pub fn new(inner: S, min: f64, max: f64) -> Result<Self> {
        check_limits(min, max)?;
        Ok(ClipResidual { inner, min, max, outputs: Scratch::default() })
    }
}

impl<S: Model> Model for ClipResidual<S> {
    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.inner)
    }

    fn components(&self) -> usize {
        1
    }

    fn heads(&self) -> usize {
        2
    }
}

impl<T: Real, S: ScoreFn<Cpu<T>>> ScoreFn<Cpu<T>> for ClipResidual<S> {
    fn eval(
        &mut self,
        x: ArrayView2<'_, T>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, T>,
    ) -> std::result::Result<(), BoxError> {
        check_rows::<Cpu<T>>(x, rows, &out, [1, 2], None)?;
        check_no_kernel("ClipResidual", &self.inner)?;
        if (self.inner.components(), self.inner.heads()) != (1, 1) {
            let with = "a network of several components or heads";
            return Err(Error::unsupported("ClipResidual", with, "wrap a network of images").into());
        }
        let n = rows.len();
        let (backend, outputs) = self.outputs.room::<Cpu<T>>("the outputs of a clipped network", x, n)?;
        self.inner.eval(x, rows, backend.view_mut(outputs, 0..n))?;
        let outputs = backend.view(outputs, 0..n);
        for i in 0..n {
            let map = DataMap::new(self.inner.prediction(), rows.alpha[i], rows.sigma[i])?;
            out.row_mut(2 * i).assign(&outputs.row(i));
            let mut residual = out.row_mut(2 * i + 1);
            for ((residual, x), f) in residual.iter_mut().zip(x.row(i)).zip(outputs.row(i)) {
                let data = map.data(*x, *f);
                // not a number where D is none, so that the sampler sees it
                *residual = T::of(data.clamp(self.min, self.max) - data);
            }
        }
        Ok(())
    }
}
