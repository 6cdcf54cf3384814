//! Runs samplers on a problem, compares them with sequential sampling and prints what came out.

mod arguments;
mod fields;
pub mod npy;
mod problem;
mod results;
mod samplers;

use arguments::{Arguments, Dtype, Format, HELP};
use ndarray_npy::WritableElement;
use piadm::ndarray::{Array2, Array3, ArrayView1, ArrayView2, Axis};
use piadm::{Cpu, Problem, Report, Sampler, Save, ScoreFn, Sequential, Solution, backend::Real, score::Mixture};
use problem::ProblemFile;
use results::{Line, Measured, Outcome, message, table};
use samplers::Settings;
use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Batch size where nothing says otherwise.
const DEFAULT_SAMPLES: usize = 8;
/// Paths are kept, and compared at every node, up to this many numbers each.
const PATH_NUMBERS: usize = 1 << 22;

/// Runs the command with the arguments after its name, and tells whether every sampler succeeded. An error means that
/// nothing could be run, that the reference failed, or that the results could not be written.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> Result<bool, Box<dyn Error>> {
    let Some(arguments) = Arguments::parse(args)? else {
        out.write_all(HELP.as_bytes())?;
        return Ok(true);
    };
    let file = ProblemFile::read(&arguments.problem)?;
    match arguments.dtype {
        Dtype::F32 => compare::<f32>(&arguments, file, out),
        Dtype::F64 => compare::<f64>(&arguments, file, out),
    }
}

fn compare<T: Real + WritableElement>(
    arguments: &Arguments,
    file: ProblemFile,
    out: &mut dyn Write,
) -> Result<bool, Box<dyn Error>>
where
    Mixture: ScoreFn<Cpu<T>>,
{
    let (steps, dim) = (file.grid.times(&file.schedule)?.len() - 1, file.mixture.dim());
    let init: Option<Array2<T>> = arguments.init.as_deref().map(npy::read).transpose()?;
    let noise: Option<Array3<T>> = arguments.noise.as_deref().map(npy::read).transpose()?;
    let samples = batch_size(
        arguments.samples,
        init.as_ref().map(Array2::nrows),
        noise.as_ref().map(|noise| noise.len_of(Axis(1))),
    )?;
    if let Some(init) = &init {
        expect_shape("--init", init.shape(), &[samples, dim])?;
    }
    if let Some(noise) = &noise {
        expect_shape("--noise", noise.shape(), &[steps, samples, dim])?;
    }
    if let Some(dir) = &arguments.out {
        std::fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }

    let ProblemFile { schedule, grid, scheme, mut mixture } = file;
    let mut problem =
        Problem::on(Cpu::<T>::new(), schedule, grid, scheme).samples(samples).shape([dim]).seed(arguments.seed);
    let numbers = (steps + 1).saturating_mul(samples).saturating_mul(dim);
    if numbers <= PATH_NUMBERS {
        problem = problem.save(Save::All);
    }
    if let Some(init) = init {
        problem = problem.init(init);
    }
    if let Some(noise) = noise {
        problem = problem.noise(noise);
    }
    let mut run = |sampler: &dyn Sampler<Cpu<T>>| -> piadm::Result<Run<T>> {
        let start = Instant::now();
        let Solution { samples, path, report, .. } = sampler.sample(&problem, &mut mixture)?;
        let seconds = start.elapsed().as_secs_f64();
        Ok(Run { samples, path, report, seconds })
    };

    let reference = run(&Sequential);
    let mut lines = Vec::new();
    for (i, listed) in arguments.samplers.iter().enumerate() {
        let own = match &listed.sampler {
            Settings::Sequential => None,
            Settings::Picard(picard) => Some(run(picard.as_ref())),
            Settings::Parareal(parareal) => Some(run(parareal)),
        };
        let result = own.as_ref().unwrap_or(&reference);
        if let Some(dir) = &arguments.out {
            write_samples(&dir.join(format!("{i}.npy")), result.as_ref().ok())?;
        }
        let outcome = match result {
            Ok(run) => Outcome::Measured(Box::new(measured(run, reference.as_ref().ok()))),
            Err(error) => Outcome::Failed { error: message(error) },
        };
        let line = Line {
            sampler: listed.name.clone(),
            settings: listed.settings(),
            dtype: arguments.dtype.name(),
            steps,
            samples,
            dim,
            outcome,
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
    if let Err(error) = &reference
        && arguments.samplers.iter().all(|listed| listed.sampler != Settings::Sequential)
    {
        return Err(format!("the sequential reference failed: {}", message(error)).into());
    }
    Ok(!lines.iter().any(|line| matches!(line.outcome, Outcome::Failed { .. })))
}

/// What a sampler gave.
struct Run<T> {
    samples: Array2<T>,
    path: piadm::Path<T>,
    report: Report,
    seconds: f64,
}

fn measured<T: Real>(run: &Run<T>, reference: Option<&Run<T>>) -> Measured {
    let rms_to_sequential = reference.map(|reference| rows_rms(run.samples.view(), reference.samples.view()));
    // over the nodes that end a step; both paths were saved, or neither
    let max_path_error = reference.filter(|_| !run.path.steps().is_empty()).map(|reference| {
        let mut most = vec![0.0; run.samples.nrows()];
        for (own, sequential) in run.path.states().outer_iter().zip(reference.path.states().outer_iter()) {
            for (most, rms) in most.iter_mut().zip(rows_rms(own, sequential)) {
                *most = f64::max(*most, rms);
            }
        }
        most
    });
    let report = &run.report;
    Measured {
        rounds: report.rounds,
        sample_rounds: report.sample_rounds.clone(),
        score_calls: report.score_calls,
        score_rows: report.score_rows,
        rows_per_step: report.rows_per_step(),
        sweeps: report.sweeps.clone(),
        max_residual: report.max_residual,
        rms_to_sequential,
        max_path_error,
        stop: report.stop,
        seconds: run.seconds,
        score_seconds: report.score_time.as_secs_f64(),
    }
}

/// The rms over elements of the difference, row by row.
fn rows_rms<T: Real>(a: ArrayView2<'_, T>, b: ArrayView2<'_, T>) -> Vec<f64> {
    let rms = |(a, b): (ArrayView1<'_, T>, ArrayView1<'_, T>)| {
        let sum: f64 = a.iter().zip(b).map(|(a, b)| (a.wide() - b.wide()).powi(2)).sum();
        (sum / a.len() as f64).sqrt()
    };
    a.outer_iter().zip(b.outer_iter()).map(rms).collect()
}

/// Writes the samples of a run; a failed run takes away what an earlier command may have left in their place.
fn write_samples<T: Real + WritableElement>(path: &Path, run: Option<&Run<T>>) -> Result<(), Box<dyn Error>> {
    match run {
        Some(run) => npy::write(path, &run.samples),
        None if path.exists() => Ok(std::fs::remove_file(path)?),
        None => Ok(()),
    }
}

/// The number of samples that the option and the given arrays agree on.
fn batch_size(option: Option<usize>, init: Option<usize>, noise: Option<usize>) -> Result<usize, Box<dyn Error>> {
    let given = [("--samples", option), ("--init", init), ("--noise", noise)];
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

fn expect_shape(name: &str, found: &[usize], expected: &[usize]) -> Result<(), Box<dyn Error>> {
    if found == expected {
        return Ok(());
    }
    Err(format!("{name}: shape {found:?}, expected {expected:?}").into())
}
