//! A CUDA driver for tests on machines without a GPU: [`install`] compiles a `libcuda.so` that runs the given kernels
//! on the CPU and loads it, so that cudarc, which looks for the driver later, finds this one. Host code runs as it is:
//! contexts, streams, allocations, packing of arguments, events, graphs.
//!
//! What is wrong with a kernel ends the process with a report that names kernel, block and thread: access out of
//! bounds, `__syncthreads` that not all threads reach, warp intrinsics that name exited or absent lanes, deadlock.
//! Memory starts out as NaN, device memory, pinned memory and the shared memory of every block. Missing barriers show
//! as wrong results in some order of the threads.
//!
//! The environment of the process shapes the device; it is read once:
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `EMU_ORDER` | order of threads and blocks: `forward`, `reverse`, `random:SEED` | `forward` |
//! | `FAKE_CUDA_DEVICES` | number of devices; with 0 `cuInit` fails | 1 |
//! | `FAKE_CUDA_FREE_BYTES` | memory of each device; more gives `CUDA_ERROR_OUT_OF_MEMORY` | 2^30 |
//! | `FAKE_CUDA_DRIVER` | version of the driver; it refuses PTX newer than itself with error 222 | 13000 |
//! | `FAKE_CUDA_CC` | compute capability, 75 for 7.5; PTX for a newer target gives `CUDA_ERROR_INVALID_PTX` | 90 |
//! | `FAKE_CUDA_FAIL_AFTER` | the launch or copy with this number, and every call from then on, gives error 700 | never |
//! | `FAKE_CUDA_LAZY` | 1: work waits until the host synchronises; 2: until it does so with the same stream | 0 |
//!
//! A missing synchronisation shows where work waits, a missing order between streams where each waits for itself;
//! otherwise streams run in the order of submission. Not emulated: dynamic shared memory, `__shared__` in templates
//! (pass a pointer instead), graphs that allocate, cooperative launches, textures. For Linux only: elsewhere this crate
//! is empty.

#![cfg(target_os = "linux")]

mod compile;
mod kernels;

use std::ops::Sub;
use std::sync::{Mutex, PoisonError};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW, Symbol};

/// How often the driver was asked to do something. Work inside a captured graph is not counted, its launches are.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Kernels launched, outside graphs.
    pub launches: u64,
    /// Graphs launched.
    pub graph_launches: u64,
    /// Copies from the host to a device.
    pub host_to_device: u64,
    /// Copies from a device to the host.
    pub device_to_host: u64,
    /// Copies within and between devices.
    pub device_to_device: u64,
    /// Fills of device memory.
    pub memsets: u64,
    /// Waits of the host for a stream, an event or a context.
    pub synchronisations: u64,
    /// Allocations of device memory.
    pub device_allocations: u64,
    /// Frees of device memory.
    pub device_frees: u64,
    /// Allocations of pinned host memory.
    pub pinned_allocations: u64,
    /// Frees of pinned host memory.
    pub pinned_frees: u64,
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            launches: self.launches - earlier.launches,
            graph_launches: self.graph_launches - earlier.graph_launches,
            host_to_device: self.host_to_device - earlier.host_to_device,
            device_to_host: self.device_to_host - earlier.device_to_host,
            device_to_device: self.device_to_device - earlier.device_to_device,
            memsets: self.memsets - earlier.memsets,
            synchronisations: self.synchronisations - earlier.synchronisations,
            device_allocations: self.device_allocations - earlier.device_allocations,
            device_frees: self.device_frees - earlier.device_frees,
            pinned_allocations: self.pinned_allocations - earlier.pinned_allocations,
            pinned_frees: self.pinned_frees - earlier.pinned_frees,
        }
    }
}

struct Driver {
    kernels: String,
    counts: Symbol<unsafe extern "C" fn(*mut Counts, *mut Counts)>,
}

/// What the first call of [`install`] came to.
static DRIVER: Mutex<Option<Result<Driver, String>>> = Mutex::new(None);

/// Compiles the emulator with the kernels of the CUDA source text `kernels` and loads it as this process's driver.
/// To be called before anything of cudarc. Kernels are the functions declared `extern "C" __global__ void NAME(..)`.
///
/// Later calls with the same text do nothing. The library is kept below cargo's target folder and compiled anew when
/// the text, the emulator or the compiler has changed.
///
/// # Errors
///
/// Text that says what is wrong: no C++ compiler, the compiler's messages, another CUDA driver already loaded, other
/// kernels already installed.
pub fn install(kernels: &str) -> Result<(), String> {
    let mut driver = DRIVER.lock().unwrap_or_else(PoisonError::into_inner);
    match driver.get_or_insert_with(|| load(kernels)) {
        Ok(installed) if installed.kernels != kernels => Err("other kernels are installed in this process".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.clone()),
    }
}

fn load(kernels: &str) -> Result<Driver, String> {
    if loaded() {
        return Err("a CUDA driver is loaded in this process already".to_owned());
    }
    let path = compile::library(kernels)?;
    let failed = |error: libloading::Error| format!("cannot load {}: {error}", path.display());
    // SAFETY: the library's static initialisers only fill tables, and `emulator_counts` has the declared signature.
    // The library is never unloaded, so its symbols stay valid.
    let counts = unsafe {
        let library = Library::open(Some(&path), RTLD_NOW | RTLD_GLOBAL).map_err(failed)?;
        let counts = library.get(b"emulator_counts\0").map_err(failed)?;
        std::mem::forget(library);
        counts
    };
    if !loaded() {
        return Err("the loaded emulator is not found under the name libcuda.so".to_owned());
    }
    Ok(Driver { kernels: kernels.to_owned(), counts })
}

/// Whether this process has loaded a driver.
fn loaded() -> bool {
    const RTLD_NOLOAD: i32 = 4;
    // SAFETY: nothing is loaded, so no initialiser runs; the handle only counts a reference.
    let found = |name| unsafe { Library::open(Some(name), RTLD_NOW | RTLD_NOLOAD) }.is_ok();
    found("libcuda.so") || found("libcuda.so.1")
}

/// What the whole process has asked of the driver so far; zero before [`install`].
pub fn counts() -> Counts {
    both_counts().0
}

/// What the calling thread has asked of the driver so far: tests of one program run at the same time in threads of
/// their own.
pub fn counts_of_this_thread() -> Counts {
    both_counts().1
}

fn both_counts() -> (Counts, Counts) {
    let (mut all, mut of_thread) = (Counts::default(), Counts::default());
    if let Some(Ok(driver)) = &*DRIVER.lock().unwrap_or_else(PoisonError::into_inner) {
        // SAFETY: both point to a `Counts`, which the library fills; it locks against other calls of the driver.
        unsafe { (driver.counts)(&mut all, &mut of_thread) };
    }
    (all, of_thread)
}
