//! What the measuring examples of [`piadm`] share. An example is a command line and a sentence or two; what it measures
//! and how it shows it stands in the module of its name.

pub mod cli;
pub mod compare;
pub mod devices;
pub mod equal_error;
pub mod fashion;
pub mod frontier;
pub mod law;
pub mod newton;
pub mod picture;
pub mod plot;
pub mod presets;
pub mod residuals;
pub mod rounds;
pub mod scaling;
pub mod short;
pub mod stats;
pub mod subject;
pub mod table;
pub mod wallclock;
