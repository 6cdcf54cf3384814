//! Measured: parareal, and warm starts from coarse solves, against the defaults, at equal error.

use lab::subject::random_mixture;
use ndarray::{ArrayView2, Axis};
use piadm::{
    Acceptance, Cpu, Grid, Ou, Parareal, Picard, Problem, Sampler, Scheme, ScoreFn, Sequential, Window,
    sampler::{Entry, Linearisation, Policy},
};

/// The largest rms over elements of a difference between rows.
fn error(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> f64 {
    let rows = (&a - &b).map_axis(Axis(1), |d| d.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / d.len() as f64);
    rows.fold(0.0f64, |m, v| m.max(v.sqrt()))
}

/// Prints rounds, rows per step and error of every sampler.
fn measure(name: &str, dim: usize, steps: usize, samples: usize, score: &mut dyn ScoreFn<Cpu<f32>>) {
    let grid = Grid::log_snr(steps).between(8.0, 0.01);
    for (dynamics, scheme) in [("SDE", Scheme::default()), ("ODE", Scheme::Ddim { eta: 0.0 })] {
        let problem = Problem::new(Ou, grid.clone(), scheme).samples(samples).shape([dim]).seed(7);
        let reference = Sequential.sample(&problem, score).unwrap().samples;
        let line = |what: String, before: (usize, usize), run: piadm::Solution<Cpu<f32>>| {
            let mean = run.report.sample_rounds.iter().sum::<usize>() as f64 / samples as f64;
            let rows = (run.report.score_rows + before.1) as f64 / (samples * steps) as f64;
            let (rounds, mean) = (run.report.rounds + before.0, mean + before.0 as f64);
            let error = error(run.samples.view(), reference.view());
            println!(
                "{name} {dynamics} {what:<44} rounds {rounds:>4} (mean {mean:5.1}) rows {rows:5.2} error {error:.1e}"
            );
        };
        let picard = |window, tolerance| {
            Picard::default().window(Window::Steps(window)).acceptance(Acceptance::Error(tolerance))
        };
        // PIADM's iteration, for which nothing else makes first guesses
        let plain =
            picard(steps, 1e-2).linearisation(Linearisation::FrozenScore).entry(Entry::Copy).policy(Policy::Blocks);
        let picards: Vec<(String, Picard)> = [64, 128, steps]
            .into_iter()
            .flat_map(|w| [1e-2, 1e-3].map(|e| (format!("picard {w} {e:e}"), picard(w, e))))
            .chain([("frozen score, one block 1e-2".into(), plain)])
            .collect();
        for (name, picard) in &picards {
            line(name.clone(), (0, 0), picard.sample(&problem, score).unwrap());
        }
        for blocks in [None, Some(2 * (steps as f64).sqrt() as usize)] {
            for tolerance in [1e-1, 1e-2, 1e-3] {
                let settings = Parareal::default().blocks(blocks).acceptance(Acceptance::Error(tolerance));
                line(format!("parareal {blocks:?} {tolerance:e}"), (0, 0), settings.sample(&problem, score).unwrap());
            }
        }
        for every in [100, 50, 25] {
            let rough = Sequential.sample(&problem.coarse(every).unwrap(), score).unwrap();
            let before = (rough.report.rounds, rough.report.score_rows);
            let path = problem.refine(&rough.path, every).unwrap();
            let warm = problem.clone().guesses(path.clone());
            for (name, picard) in &picards {
                line(format!("coarse {every} + {name}"), before, picard.sample(&warm, score).unwrap());
            }
        }
    }
}

#[test]
#[ignore = "prints figures"]
fn figures() {
    let mut network = networks::load("mlp", None).unwrap();
    let dim = network.dim();
    measure("mlp", dim, 500, 3, &mut *network);
    measure("mixture", 64, 500, 8, &mut random_mixture(16, 64, 0.3, 1).unwrap());
}
