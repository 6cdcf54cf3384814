//! Trains the MLP of the example `fashion` on Fashion-MNIST, and compares it with the shipped one on held-out images.
//!
//! `cargo run --release --example train_fashion -- /usr/share/datasets/fashion-mnist fashion_mlp.safetensors [STEPS]`
//!
//! The images are those of the Debian package dataset-fashion-mnist. The shipped weights took 40,000 steps; 2,000 are
//! the default here. The file is what `fashion --network mlp --weights FILE` samples from.

mod images;
mod training;

use candle_core::{Device, Tensor};
use piadm::ndarray::Array2;
use piadm::{BoxError, Rows};
use std::path::Path;
use training::{Batch, Sizes, batch, train};

const HELP: &str = "train_fashion FOLDER OUTPUT.safetensors [STEPS]";

fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, output, steps @ ..] = &arguments[..] else { return Err(HELP.into()) };
    let steps = steps.first().map_or(Ok(2000), |steps| steps.parse())?;
    let folder = Path::new(folder);
    let read = |name: &str| images::read(&folder.join(name)).map_err(|error| error.to_string());
    let (pixels, dim) = read("train-images-idx3-ubyte.gz")?;
    let (held_out, _) = read("t10k-images-idx3-ubyte.gz")?;
    let norm = images::norm(&pixels);
    let standardised = |pixels: &[u8]| {
        let values = pixels.iter().map(|pixel| (f32::from(*pixel) / 255.0 - norm.0) / norm.1);
        Tensor::from_iter(values, &Device::Cpu)?.reshape((pixels.len() / dim, dim))
    };
    let sizes = Sizes { dim, width: 384, hidden: 512, embedding: 32, blocks: 2 };
    let (begin, mut running) = (std::time::Instant::now(), 0.0);
    let net = train(sizes, &standardised(&pixels)?, (steps, 512, 0), |step, loss| {
        running += loss;
        if step % 100 == 0 {
            println!("step {step}: loss {:.4}, {:.0} s", running / 100.0, begin.elapsed().as_secs_f64());
            running = 0.0;
        }
    })?;
    net.save(Path::new(output), norm, steps).map_err(|error| error.to_string())?;

    // both files as piadm-networks computes them, on the same images, times and noise
    let held_out = standardised(&held_out)?;
    let rows: Vec<u32> = (0..held_out.dim(0)? as u32).collect();
    let batch = batch(&held_out, &rows, 1, 0)?;
    println!("loss on held-out images: {:.4}", loss(Some(Path::new(output)), &batch)?);
    println!("that of the shipped network: {:.4}", loss(None, &batch)?);
    Ok(())
}

/// Mean squared error of the velocity of a file, or of the shipped network.
fn loss(file: Option<&Path>, batch: &Batch) -> Result<f64, BoxError> {
    let mut network = networks::load("mlp", file)?;
    let (x, v): (Vec<f32>, Vec<f32>) = (batch.x.flatten_all()?.to_vec1()?, batch.v.flatten_all()?.to_vec1()?);
    let x = Array2::from_shape_vec(batch.x.dims2()?, x)?;
    let mut out = Array2::zeros(x.dim());
    let t: Vec<f64> = batch.u.iter().map(|u| (2.0 * f64::from(*u)).exp().ln_1p()).collect();
    let (ones, ids, slots) = (vec![1.0; t.len()], vec![0; t.len()], vec![0; t.len()]);
    let rows = Rows::new(&t, &ones, &ones, &ids, &slots).ok_or("lengths differ")?;
    network.eval(x.view(), &rows, out.view_mut())?;
    let squares = out.iter().zip(&v).map(|(a, b)| f64::from(a - b).powi(2));
    Ok(squares.sum::<f64>() / v.len() as f64)
}
