//! The paper's recipe by its documented defaults.

mod common;

use common::mixture;
use piadm::{
    Cpu, NoiseSchedule, Ou, Piadm, Picard, Problem, Sampler, Sequential, VpLinear, Window,
    nodes::Correction,
    sampler::{Dynamics, Linearisation, Policy},
};
use std::sync::Arc;

/// At the default depth the block iteration has converged far below the accuracy that was asked for.
#[test]
fn the_default_depth_is_enough() {
    for dynamics in [Dynamics::Sde, Dynamics::Ode] {
        for (dim, delta) in [(4, 0.3), (4, 0.01), (64, 0.1), (256, 0.1)] {
            let recipe = Piadm::new(dim, delta, dynamics).recipe(&Ou, None).unwrap();
            let problem =
                Problem::on(Cpu::<f64>::new(), Ou, recipe.grid, recipe.scheme).samples(4).shape([dim]).seed(2);
            let mut score = mixture(8, dim, 0.3, 0.91, 4);
            let sequential = Sequential.sample(&problem, &mut score).unwrap();
            let parallel = recipe.sampler.sample(&problem, &mut score).unwrap();
            let square = (&parallel.samples - &sequential.samples).mapv(|e| e * e);
            let worst = square.rows().into_iter().map(|r| r.mean().unwrap().sqrt()).fold(0.0, f64::max);
            let (steps, rounds) = (sequential.report.rounds, parallel.report.rounds);
            println!("{dynamics:?} d = {dim}, delta = {delta}: {steps} steps, {rounds} rounds, error {worst:.1e}");
            assert!(worst < 0.1 * delta);
            assert!(dim < 64 || 2 * rounds < steps);
        }
    }
}

/// All times are Ornstein-Uhlenbeck times: another clock gives the same trajectories.
#[test]
fn every_vp_schedule_gives_the_same_samples() {
    let piadm = Piadm::new(8, 0.1, Dynamics::Sde);
    let samples = |schedule: Arc<dyn NoiseSchedule>| {
        let recipe = piadm.recipe(&schedule, None).unwrap();
        let problem =
            Problem::on(Cpu::<f64>::new(), schedule, recipe.grid, recipe.scheme).samples(3).shape([8]).seed(2);
        let solution = recipe.sampler.sample(&problem, &mut mixture(5, 8, 0.3, 0.91, 4)).unwrap();
        (solution.samples, solution.report.rounds, solution.report.sweeps)
    };
    let (ou, vp) = (samples(Arc::new(Ou)), samples(Arc::new(VpLinear::default())));
    assert!((&ou.0 - &vp.0).iter().all(|e| e.abs() < 1e-9));
    assert_eq!((ou.1, ou.2), (vp.1, vp.2));
}

#[test]
fn every_parameter_can_be_given() {
    let piadm = Piadm::new(100, 0.1, Dynamics::Ode).t_max(5.0).t_min(0.02).h(0.5).eps(0.05).depth(7);
    let recipe = piadm.recipe(&Ou, None).unwrap();
    let times = recipe.grid.times(&Ou).unwrap();
    assert_eq!((times[0], times[times.len() - 1]), (5.0, 0.02));
    // steps eps min(1, t), and a block end every 0.5
    for pair in times.windows(2) {
        assert!(pair[0] - pair[1] <= 0.05 * pair[0].min(1.0) * (1.0 + 1e-9));
    }
    for block in 0..10 {
        let end = 5.0 - 0.5 * f64::from(block);
        assert!(times.iter().any(|t| (t - end).abs() < 1e-9), "no grid point at {end}");
    }
    assert_eq!(recipe.sampler, Picard::piadm(0.5, Some(7)));
    assert_eq!((recipe.sampler.policy, recipe.sampler.linearisation), (Policy::Blocks, Linearisation::FrozenScore));
    assert_eq!(recipe.sampler.window, Window::OuTime { ou_time: 0.5 });
    let steps = piadm.steps(123).eps(None).recipe(&Ou, None).unwrap();
    assert_eq!(steps.grid.times(&Ou).unwrap().len() - 1, 123);
}

/// Samples stay the same from release to release.
#[test]
fn values_do_not_change() {
    let recipe = Piadm::new(2, 0.1, Dynamics::Sde).steps(60).recipe(&Ou, None).unwrap();
    let problem = Problem::new(Ou, recipe.grid, recipe.scheme).samples(3).shape([2]).seed(2024);
    let means = ndarray::array![[1.0, 0.0], [-0.5, 0.8]];
    let mut score = piadm::score::Mixture::new(vec![0.4, 0.6], means, vec![0.2, 0.3]).unwrap();
    let solution = Sequential.sample(&problem, &mut score).unwrap();
    let expected: [f32; 6] = [-1.0788352, 1.0432413, 1.0238398, -0.2673162, 1.2591238, -0.45067677];
    assert_eq!(solution.samples.as_slice().unwrap(), expected);
}

/// PIADM-ODE: at the default depth the corrected run, too, is the sequential one.
#[test]
fn the_corrected_recipe_converges() {
    let recipe = Piadm::new(16, 0.1, Dynamics::Ode).recipe(&Ou, None).unwrap();
    let (block, correction) = recipe.correction.unwrap();
    assert_eq!((block, correction), (recipe.sampler.window, Correction::for_dim(16)));
    let problem = Problem::on(Cpu::<f64>::new(), Ou, recipe.grid, recipe.scheme).samples(4).shape([16]).seed(2);
    let problem = problem.correction(block, correction);
    let mut score = mixture(8, 16, 0.3, 0.91, 4);
    let sequential = Sequential.sample(&problem, &mut score).unwrap();
    let depth = recipe.sampler.sample(&problem, &mut score).unwrap().report.sweeps[0];
    // the published barriers: at the ends of blocks and of corrections
    let published = recipe.sampler.window(Window::Marked { marks: 1 });
    let parallel = published.sample(&problem, &mut score).unwrap();
    let worst = (&parallel.samples - &sequential.samples).fold(0.0, |a: f64, e| a.max(e.abs()));
    println!("{} rounds for {}, error {worst:.1e}", parallel.report.rounds, sequential.report.rounds);
    assert!(worst < 1e-2);
    assert_eq!((parallel.report.rounds, sequential.report.rounds), (112, 150));
    assert!(parallel.report.sweeps.iter().all(|sweeps| *sweeps <= depth), "{:?}", parallel.report.sweeps);
    assert!(Piadm::new(16, 0.1, Dynamics::Sde).recipe(&Ou, None).unwrap().correction.is_none());
}
