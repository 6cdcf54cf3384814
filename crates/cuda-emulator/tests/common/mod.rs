//! What the tests share: the emulator with the test kernels, and tests that run in a process of their own.
#![allow(dead_code, reason = "each test program uses a part")]

use std::process::{Command, Output};
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaFunction, CudaStream, DriverError, LaunchConfig};
use cudarc::nvrtc::Ptx;

/// The context of device `ordinal` of the emulator, and a stream of its own.
pub fn device(ordinal: usize) -> Result<(Arc<CudaContext>, Arc<CudaStream>), DriverError> {
    piadm_cuda_emulator::install(include_str!("../kernels.cu")).unwrap();
    let context = CudaContext::new(ordinal)?;
    // With event tracking every slice would bring events of its own into a captured graph.
    unsafe { context.disable_event_tracking() };
    let stream = context.new_stream()?;
    Ok((context, stream))
}

/// PTX that declares one kernel; the emulator takes the body from the source.
pub fn ptx(version: &str, target: u32, name: &str) -> Ptx {
    Ptx::from_src(format!(".version {version}\n.target sm_{target}\n.visible .entry {name}(\n)"))
}

pub fn function(context: &Arc<CudaContext>, name: &str) -> CudaFunction {
    context.load_module(ptx("8.0", 80, name)).unwrap().load_function(name).unwrap()
}

pub fn grid(blocks: u32, threads: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 }
}

/// Runs the ignored test `name` of this program in a process with this environment.
pub fn child(name: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let Output { status, stdout, stderr } = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--ignored", "--test-threads=1"])
        .env_remove("EMU_ORDER")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(!text.contains("running 0 tests"), "no test {name}");
    (status.success(), text)
}
