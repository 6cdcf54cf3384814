//! Builds lists of nodes from the steps of a scheme.

use crate::error::{Error, Result};
use crate::nodes::list::Nodes;
use crate::nodes::step::{Form, Lag, Oracle};
use crate::nodes::terms::{NodeTerms, Normal};
use crate::schedule::Level;
use crate::score::Prediction;

/// Fills a list from steps written in one of the forms of [`Form`], folding the network's kind of output into the
/// coefficients.
pub(crate) struct Assembler {
    list: Nodes,
    prediction: Prediction,
    /// Whether stages follow the node that would otherwise end a step.
    open: bool,
}

impl Assembler {
    pub(crate) fn new(start: Level, first_step: usize, prediction: Prediction) -> Result<Self> {
        Ok(Assembler { list: Nodes::empty(start).numbered_from(first_step)?, prediction, open: false })
    }

    pub(crate) fn solution(&mut self, level: Level, lags: &[Lag], c: f64) -> Result<()> {
        let terms = self.terms(level, lags, c)?;
        self.push(level, !self.open, &terms)
    }

    pub(crate) fn stage(&mut self, level: Level, lags: &[Lag], c: f64) -> Result<()> {
        let terms = self.terms(level, lags, c)?;
        self.push(level, false, &terms)
    }

    /// A solution with `b` times the second head of the node before.
    pub(crate) fn beside(&mut self, level: Level, lags: &[Lag], c: f64, b: f64) -> Result<()> {
        let terms = self.terms(level, lags, c)?;
        self.push(level, !self.open, &terms.b(1, [0, 1], b))
    }

    /// A solution that is what a kernel answers.
    pub(crate) fn kernel(&mut self, level: Level) -> Result<()> {
        if self.prediction != Prediction::Next {
            let with = format!("a network with outputs of the kind {}", self.prediction);
            return Err(Error::unsupported(
                "Scheme::Kernel",
                with,
                "take another scheme, or a score that answers Next",
            ));
        }
        self.push(level, !self.open, &NodeTerms::new().b(1, [0, 0], 1.0))
    }

    /// Reserves memory for this many steps.
    pub(crate) fn reserve(&mut self, steps: usize) -> Result<()> {
        self.list.reserve(steps)
    }

    /// Whether the next step ends with its own last node (the default), or is left open for further stages.
    pub(crate) fn leave_open(&mut self, open: bool) {
        self.open = open;
    }

    /// Adds a node that is not a step of a scheme.
    pub(crate) fn push(&mut self, level: Level, solution: bool, terms: &NodeTerms) -> Result<()> {
        self.list.push(level, solution, terms)
    }

    /// Marks the end of a block.
    pub(crate) fn mark(&mut self) {
        self.list.mark();
    }

    pub(crate) fn finish(self) -> Nodes {
        self.list
    }

    /// If the oracle is P x + Q f at the lag's node, `a x + b oracle` is `(a + b P) x + b Q f`.
    fn terms(&self, level: Level, lags: &[Lag], c: f64) -> Result<NodeTerms> {
        let mut terms = NodeTerms::new();
        let nodes = self.list.nodes();
        let mut from = level;
        for lag in lags {
            from = nodes[nodes.len() - lag.lag].level;
            if !(lag.a.is_finite() && lag.b.is_finite()) {
                return Err(self.singular(&from, "a scheme in this form"));
            }
            let (p, q) = self.oracle(lag.oracle, &from);
            // a step that does not use the oracle needs no conversion, even where the conversion is singular
            let (p, q) = if lag.b == 0.0 { (0.0, 0.0) } else { (p, q) };
            if !(p.is_finite() && q.is_finite()) {
                return Err(self.singular(&from, "turning this kind of output into what the scheme needs"));
            }
            let (a, b) = (lag.a + lag.b * p, lag.b * q);
            if !(a.is_finite() && b.is_finite()) {
                return Err(self.singular(&from, "a scheme in this form"));
            }
            terms = terms.a(lag.lag, [0, 0], a).b(lag.lag, [0, 0], b);
        }
        if !c.is_finite() {
            return Err(self.singular(&from, "a scheme in this form"));
        }
        Ok(terms.c(0, Normal::dynamics(self.list.next_step()), c))
    }

    /// The oracle at a level as P x + Q f.
    fn oracle(&self, oracle: Oracle, at: &Level) -> (f64, f64) {
        let data = || self.prediction.data_map(at.alpha, at.sigma);
        let score = || self.prediction.score_map(at.alpha, at.sigma);
        let noise = || {
            let (p, q) = score();
            (-at.sigma * p, -at.sigma * q)
        };
        match oracle {
            Oracle::Frozen(Form::Data) => data(),
            Oracle::Frozen(Form::Score) => score(),
            Oracle::Frozen(Form::Noise) => noise(),
            Oracle::Velocity if self.prediction == Prediction::Flow => (0.0, 1.0),
            Oracle::Velocity => {
                let (noise, data) = (noise(), data());
                (noise.0 - data.0, noise.1 - data.1)
            }
        }
    }

    fn singular(&self, from: &Level, what: &'static str) -> Error {
        Error::Singular { step: self.list.next_step(), time: from.t, what }
    }
}
