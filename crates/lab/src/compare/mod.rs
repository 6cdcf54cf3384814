//! Runs samplers on a problem and compares them with sequential sampling.

mod arguments;
pub mod npy;
mod problem;
mod results;

pub use arguments::{Arguments, Dtype};
pub use problem::{ProblemFile, Target};

use crate::cli::{Format, about, sentence};
use ndarray::{Array2, Array3, Axis};
use ndarray_npy::WritableElement;
use piadm::{
    BoxError, Cpu, Grid, NoiseSchedule, Problem, Sampler, Save, Scheme, ScoreFn, Sequential, backend::Real,
    sampler::SamplerSpec,
};
use results::{Line, Measured, settings, table};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Batch size where nothing says otherwise.
const DEFAULT_SAMPLES: usize = 8;
/// Paths are kept, and compared at every node, up to this many numbers each.
const PATH_NUMBERS: usize = 1 << 22;

/// Runs the command; the exit status is 1 if a sampler failed. An error means that nothing could be run, that a
/// reference that is not listed failed, or that the results could not be written.
pub fn run(arguments: Arguments, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    let ProblemFile { schedule, grid, scheme, target } = ProblemFile::read(&arguments.problem)?;
    let equation = Equation { schedule, grid, scheme };
    match (arguments.dtype, target) {
        (Dtype::F32, Target::Mixture(mut score)) => compare::<f32>(&arguments, equation, score.dim(), &mut score, out),
        (Dtype::F64, Target::Mixture(mut score)) => compare::<f64>(&arguments, equation, score.dim(), &mut score, out),
        (Dtype::F32, Target::Network(mut score)) => compare(&arguments, equation, score.dim(), &mut score, out),
        (Dtype::F64, Target::Network(_)) => Err("--dtype f64: the networks compute in f32".into()),
    }
}

/// What is solved, whoever answers for the score.
struct Equation {
    schedule: Arc<dyn NoiseSchedule>,
    grid: Grid,
    scheme: Scheme,
}

fn compare<T: Real + WritableElement>(
    arguments: &Arguments,
    Equation { schedule, grid, scheme }: Equation,
    dim: usize,
    score: &mut dyn ScoreFn<Cpu<T>>,
    out: &mut dyn Write,
) -> Result<ExitCode, BoxError> {
    let steps = grid.times(&schedule)?.len() - 1;
    let init: Option<Array2<T>> = arguments.init.as_deref().map(npy::read).transpose()?;
    let noise: Option<Array3<T>> = arguments.noise.as_deref().map(npy::read).transpose()?;
    let samples = batch_size([
        ("--samples", arguments.samples),
        ("--init", init.as_ref().map(Array2::nrows)),
        ("--noise", noise.as_ref().map(|noise| noise.len_of(Axis(1)))),
    ])?;
    expect_shape("--init", init.as_ref().map(|init| init.shape()), &[samples, dim])?;
    expect_shape("--noise", noise.as_ref().map(|noise| noise.shape()), &[steps, samples, dim])?;
    if let Some(dir) = &arguments.out {
        std::fs::create_dir_all(dir).map_err(about(dir))?;
    }

    let kept = (steps + 1).saturating_mul(samples).saturating_mul(dim) <= PATH_NUMBERS;
    let mut problem = Problem::on(Cpu::<T>::new(), schedule, grid, scheme)
        .samples(samples)
        .shape([dim])
        .seed(arguments.seed)
        .save(if kept { Save::All } else { Save::Nothing });
    if let Some(init) = init {
        problem = problem.init(init);
    }
    if let Some(noise) = noise {
        problem = problem.noise(noise);
    }
    let mut run = |sampler: &dyn Sampler<Cpu<T>>| {
        let start = Instant::now();
        sampler.sample(&problem, score).map(|solution| (solution, start.elapsed().as_secs_f64()))
    };

    let reference = run(&Sequential);
    let sequential = reference.as_ref().ok().map(|(solution, _)| solution);
    let mut lines = Vec::new();
    for (i, listed) in arguments.samplers.iter().enumerate() {
        let own = (!is_sequential(listed)).then(|| run(&*listed.sampler()));
        let result = own.as_ref().unwrap_or(&reference);
        if let Some(dir) = &arguments.out {
            write_samples(&dir.join(format!("{i}.npy")), result.as_ref().ok().map(|(run, _)| &run.samples))?;
        }
        let line = Line {
            sampler: listed.name(),
            settings: settings(listed)?,
            dtype: arguments.dtype,
            steps,
            samples,
            dim,
            measured: result.as_ref().ok().map(|(run, seconds)| Measured::new(run, *seconds, sequential)),
            error: result.as_ref().err().map(|error| sentence(error)),
        };
        if arguments.format == Format::Json {
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
            out.flush()?;
        }
        lines.push(line);
    }
    if arguments.format == Format::Table {
        out.write_all(table(&lines).as_bytes())?;
    }
    match &reference {
        Err(error) if !arguments.samplers.iter().any(is_sequential) => {
            Err(format!("the sequential reference failed: {}", sentence(error)).into())
        }
        _ => Ok(u8::from(lines.iter().any(|line| line.error.is_some())).into()),
    }
}

fn is_sequential(sampler: &SamplerSpec) -> bool {
    matches!(sampler, SamplerSpec::Sequential {})
}

/// Writes the samples of a run; a failed run takes away what an earlier command may have left in their place.
fn write_samples<T: WritableElement>(path: &Path, samples: Option<&Array2<T>>) -> Result<(), BoxError> {
    match samples {
        Some(samples) => npy::write(path, samples),
        None if path.exists() => std::fs::remove_file(path).map_err(about(path)),
        None => Ok(()),
    }
}

/// The number of samples that the option and the given arrays agree on.
fn batch_size(given: [(&str, Option<usize>); 3]) -> Result<usize, BoxError> {
    let mut given = given.into_iter().filter_map(|(name, n)| n.map(|n| (name, n)));
    let Some((first, samples)) = given.next() else {
        return Ok(DEFAULT_SAMPLES);
    };
    match given.find(|(_, n)| *n != samples) {
        Some((name, n)) => Err(format!("{first} gives {samples} samples and {name} {n}").into()),
        None if samples == 0 => Err(format!("{first}: 0 samples, expected at least 1").into()),
        None => Ok(samples),
    }
}

fn expect_shape(name: &str, found: Option<&[usize]>, expected: &[usize]) -> Result<(), BoxError> {
    match found {
        Some(found) if found != expected => Err(format!("{name}: shape {found:?}, expected {expected:?}").into()),
        _ => Ok(()),
    }
}
