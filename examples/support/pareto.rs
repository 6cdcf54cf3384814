//! The best of the runs at every number of rounds, in tables and sentences.

use super::rivals::{Findings, Law, Parallel, Rival, Run};
use piadm::quality::Estimate;

/// Rounds of the tables.
const ROUNDS: [usize; 12] = [6, 8, 10, 12, 15, 20, 24, 30, 40, 50, 100, 200];
/// Rounds of the sentences.
const TOLD: [usize; 6] = [8, 10, 12, 15, 20, 30];
/// To here parallel sampling must be ahead without exception.
const CROSSED: usize = 20;

/// By which error of the path runs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Rms over all samples: the worst ones decide.
    Rms,
    /// Rms over the elements of the median sample.
    Median,
}

impl Measure {
    /// The number itself.
    pub fn of(self, run: &Run) -> f64 {
        let value = |p: super::rivals::PathError| if self == Measure::Rms { p.rms } else { p.median };
        run.path.map_or(f64::INFINITY, value)
    }

    /// In words.
    pub fn name(self) -> &'static str {
        if self == Measure::Rms { "rms over all samples" } else { "rms of the median sample" }
    }
}

impl Run {
    fn has_path(&self, rival: Option<Rival>, parallel: bool) -> bool {
        self.path.is_some() && self.parallel.is_some() == parallel && rival.is_none_or(|r| r == self.rival)
    }

    fn settings(&self) -> String {
        match self.parallel {
            None => format!("{}, {} steps", self.rival.name(), self.steps),
            Some(Parallel { window, tolerance }) => {
                format!("{}, {} steps, window {window}, tolerance {tolerance:e}", self.rival.name(), self.steps)
            }
        }
    }
}

/// The run of least path error with at most so many rounds; of several the one of least work.
fn best(findings: &Findings, by: Measure, rounds: usize, rival: Option<Rival>, parallel: bool) -> Option<&Run> {
    let runs = findings.runs.iter().filter(|r| r.rounds <= rounds && r.has_path(rival, parallel));
    runs.min_by(|a, b| by.of(a).total_cmp(&by.of(b)).then(a.rows.total_cmp(&b.rows)))
}

/// The runs that no other one beats in rounds and path error, of all rivals or of one.
pub fn frontier(findings: &Findings, by: Measure, rival: Option<Rival>, parallel: bool) -> Vec<&Run> {
    let runs = || findings.runs.iter().filter(|r| r.has_path(rival, parallel));
    let mut rounds: Vec<usize> = runs().map(|r| r.rounds).collect();
    rounds.sort_unstable();
    rounds.dedup();
    let mut all: Vec<&Run> = Vec::new();
    for run in rounds.into_iter().filter_map(|n| best(findings, by, n, rival, parallel)) {
        if all.last().is_none_or(|last| by.of(run) < by.of(last)) {
            all.push(run);
        }
    }
    all
}

/// Lines of cells, right-aligned but for the first columns.
fn aligned(lines: &[Vec<String>], left: usize) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| lines.iter().filter_map(|l| l.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate().map(|(c, (cell, &width))| match c < left {
            true => format!("{cell:<width$}"),
            false => format!("{cell:>width$}"),
        });
        text += &format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn short(value: f64) -> String {
    if value.is_finite() { format!("{value:.1e}") } else { "-".into() }
}

fn factor(value: f64) -> String {
    if value < 10.0 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// Best errors at numbers of rounds.
fn errors(findings: &Findings, by: Measure) -> String {
    let names =
        |parallel: &str| Rival::ODE.map(|r| format!("{parallel} {}", r.name().replace("DPM-Solver++(2M)", "2M")));
    let mut title = vec!["rounds".to_owned()];
    title.extend(names("seq.").into_iter().chain(names("par.")));
    title.extend(["ratio of the best".to_owned(), "rows, par.".to_owned()]);
    let mut lines = vec![title];
    for n in ROUNDS {
        let mut line = vec![n.to_string()];
        for parallel in [false, true] {
            line.extend(
                Rival::ODE.map(|r| short(best(findings, by, n, Some(r), parallel).map_or(f64::INFINITY, |r| by.of(r)))),
            );
        }
        if let (Some(s), Some(p)) = (best(findings, by, n, None, false), best(findings, by, n, None, true)) {
            line.extend([factor(by.of(s) / by.of(p)), format!("{:.0}", p.rows)]);
        }
        lines.push(line);
    }
    aligned(&lines, 0)
}

const POINT: [&str; 12] = [
    "scheme",
    "steps",
    "window",
    "tolerance",
    "rounds",
    "mean",
    "rows/step",
    "rows",
    "rms",
    "median",
    "worst",
    "best seq.",
];

fn points(findings: &Findings, by: Measure) -> String {
    let mut lines = vec![POINT.map(String::from).to_vec()];
    for run in frontier(findings, by, None, true) {
        let (Some(path), Some(parallel)) = (run.path, run.parallel) else { continue };
        let sequential = best(findings, by, run.rounds, None, false).map_or(f64::INFINITY, |r| by.of(r));
        lines.push(vec![
            run.rival.name().into(),
            run.steps.to_string(),
            parallel.window.to_string(),
            format!("{:e}", parallel.tolerance),
            run.rounds.to_string(),
            format!("{:.1}", run.mean_rounds),
            format!("{:.2}", run.rows / run.steps as f64),
            format!("{:.0}", run.rows),
            short(path.rms),
            short(path.median),
            short(path.worst),
            short(sequential),
        ]);
    }
    aligned(&lines, 1)
}

fn laws(findings: &Findings, ode: bool) -> String {
    let titles = ["scheme", "steps", "window", "tolerance", "rounds", "rows", "energy", "sliced", "Fréchet", "KL"];
    let mut lines = vec![titles.map(String::from).to_vec()];
    let estimate = |e: Estimate| format!("{:9.2e} ± {:.0e}", e.value, e.error);
    for run in findings.runs.iter().filter(|r| r.rival.is_ode() == ode) {
        let Some(law) = run.law else { continue };
        let setting =
            run.parallel.map_or(["-".into(), "-".into()], |p| [p.window.to_string(), format!("{}", p.tolerance)]);
        let mut line = vec![run.rival.name().to_owned(), run.steps.to_string()];
        line.extend(setting);
        line.extend([run.rounds.to_string(), format!("{:.0}", run.rows)]);
        line.extend([law.energy, law.sliced, law.frechet].map(estimate));
        line.push(law.kl.map_or_else(|| "-".into(), |kl| format!("{kl:.1e}")));
        lines.push(line);
    }
    aligned(&lines, 1)
}

impl Law {
    /// Whether no distance is more than two errors above 0.
    pub fn is_met(&self) -> bool {
        [self.energy, self.sliced, self.frechet].iter().all(|e| e.value <= 2.0 * e.error)
    }
}

/// All tables of a problem.
pub fn tables(findings: &Findings) -> String {
    let Findings { problem, dim, samples, law_samples, reference_steps, reference_error, seconds, .. } = findings;
    let mut text = format!(
        "{problem}: d = {dim}, {samples} paths, {law_samples} samples of a law; reference path of {reference_steps} steps, \
         {reference_error:.1e} from that of half as many; {seconds:.0} s\n"
    );
    if let Some(grey) = findings.grey_level {
        text += &format!("one grey level of 255 is {grey:.1e}\n");
    }
    for by in [Measure::Rms, Measure::Median] {
        text +=
            &format!("\nODE: least error of the path ({}) within so many rounds\n{}", by.name(), errors(findings, by));
        text += &format!("\nODE: the parallel frontier ({})\n{}", by.name(), points(findings, by));
    }
    for (name, ode) in [("ODE", true), ("SDE", false)] {
        text += &format!("\n{name}: distance in distribution to a reference set\n{}", laws(findings, ode));
    }
    text
}

/// What the figures say.
pub fn sentences(findings: &Findings) -> String {
    let name = &findings.problem;
    let mut text = String::new();
    for by in [Measure::Rms, Measure::Median] {
        text += &format!("{name}: ODE, {}\n", by.name());
        for n in TOLD {
            if let (Some(s), Some(p)) = (best(findings, by, n, None, false), best(findings, by, n, None, true)) {
                text += &pair(by, &format!("at {n} rounds"), s, p);
            }
        }
        text += &required(findings, by);
        text += &crossings(findings, by);
    }
    for rival in Rival::ODE.into_iter().chain(Rival::SDE) {
        let fewest = |parallel: bool| {
            let of = |r: &&Run| r.rival == rival && r.parallel.is_some() == parallel;
            let met = findings.runs.iter().filter(of).filter(|r| r.law.is_some_and(|l| l.is_met()));
            met.min_by_key(|r| r.rounds).map_or_else(|| "-".into(), |r| format!("{} ({} steps)", r.rounds, r.steps))
        };
        if findings.runs.iter().any(|r| r.rival == rival && r.law.is_some()) {
            text += &format!(
                "{name}: {}: fewest rounds not told from the reference set: sequential {}, parallel {}\n",
                rival.name(),
                fewest(false),
                fewest(true)
            );
        }
    }
    text
}

fn pair(by: Measure, what: &str, s: &Run, p: &Run) -> String {
    format!(
        "  {what}: sequential {:.2e} ({}; {:.0} rows), parallel {:.2e} ({}; {:.2} rows a step, {:.0} rows), ratio {}\n",
        by.of(s),
        s.settings(),
        s.rows,
        by.of(p),
        p.settings(),
        p.rows / p.steps as f64,
        p.rows,
        factor(by.of(s) / by.of(p)),
    )
}

/// DPM-Solver++(2M) against itself: 100 to 500 steps in about 15 rounds, and as many sequential steps.
fn required(findings: &Findings, by: Measure) -> String {
    let rival = Some(Rival::Dpm2M);
    let many = |r: &&Run| r.has_path(rival, true) && (100..=500).contains(&r.steps);
    let mut text = String::new();
    for rounds in [15, 17] {
        let parallel = findings.runs.iter().filter(many).filter(|r| r.rounds <= rounds);
        let parallel = parallel.min_by(|a, b| by.of(a).total_cmp(&by.of(b)));
        if let (Some(s), Some(p)) = (best(findings, by, rounds, rival, false), parallel) {
            text += &pair(by, &format!("DPM-Solver++(2M) against itself at {rounds} rounds"), s, p);
        }
    }
    text
}

/// From how many rounds on, without exception, parallel sampling is how much closer.
fn crossings(findings: &Findings, by: Measure) -> String {
    let errors =
        |n: usize| Some((by.of(best(findings, by, n, None, false)?), by.of(best(findings, by, n, None, true)?)));
    let mut text = String::new();
    for least in [1.0, 2.0, 10.0, 100.0] {
        // far beyond, the settings tried and not the sampler end the parallel side
        let holds = |n: usize| errors(n).is_some_and(|(s, p)| s / p >= least);
        let first = (1..=CROSSED).rev().take_while(|n| holds(*n)).last();
        let words = if least == 1.0 { "no farther".to_owned() } else { format!("{least} times closer") };
        text += &match first.and_then(|n| errors(n).map(|e| (n, e))) {
            Some((n, (s, p))) => {
                format!("  parallel is {words} from {n} to {CROSSED} rounds; at {n} {p:.1e}, sequential {s:.1e}\n")
            }
            None => format!("  parallel is not {words} at {CROSSED} rounds\n"),
        };
    }
    text
}
