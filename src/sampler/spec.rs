//! A sampler as plain values, to be written to and read from JSON, TOML and the like.

use crate::backend::Backend;
use crate::engine::settings::Picard;
use crate::nodes::Window;
use crate::sampler::automatic::settings::Automatic;
use crate::sampler::chords::Chords;
use crate::sampler::interface::Sampler;
use crate::sampler::parareal::Parareal;
use crate::sampler::sequential::Sequential;
use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{DeserializeSeed, Error, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// A sampler of this crate, by its name and settings.
///
/// It is read from a name, which takes the defaults, or from one name with settings, where what is left out takes its
/// default. It is written with all its settings.
///
/// ```
/// use piadm::prelude::*;
/// use piadm::sampler::SamplerSpec;
/// # let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| {
/// #     out.zip_mut_with(&x, |o, x| *o = -x);
/// #     Ok(())
/// # });
/// let text = r#"["sequential", {"picard": {"window": 20}}, {"piadm": {"h": 0.5}}]"#;
/// let specs: Vec<SamplerSpec> = serde_json::from_str(text)?;
/// assert_eq!(specs[2], SamplerSpec::Piadm { h: 0.5, depth: None });
/// let problem = Problem::new(Ou, Grid::log_snr(40).between(5.0, 0.05), Scheme::default()).shape([2]);
/// for spec in &specs {
///     let solution = spec.sampler().sample(&problem, &mut score)?;
///     println!("{}: {}", spec.name(), solution.report);
/// }
/// assert_eq!(serde_json::from_str::<Vec<SamplerSpec>>(&serde_json::to_string(&specs)?)?, specs);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SamplerSpec {
    /// [`Sequential`].
    Sequential {},
    /// [`Picard::piadm`].
    Piadm {
        /// Default 1.
        h: f64,
        /// Default `None`.
        depth: Option<usize>,
    },
    /// [`Picard::zhou_sugiyama`].
    ZhouSugiyama {
        /// Default 1.
        h: f64,
        /// Default 8.
        depth: usize,
    },
    /// [`Picard::paradigms`].
    Paradigms {
        /// Default 64.
        window: usize,
        /// Default 0.1: the published one for DDPM.
        tolerance: f64,
    },
    /// [`Picard::parasolver`].
    Parasolver {
        /// Default 64.
        window: usize,
        /// Default 5: the published one for DDPM.
        first_steps: usize,
        /// Default 0.55: the published one for DDPM.
        tolerance: f64,
    },
    /// [`Picard::parataa`].
    Parataa {
        /// Default 64.
        window: usize,
        /// Default 3.
        memory: usize,
        /// Default 1e-2.
        tolerance: f64,
    },
    /// [`Picard::exact_in_law`].
    Law {
        /// Default 64 steps.
        window: Window,
    },
    /// [`Picard::frozen_draft`].
    FrozenDraft {
        /// Default 64.
        window: usize,
    },
    /// [`Parareal`].
    Parareal(Parareal),
    /// [`Chords`].
    Chords(Chords),
    /// [`Picard`].
    Picard(Box<Picard>),
    /// [`Automatic`].
    Automatic(Box<Automatic>),
}

impl SamplerSpec {
    /// The name under which it is written.
    ///
    /// ```
    /// use piadm::{Parareal, sampler::SamplerSpec};
    /// assert_eq!(SamplerSpec::Parareal(Parareal::default()).name(), "parareal");
    /// ```
    pub fn name(&self) -> &'static str {
        match self {
            SamplerSpec::Sequential {} => "sequential",
            SamplerSpec::Piadm { .. } => "piadm",
            SamplerSpec::ZhouSugiyama { .. } => "zhou_sugiyama",
            SamplerSpec::Paradigms { .. } => "paradigms",
            SamplerSpec::Parasolver { .. } => "parasolver",
            SamplerSpec::Parataa { .. } => "parataa",
            SamplerSpec::Law { .. } => "law",
            SamplerSpec::FrozenDraft { .. } => "frozen_draft",
            SamplerSpec::Parareal(_) => "parareal",
            SamplerSpec::Chords(_) => "chords",
            SamplerSpec::Picard(_) => "picard",
            SamplerSpec::Automatic(_) => "automatic",
        }
    }

    /// The sampler. What is wrong with its settings is found when it runs.
    ///
    /// ```
    /// use piadm::{Cpu, Sampler, sampler::SamplerSpec};
    /// let sampler: Box<dyn Sampler<Cpu<f64>>> = SamplerSpec::Sequential {}.sampler();
    /// # let _ = sampler;
    /// ```
    pub fn sampler<B: Backend>(&self) -> Box<dyn Sampler<B>> {
        match self {
            SamplerSpec::Sequential {} => Box::new(Sequential),
            SamplerSpec::Parareal(parareal) => Box::new(parareal.clone()),
            SamplerSpec::Chords(chords) => Box::new(chords.clone()),
            SamplerSpec::Automatic(automatic) => automatic.clone(),
            other => match other.picard() {
                Some(picard) => Box::new(picard),
                None => unreachable!("{} is neither a Picard nor listed above", other.name()),
            },
        }
    }

    /// All settings of a [`Picard`] or of a sampler that is one by another name; `None` for the others.
    ///
    /// ```
    /// use piadm::{Picard, sampler::SamplerSpec};
    /// let spec = SamplerSpec::Paradigms { window: 50, tolerance: 0.1 };
    /// assert_eq!(spec.picard(), Some(Picard::paradigms(50, 0.1)));
    /// assert_eq!(SamplerSpec::Sequential {}.picard(), None);
    /// ```
    pub fn picard(&self) -> Option<Picard> {
        match self {
            &SamplerSpec::Piadm { h, depth } => Some(Picard::piadm(h, depth)),
            &SamplerSpec::ZhouSugiyama { h, depth } => Some(Picard::zhou_sugiyama(h, depth)),
            &SamplerSpec::Paradigms { window, tolerance } => Some(Picard::paradigms(window, tolerance)),
            &SamplerSpec::Parasolver { window, first_steps, tolerance } => {
                Some(Picard::parasolver(window, first_steps, tolerance))
            }
            &SamplerSpec::Parataa { window, memory, tolerance } => Some(Picard::parataa(window, memory, tolerance)),
            &SamplerSpec::FrozenDraft { window } => Some(Picard::frozen_draft(window)),
            &SamplerSpec::Law { window } => Some(Picard::exact_in_law().window(window)),
            SamplerSpec::Picard(picard) => Some((**picard).clone()),
            SamplerSpec::Sequential {}
            | SamplerSpec::Parareal(_)
            | SamplerSpec::Chords(_)
            | SamplerSpec::Automatic(_) => None,
        }
    }
}

/// How a spec with settings is read.
#[derive(Deserialize)]
#[serde(remote = "SamplerSpec", rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Sequential {},
    Piadm {
        #[serde(default = "one")]
        h: f64,
        #[serde(default)]
        depth: Option<usize>,
    },
    ZhouSugiyama {
        #[serde(default = "one")]
        h: f64,
        #[serde(default = "count::<8>")]
        depth: usize,
    },
    Paradigms {
        #[serde(default = "count::<64>")]
        window: usize,
        #[serde(default = "tenth")]
        tolerance: f64,
    },
    Parasolver {
        #[serde(default = "count::<64>")]
        window: usize,
        #[serde(default = "count::<5>")]
        first_steps: usize,
        #[serde(default = "of_ddpm")]
        tolerance: f64,
    },
    Parataa {
        #[serde(default = "count::<64>")]
        window: usize,
        #[serde(default = "count::<3>")]
        memory: usize,
        #[serde(default = "hundredth")]
        tolerance: f64,
    },
    Law {
        #[serde(default)]
        window: Window,
    },
    FrozenDraft {
        #[serde(default = "count::<64>")]
        window: usize,
    },
    Parareal(Parareal),
    Chords(Chords),
    Picard(Box<Picard>),
    Automatic(Box<Automatic>),
}

fn one() -> f64 {
    1.0
}

fn tenth() -> f64 {
    0.1
}

fn of_ddpm() -> f64 {
    0.55
}

fn hundredth() -> f64 {
    0.01
}

fn count<const N: usize>() -> usize {
    N
}

impl<'de> Deserialize<'de> for SamplerSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Spec)
    }
}

/// Reads a name, or one name with settings.
struct Spec;

impl<'de> Visitor<'de> for Spec {
    type Value = SamplerSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a sampler, or one sampler {name: {settings}}")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<SamplerSpec, E> {
        Settings(name).visit_map(MapDeserializer::new(std::iter::empty::<(&str, bool)>()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SamplerSpec, A::Error> {
        let Some(name) = map.next_key::<String>()? else { return Err(Error::invalid_length(0, &self)) };
        let spec = map.next_value_seed(Settings(&name))?;
        match map.next_key::<String>()? {
            None => Ok(spec),
            Some(_) => Err(Error::invalid_length(2, &self)),
        }
    }
}

/// Reads the settings of the sampler of this name.
struct Settings<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Settings<'_> {
    type Value = SamplerSpec;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<SamplerSpec, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Settings<'_> {
    type Value = SamplerSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "settings of {}", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, settings: A) -> Result<SamplerSpec, A::Error> {
        Written::deserialize(MapAccessDeserializer::new(Named(self.0, settings)))
    }
}

/// A map of one entry: a name and its settings.
struct Named<'n, A>(&'n str, A);

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Named<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        seed.deserialize(self.0.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        seed.deserialize(MapAccessDeserializer::new(&mut self.1))
    }
}
