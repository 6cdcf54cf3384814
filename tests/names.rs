//! Enums as words, as command lines parse them.

mod common;

use common::schemes;
use piadm::nodes::{DdpmVariance, Form};
use piadm::sampler::{Coupling, Dynamics};
use piadm::{Error, Prediction, Scheme};
use serde_json::json;
use std::fmt::Display;
use std::str::FromStr;

/// The word is the one of JSON, and it is read as what it was written for.
fn there_and_back<T: FromStr<Err = Error> + Display + serde::Serialize + PartialEq + std::fmt::Debug>(all: &[T]) {
    for value in all {
        assert_eq!(json!(value), json!(value.to_string()));
        assert_eq!(value.to_string().parse::<T>().as_ref().ok(), Some(value));
    }
    assert!(matches!("nonsense".parse::<T>(), Err(Error::Name { given, .. }) if given == "nonsense"));
}

#[test]
fn plain_enums() {
    let (score, noise, data) = (Prediction::Score, Prediction::Noise, Prediction::Data);
    there_and_back(&[score, noise, data, Prediction::Velocity, Prediction::Flow, Prediction::Next]);
    there_and_back(&[Dynamics::Sde, Dynamics::Ode]);
    there_and_back(&[Coupling::PerSample, Coupling::WholeBatch]);
    there_and_back(&[Form::Score, Form::Noise, Form::Data]);
    there_and_back(&[DdpmVariance::Small, DdpmVariance::Large]);
}

#[test]
fn schemes_with_their_settings() {
    for scheme in schemes() {
        let word = scheme.to_string();
        assert_eq!(word.parse::<Scheme>().unwrap(), scheme, "{word}");
        // alone, the name stands for the defaults of the JSON
        let kind = word.split('(').next().unwrap();
        let default: Scheme = serde_json::from_value(json!({ "kind": kind })).unwrap();
        assert_eq!(kind.parse::<Scheme>().unwrap(), default);
    }
    assert_eq!(" ddim ( eta = 0.5 ) ".parse::<Scheme>().unwrap(), Scheme::Ddim { eta: 0.5 });
    for wrong in ["ddim(eta", "ddim(eta)", "ddim(eta=x)", "ddim(form=data)", "ddim(eta=0, eta=1)", "heun(eta=1)"] {
        assert!(matches!(wrong.parse::<Scheme>(), Err(Error::Setting { .. })), "{wrong}");
    }
    let error = "dimm".parse::<Scheme>().unwrap_err().to_string();
    assert!(error.contains("\"dimm\" is not a valid scheme") && error.contains("ddim"), "{error}");
}
