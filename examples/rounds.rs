//! Rounds of the parallel samplers at equal error: same problems, same noise, same steps.
//!
//! `cargo run --release --example rounds` (see `--help` and results/rounds.md)

#[path = "support/boundary.rs"]
mod boundary;
#[path = "support/equal_error.rs"]
mod equal_error;
#[path = "support/fit.rs"]
#[allow(dead_code)]
mod fit;
#[path = "support/format.rs"]
mod format;
#[path = "support/network.rs"]
#[allow(dead_code, unused_imports)]
mod network;
#[path = "support/plot.rs"]
mod plot;
#[path = "support/presets.rs"]
mod presets;
#[path = "support/show.rs"]
mod show;
#[path = "support/study.rs"]
mod study;
#[path = "support/subject.rs"]
mod subject;

use piadm::{BoxError, sampler::Dynamics};
use std::path::PathBuf;
use study::{Part, Plan, Results, measure};

const HELP: &str = "\
Measures how many rounds and rows the parallel samplers take to come within a median error of 1e-2 and 1e-3 of the sequential
samples, and writes DIR/rounds.json and DIR/rounds-*.png. The default takes about half an hour.

  --problem NAME     mlp, unet, mixture-D (any D), patches; repeatable (default: mlp, unet, mixture-2, -64, -1024, -4096, patches)
  --dynamics KIND    sde, ode or both (default both)
  --steps N          steps (default 500)
  --window N         window of the table; repeatable (default 32, 64 and 128, for the unet 64)
  --samples N        samples of a run (default 6)
  --seed N           seed of the noise (default 5)
  --table            the table of all samplers and nothing else
  --claims           the claims about the mlp and nothing else
  --residuals        the residual of every round on the first problem and nothing else (a minute or two)
  --quick            mlp and mixture-64, 2 samples, 60 steps, window 16, no claims: seconds
  --output DIR       where the files go (default out)
  --read FILE        shows and draws figures of an earlier rounds.json instead of measuring
  --format KIND      table (default), or json on the standard output
";

struct Options {
    plan: Plan,
    output: PathBuf,
    read: Option<PathBuf>,
    json: bool,
}

fn options() -> Result<Option<Options>, BoxError> {
    use lexopt::prelude::*;
    let (mut problems, mut windows) = (Vec::new(), Vec::new());
    let (mut dynamics, mut quick) = (vec![Dynamics::Sde, Dynamics::Ode], false);
    let mut part = Part::All;
    let (mut steps, mut samples, mut seed) = (None, None, 5);
    let (mut output, mut read, mut json) = (PathBuf::from("out"), None, false);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("problem") => problems.push(args.value()?.string()?),
            Long("dynamics") => {
                dynamics = match args.value()?.string()?.as_str() {
                    "sde" => vec![Dynamics::Sde],
                    "ode" => vec![Dynamics::Ode],
                    "both" => vec![Dynamics::Sde, Dynamics::Ode],
                    other => return Err(format!("--dynamics {other}: expected sde, ode or both").into()),
                }
            }
            Long("steps") => steps = Some(args.value()?.parse()?),
            Long("window") => windows.push(args.value()?.parse()?),
            Long("samples") => samples = Some(args.value()?.parse()?),
            Long("seed") => seed = args.value()?.parse()?,
            Long("table") => part = Part::Table,
            Long("claims") => part = Part::Claims,
            Long("residuals") => part = Part::Residuals,
            Long("quick") => quick = true,
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
    if problems.is_empty() {
        let names = if quick { &["mlp", "mixture-64"][..] } else { &subject::NAMES };
        problems = names.iter().map(|name| (*name).to_owned()).collect();
    }
    if part == Part::Residuals {
        problems.truncate(1);
    }
    if quick && windows.is_empty() {
        windows.push(16);
    }
    let steps = steps.unwrap_or(if quick { 60 } else { 500 });
    let samples = samples.unwrap_or(if quick { 2 } else { 6 });
    if steps < 8 || samples == 0 || windows.contains(&0) {
        return Err("--steps must be at least 8, --samples and --window at least 1".into());
    }
    let curves = if quick { (vec![], vec![]) } else { (vec![125, 250, 500, 1000, 2000], vec![16, 32, 64, 128, 256]) };
    let windows = (!windows.is_empty()).then_some(windows);
    let plan = Plan { problems, dynamics, steps, windows, samples, seed, part, curves };
    Ok(Some(Options { plan, output, read, json }))
}

fn main() -> Result<(), BoxError> {
    let Some(o) = options()? else { return Ok(()) };
    let results: Results = match &o.read {
        Some(file) => serde_json::from_slice(&std::fs::read(file)?)?,
        None => measure(&o.plan)?,
    };
    std::fs::create_dir_all(&o.output)?;
    let json = serde_json::to_string(&results)?;
    std::fs::write(o.output.join("rounds.json"), format!("{json}\n"))?;
    show::draw(&results, &o.output)?;
    if o.json {
        println!("{json}")
    } else {
        print!("{}", show::text(&results))
    }
    Ok(())
}
