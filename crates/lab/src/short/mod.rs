//! Rounds where most users are: few steps, few rows a round. What the program `short` measures and shows.

mod show;

use crate::cli::Progress;
use crate::equal_error::{Case, Outcome, Setting};
use crate::newton::Newton;
use crate::presets::Preset;
use crate::stats::median;
use crate::subject::Subject;
use clap::ValueEnum;
use piadm::{BoxError, Chords, Cpu, Error, Picard, Problem, sampler::Dynamics};
use serde::{Deserialize, Serialize};
pub use show::text;

/// Numbers of cores of CHORDS for which its authors give starts.
const CORES: [usize; 2] = [4, 8];
/// The row of the samplers that are exact in law.
pub const LAW: &str = "law";
/// The row of exact slopes.
const NEWTON: &str = "newton";

/// Steps and their grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Steps {
    /// DDIM, uniform in the log-SNR.
    Ddim,
    /// DPM-Solver++(2M), uniform in the log-SNR.
    #[value(name = "2m")]
    #[serde(rename = "2m")]
    SecondOrder,
    /// Euler's method, uniform in the time of a rectified flow.
    Flow,
    /// The reverse SDE, uniform in the log-SNR.
    Sde,
}

impl Steps {
    /// Whether they add noise.
    pub fn dynamics(self) -> Dynamics {
        if self == Steps::Sde { Dynamics::Sde } else { Dynamics::Ode }
    }

    /// These steps in a setting.
    pub fn problem(self, setting: &Setting, dim: usize) -> Problem<Cpu<f32>> {
        match self {
            Steps::Ddim | Steps::Sde => setting.first_order(dim),
            Steps::SecondOrder => setting.second_order(dim),
            Steps::Flow => setting.flow_euler(dim),
        }
    }
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names for [`Subject::load`].
    pub problems: Vec<String>,
    /// Kinds of steps.
    pub kinds: Vec<Steps>,
    /// Numbers of steps.
    pub steps: Vec<usize>,
    /// Rows of a round and sample.
    pub windows: Vec<usize>,
    /// The median error that is asked for.
    pub error: f64,
    /// Of a run.
    pub samples: usize,
    /// Of the noise, one run for each.
    pub seeds: Vec<u64>,
    /// Those of them that have a tolerance; the others are always measured.
    pub samplers: Vec<&'static Preset>,
}

/// A problem and its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    problem: String,
    kind: Steps,
    steps: usize,
}

/// A sampler on a task.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    task: Task,
    sampler: String,
    /// Steps; 0 for a sampler without window.
    window: usize,
    /// One for each seed; `None` where no tolerance reaches the error.
    outcomes: Vec<Option<Outcome>>,
}

impl Line {
    /// The median over the seeds; `None` if one of them found nothing.
    fn median(&self, of: fn(&Outcome) -> f64) -> Option<f64> {
        let values: Option<Vec<f64>> = self.outcomes.iter().map(|outcome| outcome.as_ref().map(of)).collect();
        values.map(median)
    }
}

/// Everything that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    error: f64,
    samples: usize,
    seeds: Vec<u64>,
    lines: Vec<Line>,
}

/// Measures all of the plan.
pub fn measure(plan: &Plan) -> Result<Results, BoxError> {
    let tasks = plan.problems.len() * plan.kinds.len() * plan.steps.len();
    let progress = Progress::new("short", tasks * plan.seeds.len());
    let mut lines: Vec<Line> = Vec::new();
    for problem in &plan.problems {
        let (mut subject, mut newton) = (Subject::load(problem)?, Newton::load(problem)?);
        for &kind in &plan.kinds {
            for &steps in &plan.steps {
                let task = Task { problem: problem.clone(), kind, steps };
                let first = lines.len();
                for &seed in &plan.seeds {
                    let setting = Setting { dynamics: kind.dynamics(), steps, samples: plan.samples, seed };
                    let problem = kind.problem(&setting, subject.dim);
                    let mut case = Case::of(subject.score.as_mut(), setting, problem.clone())?;
                    let mut found = outcomes(plan, &mut case, kind)?;
                    if let Some(newton) = &mut newton {
                        for &window in &plan.windows {
                            let outcome = newton.equal_error(&problem, seed, window, plan.error)?;
                            found.push((NEWTON.to_owned(), window, outcome));
                        }
                    }
                    for (k, (sampler, window, outcome)) in found.into_iter().enumerate() {
                        if seed == plan.seeds[0] {
                            lines.push(Line { task: task.clone(), sampler, window, outcomes: Vec::new() });
                        }
                        lines[first + k].outcomes.push(outcome);
                    }
                    progress.next(&format!("{}, {} steps, seed {seed}", task.problem, task.steps));
                }
            }
        }
    }
    Ok(Results { error: plan.error, samples: plan.samples, seeds: plan.seeds.clone(), lines })
}

/// What one noise gives, always in the same order.
fn outcomes(plan: &Plan, case: &mut Case<'_>, kind: Steps) -> Result<Vec<(String, usize, Option<Outcome>)>, BoxError> {
    let mut all = Vec::new();
    for &preset in &plan.samplers {
        for (window, given) in windows(plan, preset) {
            all.push((preset.name.to_owned(), window, case.equal_error(preset, given, plan.error)?));
        }
    }
    if kind == Steps::Sde {
        for &window in &plan.windows {
            all.push((LAW.to_owned(), window, case.outcome(&Picard::exact_in_law().window(window))?));
        }
        return Ok(all);
    }
    for cores in CORES {
        for output in 1..=cores {
            let outcome = match case.outcome(&Chords::default().cores(cores).output(output)) {
                // too few steps for so many cores
                Err(error) if matches!(error.downcast_ref(), Some(Error::Setting { .. })) => None,
                outcome => outcome?,
            };
            all.push((format!("chords {output} of {cores}"), 0, outcome));
        }
    }
    Ok(all)
}

/// The window that a line says, and the one that its sampler gets.
fn windows(plan: &Plan, preset: &Preset) -> Vec<(usize, usize)> {
    if preset.windowed { plan.windows.iter().map(|w| (*w, *w)).collect() } else { vec![(0, plan.windows[0])] }
}
