//! The list of nodes that every sampler runs.

use crate::error::{Error, Result, reserve};
use crate::grid::MAX_STEPS;
use crate::nodes::terms::{Link, NodeTerms, Normal};
use crate::schedule::Level;

/// A point of the trajectory: the start, the end of a step, or a stage inside a step.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Node {
    /// Its noise level.
    pub level: Level,
    /// Index of the step to which it belongs; the start has 0, and step m ends at solution node m.
    pub step: usize,
    /// Whether it ends a step (otherwise it is a stage).
    pub solution: bool,
    /// Whether a later node needs the network's output here.
    pub evaluate: bool,
    /// Number of components of its state; each has as many elements as a sample.
    pub width: usize,
    /// Standard deviation of DDPM's posterior over its step, sigma_u sqrt(1 - e^{-2h}): the unit of ParaDiGMS's
    /// tolerance.
    pub posterior_std: f64,
    /// The factor by which a kernel ([`Prediction::Next`](crate::Prediction::Next)) that makes this node passes
    /// changes on, as far as it is known.
    pub prefactor: f64,
}

/// Where a component's links and noise end in the list's arrays.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ends {
    links: u32,
    noise: u32,
}

/// A strictly lower-triangular list of nodes,
/// `x_j = sum_l A_{j,l} x_{j-l} + sum_l B_{j,l} f(x_{j-l}, t_{j-l}) + C_j xi_j`, l = 1, 2, ...
///
/// [`Nodes::new`] builds it from a schedule, a grid and a scheme. To write your own list, start with
/// [`Nodes::empty`] and add nodes with [`Nodes::push`]. Only nonzero coefficients are stored, and a node may look
/// back any number of nodes. Every node has its own width, the number of components of its state (such as position
/// and velocity); the network sees the leading ones ([`Model::components`](crate::Model::components)). Every normal
/// is identified by its address. With one component and one lag:
///
/// ```
/// use piadm::{nodes::NodeTerms, schedule::Level, Nodes, Ou};
/// // x_1 = 0.9 x_0 + 0.1 f(x_0), no noise
/// let mut list = Nodes::empty(Level::at(&Ou, 2.0));
/// list.push(Level::at(&Ou, 1.0), true, &NodeTerms::new().a(1, [0, 0], 0.9).b(1, [0, 0], 0.1))?;
/// assert_eq!((list.steps(), list.nodes().len()), (1, 2));
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Nodes {
    nodes: Vec<Node>,
    /// Per node, where its components begin in `ends`.
    rows: Vec<u32>,
    ends: Vec<Ends>,
    links: Vec<Link>,
    /// Index of a normal among those of its node, and its coefficient.
    noise: Vec<(u32, f64)>,
    /// Per node, where its normals end.
    normal_ends: Vec<u32>,
    normals: Vec<Normal>,
    /// Nodes at which blocks end.
    marks: Vec<usize>,
    lookback: usize,
    components: usize,
    most_normals: usize,
    heads: usize,
    /// Level of the last solution node.
    solved: Level,
}

impl Nodes {
    /// A list with only the start, at `level`: one component, step 0.
    pub fn empty(level: Level) -> Self {
        let start =
            Node { level, step: 0, solution: true, evaluate: false, width: 1, posterior_std: 0.0, prefactor: 1.0 };
        Nodes {
            nodes: vec![start],
            rows: vec![0],
            ends: vec![Ends { links: 0, noise: 0 }],
            links: Vec::new(),
            noise: Vec::new(),
            normal_ends: vec![0],
            normals: Vec::new(),
            marks: Vec::new(),
            lookback: 1,
            components: 1,
            most_normals: 0,
            heads: 0,
            solved: level,
        }
    }

    /// The same list with its start at `step` instead of 0, for runs that are part of a longer one.
    ///
    /// # Errors
    /// [`Error::Setting`] for a step beyond 2^24, and for a list that has more than its start: the noise addresses
    /// of its nodes would not be renumbered.
    pub fn numbered_from(mut self, step: usize) -> Result<Self> {
        if step > MAX_STEPS {
            return Err(Error::setting("first step", step, "at most 2^24"));
        }
        match &mut self.nodes[..] {
            [start] => start.step = step,
            nodes => {
                return Err(Error::setting(
                    "nodes",
                    nodes.len(),
                    "a list with only its start: call numbered_from before push",
                ));
            }
        }
        Ok(self)
    }

    /// The same list with a start of several components. The first component is the start of the problem; the
    /// others are made by these terms, which may contain noise only.
    ///
    /// # Errors
    /// [`Error::Setting`] for terms of the first component or terms on other nodes, and for a list that has more
    /// than its start.
    pub fn with_start(mut self, terms: &NodeTerms) -> Result<Self> {
        if self.nodes.len() > 1 {
            return Err(Error::setting("nodes", self.nodes.len(), "a list with only its start"));
        }
        if !terms.links.is_empty() || terms.noise.iter().any(|(to, ..)| *to == 0) {
            return Err(Error::setting(
                "terms of the start",
                "terms of a state or of the first component",
                "noise of the other components",
            ));
        }
        terms.check(&[])?;
        self.ends.clear();
        self.noise.clear();
        self.normals.clear();
        (self.components, self.most_normals) = (0, 0);
        self.nodes[0].width = terms.width;
        self.append(terms);
        self.normal_ends[0] = self.normals.len() as u32;
        Ok(self)
    }

    /// Adds a node at `level`: the end of a step (`solution`), or a stage of the step that ends at the next
    /// solution node.
    ///
    /// # Errors
    /// [`Error::Setting`] for coefficients that are not finite, that reach back beyond the start or exceed the
    /// width of a node, and for addresses out of range; [`Error::GridLength`] beyond the addressable steps.
    pub fn push(&mut self, level: Level, solution: bool, terms: &NodeTerms) -> Result<()> {
        terms.check(&self.nodes)?;
        let step = self.next_step();
        if step > MAX_STEPS {
            return Err(Error::GridLength { points: step + 1, max: MAX_STEPS + 1 });
        }
        let j = self.nodes.len();
        for (_, link) in terms.links.iter().filter(|(_, link)| link.a != 0.0 || link.b != 0.0) {
            self.lookback = self.lookback.max(link.lag as usize);
            if link.b != 0.0 {
                self.nodes[j - link.lag as usize].evaluate = true;
                self.heads = self.heads.max(link.from as usize + 1);
            }
        }
        let h = level.log_snr - self.solved.log_snr;
        let posterior_std = if level.sigma == 0.0 { 0.0 } else { level.sigma * (-(-2.0 * h).exp_m1()).max(0.0).sqrt() };
        let (width, prefactor) = (terms.width, terms.prefactor);
        self.nodes.push(Node { level, step, solution, evaluate: false, width, posterior_std, prefactor });
        self.rows.push(self.ends.len() as u32);
        self.append(terms);
        self.normal_ends.push(self.normals.len() as u32);
        if solution {
            self.solved = level;
        }
        Ok(())
    }

    /// Appends a node's terms to those of the others, component after component, in the order in which they will be
    /// added up.
    fn append(&mut self, terms: &NodeTerms) {
        let mut own: Vec<Normal> = Vec::new();
        for to in 0..terms.width {
            let mut links: Vec<Link> = terms.links.iter().filter(|(t, _)| *t == to).map(|(_, link)| *link).collect();
            links.sort_by_key(|link| (link.lag, link.from));
            self.links.extend(links.into_iter().filter(|link| link.a != 0.0 || link.b != 0.0));
            let mut noise: Vec<(u32, f64)> = Vec::new();
            for &(_, normal, c) in terms.noise.iter().filter(|(t, _, c)| *t == to && *c != 0.0) {
                let k = own.iter().position(|known| *known == normal).unwrap_or(own.len());
                if k == own.len() {
                    own.push(normal);
                }
                noise.push((k as u32, c));
            }
            noise.sort_by_key(|(k, _)| *k);
            self.noise.extend(noise);
            self.ends.push(Ends { links: self.links.len() as u32, noise: self.noise.len() as u32 });
        }
        self.components = self.components.max(terms.width);
        self.most_normals = self.most_normals.max(own.len());
        self.normals.extend(own);
    }

    /// Reserves memory for this many more nodes with one component, two links and one normal.
    pub(crate) fn reserve(&mut self, nodes: usize) -> Result<()> {
        fn more<T>(items: &mut Vec<T>, n: usize) -> Result<()> {
            let all = items.len().saturating_add(n);
            reserve("a list of nodes", items, all)
        }
        more(&mut self.nodes, nodes)?;
        more(&mut self.rows, nodes)?;
        more(&mut self.ends, nodes)?;
        more(&mut self.links, nodes.saturating_mul(2))?;
        more(&mut self.noise, nodes)?;
        more(&mut self.normals, nodes)?;
        more(&mut self.normal_ends, nodes)
    }

    /// Marks the last node as the end of a block. [`Window::Marked`](crate::Window::Marked) ends there, and the
    /// posterior of later nodes ([`Node::posterior_std`]) is measured from its level.
    pub fn mark(&mut self) {
        let last = self.nodes.len() - 1;
        if last > 0 && self.marks.last() != Some(&last) {
            self.marks.push(last);
            self.solved = self.nodes[last].level;
        }
    }

    /// The nodes at which blocks end, ascending.
    pub fn marks(&self) -> &[usize] {
        &self.marks
    }

    /// All nodes; the first is the start.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The step that the next node will belong to.
    pub fn next_step(&self) -> usize {
        let last = &self.nodes[self.nodes.len() - 1];
        last.step + usize::from(last.solution)
    }

    /// Index of the step at which the start lies: 0, or more if a run starts inside a grid.
    pub fn first_step(&self) -> usize {
        self.nodes[0].step
    }

    /// Index of the last finished step.
    pub fn last_step(&self) -> usize {
        self.nodes.iter().rev().find(|n| n.solution).map_or(self.first_step(), |n| n.step)
    }

    /// Number of finished steps in the list.
    pub fn steps(&self) -> usize {
        self.last_step() - self.first_step()
    }

    /// L, the largest number of nodes that a node looks back; at least 1.
    pub fn lookback(&self) -> usize {
        self.lookback
    }

    /// Components of the widest node.
    pub fn components(&self) -> usize {
        self.components
    }

    /// Largest number of normals per node.
    pub fn most_normals(&self) -> usize {
        self.most_normals
    }

    /// Number of network outputs (heads) that the nodes use: every head in use is below it.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Whether any step adds noise.
    pub fn has_noise(&self) -> bool {
        self.noise.len() > self.ends[self.nodes[0].width - 1].noise as usize
    }

    /// The normals of a node.
    pub fn normals(&self, node: usize) -> &[Normal] {
        let first = node.checked_sub(1).map_or(0, |before| self.normal_ends[before]);
        &self.normals[first as usize..self.normal_ends[node] as usize]
    }

    /// The links of component `to` of a node, ordered by lag, then by component.
    pub(crate) fn links(&self, node: usize, to: usize) -> &[Link] {
        let row = self.rows[node] as usize + to;
        let first = row.checked_sub(1).map_or(0, |before| self.ends[before].links);
        &self.links[first as usize..self.ends[row].links as usize]
    }

    /// The noise of component `to` of a node: indices into its [`normals`](Self::normals), ascending, and
    /// coefficients.
    pub(crate) fn noise(&self, node: usize, to: usize) -> &[(u32, f64)] {
        let row = self.rows[node] as usize + to;
        let first = row.checked_sub(1).map_or(0, |before| self.ends[before].noise);
        &self.noise[first as usize..self.ends[row].noise as usize]
    }

    fn link(&self, node: usize, lag: usize, to: usize, from: usize) -> Option<&Link> {
        let wide = self.nodes.get(node).is_some_and(|n| to < n.width);
        let links = if wide { self.links(node, to) } else { &[] };
        links.iter().find(|link| (link.lag as usize, link.from as usize) == (lag, from))
    }

    /// A_{j,l} from component `from` to component `to`; 0 outside the list.
    pub fn a(&self, node: usize, lag: usize, to: usize, from: usize) -> f64 {
        self.link(node, lag, to, from).map_or(0.0, |link| link.a)
    }

    /// B_{j,l} from the network's output `head` into component `to`; 0 outside the list.
    pub fn b(&self, node: usize, lag: usize, to: usize, head: usize) -> f64 {
        self.link(node, lag, to, head).map_or(0.0, |link| link.b)
    }

    /// C_j with which normal `normal` of the node enters component `to`; 0 outside the list.
    pub fn c(&self, node: usize, to: usize, normal: usize) -> f64 {
        let wide = self.nodes.get(node).is_some_and(|n| to < n.width);
        let noise = if wide { self.noise(node, to) } else { &[] };
        noise.iter().find(|(k, _)| *k as usize == normal).map_or(0.0, |(_, c)| *c)
    }

    /// Memory of the list, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Node>() * self.nodes.capacity()
            + size_of::<u32>() * (self.rows.capacity() + self.normal_ends.capacity())
            + size_of::<Ends>() * self.ends.capacity()
            + size_of::<Link>() * self.links.capacity()
            + size_of::<(u32, f64)>() * self.noise.capacity()
            + size_of::<Normal>() * self.normals.capacity()
            + size_of::<usize>() * self.marks.capacity()
    }
}
