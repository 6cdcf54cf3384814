//! A round: the rows of all windows, packed, and the score on them.

use super::{NO_ROW, Span, Workspace};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::scheme::Node;
use crate::score::{Rows, ScoreFn};
use std::time::{Duration, Instant};

/// The rows of the current round.
#[derive(Debug, Default)]
pub(super) struct Batch {
    slot: Vec<usize>,
    lane: Vec<usize>,
    node: Vec<usize>,
    sample: Vec<u32>,
    t: Vec<f64>,
    alpha: Vec<f64>,
    sigma: Vec<f64>,
    state_rows: Vec<u32>,
}

impl Batch {
    fn clear(&mut self) {
        self.slot.clear();
        self.lane.clear();
        self.node.clear();
        self.sample.clear();
        self.t.clear();
        self.alpha.clear();
        self.sigma.clear();
    }

    fn push(&mut self, span: &Span, id: u32, j: usize, node: &Node) {
        self.slot.push(span.slot);
        self.lane.push(span.lane);
        self.node.push(j);
        self.sample.push(id);
        self.t.push(node.level.t);
        self.alpha.push(node.level.alpha);
        self.sigma.push(node.level.sigma);
    }
}

impl<B: Backend> Workspace<'_, '_, B> {
    /// One round: the score on every node of the windows that needs it.
    pub fn evaluate(&mut self, score: &mut dyn ScoreFn<B>, spans: &[Span]) -> Result<()> {
        if self.keeps_earlier {
            self.arrays.turn();
            self.earlier_row_of.copy_from_slice(&self.row_of);
        }
        self.row_of.fill(NO_ROW);
        self.batch.clear();
        for span in spans {
            let id = self.problem.ids().get(span.slot).copied().unwrap_or_default();
            let before = self.batch.slot.len();
            for (j, node) in
                self.list.nodes().iter().enumerate().take(span.hi).skip(span.lo).filter(|(_, n)| n.evaluate)
            {
                if let Some(row) = self.row_of.get_mut(span.lane * self.capacity + j % self.capacity) {
                    *row = self.batch.slot.len() as u32;
                }
                self.batch.push(span, id, j, node);
            }
            if let Some(rounds) = self.report.sample_rounds.get_mut(span.slot) {
                *rounds += usize::from(self.batch.slot.len() > before);
            }
        }
        let rows = self.batch.slot.len();
        if rows == 0 {
            return Ok(());
        }
        self.report.rounds += 1;
        self.report.score_rows += rows;
        let backend = self.problem.backend();
        for component in 0..self.list.components() {
            let mut wanted = std::mem::take(&mut self.batch.state_rows);
            wanted.clear();
            wanted.extend(self.batch.lane.iter().zip(&self.batch.node).map(|(&s, &j)| self.state_row(s, j, component)));
            backend.gather(&self.arrays.state, &wanted, &mut self.arrays.point, component * self.arrays.row_limit)?;
            self.batch.state_rows = wanted;
        }
        let Batch { slot, node, sample, t, alpha, sigma, .. } = &self.batch;
        let all = Rows { t, alpha, sigma, sample, slot };
        let chunk = score.max_rows().unwrap_or(rows).max(1);
        let mut spent = Duration::ZERO;
        let mut first = 0;
        while first < rows {
            let range = first..rows.min(first.saturating_add(chunk));
            let x = backend.view(&self.arrays.point, range.clone());
            let out = backend.view_mut(&mut self.arrays.output, range.clone());
            let clock = Instant::now();
            let answer = score.eval(x, &all.range(range.clone()), out);
            spent += clock.elapsed();
            self.report.score_calls += 1;
            answer.map_err(|source| Error::Score {
                round: self.report.rounds,
                node: node.get(first).copied().unwrap_or_default(),
                sample: sample.get(first).copied().unwrap_or_default(),
                source,
            })?;
            first = range.end;
        }
        self.report.score_time += spent;
        Ok(())
    }

    /// An error for the first output of this round that is not finite.
    pub(super) fn check_outputs(&self) -> Result<()> {
        let Some(row) = self.problem.backend().first_not_finite(&self.arrays.output, 0..self.batch.slot.len())? else {
            return Ok(());
        };
        let node = self.batch.node.get(row).copied().unwrap_or_default();
        Err(Error::ScoreNotFinite {
            round: self.report.rounds,
            node,
            time: self.node(node).map_or(f64::NAN, |n| n.level.t),
            sample: self.batch.sample.get(row).copied().unwrap_or_default(),
        })
    }
}
