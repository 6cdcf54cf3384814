//! Models and samplers on one GPU.

use crate::{CandleScore, Error, axes};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::{CudaStorage, Device, Storage, Tensor, WithDType};
use piadm::cuda::{DeviceArray, DeviceElem, DeviceRows, DeviceRowsMut};
use piadm::{BoxError, Cuda, Rows, ScoreFn};

/// The sampler's backend on the device and the stream of candle, so that neither waits for the other.
///
/// Make the device with `Device::new_cuda_with_stream`: that of `Device::new_cuda` has the calling thread's default
/// stream, which is another stream in another thread.
///
/// # Errors
/// [`piadm::Error::Device`] if the device is too old; an error of candle if it is no CUDA device.
pub fn cuda_backend<T: DeviceElem>(device: &Device) -> Result<Cuda<T>, BoxError> {
    Ok(Cuda::with_stream(device.as_cuda_device()?.cuda_stream())?)
}

/// Samples, or any array of the backend, as a tensor rows x dim of candle; the memory is the array's, nothing is
/// copied.
///
/// # Errors
/// [`Error::Stream`] if the array is not from a backend on the device's stream; an error of candle if it is no CUDA
/// device.
pub fn to_tensor<T: DeviceElem + CudaDType>(array: DeviceArray<T>, device: &Device) -> Result<Tensor, BoxError> {
    let cuda = device.as_cuda_device()?;
    if **array.view().stream() != *cuda.cuda_stream() {
        return Err(Error::Stream.into());
    }
    let shape = (array.rows(), array.dim());
    let storage = CudaStorage::wrap_cuda_slice(array.into_slice(), cuda.clone());
    Ok(Tensor::from_storage(Storage::Cuda(storage), shape, BackpropOp::none(), false))
}

impl<T: DeviceElem + WithDType + CudaDType, F> ScoreFn<Cuda<T>> for CandleScore<F>
where
    F: FnMut(&Tensor, &Rows<'_>) -> Result<Tensor, BoxError>,
{
    fn eval(&mut self, x: DeviceRows<'_, T>, rows: &Rows<'_>, mut out: DeviceRowsMut<'_, T>) -> Result<(), BoxError> {
        let (shape, stream) = ((x.rows(), x.dim()), x.stream());
        if shape.0 * shape.1 == 0 {
            return Ok(());
        }
        let device = self.device.as_cuda_device()?.clone();
        if **stream != *device.cuda_stream() {
            return Err(Error::Stream.into());
        }
        // a tensor frees its memory, and the model may keep it: it cannot be the sampler's
        let states = CudaStorage::wrap_cuda_slice(stream.clone_dtod(&x.view()).w()?, device);
        let states = Tensor::from_storage(Storage::Cuda(states), axes(shape, rows)?, BackpropOp::none(), false);
        let output = self.output(&states, rows)?;
        let (storage, layout) = output.storage_and_layout();
        let Storage::Cuda(memory) = &*storage else {
            let (found, expected) = (storage.device().location(), self.device.location());
            return Err(Error::Device { what: "the output of the model", found, expected }.into());
        };
        let first = layout.start_offset();
        let values = memory.as_cuda_slice::<T>()?.slice(first..first + shape.0 * shape.1);
        stream.memcpy_dtod(&values, &mut out.view_mut()).w()?;
        Ok(())
    }
}
