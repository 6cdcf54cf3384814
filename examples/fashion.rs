//! Generates images with a trained network, sequentially and in parallel over time, and compares the two.
//!
//! `cargo run --release --example fashion` (see `--help`)

#[path = "support/format.rs"]
mod format;
#[path = "support/gain.rs"]
mod gain;
#[path = "support/network.rs"]
#[allow(dead_code, unused_imports)] // the example `wallclock` uses more of it
mod network;
#[path = "support/picture.rs"]
mod picture;

use ndarray::Array2;
use piadm::{
    Acceptance, BoxError, Cpu, Model, Observer, Ou, Piadm, Picard, Problem, Sampler, Sequential, Solution, Window,
    sampler::{Coupling, Dynamics, Entry, Linearisation, Recipe, Round},
};
use picture::Picture;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

const HELP: &str = "\
Samples one Fashion-MNIST image of a trained network sequentially and in parallel, in turn, and says what it gains in
seconds; then draws a few images. With --samples N: N images, sequentially, with PIADM and with a sliding window, on
the paper's grid and with the paper's integrator, side by side.

  --network NAME     mlp (default), or unet: cleaner images, 4 to 20 times the seconds per row
  --weights FILE     another network of this architecture (default data/fashion_NAME.safetensors)
  --steps N          time steps (default 1000; with --samples 500)
  --window N         steps of a sliding window (default 16; with --samples 64)
  --seed N           seed of all noise (default 0)
  --dynamics KIND    sde (default) or ode
  --output DIR       where the pictures go (default out)
  --format KIND      table (default), or json: one report per line on the standard output

  --samples N        the comparison of N images; only then:
  --corrected        with --dynamics ode: the Langevin corrector after every block (PIADM-ODE), in all samplers
  --sampler NAME     sequential, piadm, sliding or paradigms; may be given several times (default: the first three).
                     sequential always runs, as the reference
  --tolerance X      sliding: estimated error of the samples; PIADM, ParaDiGMS: rms change at which a node is accepted
                     (default 0.01)
  --depth K          sweeps of every PIADM block in place of a tolerance
";

/// What the command line asks for.
struct Options {
    network: String,
    weights: Option<PathBuf>,
    steps: Option<usize>,
    samples: Option<usize>,
    seed: u64,
    dynamics: Dynamics,
    corrected: bool,
    samplers: Vec<String>,
    window: Option<usize>,
    tolerance: Option<f64>,
    depth: Option<usize>,
    output: PathBuf,
    json: bool,
}

fn options() -> Result<Option<Options>, BoxError> {
    use lexopt::prelude::*;
    let mut o = Options {
        network: "mlp".into(),
        weights: None,
        steps: None,
        samples: None,
        seed: 0,
        dynamics: Dynamics::Sde,
        corrected: false,
        samplers: Vec::new(),
        window: None,
        tolerance: None,
        depth: None,
        output: PathBuf::from("out"),
        json: false,
    };
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("network") => o.network = args.value()?.string()?,
            Long("weights") => o.weights = Some(args.value()?.into()),
            Long("steps") => o.steps = Some(args.value()?.parse()?),
            Long("samples") => o.samples = Some(args.value()?.parse()?),
            Long("seed") => o.seed = args.value()?.parse()?,
            Long("window") => o.window = Some(args.value()?.parse()?),
            Long("tolerance") => o.tolerance = Some(args.value()?.parse()?),
            Long("depth") => o.depth = Some(args.value()?.parse()?),
            Long("output") => o.output = args.value()?.into(),
            Long("corrected") => o.corrected = true,
            Long("sampler") => o.samplers.push(args.value()?.string()?),
            Long("dynamics") => {
                o.dynamics = match args.value()?.string()?.as_str() {
                    "sde" => Dynamics::Sde,
                    "ode" => Dynamics::Ode,
                    other => return Err(format!("--dynamics {other}: expected sde or ode").into()),
                }
            }
            Long("format") => o.json = format::is_json(&args.value()?.string()?)?,
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if o.corrected && o.dynamics == Dynamics::Sde {
        return Err("--corrected: the corrector belongs to --dynamics ode".into());
    }
    let only = [
        ("--corrected", o.corrected),
        ("--sampler", !o.samplers.is_empty()),
        ("--tolerance", o.tolerance.is_some()),
        ("--depth", o.depth.is_some()),
    ];
    if let (Some((name, _)), None) = (only.into_iter().find(|(_, given)| *given), o.samples) {
        return Err(format!("{name}: only with --samples N").into());
    }
    if o.samplers.is_empty() {
        o.samplers = ["sequential", "piadm", "sliding"].map(String::from).to_vec();
    }
    Ok(Some(o))
}

/// A line on the terminal that follows the run.
struct Progress<'a> {
    name: &'a str,
    started: Instant,
    shown: bool,
}

impl Observer<Cpu<f32>> for Progress<'_> {
    fn on_round(&mut self, round: &Round<'_>) -> ControlFlow<()> {
        if self.shown {
            let slowest = round.finished.iter().min().copied().unwrap_or(0);
            let seconds = self.started.elapsed().as_secs_f64();
            let (name, n, steps) = (self.name, round.round, round.steps);
            eprint!(
                "\r{name:<12} round {n:>4}   {slowest:>4} of {steps} steps   {} rows   {seconds:.1} s   ",
                round.rows
            );
            // a terminal that cannot be written to is no reason to stop
            let _ = std::io::stderr().flush();
        }
        ControlFlow::Continue(())
    }
}

fn sampler(name: &str, o: &Options, recipe: &Recipe) -> Result<Box<dyn Sampler<Cpu<f32>>>, BoxError> {
    let sliding = Picard::default()
        .window(o.window.unwrap_or(64))
        .acceptance(o.tolerance.map_or(Acceptance::default(), Acceptance::Error));
    Ok(Box::new(match name {
        "sequential" => return Ok(Box::new(Sequential)),
        // the published barrier: before a correction and after it
        "piadm" if o.corrected => recipe.sampler.clone().window(Window::Marked { marks: 1 }),
        "piadm" => recipe.sampler.clone(),
        "sliding" => sliding,
        "paradigms" => sliding
            .linearisation(Linearisation::Identity)
            .entry(Entry::Copy)
            .acceptance(Acceptance::change(o.tolerance.unwrap_or(1e-2)))
            .coupling(Coupling::WholeBatch),
        other => return Err(format!("--sampler {other}: expected sequential, piadm, sliding or paradigms").into()),
    }))
}

/// Root mean square difference of each sample.
fn path_errors(a: &Array2<f32>, b: &Array2<f32>) -> Vec<f64> {
    let square = |(a, b): (&f32, &f32)| f64::from(a - b).powi(2);
    a.rows()
        .into_iter()
        .zip(b.rows())
        .map(|(a, b)| (a.iter().zip(b).map(square).sum::<f64>() / a.len() as f64).sqrt())
        .collect()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

/// Everything runs on a thread of the pool: called from elsewhere, every kernel and every evaluation would wake the
/// pool and wait for it.
fn main() -> Result<(), BoxError> {
    rayon::scope(|_| run())
}

fn run() -> Result<(), BoxError> {
    let Some(o) = options()? else { return Ok(()) };
    let Some(samples) = o.samples else { return gain::show(&o) };
    let mut net = network::load(&o.network, o.weights.as_deref())?;
    let dim = net.dim();
    let piadm = Piadm::new(dim, 0.01, o.dynamics)
        .steps(o.steps.unwrap_or(500))
        .t_min(0.01)
        .depth(o.depth)
        .acceptance(o.depth.is_none().then_some(Acceptance::change(o.tolerance.unwrap_or(1e-2))));
    let recipe = piadm.recipe(&Ou, net.time_range())?;
    let (grid, scheme) = (recipe.grid.clone(), recipe.scheme.clone());
    let mut problem = Problem::new(Ou, grid, scheme).samples(samples).shape([dim]).seed(o.seed);
    if let Some((block, correction)) = recipe.correction.filter(|_| o.corrected) {
        problem = problem.correction(block, correction);
    }
    std::fs::create_dir_all(&o.output).map_err(|e| format!("{}: {e}", o.output.display()))?;

    let mut reference: Option<Solution<Cpu<f32>>> = None;
    let mut pictures = Vec::new();
    let rest = o.samplers.iter().map(String::as_str).filter(|n| *n != "sequential");
    for name in std::iter::once("sequential").chain(rest) {
        let mut watch = Progress { name, started: Instant::now(), shown: std::io::stderr().is_terminal() };
        let solution = sampler(name, &o, &recipe)?.run(&problem, &mut *net, &mut watch)?;
        if watch.shown {
            eprintln!();
        }
        let errors = reference.as_ref().map(|r| path_errors(&solution.samples, &r.samples));
        let file = o.output.join(format!("{name}.png"));
        let columns = (samples as f64).sqrt().ceil() as usize;
        let picture = Picture::grid(solution.samples.view(), columns, net.norm())?;
        picture.enlarged(2).save(&file)?;
        pictures.push(picture);
        let report = &solution.report;
        if o.json {
            let mut line = serde_json::to_value(report)?;
            if let Some(fields) = line.as_object_mut() {
                fields.insert("sampler".into(), name.into());
                fields.insert("rows_per_step".into(), report.rows_per_step().into());
                fields.insert("seconds".into(), report.total_time().as_secs_f64().into());
                fields.insert("rms_to_sequential".into(), errors.clone().unwrap_or(vec![0.0; samples]).into());
                fields.insert("picture".into(), file.display().to_string().into());
            }
            println!("{line}");
        } else {
            println!("--- {name}\n{report}");
            if let (Some(errors), Some(reference)) = (&errors, &reference) {
                let worst = errors.iter().copied().fold(0.0, f64::max);
                println!(
                    "{:<16}median {:.2e}, worst {worst:.2e} (rms to the sequential images)",
                    "path error",
                    median(errors)
                );
                let ratio = reference.report.total_time().as_secs_f64() / report.total_time().as_secs_f64();
                let rounds = reference.report.rounds as f64 / report.rounds as f64;
                println!("{:<16}{rounds:.1} times fewer rounds, {ratio:.2} times the speed of sequential", "gain");
            }
            println!("{:<16}{}\n", "picture", file.display());
        }
        if reference.is_none() {
            reference = Some(solution);
        }
    }
    let file = o.output.join("comparison.png");
    Picture::beside(&pictures).enlarged(2).save(&file)?;
    if !o.json {
        println!("side by side, in this order: {}", file.display());
        println!(
            "A row's result of these networks does not depend on the other rows (see support/linear.rs): with --tolerance 0"
        );
        println!("the path error is exactly 0.");
    }
    Ok(())
}
