//! A library that is not there. A process has one library, so this is a program of its own.
#![cfg(feature = "ort")]

use piadm::Prediction;
use piadm_onnx::{Engine, Error, Onnx};
use std::path::Path;

#[test]
fn without_the_library_the_error_says_how_to_get_it() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/times.onnx");
    let onnx = Onnx::file(model).engine(Engine::Ort).library("/nowhere/libonnxruntime.so");
    let error = onnx.load(Prediction::Noise).unwrap_err();
    assert!(
        matches!(&error, Error::Library { path, .. } if path == Path::new("/nowhere/libonnxruntime.so")),
        "{error}"
    );
    for part in ["pip install onnxruntime", "ORT_DYLIB_PATH", "Onnx::library", "Engine::Tract"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[cfg(not(feature = "tract"))]
#[test]
fn an_engine_that_was_not_built_is_an_error() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/times.onnx");
    let error = Onnx::file(model).engine(Engine::Tract).load(Prediction::Noise).unwrap_err();
    assert!(matches!(error, Error::Engine { engine: Engine::Tract }), "{error}");
}
