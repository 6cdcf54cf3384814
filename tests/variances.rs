//! Slopes of every element its own, from variances that are given or measured.

mod common;

use common::bits;
use ndarray::{ArrayView2, ArrayViewMut2};
use piadm::{
    Acceptance, Cpu, Error, Grid, Ou, Picard, Prediction, Problem, Rows, Sampler, Scheme, ScoreFn, Sequential, Window,
    backend::Real,
    problem::Variances,
    sampler::{Entry, Linearisation},
    score_fn,
};

const DIM: usize = 300;

/// From 1e-2 to 1e2.
fn spread() -> Vec<f64> {
    (0..DIM).map(|e| 10f64.powf(4.0 * (e * 7 % DIM) as f64 / DIM as f64 - 2.0)).collect()
}

/// Data N(0, v), as the network would predict them.
fn gaussian<T: Real>(kind: Prediction) -> impl ScoreFn<Cpu<T>> {
    score_fn(kind, move |x: ArrayView2<'_, T>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, T>| {
        let spread = spread();
        for ((i, e), out) in out.indexed_iter_mut() {
            *out = T::of(kind.gaussian_slope(rows.alpha[i], rows.sigma[i], spread[e]) * x[[i, e]].wide());
        }
        Ok(())
    })
}

fn problem<T: Real>(scheme: Scheme, steps: usize, samples: usize) -> Problem<Cpu<T>> {
    let grid = Grid::log_snr(steps).between(8.0, 0.01);
    Problem::on(Cpu::new(), Ou, grid, scheme).samples(samples).shape([DIM]).seed(3)
}

fn rounds(sampler: &Picard, problem: &Problem<Cpu<f64>>, score: &mut dyn ScoreFn<Cpu<f64>>) -> (usize, f64) {
    let parallel = sampler.sample(problem, score).unwrap();
    let sequential = Sequential.sample(problem, score).unwrap();
    let error = (&parallel.samples - &sequential.samples).iter().fold(0.0, |max, e| f64::max(max, e.abs()));
    (parallel.report.rounds, error)
}

/// The model is linear and the slopes are its own, so one sweep of all nodes is the solution, and the second round
/// finds nothing to do.
#[test]
fn the_slopes_of_gaussian_data_need_one_sweep() {
    let variances = Variances::new(spread()).unwrap();
    let schemes = [Scheme::default(), Scheme::dpmpp_2m(), Scheme::heun()];
    let kinds = [Prediction::Score, Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow];
    for scheme in schemes {
        for kind in kinds {
            let sampler = Picard::default()
                .window(Window::Steps(60))
                .linearisation(Linearisation::Gaussian { variance: 1.0 })
                .entry(Entry::Copy)
                .acceptance(Acceptance::change(1e-9));
            let mut score = gaussian::<f64>(kind);
            let problem = problem(scheme.clone(), 60, 2);
            let (own, error) = rounds(&sampler, &problem.clone().variances(variances.clone()), &mut score);
            assert!(own <= 2 && error < 1e-8, "{scheme:?} {kind:?}: {own} rounds, error {error}");
            // variances that are off by a factor, and one slope for all
            let off = Variances::new(spread().iter().map(|v| 0.5 * v).collect()).unwrap();
            let (wrong, _) = rounds(&sampler, &problem.clone().variances(off.clone()), &mut score);
            let (one, _) = rounds(&sampler, &problem, &mut score);
            assert!(2 < wrong && wrong < one, "{scheme:?} {kind:?}: {wrong} and {one} rounds");
            let twice = Linearisation::Gaussian { variance: 2.0 };
            let back = sampler.linearisation(twice);
            assert!(rounds(&back, &problem.clone().variances(off.clone()), &mut score).0 <= 2, "{scheme:?} {kind:?}");
        }
    }
}

/// Other slopes, the same fixed point: the bits of sequential sampling, even for wild variances.
#[test]
fn a_tolerance_of_zero_gives_the_sequential_bits() {
    let wild = [1e-300, 1e300, 0.0, 1.0].into_iter().cycle().take(DIM).collect();
    for variances in [Variances::new(spread()).unwrap(), Variances::new(wild).unwrap()] {
        for scheme in [Scheme::default(), Scheme::dpmpp_2m(), Scheme::heun()] {
            let problem = problem::<f32>(scheme, 30, 2).variances(variances.clone());
            let mut score = gaussian::<f32>(Prediction::Noise);
            let sequential = Sequential.sample(&problem, &mut score).unwrap();
            for linearisation in [Linearisation::Gaussian { variance: 1.0 }, Linearisation::Gaussian { variance: 0.0 }]
            {
                let sampler = Picard::default()
                    .window(Window::Steps(12))
                    .acceptance(Acceptance::Exact)
                    .linearisation(linearisation);
                let parallel = sampler.sample(&problem, &mut score).unwrap();
                assert_eq!(bits(&parallel.samples), bits(&sequential.samples), "{sampler:?}");
            }
        }
    }
}

#[test]
fn variances_are_measured_and_checked() {
    let mut score = gaussian::<f64>(Prediction::Data);
    let few = Sequential.sample(&problem::<f64>(Scheme::default(), 40, 400), &mut score).unwrap();
    let measured = Variances::measure(few.samples.view()).unwrap();
    for (measured, given) in measured.values().iter().zip(spread()) {
        // the standard error of a variance from 400 samples is 7 %; the grid ends at a little noise
        let ratio = measured / (given + 0.01);
        assert!((0.6..1.5).contains(&ratio), "{measured} for {given}");
    }
    let short = Variances::new(vec![1.0; DIM - 1]).unwrap();
    let answer = Picard::default().sample(&problem::<f64>(Scheme::default(), 5, 1).variances(short), &mut score);
    assert!(matches!(answer, Err(Error::Shape { .. })));
    let estimate = |p: &Problem<Cpu<f64>>| p.memory_estimate(&Picard::default(), &Prediction::Data).unwrap();
    let plain = problem::<f64>(Scheme::default(), 5, 1);
    assert_eq!(estimate(&plain.clone().variances(measured)), estimate(&plain) + 8 * DIM);
}

/// A calibration can be stored; bad ones cannot be read.
#[cfg(feature = "serde")]
#[test]
fn variances_are_written_and_read() {
    let variances = Variances::new(vec![0.5, 2.0]).unwrap();
    let text = serde_json::to_string(&variances).unwrap();
    assert_eq!(text, "[0.5,2.0]");
    assert_eq!(serde_json::from_str::<Variances>(&text).unwrap(), variances);
    assert!(serde_json::from_str::<Variances>("[0.5,-2.0]").is_err());
}
