//! What a device can answer.

use crate::error::{DeviceError, Error};
use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;

impl From<DriverError> for DeviceError {
    fn from(error: DriverError) -> Self {
        // the text of DriverError itself asks the driver, which may be what is missing
        DeviceError::Driver { code: error.0 as u32, name: format!("{:?}", error.0) }
    }
}

/// The error of an allocation.
pub(crate) fn out_of_memory(error: DriverError, what: &'static str, bytes: usize) -> Error {
    match error.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory { what, bytes },
        _ => Error::Device(error.into()),
    }
}

/// Turns answers of the driver into errors of the crate.
pub(crate) trait Answer<T> {
    fn answer(self) -> crate::error::Result<T>;
}

impl<T> Answer<T> for Result<T, DriverError> {
    fn answer(self) -> crate::error::Result<T> {
        self.map_err(|e| Error::Device(e.into()))
    }
}
