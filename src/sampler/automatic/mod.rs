//! The window chosen by what the network costs.

mod effort;
mod latency;
mod run;
mod settings;

pub use settings::Automatic;
