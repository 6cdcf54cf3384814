//! Tables of short chains.

use super::{LAW, Line, Results, Steps};
use crate::equal_error::Outcome;
use crate::table::{short, table};

/// A table for every task. Samplers that do not take its steps are left out, and cores of CHORDS that save less than a
/// fifth of the rounds.
pub fn text(results: &Results) -> String {
    let Results { error, samples, seeds, lines } = results;
    let mut text = format!(
        "{samples} samples, medians of seeds {seeds:?}. Tolerances: the loosest with a median error of at most \
         {error:.0e}. Error: rms difference to the sequential sample,\nmedian and worst of the samples; rounds: mean \
         over samples; rows: score rows per step and sample. law has no error and,\nlike chords, no tolerance; newton \
         has exact slopes and is no sampler.\n"
    );
    for group in lines.chunk_by(|a, b| a.task == b.task) {
        let task = &group[0].task;
        let kind = match task.kind {
            Steps::Ddim => "DDIM, uniform in log-SNR",
            Steps::SecondOrder => "DPM-Solver++(2M), uniform in log-SNR",
            Steps::Flow => "Euler's method, uniform in flow time",
            Steps::Sde => "SDE, uniform in log-SNR",
        };
        let shown = group.iter().filter(|line| worth_showing(line));
        let titles = ["", "window", "rounds", "rows", "median", "worst", "tolerance"];
        text += &format!("\n{}, {} steps, {kind}\n{}", task.problem, task.steps, table(titles, 1, shown.map(cells)));
    }
    text
}

fn worth_showing(line: &Line) -> bool {
    let chords = line.sampler.starts_with("chords");
    let rounds = line.median(|outcome| outcome.rounds);
    if chords { rounds.is_some_and(|r| r <= 0.8 * line.task.steps as f64) } else { true }
}

fn cells(line: &Line) -> Vec<String> {
    let number = |of: fn(&Outcome) -> f64, digits| line.median(of).map_or("-".into(), |v| format!("{v:.digits$}"));
    let window = if line.window == 0 { "-".into() } else { line.window.to_string() };
    let tolerance = line.median(|outcome| outcome.tolerance).filter(|tolerance| *tolerance > 0.0);
    // another path of the same law
    let error = |of| short(if line.sampler == LAW { None } else { line.median(of) });
    vec![
        line.sampler.clone(),
        window,
        number(|outcome| outcome.rounds, 1),
        number(|outcome| outcome.rows, 2),
        error(|outcome| outcome.error),
        error(|outcome| outcome.worst),
        short(tolerance),
    ]
}
