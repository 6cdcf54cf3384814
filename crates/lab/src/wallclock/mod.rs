//! Seconds of sequential and of parallel sampling: what the program `wallclock` measures and shows.

pub mod entrants;
pub mod few_steps;
mod race;
mod show;

use crate::cli::{Progress, name};
use crate::equal_error::Setting;
use crate::stats::median;
use entrants::{Tolerances, entrants, fastest};
use few_steps::Quality;
use networks::{Network, RowPath};
use piadm::{BoxError, sampler::Dynamics};
use race::{IMAGES, Race, call, contenders, race};
use rayon::ThreadPoolBuilder;
use serde::{Deserialize, Serialize};
pub use show::text;
use std::time::Instant;

/// Measurements of a call's seconds, of which the median is taken.
const PASSES: usize = 5;

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// `mlp` and `unet`.
    pub networks: Vec<String>,
    /// One or both.
    pub dynamics: Vec<Dynamics>,
    /// Numbers of steps.
    pub steps: Vec<usize>,
    /// Sizes of a batch.
    pub images: Vec<usize>,
    /// Runs of everyone; `None` for 5 of one image and 3 of more.
    pub turns: Option<usize>,
    /// Of the noise.
    pub seed: u64,
    /// Few samples for the quality.
    pub quick: bool,
}

/// A network.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Findings {
    network: String,
    /// Rows and seconds of a call.
    latency: Vec<(usize, f64)>,
    /// Seconds of a call on one row, on one thread and on all.
    single_row: (f64, f64),
    /// The paths that one row can take on one thread, the one that is used first, and the seconds of a call.
    #[serde(default)]
    row_paths: Vec<(String, f64)>,
    quality: Vec<Quality>,
    races: Vec<Race>,
    /// How long it took.
    seconds: f64,
}

/// All networks.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    threads: usize,
    seed: u64,
    networks: Vec<Findings>,
}

/// Measures all of the plan; `save` gets what there is after every race.
pub fn measure(plan: &Plan, save: impl Fn(&Results) -> Result<(), BoxError>) -> Result<Results, BoxError> {
    let mut results = Results { threads: rayon::current_num_threads(), seed: plan.seed, networks: Vec::new() };
    let single = ThreadPoolBuilder::new().num_threads(1).build()?;
    for (i, title) in plan.networks.iter().enumerate() {
        let started = Instant::now();
        let progress = Progress::new(title, plan.dynamics.len() * plan.steps.len());
        let (unet, mut network) = (title == "unet", networks::load(title, None)?);
        let network = &mut *network;
        let mut done = 0;
        let latency = latency(network)?;
        results.networks.push(Findings {
            network: title.clone(),
            latency: latency.clone(),
            single_row: (single.install(|| call(network, 1))?, call(network, 1)?),
            row_paths: single.install(|| row_paths(network))?,
            ..Findings::default()
        });
        let (windows, several) = if unet { (&[4, 8, 16][..], IMAGES / 2) } else { (&[8, 16, 32, 64][..], IMAGES) };
        for &dynamics in &plan.dynamics {
            let setting = |steps, samples| Setting { dynamics, steps, samples, seed: plan.seed };
            let (samples, reference) = match (plan.quick, unet) {
                (true, _) => (32, 60),
                (_, true) => (128, 250),
                _ => (1024, 500),
            };
            progress.tell(done, &format!("quality, {}", name(dynamics)));
            let quality = Quality::measure(network, setting(0, samples), &plan.steps, reference)?;
            results.networks[i].quality.push(quality.clone());
            let mut known = Tolerances::default();
            for &steps in &plan.steps {
                progress.tell(done, &format!("tolerances, {}, {steps} steps", name(dynamics)));
                let entrants = entrants(&mut known, network, setting(steps, several), windows)?;
                progress.tell(done, &format!("seconds, {}, {steps} steps", name(dynamics)));
                for &images in &plan.images {
                    let chosen = fastest(&entrants, steps, images, &latency);
                    let contenders = contenders(setting(steps, images), network.dim(), &chosen, quality.fewest(steps));
                    let turns = plan.turns.unwrap_or(if images == 1 { 5 } else { 3 });
                    let lines = race(network, setting(steps, images), &contenders, &single, turns)?;
                    let findings = &mut results.networks[i];
                    findings.races.push(Race { dynamics, steps, images, turns, lines });
                    findings.seconds = started.elapsed().as_secs_f64();
                    save(&results)?;
                }
                done += 1;
            }
        }
    }
    Ok(results)
}

/// Seconds of calls on 1, 2, 4 to 512 rows, taking turns.
fn latency(network: &mut dyn Network) -> Result<Vec<(usize, f64)>, BoxError> {
    let rows: [usize; 10] = std::array::from_fn(|power| 1 << power);
    let seconds = in_turn(&rows, |rows| call(network, *rows))?;
    Ok(rows.into_iter().zip(seconds).collect())
}

/// Seconds of a call on one row by every path there is, taking turns. The first is the one that everything else uses.
fn row_paths(network: &mut dyn Network) -> Result<Vec<(String, f64)>, BoxError> {
    let mut paths =
        vec![(RowPath::Half, "f16 weights"), (RowPath::Single, "f32 weights"), (RowPath::Batch, "product of a batch")];
    paths.retain(|(path, _)| network.set_row_path(*path));
    let seconds = in_turn(&paths, |(path, _)| {
        network.set_row_path(*path);
        call(network, 1)
    })?;
    if let Some((used, _)) = paths.first() {
        network.set_row_path(*used);
    }
    Ok(paths.iter().map(|(_, name)| (*name).to_owned()).zip(seconds).collect())
}

/// The seconds of each, medians of what is measured in turn.
fn in_turn<T>(all: &[T], mut seconds: impl FnMut(&T) -> Result<f64, BoxError>) -> Result<Vec<f64>, BoxError> {
    let mut passes = vec![Vec::new(); all.len()];
    for _ in 0..PASSES {
        for (one, pass) in all.iter().zip(&mut passes) {
            pass.push(seconds(one)?);
        }
    }
    Ok(passes.into_iter().map(median).collect())
}
