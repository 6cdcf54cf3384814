//! The text encoder.

use super::architecture::{Activation, TextConfig};
use candle_core::{D, DType, Result, Tensor};
use candle_nn::{Embedding, LayerNorm, Linear, Module, VarBuilder, embedding, layer_norm, linear};

/// CLIP's text transformer (Radford et al., arXiv 2103.00020), whose last hidden states condition the U-Net; tensors
/// are named as transformers' `CLIPTextModel` names them.
pub struct TextEncoder {
    tokens: Embedding,
    positions: Tensor,
    layers: Vec<Layer>,
    norm: LayerNorm,
}

struct Layer {
    norm1: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
    heads: usize,
    activation: Activation,
}

impl TextEncoder {
    /// The encoder with tensors from `tensors`, whose names begin with `text_model`.
    ///
    /// # Errors
    /// Those of candle, for a tensor that is missing or of another shape.
    pub fn new(tensors: VarBuilder<'_>, config: &TextConfig) -> Result<Self> {
        let (tensors, width) = (tensors.pp("text_model"), config.hidden_size);
        let embeddings = tensors.pp("embeddings");
        let positions = (config.max_position_embeddings, width);
        let layers = (0..config.num_hidden_layers).map(|i| Layer::new(tensors.pp("encoder.layers").pp(i), config));
        Ok(TextEncoder {
            tokens: embedding(config.vocab_size, width, embeddings.pp("token_embedding"))?,
            positions: embeddings.get(positions, "position_embedding.weight")?,
            layers: layers.collect::<Result<_>>()?,
            norm: layer_norm(width, config.layer_norm_eps, tensors.pp("final_layer_norm"))?,
        })
    }

    /// The hidden states \[texts, tokens, width\] of token ids \[texts, tokens\] (u32).
    ///
    /// # Errors
    /// Those of candle, for more tokens than there are positions.
    pub fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        let length = ids.dim(1)?;
        let positions = self.positions.narrow(0, 0, length)?;
        let mut x = self.tokens.forward(ids)?.broadcast_add(&positions)?;
        // no token sees a later one
        let mask = (0..length * length).map(|i| if i % length > i / length { f32::MIN } else { 0.0 });
        let mask = Tensor::from_iter(mask, ids.device())?.reshape((length, length))?;
        for layer in &self.layers {
            x = layer.forward(&x, &mask)?;
        }
        self.norm.forward(&x)
    }
}

impl Layer {
    fn new(tensors: VarBuilder<'_>, config: &TextConfig) -> Result<Self> {
        let (width, inner, eps) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let attention = |name: &str| linear(width, width, tensors.pp("self_attn").pp(name));
        Ok(Layer {
            norm1: layer_norm(width, eps, tensors.pp("layer_norm1"))?,
            query: attention("q_proj")?,
            key: attention("k_proj")?,
            value: attention("v_proj")?,
            out: attention("out_proj")?,
            norm2: layer_norm(width, eps, tensors.pp("layer_norm2"))?,
            up: linear(width, inner, tensors.pp("mlp.fc1"))?,
            down: linear(inner, width, tensors.pp("mlp.fc2"))?,
            heads: config.num_attention_heads,
            activation: config.hidden_act,
        })
    }

    fn forward(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let x = (self.attention(&self.norm1.forward(x)?, mask)? + x)?;
        let inner = self.activation.forward(&self.up.forward(&self.norm2.forward(&x)?)?)?;
        self.down.forward(&inner)? + x
    }

    /// Attention in f32, whatever the weights' type.
    fn attention(&self, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let (texts, length, width) = x.dims3()?;
        let head = width / self.heads;
        let split = |layer: &Linear| {
            let y = layer.forward(x)?.reshape((texts, length, self.heads, head))?;
            y.transpose(1, 2)?.to_dtype(DType::F32)?.contiguous()
        };
        let query = (split(&self.query)? * (head as f64).powf(-0.5))?;
        let weights = query.matmul(&split(&self.key)?.transpose(2, 3)?)?.broadcast_add(mask)?;
        let y = candle_nn::ops::softmax(&weights, D::Minus1)?.matmul(&split(&self.value)?)?;
        let y = y.transpose(1, 2)?.contiguous()?.reshape((texts, length, width))?;
        self.out.forward(&y.to_dtype(x.dtype())?)
    }
}

impl Activation {
    fn forward(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Activation::QuickGelu => x * candle_nn::ops::sigmoid(&(x * 1.702)?)?,
            Activation::Gelu => x.gelu_erf(),
        }
    }
}
