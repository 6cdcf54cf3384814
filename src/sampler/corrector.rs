//! Predictor and corrector, block by block: PIADM-ODE.

use super::picard::Extent;
use super::{Observer, Path, Picard, Problem, Report, Round, Sampler, Solution, Stop, Window};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::scheme::{Langevin, Level};
use crate::score::ScoreFn;
use ndarray::Array2;
use std::ops::ControlFlow;

/// Langevin correction in units of the noise level: at sigma the friction is `friction`/sigma and a step lasts `step` sigma, since
/// the score's slope is at most 1/sigma^2.
///
/// The paper's orders (arXiv 2405.15986, theorem 3.5), with L = 1/sigma^2: friction O(sqrt L), time O(1/sqrt L), steps of
/// O(1/sqrt d) of it.
///
/// ```
/// use piadm::{Correction, Level, Ou};
/// let langevin = Correction::default().at(&Level::at(&Ou, 0.01));
/// assert!((langevin.friction - 2.0 / 0.0998).abs() < 0.1);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Correction {
    /// gamma sigma; default 2, critical damping.
    pub friction: f64,
    /// Step length over sigma; default 0.1.
    pub step: f64,
    /// Steps a correction; default 10, so a correction lasts sigma.
    pub steps: usize,
}

impl Default for Correction {
    fn default() -> Self {
        Correction { friction: 2.0, step: 0.1, steps: 10 }
    }
}

impl Correction {
    /// The paper's orders for `dim` elements: steps of min(0.1, 1/sqrt d) over a time of 1.
    pub fn for_dim(dim: usize) -> Self {
        let steps = (dim as f64).sqrt().max(10.0).ceil();
        Correction { friction: 2.0, step: 1.0 / steps, steps: steps as usize }
    }

    /// The dynamics at a noise level.
    pub fn at(&self, level: &Level) -> Langevin {
        Langevin { friction: self.friction / level.sigma, step: self.step * level.sigma, steps: self.steps }
    }
}

/// Solves a problem block by block, and after every block corrects the samples by underdamped Langevin dynamics at the noise level
/// that was reached (nothing is corrected at sigma = 0).
///
/// With the probability-flow ODE as the scheme this is PIADM-ODE: the predictor's error does not add up from block to block. `S` is the
/// sampler of both parts: with [`Picard`] both are solved in parallel, with [`Sequential`](super::Sequential) the same trajectory step by step.
/// Corrector steps are counted over the whole run and have noise streams of their own.
///
/// ```
/// use piadm::{Correction, Cpu, Mixture, Ou, Picard, PredictorCorrector, Problem, Sampler, Scheme, TimeGrid};
/// let mut score = Mixture::new(vec![0.5, 0.5], ndarray::array![[-1.0, 0.0], [1.0, 0.0]], vec![0.3, 0.3])?;
/// let grid = TimeGrid::log_snr(&Ou, 5.0, 0.01, 30)?;
/// let problem = Problem::new(Cpu::<f32>::new(), &Ou, grid, Scheme::Ddim { eta: 0.0 }, (4, 2)).seed(1);
/// let solution = PredictorCorrector::<Picard>::new(Correction::default()).sample(&problem, &mut score)?;
/// assert!(solution.report.corrector_rounds > 0);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct PredictorCorrector<S = Picard> {
    /// Length of the blocks between corrections.
    pub block: Window,
    /// Solves the problem inside a block.
    pub predictor: S,
    /// The correction after each block.
    pub correction: Correction,
    /// Solves the correction.
    pub corrector: S,
}

impl PredictorCorrector<Picard> {
    /// PIADM's iteration for both parts, blocks of Ornstein-Uhlenbeck length 1, until every change is at most 1e-2.
    pub fn new(correction: Correction) -> Self {
        PredictorCorrector {
            block: Window::OuTime { ou_time: 1.0 },
            predictor: Picard::piadm(1.0, None),
            correction,
            corrector: Picard { window: Window::Steps(correction.steps.max(1)), ..Picard::piadm(1.0, None) },
        }
    }
}

/// Hands rounds of a part on as rounds of the whole.
struct Part<'a, B: Backend> {
    observer: &'a mut dyn Observer<B>,
    rounds: usize,
    /// Steps finished before this part, and whether its own steps count.
    offset: usize,
    counts: bool,
    steps: usize,
    finished: &'a mut Vec<usize>,
}

impl<B: Backend> Observer<B> for Part<'_, B> {
    fn on_round(&mut self, round: &Round<'_>) -> ControlFlow<()> {
        for (all, part) in self.finished.iter_mut().zip(round.finished) {
            *all = self.offset + if self.counts { *part } else { 0 };
        }
        let (round_number, finished) = (self.rounds + round.round, &*self.finished);
        self.observer.on_round(&Round { round: round_number, finished, steps: self.steps, ..*round })
    }
}

/// Adds the counts of a part.
fn add(total: &mut Report, part: &Report) {
    total.rounds += part.rounds;
    total.score_calls += part.score_calls;
    total.score_rows += part.score_rows;
    total.sample_rounds.iter_mut().zip(&part.sample_rounds).for_each(|(t, p)| *t += p);
    total.residuals.clone_from(&part.residuals);
    total.max_residual = total.max_residual.max(part.max_residual);
    total.score_time += part.score_time;
    total.solver_time += part.solver_time;
    total.probe_rows += part.probe_rows;
    total.probe_time += part.probe_time;
    if part.stop != Stop::Converged {
        total.stop = part.stop;
    }
}

impl<B: Backend, S: Sampler<B>> Sampler<B> for PredictorCorrector<S> {
    fn run(
        &self,
        problem: &Problem<'_, B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Solution<B>> {
        let list = problem.list(score.prediction())?;
        problem.check(&list)?;
        let extent = Extent::new(self.block, &list)?;
        let (first, last, slots) = (list.first_step(), list.last_step(), problem.samples());
        let saved: Vec<usize> = problem.saved_steps(&list);
        let mut path = Path::for_steps(saved.clone(), slots, problem.dim())?;
        let mut x = problem.initial(&list)?;
        keep(&mut path, first, &x);
        let mut report = Report {
            sampler: "predictor-corrector".into(),
            steps: list.steps(),
            samples: slots,
            sample_rounds: vec![0; slots],
            ..Report::default()
        };
        let mut finished = vec![0; slots];
        let mut corrections = 0;
        let mut start = first;
        let mut samples = None;
        while start < last && report.stop != Stop::Cancelled {
            let end_node = extent.end(start, true);
            let Some(node) = list.nodes().get(end_node) else { break };
            let (end, level) = (node.step, node.level);
            // the block's own end is kept after its correction
            let inside = saved.iter().copied().filter(|s| (start + 1..end).contains(s)).collect();
            let block = problem.segment(score.prediction(), start..end, x.view(), inside)?;
            let (offset, rounds) = (start - first, report.rounds);
            let mut part =
                Part { observer, rounds, offset, counts: true, steps: report.steps, finished: &mut finished };
            let predicted = self.predictor.run(&block, score, &mut part)?;
            drop(block);
            add(&mut report, &predicted.report);
            report.sweeps.extend(&predicted.report.sweeps);
            for &step in predicted.path.steps() {
                if let Some(states) = predicted.path.at(step) {
                    keep(&mut path, step, &states.to_owned());
                }
            }
            let mut reached = predicted.samples;
            if level.sigma > 0.0 && report.stop != Stop::Cancelled {
                x = problem.backend().download(&reached, 0..slots)?;
                let list = self.correction.at(&level).list(level, score.prediction(), corrections)?;
                corrections += self.correction.steps;
                let correction = problem.correction(list, x.view());
                let (offset, rounds) = (end - first, report.rounds);
                let mut part =
                    Part { observer, rounds, offset, counts: false, steps: report.steps, finished: &mut finished };
                let corrected = self.corrector.run(&correction, score, &mut part)?;
                drop(correction);
                add(&mut report, &corrected.report);
                report.corrector_rounds += corrected.report.rounds;
                reached = corrected.samples;
            }
            if report.stop != Stop::Cancelled {
                x = problem.backend().download(&reached, 0..slots)?;
                keep(&mut path, end, &x);
                start = end;
            }
            samples = Some(reached);
        }
        let Some(samples) = samples else {
            return Err(Error::setting("steps", 0, "at least 1 step"));
        };
        if report.stop != Stop::Cancelled {
            for (slot, &id) in problem.ids().iter().enumerate() {
                observer.on_sample(slot, id, problem.backend().view(&samples, slot..slot + 1));
            }
        }
        path.truncate(start);
        Ok(Solution { samples, path, report })
    }
}

/// Writes the states of all samples at a step into the path, where it is wanted.
fn keep<T: crate::backend::Real>(path: &mut Path<T>, step: usize, states: &Array2<T>) {
    for (slot, state) in states.outer_iter().enumerate() {
        path.set(step, slot, &state.insert_axis(ndarray::Axis(0)).to_owned());
    }
}
