//! The matrix product of the networks: `y = x W^T + b`, for one row or for many.
//!
//! Every output is summed as `b + x_0 w_0 + x_1 w_1 + ...` in this order, with a rounded product and a rounded sum each time,
//! however many rows are computed together, by whichever thread and on whichever processor. So a row's result does not depend on
//! the other rows, not even in its last bit. General matrix products do not promise that: they change the order of their sums
//! with the number of rows.
//!
//! The weights lie in panels: the outputs are cut into groups of two vector registers, and a group's weights are stored input
//! after input. One row reads its weights as one stream and is as fast as the cache delivers them; many rows keep a tile of 8 rows x
//! one panel in registers (6 where there are only 16 of them).

use pulp::{Arch, Simd, WithSimd, bytemuck};
use rayon::prelude::*;

/// Most threads that share one row; beyond a few, waking them costs more than they save.
const MAX_PIECES: usize = 4;
/// Bytes of a cache line: panels start on one.
const LINE: usize = 64;

/// A linear map with bias.
pub struct Linear {
    inputs: usize,
    outputs: usize,
    /// Outputs of a panel: two vector registers.
    width: usize,
    /// The panels, from `start` on, the last one filled up with zeros.
    weight: Vec<f32>,
    start: usize,
    /// Filled up with zeros to whole panels.
    bias: Vec<f32>,
}

impl Linear {
    /// From a row-major `weight` of `bias.len()` x `inputs` values, neither of them zero.
    pub fn new(weight: &[f32], bias: &[f32], inputs: usize) -> Self {
        let outputs = bias.len();
        let width = 2 * Arch::new().dispatch(Lanes);
        let padded = outputs.next_multiple_of(width);
        let mut stored = vec![0.0; padded * inputs + LINE / 4];
        let offset = stored.as_ptr().align_offset(LINE);
        // A pointer may refuse to be aligned; any start is right, this one is only faster.
        let start = if offset < LINE / 4 { offset } else { 0 };
        for (j, row) in weight.chunks_exact(inputs).enumerate() {
            let first = start + (j / width) * width * inputs + j % width;
            for (w, place) in row.iter().zip(stored[first..].iter_mut().step_by(width)) {
                *place = *w;
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(padded, 0.0);
        Linear { inputs, outputs, width, weight: stored, start, bias }
    }

    /// How many values a result row has.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Outputs of a panel.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The bias of a panel, and its weights: two registers for every input.
    #[inline(always)]
    pub fn panel<S: Simd>(&self, panel: usize) -> ([S::f32s; 2], &[[S::f32s; 2]]) {
        let (k, width) = (self.inputs, self.width);
        let weights = &self.weight[self.start + panel * width * k..][..width * k];
        let bias = S::as_simd_f32s(&self.bias[panel * width..]).0.as_chunks::<2>().0;
        (bias[0], &S::as_simd_f32s(weights).0.as_chunks::<2>().0[..k])
    }

    /// Puts the results of the rows `x` into `out`. `packed` is scratch, its content does not matter.
    pub fn apply(&self, x: &[f32], packed: &mut Vec<f32>, out: &mut Vec<f32>) {
        packed.resize(x.len(), 0.0);
        out.resize(x.len() / self.inputs * self.outputs, 0.0);
        let arch = Arch::new();
        arch.dispatch(Pack { x, inputs: self.inputs, packed });
        arch.dispatch(Product { layer: self, first: 0, x: packed, out, stride: self.outputs });
    }

    /// The result of the single row `x`, shared among the threads of the current pool.
    pub fn apply_shared(&self, x: &[f32], out: &mut Vec<f32>) {
        out.resize(self.outputs, 0.0);
        let pieces = rayon::current_num_threads().min(MAX_PIECES);
        let panels = self.bias.len() / self.width;
        let each = panels.div_ceil(pieces);
        out.par_chunks_mut(each * self.width).enumerate().for_each(|(piece, out)| {
            let stride = out.len();
            Arch::new().dispatch(Product { layer: self, first: piece * each, x, out, stride });
        });
    }
}

/// Values of a vector register of this processor.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> usize {
        S::F32_LANES
    }
}

/// Calls `$each!(M, first_row)` for tiles of M rows: as many large ones as fit, then smaller ones.
macro_rules! for_tiles {
    ($S:ident, $rows:expr, $each:ident) => {{
        let rows = $rows;
        let mut row = 0;
        // Two registers a row, two for the weights and one for the input.
        if $S::REGISTER_COUNT >= 32 {
            while row + 8 <= rows {
                $each!(8, row);
                row += 8;
            }
        } else {
            while row + 6 <= rows {
                $each!(6, row);
                row += 6;
            }
        }
        while row + 4 <= rows {
            $each!(4, row);
            row += 4;
        }
        while row + 2 <= rows {
            $each!(2, row);
            row += 2;
        }
        if row < rows {
            $each!(1, row);
        }
    }};
}

/// Copies rows to tiles: within a tile, the rows' values of one input lie side by side.
struct Pack<'a> {
    x: &'a [f32],
    inputs: usize,
    packed: &'a mut [f32],
}

impl WithSimd for Pack<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let k = self.inputs;
        macro_rules! tile {
            ($M:literal, $row:expr) => {{
                let rows: [&[f32]; $M] = std::array::from_fn(|i| &self.x[($row + i) * k..][..k]);
                let tile = &mut self.packed[$row * k..].as_chunks_mut::<$M>().0[..k];
                for (q, values) in tile.iter_mut().enumerate() {
                    for i in 0..$M {
                        values[i] = rows[i][q];
                    }
                }
            }};
        }
        for_tiles!(S, self.x.len() / k, tile);
    }
}

/// The product of packed rows with the panels from `first` on, as many as the rows of `out` are long.
struct Product<'a> {
    layer: &'a Linear,
    first: usize,
    x: &'a [f32],
    out: &'a mut [f32],
    stride: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Product { layer, first, x, out, stride } = self;
        let k = layer.inputs;
        let mut column = 0;
        // Four panels at a time where the rows are too few to keep the adders busy with one.
        if x.len() == k {
            while column + 4 * layer.width <= stride {
                multiply::<S, 1, 4>(simd, layer, first, column, x, out, stride);
                column += 4 * layer.width;
            }
        }
        while column < stride {
            macro_rules! tile {
                ($M:literal, $row:expr) => {
                    multiply::<S, $M, 1>(simd, layer, first, column, &x[$row * k..], &mut out[$row * stride..], stride)
                };
            }
            for_tiles!(S, x.len() / k, tile);
            column += layer.width;
        }
    }
}

/// One tile: M rows x P panels, the sums in registers.
#[inline(always)]
fn multiply<S: Simd, const M: usize, const P: usize>(
    simd: S,
    layer: &Linear,
    first: usize,
    column: usize,
    x: &[f32],
    out: &mut [f32],
    stride: usize,
) {
    let (k, width) = (layer.inputs, layer.width);
    let panels: [_; P] = std::array::from_fn(|p| layer.panel::<S>(first + column / width + p));
    let mut sums = [panels.map(|(bias, _)| bias); M];
    for (q, values) in x.as_chunks::<M>().0[..k].iter().enumerate() {
        for i in 0..M {
            let value = simd.splat_f32s(values[i]);
            for p in 0..P {
                let [low, high] = panels[p].1[q];
                sums[i][p][0] = simd.add_f32s(sums[i][p][0], simd.mul_f32s(value, low));
                sums[i][p][1] = simd.add_f32s(sums[i][p][1], simd.mul_f32s(value, high));
            }
        }
    }
    for (i, row) in sums.into_iter().enumerate() {
        for (p, pair) in row.into_iter().enumerate() {
            let at = column + p * width;
            let count = width.min(stride - at);
            let out = &mut out[i * stride + at..][..count];
            if count == width {
                let out = S::as_mut_simd_f32s(out).0;
                out[0] = pair[0];
                out[1] = pair[1];
            } else {
                out.copy_from_slice(&bytemuck::cast_slice(&pair)[..count]);
            }
        }
    }
}
