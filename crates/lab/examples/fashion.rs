//! Generates images with a trained network, sequentially and in parallel over time, and compares the two.
//!
//! `cargo run --release --example fashion` (see `--help`)

use lab::fashion::{Options, compare, gain};
use std::process::ExitCode;

fn main() -> ExitCode {
    lab::cli::main(|options: Options, out| match options.samples {
        None => gain::show(&options, out),
        Some(samples) => compare::show(&options, samples, out),
    })
}
