//! The MLP with its derivative along a direction.

use super::{Network, sum};
use crate::layers::{NORM_EPS, Weights, checked, silu};
use crate::linear::Linear;
use ndarray::{Array2, ArrayView2};
use piadm::BoxError;
use std::path::Path;

/// The network `mlp` in forward mode: its output and the exact product of its Jacobian with a vector.
///
/// Every layer passes on a value and a tangent: x' = W x + b takes v to W v, SiLU takes v to SiLU'(x) v, and a layer
/// norm y = (x - mean x) s with s = (var x + eps)^{-1/2} takes v to s (v - mean v - y mean(y v)). The time is held.
pub struct MlpTangent {
    net: Network<Tangent>,
}

/// A linear map whose bias is added to values only.
struct Tangent {
    map: Linear,
    bias: Vec<f32>,
}

impl Tangent {
    fn read(file: &Weights<'_>, name: &str, outputs: usize, inputs: usize) -> Result<Self, BoxError> {
        let weight = file.values(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = file.values(&format!("{name}.bias"), &[outputs])?;
        Ok(Tangent { map: Linear::new(&weight, &vec![0.0; outputs], inputs), bias })
    }

    /// Takes the rows of values and, below them, as many rows of tangents.
    fn apply(&self, both: &[f32]) -> Vec<f32> {
        let (mut packed, mut out) = (Vec::new(), Vec::new());
        self.map.apply(both, &mut packed, &mut out);
        let values = out.len() / 2;
        for row in out[..values].chunks_exact_mut(self.bias.len()) {
            row.iter_mut().zip(&self.bias).for_each(|(y, b)| *y += b);
        }
        out
    }
}

impl MlpTangent {
    /// Reads the weights from this file, or without it from the project's own.
    pub fn load(weights: Option<&Path>) -> Result<Self, BoxError> {
        let own = crate::file("mlp");
        Ok(MlpTangent { net: Network::load(weights.unwrap_or(&own), Tangent::read)? })
    }

    /// Numbers of a row.
    pub fn dim(&self) -> usize {
        self.net.dim
    }

    /// The velocity f of every row of `x` at its own time, and the product J v of its Jacobian with the same row of
    /// `v`.
    pub fn product(
        &self,
        x: ArrayView2<'_, f32>,
        t: &[f64],
        v: ArrayView2<'_, f32>,
    ) -> Result<(Array2<f32>, Array2<f32>), BoxError> {
        let net = &self.net;
        let (mut f, mut jv) = (Array2::zeros((t.len(), net.dim)), Array2::zeros((t.len(), net.dim)));
        let (x, f_out) = checked(x, t, f.view_mut(), net.dim)?;
        let (v, jv_out) = checked(v, t, jv.view_mut(), net.dim)?;

        let (mut embedding, mut modulation) = (Vec::new(), Vec::new());
        net.embedding.apply(t, &[], &mut Vec::new(), &mut Vec::new(), &mut embedding);
        net.modulation.apply(&embedding, &mut Vec::new(), &mut modulation);

        let mut stream = net.inp.apply(&[x, v].concat());
        for (i, [l1, l2]) in net.blocks.iter().enumerate() {
            let mut hidden = l1.apply(&net.tangent_norm(&stream, &modulation, i));
            silu_both(&mut hidden);
            stream.iter_mut().zip(l2.apply(&hidden)).for_each(|(x, y)| *x += y);
        }
        let both = net.out.apply(&net.tangent_norm(&stream, &modulation, net.blocks.len()));
        let (values, tangents) = both.split_at(f_out.len());
        for (out, y, x) in [(f_out, values, x), (jv_out, tangents, v)] {
            let gains = modulation.chunks_exact(net.modulation.outputs());
            let rows = out.chunks_exact_mut(net.dim).zip(y.chunks_exact(net.dim)).zip(x.chunks_exact(net.dim));
            for (((out, y), x), gain) in rows.zip(gains) {
                let gain = &gain[net.modulation.outputs() - net.dim..];
                for (((out, y), x), gain) in out.iter_mut().zip(y).zip(x).zip(gain) {
                    *out = y + gain * x;
                }
            }
        }
        Ok((f, jv))
    }
}

impl Network<Tangent> {
    /// Layer norm and modulation of the values, and what they make of the tangents.
    fn tangent_norm(&self, both: &[f32], modulation: &[f32], index: usize) -> Vec<f32> {
        let width = self.inp.bias.len();
        let mut out = vec![0.0; both.len()];
        let (x, v) = both.split_at(both.len() / 2);
        let (x_out, v_out) = out.split_at_mut(both.len() / 2);
        let rows = x.chunks_exact(width).zip(v.chunks_exact(width));
        let outs = x_out.chunks_exact_mut(width).zip(v_out.chunks_exact_mut(width));
        for (((x, v), (x_out, v_out)), pairs) in rows.zip(outs).zip(modulation.chunks_exact(self.modulation.outputs()))
        {
            let (g, b) = pairs[2 * index * width..][..2 * width].split_at(width);
            let mean = sum(x, |x| x) / width as f32;
            let variance = sum(x, |x| (x - mean) * (x - mean)) / width as f32;
            let scale = 1.0 / (variance + NORM_EPS).sqrt();
            x_out.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) * scale);
            v_out.iter_mut().zip(x_out.iter()).zip(v).for_each(|((yv, y), v)| *yv = y * v);
            let (mean_v, mean_yv) = (sum(v, |v| v) / width as f32, sum(v_out, |yv| yv) / width as f32);
            for ((((y, out), v), g), b) in x_out.iter_mut().zip(v_out).zip(v).zip(g).zip(b) {
                *out = (v - mean_v - *y * mean_yv) * scale * (1.0 + g);
                *y = *y * (1.0 + g) + b;
            }
        }
        out
    }
}

/// SiLU of the values; its derivative 1 / (1 + e^-x) + SiLU(x) / (1 + e^x) times the tangents.
fn silu_both(both: &mut [f32]) {
    let (x, v) = both.split_at_mut(both.len() / 2);
    for (x, v) in x.iter_mut().zip(v) {
        let y = silu(*x);
        let rising = 1.0 / (1.0 + (-*x).exp());
        *v *= rising + y * (1.0 - rising);
        *x = y;
    }
}
