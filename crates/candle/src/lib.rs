//! Models of [candle](candle_core) as scores of [piadm].
//!
//! A model is a closure from a [`Tensor`] of states, rows x dim, and what is known of each row to a tensor of the same
//! shape, dtype and device. [`CandleScore`] makes it a score of `Cpu<f32>` and `Cpu<f64>`, and with the feature `cuda`
//! of `Cuda<f32>` and `Cuda<f64>`, where states and outputs stay on the device.
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

#[cfg(feature = "cuda")]
pub use cuda::{cuda_backend, to_tensor};
pub use error::Error;

use candle_core::{Device, Storage, Tensor, WithDType};
use piadm::ndarray::{ArrayView2, ArrayViewMut2};
use piadm::{BoxError, Cpu, Model, Prediction, Rows, ScoreFn, backend::Real};
use std::fmt::{Debug, Formatter};

/// A model of candle as a score.
///
/// The closure gets the states, a contiguous tensor rows x dim of the sampler's dtype on the score's device, and must
/// return a tensor of the same shape, dtype and device; anything else is an [`Error`] in `piadm::Error::Score`. A model
/// of another dtype converts inside of the closure.
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
        let states = Tensor::from_slice(contiguous.as_slice().unwrap_or(&[]), x.dim(), &self.device)?;
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

/// One number per row as a tensor rows x 1 of the dtype and device of `like`: for times, noise levels and what is made
/// of them.
///
/// # Errors
/// Those of candle.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// let x = Tensor::zeros((2, 3), DType::F32, &Device::Cpu)?;
/// let t = piadm_candle::column(&[0.5, 1.0], &x)?;
/// assert_eq!(t.to_vec2::<f32>()?, [[0.5], [1.0]]);
/// # Ok::<(), candle_core::Error>(())
/// ```
pub fn column(values: &[f64], like: &Tensor) -> candle_core::Result<Tensor> {
    // rounded here: not every device computes in f64
    match like.dtype() {
        candle_core::DType::F64 => Tensor::from_slice(values, (values.len(), 1), like.device()),
        dtype => {
            let rounded: Vec<f32> = values.iter().map(|v| *v as f32).collect();
            Tensor::from_vec(rounded, (values.len(), 1), like.device())?.to_dtype(dtype)
        }
    }
}
