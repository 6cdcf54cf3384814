//! The problem file of the `compare` command.

mod common;

use common::{base, value, with};
use lab::compare::{ProblemFile, Target};
use serde_json::{Value, json};
use std::path::Path;

const SCHEDULES: [&str; 8] = [
    r#"{"kind": "ou"}"#,
    r#"{"kind": "vp_linear"}"#,
    r#"{"kind": "vp_cosine"}"#,
    r#"{"kind": "discrete"}"#,
    r#"{"kind": "discrete", "alphas_cumprod": [0.99, 0.9, 0.5, 0.1]}"#,
    r#"{"kind": "ve"}"#,
    r#"{"kind": "edm"}"#,
    r#"{"kind": "flow"}"#,
];

const GRIDS: [&str; 9] = [
    r#"{"kind": "uniform", "t_max": 0.9, "t_min": 0.1, "steps": 3}"#,
    r#"{"kind": "log_snr", "t_max": 0.9, "t_min": 0.1, "steps": 3}"#,
    r#"{"kind": "karras", "sigma_min": 0.1, "sigma_max": 10.0, "steps": 3}"#,
    r#"{"kind": "piadm", "t_max": 3.0, "t_min": 0.1, "eps": 0.5}"#,
    r#"{"kind": "piadm", "t_max": 3.0, "t_min": 0.1, "steps": 5}"#,
    r#"{"kind": "leading", "steps": 3}"#,
    r#"{"kind": "trailing", "steps": 3}"#,
    r#"{"kind": "linspace", "steps": 3}"#,
    r#"{"kind": "times", "times": [0.9, 0.5, 0.1]}"#,
];

const SCHEMES: [&str; 18] = [
    "exponential",
    "euler_maruyama",
    "ddpm",
    "ddim",
    "sde_dpm_solver_pp1",
    "dpm_solver_pp_2m",
    "sde_dpm_solver_pp_2m",
    "heun",
    "dpm_solver_pp",
    "uni_pc",
    "deis",
    "lms",
    "ipndm",
    "dpm_solver_pp_2s",
    "dpm2",
    "lcm",
    "edm_stochastic",
    "runge_kutta",
];

fn parse(problem: &Value) -> Result<ProblemFile, String> {
    ProblemFile::parse(&problem.to_string()).map_err(|error| error.to_string())
}

fn refusal(problem: &Value) -> String {
    match parse(problem) {
        Ok(_) => panic!("accepted {problem}"),
        Err(error) => error,
    }
}

/// A problem with a schedule on which a grid fits.
fn for_grid(grid: &str) -> Value {
    let grid = value(grid);
    let schedule = match grid["kind"].as_str().unwrap() {
        "leading" | "trailing" | "linspace" => {
            json!({ "kind": "discrete", "alphas_cumprod": [0.99, 0.9, 0.5, 0.1, 0.05, 0.01] })
        }
        _ => json!({ "kind": "ou" }),
    };
    with(with(base(), "/schedule", schedule), "/grid", grid)
}

fn for_schedule(schedule: &str) -> Value {
    let times = json!({ "kind": "times", "times": [0.9, 0.5, 0.1] });
    with(with(base(), "/schedule", value(schedule)), "/grid", times)
}

fn times(schedule: Value, grid: Value) -> Vec<f64> {
    let scheme = json!({ "kind": "ddim" });
    let problem = with(with(with(base(), "/schedule", schedule), "/grid", grid), "/scheme", scheme);
    let file = parse(&problem).unwrap();
    file.grid.times(&file.schedule).unwrap()
}

#[test]
fn every_kind_is_read_and_unknown_fields_are_refused_everywhere() {
    let schedules = SCHEDULES.map(|text| (for_schedule(text), "schedule"));
    let grids = GRIDS.map(|text| (for_grid(text), "grid"));
    let schemes = SCHEMES.map(|kind| (with(base(), "/scheme", json!({ "kind": kind })), "scheme"));
    for (problem, object) in schedules.into_iter().chain(grids).chain(schemes) {
        parse(&problem).unwrap_or_else(|error| panic!("{error} in {problem}"));
        let error = refusal(&with(problem, &format!("/{object}/surprise"), json!(1)));
        assert!(error.contains(&format!("{object}.surprise")), "{error}");
    }
    assert!(refusal(&with(base(), "/target/surprise", json!(1))).contains("target.surprise"));
    assert!(refusal(&with(base(), "/surprise", json!(1))).contains("surprise"));
    // a field of another kind is as unknown as any
    assert!(refusal(&with(base(), "/grid/rho", json!(7))).contains("grid: `rho`"));
    assert!(refusal(&with(base(), "/schedule/beta_min", json!(1))).contains("schedule.beta_min"));
    assert!(refusal(&with(base(), "/scheme/eta", json!(1))).contains("scheme.eta"));
    let table = r#"{"kind": "discrete", "alphas_cumprod": [0.9, 0.1], "beta_start": 0.1}"#;
    assert!(refusal(&for_schedule(table)).contains("alphas_cumprod does not go with"));
    let both = r#"{"kind": "piadm", "t_max": 3.0, "t_min": 0.1, "eps": 0.5, "steps": 5}"#;
    assert!(refusal(&for_grid(both)).contains("grid: `steps`"));
}

#[test]
fn an_error_names_the_field() {
    let cases = [
        ("/target", json!([1]), "target[0]: invalid type"),
        ("/target/weights", json!([1.0]), "target: the weights of a mixture has shape [1], expected [2]"),
        ("/target/weights", json!([1.0, -1.0]), "target: weights = -1"),
        ("/target/weights", json!([1.0, 0.0]), "target: weights = 0"),
        ("/target/weights", json!("a"), "target.weights: invalid type"),
        ("/target/means", json!([]), "target: the means of a mixture has shape [0, 0]"),
        ("/target/means", json!([[], []]), "target: the means of a mixture has shape [2, 0]"),
        ("/target/means", json!([[1.0, 2.0], [1.0]]), "target.means: mean 1 has 1 numbers, expected 2"),
        ("/target/std", json!([0.1, -0.1]), "target: std = -0.1"),
        ("/target/std", json!([0.1, null]), "target.std[1]: invalid type: null"),
        ("/schedule/kind", json!("oou"), "schedule: unknown variant `oou`"),
        ("/schedule", json!({}), "schedule: missing field `kind`"),
        ("/schedule", json!({ "kind": "vp_linear", "beta_min": 20.0, "beta_max": 0.1 }), "schedule: beta_max"),
        ("/schedule", json!({ "kind": "vp_cosine", "s": -1.0 }), "schedule: s = -1"),
        ("/schedule", json!({ "kind": "discrete", "alphas_cumprod": [0.1, 0.9] }), "schedule: "),
        ("/schedule", json!({ "kind": "discrete", "beta_end": 2.0 }), "schedule: beta_end = 2"),
        (
            "/schedule",
            json!({ "kind": "discrete", "num_train_timesteps": 1e18 as u64 }),
            "schedule: n = 1000000000000000000",
        ),
        (
            "/schedule",
            json!({ "kind": "discrete", "beta_schedule": "cubic" }),
            "schedule.beta_schedule: unknown variant `cubic`",
        ),
        ("/grid/kind", json!("log"), "grid.kind: unknown variant `log`"),
        ("/grid/kind", json!("leading"), "grid: `t_max` is one field too many"),
        ("/grid/steps", json!(0), "grid: steps = 0"),
        ("/grid/steps", json!(-1), "grid.steps: invalid value"),
        ("/grid/steps", json!(2.5), "grid.steps: invalid type"),
        ("/grid/steps", json!(u64::MAX), "grid: steps = 18446744073709551615: expected 1 to 2^24 steps"),
        ("/grid/t_max", json!("8"), "grid.t_max: invalid type"),
        ("/grid/t_max", json!(-1.0), "grid: t_max = -1"),
        ("/grid/t_min", json!(0.0), "grid: t_min = 0"),
        ("/grid", json!({ "kind": "uniform", "t_max": 1.0, "steps": 3 }), "grid: missing field `t_min`"),
        ("/grid", json!({ "kind": "uniform", "t_max": 1.0, "t_min": -1.0, "steps": 3 }), "grid: grid point 2"),
        ("/grid", json!({ "kind": "times", "times": [0.1, 0.5] }), "grid: grid point 1"),
        ("/grid", json!({ "kind": "times", "times": [] }), "grid: a time grid needs"),
        ("/grid", json!({ "kind": "times", "times": [], "final_sigma_zero": true }), "grid: a time grid needs"),
        (
            "/grid",
            json!({ "kind": "uniform", "t_max": 1.0, "t_min": 0.0, "steps": 3, "final_sigma_zero": true }),
            "grid: ",
        ),
        ("/scheme/kind", json!("expo"), "scheme: unknown variant `expo`"),
        ("/scheme/form", json!("scores"), "scheme.form: unknown variant"),
        ("/scheme/stochasticity", json!("1"), "scheme.stochasticity: invalid type"),
        ("/scheme/stochasticity", json!(1.5), "scheme: stochasticity = 1.5"),
        ("/scheme", json!("ddim"), "scheme: invalid type: string \"ddim\""),
        ("/prediction", json!("eps"), "prediction: unknown variant `eps`"),
    ];
    let mut wrong = Vec::new();
    for (pointer, new, expected) in cases {
        let error = refusal(&with(base(), pointer, new));
        if !error.starts_with(expected) {
            wrong.push(format!("{error:?} does not start with {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // a grid of table entries needs a table
    let leading = json!({ "kind": "leading", "steps": 3 });
    assert!(refusal(&with(base(), "/grid", leading)).starts_with("grid: a grid of table entries does not go with Ou"));
    for name in ["target", "schedule", "grid", "scheme"] {
        let mut problem = base();
        problem.as_object_mut().unwrap().remove(name);
        assert!(refusal(&problem).starts_with(&format!("missing field `{name}`")));
    }
    let twice = base().to_string().replace("\"form\":", "\"stochasticity\":0.0,\"form\":");
    let error = ProblemFile::parse(&twice).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("scheme: duplicate field `stochasticity`"), "{error}");
    for text in ["", "[]", "{", "1", "{\"target\": 1e999}"] {
        assert!(ProblemFile::parse(text).is_err());
    }
}

#[test]
fn defaults_are_the_documented_ones() {
    let pairs = [
        (r#"{"kind": "vp_linear"}"#, r#"{"kind": "vp_linear", "beta_min": 0.1, "beta_max": 20}"#),
        (r#"{"kind": "vp_cosine"}"#, r#"{"kind": "vp_cosine", "s": 0.008}"#),
        (
            r#"{"kind": "discrete"}"#,
            r#"{"kind": "discrete", "num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}"#,
        ),
    ];
    for (short, long) in pairs {
        let [short, long] = [short, long].map(|text| parse(&for_schedule(text)).unwrap().schedule);
        for t in [0.1, 0.5, 0.9] {
            assert_eq!(short.log_snr(t), long.log_snr(t));
        }
    }
    // the last of DDPM's table, by its definition
    let ddpm = parse(&for_schedule(r#"{"kind": "discrete"}"#)).unwrap().schedule;
    let product: f64 = (0..1000).map(|i| 1.0 - (1e-4 + (0.02 - 1e-4) * f64::from(i) / 999.0)).product();
    assert!((ddpm.alpha(999.0).powi(2) / product - 1.0).abs() < 1e-10);

    let (ou, karras) =
        (json!({ "kind": "ou" }), json!({ "kind": "karras", "sigma_min": 0.1, "sigma_max": 10, "steps": 3 }));
    assert_eq!(
        times(ou.clone(), karras.clone()),
        times(ou.clone(), with(json!({ "g": karras }), "/g/rho", json!(7))["g"].clone())
    );
    let piadm = json!({ "kind": "piadm", "t_max": 3.0, "t_min": 0.1, "eps": 0.5 });
    assert_eq!(times(ou.clone(), piadm.clone()), times(ou, with(json!({ "g": piadm }), "/g/h", json!(1))["g"].clone()));
    let [short, long] = [json!({ "kind": "ddim" }), json!({ "kind": "ddim", "eta": 0 })]
        .map(|scheme| parse(&with(base(), "/scheme", scheme)).unwrap().scheme);
    assert_eq!(short, long);
}

/// `steps` counts the step to sigma = 0. The ramps are k-diffusion's sigmas and diffusers' timesteps, by their
/// formulas.
#[test]
fn the_final_step_to_zero_is_one_of_the_steps() {
    let edm = || json!({ "kind": "edm" });
    let karras = |steps: u64| json!({ "kind": "karras", "sigma_min": 0.002, "sigma_max": 80, "rho": 7, "steps": steps, "final_sigma_zero": true });
    for n in [1, 2, 5, 18] {
        let times = times(edm(), karras(n));
        let (min, max) = (0.002f64.powf(1.0 / 7.0), 80f64.powf(1.0 / 7.0));
        assert_eq!((times.len(), times[n as usize]), (n as usize + 1, 0.0));
        for (i, t) in times[..n as usize].iter().enumerate() {
            let w = if n == 1 { 0.0 } else { i as f64 / (n - 1) as f64 };
            assert!((t / (max + w * (min - max)).powi(7) - 1.0).abs() < 1e-12);
        }
    }

    let table = || json!({ "kind": "discrete", "num_train_timesteps": 1000 });
    let index =
        |kind: &str, steps: u64| json!({ "kind": kind, "steps": steps, "steps_offset": 1, "final_sigma_zero": true });
    assert_eq!(times(table(), index("leading", 4)), [751.0, 501.0, 251.0, 1.0, -1.0]);
    assert_eq!(times(table(), index("trailing", 4)), [999.0, 749.0, 499.0, 249.0, -1.0]);
    assert_eq!(times(table(), index("linspace", 4)), [999.0, 666.0, 333.0, 0.0, -1.0]);
    assert_eq!(times(table(), index("leading", 1)), [1.0, -1.0]);
    assert_eq!(times(table(), index("trailing", 1)), [999.0, -1.0]);
    assert_eq!(times(table(), index("linspace", 1)), [0.0, -1.0]);

    let flow = || json!({ "kind": "flow" });
    for (steps, expected) in [(1, vec![1.0, 0.0]), (2, vec![1.0, 0.5, 0.0]), (3, vec![1.0, 0.75, 0.5, 0.0])] {
        let grid = json!({ "kind": "uniform", "t_max": 1.0, "t_min": 0.5, "steps": steps, "final_sigma_zero": true });
        let scheme = json!({ "kind": "heun" });
        let problem = with(with(with(base(), "/schedule", flow()), "/grid", grid), "/scheme", scheme);
        let problem = with(problem, "/prediction", json!("flow"));
        assert_eq!(parse(&problem).unwrap().grid.times(&piadm::Flow).unwrap(), expected);
    }
    let ou = || json!({ "kind": "ou" });
    let listed = |times: &[f64]| json!({ "kind": "times", "times": times, "final_sigma_zero": true });
    assert_eq!(times(ou(), listed(&[2.0, 1.0])), [2.0, 1.0, 0.0]);
    assert_eq!(times(ou(), listed(&[2.0])), [2.0, 0.0]);
    let piadm =
        |steps: u64| json!({ "kind": "piadm", "t_max": 3.0, "t_min": 0.5, "steps": steps, "final_sigma_zero": true });
    assert_eq!(times(ou(), piadm(1)), [3.0, 0.0]);
    assert_eq!(times(ou(), piadm(4)), [3.0, 2.0, 1.0, 0.5, 0.0]);
    let by_step = json!({ "kind": "piadm", "t_max": 3.0, "t_min": 1.0, "eps": 1.0, "final_sigma_zero": true });
    assert_eq!(times(ou(), by_step), [3.0, 2.0, 1.0, 0.0]);
}

#[test]
fn a_network_takes_the_place_of_a_target() {
    let mut problem = with(base(), "/network", json!("mlp"));
    assert!(refusal(&problem).starts_with("network: does not go with a target"));
    problem.as_object_mut().unwrap().remove("target");
    assert!(matches!(parse(&problem).unwrap().target, Target::Network(network) if network.dim() == 784));
    assert!(refusal(&with(problem.clone(), "/prediction", json!("velocity"))).starts_with("prediction: "));
    let other = with(problem.clone(), "/schedule", json!({ "kind": "vp_linear" }));
    assert!(refusal(&other).starts_with("schedule: the networks were trained on ou"), "{}", refusal(&other));
    assert!(refusal(&with(problem, "/network", json!("gan"))).starts_with("network: network gan: expected mlp"));
}

#[test]
fn a_file_is_named_in_its_errors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/problems");
    let problem = ProblemFile::read(&folder.join("mixture-sde.json")).unwrap();
    let Target::Mixture(mixture) = &problem.target else { panic!("not a mixture") };
    let steps = problem.grid.times(&problem.schedule).unwrap().len() - 1;
    assert_eq!((steps, mixture.modes(), mixture.dim()), (256, 8, 16));
    let error = ProblemFile::read(&folder.join("missing.json")).err().unwrap().to_string();
    assert!(error.contains("missing.json: "), "{error}");
}
