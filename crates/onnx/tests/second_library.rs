//! What a process cannot do twice, and what a call allocates: alone, so that nothing else loads or allocates meanwhile.
#![cfg(feature = "ort")]

use piadm::ndarray::Array2;
use piadm::{Cpu, Prediction, Rows, ScoreFn};
use piadm_onnx::{Engine, Error, Onnx};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        BYTES.fetch_add(size, Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
#[ignore = "needs ONNX Runtime, in ORT_DYLIB_PATH"]
fn one_library_and_no_arrays_after_the_first_call() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/times.onnx");
    let onnx = Onnx::file(model).engine(Engine::Ort);
    let mut score = onnx.load(Prediction::Noise).unwrap();
    let error = onnx.clone().library("/nowhere/libonnxruntime.so").load(Prediction::Noise).unwrap_err();
    assert!(matches!(error, Error::SecondLibrary { .. }), "{error}");
    // the same one may be named
    onnx.clone().library(std::env::var_os("ORT_DYLIB_PATH").unwrap()).load(Prediction::Noise).unwrap();

    // the binding notes the output of every run, a few hundred bytes for any number of rows; nothing else
    let sizes = [1, 100, 10_000, 100_000];
    let mut allocated = |n: usize| {
        let (ones, ids, slots) = (vec![1.0; n], vec![0; n], vec![0; n]);
        let (x, mut out) = (Array2::from_elem((n, 2), 3.0f32), Array2::zeros((n, 2)));
        let rows = Rows::new(&ones, &ones, &ones, &ids, &slots).unwrap();
        let before = BYTES.load(Ordering::Relaxed);
        ScoreFn::<Cpu<f32>>::eval(&mut score, x.view(), &rows, out.view_mut()).unwrap();
        assert_eq!(out, x);
        BYTES.load(Ordering::Relaxed) - before
    };
    let first = sizes.map(&mut allocated);
    let again = sizes.map(&mut allocated);
    assert!(again.iter().all(|bytes| *bytes == again[0] && *bytes < 1024), "{first:?}, {again:?}");
    // arrays that are too large to be kept beside others make room
    for n in [4_000_000, 1, 4_000_001, 1] {
        allocated(n);
    }
}
