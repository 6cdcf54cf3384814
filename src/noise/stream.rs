//! Streams: what a normal is used for. Two uses at the same step and sample stay independent.
//!
//! Streams lie below 2^30: the two highest bits of that counter word keep double-precision normals and the
//! `Philox` generator of the `rand` feature apart from the single-precision normals. Your own streams start at
//! [`USER`]. Of the uniform numbers at an address, the one with the index 2^32 - 1 belongs to
//! [`Acceptance::Law`](crate::Acceptance::Law) where the normals there make a node.
//!
//! ```
//! use piadm::noise::stream;
//! let mine = stream::USER + 1;
//! assert!(mine > stream::CORRECTOR_2);
//! ```

/// The initial state at the noisy end.
pub const INITIAL: u32 = 0;
/// The noise of the reverse dynamics.
pub const DYNAMICS: u32 = 1;
/// The velocity with which the Langevin corrector starts.
pub const CORRECTOR_START: u32 = 2;
/// The first normal of a corrector step.
pub const CORRECTOR_1: u32 = 3;
/// The second normal of a corrector step.
pub const CORRECTOR_2: u32 = 4;
/// Exact samples of an analytic target; see [`Mixture::sample`](crate::score::Mixture::sample).
pub const DATA: u32 = 5;
/// First directions along which [`Probes`](crate::sampler::Probes) look.
pub const PROBES: u32 = 6;
/// The noise that [`inspect`](crate::inspect()) adds to data.
pub const INSPECTION: u32 = 7;
/// Random directions of quality measures.
pub const DIRECTIONS: u32 = 15;
/// The first stream that this crate never uses.
pub const USER: u32 = 16;
