//! Sizes and settings of a model, as the JSON files of a diffusers folder give them.

use super::error::{Error, Result};
use super::files;
use super::scheduler::SchedulerConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::Path;

/// A model's parts. Whatever the folder's own files say wins; this is for folders that hold weights alone.
///
/// ```
/// use piadm_candle::stable_diffusion::Architecture;
/// assert_eq!(Architecture::v1_5().unet.cross_attention_dim, 768);
/// assert_eq!(Architecture::v2_1().text.hidden_size, 1024);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// The U-Net: `unet/config.json`.
    pub unet: UNetConfig,
    /// The text encoder: `text_encoder/config.json`.
    pub text: TextConfig,
    /// The autoencoder: `vae/config.json`.
    pub autoencoder: AutoencoderConfig,
    /// Noise levels and solver: `scheduler/scheduler_config.json`.
    pub scheduler: SchedulerConfig,
}

impl Architecture {
    /// Stable Diffusion 1.5, which the other 1.x share.
    pub fn v1_5() -> Self {
        Architecture {
            unet: UNetConfig::default(),
            text: TextConfig::default(),
            autoencoder: AutoencoderConfig::default(),
            scheduler: SchedulerConfig::default(),
        }
    }

    /// Stable Diffusion 2.1 of 768 x 768 pixels, with `v_prediction`.
    pub fn v2_1() -> Self {
        Architecture {
            unet: UNetConfig {
                attention_head_dim: OneOrMany::Many(vec![5, 10, 20, 20]),
                cross_attention_dim: 1024,
                use_linear_projection: true,
                sample_size: 96,
                ..UNetConfig::default()
            },
            text: TextConfig {
                hidden_size: 1024,
                intermediate_size: 4096,
                num_hidden_layers: 23,
                num_attention_heads: 16,
                hidden_act: Activation::Gelu,
                pad_token: "!".into(),
                ..TextConfig::default()
            },
            autoencoder: AutoencoderConfig::default(),
            scheduler: SchedulerConfig {
                class_name: "DDIMScheduler".into(),
                prediction_type: "v_prediction".into(),
                ..SchedulerConfig::default()
            },
        }
    }

    /// With what the files of a folder say in its place.
    pub(super) fn read(mut self, folder: &Path) -> Result<Self> {
        config(&folder.join("unet/config.json"), UNET, &mut self.unet)?;
        let pad_token = self.text.pad_token.clone();
        config(&folder.join("text_encoder/config.json"), TEXT, &mut self.text)?;
        self.text.pad_token = pad_token;
        config(&folder.join("vae/config.json"), AUTOENCODER, &mut self.autoencoder)?;
        config(&folder.join("scheduler/scheduler_config.json"), SCHEDULER, &mut self.scheduler)?;
        if let Some(special) = files::json::<Value>(&folder.join("tokenizer/special_tokens_map.json"))? {
            let pad = &special["pad_token"];
            if let Some(token) = pad.as_str().or_else(|| pad["content"].as_str()) {
                self.text.pad_token = token.into();
            }
        }
        self.check()?;
        Ok(self)
    }

    /// Fails for sizes that the layers cannot have: candle would divide by zero, or compute something else.
    fn check(&self) -> Result<()> {
        let refuse = |what: &str, found: String, supported: &'static str| {
            Err(Error::Architecture { what: what.into(), found, supported })
        };
        let UNetConfig { block_out_channels: channels, down_block_types: types, .. } = &self.unet;
        let known = |name: &String| matches!(&name[..], "DownBlock2D" | "CrossAttnDownBlock2D");
        if types.is_empty() || types.len() != channels.len() || !types.iter().all(known) {
            let supported = "one DownBlock2D or CrossAttnDownBlock2D per entry of block_out_channels";
            return refuse("down_block_types of the U-Net", format!("{types:?}"), supported);
        }
        if self.unet.norm_num_groups != 32 {
            // candle's blocks without attention have 32 whatever they are told
            return refuse("norm_num_groups of the U-Net", self.unet.norm_num_groups.to_string(), "32");
        }
        let heads: Vec<usize> = (0..channels.len()).map(|block| self.unet.heads(block)).collect();
        if heads.iter().zip(channels).any(|(heads, channels)| *heads == 0 || channels % heads != 0) {
            return refuse("attention_head_dim of the U-Net", format!("{heads:?}"), "divisors of block_out_channels");
        }
        if self.unet.in_channels != self.unet.out_channels {
            let found = self.unet.in_channels.to_string();
            return refuse("in_channels of the U-Net", found, "its out_channels (no inpainting, depth or upscaling)");
        }
        let TextConfig { num_attention_heads: heads, hidden_size, .. } = self.text;
        if heads == 0 || hidden_size % heads != 0 || hidden_size != self.unet.cross_attention_dim {
            let supported = "the U-Net's cross_attention_dim, a multiple of num_attention_heads";
            return refuse("hidden_size of the text encoder", hidden_size.to_string(), supported);
        }
        if self.text.vocab_size < 2 || self.text.max_position_embeddings < 2 {
            let sizes = [self.text.vocab_size, self.text.max_position_embeddings];
            return refuse("vocab_size, max_position_embeddings", format!("{sizes:?}"), "at least 2 of both");
        }
        let AutoencoderConfig { norm_num_groups: groups, latent_channels, .. } = self.autoencoder;
        if groups == 0 || self.autoencoder.block_out_channels.is_empty() {
            return refuse("norm_num_groups of the autoencoder", groups.to_string(), "at least 1, with blocks");
        }
        if latent_channels != self.unet.in_channels {
            let found = latent_channels.to_string();
            return refuse("latent_channels of the autoencoder", found, "the in_channels of the U-Net");
        }
        Ok(())
    }
}

/// A number for all blocks, or one for each.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany {
    /// For all.
    One(usize),
    /// For each, from the finest level on.
    Many(Vec<usize>),
}

/// Sizes of the U-Net, under the names of diffusers' `UNet2DConditionModel`; keys that are missing in a file have the
/// values of Stable Diffusion 1.5.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the keys of the file")]
pub struct UNetConfig {
    pub sample_size: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    pub down_block_types: Vec<String>,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: usize,
    /// The number of heads, in spite of its name.
    pub attention_head_dim: OneOrMany,
    pub cross_attention_dim: usize,
    pub use_linear_projection: bool,
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
    pub downsample_padding: usize,
    pub mid_block_scale_factor: f64,
    pub norm_num_groups: usize,
    pub norm_eps: f64,
}

impl Default for UNetConfig {
    fn default() -> Self {
        let attended = "CrossAttnDownBlock2D";
        UNetConfig {
            sample_size: 64,
            in_channels: 4,
            out_channels: 4,
            down_block_types: [attended, attended, attended, "DownBlock2D"].map(String::from).to_vec(),
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: 2,
            attention_head_dim: OneOrMany::One(8),
            cross_attention_dim: 768,
            use_linear_projection: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            norm_num_groups: 32,
            norm_eps: 1e-5,
        }
    }
}

impl UNetConfig {
    /// Whether the block sees the text.
    pub(super) fn attends(&self, block: usize) -> bool {
        self.down_block_types.get(block).is_some_and(|name| name == "CrossAttnDownBlock2D")
    }

    /// Heads of the block's attention.
    pub(super) fn heads(&self, block: usize) -> usize {
        match &self.attention_head_dim {
            OneOrMany::One(heads) => *heads,
            OneOrMany::Many(heads) => heads.get(block).copied().unwrap_or(0),
        }
    }
}

/// What the text encoder's layers put between their two maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x sigmoid(1.702 x).
    QuickGelu,
    /// x Phi(x), with the error function.
    Gelu,
}

/// Sizes of the text encoder, under the names of transformers' `CLIPTextConfig`.
///
/// The ids of the first and the last token of a text are the last two of the vocabulary, as in CLIP's; the ids in the
/// file are not (Stable Diffusion 1.5 has 0 and 2 there).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the keys of the file")]
pub struct TextConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub max_position_embeddings: usize,
    pub layer_norm_eps: f64,
    pub hidden_act: Activation,
    /// What fills short texts, by `tokenizer/special_tokens_map.json`: `<|endoftext|>` (1.5) or `!` (2.1).
    #[serde(skip)]
    pub pad_token: String,
}

impl Default for TextConfig {
    fn default() -> Self {
        TextConfig {
            vocab_size: 49408,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            max_position_embeddings: 77,
            layer_norm_eps: 1e-5,
            hidden_act: Activation::QuickGelu,
            pad_token: super::tokens::END.into(),
        }
    }
}

/// Sizes of the autoencoder, under the names of diffusers' `AutoencoderKL`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the keys of the file")]
pub struct AutoencoderConfig {
    pub in_channels: usize,
    pub out_channels: usize,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: usize,
    pub latent_channels: usize,
    pub norm_num_groups: usize,
    pub scaling_factor: f64,
}

impl Default for AutoencoderConfig {
    fn default() -> Self {
        AutoencoderConfig {
            in_channels: 3,
            out_channels: 3,
            block_out_channels: vec![128, 256, 512, 512],
            layers_per_block: 2,
            latent_channels: 4,
            norm_num_groups: 32,
            scaling_factor: 0.18215,
        }
    }
}

impl AutoencoderConfig {
    /// Pixels of an image per element of a latent, along each axis.
    pub(super) fn factor(&self) -> usize {
        1 << self.block_out_channels.len().saturating_sub(1)
    }
}

/// Keys of a file of which only some values are offered here. `null` and a missing key are always among them.
type Only = &'static [(&'static str, &'static str)];

const UNET: Only = &[
    ("_class_name", r#""UNet2DConditionModel""#),
    ("act_fn", r#""silu""#),
    ("addition_embed_type", "null"),
    ("class_embed_type", "null"),
    ("center_input_sample", "false"),
    ("conv_in_kernel", "3"),
    ("conv_out_kernel", "3"),
    ("dual_cross_attention", "false"),
    ("encoder_hid_dim_type", "null"),
    ("mid_block_type", r#""UNetMidBlock2DCrossAttn""#),
    ("num_attention_heads", "null"),
    ("num_class_embeds", "null"),
    ("only_cross_attention", "false"),
    ("resnet_time_scale_shift", r#""default""#),
    ("time_cond_proj_dim", "null"),
    ("time_embedding_type", r#""positional""#),
    ("transformer_layers_per_block", "1"),
];
const TEXT: Only = &[("model_type", r#""clip_text_model""#)];
const AUTOENCODER: Only = &[
    ("_class_name", r#""AutoencoderKL""#),
    ("act_fn", r#""silu""#),
    ("shift_factor", "null"),
    ("use_post_quant_conv", "true"),
    ("use_quant_conv", "true"),
];
const SCHEDULER: Only = &[
    ("thresholding", "false"),
    ("trained_betas", "null"),
    ("rescale_betas_zero_snr", "false"),
    ("use_karras_sigmas", "false"),
    ("use_exponential_sigmas", "false"),
    ("use_beta_sigmas", "false"),
    ("use_lu_lambdas", "false"),
    ("use_flow_sigmas", "false"),
];

/// Reads a settings file over `known`, where there is one.
fn config<T: DeserializeOwned>(file: &Path, only: Only, known: &mut T) -> Result<()> {
    let Some(value) = files::json::<Value>(file)? else { return Ok(()) };
    for (key, supported) in only {
        let found = value[*key].to_string();
        if found != "null" && found != *supported {
            return Err(Error::Architecture { what: format!("{key} of {file:?}"), found, supported });
        }
    }
    *known = T::deserialize(value).map_err(|source| Error::Json { file: file.to_path_buf(), source })?;
    Ok(())
}
