//! The parallel sampler: one engine for every published iteration, told apart by plain values.

use crate::backend::Backend;
use crate::engine::accept::acceptance::{Acceptance, Sweeps};
use crate::engine::entry::Entry;
use crate::engine::iteration::linearisation::Linearisation;
use crate::engine::observer::Observer;
use crate::engine::session::Session;
use crate::engine::settings::{Coupling, Picard, Policy};
use crate::engine::windows;
use crate::error::{Error, Result};
use crate::nodes::Window;
use crate::problem::{Prepared, Problem, Solution};
use crate::sampler::interface::Sampler;
use crate::score::{Model, ScoreFn};
use std::time::Instant;

impl Picard {
    /// Samples that have exactly the law of sequential ones ([`Acceptance::Law`]), for lists with noise: the default
    /// iteration on a window of 64 steps, whose guesses are verified.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let grid = Grid::log_snr(100).between(8.0, 0.01);
    /// let problem = Problem::new(Ou, grid, Scheme::default()).samples(4).shape([2]).seed(1);
    /// let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v)); // of data N(0, 1)
    /// let solution = Picard::exact_in_law().window(32).sample(&problem, &mut score)?;
    /// assert_eq!(solution.report.guarantee, piadm::Guarantee::Law);
    /// assert!(solution.report.rounds < 50);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn exact_in_law() -> Self {
        Picard::default().acceptance(Acceptance::Law)
    }

    /// Speculative sampling with a frozen draft: autospeculative decoding (ASD, arXiv 2505.03983) and speculative
    /// sampling without a draft network (arXiv 2501.05370). The nodes of a window are drafted with the data prediction
    /// of the last final node, evaluated in one call and verified ([`Acceptance::Law`]); from the first one that is
    /// refused on, they are drafted anew.
    ///
    /// A draft takes the last output that is known instead of a call of its own at the refused node, so that a draft
    /// costs one round and not two.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let problem = Problem::new(Ou, Grid::log_snr(100).between(8.0, 0.01), Scheme::default()).samples(4).shape([2]);
    /// let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v)); // of data N(0, 1)
    /// let drafts = Picard::frozen_draft(32).sample(&problem, &mut score)?.report;
    /// let sweeps = Picard::exact_in_law().window(32).sample(&problem, &mut score)?.report;
    /// assert_eq!(drafts.guarantee, sweeps.guarantee);
    /// assert!(sweeps.rounds < drafts.rounds);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn frozen_draft(window: usize) -> Self {
        let entry = Entry::HeldData { variance: 0.0 };
        let linearisation = Linearisation::FrozenScore; // nothing is swept
        Picard::exact_in_law().window(window).entry(entry).linearisation(linearisation).redraft(true)
    }

    /// PIADM's iteration (arXiv 2405.15986, algorithms 1 and 2) with blocks of Ornstein-Uhlenbeck length `h`, swept
    /// `depth` times, or, for `None`, until every node of every sample changes by at most 1e-2.
    pub fn piadm(h: f64, depth: Option<usize>) -> Self {
        Picard {
            policy: Policy::Blocks,
            window: Window::OuTime { ou_time: h },
            linearisation: Linearisation::FrozenScore,
            probes: None,
            entry: Entry::Copy,
            warm_up: 0,
            far_stride: None,
            acceptance: if depth.is_some() { Acceptance::Exact } else { Acceptance::change(1e-2) },
            sweeps: depth.map_or(Sweeps::Unbounded, Sweeps::AtMost),
            coupling: Coupling::WholeBatch,
            row_budget: None,
            anderson: 0,
            redraft: false,
            deadline: None,
        }
    }

    /// ParaDiGMS (arXiv 2305.16317): identity, sliding window, copied entry, the batch moves with its slowest sample;
    /// `tolerance` in units of the posterior's standard deviation (published: 0.1 for DDPM).
    pub fn paradigms(window: usize, tolerance: f64) -> Self {
        Picard {
            policy: Policy::Sliding,
            window: Window::Steps(window),
            linearisation: Linearisation::Identity,
            entry: Entry::Copy,
            acceptance: Acceptance::Change { absolute: 0.0, relative: 0.0, posterior: tolerance },
            coupling: Coupling::WholeBatch,
            ..Picard::default()
        }
    }

    /// ParaSolver (Lu, Zhu, Hou, *ParaSolver: A Hierarchical Parallel Integral Solver for Diffusion Models*, ICLR 2025)
    /// with one step per subinterval, the published choice: [`paradigms`](Picard::paradigms) after `first_steps`
    /// sequential steps, where new nodes take the scheme's own steps with the last data prediction of the window. The
    /// authors' code has `first_steps` = 5 and `tolerance` = 0.55 for DDPM, 1 and 0.005 to 0.05 for DDIM. It evaluates
    /// the first steps once more in its first window; here the window begins behind them.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let grid = Grid::log_snr(200).between(8.0, 0.01);
    /// let problem = Problem::new(Ou, grid, Scheme::ddpm()).samples(2).shape([3]).seed(1);
    /// let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v));
    /// let rounds = |sampler: Picard, score: &mut dyn ScoreFn<_>| Ok(sampler.sample(&problem, score)?.report.rounds);
    /// assert!(rounds(Picard::parasolver(50, 5, 0.1), &mut score)? < rounds(Picard::paradigms(50, 0.1), &mut score)?);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn parasolver(window: usize, first_steps: usize, tolerance: f64) -> Self {
        Picard {
            entry: Entry::HeldData { variance: 0.0 },
            warm_up: first_steps,
            ..Picard::paradigms(window, tolerance)
        }
    }

    /// ParaTAA (arXiv 2402.09970): J = 0, triangular Anderson acceleration over `memory` sweeps (published: 2 to 3), a
    /// sliding window with copied entry; `tolerance` bounds the change in units of the state.
    pub fn parataa(window: usize, memory: usize, tolerance: f64) -> Self {
        Picard {
            policy: Policy::Sliding,
            window: Window::Steps(window),
            linearisation: Linearisation::FrozenScore,
            entry: Entry::Copy,
            acceptance: Acceptance::change(tolerance),
            anderson: memory,
            ..Picard::default()
        }
    }

    /// The wavefront of Zhou and Sugiyama (arXiv 2412.07435): PIADM's blocks of Ornstein-Uhlenbeck length `h`, each
    /// swept `depth` times, but without a barrier: every round begins a block, so that N blocks take N + `depth` - 1
    /// rounds.
    pub fn zhou_sugiyama(h: f64, depth: usize) -> Self {
        Picard {
            policy: Policy::Wavefront { blocks: depth },
            coupling: Coupling::PerSample,
            ..Picard::piadm(h, Some(depth))
        }
    }

    /// This sampler with its arrays, for many runs of one shape.
    ///
    /// # Errors
    /// As a run, for bad settings and for memory that cannot be had.
    pub fn session<B: Backend>(&self, prepared: &Prepared<B>) -> Result<Session<B>> {
        Session::new(self, prepared, "picard")
    }
}

impl<B: Backend> Sampler<B> for Picard {
    #[inline(never)] // compiled once: see sampler/compiled.rs
    fn run(
        &self,
        problem: &Problem<B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Solution<B>> {
        let started = Instant::now();
        let prepared = problem.prepare(&*score)?;
        let mut session = self.session(&prepared)?;
        session.observe(&prepared, score, observer)?;
        let mut solution = session.into_solution();
        // here arrays are part of the run
        solution.report.solver_time = started.elapsed().saturating_sub(solution.report.score_time);
        Ok(solution)
    }
}

impl<B: Backend> Problem<B> {
    /// Bytes of memory that a parallel run takes: arrays, which depend on the window and not on the number of steps,
    /// starts and samples, lists of nodes, and what is noted of every node of the windows. Saved states and the score's
    /// own memory come on top.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let bytes = |steps| {
    ///     let grid = Grid::log_snr(steps).between(6.0, 0.01);
    ///     let problem = Problem::new(Ou, grid, Scheme::default()).samples(8).shape([3, 64, 64]);
    ///     problem.memory_estimate(&Picard::default().window(32), &Prediction::Noise)
    /// };
    /// assert!(bytes(10_000)? < 2 * bytes(100)?);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    ///
    /// # Errors
    /// As the run itself, but for the lack of memory.
    pub fn memory_estimate(&self, sampler: &Picard, model: &(impl Model + ?Sized)) -> Result<usize> {
        let outline = self.outline(model)?;
        let (sizes, ..) = windows::sizes(sampler, &outline)?;
        sizes
            .bytes::<B::Elem>()
            .ok_or_else(|| Error::TooLarge { what: "working memory", why: "more bytes than can be addressed".into() })
    }
}
