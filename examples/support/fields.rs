//! Reading a JSON object field by field, so that an error names the field and nothing is overlooked.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::error::Error;

/// What reading gives: a value, or an error that says which field it is about.
pub type Parsed<T> = Result<T, Box<dyn Error>>;

/// A JSON object; fields are taken out by name, and what nobody took is unknown.
pub struct Fields {
    path: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// The object `value`, called `path` in errors.
    pub fn new(path: &str, value: Value) -> Parsed<Self> {
        match value {
            Value::Object(map) => Ok(Fields { path: path.to_owned(), map, known: Vec::new() }),
            other => Err(not_an_object(path, &other)),
        }
    }

    /// A field's value, if the field is there.
    pub fn optional<T: DeserializeOwned>(&mut self, name: &'static str) -> Parsed<Option<T>> {
        self.known.push(name);
        let value = self.map.remove(name).map(serde_json::from_value);
        value.transpose().map_err(|error| self.error(name, error).into())
    }

    /// A field's value, or `default` where the field is missing.
    pub fn or<T: DeserializeOwned>(&mut self, name: &'static str, default: T) -> Parsed<T> {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    /// Refuses the fields that were not taken.
    pub fn finish(self) -> Parsed<()> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(name) => {
                let known = self.known.join(", ");
                Err(self.error(name, format_args!("unknown field, expected {known}")).into())
            }
        }
    }

    /// An error message about a field.
    pub fn error(&self, name: &str, what: impl std::fmt::Display) -> String {
        format!("{}: {what}", self.name(name))
    }

    fn name(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}

/// A value of one of the library's own serde types, whose fields all have defaults.
///
/// An error of such a type does not always say which field it is about. It is the first that is refused by itself,
/// next to the tag `kind` where there is one.
pub fn library_value<T: DeserializeOwned>(path: &str, value: Value) -> Parsed<T> {
    let Value::Object(map) = &value else {
        return Err(not_an_object(path, &value));
    };
    let tag: Map<String, Value> = map.get_key_value("kind").map(|(k, v)| (k.clone(), v.clone())).into_iter().collect();
    serde_json::from_value::<T>(Value::Object(tag.clone())).map_err(|error| format!("{path}: {error}"))?;
    for (name, field) in map.iter().filter(|(name, _)| *name != "kind") {
        let mut alone = tag.clone();
        alone.insert(name.clone(), field.clone());
        serde_json::from_value::<T>(Value::Object(alone)).map_err(|error| format!("{path}.{name}: {error}"))?;
    }
    serde_json::from_value(value).map_err(|error| format!("{path}: {error}").into())
}

/// A value from the text of a file; an error begins with the path of the field that it is about.
pub fn read<T: DeserializeOwned>(text: &str) -> Parsed<T> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value =
        serde_path_to_error::deserialize(&mut json).map_err(|error| match error.path().to_string().as_str() {
            "." => error.inner().to_string(),
            path => format!("{path}: {}", error.inner()),
        })?;
    json.end()?;
    Ok(value)
}

fn not_an_object(path: &str, value: &Value) -> Box<dyn Error> {
    let path = if path.is_empty() { "the file" } else { path };
    format!("{path}: expected an object {{..}}, found {value}").into()
}
