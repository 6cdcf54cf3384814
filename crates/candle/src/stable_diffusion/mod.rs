//! Stable Diffusion 1.5 and 2.1, and models of that architecture, from a folder of diffusers.
//!
//! A folder gives a [`StableDiffusion`]; prompts give a [`Request`]; that gives a problem and a score, which any
//! sampler of piadm takes.
//!
//! ```no_run
//! use candle_core::{DType, Device};
//! use piadm::{Picard, Sampler};
//! use piadm_candle::stable_diffusion::{Architecture, StableDiffusion};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let model = StableDiffusion::load("stable-diffusion-v1-5", Architecture::v1_5(), DType::F32, &Device::Cpu)?;
//! let request = model.prompts(["a photograph of a cat"])?.negative("blurry")?.guidance(7.5).steps(50);
//! let (problem, mut score) = request.text_to_image()?;
//! let solution = Picard::default().sample(&problem.seed(7), &mut score)?;
//! let images = request.decode(solution.samples.view())?; // [1, 3, 512, 512] in [0, 1]
//! # Ok(()) }
//! ```
//!
//! # The folder
//! `unet`, `text_encoder` and `vae` with their `.safetensors` (or `.fp16.safetensors`), `scheduler` and `tokenizer`, as
//! diffusers' `save_pretrained` writes them. Settings in its JSON files win over the [`Architecture`] given. Files are
//! read into memory, not mapped: candle's mapping is unsafe.
//!
//! # What is computed how
//! U-Net and text encoder compute in the type given to [`load`](StableDiffusion::load), their attention and softmax in
//! f32; the autoencoder computes in f32, whatever that type. On the CPU candle has no products of bf16. The layers of
//! the U-Net are candle-transformers', whose feed-forward layers use the tanh form of GELU where diffusers uses the
//! error function.
//!
//! The latents of a sampler start from normals of variance 1. diffusers' Euler and Heun schedulers with trailing or
//! linspace timesteps start from sigma of the first level, 0.998 for Stable Diffusion.

mod architecture;
mod autoencoder;
mod error;
mod files;
mod request;
mod scheduler;
mod score;
mod text;
mod tokens;
mod unet;

pub use architecture::{Activation, Architecture, AutoencoderConfig, OneOrMany, TextConfig, UNetConfig};
pub use autoencoder::Autoencoder;
pub use error::{Error, Result};
pub use request::Request;
pub use scheduler::{SCHEDULERS, SchedulerConfig};
pub use score::LatentScore;
pub use text::TextEncoder;
pub use unet::UNet;

use candle_core::{DType, Device, Tensor};
use error::check_finite;
use std::fmt::{Debug, Formatter};
use std::path::Path;
use std::sync::Arc;

/// A text-to-image model of latents.
pub struct StableDiffusion {
    architecture: Architecture,
    unet: Arc<UNet>,
    text: TextEncoder,
    autoencoder: Autoencoder,
    dtype: DType,
    device: Device,
    folder: std::path::PathBuf,
}

impl Debug for StableDiffusion {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "StableDiffusion {{ dtype: {:?}, device: {:?} }}", self.dtype, self.device.location())
    }
}

impl StableDiffusion {
    /// Reads a folder. Its settings files win over `architecture`; the weights become `dtype` on `device`, those of the
    /// autoencoder f32.
    ///
    /// # Errors
    /// [`Error`]: which file is missing or cannot be read, which tensor is missing or has another shape, which setting
    /// is not offered.
    pub fn load(
        folder: impl AsRef<Path>,
        architecture: Architecture,
        dtype: DType,
        device: &Device,
    ) -> Result<StableDiffusion> {
        let folder = folder.as_ref();
        let architecture = architecture.read(folder)?;
        let (of_text, of_model) = ("model", "diffusion_pytorch_model");
        let text = files::part(&folder.join("text_encoder"), of_text, dtype, device, |tensors| {
            TextEncoder::new(tensors, &architecture.text)
        })?;
        let unet = files::part(&folder.join("unet"), of_model, dtype, device, |tensors| {
            UNet::new(tensors, &architecture.unet)
        })?;
        let autoencoder = files::part(&folder.join("vae"), of_model, DType::F32, device, |tensors| {
            Autoencoder::new(tensors, &architecture.autoencoder)
        })?;
        let (unet, device) = (Arc::new(unet), device.clone());
        Ok(StableDiffusion { architecture, unet, text, autoencoder, dtype, device, folder: folder.to_path_buf() })
    }

    /// Sizes and settings, as the folder has them.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The autoencoder, for latents that are tensors of candle already.
    pub fn autoencoder(&self) -> &Autoencoder {
        &self.autoencoder
    }

    /// A request for one image per prompt.
    ///
    /// # Errors
    /// Where the folder has no tokenizer, or it fails.
    pub fn prompts<P: AsRef<str>>(&self, prompts: impl IntoIterator<Item = P>) -> Result<Request<'_>> {
        let tokenizer = self.tokenizer()?;
        let ids = prompts.into_iter().map(|prompt| tokenizer.ids(prompt.as_ref())).collect::<Result<_>>()?;
        Request::new(self, ids)
    }

    /// A request for one image per prompt, given as token ids without first, last and padding; what does not fit is
    /// cut off.
    ///
    /// # Errors
    /// [`Error::Setting`] for ids that are not in the vocabulary.
    pub fn tokens<P: AsRef<[u32]>>(&self, prompts: impl IntoIterator<Item = P>) -> Result<Request<'_>> {
        Request::new(self, prompts.into_iter().map(|ids| ids.as_ref().to_vec()).collect())
    }

    fn tokenizer(&self) -> Result<tokens::Tokenizer> {
        tokens::Tokenizer::load(&self.folder)
    }

    /// Hidden states \[texts, tokens, width\] of framed texts.
    fn embed(&self, texts: &[Vec<u32>]) -> Result<Tensor> {
        let length = self.architecture.text.max_position_embeddings;
        let ids = Tensor::from_vec(texts.concat(), (texts.len(), length), &self.device)?;
        let embedded = self.text.forward(&ids)?;
        check_finite("text encoder", self.dtype, &embedded)?;
        Ok(embedded)
    }
}
