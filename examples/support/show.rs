//! Tables and plots of the `rounds` example.

use super::equal_error::Outcome;
use super::plot::{Marker, Plot, Series};
use super::presets::{OURS, PRESETS, REFERENCE};
use super::study::{Claim, Results, Row, TARGETS, TOLERANCES, WINDOW};
use piadm::{BoxError, sampler::Dynamics};
use std::path::Path;

const DYNAMICS: [Dynamics; 2] = [Dynamics::Sde, Dynamics::Ode];

fn name(dynamics: Dynamics) -> &'static str {
    match dynamics {
        Dynamics::Sde => "SDE",
        Dynamics::Ode => "ODE",
    }
}

/// All tables.
pub fn text(results: &Results) -> String {
    let Results { samples, seed, .. } = results;
    let mut text = format!(
        "{samples} samples, seed {seed}. Error: rms difference to the sequential sample, median and worst of the samples; rounds: mean over\n\
         samples; rows: score rows a step and sample; tolerance: the loosest that reaches the median error, in the sampler's own units.\n"
    );
    text += &table(&results.table);
    text += &equal_rows(results);
    text += &calibration(results);
    text += &claims(results);
    text
}

/// The rows of each problem and dynamics, in their order.
fn groups(rows: &[Row]) -> impl Iterator<Item = &[Row]> {
    rows.chunk_by(|a, b| (&a.problem, a.dynamics, a.steps) == (&b.problem, b.dynamics, b.steps))
}

fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for group in groups(rows) {
        let Some(first) = group.first() else { continue };
        text += &format!("\n{}, {}, {} steps\n{:<16} window", first.problem, name(first.dynamics), first.steps, "");
        for target in TARGETS {
            text += &format!("  | {target:<5.0e} rounds   rows  median   worst  tolerance");
        }
        text.push('\n');
        for line in group.chunk_by(|a, b| (&a.preset, a.window) == (&b.preset, b.window)) {
            let Some(first) = line.first() else { continue };
            let window = if first.window == 0 { "-".to_owned() } else { first.window.to_string() };
            text += &format!("{:<16} {window:>6}", first.preset);
            for row in line {
                text += &match &row.outcome {
                    Some(Outcome { tolerance, rounds, rows, error, worst, .. }) => {
                        format!("  | {rounds:>12.1} {rows:>6.2} {error:>7.1e} {worst:>7.1e} {tolerance:>10.1e}")
                    }
                    None => format!("  | {:>12} {:>6} {:>7} {:>7} {:>10}", "-", "-", "-", "-", "-"),
                };
            }
            text.push('\n');
        }
    }
    text
}

fn equal_rows(results: &Results) -> String {
    if results.equal_rows.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\nat equal rows: {REFERENCE} at window {WINDOW}, and {OURS} at the largest window (a multiple of 8) that takes no more rows a step\n\
         {:<14} {:<4} {:>5} | rounds   rows | window rounds   rows | rounds saved\n",
        "problem", "", "error"
    );
    for pair in &results.equal_rows {
        let (Some(theirs), Some(ours)) = (&pair.reference.outcome, &pair.ours.outcome) else { continue };
        let Row { problem, dynamics, target, .. } = &pair.reference;
        text += &format!(
            "{problem:<14} {:<4} {target:>5.0e} | {:>6.1} {:>6.2} | {:>6} {:>6.1} {:>6.2} | x {:.2}\n",
            name(*dynamics),
            theirs.rounds,
            theirs.rows,
            pair.ours.window,
            ours.rounds,
            ours.rows,
            theirs.rounds / ours.rounds,
        );
    }
    text
}

fn calibration(results: &Results) -> String {
    if results.calibration.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "\ncalibration of the error tolerance, window {WINDOW}: median error / tolerance (worst error / tolerance)\n"
    );
    text += &format!("{:<14} {:<4}", "problem", "");
    for tolerance in TOLERANCES {
        text += &format!(" {tolerance:>15.0e}");
    }
    text.push('\n');
    for line in results.calibration.chunk_by(|a, b| (&a.problem, a.dynamics) == (&b.problem, b.dynamics)) {
        let Some(first) = line.first() else { continue };
        text += &format!("{:<14} {:<4}", first.problem, name(first.dynamics));
        for tolerance in TOLERANCES {
            let outcome = line.iter().map(|c| &c.outcome).find(|o| o.tolerance == tolerance);
            let cell = outcome.map(|o| format!("{:.2} ({:.2})", o.error / tolerance, o.worst / tolerance));
            text += &format!(" {:>15}", cell.unwrap_or_else(|| "-".into()));
        }
        text.push('\n');
    }
    text
}

fn claims(results: &Results) -> String {
    let mut text = String::from("\nclaims\n");
    for claim in &results.claims {
        let Claim { rounds, rows, row } = claim;
        text += &format!(
            "{}, {} {} steps, window {}, error below {:.0e}: at most {rounds} rounds (median) at {rows:.2} rows a step: ",
            row.problem,
            row.steps,
            name(row.dynamics),
            row.window,
            row.target
        );
        text += &match &row.outcome {
            Some(o) => format!("{} (mean {:.1}) at {:.2}, error {:.1e}", o.rounds_median, o.rounds, o.rows, o.error),
            None => "not reached".into(),
        };
        text += if claim.holds() { ": holds\n" } else { ": FAILS\n" };
    }
    let pairs = worse(&results.table);
    let bad = pairs.iter().filter(|(.., worse)| *worse).count();
    if !pairs.is_empty() {
        text += &format!(
            "no row worse than {REFERENCE} or {REFERENCE}-batch: {} pairs compared, {bad} worse in rounds or in rows\n",
            pairs.len()
        );
    }
    for (theirs, ours, worse) in pairs {
        let (Some(a), Some(b)) = (&theirs.outcome, &ours.outcome) else { continue };
        if worse {
            let Row { problem, dynamics, window, target, .. } = ours;
            text +=
                &format!("  {problem}, {}, window {window}, error {target:.0e}, {}: ", name(*dynamics), theirs.preset);
            text += &format!("rounds {:.1} and {:.1}, rows {:.2} and {:.2}\n", a.rounds, b.rounds, a.rows, b.rows);
        }
    }
    text
}

/// The rows of ParaDiGMS, per sample and per batch, beside those of the default, and whether the latter takes more
/// rounds or rows.
pub fn worse(rows: &[Row]) -> Vec<(&Row, &Row, bool)> {
    let place = |r: &Row| (r.problem.clone(), r.dynamics, r.steps, r.window, r.target.to_bits());
    let mut pairs = Vec::new();
    for theirs in rows.iter().filter(|r| r.preset.starts_with(REFERENCE)) {
        let Some(a) = &theirs.outcome else { continue };
        if let Some(ours) = rows.iter().find(|r| r.preset == OURS && place(r) == place(theirs)) {
            let worse = ours.outcome.as_ref().is_none_or(|b| b.rounds > a.rounds || b.rows > a.rows);
            pairs.push((theirs, ours, worse));
        }
    }
    pairs
}

/// A line for each plotted sampler and dynamics.
fn series(points: impl Fn(&str, Dynamics) -> Vec<(f64, f64)>) -> Vec<Series> {
    let mut all = Vec::new();
    for dynamics in DYNAMICS {
        for preset in &PRESETS {
            let Some(colour) = preset.colour else { continue };
            let points: Vec<_> = points(preset.name, dynamics).into_iter().map(|(x, y)| (x, y, true)).collect();
            if points.is_empty() {
                continue;
            }
            let (marker, dashed) = match dynamics {
                Dynamics::Sde => (Marker::Circle, false),
                Dynamics::Ode => (Marker::Square, true),
            };
            all.push(Series { label: format!("{}: {}", name(dynamics), preset.name), points, colour, marker, dashed });
        }
    }
    all
}

/// Rounds of these rows against x.
fn rounds(rows: &[Row], x: fn(&Row) -> usize) -> Vec<Series> {
    series(|preset, dynamics| {
        let rows = rows.iter().filter(|r| r.preset == preset && r.dynamics == dynamics);
        rows.filter_map(|r| Some((x(r) as f64, r.outcome.as_ref()?.rounds))).collect()
    })
}

fn ticks(series: &[Series]) -> Option<Vec<f64>> {
    let longest = series.iter().max_by_key(|s| s.points.len())?;
    Some(longest.points.iter().map(|p| p.0).collect())
}

/// Writes rounds-steps.png, rounds-window.png, rounds-error.png and rounds-residual.png, where there is something to
/// draw.
pub fn draw(results: &Results, folder: &Path) -> Result<(), BoxError> {
    let plot = |title: String, x_label: &str, log_x, y_label: &str, log_y, series: Vec<Series>| {
        let x_ticks = if log_x { ticks(&series) } else { None };
        Plot { title, x_label: x_label.into(), y_label: y_label.into(), log_x, log_y, x_ticks, series }
    };
    let error = TARGETS[0];
    let save = |plot: Plot, file: &str| plot.save(folder.join(file), (960, 600));
    if let Some(Row { problem, .. }) = results.by_steps.first() {
        let title = format!("{problem}: rounds to an error of {error}, window {WINDOW}");
        let series = rounds(&results.by_steps, |r| r.steps);
        save(plot(title, "steps", true, "rounds", false, series), "rounds-steps.png")?;
    }
    if let Some(Row { problem, steps, .. }) = results.by_window.first() {
        let title = format!("{problem}: rounds to an error of {error}, {steps} steps");
        let series = rounds(&results.by_window, |r| r.window);
        save(plot(title, "window (steps)", true, "rounds", false, series), "rounds-window.png")?;
    }
    if let Some(first) = results.frontiers.first() {
        let title = format!("{}: what rounds buy, {} steps, window {}", first.problem, first.steps, first.window);
        let series = series(|preset, dynamics| {
            let lines = results.frontiers.iter().filter(|f| f.preset == preset && f.dynamics == dynamics);
            lines.flat_map(|f| f.outcomes.iter().map(|o| (o.rounds, o.error))).collect()
        });
        save(plot(title, "rounds", false, "median error", true, series), "rounds-error.png")?;
    }
    if let Some(first) = results.residuals.first() {
        let title = format!("{}: what a round accepts, {} steps, window {}", first.problem, first.steps, first.window);
        let series = series(|preset, dynamics| {
            let mut lines = results.residuals.iter().filter(|r| r.preset == preset && r.dynamics == dynamics);
            let rounds = lines.next().map_or(&[][..], |line| &line.residuals).iter().enumerate();
            // a round in which only exact nodes leave has none
            rounds.filter(|(_, r)| **r > 0.0).map(|(i, r)| ((i + 1) as f64, *r)).collect()
        });
        save(plot(title, "round", false, "residual", true, series), "rounds-residual.png")?;
    }
    Ok(())
}
