//! A folder with a tiny model of the architecture and arbitrary weights: to see a pipeline run, and for tests.

use candle_core::{DType, Device, Tensor};
use candle_nn::{VarBuilder, VarMap};
use piadm_candle::stable_diffusion::{Autoencoder, AutoencoderConfig, TextConfig, TextEncoder, UNet, UNetConfig};
use std::error::Error;
use std::path::Path;

/// Settings of a tiny Stable Diffusion 1.5.
pub const UNET: &str = r#"{"_class_name": "UNet2DConditionModel", "sample_size": 8, "block_out_channels": [32, 64],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "layers_per_block": 1, "attention_head_dim": 4,
    "cross_attention_dim": 16}"#;
/// Of a tiny Stable Diffusion 2.1.
#[allow(dead_code, reason = "for the tests")]
pub const UNET_V2: &str = r#"{"sample_size": 8, "block_out_channels": [32, 64], "layers_per_block": 2,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "attention_head_dim": [2, 4],
    "cross_attention_dim": 16, "use_linear_projection": true, "only_cross_attention": false}"#;
pub const TEXT: &str = r#"{"model_type": "clip_text_model", "vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2,
    "intermediate_size": 32, "num_attention_heads": 2, "max_position_embeddings": 12, "hidden_act": "quick_gelu"}"#;
pub const AUTOENCODER: &str = r#"{"_class_name": "AutoencoderKL", "block_out_channels": [32, 32], "layers_per_block": 1,
    "latent_channels": 4, "scaling_factor": 0.18215}"#;
pub const SCHEDULER: &str = r#"{"_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "set_alpha_to_one": false, "steps_offset": 1,
    "skip_prk_steps": true, "clip_sample": false}"#;

/// Writes the folder.
pub fn write(folder: &Path, unet: &str) -> Result<(), Box<dyn Error>> {
    for part in ["unet", "text_encoder", "vae", "scheduler", "tokenizer"] {
        std::fs::create_dir_all(folder.join(part))?;
    }
    let json = |name: &str, text: &str| std::fs::write(folder.join(name), text);
    json("unet/config.json", unet)?;
    json("text_encoder/config.json", TEXT)?;
    json("vae/config.json", AUTOENCODER)?;
    json("scheduler/scheduler_config.json", SCHEDULER)?;
    json("tokenizer/vocab.json", &vocabulary())?;
    json("tokenizer/merges.txt", "#version: 0.2\nc a\nca t</w>\n")?;
    let weights = "diffusion_pytorch_model.safetensors";
    let unet: UNetConfig = serde_json::from_str(unet)?;
    filled(|tensors| UNet::new(tensors, &unet))?.0.save(folder.join("unet").join(weights))?;
    let text: TextConfig = serde_json::from_str(TEXT)?;
    filled(|tensors| TextEncoder::new(tensors, &text))?.0.save(folder.join("text_encoder/model.safetensors"))?;
    let autoencoder: AutoencoderConfig = serde_json::from_str(AUTOENCODER)?;
    filled(|tensors| Autoencoder::new(tensors, &autoencoder))?.0.save(folder.join("vae").join(weights))?;
    Ok(())
}

/// The tensors that a network asks for, with arbitrary values that are always the same, and the network with them.
pub fn filled<M>(make: impl Fn(VarBuilder<'static>) -> candle_core::Result<M>) -> Result<(VarMap, M), Box<dyn Error>> {
    let tensors = VarMap::new();
    let builder = || VarBuilder::from_varmap(&tensors, DType::F32, &Device::Cpu);
    make(builder())?;
    for (name, tensor) in tensors.data().lock().map_err(|error| error.to_string())?.iter() {
        let dims = tensor.dims().to_vec();
        let inputs: usize = dims.iter().skip(1).product();
        let (center, scale) = match (dims.len(), name.ends_with("weight")) {
            (1, true) => (1.0, 0.2), // of a norm
            (1, false) => (0.0, 0.2),
            _ if name.contains("embedding.weight") => (0.0, 1.0),
            _ => (0.0, (3.0 / inputs as f32).sqrt()),
        };
        let seed =
            name.bytes().fold(0xcbf29ce484222325, |hash: u64, byte| (hash ^ byte as u64).wrapping_mul(0x100000001b3));
        let values = (0..tensor.elem_count() as u64).map(|i| center + scale * uniform(seed.wrapping_add(i)));
        tensor.set(&Tensor::from_iter(values, &Device::Cpu)?.reshape(dims)?)?;
    }
    let model = make(builder())?;
    Ok((tensors, model))
}

/// In [-1, 1): Steele, Lea and Flood's SplitMix64.
fn uniform(counter: u64) -> f32 {
    let mut z = counter.wrapping_mul(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d049bb133111eb);
    ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// `!`, letters, letters at the end of a word, two merges, unused tokens, and CLIP's two last.
fn vocabulary() -> String {
    let letters = || ('a'..='z').map(String::from);
    let mut tokens = vec!["!".to_string()];
    tokens.extend(letters());
    tokens.extend(letters().map(|letter| letter + "</w>"));
    tokens.extend(["ca", "cat</w>"].map(String::from));
    tokens.extend((tokens.len()..62).map(|i| format!("unused{i}")));
    tokens.extend(["<|startoftext|>", "<|endoftext|>"].map(String::from));
    let entries: Vec<String> = tokens.iter().enumerate().map(|(i, token)| format!("{token:?}: {i}")).collect();
    format!("{{{}}}", entries.join(", "))
}
