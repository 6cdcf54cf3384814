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

/// One lag of a node: `a x + b (oracle)`, both at the node `lag` places back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lag {
    pub lag: usize,
    pub form: Form,
    pub a: f64,
    pub b: f64,
}

impl Lag {
    pub(crate) fn data(lag: usize, a: f64, b: f64) -> Self {
        Lag { lag, form: Form::Data, a, b }
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
        ([Lag { lag: 1, form: self.form, a: self.a, b: self.b }], self.c)
    }
}

/// The grid points that a step may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepEnds {
    /// Start of the step before, if there is one.
    pub before: Option<Level>,
    pub t: Level,
    pub u: Level,
    /// Whether this is the grid's last step.
    pub last: bool,
}
