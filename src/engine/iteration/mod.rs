//! How changes are passed on, and how sweeps are accelerated.

pub(crate) mod anderson;
pub(crate) mod linearisation;
pub(crate) mod probes;
pub(crate) mod secant;
pub(crate) mod sites;
pub(crate) mod triangular;
