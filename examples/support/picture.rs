//! Grey images laid out in a grid, grids side by side, written as PNG.

use ndarray::ArrayView2;
use piadm::BoxError;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

/// Pixels between the images of a grid.
const BORDER: usize = 2;
/// Pixels between two pictures side by side.
const GAP: usize = 16;
/// Grey between images.
const FRAME: u8 = 64;
/// Grey between pictures.
const PAPER: u8 = 255;

/// A grey picture, 0 black to 255 white, row after row.
#[derive(Clone, Debug)]
pub struct Picture {
    width: usize,
    height: usize,
    grey: Vec<u8>,
}

impl Picture {
    fn filled(width: usize, height: usize, grey: u8) -> Self {
        Picture { width, height, grey: vec![grey; width * height] }
    }

    /// Copies `other` so that its upper left corner comes to (`left`, `top`); it must fit.
    fn paste(&mut self, other: &Picture, left: usize, top: usize) {
        for (row, pixels) in other.grey.chunks_exact(other.width.max(1)).enumerate() {
            self.grey[(top + row) * self.width + left..][..other.width].copy_from_slice(pixels);
        }
    }

    /// A grid of square images, one a row of `images`, `columns` of them side by side. A value `v` becomes the pixel
    /// `mean + std * v`, where 0 is black and 1 is white.
    pub fn grid(images: ArrayView2<'_, f32>, columns: usize, (mean, std): (f32, f32)) -> Result<Self, BoxError> {
        let (count, dim) = images.dim();
        let side = dim.isqrt();
        if side == 0 || side * side != dim {
            return Err(format!("{dim} values are not the pixels of a square image").into());
        }
        let columns = columns.clamp(1, count.max(1));
        let place = |i: usize| BORDER + i * (side + BORDER);
        let mut picture = Picture::filled(place(columns), place(count.div_ceil(columns)), FRAME);
        for (i, image) in images.rows().into_iter().enumerate() {
            // The cast saturates, and NaN becomes black.
            let grey = image.iter().map(|v| ((mean + std * v) * 255.0).round() as u8).collect();
            let image = Picture { width: side, height: side, grey };
            picture.paste(&image, place(i % columns), place(i / columns));
        }
        Ok(picture)
    }

    /// Pictures side by side, from left to right, with a small gap.
    pub fn beside(pictures: &[Picture]) -> Self {
        let width = pictures.iter().map(|p| p.width).sum::<usize>() + GAP * pictures.len().saturating_sub(1);
        let height = pictures.iter().map(|p| p.height).max().unwrap_or(0);
        let mut all = Picture::filled(width, height, PAPER);
        let mut left = 0;
        for picture in pictures {
            all.paste(picture, left, 0);
            left += picture.width + GAP;
        }
        all
    }

    /// The picture with every pixel repeated `factor` times in both directions.
    pub fn enlarged(&self, factor: usize) -> Self {
        let (width, height) = (self.width * factor, self.height * factor);
        let pixel = |i: usize| self.grey[i / width / factor * self.width + i % width / factor];
        Picture { width, height, grey: (0..width * height).map(pixel).collect() }
    }

    /// Writes a PNG file.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), BoxError> {
        let path = path.as_ref();
        let write = || -> Result<(), BoxError> {
            let file = BufWriter::new(File::create(path)?);
            let mut encoder = png::Encoder::new(file, self.width.try_into()?, self.height.try_into()?);
            encoder.set_color(png::ColorType::Grayscale);
            encoder.set_depth(png::BitDepth::Eight);
            let mut writer = encoder.write_header()?;
            writer.write_image_data(&self.grey)?;
            Ok(writer.finish()?)
        };
        write().map_err(|e| format!("{}: {e}", path.display()).into())
    }
}
