//! The CUDA backend against the CPU, bit for bit.
//!
//! Without further settings the kernels run on the CPU, in a stand-in for the driver (crates/cuda-emulator, needs a C++
//! compiler). With `PIADM_GPU=1` the same tests use the machine's driver and first device, and fail where there is
//! none.

#![cfg(target_os = "linux")]

mod adapters;
mod bytes;
mod child;
#[path = "../common/mod.rs"]
mod common;
mod device;
mod failures;
mod lists;
mod mutants;
mod operations;
mod orders;
mod ptx;
mod samplers;
mod scores;
mod split;
