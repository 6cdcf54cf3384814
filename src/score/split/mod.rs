//! One network on several devices: the rows of a call are split over them.

mod job;
mod shares;

pub use shares::Shares;

use crate::backend::Backend;
use crate::error::{BoxError, Error, Result};
use crate::score::adapters::common_times;
use crate::score::{Model, PartWork, Prediction, Rows, ScoreFn, check_call};
use job::{Done, Job, Piece, Queue, run};
use rayon::{ThreadPool, ThreadPoolBuilder};
use shares::{Sharer, shares};
use std::fmt::{Debug, Formatter};
use std::ops::Range;
use std::time::Duration;

/// A score made of several scores of the same network, its parts, each on a device or on cores of its own. The rows of
/// a call are cut into contiguous shares, by default one per part ([`Shares`]), that are evaluated at the same time.
///
/// Parallel sampling gives a round as many rows as its window has nodes, so a single image can use several devices:
/// with P of them and a window of P steps, a round takes about the time of one row. If the result of a row does not
/// depend on the other rows of a call, and the parts agree bit for bit, no bit of the samples depends on the split.
///
/// Every part has a thread of its own, or more ([`threads`](Split::threads)): a part that uses rayon runs on those. A
/// part with a bound on its rows ([`Model::max_rows`]) is called as often as its share needs. Parts may be of different
/// types, as `Box<dyn ScoreFn<B> + Send>`. What the parts have done is in
/// [`Report::parts`](crate::Report::parts).
///
/// A part that returns an error, panics, or answers numbers that are not finite stops the run with
/// [`Error::Part`] as the source of [`Error::Score`], once the other parts have answered. (Other scores that answer
/// such numbers give [`Error::ScoreNotFinite`].) With
/// [`OnFailure::MoveOn`] it is not called again, and the others evaluate its rows.
///
/// ```
/// use piadm::prelude::*;
/// use piadm::score::Split;
/// let part = || score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v)); // your network, on a device of its own
/// let mut score = Split::new((0..4).map(|_| part()))?;
/// let problem = Problem::new(Ou, Grid::log_snr(50).between(8.0, 0.01), Scheme::ddim()).shape([3]);
/// let split = Picard::default().window(8).sample(&problem, &mut score)?;
/// let whole = Picard::default().window(8).sample(&problem, &mut part())?;
/// assert_eq!(split.samples, whole.samples);
/// assert_eq!(split.report.parts.iter().map(|part| part.rows).sum::<usize>(), split.report.score_rows);
/// # Ok::<(), piadm::Error>(())
/// ```
pub struct Split<S> {
    parts: Vec<S>,
    pools: Vec<ThreadPool>,
    work: Vec<PartWork>,
    shares: Shares,
    on_failure: OnFailure,
    /// Measured seconds per row; 0 for a part that has not been called.
    seconds: Vec<f64>,
}

/// What becomes of a run when a part of a [`Split`] score fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// It stops with a typed error that names the part.
    #[default]
    Stop,
    /// It goes on: the other parts evaluate the rows, and the part is not called again. It stops when no part can
    /// answer a row. [`Report::parts`](crate::Report::parts) says what failed, and [`Split::restore`] calls the part
    /// again.
    MoveOn,
}

impl<S> Debug for Split<S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Split { work, shares, on_failure, .. } = self;
        f.debug_struct("Split").field("parts", work).field("shares", shares).field("on_failure", on_failure).finish()
    }
}

impl<S: Model> Split<S> {
    /// Splits rows equally over these parts.
    ///
    /// # Errors
    /// [`Error::Setting`] without parts, or if one of them has `max_rows` 0; [`Error::Unsupported`] if they differ in
    /// their kind of output, components or heads, or if the threads cannot be started.
    pub fn new(parts: impl IntoIterator<Item = S>) -> Result<Self> {
        let parts: Vec<S> = parts.into_iter().collect();
        let Some(first) = parts.first() else {
            return Err(Error::setting("parts", 0, "at least one part"));
        };
        let kind = |part: &S| (part.prediction(), part.components(), part.heads(), part.is_continuous());
        if let Some(other) = parts.iter().find(|part| kind(part) != kind(first)) {
            let with = format!(
                "parts of unlike networks: (prediction, components, heads, continuous) is {:?} and {:?}",
                kind(first),
                kind(other)
            );
            return Err(Error::unsupported("a split score", with, "take scores of the same network"));
        }
        if parts.iter().any(|part| part.max_rows() == Some(0)) {
            return Err(Error::setting("max_rows", 0, "at least one row a call of every part"));
        }
        let work = vec![PartWork::default(); parts.len()];
        let seconds = vec![0.0; parts.len()];
        let split = Split { parts, pools: vec![], work, shares: Shares::Equal, on_failure: OnFailure::Stop, seconds };
        split.threads(1)
    }

    /// Gives every part so many threads; by default 1.
    ///
    /// # Errors
    /// [`Error::Setting`] for 0; [`Error::Unsupported`] if the threads cannot be started.
    pub fn threads(mut self, threads: usize) -> Result<Self> {
        if threads == 0 {
            return Err(Error::setting("threads", threads, "at least one thread per part"));
        }
        let pool = |part: usize| {
            let name = move |thread| format!("part {part}, thread {thread}");
            ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build()
        };
        self.pools.clear();
        for part in 0..self.parts.len() {
            let refused =
                |error| Error::unsupported("a split score", format!("{error}"), "take fewer parts or threads");
            self.pools.push(pool(part).map_err(refused)?);
        }
        Ok(self)
    }

    /// Shares rows in another way.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are not as many speeds as parts; [`Error::Setting`] for a speed that is not positive
    /// and finite.
    pub fn shares(self, shares: Shares) -> Result<Self> {
        shares.check(self.parts.len())?;
        Ok(Split { shares, ..self })
    }

    /// What becomes of a run when a part fails.
    pub fn on_failure(self, on_failure: OnFailure) -> Self {
        Split { on_failure, ..self }
    }

    /// Calls parts again that have failed.
    pub fn restore(&mut self) {
        self.work.iter_mut().for_each(|work| work.failure = None);
    }

    /// The scores that it is made of.
    pub fn into_parts(self) -> Vec<S> {
        self.parts
    }

    fn works(&self, part: usize) -> bool {
        self.work[part].failure.is_none()
    }

    /// The shares of the parts in so many rows.
    fn counts(&self, rows: usize) -> Vec<usize> {
        let working = || (0..self.parts.len()).filter(|part| self.works(*part));
        let measured = working().all(|part| self.seconds[part] > 0.0);
        let sharer = |part: usize| {
            let grain = self.parts[part].grain().max(1);
            let speed = match &self.shares {
                _ if !self.works(part) => 0.0,
                Shares::Speeds(speeds) => speeds[part],
                Shares::Measured if measured => 1.0 / self.seconds[part],
                Shares::Equal | Shares::Measured | Shares::OnDemand => grain as f64,
            };
            Sharer { speed, grain }
        };
        shares(rows, &(0..self.parts.len()).map(sharer).collect::<Vec<_>>())
    }

    /// Notes what a part has answered. Slow calls are disturbed ones more often than not, so they are believed slowly.
    fn note(&mut self, part: usize, rows: usize, time: Duration) {
        self.work[part].rows += rows;
        self.work[part].time += time;
        if rows == 0 {
            return;
        }
        // a grain takes as long as one row
        let grain = self.parts[part].grain().max(1);
        let whole = rows.checked_next_multiple_of(grain).unwrap_or(grain);
        let (now, known) = (time.as_secs_f64().max(1e-9) / whole as f64, self.seconds[part]);
        self.seconds[part] = if known > 0.0 { now.min(1.05 * known) } else { now };
    }
}

impl<S: Model> Model for Split<S> {
    fn prediction(&self) -> Prediction {
        self.parts[0].prediction()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.parts[0])
    }

    /// No bound: each part keeps to its own.
    fn max_rows(&self) -> Option<usize> {
        None
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        common_times(self.parts.iter().map(Model::time_range))
    }

    fn evaluations(&self, rows: usize) -> usize {
        self.counts(rows).iter().zip(&self.parts).map(|(rows, part)| part.evaluations(*rows)).sum()
    }

    fn grain(&self) -> usize {
        let working = self.parts.iter().enumerate().filter(|(part, _)| self.works(*part));
        working.fold(0, |sum: usize, (_, part)| sum.saturating_add(part.grain())).max(1)
    }

    fn sees_whole_calls(&self) -> bool {
        false
    }

    fn parts(&self) -> &[PartWork] {
        &self.work
    }
}

impl<B: Backend, S: ScoreFn<B> + Send> ScoreFn<B> for Split<S> {
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, mut out: B::ViewMut<'_>) -> std::result::Result<(), BoxError> {
        let of_row @ [seen, answered] = check_call::<B>(x, rows, &out, &*self)?;
        let mut failed = Vec::new();
        let mut waiting: Vec<_> = (!rows.is_empty()).then_some(0..rows.len()).into_iter().collect();
        while let Some(range) = waiting.pop() {
            let piece = Piece {
                x: B::part(x, seen * range.start..seen * range.end),
                rows: rows.range(range.clone()),
                out: B::part_mut(&mut out, answered * range.start..answered * range.end),
                range,
                of_row,
            };
            let (done, left) = self.share_out(piece);
            waiting.extend(left);
            for (part, (range, source)) in done.into_iter().filter_map(|work| Some((work.part, work.failed?))) {
                if self.on_failure == OnFailure::Stop {
                    return Err(Error::Part { part, source }.into());
                }
                self.work[part].failure = Some(source.to_string());
                failed.push(part);
                waiting.push(range);
                if (0..self.parts.len()).all(|part| !self.works(part)) {
                    // what the last part cannot answer either is not the fault of those that failed in this call
                    failed.into_iter().for_each(|part| self.work[part].failure = None);
                    return Err(Error::Part { part, source }.into());
                }
            }
        }
        Ok(())
    }
}

impl<S: Model> Split<S> {
    /// Evaluates these rows with all parts that work; returns what the parts have done, and rows that nobody took.
    fn share_out<B: Backend>(&mut self, piece: Piece<'_, '_, B>) -> (Vec<Done>, Option<Range<usize>>)
    where
        S: ScoreFn<B> + Send,
    {
        let (counts, stop) = (self.counts(piece.rows.len()), self.on_failure == OnFailure::Stop);
        let busy: Vec<usize> = (0..counts.len()).filter(|part| counts[*part] > 0).collect();
        assert!(!busy.is_empty(), "a part that works");
        let queues: Vec<_> = match self.shares {
            Shares::OnDemand => vec![Queue::new(piece, busy.len())],
            _ => piece.cut(busy.iter().map(|part| counts[*part])).map(|share| Queue::new(share, 1)).collect(),
        };
        let of_part = self.parts.iter_mut().zip(&self.pools).enumerate().filter(|(part, _)| counts[*part] > 0);
        let queue_of = queues.iter().cycle();
        let mut jobs: Vec<_> =
            of_part.zip(queue_of).map(|((part, own), queue)| Job::new(part, own, queue, stop)).collect();
        run(&mut jobs);
        let done: Vec<_> = jobs.into_iter().map(Job::done).collect();
        // a part that got no row may have been slow only once: it gets one in time
        let idle = self.seconds.iter_mut().zip(&counts).filter(|(_, count)| **count == 0);
        idle.for_each(|(seconds, _)| *seconds *= 0.95);
        for work in &done {
            self.note(work.part, work.rows, work.time);
        }
        (done, queues.into_iter().find_map(Queue::left))
    }
}
