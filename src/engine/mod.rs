//! The window engine: the guesses of many nodes are evaluated in one batch and corrected by one sweep, round after
//! round. Every parallel sampler consists of a list of nodes, an iteration and an acceptance criterion.
//!
//! Files import each other by full path and without cycles (checked by `tests/rooms.rs`). From bottom to top: ring
//! (rows of arrays), span, sizes, lanes, machine (arrays and programs), reach (which nodes are evaluated), rows
//! (evaluation), iteration, entry, sweep (the recurrence), step, output, work (the parts of a round), accept, settings,
//! observer, tracks, windows, round, session (the rounds).

pub(crate) mod accept;
pub(crate) mod entry;
pub(crate) mod iteration;
pub(crate) mod lanes;
pub(crate) mod machine;
pub(crate) mod observer;
pub(crate) mod output;
pub(crate) mod reach;
pub(crate) mod ring;
pub(crate) mod round;
pub(crate) mod rows;
pub(crate) mod session;
pub(crate) mod settings;
pub(crate) mod sizes;
pub(crate) mod span;
pub(crate) mod step;
pub(crate) mod sweep;
pub(crate) mod tracks;
pub(crate) mod windows;
pub(crate) mod work;
