//! Why a device cannot be used.

/// Why a device cannot be used.
///
/// ```
/// use piadm::cuda::DeviceError;
/// let error = DeviceError::NoDevice { ordinal: 1, count: 1 };
/// assert_eq!(error.to_string(), "there is no CUDA device 1: the driver reports 1, counted from 0");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The driver's library is not installed, or cannot be loaded.
    #[error("no CUDA driver was found ({0}): install NVIDIA's driver, or use the Cpu backend")]
    NoDriver(String),
    /// The driver has no device of that number.
    #[error("there is no CUDA device {ordinal}: the driver reports {count}, counted from 0")]
    NoDevice {
        /// The number asked for.
        ordinal: usize,
        /// How many devices there are.
        count: usize,
    },
    /// The device is older than the kernels.
    #[error("the device has compute capability {major}.{minor}: 8.0 (Ampere) or newer is needed")]
    Unsupported {
        /// Major number.
        major: i32,
        /// Minor number.
        minor: i32,
    },
    /// The driver cannot read the kernels.
    #[error(
        "the driver is too old for the kernels (CUDA {version}): CUDA 12.0 or newer is needed, driver 525 on Linux"
    )]
    OldDriver {
        /// The driver's CUDA version, 1000 times major plus 10 times minor.
        version: i32,
    },
    /// Rows of one backend were given to another: they are used on different streams, and nothing would order the work
    /// on them.
    #[error(
        "rows of another CUDA backend: make the score, the problem and every array from one Cuda, from its clones, \
         or with_stream on one stream"
    )]
    OtherBackend,
    /// Any other answer of the driver; a device that has failed once refuses everything until the process ends.
    #[error("the CUDA driver answered {name} ({code}): the device may have failed; start a new process")]
    Driver {
        /// The driver's number of the error.
        code: u32,
        /// Its name.
        name: String,
    },
}
