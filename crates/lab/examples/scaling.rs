//! The paper's scaling law: sequential steps and rounds of PIADM against the dimension.
//!
//! `cargo run --release --example scaling` (see `--help` and results/scaling.md)

use clap::{Parser, builder::RangedU64ValueParser};
use lab::{cli::Study, scaling};
use piadm::BoxError;
use std::{io::Write, process::ExitCode};

/// Measures how sequential steps and rounds of PIADM grow with the dimension of a mixture, and writes DIR/scaling.json
/// and DIR/scaling.png. The default takes some minutes and 3 GiB.
#[derive(Parser)]
#[command(name = "scaling", args_override_self = true, allow_negative_numbers = true)]
struct Options {
    /// Largest dimension, at least 16; dimensions are powers of 4 up to 16384 [default: 16384, quick: 256]
    #[arg(long, value_name = "D", value_parser = RangedU64ValueParser::<usize>::new().range(16..))]
    max_dim: Option<usize>,
    /// Seeds of mixture and noise, from 0 [default: 5, quick: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    seeds: Option<u64>,
    #[command(flatten)]
    study: Study,
}

fn main() -> ExitCode {
    lab::cli::main(run)
}

fn run(options: Options, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    let (max_dim, seeds) = if options.study.quick { (256, 2) } else { (16384, 5) };
    let (max_dim, seeds) = (options.max_dim.unwrap_or(max_dim), options.seeds.unwrap_or(seeds));
    let dims: Vec<usize> = (1..=7).map(|k| 4usize.pow(k)).filter(|d| *d <= max_dim).collect();
    let measure = || scaling::measure(&dims, seeds);
    options.study.run("scaling", out, measure, |results, folder| {
        scaling::plot(results).save(folder.join("scaling.png"), (960, 640))?;
        Ok(scaling::tables(results))
    })
}
