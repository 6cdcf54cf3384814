//! When a node is final.

pub(crate) mod acceptance;
pub(crate) mod book;
pub(crate) mod coupling;
pub(crate) mod judge;
pub(crate) mod law;
pub(crate) mod proposals;
