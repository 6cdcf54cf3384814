//! Training on a handful of generated images.

#[path = "../examples/train_fashion/images.rs"]
mod images;
#[path = "../examples/train_fashion/training.rs"]
mod training;

use candle_core::{Device, Tensor};
use flate2::{Compression, write::GzEncoder};
use piadm::Rows;
use piadm::ndarray::Array2;
use std::io::Write;
use std::path::PathBuf;
use training::{Sizes, batch, train};

const SIDE: usize = 6;

fn file(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("piadm-candle-{}-{name}", std::process::id()))
}

/// Bright squares in one of two corners, in the IDX format.
fn idx(count: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = [0x803, count, SIDE, SIDE].iter().flat_map(|n| (*n as u32).to_be_bytes()).collect();
    for image in 0..count {
        let lit = |i: usize, j: usize| if image % 2 == 0 { i < 3 && j < 3 } else { i >= 3 && j >= 3 };
        bytes.extend((0..SIDE * SIDE).map(|p| if lit(p / SIDE, p % SIDE) { 200 + (image % 50) as u8 } else { 10 }));
    }
    bytes
}

fn write(name: &str, bytes: &[u8]) -> PathBuf {
    let path = file(name);
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    zipped.write_all(bytes).unwrap();
    std::fs::write(&path, zipped.finish().unwrap()).unwrap();
    path
}

#[test]
fn loss_falls_and_piadm_networks_loads_what_was_trained() {
    let images = write("images.gz", &idx(64));
    let (pixels, dim) = images::read(&images).unwrap();
    assert_eq!((pixels.len(), dim), (64 * 36, 36));
    let norm = images::norm(&pixels);
    let values = pixels.iter().map(|pixel| (f32::from(*pixel) / 255.0 - norm.0) / norm.1);
    let pixels = Tensor::from_iter(values, &Device::Cpu).unwrap().reshape((64, dim)).unwrap();
    let sizes = Sizes { dim, width: 24, hidden: 32, embedding: 16, blocks: 2 };
    let mut losses = Vec::new();
    let net = train(sizes, &pixels, (300, 64, 0), |_, loss| losses.push(loss)).unwrap();
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    let (first, last) = (mean(&losses[..20]), mean(&losses[280..]));
    assert!(last < 0.5 * first, "{first} {last}");
    // the same seed gives the same run
    let mut again = Vec::new();
    train(sizes, &pixels, (3, 64, 0), |_, loss| again.push(loss)).unwrap();
    assert_eq!(again[0], losses[0]);

    let weights = file("mlp.safetensors");
    net.save(&weights, norm, 300).unwrap();
    let mut loaded = networks::load("mlp", Some(&weights)).unwrap();
    assert_eq!((loaded.dim(), loaded.norm()), (dim, norm));
    let batch = batch(&pixels, &(0..64).collect::<Vec<u32>>(), 1, 0).unwrap();
    let ours: Vec<f32> = net.forward(&batch.x, &batch.u).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let x = Array2::from_shape_vec((64, dim), batch.x.flatten_all().unwrap().to_vec1().unwrap()).unwrap();
    let t: Vec<f64> = batch.u.iter().map(|u| (2.0 * f64::from(*u)).exp().ln_1p()).collect();
    let rows = Rows::new(&t, &[1.0; 64], &[1.0; 64], &[0; 64], &[0; 64]).unwrap();
    let mut theirs = Array2::zeros((64, dim));
    loaded.eval(x.view(), &rows, theirs.view_mut()).unwrap();
    let difference = ours.iter().zip(&theirs).fold(0f32, |d, (a, b)| d.max((a - b).abs()));
    assert!(difference < 1e-5, "{difference}");
    for path in [images, weights] {
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn files_that_are_missing_or_something_else_are_said_to_be() {
    let error = images::read(&file("none.gz")).unwrap_err().to_string();
    assert!(error.contains("dataset-fashion-mnist"), "{error}");
    let mut short = idx(3);
    short.pop();
    let mut labels = idx(3);
    labels[3] = 1;
    for (name, bytes) in [("short.gz", short), ("labels.gz", labels), ("empty.gz", Vec::new())] {
        let path = write(name, &bytes);
        let error = images::read(&path).unwrap_err().to_string();
        assert!(error.contains("no gzip file of images"), "{error}");
        std::fs::remove_file(path).unwrap();
    }
}
