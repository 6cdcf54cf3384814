//! What the `rounds` example measures.

use super::equal_error::{Case, Outcome, Setting};
use super::presets::{OURS, PRESETS, Preset, REFERENCE, preset};
use super::subject::Subject;
use piadm::{BoxError, sampler::Dynamics};
use serde::{Deserialize, Serialize};

/// Errors at which samplers are compared.
pub const TARGETS: [f64; 2] = [1e-2, 1e-3];
/// Window of the plots and of the calibration.
pub const WINDOW: usize = 64;
/// Tolerances of the calibration.
pub const TOLERANCES: [f64; 4] = [1e-1, 1e-2, 1e-3, 1e-4];

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    All,
    /// The table of all samplers and nothing else.
    Table,
    /// The claims and nothing else.
    Claims,
    /// The residuals of every round and nothing else.
    Residuals,
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    pub problems: Vec<String>,
    pub dynamics: Vec<Dynamics>,
    pub steps: usize,
    /// `None`: 32, 64 and 128, for the U-Net 64 only.
    pub windows: Option<Vec<usize>>,
    pub samples: usize,
    pub seed: u64,
    pub part: Part,
    /// The first problem's plots, with these numbers of steps and these windows.
    pub curves: (Vec<usize>, Vec<usize>),
}

/// A sampler at an error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    pub problem: String,
    pub dynamics: Dynamics,
    pub steps: usize,
    pub preset: String,
    /// Steps; 0 for a sampler without window.
    pub window: usize,
    /// The median error asked for.
    pub target: f64,
    /// `None` where no tolerance reaches it.
    pub outcome: Option<Outcome>,
}

/// ParaDiGMS's iteration, and the default with the largest window that takes no more rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EqualRows {
    pub reference: Row,
    pub ours: Row,
}

/// A measured error beside the tolerance for it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calibration {
    pub problem: String,
    pub dynamics: Dynamics,
    pub steps: usize,
    pub window: usize,
    pub outcome: Outcome,
}

/// A claim about the trained MLP: at most so many rounds (median) and rows a step at this error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claim {
    pub rounds: f64,
    pub rows: f64,
    pub row: Row,
}

impl Claim {
    /// Whether the figures are within the limits, rows to the two digits that are printed.
    pub fn holds(&self) -> bool {
        self.row.outcome.as_ref().is_some_and(|o| o.rounds_median <= self.rounds && o.rows < self.rows + 5e-3)
    }
}

/// Error against rounds, a point a tolerance.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frontier {
    pub problem: String,
    pub dynamics: Dynamics,
    pub steps: usize,
    pub preset: String,
    pub window: usize,
    pub outcomes: Vec<Outcome>,
}

/// What every round of a run accepted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Residuals {
    pub problem: String,
    pub dynamics: Dynamics,
    pub steps: usize,
    pub preset: String,
    pub window: usize,
    /// The median error that its tolerance was made for.
    pub target: f64,
    /// Of each round the largest rms change among the nodes that left a window.
    pub residuals: Vec<f64>,
}

/// Everything that was measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Results {
    pub samples: usize,
    pub seed: u64,
    /// All samplers at the chosen windows.
    pub table: Vec<Row>,
    pub equal_rows: Vec<EqualRows>,
    pub calibration: Vec<Calibration>,
    pub claims: Vec<Claim>,
    /// The plotted samplers against the number of steps, against the window, and against the error.
    pub by_steps: Vec<Row>,
    pub by_window: Vec<Row>,
    pub frontiers: Vec<Frontier>,
    /// The plotted samplers round by round.
    #[serde(default)]
    pub residuals: Vec<Residuals>,
}

pub fn measure(plan: &Plan) -> Result<Results, BoxError> {
    let mut results = Results { samples: plan.samples, seed: plan.seed, ..Results::default() };
    for (i, name) in plan.problems.iter().enumerate() {
        let mut subject = Subject::load(name)?;
        for &dynamics in plan.dynamics.iter().filter(|_| plan.part != Part::Claims) {
            let mut bench = Bench::new(name, &mut subject, plan.setting(dynamics, plan.steps))?;
            if plan.part == Part::Residuals {
                bench.residuals(&mut results)?;
                continue;
            }
            bench.table(&plan.windows(name), &mut results)?;
            if plan.part == Part::Table {
                continue;
            }
            bench.equal_rows(&mut results)?;
            bench.calibration(&mut results)?;
            if i > 0 {
                continue;
            }
            bench.by_window(&plan.curves.1, &mut results)?;
            bench.frontiers(&mut results)?;
            bench.residuals(&mut results)?;
            for &steps in &plan.curves.0 {
                Bench::new(name, &mut subject, plan.setting(dynamics, steps))?.by_steps(&mut results)?;
            }
        }
        if name == "mlp" && matches!(plan.part, Part::All | Part::Claims) && !plan.curves.0.is_empty() {
            claims(plan, &mut subject, &mut results)?;
        }
    }
    Ok(results)
}

/// The two claims about the MLP.
fn claims(plan: &Plan, subject: &mut Subject, results: &mut Results) -> Result<(), BoxError> {
    let claims = [(Dynamics::Sde, 1000, 128, 2e-3, (22.0, 2.5)), (Dynamics::Ode, 500, WINDOW, 3e-2, (8.0, 1.0))];
    for (dynamics, steps, window, target, (rounds, rows)) in claims {
        if plan.dynamics.contains(&dynamics)
            && let Some(ours) = preset(OURS)
        {
            let mut bench = Bench::new("mlp", subject, plan.setting(dynamics, steps))?;
            let row = bench.row(ours, window, target)?;
            results.claims.push(Claim { rounds, rows, row });
        }
    }
    Ok(())
}

impl Plan {
    fn setting(&self, dynamics: Dynamics, steps: usize) -> Setting {
        Setting { dynamics, steps, samples: self.samples, seed: self.seed }
    }

    fn windows(&self, problem: &str) -> Vec<usize> {
        let usual = if problem == "unet" { vec![WINDOW] } else { vec![32, 64, 128] };
        self.windows.clone().unwrap_or(usual)
    }
}

/// A problem with one setting.
struct Bench<'a> {
    name: &'a str,
    case: Case<'a>,
}

impl<'a> Bench<'a> {
    fn new(name: &'a str, subject: &'a mut Subject, setting: Setting) -> Result<Self, BoxError> {
        eprintln!("{name}, {:?}, {} steps", setting.dynamics, setting.steps);
        Ok(Bench { name, case: Case::new(subject.score.as_mut(), subject.dim, setting)? })
    }

    fn describe(&self, preset: &Preset, window: usize, target: f64, outcome: Option<Outcome>) -> Row {
        Row {
            problem: self.name.to_owned(),
            dynamics: self.case.setting.dynamics,
            steps: self.case.setting.steps,
            preset: preset.name.to_owned(),
            window: if preset.windowed { window } else { 0 },
            target,
            outcome,
        }
    }

    fn row(&mut self, preset: &'static Preset, window: usize, target: f64) -> Result<Row, BoxError> {
        let outcome = self.case.equal_error(preset, window, target)?;
        Ok(self.describe(preset, window, target, outcome))
    }

    fn table(&mut self, windows: &[usize], results: &mut Results) -> Result<(), BoxError> {
        for preset in &PRESETS {
            let windows = if preset.windowed { windows } else { &windows[..1] };
            for &window in windows {
                for target in TARGETS {
                    results.table.push(self.row(preset, window, target)?);
                }
            }
        }
        Ok(())
    }

    fn equal_rows(&mut self, results: &mut Results) -> Result<(), BoxError> {
        let (Some(reference), Some(ours)) = (preset(REFERENCE), preset(OURS)) else { return Ok(()) };
        for target in TARGETS {
            let theirs = self.row(reference, WINDOW, target)?;
            let Some(rows) = theirs.outcome.as_ref().map(|o| o.rows) else { continue };
            if let Some((window, outcome)) = self.case.equal_rows(ours, 2 * WINDOW, target, rows)? {
                let ours = self.describe(ours, window, target, Some(outcome));
                results.equal_rows.push(EqualRows { reference: theirs, ours });
            }
        }
        Ok(())
    }

    fn calibration(&mut self, results: &mut Results) -> Result<(), BoxError> {
        let Some(ours) = preset(OURS) else { return Ok(()) };
        for tolerance in TOLERANCES {
            if let Some(outcome) = self.case.run(ours, WINDOW, tolerance)? {
                let Setting { dynamics, steps, .. } = self.case.setting;
                let problem = self.name.to_owned();
                results.calibration.push(Calibration { problem, dynamics, steps, window: WINDOW, outcome });
            }
        }
        Ok(())
    }

    fn by_window(&mut self, windows: &[usize], results: &mut Results) -> Result<(), BoxError> {
        for preset in plotted() {
            for &window in windows {
                results.by_window.push(self.row(preset, window, TARGETS[0])?);
            }
        }
        Ok(())
    }

    fn residuals(&mut self, results: &mut Results) -> Result<(), BoxError> {
        let Setting { dynamics, steps, .. } = self.case.setting;
        for preset in plotted() {
            let target = TARGETS[0];
            let Some(found) = self.case.equal_error(preset, WINDOW, target)? else { continue };
            let residuals = self.case.residuals(preset, WINDOW, found.tolerance)?;
            let (problem, preset) = (self.name.to_owned(), preset.name.to_owned());
            results.residuals.push(Residuals { problem, dynamics, steps, preset, window: WINDOW, target, residuals });
        }
        Ok(())
    }

    fn by_steps(&mut self, results: &mut Results) -> Result<(), BoxError> {
        for preset in plotted() {
            results.by_steps.push(self.row(preset, WINDOW, TARGETS[0])?);
        }
        Ok(())
    }

    /// Every third tolerance, from errors of about 0.3 to 1e-4.
    fn frontiers(&mut self, results: &mut Results) -> Result<(), BoxError> {
        for preset in plotted() {
            let mut outcomes = Vec::new();
            for k in (-18..=60).step_by(3) {
                let Some(outcome) = self.case.at(preset, WINDOW, k)? else { continue };
                let error = outcome.error;
                if (1e-4..0.3).contains(&error) {
                    outcomes.push(outcome);
                }
                if error < 1e-4 {
                    break;
                }
            }
            let Setting { dynamics, steps, .. } = self.case.setting;
            let (problem, preset) = (self.name.to_owned(), preset.name.to_owned());
            results.frontiers.push(Frontier { problem, dynamics, steps, preset, window: WINDOW, outcomes });
        }
        Ok(())
    }
}

/// The samplers of the plots.
fn plotted() -> impl Iterator<Item = &'static Preset> {
    PRESETS.iter().filter(|p| p.colour.is_some())
}
