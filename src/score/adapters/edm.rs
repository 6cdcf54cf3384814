//! The preconditioning of EDM.

use crate::backend::{Backend, Cpu, Real};
use crate::error::{BoxError, Error, Result};
use crate::portable::ln_f64;
use crate::score::check_shapes;
use crate::score::{Model, Prediction, Rows, ScoreFn};
use ndarray::{ArrayView2, ArrayViewMut2, Zip};

/// A raw network F with the preconditioning of EDM (Karras et al., arXiv 2206.00364, table 1 and equation 7):
///
/// D = c_skip x + c_out F(c_in x, c_noise), with S = sigma_data and N = sigma^2 + S^2:
/// c_skip = S^2 / N, c_out = sigma S / sqrt N, c_in = 1 / sqrt N, c_noise = ln(sigma) / 4.
///
/// That is for schedules with alpha = 1. On others the network sees x / alpha at noise level sigma / alpha, which has
/// the same D. With N = sigma^2 + alpha^2 S^2 the coefficients on x and F are alpha S^2 / N and sigma S / sqrt N, the
/// input is x / sqrt N, and c_noise = ln(sigma / alpha) / 4.
///
/// The output is a data prediction. The inner score gets c_noise of each row as [`Rows::t`]; its own prediction is not
/// asked, and its time range, which is in another unit, is not passed on. Where alpha or sigma is 0, c_noise is
/// infinite: an [`Error::Setting`].
///
/// ```
/// use piadm::{score::EdmPrecondition, Prediction, score_map};
/// let raw = score_map(Prediction::Data, |x, rows| {
///     let c_noise = rows.t; // what the network is conditioned on
///     Ok(&x * 0.1_f32) // your network here
/// });
/// let score = EdmPrecondition::new(raw, 0.5)?;
/// # fn is_score(_: impl piadm::ScoreFn<piadm::Cpu<f32>>) {}
/// # is_score(score);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct EdmPrecondition<S> {
    inner: S,
    sigma_data: f64,
}

impl<S> EdmPrecondition<S> {
    /// Wraps a raw network that was trained for data of standard deviation `sigma_data` (EDM: 0.5).
    ///
    /// # Errors
    /// [`Error::Setting`] unless `sigma_data` is positive and finite.
    pub fn new(inner: S, sigma_data: f64) -> Result<Self> {
        if !(sigma_data > 0.0 && sigma_data.is_finite()) {
            return Err(Error::setting("sigma_data", sigma_data, "a positive finite standard deviation"));
        }
        Ok(EdmPrecondition { inner, sigma_data })
    }
}

impl<S: Model> Model for EdmPrecondition<S> {
    fn prediction(&self) -> Prediction {
        Prediction::Data
    }

    fn max_rows(&self) -> Option<usize> {
        self.inner.max_rows()
    }
}

impl<T: Real, S: ScoreFn<Cpu<T>>> ScoreFn<Cpu<T>> for EdmPrecondition<S> {
    fn eval(
        &mut self,
        x: ArrayView2<'_, T>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, T>,
    ) -> std::result::Result<(), BoxError> {
        check_shapes(&x, rows, &out, None)?;
        let levels = || rows.alpha.iter().copied().zip(rows.sigma.iter().copied());
        let norm = |alpha: f64, sigma: f64| {
            let data = alpha * self.sigma_data;
            (sigma * sigma + data * data).sqrt()
        };
        let mut noise = Vec::with_capacity(rows.len());
        let mut states = Cpu::new().alloc("the inputs of a preconditioned network", x.nrows(), x.ncols(), T::zero())?;
        for ((x, mut state), (alpha, sigma)) in x.rows().into_iter().zip(states.rows_mut()).zip(levels()) {
            for (name, value) in [("alpha", alpha), ("sigma", sigma)] {
                if !(value > 0.0 && value.is_finite()) {
                    return Err(
                        Error::setting(name, value, "positive and finite where EDM's preconditioning is used").into()
                    );
                }
            }
            noise.push(ln_f64(sigma / alpha) / 4.0);
            let c_in = T::of(1.0 / norm(alpha, sigma));
            state.zip_mut_with(&x, |state, &x| *state = c_in * x);
        }
        let inner = Rows { t: &noise, ..*rows };
        self.inner.eval(states.view(), &inner, out.view_mut())?;
        for ((x, out), (alpha, sigma)) in x.rows().into_iter().zip(out.rows_mut()).zip(levels()) {
            let norm = norm(alpha, sigma);
            let skip = T::of(alpha * self.sigma_data / norm * (self.sigma_data / norm));
            let scale = T::of(sigma * self.sigma_data / norm);
            // far from the data the state's coefficient may round to 0
            Zip::from(out).and(x).for_each(|out, &x| {
                *out = if skip == T::zero() { scale * *out } else { skip * x + scale * *out };
            });
        }
        Ok(())
    }
}
