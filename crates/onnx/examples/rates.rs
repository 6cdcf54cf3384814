//! Rows per second of each engine, what a new number of rows costs, and what a row's bits depend on.
//!
//! `cargo run --release --features tract --example rates -- FOLDER`, where export/export.py has written the graphs.

mod shared;

use piadm::BoxError;
use piadm::ndarray::{Array2, s};
use shared::{call, engines, folder, load, onnx};
use std::time::Instant;

const SIZES: [usize; 3] = [1, 8, 64];
/// A call of each size is repeated for so long.
const SECONDS: f64 = 0.4;

/// States with no structure, always the same.
fn states(rows: usize, dim: usize) -> Array2<f32> {
    Array2::from_shape_fn((rows, dim), |(i, j)| ((1 + i * 7919 + j * 104_729) as f32).sin() * 1.5)
}

/// Whether rows have the bits of `all`, in units of the largest difference; `=` for the same bits.
fn differ(found: &Array2<f32>, all: &Array2<f32>) -> String {
    let largest = found.iter().zip(all).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let same = found.iter().zip(all).all(|(a, b)| a.to_bits() == b.to_bits());
    if same { "=".into() } else { format!("{largest:.0e}") }
}

fn main() -> Result<(), BoxError> {
    folder()?;
    println!(
        "rows per second; a new size: the first call of 48 rows in units of the second; rows of a call of 64 again"
    );
    println!(
        "{:<7}{:<8}{:>9}{:>9}{:>9}{:>10}{:>9}{:>9}{:>9}",
        "engine", "network", 1, 8, 64, "new size", "alone", "by 8", "moved"
    );
    for engine in engines() {
        for name in ["mlp", "unet", "policy"] {
            let settings = onnx(name, engine)?;
            let mut score = load(&settings, name)?;
            let dim = score.shape().iter().product();
            print!("{:<7}{name:<8}", engine.to_string());
            for rows in SIZES {
                let x = states(rows, dim);
                call(&mut score, &x, 0)?;
                // the fastest call, which other work on the machine disturbs least
                let (began, mut fastest) = (Instant::now(), f64::INFINITY);
                while began.elapsed().as_secs_f64() < SECONDS {
                    let clock = Instant::now();
                    call(&mut score, &x, 0)?;
                    fastest = clock.elapsed().as_secs_f64().min(fastest);
                }
                print!("{:>9.0}", rows as f64 / fastest);
            }
            let x = states(48, dim);
            let mut seconds = || -> Result<f64, BoxError> {
                let clock = Instant::now();
                call(&mut score, &x, 0)?;
                Ok(clock.elapsed().as_secs_f64())
            };
            print!("{:>10.1}", seconds()? / seconds()?);
            let x = states(64, dim);
            let all = call(&mut score, &x, 0)?;
            let mut pieces = |each: usize| -> Result<Array2<f32>, BoxError> {
                let mut out = all.clone();
                for first in (0..64).step_by(each) {
                    let part = call(&mut score, &x.slice(s![first..first + each, ..]).to_owned(), first)?;
                    out.slice_mut(s![first..first + each, ..]).assign(&part);
                }
                Ok(out)
            };
            let (alone, by_8) = (pieces(1)?, pieces(8)?);
            print!("{:>9}{:>9}", differ(&alone, &all), differ(&by_8, &all));
            // calls of 8 rows in which every row has another place and other neighbours
            let mut fixed = load(&settings.clone().batch(8), name)?;
            let in_place = call(&mut fixed, &x, 0)?;
            let moved = call(&mut fixed, &x.slice(s![5.., ..]).to_owned(), 5)?;
            println!("{:>9}", differ(&moved, &in_place.slice(s![5.., ..]).to_owned()));
        }
    }
    Ok(())
}
