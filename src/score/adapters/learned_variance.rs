//! DDPM steps whose variance the network learns.

use crate::backend::{Backend, Cpu, Real};
use crate::error::{BoxError, Error, Result};
use crate::portable::{exp_f64, ln_f64};
use crate::score::adapters::check_no_kernel;
use crate::score::adapters::scratch::Scratch;
use crate::score::adapters::threshold::{DataMap, check_limits};
use crate::score::{Model, Prediction, Rows, ScoreFn, check_shapes};
use ndarray::{ArrayView2, ArrayViewMut2};

/// DDPM with a learned variance (Nichol and Dhariwal, arXiv 2102.09672, equation 15; `learned_range` in
/// guided-diffusion and in diffusers' `DDPMScheduler`).
///
/// The network answers two rows per state, its usual output f and the place v of the variance between its bounds: one
/// row of 2 dim elements, as a network with 2 C channels gives it. With D the data prediction, h the step's length in
/// half log-SNR and w = 1 - e^{-2h}, a step t -> u is
///
/// x_u = (sigma_u/sigma_t) e^{-h} x + alpha_u w D + sigma_t^k sigma_u^{1-k} sqrt(w) xi, k = (v + 1)/2,
///
/// element by element: v = -1 is DDPM's small variance, v = 1 its large one. A step to sigma = 0 is x_u = D alone.
///
/// The noise is multiplied by what the network answers, so that the step is no affine node. It is a kernel
/// ([`Prediction::Next`]), for [`Scheme::Kernel`](crate::Scheme::Kernel), continuous, and runs on the CPU.
///
/// ```
/// use piadm::{prelude::*, score::LearnedVariance};
/// // two rows per state: the noise, and v = -1
/// let network = score_map(Prediction::Noise, |x, _rows| {
///     Array2::from_shape_fn((2 * x.nrows(), x.ncols()), |(i, j)| if i % 2 == 0 { 0.5 * x[[i / 2, j]] } else { -1f32 })
/// });
/// # use piadm::ndarray::Array2;
/// let mut kernel = LearnedVariance::new(network).clip(-1.0, 1.0)?;
/// let grid = Grid::ddpm_timesteps(50, Spacing::Trailing);
/// let problem = Problem::new(Discrete::linear(1000, 1e-4, 0.02)?, grid, Scheme::Kernel {}).samples(2).shape([8]);
/// # use piadm::grid::Spacing;
/// let samples = Picard::default().sample(&problem, &mut kernel)?.samples;
/// assert!(samples.iter().all(|x| x.abs() <= 1.0));
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LearnedVariance<S> {
    inner: S,
    limits: Option<(f64, f64)>,
    outputs: Scratch,
}

impl<S> LearnedVariance<S> {
    /// A kernel from a network that answers two rows per state, whatever its [`Model::heads`] says.
    ///
    /// Evaluation fails with [`Error::Unsupported`] for kernels and for networks that see several components, and with
    /// [`Error::Setting`] where the output does not determine D.
    pub fn new(inner: S) -> Self {
        LearnedVariance { inner, limits: None, outputs: Scratch::default() }
    }

    /// Clips the data prediction to [min, max], as `clip_denoised` does.
    ///
    /// # Errors
    /// [`Error::Setting`] unless min < max are finite.
    ///
    /// ```
    /// use piadm::{Prediction, score::LearnedVariance};
    /// assert!(LearnedVariance::new(Prediction::Noise).clip(1.0, -1.0).is_err());
    /// ```
    pub fn clip(self, min: f64, max: f64) -> Result<Self> {
        check_limits(min, max)?;
        Ok(LearnedVariance { limits: Some((min, max)), ..self })
    }
}

impl<S: Model> Model for LearnedVariance<S> {
    fn prediction(&self) -> Prediction {
        Prediction::Next
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.inner)
    }

    fn heads(&self) -> usize {
        self.components()
    }

    fn is_continuous(&self) -> bool {
        true
    }
}

/// The coefficients of a row's step: x_u = a x + b D + c e^{k r} xi.
struct Step {
    a: f64,
    b: f64,
    c: f64,
    /// log(sigma_t / sigma_u).
    r: f64,
}

impl Step {
    fn new((alpha, sigma): (f64, f64), (to_alpha, to_sigma): (f64, f64)) -> Self {
        if to_sigma == 0.0 {
            return Step { a: 0.0, b: to_alpha, c: 0.0, r: 0.0 };
        }
        // e^{-h}, which is 0 where alpha is
        let shrink = alpha * to_sigma / (to_alpha * sigma);
        let renewed = (1.0 - shrink) * (1.0 + shrink);
        Step {
            a: to_sigma / sigma * shrink,
            b: to_alpha * renewed,
            c: to_sigma * renewed.sqrt(),
            r: ln_f64(sigma / to_sigma),
        }
    }
}

impl<T: Real, S: ScoreFn<Cpu<T>>> ScoreFn<Cpu<T>> for LearnedVariance<S> {
    fn eval(
        &mut self,
        x: ArrayView2<'_, T>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, T>,
    ) -> std::result::Result<(), BoxError> {
        check_shapes::<Cpu<T>>(x, rows, &out, None)?;
        check_no_kernel("LearnedVariance", &self.inner)?;
        if self.inner.components() != 1 {
            let with = format!("a network that sees {} components", self.inner.components());
            return Err(Error::unsupported("LearnedVariance", with, "wrap a network of images").into());
        }
        let n = rows.len();
        if rows.to.t.len() != n {
            return Err(Error::unsupported(
                "LearnedVariance",
                "rows that lead nowhere",
                "call it from a sampler, with Scheme::Kernel",
            )
            .into());
        }
        let (backend, outputs) = self.outputs.room::<Cpu<T>>("the outputs of a learned variance", x, 2 * n)?;
        self.inner.eval(x, rows, backend.view_mut(outputs, 0..2 * n))?;
        let outputs = backend.view(outputs, 0..2 * n);
        for i in 0..n {
            let map = DataMap::new(self.inner.prediction(), rows.alpha[i], rows.sigma[i])?;
            let step = Step::new((rows.alpha[i], rows.sigma[i]), (rows.to.alpha[i], rows.to.sigma[i]));
            let mut row = out.row_mut(i);
            // the noise goes where the result will be
            if let Some(place) = row.as_slice_mut() {
                T::fill_normals(rows.to.key[i], rows.to.address[i], 0, place);
            } else {
                let mut normals = vec![T::zero(); x.ncols()];
                T::fill_normals(rows.to.key[i], rows.to.address[i], 0, &mut normals);
                row.iter_mut().zip(normals).for_each(|(place, xi)| *place = xi);
            }
            let (x, f, v) = (x.row(i), outputs.row(2 * i), outputs.row(2 * i + 1));
            for (((out, x), f), v) in row.iter_mut().zip(x).zip(f).zip(v) {
                let data = map.data(*x, *f);
                // clamp keeps NaN, which the sampler finds
                let data = self.limits.map_or(data, |(min, max)| data.clamp(min, max));
                let mean = step.a * x.wide() + step.b * data;
                let std = if step.c == 0.0 { 0.0 } else { step.c * exp_f64(0.5 * (v.wide() + 1.0) * step.r) };
                *out = T::of(mean + std * out.wide());
            }
        }
        Ok(())
    }
}
