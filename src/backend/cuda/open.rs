//! Opening a device and waiting for it.

use crate::backend::Cuda;
use crate::backend::cuda::device::{self, Device};
use crate::backend::cuda::error::Answer;
use crate::backend::cuda::{DeviceElem, PER_THREAD_STREAM};
use crate::error::{Error, Result};
use cudarc::driver::CudaStream;
use std::marker::PhantomData;
use std::sync::Arc;

impl<T: DeviceElem> Cuda<T> {
    /// The device of that number, with a stream of its own.
    ///
    /// ```
    /// use piadm::Cuda;
    /// match Cuda::<f32>::new(0) {
    ///     Ok(backend) => println!("{backend:?}"),
    ///     Err(error) => println!("{error}"), // no driver, no device
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Device`] if there is no driver, no such device, or one that is too old.
    pub fn new(ordinal: usize) -> Result<Self> {
        Ok(Cuda { device: Arc::new(Device::open(ordinal, T::SUFFIX)?), element: PhantomData })
    }

    /// A stream of another library, so that a network and the sampler share it and neither waits for the other.
    ///
    /// ```
    /// use piadm::Cuda;
    /// match Cuda::<f32>::new(0) {
    ///     Ok(backend) => assert!(Cuda::<f64>::with_stream(backend.stream().clone()).is_ok()),
    ///     Err(error) => println!("{error}"), // no driver, no device
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Device`] if the device is too old or does not load the kernels; [`Error::Setting`] for the per-thread
    /// default stream, which is another one on every thread.
    pub fn with_stream(stream: Arc<CudaStream>) -> Result<Self> {
        if stream.cu_stream() as usize == PER_THREAD_STREAM {
            return Err(Error::setting("stream", "the per-thread default stream", "a stream that all threads share"));
        }
        device::load_driver()?;
        Ok(Cuda { device: Arc::new(Device::on(stream, T::SUFFIX)?), element: PhantomData })
    }

    /// How many devices there are.
    ///
    /// ```
    /// match piadm::Cuda::<f32>::devices() {
    ///     Ok(count) => println!("{count} devices"),
    ///     Err(error) => println!("{error}"),
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Device`] if there is no driver.
    pub fn devices() -> Result<usize> {
        device::count()
    }

    /// The stream on which all work is enqueued.
    ///
    /// ```
    /// use piadm::Cuda;
    /// match Cuda::<f32>::new(0) {
    ///     Ok(backend) => assert_eq!(backend.stream().context().ordinal(), 0),
    ///     Err(error) => println!("{error}"), // no driver, no device
    /// }
    /// ```
    pub fn stream(&self) -> &Arc<CudaStream> {
        self.device.stream()
    }

    /// Waits until all enqueued work has run.
    ///
    /// ```
    /// use piadm::Cuda;
    /// match Cuda::<f32>::new(0) {
    ///     Ok(backend) => backend.synchronize()?,
    ///     Err(error) => println!("{error}"), // no driver, no device
    /// }
    /// # Ok::<(), piadm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Device`] if some of it has failed.
    pub fn synchronize(&self) -> Result<()> {
        self.device.stream().synchronize().answer()
    }
}
