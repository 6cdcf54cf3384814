//! Progress: a Python callable that is told about every round.

use crate::errors::Raised;
use numpy::PyArray1;
use piadm::{Cpu, Observer};
use pyo3::prelude::*;
use std::ops::ControlFlow;

/// What a progress callable is told after each round.
#[pyclass(module = "piadm", frozen, get_all)]
pub struct Round {
    /// Number of the round, starting from 1.
    round: usize,
    /// Rows that the network was given in this round.
    rows: usize,
    /// Steps that each sample has finished.
    finished: Py<PyArray1<i64>>,
    /// Steps per sample.
    steps: usize,
    /// Largest rms change among the nodes that left a window in this round.
    residual: f64,
}

/// Tells the callable, if there is one.
pub struct Progress {
    pub call: Option<Py<PyAny>>,
    pub raised: Raised,
}

impl<T: crate::network::Number> Observer<Cpu<T>> for Progress {
    fn on_round(&mut self, round: &piadm::sampler::Round<'_>) -> ControlFlow<()> {
        let Some(call) = &self.call else { return ControlFlow::Continue(()) };
        let stop = Python::attach(|py| {
            let finished = PyArray1::from_iter(py, round.finished.iter().map(|steps| *steps as i64)).unbind();
            let (steps, residual) = (round.steps, round.residual);
            let news = Round { round: round.round, rows: round.rows, finished, steps, residual };
            let answer = call.bind(py).call1((news,))?;
            // nothing, or whether to go on
            Ok(answer.extract::<bool>().is_ok_and(|go_on| !go_on))
        });
        match stop {
            Ok(false) => ControlFlow::Continue(()),
            Ok(true) => ControlFlow::Break(()),
            Err(error) => {
                self.raised.keep(error);
                ControlFlow::Break(())
            }
        }
    }
}
