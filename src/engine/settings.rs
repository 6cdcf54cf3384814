//! The settings of a parallel run.

#[cfg(feature = "serde")]
mod written;

use crate::backend::Backend;
use crate::engine::accept::acceptance::{Acceptance, Sweeps};
use crate::engine::entry::Entry;
use crate::engine::iteration::anderson::MOST_MEMORY;
use crate::engine::iteration::linearisation::Linearisation;
use crate::engine::iteration::probes::Probes;
use crate::engine::reach::{MOST_STRIDE, reaching};
use crate::engine::sizes::Room;
use crate::error::{Error, Result};
use crate::names::names;
use crate::nodes::{Nodes, Window};
use crate::problem::Prepared;
use crate::score::Prediction;
use crate::setters::setters;

/// Which nodes are swept together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Policy {
    /// Blocks with a barrier: a block is swept until all its nodes are accepted, then the next one begins (PIADM).
    Blocks,
    /// The window slides past every accepted node (ParaDiGMS).
    #[default]
    Sliding,
    /// Blocks without a barrier: a new block begins in every round, up to a maximum number of open blocks. Sweep j
    /// of a block starts from the end state that the block before it had after its own sweep j (Zhou and Sugiyama,
    /// arXiv 2412.07435).
    Wavefront {
        /// Maximum number of open blocks; 1 is `Blocks`.
        blocks: usize,
    },
}

names! { Policy, "policy";
    Blocks = "blocks", Sliding = "sliding", Wavefront = "wavefront" { blocks: "how many blocks are open at a time" }
}

impl Policy {
    /// Maximum number of open blocks; `None` for policies without blocks.
    pub(crate) fn blocks(self) -> Option<usize> {
        match self {
            Policy::Blocks => Some(1),
            Policy::Wavefront { blocks } => Some(blocks),
            Policy::Sliding => None,
        }
    }
}

/// Whether samples wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Coupling {
    /// Each sample moves its own window and leaves the batch when it is finished.
    #[default]
    PerSample,
    /// All windows move with the slowest sample (ParaDiGMS; for a batch, also PIADM's barrier). Each sample then
    /// depends on the others, up to the tolerance.
    WholeBatch,
}

names! { Coupling, "coupling"; PerSample = "per_sample", WholeBatch = "whole_batch" }

/// Parallel-in-time sampling: all nodes of a window are guessed, evaluated in one batch and corrected by one sweep,
/// round after round.
///
/// After k sweeps the first k nodes of a window are exact, so no window needs more sweeps than it has nodes.
/// Usually a few sweeps bring every node within the tolerance.
///
/// ```
/// use piadm::{Acceptance, Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme, Sequential, score_fn};
/// let grid = Grid::log_snr(100).between(8.0, 0.01);
/// let problem = Problem::new(Ou, grid, Scheme::default()).samples(4).shape([2]).seed(1);
/// // data N(0, 1): the score is -x at every time
/// let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| {
///     out.zip_mut_with(&x, |o, x| *o = -x);
///     Ok(())
/// });
/// let exact = Picard::default().acceptance(Acceptance::Exact);
/// let parallel = exact.sample(&problem, &mut score)?;
/// let sequential = Sequential.sample(&problem, &mut score)?;
/// assert_eq!(parallel.samples, sequential.samples);
/// assert!(parallel.report.rounds < sequential.report.rounds);
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "written::Written", into = "written::Written"))]
#[non_exhaustive]
pub struct Picard {
    /// Blocks with or without a barrier, or a sliding window (default).
    pub policy: Policy,
    /// Length of a block or window; default: 64 steps. A bare number means steps: `.window(32)`.
    pub window: Window,
    /// What a sweep assumes about the network's slope.
    pub linearisation: Linearisation,
    /// Additional rows that show more of the network's slope than the single number that a secant measures, for wide
    /// windows on many devices. Needs `Linearisation::Secant` and a sliding window in steps, nodes or times; not with
    /// `far_stride`, `anderson` or `Acceptance::Law`. Default: none.
    pub probes: Option<Probes>,
    /// First guess of a new node.
    pub entry: Entry,
    /// Number of steps that are taken one at a time before the window opens, for a first window whose guesses come from
    /// a better prediction (ParaSolver); default: 0. For sliding windows only.
    pub warm_up: usize,
    /// Lets a window reach further than its rows: a quarter of them goes to every so-many-th of the nodes behind the
    /// others, and the data prediction is interpolated between these. A window of 64 steps with a stride of 3 reaches
    /// 96 steps. A sample begins with all rows on its nearest nodes. It changes over after a round that finished less
    /// than three quarters of a window, and back after three rounds that got as far as they could. Saves about a tenth
    /// of the rounds and rows of SDEs with hundreds of steps on trained networks (`results/strided.md`). Only nodes
    /// before the first that was not evaluated are accepted: tolerances mean what they mean without it. 2 to 64, for
    /// sliding windows of steps, nodes or grains without a bound on sweeps; `None` (default): all are evaluated.
    pub far_stride: Option<usize>,
    /// When a node is accepted; default: at an estimated error of 1e-2.
    pub acceptance: Acceptance,
    /// How often a node may be swept; default: until it is accepted.
    pub sweeps: Sweeps,
    /// Whether samples wait for each other; default: no.
    pub coupling: Coupling,
    /// Maximum number of score rows per round. A round takes whole windows of as many samples as fit, those with the
    /// most nodes first. A finished sample gives its rows to the next one: a queue needs the memory of a few samples.
    ///
    /// Results do not depend on the budget. The secant compares consecutive rounds, so with it a sample that has
    /// begun never waits; it reserves the rows of the longest window still ahead of it. Windows of equal length
    /// therefore fill a round best. The budget is cut to a multiple of the rows that the network takes at once
    /// ([`Model::grain`](crate::Model::grain)) if a window still fits. `None` (default) takes all samples at once.
    pub row_budget: Option<usize>,
    /// Number of past sweeps for triangular Anderson acceleration (ParaTAA), at most 6; 0 (default) turns it off.
    /// It helps slow iterations such as `FrozenScore`, but not the secant.
    pub anderson: usize,
    /// Whether guesses after the first node that is not kept are made anew from it, by `entry`, instead of being swept;
    /// for [`Acceptance::Law`] only. With a frozen entry this is speculative sampling ([`Picard::frozen_draft`]);
    /// default: no.
    pub redraft: bool,
    /// Maximum number of rounds, for applications that must act in time, such as robots. The nodes that remain
    /// after the last round are filled with first guesses from the last evaluation of their sample. Samples that
    /// waited in that round copy their newest state, and samples that have not begun stay at their start. The
    /// report then says [`Stop::Deadline`](crate::Stop::Deadline). Samples that are finished by then are no fair
    /// selection of all, nor are those of runs that finish in time. `None` (default) continues until all samples are
    /// finished.
    pub deadline: Option<usize>,
}

setters! { Picard, "Picard::default()";
    policy: Policy = "Policy::Blocks",
    window => Window = "32",
    linearisation: Linearisation = "Linearisation::FrozenScore",
    probes?: Probes = "Probes::default().directions(2)",
    entry: Entry = "Entry::Copy",
    warm_up: usize = "3",
    far_stride?: usize = "3",
    acceptance: Acceptance = "Acceptance::Exact",
    sweeps: Sweeps = "Sweeps::AtMost(4)",
    coupling: Coupling = "Coupling::WholeBatch",
    row_budget?: usize = "512",
    anderson: usize = "2",
    redraft: bool = "true",
    deadline?: usize = "30",
}

impl Picard {
    /// Whether the settings are in range and work with a network that has this output.
    pub(crate) fn check(&self, prediction: Prediction) -> Result<()> {
        self.acceptance.check()?;
        self.linearisation.check(prediction)?;
        self.entry.check(prediction)?;
        if self.policy.blocks() == Some(0) {
            return Err(Error::setting("policy.wavefront.blocks", 0, "at least 1 open block"));
        }
        if self.warm_up > 0 && self.policy.blocks().is_some() {
            return Err(Error::unsupported("a warm-up", "a policy of blocks", "take Policy::Sliding"));
        }
        self.check_stride(prediction)?;
        self.check_probes(prediction)?;
        if self.anderson > MOST_MEMORY {
            return Err(Error::setting("anderson", self.anderson, "at most 6 past sweeps"));
        }
        if self.acceptance == Acceptance::Law {
            self.check_law(prediction)?;
        } else if self.redraft {
            let with = "an acceptance that waits for a guess to settle";
            return Err(Error::unsupported("redraft", with, "take Acceptance::Law, or leave redraft out"));
        }
        for (name, most) in [("sweeps", self.sweeps.most()), ("deadline", self.deadline)] {
            if most == Some(0) {
                return Err(Error::setting(name, 0, "at least 1"));
            }
        }
        Ok(())
    }

    /// Whether guesses can be verified with these settings.
    fn check_law(&self, prediction: Prediction) -> Result<()> {
        let refused = |with: &str, instead| Err(Error::unsupported("Acceptance::Law", with, instead));
        if prediction == Prediction::Next {
            return refused("a kernel, whose noise it does not know", "take Acceptance::Exact");
        }
        if self.policy != Policy::Sliding {
            return refused("blocks, which it has no use for", "take Policy::Sliding");
        }
        if self.coupling == Coupling::WholeBatch {
            return refused(
                "Coupling::WholeBatch, under which a node would be judged more than once",
                "take Coupling::PerSample",
            );
        }
        if self.sweeps != Sweeps::Unbounded {
            return refused("a bound on sweeps, which accepts what was not verified", "take Sweeps::Unbounded");
        }
        if self.anderson > 0 {
            return refused("Anderson acceleration", "set anderson to 0");
        }
        Ok(())
    }

    /// Whether windows can reach further than their rows with these settings.
    fn check_stride(&self, prediction: Prediction) -> Result<()> {
        let Some(stride) = self.far_stride else { return Ok(()) };
        let refused = |with: &str, instead| Err(Error::unsupported("far_stride", with, instead));
        if !(2..=MOST_STRIDE).contains(&stride) {
            return Err(Error::setting("far_stride", stride, "2 to 64, or none"));
        }
        if prediction == Prediction::Next {
            return refused("a kernel, which has no data prediction to interpolate", "leave far_stride out");
        }
        if self.policy != Policy::Sliding {
            return refused("a policy of blocks", "take Policy::Sliding");
        }
        if let Window::OuTime { .. } | Window::Marked { .. } = self.window {
            return refused("a window of times or marks", "give the window in steps, nodes or grains");
        }
        if self.acceptance == Acceptance::Law {
            return refused("Acceptance::Law, under which no guess may depend on later ones", "leave far_stride out");
        }
        if self.anderson > 0 {
            return refused("Anderson acceleration", "set anderson to 0");
        }
        if self.sweeps != Sweeps::Unbounded {
            let with = "a bound on sweeps, which would count those without an evaluation";
            return refused(with, "take Sweeps::Unbounded");
        }
        Ok(())
    }

    /// Whether probes can be used with these settings.
    fn check_probes(&self, prediction: Prediction) -> Result<()> {
        let Some(probes) = self.probes else { return Ok(()) };
        probes.check()?;
        let refused = |with: &str, instead| Err(Error::unsupported("probes", with, instead));
        if self.linearisation != Linearisation::Secant {
            return refused("a linearisation that measures nothing", "take Linearisation::Secant");
        }
        if prediction == Prediction::Next {
            return refused("a kernel, which has no data prediction", "leave probes out");
        }
        if self.policy != Policy::Sliding {
            return refused("a policy of blocks", "take Policy::Sliding");
        }
        if self.acceptance == Acceptance::Law {
            return refused("Acceptance::Law, where they save no rounds", "leave probes out");
        }
        if self.anderson > 0 {
            return refused("Anderson acceleration", "set anderson to 0");
        }
        if self.far_stride.is_some() {
            return refused("far_stride, under which not every node is evaluated", "leave one of them out");
        }
        if let Window::Grains { .. } = self.window {
            return refused("a window in grains, which they would exceed", "give the window in steps");
        }
        Ok(())
    }

    /// A window of this length with all nodes that it reaches.
    pub(crate) fn reaching(&self, window: Window) -> Window {
        match window {
            Window::Steps(steps) => Window::Steps(reaching(steps, self.far_stride)),
            Window::Nodes { nodes } => Window::Nodes { nodes: reaching(nodes, self.far_stride) },
            other => other,
        }
    }

    /// The error of a sample over the estimate from its changes.
    pub(crate) fn error_factor(&self) -> f64 {
        let probes = self.probes.map_or(1.0, |probes| probes.error_factor());
        self.linearisation.error_factor(self.anderson > 0) * probes
    }

    /// The room that is needed for windows of at most `windows` nodes, given per list.
    pub(crate) fn room<B: Backend>(&self, prepared: &Prepared<B>, windows: &[usize]) -> Result<Room> {
        let samples = prepared.count();
        let probes = self.probes.map_or(0, |probes| probes.directions.min(prepared.dim()));
        let window = windows.iter().copied().max().unwrap_or(1).saturating_add(probes);
        let each = (0..samples).map(|slot| windows[prepared.list_of(slot)].saturating_add(probes));
        // sizes that cannot be allocated are reported when allocating
        let evaluations = each.fold(0, usize::saturating_add);
        let history = if self.anderson > 0 { self.anderson + 1 } else { 0 };
        let (earlier, verified) = (self.linearisation.is_measured(), self.acceptance == Acceptance::Law);
        let all = Room { lanes: samples, evaluations, earlier, history, verified, probes: self.probes };
        match self.row_budget {
            None => Ok(all),
            Some(rows) if rows < window => Err(Error::setting(
                "row_budget",
                rows,
                "at least the rows of one window (its nodes, and its probes if there are any); or shorten the window",
            )),
            Some(rows) if rows >= all.evaluations => Ok(all),
            Some(_) if self.coupling == Coupling::WholeBatch => Err(Error::unsupported(
                "a row budget",
                "Coupling::WholeBatch, under which no sample can wait",
                "leave one of them out",
            )),
            // windows shrink at the end of a trajectory, so more of them may be open than fit at full length
            Some(rows) => {
                let whole = rows - rows % prepared.grain();
                let evaluations = if whole >= window { whole } else { rows };
                Ok(Room { lanes: samples.min(2 * (evaluations / window) + 1), evaluations, ..all })
            }
        }
    }

    /// Checks that requests with different lists need neither wait for each other nor share blocks.
    pub(crate) fn check_lists<B: Backend>(&self, prepared: &Prepared<B>) -> Result<()> {
        if self.policy.blocks().is_some() {
            prepared.one_list("a policy of blocks")?;
        }
        if self.coupling == Coupling::WholeBatch {
            prepared.one_list("Coupling::WholeBatch")?;
        }
        let one = |list: &Nodes| list.components() == 1;
        if self.probes.is_some() && !(prepared.shape() == (1, 1) && prepared.lists().iter().all(|list| one(list))) {
            return Err(Error::unsupported("probes", "several components or heads", "leave probes out"));
        }
        if self.acceptance == Acceptance::Law && prepared.has_path() {
            let with = "given guesses, which may know the noise of later nodes";
            return Err(Error::unsupported("Acceptance::Law", with, "leave the guesses out"));
        }
        if !prepared.is_continuous() && !self.acceptance.is_exact() && self.acceptance != Acceptance::Law {
            let instead = "take Acceptance::Exact, or declare the kernel continuous";
            return Err(Error::unsupported("a tolerance", "a kernel that may jump", instead));
        }
        // at a node with the noise level of its predecessor the posterior has no width, so the tolerance would be 0
        let still =
            |list: &Nodes| list.nodes().iter().skip(1).any(|node| node.posterior_std == 0.0 && node.level.sigma > 0.0);
        let [.., posterior] = self.acceptance.numbers();
        if posterior > 0.0 && prepared.lists().iter().any(|list| still(list)) {
            let with = "nodes with the noise level of their predecessor, whose posterior has no width";
            return Err(Error::unsupported("a tolerance in units of the posterior", with, "take another tolerance"));
        }
        Ok(())
    }
}
