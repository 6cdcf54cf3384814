//! The command line of `compare`.

use super::samplers::Listed;
use lexopt::prelude::*;
use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

/// What `--help` prints.
pub const HELP: &str = r#"Runs samplers on a problem with a known score and compares them with sequential sampling.

Usage: compare --problem FILE.json --sampler S [--sampler S ...] [OPTIONS]

  --problem FILE.json  target, schedule, grid and scheme; docs/compare.md describes the format and
                       examples/problems/ has some
  --sampler S          a sampler, more than once for several. A name takes the defaults, JSON sets fields:
                         sequential  one node after another
                         piadm       PIADM's blocks of Ornstein-Uhlenbeck length h = 1, swept depth times or, by
                                     default, until no node changes by more than 1e-2: {"piadm": {"h": .., "depth": ..}}
                         paradigms   ParaDiGMS's sliding window of 64 steps with a tolerance of 0.1 standard
                                     deviations of the posterior: {"paradigms": {"window": .., "tolerance": ..}}
                         zhou_sugiyama  PIADM's blocks without a barrier: {"zhou_sugiyama": {"h": .., "depth": ..}}
                         parataa     Anderson acceleration: {"parataa": {"window": .., "memory": .., "tolerance": ..}}
                         parareal    blocks with a coarse solver: {"parareal": {"blocks": ..}}
                         picard      this crate's defaults; {"picard": {"window": 50, "tolerance": {"absolute": 1e-2}}}
                                     sets any field of the Picard struct
  --samples N          batch size; default 8, or what --init or --noise have
  --seed N             seed of the initial state and the noise; default 0
  --dtype f32|f64      numbers of the states; default f32
  --init FILE.npy      state at node 0, [samples, dim], f4 or f8; default: drawn from the prior
  --noise FILE.npy     normals, [steps, samples, dim], f4 or f8, row m - 1 for step m; default: drawn
  --out DIR            writes the samples of the first listed sampler to DIR/0.npy, of the second to DIR/1.npy, ...
                       ([samples, dim], in the run's dtype)
  --format table|json  an aligned table (default), or one JSON object a line and sampler
  -h, --help           this text

Sequential sampling always runs, once, as the reference of rms_to_sequential; it is reported if it is listed.
Exit status: 0, or 1 if a sampler failed (its line says why and the others still run), or 2 if nothing could be
compared.
RAYON_NUM_THREADS sets the number of threads; it does not change the samples.
"#;

/// Element type of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl Dtype {
    /// Its name, as it is given.
    pub fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::F64 => "f64",
        }
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// One object a line.
    Json,
}

/// The arguments of a run.
#[derive(Debug)]
pub struct Arguments {
    /// The problem file.
    pub problem: PathBuf,
    /// The samplers, in their order.
    pub samplers: Vec<Listed>,
    /// Batch size.
    pub samples: Option<usize>,
    /// Seed.
    pub seed: u64,
    /// Element type.
    pub dtype: Dtype,
    /// State at node 0.
    pub init: Option<PathBuf>,
    /// Normals of the steps.
    pub noise: Option<PathBuf>,
    /// Where samples are written.
    pub out: Option<PathBuf>,
    /// Output format.
    pub format: Format,
}

impl Arguments {
    /// Reads the arguments after the program's name; `None` asks for help.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, Box<dyn Error>> {
        let mut parser = lexopt::Parser::from_args(args);
        let mut problem = None;
        let mut samplers = Vec::new();
        let (mut samples, mut seed, mut dtype) = (None, 0, Dtype::F32);
        let (mut init, mut noise, mut out) = (None, None, None);
        let mut format = Format::Table;
        while let Some(arg) = parser.next()? {
            match arg {
                Short('h') | Long("help") => return Ok(None),
                Long("problem") => problem = Some(parser.value()?.into()),
                Long("sampler") => {
                    let text = parser.value()?.string()?;
                    let listed = Listed::parse(&text);
                    samplers.push(listed.map_err(|error| format!("--sampler {text}: {error}"))?);
                }
                Long("samples") => samples = Some(number("--samples", parser.value()?)?),
                Long("seed") => seed = number("--seed", parser.value()?)?,
                Long("dtype") => {
                    let pairs = [Dtype::F32, Dtype::F64].map(|dtype| (dtype.name(), dtype));
                    dtype = choice("--dtype", parser.value()?, &pairs)?;
                }
                Long("init") => init = Some(parser.value()?.into()),
                Long("noise") => noise = Some(parser.value()?.into()),
                Long("out") => out = Some(parser.value()?.into()),
                Long("format") => {
                    let pairs = [("table", Format::Table), ("json", Format::Json)];
                    format = choice("--format", parser.value()?, &pairs)?;
                }
                _ => return Err(format!("{}; --help lists all options", arg.unexpected()).into()),
            }
        }
        if samplers.is_empty() {
            return Err("--sampler is missing; --help lists all options".into());
        }
        Ok(Some(Arguments {
            problem: problem.ok_or("--problem is missing; --help lists all options")?,
            samplers,
            samples,
            seed,
            dtype,
            init,
            noise,
            out,
            format,
        }))
    }
}

fn number<T: std::str::FromStr<Err = std::num::ParseIntError>>(
    name: &str,
    value: OsString,
) -> Result<T, Box<dyn Error>> {
    let text = value.string()?;
    text.parse().map_err(|error| format!("{name} {text}: {error}").into())
}

fn choice<T: Copy>(name: &str, value: OsString, pairs: &[(&str, T)]) -> Result<T, Box<dyn Error>> {
    let text = value.string()?;
    if let Some((_, chosen)) = pairs.iter().find(|(word, _)| *word == text) {
        return Ok(*chosen);
    }
    let words: Vec<&str> = pairs.iter().map(|(word, _)| *word).collect();
    Err(format!("{name} {text}: expected {}", words.join(" or ")).into())
}
