//! Predictor and corrector block by block.

mod common;

use common::{bits, exact, iterations, mixture};
use ndarray::Array2;
use piadm::{
    Correction, Cpu, Level, Mixture, Observer, Ou, Picard, Policy, PredictorCorrector, Problem, Round, Sampler, Save,
    Scheme, Sequential, TimeGrid, Window,
};
use std::ops::ControlFlow;

fn problem<'a>(steps: usize, shape: (usize, usize)) -> Problem<'a, Cpu<f32>> {
    let grid = TimeGrid::log_snr(&Ou, 6.0, 0.05, steps).unwrap();
    Problem::new(Cpu::<f32>::new(), &Ou, grid, Scheme::Ddim { eta: 0.0 }, shape).seed(3)
}

fn sequential(correction: Correction) -> PredictorCorrector<Sequential> {
    let block = Window::OuTime { ou_time: 1.0 };
    PredictorCorrector { block, predictor: Sequential, correction, corrector: Sequential }
}

#[test]
fn parallel_equals_sequential_bit_for_bit() {
    let mut score = mixture(4, 30, 0.3, 0.91, 2);
    let correction = Correction { friction: 1.5, step: 0.2, steps: 6 };
    let problem = problem(40, (3, 30)).with_save(Save::All);
    let reference = sequential(correction).sample(&problem, &mut score).unwrap();
    for iteration in iterations() {
        for (window, policy) in [(5, Policy::Blocks), (64, Policy::Sliding)] {
            let part = exact(policy, window, iteration);
            let block = Window::OuTime { ou_time: 1.0 };
            let both = PredictorCorrector { block, predictor: part.clone(), correction, corrector: part };
            let parallel = both.sample(&problem, &mut score).unwrap();
            assert_eq!(bits(&parallel.samples), bits(&reference.samples), "{both:?}");
            assert_eq!(parallel.path, reference.path);
        }
    }
    // and correction does something
    let plain = Sequential.sample(&problem, &mut score).unwrap();
    assert_ne!(bits(&plain.samples), bits(&reference.samples));
    let blocks = reference.report.corrector_rounds / correction.steps;
    assert_eq!(reference.report.rounds, 40 + 6 * blocks);
    assert!(blocks >= 5);
}

/// Few first-order ODE steps leave the wrong spread; the corrector mends it at the same number of predictor steps.
#[test]
fn correction_brings_the_law_closer_to_the_target() {
    let target = Mixture::new(vec![1.0], Array2::from_elem((1, 64), 0.5), vec![0.3]).unwrap();
    let level = Level::at(&Ou, 0.05);
    let variance = level.alpha.powi(2) * 0.09 + level.sigma.powi(2);
    let error = |x: &Array2<f32>| {
        let centred = x.mapv(|x| f64::from(x) - level.alpha * 0.5);
        (centred.mapv(|x| x * x).mean().unwrap() / variance - 1.0).abs()
    };
    for steps in [8, 16, 32] {
        let problem = problem(steps, (600, 64));
        let plain = Sequential.sample(&problem, &mut target.clone()).unwrap();
        let correction = Correction { friction: 2.0, step: 0.05, steps: 60 };
        let corrected = PredictorCorrector::<Picard>::new(correction).sample(&problem, &mut target.clone()).unwrap();
        let (before, after) = (error(&plain.samples), error(&corrected.samples));
        println!("{steps} steps: relative error of the variance {before:.3} -> {after:.3}");
        assert!(after < 0.6 * before, "{steps} steps: {before} -> {after}");
    }
}

#[test]
fn rounds_and_samples_are_told_as_those_of_one_run() {
    struct Watch(Vec<(usize, usize)>, Vec<u32>);
    impl Observer<Cpu<f32>> for Watch {
        fn on_round(&mut self, round: &Round<'_>) -> ControlFlow<()> {
            self.0.push((round.round, round.finished[0]));
            ControlFlow::Continue(())
        }
        fn on_sample(&mut self, _: usize, id: u32, state: ndarray::ArrayView2<'_, f32>) {
            assert_eq!(state.dim(), (1, 5));
            self.1.push(id);
        }
    }
    let mut watch = Watch(vec![], vec![]);
    let problem = problem(30, (2, 5)).with_ids(vec![4, 8]);
    let sampler = PredictorCorrector::<Picard>::new(Correction::default());
    let solution = sampler.run(&problem, &mut mixture(3, 5, 0.3, 0.91, 2), &mut watch).unwrap();
    let rounds: Vec<usize> = watch.0.iter().map(|r| r.0).collect();
    assert_eq!(rounds, (1..=solution.report.rounds).collect::<Vec<_>>());
    assert!(watch.0.windows(2).all(|w| w[0].1 <= w[1].1));
    assert_eq!(watch.0.last().unwrap().1, 30);
    assert_eq!(watch.1, [4, 8]);
}
