//! Tables, sentences and plots.

use super::{Field, Findings, Law, MEASURES, Measure, Parallel, Rival, Run, T_MAX, T_MIN};
use crate::plot::{Marker, Plot, Series};
use crate::table::{short, table};
use piadm::{BoxError, quality::Estimate};
use std::path::Path;

/// Rounds of the tables.
const ROUNDS: [usize; 12] = [6, 8, 10, 12, 15, 20, 24, 30, 40, 50, 100, 200];
/// Rounds of the sentences.
const TOLD: [usize; 6] = [8, 10, 12, 15, 20, 30];
/// To here parallel sampling must be ahead without exception.
const CROSSED: usize = 20;
const COLOURS: [(Rival, (u8, u8, u8)); 5] = [
    (Rival::Ddim, (0x6b, 0x8e, 0x3a)),
    (Rival::Heun, (0x8a, 0x4f, 0x9e)),
    (Rival::Dpm2M, (0x1f, 0x5f, 0xa8)),
    (Rival::Sde1, (0xb8, 0x86, 0x0b)),
    (Rival::Sde2M, (0xd0, 0x5a, 0x1e)),
];

/// The tables of all problems, then what they say.
pub fn report(all: &[Findings]) -> String {
    let mut text = format!(
        "grids uniform in log-SNR from OU time {T_MAX} to {T_MIN}; rounds: of the slowest path; rows: per sample\n\n"
    );
    for findings in all {
        text += &format!("{}\n", tables(findings));
    }
    for findings in all {
        text += &format!("{}\n", sentences(findings));
    }
    text
}

fn tables(findings: &Findings) -> String {
    let Findings { problem, dim, samples, law_samples, reference_steps, reference_error, seconds, .. } = findings;
    let mut text = format!(
        "{problem}: d = {dim}, {samples} paths, {law_samples} samples of a law; reference path of \
         {reference_steps} steps, {reference_error:.1e} from that of half as many; {seconds:.0} s\n"
    );
    if let Some(grey) = findings.grey_level {
        text += &format!("one grey level of 255 is {grey:.1e}\n");
    }
    for by in MEASURES {
        text += &format!("\nODE: least error of the path ({}) within so many rounds\n{}", by.0, errors(findings, by));
        text += &format!("\nODE: the parallel frontier ({})\n{}", by.0, points(findings, by));
    }
    for (name, rivals) in [("ODE", &Rival::ODE[..]), ("SDE", &Rival::SDE)] {
        text += &format!("\n{name}: distance in distribution to a reference set\n{}", laws(findings, rivals));
    }
    text
}

/// Sequential runs, and parallel ones.
fn sides(findings: &Findings, by: Measure, some: impl Fn(&Run) -> bool) -> [Field<'_>; 2] {
    [false, true].map(|parallel| Field::new(findings, by, |run| run.is_parallel() == parallel && some(run)))
}

fn factor(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// Best errors at numbers of rounds.
fn errors(findings: &Findings, by: Measure) -> String {
    let fields = Rival::ODE.map(|rival| sides(findings, by, |r| r.rival == rival));
    let [sequential, parallel] = sides(findings, by, |_| true);
    let mut titles = vec!["rounds".to_owned()];
    for kind in ["seq.", "par."] {
        titles.extend(Rival::ODE.map(|rival| format!("{kind} {rival}").replace("DPM-Solver++(2M)", "2M")));
    }
    titles.extend(["ratio of the best", "rows, par."].map(String::from));
    let lines = ROUNDS.map(|n| {
        let mut line = vec![n.to_string()];
        for side in 0..2 {
            line.extend(fields.iter().map(|sides| short(sides[side].best(n).map(|(error, _)| error))));
        }
        if let (Some((s, _)), Some((p, run))) = (sequential.best(n), parallel.best(n)) {
            line.extend([factor(s / p), format!("{:.0}", run.rows)]);
        }
        line
    });
    table(titles, 0, lines)
}

/// The parallel frontier.
fn points(findings: &Findings, by: Measure) -> String {
    let titles = ["scheme", "steps", "window", "tolerance", "rounds", "mean", "rows/step", "rows"];
    let titles = titles.into_iter().chain(["rms", "median", "worst", "best seq."]);
    let [sequential, parallel] = sides(findings, by, |_| true);
    let lines = parallel.frontier().into_iter().filter_map(|(_, run)| {
        let (path, Parallel { window, tolerance }) = (run.path?, run.parallel?);
        let mut line = vec![run.rival.to_string(), run.steps.to_string(), window.to_string(), format!("{tolerance:e}")];
        line.extend([run.rounds.to_string(), format!("{:.1}", run.mean_rounds)]);
        line.extend([format!("{:.2}", run.rows / run.steps as f64), format!("{:.0}", run.rows)]);
        let best = sequential.best(run.rounds).map(|(error, _)| error);
        line.extend([Some(path.rms), Some(path.median), Some(path.worst), best].map(short));
        Some(line)
    });
    table(titles, 1, lines)
}

fn laws(findings: &Findings, rivals: &[Rival]) -> String {
    let titles = ["scheme", "steps", "window", "tolerance", "rounds", "rows", "energy", "sliced", "Fréchet", "KL"];
    let estimate = |e: Estimate| format!("{:9.2e} ± {:.0e}", e.value, e.error);
    let lines = findings.runs.iter().filter(|r| rivals.contains(&r.rival)).filter_map(|run| {
        let Law { energy, sliced, frechet, kl } = run.law?;
        let mut line = vec![run.rival.to_string(), run.steps.to_string()];
        line.extend(run.parallel.map_or(["-".into(), "-".into()], |p| [p.window.to_string(), p.tolerance.to_string()]));
        line.extend([run.rounds.to_string(), format!("{:.0}", run.rows)]);
        line.extend([energy, sliced, frechet].map(estimate));
        line.push(short(kl));
        Some(line)
    });
    table(titles, 1, lines)
}

fn sentences(findings: &Findings) -> String {
    let name = &findings.problem;
    let mut text = String::new();
    for by in MEASURES {
        text += &format!("{name}: ODE, {}\n", by.0);
        let [sequential, parallel] = sides(findings, by, |_| true);
        for n in TOLD {
            text += &pair(&format!("at {n} rounds"), sequential.best(n), parallel.best(n));
        }
        // 100 to 500 steps in about 15 rounds, and as many sequential steps
        let own = |r: &Run| r.rival == Rival::Dpm2M && (!r.is_parallel() || (100..=500).contains(&r.steps));
        let [few, many] = sides(findings, by, own);
        for n in [15, 17] {
            text += &pair(&format!("{} against itself at {n} rounds", Rival::Dpm2M), few.best(n), many.best(n));
        }
        text += &crossings(&sequential, &parallel);
    }
    for rival in Rival::ODE.into_iter().chain(Rival::SDE) {
        let laws = || findings.runs.iter().filter(|r| r.rival == rival).filter_map(|r| Some((r, r.law?)));
        // no distance is more than two errors above 0
        let met = |law: Law| [law.energy, law.sliced, law.frechet].iter().all(|e| e.value <= 2.0 * e.error);
        let [sequential, parallel] = [false, true].map(|parallel| {
            let met = laws().filter(|(r, law)| r.is_parallel() == parallel && met(*law)).map(|(r, _)| r);
            met.min_by_key(|r| r.rounds).map_or_else(|| "-".into(), |r| format!("{} ({} steps)", r.rounds, r.steps))
        });
        if laws().next().is_some() {
            text += &format!(
                "{name}: {rival}: fewest rounds not told from the reference set: sequential {sequential}, parallel \
                 {parallel}\n"
            );
        }
    }
    text
}

/// A sequential and a parallel run, if there are both, and their errors.
fn pair(what: &str, sequential: Option<(f64, &Run)>, parallel: Option<(f64, &Run)>) -> String {
    let (Some((error, s)), Some((less, p))) = (sequential, parallel) else { return String::new() };
    let setting = |r: &Run| {
        let window = |Parallel { window, tolerance }| format!(", window {window}, tolerance {tolerance:e}");
        format!("{}, {} steps{}", r.rival, r.steps, r.parallel.map_or_else(String::new, window))
    };
    format!(
        "  {what}: sequential {error:.2e} ({}; {:.0} rows), parallel {less:.2e} ({}; {:.2} rows per step, {:.0} rows), \
         ratio {}\n",
        setting(s),
        s.rows,
        setting(p),
        p.rows / p.steps as f64,
        p.rows,
        factor(error / less),
    )
}

/// From how many rounds on, without exception, parallel sampling is how much closer.
fn crossings(sequential: &Field<'_>, parallel: &Field<'_>) -> String {
    let mut text = String::new();
    for least in [1.0, 2.0, 10.0, 100.0] {
        // far beyond, the settings tried and not the sampler end the parallel side
        let errors = (1..=CROSSED).rev().map_while(|n| Some((n, sequential.best(n)?.0, parallel.best(n)?.0)));
        let words = if least == 1.0 { "no farther".to_owned() } else { format!("{least} times closer") };
        text += &match errors.take_while(|(_, s, p)| s / p >= least).last() {
            Some((n, s, p)) => {
                format!("  parallel is {words} from {n} to {CROSSED} rounds; at {n} {p:.1e}, sequential {s:.1e}\n")
            }
            None => format!("  parallel is not {words} at {CROSSED} rounds\n"),
        };
    }
    text
}

/// Three plots of every problem: errors of the path, those of the median sample, and distributions.
pub fn save_plots(all: &[Findings], folder: &Path) -> Result<(), BoxError> {
    for findings in all {
        let file = |kind| folder.join(format!("frontier-{}{kind}.png", findings.problem));
        let [all, median] = MEASURES;
        paths(findings, all).save(file(""), (960, 640))?;
        paths(findings, median).save(file("-median"), (960, 640))?;
        distributions(findings).save(file("-law"), (960, 640))?;
    }
    Ok(())
}

/// Path errors of the ODE.
fn paths(findings: &Findings, by: Measure) -> Plot {
    let points = |rival, parallel| {
        let field = Field::new(findings, by, |r| r.rival == rival && r.is_parallel() == parallel);
        field.frontier().into_iter().map(|(error, run)| (run.rounds as f64, error, true)).collect()
    };
    plot(format!("{}: ODE, error of the path, {}", findings.problem, by.0), "difference to the reference", points)
}

/// Energy distances; a point within two errors of 0 is hollow, and drawn at its error where it is below.
fn distributions(findings: &Findings) -> Plot {
    let points = |rival, parallel| {
        let runs = findings.runs.iter().filter(|r| r.rival == rival && r.is_parallel() == parallel);
        let energies = runs.filter_map(|r| r.law.map(|law| (r.rounds as f64, law.energy)));
        let mut points: Vec<_> =
            energies.map(|(rounds, e)| (rounds, e.value.max(e.error), e.value > 2.0 * e.error)).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        points.dedup_by(|next, kept| next.0 == kept.0);
        points
    };
    let title = format!("{}: distance in distribution (hollow: within two errors of 0)", findings.problem);
    plot(title, "energy distance", points)
}

/// All rivals that have points, sequential and parallel.
fn plot(title: String, y_label: &str, points: impl Fn(Rival, bool) -> Vec<(f64, f64, bool)>) -> Plot {
    let mut series = Vec::new();
    for (kind, marker, parallel) in [("sequential", Marker::Square, false), ("parallel", Marker::Circle, true)] {
        series.extend(COLOURS.map(|(rival, colour)| {
            let (label, points) = (format!("{kind} {rival}"), points(rival, parallel));
            Series { label, points, colour, marker, dashed: !parallel }
        }));
    }
    series.retain(|s| !s.points.is_empty());
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
