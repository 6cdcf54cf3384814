//! What each core of CHORDS returns, and in how many rounds.
//!
//! `cargo run --release --example chords` (see `--help` and results/chords.md)

use clap::Parser;
use lab::chords::{Plan, measure, text};
use lab::cli::{Study, given, positive};
use lab::subject::named;
use piadm::BoxError;
use std::io::Write;
use std::process::ExitCode;

/// Measures the rounds, rows and errors of every core of CHORDS (arXiv 2507.15260) with DDIM, on grids that are uniform
/// in log-SNR and in the time of a rectified flow, and writes DIR/chords.json. --quick is mixture-64, 2 samples, one
/// seed.
#[derive(Parser)]
#[command(name = "chords", args_override_self = true, allow_negative_numbers = true)]
struct Options {
    /// mlp, unet, mixture-D (any D), patches [default: mlp]
    #[arg(long, value_name = "NAME", value_parser = named)]
    problem: Option<String>,
    /// Steps of the grids
    #[arg(long, value_name = "N", value_parser = positive, default_value_t = 50)]
    steps: usize,
    /// Samples of a run [default: 16]
    #[arg(long, value_name = "N", value_parser = positive)]
    samples: Option<usize>,
    /// Number of cores; repeatable [default: 4, 8]
    #[arg(long, value_name = "K", value_parser = positive)]
    cores: Vec<usize>,
    /// Seed of the noise; repeatable [default: 0, 1, 2, 3, 5]
    #[arg(long, value_name = "N")]
    seed: Vec<u64>,
    #[command(flatten)]
    study: Study,
}

fn run(o: Options, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    let (problem, samples, seeds) = match o.study.quick {
        true => ("mixture-64", 2, vec![0]),
        false => ("mlp", 16, vec![0, 1, 2, 3, 5]),
    };
    let plan = Plan {
        problem: o.problem.unwrap_or_else(|| problem.to_owned()),
        steps: o.steps,
        samples: o.samples.unwrap_or(samples),
        cores: given(o.cores, [4, 8]),
        seeds: given(o.seed, seeds),
    };
    o.study.run("chords", out, || measure(&plan), |results, _| Ok(text(results)))
}

fn main() -> ExitCode {
    lab::cli::main(run)
}
