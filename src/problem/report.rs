//! The report of a run.

use crate::error::{Result, filled};
use crate::names::names;
use crate::problem::Choice;
use crate::score::PartWork;
use std::fmt;
use std::time::Duration;

/// Why a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Stop {
    /// Every node met the tolerance or is exact.
    #[default]
    Converged,
    /// Some nodes were accepted because they had reached the limit on sweeps, or by a sampler without a tolerance.
    Depth,
    /// The observer cancelled the run.
    Cancelled,
    /// The limit on rounds was reached: the remaining nodes are first guesses.
    Deadline,
}

/// What a run guarantees for its samples, provided that the rows of the score do not depend on each other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Guarantee {
    /// The bits of sequential sampling.
    Bits,
    /// An estimated error of the last state, in units of the state.
    Error(f64),
    /// The law of sequential sampling, up to rounding.
    Law,
    /// Nothing: nodes were accepted because they changed little or had reached the limit on sweeps, or the run was
    /// cancelled or ran out of rounds.
    #[default]
    None,
}

names! { Stop, "reason to stop";
    Converged = "converged", Depth = "depth", Cancelled = "cancelled", Deadline = "deadline",
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Guarantee::Bits => f.write_str("the sequential bits, if rows are independent"),
            Guarantee::Law => f.write_str("the sequential law, if rows are independent"),
            Guarantee::Error(error) => write!(f, "an estimated error of {error:e}"),
            Guarantee::None => f.write_str("none"),
        }
    }
}

/// Rounds, rows, residuals and times of a run.
///
/// A round is one evaluation of all active rows, in one or several calls; a row is one state of one sample at one
/// node.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Report {
    /// Name of the sampler.
    pub sampler: String,
    /// Steps of the run; those of the longest request if requests differ.
    pub steps: usize,
    /// Steps of each sample.
    #[cfg_attr(feature = "serde", serde(default))]
    pub sample_steps: Vec<usize>,
    /// Number of samples in the batch.
    pub samples: usize,
    /// Rounds until the last sample was finished: the sequential depth.
    pub rounds: usize,
    /// Rounds of each sample.
    pub sample_rounds: Vec<usize>,
    /// Calls of the score; more than `rounds` only if `max_rows` splits a round.
    pub score_calls: usize,
    /// Rows given to the score.
    pub score_rows: usize,
    /// Evaluations of a network ([`Model::evaluations`](crate::Model::evaluations)): one per row, but two where it is
    /// guided, more in kernels that make several, and those of rows that only fill a call.
    #[cfg_attr(feature = "serde", serde(default))]
    pub evaluations: usize,
    /// Sweeps of each block, the maximum over samples; empty for policies without blocks.
    pub sweeps: Vec<usize>,
    /// Last rms change of each sample's last node.
    pub residuals: Vec<f64>,
    /// Largest rms change with which a node was accepted without being exact.
    pub max_residual: f64,
    /// Why the run ended.
    pub stop: Stop,
    /// What the run guarantees for the samples.
    #[cfg_attr(feature = "serde", serde(default))]
    pub guarantee: Guarantee,
    /// How guesses fared under [`Acceptance::Law`](crate::Acceptance::Law).
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Option::is_none"))]
    pub verified: Option<Verified>,
    /// What the parts of a [`Split`](crate::score::Split) score did in this run; empty for other scores.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub parts: Vec<PartWork>,
    /// Time inside the score.
    pub score_time: Duration,
    /// Time outside the score.
    pub solver_time: Duration,
    /// What [`Automatic`](crate::Automatic) chose, and why.
    #[cfg_attr(feature = "serde", serde(default))]
    pub choice: Option<Choice>,
    /// Rows evaluated to measure the score before the run; not part of `score_rows`.
    #[cfg_attr(feature = "serde", serde(default))]
    pub probe_rows: usize,
    /// Time spent on these measurements; not part of the other times.
    #[cfg_attr(feature = "serde", serde(default))]
    pub probe_time: Duration,
}

/// How guesses fared when they were verified ([`Acceptance::Law`](crate::Acceptance::Law)).
///
/// ```
/// use piadm::prelude::*;
/// let problem = Problem::new(Ou, Grid::log_snr(100).between(8.0, 0.01), Scheme::default()).samples(4).shape([2]);
/// let mut score = score_map(Prediction::Score, |x, _rows| x.mapv(|v: f32| -v)); // of data N(0, 1)
/// let report = Picard::exact_in_law().sample(&problem, &mut score)?.report;
/// let verified = report.verified.as_ref().expect("the sampler verifies");
/// assert!(verified.kept() < 4 * 100 && verified.mean_length() < 64.0);
/// println!("{:?} guesses refused", verified.refused); // of each sample
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Verified {
    /// Refused guesses of each sample.
    pub refused: Vec<usize>,
    /// How many times exactly k guesses in a row were kept in a round of a sample, by k.
    pub lengths: Vec<usize>,
}

impl Verified {
    /// Guesses that were kept.
    pub fn kept(&self) -> usize {
        self.lengths.iter().enumerate().map(|(length, times)| length * times).sum()
    }

    /// Mean number of guesses kept in a round of a sample; 0 for no round.
    pub fn mean_length(&self) -> f64 {
        self.kept() as f64 / self.lengths.iter().sum::<usize>().max(1) as f64
    }

    /// For windows of at most this many nodes.
    pub(crate) fn new(samples: usize, window: usize) -> Result<Self> {
        let what = "the report";
        Ok(Verified { refused: filled(what, samples, 0)?, lengths: filled(what, window.saturating_add(1), 0)? })
    }

    pub(crate) fn note(&mut self, slot: usize, kept: usize, refused: bool) {
        self.lengths[kept] += 1;
        self.refused[slot] += usize::from(refused);
    }

    pub(crate) fn clear(&mut self) {
        self.refused.fill(0);
        self.lengths.fill(0);
    }
}

impl Report {
    /// Score rows per step and sample; 1 for a sequential one-stage scheme.
    pub fn rows_per_step(&self) -> f64 {
        let steps = self.sample_steps.iter().map(|n| *n as f64).sum::<f64>();
        self.score_rows as f64 / steps.max(1.0)
    }

    /// Adds what parts have done since they stood at `before`.
    pub(crate) fn note_parts(&mut self, before: &[PartWork], now: &[PartWork]) {
        self.parts.resize(now.len(), PartWork::default());
        for ((sum, before), now) in self.parts.iter_mut().zip(before).zip(now) {
            sum.rows += now.rows.saturating_sub(before.rows);
            sum.time += now.time.saturating_sub(before.time);
            sum.failure.clone_from(&now.failure);
        }
    }

    /// Whether all nodes met the tolerance.
    pub fn converged(&self) -> bool {
        self.stop == Stop::Converged
    }

    /// Time of the whole run, without [`probe_time`](Report::probe_time).
    pub fn total_time(&self) -> Duration {
        self.score_time + self.solver_time
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<16}{value}");
        line("sampler", self.sampler.clone())?;
        line("steps", format!("{} for {} samples", self.steps, self.samples))?;
        let mean = self.sample_rounds.iter().sum::<usize>() as f64 / self.sample_rounds.len().max(1) as f64;
        line("rounds", format!("{} (mean over samples {mean:.1})", self.rounds))?;
        line(
            "score rows",
            format!("{} in {} calls, {:.2} per step", self.score_rows, self.score_calls, self.rows_per_step()),
        )?;
        if !self.sweeps.is_empty() {
            let most = self.sweeps.iter().max().copied().unwrap_or(0);
            let mean = self.sweeps.iter().sum::<usize>() as f64 / self.sweeps.len() as f64;
            line("blocks", format!("{}, {mean:.1} sweeps each, at most {most}", self.sweeps.len()))?;
        }
        line("residual", format!("{:.2e}", self.max_residual))?;
        if let Some(verified) = &self.verified {
            let refused = verified.refused.iter().sum::<usize>() as f64 / self.samples.max(1) as f64;
            let mean = verified.mean_length();
            line("verified", format!("{refused:.1} guesses refused per sample, {mean:.1} kept per round"))?;
        }
        line("stop", self.stop.to_string())?;
        line("guarantee", self.guarantee.to_string())?;
        line(
            "seconds",
            format!("{:.3} score + {:.3} solver", self.score_time.as_secs_f64(), self.solver_time.as_secs_f64()),
        )?;
        if self.probe_rows > 0 {
            line("probe", format!("{} rows, {:.3} seconds", self.probe_rows, self.probe_time.as_secs_f64()))?;
        }
        self.choice.as_ref().map_or(Ok(()), |choice| line("choice", choice.to_string()))
    }
}
