//! How good the automatic window is: seconds of sequential sampling, of fixed windows and of the automatic choice, in
//! turn.
//!
//! `cargo bench --bench automatic [-- --repeats N] [--only CASE]`; a table, then one line of JSON. Compare figures
//! within one run only.

use clap::Parser;
use lab::{cli::Progress, cli::positive, stats::median, table::table};
use ndarray::Array2;
use piadm::{Automatic, BoxError, Cpu, Model, Ou, Piadm, Picard, Prediction, Problem, Report, Sampler, ScoreFn};
use piadm::{Sequential, Window, sampler::Dynamics, score::Mixture, score_fn};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

const WINDOWS: [usize; 8] = [4, 8, 16, 32, 64, 96, 128, 256];

struct Case {
    name: &'static str,
    score: Box<dyn ScoreFn<Cpu<f32>>>,
    samples: usize,
    dim: usize,
    steps: usize,
    dynamics: Dynamics,
}

/// A mixture's score that takes as long as `wait` says of the rows.
fn waiting(wait: impl Fn(u32) -> Duration + 'static) -> Result<Box<dyn ScoreFn<Cpu<f32>>>, BoxError> {
    let mut inner = mixture(16)?;
    Ok(Box::new(score_fn::<f32>(Prediction::Score, move |x, rows, out| {
        sleep(wait(rows.len() as u32));
        inner.eval(x, rows, out)
    })))
}

/// Eight modes.
fn mixture(dim: usize) -> Result<Box<dyn ScoreFn<Cpu<f32>>>, BoxError> {
    let sign = |(k, i): (usize, usize)| if (k * 31 + i * 17 + k * i) % 13 > 6 { 1.0 } else { -1.0 };
    Ok(Box::new(Mixture::new(vec![1.0; 8], Array2::from_shape_fn((8, dim), sign), vec![0.3; 8])?))
}

fn cases() -> Result<Vec<Case>, BoxError> {
    let case = |name, score, samples, dim, steps, dynamics| Case { name, score, samples, dim, steps, dynamics };
    let net = |name| -> Result<Box<dyn ScoreFn<Cpu<f32>>>, BoxError> { Ok(Box::new(networks::load(name, None)?)) };
    let (sde, ode) = (Dynamics::Sde, Dynamics::Ode);
    Ok(vec![
        case("mlp, 1 sample", net("mlp")?, 1, 784, 500, sde),
        case("mlp, 8 samples", net("mlp")?, 8, 784, 500, sde),
        case("mlp, 1 sample, ODE", net("mlp")?, 1, 784, 500, ode),
        case("mlp, 1 sample, 100 steps", net("mlp")?, 1, 784, 100, sde),
        case("unet, 1 sample", net("unet")?, 1, 784, 500, sde),
        case("mixture of 64, 4 samples", mixture(64)?, 4, 64, 500, sde),
        case("mixture of 784, 1 sample", mixture(784)?, 1, 784, 500, sde),
        case("constant 1 ms", waiting(|_| Duration::from_millis(1))?, 1, 16, 500, sde),
        case("0.2 ms per row", waiting(|rows| rows * Duration::from_micros(200))?, 1, 16, 500, sde),
        case(
            "1 ms + 0.02 ms per row",
            waiting(|rows| Duration::from_micros(1000 + 20 * u64::from(rows)))?,
            1,
            16,
            500,
            sde,
        ),
    ])
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Seconds of a run, measuring included.
fn timed(
    sampler: &dyn Sampler<Cpu<f32>>,
    problem: &Problem<Cpu<f32>>,
    score: &mut dyn ScoreFn<Cpu<f32>>,
) -> Result<(f64, Report), BoxError> {
    let started = Instant::now();
    let solution = sampler.sample(problem, score)?;
    Ok((started.elapsed().as_secs_f64(), solution.report))
}

/// The cells of a line, and all figures.
fn measure(case: &mut Case, repeats: usize) -> Result<(Vec<String>, Value), BoxError> {
    let Case { name, score, samples, dim, steps, dynamics } = case;
    let piadm = Piadm::new(*dim, 0.01, *dynamics).steps(*steps).t_min(0.01);
    let recipe = piadm.recipe(&Ou, score.time_range())?;
    let problem = Problem::new(Ou, recipe.grid, recipe.scheme).samples(*samples).shape([*dim]);
    let windows: Vec<usize> = WINDOWS.into_iter().filter(|w| *w <= *steps).collect();
    let mut fixed = vec![Vec::new(); windows.len()];
    let (mut sequential, mut automatic, mut probed) = (Vec::new(), Vec::new(), Vec::new());
    let mut choices = BTreeMap::<String, usize>::new();
    let mut last = None;
    for repeat in 0..repeats {
        let problem = problem.clone().seed(repeat as u64);
        sequential.push(timed(&Sequential, &problem, score)?.0);
        for (window, times) in windows.iter().zip(&mut fixed) {
            let sampler = Picard::default().window(Window::Steps(*window));
            times.push(timed(&sampler, &problem, score)?.0);
        }
        let (seconds, report) = timed(&Automatic::default(), &problem, score)?;
        automatic.push(seconds - report.probe_time.as_secs_f64());
        probed.push(seconds);
        let window = report.choice.as_ref().and_then(|c| c.window).map_or("seq".into(), |w| w.to_string());
        *choices.entry(window).or_default() += 1;
        last = report.choice;
    }
    let ms = |seconds: &[f64]| format!("{:.1}", 1e3 * least(seconds));
    let chosen: Vec<String> = choices.iter().map(|(w, n)| format!("{w} ({n})")).collect();
    let ratios = |of: &dyn Fn(&[f64]) -> f64| {
        let best = fixed.iter().map(|t| of(t)).fold(of(&sequential), f64::min);
        (of(&automatic) / best, of(&probed) / best)
    };
    let (by_least, by_median) = (ratios(&least), ratios(&|times| median(times.iter().copied())));
    let mut cells =
        vec![(*name).to_owned(), ms(&sequential), fixed.iter().map(|t| ms(t)).collect::<Vec<_>>().join(" ")];
    cells.extend([ms(&automatic), ms(&probed)]);
    cells.extend([by_least.0, by_least.1, by_median.0].map(|ratio| format!("{ratio:.2}")));
    cells.push(chosen.join(" "));
    let json = json!({
        "case": *name, "sequential": sequential, "windows": windows, "parallel": fixed, "automatic": automatic,
        "with_probe": probed, "ratio": by_least, "ratio_of_medians": by_median, "chosen": choices, "last": last,
    });
    Ok((cells, json))
}

/// Measures sequential sampling, fixed windows and the automatic choice in turn.
#[derive(Parser)]
#[command(name = "automatic")]
struct Options {
    /// Runs of everyone
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = positive)]
    repeats: usize,
    /// Only the cases with CASE in their names
    #[arg(long, value_name = "CASE", default_value = "")]
    only: String,
    /// Cargo's own
    #[arg(long, hide = true)]
    bench: bool,
}

fn run(o: Options, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    let mut cases = cases()?;
    cases.retain(|case| case.name.contains(&o.only));
    if cases.is_empty() {
        return Err(format!("--only {}: no such case", o.only).into());
    }
    let progress = Progress::new("automatic", cases.len());
    let (mut lines, mut all) = (Vec::new(), Vec::new());
    for (done, case) in cases.iter_mut().enumerate() {
        progress.tell(done, case.name);
        let (cells, json) = measure(case, o.repeats)?;
        lines.push(cells);
        all.push(json);
    }
    drop(progress);
    let titles =
        ["", "sequential", "windows", "automatic", "with probe", "ratio", "with probe", "of medians", "chosen"];
    let heading = "runs in turn, milliseconds; windows";
    writeln!(out, "least of {} {heading} {WINDOWS:?}; ratios to the best of the others\n", o.repeats)?;
    writeln!(out, "{}\n{}", table(titles, 1, lines), json!(all))?;
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    lab::cli::main(run)
}
