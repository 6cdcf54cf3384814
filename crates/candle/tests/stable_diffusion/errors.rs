//! Folders that are incomplete or hold something else, and overflow.

use crate::{CPU, Folder, array_difference, tiny, waves};
use candle_core::{DType, Tensor};
use piadm::{Sampler, Sequential};
use piadm_candle::stable_diffusion::{Architecture, Error, StableDiffusion};
use std::fs;
use std::path::Path;

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
    let expected = "the output of the U-Net is not finite: f16 overflowed; load the model with DType::F32, or with DType::BF16 on a GPU";
    assert_eq!(source.to_string(), expected);
    assert!(matches!(source.downcast_ref(), Some(Error::NotFinite { dtype: DType::F16, .. })));
}
