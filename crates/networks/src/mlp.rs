//! The first trained network of the examples, `mlp`: a residual MLP for the Ornstein-Uhlenbeck process, in plain Rust.
//!
//! `data/README.md` gives architecture and file format. The result of a row does not depend on the other rows of the
//! call, nor on the number of threads, bit for bit (`linear.rs` says why; the rest treats each row on its own). So
//! parallel sampling at tolerance zero reproduces sequential sampling exactly, with a real network.

mod tangent;

use crate::layers::{Embedding, NORM_EPS, Stack, Weights, checked, silu_all};
use crate::linear::{Linear, RowPath};
use crate::standby::Standby;
use ndarray::{ArrayView2, ArrayViewMut2};
use piadm::{BoxError, Cpu, Model, Prediction, Rows, ScoreFn};
use pulp::Arch;
use rayon::prelude::*;
use std::path::Path;
use std::sync::Arc;
pub use tangent::MlpTangent;

/// Rows that a thread takes at a time: enough to use each weight often, few enough that all its arrays stay in the
/// cache.
const BLOCK: usize = 32;

/// The network and its scratch memory. Once they have seen the largest batch, calls allocate nothing but what it takes
/// to keep the pool awake.
pub struct Mlp {
    net: Arc<Network>,
    /// One for each block of rows.
    scratch: Vec<Scratch>,
    standby: Standby,
}

/// The layers, of which those that see the input may be of another kind than the rest.
struct Network<L = Linear> {
    dim: usize,
    norm: (f32, f32),
    embedding: Embedding,
    inp: L,
    blocks: Vec<[L; 2]>,
    /// The maps of the time embedding (film of every block, film of the end, gain), one below the other.
    modulation: Linear,
    out: L,
}

#[derive(Default)]
struct Scratch {
    embedding: Vec<f32>,
    modulation: Vec<f32>,
    stream: Vec<f32>,
    normed: Vec<f32>,
    hidden: Vec<f32>,
    packed: Vec<f32>,
}

impl Mlp {
    /// Reads the weights; the sizes come from the shapes of the tensors. An error names the file and what is wrong with
    /// it.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, BoxError> {
        let net = Network::load(path.as_ref(), |file, name, outputs, inputs| file.linear(name, outputs, inputs))?;
        Ok(Mlp { net: Arc::new(net), scratch: Vec::new(), standby: Standby::default() })
    }

    /// The same weights with scratch memory of its own.
    pub fn sharing_weights(&self) -> Self {
        Mlp { net: self.net.clone(), scratch: Vec::new(), standby: Standby::default() }
    }

    /// Numbers of a row: the pixels of an image.
    pub fn dim(&self) -> usize {
        self.net.dim
    }

    /// Mean and standard deviation of the training pixels: a pixel in \[0, 1\] is `mean + std * x0`.
    pub fn norm(&self) -> (f32, f32) {
        self.net.norm
    }

    /// Has the products of one or two rows take this path. Returns whether it is there for any of them; not where the
    /// weights are shared.
    pub fn set_row_path(&mut self, path: RowPath) -> bool {
        let Some(Network { inp, blocks, modulation, out, .. }) = Arc::get_mut(&mut self.net) else { return false };
        let layers = blocks.as_flattened_mut().iter_mut().chain([inp, modulation, out]);
        layers.map(|layer| layer.set_row_path(path)).max() == Some(true)
    }

    /// The velocity `v = alpha eps^ - sigma D` of every row of `x` at its own time `t[i] > 0`.
    ///
    /// Rows are cut into blocks for the threads of the current rayon pool. A single row is evaluated by the calling
    /// thread: its products are so short that sharing them with another thread took longer more often than not.
    pub fn forward(&mut self, x: ArrayView2<'_, f32>, t: &[f64], out: ArrayViewMut2<'_, f32>) -> Result<(), BoxError> {
        self.standby.end();
        let (rows, dim) = (t.len(), self.net.dim);
        let (x, out) = checked(x, t, out, dim)?;
        let threads = rayon::current_num_threads();
        let block = block_rows(rows, threads);
        self.scratch.resize_with(self.scratch.len().max(rows.div_ceil(block)), Scratch::default);
        let (net, scratch) = (&self.net, &mut self.scratch);
        if rows <= block {
            scratch.iter_mut().take(rows.min(1)).for_each(|s| net.block(x, t, out, s));
        } else {
            let rows = x.par_chunks(block * dim).zip(t.par_chunks(block)).zip(out.par_chunks_mut(block * dim));
            rows.zip(scratch).for_each(|(((x, t), out), s)| net.block(x, t, out, s));
            self.standby.begin();
        }
        Ok(())
    }
}

/// Rows of a block: every thread gets the same number of blocks, and a block is cut into tiles of 8 and 4 rows without
/// a rest. At least two rows, which cost little more than one because they read the weights together.
fn block_rows(rows: usize, threads: usize) -> usize {
    let each = rows.div_ceil(threads).max(1);
    match each.div_ceil(each.div_ceil(BLOCK)) {
        few @ ..4 => few.max(2),
        more => more.next_multiple_of(4),
    }
}

impl Network {
    /// Evaluates some rows.
    fn block(&self, x: &[f32], t: &[f64], out: &mut [f32], scratch: &mut Scratch) {
        let Scratch { embedding, modulation, stream, normed, hidden, packed } = scratch;
        self.embedding.apply(t, &[], hidden, packed, embedding);
        self.modulation.apply(embedding, packed, modulation);

        self.inp.apply(x, packed, stream);
        for (i, [l1, l2]) in self.blocks.iter().enumerate() {
            self.modulated_norm(stream, modulation, i, normed);
            l1.apply(normed, packed, hidden);
            silu_all(hidden);
            l2.apply(hidden, packed, normed);
            add(stream, normed);
        }
        self.modulated_norm(stream, modulation, self.blocks.len(), normed);
        self.out.apply(normed, packed, hidden);
        let gains = modulation.chunks_exact(self.modulation.outputs());
        let rows = out.chunks_exact_mut(self.dim).zip(hidden.chunks_exact(self.dim)).zip(x.chunks_exact(self.dim));
        for (((out, y), x), gain) in rows.zip(gains) {
            let gain = &gain[self.modulation.outputs() - self.dim..];
            for (((out, y), x), gain) in out.iter_mut().zip(y).zip(x).zip(gain) {
                *out = y + gain * x;
            }
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

impl<L> Network<L> {
    /// From a file; an error names it.
    fn load(path: &Path, linear: Reader<L>) -> Result<Self, BoxError> {
        let read = || -> Result<Self, BoxError> { Network::parse(&std::fs::read(path)?, linear) };
        read().map_err(|e| format!("{}: {e}", path.display()).into())
    }

    /// From the bytes of a safetensors file.
    fn parse(bytes: &[u8], linear: Reader<L>) -> Result<Self, BoxError> {
        let file = Weights::open(bytes, "mlp")?;
        let [width, dim] = file.shape("inp.weight")?;
        let embedding = Embedding::parse(&file)?;
        let mut modulation = Stack::default();
        let mut blocks = Vec::new();
        for i in 0..file.blocks("blocks").max(1) {
            let name = format!("blocks.{i}");
            let [hidden, _] = file.shape(&format!("{name}.l1.weight"))?;
            modulation.add(&file, &format!("{name}.film"), 2 * width, embedding.width())?;
            blocks.push([
                linear(&file, &format!("{name}.l1"), hidden, width)?,
                linear(&file, &format!("{name}.l2"), width, hidden)?,
            ]);
        }
        modulation.add(&file, "film", 2 * width, embedding.width())?;
        modulation.add(&file, "gain", dim, embedding.width())?;
        Ok(Network {
            dim,
            norm: file.norm()?,
            inp: linear(&file, "inp", width, dim)?,
            blocks,
            modulation: modulation.layer(embedding.width()),
            out: linear(&file, "out", dim, width)?,
            embedding,
        })
    }
}

/// Reads the linear map of this name with so many outputs and inputs.
type Reader<L> = fn(&Weights<'_>, &str, usize, usize) -> Result<L, BoxError>;

impl Model for Mlp {
    fn prediction(&self) -> Prediction {
        Prediction::Velocity
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        Some((1e-3, 8.0))
    }
}

impl ScoreFn<Cpu<f32>> for Mlp {
    fn eval(&mut self, x: ArrayView2<'_, f32>, rows: &Rows<'_>, out: ArrayViewMut2<'_, f32>) -> Result<(), BoxError> {
        self.forward(x, rows.t, out)
    }
}
