//! Seconds of sequential and of parallel sampling: who is faster, and by how much.
//!
//! `cargo run --release --example wallclock` (see `--help` and results/wallclock.md)

use clap::Parser;
use lab::cli::{Study, Which, given, positive};
use lab::wallclock::{Plan, measure, text};
use piadm::BoxError;
use std::io::Write;
use std::process::ExitCode;

/// Measures the seconds of sequential sampling, of every parallel sampler at a path error of about 1e-2, and of a
/// second-order scheme of few steps that gives images of the same quality; in turn, medians. Writes DIR/wallclock.json.
/// The default takes about a quarter of an hour on two idle cores; RAYON_NUM_THREADS sets the number of threads.
/// --quick is the mlp, 60 steps, one image, 3 turns, 32 samples for quality.
#[derive(Parser)]
#[command(name = "wallclock", args_override_self = true, allow_negative_numbers = true)]
struct Options {
    /// Repeatable [default: both]
    #[arg(long, value_name = "NAME", value_parser = ["mlp", "unet"])]
    network: Vec<String>,
    /// The reverse SDE, the probability-flow ODE or both
    #[arg(long, value_name = "KIND", default_value = "both")]
    dynamics: Which,
    /// Steps; repeatable [default: 100, 250, 500 and 1000]
    #[arg(long, value_name = "N", value_parser = positive)]
    steps: Vec<usize>,
    /// Images of a batch; repeatable [default: 1 and 8]
    #[arg(long, value_name = "N", value_parser = positive)]
    images: Vec<usize>,
    /// Runs of everyone [default: 5 of one image, 3 of more]
    #[arg(long, value_name = "N", value_parser = positive)]
    turns: Option<usize>,
    /// Seed of the noise
    #[arg(long, value_name = "N", default_value_t = 5)]
    seed: u64,
    #[command(flatten)]
    study: Study,
}

fn run(o: Options, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    let (networks, steps, images, turns) = match o.study.quick {
        true => (&["mlp"][..], vec![60], vec![1], Some(3)),
        false => (&["mlp", "unet"][..], vec![100, 250, 500, 1000], vec![1, 8], None),
    };
    let plan = Plan {
        networks: given(o.network, networks.iter().map(ToString::to_string)),
        dynamics: o.dynamics.list(),
        steps: given(o.steps, steps),
        images: given(o.images, images),
        turns: o.turns.or(turns),
        seed: o.seed,
        quick: o.study.quick,
    };
    let save = |results: &_| o.study.save("wallclock", results).map(drop);
    o.study.run("wallclock", out, || measure(&plan, save), |results, _| Ok(text(results)))
}

fn main() -> ExitCode {
    lab::cli::main(run)
}
