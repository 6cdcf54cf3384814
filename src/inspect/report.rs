//! What an inspection found.

use crate::problem::Choice;
use crate::score::Prediction;
use std::fmt;

/// What [`inspect`](crate::inspect()) found. Its `Display` is the report to read.
///
/// ```
/// use piadm::prelude::*;
/// let problem = Problem::new(Flow, Grid::uniform(20), Scheme::ddim()).shape([2]);
/// let mut score = score_map(Prediction::Data, |x, _rows| x.mapv(|_: f32| 0.5));
/// let report = piadm::inspect(&problem, &mut score, ndarray::array![[0.5_f32, 0.5]].view())?;
/// assert!(report.is_sound());
/// assert!(report.to_string().contains("data"));
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Inspection {
    /// What the network says that it answers.
    pub declared: Prediction,
    /// Levels that were looked at, from the noise down.
    pub levels: Vec<LevelErrors>,
    /// How much worse than the best reading each one is, at the level where it is worst, from the best one on. Empty if
    /// no output is finite.
    pub readings: Vec<(Prediction, f64)>,
    /// Readings are told apart by this factor: 1.05 for many data, 2.1 for a single number.
    pub margin: f64,
    /// Which reading of the outputs explains them.
    pub verdict: Verdict,
    /// A row alone against the same row in a call of several.
    pub batch: Difference,
    /// Two equal calls.
    pub repeat: Difference,
    /// Rows with outputs that are not finite.
    pub not_finite: Vec<NotFinite>,
    /// What calls cost.
    pub costs: Vec<CallCost>,
    /// What [`Automatic`](crate::Automatic) would choose for the problem at these costs, without the solver's own.
    pub choice: Option<Choice>,
}

/// The errors of the denoised data at a level, under each reading of the outputs.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LevelErrors {
    /// Time of the level.
    pub time: f64,
    /// sigma/alpha there.
    pub ratio: f64,
    /// Of each reading, the root mean square error in units of the error that the best multiple of the noisy state
    /// makes: 1 is what no network can do, a trained one is below. NaN if no row is finite.
    pub errors: Vec<(Prediction, f64)>,
    /// Rows that are left out since their outputs are not finite.
    pub bad_rows: usize,
}

impl LevelErrors {
    /// The error of one reading.
    ///
    /// ```
    /// use piadm::prelude::*;
    /// let problem = Problem::new(Flow, Grid::uniform(20), Scheme::ddim()).shape([2]);
    /// let mut score = score_map(Prediction::Data, |x, _rows| x.mapv(|_: f32| 0.5));
    /// let report = piadm::inspect(&problem, &mut score, ndarray::array![[0.5_f32, 0.5]].view())?;
    /// assert_eq!(report.levels[0].error(Prediction::Data), Some(0.0));
    /// assert_eq!(report.levels[0].error(Prediction::Next), None);
    /// # Ok::<(), piadm::Error>(())
    /// ```
    pub fn error(&self, kind: Prediction) -> Option<f64> {
        self.errors.iter().find(|(other, _)| *other == kind).map(|(_, error)| *error)
    }
}

/// Which reading of the outputs explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Verdict {
    /// The one that the network declares.
    AsDeclared,
    /// Not the one that is declared; this one does best.
    LooksLike(Prediction),
    /// Another one does best, but not by enough to tell it from what is declared.
    Undecided(Prediction),
    /// None: the network denoises nothing, or no output is finite.
    NoDenoiser,
}

/// How far two answers to the same rows are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Difference {
    /// Whether all bits agree.
    pub same_bits: bool,
    /// The largest difference of an element, in units of the root mean square of the outputs; infinite where only one
    /// of the two is finite.
    pub largest: f64,
}

/// A row with outputs that are not finite.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct NotFinite {
    /// Time of its level.
    pub time: f64,
    /// Row of the data that was noised.
    pub row: usize,
    /// How many of its elements are not finite.
    pub elements: usize,
}

/// What calls of some number of rows cost.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct CallCost {
    /// Rows of a call; several calls where the network takes fewer at once.
    pub rows: usize,
    /// Seconds of the fastest of a few; none if the network failed.
    pub seconds: Option<f64>,
    /// Why it failed.
    pub failure: Option<String>,
}

impl Inspection {
    /// Whether outputs are what the network declares, finite, and the same in two equal calls.
    pub fn is_sound(&self) -> bool {
        self.verdict == Verdict::AsDeclared && self.not_finite.is_empty() && self.repeat.same_bits
    }

    fn write_levels(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error of the denoised data if the outputs are read as (1: as good as no network)")?;
        write!(f, "{:>12} {:>11}", "time", "sigma/alpha")?;
        let kinds = || self.levels.first().into_iter().flat_map(|level| &level.errors);
        for (kind, _) in kinds() {
            let mark = if *kind == self.declared { "*" } else { "" };
            write!(f, " {:>10}", format!("{kind}{mark}"))?;
        }
        for level in &self.levels {
            write!(f, "\n{:>12} {:>11}", short(level.time), short(level.ratio))?;
            for (_, error) in &level.errors {
                write!(f, " {:>10}", short(*error))?;
            }
        }
        write!(f, "\n{:>24}", "against the best, worst")?;
        for (kind, _) in kinds() {
            let worst = self.readings.iter().find(|(other, _)| other == kind);
            write!(f, " {:>10}", worst.map_or_else(|| "-".into(), |(_, worst)| short(*worst)))?;
        }
        writeln!(f)
    }
}

/// Four digits.
fn short(x: f64) -> String {
    if x == 0.0 || (1e-3..1e5).contains(&x.abs()) { format!("{x:.4}") } else { format!("{x:.2e}") }
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_levels(f)?;
        let declared = self.declared;
        match self.verdict {
            Verdict::AsDeclared => writeln!(f, "outputs: {declared}, as the network says")?,
            Verdict::LooksLike(kind) => {
                let least = self.readings.first().map_or(1.0, |(_, worst)| *worst);
                let near = self.readings.iter().filter(|(_, worst)| *worst <= self.margin * least);
                let names: Vec<String> = near.map(|(kind, _)| kind.to_string()).collect();
                writeln!(
                    f,
                    "outputs: they look like {}, and the network says that it answers {declared}: \
                     set Prediction::{kind:?}",
                    names.join(" or ")
                )?;
            }
            Verdict::Undecided(kind) => writeln!(
                f,
                "outputs: {kind} explains them a little better than {declared}, which the network says: give more data"
            )?,
            Verdict::NoDenoiser => writeln!(
                f,
                "outputs: no reading of them denoises the data: check the weights, the time that the network is given, \
                 and the scale of the data"
            )?,
        }
        if let Some(first) = self.not_finite.first() {
            writeln!(
                f,
                "not finite: {} rows, the first at time {} of row {} of the data ({} elements)",
                self.not_finite.len(),
                first.time,
                first.row,
                first.elements
            )?;
        }
        match (self.repeat.same_bits, self.repeat.largest) {
            (true, _) => writeln!(f, "two equal calls: the same bits")?,
            (false, largest) => writeln!(
                f,
                "two equal calls: {} of the outputs' size apart: is dropout on, or another random layer?",
                short(largest)
            )?,
        }
        match (self.batch.same_bits, self.batch.largest) {
            (true, _) => writeln!(f, "a row alone and in a call of several: the same bits")?,
            (false, largest) => writeln!(
                f,
                "a row alone and in a call of several: {} of the outputs' size apart{}",
                short(largest),
                if largest < 1e-3 { " (rounding: samples depend on the batch in their last digits)" } else { "" }
            )?,
        }
        for cost in &self.costs {
            match (cost.seconds, &cost.failure) {
                (Some(s), _) => {
                    writeln!(
                        f,
                        "{:>4} rows: {} ms, {} a row",
                        cost.rows,
                        short(1e3 * s),
                        short(1e3 * s / cost.rows as f64)
                    )?;
                }
                (None, failure) => writeln!(f, "{:>4} rows: {}", cost.rows, failure.as_deref().unwrap_or("failed"))?,
            }
        }
        match &self.choice {
            Some(choice) => write!(f, "Automatic: {choice}"),
            None => write!(f, "Automatic: no call was timed"),
        }
    }
}
