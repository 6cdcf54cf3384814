//! Rounds of the parallel samplers at equal error: same problems, same noise, same steps.
//!
//! `cargo run --release --example rounds` (see `--help` and results/rounds.md)

use clap::Parser;
use lab::cli::{Study, Which, given, positive};
use lab::presets::{self, PRESETS, Preset};
use lab::rounds::{Part, Plan, draw, measure, text};
use lab::subject::{NAMES, named};
use piadm::BoxError;
use std::io::Write;
use std::process::ExitCode;

/// Measures how many rounds and rows the parallel samplers take to come within a median error of 1e-2 and 1e-3 of the
/// sequential samples, and writes DIR/rounds.json and DIR/rounds-*.png. The default takes about half an hour; --quick
/// is mlp and mixture-64, 2 samples, 60 steps, window 16, no claims.
#[derive(Parser)]
#[command(name = "rounds", args_override_self = true, allow_negative_numbers = true)]
struct Options {
    /// mlp, unet, guided-W (the U-Net with labels, any guidance scale W), mixture-D (any D), patches; repeatable
    /// [default: mlp, unet, mixture-2, -64, -1024, -4096, patches]
    #[arg(long, value_name = "NAME", value_parser = named)]
    problem: Vec<String>,
    /// The reverse SDE, the probability-flow ODE or both
    #[arg(long, value_name = "KIND", default_value = "both")]
    dynamics: Which,
    /// Steps, at least 8 [default: 500]
    #[arg(long, value_name = "N", value_parser = positive)]
    steps: Option<usize>,
    /// Window of the table; repeatable [default: 32, 64 and 128, for the unet and guided-W 64]
    #[arg(long, value_name = "N", value_parser = positive)]
    window: Vec<usize>,
    /// A sampler of the table; repeatable [default: all]
    #[arg(long, value_name = "NAME", value_parser = presets::named)]
    sampler: Vec<&'static Preset>,
    /// Samples of a run [default: 6]
    #[arg(long, value_name = "N", value_parser = positive)]
    samples: Option<usize>,
    /// Seed of the noise
    #[arg(long, value_name = "N", default_value_t = 5)]
    seed: u64,
    /// The table of all samplers and nothing else
    #[arg(long, group = "part")]
    table: bool,
    /// The claims about the mlp and nothing else
    #[arg(long, group = "part", conflicts_with = "quick")]
    claims: bool,
    /// ParaDiGMS at window 64, and the default and strided ones with the widest window that takes no more rows
    #[arg(long, group = "part")]
    equal_rows: bool,
    /// The residual of every round on the first problem and nothing else (a minute or two)
    #[arg(long, group = "part")]
    residuals: bool,
    #[command(flatten)]
    study: Study,
}

fn run(o: Options, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    let (part, problems, steps, windows, samples) = match o.study.quick {
        true => (Part::Quick, &["mlp", "mixture-64"][..], 60, vec![16], 2),
        false => (Part::All, &NAMES[..], 500, vec![], 6),
    };
    let parts = [
        (o.table, Part::Table),
        (o.claims, Part::Claims),
        (o.equal_rows, Part::EqualRows),
        (o.residuals, Part::Residuals),
    ];
    let plan = Plan {
        problems: given(o.problem, problems.iter().map(ToString::to_string)),
        dynamics: o.dynamics.list(),
        steps: o.steps.unwrap_or(steps),
        windows: given(o.window, windows),
        samplers: given(o.sampler, &PRESETS),
        samples: o.samples.unwrap_or(samples),
        seed: o.seed,
        part: parts.into_iter().find(|(asked, _)| *asked).map_or(part, |(_, part)| part),
    };
    if plan.steps < 8 {
        return Err("--steps must be at least 8".into());
    }
    if plan.part == Part::Claims && !plan.problems.iter().any(|name| name == "mlp") {
        return Err("--claims is about the mlp".into());
    }
    let show = |results: &_, folder: &_| draw(results, folder).map(|()| text(results));
    o.study.run("rounds", out, || measure(&plan), show)
}

fn main() -> ExitCode {
    lab::cli::main(run)
}
