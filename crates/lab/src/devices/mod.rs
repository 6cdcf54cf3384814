//! One image on many devices: what the program `devices` measures and shows.

mod here;
mod show;
mod waiting;

use crate::cli::Progress;
use crate::equal_error::{Case, Outcome, Setting};
use crate::presets::{OURS, REFERENCE, STRIDED, preset};
use crate::short::{LAW, Steps};
use crate::subject::Subject;
pub use here::{cores, overhead};
use piadm::score::Split;
use piadm::{BoxError, Chords, Cpu, Picard, Problem, Sampler, ScoreFn, Sequential};
use serde::{Deserialize, Serialize};
pub use show::{draw, text};
use std::sync::Arc;
use std::time::Instant;
pub use waiting::{Device, Recording, Tape, Waiting};

/// Numbers of cores for which CHORDS has starts of its own.
const CORES: std::ops::RangeInclusive<usize> = 4..=8;
const CHORDS: &str = "chords";

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// A name for [`Subject::load`].
    pub problem: String,
    /// Kinds of steps.
    pub kinds: Vec<Steps>,
    /// Numbers of steps.
    pub steps: Vec<usize>,
    /// Numbers of devices; the window has as many steps.
    pub devices: Vec<usize>,
    /// The median path error that is asked for.
    pub error: f64,
    /// One image after another.
    pub samples: usize,
    /// Of the noise.
    pub seed: u64,
    /// What every device costs.
    pub device: Device,
    /// Nothing waits: the model alone.
    pub model: bool,
}

/// A number of steps of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    kind: Steps,
    steps: usize,
    /// Seconds of an image on one device, one row after another.
    sequential: f64,
}

/// A sampler on so many devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    task: Task,
    devices: usize,
    sampler: String,
    outcome: Outcome,
    /// Mean seconds of an image; `None` if nothing waited.
    seconds: Option<f64>,
    /// Rounds times the cost of a round in which every device has one row.
    model: f64,
}

/// Everything that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    problem: String,
    samples: usize,
    seed: u64,
    error: f64,
    /// Seconds per row and per call, bytes of a row, bytes per second.
    device: (f64, f64, usize, f64),
    lines: Vec<Line>,
}

/// Measures all of the plan.
pub fn measure(plan: &Plan) -> Result<Results, BoxError> {
    let mut subject = Subject::load(&plan.problem)?;
    let most = if plan.model { 1 } else { plan.devices.iter().copied().max().unwrap_or(1) };
    let (tape, prediction) = (Arc::new(Tape::default()), subject.score.prediction());
    let part = |_| Waiting { tape: tape.clone(), prediction, device: plan.device };
    let mut parts: Vec<Waiting> = (0..most).map(part).collect();
    let tasks = plan.kinds.len() * plan.steps.len() * plan.devices.len();
    let progress = Progress::new("devices", tasks);
    let round = plan.device.time(1).as_secs_f64();
    let mut lines = Vec::new();
    for &kind in &plan.kinds {
        for &steps in &plan.steps {
            let setting = Setting { dynamics: kind.dynamics(), steps, samples: plan.samples, seed: plan.seed };
            let problem = kind.problem(&setting, subject.dim);
            let sequential = match plan.model {
                true => steps as f64 * round,
                false => alone(&problem, &Sequential, subject.score.as_mut(), (&mut parts[..1], 1))?,
            };
            let mut case = Case::of(subject.score.as_mut(), setting, problem.clone())?;
            let task = Task { kind, steps, sequential };
            for &devices in &plan.devices {
                for (sampler, outcome, run) in entrants(&mut case, kind, devices, plan.error)? {
                    let seconds = match plan.model {
                        true => None,
                        false => Some(alone(&problem, &*run, case.score, (&mut parts[..devices], plan.samples))?),
                    };
                    let model = outcome.rounds * round;
                    lines.push(Line { task, devices, sampler: sampler.to_owned(), outcome, seconds, model });
                }
                progress.next(&format!("{steps} steps, {devices} devices"));
            }
        }
    }
    let Device { row, latency, bytes, bandwidth } = plan.device;
    let device = (row.as_secs_f64(), latency.as_secs_f64(), bytes, bandwidth);
    let Plan { problem, samples, seed, error, .. } = plan.clone();
    Ok(Results { problem, samples, seed, error, device, lines })
}

type Entrant = (&'static str, Outcome, Box<dyn Sampler<Cpu<f32>>>);

/// The samplers that take this kind of steps, with a row for every device, at the loosest tolerances with this error.
fn entrants(case: &mut Case<'_>, kind: Steps, devices: usize, error: f64) -> Result<Vec<Entrant>, BoxError> {
    let mut all: Vec<Entrant> = Vec::new();
    for name in [REFERENCE, OURS, STRIDED] {
        if let Some(outcome) = case.equal_error(preset(name), devices, error)? {
            let sampler = (preset(name).sampler)(devices, outcome.tolerance);
            all.push((name, outcome, sampler));
        }
    }
    let (name, sampler): (_, Box<dyn Sampler<Cpu<f32>>>) = match kind {
        Steps::Sde => (LAW, Box::new(Picard::exact_in_law().window(devices))),
        _ if CORES.contains(&devices) => (CHORDS, Box::new(Chords::default().cores(devices))),
        _ => return Ok(all),
    };
    if let Some(outcome) = case.outcome(&*sampler)? {
        all.push((name, outcome, sampler));
    }
    Ok(all)
}

/// Mean seconds of the first images, each alone on all parts. The network itself has answered before.
fn alone(
    problem: &Problem<Cpu<f32>>,
    sampler: &dyn Sampler<Cpu<f32>>,
    network: &mut dyn ScoreFn<Cpu<f32>>,
    (parts, samples): (&mut [Waiting], usize),
) -> Result<f64, BoxError> {
    let tape = parts[0].tape.clone();
    let mut split = Split::new(parts)?;
    let mut seconds = 0.0;
    for id in 0..samples as u32 {
        let one = problem.clone().samples(1).ids([id]);
        tape.clear();
        let expected = sampler.sample(&one, &mut Recording { inner: network, tape: tape.clone() })?.samples;
        let clock = Instant::now();
        let found = sampler.sample(&one, &mut split)?.samples;
        seconds += clock.elapsed().as_secs_f64();
        assert_eq!(found, expected, "a run that waits is the run that was recorded");
    }
    Ok(seconds / samples as f64)
}
