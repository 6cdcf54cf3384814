//! The command `sample`, with tract or, without that, with ONNX Runtime.
#![cfg(feature = "cli")]

use std::path::Path;
use std::process::{Command, Output};

const ENGINE: &str = if cfg!(feature = "tract") { "tract" } else { "ort" };

/// Runs the command on a graph of `tests/models`.
fn sample(graph: &str, arguments: &str) -> Output {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sample"));
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).args(["--engine", ENGINE, "--onnx"]);
    command.arg(models.join(format!("{graph}.onnx"))).args(arguments.split_whitespace()).output().unwrap()
}

fn succeeds(graph: &str, arguments: &str) {
    let output = sample(graph, arguments);
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn read(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_TARGET_TMPDIR")).join(file)).unwrap()
}

#[test]
#[cfg_attr(not(feature = "tract"), ignore = "needs ONNX Runtime, in ORT_DYLIB_PATH")]
fn parallel_samples_are_the_sequential_ones() {
    let run = |sampler: &str, file: &str| {
        let grid = r#"{"kind":"log_snr","t_max":8,"t_min":0.01}"#;
        let arguments =
            format!("--schedule ou --grid {grid} --prediction noise --time-scale 0.1 --samples 3 --steps 20");
        succeeds("times", &format!("{arguments} --sampler {sampler} --output {file}"));
        read(file)
    };
    let (sequential, exact) = (run("sequential", "s.npy"), run(r#"{"picard":{"tolerance":{"error":0}}}"#, "e.npy"));
    assert!(sequential.len() > 3 * 2 * 4 && sequential == exact);
}

#[test]
#[cfg_attr(not(feature = "tract"), ignore = "needs ONNX Runtime, in ORT_DYLIB_PATH")]
fn pictures_labels_and_guidance() {
    succeeds("image", "--prediction data --samples 5 --shape 1,4,4 --steps 10 --output grey.png");
    assert_eq!(read("grey.png")[..4], *b"\x89PNG");
    // wide and high: 3 and 2 pictures
    assert_eq!(read("grey.png")[16..24], [0, 0, 0, 12, 0, 0, 0, 8]);
    let labelled = "--prediction data --samples 3 --steps 10 --time-scale 0 --labels label=0,2 --output l.npy";
    succeeds("label", labelled);
    let floats = |bytes: Vec<u8>| -> Vec<f32> {
        bytes[bytes.len() - 24..].as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let near = |found: Vec<f32>, expected: [f32; 6]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.3), "{found:?}");
    };
    near(floats(read("l.npy")), [1.0, 2.0, 5.0, 6.0, 1.0, 2.0]);
    succeeds("label", &format!("{labelled} --no-class 1 --guidance 3"));
    near(floats(read("l.npy")), [-3.0, -2.0, 9.0, 10.0, -3.0, -2.0]);
}

#[test]
#[cfg_attr(not(feature = "tract"), ignore = "needs ONNX Runtime, in ORT_DYLIB_PATH")]
fn what_is_wrong_is_one_sentence() {
    for (graph, arguments, part) in [
        ("times", "--output x.jpg", "expected .png or .npy"),
        ("times", "--output x.npy --schedule nothing", "--schedule"),
        ("times", "--output x.npy --grid nothing", "--grid"),
        ("times", "--output x.npy --sampler nothing", "--sampler"),
        ("times", "--output x.png --steps 5 --prediction data", "take .npy"),
        ("missing", "--output x.npy", "missing.onnx"),
        ("label", "--output x.npy", "give each other input a condition"),
    ] {
        let output = sample(graph, arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.lines().count() == 1, "{arguments}: {error}");
        assert!(error.contains(part), "{arguments}: {error}");
    }
}
