//! Enums as words, as command lines parse them.

#![cfg(feature = "serde")]

mod common;

use common::schemes;
use piadm::grid::Spacing;
use piadm::nodes::{DdpmVariance, Form};
use piadm::problem::BetaSchedule;
use piadm::sampler::{Coupling, Dynamics, Entry, Linearisation, Policy};
use piadm::{Error, Prediction, Scheme, Window};
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

/// Words with settings: what is written is read, and a name alone stands for the defaults, if there are any.
#[test]
fn settings_in_brackets() {
    fn all<T: FromStr<Err = Error> + Display + PartialEq + std::fmt::Debug + Copy>(words: &[(&str, T)], bad: &[&str]) {
        for (word, value) in words {
            assert_eq!(value.to_string(), *word);
            assert_eq!(word.parse::<T>().unwrap(), *value);
        }
        for word in bad {
            assert!(matches!(word.parse::<T>(), Err(Error::Setting { .. } | Error::Name { .. })), "{word}");
        }
    }
    let (held, linear) = (Entry::HeldData { variance: 0.25 }, Entry::LinearData { variance: 0.0 });
    all(
        &[("blocks", Policy::Blocks), ("wavefront(blocks=3)", Policy::Wavefront { blocks: 3 })],
        &["wavefront", "blocks(2)"],
    );
    all(
        &[("auto", Entry::Auto), ("held_data(variance=0.25)", held), ("linear_data(variance=0)", linear)],
        &["held_data", ""],
    );
    let gaussian = Linearisation::Gaussian { variance: 1.5 };
    all(
        &[("secant", Linearisation::Secant), ("gaussian(variance=1.5)", gaussian)],
        &["gaussian(variance=)", "secant(x=1)"],
    );
    all(
        &[("leading(offset=1)", Spacing::Leading { offset: 1 }), ("trailing", Spacing::Trailing)],
        &["leading(offset=-1)"],
    );
    assert_eq!("leading".parse::<Spacing>().unwrap(), Spacing::Leading { offset: 0 });
    let windows = [
        ("64", Window::Steps(64)),
        ("ou_time=0.5", Window::OuTime { ou_time: 0.5 }),
        ("nodes=48", Window::Nodes { nodes: 48 }),
        ("marks=1", Window::Marked { marks: 1 }),
    ];
    all(&windows, &["", "x", "64.5", "steps=3", "nodes=", "marks=-1"]);
    there_and_back(&[BetaSchedule::Linear, BetaSchedule::ScaledLinear, BetaSchedule::Cosine]);
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
