//! What a run notes per node and sample, beside its arrays, and how far the estimate of memory is from what is taken.

use ndarray::{ArrayView2, ArrayViewMut2};
use peak_alloc::PeakAlloc;
use piadm::{
    Acceptance, Cpu, Grid, Ou, Picard, Prediction, Problem, Rows, Sampler, Scheme, ScoreFn, Window,
    sampler::{Linearisation, on_round},
    score_fn,
};
use std::ops::ControlFlow;
use std::sync::Mutex;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Peaks are those of the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Cheap, and not affine.
fn cubic() -> impl ScoreFn<Cpu<f32>> {
    score_fn(Prediction::Data, |x: ArrayView2<'_, f32>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, f32>| {
        out.zip_mut_with(&x, |out, x| *out = 0.4 * x - 0.05 * x * x * x);
        Ok(())
    })
}

fn problem(samples: usize, dim: usize) -> Problem<Cpu<f32>> {
    let grid = Grid::log_snr(100).between(6.0, 0.02);
    Problem::on(Cpu::new(), Ou, grid, Scheme::default()).samples(samples).shape([dim]).seed(1)
}

/// The most bytes that three rounds take.
fn peak(problem: &Problem<Cpu<f32>>, sampler: &Picard) -> usize {
    let mut score = cubic();
    let mut three = on_round(|round| if round.round < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) });
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    sampler.run(problem, &mut score, &mut three).unwrap();
    MEMORY.peak_usage() - before
}

/// Arrays of a run: states, normals, points and outputs of two rounds, starts and samples.
fn arrays(samples: usize, dim: usize, window: usize, secant: bool) -> usize {
    let evaluated = window * if secant { 4 } else { 2 };
    (2 * (window + 1) + evaluated + 2) * samples * dim * size_of::<f32>()
}

#[test]
fn at_most_150_bytes_per_node_and_sample() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    for (linearisation, secant) in [(Linearisation::Secant, true), (Linearisation::FrozenScore, false)] {
        let (samples, dim, window) = (20_000, 2, 60);
        let sampler = Picard::default().linearisation(linearisation).window(Window::Steps(window));
        let taken = peak(&problem(samples, dim), &sampler) - arrays(samples, dim, window, secant);
        let each = taken as f64 / (samples * window) as f64;
        println!("{linearisation:?}: {each:.1} bytes per node and sample");
        assert!(each <= 150.0, "{each}");
    }
}

#[test]
fn the_estimate_is_near_what_is_taken() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let settings = [
        (50_000, 2, 60, Linearisation::Secant),
        (5_000, 2, 60, Linearisation::FrozenScore),
        (1, 2, 90, Linearisation::Secant),
        (200, 64, 32, Linearisation::Secant),
        (10, 1_000, 50, Linearisation::Secant),
        (3, 10_000, 20, Linearisation::Identity),
        (1, 100_000, 16, Linearisation::Secant),
    ];
    for (samples, dim, window, linearisation) in settings {
        let sampler = Picard::default().linearisation(linearisation).window(Window::Steps(window));
        for sampler in [sampler.clone(), sampler.row_budget(3 * window)] {
            let problem = problem(samples, dim);
            let estimate = problem.memory_estimate(&sampler, &Prediction::Data).unwrap();
            let taken = peak(&problem, &sampler);
            let ratio = estimate as f64 / taken as f64;
            let budget = sampler.row_budget;
            println!("{samples} x {dim}, window {window}, {budget:?}: {taken} bytes taken, estimate {ratio:.3} of it");
            assert!((0.9..1.1).contains(&ratio), "{samples} x {dim}: {ratio}");
        }
    }
}

#[test]
fn what_a_run_refuses_has_no_estimate() {
    let estimate = |samples, dim| problem(samples, dim).memory_estimate(&Picard::default(), &Prediction::Data);
    for (samples, dim) in [(0, 2), (3, 0), (usize::MAX, 2), (1 << 25, 2), (2, usize::MAX), (usize::MAX, usize::MAX)] {
        let run = Picard::default().sample(&problem(samples, dim), &mut cubic());
        let (error, run) = (estimate(samples, dim).unwrap_err(), run.map(|_| ()).unwrap_err());
        assert_eq!(error.to_string(), run.to_string());
    }
    let negative = Picard::default().acceptance(Acceptance::Error(-1.0));
    assert!(problem(2, 2).memory_estimate(&negative, &Prediction::Data).is_err());
}
