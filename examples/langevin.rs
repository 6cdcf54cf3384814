//! Parallel underdamped Langevin dynamics: sampling a fixed log density, and correcting the samples of a coarse solver.
//!
//! `cargo run --release --example langevin`

use ndarray::{Array2, array};
use piadm::{
    Cpu, Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme, Sequential, Window,
    nodes::{Correction, Langevin},
    sampler::Linearisation,
    schedule::Level,
    score::Mixture,
    score_fn,
};

fn main() -> piadm::Result<()> {
    // 1. a density of one's own: a ring of radius 2 in the plane, log p = -4 (|x| - 2)^2
    let mut ring = score_fn::<f32>(Prediction::Score, |x, _, mut out| {
        for (x, mut out) in x.rows().into_iter().zip(out.rows_mut()) {
            let radius = x.dot(&x).sqrt().max(1e-6);
            out.assign(&(&x * (-8.0 * (radius - 2.0) / radius)));
        }
        Ok(())
    });
    let langevin = Langevin { friction: 3.0, step: 0.05, steps: 400 };
    // the level is what the score would see as its time; a fixed density does not look at it
    let list = langevin.list(Level::at(&Ou, 1.0), Prediction::Score, 0)?;
    let problem = Problem::from_nodes(Cpu::<f32>::new(), list).samples(2000).shape([2]).seed(1);
    let sampler = Picard::default().linearisation(Linearisation::FrozenScore);
    let solution = sampler.sample(&problem, &mut ring)?;
    let radius = solution.samples.rows().into_iter().map(|x| x.dot(&x).sqrt()).collect::<Vec<f32>>();
    let mean = radius.iter().sum::<f32>() / radius.len() as f32;
    let spread = (radius.iter().map(|r| (r - mean).powi(2)).sum::<f32>() / radius.len() as f32).sqrt();
    println!("a ring of radius 2, width 0.35: mean radius {mean:.3}, spread {spread:.3}");
    println!("{}", solution.report);

    // 2. few ODE steps leave the wrong spread; corrections at every unit of OU time mend it
    let mut target = Mixture::new(vec![0.5, 0.5], array![[-1.0, 0.5], [1.0, -0.5]], vec![0.3, 0.3])?;
    let grid = Grid::log_snr(12).between(6.0, 0.05);
    let problem = Problem::new(Ou, grid, Scheme::Ddim { eta: 0.0 }).samples(4000).shape([2]).seed(2);
    let level = Level::at(&Ou, 0.05);
    let expected = level.alpha.powi(2) * 0.09 + level.sigma.powi(2);
    // variance around the nearer mode
    let spread = |x: &Array2<f32>| {
        let square = |row: ndarray::ArrayView1<'_, f32>| {
            let side = f64::from(row[0].signum());
            let (a, b) = (f64::from(row[0]) - side * level.alpha, f64::from(row[1]) + 0.5 * side * level.alpha);
            (a * a + b * b) / 2.0
        };
        x.rows().into_iter().map(square).sum::<f64>() / x.nrows() as f64
    };
    let plain = Sequential.sample(&problem, &mut target)?;
    let correction = Correction::default().friction(2.0).step(0.05).steps(40);
    let problem = problem.correction(Window::OuTime { ou_time: 1.0 }, correction);
    let corrected = Picard::default().sample(&problem, &mut target)?;
    println!("variance around a mode, exact {expected:.4}:");
    println!("  12 DDIM steps            {:.4}", spread(&plain.samples));
    println!("  the same, corrected      {:.4}\n{}", spread(&corrected.samples), corrected.report);
    Ok(())
}
