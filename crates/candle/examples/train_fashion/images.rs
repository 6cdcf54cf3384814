//! Images in the IDX format, as the Debian package `dataset-fashion-mnist` has them.

use flate2::read::GzDecoder;
use std::error::Error;
use std::io::Read;
use std::path::Path;

/// The pixels of a file, row by row of the images, and the number of pixels of an image.
pub fn read(file: &Path) -> Result<(Vec<u8>, usize), Box<dyn Error>> {
    let zipped = std::fs::File::open(file).map_err(|error| {
        let advice =
            "install the Debian package dataset-fashion-mnist and give its folder, /usr/share/datasets/fashion-mnist";
        format!("{}: {error}; {advice}", file.display())
    })?;
    let mut bytes = Vec::new();
    let wrong = |what: String| format!("{} is no gzip file of images in the IDX format: {what}", file.display());
    GzDecoder::new(zipped).read_to_end(&mut bytes).map_err(|error| wrong(error.to_string()))?;
    // bytes of three axes: magic number, lengths, all big endian
    let number = |i: usize| bytes.get(4 * i..4 * i + 4).map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize);
    let [Some(0x803), Some(count), Some(height), Some(width)] = [0, 1, 2, 3].map(number) else {
        return Err(wrong("its first 16 bytes".into()).into());
    };
    let pixels = bytes.split_off(16);
    match height.checked_mul(width).and_then(|size| size.checked_mul(count)) == Some(pixels.len()) && count > 0 {
        true => Ok((pixels, height * width)),
        false => Err(wrong(format!("{} pixels for {count} images of {height} x {width}", pixels.len())).into()),
    }
}

/// Mean and standard deviation of pixels in [0, 1].
pub fn norm(pixels: &[u8]) -> (f32, f32) {
    let values = || pixels.iter().map(|pixel| f64::from(*pixel) / 255.0);
    let mean = values().sum::<f64>() / pixels.len() as f64;
    let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / pixels.len() as f64;
    (mean as f32, variance.sqrt() as f32)
}
