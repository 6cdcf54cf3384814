//! Error against sequential rounds: few steps one after another, or many steps in parallel.
//!
//! `cargo run --release --example frontier` (see `--help` and results/frontier.md)

use clap::{Parser, builder::PossibleValuesParser, builder::RangedU64ValueParser};
use lab::{cli::Study, frontier};
use piadm::BoxError;
use std::{io::Write, process::ExitCode};

/// Compares sequential schemes of few steps with parallel sampling of many steps in as few rounds: errors of the path
/// to a reference of many steps, and distances in distribution. Writes DIR/frontier.json and for every problem three
/// plots, DIR/frontier-PROBLEM.png (paths), -median.png (that of the median sample) and -law.png (distributions). All
/// problems take about half an hour on two cores that have other work too.
#[derive(Parser)]
#[command(name = "frontier", args_override_self = true, allow_negative_numbers = true)]
struct Options {
    /// What is sampled; may be given several times [default: all]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(frontier::PROBLEMS))]
    problem: Vec<String>,
    /// Samples whose paths are measured, at most 100000 [default: 128, 32, 32, 8]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    samples: Option<usize>,
    /// Seed of mixture and noise
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    study: Study,
}

fn main() -> ExitCode {
    lab::cli::main(run)
}

fn run(options: Options, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    let Options { mut problem, samples, seed, study } = options;
    if problem.is_empty() {
        problem = frontier::PROBLEMS.map(String::from).to_vec();
    }
    let measure = || problem.iter().map(|name| frontier::measure(name, samples, seed, study.quick)).collect();
    study.run("frontier", out, measure, |all: &Vec<_>, folder| {
        frontier::save_plots(all, folder)?;
        Ok(frontier::report(all))
    })
}
