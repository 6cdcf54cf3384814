//! Ours against recorded grids and tables of diffusers, k-diffusion and scipy (tests/peers/grids.py).

use crate::*;
use piadm::grid::Sigmas;
use safetensors::SafeTensors;

/// A recorded array.
fn recorded(name: &str) -> Vec<f64> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/grids.safetensors");
    let bytes = std::fs::read(file).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(view.dtype(), safetensors::Dtype::F64, "{name}");
    view.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
}

const STEPS: [usize; 4] = [1, 2, 7, 20];

/// The noise levels of a grid, sigma/alpha or the time, against recorded ones.
#[track_caller]
fn assert_levels(name: &str, found: &[f64], tolerance: f64) {
    let theirs = recorded(name);
    assert_eq!(found.len(), theirs.len(), "{name}");
    for (i, (ours, theirs)) in found.iter().zip(theirs).enumerate() {
        assert!((ours - theirs).abs() <= tolerance * theirs, "{name} {i}: {ours} for {theirs}");
    }
}

#[test]
fn sigmas_of_schedulers() {
    let table = Discrete::stable_diffusion();
    for (option, spacing) in [
        ("karras", Sigmas::Karras { rho: 7.0 }),
        ("exponential", Sigmas::Exponential),
        ("beta", Sigmas::Beta { alpha: 0.6, beta: 0.6 }),
    ] {
        for steps in STEPS {
            let times = times(Grid::scheduler_sigmas(steps, spacing), &table);
            let ratios: Vec<f64> = times.iter().map(|&t| table.sigma(t) / table.alpha(t)).collect();
            for scheduler in ["euler", "dpm"] {
                if (scheduler, steps) != ("euler", 1) {
                    assert_levels(&format!("sigmas/{scheduler}/{option}/{steps}"), &ratios, 1e-11);
                }
            }
        }
    }
}

#[test]
fn flow_matching() {
    for steps in STEPS {
        for (name, shift) in [("1.0", 1.0), ("3.0", 3.0)] {
            let times = times(Grid::flow_match_timesteps(steps, shift), &Flow);
            assert_levels(&format!("flow/{name}/{steps}"), &times, 1e-13);
        }
        for tokens in [256, 1024, 4096] {
            let times = times(Grid::flux_timesteps(steps, tokens), &Flow);
            assert_levels(&format!("flux/{tokens}/{steps}"), &times, 1e-13);
        }
    }
}

#[test]
fn k_diffusion() {
    for n in STEPS {
        for (name, grid) in [
            ("karras", Grid::get_sigmas_karras(n, 0.03, 15.0, 7.0)),
            ("exponential", Grid::get_sigmas_exponential(n, 0.03, 15.0)),
            ("polyexponential", Grid::get_sigmas_polyexponential(n, 0.03, 15.0, 2.0)),
        ] {
            assert_levels(&format!("k_diffusion/{name}/{n}"), &times(grid, &Edm), 1e-13);
        }
    }
}

/// Quantiles show as times: ratios from 1 + 0 to 1 + 1.
#[test]
fn quantiles_of_the_beta_law() {
    for (name, alpha, beta) in
        [("0.6/0.6", 0.6, 0.6), ("0.5/2.0", 0.5, 2.0), ("3.0/0.2", 3.0, 0.2), ("20.0/50.0", 20.0, 50.0)]
    {
        let grid = Grid::sigmas(20, Sigmas::Beta { alpha, beta }).between(2.0, 1.0);
        let ours = times(grid, &Edm);
        for (ours, theirs) in ours.iter().rev().zip(recorded(&format!("beta/{name}"))) {
            assert!((ours - 1.0 - theirs).abs() < 1e-12, "{name}: {} for {theirs}", ours - 1.0);
        }
    }
}

#[test]
fn tables() {
    let (n, start, end) = (1000, 0.00085, 0.012);
    for (name, table) in [
        ("linear", Discrete::linear(n, start, end)),
        ("scaled_linear", Discrete::scaled_linear(n, start, end)),
        ("squaredcos_cap_v2", Discrete::cosine(n)),
        ("sigmoid", Discrete::sigmoid(n, start, end)),
    ] {
        let table = table.unwrap();
        assert_levels(&format!("table/{name}"), table.alphas_cumprod(), 1e-11);
        let zero = table.zero_terminal_snr().unwrap();
        // the peer goes through betas and back, where digits of small entries are lost
        let theirs = recorded(&format!("table/{name}-zero"));
        for (k, (ours, theirs)) in zero.alphas_cumprod().iter().zip(theirs).enumerate() {
            assert!((ours - theirs).abs() <= 1e-11 * theirs + 1e-18, "{name} {k}: {ours:e} for {theirs:e}");
        }
    }
}
