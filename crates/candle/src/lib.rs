//! Models of [candle](candle_core) as scores of [piadm].
//!
//! A model is a closure from a [`Tensor`] of states, \[rows, c, h, w\] for samples of shape \[c, h, w\], and what is
//! known of each row to a tensor of the same shape, dtype and device. [`CandleScore`] makes it a score of `Cpu<f32>`
//! and `Cpu<f64>`, and with the feature `cuda` of `Cuda<f32>` and `Cuda<f64>`, where states and outputs stay on the
//! device.
//!
//! Rows of one call have different times and belong to different samples: [`column()`] gives a number per row (its
//! time, say) and [`gather`] a condition per row (a label, an embedded prompt). With the feature `stable-diffusion`,
//! the module of that name loads whole text-to-image models.
//!
//! # What is copied
//! A tensor of candle owns its memory and may be kept by whoever saw it, so the states are copied once into a new
//! tensor and the output once out of it: in memory on the CPU, within the device's memory on the sampler's stream on a
//! GPU. Nothing else is copied. A model on a device of candle that the sampler does not run on (a sampler on the CPU, a
//! model on Metal or CUDA) costs the transfer both ways.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

#[cfg(feature = "cuda")]
mod cuda;
mod error;
#[cfg(feature = "stable-diffusion")]
pub mod stable_diffusion;

#[cfg(feature = "cuda")]
pub use cuda::{cuda_backend, to_tensor};
pub use error::Error;

use candle_core::{DType, Device, Storage, Tensor, WithDType};
use piadm::ndarray::{ArrayView2, ArrayViewMut2};
use piadm::{BoxError, Cpu, Model, Prediction, Rows, ScoreFn, backend::Real};
use std::fmt::{Debug, Formatter};

/// A model of candle as a score.
///
/// The closure gets the states, a contiguous tensor of the sampler's dtype on the score's device, and must return a
/// tensor of the same shape, dtype and device; anything else is an [`Error`] in `piadm::Error::Score`. Its first axis
/// counts the rows of the call, and the others are those of a sample, as `Problem::shape` gives them: rows x dim for
/// vectors, \[rows, c, h, w\] for images. A model of another dtype converts inside of the closure.
///
/// ```
/// use candle_core::Device;
/// use piadm::{Cpu, Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme};
/// use piadm_candle::{CandleScore, column};
///
/// // data that are standard normal: the score at time t is -x / (alpha^2 + sigma^2)
/// let mut score = CandleScore::new(Prediction::Score, &Device::Cpu, |x, rows| {
///     let variance = (column(rows.alpha, x)?.sqr()? + column(rows.sigma, x)?.sqr()?)?;
///     Ok(x.broadcast_div(&variance)?.neg()?)
/// });
/// let grid = Grid::log_snr(100).between(8.0, 0.01);
/// let problem = Problem::new(Ou, grid, Scheme::default()).samples(4).shape([2]);
/// let samples = Picard::default().sample(&problem, &mut score)?.samples;
/// assert_eq!(samples.dim(), (4, 2));
/// # Ok::<(), piadm::Error>(())
/// ```
///
/// **Guidance in one call** is [`piadm::score::Guided`] around it: the closure then gets every row twice, with its
/// label first and without it in the second half.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use piadm::{Flow, Grid, Picard, Prediction, Problem, Sampler, Scheme, score::Guided};
/// use piadm_candle::{CandleScore, gather};
///
/// let device = Device::Cpu;
/// // the data of each of two samples of shape [1, 2, 2]; without a label they are 0
/// let labels = Tensor::new(&[-1f32, 1.0], &device)?.reshape((2, 1, 1, 1))?.broadcast_as((2, 1, 2, 2))?;
/// let labelled = CandleScore::new(Prediction::Data, &device, |_x, rows| {
///     let (half, all) = (rows.len() / 2, rows.len());
///     let conditional = gather(&labels, &rows.range(0..half))?;
///     let unconditional = gather(&labels.zeros_like()?, &rows.range(half..all))?;
///     Ok(Tensor::cat(&[conditional, unconditional], 0)?) // net.forward(x, time, condition)
/// });
/// let problem = Problem::new(Flow, Grid::uniform(20), Scheme::ddim()).samples(2).shape([1, 2, 2]);
/// let samples = Picard::default().sample(&problem, &mut Guided::new(labelled, 3.0)?)?.samples;
/// assert_eq!(samples, piadm::ndarray::array![[-3.0, -3.0, -3.0, -3.0], [3.0, 3.0, 3.0, 3.0]]);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct CandleScore<F> {
    prediction: Prediction,
    device: Device,
    network: F,
    max_rows: Option<usize>,
    time_range: Option<(f64, f64)>,
}

impl<F> Debug for CandleScore<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "CandleScore {{ prediction: {:?}, device: {:?} }}", self.prediction, self.device.location())
    }
}

impl<F: FnMut(&Tensor, &Rows<'_>) -> Result<Tensor, BoxError>> CandleScore<F> {
    /// A score from a model whose weights lie on `device`.
    pub fn new(prediction: Prediction, device: &Device, network: F) -> Self {
        CandleScore { prediction, device: device.clone(), network, max_rows: None, time_range: None }
    }

    /// Bounds the rows of a call, for models bounded by memory: see [`Model::max_rows`].
    pub fn max_rows(mut self, rows: usize) -> Self {
        self.max_rows = Some(rows);
        self
    }

    /// States the times (smallest, largest) that the model was trained on: see [`Model::time_range`].
    pub fn time_range(mut self, smallest: f64, largest: f64) -> Self {
        self.time_range = Some((smallest, largest));
        self
    }

    /// The model's output for these states, checked and contiguous.
    fn output(&mut self, states: &Tensor, rows: &Rows<'_>) -> Result<Tensor, BoxError> {
        let output = (self.network)(states, rows)?;
        if output.dims() != states.dims() {
            return Err(Error::Shape { found: output.dims().to_vec(), expected: states.dims().to_vec() }.into());
        }
        if output.dtype() != states.dtype() {
            return Err(Error::DType { found: output.dtype(), expected: states.dtype() }.into());
        }
        if !output.device().same_device(&self.device) {
            let (found, expected) = (output.device().location(), self.device.location());
            return Err(Error::Device { what: "the output of the model", found, expected }.into());
        }
        Ok(output.contiguous()?)
    }
}

impl<F> Model for CandleScore<F> {
    fn prediction(&self) -> Prediction {
        self.prediction
    }

    fn max_rows(&self) -> Option<usize> {
        self.max_rows
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        self.time_range
    }
}

impl<T: Real + WithDType, F> ScoreFn<Cpu<T>> for CandleScore<F>
where
    F: FnMut(&Tensor, &Rows<'_>) -> Result<Tensor, BoxError>,
{
    fn eval(&mut self, x: ArrayView2<'_, T>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, T>) -> Result<(), BoxError> {
        // the sampler's rows are contiguous, and then nothing is copied here
        let contiguous = x.as_standard_layout();
        let states = Tensor::from_slice(contiguous.as_slice().unwrap_or(&[]), axes(x.dim(), rows)?, &self.device)?;
        let output = self.output(&states, rows)?.to_device(&Device::Cpu)?;
        let (storage, layout) = output.storage_and_layout();
        let Storage::Cpu(memory) = &*storage else {
            let (found, expected) = (storage.device().location(), Device::Cpu.location());
            return Err(Error::Device { what: "the output of the model", found, expected }.into());
        };
        let values = T::cpu_storage_as_slice(memory)?.get(layout.start_offset()..).unwrap_or(&[]);
        out.assign(&ArrayView2::from_shape(x.dim(), values)?);
        Ok(())
    }
}

/// The axes of a call's states: rows and those of a sample, or rows x dim where no shape is known.
fn axes((rows, dim): (usize, usize), known: &Rows<'_>) -> Result<Vec<usize>, piadm::Error> {
    let sample = if known.shape.is_empty() { &[dim] } else { known.shape };
    let axes = std::iter::once(rows).chain(sample.iter().copied()).collect();
    match sample.iter().try_fold(1usize, |n, axis| n.checked_mul(*axis)) == Some(dim) {
        true => Ok(axes),
        false => Err(piadm::Error::Shape { what: "the states", found: vec![rows, dim], expected: axes }),
    }
}

/// One number per row as a tensor \[rows, 1, .., 1\] with as many axes, the dtype and the device of `like`: for times,
/// noise levels and what is made of them.
///
/// # Errors
/// Those of candle.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let x = Tensor::zeros((2, 3), DType::F32, &Device::Cpu)?;
/// let t = piadm_candle::column(&[0.5, 1.0], &x)?;
/// assert_eq!(t.to_vec2::<f32>()?, [[0.5], [1.0]]);
/// assert_eq!(x.broadcast_mul(&t)?.dims(), [2, 3]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn column(values: &[f64], like: &Tensor) -> candle_core::Result<Tensor> {
    let mut axes = vec![1; like.rank().max(1)];
    axes[0] = values.len();
    // rounded here: not every device computes in f64
    match like.dtype() {
        DType::F64 => Tensor::from_slice(values, axes, like.device()),
        dtype => {
            let rounded: Vec<f32> = values.iter().map(|v| *v as f32).collect();
            Tensor::from_vec(rounded, axes, like.device())?.to_dtype(dtype)
        }
    }
}

/// The condition of each row from a table with one entry per sample of the batch: entry `rows.slot[i]` of
/// \[samples, ..\] for row `i`, as a tensor \[rows, ..\].
///
/// # Errors
/// Those of candle; so is a table with fewer entries than the batch has samples.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use piadm::Rows;
/// let table = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu)?;
/// let rows = Rows::new(&[0.9, 0.5, 0.9], &[1.0; 3], &[1.0; 3], &[7, 7, 8], &[0, 0, 1]).ok_or("lengths differ")?;
/// let conditions = piadm_candle::gather(&table, &rows)?;
/// assert_eq!(conditions.to_vec2::<f32>()?, [[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn gather(table: &Tensor, rows: &Rows<'_>) -> candle_core::Result<Tensor> {
    let slots = rows.slot.iter().map(|slot| u32::try_from(*slot));
    let slots = slots.collect::<Result<Vec<u32>, _>>()?;
    // a device does not check indices
    if let Some(slot) = slots.iter().find(|slot| **slot as usize >= table.dims().first().copied().unwrap_or(0)) {
        candle_core::bail!(
            "there is no condition for sample {slot} of the batch in a table of shape {:?}",
            table.shape()
        );
    }
    table.contiguous()?.index_select(&Tensor::new(slots, table.device())?, 0)
}
