//! The trained network of the `fashion` example: a residual MLP for the Ornstein-Uhlenbeck process, in plain Rust.
//!
//! `data/README.md` gives architecture and file format. The result of a row does not depend on the other rows of the call, nor on
//! the number of threads, bit for bit (`linear.rs` says why; the rest treats each row on its own). So parallel sampling
//! at tolerance zero reproduces sequential sampling exactly, with a real network.

#[path = "linear.rs"]
mod linear;

use linear::Linear;
use ndarray::{ArrayView2, ArrayViewMut2};
use piadm::BoxError;
use piadm::{Cpu, Prediction, Rows, ScoreFn};
use pulp::Arch;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors};
use std::path::Path;

/// Rows that a thread takes at a time: enough to use each weight often, few enough that all its arrays stay in the cache.
const BLOCK: usize = 32;
/// Added to the variance in the layer norm.
const NORM_EPS: f32 = 1e-5;

/// The network and its scratch memory. Calls allocate nothing once they have seen the largest batch.
pub struct Mlp {
    net: Network,
    /// One for each block of rows.
    scratch: Vec<Scratch>,
}

struct Network {
    dim: usize,
    norm: (f32, f32),
    freq: Vec<f64>,
    temb: [Linear; 2],
    inp: Linear,
    blocks: Vec<[Linear; 2]>,
    /// The maps of the time embedding (film of every block, film of the end, gain), one below the other.
    modulation: Linear,
    out: Linear,
}

#[derive(Default)]
struct Scratch {
    features: Vec<f32>,
    embedding: Vec<f32>,
    modulation: Vec<f32>,
    stream: Vec<f32>,
    normed: Vec<f32>,
    hidden: Vec<f32>,
    packed: Vec<f32>,
}

impl Mlp {
    /// Reads the weights; the sizes come from the shapes of the tensors. An error names the file and what is wrong with it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, BoxError> {
        let path = path.as_ref();
        let read = || -> Result<Network, BoxError> { Network::parse(&std::fs::read(path)?) };
        let net = read().map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Mlp { net, scratch: Vec::new() })
    }

    /// Numbers of a row: the pixels of an image.
    pub fn dim(&self) -> usize {
        self.net.dim
    }

    /// Mean and standard deviation of the training pixels: a pixel in \[0, 1\] is `mean + std * x0`.
    pub fn norm(&self) -> (f32, f32) {
        self.net.norm
    }

    /// The velocity `v = alpha eps^ - sigma D` of every row of `x` at its own time `t[i] > 0`.
    ///
    /// Rows are cut into blocks for the threads of the current rayon pool; a single row is shared among them.
    pub fn forward(
        &mut self,
        x: ArrayView2<'_, f32>,
        t: &[f64],
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), BoxError> {
        let (rows, dim) = (t.len(), self.net.dim);
        if x.dim() != (rows, dim) || out.dim() != (rows, dim) {
            let (x, out) = (x.dim(), out.dim());
            return Err(format!("{rows} times of rows with {dim} values, but x is {x:?} and the output {out:?}").into());
        }
        if let Some(bad) = t.iter().find(|t| !(t.is_finite() && **t > 0.0)) {
            return Err(format!("the network has no output at time {bad}: times are finite and above 0").into());
        }
        let (Some(x), Some(out)) = (x.as_slice(), out.as_slice_mut()) else {
            return Err("the rows of x and of the output must be contiguous".into());
        };
        let threads = rayon::current_num_threads();
        let block = block_rows(rows, threads);
        self.scratch.resize_with(self.scratch.len().max(rows.div_ceil(block)), Scratch::default);
        let (net, scratch) = (&self.net, &mut self.scratch);
        if rows == 1 && threads > 1 {
            // In one scope, so that the pool is entered once and not at every product.
            rayon::scope(|_| net.block(x, t, out, &mut scratch[0], true));
        } else if rows <= block {
            scratch.iter_mut().take(rows.min(1)).for_each(|s| net.block(x, t, out, s, false));
        } else {
            let rows = x.par_chunks(block * dim).zip(t.par_chunks(block)).zip(out.par_chunks_mut(block * dim));
            rows.zip(scratch).for_each(|(((x, t), out), s)| net.block(x, t, out, s, false));
        }
        Ok(())
    }
}

/// Rows of a block: every thread gets the same number of blocks, and a block is cut into tiles of 8 and 4 rows without a rest.
fn block_rows(rows: usize, threads: usize) -> usize {
    let each = rows.div_ceil(threads).max(1);
    match each.div_ceil(each.div_ceil(BLOCK)) {
        few @ ..4 => few,
        more => more.next_multiple_of(4),
    }
}

impl Network {
    /// Evaluates some rows, on this thread or (`shared`, one row only) on all.
    fn block(&self, x: &[f32], t: &[f64], out: &mut [f32], scratch: &mut Scratch, shared: bool) {
        let Scratch { features, embedding, modulation, stream, normed, hidden, packed } = scratch;
        let mut apply = |layer: &Linear, x: &[f32], out: &mut Vec<f32>| {
            out.resize(t.len() * layer.outputs(), 0.0);
            if shared { layer.apply_shared(x, out) } else { layer.apply(x, packed, out) }
        };
        self.features(t, features);
        apply(&self.temb[0], features, embedding);
        silu(embedding);
        apply(&self.temb[1], embedding, features);
        silu(features);
        apply(&self.modulation, features, modulation);

        apply(&self.inp, x, stream);
        for (i, [l1, l2]) in self.blocks.iter().enumerate() {
            self.modulated_norm(stream, modulation, i, normed);
            apply(l1, normed, hidden);
            silu(hidden);
            apply(l2, hidden, normed);
            add(stream, normed);
        }
        self.modulated_norm(stream, modulation, self.blocks.len(), normed);
        apply(&self.out, normed, hidden);
        let gains = modulation.chunks_exact(self.modulation.outputs());
        let rows = out.chunks_exact_mut(self.dim).zip(hidden.chunks_exact(self.dim)).zip(x.chunks_exact(self.dim));
        for (((out, y), x), gain) in rows.zip(gains) {
            let gain = &gain[self.modulation.outputs() - self.dim..];
            for (((out, y), x), gain) in out.iter_mut().zip(y).zip(x).zip(gain) {
                *out = y + gain * x;
            }
        }
    }

    /// Sines and cosines of multiples of `u = ln(sigma / alpha) = ln(e^t - 1) / 2`.
    fn features(&self, t: &[f64], out: &mut Vec<f32>) {
        let half = self.freq.len();
        out.resize(t.len() * 2 * half, 0.0);
        let mut last: Option<(f64, &[f32])> = None;
        for (&t, row) in t.iter().zip(out.chunks_exact_mut(2 * half)) {
            match last {
                // In sequential sampling all rows have one time.
                Some((before, values)) if before == t => row.copy_from_slice(values),
                _ => {
                    let u = (t + (-(-t).exp_m1()).ln()) / 2.0;
                    let (sin, cos) = row.split_at_mut(half);
                    for ((sin, cos), freq) in sin.iter_mut().zip(cos).zip(&self.freq) {
                        let (s, c) = (u * freq).sin_cos();
                        (*sin, *cos) = (s as f32, c as f32);
                    }
                }
            }
            last = Some((t, row));
        }
    }

    /// Layer norm of every row of `x`, then `(1 + g) y + b` with the row's `index`-th pair of (g, b).
    fn modulated_norm(&self, x: &[f32], modulation: &[f32], index: usize, out: &mut Vec<f32>) {
        out.resize(x.len(), 0.0);
        let width = self.inp.outputs();
        Arch::new().dispatch(|| {
            let rows = x.chunks_exact(width).zip(out.chunks_exact_mut(width));
            for ((x, out), pairs) in rows.zip(modulation.chunks_exact(self.modulation.outputs())) {
                let (g, b) = pairs[2 * index * width..][..2 * width].split_at(width);
                let mean = sum(x, |v| v) / width as f32;
                let variance = sum(x, |v| (v - mean) * (v - mean)) / width as f32;
                let scale = 1.0 / (variance + NORM_EPS).sqrt();
                for (((out, x), g), b) in out.iter_mut().zip(x).zip(g).zip(b) {
                    *out = (x - mean) * scale * (1.0 + g) + b;
                }
            }
        });
    }
}

/// Sum of `f` over `x` as 16 partial sums: it fills vector registers and has one order on every processor.
#[inline(always)]
fn sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = x.as_chunks::<16>();
    let mut sums = [0.0; 16];
    for chunk in chunks {
        for (sum, v) in sums.iter_mut().zip(chunk) {
            *sum += f(*v);
        }
    }
    for (sum, v) in sums.iter_mut().zip(rest) {
        *sum += f(*v);
    }
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            sums[i] += sums[i + half];
        }
    }
    sums[0]
}

/// `x += y`.
fn add(x: &mut [f32], y: &[f32]) {
    Arch::new().dispatch(|| x.iter_mut().zip(y).for_each(|(x, y)| *x += y));
}

/// `x / (1 + e^-x)`, in place.
fn silu(x: &mut [f32]) {
    Arch::new().dispatch(|| x.iter_mut().for_each(|x| *x /= 1.0 + exp(-*x)));
}

/// e^x with a relative error of about 1e-7; x is held within +-87, where the result is a normal number.
///
/// `e^x = 2^n e^r` with whole `n` and `|r| <= ln 2 / 2`, where the Taylor polynomial of degree 7 is good to 6e-9. Plain operations
/// in a fixed order, so that it vectorises and has the same bits everywhere.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// ln 2 in two parts; the first has few digits, so that `n` times it is exact.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    /// Adding 1.5 * 2^23 rounds to a whole number and leaves it in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN_2.0 - n * LN_2.1;
    let mut p = 1.0 / 5040.0;
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = p * r + c;
    }
    p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

impl Network {
    /// From the bytes of a safetensors file.
    fn parse(bytes: &[u8]) -> Result<Self, BoxError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        let predicts = metadata.metadata().as_ref().and_then(|m| m.get("predicts"));
        if predicts.is_some_and(|p| p != "v") {
            return Err(format!("the network predicts {predicts:?}, expected \"v\"").into());
        }
        let file = Weights(SafeTensors::deserialize(bytes)?);
        let (width, dim) = file.matrix_shape("inp.weight")?;
        let (embedding, features) = file.matrix_shape("temb.l1.weight")?;
        if features % 2 != 0 {
            return Err(format!("tensor temb.l1.weight takes {features} values, expected sines and cosines").into());
        }
        let freq = file.values("temb.freq", &[features / 2])?;
        let norm = file.values("norm", &[2])?;
        if !(norm[0].is_finite() && norm[1].is_finite() && norm[1] > 0.0) {
            return Err(format!("tensor norm is {norm:?}, expected a mean and a standard deviation above 0").into());
        }
        let (mut weight, mut bias) = (Vec::new(), Vec::new());
        let mut modulate = |name: &str, outputs: usize| -> Result<(), BoxError> {
            weight.extend(file.values(&format!("{name}.weight"), &[outputs, embedding])?);
            bias.extend(file.values(&format!("{name}.bias"), &[outputs])?);
            Ok(())
        };
        let mut blocks = Vec::new();
        while blocks.is_empty() || file.0.names().iter().any(|n| n.starts_with(&format!("blocks.{}.", blocks.len()))) {
            let name = format!("blocks.{}", blocks.len());
            let (hidden, _) = file.matrix_shape(&format!("{name}.l1.weight"))?;
            modulate(&format!("{name}.film"), 2 * width)?;
            blocks.push([
                file.linear(&format!("{name}.l1"), hidden, width)?,
                file.linear(&format!("{name}.l2"), width, hidden)?,
            ]);
        }
        modulate("film", 2 * width)?;
        modulate("gain", dim)?;
        Ok(Network {
            dim,
            norm: (norm[0], norm[1]),
            freq: freq.into_iter().map(f64::from).collect(),
            temb: [file.linear("temb.l1", embedding, features)?, file.linear("temb.l2", embedding, embedding)?],
            inp: file.linear("inp", width, dim)?,
            blocks,
            modulation: Linear::new(&weight, &bias, embedding),
            out: file.linear("out", dim, width)?,
        })
    }
}

/// The tensors of a file, checked as they are read.
struct Weights<'a>(SafeTensors<'a>);

impl Weights<'_> {
    /// Outputs and inputs of a weight matrix.
    fn matrix_shape(&self, name: &str) -> Result<(usize, usize), BoxError> {
        let tensor = self.0.tensor(name).map_err(|e| format!("tensor {name}: {e}"))?;
        match *tensor.shape() {
            [outputs, inputs] if outputs > 0 && inputs > 0 => Ok((outputs, inputs)),
            ref shape => Err(format!("tensor {name} has shape {shape:?}, expected a matrix").into()),
        }
    }

    /// The values of a tensor as f32.
    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, BoxError> {
        let tensor = self.0.tensor(name).map_err(|e| format!("tensor {name}: {e}"))?;
        if tensor.shape() != shape {
            return Err(format!("tensor {name} has shape {:?}, expected {shape:?}", tensor.shape()).into());
        }
        match tensor.dtype() {
            Dtype::F32 => Ok(tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
            Dtype::F16 => {
                Ok(tensor.data().as_chunks::<2>().0.iter().map(|b| half::f16::from_le_bytes(*b).to_f32()).collect())
            }
            other => Err(format!("tensor {name} holds {other:?}, expected F16 or F32").into()),
        }
    }

    fn linear(&self, name: &str, outputs: usize, inputs: usize) -> Result<Linear, BoxError> {
        let weight = self.values(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok(Linear::new(&weight, &self.values(&format!("{name}.bias"), &[outputs])?, inputs))
    }
}

impl ScoreFn<Cpu<f32>> for Mlp {
    fn prediction(&self) -> Prediction {
        Prediction::Velocity
    }

    fn eval(&mut self, x: ArrayView2<'_, f32>, rows: &Rows<'_>, out: ArrayViewMut2<'_, f32>) -> Result<(), BoxError> {
        self.forward(x, rows.t, out)
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        Some((1e-3, 8.0))
    }
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn exp_is_accurate() {
        let mut worst: f64 = 0.0;
        for i in -870_000..=870_000 {
            let x = i as f32 * 1e-4;
            let exact = f64::from(x).exp();
            worst = worst.max((f64::from(exp(x)) / exact - 1.0).abs());
        }
        assert!(worst < 1.5e-7, "relative error {worst:e}");
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-1000.0), exp(-87.0));
        assert_eq!(exp(f32::INFINITY), exp(87.0));
        assert!(exp(f32::NAN).is_nan());
    }
}
