//! Schemes as words: `ddim`, or with settings `ddim(eta=0.5)`.

use crate::error::{Error, Result};
use crate::names::names;
use crate::nodes::scheme::{DdpmVariance, Scheme};
use crate::nodes::step::Form;
use std::fmt;
use std::str::FromStr;

names! { Form, "form of the integrator"; Score = "score", Noise = "noise", Data = "data" }
names! { DdpmVariance, "variance of DDPM"; Small = "small", Large = "large" }

/// The names of the schemes, as in their JSON.
const KINDS: [&str; 8] = [
    "exponential",
    "euler_maruyama",
    "ddpm",
    "ddim",
    "sde_dpm_solver_pp1",
    "dpm_solver_pp_2m",
    "sde_dpm_solver_pp_2m",
    "heun",
];

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scheme::Exponential { form, stochasticity } => {
                write!(f, "exponential(form={form}, stochasticity={stochasticity})")
            }
            Scheme::EulerMaruyama { stochasticity } => write!(f, "euler_maruyama(stochasticity={stochasticity})"),
            Scheme::Ddpm { variance } => write!(f, "ddpm(variance={variance})"),
            Scheme::Ddim { eta } => write!(f, "ddim(eta={eta})"),
            Scheme::SdeDpmSolverPp1 { eta } => write!(f, "sde_dpm_solver_pp1(eta={eta})"),
            Scheme::DpmSolverPp2M { lower_order_final } => {
                write!(f, "dpm_solver_pp_2m(lower_order_final={lower_order_final})")
            }
            Scheme::SdeDpmSolverPp2M { eta, lower_order_final } => {
                write!(f, "sde_dpm_solver_pp_2m(eta={eta}, lower_order_final={lower_order_final})")
            }
            Scheme::Heun {} => f.write_str("heun"),
        }
    }
}

/// The settings in brackets that are still to be read.
struct Settings<'a>(Vec<(&'a str, &'a str)>);

impl Settings<'_> {
    /// Takes a setting, or its default if it is left out.
    fn take<T: FromStr>(&mut self, name: &'static str, default: T, expected: &'static str) -> Result<T> {
        let Some(i) = self.0.iter().position(|(given, _)| *given == name) else { return Ok(default) };
        let (_, value) = self.0.remove(i);
        value.parse().map_err(|_| Error::setting(name, value, expected))
    }
}

impl FromStr for Scheme {
    type Err = Error;

    /// The scheme of a name, with the defaults of its JSON, or with settings: `ddim`, `ddim(eta=0.5)`.
    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let (kind, settings) = match text.split_once('(') {
            None => (text, ""),
            Some((kind, rest)) => match rest.strip_suffix(')') {
                Some(settings) => (kind.trim(), settings),
                None => return Err(Error::setting("scheme", text, "a closing bracket after its settings")),
            },
        };
        let mut s = Settings(Vec::new());
        for setting in settings.split(',').map(str::trim).filter(|setting| !setting.is_empty()) {
            let Some((name, value)) = setting.split_once('=') else {
                return Err(Error::setting("scheme", setting, "a setting as name=value"));
            };
            s.0.push((name.trim(), value.trim()));
        }
        let (number, truth) = ("a number", "true or false");
        let scheme = match kind {
            "exponential" => Scheme::Exponential {
                form: s.take("form", Form::Data, "score, noise or data")?,
                stochasticity: s.take("stochasticity", 1.0, number)?,
            },
            "euler_maruyama" => Scheme::EulerMaruyama { stochasticity: s.take("stochasticity", 1.0, number)? },
            "ddpm" => Scheme::Ddpm { variance: s.take("variance", DdpmVariance::Small, "small or large")? },
            "ddim" => Scheme::Ddim { eta: s.take("eta", 0.0, number)? },
            "sde_dpm_solver_pp1" => Scheme::SdeDpmSolverPp1 { eta: s.take("eta", 1.0, number)? },
            "dpm_solver_pp_2m" => {
                Scheme::DpmSolverPp2M { lower_order_final: s.take("lower_order_final", false, truth)? }
            }
            "sde_dpm_solver_pp_2m" => Scheme::SdeDpmSolverPp2M {
                eta: s.take("eta", 1.0, number)?,
                lower_order_final: s.take("lower_order_final", false, truth)?,
            },
            "heun" => Scheme::Heun {},
            _ => return Err(Error::name("scheme", kind, &KINDS)),
        };
        match s.0.first() {
            Some((name, _)) => Err(Error::setting("scheme", name, "settings that this scheme has, each once")),
            None => Ok(scheme),
        }
    }
}
