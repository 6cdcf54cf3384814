//! The embedded PTX belongs to the sources. `build.py --check` beside the kernels compiles them again where NVRTC is.

use piadm::cuda::{PTX, SOURCE};

#[test]
fn ptx_is_that_of_the_sources() {
    let hash = SOURCE.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let line = PTX.lines().next().unwrap();
    assert_eq!(line, format!("// source {hash:016x}"), "run src/backend/cuda/kernels/build.py");
}

#[test]
fn ptx_is_for_old_drivers_and_devices() {
    assert!(PTX.contains("\n.version 8.0\n") && PTX.contains("\n.target sm_80\n"));
}

/// Also without NVRTC: nothing that a compiler may contract, nothing approximate.
#[test]
fn arithmetic_is_rounded_to_nearest() {
    let words = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let instructions: Vec<String> = PTX.lines().map(words).collect();
    assert!(instructions.iter().any(|i| i == "mul.rn.f32") && instructions.iter().any(|i| i == "add.rn.f64"));
    for bad in ["fma.", "mad.f", "add.f", "mul.f", "sub.f", "div.f", "sqrt.f"] {
        assert!(!instructions.iter().any(|i| i.starts_with(bad)), "{bad}");
    }
    for bad in [".approx", ".ftz"] {
        assert!(!instructions.iter().any(|i| i.contains(bad)), "{bad}");
    }
}
