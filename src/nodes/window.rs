//! Lengths on a list of nodes: where windows and blocks end.

use crate::error::{Error, Result, reserved};
use crate::nodes::list::Nodes;
use std::fmt;
use std::str::FromStr;

/// Length of a window or block.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(
        untagged,
        deny_unknown_fields,
        expecting = "expected a number of steps, or one of ou_time, nodes, grains and marks as {name: number}"
    )
)]
#[non_exhaustive]
pub enum Window {
    /// A number of steps, stages included.
    Steps(usize),
    /// As many steps as fit in this length of Ornstein-Uhlenbeck time, but at least one: PIADM's blocks have length
    /// h = O(1). Lists whose noise rises are rejected.
    OuTime {
        /// The length, in log(1 + e^{-2 lambda}).
        ou_time: f64,
    },
    /// A number of nodes; the window may end inside a step.
    Nodes {
        /// Number of nodes, at least 1.
        nodes: usize,
    },
    /// As many nodes as rows that the score evaluates in the time of one ([`Model::grain`](crate::Model::grain)), so
    /// many times: of every sample one row for each device of a [`Split`](crate::score::Split), or the whole call of a
    /// [`Padded`](crate::score::Padded) network.
    Grains {
        /// How many times, at least 1.
        grains: usize,
    },
    /// Up to a mark of the list ([`Nodes::mark`]), or to its end.
    Marked {
        /// Number of marks ahead, at least 1.
        marks: usize,
    },
}

impl Default for Window {
    fn default() -> Self {
        Window::Steps(64)
    }
}

/// As it is read: `64` steps, `ou_time=1`, `nodes=48`, `grains=1`, `marks=1`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Window::Steps(steps) => write!(f, "{steps}"),
            Window::OuTime { ou_time } => write!(f, "ou_time={ou_time}"),
            Window::Nodes { nodes } => write!(f, "nodes={nodes}"),
            Window::Grains { grains } => write!(f, "grains={grains}"),
            Window::Marked { marks } => write!(f, "marks={marks}"),
        }
    }
}

impl FromStr for Window {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let window = match text.trim().split_once('=').map(|(name, value)| (name.trim(), value)) {
            None => text.trim().parse().ok().map(Window::Steps),
            Some(("ou_time", length)) => length.trim().parse().ok().map(|ou_time| Window::OuTime { ou_time }),
            Some(("nodes", nodes)) => nodes.trim().parse().ok().map(|nodes| Window::Nodes { nodes }),
            Some(("grains", grains)) => grains.trim().parse().ok().map(|grains| Window::Grains { grains }),
            Some(("marks", marks)) => marks.trim().parse().ok().map(|marks| Window::Marked { marks }),
            Some(_) => None,
        };
        window
            .ok_or_else(|| Error::setting("window", text, "steps as in 64, or ou_time=1, nodes=48, grains=1, marks=1"))
    }
}

impl From<usize> for Window {
    fn from(steps: usize) -> Self {
        Window::Steps(steps)
    }
}

impl Window {
    /// The same for a network of this grain, in nodes if it was given in grains.
    pub(crate) fn of_grain(self, grain: usize) -> Result<Self> {
        match self {
            Window::Grains { grains: 0 } => Err(Error::setting("window.grains", 0, "at least 1")),
            Window::Grains { grains } => Ok(Window::Nodes { nodes: grains.saturating_mul(grain) }),
            other => Ok(other),
        }
    }
}

/// Where windows end on a given list of nodes.
#[derive(Debug)]
pub(crate) struct Extent {
    window: Window,
    /// Indices of the start and of the solution nodes that end each step.
    solutions: Vec<usize>,
    /// OU time of these nodes.
    times: Vec<f64>,
    marks: Vec<usize>,
    last: usize,
}

impl Extent {
    pub fn new(window: Window, list: &Nodes) -> Result<Self> {
        assert!(!matches!(window, Window::Grains { .. }), "windows are resolved for a network first");
        match window {
            Window::Steps(0) => return Err(Error::setting("window", 0, "at least 1 step")),
            Window::Nodes { nodes: 0 } => return Err(Error::setting("window.nodes", 0, "at least 1 node")),
            Window::Marked { marks: 0 } => return Err(Error::setting("window.marks", 0, "at least 1 mark")),
            Window::OuTime { ou_time } if ou_time.is_nan() || ou_time <= 0.0 => {
                return Err(Error::setting("window.ou_time", ou_time, "a number above 0"));
            }
            _ => {}
        }
        let mut solutions = reserved("the steps of a list", list.steps() + 1)?;
        solutions.extend(list.nodes().iter().enumerate().filter(|(_, n)| n.solution).map(|(j, _)| j));
        let mut times = Vec::new();
        if let Window::OuTime { ou_time } = window {
            times = reserved("the times of a list", solutions.len())?;
            times.extend(solutions.iter().map(|j| list.nodes()[*j].level.ou_time()));
            if !times.is_sorted_by(|before, after| before >= after) {
                let expected = "a list whose noise never rises, or a window of steps";
                return Err(Error::setting("window.ou_time", ou_time, expected));
            }
        }
        let marks = if matches!(window, Window::Marked { .. }) { list.marks().to_vec() } else { Vec::new() };
        Ok(Extent { window, solutions, times, marks, last: list.nodes().len() - 1 })
    }

    /// The last node of a window that begins at the final node `lo`.
    pub fn end(&self, lo: usize) -> usize {
        // index of the last finished solution node
        let at = || self.solutions.partition_point(|node| *node <= lo) - 1;
        let solution = |i: usize| self.solutions[i.min(self.solutions.len() - 1)];
        match self.window {
            Window::Steps(p) => solution(at().saturating_add(p)),
            Window::OuTime { ou_time } => {
                let at = at();
                let limit = self.times[at] - ou_time * (1.0 + 1e-9);
                // times decrease: the window ends at the last one that is not below the limit
                solution(self.times.partition_point(|t| *t >= limit).saturating_sub(1).max(at + 1))
            }
            Window::Nodes { nodes } => lo.saturating_add(nodes).min(self.last),
            Window::Grains { .. } => unreachable!("refused in new"),
            Window::Marked { marks } => {
                let next = self.marks.partition_point(|mark| *mark <= lo);
                self.marks.get(next.saturating_add(marks - 1)).copied().unwrap_or(self.last)
            }
        }
    }

    /// Number of steps that are finished at the final node `lo`, and the node that ends the next one.
    pub fn step(&self, lo: usize) -> (usize, usize) {
        let next = self.solutions.partition_point(|node| *node <= lo);
        (next - 1, self.solutions.get(next).copied().unwrap_or(self.last))
    }

    /// The nodes where blocks begin, followed by the node where the last block ends.
    pub fn boundaries(&self) -> Vec<usize> {
        let mut nodes = vec![0];
        let mut at = 0;
        while at < self.last {
            at = self.end(at);
            nodes.push(at);
        }
        nodes
    }

    /// For each node, the largest number of guesses open at the same time in any window that begins there or later.
    /// With `open_blocks` that many blocks may be open; with `None` there are no blocks and the window slides.
    pub fn most_nodes(&self, open_blocks: Option<usize>) -> Result<Vec<usize>> {
        let mut most = reserved("the windows of a list", self.last.max(1))?;
        match open_blocks {
            Some(open) => {
                let nodes = self.boundaries();
                let last = nodes.len() - 1;
                for (i, block) in nodes.windows(2).enumerate() {
                    let end = nodes[last.min(i.saturating_add(open))];
                    most.extend((block[0]..block[1]).map(|_| end - block[0]));
                }
            }
            None => most.extend((0..self.last).map(|lo| self.end(lo) - lo)),
        }
        // a later window may be longer, so take the maximum from the end backwards
        most.iter_mut().rev().fold(1, |after, nodes| {
            *nodes = after.max(*nodes);
            *nodes
        });
        Ok(most)
    }
}
