//! Schemes against independent truth: closed forms, the formulas of the papers, exact identities, orders of convergence
//! and high-precision numbers.

#[path = "../common/mod.rs"]
mod common;
mod custom;
mod ends;
mod identities;
mod named;
mod oracle;
mod orders;
mod papers;
mod precision;
mod settings;
