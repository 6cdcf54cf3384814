//! Threads and blocks have no order of their own, and a device works while the host goes on: everything again with the
//! last first, with two random orders, and with work that waits until somebody asks for its end.

use crate::{child, device};

fn again(setting: (&str, &str)) {
    if device::is_real() {
        return;
    }
    let samplers = ["samplers::every_sampler_of_the_crate", "samplers::large_rows_and_long_windows"];
    for tests in ["operations::", "scores::", "adapters::"].into_iter().chain(samplers) {
        child::passes(tests, &[setting]);
    }
}

#[test]
fn last_first() {
    again(("EMU_ORDER", "reverse"));
}

#[test]
fn random() {
    again(("EMU_ORDER", "random:1"));
    again(("EMU_ORDER", "random:2"));
}

#[test]
fn late() {
    again(("FAKE_CUDA_LAZY", "1"));
}
