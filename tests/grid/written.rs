//! Grids as JSON.

use crate::*;

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
    ];
    for grid in grids {
        let text = serde_json::to_string(&grid).unwrap();
        assert_eq!(serde_json::from_str::<Grid>(&text).unwrap(), grid, "{text}");
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
