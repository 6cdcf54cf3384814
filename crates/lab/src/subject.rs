//! The scores of the benchmark, by name.

use ndarray::{Array2, s};
use ndarray_rand::RandomExt;
use ndarray_rand::rand::{SeedableRng, rngs::StdRng};
use networks::Labels;
use piadm::score::{Guided, Mixture};
use piadm::{BoxError, Cpu, ScoreFn};

/// A score and the length of its rows.
pub struct Subject {
    /// What is sampled from.
    pub score: Score,
    /// Numbers of a row.
    pub dim: usize,
}

/// What is measured if no name is given. `mixture-D` takes any dimension up to [`LARGEST`], and there is `guided-W`
/// with any scale up to [`STRONGEST`], such as `guided-7.5`.
pub const NAMES: [&str; 7] = ["mlp", "unet", "mixture-2", "mixture-64", "mixture-1024", "mixture-4096", "patches"];
/// The largest D of `mixture-D`.
pub const LARGEST: usize = 1 << 20;
/// The largest W of `guided-W`.
pub const STRONGEST: f64 = 100.0;

/// A name that [`Subject::load`] knows, for the command line.
pub fn named(name: &str) -> Result<String, String> {
    if NAMES.contains(&name) || dimension(name).is_some() || scale(name).is_some() {
        return Ok(name.to_owned());
    }
    Err(match name.split_once('-') {
        Some(("mixture", _)) => format!("mixture-D has a D from 1 to {LARGEST}"),
        Some(("guided", _)) => format!("guided-W has a W from 0 to {STRONGEST}"),
        _ => format!("expected one of {}, or guided-W", NAMES.join(", ")),
    })
}

/// D of `mixture-D`.
fn dimension(name: &str) -> Option<usize> {
    let dim = name.strip_prefix("mixture-")?.parse().ok().filter(|dim| (1..=LARGEST).contains(dim))?;
    // one name per problem: no +3 and no 007
    (name == format!("mixture-{dim}")).then_some(dim)
}

/// W of `guided-W`.
fn scale(name: &str) -> Option<f64> {
    let scale: f64 = name.strip_prefix("guided-")?.parse().ok()?;
    // one name per problem: no 2.0 and no -0
    (scale.is_sign_positive() && scale <= STRONGEST && name == format!("guided-{scale}")).then_some(scale)
}

impl Subject {
    /// The networks; `guided-W`, the U-Net with labels at guidance scale W, where the sample with id `i` has class `i`
    /// mod 10; `mixture-D`, 16 modes of standard deviation 0.3 with means N(0, 0.91); `patches`, 300 smooth
    /// random 8 x 8 pictures with standard deviation 0.1, which look like small images to a sampler.
    pub fn load(name: &str) -> Result<Self, BoxError> {
        let (mut parts, dim) = parts(name, 1)?;
        Ok(Subject { score: parts.remove(0), dim })
    }
}

/// A score that may go to another thread.
pub type Score = Box<dyn ScoreFn<Cpu<f32>> + Send>;

/// So many scores of the subject with this name, which share their weights, and the length of their rows.
pub fn parts(name: &str, count: usize) -> Result<(Vec<Score>, usize), BoxError> {
    named(name).map_err(|error| format!("problem {name}: {error}"))?;
    if let Some(mixture) = mixture(name)? {
        let part = |_| -> Score { Box::new(mixture.clone()) };
        return Ok(((0..count).map(part).collect(), mixture.dim()));
    }
    let (scale, file) = (scale(name), if scale(name).is_some() { "unet-labels" } else { name });
    let mut network = networks::load(file, None)?;
    if scale.is_some() {
        network.set_labels(Labels::FirstHalf((0..10).map(Some).collect()))?;
    }
    let part = |_| {
        let again = network.sharing_weights();
        Ok::<Score, BoxError>(match scale {
            Some(scale) => Box::new(Guided::new(again, scale)?),
            None => Box::new(again),
        })
    };
    Ok(((0..count).map(part).collect::<Result<_, _>>()?, network.dim()))
}

/// The mixture of [`Subject::load`] with this name; `None` for the name of a network.
pub fn mixture(name: &str) -> Result<Option<Mixture>, BoxError> {
    let (means, std) = match (name, dimension(name)) {
        (_, Some(dim)) => (normals(16, dim, 1)? * 0.91f64.sqrt(), 0.3),
        ("patches", _) => (patches()?, 0.1),
        _ => return Ok(None),
    };
    let modes = means.nrows();
    Ok(Some(Mixture::new(vec![1.0; modes], means, vec![std; modes])?))
}

/// Equal modes of this standard deviation; their means have independent elements N(0, 0.91), so that with a standard
/// deviation of 0.3 an element has variance 1.
pub fn random_mixture(modes: usize, dim: usize, std: f64, seed: u64) -> Result<Mixture, BoxError> {
    let normal = rand_distr::Normal::new(0.0, 0.91f64.sqrt())?;
    let means = Array2::random_using((modes, dim), normal, &mut StdRng::seed_from_u64(seed));
    Ok(Mixture::new(vec![1.0; modes], means, vec![std; modes])?)
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
