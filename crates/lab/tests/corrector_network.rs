//! PIADM-ODE on the trained network of the `fashion` example: what the corrector does to the law of the samples.
//!
//! Laws are compared, not paths: energy and diagonal Frechet distance to samples of the same network from a fine grid,
//! once of the images and once of their edges (differences of neighbouring pixels, which do not see the brightness that
//! scatters most from image to image).

use ndarray::{Array2, Axis, s};
use networks::{Network, load};
use piadm::grid::Resolution;
use piadm::quality::{Estimate, energy_distance, frechet_diagonal};
use piadm::{
    Cpu, Grid, Ou, Picard, Problem, Sampler, Scheme, Sequential, Window,
    nodes::{Correction, Form},
};

const SIDE: usize = 28;
/// Where everything ends.
const T_MIN: f64 = 0.01;
/// 20 steps of 0.1: twice as long as the default.
fn long() -> Correction {
    Correction::default().steps(20)
}

type Samples = Array2<f32>;

fn network() -> Box<dyn Network> {
    load("mlp", None).unwrap()
}

/// PIADM-ODE's predictor.
fn predictor() -> Scheme {
    Scheme::Exponential { form: Form::Score, stochasticity: 0.0 }
}

fn paper(steps: usize) -> Grid {
    Grid::piadm(1.0, Resolution::Steps(steps)).between(8.0, T_MIN)
}

fn log_snr(steps: usize) -> Grid {
    Grid::log_snr(steps).between(8.0, T_MIN)
}

/// Two independent sets of `n` from second-order schemes on a fine grid.
fn target(scheme: Scheme, steps: usize, n: usize, net: &mut dyn Network) -> [Samples; 2] {
    let problem = Problem::new(Ou, log_snr(steps), scheme).samples(2 * n).shape([SIDE * SIDE]).seed(1000);
    let x = Sequential.sample(&problem, net).unwrap().samples;
    [x.slice(s![..n, ..]).to_owned(), x.slice(s![n.., ..]).to_owned()]
}

fn sde() -> Scheme {
    Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: false }
}

fn problem(grid: &Grid, correction: Option<Correction>, n: usize) -> Problem<Cpu<f32>> {
    let problem = Problem::new(Ou, grid.clone(), predictor()).samples(n).shape([SIDE * SIDE]).seed(5);
    match correction {
        Some(correction) => problem.correction(Window::OuTime { ou_time: 1.0 }, correction),
        None => problem,
    }
}

/// Samples of a run, and its evaluations of the network for a sample. Sequential: the trajectory that the parallel run
/// converges to.
fn run(grid: &Grid, correction: Option<Correction>, n: usize, net: &mut dyn Network) -> (Samples, usize) {
    let solution = Sequential.sample(&problem(grid, correction, n), net).unwrap();
    (solution.samples, solution.report.score_rows / n)
}

/// Rounds of the parallel run of 8 samples at the default tolerance, with barriers at the ends of blocks and of
/// corrections.
fn rounds(grid: &Grid, correction: Option<Correction>, net: &mut dyn Network) -> usize {
    let sampler = match correction {
        Some(_) => Picard::piadm(1.0, None).window(Window::Marked { marks: 1 }),
        None => Picard::piadm(1.0, None),
    };
    sampler.sample(&problem(grid, correction, 8), net).unwrap().report.rounds
}

/// Differences of horizontal neighbours.
fn edges(x: &Samples) -> Samples {
    Array2::from_shape_fn((x.nrows(), SIDE * (SIDE - 1)), |(i, j)| {
        let at = j / (SIDE - 1) * SIDE + j % (SIDE - 1);
        x[(i, at + 1)] - x[(i, at)]
    })
}

const STATISTICS: [&str; 4] = ["energy", "Frechet", "energy of edges", "Frechet of edges"];

fn distances(x: &Samples, y: &Samples) -> [Estimate; 4] {
    let (a, b) = (edges(x), edges(y));
    [
        energy_distance(x.view(), y.view()).unwrap(),
        frechet_diagonal(x.view(), y.view()).unwrap(),
        energy_distance(a.view(), b.view()).unwrap(),
        frechet_diagonal(a.view(), b.view()).unwrap(),
    ]
}

/// By how many standard errors `a` is farther than `b`. Both share their start and the reference, so their errors have
/// a common part: taken as independent, the number is too small rather than too large.
fn gain(a: &Estimate, b: &Estimate) -> f64 {
    (a.value - b.value) / a.error.hypot(b.error)
}

fn print(name: &str, rounds: usize, rows: usize, found: &[Estimate; 4]) {
    let cells: String = found.iter().map(|e| format!(" {:7.3} ± {:.3} |", e.value, e.error)).collect();
    println!("| {name:<32} | {rounds:>4} | {rows:>4} |{cells}");
}

#[test]
fn correction_brings_the_samples_of_a_network_closer_to_its_law() {
    let mut net = network();
    let n = 1024;
    let [reference, other] = target(sde(), 80, n, net.as_mut());
    // the data have variance 1 over all pixels and images, about 0.65 from image to image
    let variance = other.var_axis(Axis(0), 0.0).mean().unwrap();
    assert!((0.55..0.75).contains(&variance), "{variance}");
    let floor = distances(&other, &reference);
    print("two halves of the reference", 0, 80, &floor);
    let (x, rows) = run(&paper(8), None, n, net.as_mut());
    let plain = distances(&x, &reference);
    print("8 steps", 0, rows, &plain);
    let (x, spent) = run(&paper(8), Some(long()), n, net.as_mut());
    let after = distances(&x, &reference);
    print("8 steps, corrected", 0, spent, &after);
    assert_eq!((rows, spent), (8, 8 + 8 * long().steps));
    let (x, rows) = run(&paper(spent), None, n, net.as_mut());
    let finer = distances(&x, &reference);
    print("as many evaluations, uncorrected", 0, rows, &finer);
    for (i, name) in STATISTICS.iter().enumerate() {
        // the measure itself is sound: equal laws are not told apart
        assert!(floor[i].value < 4.0 * floor[i].error, "{name}: {}", floor[i]);
        let (better, finer) = (gain(&plain[i], &after[i]), gain(&after[i], &finer[i]));
        println!("{name}: closer by {better:.1} standard errors; evaluations as predictor steps {finer:.1} more");
        // the brightness of whole images hides most of the effect from their energy distance
        let edges = i >= 2;
        assert!(better > if i == 0 { 2.0 } else { 4.0 }, "{name}: {} -> {}", plain[i], after[i]);
        // the corrector is no economy: the same evaluations as predictor steps do more
        assert!(!edges || finer > 4.0, "{name}: {finer} standard errors");
    }
}

/// The first table of results/corrector.md.
#[test]
#[ignore = "prints a table, takes minutes: cargo test --release --test corrector_network -- --ignored --nocapture"]
fn table() {
    let mut net = network();
    let n = 1536;
    let [ode, other_ode] = target(Scheme::DpmSolverPp2M { lower_order_final: false }, 120, n, net.as_mut());
    let [sde, other_sde] = target(sde(), 240, n, net.as_mut());
    println!("{n} samples of each");
    println!("| to | grid, steps | rounds | evaluations | {} |", STATISTICS.join(" | "));
    println!("|---|---|---|---|---|---|---|---|");
    print("ODE | its other half", 0, 120, &distances(&other_ode, &ode));
    print("SDE | its other half", 0, 240, &distances(&other_sde, &sde));
    print("SDE | half of the ODE's", 0, 120, &distances(&other_ode, &sde));
    for (grid, name) in [(paper as fn(usize) -> Grid, "paper"), (log_snr, "log-SNR")] {
        for steps in [8, 16, 32, 176] {
            let mut plain: Option<[[Estimate; 4]; 2]> = None;
            for (label, correction) in
                [("", None), (", corrected", Some(Correction::default())), (", twice as long", Some(long()))]
            {
                if steps == 176 && correction.is_some() {
                    continue;
                }
                let rounds = rounds(&grid(steps), correction, net.as_mut());
                let (x, rows) = run(&grid(steps), correction, n, net.as_mut());
                let found = [distances(&x, &ode), distances(&x, &sde)];
                for (i, law) in ["ODE", "SDE"].into_iter().enumerate() {
                    print(&format!("{law} | {name} {steps}{label}"), rounds, rows, &found[i]);
                }
                let Some(plain) = &plain else {
                    plain = Some(found);
                    continue;
                };
                let gains = plain.iter().flatten().zip(found.iter().flatten()).map(|(a, b)| gain(a, b));
                let gains: Vec<String> = gains.map(|g| format!("{g:.1}")).collect();
                println!("    closer than uncorrected by {} standard errors", gains.join(", "));
            }
        }
    }
}
