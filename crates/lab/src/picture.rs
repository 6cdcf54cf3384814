//! Grey images laid out in a grid, and grids side by side.

use image::imageops::{FilterType, replace, resize};
use image::{GrayImage, Luma};
use ndarray::ArrayView2;
use piadm::BoxError;

/// Pixels between the images of a grid.
const BORDER: u32 = 2;
/// Pixels between two grids.
const GAP: u32 = 16;
const FRAME: Luma<u8> = Luma([64]);
const PAPER: Luma<u8> = Luma([255]);

/// A grid of square images, one per row of `images`, `columns` of them side by side. A value `v` becomes the pixel
/// `mean + std * v`, where 0 is black and 1 is white.
pub fn grid(images: ArrayView2<'_, f32>, columns: usize, (mean, std): (f32, f32)) -> Result<GrayImage, BoxError> {
    let (count, dim) = images.dim();
    let side = dim.isqrt();
    if side == 0 || side * side != dim {
        return Err(format!("{dim} values are not the pixels of a square image").into());
    }
    let columns = columns.clamp(1, count.max(1));
    let place = |i: usize| BORDER + i as u32 * (side as u32 + BORDER);
    let mut picture = GrayImage::from_pixel(place(columns), place(count.div_ceil(columns)), FRAME);
    for (i, image) in images.rows().into_iter().enumerate() {
        // the cast saturates, and NaN becomes black
        let pixel =
            |x: u32, y: u32| Luma([((mean + std * image[y as usize * side + x as usize]) * 255.0).round() as u8]);
        let image = GrayImage::from_fn(side as u32, side as u32, pixel);
        replace(&mut picture, &image, place(i % columns).into(), place(i / columns).into());
    }
    Ok(picture)
}

/// Pictures from left to right with a gap, every pixel twice as large in both directions.
pub fn beside(pictures: &[GrayImage]) -> GrayImage {
    let width = pictures.iter().map(|p| p.width() + GAP).sum::<u32>().saturating_sub(GAP);
    let height = pictures.iter().map(GrayImage::height).max().unwrap_or(0);
    let mut all = GrayImage::from_pixel(width, height, PAPER);
    let mut left = 0;
    for picture in pictures {
        replace(&mut all, picture, left.into(), 0);
        left += picture.width() + GAP;
    }
    resize(&all, 2 * width, 2 * height, FilterType::Nearest)
}
