//! Tiny models of the architecture of Stable Diffusion, with arbitrary weights, against candle-transformers' own.

#[path = "../examples/stable_diffusion/tiny.rs"]
mod tiny;

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use candle_transformers::models::clip::text_model::{Activation, ClipTextConfig, ClipTextTransformer};
use candle_transformers::models::stable_diffusion::ddim::DDIMSchedulerConfig;
use candle_transformers::models::stable_diffusion::schedulers::{PredictionType, SchedulerConfig};
use candle_transformers::models::stable_diffusion::unet_2d::{
    BlockConfig, UNet2DConditionModel, UNet2DConditionModelConfig,
};
use candle_transformers::models::stable_diffusion::vae::{AutoEncoderKL, AutoEncoderKLConfig};
use piadm::ndarray::{Array2, Array4, s};
use piadm::{Acceptance, Picard, Sampler, Save, Sequential, Solution, Window};
use piadm_candle::stable_diffusion::{
    Architecture, Autoencoder, AutoencoderConfig, Error, StableDiffusion, TextConfig, TextEncoder, UNet, UNetConfig,
};
use std::fs;
use std::path::{Path, PathBuf};

const CPU: Device = Device::Cpu;

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, unet: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("piadm-candle-{name}-{}", std::process::id()));
        tiny::write(&folder, unet).unwrap();
        Folder(folder)
    }

    fn load(&self) -> Result<StableDiffusion, Error> {
        StableDiffusion::load(&self.0, Architecture::v1_5(), DType::F32, &CPU)
    }

    /// Replaces text in a file.
    fn edit(&self, file: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.0.join(file)).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(self.0.join(file), text.replace(from, to)).unwrap();
    }

    /// The error of a load after such a change, which is then undone.
    fn refused(&self, file: &str, from: &str, to: &str) -> Error {
        self.edit(file, from, to);
        let error = self.load().unwrap_err();
        self.edit(file, to, from);
        error
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn tensors(file: &Path) -> VarBuilder<'static> {
    VarBuilder::from_buffered_safetensors(fs::read(file).unwrap(), DType::F32, &CPU).unwrap()
}

/// candle-transformers' own U-Net of these tensors.
fn theirs(tensors: VarBuilder<'_>, second: bool) -> UNet2DConditionModel {
    let heads = if second { [2, 4] } else { [4, 4] };
    let block = |out_channels, use_cross_attn, attention_head_dim| BlockConfig {
        out_channels,
        use_cross_attn,
        attention_head_dim,
    };
    let config = UNet2DConditionModelConfig {
        blocks: vec![block(32, Some(1), heads[0]), block(64, None, heads[1])],
        layers_per_block: if second { 2 } else { 1 },
        cross_attention_dim: 16,
        use_linear_projection: second,
        ..Default::default()
    };
    UNet2DConditionModel::new(tensors, 4, 4, false, config).unwrap()
}

/// Numbers that are neither equal nor regular.
fn waves(shape: &[usize]) -> Tensor {
    let values = (0..shape.iter().product()).map(|i: usize| (0.7 * i as f32 + 0.01 * (i * i % 97) as f32).sin());
    Tensor::from_iter(values, &CPU).unwrap().reshape(shape).unwrap()
}

/// The largest difference in units of the largest element.
fn difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let largest = |x: Tensor| x.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    largest((a - b).unwrap()) / largest(b.clone())
}

fn array_difference(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    let largest = |x: Array2<f32>| x.iter().fold(0.0f32, |a, b| a.max(b.abs()));
    largest(a - b) / largest(b.clone())
}

#[test]
fn the_unet_is_candles_with_a_time_for_each_row() {
    let times = [999.0, 0.0, 500.5, 1.0, 21.0];
    for (second, json) in [(false, tiny::UNET), (true, tiny::UNET_V2)] {
        let config: UNetConfig = serde_json::from_str(json).unwrap();
        let (map, ours) = tiny::filled(|tensors| UNet::new(tensors, &config)).unwrap();
        let theirs = theirs(VarBuilder::from_varmap(&map, DType::F32, &CPU), second);
        let text = waves(&[5, 12, 16]);
        // the second size is odd
        for (height, width) in [(8, 8), (7, 5)] {
            let x = waves(&[5, 4, height, width]);
            let all = ours.forward(&x, &times, &text).unwrap();
            for (i, time) in times.iter().enumerate() {
                let row = |tensor: &Tensor| tensor.narrow(0, i, 1).unwrap();
                let expected = theirs.forward(&row(&x), *time, &row(&text)).unwrap();
                let alone = ours.forward(&row(&x), &[*time], &row(&text)).unwrap();
                assert_eq!(difference(&alone, &expected), 0.0, "{second} {time}");
                assert!(difference(&row(&all), &expected) < 3e-6, "{}", difference(&row(&all), &expected));
            }
            // times matter
            let other = ours.forward(&x, &[500.0; 5], &text).unwrap();
            assert!(difference(&other, &all) > 1e-2, "{}", difference(&other, &all));
        }
    }
}

#[test]
fn the_text_encoder_is_candles() {
    let config: TextConfig = serde_json::from_str(tiny::TEXT).unwrap();
    let (map, ours) = tiny::filled(|tensors| TextEncoder::new(tensors, &config)).unwrap();
    let theirs = ClipTextConfig {
        vocab_size: 64,
        embed_dim: 16,
        activation: Activation::QuickGelu,
        intermediate_size: 32,
        max_position_embeddings: 12,
        pad_with: None,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        projection_dim: 16,
    };
    let tensors = VarBuilder::from_varmap(&map, DType::F32, &CPU).pp("text_model");
    let theirs = ClipTextTransformer::new(tensors, &theirs).unwrap();
    let ids = Tensor::new(
        &[[62u32, 5, 9, 63, 63, 63, 63, 63, 63, 63, 63, 63], [62, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 63]],
        &CPU,
    );
    let ids = ids.unwrap();
    let expected = theirs.forward_with_mask(&ids, usize::MAX).unwrap();
    let found = ours.forward(&ids).unwrap();
    assert!(difference(&found, &expected) < 3e-6, "{}", difference(&found, &expected));
}

/// One layer whose attention is switched off, in f64 with the error function as an integral.
#[test]
fn the_text_encoder_of_the_second_version_has_the_exact_gelu() {
    let json =
        tiny::TEXT.replace("quick_gelu", "gelu").replace(r#""num_hidden_layers": 2"#, r#""num_hidden_layers": 1"#);
    let config: TextConfig = serde_json::from_str(&json).unwrap();
    let (map, ours) = tiny::filled(|tensors| TextEncoder::new(tensors, &config)).unwrap();
    let layer = "text_model.encoder.layers.0";
    let get = |name: &str| map.data().lock().unwrap()[name].as_tensor().clone();
    for name in ["weight", "bias"] {
        let name = format!("{layer}.self_attn.out_proj.{name}");
        map.data().lock().unwrap()[&name].set(&get_zeros(&map, &name)).unwrap();
    }
    let ours = {
        drop(ours);
        TextEncoder::new(VarBuilder::from_varmap(&map, DType::F32, &CPU), &config).unwrap()
    };
    let values =
        |name: &str| -> Vec<f64> { get(name).to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap() };
    let norm = |x: &[f64], name: &str| -> Vec<f64> {
        let (weight, bias) = (values(&format!("{name}.weight")), values(&format!("{name}.bias")));
        let mean = x.iter().sum::<f64>() / 16.0;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 16.0;
        (0..16).map(|i| (x[i] - mean) / (variance + 1e-5).sqrt() * weight[i] + bias[i]).collect()
    };
    let linear = |x: &[f64], name: &str| -> Vec<f64> {
        let (weight, bias) = (values(&format!("{name}.weight")), values(&format!("{name}.bias")));
        let row = |i: usize| x.iter().zip(&weight[i * x.len()..]).map(|(a, b)| a * b).sum::<f64>() + bias[i];
        (0..bias.len()).map(row).collect()
    };
    let gelu = |x: f64| {
        let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let n = 2000;
        let middle = |i: usize| density((i as f64 + 0.5) / n as f64 * x);
        x * (0.5 + (0..n).map(middle).sum::<f64>() * x / n as f64)
    };
    let (tokens, positions) = (
        values("text_model.embeddings.token_embedding.weight"),
        values("text_model.embeddings.position_embedding.weight"),
    );
    let ids = [62u32, 7, 63];
    let found = ours.forward(&Tensor::new(&[ids], &CPU).unwrap()).unwrap();
    for (place, id) in ids.iter().enumerate() {
        let x: Vec<f64> = (0..16).map(|i| tokens[*id as usize * 16 + i] + positions[place * 16 + i]).collect();
        let inner = linear(&norm(&x, &format!("{layer}.layer_norm2")), &format!("{layer}.mlp.fc1"));
        let inner: Vec<f64> = inner.into_iter().map(gelu).collect();
        let out = linear(&inner, &format!("{layer}.mlp.fc2"));
        let x: Vec<f64> = x.iter().zip(&out).map(|(a, b)| a + b).collect();
        let expected = norm(&x, "text_model.final_layer_norm");
        let found: Vec<f32> = found.get(0).unwrap().get(place).unwrap().to_vec1().unwrap();
        // the tanh form is off by up to 5e-4
        assert!(found.iter().zip(&expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5), "{found:?} {expected:?}");
    }
}

fn get_zeros(map: &VarMap, name: &str) -> Tensor {
    map.data().lock().unwrap()[name].zeros_like().unwrap()
}

#[test]
fn images_are_encoded_to_the_mean_and_decoded_as_candle_does() {
    let config: AutoencoderConfig = serde_json::from_str(tiny::AUTOENCODER).unwrap();
    let (map, ours) = tiny::filled(|tensors| Autoencoder::new(tensors, &config)).unwrap();
    let theirs = AutoEncoderKLConfig { block_out_channels: vec![32, 32], ..Default::default() };
    let tensors = VarBuilder::from_varmap(&map, DType::F32, &CPU);
    let theirs = AutoEncoderKL::new(tensors, 3, 3, theirs).unwrap();
    let images = waves(&[2, 3, 16, 16]).affine(0.5, 0.5).unwrap();
    let latents = ours.encode(&images).unwrap();
    assert_eq!(difference(&ours.encode(&images).unwrap(), &latents), 0.0);

    let gaussian = theirs.encode(&images.affine(2.0, -1.0).unwrap()).unwrap();
    let draws: Vec<Tensor> = (0..400).map(|_| (gaussian.sample().unwrap() * 0.18215).unwrap()).collect();
    let draws = Tensor::stack(&draws, 0).unwrap();
    let (mean, deviation) = (draws.mean(0).unwrap(), draws.var(0).unwrap().sqrt().unwrap());
    let away = ((mean - &latents).unwrap() / (deviation / 20.0).unwrap()).unwrap().abs().unwrap();
    let away = away.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    // standard errors, of 512 elements
    assert!(away < 5.5, "{away}");

    let expected = theirs.decode(&(&latents / 0.18215).unwrap()).unwrap();
    let expected = ((expected / 2.0).unwrap() + 0.5).unwrap().clamp(0.0, 1.0).unwrap();
    let found = ours.decode(&latents).unwrap();
    assert!(difference(&found, &expected) < 1e-5, "{}", difference(&found, &expected));
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
        Tensor::new(&[&ids[..]], &CPU).unwrap()
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
    for class in piadm_candle::stable_diffusion::SCHEDULERS {
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
    let first = |request: piadm_candle::stable_diffusion::Request<'_>| {
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

/// Changes one tensor of a file, or takes it out.
fn change(file: &Path, name: &str, change: impl Fn(&Tensor) -> Option<Tensor>) {
    let mut tensors = candle_core::safetensors::load(file, &CPU).unwrap();
    let tensor = tensors.remove(name).unwrap();
    if let Some(tensor) = change(&tensor) {
        tensors.insert(name.to_string(), tensor);
    }
    candle_core::safetensors::save(&tensors, file).unwrap();
}

#[test]
fn wrong_folders_are_typed_errors() {
    let folder = Folder::new("wrong", tiny::UNET);
    let unet = folder.0.join("unet/diffusion_pytorch_model.safetensors");
    let whole = fs::read(&unet).unwrap();

    // another architecture, by its settings
    let error = folder.refused(
        "unet/config.json",
        "\"sample_size\"",
        "\"addition_embed_type\": \"text_time\", \"sample_size\"",
    );
    assert!(error.to_string().contains("addition_embed_type of"), "{error}");
    let error = folder.refused("unet/config.json", "[32, 64]", "[16, 64]");
    assert!(matches!(&error, Error::TensorShape { found, expected, .. } if found != expected), "{error}");
    let error = folder.refused("unet/config.json", "\"attention_head_dim\": 4", "\"attention_head_dim\": 0");
    assert!(matches!(&error, Error::Architecture { .. }), "{error}");
    let error = folder.refused("unet/config.json", "16}", "24}");
    assert!(error.to_string().starts_with("hidden_size of the text encoder is 16"), "{error}");
    let error = folder.refused("unet/config.json", "\"layers_per_block\": 1", "\"layers_per_block\": 2");
    assert!(matches!(&error, Error::Tensor { name, .. } if name.starts_with("down_blocks.0.resnets.1")), "{error}");
    let error = folder.refused("vae/config.json", "\"latent_channels\": 4", "\"latent_channels\": \"four\"");
    assert!(matches!(&error, Error::Json { .. }), "{error}");
    let error = folder.refused("scheduler/scheduler_config.json", "{", "{\"use_karras_sigmas\": true, ");
    assert!(error.to_string().contains("use_karras_sigmas"), "{error}");

    // another architecture, by its tensors
    change(&unet, "mid_block.resnets.0.conv1.weight", |_| None);
    let error = folder.load().unwrap_err();
    assert!(matches!(&error, Error::Tensor { name, .. } if name == "mid_block.resnets.0.conv1.weight"), "{error}");
    fs::write(&unet, &whole).unwrap();
    change(&unet, "conv_out.bias", |_| Some(waves(&[5])));
    let error = folder.load().unwrap_err();
    let expected = "tensor conv_out.bias of";
    assert!(
        error.to_string().starts_with(expected) && error.to_string().contains("shape [5], expected [4]"),
        "{error}"
    );
    fs::write(&unet, &whole[..100]).unwrap();
    assert!(matches!(folder.load().unwrap_err(), Error::Safetensors { .. }));
    fs::remove_file(&unet).unwrap();
    let error = folder.load().unwrap_err();
    assert!(error.to_string().contains("diffusion_pytorch_model.fp16.safetensors"), "{error}");
    // the half precision file alone will do
    fs::write(folder.0.join("unet/diffusion_pytorch_model.fp16.safetensors"), &whole).unwrap();
    assert!(folder.load().is_ok());
}

#[test]
fn overflow_in_half_precision_is_said_to_be_one() {
    let folder = Folder::new("half", tiny::UNET);
    let sample = |dtype| {
        let model = StableDiffusion::load(&folder.0, Architecture::v1_5(), dtype, &CPU).unwrap();
        let (problem, mut score) = model.prompts(["cat"]).unwrap().steps(4).text_to_image().unwrap();
        Sequential.sample(&problem, &mut score).map(|solution| solution.samples)
    };
    let (full, half) = (sample(DType::F32).unwrap(), sample(DType::F16).unwrap());
    assert!(array_difference(&half, &full) < 0.1, "{}", array_difference(&half, &full));
    let large = |tensor: &Tensor| Some((tensor * 3e4).unwrap());
    change(&folder.0.join("unet/diffusion_pytorch_model.safetensors"), "conv_in.weight", large);
    assert!(sample(DType::F32).unwrap().iter().all(|value| value.is_finite()));
    let error = sample(DType::F16).unwrap_err();
    let piadm::Error::Score { source, .. } = error else { panic!("{error}") };
    let expected =
        "the output of the U-Net is not finite: f16 overflowed; load the model with DType::BF16 or DType::F32";
    assert_eq!(source.to_string(), expected);
    assert!(matches!(source.downcast_ref(), Some(Error::NotFinite { dtype: DType::F16, .. })));
}
