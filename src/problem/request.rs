//! A request: samples with the same nodes.

use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::nodes::{Correction, Nodes, Scheme, Window};
use crate::noise::NoiseKey;
use crate::problem::start::{Ids, Start};
use crate::schedule::NoiseSchedule;
use crate::score::Prediction;
use std::sync::Arc;

/// How the nodes come about.
#[derive(Clone, Debug)]
pub(super) enum Source {
    Scheme { schedule: Arc<dyn NoiseSchedule>, grid: Grid, scheme: Scheme },
    List(Arc<Nodes>),
}

/// Samples with the same nodes: a request.
#[derive(Clone, Debug)]
pub(super) struct Request<E> {
    pub source: Source,
    pub correction: Option<(Window, Correction)>,
    pub ids: Ids,
    pub key: NoiseKey,
    pub start: Start<E>,
}

impl<E> Request<E> {
    /// In a batch a request keeps its number of samples, whatever ids and states the batch is given.
    pub fn keep_count(&mut self) {
        self.ids.count = Some(self.ids.len());
    }

    /// The nodes, from where the trajectories start.
    pub fn list(&self, prediction: Prediction, trained: Option<(f64, f64)>) -> Result<Arc<Nodes>> {
        let first = self.start.step();
        match &self.source {
            Source::Scheme { schedule, grid, scheme } => {
                let grid = grid.resolve(schedule, trained)?;
                let steps = first..grid.steps();
                let list = match &self.correction {
                    None => Nodes::on_times(schedule, &grid, scheme, prediction, steps),
                    Some((block, correction)) => {
                        let corrected = (*block, correction);
                        Nodes::corrected_on_times(schedule, &grid, scheme, prediction, steps, corrected)
                    }
                };
                list.map(Arc::new)
            }
            Source::List(_) if self.correction.is_some() => Err(Error::unsupported(
                "Problem::correction",
                "nodes of your own",
                "push the corrections to the list, or take a schedule, a grid and a scheme",
            )),
            Source::List(list) if list.steps() == 0 || !list.nodes().last().is_some_and(|n| n.solution) => {
                Err(Error::setting(
                    "list",
                    format!("{} nodes", list.nodes().len()),
                    "a list that ends with the end of a step",
                ))
            }
            Source::List(list) if first == 0 || first == list.first_step() => Ok(list.clone()),
            Source::List(_) => Err(Error::unsupported(
                "a start in the middle",
                format!("nodes of your own, at step {first}"),
                "number the list from that step (Nodes::numbered_from)",
            )),
        }
    }
}
