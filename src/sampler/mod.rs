//! Samplers: short files that set the engine.

mod automatic;
mod chords;
mod compiled;
pub(crate) mod interface;
mod parareal;
mod piadm;
mod picard;
mod sequential;
#[cfg(feature = "serde")]
mod spec;

pub use crate::engine::accept::acceptance::{Acceptance, Sweeps};
pub use crate::engine::entry::Entry;
pub use crate::engine::iteration::linearisation::Linearisation;
pub use crate::engine::iteration::probes::Probes;
pub use crate::engine::observer::{IntoFlow, Observer, OnRound, Round, on_round};
pub use crate::engine::session::Session;
pub use crate::engine::settings::{Coupling, Picard, Policy};
pub use automatic::Automatic;
pub use chords::Chords;
pub use interface::Sampler;
pub use parareal::Parareal;
pub use piadm::{Dynamics, Piadm, Recipe};
pub use sequential::Sequential;
#[cfg(feature = "serde")]
pub use spec::SamplerSpec;
