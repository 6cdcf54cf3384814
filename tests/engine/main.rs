//! What lists of nodes, requests and sessions can say in general.

#[path = "../common/mod.rs"]
mod common;
mod kernels;
mod lists;
mod random_lists;
mod requests;
mod session;
