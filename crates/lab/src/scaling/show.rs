//! What was measured, in tables, sentences and a plot.

use super::{BLOCKS, Curve, MODES, Point, ROUNDS, Results, Run, SAMPLES, SWEEPS};
use crate::plot::{Marker, Plot, Series};
use crate::stats::{Fit, largest};
use crate::{residuals::Residuals, table::table};
use std::collections::BTreeMap;

/// A title and the cells below it.
type Column = (&'static str, fn(&Point) -> String);

const COLUMNS: [Column; 14] = [
    ("d", |p| p.dim.to_string()),
    ("steps", |p| format!("{}{}", p.steps, if p.capped { "*" } else { "" })),
    ("rounds", |p| p.median(ROUNDS.1).to_string()),
    ("blocks", |p| p.median(BLOCKS.1).to_string()),
    ("sweeps", |p| format!("{:.2}", p.median(SWEEPS.1))),
    ("most", |p| p.median(|r| largest(r.sweeps.iter().map(|s| *s as f64))).to_string()),
    ("rows/step", |p| format!("{:.2}", p.median(|r| r.score_rows as f64) / (p.steps * SAMPLES) as f64)),
    ("rms end", |p| format!("{:.1e}", p.median(|r| r.rms_end))),
    ("rms path", |p| format!("{:.1e}", p.median(|r| r.rms_path))),
    ("KL", |p| format!("{:.1e}", pooled([p], |r| &r.parallel).kl())),
    ("KL seq.", |p| format!("{:.1e}", pooled([p], |r| &r.sequential).kl())),
    ("1/n", |p| format!("{:.1e}", 1.0 / (p.runs.len() * SAMPLES * p.dim) as f64)),
    ("MiB", |p| format!("{:.1}", p.memory_bytes as f64 / f64::from(1 << 20))),
    ("s, seq. s", |p| format!("{:.2}, {:.2}", p.median(|r| r.parallel_seconds), p.median(|r| r.sequential_seconds))),
];

/// Of all seeds.
fn pooled<'a>(points: impl IntoIterator<Item = &'a Point>, of: fn(&Run) -> &Residuals) -> Residuals {
    let runs: Vec<&Run> = points.into_iter().flat_map(|p| &p.runs).collect();
    Residuals::pooled(runs.iter().map(|r| of(r)))
}

/// A name of the file as it is printed.
pub(super) fn printed(name: impl ToString) -> String {
    name.to_string().replace("sqrt ", "√").replace(" a block", " per block")
}

/// Tables of the points and of the fits, and what they say.
pub fn tables(results: &Results) -> String {
    let mut text = String::from(
        "medians over seeds; sweeps: mean of a block; KL: per coordinate, all seeds; 1/n: that of exact samples\n",
    );
    for curve in Curve::ALL {
        let points = results.points.iter().filter(|p| p.curve == curve);
        let rows = points.map(|p| COLUMNS.iter().map(|(_, cell)| cell(p)).collect());
        text += &format!("\n{}\n{}", printed(curve), table(COLUMNS.map(|(title, _)| title), 0, rows));
    }
    if results.points.iter().any(|p| p.capped) {
        text += "* capped: memory; not in the fits\n";
    }
    text += "\nfits: y = a + b x to means over seeds, with two standard errors of b: over seeds, and of the line \
    from its residuals\n(rms of the residuals, then each)\n";
    let titles = ["curve", "y", "x", "a", "b", "± seeds", "± line", "rms", "residuals"];
    let fits = results.fits.iter().map(|line| {
        let Fit { intercept, slope, seeds_error, line_error, residuals, residual_rms } = &line.fit;
        let [seeds, scatter] = [seeds_error, line_error].map(|e| e.map_or_else(|| "-".into(), |e| format!("{e:.3}")));
        let [a, b, rms] = [format!("{intercept:.2}"), format!("{slope:.3}"), format!("{residual_rms:.3}")];
        let residuals = residuals.iter().map(|r| format!("{r:+.2}")).collect::<Vec<_>>().join(" ");
        vec![printed(line.curve), printed(&line.quantity), line.against.clone(), a, b, seeds, scatter, rms, residuals]
    });
    text + &format!("{}\n{}", table(titles, 3, fits), summary(results))
}

/// What grows, and where samples end.
fn summary(results: &Results) -> String {
    let (mut growth, mut modes) = (String::new(), String::new());
    for curve in Curve::ALL {
        let name = printed(curve);
        let points: Vec<&Point> = results.points.iter().filter(|p| p.curve == curve).collect();
        let mut whole = points.iter().filter(|p| !p.capped);
        if let (Some(first), Some(last)) = (whole.next(), whole.next_back()) {
            let [start, end] = [first, last].map(|p| p.median(ROUNDS.1));
            let [rounds, blocks, sweeps] = [ROUNDS, BLOCKS, SWEEPS].map(|(_, of)| last.median(of) / first.median(of));
            let steps = last.steps as f64 / first.steps as f64;
            growth += &format!(
                "{name}, from d = {} to {}: steps x {steps:.0}, rounds {start} -> {end} = x {rounds:.2}, blocks x \
                 {blocks:.2}, sweeps per block x {sweeps:.2}\n",
                first.dim, last.dim,
            );
        }
        let parallel = pooled(points.iter().copied(), |r| &r.parallel);
        let sequential = pooled(points.iter().copied(), |r| &r.sequential);
        let same = parallel.modes.iter().zip(&sequential.modes).filter(|(a, b)| a == b).count();
        let (counts, chi_square) = parallel.occupancy(MODES);
        modes += &format!(
            "{name}: {same} of {} samples in the mode of the sequential one; counts {counts:?}, chi^2 \
             {chi_square:.1}\n",
            parallel.modes.len(),
        );
    }
    growth + &modes
}

/// Steps and rounds against the dimension.
pub fn plot(results: &Results) -> Plot {
    // the curve with hollow points first, below the others
    let curves =
        [(Curve::Fine, (0x6b, 0x8e, 0x3a)), (Curve::Sde, (0x1f, 0x5f, 0xa8)), (Curve::Ode, (0xd0, 0x5a, 0x1e))];
    let mut series = Vec::new();
    for (what, marker, dashed) in [("steps", Marker::Square, true), ("rounds", Marker::Circle, false)] {
        let value = |p: &Point| if what == "steps" { p.steps as f64 } else { p.median(ROUNDS.1) };
        for (curve, colour) in curves {
            let points = results.points.iter().filter(|p| p.curve == curve);
            let points = points.map(|p| (p.dim as f64, value(p), !p.capped)).collect();
            series.push(Series { label: format!("{what}: {}", printed(curve)), points, colour, marker, dashed });
        }
    }
    let dims: BTreeMap<usize, f64> = results.points.iter().map(|p| (p.dim, p.dim as f64)).collect();
    let capped = results.points.iter().any(|p| p.capped);
    Plot {
        title: format!(
            "Sequential steps and rounds of PIADM{}",
            if capped { " (hollow: steps cut to fit memory)" } else { "" }
        ),
        x_label: "dimension d".into(),
        y_label: "evaluations one after another".into(),
        log_x: true,
        log_y: true,
        x_ticks: Some(dims.into_values().collect()),
        series,
    }
}
