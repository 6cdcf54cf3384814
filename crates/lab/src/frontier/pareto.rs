//! The best of the runs at every number of rounds.

use super::{Findings, PathError, Run};
use std::collections::BTreeSet;

/// By which error of the path runs are compared, and its name.
pub type Measure = (&'static str, fn(&PathError) -> f64);

/// Among all samples the worst ones decide.
pub const MEASURES: [Measure; 2] = [("rms over all samples", |p| p.rms), ("rms of the median sample", |p| p.median)];

/// Runs that compete with each other, with their errors.
pub struct Field<'a>(Vec<(f64, &'a Run)>);

impl<'a> Field<'a> {
    /// Some of the runs on a problem, those whose path was measured.
    pub fn new(findings: &'a Findings, (_, error): Measure, some: impl Fn(&Run) -> bool) -> Self {
        let runs = findings.runs.iter().filter(|run| some(run));
        Field(runs.filter_map(|run| Some((error(run.path.as_ref()?), run))).collect())
    }

    /// The run of least error with at most so many rounds; of several the one of least work.
    pub fn best(&self, rounds: usize) -> Option<(f64, &'a Run)> {
        let runs = self.0.iter().copied().filter(|(_, run)| run.rounds <= rounds);
        runs.min_by(|a, b| a.0.total_cmp(&b.0).then(a.1.rows.total_cmp(&b.1.rows)))
    }

    /// The runs that no other one beats in rounds and error, by rounds.
    pub fn frontier(&self) -> Vec<(f64, &'a Run)> {
        let rounds: BTreeSet<usize> = self.0.iter().map(|(_, run)| run.rounds).collect();
        let mut all: Vec<_> = rounds.into_iter().filter_map(|n| self.best(n)).collect();
        all.dedup_by(|next, kept| next.0 >= kept.0);
        all
    }
}
