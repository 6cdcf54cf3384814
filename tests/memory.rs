//! Memory is bounded by the window, not by the number of steps.

mod common;

use common::two_modes;
use peak_alloc::PeakAlloc;
use piadm::{Cpu, Linearisation, Ou, Picard, Prediction, Problem, Sampler, Scheme, Sequential, TimeGrid, Window};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const SAMPLES: usize = 3;
const DIM: usize = 3000;

fn problem<'a>(steps: usize) -> Problem<'a, Cpu<f32>> {
    let grid = TimeGrid::log_snr(&Ou, 8.0, 0.01, steps).unwrap();
    Problem::new(Cpu::<f32>::new(), &Ou, grid, Scheme::default(), (SAMPLES, DIM)).seed(1)
}

/// The most bytes a run holds beyond what was there before.
fn peak(sampler: &dyn Sampler<Cpu<f32>>, steps: usize) -> usize {
    let problem = problem(steps);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    sampler.sample(&problem, &mut two_modes::<f32>(Prediction::Score)).unwrap();
    MEMORY.peak_usage() - before
}

// one test, so that nothing else allocates meanwhile
#[test]
fn memory_follows_the_window() {
    let sampler = Picard { window: Window::Steps(16), ..Picard::default() };
    for sampler in [&sampler as &dyn Sampler<Cpu<f32>>, &Picard::paradigms(16, 0.1), &Sequential] {
        let (few, many) = (peak(sampler, 100), peak(sampler, 2000));
        // the list of nodes is all that grows: about a hundred bytes a step, against 36,000 for a state
        assert!(many < few + 1900 * 400, "{few} bytes at 100 steps, {many} at 2000");
    }
    let estimate = problem(100).memory_estimate(&sampler, Prediction::Score).unwrap();
    assert_eq!(estimate, problem(2000).memory_estimate(&sampler, Prediction::Score).unwrap());
    let measured = peak(&sampler, 100);
    let ratio = measured as f64 / estimate as f64;
    println!("estimate {estimate}, measured {measured}");
    assert!((0.9..1.25).contains(&ratio), "estimate {estimate}, measured {measured}");
    // arrays of window x samples x dim: states, noise, points and outputs of two rounds, and of one where no slopes are measured
    assert!(estimate < 7 * 16 * SAMPLES * DIM * 4);
    let sampler = Picard { linearisation: Linearisation::FrozenScore, ..sampler };
    let less = problem(100).memory_estimate(&sampler, Prediction::Score).unwrap();
    assert_eq!(estimate - less, 2 * 16 * SAMPLES * DIM * 4);
}
