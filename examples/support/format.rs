//! The option `--format` of the examples.

use piadm::BoxError;

/// Whether JSON is asked for, `table` being the other kind.
pub fn is_json(kind: &str) -> Result<bool, BoxError> {
    match kind {
        "json" => Ok(true),
        "table" => Ok(false),
        other => Err(format!("--format {other}: expected table or json").into()),
    }
}
