//! One node after another: the reference of every parallel run.

use super::arrays::Room;
use super::picard::Linearisation;
use super::workspace::{Move, Span, Workspace};
use super::{Observer, Problem, Round, Sampler, Solution, Stop};
use crate::backend::Backend;
use crate::error::Result;
use crate::score::ScoreFn;

/// Ordinary sampling, one evaluation of the whole batch after another. It runs the same arithmetic as the parallel samplers, which
/// reproduce it bit for bit at a tolerance of zero.
///
/// ```
/// use piadm::{Cpu, Ou, Prediction, Problem, Sampler, Scheme, Sequential, TimeGrid, score_fn};
/// let mut score = score_fn::<f64>(Prediction::Score, |x, _, mut out| { out.zip_mut_with(&x, |o, x| *o = -x); Ok(()) });
/// let grid = TimeGrid::uniform(4.0, 0.1, 40)?;
/// let problem = Problem::new(Cpu::<f64>::new(), &Ou, grid, Scheme::default(), (2, 3));
/// let solution = Sequential.sample(&problem, &mut score)?;
/// assert_eq!((solution.report.rounds, solution.report.score_rows), (40, 80));
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sequential;

impl<B: Backend> Sampler<B> for Sequential {
    fn run(
        &self,
        problem: &Problem<'_, B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Solution<B>> {
        let list = problem.list(score.prediction())?;
        problem.check(&list)?;
        let samples = problem.samples();
        let mut work = Workspace::new(
            problem,
            list,
            &*score,
            Room { window: 1, lanes: samples, rows: samples, earlier: false, history: 0 },
            "sequential",
        )?;
        let (last, steps) = (work.last(), work.list.steps());
        // corrections vanish in a window of one node: every linearisation gives the same
        let linearisation = Linearisation::FrozenScore;
        let mut spans: Vec<Span> = (0..samples).map(|slot| Span { slot, lane: slot, lo: 0, hi: 1 }).collect();
        for span in &spans {
            work.begin(span.slot, span.lane)?;
        }
        let mut moves: Vec<Move> = spans.iter().map(|&to| Move { from: Span { hi: to.lo, ..to }, to }).collect();
        work.advance(&moves, None, &linearisation)?;
        let mut finished = vec![0; spans.len()];
        let mut reached = 0;
        for j in 1..=last {
            let before = work.report.score_rows;
            work.evaluate(score, &spans)?;
            work.sweep(&spans, &linearisation)?;
            for (m, span) in moves.iter_mut().zip(&mut spans) {
                let to = Span { lo: j, hi: (j + 1).min(last), ..*span };
                *m = Move { from: *span, to };
                *span = to;
            }
            work.advance(&moves, None, &linearisation)?;
            reached = j;
            if j == last {
                for span in &spans {
                    work.end(span)?;
                }
                for (slot, &id) in problem.ids().iter().enumerate() {
                    observer.on_sample(slot, id, work.view_sample(slot));
                }
            }
            finished.fill(work.finished_steps(j));
            let report = &work.report;
            let rows = report.score_rows - before;
            let round = Round { round: report.rounds, rows, finished: &finished, steps, residual: 0.0 };
            if observer.on_round(&round).is_break() && j < last {
                work.report.stop = Stop::Cancelled;
                break;
            }
        }
        if reached < last {
            for span in &spans {
                work.end(span)?;
            }
        }
        work.finish(|_| Some(reached))
    }
}
