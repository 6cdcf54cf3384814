//! The scores of the benchmark, by name.

use super::network;
use ndarray::{Array2, s};
use piadm::{BoxError, Cpu, ScoreFn, score::Mixture};

/// A score and the length of its rows.
pub struct Subject {
    pub score: Box<dyn ScoreFn<Cpu<f32>>>,
    pub dim: usize,
}

/// All names. `mixture-D` takes any dimension.
pub const NAMES: [&str; 7] = ["mlp", "unet", "mixture-2", "mixture-64", "mixture-1024", "mixture-4096", "patches"];

impl Subject {
    /// The networks; `mixture-D`, 16 modes of standard deviation 0.3 with means N(0, 0.91); `patches`, 300 smooth
    /// random 8 x 8 pictures with standard deviation 0.1, which look like small images to a sampler.
    pub fn load(name: &str) -> Result<Self, BoxError> {
        let mixture = |means: Array2<f64>, std: f64| -> Result<Subject, BoxError> {
            let (modes, dim) = means.dim();
            let score = Box::new(Mixture::new(vec![1.0; modes], means, vec![std; modes])?);
            Ok(Subject { score, dim })
        };
        if let Some(dim) = name.strip_prefix("mixture-") {
            let dim = dim.parse().ok().filter(|d| *d > 0).ok_or_else(|| format!("problem {name}: no dimension"))?;
            return mixture(normals(16, dim, 1)? * 0.91f64.sqrt(), 0.3);
        }
        match name {
            "patches" => mixture(patches()?, 0.1),
            "mlp" | "unet" => {
                let network = network::load(name, None)?;
                let dim = network.dim();
                Ok(Subject { score: network, dim })
            }
            _ => Err(format!("unknown problem {name}, expected one of {}", NAMES.join(", ")).into()),
        }
    }
}

fn normals(rows: usize, dim: usize, seed: u64) -> Result<Array2<f64>, BoxError> {
    Ok(Mixture::new([1.0], Array2::zeros((1, dim)), [1.0])?.sample(rows, seed)?)
}

/// Normals on 12 x 12 pixels, smoothed by the weights 1, 4, 6, 4, 1 in both directions, of variance 1.
fn patches() -> Result<Array2<f64>, BoxError> {
    const WEIGHTS: [f64; 5] = [1.0, 4.0, 6.0, 4.0, 1.0];
    let rough = normals(300, 144, 2)?.into_shape_with_order((300, 12, 12))?;
    let scale: f64 = WEIGHTS.iter().map(|w| w * w).sum();
    let mut smooth = Array2::zeros((300, 64));
    for (i, a) in WEIGHTS.iter().enumerate() {
        for (j, b) in WEIGHTS.iter().enumerate() {
            let shifted = rough.slice(s![.., i..i + 8, j..j + 8]).to_owned().into_shape_with_order((300, 64))?;
            smooth.scaled_add(a * b / scale, &shifted);
        }
    }
    Ok(smooth)
}
