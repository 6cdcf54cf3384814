//! The share of one part in a call.

use crate::backend::Backend;
use crate::error::Fault;
use crate::score::{Rows, ScoreFn};
use rayon::ThreadPool;
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// What a part has to do, and what came of it.
pub(super) struct Job<'a, 'x, B: Backend, S> {
    part: usize,
    score: &'a mut S,
    pool: &'a ThreadPool,
    x: B::View<'x>,
    rows: Rows<'a>,
    /// Its place in the call.
    range: Range<usize>,
    /// Rows of `x` and of the output per row.
    of_row: [usize; 2],
    time: Duration,
    answer: Result<(), Fault>,
}

impl<'a, 'x, B: Backend, S: ScoreFn<B> + Send> Job<'a, 'x, B, S> {
    pub fn new(
        part: usize,
        (score, pool): (&'a mut S, &'a ThreadPool),
        (x, rows): (B::View<'x>, Rows<'a>),
        range: Range<usize>,
        of_row: [usize; 2],
    ) -> Self {
        Job { part, score, pool, x, rows, range, of_row, time: Duration::ZERO, answer: Ok(()) }
    }

    /// The part, its rows, the time that it took, and whether it answered.
    pub fn done(self) -> (usize, Range<usize>, Duration, Result<(), Fault>) {
        (self.part, self.range, self.time, self.answer)
    }

    fn work(&mut self, out: &mut B::ViewMut<'_>) {
        let clock = Instant::now();
        // what a panic leaves behind concerns the part alone, and whoever calls it again
        self.answer = catch_unwind(AssertUnwindSafe(|| self.call(out))).unwrap_or_else(|panic| Err(panicked(&*panic)));
        self.time = clock.elapsed();
    }

    fn call(&mut self, out: &mut B::ViewMut<'_>) -> Result<(), Fault> {
        let ([seen, answered], rows) = (self.of_row, self.rows.len());
        let most = self.score.max_rows().unwrap_or(rows).max(1);
        for first in (0..rows).step_by(most) {
            let Range { start, end } = first..rows.min(first + most);
            let x = B::part(self.x, seen * start..seen * end);
            let out = B::part_mut(out, answered * start..answered * end);
            self.score.eval(x, &self.rows.range(start..end), out).map_err(Fault::Failed)?;
        }
        match B::first_not_finite(out).map_err(|error| Fault::Failed(error.into()))? {
            Some(row) => {
                let row = row / answered;
                Err(Fault::NotFinite { sample: self.rows.id[row], time: self.rows.t[row] })
            }
            None => Ok(()),
        }
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Fault {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Fault::Panicked(text.unwrap_or_else(|| "no message".to_owned()))
}

/// Does all jobs at the same time, each on the threads of its part, and returns when all are done.
pub(super) fn run<B: Backend, S: ScoreFn<B> + Send>(jobs: &mut [Job<'_, '_, B, S>], out: &mut B::ViewMut<'_>) {
    let Some((job, others)) = jobs.split_first_mut() else { return };
    let [mut own, mut rest] = B::split_mut(out, job.of_row[1] * job.rows.len());
    let pool = job.pool;
    pool.in_place_scope(|scope| {
        scope.spawn(|_| job.work(&mut own));
        run(others, &mut rest);
    });
}
