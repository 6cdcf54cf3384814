//! Sample diffusion models in parallel over time.
//!
//! Sampling a diffusion model means hundreds of network calls one after another, and most of them wait for each other more than they
//! work. This crate guesses many steps of a trajectory at once, evaluates the network on all of them in one batched call, corrects every guess,
//! and repeats until nothing changes: a few dozen rounds in place of hundreds of calls, and the same samples.
//!
//! It implements PIADM, "Accelerating Diffusion Models with Parallel Sampling: Inference at Sub-Linear Time Complexity" (Chen, Ren, Ying,
//! Rotskoff, [arXiv 2405.15986](https://arxiv.org/abs/2405.15986)), whose number of rounds grows like $\log^2 d$ where sequential steps grow like
//! $d$, together with the sliding windows of ParaDiGMS ([arXiv 2305.16317](https://arxiv.org/abs/2305.16317)), as settings of one engine.
//!
//! # One idea
//!
//! A scheme turns a noise schedule and a time grid into a list of affine nodes,
//!
//! $$x_j = \sum_l A_l\, x_{j-l} + \sum_l B_l\, f(x_{j-l}, t_{j-l}) + C \xi_j,$$
//!
//! with $f$ the network and $\xi$ frozen normals. [`Sequential`] runs the list from front to back. [`Picard`] runs it on a window of guesses
//! $x$, all evaluated in one call, as
//!
//! $$x'_j = \Phi_j(x) + \sum_l W_l\, (x'_{j-l} - x_{j-l}),$$
//!
//! where $\Phi_j$ is the node's own formula. Both use the same arithmetic, so with a tolerance of zero they agree bit for bit.
//!
//! # A complete program
//!
//! ```
//! use piadm::{Cpu, Ou, Picard, Prediction, Problem, Sampler, Scheme, TimeGrid, score_fn};
//!
//! // your network: one batched call, every row has its own time
//! let mut network = score_fn::<f32>(Prediction::Noise, |x, rows, mut out| {
//!     for (i, (x, mut out)) in x.rows().into_iter().zip(out.rows_mut()).enumerate() {
//!         out.assign(&(&x * rows.sigma[i] as f32)); // of data N(0, 1)
//!     }
//!     Ok(())
//! });
//! let grid = TimeGrid::log_snr(&Ou, 8.0, 0.01, 500)?; // 500 steps
//! let problem = Problem::new(Cpu::<f32>::new(), &Ou, grid, Scheme::default(), (4, 784)).seed(7);
//! let solution = Picard::default().sample(&problem, &mut network)?;
//! assert_eq!(solution.samples.dim(), (4, 784));
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
//! | the sequential samples bit for bit | [`Picard`] with [`Tolerance::ZERO`] |
//! | the paper's grid, integrator and blocks from (d, delta) | [`Piadm::recipe`] |
//! | PIADM-ODE with its corrector | [`Recipe::corrected`], or [`PredictorCorrector`] on any problem |
//! | to sample a fixed log density | [`Langevin`] |
//! | a queue of many samples at a bounded size of a round | [`Picard::row_budget`] |
//! | published samplers, for comparison | [`Picard::paradigms`], [`Picard::parataa`], [`Picard::zhou_sugiyama`] |
//! | SRDS (parareal), for comparison | [`Parareal`] |
//! | a coarse solve as first guess | [`Problem::coarse`], [`Problem::refine`] |
//!
//! [`quality`] measures samples against a target or against each other. Schedules ([`schedule`]), grids ([`grid`]), schemes
//! ([`scheme`]), scores ([`score`]) and samplers ([`sampler`]) are independent choices. Noise is addressed ([`noise`]): a sample depends on its seed and id, never on its batch.
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
mod error;
pub mod grid;
pub mod noise;
mod portable;
mod prediction;
pub mod quality;
pub mod sampler;
pub mod schedule;
pub mod scheme;
pub mod score;
mod simd;

pub use backend::{Backend, Cpu, Real};
#[cfg(feature = "cuda")]
pub use backend::{Cuda, cuda};
#[cfg(feature = "cuda")]
pub use cudarc;
pub use error::{BoxError, Error, Result};
pub use grid::{Spacing, TimeGrid};
pub use ndarray;
pub use noise::NoiseKey;
pub use prediction::Prediction;
pub use sampler::{
    Automatic, Choice, Correction, Coupling, Dynamics, Effort, Entry, Forecast, Latency, Linearisation, Observer,
    OnStall, Parareal, Path, Piadm, Picard, Policy, PredictorCorrector, Problem, Reason, Recipe, Report, Round,
    Sampler, Save, Sequential, Solution, Stop, Tolerance, Variances, Window, on_round,
};
pub use schedule::{Discrete, Edm, Flow, NoiseSchedule, Ou, Ve, VpCosine, VpLinear};
pub use scheme::{DdpmVariance, Discretisation, Form, Langevin, Level, Node, NodeTerms, Scheme};
pub use score::{Chunked, Clip, EdmPrecondition, Guided, Mixture, Pair, Rows, ScoreFn, Threshold, score_fn, score_map};

#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct ReadmeExamples;
#[doc = include_str!("../docs/writing-a-score.md")]
#[cfg(doctest)]
struct ScoreExamples;
#[doc = include_str!("../docs/gpu.md")]
#[cfg(all(doctest, feature = "cuda"))]
struct GpuExamples;
