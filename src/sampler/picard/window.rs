//! Which nodes are active.

use crate::error::{Error, Result};
use crate::scheme::Discretisation;

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
    /// Blocks without a barrier: a new block begins in every round, up to a number of open ones; sweep j of a block starts from the
    /// end of the block before it after that one's sweep j (Zhou and Sugiyama, arXiv 2412.07435).
    Wavefront {
        /// The most open blocks; 1 is `Blocks`.
        blocks: usize,
    },
}

impl Policy {
    /// The most open blocks, of policies that have blocks.
    pub(super) fn blocks(self) -> Option<usize> {
        match self {
            Policy::Blocks => Some(1),
            Policy::Wavefront { blocks } => Some(blocks),
            Policy::Sliding => None,
        }
    }
}

/// Length of a window or block.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(untagged, deny_unknown_fields))]
#[non_exhaustive]
pub enum Window {
    /// A number of steps, stages included.
    Steps(usize),
    /// As many steps as fit a length of Ornstein-Uhlenbeck time, at least one: PIADM's blocks have length h = O(1).
    OuTime {
        /// The length, in log(1 + e^{-2 lambda}).
        ou_time: f64,
    },
}

impl Default for Window {
    fn default() -> Self {
        Window::Steps(64)
    }
}

/// Where windows end on a given list of nodes.
pub(in crate::sampler) struct Extent {
    window: Window,
    /// Index of the solution node that ends each step, the start first.
    solutions: Vec<usize>,
    /// OU time of these nodes.
    times: Vec<f64>,
    first_step: usize,
}

impl Extent {
    pub(in crate::sampler) fn new(window: Window, list: &Discretisation) -> Result<Self> {
        match window {
            Window::Steps(0) => return Err(Error::setting("window", 0, "at least 1 step")),
            Window::OuTime { ou_time } if ou_time.is_nan() || ou_time <= 0.0 => {
                return Err(Error::setting("window.ou_time", ou_time, "a number above 0"));
            }
            _ => {}
        }
        let solutions: Vec<usize> =
            list.nodes().iter().enumerate().filter(|(_, n)| n.solution).map(|(j, _)| j).collect();
        let times = match window {
            Window::Steps(_) => Vec::new(),
            Window::OuTime { .. } => list.nodes().iter().filter(|n| n.solution).map(|n| n.level.ou_time()).collect(),
        };
        Ok(Extent { window, solutions, times, first_step: list.first_step() })
    }

    /// The last node of a window whose final node `lo` belongs to `step` (a stage belongs to the step it is part of).
    pub(in crate::sampler) fn end(&self, step: usize, solution: bool) -> usize {
        // index of the last finished solution node
        let at = step - self.first_step - usize::from(!solution);
        let last = self.solutions.len() - 1;
        let end = match self.window {
            Window::Steps(p) => at.saturating_add(p),
            Window::OuTime { ou_time } => {
                let from = self.times.get(at).copied().unwrap_or(0.0);
                let limit = from - ou_time * (1.0 + 1e-9);
                // times fall: the window ends at the last one that is not below the limit
                self.times.partition_point(|t| *t >= limit).saturating_sub(1).max(at + 1)
            }
        };
        self.solutions.get(end.min(last)).copied().unwrap_or(0)
    }

    /// The nodes where blocks begin and, last, where they end.
    pub(in crate::sampler) fn boundaries(&self) -> Vec<usize> {
        let mut nodes = vec![0];
        let mut at = 0;
        while at + 1 < self.solutions.len() {
            let end = self.end(self.first_step + at, true);
            nodes.push(end);
            at = self.solutions.partition_point(|node| *node < end);
        }
        nodes
    }

    /// The most guesses that are open at once from each step on, or, of policies that have blocks, from each block on.
    pub(in crate::sampler) fn most_nodes(&self, policy: Policy) -> Vec<usize> {
        let mut most: Vec<usize> = match policy.blocks() {
            Some(open) => {
                let nodes = self.boundaries();
                let last = nodes.len() - 1;
                let end = |i: usize| nodes.get(last.min(i.saturating_add(open))).copied().unwrap_or(0);
                nodes.iter().take(last).enumerate().map(|(i, lo)| end(i) - lo).collect()
            }
            None => {
                let starts = self.solutions.iter().take(self.solutions.len() - 1).enumerate();
                starts.map(|(i, lo)| self.end(self.first_step + i, true) - lo).collect()
            }
        };
        // windows that come later may be longer
        most.iter_mut().rev().fold(1, |after, nodes| {
            *nodes = after.max(*nodes);
            *nodes
        });
        most
    }
}
