//! Tiny models of the architecture of Stable Diffusion, with arbitrary weights, against candle-transformers' own.

mod errors;
mod layers;
mod pipeline;
#[path = "../../examples/stable_diffusion/tiny.rs"]
mod tiny;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::stable_diffusion::unet_2d::{
    BlockConfig, UNet2DConditionModel, UNet2DConditionModelConfig,
};
use piadm::ndarray::Array2;
use piadm_candle::stable_diffusion::{Architecture, Error, StableDiffusion};
use std::fs;
use std::path::PathBuf;

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
