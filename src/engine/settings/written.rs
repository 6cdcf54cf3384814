//! The serialised form of the settings.

use crate::engine::accept::acceptance::{Acceptance, Sweeps};
use crate::engine::entry::Entry;
use crate::engine::iteration::linearisation::Linearisation;
use crate::engine::iteration::probes::Probes;
use crate::engine::settings::{Coupling, Picard, Policy};
use crate::nodes::Window;

/// The settings, except that acceptance and sweeps are written as numbers.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Written {
    policy: Policy,
    window: Window,
    linearisation: Linearisation,
    #[serde(skip_serializing_if = "Option::is_none")]
    probes: Option<Probes>,
    entry: Entry,
    warm_up: usize,
    far_stride: Option<usize>,
    tolerance: Acceptance,
    max_sweeps: Option<usize>,
    on_stall: OnStall,
    coupling: Coupling,
    row_budget: Option<usize>,
    anderson: usize,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    redraft: bool,
    deadline: Option<usize>,
}

/// What happens to a node that has been swept `max_sweeps` times without being accepted.
#[derive(Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnStall {
    #[default]
    Error,
    Accept,
}

impl Default for Written {
    fn default() -> Self {
        Picard::default().into()
    }
}

impl From<Picard> for Written {
    fn from(picard: Picard) -> Self {
        Written {
            policy: picard.policy,
            window: picard.window,
            linearisation: picard.linearisation,
            probes: picard.probes,
            entry: picard.entry,
            warm_up: picard.warm_up,
            far_stride: picard.far_stride,
            tolerance: picard.acceptance,
            max_sweeps: picard.sweeps.most(),
            on_stall: if let Sweeps::AtMost(_) = picard.sweeps { OnStall::Accept } else { OnStall::Error },
            coupling: picard.coupling,
            row_budget: picard.row_budget,
            anderson: picard.anderson,
            redraft: picard.redraft,
            deadline: picard.deadline,
        }
    }
}

impl From<Written> for Picard {
    fn from(written: Written) -> Self {
        Picard {
            policy: written.policy,
            window: written.window,
            linearisation: written.linearisation,
            probes: written.probes,
            entry: written.entry,
            warm_up: written.warm_up,
            far_stride: written.far_stride,
            acceptance: written.tolerance,
            sweeps: match (written.max_sweeps, written.on_stall) {
                (None, _) => Sweeps::Unbounded,
                (Some(most), OnStall::Accept) => Sweeps::AtMost(most),
                (Some(most), OnStall::Error) => Sweeps::Within(most),
            },
            coupling: written.coupling,
            row_budget: written.row_budget,
            anderson: written.anderson,
            redraft: written.redraft,
            deadline: written.deadline,
        }
    }
}
