//! Samplers as they are named on a command line: a name, or JSON with settings.

use super::fields::{Fields, Parsed, library_value};
use piadm::{Parareal, Picard};
use serde_json::Value;

/// Window of `paradigms` where none is given, in steps.
const PARADIGMS_WINDOW: usize = 64;
/// Its tolerance, in standard deviations of the posterior: the published one for DDPM.
const PARADIGMS_TOLERANCE: f64 = 0.1;
/// Sweeps of a block of `zhou_sugiyama`.
const WAVEFRONT_DEPTH: usize = 8;
/// Past sweeps and tolerance of `parataa`.
const PARATAA_MEMORY: usize = 3;
const PARATAA_TOLERANCE: f64 = 1e-2;

/// A sampler's settings.
#[derive(Clone, Debug, PartialEq)]
pub enum Settings {
    /// None to set.
    Sequential,
    /// All presets of the engine.
    Picard(Box<Picard>),
    /// Blocks with a coarse solver.
    Parareal(Parareal),
}

/// A sampler of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct Listed {
    /// Which of the named samplers.
    pub name: String,
    /// What it runs with.
    pub sampler: Settings,
}

impl Listed {
    /// Reads `picard` or `{"picard": {"window": 50}}`.
    pub fn parse(text: &str) -> Parsed<Self> {
        if !text.trim_start().starts_with('{') {
            return Self::new(text, Value::Object(Default::default()));
        }
        match serde_json::from_str(text)? {
            Value::Object(map) if map.len() == 1 => match map.into_iter().next() {
                Some((name, settings)) => Self::new(&name, settings),
                None => Err("no sampler".into()),
            },
            _ => Err("expected one sampler, {\"name\": {settings}}".into()),
        }
    }

    fn new(name: &str, settings: Value) -> Parsed<Self> {
        let engine = |picard| Settings::Picard(Box::new(picard));
        let sampler = match name {
            "picard" => engine(library_value(name, settings)?),
            "parareal" => Settings::Parareal(library_value(name, settings)?),
            "sequential" => {
                Fields::new(name, settings)?.finish()?;
                Settings::Sequential
            }
            "piadm" => {
                let mut fields = Fields::new(name, settings)?;
                let (h, depth) = (fields.or("h", 1.0)?, fields.optional::<Option<usize>>("depth")?.flatten());
                fields.finish()?;
                engine(Picard::piadm(h, depth))
            }
            "paradigms" => {
                let mut fields = Fields::new(name, settings)?;
                let window = fields.or("window", PARADIGMS_WINDOW)?;
                let tolerance = fields.or("tolerance", PARADIGMS_TOLERANCE)?;
                fields.finish()?;
                engine(Picard::paradigms(window, tolerance))
            }
            "zhou_sugiyama" => {
                let mut fields = Fields::new(name, settings)?;
                let (h, depth) = (fields.or("h", 1.0)?, fields.or("depth", WAVEFRONT_DEPTH)?);
                fields.finish()?;
                engine(Picard::zhou_sugiyama(h, depth))
            }
            "parataa" => {
                let mut fields = Fields::new(name, settings)?;
                let (window, memory) = (fields.or("window", PARADIGMS_WINDOW)?, fields.or("memory", PARATAA_MEMORY)?);
                let tolerance = fields.or("tolerance", PARATAA_TOLERANCE)?;
                fields.finish()?;
                engine(Picard::parataa(window, memory, tolerance))
            }
            _ => {
                let known = "sequential, piadm, zhou_sugiyama, paradigms, parataa, parareal or picard";
                return Err(format!("unknown sampler {name:?}, expected {known}").into());
            }
        };
        let name = name.to_owned();
        Ok(Listed { name, sampler })
    }

    /// All settings, defaults included.
    pub fn settings(&self) -> Value {
        let value = match &self.sampler {
            Settings::Sequential => None,
            Settings::Picard(picard) => serde_json::to_value(picard).ok(),
            Settings::Parareal(parareal) => serde_json::to_value(parareal).ok(),
        };
        value.unwrap_or_else(|| Value::Object(Default::default()))
    }
}
