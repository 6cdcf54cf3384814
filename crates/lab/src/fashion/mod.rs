//! Images of the trained networks, sequentially and in parallel over time.

pub mod compare;
pub mod gain;

use crate::cli::{Output, positive};
use clap::Parser;
use ndarray::Array2;
use networks::Network;
use piadm::sampler::Dynamics;
use piadm::{Acceptance, BoxError, Report};
use serde::Serialize;
use std::path::PathBuf;

/// Samples one Fashion-MNIST image of a trained network sequentially and in parallel, in turn, and says what it gains
/// in seconds; then draws a few images. With --samples N: N images, sequentially, with PIADM and with a sliding window,
/// on the paper's grid and with the paper's integrator, side by side.
#[derive(Debug, Parser)]
#[command(name = "fashion", args_override_self = true, allow_negative_numbers = true)]
pub struct Options {
    /// mlp, or unet: cleaner images, 4 to 20 times the seconds per row
    #[arg(long, value_name = "NAME", default_value = "mlp", value_parser = ["mlp", "unet"])]
    network: String,
    /// Another network of this architecture [default: data/fashion_NAME.safetensors]
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// Time steps, at least 2 [default: 1000]; with --samples at least one for each of PIADM's blocks, 8 [default: 500]
    #[arg(long, value_name = "N", value_parser = positive)]
    steps: Option<usize>,
    /// Steps of a sliding window [default: 16; with --samples 64]
    #[arg(long, value_name = "N", value_parser = positive)]
    window: Option<usize>,
    /// Seed of all noise
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// sde or ode
    #[arg(long, value_name = "KIND", default_value = "sde")]
    dynamics: Dynamics,
    /// What the sliding window promises: law, samples with the law of sequential ones (SDE only), or bits, the
    /// sequential samples themselves [default: an estimated error, see --tolerance]
    #[arg(long, value_name = "WHAT", conflicts_with = "tolerance", value_parser = ["law", "bits"])]
    exact: Option<String>,
    #[command(flatten)]
    output: Output,
    /// The comparison of N images
    #[arg(long, value_name = "N", value_parser = positive)]
    pub samples: Option<usize>,
    /// With --dynamics ode: the Langevin corrector after every block (PIADM-ODE), in all samplers
    #[arg(long, requires = "samples")]
    corrected: bool,
    /// sequential, piadm, sliding or paradigms; repeatable [default: the first three]. sequential always runs, as the
    /// reference
    #[arg(long = "sampler", value_name = "NAME", requires = "samples", hide_possible_values = true,
        value_parser = ["sequential", "piadm", "sliding", "paradigms"])]
    samplers: Vec<String>,
    /// Sliding: estimated error of the samples; PIADM, ParaDiGMS: rms change at which a node is accepted
    /// [default: 0.01]
    #[arg(long, value_name = "X", requires = "samples", allow_negative_numbers = true)]
    tolerance: Option<f64>,
    /// Sweeps of every PIADM block in place of a tolerance
    #[arg(long, value_name = "K", requires = "samples", value_parser = positive)]
    depth: Option<usize>,
}

impl Options {
    /// When a sliding window accepts a guess.
    fn acceptance(&self) -> Acceptance {
        match self.exact.as_deref() {
            Some("law") => Acceptance::Law,
            Some(_) => Acceptance::Exact,
            None => self.tolerance.map_or(Acceptance::default(), Acceptance::Error),
        }
    }

    fn network(&self) -> Result<Box<dyn Network>, BoxError> {
        networks::load(&self.network, self.weights.as_deref())
    }
}

/// What is printed about a run as JSON.
#[derive(Serialize)]
struct Line<'a, E> {
    #[serde(flatten)]
    report: &'a Report,
    sampler: &'a str,
    rows_per_step: f64,
    seconds: f64,
    rms_to_sequential: E,
    #[serde(flatten)]
    more: serde_json::Value,
}

impl<'a, E: Serialize> Line<'a, E> {
    fn new(sampler: &'a str, report: &'a Report, seconds: f64, rms_to_sequential: E, more: serde_json::Value) -> Self {
        Line { report, sampler, rows_per_step: report.rows_per_step(), seconds, rms_to_sequential, more }
    }
}

/// Root mean square difference of each sample.
fn errors(a: &Array2<f32>, b: &Array2<f32>) -> Vec<f64> {
    crate::stats::row_errors(a.view(), b.view())
}
