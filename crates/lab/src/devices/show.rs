//! Tables and plots of many devices.

use super::{Line, Results, Task};
use crate::plot::{Marker, Plot, Series};
use crate::presets::{OURS, REFERENCE, STRIDED};
use crate::short::{LAW, Steps};
use crate::table::{short, table};
use piadm::BoxError;
use std::path::Path;

/// A table for every number of steps.
pub fn text(results: &Results) -> String {
    let Results { problem, samples, seed, error, device: (row, latency, bytes, bandwidth), lines } = results;
    let mut text = format!(
        "{problem}, one image at a time, mean of {samples}, seed {seed}; a window of one step per device. Devices take \
         {} ms a row, {} us a call and\n{bytes} bytes a row at {} GB/s. Tolerances: the loosest with a median path \
         error of at most {error:.0e}; law has no error, chords no tolerance.\nfaster: than one device, one row after \
         another; model: rounds times the cost of a round.\n",
        1e3 * row,
        1e6 * latency,
        bandwidth / 1e9,
    );
    for group in lines.chunk_by(|a, b| a.task == b.task) {
        let Task { kind, steps, sequential } = group[0].task;
        let titles = ["devices", "", "rounds", "rows", "error", "seconds", "faster", "efficiency", "model"];
        text += &format!("\n{steps} steps, {}, one device: {sequential:.2} s\n", words(kind));
        text += &table(titles, 2, group.iter().map(cells));
    }
    text
}

fn words(kind: Steps) -> &'static str {
    match kind {
        Steps::Ddim => "DDIM",
        Steps::SecondOrder => "DPM-Solver++(2M)",
        Steps::Flow => "flow",
        Steps::Sde => "SDE",
    }
}

/// How many times faster than one device.
fn faster(line: &Line) -> f64 {
    line.task.sequential / line.seconds.unwrap_or(line.model)
}

fn cells(line: &Line) -> Vec<String> {
    let Line { devices, sampler, outcome, seconds, model, .. } = line;
    let error = Some(outcome.error).filter(|_| sampler != LAW);
    vec![
        devices.to_string(),
        sampler.clone(),
        format!("{:.1}", outcome.rounds),
        format!("{:.2}", outcome.rows),
        short(error),
        seconds.map_or("-".into(), |s| format!("{s:.3}")),
        format!("{:.2}", faster(line)),
        format!("{:.0} %", 100.0 * faster(line) / *devices as f64),
        format!("{model:.3}"),
    ]
}

/// Writes devices-KIND-STEPS.png: how many times faster, against the number of devices.
pub fn draw(results: &Results, folder: &Path) -> Result<(), BoxError> {
    let samplers = [
        (OURS, (0x1f, 0x5f, 0xa8)),
        (STRIDED, (0x5b, 0x9b, 0xd5)),
        (LAW, (0x7a, 0x3e, 0x9d)),
        (REFERENCE, (0xd0, 0x5a, 0x1e)),
        ("chords", (0x6b, 0x8e, 0x3a)),
    ];
    for group in results.lines.chunk_by(|a, b| a.task == b.task) {
        let Task { kind, steps, .. } = group[0].task;
        let mut series = Vec::new();
        for (name, colour) in samplers {
            let own = group.iter().filter(|line| line.sampler == name);
            let points: Vec<_> = own.map(|line| (line.devices as f64, faster(line), line.seconds.is_some())).collect();
            if !points.is_empty() {
                series.push(Series { label: name.into(), points, colour, marker: Marker::Circle, dashed: false });
            }
        }
        let x_ticks = Some(group.iter().map(|line| line.devices as f64).collect());
        let title = format!("{}, {steps} steps, {}: one image on many devices", results.problem, words(kind));
        let (x_label, y_label) = ("devices".into(), "times faster than one".into());
        let file = folder.join(format!("devices-{}-{steps}.png", words(kind).to_lowercase()));
        Plot { title, x_label, y_label, log_x: true, log_y: false, x_ticks, series }.save(&file, (960, 600))?;
    }
    Ok(())
}
