//! Samplers as plain values: names, settings, and what is refused.

mod common;

use common::two_modes;
use piadm::{
    Acceptance, Automatic, Chords, Cpu, Grid, Ou, Parareal, Picard, Prediction, Problem, Sampler, Scheme, Sequential,
    Window,
    nodes::Form,
    sampler::{Probes, SamplerSpec},
};
use serde_json::{Value, from_value, json, to_value};

const NAMES: [&str; 12] = [
    "sequential",
    "piadm",
    "zhou_sugiyama",
    "paradigms",
    "parasolver",
    "parataa",
    "law",
    "frozen_draft",
    "parareal",
    "chords",
    "picard",
    "automatic",
];

fn spec(value: Value) -> SamplerSpec {
    from_value(value.clone()).unwrap_or_else(|error| panic!("{error} in {value}"))
}

#[test]
fn a_name_takes_the_defaults() {
    for name in NAMES {
        let of_name = spec(json!(name));
        assert_eq!(of_name.name(), name);
        assert_eq!(spec(json!({ name: {} })), of_name);
        assert_eq!(serde_json::from_str::<SamplerSpec>(&format!("\"{name}\"")).unwrap(), of_name);
    }
    let picard = |name: &str| spec(json!(name)).picard();
    assert_eq!(picard("picard"), Some(Picard::default()));
    assert_eq!(picard("piadm"), Some(Picard::piadm(1.0, None)));
    assert_eq!(picard("zhou_sugiyama"), Some(Picard::zhou_sugiyama(1.0, 8)));
    assert_eq!(picard("paradigms"), Some(Picard::paradigms(64, 0.1)));
    assert_eq!(picard("parasolver"), Some(Picard::parasolver(64, 5, 0.55)));
    assert_eq!(picard("parataa"), Some(Picard::parataa(64, 3, 1e-2)));
    assert_eq!(picard("law"), Some(Picard::exact_in_law()));
    assert_eq!(picard("frozen_draft"), Some(Picard::frozen_draft(64)));
    for name in ["sequential", "parareal", "chords", "automatic"] {
        assert_eq!(picard(name), None);
    }
    assert_eq!(spec(json!("parareal")), SamplerSpec::Parareal(Parareal::default()));
    assert_eq!(spec(json!("chords")), SamplerSpec::Chords(Chords::default()));
    assert_eq!(spec(json!("automatic")), SamplerSpec::Automatic(Box::default()));
}

#[test]
fn settings_are_set_and_the_others_keep_their_defaults() {
    let picard = |value: Value| spec(value).picard().unwrap();
    assert_eq!(picard(json!({ "piadm": { "h": 2, "depth": 5 } })), Picard::piadm(2.0, Some(5)));
    assert_eq!(picard(json!({ "piadm": { "depth": null } })), Picard::piadm(1.0, None));
    assert_eq!(picard(json!({ "zhou_sugiyama": { "h": 0.5 } })), Picard::zhou_sugiyama(0.5, 8));
    assert_eq!(picard(json!({ "paradigms": { "window": 9 } })), Picard::paradigms(9, 0.1));
    assert_eq!(picard(json!({ "parasolver": { "first_steps": 2 } })), Picard::parasolver(64, 2, 0.55));
    assert_eq!(picard(json!({ "picard": { "warm_up": 2 } })), Picard::default().warm_up(2));
    assert_eq!(picard(json!({ "picard": { "far_stride": 3 } })), Picard::default().far_stride(3));
    assert_eq!(picard(json!({ "parataa": { "memory": 2 } })), Picard::parataa(64, 2, 1e-2));
    let probes = Probes::default().directions(3);
    assert_eq!(picard(json!({ "picard": { "probes": { "directions": 3 } } })), Picard::default().probes(probes));
    assert_eq!(picard(json!({ "law": { "window": 32 } })), Picard::exact_in_law().window(32));
    let by_time = Picard::exact_in_law().window(Window::OuTime { ou_time: 0.5 });
    assert_eq!(picard(json!({ "law": { "window": { "ou_time": 0.5 } } })), by_time);
    assert_eq!(picard(json!({ "frozen_draft": { "window": 9 } })), Picard::frozen_draft(9));
    assert_eq!(picard(json!({ "picard": { "tolerance": { "law": true } } })), Picard::exact_in_law());
    let own = picard(json!({ "picard": { "window": 50, "tolerance": { "absolute": 1e-2 } } }));
    assert_eq!(own, Picard::default().window(Window::Steps(50)).acceptance(Acceptance::change(1e-2)));
    let parareal = Parareal::default().blocks(6);
    assert_eq!(spec(json!({ "parareal": { "blocks": 6 } })), SamplerSpec::Parareal(parareal));
    let chords = Chords::default().cores(3).starts(vec![0, 5, 9]);
    assert_eq!(spec(json!({ "chords": { "cores": 3, "starts": [0, 5, 9] } })), SamplerSpec::Chords(chords));
    let automatic = Automatic::default().max_window(32);
    assert_eq!(spec(json!({ "automatic": { "max_window": 32 } })), SamplerSpec::Automatic(Box::new(automatic)));
}

#[test]
fn what_is_written_has_all_settings_and_is_read_again() {
    for name in NAMES {
        let of_name = spec(json!(name));
        let written = to_value(&of_name).unwrap();
        assert_eq!(spec(written.clone()), of_name);
        assert_eq!(serde_json::from_str::<SamplerSpec>(&written.to_string()).unwrap(), of_name);
        // a published sampler is a Picard with these settings
        if let Some(picard) = of_name.picard() {
            assert_eq!(spec(json!({ "picard": picard })).picard(), Some(picard));
        }
    }
    assert_eq!(to_value(spec(json!("sequential"))).unwrap(), json!({ "sequential": {} }));
    assert_eq!(to_value(spec(json!("piadm"))).unwrap(), json!({ "piadm": { "h": 1.0, "depth": null } }));
    let parataa = json!({ "parataa": { "window": 64, "memory": 3, "tolerance": 0.01 } });
    assert_eq!(to_value(spec(json!("parataa"))).unwrap(), parataa);
    assert_eq!(to_value(spec(json!("picard"))).unwrap()["picard"]["window"], json!(64));
}

#[test]
fn what_is_wrong_is_named() {
    let unknown = spec_error(r#""ddim""#);
    for name in NAMES {
        assert!(unknown.contains(name), "{unknown}");
    }
    for (text, expected) in [
        (r#""ddim""#, "unknown variant `ddim`"),
        (r#""""#, "unknown variant ``"),
        (r#"{"ddim": {}}"#, "ddim: unknown variant `ddim`, expected one of `sequential`, `piadm`"),
        ("{", "EOF"),
        ("{}", "invalid length 0, expected the name of a sampler, or one sampler"),
        (r#"{"picard": {}, "piadm": {}}"#, "invalid length 2, expected the name of a sampler, or one sampler"),
        ("3", "invalid type: integer `3`, expected the name of a sampler, or one sampler"),
        (r#"["picard"]"#, "invalid type: sequence, expected the name of a sampler, or one sampler"),
        (r#"{"picard": 3}"#, "picard: invalid type: integer `3`, expected settings of picard"),
        (r#"{"picard": []}"#, "picard: invalid type: sequence, expected settings of picard"),
        (r#"{"picard": null}"#, "picard: invalid type: null, expected settings of picard"),
        (r#"{"sequential": {"x": 1}}"#, "sequential.x: unknown field `x`"),
        (r#"{"piadm": {"x": 1}}"#, "piadm.x: unknown field `x`, expected `h` or `depth`"),
        (r#"{"zhou_sugiyama": {"x": 1}}"#, "zhou_sugiyama.x: unknown field `x`"),
        (r#"{"zhou_sugiyama": {"depth": null}}"#, "zhou_sugiyama.depth: invalid type: null"),
        (r#"{"paradigms": {"x": 1}}"#, "paradigms.x: unknown field `x`"),
        (r#"{"parasolver": {"x": 1}}"#, "parasolver.x: unknown field `x`"),
        (
            r#"{"picard": {"tolerance": {"law": true, "error": 0.1}}}"#,
            "picard.tolerance: exactness in law has no tolerance",
        ),
        (r#"{"parataa": {"memory": -1}}"#, "parataa.memory: invalid value: integer `-1`"),
        (r#"{"parareal": {"x": 1}}"#, "parareal.x: unknown field `x`"),
        (r#"{"chords": {"x": 1}}"#, "chords.x: unknown field `x`"),
        (r#"{"automatic": {"base": {"x": 1}}}"#, "automatic.base.x: unknown field `x`"),
        (r#"{"picard": {"x": 1}}"#, "picard.x: unknown field `x`"),
        (r#"{"picard": {"tolerance": {"x": 1}}}"#, "picard.tolerance.x: unknown field `x`"),
        (r#"{"picard": {"window": {"ou_time": 1, "x": 1}}}"#, "picard.window: "),
        (r#"{"picard": {"window": -1}}"#, "picard.window: "),
        (r#"{"picard": {"entry": {"held_data": {"variance": 1, "x": 1}}}}"#, "picard.entry.held_data.x: unknown field"),
        (
            r#"{"picard": {"linearisation": {"gaussian": {"variance": 1, "x": 1}}}}"#,
            "picard.linearisation.gaussian.x: unknown field",
        ),
        (r#"{"piadm": {"h": "1"}}"#, "piadm.h: invalid type: string \"1\""),
    ] {
        let error = spec_error(text);
        assert!(error.starts_with(expected), "{text}: {error}");
    }
}

/// The error, after the path of what it is about.
fn spec_error(text: &str) -> String {
    let mut json = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize::<_, SamplerSpec>(&mut json).unwrap_err().to_string()
}

#[test]
fn a_spec_runs_as_its_sampler() {
    let scheme = Scheme::Exponential { form: Form::Score, stochasticity: 1.0 };
    let grid = Grid::log_snr(30).between(5.0, 0.05);
    let problem = Problem::on(Cpu::<f64>::new(), Ou, grid, scheme).samples(2).shape([3]);
    let run = |sampler: &dyn Sampler<Cpu<f64>>| {
        let solution = sampler.sample(&problem, &mut two_modes::<f64>(Prediction::Score)).unwrap();
        (solution.samples, solution.report.rounds, solution.report.score_rows)
    };
    assert_eq!(run(&*spec(json!("sequential")).sampler()), run(&Sequential));
    assert_eq!(run(&*spec(json!("picard")).sampler()), run(&Picard::default()));
    assert_eq!(run(&*spec(json!("parareal")).sampler()), run(&Parareal::default()));
    let slow = json!({ "chords": { "cores": 4, "output": 1 } });
    let ode = Problem::on(Cpu::<f64>::new(), Ou, Grid::log_snr(30).between(5.0, 0.05), Scheme::ddim()).shape([3]);
    let of = |sampler: &dyn Sampler<Cpu<f64>>| sampler.sample(&ode, &mut two_modes::<f64>(Prediction::Score)).unwrap();
    assert_eq!(of(&*spec(slow).sampler()).samples, of(&Sequential).samples);
    let window = json!({ "paradigms": { "window": 7, "tolerance": 0.01 } });
    assert_eq!(run(&*spec(window).sampler()), run(&Picard::paradigms(7, 0.01)));
    let latency = json!({ "automatic": { "latency": { "points": [[2, 0.02], [512, 0.02]] } } });
    let report = spec(latency).sampler().sample(&problem, &mut two_modes::<f64>(Prediction::Score)).unwrap().report;
    assert!(report.choice.is_some_and(|choice| choice.window.is_some()));
}

#[test]
fn settings_of_chords_survive() {
    let settings = Chords::default().cores(3).starts(vec![0, 3, 9]).output(2);
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(text, r#"{"cores":3,"starts":[0,3,9],"output":2}"#);
    assert_eq!(serde_json::from_str::<Chords>(&text).unwrap(), settings);
    assert_eq!(serde_json::from_str::<Chords>("{}").unwrap(), Chords::default());
    assert!(serde_json::from_str::<Chords>(r#"{"depth": 1}"#).is_err());
}
