//! Tables and plots of the rounds.

use super::{Claim, Results, Row, TARGETS, TOLERANCES, Task, WINDOW};
use crate::cli::name;
use crate::equal_error::Outcome;
use crate::plot::{Marker, Plot, Series};
use crate::presets::{OURS, PRESETS, REFERENCE};
use crate::table::{short, table};
use piadm::{BoxError, sampler::Dynamics};
use std::path::Path;

/// All tables.
pub fn text(results: &Results) -> String {
    let Results { samples, seed, .. } = results;
    let mut text = format!(
        "{samples} samples, seed {seed}. Error: rms difference to the sequential sample, median and worst of the \
         samples; rounds: mean over\nsamples; rows: score rows per step and sample; tolerance: the loosest that \
         reaches the median error, in the sampler's own units.\n"
    );
    for group in results.table.chunk_by(|a, b| a.task == b.task) {
        text += &format!("\n{}\n{}", group[0].task, samplers(group));
    }
    text + &equal_rows(results) + &calibration(results) + &claims(results)
}

/// Rounds, rows, median, worst and tolerance.
fn cells(outcome: Option<&Outcome>) -> [String; 5] {
    let Some(Outcome { tolerance, rounds, rows, error, worst, .. }) = outcome else {
        return [(); 5].map(|()| "-".into());
    };
    let [error, worst, tolerance] = [error, worst, tolerance].map(|v| short(Some(*v)));
    [format!("{rounds:.1}"), format!("{rows:.2}"), error, worst, tolerance]
}

/// A line for every sampler and window of a task, with its targets side by side.
fn samplers(rows: &[Row]) -> String {
    let columns =
        |target| [format!("{target:.0e} rounds"), "rows".into(), "median".into(), "worst".into(), "tolerance".into()];
    let titles = ["".into(), "window".into()].into_iter().chain(TARGETS.into_iter().flat_map(columns));
    let line = |line: &[Row]| {
        let window = if line[0].window == 0 { "-".into() } else { line[0].window.to_string() };
        let cells = line.iter().flat_map(|row| cells(row.outcome.as_ref()));
        [line[0].preset.clone(), window].into_iter().chain(cells).collect()
    };
    table(titles, 1, rows.chunk_by(|a, b| (&a.preset, a.window) == (&b.preset, b.window)).map(line))
}

fn equal_rows(results: &Results) -> String {
    if results.equal_rows.is_empty() {
        return String::new();
    }
    let lines = results.equal_rows.iter().map(|pair| {
        let (theirs, ours) = (pair.reference.outcome.as_ref(), pair.ours.outcome.as_ref());
        let saved =
            theirs.zip(ours).map_or("-".into(), |(theirs, ours)| format!("x {:.2}", theirs.rounds / ours.rounds));
        let ([their_rounds, their_rows, ..], [rounds, rows, ..]) = (cells(theirs), cells(ours));
        let Row { task, target, .. } = &pair.reference;
        let (problem, dynamics, target) = (task.problem.clone(), name(task.dynamics).into(), format!("{target:.0e}"));
        let Row { preset, window, .. } = &pair.ours;
        let [preset, window] = [preset.clone(), window.to_string()];
        vec![problem, dynamics, target, their_rounds, their_rows, preset, window, rounds, rows, saved]
    });
    let titles = ["problem", "", "error", "rounds", "rows", "", "window", "rounds", "rows", "rounds saved"];
    format!(
        "\nat equal rows: {REFERENCE} at window {WINDOW}, and ours at the largest window (a multiple of 8) that \
         takes no more rows per step\n{}",
        table(titles, 2, lines)
    )
}

fn calibration(results: &Results) -> String {
    if results.calibration.is_empty() {
        return String::new();
    }
    let lines = results.calibration.chunk_by(|a, b| a.task == b.task).map(|line| {
        let cell = |tolerance| {
            let outcome = line.iter().map(|c| &c.outcome).find(|o| o.tolerance == tolerance);
            outcome.map_or("-".into(), |o| format!("{:.2} ({:.2})", o.error / tolerance, o.worst / tolerance))
        };
        let task = &line[0].task;
        [task.problem.clone(), name(task.dynamics).into()].into_iter().chain(TOLERANCES.map(cell)).collect()
    });
    let titles =
        ["problem".into(), "".into()].into_iter().chain(TOLERANCES.map(|tolerance| format!("{tolerance:.0e}")));
    format!(
        "\ncalibration of the error tolerance, window {WINDOW}: median error / tolerance (worst error / tolerance)\n{}",
        table(titles, 2, lines)
    )
}

/// The claims about the MLP, and that the default takes no more rounds or rows than ParaDiGMS, per sample or per batch.
fn claims(results: &Results) -> String {
    let mut text = String::new();
    for claim @ Claim { rounds, rows, row: Row { task, window, target, outcome, .. } } in &results.claims {
        let found = outcome.as_ref().map_or("not reached".into(), |o| {
            format!("{} (mean {:.1}) at {:.2}, error {:.1e}", o.rounds_median, o.rounds, o.rows, o.error)
        });
        text += &format!(
            "{}, {} {} steps, window {window}, error below {target:.0e}: at most {rounds} rounds (median) at \
             {rows:.2} rows per step: {found}: {}\n",
            task.problem,
            task.steps,
            name(task.dynamics),
            if claim.holds() { "holds" } else { "FAILS" },
        );
    }
    let (mut pairs, mut worse) = (0, Vec::new());
    for theirs in results.table.iter().filter(|r| r.preset.starts_with(REFERENCE)) {
        let same = |r: &&Row| (&r.task, r.window, r.target) == (&theirs.task, theirs.window, theirs.target);
        let ours = results.table.iter().filter(|r| r.preset == OURS).find(same);
        let (Some(ours), Some(a)) = (ours, &theirs.outcome) else { continue };
        pairs += 1;
        if ours.outcome.as_ref().is_none_or(|b| b.rounds > a.rounds || b.rows > a.rows) {
            worse.push((theirs, ours));
        }
    }
    if pairs > 0 {
        let bad = worse.len();
        text += &format!(
            "no row worse than {REFERENCE} or {REFERENCE}-batch: {pairs} pairs compared, {bad} worse in rounds or \
             in rows\n"
        );
    }
    for (Row { task, window, target, preset, outcome }, ours) in worse {
        let ([rounds, rows, ..], [ours, our_rows, ..]) = (cells(outcome.as_ref()), cells(ours.outcome.as_ref()));
        text += &format!("  {}, {}, window {window}, error {target:.0e}, ", task.problem, name(task.dynamics));
        text += &format!("{preset}: rounds {rounds} and {ours}, rows {rows} and {our_rows}\n");
    }
    if text.is_empty() { text } else { format!("\nclaims\n{text}") }
}

/// A point of a plot: where, which sampler, x and y.
type Point<'a> = (&'a Task, &'a str, f64, f64);
/// The label of an axis.
const ROUNDS: &str = "rounds";

/// Writes rounds-steps.png, rounds-window.png, rounds-error.png and rounds-residual.png, where there is something to
/// draw.
pub fn draw(results: &Results, folder: &Path) -> Result<(), BoxError> {
    let Results { by_steps, by_window, frontiers, residuals, .. } = results;
    let error = TARGETS[0];
    let title = |task: &Task| format!("{}: rounds to an error of {error}, window {WINDOW}", task.problem);
    plot(&folder.join("rounds-steps.png"), title, ["steps", ROUNDS], rounds(by_steps, |r| r.task.steps))?;
    let title = |task: &Task| format!("{}: rounds to an error of {error}, {} steps", task.problem, task.steps);
    plot(&folder.join("rounds-window.png"), title, ["window (steps)", ROUNDS], rounds(by_window, |r| r.window))?;
    let title = |task: &Task| format!("{}: what rounds buy, {} steps, window {WINDOW}", task.problem, task.steps);
    let points = frontiers.iter().flat_map(|f| f.outcomes.iter().map(|o| (&f.task, &*f.preset, o.rounds, o.error)));
    plot(&folder.join("rounds-error.png"), title, [ROUNDS, "median error"], points.collect())?;
    let title = |task: &Task| format!("{}: what a round accepts, {} steps, window {WINDOW}", task.problem, task.steps);
    // a round in which only exact nodes leave has no residual
    let points = residuals.iter().flat_map(|line| {
        let rounds = line.residuals.iter().zip(1..).filter(|(residual, _)| **residual > 0.0);
        rounds.map(|(residual, round)| (&line.task, &*line.preset, f64::from(round), *residual))
    });
    plot(&folder.join("rounds-residual.png"), title, ["round", "residual"], points.collect())
}

/// Rounds of these rows against x.
fn rounds(rows: &[Row], x: fn(&Row) -> usize) -> Vec<Point<'_>> {
    rows.iter().filter_map(|r| Some((&r.task, &*r.preset, x(r) as f64, r.outcome.as_ref()?.rounds))).collect()
}

/// A line for each plotted sampler and dynamics: rounds against powers of two, or something logarithmic against rounds.
fn plot(
    file: &Path,
    title: impl Fn(&Task) -> String,
    [x, y]: [&str; 2],
    points: Vec<Point<'_>>,
) -> Result<(), BoxError> {
    let Some((task, ..)) = points.first() else { return Ok(()) };
    let mut series = Vec::new();
    for (dynamics, marker, dashed) in [(Dynamics::Sde, Marker::Circle, false), (Dynamics::Ode, Marker::Square, true)] {
        for (preset, colour) in PRESETS.iter().filter_map(|p| Some((p.name, p.colour?))) {
            let own = points.iter().filter(|p| p.0.dynamics == dynamics && p.1 == preset);
            let points: Vec<_> = own.map(|p| (p.2, p.3, true)).collect();
            if !points.is_empty() {
                series.push(Series { label: format!("{}: {preset}", name(dynamics)), points, colour, marker, dashed });
            }
        }
    }
    let log_x = y == ROUNDS;
    let longest = series.iter().max_by_key(|s| s.points.len()).filter(|_| log_x);
    let x_ticks = longest.map(|s| s.points.iter().map(|p| p.0).collect());
    let (title, x_label, y_label) = (title(task), x.into(), y.into());
    Plot { title, x_label, y_label, log_x, log_y: !log_x, x_ticks, series }.save(file, (960, 600))
}
