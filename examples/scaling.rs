//! The paper's scaling law: sequential steps and rounds of PIADM against the dimension.
//!
//! `cargo run --release --example scaling` (see `--help` and results/scaling.md)

#[path = "support/fit.rs"]
mod fit;
#[path = "support/format.rs"]
mod format;
#[path = "support/growth.rs"]
mod growth;
#[path = "support/plot.rs"]
mod plot;

use fit::{Fit, median};
use growth::{Quality, Run, SAMPLES, Setting};
use piadm::{BoxError, sampler::Dynamics};
use plot::{Marker, Plot, Series};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

const HELP: &str = "\
Measures how sequential steps and rounds of PIADM grow with the dimension of a mixture, and writes DIR/scaling.json and
DIR/scaling.png. The default takes some minutes and 3 GiB.

  --quick            d = 4, 16, 64, 256 and 2 seeds: seconds
  --max-dim D        largest dimension (default 16384)
  --seeds N          seeds of mixture and noise, from 0 (default 5)
  --output DIR       where the files go (default out)
  --read FILE        shows and draws figures of an earlier scaling.json instead of measuring
  --format KIND      table (default), or json on the standard output
";

/// A number of steps as a function of the dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Curve {
    #[serde(rename = "SDE, M = max(64, d)")]
    Sde,
    #[serde(rename = "ODE, M = 16 sqrt d")]
    Ode,
    #[serde(rename = "SDE, M = 16 d")]
    Fine,
}

impl Curve {
    const ALL: [Curve; 3] = [Curve::Sde, Curve::Ode, Curve::Fine];

    fn name(self) -> &'static str {
        match self {
            Curve::Sde => "SDE, M = max(64, d)",
            Curve::Ode => "ODE, M = 16 √d",
            Curve::Fine => "SDE, M = 16 d",
        }
    }

    fn setting(self, dim: usize) -> Setting {
        let (dynamics, steps) = match self {
            Curve::Sde => (Dynamics::Sde, dim.max(64)),
            Curve::Ode => (Dynamics::Ode, (16.0 * (dim as f64).sqrt()) as usize),
            Curve::Fine => (Dynamics::Sde, 16 * dim),
        };
        Setting { dim, dynamics, steps }
    }
}

/// All seeds of a curve at a dimension.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Point {
    curve: Curve,
    dim: usize,
    steps: usize,
    /// Whether memory did not allow the steps of the curve.
    capped: bool,
    memory_bytes: usize,
    runs: Vec<Run>,
}

impl Point {
    fn median(&self, of: impl Fn(&Run) -> f64) -> f64 {
        median(self.runs.iter().map(of))
    }
}

/// What is fitted: a quantity of a run.
type Quantity = (&'static str, fn(&Run) -> f64);
/// Against what: a function of ln d.
type Law = (&'static str, fn(f64) -> f64);

const QUANTITIES: [Quantity; 4] = [
    ("rounds", |r| r.rounds as f64),
    ("blocks", |r| r.sweeps.len() as f64),
    ("sweeps a block", Run::mean_sweeps),
    ("ln rounds", |r| (r.rounds as f64).ln()),
];
const LAWS: [Law; 3] = [("ln d", |l| l), ("(ln d)^2", |l| l * l), ("ln ln d", f64::ln)];
/// Quantity and law.
const FITS: [(usize, usize); 7] = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 2)];

/// A fit to a curve's points that are not capped.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    curve: Curve,
    quantity: String,
    against: String,
    #[serde(flatten)]
    fit: Fit,
}

/// Everything that was measured.
#[derive(Debug, Serialize, Deserialize)]
struct Results {
    points: Vec<Point>,
    fits: Vec<Line>,
}

struct Options {
    dims: Vec<usize>,
    seeds: u64,
    output: PathBuf,
    read: Option<PathBuf>,
    json: bool,
}

fn options() -> Result<Option<Options>, BoxError> {
    use lexopt::prelude::*;
    let (mut max_dim, mut seeds, mut quick) = (None, None, false);
    let (mut output, mut read, mut json) = (PathBuf::from("out"), None, false);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("quick") => quick = true,
            Long("max-dim") => max_dim = Some(args.value()?.parse()?),
            Long("seeds") => seeds = Some(args.value()?.parse()?),
            Long("output") => output = args.value()?.into(),
            Long("read") => read = Some(args.value()?.into()),
            Long("format") => json = format::is_json(&args.value()?.string()?)?,
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(None);
            }
            other => return Err(format!("{}; --help lists all options", other.unexpected()).into()),
        }
    }
    let max_dim = max_dim.unwrap_or(if quick { 256 } else { 16384 });
    let seeds = seeds.unwrap_or(if quick { 2 } else { 5 });
    let dims: Vec<usize> = (1..=7).map(|k| 4usize.pow(k)).filter(|d| *d <= max_dim).collect();
    if dims.len() < 2 || seeds == 0 {
        return Err("--max-dim must be at least 16, the second dimension, and --seeds at least 1".into());
    }
    Ok(Some(Options { dims, seeds, output, read, json }))
}

fn measure(dims: &[usize], seeds: u64) -> Result<Results, BoxError> {
    let mut points: Vec<(Setting, Point)> = Vec::new();
    for &dim in dims {
        for curve in Curve::ALL {
            let wanted = curve.setting(dim);
            let setting = wanted.capped()?;
            // curves meet where M = max(64, d) is 16 d, and may meet at the cap
            let runs = match points.iter().find(|(known, _)| *known == setting) {
                Some((_, point)) => point.runs.clone(),
                None => (0..seeds)
                    .map(|seed| {
                        eprintln!("d = {dim}, {}: {} steps, seed {seed}", curve.name(), setting.steps);
                        setting.run(seed)
                    })
                    .collect::<Result<_, _>>()?,
            };
            let (steps, capped) = (setting.steps, setting != wanted);
            let memory_bytes = setting.memory()?;
            points.push((setting, Point { curve, dim, steps, capped, memory_bytes, runs }));
        }
    }
    let points: Vec<Point> = points.into_iter().map(|(_, point)| point).collect();
    let fits = fits(&points);
    Ok(Results { points, fits })
}

fn fits(points: &[Point]) -> Vec<Line> {
    let mut fits = Vec::new();
    for curve in Curve::ALL {
        let used: Vec<&Point> = points.iter().filter(|p| p.curve == curve && !p.capped).collect();
        let seeds = used.first().map_or(0, |p| p.runs.len());
        for (quantity, law) in FITS {
            let ((quantity, value), (against, law)) = (QUANTITIES[quantity], LAWS[law]);
            let x: Vec<f64> = used.iter().map(|p| law((p.dim as f64).ln())).collect();
            let y: Vec<Vec<f64>> = (0..seeds).map(|seed| used.iter().map(|p| value(&p.runs[seed])).collect()).collect();
            if let Some(fit) = Fit::new(&x, &y) {
                fits.push(Line { curve, quantity: quantity.into(), against: against.into(), fit });
            }
        }
    }
    fits
}

/// What grows, in words and numbers.
fn summary(results: &Results) -> String {
    let mut text = String::new();
    for curve in Curve::ALL {
        let mut points = results.points.iter().filter(|p| p.curve == curve && !p.capped);
        let (Some(first), Some(last)) = (points.next(), points.next_back()) else { continue };
        let ratio = |of: fn(&Run) -> f64| last.median(of) / first.median(of);
        text += &format!(
            "{}, from d = {} to {}: steps x {:.0}, rounds {} -> {} = x {:.2}, blocks x {:.2}, sweeps a block x {:.2}\n",
            curve.name(),
            first.dim,
            last.dim,
            last.steps as f64 / first.steps as f64,
            first.median(QUANTITIES[0].1),
            last.median(QUANTITIES[0].1),
            ratio(QUANTITIES[0].1),
            ratio(QUANTITIES[1].1),
            ratio(QUANTITIES[2].1),
        );
    }
    for curve in Curve::ALL {
        let runs = || results.points.iter().filter(|p| p.curve == curve).flat_map(|p| &p.runs);
        let [parallel, sequential] =
            [Quality::pooled(runs().map(|r| &r.parallel)), Quality::pooled(runs().map(|r| &r.sequential))];
        let same = parallel.modes.iter().zip(&sequential.modes).filter(|(a, b)| a == b).count();
        let (counts, chi_square) = parallel.occupancy();
        text += &format!(
            "{}: {same} of {} samples in the mode of the sequential one; counts {counts:?}, chi^2 {chi_square:.1}\n",
            curve.name(),
            parallel.modes.len(),
        );
    }
    text
}

/// Columns of the table and their widths.
const TITLES: [(&str, usize); 14] = [
    ("d", 5),
    ("steps", 7),
    ("rounds", 6),
    ("blocks", 6),
    ("sweeps", 6),
    ("most", 4),
    ("rows/step", 9),
    ("rms end", 7),
    ("rms path", 8),
    ("KL", 7),
    ("KL seq.", 7),
    ("1/n", 7),
    ("MiB", 6),
    ("s, seq. s", 13),
];

fn cells(p: &Point) -> [String; 14] {
    let kl = |of: fn(&Run) -> &Quality| format!("{:.1e}", Quality::pooled(p.runs.iter().map(of)).kl());
    let n = (p.runs.len() * SAMPLES * p.dim) as f64;
    let most = |r: &Run| r.sweeps.iter().copied().max().unwrap_or(0) as f64;
    [
        p.dim.to_string(),
        format!("{}{}", p.steps, if p.capped { "*" } else { "" }),
        p.median(QUANTITIES[0].1).to_string(),
        p.median(QUANTITIES[1].1).to_string(),
        format!("{:.2}", p.median(QUANTITIES[2].1)),
        p.median(most).to_string(),
        format!("{:.2}", p.median(|r| r.score_rows as f64) / (p.steps * SAMPLES) as f64),
        format!("{:.1e}", p.median(|r| r.rms_end)),
        format!("{:.1e}", p.median(|r| r.rms_path)),
        kl(|r| &r.parallel),
        kl(|r| &r.sequential),
        format!("{:.1e}", 1.0 / n),
        format!("{:.1}", p.memory_bytes as f64 / f64::from(1 << 20)),
        format!("{:.2}, {:.2}", p.median(|r| r.parallel_seconds), p.median(|r| r.sequential_seconds)),
    ]
}

fn table(results: &Results) -> String {
    let mut text = String::from(
        "medians over seeds; sweeps: mean of a block; KL: a coordinate, all seeds; 1/n: that of exact samples\n",
    );
    for curve in Curve::ALL {
        text += &format!("\n{}\n", curve.name());
        let titles = TITLES.map(|(title, _)| title.to_owned());
        for row in [titles].into_iter().chain(results.points.iter().filter(|p| p.curve == curve).map(cells)) {
            let cells = row.iter().zip(TITLES).map(|(cell, (_, width))| format!("{cell:>width$}"));
            text += &format!("{}\n", cells.collect::<Vec<_>>().join("  "));
        }
    }
    if results.points.iter().any(|p| p.capped) {
        text += "* capped: memory; not in the fits\n";
    }
    text += "\nfits: y = a + b x to means over seeds, with two standard errors of b: over seeds, and of the line from its residuals";
    text += "\n(rms of the residuals, then each)\n";
    for law in &results.fits {
        let Fit { intercept, slope, seeds_error, line_error, residuals, residual_rms } = &law.fit;
        let [seeds, line] = [seeds_error, line_error].map(|e| e.map_or_else(|| "-".into(), |e| format!("{e:.3}")));
        let residuals: Vec<String> = residuals.iter().map(|r| format!("{r:+.2}")).collect();
        text += &format!(
            "{:<20} {:<14} on {:<8}  a {intercept:>7.2}  b {slope:>6.3} +- {seeds} (seeds) {line} (line)  rms {residual_rms:.3}  [{}]\n",
            law.curve.name(),
            law.quantity,
            law.against,
            residuals.join(" ")
        );
    }
    text += &format!("\n{}", summary(results));
    text
}

fn picture(results: &Results) -> Plot {
    // the curve with hollow points first, below the others
    let curves =
        [(Curve::Fine, (0x6b, 0x8e, 0x3a)), (Curve::Sde, (0x1f, 0x5f, 0xa8)), (Curve::Ode, (0xd0, 0x5a, 0x1e))];
    let mut series = Vec::new();
    for (what, marker, dashed) in [("steps", Marker::Square, true), ("rounds", Marker::Circle, false)] {
        for (curve, colour) in curves {
            let value = |p: &Point| if what == "steps" { p.steps as f64 } else { p.median(QUANTITIES[0].1) };
            let points = results.points.iter().filter(|p| p.curve == curve);
            series.push(Series {
                label: format!("{what}: {}", curve.name()),
                points: points.map(|p| (p.dim as f64, value(p), !p.capped)).collect(),
                colour,
                marker,
                dashed,
            });
        }
    }
    let dims: BTreeMap<usize, f64> = results.points.iter().map(|p| (p.dim, p.dim as f64)).collect();
    let capped = results.points.iter().any(|p| p.capped);
    let hollow = if capped { " (hollow: steps cut to fit memory)" } else { "" };
    Plot {
        title: format!("Sequential steps and rounds of PIADM{hollow}"),
        x_label: "dimension d".into(),
        y_label: "evaluations one after another".into(),
        log_x: true,
        log_y: true,
        x_ticks: Some(dims.into_values().collect()),
        series,
    }
}

fn main() -> Result<(), BoxError> {
    let Some(o) = options()? else { return Ok(()) };
    let results = match &o.read {
        Some(file) => serde_json::from_slice(&std::fs::read(file)?)?,
        None => measure(&o.dims, o.seeds)?,
    };
    std::fs::create_dir_all(&o.output)?;
    let json = serde_json::to_string(&results)?;
    std::fs::write(o.output.join("scaling.json"), format!("{json}\n"))?;
    picture(&results).save(o.output.join("scaling.png"), (960, 640))?;
    if o.json {
        println!("{json}")
    } else {
        print!("{}", table(&results))
    }
    Ok(())
}
