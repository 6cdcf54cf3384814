//! What a kernel says of itself.

use crate::backend::Backend;
use crate::error::BoxError;
use crate::score::{Model, Prediction, Rows, ScoreFn};

/// A kernel ([`Prediction::Next`]) with what it says of itself: whether it is continuous and what a row costs.
/// Everything else is that of the score inside.
///
/// ```
/// use piadm::{score::Kernel, Model, Prediction, score_map};
/// let step = score_map(Prediction::Next, |x, _rows| Ok(x.mapv(|v: f32| 0.9 * v.sin())));
/// let kernel = Kernel::new(step).continuous().evaluations_per_row(3);
/// assert!(kernel.is_continuous() && kernel.evaluations(2) == 6);
/// ```
#[derive(Clone, Debug)]
pub struct Kernel<S> {
    inner: S,
    continuous: bool,
    evaluations: usize,
}

impl<S> Kernel<S> {
    /// A kernel that may jump, with one evaluation per row.
    pub fn new(inner: S) -> Self {
        Kernel { inner, continuous: false, evaluations: 1 }
    }

    /// Its answer moves little where its input does: estimated errors and changes mean something.
    pub fn continuous(self) -> Self {
        Kernel { continuous: true, ..self }
    }

    /// A row costs so many evaluations of a network.
    pub fn evaluations_per_row(self, evaluations: usize) -> Self {
        Kernel { evaluations, ..self }
    }
}

impl<S: Model> Model for Kernel<S> {
    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.inner)
    }

    fn is_continuous(&self) -> bool {
        self.continuous
    }

    fn evaluations(&self, rows: usize) -> usize {
        self.inner.evaluations(rows).saturating_mul(self.evaluations)
    }
}

impl<B: Backend, S: ScoreFn<B>> ScoreFn<B> for Kernel<S> {
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, out: B::ViewMut<'_>) -> Result<(), BoxError> {
        self.inner.eval(x, rows, out)
    }
}
