//! Samples a small network of candle one step after another and in parallel over time, and prints both reports.
//!
//! `cargo run --example candle`

use candle_core::{Device, Tensor};
use piadm::{BoxError, Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme, Sequential};
use piadm_candle::{CandleScore, column};

const DIM: usize = 16;
const HIDDEN: usize = 64;

fn main() -> Result<(), BoxError> {
    let device = Device::Cpu;
    // two layers with an embedding of the time; the weights are arbitrary, yours are trained and loaded from a file
    let wave = |rows: usize, columns: usize, scale: f64| {
        Tensor::arange(0f32, (rows * columns) as f32, &device)?
            .affine(0.7, 0.1)?
            .sin()?
            .affine(scale, 0.0)?
            .reshape((rows, columns))
    };
    let (first, time, second) = (wave(DIM, HIDDEN, 0.2)?, wave(2, HIDDEN, 0.5)?, wave(HIDDEN, DIM, 0.1)?);
    let mut score = CandleScore::new(Prediction::Noise, &device, |x, rows| {
        let t = column(rows.t, x)?;
        let embedding = Tensor::cat(&[t.sin()?, t.cos()?], 1)?;
        let hidden = (x.matmul(&first)? + embedding.matmul(&time)?)?.tanh()?;
        Ok(hidden.matmul(&second)?)
    });

    let grid = Grid::log_snr(200).between(6.0, 0.02);
    let problem = Problem::new(Ou, grid, Scheme::default()).samples(4).shape([DIM]).seed(1);
    let reference = Sequential.sample(&problem, &mut score)?;
    println!("{}\n", reference.report);
    let solution = Picard::default().sample(&problem, &mut score)?;
    println!("{}\n", solution.report);
    let difference = (&solution.samples - &reference.samples).fold(0.0, |a: f32, b| a.max(b.abs()));
    println!("largest difference of the samples: {difference:.1e}");
    Ok(())
}
