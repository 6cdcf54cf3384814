//! Samples a distribution whose score is known, in parallel over time, from a closure: the lines that matter.
//!
//! `cargo run --release --example quickstart`

use piadm::{Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme, Sequential, score_fn};

fn main() -> piadm::Result<()> {
    // two points at -1 and 1 in every coordinate, as a network would see them: E[x_0 | x_t] = tanh(alpha x / sigma^2)
    let mut score = score_fn::<f32>(Prediction::Data, |x, rows, mut out| {
        for (i, (x, mut out)) in x.rows().into_iter().zip(out.rows_mut()).enumerate() {
            let slope = (rows.alpha[i] / rows.sigma[i].powi(2)) as f32;
            out.assign(&x.mapv(|x| (slope * x).tanh()));
        }
        Ok(())
    });
    let grid = Grid::log_snr(500).between(8.0, 0.01);
    let problem = Problem::new(Ou, grid, Scheme::default()).samples(8).shape([2]).seed(1);
    let solution = Picard::default().sample(&problem, &mut score)?;
    println!("{}", solution.report);

    let reference = Sequential.sample(&problem, &mut score)?;
    println!("{}", reference.report);
    let difference = (&solution.samples - &reference.samples).mapv(f32::abs);
    println!("samples, the same as the sequential ones up to {:.1e}:", difference.fold(0.0, |a: f32, b| a.max(*b)));
    println!("{:.3}", solution.samples);
    Ok(())
}
