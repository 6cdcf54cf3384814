//! What a sampler that chooses reports about its choice, and the models behind the choice.

use crate::error::{Error, Result};
use std::fmt;

/// Why a sampler was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reason {
    /// A window saves more rounds than its rows cost: parallel sampling.
    FewerRounds,
    /// No window saves more rounds than its rows cost: sequential sampling.
    RowCost,
    /// With a tolerance of zero and no fixed depth, a node is accepted only when it is exact, which may take as
    /// many rounds as steps: sequential sampling. An [`Automatic::effort`](crate::Automatic::effort) overrides
    /// this.
    ZeroTolerance,
    /// There is only one step, or only one is allowed per window: sequential sampling.
    OneStep,
    /// No node needs the network: sequential sampling.
    NoEvaluation,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::FewerRounds => "it saves more rounds than its rows cost",
            Reason::RowCost => "no window saves more rounds than its rows cost",
            Reason::ZeroTolerance => "exact acceptance may take as many rounds as steps",
            Reason::OneStep => "there is no window of more than one step",
            Reason::NoEvaluation => "no node needs the network",
        })
    }
}

/// What [`Automatic`](crate::Automatic) chose.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Choice {
    /// The window in steps; `None` for sequential sampling.
    pub window: Option<usize>,
    /// The reason for the choice.
    pub reason: Reason,
    /// Predicted seconds of sequential sampling; `None` if nothing was compared.
    pub sequential_seconds: Option<f64>,
    /// The best window, chosen or not; `None` if none was compared.
    pub best: Option<Forecast>,
    /// The most rows of a call, where the network takes longer for a round in one call than in several; `None`: as many
    /// as there are.
    #[cfg_attr(feature = "serde", serde(default))]
    pub rows_per_call: Option<usize>,
    /// For a [`Split`](crate::score::Split) score, the predicted seconds on 1, 2, 4, ... parts of the same speed, each
    /// with the best window for it; empty for other scores.
    #[cfg_attr(feature = "serde", serde(default))]
    pub by_parts: Vec<(usize, f64)>,
    /// The latency behind the choice, for later runs; `None` if none was needed.
    pub latency: Option<Latency>,
    /// The model behind the choice, for later runs of the same kind. After a parallel run it is corrected by the
    /// number of rounds that the run took.
    pub effort: Option<Effort>,
}

impl Choice {
    /// The number of parts up to which doubling them is predicted to save at least a tenth of the time; `None` for
    /// scores that are not split.
    pub fn parts_that_pay(&self) -> Option<usize> {
        let pays = self.by_parts.windows(2).take_while(|pair| pair[1].1 <= 0.9 * pair[0].1).count();
        self.by_parts.get(pays).map(|(parts, _)| *parts)
    }
}

/// The prediction for a window.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Forecast {
    /// The window, in steps.
    pub window: usize,
    /// Predicted number of rounds.
    pub rounds: f64,
    /// Predicted seconds.
    pub seconds: f64,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.window {
            Some(window) => write!(f, "window {window}")?,
            None => write!(f, "sequential")?,
        }
        write!(f, ": {}", self.reason)?;
        if let (Some(sequential), Some(Forecast { window, rounds, seconds })) = (self.sequential_seconds, self.best) {
            write!(
                f,
                " (predicted: {seconds:.2e} s in {rounds:.0} rounds of window {window}, {sequential:.2e} s sequential)"
            )?;
        }
        if let Some(rows) = self.rows_per_call {
            write!(f, "; {rows} rows a call, since longer calls take longer per row")?;
        }
        if let Some(parts) = self.parts_that_pay() {
            write!(f, "; twice the parts would save a tenth of the time up to {parts} of them")?;
        }
        Ok(())
    }
}

/// A model of the number of rounds that a window takes. A run of n steps with a window of w steps, u = w/n, needs
///
/// $$R(u) = \frac1u + E(u), \qquad E(u) = E_\infty \frac{u^2}{u^2 + u_0^2}$$
///
/// rounds: 1/u to slide past all steps, and E more in which the window waits for guesses to converge; E vanishes
/// for a window so short that its first sweeps are good enough. A policy of blocks takes (1 + E)/u rounds, since
/// every block waits.
///
/// Measured with the default sampler on a residual network, a U-Net and mixtures, with 50 to 1,000 steps, windows
/// from 4 steps to half of the run, and two grids, E depends on u alone, to within one or two rounds:
///
/// | u | 0.016 | 0.032 | 0.064 | 0.13 | 0.26 | 0.5 | model |
/// |---|---|---|---|---|---|---|---|
/// | SDE, U-Net | 1.3 | 5.3 | 7.9 | 8.9 | 10 | | 9, 0.035 |
/// | SDE, residual network | 1.3 | 4.3 | 6.9 | 7.9 | 8.9 | 7.8 | |
/// | SDE, mixture | 1.8 | 2.5 | 3.9 | 5.4 | 5.1 | 5.0 | |
/// | ODE, residual network | 0.5 | 0.8 | 1.4 | 2.4 | 4.3 | 5.5 | 6, 0.17 |
///
/// ```
/// use piadm::{problem::Effort, Acceptance, Automatic, Picard};
/// // the sequential bits, if a window is known to pay: a tolerance of zero has no default model
/// let base = Picard::default().acceptance(Acceptance::Exact);
/// let effort = Some(Effort { rounds: 40.0, reach: 0.01 });
/// let automatic = Automatic::default().base(base).effort(effort);
/// # let _ = automatic;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Effort {
    /// E_inf, the largest number of rounds of waiting.
    pub rounds: f64,
    /// u_0, the window at which half of them are needed, as a fraction of the run.
    pub reach: f64,
}

impl Effort {
    pub(crate) fn check(&self) -> Result<()> {
        if !(self.rounds >= 0.0 && self.rounds.is_finite()) {
            return Err(Error::setting("effort.rounds", self.rounds, "a finite number that is at least 0"));
        }
        if !(self.reach > 0.0 && self.reach.is_finite()) {
            return Err(Error::setting("effort.reach", self.reach, "a finite number above 0"));
        }
        Ok(())
    }
}

/// Seconds per round as a function of the number of rows, including the solver's own work.
///
/// It is constant before the first point, linear between the points, and continues linearly to twice the rows of
/// the last point. From there it grows in proportion to the rows, since a network may be at capacity in the range
/// that was not measured. It holds for one network, dimension and machine, and for any number of samples and steps.
///
/// ```
/// use piadm::problem::Latency;
/// let latency = Latency { points: vec![(1, 1e-3), (64, 2e-3)] };
/// assert_eq!(latency.seconds(1.0), 1e-3);
/// assert_eq!(latency.seconds(32.5), 1.5e-3);
/// assert_eq!(latency.seconds(127.0), 3e-3);
/// assert_eq!(latency.seconds(256.0), 2.0 * latency.seconds(128.0));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Latency {
    /// Rows per round and seconds per round, in ascending order of rows.
    pub points: Vec<(usize, f64)>,
}

/// Several calls are made in place of one if they take at most this fraction of its time.
const WORTH: f64 = 0.9;

impl Latency {
    /// Seconds for a round of `rows` rows; 0 if there are no points.
    pub fn seconds(&self, rows: f64) -> f64 {
        let Some(&(last, _)) = self.points.last() else { return 0.0 };
        let known = 2.0 * last as f64;
        if rows <= known { self.line(rows) } else { self.line(known) * (rows / known) }
    }

    /// Seconds for a round of `rows` rows in the best way to call a network of this grain, and the most rows of a call,
    /// if one call is not the best way. Of several grains the last one takes as long as a whole one.
    pub(crate) fn best_calls(&self, rows: f64, grain: usize) -> (f64, Option<usize>) {
        let grain = grain as f64;
        let one = self.seconds(if rows > grain { (rows / grain).ceil() * grain } else { rows });
        let shorter = self.points.iter().filter(|(of_call, _)| (*of_call as f64) < rows);
        let several = shorter.map(|(of_call, seconds)| ((rows / *of_call as f64).ceil() * seconds, *of_call));
        match several.min_by(|a, b| a.0.total_cmp(&b.0)) {
            // calls are noisy, and a network may be faster on rows that were not measured
            Some((seconds, of_call)) if seconds < WORTH * one => (seconds, Some(of_call)),
            _ => (one, None),
        }
    }

    /// Linear between the points and beyond the last two, constant before the first.
    pub(crate) fn line(&self, rows: f64) -> f64 {
        let after = self.points.partition_point(|p| (p.0 as f64) < rows).clamp(1, self.points.len().max(2) - 1);
        match (self.points.get(after - 1), self.points.get(after)) {
            (Some(&(m, earlier)), Some(&(n, later))) => {
                let part = (rows - m as f64) / (n as f64 - m as f64);
                let rise = later - earlier;
                if part > 1.0 { later + (part - 1.0) * rise.max(0.0) } else { earlier + part.max(0.0) * rise }
            }
            (Some(&(_, only)), None) => only,
            _ => 0.0,
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.points.is_empty() {
            return Err(Error::setting("latency", "no points", "seconds for at least one number of rows"));
        }
        let mut before = 0;
        for &(rows, seconds) in &self.points {
            if rows <= before {
                return Err(Error::setting("latency rows", rows, "ascending numbers of at least 1 row"));
            }
            if !(seconds > 0.0 && seconds.is_finite()) {
                return Err(Error::setting("latency seconds", seconds, "a finite number above 0"));
            }
            before = rows;
        }
        Ok(())
    }
}
