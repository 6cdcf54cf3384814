//! The trained networks of the examples, by name.

mod convolution;
mod labels;
mod layers;
mod linear;
mod mlp;
mod panels;
mod standby;
mod unet;

pub use labels::Labels;
pub use linear::RowPath;
use mlp::Mlp;
pub use mlp::MlpTangent;
use piadm::{BoxError, Cpu, ScoreFn};
use std::path::{Path, PathBuf};
use unet::Unet;

/// A network with its scratch memory. The result of a row does not depend on the other rows of the call, nor on the
/// number of threads, bit for bit.
pub trait Network: ScoreFn<Cpu<f32>> + Send {
    /// Numbers of a row: the pixels of an image.
    fn dim(&self) -> usize;

    /// Mean and standard deviation of the training pixels: a pixel in \[0, 1\] is `mean + std * x0`.
    fn norm(&self) -> (f32, f32);

    /// The same weights and labels with scratch memory of its own, for another part of a split score.
    fn sharing_weights(&self) -> Box<dyn Network>;

    /// Gives the samples these labels. Before, no sample has a class.
    ///
    /// # Errors
    /// If the network was trained without labels, or does not know one of them.
    fn set_labels(&mut self, _labels: Labels) -> Result<(), BoxError> {
        Err("the network was trained without labels".into())
    }

    /// Has a call on one or two rows take this path, with the same bits. Returns whether there is such a path; a
    /// network whose single row is many rows to its products has none to choose.
    fn set_row_path(&mut self, _path: RowPath) -> bool {
        false
    }
}

impl Network for Mlp {
    fn dim(&self) -> usize {
        Mlp::dim(self)
    }

    fn norm(&self) -> (f32, f32) {
        Mlp::norm(self)
    }

    fn sharing_weights(&self) -> Box<dyn Network> {
        Box::new(Mlp::sharing_weights(self))
    }

    fn set_row_path(&mut self, path: RowPath) -> bool {
        Mlp::set_row_path(self, path)
    }
}

impl Network for Unet {
    fn dim(&self) -> usize {
        Unet::dim(self)
    }

    fn norm(&self) -> (f32, f32) {
        Unet::norm(self)
    }

    fn sharing_weights(&self) -> Box<dyn Network> {
        Box::new(Unet::sharing_weights(self))
    }

    fn set_labels(&mut self, labels: Labels) -> Result<(), BoxError> {
        Unet::set_labels(self, labels)
    }
}

/// Loads the network `mlp`, `unet` or `unet-labels`, with its weights from `weights` or, without that, from the
/// project's own file.
pub fn load(name: &str, weights: Option<&Path>) -> Result<Box<dyn Network>, BoxError> {
    let path = weights.map_or_else(|| file(name), PathBuf::from);
    Ok(match name {
        "mlp" => Box::new(Mlp::load(path)?),
        "unet" | "unet-labels" => Box::new(Unet::load(name, path)?),
        other => return Err(format!("network {other}: expected mlp, unet or unet-labels").into()),
    })
}

/// The project's own file with the weights of a network.
fn file(name: &str) -> PathBuf {
    let data = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data"));
    data.join(format!("fashion_{}.safetensors", name.replace('-', "_")))
}
