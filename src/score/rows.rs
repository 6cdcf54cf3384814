//! What a score knows of the rows of a call.

use crate::error::{Error, Result};
use crate::noise::{Address, NoiseKey};
use ndarray::{ArrayView2, ArrayViewD};

/// What a sampler knows of the rows of one call: row `i` of the batch has time `t[i]` and so on.
///
/// ```
/// use piadm::Rows;
/// let rows = Rows::new(&[0.3, 0.1], &[0.9, 0.97], &[0.4, 0.2], &[7, 7], &[0, 0]).ok_or("lengths differ")?;
/// assert_eq!(rows.len(), 2);
/// assert_eq!(rows.range(1..2).sigma, [0.2]);
/// # Ok::<(), &str>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Rows<'a> {
    /// Time of each row; rows of one call have different times.
    pub t: &'a [f64],
    /// alpha(t) of each row.
    pub alpha: &'a [f64],
    /// sigma(t) of each row.
    pub sigma: &'a [f64],
    /// Sample id of each row: the number that addresses its noise. It is the same in every batch, so a label or a
    /// prompt that belongs to the sample is best looked up by it.
    pub id: &'a [u32],
    /// Place of the row's sample in the batch, 0 to samples - 1: use it to look up a label or a prompt.
    pub slot: &'a [usize],
    /// Lengths of the axes of a sample, as the problem gives them.
    pub shape: &'a [usize],
    /// Where each row leads, for kernels that answer the next state ([`Prediction::Next`](crate::Prediction::Next));
    /// empty for networks.
    pub to: Destinations<'a>,
}

/// The node that each row of a call makes, where the oracle is a kernel: it answers a state at this level, and takes
/// its random numbers from this address, so that the same row always gives the same answer.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Destinations<'a> {
    /// Time of the node.
    pub t: &'a [f64],
    /// alpha at that time.
    pub alpha: &'a [f64],
    /// sigma at that time.
    pub sigma: &'a [f64],
    /// The dynamics' normals of the node's step: stream, step, sample. A kernel may draw from streams of its own
    /// ([`USER`](crate::noise::stream::USER) and up) at the same step and sample.
    pub address: &'a [Address],
    /// The seed behind the address.
    pub key: &'a [NoiseKey],
}

impl<'a> Destinations<'a> {
    /// Those of a range of rows; empty where there are none.
    fn range(&self, range: &std::ops::Range<usize>) -> Self {
        Destinations {
            t: self.t.get(range.clone()).unwrap_or(&[]),
            alpha: self.alpha.get(range.clone()).unwrap_or(&[]),
            sigma: self.sigma.get(range.clone()).unwrap_or(&[]),
            address: self.address.get(range.clone()).unwrap_or(&[]),
            key: self.key.get(range.clone()).unwrap_or(&[]),
        }
    }
}

impl<'a> Rows<'a> {
    /// Rows for calling a score outside of a sampler; all slices have one entry a row. `None` if their lengths differ.
    pub fn new(t: &'a [f64], alpha: &'a [f64], sigma: &'a [f64], id: &'a [u32], slot: &'a [usize]) -> Option<Self> {
        let n = t.len();
        (alpha.len() == n && sigma.len() == n && id.len() == n && slot.len() == n).then_some(Rows {
            t,
            alpha,
            sigma,
            id,
            slot,
            shape: &[],
            to: Destinations::default(),
        })
    }

    /// Rows of samples of this shape, for calling a score outside of a sampler.
    pub fn with_shape(self, shape: &'a [usize]) -> Self {
        Rows { shape, ..self }
    }

    /// Rows of states in the shape of a sample, without a copy: \[rows, 3, 64, 64\] for samples of shape \[3, 64, 64\].
    ///
    /// The states that a sampler gives are in standard layout, so that this view is too.
    ///
    /// # Errors
    /// [`Error::Shape`] for states that are not of this shape, or not in standard layout.
    ///
    /// ```
    /// use piadm::Rows;
    /// let rows = Rows::new(&[0.3], &[0.9], &[0.4], &[7], &[0]).ok_or("lengths differ")?.with_shape(&[3, 8, 8]);
    /// let x = ndarray::Array2::<f32>::zeros((1, 3 * 8 * 8));
    /// assert_eq!(rows.shaped(x.view())?.shape(), [1, 3, 8, 8]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn shaped<'x, T>(&self, x: ArrayView2<'x, T>) -> Result<ArrayViewD<'x, T>> {
        let shape: Vec<usize> = [x.nrows()].iter().chain(self.shape).copied().collect();
        let found = x.shape().to_vec();
        x.into_shape_with_order(&shape[..]).map_err(|_| Error::Shape { what: "the states", found, expected: shape })
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.t.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.t.is_empty()
    }

    /// The rows of a range; an empty selection where the range does not fit.
    pub fn range(&self, range: std::ops::Range<usize>) -> Rows<'a> {
        Rows {
            t: self.t.get(range.clone()).unwrap_or(&[]),
            alpha: self.alpha.get(range.clone()).unwrap_or(&[]),
            sigma: self.sigma.get(range.clone()).unwrap_or(&[]),
            id: self.id.get(range.clone()).unwrap_or(&[]),
            shape: self.shape,
            to: self.to.range(&range),
            slot: self.slot.get(range).unwrap_or(&[]),
        }
    }
}
