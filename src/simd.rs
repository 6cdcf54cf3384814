//! Vector instructions, chosen at run time.
//!
//! A closure is compiled once per instruction set. Rust never contracts a multiplication and an addition, so wider
//! vectors do the same arithmetic and every result has the same bits.

/// Runs `f` compiled for the best instruction set of the processor. Functions that `f` calls must be inlined into
/// it to benefit.
///
/// This function is never inlined itself: jobs are split by recursion, which must not carry the locals of `f` on
/// every level of the stack. These take the most room if the crate is compiled with optimisation but its generic
/// functions are not, as here:
///
/// ```
/// # #[cfg(feature = "rayon")]
/// # {
/// use piadm::{Cpu, Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme, score_fn};
/// let mut score = score_fn::<f64>(Prediction::Score, |x, _, mut out| {
///     out.zip_mut_with(&x, |o, x| *o = -x);
///     Ok(())
/// });
/// let grid = Grid::log_snr(100).between(8.0, 0.01);
/// let problem = Problem::on(Cpu::<f64>::new(), Ou, grid, Scheme::default()).samples(2000).shape([2]);
/// let pool = rayon::ThreadPoolBuilder::new().num_threads(2).stack_size(1 << 19).build()?;
/// pool.scope(|_| Picard::default().sample(&problem, &mut score))?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[cfg(feature = "simd")]
#[inline(never)]
pub(crate) fn dispatch<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Runs `f`; never inlined, for the same reason.
#[cfg(not(feature = "simd"))]
#[inline(never)]
pub(crate) fn dispatch<R>(f: impl FnOnce() -> R) -> R {
    f()
}
