//! How a node is computed from earlier ones.

use crate::error::{Error, Result};
use crate::nodes::list::Node;
use crate::noise::{STREAMS, stream};

/// The address of a row of normals without the sample, whose id completes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Normal {
    /// What the normals are used for; see [`stream`](crate::noise::stream).
    pub stream: u32,
    /// Step, counted over the whole run.
    pub step: u32,
}

impl Normal {
    /// The noise of a step of the reverse dynamics.
    pub fn dynamics(step: usize) -> Self {
        Normal::new(stream::DYNAMICS, step)
    }

    /// A row of a stream. A step that does not fit an address is rejected together with the node that uses it; it
    /// never wraps around to another address.
    pub fn new(stream: u32, step: usize) -> Self {
        Normal { stream, step: u32::try_from(step).unwrap_or(u32::MAX) }
    }
}

/// What a component of a node takes from an earlier node: `a` times its component `from` plus `b` times the
/// network's output `from` there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Link {
    pub lag: u32,
    pub from: u32,
    pub a: f64,
    pub b: f64,
}

/// The terms of a node for [`Nodes::push`](crate::Nodes::push): its components, and the earlier states, network
/// outputs and normals that make them up. Coefficients given twice for the same term add up.
///
/// ```
/// use piadm::nodes::Normal;
/// use piadm::{nodes::NodeTerms, noise::stream, schedule::Level, Nodes, Ou};
/// // position and velocity: x' = x + 0.1 v, v' = 0.9 v + 0.1 f(x) + 0.4 xi; the velocity starts from N(0, I)
/// let start = NodeTerms::wide(2).c(1, Normal::new(stream::CORRECTOR_START, 0), 1.0);
/// let mut list = Nodes::empty(Level::at(&Ou, 1.0)).with_start(&start)?;
/// for step in 1..=20 {
///     let position = NodeTerms::wide(2).a(1, [0, 0], 1.0).a(1, [0, 1], 0.1);
///     let both = position.a(1, [1, 1], 0.9).b(1, [1, 0], 0.1).c(1, Normal::dynamics(step), 0.4);
///     list.push(Level::at(&Ou, 1.0), true, &both)?;
/// }
/// assert_eq!((list.components(), list.steps()), (2, 20));
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NodeTerms {
    pub(crate) width: usize,
    pub(crate) prefactor: f64,
    pub(crate) links: Vec<(usize, Link)>,
    pub(crate) noise: Vec<(usize, Normal, f64)>,
}

impl Default for NodeTerms {
    fn default() -> Self {
        NodeTerms::wide(1)
    }
}

impl NodeTerms {
    /// A node with one component, initially 0.
    pub fn new() -> Self {
        NodeTerms::wide(1)
    }

    /// A node with several components, initially 0.
    pub fn wide(components: usize) -> Self {
        NodeTerms { width: components, prefactor: 1.0, links: Vec::new(), noise: Vec::new() }
    }

    /// Adds `coef` times component `from` of the node `lag` places back to component `to`.
    pub fn a(self, lag: usize, [to, from]: [usize; 2], coef: f64) -> Self {
        self.link(lag, [to, from], coef, 0.0)
    }

    /// Adds `coef` times the network's output `head` at the node `lag` places back to component `to`.
    pub fn b(self, lag: usize, [to, head]: [usize; 2], coef: f64) -> Self {
        self.link(lag, [to, head], 0.0, coef)
    }

    /// Adds `coef` times a normal to component `to`.
    pub fn c(mut self, to: usize, normal: Normal, coef: f64) -> Self {
        match self.noise.iter_mut().find(|(t, n, _)| (*t, *n) == (to, normal)) {
            Some((.., c)) => *c += coef,
            None => self.noise.push((to, normal, coef)),
        }
        self
    }

    /// How a kernel that makes this node ([`Prediction::Next`](crate::Prediction::Next)) passes on a change of its
    /// input. Sweeps assume this factor until they have measured it; the default is 1.
    pub fn prefactor(self, prefactor: f64) -> Self {
        NodeTerms { prefactor, ..self }
    }

    fn link(mut self, lag: usize, [to, from]: [usize; 2], a: f64, b: f64) -> Self {
        if a == 0.0 && b == 0.0 {
            return self;
        }
        let (lag, from) = (u32::try_from(lag).unwrap_or(u32::MAX), u32::try_from(from).unwrap_or(u32::MAX));
        match self.links.iter_mut().find(|(t, link)| (*t, link.lag, link.from) == (to, lag, from)) {
            Some((_, link)) => (link.a, link.b) = (link.a + a, link.b + b),
            None => self.links.push((to, Link { lag, from, a, b })),
        }
        self
    }

    /// Whether these terms can make a node that follows `nodes`.
    pub(crate) fn check(&self, nodes: &[Node]) -> Result<()> {
        if self.width == 0 || self.width > MOST_COMPONENTS {
            return Err(Error::setting("components", self.width, "1 to 16"));
        }
        let finite = |value: f64| match value.is_finite() {
            true => Ok(()),
            false => Err(Error::setting("coefficient", value, "finite coefficients")),
        };
        finite(self.prefactor)?;
        for (to, link) in &self.links {
            finite(link.a)?;
            finite(link.b)?;
            let lag = link.lag as usize;
            let Some(source) = nodes.len().checked_sub(lag).filter(|_| lag > 0).and_then(|i| nodes.get(i)) else {
                return Err(Error::setting("lag", lag, "a lag that does not reach back beyond the start"));
            };
            let from = link.from as usize;
            let seen = if link.a == 0.0 { MOST_COMPONENTS } else { source.width };
            if *to >= self.width || from >= seen {
                let value = format!("{from} to {to}");
                return Err(Error::setting("component", value, "components that both nodes have"));
            }
        }
        for (to, normal, c) in &self.noise {
            finite(*c)?;
            if *to >= self.width {
                return Err(Error::setting("component", to, "a component of the node"));
            }
            if normal.stream >= STREAMS || normal.step == u32::MAX {
                let value = format!("stream {}, step {}", normal.stream, normal.step);
                return Err(Error::setting(
                    "address of a normal",
                    value,
                    "a stream below 2^30 and a step below 2^32 - 1",
                ));
            }
        }
        Ok(())
    }
}

/// Maximum number of components of a state and of outputs of a network.
pub(crate) const MOST_COMPONENTS: usize = 16;
