//! Grids as JSON.

use crate::*;
use piadm::grid::{AlignYourSteps, Sigmas};

#[test]
fn times_and_settings_go_through_serde() {
    // Dyadic times: serde_json reads other decimals to the last bit only with its float_roundtrip feature.
    let found = times(Grid::uniform(4).between(1.0, 0.0), &EVERYWHERE);
    let json = serde_json::to_string(&found).unwrap();
    assert_eq!(json, "[1.0,0.75,0.5,0.25,0.0]");
    let read = |json: &str| Grid::new(serde_json::from_str::<Vec<f64>>(json).unwrap()).times(&EVERYWHERE);
    assert_eq!(read(&json).unwrap(), found);
    let error = read("[1.0, 2.0]").unwrap_err();
    assert!(error.to_string().contains("strictly decrease"), "{error}");
    let setting = Resolution::Step(0.25);
    let json = serde_json::to_string(&setting).unwrap();
    assert_eq!(serde_json::from_str::<Resolution>(&json).unwrap(), setting);
    for spacing in [Spacing::Leading { offset: 1 }, Spacing::Trailing, Spacing::Linspace] {
        let json = serde_json::to_string(&spacing).unwrap();
        assert_eq!(serde_json::from_str::<Spacing>(&json).unwrap(), spacing);
    }
}

#[test]
fn a_grid_is_what_it_was_after_json() {
    let grids = [
        Grid::new([1.0, 0.5, 0.25]),
        Grid::uniform(3).between(1.0, 0.25),
        Grid::log_snr(20),
        Grid::karras(5, 0.002, 80.0, 7.0).then_data(),
        Grid::piadm(1.0, Resolution::Step(0.25)).between(3.0, 0.25),
        Grid::piadm(0.5, Resolution::Steps(9)),
        Grid::table(3, Spacing::Leading { offset: 1 }).then_data(),
        Grid::table(3, Spacing::Trailing),
        Grid::ddpm_timesteps(4, Spacing::Linspace),
        Grid::dpm_solver_timesteps(4, Spacing::Linspace),
        Grid::euler_timesteps(4, Spacing::Linspace),
        Grid::get_sigmas_karras(4, 0.03, 15.0, 7.0),
        Grid::get_sigmas_exponential(4, 0.03, 15.0),
        Grid::get_sigmas_polyexponential(4, 0.03, 15.0, 0.5),
        Grid::kl_optimal(4, 0.03, 15.0),
        Grid::from_sigmas([3.0, 1.0, 0.0]),
        Grid::sigmas(4, Sigmas::Karras { rho: 5.0 }).between(1.0, 0.25),
        Grid::sigmas(4, Sigmas::KlOptimal).then_data(),
        Grid::scheduler_sigmas(4, Sigmas::Beta { alpha: 0.5, beta: 0.75 }),
        Grid::scheduler_sigmas(4, Sigmas::Exponential),
        Grid::align_your_steps(7, AlignYourSteps::StableVideoDiffusion),
        Grid::simple(4),
        Grid::normal(4),
        Grid::sgm_uniform(4),
        Grid::beta(4, 0.5, 0.75),
        Grid::linear_quadratic(4, 0.125).between(0.75, 0.25),
        Grid::flow_match_timesteps(4, 3.0),
        Grid::flux_timesteps(4, 4096),
        Grid::ddpm_timesteps(4, Spacing::Trailing).shift(0.5),
    ];
    for grid in grids {
        let text = serde_json::to_string(&grid).unwrap();
        assert_eq!(serde_json::from_str::<Grid>(&text).unwrap(), grid, "{text}");
    }
}

/// A kind with the settings that its users know, and no more.
#[test]
fn kinds_have_the_names_and_defaults_of_their_users() {
    let read = |text: &str| serde_json::from_str::<Grid>(text).unwrap();
    let beta = Sigmas::Beta { alpha: 0.6, beta: 0.6 };
    for (text, grid) in [
        (
            r#"{"kind": "sigmas", "sigmas": [3.0, 1.0], "final_sigma_zero": true}"#,
            Grid::from_sigmas([3.0, 1.0]).then_data(),
        ),
        (
            r#"{"kind": "karras", "steps": 9, "final_sigma_zero": true}"#,
            Grid::scheduler_sigmas(9, Sigmas::Karras { rho: 7.0 }),
        ),
        (r#"{"kind": "beta", "steps": 9, "final_sigma_zero": true}"#, Grid::scheduler_sigmas(9, beta)),
        (r#"{"kind": "exponential", "steps": 9}"#, Grid::log_snr(9)),
        (
            r#"{"kind": "polyexponential", "steps": 9, "sigma_min": 0.5, "sigma_max": 8.0, "final_sigma_zero": true}"#,
            Grid::get_sigmas_polyexponential(9, 0.5, 8.0, 1.0),
        ),
        (r#"{"kind": "simple", "steps": 9, "final_sigma_zero": true}"#, Grid::simple(9)),
        (r#"{"kind": "normal", "steps": 9, "final_sigma_zero": true}"#, Grid::normal(9)),
        (r#"{"kind": "sgm_uniform", "steps": 9}"#, Grid::sgm_uniform(9)),
        (r#"{"kind": "beta_timesteps", "steps": 9, "final_sigma_zero": true}"#, Grid::beta(9, 0.6, 0.6)),
        (r#"{"kind": "linear_quadratic", "steps": 9}"#, Grid::linear_quadratic(9, 0.025)),
        (
            r#"{"kind": "align_your_steps", "steps": 9, "model": "stable_diffusion_xl"}"#,
            Grid::align_your_steps(9, AlignYourSteps::StableDiffusionXl),
        ),
        (r#"{"kind": "uniform", "steps": 9, "shift": 3.0}"#, Grid::uniform(9).shift(3.0)),
        (
            r#"{"kind": "dpm_solver", "steps": 9, "spacing": "linspace", "final_sigma_zero": true}"#,
            Grid::dpm_solver_timesteps(9, Spacing::Linspace),
        ),
    ] {
        assert_eq!(read(text), grid, "{text}");
    }
    for (text, says) in [
        (r#"{"kind": "karras", "steps": 4, "sigma_min": 0.1}"#, "`sigma_max`"),
        (r#"{"kind": "beta", "steps": 4, "rho": 7.0}"#, "`rho`"),
        (r#"{"kind": "simple", "steps": 4, "alpha": 0.6}"#, "`alpha`"),
        (r#"{"kind": "uniform", "steps": 4, "threshold": 0.6}"#, "`threshold`"),
        (r#"{"kind": "uniform", "steps": 4, "model": "stable_diffusion"}"#, "`model`"),
        (r#"{"kind": "uniform", "steps": 4, "sigmas": [1.0]}"#, "`sigmas`"),
        (r#"{"kind": "align_your_steps", "steps": 4}"#, "`model`"),
        (r#"{"kind": "align_your_steps", "steps": 4, "model": "sd"}"#, "stable_diffusion"),
        (r#"{"kind": "uniform", "steps": 4, "shfit": 3.0}"#, "shfit"),
    ] {
        let error = serde_json::from_str::<Grid>(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    for spacing in [Sigmas::Karras { rho: 5.0 }, Sigmas::Exponential, Sigmas::KlOptimal, beta] {
        assert_eq!(spacing.to_string().parse::<Sigmas>().unwrap(), spacing);
        let json = serde_json::to_string(&spacing).unwrap();
        assert_eq!(serde_json::from_str::<Sigmas>(&json).unwrap(), spacing);
    }
}

#[test]
fn steps_are_all_that_there_are() {
    let read = |text: &str| serde_json::from_str::<Grid>(text);
    let sd = Discrete::stable_diffusion();
    let grid = read(r#"{"kind": "leading", "steps": 4, "steps_offset": 1, "final_sigma_zero": true}"#).unwrap();
    assert_eq!(times(grid, &sd), times(Grid::ddpm_timesteps(4, Spacing::Leading { offset: 1 }), &sd));
    let grid = read(r#"{"kind": "times", "times": [0.5], "final_sigma_zero": true}"#).unwrap();
    assert_eq!(times(grid, &Flow), [0.5, 0.0]);
    let grid = read(r#"{"kind": "piadm", "eps": 0.5, "t_max": 3.0, "t_min": 0.25, "final_sigma_zero": true}"#).unwrap();
    assert_eq!(times(grid, &Ou).len() - 1, 8);
    for (text, says) in [
        (r#"{"kind": "uniform", "steps": 4, "t_max": 1.0}"#, "`t_min`"),
        (r#"{"kind": "piadm", "steps": 4, "eps": 0.5}"#, "`steps`"),
        (r#"{"kind": "piadm"}"#, "`steps`"),
        (r#"{"kind": "karras", "steps": 4, "sigma_min": 0.1, "sigma_max": 1.0, "t_max": 1.0}"#, "t_max"),
        (r#"{"kind": "log"}"#, "log"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

/// `dpm_solver` in a file is the constructor, for every spacing.
#[test]
fn dpm_solver_in_a_file_is_the_constructor() {
    for (json, spacing) in
        [(r#""trailing""#, Spacing::Trailing), (r#""linspace""#, Spacing::Linspace), (r#""simple""#, Spacing::Simple)]
    {
        let text = format!(r#"{{"kind": "dpm_solver", "steps": 4, "spacing": {json}}}"#);
        let grid: Grid = serde_json::from_str(&text).unwrap();
        let table = piadm::Discrete::stable_diffusion();
        assert_eq!(grid.times(&table).unwrap(), Grid::dpm_solver_timesteps(4, spacing).times(&table).unwrap());
    }
}
