//! Sample diffusion models in parallel over time.
//!
//! Sampling a diffusion model means hundreds of network calls, one after another. This crate guesses many steps of a
//! trajectory at once, evaluates the network on all of them in one batched call, corrects every guess, and repeats
//! until nothing changes: a few dozen rounds instead of hundreds of calls, and the same samples.
//!
//! It implements PIADM, "Accelerating Diffusion Models with Parallel Sampling: Inference at Sub-Linear Time Complexity"
//! (Chen, Ren, Ying, Rotskoff, [arXiv 2405.15986](https://arxiv.org/abs/2405.15986)), whose number of rounds grows like
//! $\log^2 d$ where sequential steps grow like $d$, together with the sliding windows of ParaDiGMS
//! ([arXiv 2305.16317](https://arxiv.org/abs/2305.16317)), as settings of one engine.
//!
//! It pays where a call on many rows takes little longer than a call on one: one image or trajectory on a large device
//! or on several, small networks such as robot policies, chains that cannot be shortened. It does not pay for many
//! images at once, nor for models that need five steps. [`Automatic`] measures and decides.
//!
//! # One idea
//!
//! A scheme turns a noise schedule and a time grid into a list of affine nodes,
//!
//! $$x_j = \sum_l A_l\, x_{j-l} + \sum_l B_l\, f(x_{j-l}, t_{j-l}) + C \xi_j,$$
//!
//! with $f$ the network and $\xi$ frozen normals. [`Sequential`] runs the list from front to back. [`Picard`] runs it
//! on a window of guesses $x$, all evaluated in one call, as
//!
//! $$x'_j = \Phi_j(x) + \sum_l W_l\, (x'_{j-l} - x_{j-l}),$$
//!
//! where $\Phi_j$ is the node's own formula. Both use the same arithmetic, so with a tolerance of zero they agree bit
//! for bit.
//!
//! # A complete program
//!
//! ```
//! use piadm::ndarray::{Array2, Axis, concatenate};
//! use piadm::prelude::*;
//!
//! // two layers stand for your network: states (rows x 784) and the time of each row in, one answer per row out
//! let layer = |rows, columns| Array2::from_shape_fn((rows, columns), |(i, j)| 0.05 * ((7 * i + 3 * j) as f32).sin());
//! let (first, second) = (layer(785, 64), layer(64, 784));
//! let mut network = score_map(Prediction::Noise, |x, rows| {
//!     let t = Array2::from_shape_fn((rows.len(), 1), |(i, _)| rows.t[i] as f32 / 1000.0);
//!     concatenate![Axis(1), x, t].dot(&first).mapv(f32::tanh).dot(&second)
//! });
//! let problem = Problem::new(Discrete::stable_diffusion(), Grid::log_snr(100), Scheme::default());
//! let problem = problem.shape([784]).seed(7);
//! let solution = Picard::default().sample(&problem, &mut network)?;
//! assert_eq!(solution.samples.dim(), (1, 784));
//! println!("{}", solution.report); // rounds, rows, residuals, times
//! # assert!(solution.report.rounds < 50);
//! # Ok::<(), piadm::Error>(())
//! ```
//!
//! # Which sampler for what
//!
//! | you want | use |
//! |---|---|
//! | the reference | [`Sequential`] |
//! | fewer rounds for one sample or a few | [`Picard::default`] |
//! | whichever of the two is faster for your network, with its window | [`Automatic`] |
//! | the sequential samples bit for bit | [`Picard`] with [`Acceptance::Exact`] |
//! | samples with exactly the law of sequential ones | [`Picard::exact_in_law`] |
//! | the paper's grid, integrator and blocks from (d, delta) | [`Piadm::sample`], [`Piadm::recipe`] |
//! | PIADM-ODE with its corrector | the same, or [`Problem::correction`] on any problem |
//! | to sample a fixed log density | [`Langevin`](nodes::Langevin) |
//! | a queue of many samples with rounds of a bounded size | [`Picard::row_budget`](Picard#structfield.row_budget) |
//! | unlike requests in one batch | [`Problem::join`] |
//! | many runs of one shape, without new memory | [`Picard::session`] |
//! | samples after at most so many rounds | [`Picard::deadline`](Picard#structfield.deadline) |
//! | published samplers, for comparison | [`Picard::paradigms`], [`Picard::parasolver`], [`Picard::parataa`], [`Picard::zhou_sugiyama`] |
//! | SRDS (parareal) and CHORDS, for comparison | [`Parareal`], [`Chords`] |
//! | to know whether a network is wired right | [`inspect`](inspect()) |
//! | few steps of the ODE in the right places | [`gits`] |
//! | a coarse solve as first guess | [`Problem::coarse`], [`Problem::refine`] |
//!
//! Most programs need [`prelude`] alone. Schedules ([`schedule`]), grids ([`Grid`]), schemes ([`Scheme`], [`nodes`]),
//! networks ([`score`]) and samplers ([`sampler`]) are independent choices. [`quality`] measures samples against a
//! target or against each other. Noise is addressed ([`noise`]): a sample depends on its seed and id, not on its place
//! in a batch.
//!
//! # Features
//!
//! | feature | default | what |
//! |---|---|---|
//! | `rayon` | yes | the CPU backend runs on the current rayon pool; the bits are the same without it |
//! | `simd` | yes | kernels use AVX2 or AVX-512 where the processor has them; the bits are the same without it |
//! | `serde` | no | settings and reports can be serialised |
//! | `cuda` | no | `Cuda`, the backend for NVIDIA GPUs with the bits of the CPU; builds everywhere (docs/gpu.md) |
//! | `rand` | no | [`noise`] offers Philox as a generator of the rand 0.9 family |
#![cfg_attr(not(feature = "cuda"), forbid(unsafe_code))]
#![cfg_attr(feature = "cuda", deny(unsafe_code))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs)]
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod backend;
mod engine;
mod error;
pub mod gits;
pub mod grid;
pub mod inspect;
mod names;
pub mod nodes;
pub mod noise;
mod portable;
pub mod prelude;
pub mod problem;
pub mod quality;
pub mod sampler;
pub mod schedule;
pub mod score;
mod setters;
mod simd;

/// The CUDA backend and scores on the device.
#[cfg(feature = "cuda")]
pub mod cuda {
    pub use crate::backend::cuda::*;
    pub use crate::score::{DeviceMixture, DeviceScore, HostScore};
}

#[cfg(feature = "cuda")]
pub use backend::Cuda;
pub use backend::{Backend, Cpu};
#[cfg(feature = "cuda")]
pub use cudarc;
pub use error::{BoxError, Error, Result};
pub use grid::Grid;
pub use inspect::inspect;
pub use ndarray;
pub use nodes::{Nodes, Scheme, Window};
pub use problem::{Guarantee, Path, Problem, Report, Save, Solution, Stop};
pub use sampler::{
    Acceptance, Automatic, Chords, Observer, Parareal, Piadm, Picard, Sampler, Sequential, Session, Sweeps,
};
pub use schedule::{Discrete, Edm, Flow, NoiseSchedule, Ou, Ve, VpCosine, VpLinear};
pub use score::{Model, Prediction, Rows, ScoreFn, score_fn, score_images, score_map, score_rows};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeExamples;
#[doc = include_str!("../docs/tour.md")]
#[cfg(doctest)]
struct TourExamples;
#[doc = include_str!("../docs/recipes.md")]
#[cfg(all(doctest, feature = "rayon"))]
struct RecipesExamples;
#[doc = include_str!("../docs/law.md")]
#[cfg(doctest)]
struct LawExamples;
#[doc = include_str!("../docs/writing-a-score.md")]
#[cfg(doctest)]
struct ScoreExamples;
#[doc = include_str!("../docs/gpu.md")]
#[cfg(all(doctest, feature = "cuda"))]
struct GpuExamples;
