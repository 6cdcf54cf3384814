//! The form in which a grid is written: a kind and its settings, with `steps` in all.

use crate::grid::index::Interpolation;
use crate::grid::{AlignYourSteps, Grid, Last, Resolution, Rule, Sigmas, Spacing};
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
    sigmas: Option<Vec<f64>>,
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
    /// 7 where it is left out; 1 for `polyexponential`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rho: Option<f64>,
    /// 0.6 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alpha: Option<f64>,
    /// 0.6 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    beta: Option<f64>,
    /// 0.025 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    model: Option<AlignYourSteps>,
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
    /// 1 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shift: Option<f64>,
}

#[derive(Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    #[default]
    Times,
    /// Noise-to-signal ratios.
    Sigmas,
    Uniform,
    LinearQuadratic,
    LogSnr,
    Karras,
    Exponential,
    Polyexponential,
    Beta,
    KlOptimal,
    AlignYourSteps,
    Piadm,
    Leading,
    Trailing,
    Linspace,
    Simple,
    DpmSolver,
    Euler,
    Normal,
    SgmUniform,
    BetaTimesteps,
}

/// A field that the kind must have.
fn need<T>(field: &mut Option<T>, name: &str) -> Result<T, String> {
    field.take().ok_or_else(|| format!("missing field `{name}`"))
}

impl Written {
    /// The rule, whose fields are taken out.
    fn rule(&mut self) -> Result<Rule, String> {
        let w = self;
        let steps = |w: &mut Written| need(&mut w.steps, "steps");
        let table = |spacing, w: &mut Written| -> Result<Rule, String> {
            w.steps_offset = None;
            Ok(Rule::Table { steps: steps(w)?, spacing })
        };
        let ratios = |spacing, w: &mut Written| -> Result<Rule, String> {
            let sigmas = match (w.sigma_min, w.sigma_max) {
                (None, None) => None,
                _ => Some((need(&mut w.sigma_min, "sigma_min")?, need(&mut w.sigma_max, "sigma_max")?)),
            };
            Ok(Rule::Sigmas { steps: steps(w)?, spacing, sigmas })
        };
        match w.kind {
            Kind::Times => Ok(Rule::Times(need(&mut w.times, "times")?)),
            Kind::Sigmas => Ok(Rule::Ratios(need(&mut w.sigmas, "sigmas")?)),
            Kind::Uniform => Ok(Rule::Uniform { steps: steps(w)? }),
            Kind::LinearQuadratic => {
                Ok(Rule::LinearQuadratic { steps: steps(w)?, threshold: w.threshold.take().unwrap_or(0.025) })
            }
            Kind::LogSnr | Kind::Exponential => ratios(Sigmas::Exponential, w),
            Kind::Karras => ratios(Sigmas::Karras { rho: w.rho.take().unwrap_or(7.0) }, w),
            Kind::Polyexponential => ratios(Sigmas::Polyexponential { rho: w.rho.take().unwrap_or(1.0) }, w),
            Kind::Beta => {
                let (alpha, beta) = w.law();
                ratios(Sigmas::Beta { alpha, beta }, w)
            }
            Kind::KlOptimal => ratios(Sigmas::KlOptimal, w),
            Kind::AlignYourSteps => Ok(Rule::AlignYourSteps { steps: steps(w)?, model: need(&mut w.model, "model")? }),
            Kind::Piadm => {
                // with `eps` there, `steps` is one field too many
                let resolution = match w.eps.take() {
                    Some(eps) => Resolution::Step(eps),
                    None => Resolution::Steps(steps(w)?),
                };
                Ok(Rule::Piadm { h: w.h.take().unwrap_or(1.0), resolution })
            }
            Kind::Leading => table(Spacing::Leading { offset: w.steps_offset.unwrap_or(0) }, w),
            Kind::Trailing => table(Spacing::Trailing, w),
            Kind::Linspace => table(Spacing::Linspace, w),
            Kind::Simple => table(Spacing::Simple, w),
            Kind::DpmSolver => Ok(Rule::Table { spacing: need(&mut w.spacing, "spacing")?, steps: steps(w)? }),
            Kind::Euler => Ok(Rule::Levels { steps: steps(w)?, interpolation: Interpolation::Linear }),
            Kind::Normal | Kind::SgmUniform => {
                Ok(Rule::Levels { steps: steps(w)?, interpolation: Interpolation::LogLinear })
            }
            Kind::BetaTimesteps => {
                let (alpha, beta) = w.law();
                Ok(Rule::BetaTable { steps: steps(w)?, alpha, beta })
            }
        }
    }

    /// The parameters of a Beta law.
    fn law(&mut self) -> (f64, f64) {
        (self.alpha.take().unwrap_or(0.6), self.beta.take().unwrap_or(0.6))
    }

    /// The first field that is still there.
    fn left(&self) -> Option<&'static str> {
        let left = [
            ("times", self.times.is_some()),
            ("sigmas", self.sigmas.is_some()),
            ("steps", self.steps.is_some()),
            ("t_max", self.t_max.is_some()),
            ("t_min", self.t_min.is_some()),
            ("sigma_min", self.sigma_min.is_some()),
            ("sigma_max", self.sigma_max.is_some()),
            ("rho", self.rho.is_some()),
            ("alpha", self.alpha.is_some()),
            ("beta", self.beta.is_some()),
            ("threshold", self.threshold.is_some()),
            ("model", self.model.is_some()),
            ("h", self.h.is_some()),
            ("eps", self.eps.is_some()),
            ("steps_offset", self.steps_offset.is_some()),
            ("spacing", self.spacing.is_some()),
        ];
        left.into_iter().find(|(_, there)| *there).map(|(name, _)| name)
    }
}

impl TryFrom<Written> for Grid {
    type Error = String;

    fn try_from(mut w: Written) -> Result<Self, String> {
        let rule = w.rule()?;
        let mut ends = None;
        if rule.has_free_ends() && (w.t_max.is_some() || w.t_min.is_some()) {
            ends = Some((need(&mut w.t_max, "t_max")?, need(&mut w.t_min, "t_min")?));
        }
        if let Some(name) = w.left() {
            return Err(format!("`{name}` is one field too many for a grid of this kind"));
        }
        // a rule that does not count its steps has none to spare
        let counts = rule.steps().is_some();
        let last = match w.kind {
            // as Grid::dpm_solver_timesteps
            Kind::DpmSolver if matches!(rule, Rule::Table { spacing: Spacing::Trailing | Spacing::Simple, .. }) => {
                Last::Data
            }
            Kind::DpmSolver | Kind::SgmUniform | Kind::AlignYourSteps => Last::InPlace,
            _ if w.final_sigma_zero && counts => Last::Data,
            _ => Last::Spaced,
        };
        let then_data = w.then_data || (w.final_sigma_zero && !counts);
        Ok(Grid { rule, ends, last, then_data, shift: w.shift.unwrap_or(1.0) })
    }
}

impl From<Grid> for Written {
    fn from(grid: Grid) -> Self {
        let Grid { rule, ends, last, then_data, shift } = grid;
        let common = Written {
            steps: rule.steps(),
            t_max: ends.map(|ends| ends.0),
            t_min: ends.map(|ends| ends.1),
            final_sigma_zero: last != Last::Spaced,
            then_data,
            shift: Some(shift).filter(|shift| *shift != 1.0),
            ..Written::default()
        };
        match rule {
            Rule::Times(times) => Written { kind: Kind::Times, times: Some(times), ..common },
            Rule::Ratios(sigmas) => Written { kind: Kind::Sigmas, sigmas: Some(sigmas), ..common },
            Rule::Uniform { .. } => Written { kind: Kind::Uniform, ..common },
            Rule::LinearQuadratic { threshold, .. } => {
                Written { kind: Kind::LinearQuadratic, threshold: Some(threshold), ..common }
            }
            Rule::Sigmas { spacing, sigmas, .. } => {
                let (sigma_min, sigma_max) = sigmas.unzip();
                let common = Written { sigma_min, sigma_max, ..common };
                match spacing {
                    Sigmas::Exponential if sigmas.is_none() => Written { kind: Kind::LogSnr, ..common },
                    Sigmas::Exponential => Written { kind: Kind::Exponential, ..common },
                    Sigmas::Karras { rho } => Written { kind: Kind::Karras, rho: Some(rho), ..common },
                    Sigmas::Polyexponential { rho } => {
                        Written { kind: Kind::Polyexponential, rho: Some(rho), ..common }
                    }
                    Sigmas::Beta { alpha, beta } => {
                        Written { kind: Kind::Beta, alpha: Some(alpha), beta: Some(beta), ..common }
                    }
                    Sigmas::KlOptimal => Written { kind: Kind::KlOptimal, ..common },
                }
            }
            Rule::AlignYourSteps { model, .. } => Written { kind: Kind::AlignYourSteps, model: Some(model), ..common },
            Rule::Piadm { h, resolution } => {
                let eps = match resolution {
                    Resolution::Step(eps) => Some(eps),
                    Resolution::Steps(_) => None,
                };
                Written { kind: Kind::Piadm, h: Some(h), eps, ..common }
            }
            Rule::Table { spacing, .. } if last == Last::InPlace => {
                Written { kind: Kind::DpmSolver, spacing: Some(spacing), ..common }
            }
            Rule::Table { spacing, .. } => {
                let (kind, steps_offset) = match spacing {
                    Spacing::Leading { offset } => (Kind::Leading, Some(offset)),
                    Spacing::Trailing => (Kind::Trailing, None),
                    Spacing::Linspace => (Kind::Linspace, None),
                    Spacing::Simple => (Kind::Simple, None),
                };
                Written { kind, steps_offset, ..common }
            }
            Rule::Levels { interpolation, .. } => {
                let kind = match (interpolation, last) {
                    (Interpolation::Linear, _) => Kind::Euler,
                    (Interpolation::LogLinear, Last::InPlace) => Kind::SgmUniform,
                    (Interpolation::LogLinear, _) => Kind::Normal,
                };
                Written { kind, ..common }
            }
            Rule::BetaTable { alpha, beta, .. } => {
                Written { kind: Kind::BetaTimesteps, alpha: Some(alpha), beta: Some(beta), ..common }
            }
        }
    }
}
