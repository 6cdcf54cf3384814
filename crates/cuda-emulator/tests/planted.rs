//! The emulator itself: planted bugs are reported, the device is as the environment says.

#![cfg(target_os = "linux")]

mod common;

use common::{child, device, function, grid, ptx};
use cudarc::driver::{CudaContext, CudaStream, DriverError, LaunchConfig, PushKernelArg, sys::CUresult};
use std::sync::Arc;

/// Runs one of the planted kernels, which copies or permutes 64 numbers.
fn run(name: &str) -> Vec<f32> {
    let (context, stream) = device(0).unwrap();
    let input: Vec<f32> = (0..64).map(|i| i as f32).collect();
    let source = stream.clone_htod(&input).unwrap();
    let mut out = stream.alloc_zeros::<f32>(64).unwrap();
    let kernel = function(&context, name);
    unsafe { stream.launch_builder(&kernel).arg(&mut out).arg(&source).launch(grid(1, 64)) }.unwrap();
    stream.synchronize().unwrap();
    let got = stream.clone_dtoh(&out).unwrap();
    drop(out);
    stream.synchronize().unwrap();
    got
}

macro_rules! children {
    ($($name:ident => $body:expr;)*) => { $(#[test] #[ignore = "runs in a process of its own"] fn $name() { $body; })* };
}

children! {
    missing_barrier => println!("first {}", run("bug_missing_barrier")[0]);
    missing_second_barrier => println!("first {}", run("bug_missing_second_barrier")[0]);
    divergent_barrier => run("bug_divergent_barrier");
    two_barriers => run("bug_two_barriers");
    past_the_end => run("bug_past_the_end");
    before_the_start => run("bug_before_the_start");
    exited_lane => run("bug_exited_lane");
    left_out_lane => run("bug_left_out_lane");
    lane_at_barrier => run("bug_lane_at_barrier");
    full_stack => run("bug_stack");
    other_device => crossing(true);
    peer_copy => crossing(false);
    no_device => assert_eq!(device(0).unwrap_err().0, CUresult::CUDA_ERROR_NO_DEVICE);
    little_memory => memory_ends();
    old_driver => loads("8.0", 80, Err(CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION));
    matching_driver => loads("8.0", 80, Ok(()));
    old_device => loads("8.0", 80, Err(CUresult::CUDA_ERROR_INVALID_PTX));
    capability => assert_eq!(device(0).unwrap().0.compute_capability().unwrap(), (7, 5));
    lost_device => device_is_lost();
    missing_synchronisation => println!("read {}", pinned_before(false));
    synchronised => assert_eq!(pinned_before(true), 5.0);
    reused_source => source_is_reused();
    right_kernels => sums();
}

/// A kernel on the second device, with a pointer of the first or with a copy of what it points to.
fn crossing(wrong_pointer: bool) {
    let (_, first) = device(0).unwrap();
    let (context, second) = device(1).unwrap();
    let source = first.clone_htod(&[2f32; 128]).unwrap();
    let mut copy = second.alloc_zeros::<f32>(128).unwrap();
    second.memcpy_dtod(&source, &mut copy).unwrap();
    let mut out = second.alloc_zeros::<f32>(1).unwrap();
    let kernel = function(&context, "sum_f32");
    let given = if wrong_pointer { &source } else { &copy };
    unsafe { second.launch_builder(&kernel).arg(&mut out).arg(given).launch(grid(1, 128)) }.unwrap();
    assert_eq!(second.clone_dtoh(&out).unwrap(), [256.0]);
}

fn memory_ends() {
    let (_, stream) = device(0).unwrap();
    let held = stream.alloc_zeros::<f32>(200_000).unwrap();
    assert_eq!(stream.alloc_zeros::<f32>(200_000).unwrap_err().0, CUresult::CUDA_ERROR_OUT_OF_MEMORY);
    drop(held);
    stream.alloc_zeros::<f32>(200_000).unwrap();
}

fn loads(version: &str, target: u32, expected: Result<(), CUresult>) {
    let (context, _) = device(0).unwrap();
    assert_eq!(context.load_module(ptx(version, target, "affine")).map(drop).map_err(|error| error.0), expected);
}

fn sum(context: &Arc<CudaContext>, stream: &Arc<CudaStream>) -> Result<f32, DriverError> {
    let kernel = function(context, "sum_f32");
    let source = stream.clone_htod(&[1f32; 128])?;
    let mut out = stream.alloc_zeros::<f32>(1)?;
    let one = LaunchConfig { grid_dim: (1, 1, 1), block_dim: (128, 1, 1), shared_mem_bytes: 0 };
    unsafe { stream.launch_builder(&kernel).arg(&mut out).arg(&source).launch(one) }?;
    Ok(stream.clone_dtoh(&out)?[0])
}

/// Every sum takes a copy, a launch and a copy; the sixth of them loses the device.
fn device_is_lost() {
    let (context, stream) = device(0).unwrap();
    assert_eq!(sum(&context, &stream).unwrap(), 128.0);
    assert_eq!(sum(&context, &stream).unwrap_err().0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_eq!(stream.synchronize().unwrap_err().0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
    assert_eq!(stream.alloc_zeros::<f32>(1).unwrap_err().0, CUresult::CUDA_ERROR_ILLEGAL_ADDRESS);
}

/// What pinned memory holds after a copy to it, with or without waiting for the copy.
fn pinned_before(synchronise: bool) -> f32 {
    let (context, stream) = device(0).unwrap();
    let mut pinned = unsafe { context.alloc_pinned::<f32>(1) }.unwrap();
    let number = pinned.as_ptr().unwrap(); // this waits for copies, so it must come before the copy
    let source = stream.clone_htod(&[5f32]).unwrap();
    stream.memcpy_dtoh(&source, &mut pinned).unwrap();
    if synchronise {
        stream.synchronize().unwrap();
    }
    unsafe { number.read() }
}

/// Pageable memory may be written to as soon as a copy from it has returned.
fn source_is_reused() {
    let (_, stream) = device(0).unwrap();
    let mut host = vec![1f32; 8];
    let copy = stream.clone_htod(&host).unwrap();
    host.fill(2.0);
    assert_eq!(stream.clone_dtoh(&copy).unwrap(), [1.0; 8]);
}

fn sums() {
    let (context, stream) = device(0).unwrap();
    for _ in 0..20 {
        assert_eq!(sum(&context, &stream).unwrap(), 128.0);
    }
}

/// Runs a child that must fail, and looks for a report.
fn reported(name: &str, environment: &[(&str, &str)], report: &str) {
    let (passed, text) = child(name, environment);
    assert!(!passed && text.contains(report), "{name}: {text}");
}

fn passes(name: &str, environment: &[(&str, &str)]) {
    let (passed, text) = child(name, environment);
    assert!(passed, "{name} {environment:?}: {text}");
}

#[test]
fn bugs_of_barriers_are_reported() {
    reported("divergent_barrier", &[], "32 threads wait, 32 have exited");
    reported("two_barriers", &[], "reached at different lines");
    reported("exited_lane", &[], "names lane 20, which has exited");
    reported("left_out_lane", &[], "lane 16 calls with mask 0000ffff, which leaves it out");
    reported("lane_at_barrier", &[], "waits at __syncthreads line");
}

#[test]
fn bugs_of_memory_are_reported() {
    reported("past_the_end", &[], "kernel bug_past_the_end, block (0,0,0), thread (63,0,0)");
    reported("past_the_end", &[], "0 bytes past the end of an allocation of 256 bytes");
    reported("before_the_start", &[], "written next to an allocation of 256 bytes");
    reported("full_stack", &[], "a thread's stack is full");
    reported("other_device", &[("FAKE_CUDA_DEVICES", "2")], "the allocation belongs to device 0");
    passes("peer_copy", &[("FAKE_CUDA_DEVICES", "2")]);
}

#[test]
fn a_missing_barrier_shows_in_some_order() {
    let first = |name: &str, order: &str| {
        let (passed, text) = child(name, &[("EMU_ORDER", order)]);
        assert!(passed, "{text}");
        text.lines().find_map(|line| line.split_once("first ").map(|(_, value)| value.to_owned())).unwrap()
    };
    assert_eq!(first("missing_barrier", "forward"), "NaN");
    assert_eq!(first("missing_second_barrier", "forward"), "32", "this order hides it");
    assert_eq!(first("missing_second_barrier", "reverse"), "-1");
    for order in ["forward", "reverse", "random:1", "random:2"] {
        passes("right_kernels", &[("EMU_ORDER", order)]);
    }
    reported("right_kernels", &[("EMU_ORDER", "sideways")], "forward, reverse or random:SEED");
}

#[test]
fn a_missing_synchronisation_shows_when_work_waits() {
    let read = |lazy: &str| child("missing_synchronisation", &[("FAKE_CUDA_LAZY", lazy)]).1;
    assert!(read("0").contains("read 5"));
    assert!(read("1").contains("read NaN"));
    passes("synchronised", &[("FAKE_CUDA_LAZY", "1")]);
    passes("reused_source", &[("FAKE_CUDA_LAZY", "1")]);
    passes("right_kernels", &[("FAKE_CUDA_LAZY", "1")]);
}

#[test]
fn the_device_is_as_the_environment_says() {
    passes("no_device", &[("FAKE_CUDA_DEVICES", "0")]);
    passes("little_memory", &[("FAKE_CUDA_FREE_BYTES", "1000000")]);
    passes("little_memory", &[("FAKE_CUDA_FREE_BYTES", "1000000"), ("FAKE_CUDA_LAZY", "1")]);
    passes("old_driver", &[("FAKE_CUDA_DRIVER", "11080")]);
    passes("matching_driver", &[("FAKE_CUDA_DRIVER", "12000")]);
    passes("old_device", &[("FAKE_CUDA_CC", "75")]);
    passes("capability", &[("FAKE_CUDA_CC", "75")]);
    passes("lost_device", &[("FAKE_CUDA_FAIL_AFTER", "6")]);
    passes("lost_device", &[("FAKE_CUDA_FAIL_AFTER", "6"), ("FAKE_CUDA_LAZY", "1")]);
}

#[test]
fn no_compiler_is_said_plainly() {
    let (passed, text) = child("right_kernels", &[("CXX", "no-such-compiler")]);
    assert!(!passed && text.contains("no C++ compiler found (tried no-such-compiler)") && text.contains("Install g++"));
}
