//! The form in which a grid is written: one of several kinds, with `steps` in all.

use crate::grid::{Grid, Resolution, Rule, Spacing};
use serde::{Deserialize, Serialize};

/// A grid as JSON has it. `final_sigma_zero` lets the last of its steps go to the data, `then_data` adds one that does.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Written {
    Times {
        times: Vec<f64>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        final_sigma_zero: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        then_data: bool,
    },
    Uniform {
        steps: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        t_max: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        t_min: Option<f64>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        final_sigma_zero: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        then_data: bool,
    },
    LogSnr {
        steps: usize,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        t_max: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        t_min: Option<f64>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        final_sigma_zero: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        then_data: bool,
    },
    Karras {
        steps: usize,
        sigma_min: f64,
        sigma_max: f64,
        #[serde(default = "seven")]
        rho: f64,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        final_sigma_zero: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        then_data: bool,
    },
    Piadm {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        steps: Option<usize>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        eps: Option<f64>,
        #[serde(default = "one")]
        h: f64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        t_max: Option<f64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        t_min: Option<f64>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        final_sigma_zero: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        then_data: bool,
    },
    Leading {
        steps: usize,
        /// Of use for `leading` only, but the settings that it comes with are often copied whole.
        #[serde(default, skip_serializing_if = "is_zero")]
        steps_offset: usize,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        final_sigma_zero: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        then_data: bool,
    },
    Trailing {
        steps: usize,
        /// Of use for `leading` only, but the settings that it comes with are often copied whole.
        #[serde(default, skip_serializing_if = "is_zero")]
        steps_offset: usize,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        final_sigma_zero: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        then_data: bool,
    },
    Linspace {
        steps: usize,
        /// Of use for `leading` only, but the settings that it comes with are often copied whole.
        #[serde(default, skip_serializing_if = "is_zero")]
        steps_offset: usize,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        final_sigma_zero: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        then_data: bool,
    },
    DpmSolver {
        steps: usize,
        spacing: Spacing,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        final_sigma_zero: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        then_data: bool,
    },
    Euler {
        steps: usize,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        final_sigma_zero: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        then_data: bool,
    },
}

fn one() -> f64 {
    1.0
}

fn seven() -> f64 {
    7.0
}

fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// Both ends or none.
fn pair(t_max: Option<f64>, t_min: Option<f64>) -> Result<Option<(f64, f64)>, &'static str> {
    match (t_max, t_min) {
        (Some(t_max), Some(t_min)) => Ok(Some((t_max, t_min))),
        (None, None) => Ok(None),
        (None, Some(_)) => Err("missing field `t_max`: a grid with `t_min` needs both"),
        (Some(_), None) => Err("missing field `t_min`: a grid with `t_max` needs both"),
    }
}

impl TryFrom<Written> for Grid {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let (rule, ends, final_sigma_zero, then_data) = match written {
            Written::Times { times, final_sigma_zero, then_data } => {
                (Rule::Times(times), None, final_sigma_zero, then_data)
            }
            Written::Uniform { steps, t_max, t_min, final_sigma_zero, then_data } => {
                (Rule::Uniform { steps }, pair(t_max, t_min)?, final_sigma_zero, then_data)
            }
            Written::LogSnr { steps, t_max, t_min, final_sigma_zero, then_data } => {
                (Rule::LogSnr { steps }, pair(t_max, t_min)?, final_sigma_zero, then_data)
            }
            Written::Karras { steps, sigma_min, sigma_max, rho, final_sigma_zero, then_data } => {
                (Rule::Karras { steps, sigma_min, sigma_max, rho }, None, final_sigma_zero, then_data)
            }
            Written::Piadm { steps, eps, h, t_max, t_min, final_sigma_zero, then_data } => {
                let resolution = match (steps, eps) {
                    (Some(steps), None) => Resolution::Steps(steps),
                    (None, Some(eps)) => Resolution::Step(eps),
                    (None, None) => return Err("missing field `steps`, or `eps` in its place"),
                    (Some(_), Some(_)) => return Err("both `steps` and `eps`, which takes its place"),
                };
                (Rule::Piadm { h, resolution }, pair(t_max, t_min)?, final_sigma_zero, then_data)
            }
            Written::Leading { steps, steps_offset: offset, final_sigma_zero, then_data } => {
                (Rule::Table { spacing: Spacing::Leading { offset }, steps }, None, final_sigma_zero, then_data)
            }
            Written::Trailing { steps, final_sigma_zero, then_data, .. } => {
                (Rule::Table { spacing: Spacing::Trailing, steps }, None, final_sigma_zero, then_data)
            }
            Written::Linspace { steps, final_sigma_zero, then_data, .. } => {
                (Rule::Table { spacing: Spacing::Linspace, steps }, None, final_sigma_zero, then_data)
            }
            Written::DpmSolver { steps, spacing, final_sigma_zero, then_data } => {
                (Rule::DpmSolver { spacing, steps }, None, final_sigma_zero, then_data)
            }
            Written::Euler { steps, final_sigma_zero, then_data } => {
                (Rule::Euler { steps }, None, final_sigma_zero, then_data)
            }
        };
        // a rule that does not count its steps has none to spare
        let counts = rule.steps().is_some();
        let (to_data, then_data) = (final_sigma_zero && counts, then_data || (final_sigma_zero && !counts));
        Ok(Grid { rule, ends, to_data, then_data })
    }
}

impl From<Grid> for Written {
    fn from(grid: Grid) -> Self {
        let Grid { rule, ends, to_data: final_sigma_zero, then_data } = grid;
        let (t_max, t_min) = (ends.map(|ends| ends.0), ends.map(|ends| ends.1));
        match rule {
            Rule::Times(times) => Written::Times { times, final_sigma_zero, then_data },
            Rule::Uniform { steps } => Written::Uniform { steps, t_max, t_min, final_sigma_zero, then_data },
            Rule::LogSnr { steps } => Written::LogSnr { steps, t_max, t_min, final_sigma_zero, then_data },
            Rule::Karras { steps, sigma_min, sigma_max, rho } => {
                Written::Karras { steps, sigma_min, sigma_max, rho, final_sigma_zero, then_data }
            }
            Rule::Piadm { h, resolution } => {
                let (steps, eps) = match resolution {
                    Resolution::Steps(steps) => (Some(steps), None),
                    Resolution::Step(eps) => (None, Some(eps)),
                };
                Written::Piadm { steps, eps, h, t_max, t_min, final_sigma_zero, then_data }
            }
            Rule::Table { spacing, steps } => match spacing {
                Spacing::Leading { offset } => {
                    Written::Leading { steps, steps_offset: offset, final_sigma_zero, then_data }
                }
                Spacing::Trailing => Written::Trailing { steps, steps_offset: 0, final_sigma_zero, then_data },
                Spacing::Linspace => Written::Linspace { steps, steps_offset: 0, final_sigma_zero, then_data },
            },
            Rule::DpmSolver { spacing, steps } => Written::DpmSolver { steps, spacing, final_sigma_zero, then_data },
            Rule::Euler { steps } => Written::Euler { steps, final_sigma_zero, then_data },
        }
    }
}
