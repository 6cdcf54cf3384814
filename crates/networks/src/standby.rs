//! Keeps the rayon pool awake between two calls of a network.
//!
//! A thread of the pool that finds no work falls asleep after some 10 us, and takes longer than that to wake up. That
//! is as long as a solver works between two calls on a small window, so that every call would begin with all threads
//! but its own asleep. Runtimes of OpenMP let threads wait actively for a while after a parallel region
//! (`KMP_BLOCKTIME`, `GOMP_SPINCOUNT`); this does the same for rayon.
//!
//! It is meant for one sampler at a time in a pool: where there are several, a thread that waits for a part of one's
//! work may stand by for another's network, for as long as the block time. A thread that is busy for long finds no more
//! than a few hundred requests to stand by.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Longest active wait for the next call.
const BLOCK_TIME: Duration = Duration::from_micros(100);

/// The most broadcasts that not every thread has come to. The caller comes to its own, which do nothing, when it next
/// waits; there may be dozens.
const UNFINISHED: usize = 256;

thread_local! {
    /// Whether this thread stands by: what it takes over meanwhile must not make it do so once more.
    static STANDS_BY: Cell<bool> = const { Cell::new(false) };
}

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

    /// A call that used the pool is over: all other threads of the pool stand by for the next one, and take over what
    /// work there is meanwhile. Does nothing where the caller is not one of the pool's threads, or the only one, or
    /// where they come to no broadcast.
    pub fn begin(&self) {
        let Some(own) = rayon::current_thread_index() else { return };
        // every broadcast that a thread has not come to yet holds the counter
        if rayon::current_num_threads() == 1 || Arc::strong_count(&self.calls) > UNFINISHED {
            return;
        }
        let (calls, began) = (self.calls.clone(), Instant::now());
        let last = calls.load(Ordering::Relaxed);
        rayon::spawn_broadcast(move |thread| {
            if thread.index() == own || STANDS_BY.replace(true) {
                return;
            }
            let waits = || calls.load(Ordering::Relaxed) == last && began.elapsed() < BLOCK_TIME;
            while waits() {
                if rayon::yield_now() != Some(rayon::Yield::Executed) {
                    std::hint::spin_loop();
                }
            }
            STANDS_BY.set(false);
        });
    }
}
