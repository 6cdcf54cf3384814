//! Convolutions of 3 x 3 pixels that keep the size of an image.
//!
//! An image lies as blocks of 32 channels, and within a block pixel after pixel, row after row: the channels of a pixel
//! are the vectors of the product, and neighbouring pixels are a fixed distance apart. The input has a border of one
//! pixel of zeros, so there is no case at the edge. The weights lie in the panels of `panels.rs`, and as in `linear.rs`
//! every output is summed as `bias + product + product + ...` in one order (blocks, rows of the window, columns,
//! channels), whichever tile it is in and whichever thread computes it.

use crate::layers::{NORM_EPS, Weights, silu};
use crate::panels::Panels;
use piadm::BoxError;
use pulp::{Arch, Simd, WithSimd};
use std::array::from_fn;

/// Channels of a block.
pub const BLOCK: usize = 32;
/// The channels of a block at one pixel.
pub type Pixel = [f32; BLOCK];

/// A convolution with bias.
pub struct Conv {
    panels: Panels,
}

/// What happens to the values that are in the output before.
#[derive(Clone, Copy, PartialEq)]
pub enum Before {
    Replaced,
    Added,
}

impl Conv {
    /// Reads the convolution `name` of `channels` channels, whole blocks, to as many.
    pub fn parse(file: &Weights<'_>, name: &str, channels: usize) -> Result<Self, BoxError> {
        let values = file.values(&format!("{name}.weight"), &[channels, channels, 3, 3])?;
        let bias = file.values(&format!("{name}.bias"), &[channels])?;
        let mut weight = Vec::with_capacity(values.len());
        for row in values.chunks_exact(channels * 9) {
            for block in row.chunks_exact(BLOCK * 9) {
                weight.extend((0..9).flat_map(|tap| block.iter().skip(tap).step_by(9)));
            }
        }
        Ok(Conv { panels: Panels::new(&weight, &bias, channels * 9) })
    }

    /// Convolves an image of `side` x `side` pixels: `x` with its border, `out` without.
    pub fn apply(&self, x: &[Pixel], side: usize, out: &mut [Pixel], before: Before) {
        Arch::new().dispatch(Convolve { conv: self, x, side, out, before });
    }
}

/// A convolution, for the instruction set at hand; the rows of the result are counted through all blocks.
struct Convolve<'a> {
    conv: &'a Conv,
    x: &'a [Pixel],
    side: usize,
    out: &'a mut [Pixel],
    before: Before,
}

impl WithSimd for Convolve<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // Two registers per pixel, two for the weights and one or two for an input and its product.
        let most: usize = if S::REGISTER_COUNT >= 32 { 7 } else { 5 };
        let tiles = self.side.div_ceil(most);
        let width = self.conv.panels.width();
        for (row, out) in (0..).zip(self.out.chunks_exact_mut(self.side)) {
            let (block, y) = (row / self.side, row % self.side);
            for panel in 0..BLOCK / width {
                for tile in 0..tiles {
                    let (from, to) = (self.side * tile / tiles, self.side * (tile + 1) / tiles);
                    let at = y * (self.side + 2) + from;
                    let out = &mut out[from..to];
                    let panel = (block * BLOCK / width + panel, panel * width);
                    macro_rules! tile {
                        ($($M:literal)*) => {
                            match to - from {
                                $($M => convolve::<S, $M>(simd, self.conv, self.x, self.side, at, panel, out, self.before),)*
                                _ => {}
                            }
                        };
                    }
                    tile!(1 2 3 4 5 6 7);
                }
            }
        }
    }
}

/// One tile: M pixels of a row x one panel, the sums in registers.
///
/// `at` is the first pixel of the window of the first one, `panel` the panel's number and its first channel in the
/// block.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn convolve<S: Simd, const M: usize>(
    simd: S,
    conv: &Conv,
    x: &[Pixel],
    side: usize,
    at: usize,
    (panel, channel): (usize, usize),
    out: &mut [Pixel],
    before: Before,
) {
    let stride = side + 2;
    let mut weights = conv.panels.panel::<S>(panel).as_chunks::<BLOCK>().0.iter();
    let mut sums = [conv.panels.bias::<S>(panel); M];
    for block in x.chunks_exact(stride * stride) {
        for dy in 0..3 {
            for dx in 0..3 {
                let first = at + dy * stride + dx;
                let (Some(pixels), Some(weights)) = (block[first..].first_chunk::<M>(), weights.next()) else { return };
                for (q, [low, high]) in weights.iter().enumerate() {
                    for i in 0..M {
                        let value = simd.splat_f32s(pixels[i][q]);
                        sums[i][0] = simd.add_f32s(sums[i][0], simd.mul_f32s(value, *low));
                        sums[i][1] = simd.add_f32s(sums[i][1], simd.mul_f32s(value, *high));
                    }
                }
            }
        }
    }
    for (out, [low, high]) in out.iter_mut().zip(sums) {
        let out = S::as_mut_simd_f32s(&mut out[channel..]).0;
        match before {
            Before::Replaced => (out[0], out[1]) = (low, high),
            Before::Added => (out[0], out[1]) = (simd.add_f32s(out[0], low), simd.add_f32s(out[1], high)),
        }
    }
}

/// Groups of channels that a group norm treats alike.
pub const GROUPS: usize = 8;

/// Group norm with a weight and a bias for each channel. A group must not reach over two blocks.
pub struct GroupNorm {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl GroupNorm {
    /// Reads the norm `name` of so many channels, whole blocks.
    pub fn parse(file: &Weights<'_>, name: &str, channels: usize) -> Result<Self, BoxError> {
        let values = |part: &str| file.values(&format!("{name}.{part}"), &[channels]);
        Ok(GroupNorm { weight: values("weight")?, bias: values("bias")? })
    }

    /// `SiLU(norm(x) (1 + g) + b)`, where `film` begins with g and b of all channels, or `SiLU(norm(x))`.
    ///
    /// The image `x` has `side` x `side` pixels and no border; `out` has one, which stays as it is.
    pub fn apply(&self, x: &[Pixel], side: usize, film: Option<&[f32]>, out: &mut [Pixel]) {
        let stride = side + 2;
        let size = self.weight.len() / GROUPS;
        let blocks = x.chunks_exact(side * side).zip(out.chunks_exact_mut(stride * stride));
        for (i, (x, out)) in blocks.enumerate() {
            let mut scale: Pixel = from_fn(|c| self.weight[i * BLOCK + c]);
            let mut shift: Pixel = from_fn(|c| self.bias[i * BLOCK + c]);
            if let Some(film) = film {
                let (g, b) = film.split_at(self.weight.len());
                for c in 0..BLOCK {
                    let factor = 1.0 + g[i * BLOCK + c];
                    scale[c] *= factor;
                    shift[c] = shift[c] * factor + b[i * BLOCK + c];
                }
            }
            Arch::new().dispatch(Normalise { x, side, size, scale, shift, out });
        }
    }
}

/// The group norm of a block, whose groups have `size` channels. A type of its own, as large closures are not always
/// compiled for the processor.
struct Normalise<'a> {
    x: &'a [Pixel],
    side: usize,
    size: usize,
    scale: Pixel,
    shift: Pixel,
    out: &'a mut [Pixel],
}

impl WithSimd for Normalise<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Normalise { x, side, size, mut scale, shift, out } = self;
        let mean = group_means(x, size, |_, value| value);
        let variance = group_means(x, size, |c, value| (value - mean[c]) * (value - mean[c]));
        for c in 0..BLOCK {
            scale[c] /= (variance[c] + NORM_EPS).sqrt();
        }
        for (x, out) in x.chunks_exact(side).zip(out.chunks_exact_mut(side + 2).skip(1)) {
            for (x, out) in x.iter().zip(&mut out[1..]) {
                for c in 0..BLOCK {
                    out[c] = silu((x[c] - mean[c]) * scale[c] + shift[c]);
                }
            }
        }
    }
}

/// The mean of `f(channel, value)` over the pixels and channels of each group of `size` channels, at each of them.
#[inline(always)]
fn group_means(x: &[Pixel], size: usize, f: impl Fn(usize, f32) -> f32) -> Pixel {
    let mut sums = [0.0; BLOCK];
    for pixel in x {
        for c in 0..BLOCK {
            sums[c] += f(c, pixel[c]);
        }
    }
    let count = (x.len() * size) as f32;
    for group in sums.chunks_exact_mut(size) {
        let mean = group.iter().sum::<f32>() / count;
        group.fill(mean);
    }
    sums
}
