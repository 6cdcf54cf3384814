//! Several images: sequential sampling, PIADM and sliding windows on the paper's grid.

use super::{Line, Options, errors};
use crate::cli::{Format, Progress, about};
use crate::picture::{beside, grid};
use crate::stats::{largest, median};
use piadm::sampler::{Coupling, Dynamics, Entry, Linearisation, Recipe};
use piadm::{
    Acceptance, BoxError, Cpu, Guarantee, Model, Ou, Piadm, Picard, Problem, Sampler, Sequential, Solution, Window,
};
use serde_json::json;
use std::io::Write;
use std::process::ExitCode;

const STEPS: usize = 500;
const WINDOW: usize = 64;
const TOLERANCE: f64 = 1e-2;
const T_MIN: f64 = 0.01;

/// The sampler of this name; `None` is the sequential one.
fn sampler(name: &str, o: &Options, recipe: &Recipe) -> Option<Picard> {
    let sliding = Picard::default().window(o.window.unwrap_or(WINDOW)).acceptance(o.acceptance());
    match name {
        // the published barrier: before a correction and after it
        "piadm" if o.corrected => Some(recipe.sampler.clone().window(Window::Marked { marks: 1 })),
        "piadm" => Some(recipe.sampler.clone()),
        "sliding" => Some(sliding),
        "paradigms" => Some(
            sliding
                .linearisation(Linearisation::Identity)
                .entry(Entry::Copy)
                .acceptance(Acceptance::change(o.tolerance.unwrap_or(TOLERANCE)))
                .coupling(Coupling::WholeBatch),
        ),
        _ => None,
    }
}

/// Samples with everyone, draws, and compares with the sequential images.
pub fn show(o: &Options, samples: usize, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    if o.corrected && o.dynamics == Dynamics::Sde {
        return Err("--corrected: the corrector belongs to --dynamics ode".into());
    }
    let mut net = o.network()?;
    let (folder, dim) = (o.output.folder()?, net.dim());
    let piadm = Piadm::new(dim, T_MIN, o.dynamics)
        .steps(o.steps.unwrap_or(STEPS))
        .t_min(T_MIN)
        .depth(o.depth)
        .acceptance(o.depth.is_none().then_some(Acceptance::change(o.tolerance.unwrap_or(TOLERANCE))));
    let recipe = piadm.recipe(&Ou, net.time_range())?;
    let mut problem = Problem::new(Ou, recipe.grid.clone(), recipe.scheme.clone());
    problem = problem.samples(samples).shape([dim]).seed(o.seed);
    if let Some((block, correction)) = recipe.correction.filter(|_| o.corrected) {
        problem = problem.correction(block, correction);
    }
    let mut entrants = vec![("sequential", None)];
    if o.samplers.is_empty() {
        entrants.extend(["piadm", "sliding"].map(|name| (name, sampler(name, o, &recipe))));
    }
    entrants.extend(o.samplers.iter().map(|name| (name.as_str(), sampler(name, o, &recipe))).filter(|e| e.1.is_some()));
    // bad settings are found before anything runs
    for picard in entrants.iter().filter_map(|(_, picard)| picard.as_ref()) {
        problem.memory_estimate(picard, &*net)?;
    }
    let mut solutions: Vec<Solution<Cpu<f32>>> = Vec::new();
    let mut pictures = Vec::new();
    for (name, picard) in &entrants {
        let sampler: &dyn Sampler<Cpu<f32>> = picard.as_ref().map_or(&Sequential, |picard| picard);
        let solution = sampler.run(&problem, &mut *net, &mut Progress::new(name, 0))?;
        let file = folder.join(format!("{name}.png"));
        let picture = grid(solution.samples.view(), (samples as f64).sqrt().ceil() as usize, net.norm())?;
        beside(std::slice::from_ref(&picture)).save(&file).map_err(about(&file))?;
        pictures.push(picture);
        let (report, reference) = (&solution.report, solutions.first().unwrap_or(&solution));
        let (errors, seconds) = (errors(&solution.samples, &reference.samples), report.total_time().as_secs_f64());
        if o.output.format == Format::Json {
            let line = Line::new(name, report, seconds, errors, json!({ "picture": file }));
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        } else {
            writeln!(out, "--- {name}\n{report}")?;
            if picard.is_some() {
                // under the law of sequential images there is no path to be near to
                if report.guarantee != Guarantee::Law {
                    let (middle, worst) = (median(errors.iter().copied()), largest(errors));
                    writeln!(
                        out,
                        "path error      median {middle:.2e}, worst {worst:.2e} (rms to the sequential images)"
                    )?;
                }
                let fewer = reference.report.rounds as f64 / report.rounds as f64;
                let speed = reference.report.total_time().as_secs_f64() / seconds;
                writeln!(
                    out,
                    "gain            {fewer:.1} times fewer rounds, {speed:.2} times the speed of sequential"
                )?;
            }
            writeln!(out, "picture         {}\n", file.display())?;
        }
        solutions.push(solution);
    }
    let file = folder.join("comparison.png");
    beside(&pictures).save(&file).map_err(about(&file))?;
    if o.output.format == Format::Table {
        writeln!(out, "side by side, in this order: {}", file.display())?;
        writeln!(
            out,
            "A row of these networks does not depend on the other rows (crates/networks/src/linear.rs says why):"
        )?;
        writeln!(out, "with --tolerance 0 the path error is exactly 0.")?;
    }
    Ok(ExitCode::SUCCESS)
}
