//! A control loop: a plan of 16 actions from an observation, by 100 DDPM steps of one sample in every control step.
//!
//! `cargo run --release --features tract --example policy -- FOLDER`, where export/export.py has written the graphs.
//! The policy has the size of those that robots use and random weights.

mod shared;

use piadm::BoxError;
use piadm::grid::Spacing;
use piadm::ndarray::{Array3, Axis, s};
use piadm::prelude::*;
use piadm::problem::{Path, Prepared};
use piadm_onnx::{Condition, OnnxScore};
use shared::{OBSERVED, engines, folder, load, onnx};
use std::time::Instant;

const STEPS: usize = 100;
const HORIZON: usize = 16;
const ACTIONS: usize = 2;
const CONTROL_STEPS: usize = 40;
/// Control steps before those that are measured.
const FIRST: usize = 3;

/// Where the guesses for a control step come from.
#[derive(Clone, Copy, PartialEq)]
enum Guesses {
    Cold,
    /// The states of the control step before.
    Last,
    /// The same, one action earlier: what was planned for then is due now.
    Shifted,
}

/// What is observed at a control step: it drifts.
fn observation(step: usize) -> Condition {
    let at = |i: usize| (0.02 * step as f64 + i as f64).sin();
    Condition::constant((0..OBSERVED).map(at).collect::<piadm::ndarray::Array1<f64>>().into_dyn())
}

/// The path with every action one place earlier; the last is repeated.
fn shifted(path: &Path<f32>) -> Result<Path<f32>, BoxError> {
    let states = path.states();
    let shape = (states.len_of(Axis(0)), HORIZON, ACTIONS);
    let old = states.view().into_shape_with_order(shape)?;
    let mut new = old.to_owned();
    new.slice_mut(s![.., ..HORIZON - 1, ..]).assign(&old.slice(s![.., 1.., ..]));
    let new: Array3<f32> = new.into_shape_with_order((shape.0, 1, HORIZON * ACTIONS))?;
    Ok(Path::new(path.steps().to_vec(), new)?)
}

/// Runs the loop and prints a line.
fn control(
    engine: &str,
    name: &str,
    problem: &Problem<Cpu<f32>>,
    score: &mut OnnxScore,
    sampler: Option<(&Picard, Guesses)>,
) -> Result<(), BoxError> {
    let mut session = match sampler {
        Some((picard, _)) => Some(picard.session(&problem.prepare(&*score)?)?),
        None => None,
    };
    let mut prepared: Prepared<Cpu<f32>> = problem.prepare(&*score)?;
    let (mut milliseconds, mut rounds, mut rows) = (Vec::new(), 0, 0);
    for step in 0..FIRST + CONTROL_STEPS {
        let clock = Instant::now();
        score.set_condition("observation", observation(step))?;
        let report = match (&mut session, sampler) {
            (Some(session), Some((_, guesses))) => {
                if guesses != Guesses::Cold && step > 0 {
                    let last = session.path();
                    let path = if guesses == Guesses::Shifted { shifted(last)? } else { last.clone() };
                    prepared = problem.clone().guesses(path).prepare(&*score)?;
                }
                session.run(&prepared, score)?;
                session.report().clone()
            }
            _ => Sequential.sample(problem, score)?.report,
        };
        if step >= FIRST {
            milliseconds.push(clock.elapsed().as_secs_f64() * 1e3);
            (rounds, rows) = (rounds + report.rounds, rows + report.score_rows);
        }
    }
    milliseconds.sort_by(f64::total_cmp);
    let at = |part: f64| milliseconds[((CONTROL_STEPS - 1) as f64 * part).round() as usize];
    let (rounds, rows) = (rounds as f64 / CONTROL_STEPS as f64, rows as f64 / (CONTROL_STEPS * STEPS) as f64);
    println!("{engine:<7}{name:<26}{:>8.2} ms{:>8.2} ms{rounds:>9.1}{rows:>9.2}", at(0.5), at(0.99));
    Ok(())
}

fn main() -> Result<(), BoxError> {
    folder()?;
    println!("{CONTROL_STEPS} control steps of {STEPS} DDPM steps, one sample of [{HORIZON}, {ACTIONS}]");
    println!("{:<7}{:<26}{:>11}{:>11}{:>9}{:>9}", "engine", "sampler", "p50", "p99", "rounds", "rows/step");
    let schedule = Discrete::cosine(STEPS)?;
    let problem = Problem::new(schedule, Grid::ddpm_timesteps(STEPS, Spacing::Leading { offset: 0 }), Scheme::ddpm());
    let problem = problem.shape([HORIZON, ACTIONS]).seed(5);
    for engine in engines() {
        let mut score = load(&onnx("policy", engine)?, "policy")?;
        let name = engine.to_string();
        // from a thread of the pool, as every kernel runs there
        rayon::scope(|_| -> Result<(), BoxError> {
            control(&name, "sequential", &problem, &mut score, None)?;
            for window in [8, 16, 32] {
                let picard = Picard::default().window(window);
                control(&name, &format!("window {window}"), &problem, &mut score, Some((&picard, Guesses::Cold)))?;
                let saving = problem.clone().save(Save::All);
                for (how, guesses) in [("last", Guesses::Last), ("shifted", Guesses::Shifted)] {
                    let name_of = format!("window {window}, warm, {how}");
                    control(&name, &name_of, &saving, &mut score, Some((&picard, guesses)))?;
                }
            }
            for window in [8, 16] {
                let law = Picard::exact_in_law().window(window);
                control(&name, &format!("law, window {window}"), &problem, &mut score, Some((&law, Guesses::Cold)))?;
            }
            Ok(())
        })?;
    }
    Ok(())
}
