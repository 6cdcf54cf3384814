//! Error against sequential rounds: few steps one after another, or many steps in parallel.
//!
//! `cargo run --release --example frontier` (see `--help` and results/frontier.md)

#[path = "support/format.rs"]
mod format;
#[path = "support/network.rs"]
#[allow(dead_code, unused_imports)] // the example `wallclock` uses more of it
mod network;
#[path = "support/pareto.rs"]
mod pareto;
#[path = "support/plan.rs"]
mod plan;
#[path = "support/plot.rs"]
mod plot;
#[path = "support/rivals.rs"]
mod rivals;

use pareto::{Measure, frontier, sentences, tables};
use piadm::BoxError;
use plot::{Marker, Plot, Series};
use rivals::{Findings, PROBLEMS, Rival, T_MAX, T_MIN, measure};
use std::path::PathBuf;

const HELP: &str = "\
Compares sequential schemes of few steps with parallel sampling of many steps in as few rounds: errors of the path to a
reference of many steps, and distances in distribution. Writes DIR/frontier.json and for every problem three plots,
DIR/frontier-PROBLEM.png (paths), -median.png (that of the median sample) and -law.png (distributions). All problems
take about half an hour on two cores that have other work too.

  --problem NAME     mixture-64, mixture-1024, mlp or unet; may be given several times (default: all)
  --samples N        samples whose paths are measured (default: 128, 32, 32, 8)
  --seed N           seed of mixture and noise (default 0)
  --quick            a few settings of few steps: seconds
  --output DIR       where the files go (default out)
  --read FILE        shows and draws an earlier frontier.json instead of measuring
  --format KIND      table (default), or json on the standard output
";

struct Options {
    problems: Vec<String>,
    samples: Option<usize>,
    seed: u64,
    quick: bool,
    output: PathBuf,
    read: Option<PathBuf>,
    json: bool,
}

fn options() -> Result<Option<Options>, BoxError> {
    use lexopt::prelude::*;
    let (problems, output) = (Vec::new(), PathBuf::from("out"));
    let mut o = Options { problems, samples: None, seed: 0, quick: false, output, read: None, json: false };
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("problem") => o.problems.push(args.value()?.string()?),
            Long("samples") => o.samples = Some(args.value()?.parse()?),
            Long("seed") => o.seed = args.value()?.parse()?,
            Long("quick") => o.quick = true,
            Long("output") => o.output = args.value()?.into(),
            Long("read") => o.read = Some(args.value()?.into()),
            Long("format") => o.json = format::is_json(&args.value()?.string()?)?,
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(None);
            }
            other => return Err(format!("{}; --help lists all options", other.unexpected()).into()),
        }
    }
    if let Some(unknown) = o.problems.iter().find(|p| !PROBLEMS.contains(&p.as_str())) {
        return Err(format!("--problem {unknown}: expected one of {}", PROBLEMS.join(", ")).into());
    }
    if o.samples == Some(0) {
        return Err("--samples must be at least 1".into());
    }
    if o.problems.is_empty() {
        o.problems = PROBLEMS.map(String::from).to_vec();
    }
    Ok(Some(o))
}

const COLOURS: [(Rival, (u8, u8, u8)); 5] = [
    (Rival::Ddim, (0x6b, 0x8e, 0x3a)),
    (Rival::Heun, (0x8a, 0x4f, 0x9e)),
    (Rival::Dpm2M, (0x1f, 0x5f, 0xa8)),
    (Rival::Sde1, (0xb8, 0x86, 0x0b)),
    (Rival::Sde2M, (0xd0, 0x5a, 0x1e)),
];

fn plot(title: String, y_label: &str, series: Vec<Series>) -> Plot {
    Plot {
        title,
        x_label: "evaluations one after another (rounds)".into(),
        y_label: y_label.into(),
        log_x: true,
        log_y: true,
        x_ticks: Some([5.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, 200.0, 500.0].into()),
        series,
    }
}

fn series(rival: Rival, colour: (u8, u8, u8), parallel: bool, points: Vec<(f64, f64, bool)>) -> Series {
    let (kind, marker) = if parallel { ("parallel", Marker::Circle) } else { ("sequential", Marker::Square) };
    Series { label: format!("{kind} {}", rival.name()), points, colour, marker, dashed: !parallel }
}

/// Path errors of the ODE.
fn paths(findings: &Findings, by: Measure) -> Plot {
    let mut all = Vec::new();
    for parallel in [false, true] {
        for (rival, colour) in COLOURS.into_iter().filter(|(r, _)| r.is_ode()) {
            let points = frontier(findings, by, Some(rival), parallel).into_iter();
            let points: Vec<_> = points.map(|r| (r.rounds as f64, by.of(r), true)).collect();
            if !points.is_empty() {
                all.push(series(rival, colour, parallel, points));
            }
        }
    }
    plot(format!("{}: ODE, error of the path, {}", findings.problem, by.name()), "difference to the reference", all)
}

/// Energy distances; a point within two errors of 0 is hollow, and drawn at its error where it is below.
fn laws(findings: &Findings) -> Plot {
    let mut all = Vec::new();
    for parallel in [false, true] {
        for (rival, colour) in COLOURS.into_iter().filter(|(r, _)| *r != Rival::Heun) {
            let runs = findings.runs.iter().filter(|r| r.rival == rival && r.parallel.is_some() == parallel);
            let mut points: Vec<_> = runs
                .filter_map(|r| r.law.map(|law| (r.rounds as f64, law.energy)))
                .map(|(rounds, e)| (rounds, e.value.max(e.error), e.value > 2.0 * e.error))
                .collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
            points.dedup_by(|next, kept| next.0 == kept.0);
            if !points.is_empty() {
                all.push(series(rival, colour, parallel, points));
            }
        }
    }
    plot(
        format!("{}: distance in distribution (hollow: within two errors of 0)", findings.problem),
        "energy distance",
        all,
    )
}

fn main() -> Result<(), BoxError> {
    let Some(o) = options()? else { return Ok(()) };
    let all: Vec<Findings> = match &o.read {
        Some(file) => serde_json::from_slice(&std::fs::read(file)?)?,
        None => o.problems.iter().map(|name| measure(name, o.samples, o.seed, o.quick)).collect::<Result<_, _>>()?,
    };
    std::fs::create_dir_all(&o.output)?;
    let json = serde_json::to_string(&all)?;
    std::fs::write(o.output.join("frontier.json"), format!("{json}\n"))?;
    for findings in &all {
        paths(findings, Measure::Rms).save(o.output.join(format!("frontier-{}.png", findings.problem)), (960, 640))?;
        let median = format!("frontier-{}-median.png", findings.problem);
        paths(findings, Measure::Median).save(o.output.join(median), (960, 640))?;
        laws(findings).save(o.output.join(format!("frontier-{}-law.png", findings.problem)), (960, 640))?;
    }
    if o.json {
        println!("{json}");
        return Ok(());
    }
    println!(
        "grids uniform in log-SNR from OU time {T_MAX} to {T_MIN}; rounds: of the slowest path; rows: of a sample\n"
    );
    all.iter().for_each(|findings| println!("{}", tables(findings)));
    all.iter().for_each(|findings| println!("{}", sentences(findings)));
    Ok(())
}
