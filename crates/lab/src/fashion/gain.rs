//! What one image gains: sequential and parallel sampling in turn, and a few pictures for the eye.

use super::{Line, Options, errors};
use crate::cli::{Format, about};
use crate::picture::{beside, grid};
use crate::stats::median;
use networks::Network;
use piadm::sampler::Dynamics;
use piadm::{BoxError, Cpu, Grid, Guarantee, Ou, Picard, Problem, Report, Sampler, Scheme, Sequential, Solution};
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

const STEPS: usize = 1000;
const WINDOW: usize = 16;
const TURNS: usize = 9;
/// Images of a picture, and the steps and the window that they are sampled with.
const IMAGES: usize = 16;
const IMAGE_STEPS: usize = 250;
const IMAGE_WINDOW: usize = 64;

/// Samples that are denoised in the last step.
fn problem(net: &dyn Network, o: &Options, samples: usize, steps: usize) -> Problem<Cpu<f32>> {
    let scheme = if o.dynamics == Dynamics::Sde { Scheme::default() } else { Scheme::Ddim { eta: 0.0 } };
    let grid = Grid::log_snr(steps - 1).between(8.0, 0.01).then_data();
    Problem::new(Ou, grid, scheme).samples(samples).shape([net.dim()]).seed(o.seed)
}

/// Measures one image, then draws some.
pub fn show(o: &Options, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    let (steps, window) = (o.steps.unwrap_or(STEPS), o.window.unwrap_or(WINDOW));
    if steps < 2 {
        return Err(format!("--steps {steps}: expected at least 2 steps").into());
    }
    let mut net = o.network()?;
    o.output.folder()?;
    measure(o, &mut *net, steps, window, out)?;
    pictures(o, &mut *net, &o.network, out)?;
    if o.network == "mlp" && o.weights.is_none() {
        pictures(o, &mut *networks::load("unet", None)?, "unet", out)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One image in turn by both samplers.
fn measure(
    o: &Options,
    net: &mut dyn Network,
    steps: usize,
    window: usize,
    out: &mut dyn Write,
) -> Result<(), BoxError> {
    let one = problem(net, o, 1, steps);
    let parallel = Picard::default().window(window).acceptance(o.acceptance());
    let mut timed = |sampler: &dyn Sampler<Cpu<f32>>| -> piadm::Result<(Solution<Cpu<f32>>, f64)> {
        let clock = Instant::now();
        let solution = sampler.sample(&one, net)?;
        Ok((solution, clock.elapsed().as_secs_f64()))
    };
    // the first turn, which touches memory for the first time, is not counted
    let (reference, solution) = (timed(&Sequential)?.0, timed(&parallel)?.0);
    let mut seconds = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        seconds[0].push(timed(&Sequential)?.1);
        seconds[1].push(timed(&parallel)?.1);
    }
    let [before, after] = seconds.map(median);
    let error = errors(&solution.samples, &reference.samples)[0];
    if o.output.format == Format::Json {
        let more = |window: Option<usize>| json!({ "window": window, "turns": TURNS });
        let lines = [
            Line::new("sequential", &reference.report, before, 0.0, more(None)),
            Line::new("parallel", &solution.report, after, error, more(Some(window))),
        ];
        for line in lines {
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
        return Ok(());
    }
    let dynamics = crate::cli::name(o.dynamics);
    writeln!(out, "one image of the {}, {steps} {dynamics} steps, medians of {TURNS} turns", o.network)?;
    writeln!(out, "{:<12}{:>6} rounds{before:>9.4} s", "sequential", reference.report.rounds)?;
    let rounds = solution.report.rounds;
    let promise = promise(&solution.report, error);
    writeln!(out, "{:<12}{rounds:>6} rounds{after:>9.4} s, window {window}, {promise}", "parallel")?;
    Ok(writeln!(out, "{:<12}{:.1} times the speed\n", "gain", before / after)?)
}

/// What is said about a run: its law, or how far its samples are from the sequential ones.
fn promise(report: &Report, error: f64) -> String {
    match report.guarantee {
        Guarantee::Law => "the law of sequential sampling".into(),
        _ => format!("rms difference {error:.0e}"),
    }
}

/// The same images sequentially and in parallel, beside each other.
fn pictures(o: &Options, net: &mut dyn Network, name: &str, out: &mut dyn Write) -> Result<(), BoxError> {
    let problem = problem(net, o, IMAGES, IMAGE_STEPS);
    let reference = Sequential.sample(&problem, net)?;
    let solution = Picard::default().window(IMAGE_WINDOW).acceptance(o.acceptance()).sample(&problem, net)?;
    let draw = |solution: &Solution<Cpu<f32>>| grid(solution.samples.view(), 4, net.norm());
    let file =
        o.output.folder()?.join(if name == "mlp" { "comparison.png".into() } else { format!("comparison-{name}.png") });
    beside(&[draw(&reference)?, draw(&solution)?]).save(&file).map_err(about(&file))?;
    if o.output.format == Format::Table {
        let promise = promise(&solution.report, median(errors(&solution.samples, &reference.samples)));
        let (rounds, fewer) = (reference.report.rounds, solution.report.rounds);
        writeln!(
            out,
            "{}: {IMAGES} images of the {name}, left in {rounds} rounds, right in {fewer} (window {IMAGE_WINDOW}), \
             {promise}",
            file.display()
        )?;
    }
    Ok(())
}
