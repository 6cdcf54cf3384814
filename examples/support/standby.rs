//! Keeps the rayon pool awake between two calls of a network.
//!
//! A thread of the pool that finds no work falls asleep after some 10 us, and takes longer than that to wake up. That is as long as a solver
//! works between two calls on a small window, so that every call would begin with half of its threads asleep. Runtimes of OpenMP let threads
//! wait actively for a while after a parallel region (`KMP_BLOCKTIME`, `GOMP_SPINCOUNT`); this does the same for rayon.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Longest active wait for the next call.
const BLOCK_TIME: Duration = Duration::from_micros(100);

/// The calls of a network.
#[derive(Default)]
pub struct Standby {
    calls: Arc<AtomicUsize>,
}

impl Standby {
    /// A call begins: threads that stand by go back to the pool.
    pub fn end(&self) {
        self.calls.fetch_add(1, Ordering::Relaxed);
    }

    /// A call that used the pool is over: its other threads stand by for the next one, and take over what work there is meanwhile.
    pub fn begin(&self) {
        let Some(own) = rayon::current_thread_index() else { return };
        if rayon::current_num_threads() == 1 {
            return;
        }
        let (calls, began) = (self.calls.clone(), Instant::now());
        let last = calls.load(Ordering::Relaxed);
        rayon::spawn_broadcast(move |thread| {
            let waits = || calls.load(Ordering::Relaxed) == last && began.elapsed() < BLOCK_TIME;
            while thread.index() != own && waits() {
                if rayon::yield_now() != Some(rayon::Yield::Executed) {
                    std::hint::spin_loop();
                }
            }
        });
    }
}
