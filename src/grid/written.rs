//! The form in which a grid is written: a kind and its settings, with `steps` in all.

use crate::grid::{Grid, Resolution, Rule, Spacing};
use serde::{Deserialize, Serialize};

/// A grid as JSON has it, flat, so that an error can name the field. `final_sigma_zero` lets the last of its steps go
/// to the data, `then_data` adds one that does.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    steps: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t_max: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t_min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sigma_min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sigma_max: Option<f64>,
    /// 7 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rho: Option<f64>,
    /// 1 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    h: Option<f64>,
    /// In place of `steps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    eps: Option<f64>,
    /// Of use for `leading` only, but the settings that it comes with are often copied whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    steps_offset: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    spacing: Option<Spacing>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    final_sigma_zero: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    then_data: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Times,
    Uniform,
    LogSnr,
    Karras,
    Piadm,
    Leading,
    Trailing,
    Linspace,
    DpmSolver,
    Euler,
}

/// A field that the kind must have.
fn need<T>(field: &mut Option<T>, name: &str) -> Result<T, String> {
    field.take().ok_or_else(|| format!("missing field `{name}`"))
}

impl TryFrom<Written> for Grid {
    type Error = String;

    fn try_from(mut w: Written) -> Result<Self, String> {
        let table = |spacing, w: &mut Written| -> Result<Rule, String> {
            w.steps_offset = None;
            Ok(Rule::Table { spacing, steps: need(&mut w.steps, "steps")? })
        };
        let rule = match w.kind {
            Kind::Times => Rule::Times(need(&mut w.times, "times")?),
            Kind::Uniform => Rule::Uniform { steps: need(&mut w.steps, "steps")? },
            Kind::LogSnr => Rule::LogSnr { steps: need(&mut w.steps, "steps")? },
            Kind::Karras => Rule::Karras {
                steps: need(&mut w.steps, "steps")?,
                sigma_min: need(&mut w.sigma_min, "sigma_min")?,
                sigma_max: need(&mut w.sigma_max, "sigma_max")?,
                rho: w.rho.take().unwrap_or(7.0),
            },
            Kind::Piadm => {
                // with `eps` there, `steps` is one field too many
                let resolution = match w.eps.take() {
                    Some(eps) => Resolution::Step(eps),
                    None => Resolution::Steps(need(&mut w.steps, "steps")?),
                };
                Rule::Piadm { h: w.h.take().unwrap_or(1.0), resolution }
            }
            Kind::Leading => table(Spacing::Leading { offset: w.steps_offset.unwrap_or(0) }, &mut w)?,
            Kind::Trailing => table(Spacing::Trailing, &mut w)?,
            Kind::Linspace => table(Spacing::Linspace, &mut w)?,
            Kind::DpmSolver => {
                let spacing = need(&mut w.spacing, "spacing")?;
                Rule::DpmSolver { spacing, steps: need(&mut w.steps, "steps")? }
            }
            Kind::Euler => Rule::Euler { steps: need(&mut w.steps, "steps")? },
        };
        let mut ends = None;
        if rule.has_free_ends() && (w.t_max.is_some() || w.t_min.is_some()) {
            ends = Some((need(&mut w.t_max, "t_max")?, need(&mut w.t_min, "t_min")?));
        }
        let left = [
            ("times", w.times.is_some()),
            ("steps", w.steps.is_some()),
            ("t_max", w.t_max.is_some()),
            ("t_min", w.t_min.is_some()),
            ("sigma_min", w.sigma_min.is_some()),
            ("sigma_max", w.sigma_max.is_some()),
            ("rho", w.rho.is_some()),
            ("h", w.h.is_some()),
            ("eps", w.eps.is_some()),
            ("steps_offset", w.steps_offset.is_some()),
            ("spacing", w.spacing.is_some()),
        ];
        if let Some((name, _)) = left.into_iter().find(|(_, there)| *there) {
            return Err(format!("`{name}` is one field too many for a grid of this kind"));
        }
        // a rule that does not count its steps has none to spare
        let counts = rule.steps().is_some();
        let (to_data, then_data) = (w.final_sigma_zero && counts, w.then_data || (w.final_sigma_zero && !counts));
        Ok(Grid { rule, ends, to_data, then_data })
    }
}

impl From<Grid> for Written {
    fn from(grid: Grid) -> Self {
        let Grid { rule, ends, to_data: final_sigma_zero, then_data } = grid;
        let (steps, t_max, t_min) = (rule.steps(), ends.map(|ends| ends.0), ends.map(|ends| ends.1));
        let common = Written { steps, t_max, t_min, final_sigma_zero, then_data, ..Written::default() };
        match rule {
            Rule::Times(times) => Written { kind: Kind::Times, times: Some(times), ..common },
            Rule::Uniform { .. } => Written { kind: Kind::Uniform, ..common },
            Rule::LogSnr { .. } => Written { kind: Kind::LogSnr, ..common },
            Rule::Karras { sigma_min, sigma_max, rho, .. } => Written {
                kind: Kind::Karras,
                sigma_min: Some(sigma_min),
                sigma_max: Some(sigma_max),
                rho: Some(rho),
                ..common
            },
            Rule::Piadm { h, resolution } => {
                let eps = match resolution {
                    Resolution::Step(eps) => Some(eps),
                    Resolution::Steps(_) => None,
                };
                Written { kind: Kind::Piadm, h: Some(h), eps, ..common }
            }
            Rule::Table { spacing: Spacing::Leading { offset }, .. } => {
                Written { kind: Kind::Leading, steps_offset: Some(offset), ..common }
            }
            Rule::Table { spacing: Spacing::Trailing, .. } => Written { kind: Kind::Trailing, ..common },
            Rule::Table { spacing: Spacing::Linspace, .. } => Written { kind: Kind::Linspace, ..common },
            Rule::DpmSolver { spacing, .. } => Written { kind: Kind::DpmSolver, spacing: Some(spacing), ..common },
            Rule::Euler { .. } => Written { kind: Kind::Euler, ..common },
        }
    }
}
