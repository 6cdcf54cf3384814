//! Samples from a denoiser in an ONNX file, in parallel over time.

use clap::Parser;
use lab::cli::{self, Progress, about, positive};
use piadm::ndarray::{Array1, Array2, Axis};
use piadm::problem::ScheduleSpec;
use piadm::sampler::SamplerSpec;
use piadm::{BoxError, Cpu, Grid, Prediction, Problem, Scheme, ScoreFn};
use piadm_onnx::{Condition, Engine, Onnx, Time, TimeInput};
use serde_json::{Value, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const NOTES: &str = "\
Schedules, grids and samplers are names, or JSON with settings, as docs/compare.md describes them:
  --schedule ou, --schedule '{\"kind\": \"vp_linear\", \"beta_max\": 10}'
  --grid leading, --grid '{\"kind\": \"log_snr\", \"t_max\": 8, \"t_min\": 0.01, \"then_data\": true}'
  --sampler sequential, --sampler '{\"picard\": {\"window\": 32}}'
ONNX Runtime is the library that --library or ORT_DYLIB_PATH names: pip install onnxruntime.";

/// Samples from a denoiser in an ONNX file, in parallel over time
#[derive(Debug, Parser)]
#[command(name = "sample", allow_negative_numbers = true, after_help = NOTES)]
struct Options {
    /// The graph
    #[arg(long, value_name = "FILE.onnx")]
    onnx: PathBuf,
    /// What it predicts: score, noise, data, velocity or flow
    #[arg(long, value_name = "KIND", default_value = "noise")]
    prediction: Prediction,
    /// The noise schedule that it was trained on; discrete is DDPM's table of 1000 steps
    #[arg(long, value_name = "S", default_value = "discrete")]
    schedule: String,
    /// The times
    #[arg(long, value_name = "G", default_value = "leading")]
    grid: String,
    /// Steps of the grid
    #[arg(long, value_name = "N", default_value = "100", value_parser = positive)]
    steps: usize,
    /// The integrator: exponential, ddpm, ddim, ddim(eta=0.5), ...
    #[arg(long, value_name = "S", default_value_t = Scheme::default())]
    scheme: Scheme,
    /// The sampler
    #[arg(long, value_name = "S", default_value = "picard")]
    sampler: String,
    /// Samples
    #[arg(long, value_name = "N", default_value = "1", value_parser = positive)]
    samples: usize,
    /// Lengths of the axes of a sample, as 3,64,64, where the graph leaves them free
    #[arg(long, value_name = "N,N,..", value_delimiter = ',')]
    shape: Vec<usize>,
    /// Seed of all noise
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// What the network is told of the time: t, sigma, log_sigma, half_log_snr or index
    #[arg(long, value_name = "WHAT", default_value_t = Time::T)]
    time: Time,
    /// A factor for that
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    time_scale: f64,
    /// An input that is the same for all samples; repeatable
    #[arg(long, value_name = "INPUT=X,X,..", value_parser = named)]
    condition: Vec<(String, Vec<f64>)>,
    /// An input with a label for each sample, from the first again where there are fewer; repeatable
    #[arg(long, value_name = "INPUT=L,L,..", value_parser = named)]
    labels: Vec<(String, Vec<f64>)>,
    /// The label that stands for no class, for --guidance
    #[arg(long, value_name = "L", requires = "guidance")]
    no_class: Option<f64>,
    /// Scale of classifier-free guidance
    #[arg(long, value_name = "W", requires = "no_class")]
    guidance: Option<f64>,
    /// ort or tract
    #[arg(long, value_name = "NAME", default_value_t = Engine::default())]
    engine: Engine,
    /// ONNX Runtime's library [default: that of ORT_DYLIB_PATH]
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// Threads within an operator of ONNX Runtime [default: all cores]
    #[arg(long, value_name = "N", value_parser = positive)]
    threads: Option<usize>,
    /// Rows of every call to the engine [default: any number]
    #[arg(long, value_name = "N", value_parser = positive)]
    batch: Option<usize>,
    /// A picture with all samples (.png), or the array (.npy)
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Mean and standard deviation of the training pixels in [0, 1], for pictures
    #[arg(long, value_name = "MEAN,STD", value_delimiter = ',', num_args = 1, default_value = "0.5,0.5")]
    pixels: Vec<f32>,
}

/// Reads `INPUT=X,X,..`.
fn named(text: &str) -> Result<(String, Vec<f64>), BoxError> {
    let (name, values) = text.split_once('=').ok_or("expected INPUT=X,X,..")?;
    let values: Result<Vec<f64>, _> = values.split(',').map(|value| value.trim().parse()).collect();
    Ok((name.into(), values?))
}

/// JSON, or a name that becomes JSON.
fn written(text: &str, of_name: impl Fn(&str) -> Value) -> Result<Value, BoxError> {
    if text.trim_start().starts_with('{') { Ok(serde_json::from_str(text)?) } else { Ok(of_name(text)) }
}

/// An error about an option.
fn option<E: Into<BoxError>>(name: &'static str) -> impl Fn(E) -> BoxError {
    move |error| format!("--{name}: {}", error.into()).into()
}

impl Options {
    fn grid(&self) -> Result<Grid, BoxError> {
        let mut grid = written(&self.grid, |name| json!({ "kind": name }))?;
        // grids of given times have as many as there are
        if let Some(fields) = grid.as_object_mut().filter(|grid| !grid.contains_key("times")) {
            fields.entry("steps").or_insert(self.steps.into());
        }
        Ok(serde_json::from_value(grid)?)
    }

    fn network(&self) -> Result<Onnx, BoxError> {
        let time = TimeInput::new(self.time).scale(self.time_scale);
        let mut onnx = Onnx::file(&self.onnx).engine(self.engine).time_input(time);
        onnx = onnx.batch(self.batch).threads(self.threads);
        if let Some(library) = &self.library {
            onnx = onnx.library(library);
        }
        if !self.shape.is_empty() {
            onnx = onnx.shape(self.shape.clone());
        }
        for (input, values) in &self.condition {
            let condition = match **values {
                [value] => Condition::number(value),
                _ => Condition::constant(Array1::from(values.clone()).into_dyn()),
            };
            onnx = onnx.condition(input, condition);
        }
        for (input, labels) in &self.labels {
            let labels = labels.iter().copied().cycle().take(self.samples).collect::<Array1<f64>>();
            let mut condition = Condition::by_slot(labels.into_dyn());
            if let Some(label) = self.no_class {
                condition = condition.no_class([label]);
            }
            onnx = onnx.condition(input, condition);
        }
        Ok(onnx)
    }
}

fn run(o: Options, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    let kind = o.output.extension().and_then(|kind| kind.to_str()).unwrap_or("");
    if !["png", "npy"].contains(&kind) {
        return Err(format!("--output {}: expected .png or .npy", o.output.display()).into());
    }
    let schedule = written(&o.schedule, |name| json!({ "kind": name })).map_err(option("schedule"))?;
    let schedule: ScheduleSpec = serde_json::from_value(schedule).map_err(option("schedule"))?;
    let sampler = written(&o.sampler, |name| name.into()).map_err(option("sampler"))?;
    let sampler: SamplerSpec = serde_json::from_value(sampler).map_err(option("sampler"))?;
    let grid = o.grid().map_err(option("grid"))?;
    let score = o.network()?.load(o.prediction)?;
    let shape = score.shape().to_vec();
    let mut score: Box<dyn ScoreFn<Cpu<f32>>> = match o.guidance {
        Some(scale) => Box::new(score.guided(scale)?),
        None => Box::new(score),
    };
    let problem = Problem::new(schedule.schedule()?, grid, o.scheme);
    let problem = problem.samples(o.samples).shape(&shape[..]).seed(o.seed);
    let solution = sampler.sampler().run(&problem, &mut *score, &mut Progress::new(sampler.name(), 0))?;
    if kind == "png" {
        picture(&o.output, &solution.samples, &shape, &o.pixels)?;
    } else {
        let axes: Vec<usize> = [o.samples].into_iter().chain(shape).collect();
        let samples = solution.samples.into_shape_with_order(&axes[..])?;
        ndarray_npy::write_npy(&o.output, &samples).map_err(about(&o.output))?;
    }
    writeln!(out, "{}\n{}", solution.report, o.output.display())?;
    Ok(ExitCode::SUCCESS)
}

/// All samples beside each other. A value `v` becomes the pixel `mean + std * v`, where 0 is black and 1 is white.
fn picture(path: &Path, samples: &Array2<f32>, shape: &[usize], pixels: &[f32]) -> Result<(), BoxError> {
    let (count, side) = (samples.nrows(), samples.ncols().isqrt());
    let (channels, height, width) = match *shape {
        [channels @ (1 | 3), height, width] => (channels, height, width),
        [height, width] => (1, height, width),
        [dim] if side * side == dim => (1, side, side),
        _ => return Err(format!("samples of shape {shape:?} are no pictures of 1 or 3 channels: take .npy").into()),
    };
    let &[mean, std] = pixels else { return Err("--pixels: expected MEAN,STD".into()) };
    let columns = count.isqrt().max(1);
    let columns = if columns * columns < count { columns + 1 } else { columns };
    let (wide, high) = (columns * width, count.div_ceil(columns) * height);
    let mut bytes = vec![0u8; wide * high * channels];
    for (i, sample) in samples.axis_iter(Axis(0)).enumerate() {
        for (j, value) in sample.iter().enumerate() {
            let (channel, y, x) = (j / (height * width), j / width % height, j % width);
            let pixel = (i / columns * height + y) * wide + i % columns * width + x;
            // the cast saturates, and NaN becomes black
            bytes[pixel * channels + channel] = ((mean + std * value) * 255.0).round() as u8;
        }
    }
    let colour = if channels == 3 { image::ExtendedColorType::Rgb8 } else { image::ExtendedColorType::L8 };
    image::save_buffer(path, &bytes, wide.try_into()?, high.try_into()?, colour).map_err(about(path))
}

fn main() -> ExitCode {
    cli::main(run)
}
