//! What the networks have in common: reading weights, checking calls, the embedding of the time, SiLU.

use crate::linear::Linear;
use ndarray::{ArrayView2, ArrayViewMut2};
use piadm::BoxError;
use pulp::Arch;
use safetensors::tensor::{Dtype, SafeTensors};

/// Rows and results of a call as slices, if they have the shape that `t` and `dim` ask for, and all times are possible.
pub fn checked<'a>(
    x: ArrayView2<'a, f32>,
    t: &[f64],
    out: ArrayViewMut2<'a, f32>,
    dim: usize,
) -> Result<(&'a [f32], &'a mut [f32]), BoxError> {
    let rows = t.len();
    if x.dim() != (rows, dim) || out.dim() != (rows, dim) {
        let (x, out) = (x.dim(), out.dim());
        return Err(format!("{rows} times of rows with {dim} values, but x is {x:?} and the output {out:?}").into());
    }
    if let Some(bad) = t.iter().find(|t| !(t.is_finite() && **t > 0.0)) {
        return Err(format!("the network has no output at time {bad}: times are finite and above 0").into());
    }
    match (x.to_slice(), out.into_slice()) {
        (Some(x), Some(out)) => Ok((x, out)),
        _ => Err("the rows of x and of the output must be contiguous".into()),
    }
}

/// Added to the variance in layer and group norms.
pub const NORM_EPS: f32 = 1e-5;

/// The vector that tells a network the time.
pub struct Embedding {
    freq: Vec<f64>,
    l1: Linear,
    l2: Linear,
}

impl Embedding {
    /// Reads the tensors `temb`.
    pub fn parse(file: &Weights<'_>) -> Result<Self, BoxError> {
        let [width, features] = file.shape("temb.l1.weight")?;
        if features % 2 != 0 {
            return Err(format!("tensor temb.l1.weight takes {features} values, expected sines and cosines").into());
        }
        let freq = file.values("temb.freq", &[features / 2])?;
        Ok(Embedding {
            freq: freq.into_iter().map(f64::from).collect(),
            l1: file.linear("temb.l1", width, features)?,
            l2: file.linear("temb.l2", width, width)?,
        })
    }

    /// Values of the vector.
    pub fn width(&self) -> usize {
        self.l2.outputs()
    }

    /// Most values that a row needs in `hidden`, `packed` or `out`.
    pub fn largest(&self) -> usize {
        self.width().max(2 * self.freq.len())
    }

    /// Puts a row for each time into `out`. The vector `label`, which may be empty, is added to every row before its
    /// last SiLU; the rest is scratch.
    pub fn apply(&self, t: &[f64], label: &[f32], hidden: &mut Vec<f32>, packed: &mut Vec<f32>, out: &mut Vec<f32>) {
        self.features(t, out);
        self.l1.apply(out, packed, hidden);
        silu_all(hidden);
        self.l2.apply(hidden, packed, out);
        for row in out.chunks_exact_mut(self.width()) {
            row.iter_mut().zip(label).for_each(|(x, label)| *x += label);
        }
        silu_all(out);
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
}

/// `x / (1 + e^-x)` of all values, in place.
pub fn silu_all(x: &mut [f32]) {
    Arch::new().dispatch(|| x.iter_mut().for_each(|x| *x = silu(*x)));
}

/// `x / (1 + e^-x)`.
#[inline(always)]
pub fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

/// e^x with a relative error of about 1e-7; x is held within +-87, where the result is a normal number.
///
/// `e^x = 2^n e^r` with whole `n` and `|r| <= ln 2 / 2`, where the Taylor polynomial of degree 7 is good to 6e-9. Plain
/// operations in a fixed order, so that it vectorises and has the same bits everywhere.
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

/// Linear maps of one vector, one below the other: a single product computes them all.
#[derive(Default)]
pub struct Stack {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Stack {
    /// Adds the map `name`; returns where its outputs begin.
    pub fn add(&mut self, file: &Weights<'_>, name: &str, outputs: usize, inputs: usize) -> Result<usize, BoxError> {
        let first = self.bias.len();
        self.weight.extend(file.values(&format!("{name}.weight"), &[outputs, inputs])?);
        self.bias.extend(file.values(&format!("{name}.bias"), &[outputs])?);
        Ok(first)
    }

    /// All maps in one.
    pub fn layer(self, inputs: usize) -> Linear {
        Linear::new(&self.weight, &self.bias, inputs)
    }
}

/// The tensors of a file, checked as they are read.
pub struct Weights<'a>(SafeTensors<'a>);

impl<'a> Weights<'a> {
    /// From the bytes of a safetensors file. If it says what it holds, that must be an `arch` network of the velocity.
    pub fn open(bytes: &'a [u8], arch: &str) -> Result<Self, BoxError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes)?;
        for (key, expected) in [("arch", arch), ("predicts", "v")] {
            let found = metadata.metadata().as_ref().and_then(|m| m.get(key));
            if let Some(other) = found.filter(|f| *f != expected) {
                return Err(format!("the file's {key} is {other:?}, expected {expected:?}").into());
            }
        }
        Ok(Weights(SafeTensors::deserialize(bytes)?))
    }

    /// Mean and standard deviation of the training pixels.
    pub fn norm(&self) -> Result<(f32, f32), BoxError> {
        match self.values("norm", &[2])?[..] {
            [mean, std] if mean.is_finite() && std.is_finite() && std > 0.0 => Ok((mean, std)),
            ref other => {
                Err(format!("tensor norm is {other:?}, expected a mean and a standard deviation above 0").into())
            }
        }
    }

    /// How many blocks `name.0`, `name.1`, ... there are.
    pub fn blocks(&self, name: &str) -> usize {
        let present = |i: &usize| self.0.names().iter().any(|n| n.starts_with(&format!("{name}.{i}.")));
        (0..).take_while(present).count()
    }

    /// The shape of a tensor with N dimensions.
    pub fn shape<const N: usize>(&self, name: &str) -> Result<[usize; N], BoxError> {
        let tensor = self.0.tensor(name).map_err(|e| format!("tensor {name}: {e}"))?;
        match <[usize; N]>::try_from(tensor.shape()) {
            Ok(shape) if !shape.contains(&0) => Ok(shape),
            _ => Err(format!("tensor {name} has shape {:?}, expected {N} sizes above 0", tensor.shape()).into()),
        }
    }

    /// The values of a tensor as f32.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, BoxError> {
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

    pub fn linear(&self, name: &str, outputs: usize, inputs: usize) -> Result<Linear, BoxError> {
        let weight = self.values(&format!("{name}.weight"), &[outputs, inputs])?;
        Ok(Linear::new(&weight, &self.values(&format!("{name}.bias"), &[outputs])?, inputs))
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
