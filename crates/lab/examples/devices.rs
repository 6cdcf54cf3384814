//! One image on many devices.
//!
//! `cargo run --release --example devices` (see `--help` and results/devices.md)

use clap::Parser;
use lab::cli::{Study, given, positive};
use lab::devices::{Device, Plan, cores, draw, measure, overhead, text};
use lab::short::Steps;
use lab::subject::{Subject, named};
use piadm::BoxError;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

/// Measures how much faster one image is on several devices, with a window of one step per device, beside a model of
/// rounds and link. The devices are threads that wait as long as a device would compute. Writes DIR/devices.json and
/// DIR/devices-KIND-STEPS.png. The default takes more than an hour, most of which is waiting; --quick is mixture-64, 2
/// images, 25 steps, 2 ms a row.
#[derive(Parser)]
#[command(name = "devices", args_override_self = true)]
struct Options {
    /// mlp, unet, guided-W (the U-Net with labels, any guidance scale W), mixture-D (any D), patches [default: mlp]
    #[arg(long, value_name = "NAME", value_parser = named)]
    problem: Option<String>,
    /// Kind of steps; repeatable [default: ddim and sde]
    #[arg(long, value_name = "KIND")]
    kind: Vec<Steps>,
    /// Steps; repeatable [default: 25, 50, 100 and 1000]
    #[arg(long, value_name = "N", value_parser = positive)]
    steps: Vec<usize>,
    /// Numbers of devices; repeatable [default: 2, 4, 8, 16, 32 and 64]
    #[arg(long, value_name = "N", value_parser = positive)]
    devices: Vec<usize>,
    /// The median path error that is asked for
    #[arg(long, value_name = "E", default_value_t = 5e-3)]
    error: f64,
    /// Images, one after another [default: 16]
    #[arg(long, value_name = "N", value_parser = positive)]
    samples: Option<usize>,
    /// Seed of the noise
    #[arg(long, value_name = "N", default_value_t = 5)]
    seed: u64,
    /// Milliseconds of a row [default: 20]
    #[arg(long, value_name = "MS")]
    row: Option<f64>,
    /// Microseconds of a call, whatever its rows
    #[arg(long, value_name = "US", default_value_t = 50.0)]
    latency: f64,
    /// Bytes of a row that travel [default: state and output of the problem]
    #[arg(long, value_name = "N")]
    bytes: Option<usize>,
    /// Gigabytes per second of the link
    #[arg(long, value_name = "GB", default_value_t = 10.0)]
    bandwidth: f64,
    /// Wait for nothing: rounds, and what the model makes of them
    #[arg(long)]
    model: bool,
    /// What a split costs on this machine, and nothing else: waking threads, and the networks as one part per core
    #[arg(long, conflicts_with = "model")]
    here: bool,
    #[command(flatten)]
    study: Study,
}

fn run(o: Options, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    if o.here {
        write!(out, "{}\n{}", overhead()?, cores()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (problem, steps, devices, samples, row) = match o.study.quick {
        true => ("mixture-64", vec![25], vec![2, 4], 2, 2.0),
        false => ("mlp", vec![25, 50, 100, 1000], vec![2, 4, 8, 16, 32, 64], 16, 20.0),
    };
    let problem = o.problem.unwrap_or(problem.to_owned());
    let bytes = o.bytes.map_or_else(|| Subject::load(&problem).map(|subject| 8 * subject.dim), Ok)?;
    let time = |name: &str, value: f64, unit: f64| {
        Duration::try_from_secs_f64(value * unit).map_err(|_| format!("--{name} must be a positive number"))
    };
    let row = time("row", o.row.unwrap_or(row), 1e-3)?;
    let device = Device { row, latency: time("latency", o.latency, 1e-6)?, bytes, bandwidth: 1e9 * o.bandwidth };
    for (name, value) in [("error", o.error), ("bandwidth", o.bandwidth)] {
        if !(value > 0.0 && value.is_finite()) {
            return Err(format!("--{name} must be a positive number").into());
        }
    }
    let plan = Plan {
        problem,
        kinds: given(o.kind, [Steps::Ddim, Steps::Sde]),
        steps: given(o.steps, steps),
        devices: given(o.devices, devices),
        error: o.error,
        samples: o.samples.unwrap_or(samples),
        seed: o.seed,
        device,
        model: o.model,
    };
    let show = |results: &_, folder: &_| draw(results, folder).map(|()| text(results));
    o.study.run("devices", out, || measure(&plan), show)
}

fn main() -> ExitCode {
    lab::cli::main(run)
}
