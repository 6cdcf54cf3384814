//! The laboratory: runs samplers on a problem with a known score and compares them with sequential sampling.
//!
//! ```text
//! cargo run --release --example compare -- --problem examples/problems/mixture-sde.json \
//!     --sampler sequential --sampler piadm --sampler picard
//! ```
//!
//! `--help` and `docs/compare.md` describe the options, the problem file and the output.

#[path = "support/laboratory.rs"]
mod laboratory;

use std::process::ExitCode;

fn main() -> ExitCode {
    match laboratory::run(std::env::args_os().skip(1), &mut std::io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::from(2)
        }
    }
}
