//! A device with its stream and kernels. Nothing here panics on a machine without CUDA.

use super::error::{Answer, out_of_memory};
use super::staging::{Queue, Staging};
use crate::error::{DeviceError, Error, Result};
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaSlice, CudaStream, DeviceRepr, result, sys};
use cudarc::nvrtc::Ptx;
use std::ffi::c_void;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The kernels' source, all of it. Public so that the tests can compile it.
#[doc(hidden)]
pub const SOURCE: &str = concat!(
    include_str!("kernels/prelude.cu"),
    include_str!("kernels/normals.cu"),
    include_str!("kernels/rows.cu"),
    include_str!("kernels/program.cu"),
    include_str!("kernels/products.cu"),
    include_str!("kernels/mixture.cu"),
    include_str!("kernels/combine.cu"),
);

/// The same for compute capability 8.0, PTX ISA 8.0: the driver turns it into the code of its device. Made by
/// kernels/build.py.
#[doc(hidden)]
pub const PTX: &str = include_str!("kernels/piadm.ptx");

/// Defines the set of kernels and loads it by name, `name_suffix`.
macro_rules! kernels {
    ($($name:ident),*) => {
        /// The kernels for one element type.
        pub(crate) struct Kernels {
            $(pub $name: CudaFunction,)*
        }

        impl Kernels {
            fn load(module: &Arc<CudaModule>, suffix: &str) -> Result<Self> {
                Ok(Kernels { $($name: module.load_function(&format!("{}_{suffix}", stringify!($name))).answer()?,)* })
            }
        }
    };
}
kernels!(
    fill,
    gather,
    not_finite,
    normals,
    run_wide,
    run_long,
    fold_changes,
    products,
    fold_sums,
    mixture_distances,
    mixture_coefficients,
    mixture_sum,
    combine
);

/// What every array, view and score of a backend shares.
pub(crate) struct Device {
    stream: Arc<CudaStream>,
    pub kernels: Kernels,
    /// Normals with all 53 bits.
    pub normals_double: CudaFunction,
    /// Leaves of all segments of a program below which its targets are prepared side by side.
    pub few_leaves: usize,
    staging: Mutex<Staging>,
}

impl Device {
    pub fn open(ordinal: usize, suffix: &str) -> Result<Self> {
        let count = count()?;
        if ordinal >= count {
            return Err(DeviceError::NoDevice { ordinal, count }.into());
        }
        let context = CudaContext::new(ordinal).answer()?;
        // SAFETY: all arrays of this context are used on one stream. With tracking every use of an array would record
        // events.
        unsafe { context.disable_event_tracking() };
        Self::on(context.new_stream().answer()?, suffix)
    }

    pub fn on(stream: Arc<CudaStream>, suffix: &str) -> Result<Self> {
        let context = stream.context();
        let (major, minor) = context.compute_capability().answer()?;
        if major < 8 {
            return Err(DeviceError::Unsupported { major, minor }.into());
        }
        let module = context.load_module(Ptx::from_src(PTX)).map_err(|e| match e.0 {
            sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => DeviceError::OldDriver { version: driver_version() },
            _ => e.into(),
        })?;
        let processors = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
        Ok(Device {
            kernels: Kernels::load(&module, suffix)?,
            normals_double: module.load_function("normals_double").answer()?,
            few_leaves: 4 * usize::try_from(context.attribute(processors).answer()?).unwrap_or(0),
            staging: Mutex::new(Staging::new()),
            stream,
        })
    }

    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    pub fn context(&self) -> &Arc<CudaContext> {
        self.stream.context()
    }

    /// Refuses rows of another stream.
    pub fn owns(&self, stream: &CudaStream) -> Result<()> {
        if *stream == *self.stream { Ok(()) } else { Err(DeviceError::OtherBackend.into()) }
    }

    /// Waits until no other thread enqueues.
    pub fn queue(&self) -> Result<Queue<'_>> {
        // a panic elsewhere leaves at worst room that is not used again
        let staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        self.context().bind_to_thread().answer()?;
        Ok(Queue { device: self, staging })
    }

    /// Memory that has not been written.
    pub fn allocate<W: DeviceRepr>(&self, what: &'static str, len: usize) -> Result<CudaSlice<W>> {
        let bytes = len.saturating_mul(size_of::<W>());
        // SAFETY: callers write before they read. The driver refuses 0 bytes.
        unsafe { self.stream.alloc(len.max(1)) }.map_err(|e| out_of_memory(e, what, bytes))
    }

    pub fn bytes(&self, what: &'static str, len: usize) -> Result<CudaSlice<u8>> {
        self.allocate(what, len)
    }

    /// Enqueues a kernel; without blocks there is nothing to do.
    ///
    /// # Safety
    /// The arguments are those of the kernel, in order, and name memory that is large enough for what it does.
    pub unsafe fn launch(
        &self,
        kernel: &CudaFunction,
        blocks: usize,
        threads: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        if blocks == 0 {
            return Ok(());
        }
        let too_large = || Error::TooLarge {
            what: "the work of a round on the device",
            why: format!("{blocks} blocks of threads, at most 2^31 - 1"),
        };
        let blocks = i32::try_from(blocks).map_err(|_| too_large())?.unsigned_abs();
        let (function, stream) = (kernel.cu_function(), self.stream.cu_stream());
        // SAFETY: the caller's promise; the driver copies the arguments before it returns.
        unsafe { result::launch_kernel(function, (blocks, 1, 1), (threads, 1, 1), 0, stream, arguments) }.answer()
    }
}

impl Drop for Device {
    /// Waits: what is enqueued may still run the kernels and read the staging, which are freed now.
    fn drop(&mut self) {
        let _ = self.stream.synchronize();
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Device {{ ordinal: {} }}", self.context().ordinal())
    }
}

/// Launches a kernel with arguments of plain types.
macro_rules! launch {
    ($device:expr, $kernel:expr, $blocks:expr, $threads:expr, $($argument:expr),+ $(,)?) => {
        $device.launch($kernel, $blocks, $threads, &mut [$((&raw const $argument).cast_mut().cast::<std::ffi::c_void>()),+])
    };
}
pub(crate) use launch;

/// How many devices the driver has.
pub(crate) fn count() -> Result<usize> {
    load_driver()?;
    match result::init() {
        Err(e) if e.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => Ok(0),
        Err(e) => Err(Error::Device(e.into())),
        Ok(()) => Ok(usize::try_from(result::device::get_count().answer()?).unwrap_or(0)),
    }
}

fn driver_version() -> i32 {
    let mut version = 0;
    // SAFETY: the driver is loaded, and writes one number.
    let _ = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    version
}

/// Loads the driver's library, which stays loaded; cudarc itself panics where there is none.
pub(crate) fn load_driver() -> Result<()> {
    static ANSWER: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    let names: &[&str] = if cfg!(windows) { &["nvcuda.dll"] } else { &["libcuda.so", "libcuda.so.1"] };
    let load = || {
        let mut last = String::new();
        for name in names {
            // SAFETY: loading NVIDIA's driver runs its initialisers, which any program that uses CUDA runs.
            match unsafe { libloading::Library::new(*name) } {
                Ok(library) => {
                    // an object that is loaded under its name is what cudarc's own search finds
                    std::mem::forget(library);
                    return Ok(());
                }
                Err(e) => last = e.to_string(),
            }
        }
        Err(last)
    };
    ANSWER.get_or_init(load).clone().map_err(|e| Error::Device(DeviceError::NoDriver(e)))
}
