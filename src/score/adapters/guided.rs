//! Classifier-free guidance.

use super::own_rows::OwnRows;
use super::scratch::Scratch;
use crate::backend::{Backend, Summand};
use crate::error::{BoxError, Error, Result};
use crate::score::adapters::{check_no_kernel, common_times};
use crate::score::check_shapes;
use crate::score::{Model, Prediction, Rows, ScoreFn};

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
/// is half of the inner one. So that rows keep these places, a network on several devices is guided first and split
/// then ([`Split`](crate::score::Split) of guided parts), and so is one with calls of a fixed size
/// ([`Padded`](crate::score::Padded)).
///
/// The adapter works wherever the inner score does, on the CPU and on a device: the backend of the rows doubles them
/// and combines the outputs, in arrays that the adapter keeps from call to call.
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
    twice: OwnRows,
    states: Scratch,
    outputs: Scratch,
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
        let (twice, states, outputs) = Default::default();
        Ok(Guided { inner, scale, twice, states, outputs })
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
    /// [`Error::Setting`] if `scale` is not finite. Evaluation fails with [`Error::Unsupported`] if the two differ in
    /// their [`Prediction`].
    pub fn pair(conditional: C, unconditional: U, scale: f64) -> Result<Self> {
        Guided::new(Pair { conditional, unconditional }, scale)
    }
}

impl<S: Model> Model for Guided<S> {
    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.inner)
    }

    fn max_rows(&self) -> Option<usize> {
        self.inner.max_rows().map(|n| (n / 2).max(1))
    }

    fn evaluations(&self, rows: usize) -> usize {
        self.inner.evaluations(rows.saturating_mul(2))
    }

    fn grain(&self) -> usize {
        self.inner.grain().div_ceil(2)
    }
}

impl<B: Backend, S: ScoreFn<B>> ScoreFn<B> for Guided<S> {
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, mut out: B::ViewMut<'_>) -> std::result::Result<(), BoxError> {
        check_shapes::<B>(x, rows, &out, None)?;
        check_no_kernel("Guided", &self.inner)?;
        if !self.inner.sees_whole_calls() {
            let with = "a network whose calls are cut or filled up, which loses the place of its rows";
            return Err(Error::unsupported("Guided", with, "guide the network first, then split or pad it").into());
        }
        if let Some(bound @ 0..2) = self.inner.max_rows() {
            return Err(Error::setting(
                "max_rows",
                bound,
                "at least 2 for a guided network, which sees every row twice",
            )
            .into());
        }
        let n = rows.len();
        let (first, second, all) = (0..n, n..2 * n, 0..2 * n);
        let (backend, states) = self.states.room::<B>("the states of a guided network", x, 2 * n)?;
        let (_, outputs) = self.outputs.room::<B>("the outputs of a guided network", x, 2 * n)?;
        for half in [first.clone(), second.clone()] {
            backend.combine(&[Summand::of(&[1.0], x)], None, backend.view_mut(states, half))?;
        }
        let (seen, answered) = (backend.view(states, all.clone()), backend.view_mut(outputs, all));
        self.inner.eval(seen, &self.twice.of(rows, (0..n).chain(0..n)), answered)?;
        let (conditional, unconditional) = (backend.view(outputs, first.clone()), backend.view(outputs, second));
        let conditional = Summand::of(&[1.0], conditional);
        // cond - uncond, then cond + (w - 1) times that
        let difference = [conditional, Summand::of(&[-1.0], unconditional)];
        backend.combine(&difference, None, B::part_mut(&mut out, first))?;
        backend.combine(&[conditional, Summand::held(&[self.scale - 1.0])], None, out)?;
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
        common_times([self.conditional.time_range(), self.unconditional.time_range()])
    }

    fn evaluations(&self, rows: usize) -> usize {
        let first = rows / 2;
        self.conditional.evaluations(first).saturating_add(self.unconditional.evaluations(rows - first))
    }

    fn grain(&self) -> usize {
        self.conditional.grain().min(self.unconditional.grain()).saturating_mul(2)
    }
}

impl<B: Backend, C: ScoreFn<B>, U: ScoreFn<B>> ScoreFn<B> for Pair<C, U> {
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, mut out: B::ViewMut<'_>) -> std::result::Result<(), BoxError> {
        check_shapes::<B>(x, rows, &out, None)?;
        let (conditional, unconditional) = (self.conditional.prediction(), self.unconditional.prediction());
        if conditional != unconditional {
            let with = format!("outputs of unlike kinds, {conditional:?} and {unconditional:?}");
            return Err(Error::unsupported("guidance by two scores", with, "take two of the same kind").into());
        }
        let (first, second) = (0..rows.len() / 2, rows.len() / 2..rows.len());
        let (seen, known) = (B::part(x, first.clone()), rows.range(first.clone()));
        self.conditional.eval(seen, &known, B::part_mut(&mut out, first))?;
        let (seen, known) = (B::part(x, second.clone()), rows.range(second.clone()));
        self.unconditional.eval(seen, &known, B::part_mut(&mut out, second))
    }
}
