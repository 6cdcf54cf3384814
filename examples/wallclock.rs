//! Seconds of sequential and of parallel sampling: who is faster, and by how much.
//!
//! `cargo run --release --example wallclock` (see `--help` and results/wallclock.md)

#[path = "support/boundary.rs"]
mod boundary;
#[path = "support/entrants.rs"]
mod entrants;
#[path = "support/equal_error.rs"]
#[allow(dead_code)] // the example `rounds` uses more of it
mod equal_error;
#[path = "support/few_steps.rs"]
mod few_steps;
#[path = "support/fit.rs"]
#[allow(dead_code)]
mod fit;
#[path = "support/format.rs"]
mod format;
#[path = "support/network.rs"]
#[allow(dead_code)]
mod network;
#[path = "support/presets.rs"]
#[allow(dead_code)]
mod presets;
#[path = "support/race.rs"]
mod race;
#[path = "support/seconds.rs"]
mod seconds;

use entrants::{Entrant, Tuner, fastest};
use equal_error::Setting;
use few_steps::{Quality, short};
use fit::median;
use network::{Network, RowPath};
use piadm::{Acceptance, Automatic, BoxError, Picard, Sampler, Sequential, sampler::Dynamics};
use presets::OURS;
use race::{Contender, IMAGES, call, race};
use rayon::ThreadPoolBuilder;
use seconds::{Findings, Race, Results, show};
use std::path::PathBuf;
use std::time::Instant;

/// Measurements of a call's seconds, of which the median is taken.
const PASSES: usize = 5;

const HELP: &str = "\
Measures the seconds of sequential sampling, of every parallel sampler at a path error of about 1e-2, and of a second-order
scheme of few steps that gives images of the same quality; in turn, medians. Writes DIR/wallclock.json. The default takes about
a quarter of an hour on two idle cores; RAYON_NUM_THREADS sets the number of threads.

  --network NAME     mlp or unet; repeatable (default both)
  --dynamics KIND    sde, ode or both (default both)
  --steps N          steps; repeatable (default 100, 250, 500 and 1000)
  --images N         images of a batch; repeatable (default 1 and 8)
  --turns N          runs of everyone (default 5 of one image, 3 of more)
  --seed N           seed of the noise (default 5)
  --quick            the mlp, 60 steps, one image, 3 turns, 32 samples for quality: seconds
  --output DIR       where the file goes (default out)
  --read FILE        shows the figures of an earlier wallclock.json instead of measuring
  --format KIND      table (default), or json on the standard output
";

struct Options {
    networks: Vec<String>,
    dynamics: Vec<Dynamics>,
    steps: Vec<usize>,
    images: Vec<usize>,
    turns: Option<usize>,
    seed: u64,
    quick: bool,
    output: PathBuf,
    read: Option<PathBuf>,
    json: bool,
}

fn options() -> Result<Option<Options>, BoxError> {
    use lexopt::prelude::*;
    let mut o = Options {
        networks: Vec::new(),
        dynamics: vec![Dynamics::Sde, Dynamics::Ode],
        steps: Vec::new(),
        images: Vec::new(),
        turns: None,
        seed: 5,
        quick: false,
        output: PathBuf::from("out"),
        read: None,
        json: false,
    };
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("network") => o.networks.push(args.value()?.string()?),
            Long("dynamics") => {
                o.dynamics = match args.value()?.string()?.as_str() {
                    "sde" => vec![Dynamics::Sde],
                    "ode" => vec![Dynamics::Ode],
                    "both" => vec![Dynamics::Sde, Dynamics::Ode],
                    other => return Err(format!("--dynamics {other}: expected sde, ode or both").into()),
                }
            }
            Long("steps") => o.steps.push(args.value()?.parse()?),
            Long("images") => o.images.push(args.value()?.parse()?),
            Long("turns") => o.turns = Some(args.value()?.parse()?),
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
    if o.networks.is_empty() {
        o.networks = if o.quick { vec!["mlp".into()] } else { vec!["mlp".into(), "unet".into()] };
    }
    if o.steps.is_empty() {
        o.steps = if o.quick { vec![60] } else { vec![100, 250, 500, 1000] };
    }
    if o.images.is_empty() {
        o.images = if o.quick { vec![1] } else { vec![1, 8] };
    }
    let zeros = [("turns", o.turns == Some(0)), ("steps", o.steps.contains(&0)), ("images", o.images.contains(&0))];
    if let Some((name, _)) = zeros.into_iter().find(|(_, zero)| *zero) {
        return Err(format!("--{name} must be at least 1").into());
    }
    Ok(Some(o))
}

/// Everything about a network. `save` gets what there is after every race.
fn measure(name: &str, o: &Options, save: &dyn Fn(&Findings) -> Result<(), BoxError>) -> Result<Findings, BoxError> {
    let started = Instant::now();
    let tell = |what: &str| eprintln!("{name}, {:.0} s: {what}", started.elapsed().as_secs_f64());
    let single = ThreadPoolBuilder::new().num_threads(1).build()?;
    let mut network = network::load(name, None)?;
    let network = &mut *network;
    let unet = name == "unet";
    let mut findings = Findings { network: name.into(), ..Findings::default() };
    let mut passes = vec![Vec::new(); 10];
    for _ in 0..PASSES {
        for (power, pass) in passes.iter_mut().enumerate() {
            pass.push(call(network, 1 << power)?);
        }
    }
    findings.latency = passes.into_iter().enumerate().map(|(power, pass)| (1 << power, median(pass))).collect();
    let one = |network: &mut dyn Network| call(network, 1);
    findings.single_row = (single.install(|| one(network))?, one(network)?);
    findings.row_paths = single.install(|| row_paths(network))?;
    for &dynamics in &o.dynamics {
        let mut tuner = Tuner::default();
        let setting = |steps, samples| Setting { dynamics, steps, samples, seed: o.seed };
        let (samples, reference) = match (o.quick, unet) {
            (true, _) => (32, 60),
            (_, true) => (128, 250),
            _ => (1024, 500),
        };
        let quality = Quality::measure(network, setting(0, samples), &o.steps, reference)?;
        findings.quality.push(quality.clone());
        tell(&format!("quality, {dynamics:?}"));
        for &steps in &o.steps {
            let windows: &[usize] = if unet { &[4, 8, 16] } else { &[8, 16, 32, 64] };
            let entrants = tuner.entrants(network, setting(steps, if unet { IMAGES / 2 } else { IMAGES }), windows)?;
            tell(&format!("tolerances, {dynamics:?}, {steps} steps"));
            for &images in &o.images {
                let setting = setting(steps, images);
                let chosen = fastest(&entrants, steps, images, &findings.latency);
                let contenders = contenders(setting, network.dim(), &chosen, quality.fewest(steps))?;
                let turns = o.turns.unwrap_or(if images == 1 && !o.quick { 5 } else { 3 });
                let lines = race(network, setting, &contenders, &single, turns)?;
                findings.races.push(Race { dynamics, steps, images, turns, lines });
                findings.seconds = started.elapsed().as_secs_f64();
                save(&findings)?;
            }
            tell(&format!("seconds, {dynamics:?}, {steps} steps"));
        }
    }
    Ok(findings)
}

/// Seconds of a call on one row by every path there is, taking turns. The first is the one that everything else uses.
fn row_paths(network: &mut dyn Network) -> Result<Vec<(String, f64)>, BoxError> {
    let all =
        [(RowPath::Half, "f16 weights"), (RowPath::Single, "f32 weights"), (RowPath::Batch, "product of a batch")];
    let possible: Vec<_> = all.into_iter().filter(|(path, _)| network.set_row_path(*path)).collect();
    let mut passes = vec![Vec::new(); possible.len()];
    for _ in 0..PASSES {
        for ((path, _), pass) in possible.iter().zip(&mut passes) {
            network.set_row_path(*path);
            pass.push(call(network, 1)?);
        }
    }
    if let Some((used, _)) = possible.first() {
        network.set_row_path(*used);
    }
    Ok(possible.iter().zip(passes).map(|((_, name), pass)| (name.to_string(), median(pass))).collect())
}

/// Sequential sampling, the parallel samplers, `Automatic`, and the short run of a second-order scheme.
fn contenders(
    setting: Setting,
    dim: usize,
    chosen: &[&Entrant],
    few: Option<usize>,
) -> Result<Vec<Contender>, BoxError> {
    let problem = setting.problem(dim)?;
    let contender = |name: &str, sampler: Box<dyn Sampler<_>>| Contender {
        name: name.into(),
        window: None,
        tolerance: None,
        sampler,
        problem: problem.clone(),
        single: false,
        same_path: true,
    };
    let mut all = vec![contender("sequential", Box::new(Sequential))];
    if setting.samples == 1 {
        all.push(Contender { single: true, ..contender("sequential, 1 thread", Box::new(Sequential)) });
    }
    for Entrant { preset, window, outcome } in chosen {
        let sampler = (preset.sampler)(*window, outcome.tolerance);
        let window = preset.windowed.then_some(*window);
        all.push(Contender {
            window,
            tolerance: Some(outcome.tolerance),
            ..contender(if preset.name == OURS { "picard (default)" } else { preset.name }, sampler)
        });
        if preset.name == OURS {
            let acceptance = Acceptance::Error(outcome.tolerance);
            let sampler = Automatic::default().base(Picard::default().acceptance(acceptance));
            let tolerance = Some(outcome.tolerance);
            all.push(Contender { tolerance, ..contender("automatic, with probe", Box::new(sampler)) });
        }
    }
    if let Some(steps) = few {
        let problem = short(Setting { steps, ..setting }, dim)?;
        let few = contender("2nd order, few steps", Box::new(Sequential));
        all.push(Contender { problem, same_path: false, ..few });
    }
    Ok(all)
}

/// Writes what there is.
fn write(results: &Results, o: &Options) -> Result<(), BoxError> {
    std::fs::create_dir_all(&o.output)?;
    Ok(std::fs::write(o.output.join("wallclock.json"), format!("{}\n", serde_json::to_string(results)?))?)
}

/// Everything runs on a thread of the pool: called from elsewhere, every kernel and every evaluation would wake the
/// pool and wait for it.
fn main() -> Result<(), BoxError> {
    rayon::scope(|_| run())
}

fn run() -> Result<(), BoxError> {
    let Some(o) = options()? else { return Ok(()) };
    let mut results = Results { threads: rayon::current_num_threads(), seed: o.seed, networks: Vec::new() };
    if let Some(file) = &o.read {
        results = serde_json::from_slice(&std::fs::read(file)?)?;
    } else {
        for name in &o.networks {
            // a run that is broken off leaves what it has measured
            let save = |findings: &Findings| {
                let networks = results.networks.iter().chain([findings]).cloned().collect();
                write(&Results { networks, ..results }, &o)
            };
            let findings = measure(name, &o, &save)?;
            results.networks.push(findings);
        }
        write(&results, &o)?;
    }
    if o.json {
        println!("{}", serde_json::to_string(&results)?);
    } else {
        print!("{}", show(&results));
    }
    Ok(())
}
