//! Rounds and rows of the parallel samplers at equal error: what the program `rounds` measures and shows.

mod show;

use crate::cli::{self, Progress};
use crate::equal_error::{Case, EXPONENTS, Outcome, Setting};
use crate::presets::{OURS, Preset, REFERENCE, STRIDED, plotted, preset};
use crate::subject::Subject;
use piadm::{BoxError, sampler::Dynamics};
use serde::{Deserialize, Serialize};
pub use show::{draw, text};
use std::fmt;

/// Errors at which samplers are compared.
const TARGETS: [f64; 2] = [1e-2, 1e-3];
/// Window of the plots and of the calibration.
const WINDOW: usize = 64;
/// Tolerances of the calibration.
const TOLERANCES: [f64; 4] = [1e-1, 1e-2, 1e-3, 1e-4];
/// Steps and windows of the plots.
const STEPS: [usize; 5] = [125, 250, 500, 1000, 2000];
const WINDOWS: [usize; 5] = [16, 32, 64, 128, 256];

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything.
    All,
    /// Everything but the claims and the plots against steps and windows.
    Quick,
    /// The table of all samplers and nothing else.
    Table,
    /// The claims and nothing else.
    Claims,
    /// ParaDiGMS and ours at no more rows, and nothing else.
    EqualRows,
    /// The residuals of every round on the first problem and nothing else.
    Residuals,
}

/// What is to be measured. The first problem is that of the plots.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Names for [`Subject::load`].
    pub problems: Vec<String>,
    /// One or both.
    pub dynamics: Vec<Dynamics>,
    /// Of the tables.
    pub steps: usize,
    /// Of the table of all samplers. Empty: 32, 64 and 128, for the U-Nets 64 only.
    pub windows: Vec<usize>,
    /// Of the table of all samplers.
    pub samplers: Vec<&'static Preset>,
    /// Of a run.
    pub samples: usize,
    /// Of the noise.
    pub seed: u64,
    /// How much of it.
    pub part: Part,
}

/// A problem and its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Task {
    problem: String,
    dynamics: Dynamics,
    steps: usize,
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {} steps", self.problem, cli::name(self.dynamics), self.steps)
    }
}

/// A sampler at an error.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    #[serde(flatten)]
    task: Task,
    preset: String,
    /// Steps; 0 for a sampler without window.
    window: usize,
    /// The median error asked for.
    target: f64,
    /// `None` where no tolerance reaches it.
    outcome: Option<Outcome>,
}

/// ParaDiGMS's iteration, and one of ours with the largest window that takes no more rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct EqualRows {
    reference: Row,
    ours: Row,
}

/// A measured error of the default beside the tolerance for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Calibration {
    #[serde(flatten)]
    task: Task,
    window: usize,
    outcome: Outcome,
}

/// A claim about the trained MLP: at most so many rounds (median) and rows per step at this error.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Claim {
    rounds: f64,
    rows: f64,
    row: Row,
}

impl Claim {
    /// Whether the figures are within the limits, rows to the two digits that are printed.
    fn holds(&self) -> bool {
        self.row.outcome.as_ref().is_some_and(|o| o.rounds_median <= self.rounds && o.rows < self.rows + 5e-3)
    }
}

/// Error against rounds, a point for every tolerance.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Frontier {
    #[serde(flatten)]
    task: Task,
    preset: String,
    window: usize,
    outcomes: Vec<Outcome>,
}

/// What every round of a run accepted.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Residuals {
    #[serde(flatten)]
    task: Task,
    preset: String,
    window: usize,
    /// The median error that its tolerance was made for.
    target: f64,
    /// Of each round the largest rms change among the nodes that left a window.
    residuals: Vec<f64>,
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    samples: usize,
    seed: u64,
    /// All samplers at the chosen windows.
    table: Vec<Row>,
    equal_rows: Vec<EqualRows>,
    calibration: Vec<Calibration>,
    claims: Vec<Claim>,
    /// The plotted samplers against the number of steps.
    by_steps: Vec<Row>,
    /// The plotted samplers against the window.
    by_window: Vec<Row>,
    /// The plotted samplers against the error.
    frontiers: Vec<Frontier>,
    /// The plotted samplers round by round.
    #[serde(default)]
    residuals: Vec<Residuals>,
}

/// Measures all of the plan.
pub fn measure(plan: &Plan) -> Result<Results, BoxError> {
    let &Plan { steps, samples, seed, part, .. } = plan;
    let mut results = Results { samples, seed, ..Results::default() };
    let problems = if part == Part::Residuals { 1 } else { plan.problems.len() };
    let progress = Progress::new("rounds", problems * plan.dynamics.len());
    for (i, problem) in plan.problems.iter().take(problems).enumerate() {
        let mut subject = Subject::load(problem)?;
        for (k, &dynamics) in plan.dynamics.iter().enumerate() {
            let setting = |steps| {
                let done = i * plan.dynamics.len() + k;
                progress.tell(done, &format!("{problem}, {}, {steps} steps", cli::name(dynamics)));
                Setting { dynamics, steps, samples, seed }
            };
            if part != Part::Claims {
                let mut bench = Bench::new(problem, &mut subject, setting(steps))?;
                if !matches!(part, Part::Residuals | Part::EqualRows) {
                    results.table.extend(bench.rows(plan.samplers.iter().copied(), plan.windows(problem), &TARGETS)?);
                }
                if matches!(part, Part::All | Part::Quick | Part::EqualRows) {
                    results.equal_rows.extend(bench.equal_rows()?);
                }
                if matches!(part, Part::All | Part::Quick) {
                    results.calibration.extend(bench.calibration()?);
                }
                if part == Part::All && i == 0 {
                    results.by_window.extend(bench.rows(plotted(), &WINDOWS, &TARGETS[..1])?);
                }
                if matches!(part, Part::All | Part::Quick) && i == 0 {
                    results.frontiers.extend(bench.frontiers()?);
                }
                if !matches!(part, Part::Table | Part::EqualRows) && i == 0 {
                    results.residuals.extend(bench.residuals()?);
                }
            }
            if part == Part::All && i == 0 {
                for steps in STEPS {
                    let mut bench = Bench::new(problem, &mut subject, setting(steps))?;
                    results.by_steps.extend(bench.rows(plotted(), &[WINDOW], &TARGETS[..1])?);
                }
            }
            if matches!(part, Part::All | Part::Claims) && problem == "mlp" {
                let (steps, window, target, rounds, rows) = match dynamics {
                    Dynamics::Sde => (1000, 128, 2e-3, 22.0, 2.5),
                    Dynamics::Ode => (500, WINDOW, 3e-2, 8.0, 1.0),
                };
                let row = Bench::new(problem, &mut subject, setting(steps))?.row(preset(OURS), window, target)?;
                results.claims.push(Claim { rounds, rows, row });
            }
        }
    }
    Ok(results)
}

impl Plan {
    fn windows(&self, problem: &str) -> &[usize] {
        match problem {
            _ if !self.windows.is_empty() => &self.windows,
            _ if problem == "unet" || problem.starts_with("guided-") => &[WINDOW],
            _ => &[32, 64, 128],
        }
    }
}

/// A problem that runs are made on.
struct Bench<'a> {
    task: Task,
    case: Case<'a>,
}

impl<'a> Bench<'a> {
    fn new(problem: &str, subject: &'a mut Subject, setting: Setting) -> Result<Self, BoxError> {
        let task = Task { problem: problem.to_owned(), dynamics: setting.dynamics, steps: setting.steps };
        Ok(Bench { task, case: Case::new(subject.score.as_mut(), subject.dim, setting)? })
    }

    fn row(&mut self, preset: &'static Preset, window: usize, target: f64) -> Result<Row, BoxError> {
        let outcome = self.case.equal_error(preset, window, target)?;
        let window = if preset.windowed { window } else { 0 };
        Ok(Row { task: self.task.clone(), preset: preset.name.into(), window, target, outcome })
    }

    fn rows(
        &mut self,
        presets: impl IntoIterator<Item = &'static Preset>,
        windows: &[usize],
        targets: &[f64],
    ) -> Result<Vec<Row>, BoxError> {
        let mut rows = Vec::new();
        for preset in presets {
            for &window in &windows[..if preset.windowed { windows.len() } else { 1 }] {
                for &target in targets {
                    rows.push(self.row(preset, window, target)?);
                }
            }
        }
        Ok(rows)
    }

    /// At the targets that ParaDiGMS's iteration reaches.
    fn equal_rows(&mut self) -> Result<Vec<EqualRows>, BoxError> {
        let mut pairs = Vec::new();
        for target in TARGETS {
            let reference = self.row(preset(REFERENCE), WINDOW, target)?;
            let Some(rows) = reference.outcome.as_ref().map(|o| o.rows) else { continue };
            for name in [OURS, STRIDED] {
                if let Some((window, outcome)) = self.case.equal_rows(preset(name), 2 * WINDOW, target, rows)? {
                    let ours = Row { preset: name.into(), window, outcome: Some(outcome), ..reference.clone() };
                    pairs.push(EqualRows { reference: reference.clone(), ours });
                }
            }
        }
        Ok(pairs)
    }

    fn calibration(&mut self) -> Result<Vec<Calibration>, BoxError> {
        let mut runs = Vec::new();
        for tolerance in TOLERANCES {
            let outcome = self.case.run(preset(OURS), WINDOW, tolerance)?;
            runs.extend(outcome.map(|outcome| Calibration { task: self.task.clone(), window: WINDOW, outcome }));
        }
        Ok(runs)
    }

    /// Every third tolerance, from errors of about 0.3 to 1e-4.
    fn frontiers(&mut self) -> Result<Vec<Frontier>, BoxError> {
        let mut frontiers = Vec::new();
        for preset in plotted() {
            let mut outcomes = Vec::new();
            for k in EXPONENTS.step_by(3) {
                match self.case.at(preset, WINDOW, k)? {
                    Some(outcome) if outcome.error < 1e-4 => break,
                    Some(outcome) if outcome.error < 0.3 => outcomes.push(outcome),
                    _ => {}
                }
            }
            frontiers.push(Frontier { task: self.task.clone(), preset: preset.name.into(), window: WINDOW, outcomes });
        }
        Ok(frontiers)
    }

    fn residuals(&mut self) -> Result<Vec<Residuals>, BoxError> {
        let mut all = Vec::new();
        for preset in plotted() {
            let Row { task, preset: name, window, target, outcome } = self.row(preset, WINDOW, TARGETS[0])?;
            if let Some(Outcome { tolerance, .. }) = outcome {
                let residuals = self.case.residuals(preset, window, tolerance)?;
                all.push(Residuals { task, preset: name, window, target, residuals });
            }
        }
        Ok(all)
    }
}
