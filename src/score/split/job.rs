//! What one part does in a call.

use crate::backend::Backend;
use crate::error::Fault;
use crate::score::{Rows, ScoreFn};
use rayon::ThreadPool;
use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Rows of a call, their states, and where their outputs go.
pub(super) struct Piece<'a, 'x, B: Backend> {
    pub x: B::View<'x>,
    pub rows: Rows<'a>,
    pub out: B::ViewMut<'a>,
    /// The place of the rows in the call.
    pub range: Range<usize>,
    /// Rows of `x` and of the output per row.
    pub of_row: [usize; 2],
}

impl<'a, 'x, B: Backend> Piece<'a, 'x, B> {
    /// The first rows, so many of them, and the others.
    fn split_at(self, count: usize) -> [Self; 2] {
        let Piece { x, rows, out, range, of_row } = self;
        let [seen, answered] = of_row;
        let middle = range.start + count;
        let [first, second] = B::split_mut(out, answered * count);
        let piece = |out, part: Range<usize>| Piece {
            x: B::part(x, seen * part.start..seen * part.end),
            rows: rows.range(part.clone()),
            out,
            range: range.start + part.start..range.start + part.end,
            of_row,
        };
        [piece(first, 0..count), piece(second, middle - range.start..range.len())]
    }

    /// Pieces of so many rows, one after another.
    pub fn cut(self, counts: impl Iterator<Item = usize>) -> impl Iterator<Item = Self> {
        counts.scan(Some(self), |left, count| {
            let [piece, rest] = left.take()?.split_at(count);
            *left = Some(rest);
            Some(piece)
        })
    }

    fn answer<S: ScoreFn<B>>(&mut self, score: &mut S) -> Result<(), Fault> {
        let ([seen, answered], rows) = (self.of_row, self.rows.len());
        let most = score.max_rows().unwrap_or(rows).max(1);
        for first in (0..rows).step_by(most) {
            let Range { start, end } = first..rows.min(first + most);
            let x = B::part(self.x, seen * start..seen * end);
            let out = B::part_mut(&mut self.out, answered * start..answered * end);
            score.eval(x, &self.rows.range(start..end), out).map_err(Fault::Failed)?;
        }
        match B::first_not_finite(&mut self.out).map_err(|error| Fault::Failed(error.into()))? {
            Some(row) => {
                let row = row / answered;
                Err(Fault::NotFinite { sample: self.rows.id[row], time: self.rows.t[row] })
            }
            None => Ok(()),
        }
    }
}

/// What is left to do, for one part or for several.
pub(super) struct Queue<'a, 'x, B: Backend> {
    left: Option<Piece<'a, 'x, B>>,
    /// Parts that take from it.
    takers: usize,
}

impl<'a, 'x, B: Backend> Queue<'a, 'x, B> {
    pub fn new(piece: Piece<'a, 'x, B>, takers: usize) -> Mutex<Self> {
        Mutex::new(Queue { left: Some(piece), takers })
    }

    /// The place of what nobody took.
    pub fn left(queue: Mutex<Self>) -> Option<Range<usize>> {
        queue.into_inner().unwrap_or_else(PoisonError::into_inner).left.map(|piece| piece.range)
    }

    /// The rows that a part does next, in multiples of its grain. One that has a queue for itself takes all of them;
    /// among several it takes half of its equal share of what is left, so that parts of similar speeds end together
    /// (guided self-scheduling, Polychronopoulos and Kuck 1987, with halves).
    fn take(&mut self, grain: usize) -> Option<Piece<'a, 'x, B>> {
        let left = self.left.take()?;
        let count = match self.takers {
            1 => left.rows.len(),
            takers => left.rows.len().div_ceil(2 * takers).checked_next_multiple_of(grain).unwrap_or(grain),
        };
        if count >= left.rows.len() {
            return Some(left);
        }
        let [piece, rest] = left.split_at(count);
        self.left = Some(rest);
        Some(piece)
    }
}

/// A part at work.
pub(super) struct Job<'q, 'a, 'x, B: Backend, S> {
    part: usize,
    score: &'q mut S,
    pool: &'q ThreadPool,
    queue: &'q Mutex<Queue<'a, 'x, B>>,
    /// The first part that fails ends the work of all.
    stop: bool,
    done: Done,
}

/// What a part has done.
#[derive(Default)]
pub(super) struct Done {
    pub part: usize,
    pub rows: usize,
    pub time: Duration,
    /// The rows that it could not answer, and why.
    pub failed: Option<(Range<usize>, Fault)>,
}

impl<'q, 'a, 'x, B: Backend, S: ScoreFn<B> + Send> Job<'q, 'a, 'x, B, S> {
    pub fn new(
        part: usize,
        (score, pool): (&'q mut S, &'q ThreadPool),
        queue: &'q Mutex<Queue<'a, 'x, B>>,
        stop: bool,
    ) -> Self {
        Job { part, score, pool, queue, stop, done: Done::default() }
    }

    pub fn done(self) -> Done {
        Done { part: self.part, ..self.done }
    }

    fn work(&mut self) {
        let clock = Instant::now();
        while self.done.failed.is_none() {
            let next = || self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(mut piece) = next().take(self.score.grain().max(1)) else { break };
            // what a panic leaves behind concerns the part alone, and whoever calls it again
            let answer = catch_unwind(AssertUnwindSafe(|| piece.answer(self.score)));
            match answer.unwrap_or_else(|panic| Err(panicked(&*panic))) {
                Ok(()) => self.done.rows += piece.rows.len(),
                Err(fault) => {
                    self.done.failed = Some((piece.range, fault));
                    if self.stop {
                        next().left = None;
                    }
                }
            }
        }
        self.done.time = clock.elapsed();
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Fault {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Fault::Panicked(text.unwrap_or_else(|| "no message".to_owned()))
}

/// Does all jobs at the same time, each on the threads of its part, and returns when all are done.
pub(super) fn run<B: Backend, S: ScoreFn<B> + Send>(jobs: &mut [Job<'_, '_, '_, B, S>]) {
    let Some((job, others)) = jobs.split_first_mut() else { return };
    let pool = job.pool;
    pool.in_place_scope(|scope| {
        scope.spawn(|_| job.work());
        run(others);
    });
}
