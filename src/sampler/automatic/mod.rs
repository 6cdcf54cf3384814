//! Chooses the window by the cost of the network.

mod effort;
mod latency;
mod run;
pub(crate) mod settings;

pub use settings::Automatic;
