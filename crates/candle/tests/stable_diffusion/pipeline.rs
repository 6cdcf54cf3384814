//! Whole pipelines.

use crate::{CPU, Folder, array_difference, theirs, tiny};
use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::stable_diffusion::ddim::DDIMSchedulerConfig;
use candle_transformers::models::stable_diffusion::schedulers::{PredictionType, SchedulerConfig};
use piadm::ndarray::{Array2, Array4, s};
use piadm::{Acceptance, Picard, Sampler, Save, Sequential, Solution, Window};
use piadm_candle::stable_diffusion::{Error, Request, SCHEDULERS, TextConfig, TextEncoder};
use std::fs;
use std::path::Path;

fn tensors(file: &Path) -> VarBuilder<'static> {
    VarBuilder::from_buffered_safetensors(fs::read(file).unwrap(), DType::F32, &CPU).unwrap()
}

/// What a user of candle-transformers writes: one row, one time, guidance by two calls, its own DDIM scheduler.
fn plain_loop(folder: &Folder, second: bool, start: &Array2<f32>, steps: usize, guidance: f64) -> Array2<f32> {
    let weights = "diffusion_pytorch_model.safetensors";
    let unet = theirs(tensors(&folder.0.join("unet").join(weights)), second);
    let config: TextConfig = serde_json::from_str(tiny::TEXT).unwrap();
    let text = TextEncoder::new(tensors(&folder.0.join("text_encoder/model.safetensors")), &config).unwrap();
    // start, end; "cat" is token 54; the second version is padded with 0
    let pad = if second { 0 } else { 63 };
    let ids = |text: &[u32]| {
        let mut ids = [&[62], text, &[63]].concat();
        ids.resize(12, pad);
        Tensor::new(ids, &CPU).unwrap().unsqueeze(0).unwrap()
    };
    let [conditional, unconditional] = [&[54, 54][..], &[]].map(|prompt| text.forward(&ids(prompt)).unwrap());
    let prediction_type = if second { PredictionType::VPrediction } else { PredictionType::Epsilon };
    let mut scheduler = DDIMSchedulerConfig { prediction_type, ..Default::default() }.build(steps).unwrap();
    let mut x = Tensor::from_iter(start.iter().copied(), &CPU).unwrap().reshape((1, 4, 8, 8)).unwrap();
    for timestep in scheduler.timesteps().to_vec() {
        let [with, without] =
            [&conditional, &unconditional].map(|text| unet.forward(&x, timestep as f64, text).unwrap());
        let output = (&without + ((with - &without).unwrap() * guidance).unwrap()).unwrap();
        x = scheduler.step(&output, timestep, &x).unwrap();
    }
    Array2::from_shape_vec((1, 256), x.flatten_all().unwrap().to_vec1().unwrap()).unwrap()
}

fn the_pipeline_is_the_plain_loop(name: &str, second: bool) {
    let folder = Folder::new(name, if second { tiny::UNET_V2 } else { tiny::UNET });
    folder.edit("scheduler/scheduler_config.json", "PNDMScheduler", "DDIMScheduler");
    if second {
        folder.edit("scheduler/scheduler_config.json", "{", r#"{"prediction_type": "v_prediction", "#);
        fs::write(folder.0.join("tokenizer/special_tokens_map.json"), r#"{"pad_token": "!"}"#).unwrap();
    }
    let model = folder.load().unwrap();
    let request = model.prompts(["Cat  cat"]).unwrap().guidance(3.0).steps(20);
    let (problem, mut score) = request.text_to_image().unwrap();
    let problem = problem.seed(5).save(Save::Steps(vec![0]));
    let Solution { samples, path, .. } = Sequential.sample(&problem, &mut score).unwrap();
    let expected = plain_loop(&folder, second, &path.at(0).unwrap().to_owned(), 20, 3.0);
    println!("sequential to plain loop: {:.1e}", array_difference(&samples, &expected));
    assert!(array_difference(&samples, &expected) < 2e-4, "{}", array_difference(&samples, &expected));

    let exact = Picard::default().acceptance(Acceptance::Exact).window(Window::Steps(7));
    let found = exact.sample(&problem, &mut score).unwrap();
    println!("exact to sequential: {:.1e}", array_difference(&found.samples, &samples));
    assert!(array_difference(&found.samples, &samples) < 1e-4, "{}", array_difference(&found.samples, &samples));
    let found = Picard::default().sample(&problem, &mut score).unwrap();
    println!(
        "picard to sequential: {:.1e}, {} rounds",
        array_difference(&found.samples, &samples),
        found.report.rounds
    );
    assert!(array_difference(&found.samples, &samples) < 3e-2, "{}", array_difference(&found.samples, &samples));

    let images = request.decode(samples.view()).unwrap();
    assert_eq!(images.dim(), (1, 3, 16, 16));
    assert!(images.iter().all(|value| (0.0..=1.0).contains(value)));
}

#[test]
fn the_pipeline_is_the_plain_loop_of_candle() {
    the_pipeline_is_the_plain_loop("loop", false);
}

#[test]
fn the_pipeline_of_the_second_version_is_the_plain_loop_of_candle() {
    the_pipeline_is_the_plain_loop("loop-2", true);
}

#[test]
fn each_prompt_makes_the_image_that_it_makes_alone() {
    let folder = Folder::new("prompts", tiny::UNET);
    let model = folder.load().unwrap();
    let sample = |prompts: &[&str], ids: &[u32], guidance: f64| {
        let request = model.prompts(prompts).unwrap().negative("dog").unwrap().guidance(guidance).steps(8);
        let (problem, mut score) = request.text_to_image().unwrap();
        let problem = problem.ids(ids.to_vec()).seed(2);
        Picard::default().acceptance(Acceptance::Exact).sample(&problem, &mut score).unwrap()
    };
    for guidance in [1.0, 4.0] {
        let both = sample(&["cat", "a fish"], &[0, 1], guidance);
        let (cat, fish) = (sample(&["cat"], &[0], guidance), sample(&["a fish"], &[1], guidance));
        let row = |i: usize| both.samples.slice(s![i..=i, ..]).to_owned();
        assert!(array_difference(&row(0), &cat.samples) < 1e-4, "{}", array_difference(&row(0), &cat.samples));
        assert!(array_difference(&row(1), &fish.samples) < 1e-4);
        let other = sample(&["a fish"], &[0], guidance);
        assert!(array_difference(&other.samples, &cat.samples) > 1e-2, "the prompt matters");
        // a guided evaluation is two of the network's
        assert_eq!(cat.report.evaluations, cat.report.score_rows * if guidance == 1.0 { 1 } else { 2 });
    }
}

#[test]
fn image_to_image_starts_from_the_noised_image() {
    let folder = Folder::new("image", tiny::UNET);
    let model = folder.load().unwrap();
    let request = model.tokens([[3u32, 4]]).unwrap().steps(10).scheduler("DDIMScheduler");
    let (text, mut score) = request.text_to_image().unwrap();
    let noise = Sequential.sample(&text.seed(9).save(Save::Steps(vec![0])), &mut score).unwrap();
    let noise = noise.path.at(0).unwrap().to_owned();
    let image = Array4::from_shape_fn((1, 3, 16, 16), |(_, c, i, j)| 0.5 + 0.5 * ((c + i * j) as f32).sin());
    let (problem, mut score) = request.image_to_image(image.view(), 0.35).unwrap();
    let solution = Sequential.sample(&problem.seed(9).save(Save::Steps(vec![7])), &mut score).unwrap();
    assert_eq!(solution.report.steps, 3); // floor(0.35 10)
    let tensor = Tensor::from_iter(image.iter().copied(), &CPU).unwrap().reshape((1, 3, 16, 16)).unwrap();
    let latents = model.autoencoder().encode(&tensor).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    // timesteps 901, 801, ..; that of step 7 is 201
    let beta = |i: usize| (0.00085f64.sqrt() + (0.012f64.sqrt() - 0.00085f64.sqrt()) * i as f64 / 999.0).powi(2);
    let alpha = (0..=201).map(|i| 1.0 - beta(i)).product::<f64>();
    let (alpha, sigma) = (alpha.sqrt() as f32, (1.0 - alpha).sqrt() as f32);
    let expected = Array2::from_shape_fn((1, 256), |(_, i)| alpha * latents[i] + sigma * noise[[0, i]]);
    let found = solution.path.at(7).unwrap().to_owned();
    assert!(array_difference(&found, &expected) < 1e-5, "{}", array_difference(&found, &expected));

    let of_strength = |strength| request.image_to_image(image.view(), strength).err().map(|error| error.to_string());
    assert!(of_strength(1.0).is_none());
    for strength in [0.0, 0.05, -1.0, 1.5, f64::NAN] {
        assert!(of_strength(strength).unwrap().starts_with("strength is"), "{strength}");
    }
    let error = request.image_to_image(image.slice(s![.., .., ..8, ..]), 0.5).unwrap_err();
    assert_eq!(error.to_string(), "the shape of the images is [1, 3, 8, 16], expected [1, 3, 16, 16]");
}

#[test]
fn schedulers_are_known_by_name() {
    let folder = Folder::new("schedulers", tiny::UNET);
    let model = folder.load().unwrap();
    let times = |class: &str| {
        let request = model.tokens([[3u32, 4]]).unwrap().steps(50).scheduler(class);
        let (problem, score) = request.text_to_image().unwrap();
        let prepared = problem.prepare(&score).unwrap();
        prepared.list(0).nodes().iter().map(|node| node.level.t).collect::<Vec<f64>>()
    };
    // diffusers' timesteps for 50 steps: leading with offset 1 ends at 1, and Stable Diffusion's last level is entry 0
    for class in ["PNDMScheduler", "DDIMScheduler"] {
        let times = times(class);
        assert_eq!(
            (times.len(), &times[..3], &times[48..]),
            (51, &[981.0, 961.0, 941.0][..], &[21.0, 1.0, 0.0][..]),
            "{class}"
        );
    }
    let ddpm = times("DDPMScheduler");
    assert_eq!(ddpm[49..], [1.0, -1.0]);
    let solver = times("DPMSolverMultistepScheduler");
    assert_eq!((solver[0], solver[50]), (999.0, -1.0)); // linspace
    for class in SCHEDULERS {
        let request = model.tokens([[3u32, 4]]).unwrap().steps(6).scheduler(class);
        let (problem, mut score) = request.text_to_image().unwrap();
        let solution = Picard::default().acceptance(Acceptance::Exact).sample(&problem, &mut score).unwrap();
        let expected = Sequential.sample(&problem, &mut score).unwrap();
        assert_eq!(solution.report.steps, 6, "{class}");
        let difference = array_difference(&solution.samples, &expected.samples);
        assert!(difference < 1e-3, "{class}: {difference}");
    }
    let error = model.tokens([[3u32]]).unwrap().scheduler("LCMScheduler").text_to_image().unwrap_err();
    assert!(matches!(&error, Error::Architecture { found, .. } if found == "LCMScheduler"), "{error}");
}

#[test]
fn prompts_become_the_tokens_of_clip() {
    let folder = Folder::new("tokens", tiny::UNET);
    let model = folder.load().unwrap();
    let first = |request: Request<'_>| {
        let (problem, mut score) = request.guidance(1.0).steps(2).text_to_image().unwrap();
        Sequential.sample(&problem, &mut score).unwrap().samples
    };
    let same = |text: &str, ids: &[u32]| first(model.prompts([text]).unwrap()) == first(model.tokens([ids]).unwrap());
    // lower case, spaces, merges, ends of words: a = 1, a</w> = 27, ca = 53, cat</w> = 54, r</w> = 44
    assert!(same("Cat", &[54]));
    assert!(same("  a \n car ", &[27, 53, 44]));
    assert!(!same("cat", &[53]));
    // what does not fit is cut off: 12 places, 10 for the text
    assert!(same("a a a a a a a a a a a a a", &[27; 10]));
    let error = model.tokens([[64u32]]).err().unwrap();
    assert_eq!(error.to_string(), "a token id is 64, expected at most 63, the last one of the vocabulary");
    assert!(matches!(model.tokens::<[u32; 1]>([]).err().unwrap(), Error::Setting { .. }));
    fs::remove_file(folder.0.join("tokenizer/merges.txt")).unwrap();
    assert!(matches!(model.prompts(["cat"]).err().unwrap(), Error::Missing { .. }));
}
