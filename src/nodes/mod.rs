//! Schemes: how a step of the time grid becomes affine nodes.
//!
//! A discretisation is a list of nodes, `x_j = sum_l A_l x_{j-l} + sum_l B_l f(x_{j-l}) + C xi`, with f64
//! coefficients that are computed once. Every sampler of the crate, sequential or parallel, runs the same list; a
//! scheme only fills it. The kind of the network's output is folded into A and B, so outputs are never converted.

mod ancestral;
mod builder;
mod churn;
mod correction;
mod dpm_solver;
mod exponential;
mod fill;
mod langevin;
mod list;
mod multistep;
mod options;
mod phi;
mod presets;
mod runge_kutta;
mod scheme;
mod step;
mod terms;
mod window;
mod written;

pub use correction::Correction;
pub use langevin::Langevin;
pub use list::{Node, Nodes};
pub use options::{BhVariant, Clock, DdpmVariance, Method, SolverType};
pub use scheme::Scheme;
pub use step::Form;
pub(crate) use terms::{Link, MOST_COMPONENTS};
pub use terms::{NodeTerms, Normal};
pub(crate) use window::Extent;
pub use window::Window;
