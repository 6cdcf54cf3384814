//! PIADM-ODE with its corrector as one list, on the trained network of `fashion`: blocks with the published barrier
//! against a window that slides across the ends of blocks and corrections, at equal path error.

use networks::{Network, load};
use piadm::grid::Resolution;
use piadm::{
    Acceptance, Cpu, Grid, Ou, Picard, Problem, Sampler, Scheme, Sequential, Solution, Window,
    nodes::{Correction, Form},
};

const SIDE: usize = 28;
const SAMPLES: usize = 8;
const T_MIN: f64 = 0.01;

/// A row of the second table of results/corrector.md.
struct Setting {
    name: &'static str,
    grid: Grid,
    correction: Correction,
}

fn settings() -> Vec<Setting> {
    let paper = |steps| Grid::piadm(1.0, Resolution::Steps(steps)).between(8.0, T_MIN);
    let log_snr = |steps| Grid::log_snr(steps).between(8.0, T_MIN);
    let long = Correction::default().friction(2.0).step(0.1).steps(20);
    let grids = [
        ("the paper's, 8", paper(8)),
        ("the paper's, 16", paper(16)),
        ("the paper's, 32", paper(32)),
        ("log-SNR, 8", log_snr(8)),
        ("log-SNR, 16", log_snr(16)),
    ];
    let corrected = |(name, grid): (&'static str, Grid)| {
        [Correction::default(), long].map(|correction| Setting { name, grid: grid.clone(), correction })
    };
    grids.into_iter().flat_map(corrected).collect()
}

/// The published iteration: blocks of the scheme and corrections one after another, each until every change is at most
/// 1e-2.
fn barrier() -> Picard {
    Picard::piadm(1.0, None).window(Window::Marked { marks: 1 })
}

fn sliding(nodes: usize, error: f64) -> Picard {
    Picard::default().window(Window::Nodes { nodes }).acceptance(Acceptance::Error(error))
}

/// Median over samples of the rms difference to the sequential samples.
fn median_error(found: &Solution<Cpu<f32>>, sequential: &Solution<Cpu<f32>>) -> f64 {
    let rows = found.samples.outer_iter().zip(sequential.samples.outer_iter());
    let rms = |(a, b): (ndarray::ArrayView1<'_, f32>, ndarray::ArrayView1<'_, f32>)| {
        let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum();
        (sum / a.len() as f64).sqrt()
    };
    let mut errors: Vec<f64> = rows.map(rms).collect();
    errors.sort_by(f64::total_cmp);
    0.5 * (errors[(errors.len() - 1) / 2] + errors[errors.len() / 2])
}

/// Rounds and rows of both at the error of the barrier, (barrier, sliding), for the widest window that takes at most
/// 1.5 times its rows.
fn compare(setting: &Setting, windows: &[usize], net: &mut dyn Network) -> [(usize, usize); 2] {
    let Setting { name, grid, correction } = setting;
    let scheme = Scheme::Exponential { form: Form::Score, stochasticity: 0.0 };
    let problem = Problem::new(Ou, grid.clone(), scheme)
        .samples(SAMPLES)
        .shape([SIDE * SIDE])
        .seed(5)
        .correction(Window::OuTime { ou_time: 1.0 }, *correction);
    let sequential = Sequential.sample(&problem, net).unwrap();
    let blocks = barrier().sample(&problem, net).unwrap();
    let target = median_error(&blocks, &sequential);
    for &nodes in windows {
        // the loosest of tolerances that fall by half an octave
        let tolerances = (0..30).map(|i| 0.3 * 0.5f64.powf(0.5 * f64::from(i)));
        let mut runs = tolerances.map(|error| (error, sliding(nodes, error).sample(&problem, net).unwrap()));
        let loosest = runs.find(|(_, found)| median_error(found, &sequential) <= target);
        let (tolerance, window) = loosest.expect("a tolerance that keeps the error");
        let (a, b) = (&blocks.report, &window.report);
        let mean = b.sample_rounds.iter().sum::<usize>() as f64 / SAMPLES as f64;
        let [rounds, rows] = [(b.rounds, a.rounds), (b.score_rows, a.score_rows)].map(|(b, a)| b as f64 / a as f64);
        let error = median_error(&window, &sequential);
        println!(
            "| {name} | {} | {} | {} | {target:.1e} | {nodes} | {} ({mean:.1}) | {rounds:.2} | {rows:.2} | {error:.1e} | {tolerance:.1e} |",
            correction.steps, sequential.report.rounds, a.rounds, b.rounds,
        );
        if rows <= 1.5 {
            return [(a.rounds, a.score_rows), (b.rounds, b.score_rows)];
        }
    }
    panic!("every window takes more than 1.5 times the rows");
}

#[test]
fn a_sliding_window_needs_fewer_rounds_than_blocks() {
    let mut net = load("mlp", None).unwrap();
    let [(blocks, _), (window, _)] = compare(&settings()[0], &[32], net.as_mut());
    assert!(2 * window < blocks + 2, "{window} of {blocks} rounds");
}

/// The second table of results/corrector.md.
#[test]
#[ignore = "prints a table: cargo test --release --test corrector_rounds -- --ignored --nocapture"]
fn table() {
    let mut net = load("mlp", None).unwrap();
    println!(
        "| grid, steps | corrector steps | sequential | blocks | error | window | rounds (mean) | of the blocks' | rows | error | tolerance |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let all = settings().into_iter().map(|setting| compare(&setting, &[64, 48, 32, 24, 16], net.as_mut()));
    let all: Vec<_> = all.collect();
    let ratio = |of: fn(&(usize, usize)) -> usize| {
        let total = |i: usize| all.iter().map(|found| of(&found[i])).sum::<usize>() as f64;
        total(1) / total(0)
    };
    println!("the last row of each setting: {:.2} of the rounds, {:.2} of the rows", ratio(|n| n.0), ratio(|n| n.1));
}
