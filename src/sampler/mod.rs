//! Samplers: short files that set the engine.

mod automatic;
pub(crate) mod interface;
mod parareal;
mod piadm;
mod picard;
mod sequential;

pub use automatic::Automatic;
pub use interface::Sampler;
pub use parareal::Parareal;
pub use piadm::{Dynamics, Piadm, Recipe};
pub use sequential::Sequential;
