//! What `wallclock` found, in tables.

use super::few_steps::{Distance, Quality};
use super::race::Line;
use piadm::sampler::Dynamics;
use serde::{Deserialize, Serialize};

/// One setting.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Race {
    pub dynamics: Dynamics,
    pub steps: usize,
    pub images: usize,
    /// Runs of everyone.
    pub turns: usize,
    pub lines: Vec<Line>,
}

/// A network.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    pub network: String,
    /// Rows and seconds of a call.
    pub latency: Vec<(usize, f64)>,
    /// Seconds of a call on one row, on one thread and on all.
    pub single_row: (f64, f64),
    /// The paths that one row can take on one thread, the one that is used first, and the seconds of a call.
    #[serde(default)]
    pub row_paths: Vec<(String, f64)>,
    pub quality: Vec<Quality>,
    pub races: Vec<Race>,
    /// How long it took.
    pub seconds: f64,
}

/// All networks.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    pub threads: usize,
    pub seed: u64,
    pub networks: Vec<Findings>,
}

/// All tables, the summary first.
pub fn show(results: &Results) -> String {
    let Results { threads, seed, networks } = results;
    let mut text = format!(
        "threads {threads}, seed {seed}; times faster than the fastest sequential run of the same turn / by the shortest runs\n"
    );
    for findings in networks {
        text += &summary(findings);
    }
    for findings in networks {
        text += &latency(findings);
        findings.quality.iter().for_each(|q| text += &quality(&findings.network, q));
        findings.races.iter().for_each(|race| text += &table(&findings.network, race));
    }
    text
}

fn name(dynamics: Dynamics) -> &'static str {
    if dynamics == Dynamics::Ode { "ODE" } else { "SDE" }
}

fn summary(findings: &Findings) -> String {
    let mut text = format!("\n## {}\n\n", findings.network);
    text += "| images | | steps | sequential, s | default | bound | best of the others | automatic | 2nd order, few steps |\n";
    text += "|---|---|---|---|---|---|---|---|---|\n";
    for Race { dynamics, steps, images, lines, .. } in &findings.races {
        let find = |start: &str| lines.iter().find(|l| l.sampler.starts_with(start));
        let others = ["piadm", "paradigms", "parataa", "wavefront", "parareal"].map(&find);
        let best = others.into_iter().flatten().max_by(|a, b| a.ratio.total_cmp(&b.ratio));
        let sequential = lines.iter().filter(|l| l.sampler.starts_with("sequential"));
        let seconds = sequential.map(|l| l.seconds).fold(f64::INFINITY, f64::min);
        let ratio =
            |line: Option<&Line>| line.map_or("-".into(), |l| format!("{:.2} / {:.2}", l.ratio, by_least(lines, l)));
        text += &format!(
            "| {images} | {} | {steps} | {seconds:.3} | {} | {} | {} ({}) | {} | {} ({}) |\n",
            name(*dynamics),
            ratio(find("picard")),
            find("picard").map_or("-".into(), |l| format!("{:.2}", l.bound)),
            ratio(best),
            best.map_or("", |l| &l.sampler),
            ratio(find("automatic")),
            ratio(find("2nd")),
            find("2nd").map_or("none".into(), |l| l.steps.to_string()),
        );
    }
    text
}

/// The shortest sequential run over the shortest run of a line: where other work disturbs, it does so least.
fn by_least(lines: &[Line], line: &Line) -> f64 {
    let sequential = lines.iter().filter(|l| l.sampler.starts_with("sequential"));
    sequential.map(|l| l.range.0).fold(f64::INFINITY, f64::min) / line.range.0
}

fn latency(findings: &Findings) -> String {
    let mut text = format!("\n{}: microseconds of a row in a call\n\n| rows |", findings.network);
    findings.latency.iter().for_each(|(rows, _)| text += &format!(" {rows} |"));
    text += &format!("\n|{}\n| |", "---|".repeat(findings.latency.len() + 1));
    findings.latency.iter().for_each(|(rows, s)| text += &format!(" {:.1} |", 1e6 * s / *rows as f64));
    let (one, all) = findings.single_row;
    text += &format!(
        "\n\none row on one thread {:.1}, on all {:.1}; everything took {:.0} s\n",
        1e6 * one,
        1e6 * all,
        findings.seconds
    );
    if let Some((_, used)) = findings.row_paths.first() {
        let best = findings.row_paths.iter().fold(f64::INFINITY, |best, (_, s)| best.min(*s));
        let paths: Vec<_> = findings.row_paths.iter().map(|(path, s)| format!("{path} {:.1}", 1e6 * s)).collect();
        let share = used / best;
        text += &format!(
            "paths of one row: {}; the first is used and takes {share:.2} times the least\n",
            paths.join(", ")
        );
    }
    text
}

fn quality(network: &str, quality: &Quality) -> String {
    let Quality { dynamics, samples, reference_steps, first_order, second_order } = quality;
    let mut text = format!(
        "\n{network}, {}: squared distances of {samples} images to as many of {reference_steps} second-order steps with other noise\n\n\
         | | steps | sliced Wasserstein | Fréchet, pixels | fewest second-order steps |\n|---|---|---|---|---|\n",
        name(*dynamics)
    );
    let mut line = |order: &str, d: &Distance, fewest: String| {
        text += &format!("| {order} | {} | {} | {} | {fewest} |\n", d.steps, d.sliced, d.frechet);
    };
    for d in first_order {
        line("first order", d, quality.fewest(d.steps).map_or("none".into(), |n| n.to_string()));
    }
    second_order.iter().for_each(|d| line("second order", d, String::new()));
    text
}

fn table(network: &str, race: &Race) -> String {
    let Race { dynamics, steps, images, turns, lines } = race;
    let mut text = format!(
        "\n{network}, {}, {steps} steps, images {images}, medians of {turns} runs in turn\n\n\
         | | window | tolerance | rounds | rows a step | path error | seconds (least, most) | solver | calls straight | times faster | by least | bound | share |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        name(*dynamics)
    );
    for l in lines {
        let few = if l.steps == *steps { String::new() } else { format!(" ({})", l.steps) };
        text += &format!(
            "| {}{few} | {} | {} | {:.0} | {:.2} | {} | {:.4} ({:.4}, {:.4}) | {:.0} % | {} | {:.2} | {:.2} | {:.2} | {:.0} % |\n",
            l.sampler,
            l.window.map_or("-".into(), |w| w.to_string()),
            l.tolerance.map_or("-".into(), |t| format!("{t:.1e}")),
            l.rounds,
            l.rows,
            l.error.map_or("-".into(), |e| format!("{e:.1e}")),
            l.seconds,
            l.range.0,
            l.range.1,
            100.0 * l.solver,
            l.straight.map_or("-".into(), |s| format!("{:.0} %", 100.0 * s)),
            l.ratio,
            by_least(lines, l),
            l.bound,
            100.0 * l.ratio / l.bound,
        );
    }
    text
}
