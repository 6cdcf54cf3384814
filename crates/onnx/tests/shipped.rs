//! The exported networks against the same networks in plain Rust.
//!
//! Ignored by default: `PIADM_ONNX_MODELS` names the folder that export/export.py has written, `ORT_DYLIB_PATH` ONNX
//! Runtime's library.

use networks::{Labels, Network};
use piadm::ndarray::{Array2, s};
use piadm::prelude::*;
use piadm_onnx::{Condition, Engine, Onnx, OnnxScore};
use std::path::PathBuf;

const LABELS: [u32; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 3, 1, 4, 10, 5];

fn shipped(name: &str, engine: Engine) -> Onnx {
    let folder = std::env::var_os("PIADM_ONNX_MODELS").expect("PIADM_ONNX_MODELS: the folder of export/export.py");
    let onnx = Onnx::file(PathBuf::from(folder).join(format!("{name}.onnx"))).engine(engine);
    if name == "unet-labels" { onnx.condition("label", Condition::labels(LABELS).no_class([10.0])) } else { onnx }
}

fn load(name: &str, engine: Engine) -> OnnxScore {
    shipped(name, engine).load(Prediction::Velocity).unwrap()
}

fn native(name: &str) -> Box<dyn Network> {
    let mut net = networks::load(name, None).unwrap();
    if name == "unet-labels" {
        let labels = LABELS.iter().map(|label| Some(*label as usize).filter(|label| *label < 10));
        net.set_labels(Labels::Each(labels.collect())).unwrap();
    }
    net
}

fn call(score: &mut dyn ScoreFn<Cpu<f32>>, x: &Array2<f32>) -> Array2<f32> {
    let n = x.nrows();
    let t: Vec<f64> = (0..n).map(|i| 1e-3 * 8000f64.powf(i as f64 / 15.0)).collect();
    let (unused, ids) = (vec![1.0; n], Vec::from_iter(0..n as u32));
    let slots: Vec<usize> = (0..n).collect();
    let mut out = Array2::zeros(x.dim());
    score.eval(x.view(), &Rows::new(&t, &unused, &unused, &ids, &slots).unwrap(), out.view_mut()).unwrap();
    out
}

fn rows_are_those_of_the_native_networks(engine: Engine) {
    let x = Array2::from_shape_fn((16, 784), |(i, j)| ((1 + i * 7919 + j * 104_729) as f32).sin() * 1.5);
    for name in ["mlp", "unet", "unet-labels"] {
        let expected = call(&mut *native(name), &x);
        let mut score = load(name, engine);
        let found = call(&mut score, &x);
        let largest = (&found - &expected).iter().fold(0.0f32, |m, d| m.max(d.abs()));
        println!("{name}, {engine}: {largest:.1e}");
        assert!(largest < 1e-5 * expected.iter().fold(1.0f32, |m, v| m.max(v.abs())), "{name}: {largest:e}");
        // rows in calls of one size have one set of bits, wherever they are and whatever is beside them
        let mut fixed = shipped(name, engine).batch(4).load(Prediction::Velocity).unwrap();
        let all = call(&mut fixed, &x);
        for rows in [1, 2, 3, 5, 16] {
            assert_eq!(
                call(&mut fixed, &x.slice(s![..rows, ..]).to_owned()),
                all.slice(s![..rows, ..]),
                "{name}, {rows}"
            );
        }
    }
}

fn images_are_those_of_the_native_networks(engine: Engine) {
    for name in ["mlp", "unet-labels"] {
        let grid = Grid::log_snr(40).between(8.0, 0.01).then_data();
        let problem = Problem::new(Ou, grid, Scheme::default()).samples(16).shape([784]).seed(2);
        let expected = Sequential.sample(&problem, &mut *native(name)).unwrap().samples;
        let mut score = load(name, engine);
        for parallel in [false, true] {
            let picard = Picard::default().window(16).acceptance(Acceptance::Error(1e-5));
            let sampler: &dyn Sampler<Cpu<f32>> = if parallel { &picard } else { &Sequential };
            let found = sampler.sample(&problem, &mut score).unwrap().samples;
            let mut rms: Vec<f32> =
                (&found - &expected).rows().into_iter().map(|row| row.mapv(|d| d * d).mean().unwrap().sqrt()).collect();
            rms.sort_by(f32::total_cmp);
            println!("{name}, {engine}, parallel {parallel}: median {:.1e}, worst {:.1e}", rms[8], rms[15]);
            assert!(rms[8] < 1e-4 && rms[15] < 1e-2, "{name}: {rms:?}");
        }
    }
}

fn exact_is_sequential_bit_for_bit_in_calls_of_one_size(engine: Engine) {
    let grid = Grid::log_snr(40).between(8.0, 0.01).then_data();
    let problem = Problem::new(Ou, grid, Scheme::default()).samples(2).shape([784]).seed(2);
    let exact = Picard::default().window(8).acceptance(Acceptance::Exact);
    for batch in [1, 8] {
        let mut score = shipped("mlp", engine).batch(batch).load(Prediction::Velocity).unwrap();
        let expected = Sequential.sample(&problem, &mut score).unwrap().samples;
        let found = exact.sample(&problem, &mut score).unwrap().samples;
        let bits = |a: &Array2<f32>| a.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&expected), "batch {batch}");
    }
}

macro_rules! in_both_engines {
    ($($test:ident),* $(,)?) => {
        #[cfg(feature = "tract")]
        mod tract {
            $(#[test]
            #[ignore = "needs the exported graphs, in PIADM_ONNX_MODELS"]
            fn $test() {
                super::$test(piadm_onnx::Engine::Tract);
            })*
        }

        #[cfg(feature = "ort")]
        mod ort {
            $(#[test]
            #[ignore = "needs ONNX Runtime, in ORT_DYLIB_PATH, and the exported graphs, in PIADM_ONNX_MODELS"]
            fn $test() {
                super::$test(piadm_onnx::Engine::Ort);
            })*
        }
    };
}
in_both_engines! {
    rows_are_those_of_the_native_networks, images_are_those_of_the_native_networks,
    exact_is_sequential_bit_for_bit_in_calls_of_one_size,
}
