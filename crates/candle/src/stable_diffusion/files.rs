//! The files of a diffusers folder.

use super::error::{Error, Result};
use candle_core::safetensors::{BufferedSafetensors, Load};
use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The first of these names that is a file of the folder.
pub fn find(folder: &Path, names: &[&str]) -> Result<PathBuf> {
    let paths = names.iter().map(|name| folder.join(name));
    paths.into_iter().find(|path| path.is_file()).ok_or_else(|| Error::Missing {
        folder: folder.to_path_buf(),
        tried: names.iter().map(|name| name.to_string()).collect(),
    })
}

/// What a JSON file says; none where there is no such file.
pub fn json<T: DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    if !file.is_file() {
        return Ok(None);
    }
    let text = std::fs::read(file).map_err(|source| Error::File { file: file.to_path_buf(), source })?;
    let value = serde_json::from_slice(&text).map_err(|source| Error::Json { file: file.to_path_buf(), source })?;
    Ok(Some(value))
}

/// What went wrong with a file's tensors last. Errors of candle pass through the constructors of its layers as text;
/// this keeps the names and shapes.
type Failure = Arc<Mutex<Option<Error>>>;

struct Tensors {
    file: PathBuf,
    tensors: BufferedSafetensors,
    failure: Failure,
}

impl Tensors {
    fn fail<T>(&self, error: Error) -> candle_core::Result<T> {
        let text = error.to_string();
        if let Ok(mut failure) = self.failure.lock() {
            *failure = Some(error);
        }
        Err(candle_core::Error::Msg(text))
    }
}

impl SimpleBackend for Tensors {
    fn get(&self, s: Shape, name: &str, _: Init, dtype: DType, dev: &Device) -> candle_core::Result<Tensor> {
        let Ok(view) = self.tensors.get(name) else {
            return self.fail(Error::Tensor { file: self.file.clone(), name: name.to_string() });
        };
        if view.shape() != s.dims() {
            let (found, expected) = (view.shape().to_vec(), s.dims().to_vec());
            return self.fail(Error::TensorShape { file: self.file.clone(), name: name.to_string(), found, expected });
        }
        view.load(dev)?.to_dtype(dtype)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, dev: &Device) -> candle_core::Result<Tensor> {
        match self.tensors.get(name) {
            Ok(view) => view.load(dev)?.to_dtype(dtype),
            Err(_) => self.fail(Error::Tensor { file: self.file.clone(), name: name.to_string() }),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.get(name).is_ok()
    }
}

/// A part of the model: what `make` makes of the tensors of the weights file called `stem` in the part's folder, in
/// full or half precision as there is.
pub fn part<M>(
    folder: &Path,
    stem: &str,
    dtype: DType,
    device: &Device,
    make: impl FnOnce(VarBuilder<'static>) -> candle_core::Result<M>,
) -> Result<M> {
    let (full, half) = (format!("{stem}.safetensors"), format!("{stem}.fp16.safetensors"));
    let names = if dtype == DType::F16 { [&half, &full] } else { [&full, &half] };
    let file = find(folder, &names.map(String::as_str))?;
    let bytes = std::fs::read(&file).map_err(|source| Error::File { file: file.clone(), source })?;
    let tensors =
        BufferedSafetensors::new(bytes).map_err(|source| Error::Safetensors { file: file.clone(), source })?;
    let failure = Failure::default();
    let tensors = Tensors { file, tensors, failure: failure.clone() };
    let builder = VarBuilder::from_backend(Box::new(tensors), dtype, device.clone());
    make(builder).map_err(|error| {
        let recorded = failure.lock().ok().and_then(|mut failure| failure.take());
        recorded.unwrap_or(Error::Candle(error))
    })
}
