//! Arrays in NumPy's `.npy` format.

use crate::cli::about;
use ndarray::{Array, Array2, Dimension};
use ndarray_npy::npy::header::Header;
use ndarray_npy::{ReadNpyExt, ReadableElement, WritableElement};
use piadm::BoxError;
use piadm::backend::Real;
use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::Path;

/// Reads finite f4 or f8 numbers, in C or Fortran order, as numbers of type `T`.
pub fn read<T: Real, D: Dimension>(path: &Path) -> Result<Array<T, D>, BoxError> {
    read_unnamed(path).map_err(about(path))
}

fn read_unnamed<T: Real, D: Dimension>(path: &Path) -> Result<Array<T, D>, BoxError> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let header = Header::from_reader(&mut file)?;
    let bytes = len.saturating_sub(file.stream_position()?);
    let kind = header.type_descriptor.to_string();
    let wide = match kind.trim_matches('\'') {
        "<f8" | ">f8" => true,
        "<f4" | ">f4" => false,
        _ => return Err(format!("dtype {kind}, expected f4 or f8").into()),
    };
    // before memory is taken for what a damaged header asks for
    let size = if wide { 8 } else { 4 };
    let expected = header.shape.iter().try_fold(size, |n: u64, &d| n.checked_mul(d as u64));
    if expected != Some(bytes) {
        let shape = &header.shape;
        return Err(format!("{bytes} bytes of data do not make the shape {shape:?} of the header").into());
    }
    if D::NDIM.is_some_and(|n| n != header.shape.len()) {
        let (found, n) = (&header.shape, D::NDIM.unwrap_or_default());
        return Err(format!("shape {found:?}, expected {n} axes").into());
    }
    file.rewind()?;
    let array =
        if wide { convert::<f64, T, D>(BufReader::new(file))? } else { convert::<f32, T, D>(BufReader::new(file))? };
    match array.indexed_iter().find(|(_, x)| !x.is_finite()) {
        Some((index, x)) => {
            Err(format!("{x} at {index:?}, expected numbers that are finite in the run's dtype").into())
        }
        None => Ok(array),
    }
}

fn convert<F: Real + ReadableElement, T: Real, D: Dimension>(
    reader: impl std::io::Read,
) -> Result<Array<T, D>, BoxError> {
    Ok(Array::<F, D>::read_npy(reader)?.mapv(|x| T::of(x.wide())))
}

/// Writes an array, replacing a file that is there.
pub fn write<T: WritableElement>(path: &Path, array: &Array2<T>) -> Result<(), BoxError> {
    ndarray_npy::write_npy(path, array).map_err(about(path))
}
