//! The residual MLP of `data/README.md` in candle, and its training.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::ops::silu;
use candle_nn::optim::{AdamW, Optimizer, ParamsAdamW};
use piadm::noise::{Address, NoiseKey, stream};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Frequencies of the time embedding.
const FREQUENCIES: usize = 16;
/// What the random numbers are for.
const WEIGHTS: u32 = stream::USER;
const ROWS: u32 = stream::USER + 1;
const LEVELS: u32 = stream::USER + 2;
const NOISE: u32 = stream::USER + 3;

/// Sizes of the network.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub dim: usize,
    pub width: usize,
    pub hidden: usize,
    pub embedding: usize,
    pub blocks: usize,
}

/// The network; its tensors have the names of the file.
pub struct Mlp {
    sizes: Sizes,
    variables: BTreeMap<String, Var>,
    frequencies: Tensor,
}

/// Rows with their times: states x_t, u = ln(sigma / alpha), and the velocities that the network should give there.
pub struct Batch {
    pub x: Tensor,
    pub u: Vec<f32>,
    pub v: Tensor,
}

impl Mlp {
    /// Uniform weights in +-1/sqrt(inputs); what modulates and what ends a block begins at 0.
    pub fn new(sizes: Sizes, seed: u64) -> Result<Self> {
        let Sizes { dim, width, hidden, embedding, blocks } = sizes;
        let mut maps = vec![
            ("temb.l1".to_string(), embedding, 2 * FREQUENCIES, 1.0),
            ("temb.l2".into(), embedding, embedding, 1.0),
            ("inp".into(), width, dim, 1.0),
            ("film".into(), 2 * width, embedding, 0.0),
            ("gain".into(), dim, embedding, 0.0),
            ("out".into(), dim, width, 0.0),
        ];
        for i in 0..blocks {
            maps.push((format!("blocks.{i}.film"), 2 * width, embedding, 0.0));
            maps.push((format!("blocks.{i}.l1"), hidden, width, 1.0));
            maps.push((format!("blocks.{i}.l2"), width, hidden, 0.0));
        }
        let mut variables = BTreeMap::new();
        for (place, (name, outputs, inputs, scale)) in maps.into_iter().enumerate() {
            let bound = scale / (inputs as f64).sqrt();
            let address = Address { stream: WEIGHTS, step: 0, sample: place as u32 };
            let uniform = |i: u32| (bound * (2.0 * NoiseKey::new(seed).uniform(address, i) - 1.0)) as f32;
            let weight = Tensor::from_iter((0..(outputs * inputs) as u32).map(uniform), &Device::Cpu)?;
            variables.insert(format!("{name}.weight"), Var::from_tensor(&weight.reshape((outputs, inputs))?)?);
            variables.insert(format!("{name}.bias"), Var::zeros(outputs, DType::F32, &Device::Cpu)?);
        }
        let frequencies = (0..FREQUENCIES).map(|i| 0.25 * 2f32.powf(i as f32 / 3.0));
        Ok(Mlp { sizes, variables, frequencies: Tensor::from_iter(frequencies, &Device::Cpu)? })
    }

    /// The velocity of every row of `x` at its own u = ln(sigma / alpha).
    pub fn forward(&self, x: &Tensor, u: &[f32]) -> Result<Tensor> {
        let linear = |name: &str, x: &Tensor| {
            let (weight, bias) = (&self.variables[&format!("{name}.weight")], &self.variables[&format!("{name}.bias")]);
            x.matmul(&weight.t()?)?.broadcast_add(bias)
        };
        let phase = Tensor::new(u, &Device::Cpu)?.unsqueeze(1)?.broadcast_mul(&self.frequencies)?;
        let features = Tensor::cat(&[phase.sin()?, phase.cos()?], 1)?;
        let e = silu(&linear("temb.l2", &silu(&linear("temb.l1", &features)?)?)?)?;
        let modulated = |h: &Tensor, name: &str| {
            let centered = h.broadcast_sub(&h.mean_keepdim(D::Minus1)?)?;
            let deviation = (centered.sqr()?.mean_keepdim(D::Minus1)? + 1e-5)?.sqrt()?;
            let film = linear(name, &e)?;
            let (g, b) = (film.narrow(1, 0, self.sizes.width)?, film.narrow(1, self.sizes.width, self.sizes.width)?);
            (centered.broadcast_div(&deviation)? * (g + 1.0)?)? + b
        };
        let mut h = linear("inp", x)?;
        for i in 0..self.sizes.blocks {
            let inner = silu(&linear(&format!("blocks.{i}.l1"), &modulated(&h, &format!("blocks.{i}.film"))?)?)?;
            h = (h + linear(&format!("blocks.{i}.l2"), &inner)?)?;
        }
        linear("out", &modulated(&h, "film")?)? + (linear("gain", &e)? * x)?
    }

    /// Writes the file that piadm-networks loads.
    pub fn save(&self, file: &Path, (mean, std): (f32, f32), steps: usize) -> std::result::Result<(), BoxError> {
        let mut tensors: Vec<(String, Tensor)> =
            self.variables.iter().map(|(name, variable)| (name.clone(), variable.as_tensor().clone())).collect();
        tensors.push(("temb.freq".into(), self.frequencies.clone()));
        tensors.push(("norm".into(), Tensor::new(&[mean, std], &Device::Cpu)?));
        let about = [("arch", "mlp"), ("data", "fashion-mnist"), ("process", "ou"), ("predicts", "v")];
        let mut about: HashMap<String, String> = about.map(|(key, value)| (key.into(), value.into())).into();
        about.insert("steps".into(), steps.to_string());
        Ok(safetensors::serialize_to_file(tensors, Some(about), file)?)
    }
}

type BoxError = Box<dyn std::error::Error>;

/// Rows of standardised pixels at random levels, which depend on `seed` and `step`: u is drawn from N(-0.3, 1.4^2), and
/// t = ln(1 + e^2u) clipped to [1e-3, 8].
pub fn batch(pixels: &Tensor, rows: &[u32], seed: u64, step: u32) -> Result<Batch> {
    let (key, (_, dim)) = (NoiseKey::new(seed), pixels.dims2()?);
    let mut levels = vec![0f32; rows.len()];
    key.fill_f32(Address { stream: LEVELS, step, sample: 0 }, 0, &mut levels);
    let times = levels.iter().map(|z| (2.0 * (-0.3 + 1.4 * f64::from(*z))).exp().ln_1p().clamp(1e-3, 8.0));
    let times: Vec<f64> = times.collect();
    let column = |f: fn(f64) -> f64| {
        let values: Vec<f32> = times.iter().map(|t| f(*t) as f32).collect();
        Tensor::from_vec(values, (rows.len(), 1), &Device::Cpu)
    };
    let (alpha, sigma) = (column(|t| (-0.5 * t).exp())?, column(|t| (-(-t).exp_m1()).sqrt())?);
    let mut noise = vec![0f32; rows.len() * dim];
    for (i, noise) in noise.chunks_exact_mut(dim).enumerate() {
        key.fill_f32(Address { stream: NOISE, step, sample: i as u32 }, 0, noise);
    }
    let noise = Tensor::from_vec(noise, (rows.len(), dim), &Device::Cpu)?;
    let x0 = pixels.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?;
    let mix = |a: &Tensor, b: &Tensor| alpha.broadcast_mul(a)? + sigma.broadcast_mul(b)?;
    let (x, v) = (mix(&x0, &noise)?, mix(&noise, &x0.neg()?)?);
    Ok(Batch { x, u: times.iter().map(|t| (0.5 * t.exp_m1().ln()) as f32).collect(), v })
}

/// Trains for so many steps as `data/README.md` says and returns the moving average of the weights. `report` gets the
/// step and the loss of its batch.
pub fn train(
    sizes: Sizes,
    pixels: &Tensor,
    (steps, rows, seed): (usize, usize, u64),
    mut report: impl FnMut(usize, f32),
) -> Result<Mlp> {
    let (net, average) = (Mlp::new(sizes, seed)?, Mlp::new(sizes, seed)?);
    let variables: Vec<Var> = net.variables.values().cloned().collect();
    let settings = ParamsAdamW { lr: 1e-3, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 1e-3 };
    let mut optimiser = AdamW::new(variables.clone(), settings)?;
    let images = pixels.dim(0)?;
    for step in 0..steps {
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos());
        optimiser.set_learning_rate(1e-3 * ((step + 1) as f64 / 200.0).min(1.0) * (0.01 + 0.99 * cosine));
        let address = Address { stream: ROWS, step: step as u32, sample: 0 };
        let pick = |i| ((NoiseKey::new(seed).uniform(address, i) * images as f64) as u32).min(images as u32 - 1);
        let batch = batch(pixels, &(0..rows as u32).map(pick).collect::<Vec<u32>>(), seed, step as u32)?;
        let loss = (net.forward(&batch.x, &batch.u)? - &batch.v)?.sqr()?.mean_all()?;
        let mut gradients = loss.backward()?;
        // the gradient's norm is at most 1
        let mut norm = 0.0;
        for variable in &variables {
            if let Some(gradient) = gradients.get(variable) {
                norm += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
            }
        }
        if norm > 1.0 {
            for variable in &variables {
                if let Some(gradient) = gradients.remove(variable) {
                    gradients.insert(variable, (gradient / norm.sqrt())?);
                }
            }
        }
        optimiser.step(&gradients)?;
        let decay = (0.9995f64).min((1 + step) as f64 / (10 + step) as f64);
        for (mean, new) in average.variables.values().zip(net.variables.values()) {
            mean.set(&((mean.as_tensor() * decay)? + (new.as_tensor() * (1.0 - decay))?)?.detach())?;
        }
        report(step + 1, loss.to_scalar()?);
    }
    Ok(average)
}
