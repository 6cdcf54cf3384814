//! Names of the variants of enums that command lines parse: those of serde.

/// `Display` and `FromStr` of a plain enum.
macro_rules! names {
    ($type:ident, $what:literal; $($variant:ident = $name:literal),* $(,)?) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self {
                    $($type::$variant => $name,)*
                })
            }
        }

        impl std::str::FromStr for $type {
            type Err = crate::error::Error;

            fn from_str(name: &str) -> crate::error::Result<Self> {
                match name {
                    $($name => Ok($type::$variant),)*
                    _ => Err(crate::error::Error::name($what, name, &[$($name),*])),
                }
            }
        }
    };
}
pub(crate) use names;
