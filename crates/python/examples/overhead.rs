//! Seconds per round of a network whose calls take a given time: what benches/overhead.py compares with.
//!
//! Arguments: elements of a sample, seconds of a call, runs. Prints one line "rounds seconds" for every run.

use piadm::prelude::*;
use std::time::{Duration, Instant};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dim, seconds, runs] = &arguments[..] else { return Err("expected DIM SECONDS RUNS".into()) };
    let cost = Duration::from_secs_f64(seconds.parse()?);
    let mut network = score_map(Prediction::Noise, |x, _rows| {
        let start = Instant::now();
        let output = x.mapv(|x: f32| 0.5 * x);
        while start.elapsed() < cost {}
        output
    });
    let grid = Grid::log_snr(100).between(8.0, 0.01);
    let problem = Problem::new(Ou, grid, Scheme::ddim()).shape([dim.parse()?]).seed(7);
    let sampler = Picard::default().window(32).acceptance(Acceptance::Error(1e-3));
    for _ in 0..runs.parse()? {
        let start = Instant::now();
        let solution = sampler.sample(&problem, &mut network)?;
        println!("{} {}", solution.report.rounds, start.elapsed().as_secs_f64());
    }
    Ok(())
}
