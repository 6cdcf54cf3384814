//! Threads and blocks have no order of their own: everything again with the last first, and with two random ones.

use crate::{child, device};

fn again(order: &str) {
    if device::is_real() {
        return;
    }
    for module in
        ["operations::", "scores::", "samplers::every_sampler_of_the_crate", "samplers::large_rows_and_long_windows"]
    {
        child::passes(module, &[("EMU_ORDER", order)]);
    }
}

#[test]
fn reverse() {
    again("reverse");
}

#[test]
fn random() {
    again("random:1");
    again("random:2");
}
