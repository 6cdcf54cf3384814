//! The paper's growth of rounds with the dimension, and pinned counters.
//!
//! Setting of the published table: score form, blocks of OU length 1 with a barrier, each swept until every node and
//! sample changes by at most 1e-2 (rms), t_max = ln d + 4, t_min = 0.01, steps e min(1, t); eight equal modes of std
//! 0.3, means N(0, 0.91) a coordinate; 2 samples.

mod common;

use common::mixture;
use piadm::grid::Resolution;
use piadm::{Grid, Ou, Picard, Problem, Report, Sampler, Scheme, Window, nodes::Form, sampler::Policy};

fn run(dim: usize, stochasticity: f64, steps: usize, sampler: &Picard, seed: u64) -> Report {
    let t_max = (dim as f64).ln() + 4.0;
    let grid = Grid::piadm(1.0, Resolution::Steps(steps)).between(t_max, 0.01);
    let scheme = Scheme::Exponential { form: Form::Score, stochasticity };
    let problem = Problem::new(Ou, grid, scheme).samples(2).shape([dim]).seed(seed);
    sampler.sample(&problem, &mut mixture(8, dim, 0.3, 0.91, seed)).unwrap().report
}

fn piadm() -> Picard {
    Picard::piadm(1.0, None)
}

#[test]
fn rounds_grow_like_the_logarithm_of_the_dimension() {
    for seed in [0, 1] {
        // J = 0, sequential depth of the SDE: 35, 57, 72 for d = 4, 64, 1024; of the ODE 17, 23, 27
        for (dim, sde_steps, sde, ode) in [(4, 64, 35.0, 17.0), (64, 1024, 57.0, 23.0), (1024, 4096, 72.0, 27.0)] {
            let report = run(dim, 1.0, sde_steps, &piadm(), seed);
            let ratio = report.rounds as f64 / sde;
            println!("d = {dim}: SDE {} rounds {:?}", report.rounds, report.sweeps);
            assert!((0.8..=1.2).contains(&ratio), "SDE, d = {dim}, seed {seed}: {} rounds", report.rounds);
            let ode_steps = (16.0 * (dim as f64).sqrt()) as usize;
            let report = run(dim, 0.0, ode_steps, &piadm(), seed);
            println!("d = {dim}: ODE {} rounds {:?}", report.rounds, report.sweeps);
            let ratio = report.rounds as f64 / ode;
            assert!((0.8..=1.2).contains(&ratio), "ODE, d = {dim}, seed {seed}: {} rounds", report.rounds);
        }
    }
}

#[test]
fn a_thousand_times_the_dimension_takes_less_than_three_times_the_rounds() {
    let low = run(4, 1.0, 64, &piadm(), 0);
    let high = run(4096, 1.0, 4096, &piadm(), 0);
    println!("rounds {} -> {}", low.rounds, high.rounds);
    assert!((high.rounds as f64) < 2.6 * low.rounds as f64);
    // blocks grow with log d, sweeps per block hardly do
    assert_eq!((low.sweeps.len(), high.sweeps.len()), (6, 13));
    let mean = |r: &Report| r.sweeps.iter().sum::<usize>() as f64 / r.sweeps.len() as f64;
    assert!(mean(&high) < 1.35 * mean(&low));
}

/// The secant takes a fifth of the rounds of J = 0 (81), with the paper's barrier (32 are allowed), and fewer without
/// it.
#[test]
fn measured_slopes_take_a_fifth_of_the_rounds() {
    let blocks = Picard::default().policy(Policy::Blocks).window(Window::OuTime { ou_time: 1.0 });
    let sliding = blocks.clone().policy(Policy::Sliding);
    let median = |sampler: &Picard| {
        let mut rounds: Vec<usize> = (0..5).map(|seed| run(4096, 1.0, 4096, sampler, seed).rounds).collect();
        println!("d = 4096, {:?}: {rounds:?}", sampler.policy);
        rounds.sort_unstable();
        rounds[2]
    };
    let (blocks, sliding) = (median(&blocks), median(&sliding));
    assert!(blocks <= 24 && sliding < blocks, "{blocks} rounds with a barrier, {sliding} without");
}

/// Rounds and rows are part of the contract: a change of either is a change of the algorithm.
#[test]
fn counters() {
    let cases: [(&str, Picard, f64); 5] = [
        ("piadm", piadm(), 1.0),
        ("piadm ODE", piadm(), 0.0),
        ("fixed depth", Picard::piadm(1.0, Some(5)), 1.0),
        ("paradigms", Picard::paradigms(32, 0.1), 1.0),
        ("picard", Picard::default(), 1.0),
    ];
    let counted: Vec<String> = cases
        .iter()
        .map(|(name, sampler, stochasticity)| {
            let r = run(16, *stochasticity, 256, sampler, 3);
            format!("{name}: {} rounds, {} calls, {} rows", r.rounds, r.score_calls, r.score_rows)
        })
        .collect();
    assert_eq!(
        counted,
        [
            "piadm: 47 rounds, 47 calls, 3694 rows",
            "piadm ODE: 21 rounds, 21 calls, 1974 rows",
            "fixed depth: 35 rounds, 35 calls, 2420 rows",
            "paradigms: 24 rounds, 24 calls, 1474 rows",
            "picard: 9 rounds, 9 calls, 996 rows",
        ]
    );
}
