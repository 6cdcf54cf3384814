//! The preconditioning of EDM.

use super::scratch::Scratch;
use crate::backend::{Backend, Summand};
use crate::error::{BoxError, Error, Result};
use crate::portable::ln_f64;
use crate::score::adapters::check_no_kernel;
use crate::score::check_shapes;
use crate::score::{Model, Prediction, Rows, ScoreFn};

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
/// The adapter works wherever the inner score does, on the CPU and on a device. The network's inputs lie in an array
/// that it keeps from call to call.
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
    coefficients: Coefficients,
    states: Scratch,
}

/// The coefficients of the rows of a call.
#[derive(Clone, Debug, Default)]
struct Coefficients {
    noise: Vec<f64>,
    input: Vec<f64>,
    skip: Vec<f64>,
    output: Vec<f64>,
}

impl Coefficients {
    fn fill(&mut self, rows: &Rows<'_>, sigma_data: f64) -> Result<()> {
        let all = [&mut self.noise, &mut self.input, &mut self.skip, &mut self.output];
        all.into_iter().for_each(Vec::clear);
        for (&alpha, &sigma) in rows.alpha.iter().zip(rows.sigma) {
            for (name, value) in [("alpha", alpha), ("sigma", sigma)] {
                if !(value > 0.0 && value.is_finite()) {
                    return Err(Error::setting(name, value, "positive and finite where EDM's preconditioning is used"));
                }
            }
            let data = alpha * sigma_data;
            let norm = (sigma * sigma + data * data).sqrt();
            self.noise.push(ln_f64(sigma / alpha) / 4.0);
            self.input.push(1.0 / norm);
            self.skip.push(alpha * sigma_data / norm * (sigma_data / norm));
            self.output.push(sigma * sigma_data / norm);
        }
        Ok(())
    }
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
        let (coefficients, states) = Default::default();
        Ok(EdmPrecondition { inner, sigma_data, coefficients, states })
    }
}

impl<S: Model> Model for EdmPrecondition<S> {
    fn prediction(&self) -> Prediction {
        Prediction::Data
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.inner)
    }

    /// The network's own times are its noise conditions.
    fn time_range(&self) -> Option<(f64, f64)> {
        None
    }
}

impl<B: Backend, S: ScoreFn<B>> ScoreFn<B> for EdmPrecondition<S> {
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, mut out: B::ViewMut<'_>) -> std::result::Result<(), BoxError> {
        check_shapes::<B>(x, rows, &out, None)?;
        check_no_kernel("EdmPrecondition", &self.inner)?;
        self.coefficients.fill(rows, self.sigma_data)?;
        let Coefficients { noise, input, skip, output } = &self.coefficients;
        let all = 0..rows.len();
        let (backend, states) = self.states.room::<B>("the inputs of a preconditioned network", x, rows.len())?;
        backend.combine(&[Summand::of(input, x)], None, backend.view_mut(states, all.clone()))?;
        let seen = backend.view(states, all.clone());
        self.inner.eval(seen, &Rows { t: noise, ..*rows }, B::part_mut(&mut out, all))?;
        backend.combine(&[Summand::of(skip, x), Summand::held(output)], None, out)?;
        Ok(())
    }
}
