//! The U-Net, with a time for each row.

use super::architecture::UNetConfig;
use candle_core::{DType, Result, Tensor};
use candle_nn::{Conv2d, Conv2dConfig, GroupNorm, Module, VarBuilder};
use candle_transformers::models::stable_diffusion::embeddings::{TimestepEmbedding, Timesteps};
use candle_transformers::models::stable_diffusion::unet_2d_blocks::{
    CrossAttnDownBlock2D, CrossAttnDownBlock2DConfig, CrossAttnUpBlock2D, CrossAttnUpBlock2DConfig, DownBlock2D,
    DownBlock2DConfig, UNetMidBlock2DCrossAttn, UNetMidBlock2DCrossAttnConfig, UpBlock2D, UpBlock2DConfig,
};

enum Down {
    Plain(DownBlock2D),
    Attended(CrossAttnDownBlock2D),
}

enum Up {
    Plain(UpBlock2D),
    Attended(CrossAttnUpBlock2D),
}

/// diffusers' `UNet2DConditionModel`, made of the blocks of candle-transformers, with its tensor names.
///
/// candle-transformers' own model takes one time for all rows of a call; the rows of a parallel sampler have times of
/// their own. Beyond that it computes the same, except that the time embedding's angles are always in f32: the products
/// of times and frequencies lose their digits in half precision.
pub struct UNet {
    time: Timesteps,
    time_embedding: TimestepEmbedding,
    conv_in: Conv2d,
    down: Vec<Down>,
    mid: UNetMidBlock2DCrossAttn,
    up: Vec<Up>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
    /// Outputs of the way down that a block of the way up takes.
    residuals: usize,
}

impl UNet {
    /// The network with tensors from `tensors`, which are named as diffusers names them.
    ///
    /// # Errors
    /// Those of candle, for a tensor that is missing or of another shape; for a config without blocks.
    pub fn new(tensors: VarBuilder<'_>, config: &UNetConfig) -> Result<Self> {
        let (Some(&first), Some(&last)) = (config.block_out_channels.first(), config.block_out_channels.last()) else {
            candle_core::bail!("a U-Net without blocks");
        };
        let count = config.block_out_channels.len();
        let time_width = Some(4 * first);
        let border = Conv2dConfig { padding: 1, ..Default::default() };
        let channels = |block: usize| config.block_out_channels[block];

        let mut down = Vec::with_capacity(count);
        for block in 0..count {
            let tensors = tensors.pp("down_blocks").pp(block);
            let (inputs, outputs) = (channels(block.saturating_sub(1)), channels(block));
            let plain = DownBlock2DConfig {
                num_layers: config.layers_per_block,
                resnet_eps: config.norm_eps,
                resnet_groups: config.norm_num_groups,
                add_downsample: block + 1 < count,
                downsample_padding: config.downsample_padding,
                ..Default::default()
            };
            down.push(match config.attends(block) {
                false => Down::Plain(DownBlock2D::new(tensors, inputs, outputs, time_width, plain)?),
                true => {
                    let attended = CrossAttnDownBlock2DConfig {
                        downblock: plain,
                        attn_num_head_channels: config.heads(block),
                        cross_attention_dim: config.cross_attention_dim,
                        sliced_attention_size: None,
                        use_linear_projection: config.use_linear_projection,
                        transformer_layers_per_block: 1,
                    };
                    let block = CrossAttnDownBlock2D::new(tensors, inputs, outputs, time_width, false, attended)?;
                    Down::Attended(block)
                }
            });
        }

        let mid = UNetMidBlock2DCrossAttnConfig {
            resnet_eps: config.norm_eps,
            output_scale_factor: config.mid_block_scale_factor,
            cross_attn_dim: config.cross_attention_dim,
            attn_num_head_channels: config.heads(count - 1),
            resnet_groups: Some(config.norm_num_groups),
            use_linear_projection: config.use_linear_projection,
            ..Default::default()
        };
        let mid = UNetMidBlock2DCrossAttn::new(tensors.pp("mid_block"), last, time_width, false, mid)?;

        let mut up = Vec::with_capacity(count);
        for (place, block) in (0..count).rev().enumerate() {
            let tensors = tensors.pp("up_blocks").pp(place);
            let (inputs, outputs) = (channels(block.saturating_sub(1)), channels(block));
            let before = channels((block + 1).min(count - 1));
            let plain = UpBlock2DConfig {
                num_layers: config.layers_per_block + 1,
                resnet_eps: config.norm_eps,
                resnet_groups: config.norm_num_groups,
                add_upsample: block > 0,
                ..Default::default()
            };
            up.push(match config.attends(block) {
                false => Up::Plain(UpBlock2D::new(tensors, inputs, before, outputs, time_width, plain)?),
                true => {
                    let attended = CrossAttnUpBlock2DConfig {
                        upblock: plain,
                        attn_num_head_channels: config.heads(block),
                        cross_attention_dim: config.cross_attention_dim,
                        sliced_attention_size: None,
                        use_linear_projection: config.use_linear_projection,
                        transformer_layers_per_block: 1,
                    };
                    let block = CrossAttnUpBlock2D::new(tensors, inputs, before, outputs, time_width, false, attended)?;
                    Up::Attended(block)
                }
            });
        }

        let norm_out =
            candle_nn::group_norm(config.norm_num_groups, first, config.norm_eps, tensors.pp("conv_norm_out"))?;
        Ok(UNet {
            time: Timesteps::new(first, config.flip_sin_to_cos, config.freq_shift),
            time_embedding: TimestepEmbedding::new(tensors.pp("time_embedding"), first, 4 * first)?,
            conv_in: candle_nn::conv2d(config.in_channels, first, 3, border, tensors.pp("conv_in"))?,
            down,
            mid,
            up,
            norm_out,
            conv_out: candle_nn::conv2d(first, config.out_channels, 3, border, tensors.pp("conv_out"))?,
            residuals: config.layers_per_block + 1,
        })
    }

    /// The output for latents \[rows, c, h, w\] at the timesteps `times`, one per row, with the embedded text
    /// \[rows, tokens, width\] of each.
    ///
    /// # Errors
    /// Those of candle, for shapes that do not fit.
    pub fn forward(&self, latents: &Tensor, times: &[f64], text: &Tensor) -> Result<Tensor> {
        let times: Vec<f32> = times.iter().map(|t| *t as f32).collect();
        let times = Tensor::new(times, latents.device())?.to_dtype(DType::F32)?;
        let time = self.time_embedding.forward(&self.time.forward(&times)?.to_dtype(latents.dtype())?)?;

        let mut x = self.conv_in.forward(latents)?;
        let mut kept = vec![x.clone()];
        for block in &self.down {
            let (output, residuals) = match block {
                Down::Plain(block) => block.forward(&x, Some(&time))?,
                Down::Attended(block) => block.forward(&x, Some(&time), Some(text))?,
            };
            kept.extend(residuals);
            x = output;
        }
        x = self.mid.forward(&x, Some(&time), Some(text))?;
        for block in &self.up {
            let residuals = kept.split_off(kept.len().saturating_sub(self.residuals));
            // sizes that are odd on a finer level were rounded up on the way down
            let size = kept.last().map(Tensor::dims4).transpose()?.map(|(_, _, height, width)| (height, width));
            x = match block {
                Up::Plain(block) => block.forward(&x, &residuals, Some(&time), size)?,
                Up::Attended(block) => block.forward(&x, &residuals, Some(&time), size, Some(text))?,
            };
        }
        self.conv_out.forward(&candle_nn::ops::silu(&self.norm_out.forward(&x)?)?)
    }
}
