//! Measured: slopes of every pixel its own, on the trained network.

use ndarray::{Array2, Axis};
use piadm::{
    Acceptance, Grid, Ou, Picard, Problem, Sampler, Scheme, Sequential,
    problem::Variances,
    sampler::{Entry, Linearisation},
};

/// Prints, for the trained MLP, rounds and rows per step at equal error (median of the samples): one slope for all
/// pixels, a slope for every pixel from the variances of a calibration run, and the secant.
#[test]
#[ignore = "measures, takes minutes"]
fn pixels_at_equal_error() {
    let samples = 24;
    let mut score = networks::load("mlp", None).unwrap();
    let dim = score.dim();
    let on = |steps, samples, seed| {
        let grid = Grid::log_snr(steps).between(8.0, 0.01);
        Problem::new(Ou, grid, Scheme::default()).samples(samples).shape([dim]).seed(seed)
    };
    let few = Sequential.sample(&on(60, 128, 1), &mut *score).unwrap().samples;
    let variances = Variances::measure(few.view()).unwrap();
    let plain = on(500, samples, 5);
    let reference = Sequential.sample(&plain, &mut *score).unwrap().samples;
    let error = |samples: &Array2<f32>| {
        let mut errors =
            (samples - &reference).map_axis(Axis(1), |d| d.mapv(|v| v * v).mean().unwrap().sqrt()).to_vec();
        errors.sort_by(f32::total_cmp);
        errors[errors.len() / 2]
    };
    let held = Entry::HeldData { variance: 0.25 };
    let scalar = Picard::default().linearisation(Linearisation::Gaussian { variance: 0.25 }).entry(held);
    let own = scalar.clone().linearisation(Linearisation::Gaussian { variance: 0.25 / 0.6 });
    let with = plain.clone().variances(variances);
    let secant = Picard::default();
    for (what, sampler, problem) in
        [("one slope", scalar, &plain), ("by pixel", own, &with), ("secant", secant, &plain)]
    {
        let mut targets = vec![1e-3f32, 1e-2];
        for k in 0..60 {
            let acceptance = Acceptance::Error(0.1 * 1.25f64.powi(-k));
            let run = sampler.clone().acceptance(acceptance).sample(problem, &mut *score).unwrap();
            while let Some(target) = targets.pop_if(|target| error(&run.samples) <= *target) {
                let rounds = run.report.sample_rounds.iter().sum::<usize>() as f64 / samples as f64;
                let (rows, error) = (run.report.rows_per_step(), error(&run.samples));
                println!("{what:<10} {target:.0e}: rounds {rounds:5.2} rows {rows:.2} error {error:.1e}");
            }
            if targets.is_empty() {
                break;
            }
        }
    }
}
