//! The one error type of the crate: every variant says what was wrong and what to do about it.

#[cfg(feature = "cuda")]
mod device;
mod memory;

#[cfg(feature = "cuda")]
pub use device::DeviceError;
pub(crate) use memory::{filled, reserve, reserved};

/// Any error that a user's own code may return, such as a score that fails.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// The crate's result type.
pub type Result<T> = std::result::Result<T, Error>;

/// What a part of a split score did instead of answering.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It returned this error.
    #[error(transparent)]
    Failed(BoxError),
    /// It panicked, with this message.
    #[error("it panicked: {0}")]
    Panicked(String),
    /// It answered a number that is not finite.
    #[error("it answered a number that is not finite for sample {sample} at time {time}")]
    NotFinite {
        /// Id of the sample.
        sample: u32,
        /// Time of the row.
        time: f64,
    },
}

/// What can go wrong; nothing in this crate panics on bad input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is outside its range.
    #[error("{name} = {value}: expected {expected}")]
    Setting {
        /// The setting's name as it is written in code.
        name: &'static str,
        /// The value that was given.
        value: String,
        /// What would have been accepted.
        expected: &'static str,
    },
    /// A time grid has fewer than two points, or more than the crate can address.
    #[error("a time grid needs 2 to {max} points, got {points}")]
    GridLength {
        /// How many points it has.
        points: usize,
        /// The most it may have.
        max: usize,
    },
    /// A time of a grid is NaN or infinite.
    #[error("grid point {index} is {time}: every time must be a finite number")]
    GridNotFinite {
        /// Index of the point, 0 is the noisy end.
        index: usize,
        /// The offending time.
        time: f64,
    },
    /// Two neighbouring times of a grid are equal or increase.
    #[error(
        "grid point {index} is at {time}, not below the point before it at {previous}: \
         times must strictly decrease from noise to data"
    )]
    GridOrder {
        /// Index of the later point.
        index: usize,
        /// The time before it.
        previous: f64,
        /// The offending time.
        time: f64,
    },
    /// A time of a grid lies outside the schedule's range.
    #[error("grid point {index} at time {time} lies outside the schedule's range [{min}, {max}]")]
    GridRange {
        /// Index of the point.
        index: usize,
        /// The offending time.
        time: f64,
        /// Smallest time of the schedule.
        min: f64,
        /// Largest time of the schedule.
        max: f64,
    },
    /// A grid takes its ends from the schedule's range, and one of them is no end that it can have.
    #[error(
        "the grid would have {end} = {time}, the end of the schedule's range: set the ends with Grid::between(t_max, t_min)"
    )]
    GridEnd {
        /// Which end: `t_max` or `t_min`.
        end: &'static str,
        /// The schedule's time there.
        time: f64,
    },
    /// A score would be evaluated at a time it was not trained for.
    #[error(
        "the score was trained on times [{min}, {max}] and the grid asks for {time}: \
         shorten the grid, or widen the score's time_range()"
    )]
    TimeRange {
        /// The offending time.
        time: f64,
        /// Smallest time of the score.
        min: f64,
        /// Largest time of the score.
        max: f64,
    },
    /// A word that names none of the things that were asked for.
    #[error("{given:?} is not a valid {what}: expected {}", expected.join(", "))]
    Name {
        /// What was asked for.
        what: &'static str,
        /// The word.
        given: String,
        /// The names that there are.
        expected: Vec<&'static str>,
    },
    /// Two things that are right by themselves do not go together.
    #[error("{what} does not go with {with}: {instead}")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
        /// What it does not go with.
        with: String,
        /// What to do instead.
        instead: &'static str,
    },
    /// A step starts where the signal has vanished (alpha = 0) and its formula divides by alpha.
    #[error(
        "step {step} starts at time {time}, where alpha = 0, and {what} is not defined there: \
         start at a slightly smaller time, or use a data, velocity or flow output with a scheme in data form"
    )]
    Singular {
        /// Index of the step, 1 is the first.
        step: usize,
        /// The time at which it starts.
        time: f64,
        /// What divides by alpha.
        what: &'static str,
    },
    /// An array has the wrong shape.
    #[error("{what} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// Which array.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that fits the problem.
        expected: Vec<usize>,
    },
    /// A part of a split score did not answer ([`Split`](crate::score::Split)).
    #[error("part {part} of a split score did not answer")]
    Part {
        /// Its number, from 0.
        part: usize,
        /// What it did instead.
        source: Fault,
    },
    /// The user's score returned an error.
    #[error("the score failed in round {round}, at node {node} of sample {sample} or a later row of the same call")]
    Score {
        /// Round in which it happened, 1 is the first.
        round: usize,
        /// Node of the first row of the failing call.
        node: usize,
        /// Sample id of that row.
        sample: u32,
        /// What the score returned.
        #[source]
        source: BoxError,
    },
    /// The user's score wrote NaN or an infinity, or left a row unwritten.
    #[error(
        "the score gave a value that is not finite in round {round} at node {node} (time {time}) of sample {sample}, \
         for a finite state: check the network at that time, or that every output row is written"
    )]
    ScoreNotFinite {
        /// Round in which it happened, 1 is the first.
        round: usize,
        /// The node.
        node: usize,
        /// The node's time.
        time: f64,
        /// Sample id.
        sample: u32,
    },
    /// The sequential trajectory itself overflows.
    #[error(
        "the state of sample {sample} is not finite at node {node} (round {round}): \
         the scheme is unstable on this grid, take smaller steps or another scheme"
    )]
    StateNotFinite {
        /// Round in which it happened, 1 is the first.
        round: usize,
        /// The node.
        node: usize,
        /// Sample id.
        sample: u32,
    },
    /// A node was swept as often as allowed without meeting the tolerance.
    #[error(
        "sample {sample} did not converge: node {node} still changes by {residual:e} (rms) after {sweeps} sweeps; \
         allow more sweeps or a larger tolerance, or take what there is with Sweeps::AtMost"
    )]
    NotConverged {
        /// Sample id.
        sample: u32,
        /// The first node that failed.
        node: usize,
        /// How often it was swept.
        sweeps: usize,
        /// Its last change.
        residual: f64,
        /// The last changes of all nodes of that sample's window, from the first unfinished node on.
        residuals: Vec<f64>,
    },
    /// A size does not fit the address space or the noise addresses.
    #[error("{what} is too large: {why}")]
    TooLarge {
        /// Which size.
        what: &'static str,
        /// The limit it breaks.
        why: String,
    },
    /// Memory could not be had.
    #[error("{bytes} bytes of memory for {what} could not be allocated: take fewer samples or a smaller window")]
    OutOfMemory {
        /// Which array.
        what: &'static str,
        /// How many bytes were asked for.
        bytes: usize,
    },
    /// A device cannot be used, or has failed.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl Error {
    /// An [`Error::Name`].
    pub(crate) fn name(what: &'static str, given: &str, expected: &[&'static str]) -> Self {
        Error::Name { what, given: given.to_owned(), expected: expected.to_vec() }
    }

    /// An [`Error::Unsupported`].
    pub(crate) fn unsupported(what: &'static str, with: impl Into<String>, instead: &'static str) -> Self {
        Error::Unsupported { what, with: with.into(), instead }
    }

    /// A [`Error::Setting`] from anything that prints.
    pub(crate) fn setting(name: &'static str, value: impl std::fmt::Display, expected: &'static str) -> Self {
        Error::Setting { name, value: value.to_string(), expected }
    }
}

/// Variances are finite and at least 0.
pub(crate) fn check_variance(name: &'static str, variance: f64) -> Result<()> {
    if variance >= 0.0 && variance.is_finite() {
        return Ok(());
    }
    Err(Error::setting(name, variance, "a finite number that is at least 0"))
}
