//! Seconds of one image, one step after another and in parallel, with each engine and with the networks in plain Rust.
//!
//! `cargo run --release --features tract --example images -- FOLDER`, where export/export.py has written the graphs.

mod shared;

use piadm::prelude::*;
use piadm::{BoxError, ndarray::Array2};
use shared::{engines, folder, load, onnx};
use std::time::Instant;

const STEPS: usize = 250;
const WINDOW: usize = 32;
const TURNS: usize = 3;

fn main() -> Result<(), BoxError> {
    folder()?;
    println!(
        "one image, {STEPS} SDE steps, medians of {TURNS} turns, window {WINDOW}, {} threads",
        rayon::current_num_threads()
    );
    println!(
        "{:<6}{:<8}{:>12}{:>10}{:>8}{:>8}{:>12}",
        "", "engine", "sequential", "parallel", "rounds", "gain", "difference"
    );
    for name in ["mlp", "unet"] {
        for engine in engines() {
            race(name, &engine.to_string(), &mut load(&onnx(name, engine)?, name)?)?;
        }
        race(name, "rust", &mut *networks::load(name, None)?)?;
    }
    Ok(())
}

/// Both samplers in turn, from a thread of the pool.
fn race(name: &str, engine: &str, score: &mut (dyn ScoreFn<Cpu<f32>> + Send)) -> Result<(), BoxError> {
    let grid = Grid::log_snr(STEPS - 1).between(8.0, 0.01).then_data();
    let problem = Problem::new(Ou, grid, Scheme::default()).shape([784]).seed(1);
    let picard = Picard::default().window(WINDOW);
    let mut seconds = [Vec::new(), Vec::new()];
    let (mut images, mut rounds): (Vec<Array2<f32>>, usize) = (Vec::new(), 0);
    for turn in 0..=TURNS {
        images.clear();
        for (i, sampler) in [&Sequential as &(dyn Sampler<Cpu<f32>> + Sync), &picard].into_iter().enumerate() {
            let clock = Instant::now();
            let solution = rayon::scope(|_| sampler.sample(&problem, &mut *score))?;
            // the first turn touches memory for the first time
            if turn > 0 {
                seconds[i].push(clock.elapsed().as_secs_f64());
            }
            images.push(solution.samples);
            rounds = solution.report.rounds;
        }
    }
    let [before, after] = seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        seconds[TURNS / 2]
    });
    let rms = (&images[1] - &images[0]).mapv(|d| d * d).mean().unwrap_or(0.0).sqrt();
    println!("{name:<6}{engine:<8}{before:>10.3} s{after:>8.3} s{rounds:>8}{:>8.2}{rms:>12.0e}", before / after);
    Ok(())
}
