//! What is kept of a run: counters, and hashes of all bits.

use crate::place::Place;
use piadm::{Backend, Observer, Solution, backend::Real, sampler::Round};
use std::error::Error;
use std::fmt::Display;
use std::ops::ControlFlow;

/// The columns after name and backend. `observed` hashes the counters that an observer sees; the last three hash
/// numbers: samples, saved path, residuals.
pub const COLUMNS: [&str; 10] =
    ["rounds", "calls", "rows", "sample_rounds", "sweeps", "stop", "observed", "samples", "path", "residuals"];
const STOP: usize = 5;
const OBSERVED: usize = 6;
const HASHES: usize = 7;

/// What stands where there is nothing to say.
const NONE: &str = "-";

/// A case and what came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    pub name: String,
    pub backend: &'static str,
    /// Whether its numbers are the same on every machine.
    pub dyadic: bool,
    pub cells: Vec<String>,
}

impl Line {
    /// The line as it is recorded: numbers that depend on the machine's exp and log are left out.
    pub fn portable(&self) -> Vec<String> {
        let mut cells = self.cells.clone();
        if !self.dyadic {
            cells[HASHES..].fill(NONE.into());
            cells[STOP] = without_numbers(&cells[STOP]);
        }
        cells
    }
}

/// The words of an error, with `#` for numbers that are not whole.
fn without_numbers(text: &str) -> String {
    let word = |word: &str| {
        let number = word.trim_matches([',', ';', ':', '(', ')']);
        let is_fraction = number.parse::<f64>().is_ok() && number.parse::<i64>().is_err();
        if is_fraction { word.replace(number, "#") } else { word.into() }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// FNV-1a of 64 bits.
#[derive(Clone, Copy, Debug)]
pub struct Hash(u64);

impl Hash {
    pub fn new() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }

    pub fn number(&mut self, number: u64) {
        for byte in number.to_le_bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn bits<'a, T: Real>(mut self, values: impl IntoIterator<Item = &'a T>) -> Self {
        values.into_iter().for_each(|v| self.number(v.wide().to_bits()));
        self
    }

    fn counts(mut self, counts: &[usize]) -> Self {
        counts.iter().for_each(|n| self.number(*n as u64));
        self
    }

    fn text(self) -> String {
        format!("{:016x}", self.0)
    }
}

/// Sees all rounds of a run; may cancel it.
#[derive(Debug)]
pub struct Watch {
    counters: Hash,
    residuals: Hash,
    /// The round that ends the run.
    pub last: Option<usize>,
}

impl Watch {
    pub fn new() -> Self {
        Watch { counters: Hash::new(), residuals: Hash::new(), last: None }
    }
}

impl<B: Backend> Observer<B> for Watch {
    fn on_round(&mut self, round: &Round<'_>) -> ControlFlow<()> {
        self.counters = self.counters.counts(&[round.round, round.rows, round.steps]).counts(round.finished);
        self.residuals.number(round.residual.to_bits());
        if self.last == Some(round.round) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn on_sample(&mut self, slot: usize, id: u32, _: B::View<'_>) {
        self.counters = self.counters.counts(&[slot, id as usize]);
    }
}

/// The cells of a run.
pub fn cells<P: Place + ?Sized>(
    place: &P,
    run: impl FnOnce(&mut Watch) -> Result<Solution<P::On>, Box<dyn Error>>,
) -> Vec<String> {
    let mut watch = Watch::new();
    let mut cells = vec![NONE.to_owned(); COLUMNS.len()];
    match run(&mut watch).and_then(|solution| Ok((place.host(&solution.samples, solution.report.samples)?, solution))) {
        Ok((samples, solution)) => {
            let (path, report) = (&solution.path, &solution.report);
            let residuals = watch.residuals.bits(&report.residuals).bits([&report.max_residual]);
            cells = vec![
                report.rounds.to_string(),
                report.score_calls.to_string(),
                report.score_rows.to_string(),
                list(&report.sample_rounds),
                list(&report.sweeps),
                format!("{:?}", report.stop),
                watch.counters.counts(&[0, report.steps]).text(),
                Hash::new().bits(&samples).text(),
                Hash::new().counts(path.steps()).bits(path.states()).text(),
                residuals.text(),
            ];
        }
        Err(error) => {
            cells[STOP] = format!("error: {}", causes(&*error)).replace(['\t', '\n'], " ");
            cells[OBSERVED] = watch.counters.text();
            cells[HASHES + 2] = watch.residuals.text();
        }
    }
    cells
}

fn causes(error: &dyn Error) -> String {
    let source = error.source().map_or(String::new(), |source| format!(": {}", causes(source)));
    format!("{error}{source}")
}

fn list<T: Display>(values: &[T]) -> String {
    if values.is_empty() { NONE.into() } else { values.iter().map(T::to_string).collect::<Vec<_>>().join(",") }
}
