//! The autoencoder between images and latents.

use super::architecture::AutoencoderConfig;
use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use candle_transformers::models::stable_diffusion::vae::{AutoEncoderKL, AutoEncoderKLConfig};

/// diffusers' `AutoencoderKL`, with its tensor names: images in \[0, 1\] to scaled latents and back.
pub struct Autoencoder {
    model: AutoEncoderKL,
    scale: f64,
}

impl Autoencoder {
    /// The autoencoder with tensors from `tensors`, which are named as diffusers names them.
    ///
    /// # Errors
    /// Those of candle, for a tensor that is missing or of another shape.
    pub fn new(tensors: VarBuilder<'static>, config: &AutoencoderConfig) -> Result<Self> {
        let (dtype, device) = (tensors.dtype(), tensors.device().clone());
        let tensors = VarBuilder::from_backend(Box::new(MeanOnly(tensors)), dtype, device);
        let sizes = AutoEncoderKLConfig {
            block_out_channels: config.block_out_channels.clone(),
            layers_per_block: config.layers_per_block,
            latent_channels: config.latent_channels,
            norm_num_groups: config.norm_num_groups,
            use_quant_conv: true,
            use_post_quant_conv: true,
        };
        let model = AutoEncoderKL::new(tensors, config.in_channels, config.out_channels, sizes)?;
        Ok(Autoencoder { model, scale: config.scaling_factor })
    }

    /// Latents \[n, c, h, w\] of images \[n, 3, 8 h, 8 w\] in \[0, 1\]: the mean of the encoder's Gaussian, scaled.
    /// Nothing is drawn.
    ///
    /// # Errors
    /// Those of candle.
    pub fn encode(&self, images: &Tensor) -> Result<Tensor> {
        each(&images.affine(2.0, -1.0)?, |image| self.model.encode(image)?.sample())? * self.scale
    }

    /// Images in \[0, 1\] of latents.
    ///
    /// # Errors
    /// Those of candle.
    pub fn decode(&self, latents: &Tensor) -> Result<Tensor> {
        let images = each(&(latents / self.scale)?, |latent| self.model.decode(latent))?;
        images.affine(0.5, 0.5)?.clamp(0.0, 1.0)
    }
}

/// One call per image. candle-transformers 0.11.1 gives other results for all but the first image of a call on the CPU,
/// and the memory of a call is large.
fn each(batch: &Tensor, call: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let outputs = (0..batch.dim(0)?).map(|i| call(&batch.narrow(0, i, 1)?.contiguous()?));
    Tensor::cat(&outputs.collect::<Result<Vec<_>>>()?, 0)
}

/// The tensors of an encoder whose Gaussian has a standard deviation of exactly 0.
///
/// candle-transformers offers of that Gaussian only a draw with a generator that cannot be seeded. The last layer,
/// `quant_conv`, gives mean and log variance; with a log variance of -1000 the standard deviation e^-500 is 0 in f32,
/// and the draw is the mean.
struct MeanOnly(VarBuilder<'static>);

impl SimpleBackend for MeanOnly {
    fn get(&self, shape: Shape, name: &str, hint: Init, dtype: DType, _: &Device) -> Result<Tensor> {
        let tensor = self.0.get_with_hints_dtype(shape.clone(), name, hint, dtype)?;
        let constant = match name {
            "quant_conv.weight" => 0.0,
            "quant_conv.bias" => -1000.0,
            _ => return Ok(tensor),
        };
        let mean = shape.dims()[0] / 2;
        let variance = (tensor.narrow(0, mean, mean)?.zeros_like()? + constant)?;
        Tensor::cat(&[tensor.narrow(0, 0, mean)?, variance], 0)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, _: &Device) -> Result<Tensor> {
        self.0.get_unchecked_dtype(name, dtype)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.contains_tensor(name)
    }
}
