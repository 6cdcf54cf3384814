//! What `wallclock` found, in tables.

use super::entrants::NAMES;
use super::few_steps::{Distance, Quality};
use super::race::{Line, Race};
use super::{Findings, Results};
use crate::cli::name;
use crate::table::{short, table};

/// All tables, the summary first.
pub fn text(results: &Results) -> String {
    let Results { threads, seed, networks } = results;
    let mut text = format!(
        "threads {threads}, seed {seed}; times faster than the fastest sequential run of the same turn / by the \
         shortest runs\n"
    );
    networks.iter().for_each(|findings| text += &summary(findings));
    for findings in networks {
        let network = &findings.network;
        text += &latency(findings);
        findings.quality.iter().for_each(|found| text += &quality(network, found));
        findings.races.iter().for_each(|found| text += &race(network, found));
    }
    text
}

fn summary(findings: &Findings) -> String {
    let lines = findings.races.iter().map(|race| {
        let find = |start: &str| race.lines.iter().find(|l| l.sampler.starts_with(start));
        let ratio =
            |line: Option<&Line>| line.map_or("-".into(), |l| format!("{:.2} / {:.2}", l.ratio, by_least(race, l)));
        let (ours, few) = (find("picard"), find("2nd"));
        let others = race.lines.iter().filter(|l| NAMES.contains(&l.sampler.as_str()));
        let best = others.max_by(|a, b| a.ratio.total_cmp(&b.ratio));
        vec![
            ("images", race.images.to_string()),
            ("", name(race.dynamics).into()),
            ("steps", race.steps.to_string()),
            ("sequential, s", format!("{:.3}", least(race, |l| l.seconds))),
            ("default", ratio(ours)),
            ("bound", ours.map_or("-".into(), |l| format!("{:.2}", l.bound))),
            ("best of the others", format!("{} ({})", ratio(best), best.map_or("none", |l| &l.sampler))),
            ("automatic", ratio(find("automatic"))),
            (
                "2nd order, few steps",
                format!("{} ({})", ratio(few), few.map_or("none".into(), |l| l.steps.to_string())),
            ),
        ]
    });
    format!("\n{}\n\n{}", findings.network, columns(2, lines))
}

/// A table of lines whose cells have their titles beside them.
fn columns<'a>(left: usize, lines: impl Iterator<Item = Vec<(&'a str, String)>>) -> String {
    let (titles, lines): (Vec<_>, Vec<_>) = lines.map(|line| line.into_iter().unzip::<_, _, Vec<_>, Vec<_>>()).unzip();
    table(titles.into_iter().next().unwrap_or_default(), left, lines)
}

/// The least of the sequential lines.
fn least(race: &Race, figure: fn(&Line) -> f64) -> f64 {
    race.lines.iter().filter(|l| l.sampler.starts_with("sequential")).map(figure).fold(f64::INFINITY, f64::min)
}

/// The shortest sequential run over the shortest run of a line: where other work disturbs, it does so least.
fn by_least(race: &Race, line: &Line) -> f64 {
    least(race, |l| l.range.0) / line.range.0
}

fn latency(findings: &Findings) -> String {
    let Findings { network, latency, single_row: (one, all), row_paths, seconds, .. } = findings;
    let titles = ["rows".into()].into_iter().chain(latency.iter().map(|(rows, _)| rows.to_string()));
    let cells = latency.iter().map(|(rows, seconds)| format!("{:.1}", 1e6 * seconds / *rows as f64));
    let mut text = format!(
        "\n{network}: microseconds of a row in a call\n\n{}\none row on one thread {:.1}, on all {:.1}; everything \
         took {seconds:.0} s\n",
        table(titles, 1, [[String::new()].into_iter().chain(cells).collect()]),
        1e6 * one,
        1e6 * all,
    );
    if let Some((_, used)) = row_paths.first() {
        let best = row_paths.iter().fold(f64::INFINITY, |best, (_, s)| best.min(*s));
        let paths: Vec<_> = row_paths.iter().map(|(path, s)| format!("{path} {:.1}", 1e6 * s)).collect();
        let (paths, share) = (paths.join(", "), used / best);
        text += &format!("paths of one row: {paths}; the first is used and takes {share:.2} times the least\n");
    }
    text
}

fn quality(network: &str, quality: &Quality) -> String {
    let Quality { dynamics, samples, reference_steps, first_order, second_order } = quality;
    let line = |order: &str, d: &Distance, fewest| {
        vec![order.into(), d.steps.to_string(), d.sliced.to_string(), d.frechet.to_string(), fewest]
    };
    let fewest = |d: &Distance| quality.fewest(d.steps).map_or("none".into(), |few| few.to_string());
    let long = first_order.iter().map(|d| line("first order", d, fewest(d)));
    let lines = long.chain(second_order.iter().map(|d| line("second order", d, String::new())));
    format!(
        "\n{network}, {}: squared distances of {samples} images to as many of {reference_steps} second-order steps \
         with other noise\n\n{}",
        name(*dynamics),
        table(["", "steps", "sliced Wasserstein", "Fréchet, pixels", "fewest second-order steps"], 1, lines)
    )
}

fn race(network: &str, race: &Race) -> String {
    let Race { dynamics, steps, images, turns, lines } = race;
    let cells = lines.iter().map(|l| {
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        vec![
            ("", if l.steps == *steps { l.sampler.clone() } else { format!("{} ({})", l.sampler, l.steps) }),
            ("window", l.window.map_or("-".into(), |w| w.to_string())),
            ("tolerance", short(l.tolerance)),
            ("rounds", format!("{:.0}", l.rounds)),
            ("rows per step", format!("{:.2}", l.rows)),
            ("path error", short(l.error)),
            ("seconds (least, most)", format!("{:.4} ({:.4}, {:.4})", l.seconds, l.range.0, l.range.1)),
            ("solver", percent(l.solver)),
            ("calls straight", l.straight.map_or("-".into(), percent)),
            ("times faster", format!("{:.2}", l.ratio)),
            ("by least", format!("{:.2}", by_least(race, l))),
            ("bound", format!("{:.2}", l.bound)),
            ("share", percent(l.ratio / l.bound)),
        ]
    });
    format!(
        "\n{network}, {}, {steps} steps, images {images}, medians of {turns} runs in turn\n\n{}",
        name(*dynamics),
        columns(1, cells)
    )
}
