//! Memory is bounded by the window, not by the number of steps.

mod common;

use common::two_modes;
use peak_alloc::PeakAlloc;
use piadm::{
    Cpu, Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme, Sequential, Window,
    sampler::{Linearisation, Policy, Probes},
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const SAMPLES: usize = 3;
const DIM: usize = 3000;

fn problem(steps: usize) -> Problem<Cpu<f32>> {
    of_batch(steps, SAMPLES, Scheme::default())
}

fn of_batch(steps: usize, samples: usize, scheme: Scheme) -> Problem<Cpu<f32>> {
    let grid = Grid::log_snr(steps).between(8.0, 0.01);
    Problem::new(Ou, grid, scheme).samples(samples).shape([DIM]).seed(1)
}

/// The most bytes a run holds beyond what was there before.
fn peak(sampler: &dyn Sampler<Cpu<f32>>, problem: &Problem<Cpu<f32>>) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    sampler.sample(problem, &mut two_modes::<f32>(Prediction::Score)).unwrap();
    MEMORY.peak_usage() - before
}

/// Estimates count arrays, starts and samples, and what is noted of them.
fn assert_estimate(sampler: &Picard, problem: &Problem<Cpu<f32>>) {
    let estimate = problem.memory_estimate(sampler, &Prediction::Score).unwrap();
    let measured = peak(sampler, problem);
    let ratio = measured as f64 / estimate as f64;
    println!("estimate {estimate}, measured {measured}");
    assert!((0.97..1.03).contains(&ratio), "estimate {estimate}, measured {measured} for {sampler:?}");
}

// one test, so that nothing else allocates meanwhile
#[test]
fn memory_follows_the_window() {
    let sampler = Picard::default().window(Window::Steps(16));
    for sampler in [&sampler as &dyn Sampler<Cpu<f32>>, &Picard::paradigms(16, 0.1), &Sequential] {
        let (few, many) = (peak(sampler, &problem(100)), peak(sampler, &problem(2000)));
        // the list of nodes is all that grows: about a hundred bytes per step, against 36,000 for a state
        assert!(many < few + 1900 * 400, "{few} bytes at 100 steps, {many} at 2000");
    }
    let estimate = problem(100).memory_estimate(&sampler, &Prediction::Score).unwrap();
    let longer = problem(2000).memory_estimate(&sampler, &Prediction::Score).unwrap();
    assert!(estimate < longer && longer < estimate + 1900 * 200, "{estimate} bytes at 100 steps, {longer} at 2000");
    let short = |policy| Picard::default().policy(policy).window(Window::Steps(4));
    for sampler in [
        sampler.clone(),
        short(Policy::Wavefront { blocks: 3 }),
        short(Policy::Sliding).anderson(1),
        short(Policy::Blocks).anderson(6),
        Picard::default().linearisation(Linearisation::FrozenScore).window(Window::Steps(1)),
    ] {
        assert_estimate(&sampler, &problem(40));
        assert_estimate(&sampler, &of_batch(40, SAMPLES, Scheme::Heun {}));
        // a long queue through a few windows: where samples start and what they become is most of it
        let queue = sampler.row_budget(24);
        assert_estimate(&queue, &of_batch(20, 200, Scheme::default()));
    }
    let probed = sampler.clone().probes(Probes::default());
    assert_estimate(&probed, &problem(40));
    assert_estimate(&probed.row_budget(50), &of_batch(20, 200, Scheme::default()));
    let lawful = Picard::exact_in_law().window(16);
    assert_estimate(&lawful, &problem(40));
    assert_estimate(&lawful.row_budget(24), &of_batch(20, 200, Scheme::default()));
    // arrays of window x samples x dim: states, noise, points and outputs of two rounds, and of one where no slopes are
    // measured
    assert!(estimate < 7 * 16 * SAMPLES * DIM * 4);
    let sampler = sampler.linearisation(Linearisation::FrozenScore);
    let less = problem(100).memory_estimate(&sampler, &Prediction::Score).unwrap();
    // points and outputs of a round, and a little for the slopes
    let arrays = 2 * 16 * SAMPLES * DIM * 4;
    assert!((arrays..arrays + arrays / 50).contains(&(estimate - less)), "{estimate} - {less} bytes for {arrays}");
}
