//! The laboratory: runs samplers on a problem with a known score and compares them with sequential sampling.
//!
//! ```text
//! cargo run --release --example compare -- --problem examples/problems/mixture-sde.json \
//!     --sampler sequential --sampler piadm --sampler picard
//! ```
//!
//! `--help` and `docs/compare.md` describe the options, the problem file and the output.

use std::process::ExitCode;

fn main() -> ExitCode {
    lab::cli::main(lab::compare::run)
}
