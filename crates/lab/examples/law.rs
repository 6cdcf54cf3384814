//! Rounds of samplers that are exact in law: guesses that sweeps have refined, and frozen drafts.
//!
//! `cargo run --release --example law` (see `--help` and results/law.md)

use clap::Parser;
use lab::cli::{Study, given, positive};
use lab::law::{Plan, Settings, measure, text};
use lab::subject::named;
use piadm::BoxError;
use std::io::Write;
use std::process::ExitCode;

/// Measures how many rounds and rows Picard::exact_in_law takes, beside speculative sampling with a frozen draft, and
/// writes DIR/law.json. The default takes some ten minutes; --quick is mixture-64, 2 samples, 60 steps.
#[derive(Parser)]
#[command(name = "law", args_override_self = true)]
struct Options {
    /// mlp, unet, mixture-D (any D), patches; repeatable [default: mlp and unet, each with its own steps and windows]
    #[arg(long, value_name = "NAME", value_parser = named)]
    problem: Vec<String>,
    /// Steps; repeatable [default with --problem: 100, 500 and 1000]
    #[arg(long, value_name = "N", value_parser = positive)]
    steps: Vec<usize>,
    /// Windows; repeatable [default with --problem: 64]
    #[arg(long, value_name = "N", value_parser = positive)]
    window: Vec<usize>,
    /// Samples of a run [default: 16]
    #[arg(long, value_name = "N", value_parser = positive)]
    samples: Option<usize>,
    /// Seed of the noise; repeatable [default: 0, 1, 2, 3 and 5]
    #[arg(long, value_name = "N")]
    seed: Vec<u64>,
    #[command(flatten)]
    study: Study,
}

fn run(o: Options, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    let (samples, seeds) = if o.study.quick { (2, vec![5]) } else { (16, vec![0, 1, 2, 3, 5]) };
    let chosen = |steps: Vec<usize>, windows: Vec<usize>| -> Settings {
        let windows = given(o.window.clone(), windows);
        given(o.steps.clone(), steps).into_iter().map(|steps| (steps, windows.clone())).collect()
    };
    let problems = match (o.study.quick, &o.problem[..]) {
        (true, []) => vec![("mixture-64".into(), chosen(vec![60], vec![16]))],
        (false, []) if o.steps.is_empty() && o.window.is_empty() => vec![
            ("mlp".into(), vec![(100, vec![16, 32]), (500, vec![16, 32, 64, 128, 256]), (1000, vec![64, 128, 256])]),
            ("unet".into(), vec![(100, vec![16]), (500, vec![64])]),
        ],
        (_, []) => vec![("mlp".into(), chosen(vec![100, 500, 1000], vec![64]))],
        (_, names) => names.iter().map(|name| (name.clone(), chosen(vec![100, 500, 1000], vec![64]))).collect(),
    };
    let plan = Plan { problems, samples: o.samples.unwrap_or(samples), seeds: given(o.seed, seeds) };
    o.study.run("law", out, || measure(&plan), |results, _| Ok(text(results)))
}

fn main() -> ExitCode {
    lab::cli::main(run)
}
