//! When a node is final.

pub(crate) mod acceptance;
pub(crate) mod book;
pub(crate) mod judge;
