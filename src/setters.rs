//! One setter per field of a settings struct, so that a new field is no breaking change.

/// `field: Type = "example"`, `field => Type` for a type that others convert into, or `field?: Type` for a field of
/// type `Option<Type>`, which may be set to a value or to an option.
macro_rules! setters {
    ($settings:ty, $base:literal;) => {};
    ($settings:ty, $base:literal; $field:ident: $type:ty = $example:literal, $($rest:tt)*) => {
        impl $settings {
            #[doc = concat!("Sets [`", stringify!($field), "`](#structfield.", stringify!($field), ").")]
            ///
            /// ```
            /// use piadm::{nodes::*, problem::*, sampler::*, *};
            #[doc = concat!("let settings = ", $base, ".", stringify!($field), "(", $example, ");")]
            #[doc = concat!("assert_eq!(settings.", stringify!($field), ", ", $example, ");")]
            /// ```
            #[must_use]
            pub fn $field(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            }
        }
        setters!($settings, $base; $($rest)*);
    };
    ($settings:ty, $base:literal; $field:ident => $type:ty = $example:literal, $($rest:tt)*) => {
        impl $settings {
            #[doc = concat!("Sets [`", stringify!($field), "`](#structfield.", stringify!($field), ").")]
            ///
            /// ```
            /// use piadm::{nodes::*, problem::*, sampler::*, *};
            #[doc = concat!("let settings = ", $base, ".", stringify!($field), "(", $example, ");")]
            #[doc = concat!("assert_eq!(settings.", stringify!($field), ", ", $example, ".into());")]
            /// ```
            #[must_use]
            pub fn $field(mut self, $field: impl Into<$type>) -> Self {
                self.$field = $field.into();
                self
            }
        }
        setters!($settings, $base; $($rest)*);
    };
    ($settings:ty, $base:literal; $field:ident?: $type:ty = $example:literal, $($rest:tt)*) => {
        impl $settings {
            #[doc = concat!("Sets [`", stringify!($field), "`](#structfield.", stringify!($field), "); `None` unsets it.")]
            ///
            /// ```
            /// use piadm::{nodes::*, problem::*, sampler::*, *};
            #[doc = concat!("let settings = ", $base, ".", stringify!($field), "(", $example, ");")]
            #[doc = concat!("assert_eq!(settings.", stringify!($field), ", Some(", $example, "));")]
            /// ```
            #[must_use]
            pub fn $field(mut self, $field: impl Into<Option<$type>>) -> Self {
                self.$field = $field.into();
                self
            }
        }
        setters!($settings, $base; $($rest)*);
    };
}
pub(crate) use setters;
