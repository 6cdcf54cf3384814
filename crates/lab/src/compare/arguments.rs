//! The command line of `compare`.

use super::problem::read;
use crate::cli::Format;
use clap::{Parser, ValueEnum};
use piadm::{BoxError, sampler::SamplerSpec};
use serde::Serialize;
use std::path::PathBuf;

const NOTES: &str = "\
Sequential sampling always runs, once, as the reference of rms_to_sequential; it is reported if it
is listed.
Exit status: 0, or 1 if a sampler failed (its line says why and the others still run), or 2 if
nothing could be compared.
RAYON_NUM_THREADS sets the number of threads; it does not change the samples.";

/// Runs samplers on a problem with a known score, or on a trained network, and compares them with sequential sampling
#[derive(Clone, Debug, Parser)]
#[command(name = "compare", args_override_self = true, allow_negative_numbers = true, after_help = NOTES)]
pub struct Arguments {
    /// Target or network, schedule, grid and scheme; docs/compare.md describes the format, examples/problems/ has some
    #[arg(long, value_name = "FILE.json")]
    pub problem: PathBuf,
    /// A sampler, more than once for several: a name takes the defaults, JSON sets fields
    ///
    /// - sequential: one node after another
    /// - piadm: PIADM's blocks of Ornstein-Uhlenbeck length h = 1, swept depth times or, by
    ///   default, until no node changes by more than 1e-2:
    ///   {"piadm": {"h": .., "depth": ..}}
    /// - paradigms: ParaDiGMS's sliding window of 64 steps with a tolerance of 0.1 standard
    ///   deviations of the posterior: {"paradigms": {"window": .., "tolerance": ..}}
    /// - parasolver: the same after some sequential steps, with another first guess:
    ///   {"parasolver": {"window": .., "first_steps": .., "tolerance": ..}}
    /// - zhou_sugiyama: PIADM's blocks without a barrier:
    ///   {"zhou_sugiyama": {"h": .., "depth": ..}}
    /// - parataa: Anderson acceleration:
    ///   {"parataa": {"window": .., "memory": .., "tolerance": ..}}
    /// - law: guesses are verified: {"law": {"window": ..}}; frozen_draft: speculative sampling:
    ///   {"frozen_draft": {"window": ..}}
    /// - parareal: blocks with a coarse solver: {"parareal": {"blocks": ..}}
    /// - chords: staggered solvers of an ODE: {"chords": {"cores": .., "output": ..}}
    /// - picard: this crate's defaults; any field of the Picard struct can be set:
    ///   {"picard": {"window": 50, "tolerance": {"absolute": 1e-2}}}
    /// - automatic: sequential or picard with the window that suits the measured cost of the
    ///   score: {"automatic": {"max_window": ..}}
    #[arg(long = "sampler", value_name = "S", required = true, value_parser = sampler, verbatim_doc_comment)]
    pub samplers: Vec<SamplerSpec>,
    /// Batch size [default: 8, or what --init or --noise have]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub samples: Option<usize>,
    /// Seed of the initial state and the noise
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
    /// Numbers of the states
    #[arg(long, default_value = "f32")]
    pub dtype: Dtype,
    /// State at node 0, [samples, dim], f4 or f8 [default: drawn from the prior]
    #[arg(long, value_name = "FILE.npy")]
    pub init: Option<PathBuf>,
    /// Normals, [steps, samples, dim], f4 or f8, row m - 1 for step m [default: drawn]
    #[arg(long, value_name = "FILE.npy")]
    pub noise: Option<PathBuf>,
    /// Writes the samples of the first listed sampler to DIR/0.npy, of the second to DIR/1.npy, ... ([samples, dim],
    /// in the run's dtype)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Table or one JSON object per sampler, each on its line
    #[arg(long, value_name = "KIND", default_value = "table")]
    pub format: Format,
}

/// Element type of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

/// Reads `picard` or `{"picard": {"window": 50}}`.
fn sampler(text: &str) -> Result<SamplerSpec, BoxError> {
    if text.trim_start().starts_with('{') { read(text) } else { Ok(serde_json::from_value(text.into())?) }
}
