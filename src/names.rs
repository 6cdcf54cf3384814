//! Enums as words, as command lines parse them: the names of their JSON, with settings in brackets: `ddim(eta=0.5)`.

use crate::error::{Error, Result};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// `Display` and `FromStr` of an enum: a name per variant, and what is expected of each of its fields. A field with a
/// default may be left out.
macro_rules! names {
    ($type:ident, $what:literal; $(
        $variant:ident = $name:literal $({ $($field:ident: $expected:literal $(= $default:expr)?),* })?
    ),* $(,)?) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                match self {
                    $($type::$variant { $($($field),*)? } => {
                        crate::names::write(f, $name, &[$($((stringify!($field), $field)),*)?])
                    })*
                }
            }
        }

        impl std::str::FromStr for $type {
            type Err = crate::error::Error;

            fn from_str(text: &str) -> crate::error::Result<Self> {
                #[allow(unused_mut)] // where no variant has settings
                let (kind, mut settings) = crate::names::Settings::parse($what, text)?;
                let value = match kind {
                    $($name => $type::$variant {
                        $($($field: settings.take(stringify!($field), None$(.or(Some($default)))?, $expected)?),*)?
                    },)*
                    _ => return Err(crate::error::Error::name($what, kind, &[$($name),*])),
                };
                settings.finish().map(|()| value)
            }
        }
    };
}
pub(crate) use names;

/// Writes `name` or `name(setting=value, setting=value)`.
pub(crate) fn write(f: &mut Formatter<'_>, name: &str, settings: &[(&str, &dyn Display)]) -> std::fmt::Result {
    f.write_str(name)?;
    for (i, (setting, value)) in settings.iter().enumerate() {
        write!(f, "{}{setting}={value}", if i == 0 { "(" } else { ", " })?;
    }
    if settings.is_empty() { Ok(()) } else { f.write_str(")") }
}

/// The settings in brackets that are still to be read.
pub(crate) struct Settings<'a> {
    what: &'static str,
    left: Vec<(&'a str, &'a str)>,
}

impl<'a> Settings<'a> {
    /// Name and settings of a text.
    pub(crate) fn parse(what: &'static str, text: &'a str) -> Result<(&'a str, Self)> {
        let text = text.trim();
        let (name, settings) = match text.split_once('(') {
            None => (text, ""),
            Some((name, rest)) => match rest.strip_suffix(')') {
                Some(settings) => (name.trim(), settings),
                None => return Err(Error::setting(what, text, "a closing bracket after its settings")),
            },
        };
        let mut left = Vec::new();
        for setting in settings.split(',').map(str::trim).filter(|setting| !setting.is_empty()) {
            let Some((name, value)) = setting.split_once('=') else {
                return Err(Error::setting(what, setting, "a setting as name=value"));
            };
            left.push((name.trim(), value.trim()));
        }
        Ok((name, Settings { what, left }))
    }

    /// Takes a setting, or its default if it is left out and has one.
    pub(crate) fn take<T: FromStr>(
        &mut self,
        name: &'static str,
        default: Option<T>,
        expected: &'static str,
    ) -> Result<T> {
        let Some(i) = self.left.iter().position(|(given, _)| *given == name) else {
            return default.ok_or_else(|| Error::setting(name, "nothing", expected));
        };
        let (_, value) = self.left.remove(i);
        value.parse().map_err(|_| Error::setting(name, value, expected))
    }

    /// Refuses what was not taken.
    pub(crate) fn finish(self) -> Result<()> {
        match self.left.first() {
            Some((name, _)) => Err(Error::setting(self.what, name, "a setting that there is, given once")),
            None => Ok(()),
        }
    }
}
