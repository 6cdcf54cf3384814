//! The rounds of a parallel run.

mod after_sweep;
mod before_sweep;

use crate::backend::Backend;
use crate::engine::accept::acceptance::Acceptance;
use crate::engine::accept::book::Book;
use crate::engine::accept::law::Law;
use crate::engine::entry::Entry;
use crate::engine::iteration::anderson::Anderson;
use crate::engine::observer::{Observer, Round, Silent};
use crate::engine::output::finished_steps;
use crate::engine::reach::Reach;
use crate::engine::round::OfRound;
use crate::engine::settings::Picard;
use crate::engine::sizes::PIECE;
use crate::engine::span::{Move, Span, pieces};
use crate::engine::tracks::{Track, Tracks};
use crate::engine::windows::{self, Windows};
use crate::engine::work::Work;
use crate::error::{Error, Result, reserve};
use crate::nodes::{Nodes, Window};
use crate::problem::{Guarantee, Path, Prepared, Report, Solution, Stop, Variances, Verified};
use crate::score::ScoreFn;
use std::ops::ControlFlow;
use std::sync::Arc;

/// A parallel sampler with its arrays, for problems of one shape. Every run reuses the arrays, so later runs
/// allocate no memory, except for states that are to be saved.
///
/// ```
/// use piadm::{Grid, Ou, Picard, Prediction, Problem, Scheme, score_fn};
/// let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| {
///     out.zip_mut_with(&x, |o, x| *o = -x);
///     Ok(())
/// });
/// let grid = Grid::log_snr(100).between(8.0, 0.01);
/// let mut prepared = Problem::new(Ou, grid, Scheme::default()).samples(4).shape([2]).prepare(&score)?;
/// let mut session = Picard::default().session(&prepared)?;
/// for seed in 0..3 {
///     prepared.reseed(seed);
///     session.run(&prepared, &mut score)?;
///     println!("{} rounds, {}", session.report().rounds, session.samples());
/// }
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Debug)]
pub struct Session<B: Backend> {
    settings: Picard,
    work: Work<B>,
    book: Book,
    anderson: Anderson,
    law: Law,
    tracks: Tracks,
    windows: Windows,
    /// Maximum number of rows per round.
    rows: usize,
    /// The nodes for which the session was made.
    lists: Vec<Arc<Nodes>>,
    /// The window, in nodes if it was given in grains.
    window: Window,
    variances: Option<Variances>,
    of_round: OfRound,
}

impl<B: Backend> Session<B> {
    #[inline(never)] // compiled once: see sampler/compiled.rs
    pub(crate) fn new(settings: &Picard, prepared: &Prepared<B>, name: &str) -> Result<Self> {
        let (sizes, extents, rows) = windows::sizes(settings, prepared)?;
        let windows = Windows::new(settings, extents, rows, (sizes.earlier, sizes.layout.probes))?;
        let mut work = Work::new(prepared, &sizes, name)?;
        work.evaluated.reach = Reach::new(settings.far_stride, &windows.most_rows, prepared.lists(), prepared.count())?;
        // so that rounds do not grow the list
        reserve("the report", &mut work.output.report.sweeps, windows.boundaries.len())?;
        if settings.acceptance == Acceptance::Law {
            let window = sizes.capacities.iter().copied().max().unwrap_or(0);
            work.output.report.verified = Some(Verified::new(prepared.count(), window)?);
        }
        Ok(Session {
            work,
            book: Book::new(&sizes)?,
            anderson: Anderson::new(&sizes)?,
            law: Law::new(&sizes)?,
            tracks: Tracks::new(prepared, &sizes)?,
            windows,
            rows: sizes.layout.evaluations,
            lists: prepared.lists().to_vec(),
            window: settings.window.of_grain(prepared.grain())?,
            variances: prepared.variances().cloned(),
            of_round: OfRound::new(&sizes, prepared.count())?,
            settings: settings.clone(),
        })
    }

    /// Runs the sampler.
    ///
    /// # Errors
    /// As [`Sampler::run`](crate::Sampler::run), and [`Error::Unsupported`] for a problem whose shape differs from
    /// that of the session.
    pub fn run(&mut self, prepared: &Prepared<B>, score: &mut dyn ScoreFn<B>) -> Result<()> {
        self.observe(prepared, score, &mut Silent)
    }

    /// Runs the sampler and reports every round to `observer`.
    ///
    /// # Errors
    /// As [`run`](Session::run).
    #[inline(never)] // compiled once: see sampler/compiled.rs
    pub fn observe(
        &mut self,
        prepared: &Prepared<B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<()> {
        if !self.fits(prepared, score) {
            return Err(Error::unsupported("a session", "a problem of another shape", "make a session for it"));
        }
        self.settings.check_lists(prepared)?;
        self.tracks.restart(prepared);
        self.of_round.finished.fill(0);
        self.work.output.restart();
        self.work.output.open_path(prepared)?;
        self.rounds(prepared, score, observer)
    }

    fn fits(&self, prepared: &Prepared<B>, score: &dyn ScoreFn<B>) -> bool {
        let same = |(own, other): (&Arc<_>, &Arc<_>)| Arc::ptr_eq(own, other) || own == other;
        let tracks = &self.tracks.all;
        let shape = (self.work.output.report.samples, self.work.machine.dim);
        shape == (prepared.count(), prepared.dim())
            && self.lists.len() == prepared.lists().len()
            && self.lists.iter().zip(prepared.lists()).all(same)
            && tracks.iter().all(|track| track.list == prepared.list_of(track.span.slot))
            && self.machine_shape() == prepared.shape()
            && self.variances.as_ref() == prepared.variances()
            && self.settings.window.of_grain(prepared.grain()).is_ok_and(|window| window == self.window)
            && score.prediction() == prepared.prediction()
            && (score.components(), score.heads()) == prepared.shape()
    }

    fn machine_shape(&self) -> (usize, usize) {
        (self.work.machine.layout.seen, self.work.machine.layout.heads)
    }

    /// The samples of the last run.
    pub fn samples(&self) -> B::View<'_> {
        self.work.machine.backend().view(&self.work.output.samples, 0..self.work.output.report.samples)
    }

    /// Copies the samples of the last run to an array of yours (samples x dim).
    ///
    /// # Errors
    /// [`Error::Shape`] if `out` has another shape, `Error::Device` if a device fails.
    pub fn copy_samples(&self, out: ndarray::ArrayViewMut2<'_, B::Elem>) -> Result<()> {
        self.work.machine.backend().read(&self.work.output.samples, out)
    }

    /// The saved states of the last run.
    pub fn path(&self) -> &Path<B::Elem> {
        &self.work.output.path
    }

    /// The report of the last run.
    pub fn report(&self) -> &Report {
        &self.work.output.report
    }

    pub(crate) fn into_solution(self) -> Solution<B> {
        self.work.output.into_solution()
    }

    fn rounds(
        &mut self,
        prepared: &Prepared<B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<()> {
        let mut stopped = None;
        while stopped.is_none() {
            self.fill_round(prepared)?;
            if self.of_round.spans.is_empty() {
                break;
            }
            let before = self.work.output.report.score_rows;
            let spans = std::mem::take(&mut self.of_round.spans);
            let done = self.round(prepared, score, &spans, observer);
            if let Ok(ControlFlow::Break(())) = done {
                self.of_round.spans = spans;
                stopped = Some(Stop::Cancelled);
                break;
            }
            let late = self.settings.deadline.is_some_and(|most| self.work.output.report.rounds >= most);
            let done = match done {
                Ok(_) if late && !self.all_end(prepared, &spans) => self.stay(prepared, &spans),
                Ok(_) => self.move_windows(prepared, &spans, false),
                Err(error) => Err(error),
            };
            let progress = &self.of_round.progress[..spans.len()];
            let residual = progress.iter().fold(0.0, |max, p| f64::max(max, p.residual));
            self.of_round.spans = spans;
            done?;
            self.end_samples(prepared, observer)?;
            let report = &self.work.output.report;
            let round = Round {
                round: report.rounds,
                rows: report.score_rows - before,
                finished: &self.of_round.finished,
                steps: report.steps,
                residual,
            };
            let cancelled = observer.on_round(&round).is_break();
            if self.is_unfinished(prepared) {
                stopped = if cancelled { Some(Stop::Cancelled) } else { late.then_some(Stop::Deadline) };
            }
        }
        if stopped == Some(Stop::Deadline) {
            self.fill_rest(prepared, observer)?;
        } else if stopped.is_some() {
            for track in self.tracks.all.iter().filter(|t| t.open) {
                self.work.output.end(&self.work.machine, &track.span)?;
            }
        }
        let report = &mut self.work.output.report;
        report.stop = stopped.unwrap_or(report.stop);
        let converged = report.stop == Stop::Converged;
        let guarantee = self.settings.acceptance.guarantee::<B::Elem>(prepared.lists().iter().map(|list| &**list));
        report.guarantee = if converged { guarantee } else { Guarantee::None };
        // a sample that has not begun is at node 0
        let tracks = &self.tracks.all;
        self.work.output.finish(prepared, |slot| Some(tracks[slot].span.lo).filter(|lo| *lo > 0))
    }

    /// Runs one round on these windows, up to judging their nodes; `Break` if the observer cancels.
    fn round(
        &mut self,
        prepared: &Prepared<B>,
        score: &mut dyn ScoreFn<B>,
        spans: &[Span],
        observer: &mut dyn Observer<B>,
    ) -> Result<ControlFlow<()>> {
        let evaluated = self.work.evaluate(prepared, score, spans, observer)?;
        if evaluated.is_continue() {
            self.sweep(prepared, spans)?;
            self.after_sweep(prepared, spans)?;
        }
        Ok(evaluated)
    }

    /// Whether all samples are finished after this round.
    fn all_end(&self, prepared: &Prepared<B>, spans: &[Span]) -> bool {
        let last = |slot: usize| prepared.list(slot).nodes().len() - 1;
        let ends = spans.iter().zip(&self.of_round.progress).filter(|(s, p)| s.lo + p.nodes == last(s.slot)).count();
        let left = self.tracks.all.iter().filter(|t| t.span.lo < last(t.span.slot)).count();
        left == ends
    }

    /// Moves the windows to where they have got to but admits no new nodes, so that the evaluations stay: no more
    /// rounds are allowed.
    fn stay(&mut self, prepared: &Prepared<B>, spans: &[Span]) -> Result<()> {
        self.of_round.moves.clear();
        for (span, progress) in spans.iter().zip(&self.of_round.progress) {
            let m = Move { from: *span, to: Span { lo: span.lo + progress.nodes, ..*span } };
            self.work.output.save(prepared, &self.work.machine, &m)?;
            self.tracks.all[span.slot].span = m.to;
            self.of_round.moves.push(m);
        }
        Ok(())
    }

    fn is_unfinished(&self, prepared: &Prepared<B>) -> bool {
        self.tracks.all.iter().any(|t| t.span.lo + 1 < prepared.list(t.span.slot).nodes().len())
    }

    /// Chooses the windows of the next round, in the order of their rings, and begins new ones.
    fn fill_round(&mut self, prepared: &Prepared<B>) -> Result<()> {
        let windows = &self.windows;
        let OfRound { spans, begun, .. } = &mut self.of_round;
        let need = |track: &Track| windows.rows(track);
        self.tracks.fill(prepared, self.rows, need, (spans, begun));
        if self.of_round.begun.is_empty() {
            return Ok(());
        }
        let begun = std::mem::take(&mut self.of_round.begun);
        let done = self.begin(prepared, &begun);
        self.of_round.begun = begun;
        done?;
        for span in &mut self.of_round.spans {
            *span = self.tracks.all[span.slot].span;
        }
        Ok(())
    }

    /// Puts samples at their starts and opens their windows.
    fn begin(&mut self, prepared: &Prepared<B>, spans: &[Span]) -> Result<()> {
        for span in spans {
            self.work.begin(prepared, span.slot, span.ring)?;
        }
        self.work.begin_further(prepared, spans)?;
        self.move_windows(prepared, spans, true)
    }

    /// Sweeps and records the change of every node, in pieces of the batch that keep the program small.
    fn sweep(&mut self, prepared: &Prepared<B>, spans: &[Span]) -> Result<()> {
        let components = self.work.machine.layout.components;
        // a guess that is verified is copied and tried out first
        let targets = if self.settings.acceptance == Acceptance::Law { 2 * components } else { components };
        let mut begin = 0;
        for piece in pieces(spans, PIECE, |span| span.guesses() * targets) {
            let of_piece = begin..begin + piece.len();
            begin = of_piece.end;
            self.before_sweep(prepared, piece, of_piece.clone())?;
            let decisions = &self.of_round.decisions[of_piece];
            let (linearisation, barriers) = (&self.settings.linearisation, &self.windows.barriers);
            self.work.sweep(prepared, (piece, |i| decisions[i]), linearisation, barriers)?;
            let mut first = 0;
            for (span, decision) in piece.iter().zip(decisions) {
                let nodes = prepared.list(span.slot).nodes().iter().enumerate();
                for (j, node) in nodes.take(span.hi + 1).skip(span.lo + 1 + decision.kept) {
                    let change = self.work.change(first, node.width);
                    self.book.note(span.ring, j, change, node.width * prepared.dim());
                    first += node.width;
                }
            }
        }
        Ok(())
    }

    /// Moves the windows of `spans` and admits new nodes; windows that begin have made no progress.
    fn move_windows(&mut self, prepared: &Prepared<B>, spans: &[Span], begin: bool) -> Result<()> {
        let mut moves = std::mem::take(&mut self.of_round.moves);
        moves.clear();
        for (i, span) in spans.iter().enumerate() {
            let lo = span.lo + if begin { 0 } else { self.of_round.progress[i].nodes };
            let from = if self.settings.redraft { Span { hi: lo, ..*span } } else { *span };
            let track = &mut self.tracks.all[span.slot];
            let ended = |end| (track.rounds - self.book.entered(span.ring, end)) as usize;
            let sweeps = &mut self.work.output.report.sweeps;
            self.windows.end_blocks(&mut track.block, lo, ended, sweeps);
            let hi = self.windows.end(track, from.hi, lo);
            let to = Span { lo, hi, ..*span };
            track.span = to;
            for j in from.hi + 1..=hi {
                self.book.enter(span.ring, j, track.rounds);
            }
            moves.push(Move { from, to });
        }
        let (entry, linearisation) = (&self.settings.entry, &self.settings.linearisation);
        let done = self.work.advance(prepared, &moves, Some(entry), linearisation);
        self.of_round.moves = moves;
        done
    }

    /// Delivers the samples that are finished and frees their rings.
    fn end_samples(&mut self, prepared: &Prepared<B>, observer: &mut dyn Observer<B>) -> Result<()> {
        // observers get samples in batch order
        self.of_round.moves.sort_unstable_by_key(|m| m.to.slot);
        for m in &self.of_round.moves {
            let (slot, list) = (m.to.slot, prepared.list(m.to.slot));
            self.of_round.finished[slot] = finished_steps(list, m.to.lo);
            if m.to.lo + 1 == list.nodes().len() {
                self.work.output.end(&self.work.machine, &m.to)?;
                self.tracks.close(slot);
                let state = self.work.output.view(prepared.backend(), slot);
                observer.on_sample(slot, prepared.ids()[slot], state);
            }
        }
        Ok(())
    }

    /// Fills the remaining nodes with first guesses from the last evaluation, and delivers the samples.
    fn fill_rest(&mut self, prepared: &Prepared<B>, observer: &mut dyn Observer<B>) -> Result<()> {
        let last = |slot: usize| prepared.list(slot).nodes().len() - 1;
        let OfRound { moves, spans, .. } = &mut self.of_round;
        moves.retain(|m| m.to.lo < last(m.to.slot));
        // samples that waited in this round have no evaluation from it
        let waits = |slot: usize| !moves.iter().any(|m| m.to.slot == slot);
        spans.clear();
        spans.extend(self.tracks.all.iter().filter(|t| t.open && waits(t.span.slot)).map(|t| t.span));
        let entry = self.settings.entry.still(prepared.prediction());
        for m in moves.iter() {
            self.work.fill(prepared, m, &entry, &self.settings.linearisation)?;
        }
        for &span in spans.iter() {
            self.work.fill(prepared, &Move { from: span, to: span }, &Entry::Copy, &self.settings.linearisation)?;
        }
        // samples that have not begun stay at their start
        spans.extend(moves.iter().map(|m| m.to));
        spans.sort_unstable_by_key(|span| span.slot);
        for span in &self.of_round.spans {
            let end = Span { lo: last(span.slot), hi: last(span.slot), ..*span };
            self.tracks.all[span.slot].span = end;
            self.work.output.end(&self.work.machine, &end)?;
            let state = self.work.output.view(prepared.backend(), span.slot);
            observer.on_sample(span.slot, prepared.ids()[span.slot], state);
        }
        Ok(())
    }
}
