//! Linear combinations of the rows of views, as adapters of scores need them.

use crate::backend::Backend;
use crate::error::{Error, Result};

/// The most summands of [`Backend::combine`].
pub(super) const MOST_SUMMANDS: usize = 4;

/// `by * rows`: a summand of [`Backend::combine`].
#[derive(Clone, Copy, Debug)]
pub struct Summand<'a, V> {
    /// The coefficient, one per row or one for all rows. Where it is 0, nothing is read and nothing is added.
    pub by: &'a [f64],
    /// What it multiplies; `None` is what the output holds before.
    pub rows: Option<V>,
}

impl<'a, V> Summand<'a, V> {
    /// `by * rows`.
    pub fn of(by: &'a [f64], rows: V) -> Self {
        Summand { by, rows: Some(rows) }
    }

    /// `by` times what the output holds before.
    pub fn held(by: &'a [f64]) -> Self {
        Summand { by, rows: None }
    }
}

/// Bounds of p x + q y, where y is the sum that [`Backend::combine`] has made. Outside the bounds, y becomes the value
/// that reaches the bound, (bound - p x) / q, computed in f64. Elsewhere, and where p x + q y is not finite, y keeps
/// its bits.
#[derive(Clone, Copy, Debug)]
pub struct Limit<'a, V> {
    /// (p, q), one pair per row or one for all rows. Where p is 0, x is not read. q is not 0.
    pub map: &'a [[f64; 2]],
    /// x.
    pub x: V,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// Checks that all views have the output's shape, and that there is a coefficient for each row.
pub(super) fn check_combination<B: Backend>(
    summands: &[Summand<'_, B::View<'_>>],
    limit: Option<&Limit<'_, B::View<'_>>>,
    out: [usize; 2],
) -> Result<()> {
    if summands.len() > MOST_SUMMANDS {
        let why = format!("{} summands, at most {MOST_SUMMANDS}", summands.len());
        return Err(Error::TooLarge { what: "a linear combination", why });
    }
    let rows = |what, found: [usize; 2]| match found == out {
        true => Ok(()),
        false => Err(Error::Shape { what, found: found.to_vec(), expected: out.to_vec() }),
    };
    let coefficients = |what, found: usize| match found == 1 || found == out[0] {
        true => Ok(()),
        false => Err(Error::Shape { what, found: vec![found], expected: vec![out[0]] }),
    };
    for summand in summands {
        coefficients("coefficients of a linear combination", summand.by.len())?;
        summand.rows.map_or(Ok(()), |view| rows("rows of a linear combination", B::shape(view)))?;
    }
    let Some(limit) = limit else { return Ok(()) };
    // f64::clamp panics otherwise
    if limit.low.is_nan() || limit.high.is_nan() || limit.low > limit.high {
        return Err(Error::setting("limit", format!("{}, {}", limit.low, limit.high), "a lower and an upper bound"));
    }
    coefficients("the map of a limit", limit.map.len())?;
    rows("rows of a limit", B::shape(limit.x))
}
