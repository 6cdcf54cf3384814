//! The second trained network of the examples, `unet`: a small convolutional U-Net for the Ornstein-Uhlenbeck process,
//! in plain Rust. `unet-labels` is the same with a table of labels.
//!
//! `data/README.md` gives architecture and file format. Every image is computed on its own, by one thread, and all sums
//! have one order: the result of a row does not depend on the other rows of the call, nor on the number of threads, bit
//! for bit.

use crate::convolution::{BLOCK, Before, Conv, GROUPS, GroupNorm, Pixel};
use crate::labels::{Labels, Table};
use crate::layers::{Embedding, Stack, Weights, checked};
use crate::linear::Linear;
use ndarray::{ArrayView2, ArrayViewMut2};
use piadm::{BoxError, Cpu, Model, Prediction, Rows, ScoreFn};
use rayon::prelude::*;
use std::array::from_fn;
use std::path::Path;
use std::sync::Arc;

/// Pixels of a side of the image, of the fine and of the coarse level of the network.
const SIDE: usize = 28;
const FINE: usize = SIDE / 2;
const COARSE: usize = SIDE / 4;
/// Blocks of rows for each thread: enough that no thread waits long for another, and each brings its own scratch
/// memory.
const SHARE: usize = 8;

/// The network and its scratch memory. Calls allocate nothing once they have seen the largest batch.
pub struct Unet {
    net: Arc<Net>,
    /// One for each block of rows.
    scratch: Vec<Scratch>,
}

struct Net {
    norm: (f32, f32),
    embedding: Embedding,
    labels: Table,
    /// The films of all residual blocks, one below the other.
    films: Linear,
    /// Channels of the fine and of the coarse level.
    channels: [usize; 2],
    /// From the window of 6 x 6 pixels that a pixel of the fine level sees.
    inp: Linear,
    /// From 2 x 2 pixels of the fine level.
    down: Linear,
    /// To 2 x 2 pixels of the fine level.
    up: Linear,
    before: Vec<Residual>,
    coarse: Vec<Residual>,
    after: Vec<Residual>,
    nout: GroupNorm,
    /// What a pixel of the fine level adds to the 2 x 2 pixels of the image at each of its 3 x 3 neighbours.
    out: Linear,
}

struct Residual {
    n1: GroupNorm,
    c1: Conv,
    n2: GroupNorm,
    c2: Conv,
    /// Where its film begins in `films`.
    film: usize,
}

struct Scratch {
    embedding: Vec<f32>,
    films: Vec<f32>,
    fine: Level,
    coarse: Level,
    rows: Vec<f32>,
    packed: Vec<f32>,
    products: Vec<f32>,
}

/// The images of a level; `convolution.rs` says how they lie.
struct Level {
    side: usize,
    stream: Vec<Pixel>,
    inner: Vec<Pixel>,
    /// With a border of zeros that nothing writes to.
    normed: Vec<Pixel>,
}

impl Unet {
    /// Reads the weights of `unet` or `unet-labels`; channels and numbers of blocks come from the tensors. An error
    /// names the file and what is wrong with it.
    pub fn load(name: &str, path: impl AsRef<Path>) -> Result<Self, BoxError> {
        let path = path.as_ref();
        let read = || -> Result<Net, BoxError> { Net::parse(&std::fs::read(path)?, name) };
        let net = read().map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Unet { net: Arc::new(net), scratch: Vec::new() })
    }

    /// The same weights and labels with scratch memory of its own.
    pub fn sharing_weights(&self) -> Self {
        Unet { net: self.net.clone(), scratch: Vec::new() }
    }

    /// Numbers of a row: the pixels of an image.
    pub fn dim(&self) -> usize {
        SIDE * SIDE
    }

    /// Mean and standard deviation of the training pixels: a pixel in \[0, 1\] is `mean + std * x0`.
    pub fn norm(&self) -> (f32, f32) {
        self.net.norm
    }

    /// Gives the samples these labels. Without, or before, none has a class.
    pub fn set_labels(&mut self, labels: Labels) -> Result<(), BoxError> {
        let net = Arc::get_mut(&mut self.net).ok_or("labels are set before weights are shared")?;
        net.labels.set(labels)
    }

    /// The velocity `v = alpha eps^ - sigma D` of every row of `x` at its own time `t > 0`.
    ///
    /// The threads of the current rayon pool take whole images. A single one is evaluated by the calling thread: to
    /// wake others for each of its convolutions took longer than it saved.
    fn forward(
        &mut self,
        x: ArrayView2<'_, f32>,
        rows: &Rows<'_>,
        out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), BoxError> {
        let (t, dim) = (rows.t, self.dim());
        let (x, out) = checked(x, t, out, dim)?;
        let threads = rayon::current_num_threads();
        let block = t.len().div_ceil(SHARE * threads).max(1);
        let (net, scratch) = (&self.net, &mut self.scratch);
        // As many as any smaller batch is cut into, which may be more than this one is.
        scratch.resize_with(scratch.len().max(t.len().min(SHARE * threads)), || Scratch::new(net));
        let images = |first: usize, x: &[f32], out: &mut [f32], s: &mut Scratch| {
            for ((row, x), out) in (first..).zip(x.chunks_exact(dim)).zip(out.chunks_exact_mut(dim)) {
                net.image(x, t[row], net.labels.vector(rows, row), out, s);
            }
        };
        if threads == 1 || t.len() == 1 {
            scratch.iter_mut().take(1).for_each(|s| images(0, x, out, s));
        } else {
            let blocks = x.par_chunks(block * dim).zip(out.par_chunks_mut(block * dim)).zip(scratch).enumerate();
            blocks.for_each(|(i, ((x, out), s))| images(i * block, x, out, s));
        }
        Ok(())
    }
}

impl Net {
    /// Evaluates an image at time `t`, with the vector of its label.
    fn image(&self, x: &[f32], t: f64, label: &[f32], out: &mut [f32], scratch: &mut Scratch) {
        let Scratch { embedding, films, fine, coarse, rows, packed, products } = scratch;
        self.embedding.apply(&[t], label, rows, packed, embedding);
        self.films.apply(embedding, packed, films);

        windows(x, rows);
        self.inp.apply(rows, packed, products);
        from_rows(products, FINE, &mut fine.stream);
        for residual in &self.before {
            fine.add(residual, films);
        }
        quarters(&fine.stream, rows);
        self.down.apply(rows, packed, products);
        from_rows(products, COARSE, &mut coarse.stream);
        for residual in &self.coarse {
            coarse.add(residual, films);
        }
        to_rows(&coarse.stream, COARSE, 0, rows);
        self.up.apply(rows, packed, products);
        add_quarters(products, &mut fine.stream);
        for residual in &self.after {
            fine.add(residual, films);
        }
        self.nout.apply(&fine.stream, FINE, None, &mut fine.normed);
        to_rows(&fine.normed, FINE, 1, rows);
        self.out.apply(rows, packed, products);
        write_image(products, out);
    }
}

impl Scratch {
    /// Large enough for every image.
    fn new(net: &Net) -> Self {
        let [fine, coarse] = net.channels;
        let embedding = net.embedding.largest();
        // 36 values are a pixel's window in `windows` and what it adds in `write_image`.
        let most = (FINE * FINE * fine.max(36)).max(COARSE * COARSE * coarse).max(embedding);
        Scratch {
            embedding: Vec::with_capacity(embedding),
            films: Vec::with_capacity(net.films.outputs()),
            fine: Level::new(FINE, fine),
            coarse: Level::new(COARSE, coarse),
            rows: Vec::with_capacity(most),
            packed: Vec::with_capacity(most),
            products: Vec::with_capacity(most),
        }
    }
}

impl Level {
    fn new(side: usize, channels: usize) -> Self {
        let image = |side: usize| vec![[0.0; BLOCK]; channels / BLOCK * side * side];
        Level { side, stream: image(side), inner: image(side), normed: image(side + 2) }
    }

    /// Adds a residual block to the stream.
    fn add(&mut self, residual: &Residual, films: &[f32]) {
        let Residual { n1, c1, n2, c2, film } = residual;
        n1.apply(&self.stream, self.side, None, &mut self.normed);
        c1.apply(&self.normed, self.side, &mut self.inner, Before::Replaced);
        n2.apply(&self.inner, self.side, Some(&films[*film..]), &mut self.normed);
        c2.apply(&self.normed, self.side, &mut self.stream, Before::Added);
    }
}

/// For every pixel of the fine level, the window of 6 x 6 pixels of the image around its 2 x 2, with zeros beyond the
/// edge.
fn windows(x: &[f32], rows: &mut Vec<f32>) {
    let mut image = [[0.0; SIDE + 4]; SIDE + 4];
    for (line, x) in image[2..].iter_mut().zip(x.chunks_exact(SIDE)) {
        line[2..2 + SIDE].copy_from_slice(x);
    }
    rows.clear();
    for lines in image.windows(6).step_by(2) {
        for column in (0..SIDE).step_by(2) {
            lines.iter().for_each(|line| rows.extend_from_slice(&line[column..column + 6]));
        }
    }
}

/// For every pixel of the coarse level, its 2 x 2 pixels of the fine level: blocks, lines, pixels, channels.
fn quarters(image: &[Pixel], rows: &mut Vec<f32>) {
    rows.clear();
    for y in 0..COARSE {
        for x in 0..COARSE {
            for block in image.chunks_exact(FINE * FINE) {
                for line in block.chunks_exact(FINE).skip(2 * y).take(2) {
                    rows.extend_from_slice(line[2 * x..2 * x + 2].as_flattened());
                }
            }
        }
    }
}

/// Adds the rows of the coarse level to their 2 x 2 pixels of the fine level: lines, pixels, channels.
fn add_quarters(rows: &[f32], image: &mut [Pixel]) {
    let blocks = image.len() / (FINE * FINE);
    for (p, row) in rows.as_chunks::<BLOCK>().0.chunks_exact(4 * blocks).enumerate() {
        let (y, x) = (2 * (p / COARSE), 2 * (p % COARSE));
        for (q, pixel) in row.chunks_exact(blocks).enumerate() {
            for (image, pixel) in image.chunks_exact_mut(FINE * FINE).zip(pixel) {
                let place = &mut image[(y + q / 2) * FINE + x + q % 2];
                place.iter_mut().zip(pixel).for_each(|(a, b)| *a += b);
            }
        }
    }
}

/// Blocks from rows that each have the channels of a pixel.
fn from_rows(rows: &[f32], side: usize, image: &mut [Pixel]) {
    let blocks = image.len() / (side * side);
    for (i, block) in image.chunks_exact_mut(side * side).enumerate() {
        let pixels = rows.as_chunks().0.iter().skip(i).step_by(blocks);
        block.iter_mut().zip(pixels).for_each(|(place, pixel)| *place = *pixel);
    }
}

/// Rows that each have the channels of a pixel, from blocks that have a border of so many pixels.
fn to_rows(image: &[Pixel], side: usize, border: usize, rows: &mut Vec<f32>) {
    let stride = side + 2 * border;
    rows.clear();
    for y in border..border + side {
        for x in border..border + side {
            for block in image.chunks_exact(stride * stride) {
                rows.extend_from_slice(&block[y * stride + x]);
            }
        }
    }
}

/// Sums what the pixels of the fine level add to their neighbours.
fn write_image(rows: &[f32], out: &mut [f32]) {
    // With a border, for what falls beyond the edge.
    let mut sums = [[[0.0; 4]; FINE + 2]; FINE + 2];
    for (p, row) in rows.as_chunks::<4>().0.chunks_exact(9).enumerate() {
        for (tap, values) in row.iter().enumerate() {
            let place = &mut sums[p / FINE + 2 - tap / 3][p % FINE + 2 - tap % 3];
            place.iter_mut().zip(values).for_each(|(a, b)| *a += b);
        }
    }
    for (y, line) in out.chunks_exact_mut(SIDE).enumerate() {
        for (x, pair) in line.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            let sums = sums[y / 2 + 1][x + 1].as_chunks::<2>().0;
            *pair = sums[y % 2];
        }
    }
}

impl Net {
    /// From the bytes of a safetensors file of `unet` or `unet-labels`.
    fn parse(bytes: &[u8], name: &str) -> Result<Self, BoxError> {
        let file = Weights::open(bytes, name)?;
        let [fine, ..] = file.shape::<4>("inp.weight")?;
        let [coarse, ..] = file.shape::<4>("down.weight")?;
        for (name, channels) in [("inp", fine), ("down", coarse)] {
            if !channels.is_multiple_of(BLOCK) || !BLOCK.is_multiple_of(channels / GROUPS) {
                return Err(format!("{name} gives {channels} channels, expected 32, 64, 128 or 256").into());
            }
        }
        let embedding = Embedding::parse(&file)?;
        let labels = if name == "unet" { Table::default() } else { Table::parse(&file, embedding.width())? };
        let mut films = Stack::default();
        let mut level = |name: &str, channels: usize| -> Result<Vec<Residual>, BoxError> {
            let blocks = (0..file.blocks(name).max(1)).map(|i| {
                let name = format!("{name}.{i}");
                Ok(Residual {
                    n1: GroupNorm::parse(&file, &format!("{name}.n1"), channels)?,
                    c1: Conv::parse(&file, &format!("{name}.c1"), channels)?,
                    n2: GroupNorm::parse(&file, &format!("{name}.n2"), channels)?,
                    c2: Conv::parse(&file, &format!("{name}.c2"), channels)?,
                    film: films.add(&file, &format!("{name}.film"), 2 * channels, embedding.width())?,
                })
            });
            blocks.collect()
        };
        let (before, middle, after) = (level("d14", fine)?, level("m7", coarse)?, level("u14", fine)?);
        Ok(Net {
            norm: file.norm()?,
            labels,
            films: films.layer(embedding.width()),
            channels: [fine, coarse],
            inp: inp(&file, fine)?,
            down: down(&file, fine, coarse)?,
            up: up(&file, fine, coarse)?,
            before,
            coarse: middle,
            after,
            nout: GroupNorm::parse(&file, "nout", fine)?,
            out: out(&file, fine)?,
            embedding,
        })
    }
}

/// Channel 2 i + j of the first convolution are the pixels (2 y + i, 2 x + j): one window of 6 x 6 pixels.
fn inp(file: &Weights<'_>, fine: usize) -> Result<Linear, BoxError> {
    let values = file.values("inp.weight", &[fine, 4, 3, 3])?;
    let order = |w: &[f32; 36]| {
        from_fn::<_, 36, _>(|k| {
            let (y, x) = (k / 6, k % 6);
            w[(y % 2 * 2 + x % 2) * 9 + y / 2 * 3 + x / 2]
        })
    };
    let weight: Vec<f32> = values.as_chunks().0.iter().flat_map(order).collect();
    Ok(Linear::new(&weight, &file.values("inp.bias", &[fine])?, 36))
}

/// With its inputs in the order of `quarters`.
fn down(file: &Weights<'_>, fine: usize, coarse: usize) -> Result<Linear, BoxError> {
    let values = file.values("down.weight", &[coarse, fine, 2, 2])?;
    let blocks = values.as_chunks::<4>().0.chunks_exact(BLOCK);
    let weight: Vec<f32> = blocks.flat_map(|block| (0..4).flat_map(|q| block.iter().map(move |w| w[q]))).collect();
    Ok(Linear::new(&weight, &file.values("down.bias", &[coarse])?, 4 * fine))
}

/// With its outputs in the order of `add_quarters`.
fn up(file: &Weights<'_>, fine: usize, coarse: usize) -> Result<Linear, BoxError> {
    let values = file.values("up.weight", &[4 * fine, coarse, 1, 1])?;
    let bias = file.values("up.bias", &[4 * fine])?;
    let order = (0..4).flat_map(|q| (q..4 * fine).step_by(4));
    let weight: Vec<f32> = order.clone().flat_map(|j| &values[j * coarse..][..coarse]).copied().collect();
    Ok(Linear::new(&weight, &order.map(|j| bias[j]).collect::<Vec<_>>(), coarse))
}

/// Output 4 tap + k is what a pixel adds to channel k of the pixel that sees it at this place of its window.
fn out(file: &Weights<'_>, fine: usize) -> Result<Linear, BoxError> {
    let values = file.values("out.weight", &[4, fine, 3, 3])?;
    let centre = file.values("out.bias", &[4])?;
    let order = (0..9).flat_map(|tap| (0..4).map(move |k| (tap, k)));
    let weight: Vec<f32> =
        order.flat_map(|(tap, k)| values[k * fine * 9..][..fine * 9].iter().skip(tap).step_by(9)).copied().collect();
    let mut bias = [0.0; 36];
    bias[16..20].copy_from_slice(&centre);
    Ok(Linear::new(&weight, &bias, fine))
}

impl Model for Unet {
    fn prediction(&self) -> Prediction {
        Prediction::Velocity
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        Some((1e-3, 8.0))
    }
}

impl ScoreFn<Cpu<f32>> for Unet {
    fn eval(&mut self, x: ArrayView2<'_, f32>, rows: &Rows<'_>, out: ArrayViewMut2<'_, f32>) -> Result<(), BoxError> {
        self.forward(x, rows, out)
    }
}
