//! Where the tests run.

use piadm::Cuda;
use piadm::cuda::{DeviceElem, SOURCE};

/// Whether the machine's own device is to be used.
pub fn is_real() -> bool {
    std::env::var_os("PIADM_GPU").is_some_and(|v| v != "0")
}

/// Makes the driver ready: the stand-in's, with the crate's kernels or those of a mutant, unless a real one is asked
/// for.
pub fn install() {
    if !is_real() {
        let source = std::env::var("PIADM_KERNELS").map(|path| std::fs::read_to_string(path).unwrap());
        piadm_cuda_emulator::install(source.as_deref().unwrap_or(SOURCE)).unwrap_or_else(|why| panic!("{why}"));
    }
}

/// The first device.
pub fn cuda<T: DeviceElem>() -> Cuda<T> {
    install();
    Cuda::new(0).unwrap_or_else(|error| panic!("{error}"))
}
