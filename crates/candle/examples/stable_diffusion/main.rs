//! Makes an image of a prompt with a Stable Diffusion 1.5 or 2.1 folder of diffusers, in parallel over time.
//!
//! ```text
//! cargo run --release --features stable-diffusion --example stable_diffusion -- FOLDER --prompt "a cat" --output cat.png
//! ```
//!
//! Without a model at hand, `--write-tiny FOLDER` writes one with arbitrary weights, whose images mean nothing.

mod tiny;

use candle_core::{DType, Device};
use piadm::ndarray::Axis;
use piadm::sampler::on_round;
use piadm::{Picard, Sampler, Sequential};
use piadm_candle::stable_diffusion::{Architecture, StableDiffusion};
use std::error::Error;
use std::fs::File;
use std::ops::ControlFlow;

const HELP: &str = "stable_diffusion FOLDER [--prompt TEXT] [--negative TEXT] [--steps N] [--guidance W] [--seed N]
    [--size HEIGHT,WIDTH] [--scheduler CLASS] [--sampler picard|sequential] [--dtype f32|f16|bf16] [--version 1.5|2.1]
    [--output FILE.png]
stable_diffusion --write-tiny FOLDER";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|i| arguments.get(i + 1));
    let text = |name: &str, default: &str| option(name).map_or(default.to_string(), String::clone);
    if let Some(folder) = option("--write-tiny") {
        return tiny::write(folder.as_ref(), tiny::UNET);
    }
    let Some(folder) = arguments.first().filter(|folder| !folder.starts_with("--")) else { return Err(HELP.into()) };
    let architecture = match &text("--version", "1.5")[..] {
        "1.5" => Architecture::v1_5(),
        "2.1" => Architecture::v2_1(),
        other => return Err(format!("no version {other}\n{HELP}").into()),
    };
    let dtype: DType = text("--dtype", "f32").parse()?;
    let model = StableDiffusion::load(folder, architecture, dtype, &Device::Cpu)?;

    let request = model.prompts([text("--prompt", "a photograph of a cat")])?.negative(&text("--negative", ""))?;
    let mut request = request.guidance(text("--guidance", "7.5").parse()?).steps(text("--steps", "50").parse()?);
    if let Some((height, width)) = option("--size").and_then(|size| size.split_once(',')) {
        request = request.size(height.parse()?, width.parse()?);
    }
    if let Some(class) = option("--scheduler") {
        request = request.scheduler(class);
    }
    let (problem, mut score) = request.text_to_image()?;
    let problem = problem.seed(text("--seed", "0").parse()?);
    let mut progress = on_round(|round| {
        eprint!("\rround {}: {} of {} steps", round.round, round.finished[0], round.steps);
        ControlFlow::Continue(())
    });
    let solution = match &text("--sampler", "picard")[..] {
        "picard" => Picard::default().run(&problem, &mut score, &mut progress)?,
        "sequential" => Sequential.run(&problem, &mut score, &mut progress)?,
        other => return Err(format!("no sampler {other}\n{HELP}").into()),
    };
    eprintln!();
    println!("{}", solution.report);

    let images = request.decode(solution.samples.view())?;
    let image = images.index_axis(Axis(0), 0);
    let (_, height, width) = image.dim();
    let pixels: Vec<u8> = image.permuted_axes([1, 2, 0]).iter().map(|value| (value * 255.0).round() as u8).collect();
    let output = text("--output", "stable_diffusion.png");
    let mut encoder = png::Encoder::new(File::create(&output)?, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header()?.write_image_data(&pixels)?;
    println!("{output}: {width} x {height}");
    Ok(())
}
