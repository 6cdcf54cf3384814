//! The parallel sampler: one engine for every published iteration, told apart by plain values.

mod engine;
mod linearisation;
mod tolerance;
mod window;

pub use linearisation::{Entry, Linearisation};
pub(super) use linearisation::{FIRST_VARIANCE, Place};
pub use tolerance::Tolerance;
pub use window::{Policy, Window};

use super::anderson::MOST_MEMORY;
use super::arrays::Room;
use super::{Observer, Problem, Sampler, Solution};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::scheme::Discretisation;
use crate::score::ScoreFn;
pub(super) use window::Extent;

/// Whether samples wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Coupling {
    /// Each sample moves its own window and leaves the batch when it is done.
    #[default]
    PerSample,
    /// All windows move with the slowest sample (ParaDiGMS; PIADM's barrier for a batch).
    WholeBatch,
}

/// What happens to a node that was swept `max_sweeps` times and still fails the tolerance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum OnStall {
    /// The run fails with [`Error::NotConverged`].
    #[default]
    Error,
    /// It is accepted as it is, and the report says [`Stop::Depth`](super::Stop::Depth). With a tolerance of zero this is a fixed depth, as
    /// in the paper.
    Accept,
}

/// Parallel-in-time sampling: all nodes of a window are guessed, evaluated in one batch and corrected by one sweep, round after round.
///
/// After k sweeps the first k nodes of a window are exact, so no window needs more sweeps than it has nodes; usually a few sweeps
/// bring every node within the tolerance.
///
/// ```
/// use piadm::{Cpu, Ou, Picard, Prediction, Problem, Sampler, Scheme, Sequential, TimeGrid, Tolerance, score_fn};
/// let grid = TimeGrid::log_snr(&Ou, 8.0, 0.01, 100)?;
/// let problem = Problem::new(Cpu::<f32>::new(), &Ou, grid, Scheme::default(), (4, 2)).seed(1);
/// // data N(0, 1): the score is -x at every time
/// let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| { out.zip_mut_with(&x, |o, x| *o = -x); Ok(()) });
/// let exact = Picard { tolerance: Tolerance::ZERO, ..Picard::default() };
/// let parallel = exact.sample(&problem, &mut score)?;
/// let sequential = Sequential.sample(&problem, &mut score)?;
/// assert_eq!(parallel.samples, sequential.samples);
/// assert!(parallel.report.rounds < sequential.report.rounds);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
pub struct Picard {
    /// Blocks with a barrier, or a sliding window (default).
    pub policy: Policy,
    /// Length of a block or window; default 64 steps.
    pub window: Window,
    /// What a sweep assumes of the network's slope.
    pub linearisation: Linearisation,
    /// First guess of a new node.
    pub entry: Entry,
    /// When a node is accepted; default an estimated error of 1e-2.
    pub tolerance: Tolerance,
    /// The most sweeps a node may take; `None` (default) sweeps until it is accepted.
    pub max_sweeps: Option<usize>,
    /// What happens then.
    pub on_stall: OnStall,
    /// Whether samples wait for each other; default no.
    pub coupling: Coupling,
    /// The most score rows a round may hold: it takes whole windows of as many samples as fit, in the order of the batch, and a sample
    /// that is done makes room for the next, so that a long queue keeps a device full and takes the memory of a few. Results
    /// do not depend on it: with the secant, which compares rounds in a row, a sample that has begun never waits but keeps the
    /// rows of the longest window it will still have, so windows of equal length fill a round best. `None` (default) takes all
    /// samples at once.
    pub row_budget: Option<usize>,
    /// Triangular Anderson acceleration over this many past sweeps, at most 6 (ParaTAA); 0 (default) is none. It helps
    /// slow iterations such as `FrozenScore`, not the secant.
    pub anderson: usize,
}

impl Picard {
    /// PIADM's iteration (arXiv 2405.15986, algorithms 1 and 2) with blocks of Ornstein-Uhlenbeck length `h`, swept `depth` times, or, for
    /// `None`, until every node of every sample changes by at most 1e-2.
    pub fn piadm(h: f64, depth: Option<usize>) -> Self {
        Picard {
            policy: Policy::Blocks,
            window: Window::OuTime { ou_time: h },
            linearisation: Linearisation::FrozenScore,
            entry: Entry::Copy,
            tolerance: if depth.is_some() { Tolerance::ZERO } else { Tolerance::absolute(1e-2) },
            max_sweeps: depth,
            on_stall: if depth.is_some() { OnStall::Accept } else { OnStall::Error },
            coupling: Coupling::WholeBatch,
            row_budget: None,
            anderson: 0,
        }
    }

    /// ParaDiGMS (arXiv 2305.16317): identity, sliding window, copied entry, the batch moves with its slowest sample; `tolerance` in
    /// units of the posterior's standard deviation (published: 0.1 for DDPM).
    pub fn paradigms(window: usize, tolerance: f64) -> Self {
        Picard {
            policy: Policy::Sliding,
            window: Window::Steps(window),
            linearisation: Linearisation::Identity,
            entry: Entry::Copy,
            tolerance: Tolerance { posterior: tolerance, ..Tolerance::ZERO },
            coupling: Coupling::WholeBatch,
            ..Picard::default()
        }
    }

    /// ParaTAA (arXiv 2402.09970): J = 0, triangular Anderson acceleration over `memory` sweeps (published: 2 to 3), a sliding window with
    /// copied entry; `tolerance` bounds the change in units of the state.
    pub fn parataa(window: usize, memory: usize, tolerance: f64) -> Self {
        Picard {
            policy: Policy::Sliding,
            window: Window::Steps(window),
            linearisation: Linearisation::FrozenScore,
            entry: Entry::Copy,
            tolerance: Tolerance::absolute(tolerance),
            anderson: memory,
            ..Picard::default()
        }
    }

    /// The wavefront of Zhou and Sugiyama (arXiv 2412.07435): PIADM's blocks of Ornstein-Uhlenbeck length `h`, each swept `depth`
    /// times, but without a barrier: every round begins a block, so that N blocks take N + `depth` - 1 rounds.
    pub fn zhou_sugiyama(h: f64, depth: usize) -> Self {
        Picard {
            policy: Policy::Wavefront { blocks: depth },
            coupling: Coupling::PerSample,
            ..Picard::piadm(h, Some(depth))
        }
    }

    fn check(&self) -> Result<()> {
        self.tolerance.check()?;
        self.linearisation.check()?;
        self.entry.check()?;
        if self.policy.blocks() == Some(0) {
            return Err(Error::setting("policy.wavefront.blocks", 0, "at least 1 open block"));
        }
        if self.anderson > MOST_MEMORY {
            return Err(Error::setting("anderson", self.anderson, "at most 6 past sweeps"));
        }
        if self.max_sweeps == Some(0) {
            return Err(Error::setting("max_sweeps", 0, "at least 1 sweep"));
        }
        Ok(())
    }

    /// What the windows of this sampler need room for.
    pub(super) fn room(&self, list: &Discretisation, samples: usize) -> Result<Room> {
        self.check()?;
        let window = Extent::new(self.window, list)?.most_nodes(self.policy).first().copied().unwrap_or(1);
        let earlier = self.linearisation.is_measured();
        // what cannot be allocated is reported there
        let history = if self.anderson > 0 { self.anderson + 1 } else { 0 };
        let all = Room { window, lanes: samples, rows: samples.saturating_mul(window), earlier, history };
        match self.row_budget {
            None => Ok(all),
            Some(rows) if rows < window => {
                Err(Error::setting("row_budget", rows, "at least the nodes of one window, or a shorter window"))
            }
            Some(rows) if rows >= all.rows => Ok(all),
            Some(_) if self.coupling == Coupling::WholeBatch => {
                Err(Error::setting("row_budget", "fewer rows than the batch", "none where samples wait for each other"))
            }
            // windows shrink at the end of a trajectory, so more may be open than fit as a whole
            Some(rows) => Ok(Room { lanes: samples.min(2 * (rows / window) + 1), rows, ..all }),
        }
    }
}

impl<B: Backend> Sampler<B> for Picard {
    fn run(
        &self,
        problem: &Problem<'_, B>,
        score: &mut dyn ScoreFn<B>,
        observer: &mut dyn Observer<B>,
    ) -> Result<Solution<B>> {
        self.check()?;
        engine::run(self, problem, score, observer, "picard")
    }
}
