//! Classifier-free guidance.

use crate::backend::{Backend, Cpu, Real};
use crate::error::{BoxError, Error, Result};
use crate::score::check_shapes;
use crate::score::{Model, Prediction, Rows, ScoreFn};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, Zip, concatenate};

/// Classifier-free guidance (Ho and Salimans, arXiv 2207.12598) with scale w:
///
/// out = uncond + w (cond - uncond), computed as cond + (w - 1)(cond - uncond), so that w = 1 is the conditional output
/// itself, whatever the unconditional one is.
///
/// The weights w and 1 - w sum to 1, and every kind of output is an affine map of the data prediction with the same
/// coefficients for both. So guiding the outputs is guiding the data predictions, for every [`Prediction`].
///
/// **One network, one batched call.** The inner score is called once, with the rows of the call twice: row i is the
/// conditional evaluation of a state and row n/2 + i of the n rows the unconditional one of the same state. `max_rows`
/// is half of the inner one.
///
/// ```
/// use piadm::{score::Guided, Prediction, score_map};
/// let network = score_map(Prediction::Noise, |x, rows| {
///     let conditional = rows.len() / 2;
///     let mut out = x.to_owned();
///     for (i, mut row) in out.rows_mut().into_iter().enumerate() {
///         let label = if i < conditional { Some(rows.id[i] % 10) } else { None };
///         row *= label.map_or(1.0, |l| l as f32); // your network here
///     }
///     Ok(out)
/// });
/// let score = Guided::new(network, 3.0)?;
/// # fn is_score(_: impl piadm::ScoreFn<piadm::Cpu<f32>>) {}
/// # is_score(score);
/// # Ok::<(), piadm::Error>(())
/// ```
///
/// Two separate scores are guided with [`Guided::pair`].
#[derive(Clone, Debug)]
pub struct Guided<S> {
    inner: S,
    scale: f64,
}

impl<S> Guided<S> {
    /// Guides a network that takes conditional rows first and unconditional rows second, see [`Guided`].
    ///
    /// # Errors
    /// [`Error::Setting`] if `scale` is not finite.
    pub fn new(inner: S, scale: f64) -> Result<Self> {
        if !scale.is_finite() {
            return Err(Error::setting("scale", scale, "a finite guidance scale"));
        }
        Ok(Guided { inner, scale })
    }
}

impl<C, U> Guided<Pair<C, U>> {
    /// Guides with a conditional and an unconditional score, each called once a round.
    ///
    /// ```
    /// use piadm::{score::Guided, Prediction, score_map};
    /// let conditional = score_map(Prediction::Noise, |x, _rows| Ok(&x * 0.5_f32));
    /// let unconditional = score_map(Prediction::Noise, |x, _rows| Ok(&x * 0.4_f32));
    /// let score = Guided::pair(conditional, unconditional, 2.0)?;
    /// # fn is_score(_: impl piadm::ScoreFn<piadm::Cpu<f32>>) {}
    /// # is_score(score);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Setting`] if `scale` is not finite. Evaluation fails with [`Error::Setting`] if the two differ in
    /// their [`Prediction`].
    pub fn pair(conditional: C, unconditional: U, scale: f64) -> Result<Self> {
        Guided::new(Pair { conditional, unconditional }, scale)
    }
}

impl<S: Model> Model for Guided<S> {
    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }

    fn max_rows(&self) -> Option<usize> {
        self.inner.max_rows().map(|n| (n / 2).max(1))
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        self.inner.time_range()
    }
}

impl<T: Real, S: ScoreFn<Cpu<T>>> ScoreFn<Cpu<T>> for Guided<S> {
    fn eval(
        &mut self,
        x: ArrayView2<'_, T>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, T>,
    ) -> std::result::Result<(), BoxError> {
        check_shapes(&x, rows, &out, None)?;
        if let Some(bound @ 0..2) = self.inner.max_rows() {
            return Err(Error::setting(
                "max_rows",
                bound,
                "at least 2 for a guided network, which sees every row twice",
            )
            .into());
        }
        let n = rows.len();
        let states = concatenate(Axis(0), &[x, x])?;
        let (t, alpha, sigma) = (rows.t.repeat(2), rows.alpha.repeat(2), rows.sigma.repeat(2));
        let (id, slot) = (rows.id.repeat(2), rows.slot.repeat(2));
        let twice = Rows { t: &t, alpha: &alpha, sigma: &sigma, id: &id, slot: &slot, ..*rows };
        let mut outputs = Cpu::new().alloc("the outputs of a guided network", 2 * n, x.ncols(), T::zero())?;
        self.inner.eval(states.view(), &twice, outputs.view_mut())?;
        let (conditional, unconditional) = outputs.view().split_at(Axis(0), n);
        let extra = T::of(self.scale - 1.0);
        Zip::from(&mut out).and(conditional).and(unconditional).for_each(|out, &c, &u| {
            *out = if extra == T::zero() { c } else { c + extra * (c - u) };
        });
        Ok(())
    }
}

/// Two scores as the one network that [`Guided`] calls: the first half of the rows goes to one, the second half to the
/// other.
///
/// ```
/// use piadm::score::{Guided, Mixture, Pair};
/// fn sharpen(digits: Mixture, all: Mixture) -> piadm::Result<Guided<Pair<Mixture, Mixture>>> {
///     Guided::pair(digits, all, 1.5)
/// }
/// # let _ = sharpen;
/// ```
#[derive(Clone, Debug)]
pub struct Pair<C, U> {
    conditional: C,
    unconditional: U,
}

impl<C: Model, U: Model> Model for Pair<C, U> {
    fn prediction(&self) -> Prediction {
        self.conditional.prediction()
    }

    fn max_rows(&self) -> Option<usize> {
        let bounds = [self.conditional.max_rows(), self.unconditional.max_rows()];
        bounds.into_iter().flatten().min().map(|n| n.saturating_mul(2))
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        match (self.conditional.time_range(), self.unconditional.time_range()) {
            (Some(a), Some(b)) => Some((a.0.max(b.0), a.1.min(b.1))),
            (a, b) => a.or(b),
        }
    }
}

impl<T: Real, C: ScoreFn<Cpu<T>>, U: ScoreFn<Cpu<T>>> ScoreFn<Cpu<T>> for Pair<C, U> {
    fn eval(
        &mut self,
        x: ArrayView2<'_, T>,
        rows: &Rows<'_>,
        out: ArrayViewMut2<'_, T>,
    ) -> std::result::Result<(), BoxError> {
        check_shapes(&x, rows, &out, None)?;
        let (conditional, unconditional) = (self.conditional.prediction(), self.unconditional.prediction());
        if conditional != unconditional {
            let with = format!("outputs of unlike kinds, {conditional:?} and {unconditional:?}");
            return Err(Error::unsupported("guidance by two scores", with, "take two of the same kind").into());
        }
        let n = rows.len() / 2;
        let ((x0, x1), (out0, out1)) = (x.split_at(Axis(0), n), out.split_at(Axis(0), n));
        self.conditional.eval(x0, &rows.range(0..n), out0)?;
        self.unconditional.eval(x1, &rows.range(n..rows.len()), out1)
    }
}
