//! cudarc's host code on the emulated driver.

#![cfg(target_os = "linux")]

mod common;

use common::{device, function, grid};
use cudarc::driver::{DeviceRepr, PushKernelArg, sys};

#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Double4([f64; 4]);

#[repr(C)]
#[derive(Clone, Copy)]
struct Affine {
    factor: f32,
    shift: Double4,
    n: u32,
}
unsafe impl DeviceRepr for Affine {}

fn affine(n: u32) -> Affine {
    Affine { factor: 3.0, shift: Double4([0.0, 0.0, 0.0, 0.5]), n }
}

#[test]
fn a_kernel_runs_over_a_grid_with_a_struct_as_parameter() {
    let (context, stream) = device(0).unwrap();
    let n = 1000;
    let input: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let source = stream.clone_htod(&input).unwrap();
    let mut out = stream.alloc_zeros::<f32>(n as usize).unwrap();
    let kernel = function(&context, "affine");
    unsafe { stream.launch_builder(&kernel).arg(&mut out).arg(&source).arg(&affine(n)).launch(grid(8, 128)) }.unwrap();
    let expected: Vec<f32> = input.iter().map(|x| 3.0 * x + 0.5).collect();
    assert_eq!(stream.clone_dtoh(&out).unwrap(), expected);
    let beyond =
        unsafe { stream.launch_builder(&kernel).arg(&mut out).arg(&source).arg(&affine(n)).launch(grid(1, 256)) };
    assert_eq!(beyond.unwrap_err().0, sys::CUresult::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "above its launch bounds");
}

#[test]
fn sums_of_blocks_by_shuffles_and_shared_memory() {
    let (context, stream) = device(0).unwrap();
    let input: Vec<f32> = (0..3 * 128).map(|i| i as f32).collect();
    let sums: Vec<f32> = input.chunks(128).map(|block| block.iter().sum()).collect();
    let source = stream.clone_htod(&input).unwrap();
    let mut out = stream.alloc_zeros::<f32>(3).unwrap();
    let kernel = function(&context, "sum_f32");
    unsafe { stream.launch_builder(&kernel).arg(&mut out).arg(&source).launch(grid(3, 128)) }.unwrap();
    assert_eq!(stream.clone_dtoh(&out).unwrap(), sums);

    let wide: Vec<f64> = input.iter().map(|&x| f64::from(x)).collect();
    let source = stream.clone_htod(&wide).unwrap();
    let mut out = stream.alloc_zeros::<f64>(3).unwrap();
    let kernel = function(&context, "sum_f64");
    unsafe { stream.launch_builder(&kernel).arg(&mut out).arg(&source).launch(grid(3, 128)) }.unwrap();
    assert_eq!(stream.clone_dtoh(&out).unwrap(), sums.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
}

#[test]
fn shared_memory_of_a_function_lasts_for_the_block() {
    let (context, stream) = device(0).unwrap();
    let input: Vec<f32> = (0..64).map(|i| i as f32).collect();
    let source = stream.clone_htod(&input).unwrap();
    let mut out = stream.alloc_zeros::<f32>(64).unwrap();
    let kernel = function(&context, "reverse_twice");
    unsafe { stream.launch_builder(&kernel).arg(&mut out).arg(&source).launch(grid(1, 64)) }.unwrap();
    assert_eq!(stream.clone_dtoh(&out).unwrap(), input);
}

#[test]
fn intrinsics_give_known_values() {
    let (context, stream) = device(0).unwrap();
    let mut initial = vec![0u32; 12];
    initial[1] = u32::MAX;
    let mut words = stream.clone_htod(&initial).unwrap();
    let mut numbers = stream.alloc_zeros::<f64>(6).unwrap();
    let kernel = function(&context, "intrinsics");
    unsafe { stream.launch_builder(&kernel).arg(&mut words).arg(&mut numbers).launch(grid(1, 32)) }.unwrap();
    let root = 2f32.sqrt().to_bits();
    let expected = [31, 0, 32, u32::MAX, 0xaaaa_aaaa, 1, 0, 0xffff_fffe, 0xffff_ffff, root, 1, 1f32.to_bits()];
    assert_eq!(stream.clone_dtoh(&words).unwrap(), expected);
    let (wide, narrow) = (-(2f64.powi(-60)), -(2f64.powi(-30)));
    let numbers = stream.clone_dtoh(&numbers).unwrap();
    assert_eq!(numbers, [0.0, wide, 0.25, 2f64.sqrt(), 0.0, narrow]);
}

#[test]
fn memory_starts_out_as_nan() {
    let (context, stream) = device(0).unwrap();
    let fresh = unsafe { stream.alloc::<f32>(100) }.unwrap();
    assert!(stream.clone_dtoh(&fresh).unwrap().iter().all(|x| x.is_nan()));
    let mut out = stream.alloc_zeros::<f32>(96).unwrap();
    let kernel = function(&context, "stale_shared");
    unsafe { stream.launch_builder(&kernel).arg(&mut out).launch(grid(3, 32)) }.unwrap();
    assert!(stream.clone_dtoh(&out).unwrap().iter().all(|x| x.is_nan()));
    let pinned = unsafe { context.alloc_pinned::<f32>(100) }.unwrap();
    let host = unsafe { std::slice::from_raw_parts(pinned.as_ptr().unwrap(), 100) };
    assert!(host.iter().all(|x| x.is_nan()));
}

#[test]
fn copies_in_all_directions() {
    let (context, stream) = device(0).unwrap();
    let mut pinned = unsafe { context.alloc_pinned::<u32>(64) }.unwrap();
    pinned.as_mut_slice().unwrap().copy_from_slice(&[7; 64]);
    let mut a = stream.alloc_zeros::<u32>(64).unwrap();
    stream.memcpy_htod(&pinned, &mut a).unwrap();
    let mut b = stream.clone_htod(&[1u32; 64]).unwrap();
    stream.memcpy_dtod(&a.slice(16..32), &mut b.slice_mut(0..16)).unwrap();
    stream.memset_zeros(&mut b.slice_mut(60..64)).unwrap();
    stream.memcpy_dtoh(&b, &mut pinned).unwrap();
    stream.synchronize().unwrap();
    let expected: Vec<u32> = (0..64).map(|i| if i < 16 { 7 } else { u32::from(i < 60) }).collect();
    assert_eq!(pinned.as_slice().unwrap(), expected);
    let mut host = [0u32; 64];
    stream.memcpy_dtoh(&b, &mut host).unwrap();
    assert_eq!(host.as_slice(), expected);
    let default = context.default_stream();
    assert_eq!(default.clone_dtoh(&b).unwrap(), expected);
}

#[test]
fn events_measure_time_when_they_were_made_for_it() {
    let (context, stream) = device(0).unwrap();
    let timed = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
    let first = stream.record_event(timed).unwrap();
    let second = stream.record_event(timed).unwrap();
    second.synchronize().unwrap();
    assert!(first.elapsed_ms(&second).unwrap() >= 0.0);
    let untimed = stream.record_event(None).unwrap();
    assert_eq!(first.elapsed_ms(&untimed).unwrap_err().0, sys::CUresult::CUDA_ERROR_INVALID_HANDLE);
    context.new_stream().unwrap().wait(&second).unwrap();
}

#[test]
fn a_captured_graph_runs_again_with_what_memory_then_holds() {
    let (context, stream) = device(0).unwrap();
    let mut x = stream.clone_htod(&[1f32; 32]).unwrap();
    let mut out = stream.alloc_zeros::<f32>(32).unwrap();
    let kernel = function(&context, "affine");
    let before = piadm_cuda_emulator::counts_of_this_thread();
    stream.begin_capture(sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL).unwrap();
    unsafe { stream.launch_builder(&kernel).arg(&mut out).arg(&x).arg(&affine(32)).launch(grid(1, 32)) }.unwrap();
    stream.memcpy_dtod(&out, &mut x).unwrap();
    assert_eq!(stream.synchronize().unwrap_err().0, sys::CUresult::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    let graph = stream.end_capture(sys::CUgraphInstantiate_flags(0)).unwrap().unwrap();
    assert_eq!(stream.clone_dtoh(&out).unwrap(), [0.0; 32], "capturing runs nothing");
    graph.launch().unwrap();
    graph.launch().unwrap();
    assert_eq!(stream.clone_dtoh(&x).unwrap(), [11.0; 32]);
    let counted = piadm_cuda_emulator::counts_of_this_thread() - before;
    assert_eq!((counted.launches, counted.graph_launches), (0, 2));
}

#[test]
fn calls_are_counted() {
    let (context, stream) = device(0).unwrap();
    let kernel = function(&context, "affine");
    let before = piadm_cuda_emulator::counts_of_this_thread();
    let source = stream.clone_htod(&[1f32; 8]).unwrap();
    let mut out = stream.alloc_zeros::<f32>(8).unwrap();
    for _ in 0..3 {
        unsafe { stream.launch_builder(&kernel).arg(&mut out).arg(&source).arg(&affine(8)).launch(grid(1, 32)) }
            .unwrap();
    }
    stream.clone_dtoh(&out).unwrap();
    drop(unsafe { context.alloc_pinned::<f32>(8) }.unwrap());
    stream.synchronize().unwrap();
    drop((source, out));
    let counted = piadm_cuda_emulator::counts_of_this_thread() - before;
    assert_eq!((counted.launches, counted.host_to_device, counted.device_to_host, counted.memsets), (3, 1, 1, 1));
    assert_eq!((counted.device_allocations, counted.device_frees), (2, 2));
    assert_eq!((counted.pinned_allocations, counted.pinned_frees), (1, 1));
    assert!(counted.synchronisations >= 1);
    let all = piadm_cuda_emulator::counts();
    assert!(all.launches >= 3);
}

#[test]
fn threads_take_turns() {
    let (context, _) = device(0).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let context = &context;
            scope.spawn(move || {
                context.bind_to_thread().unwrap();
                let stream = context.new_stream().unwrap();
                let kernel = function(context, "sum_f32");
                let source = stream.clone_htod(&vec![thread as f32; 128]).unwrap();
                let mut out = stream.alloc_zeros::<f32>(1).unwrap();
                for _ in 0..50 {
                    unsafe { stream.launch_builder(&kernel).arg(&mut out).arg(&source).launch(grid(1, 128)) }.unwrap();
                    assert_eq!(stream.clone_dtoh(&out).unwrap(), [128.0 * thread as f32]);
                }
            });
        }
    });
}

#[test]
fn other_kernels_are_refused() {
    device(0).unwrap();
    assert!(piadm_cuda_emulator::install("").unwrap_err().contains("other kernels"));
}
