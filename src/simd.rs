//! Vector instructions, chosen at run time.
//!
//! A closure is compiled once for every instruction set. Rust never contracts a multiplication and an addition, so wider vectors do the same
//! arithmetic and every result has the same bits.

/// Runs `f` compiled for the best instruction set that the processor has. What `f` calls must be inlined to take part.
#[cfg(feature = "simd")]
#[inline(always)]
pub(crate) fn dispatch<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Runs `f`.
#[cfg(not(feature = "simd"))]
#[inline(always)]
pub(crate) fn dispatch<R>(f: impl FnOnce() -> R) -> R {
    f()
}
