//! One node after another: the reference for every parallel run.

use crate::backend::Backend;
use crate::engine::accept::coupling::Decision;
use crate::engine::iteration::linearisation::Linearisation;
use crate::engine::observer::{Observer, Round};
use crate::engine::output::finished_steps;
use crate::engine::ring::Ring;
use crate::engine::sizes::{PIECE, Room, Sizes};
use crate::engine::span::{Move, Span, pieces};
use crate::engine::work::Work;
use crate::error::{Result, filled, reserved};
use crate::problem::{Guarantee, Prepared, Problem, Solution, Stop};
use crate::sampler::interface::Sampler;
use crate::score::ScoreFn;

/// Ordinary sampling: one evaluation of the whole batch per node, one node after another. It runs the same
/// arithmetic as the parallel samplers, which reproduce it bit for bit at a tolerance of zero.
///
/// ```
/// use piadm::{Cpu, Grid, Ou, Prediction, Problem, Sampler, Scheme, Sequential, score_fn};
/// let mut score = score_fn::<f64>(Prediction::Score, |x, _, mut out| {
///     out.zip_mut_with(&x, |o, x| *o = -x);
///     Ok(())
/// });
/// let grid = Grid::uniform(40).between(4.0, 0.1);
/// let problem = Problem::on(Cpu::<f64>::new(), Ou, grid, Scheme::default()).samples(2).shape([3]);
/// let solution = Sequential.sample(&problem, &mut score)?;
/// assert_eq!((solution.report.rounds, solution.report.score_rows), (40, 80));
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sequential;

/// Corrections vanish in a window of one node, so all linearisations give the same result.
const ANY: Linearisation = Linearisation::FrozenScore;

impl<B: Backend> Sampler<B> for Sequential {
    #[inline(never)] // compiled once: see sampler/compiled.rs
    fn run(
        &self,
        problem: &Problem<B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Solution<B>> {
        let prepared = problem.prepare(&*score)?;
        let samples = prepared.count();
        let room =
            Room { lanes: samples, evaluations: samples, earlier: false, history: 0, verified: false, probes: None };
        let windows = vec![1; prepared.lists().len()];
        let sizes = Sizes::new(&prepared, &windows, room)?;
        let mut work = Work::new(&prepared, &sizes, "sequential")?;
        work.output.open_path(&prepared)?;
        let (mut spans, mut moves) = begin(&prepared, &sizes, &mut work)?;
        let mut finished = filled("finished steps", samples, 0)?;
        let mut reached = filled("finished nodes", samples, 0)?;
        let last = |slot: usize| prepared.list(slot).nodes().len() - 1;
        while !spans.is_empty() {
            let before = work.output.report.score_rows;
            if work.evaluate(&prepared, score, &spans, observer)?.is_break() {
                work.output.report.stop = Stop::Cancelled;
                break;
            }
            for piece in pieces(&spans, PIECE, |span| prepared.list(span.slot).components()) {
                work.sweep(&prepared, (piece, |_| Decision::default()), &ANY, &[])?;
            }
            moves.clear();
            for span in &mut spans {
                let to = Span { lo: span.hi, hi: (span.hi + 1).min(last(span.slot)), ..*span };
                moves.push(Move { from: *span, to });
                reached[span.slot] = to.lo;
                finished[span.slot] = finished_steps(prepared.list(span.slot), to.lo);
                *span = to;
            }
            work.advance(&prepared, &moves, None, &ANY)?;
            for span in spans.iter().filter(|span| span.lo == last(span.slot)) {
                work.output.end(&work.machine, span)?;
                let state = work.output.view(prepared.backend(), span.slot);
                observer.on_sample(span.slot, prepared.ids()[span.slot], state);
            }
            spans.retain(|span| span.lo < last(span.slot));
            let report = &work.output.report;
            let rows = report.score_rows - before;
            let (round, steps) = (report.rounds, report.steps);
            let news = Round { round, rows, finished: &finished, steps, residual: 0.0 };
            if observer.on_round(&news).is_break() && !spans.is_empty() {
                work.output.report.stop = Stop::Cancelled;
                break;
            }
        }
        for span in &spans {
            work.output.end(&work.machine, span)?;
        }
        let report = &mut work.output.report;
        report.guarantee = if report.stop == Stop::Converged { Guarantee::Bits } else { Guarantee::None };
        work.output.finish(&prepared, |slot| Some(reached[slot]))?;
        Ok(work.output.into_solution())
    }
}

/// Puts all samples at their start, with windows of one node.
fn begin<B: Backend>(prepared: &Prepared<B>, sizes: &Sizes, work: &mut Work<B>) -> Result<(Vec<Span>, Vec<Move>)> {
    let what = "the windows of a round";
    let (mut spans, mut moves) = (reserved(what, prepared.count())?, reserved(what, prepared.count())?);
    for slot in 0..prepared.count() {
        let ring = Ring { first: slot * sizes.layout.unit, capacity: sizes.layout.unit };
        let from = Span { slot, ring, lo: 0, hi: 0 };
        work.begin(prepared, slot, ring)?;
        spans.push(Span { hi: 1, ..from });
        moves.push(Move { from, to: Span { hi: 1, ..from } });
    }
    work.begin_further(prepared, &spans)?;
    work.advance(prepared, &moves, None, &ANY)?;
    Ok((spans, moves))
}
