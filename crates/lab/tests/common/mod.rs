//! A small problem file, to be changed by the tests.

use serde_json::{Value, json};

pub fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// A small problem that is right.
pub fn base() -> Value {
    json!({
        "target": { "weights": [1.0, 3.0], "means": [[-1.0, 0.5], [1.0, 0.0]], "std": [0.3, 0.4] },
        "schedule": { "kind": "ou" },
        "grid": { "kind": "log_snr", "t_max": 5.0, "t_min": 0.05, "steps": 24 },
        "scheme": { "kind": "exponential", "form": "score", "stochasticity": 1.0 },
    })
}

/// The base problem with the value at a JSON pointer replaced, or added.
pub fn with(mut problem: Value, pointer: &str, new: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    problem.pointer_mut(parent).unwrap()[name] = new;
    problem
}
