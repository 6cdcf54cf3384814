//! What a tolerance means: the error of samples over the tolerance, for every iteration.
//!
//! `cargo test --release -p piadm-lab --test calibration -- --ignored --nocapture` prints more than
//! the table of results/calibration.md, which is that of the short test.

use lab::cli::name;
use lab::equal_error::Setting;
use lab::stats::{largest, median, row_errors};
use lab::subject::Subject;
use lab::table::table;
use piadm::sampler::{Dynamics, Linearisation, Probes};
use piadm::{Acceptance, Picard, Sampler, Sequential};

const TOLERANCES: [f64; 2] = [1e-2, 1e-3];

fn iterations() -> [(&'static str, Picard); 7] {
    let picard = Picard::default();
    let with = |linearisation| picard.clone().linearisation(linearisation);
    [
        ("secant", picard.clone()),
        ("secant, Anderson", picard.clone().anderson(3)),
        ("secant, probes", picard.clone().probes(Probes::default())),
        ("identity", with(Linearisation::Identity)),
        ("gaussian", with(Linearisation::Gaussian { variance: 0.25 })),
        ("frozen score", with(Linearisation::FrozenScore)),
        ("frozen score, Anderson", with(Linearisation::FrozenScore).anderson(3)),
    ]
}

/// Rounds, median error and worst error over the tolerance, medians over the seeds.
fn run(
    subject: &mut Subject,
    sampler: &Picard,
    tolerance: f64,
    (window, samples, seeds): (usize, usize, &[u64]),
    of: impl Fn(u64) -> Setting,
) -> [f64; 3] {
    let sampler = sampler.clone().window(window).acceptance(Acceptance::Error(tolerance));
    let runs: Vec<[f64; 3]> = seeds
        .iter()
        .map(|seed| {
            let problem = of(*seed).first_order(subject.dim).samples(samples);
            let sequential = Sequential.sample(&problem, subject.score.as_mut()).unwrap().samples;
            let run = sampler.sample(&problem, subject.score.as_mut()).unwrap();
            let errors = row_errors(run.samples.view(), sequential.view());
            let rounds = run.report.sample_rounds.iter().sum::<usize>() as f64 / samples as f64;
            [rounds, median(errors.iter().copied()) / tolerance, largest(errors) / tolerance]
        })
        .collect();
    [0, 1, 2].map(|column| median(runs.iter().map(|run| run[column])))
}

fn lines(problem: &str, steps: usize, sizes: (usize, usize, &[u64])) -> Vec<(Vec<String>, f64)> {
    let mut subject = Subject::load(problem).unwrap();
    let mut lines = Vec::new();
    for dynamics in [Dynamics::Sde, Dynamics::Ode] {
        for tolerance in TOLERANCES {
            for (iteration, sampler) in iterations() {
                let setting = |seed| Setting { dynamics, steps, samples: sizes.1, seed };
                let [rounds, error, worst] = run(&mut subject, &sampler, tolerance, sizes, setting);
                let task = format!("{problem}, {}, {steps} steps, window {}", name(dynamics), sizes.0);
                let cells = [iteration.into(), format!("{tolerance:.0e}"), format!("{rounds:.1}")];
                let errors = [format!("{error:.2}"), format!("{worst:.1}")];
                lines.push(([task].into_iter().chain(cells).chain(errors).collect(), error));
            }
        }
    }
    lines
}

fn show(lines: &[(Vec<String>, f64)]) {
    let titles = ["", "iteration", "tolerance", "rounds", "median error / tolerance", "worst"];
    println!("{}", table(titles, 2, lines.iter().map(|(cells, _)| cells.clone())));
}

#[test]
fn a_tolerance_means_the_same_error_for_every_iteration() {
    let lines = lines("mlp", 50, (8, 16, &[5]));
    show(&lines);
    assert!(lines.iter().all(|(_, error)| (0.25..=1.5).contains(error)));
}

/// More problems, steps and seeds.
#[test]
#[ignore = "measures, takes many minutes"]
fn the_table() {
    const SEEDS: [u64; 5] = [0, 1, 2, 3, 5];
    let mut all = lines("mlp", 50, (8, 16, &SEEDS));
    all.extend(lines("mlp", 500, (64, 16, &SEEDS)));
    all.extend(lines("unet", 500, (64, 6, &SEEDS[..2])));
    show(&all);
}
