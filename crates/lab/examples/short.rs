//! Rounds where most users are: 25 to 100 steps, 4 to 16 rows a round.
//!
//! `cargo run --release --example short` (see `--help` and results/short.md)

use clap::Parser;
use lab::cli::{Study, given, positive};
use lab::presets::{self, PRESETS, Preset};
use lab::short::{Plan, Steps, measure, text};
use lab::subject::named;
use piadm::BoxError;
use std::io::Write;
use std::process::ExitCode;

/// Measures how many rounds and rows the parallel samplers take to come within a median error of the sequential
/// samples, on few steps and with few rows a round, beside the cores of CHORDS (arXiv 2507.15260) and
/// Picard::exact_in_law, which have no tolerance, and Newton's method with exact slopes, a limit and no sampler. Writes
/// DIR/short.json. The default, all kinds and steps of the mlp, takes long: --kind and --steps choose. --quick is
/// mixture-64, 2 samples, one seed, 25 steps.
#[derive(Parser)]
#[command(name = "short", args_override_self = true)]
struct Options {
    /// mlp, unet, guided-W (the U-Net with labels, any guidance scale W), mixture-D (any D), patches; repeatable
    /// [default: mlp]
    #[arg(long, value_name = "NAME", value_parser = named)]
    problem: Vec<String>,
    /// Kind of steps; repeatable [default: all]
    #[arg(long, value_name = "KIND")]
    kind: Vec<Steps>,
    /// Steps; repeatable [default: 25, 50 and 100]
    #[arg(long, value_name = "N", value_parser = positive)]
    steps: Vec<usize>,
    /// Windows; repeatable [default: 4, 8 and 16]
    #[arg(long, value_name = "N", value_parser = positive)]
    window: Vec<usize>,
    /// The median error that is asked for
    #[arg(long, value_name = "E", default_value_t = 5e-3)]
    error: f64,
    /// Samples of a run [default: 16]
    #[arg(long, value_name = "N", value_parser = positive)]
    samples: Option<usize>,
    /// Seed of the noise; repeatable [default: 0, 1, 2, 3 and 5]
    #[arg(long, value_name = "N")]
    seed: Vec<u64>,
    /// A sampler with a tolerance; repeatable [default: all]
    #[arg(long, value_name = "NAME", value_parser = presets::named)]
    sampler: Vec<&'static Preset>,
    #[command(flatten)]
    study: Study,
}

fn run(o: Options, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    let (problem, steps, windows, samples, seeds) = match o.study.quick {
        true => ("mixture-64", vec![25], vec![8], 2, vec![5]),
        false => ("mlp", vec![25, 50, 100], vec![4, 8, 16], 16, vec![0, 1, 2, 3, 5]),
    };
    let plan = Plan {
        problems: given(o.problem, [problem.to_owned()]),
        kinds: given(o.kind, [Steps::Ddim, Steps::SecondOrder, Steps::Flow, Steps::Sde]),
        steps: given(o.steps, steps),
        windows: given(o.window, windows),
        error: o.error,
        samples: o.samples.unwrap_or(samples),
        seeds: given(o.seed, seeds),
        samplers: given(o.sampler, &PRESETS),
    };
    if !(plan.error > 0.0 && plan.error.is_finite()) {
        return Err("--error must be a positive number".into());
    }
    o.study.run("short", out, || measure(&plan), |results, _| Ok(text(results)))
}

fn main() -> ExitCode {
    lab::cli::main(run)
}
