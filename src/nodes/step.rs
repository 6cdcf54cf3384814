//! A step as written in the literature: the coefficients of the state, the oracle and the noise.

use crate::schedule::Level;

/// The form of the oracle in which a step is written, that is, what is frozen over the step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Form {
    /// The score is frozen (the paper's integrator).
    Score,
    /// The predicted noise is frozen.
    Noise,
    /// The data prediction is frozen: SDE-DPM-Solver++(1), DDIM, DDPM.
    #[default]
    Data,
}

/// What a step takes from the network's output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Oracle {
    Frozen(Form),
    /// The flow velocity eps - D.
    Velocity,
}

/// One lag of a node: `a x + b (oracle)`, both at the node `lag` places back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lag {
    pub lag: usize,
    pub oracle: Oracle,
    pub a: f64,
    pub b: f64,
}

impl Lag {
    pub(crate) fn new(lag: usize, form: Form, a: f64, b: f64) -> Self {
        Lag { lag, oracle: Oracle::Frozen(form), a, b }
    }

    pub(crate) fn data(lag: usize, a: f64, b: f64) -> Self {
        Lag::new(lag, Form::Data, a, b)
    }
}

/// A step that depends only on its own start: a multiplies x, b the oracle, c the noise.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneStep {
    pub form: Form,
    pub a: f64,
    pub b: f64,
    pub c: f64,
}

impl OneStep {
    /// The jump to sigma = 0, the same for every scheme in data form.
    pub(crate) fn denoise(u: &Level) -> Self {
        OneStep { form: Form::Data, a: 0.0, b: u.alpha, c: 0.0 }
    }

    pub(crate) fn lags(self) -> ([Lag; 1], f64) {
        ([Lag::new(1, self.form, self.a, self.b)], self.c)
    }
}

/// Most steps back to which a step may look.
pub(crate) const MOST_PAST: usize = 3;

/// The grid points that a step may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepEnds<'a> {
    /// Starts of the steps before, latest first, at most [`MOST_PAST`]. A block has none before its own.
    pub past: &'a [Level],
    pub t: Level,
    pub u: Level,
    /// Number of the grid's steps behind this one.
    pub left: usize,
    /// Number of the grid's steps.
    pub steps: usize,
}
