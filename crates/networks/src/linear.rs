//! The matrix product of the networks: `y = x W^T + b`, for one row or for many.
//!
//! Every output is summed as `b + x_0 w_0 + x_1 w_1 + ...` in this order, with a rounded product and a rounded sum each
//! time, however many rows are computed together, by whichever thread and on whichever processor. So a row's result
//! does not depend on the other rows, not even in its last bit. General matrix products do not promise that: they
//! change the order of their sums with the number of rows.
//!
//! The weights lie in the panels of `panels.rs`. Many rows keep a tile of 8 rows x one panel in registers (6 where
//! there are only 16 of them), and come close to the processor's rate of products and sums. One or two rows wait for
//! the cache instead, and read weights in half precision where there are some: half the bytes, and widening them costs
//! less than the other half. From four rows on it costs more, so both forms are kept.

use crate::panels::{HalfPanels, Panel, Panels};
use pulp::{Arch, NullaryFnOnce, Simd, WithSimd, bytemuck};

/// Most rows that read weights in half precision.
const HALF_ROWS: usize = 2;

/// How one or two rows are multiplied; the bits are the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowPath {
    /// Weights in half precision where there are some, else as `Single`.
    Half,
    /// Weights in single precision, four panels at a time for a single row.
    Single,
    /// As the rows of a batch are, one panel at a time.
    Batch,
}

/// A linear map with bias.
pub struct Linear {
    inputs: usize,
    outputs: usize,
    panels: Panels,
    half: Option<HalfPanels>,
    row_path: RowPath,
}

impl Linear {
    /// From a row-major `weight` of `bias.len()` x `inputs` values, neither of them zero.
    pub fn new(weight: &[f32], bias: &[f32], inputs: usize) -> Self {
        let (panels, half) = (Panels::new(weight, bias, inputs), HalfPanels::new(weight, inputs));
        Linear { inputs, outputs: bias.len(), panels, half, row_path: RowPath::Half }
    }

    /// How many values a result row has.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Has one or two rows take this path. Returns whether there is such a path with these weights on this processor.
    pub fn set_row_path(&mut self, path: RowPath) -> bool {
        self.row_path = path;
        path != RowPath::Half || self.half.is_some()
    }

    /// Puts the results of the rows `x` into `out`. `packed` is scratch, its content does not matter.
    pub fn apply(&self, x: &[f32], packed: &mut Vec<f32>, out: &mut Vec<f32>) {
        let rows = x.len() / self.inputs;
        packed.resize(x.len(), 0.0);
        out.resize(rows * self.outputs, 0.0);
        let arch = Arch::new();
        arch.dispatch(Pack { x, inputs: self.inputs, packed });
        let product = Product { layer: self, x: packed, out };
        match &self.half {
            Some(half) if rows <= HALF_ROWS && self.row_path == RowPath::Half => {
                half.simd().vectorize(HalfProduct { half, product });
            }
            _ => arch.dispatch(product),
        }
    }
}

/// Calls `$each!(M, first_row)` for tiles of M rows: as many large ones as fit, then smaller ones.
macro_rules! for_tiles {
    ($S:ident, $rows:expr, $each:ident) => {{
        let rows = $rows;
        let mut row = 0;
        // Two registers per row, two for the weights and one for the input.
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

/// The product of packed rows with all panels.
struct Product<'a> {
    layer: &'a Linear,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let panels = &self.layer.panels;
        self.with(simd, |panel| panels.panel::<S>(panel));
    }
}

/// The same with weights in half precision.
struct HalfProduct<'a> {
    half: &'a HalfPanels,
    product: Product<'a>,
}

impl NullaryFnOnce for HalfProduct<'_> {
    type Output = ();
    #[inline(always)]
    fn call(self) {
        self.product.with(self.half.simd(), |panel| self.half.panel(panel));
    }
}

impl Product<'_> {
    #[inline(always)]
    fn with<S: Simd, W: Panel<S>>(self, simd: S, panel: impl Copy + Fn(usize) -> W) {
        let Product { layer, x, out } = self;
        let (k, width) = (layer.inputs, layer.panels.width());
        let mut first = 0;
        // Four panels at a time where the rows are too few to keep the adders busy with one.
        if x.len() == k && layer.row_path != RowPath::Batch {
            while (first + 4) * width <= layer.outputs {
                multiply::<S, W, 1, 4>(simd, layer, panel, first, x, out);
                first += 4;
            }
        }
        while first * width < layer.outputs {
            macro_rules! tile {
                ($M:literal, $row:expr) => {
                    multiply::<S, W, $M, 1>(simd, layer, panel, first, &x[$row * k..], &mut out[$row * layer.outputs..])
                };
            }
            for_tiles!(S, x.len() / k, tile);
            first += 1;
        }
    }
}

/// One tile: M rows x P panels from `first` on, the sums in registers.
#[inline(always)]
fn multiply<S: Simd, W: Panel<S>, const M: usize, const P: usize>(
    simd: S,
    layer: &Linear,
    panel: impl Fn(usize) -> W,
    first: usize,
    x: &[f32],
    out: &mut [f32],
) {
    let (k, width, outputs) = (layer.inputs, layer.panels.width(), layer.outputs);
    let panels: [W; P] = std::array::from_fn(|p| panel(first + p));
    let mut sums = [std::array::from_fn::<_, P, _>(|p| layer.panels.bias::<S>(first + p)); M];
    for (q, values) in x.as_chunks::<M>().0[..k].iter().enumerate() {
        // no closure: one that the compiler leaves out of line loses the vector instructions
        let mut weights = [[simd.splat_f32s(0.0); 2]; P];
        for p in 0..P {
            weights[p] = panels[p].weights(simd, q);
        }
        for i in 0..M {
            let value = simd.splat_f32s(values[i]);
            for p in 0..P {
                let [low, high] = weights[p];
                sums[i][p][0] = simd.add_f32s(sums[i][p][0], simd.mul_f32s(value, low));
                sums[i][p][1] = simd.add_f32s(sums[i][p][1], simd.mul_f32s(value, high));
            }
        }
    }
    for (i, row) in sums.into_iter().enumerate() {
        for (p, pair) in row.into_iter().enumerate() {
            let at = (first + p) * width;
            let count = width.min(outputs - at);
            let out = &mut out[i * outputs + at..][..count];
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
