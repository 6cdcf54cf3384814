//! Grids by ratios sigma/alpha: k-diffusion's, diffusers' and ComfyUI's, tables of Align Your Steps, shifts of flows.
//!
//! Reference numbers were computed with mpmath and scipy from the formulas that the documentation names.

use crate::*;
use piadm::grid::{AlignYourSteps, Sigmas};

const SPACED: [Sigmas; 5] = [
    Sigmas::Karras { rho: 7.0 },
    Sigmas::Exponential,
    Sigmas::Polyexponential { rho: 2.0 },
    Sigmas::Beta { alpha: 0.6, beta: 0.6 },
    Sigmas::KlOptimal,
];

const KARRAS: [f64; 5] = [15.0, 4.924273439770833, 1.3085070728277246, 0.25478716514192734, 0.03];
const EXPONENTIAL: [f64; 5] = [15.0, 3.1721137903216925, 0.6708203932499369, 0.14186124135047637, 0.03];
const POLYEXPONENTIAL: [f64; 5] = [15.0, 0.9892177082010015, 0.14186124135047637, 0.04423916080167981, 0.03];
const BETA: [f64; 5] = [15.0, 12.370064731569155, 7.515, 2.659935268430844, 0.03];
const BETA_SKEW: [f64; 5] = [15.0, 4.689025960206188, 1.835602933669903, 0.4537938694688103, 0.03];
const KL_OPTIMAL: [f64; 5] = [15.0, 2.1512703000463094, 0.964075837678409, 0.42108541786555503, 0.03];
const BETA_TIMESTEPS: [f64; 21] = [
    999.0, 986.0, 959.0, 922.0, 876.0, 823.0, 765.0, 703.0, 637.0, 569.0, 500.0, 430.0, 362.0, 296.0, 234.0, 176.0,
    123.0, 77.0, 40.0, 13.0, -1.0,
];
const AYS_SEVEN: [f64; 7] = [
    14.614999999999998,
    5.18810021608854,
    2.8388391305106464,
    1.7306582839806843,
    1.070780181834112,
    0.607826711232372,
    0.22986372174167363,
];
const LINEAR_QUADRATIC: [(usize, f64); 6] = [
    (1, 0.99921875),
    (31, 0.97578125),
    (32, 0.975),
    (40, 0.909375),
    (60, 0.22578125000000004),
    (63, 0.05922851562500031),
];

/// sigma/alpha at every time.
fn ratios(schedule: &dyn NoiseSchedule, times: &[f64]) -> Vec<f64> {
    times.iter().map(|&t| schedule.sigma(t) / schedule.alpha(t)).collect()
}

#[test]
fn ratios_of_the_users_are_hit_on_every_schedule() {
    let given = [11.0, 2.5, 1.0, 0.25, 0.125];
    assert_eq!(times(Grid::from_sigmas(given), &Edm), given);
    for (schedule, ..) in schedules() {
        let found = times(Grid::from_sigmas(given), &*schedule);
        assert_close(&ratios(&*schedule, &found), &given, 1e-12);
        // a 0 is the data
        let with_data = [&given[..], &[0.0]].concat();
        let with_data = times(Grid::from_sigmas(with_data), &*schedule);
        assert_eq!(with_data[..5], found);
        assert_eq!(with_data[5], schedule.range().0);
        assert_eq!(times(Grid::from_sigmas(given).then_data(), &*schedule), with_data);
        assert_eq!(times(Grid::from_sigmas([3.0, 0.0]), &*schedule).len(), 2);
    }
    assert_eq!(times(Grid::from_sigmas([3.0, 1.0, 0.25, 0.0]), &Flow), [0.75, 0.5, 0.2, 0.0]);
    // The ends of a table with the digits that are printed, and too far beyond.
    let table = Discrete::stable_diffusion();
    assert_eq!(times(Grid::from_sigmas([14.6147, 0.0]), &table), [999.0, -1.0]);
    refused(Grid::from_sigmas([14.7, 0.0]).times(&table), "sigmas");
    for bad in [&[f64::NAN, 0.0][..], &[f64::INFINITY, 1.0], &[1.0, 0.0, 0.0], &[0.0, 1.0], &[2.0, -1.0], &[-0.5, 0.0]]
    {
        refused(Grid::from_sigmas(bad).times(&Edm), "sigmas");
    }
    for bad in [&[1.0, 2.0, 0.0][..], &[2.0, 2.0, 0.0]] {
        assert!(matches!(Grid::from_sigmas(bad).times(&Edm), Err(Error::GridOrder { index: 1, .. })));
    }
    for (bad, n) in [(&[][..], 0), (&[1.0], 1), (&[0.0], 1)] {
        match Grid::from_sigmas(bad).times(&Edm) {
            Err(Error::GridLength { points, .. }) => assert_eq!(points, n),
            other => panic!("{bad:?}: {other:?}"),
        }
    }
    assert!(matches!(Grid::from_sigmas([1.0, 0.0]).then_data().times(&Edm), Err(Error::GridOrder { .. })));
    let bounded = Grid::from_sigmas([1.0, 0.5]).between(1.0, 0.1).times(&Edm);
    assert!(matches!(bounded, Err(Error::Unsupported { what: "Grid::between", .. })));
}

#[test]
fn spacings_are_their_formulas() {
    // max 15, min 0.03, five levels: mpmath and scipy.stats.beta.ppf.
    let expected: [(Sigmas, [f64; 5]); 7] = [
        (Sigmas::Karras { rho: 7.0 }, KARRAS),
        (Sigmas::Exponential, EXPONENTIAL),
        (Sigmas::Polyexponential { rho: 1.0 }, EXPONENTIAL),
        (Sigmas::Polyexponential { rho: 2.0 }, POLYEXPONENTIAL),
        (Sigmas::Beta { alpha: 0.6, beta: 0.6 }, BETA),
        (Sigmas::Beta { alpha: 0.5, beta: 2.0 }, BETA_SKEW),
        (Sigmas::KlOptimal, KL_OPTIMAL),
    ];
    for (spacing, levels) in expected {
        let (t_max, t_min) = (15.0, 0.03);
        let found = times(Grid::sigmas(4, spacing).between(t_max, t_min), &Edm);
        assert_close(&found, &levels, 1e-13);
        assert_eq!((found[0], found[4]), (t_max, t_min));
        // by ratios instead of times, and on other schedules
        let published = match spacing {
            Sigmas::Karras { rho } => Grid::get_sigmas_karras(5, t_min, t_max, rho),
            Sigmas::Exponential => Grid::get_sigmas_exponential(5, t_min, t_max),
            Sigmas::Polyexponential { rho } => Grid::get_sigmas_polyexponential(5, t_min, t_max, rho),
            Sigmas::KlOptimal => Grid::kl_optimal(5, t_min, t_max),
            _ => continue,
        };
        assert_eq!(times(published.clone(), &Edm), [&found[..], &[0.0]].concat());
        for schedule in [&Ve as &dyn NoiseSchedule, &Ou, &Flow, &VpLinear::default()] {
            assert_close(&ratios(schedule, &times(published.clone(), schedule)[..5]), &levels, 1e-11);
        }
    }
}

#[test]
fn ends_of_spacings_are_those_of_the_schedule() {
    let table = Discrete::stable_diffusion();
    for spacing in SPACED {
        let found = times(Grid::scheduler_sigmas(20, spacing), &table);
        assert_eq!((found.len(), found[0], found[19], found[20]), (21, 999.0, 0.0, -1.0));
        assert_eq!(found[..20], times(Grid::sigmas(19, spacing), &table));
        assert!(matches!(Grid::sigmas(5, spacing).times(&Edm), Err(Error::GridEnd { end: "t_max", .. })));
        assert!(matches!(Grid::sigmas(5, spacing).times(&Flow), Err(Error::GridEnd { end: "t_max", .. })));
        refused(Grid::sigmas(5, spacing).between(1.0, 0.1).times(&Flow), "t_max");
        refused(Grid::sigmas(5, spacing).between(0.9, 0.0).times(&Flow), "t_min");
        assert!(Grid::sigmas(5, spacing).between(0.9, 0.1).times(&Flow).is_ok());
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let of = |spacing| Grid::sigmas(3, spacing).times(&table);
        refused(of(Sigmas::Karras { rho: bad }), "rho");
        refused(of(Sigmas::Polyexponential { rho: bad }), "rho");
        refused(of(Sigmas::Beta { alpha: bad, beta: 1.0 }), "alpha");
        refused(of(Sigmas::Beta { alpha: 1.0, beta: bad }), "beta");
        refused(Grid::get_sigmas_exponential(3, bad, 1.0).times(&Edm), "sigma_min");
        refused(Grid::kl_optimal(3, 0.1, bad).times(&Edm), "sigma_max");
        refused(Grid::beta(3, bad, 0.6).times(&table), "alpha");
        refused(Grid::linear_quadratic(8, bad).times(&Flow), "threshold");
    }
    assert!(Grid::get_sigmas_karras(2, 1.0, 1.0, 7.0).times(&Edm).is_err());
}

/// Every grid with a name has a form with a single step, from its noisiest level to the data.
#[test]
fn one_step_goes_from_the_noise_to_the_data() {
    let table = Discrete::stable_diffusion();
    for (grid, noise) in [
        (Grid::get_sigmas_karras(1, 0.002, 80.0, 7.0), 80.0),
        (Grid::get_sigmas_karras(1, 80.0, 80.0, 7.0), 80.0), // the only level is both ends
        (Grid::get_sigmas_exponential(1, 0.002, 80.0), 80.0),
        (Grid::get_sigmas_polyexponential(1, 0.002, 80.0, 1.0), 80.0),
        (Grid::kl_optimal(1, 0.002, 80.0), 80.0),
        (Grid::from_sigmas([80.0, 0.0]), 80.0),
        (Grid::new([80.0, 0.0]), 80.0),
        (Grid::karras(0, 0.002, 80.0, 7.0).then_data(), 80.0),
        (Grid::align_your_steps(1, AlignYourSteps::StableVideoDiffusion), 700.0),
    ] {
        assert_eq!(times(grid, &Edm), [noise, 0.0]);
    }
    let mut of_tables = vec![
        Grid::simple(1),
        Grid::normal(1),
        Grid::sgm_uniform(1),
        Grid::beta(1, 0.6, 0.6),
        Grid::align_your_steps(1, AlignYourSteps::StableDiffusion),
        Grid::ddpm_timesteps(1, Spacing::Trailing),
        Grid::dpm_solver_timesteps(1, Spacing::Linspace),
    ];
    of_tables.extend(SPACED.map(|spacing| Grid::scheduler_sigmas(1, spacing)));
    for grid in of_tables {
        let found = times(grid.clone(), &table);
        assert_eq!(found, [999.0, -1.0], "{grid:?}");
    }
    for grid in [
        Grid::uniform(1),
        Grid::uniform(1).shift(3.0),
        Grid::linear_quadratic(1, 0.025),
        Grid::flow_match_timesteps(1, 3.0),
        Grid::flux_timesteps(1, 4096),
    ] {
        assert_eq!(times(grid, &Flow), [1.0, 0.0]);
    }
    // and every scheme can take it
    let mut score = piadm::score::Mixture::new([1.0], ndarray::array![[0.5]], [0.3]).unwrap();
    score = score.predicting(Prediction::Data);
    let schemes = [Scheme::ddim(), Scheme::ddpm(), Scheme::euler(), Scheme::heun(), Scheme::dpmpp_2m()];
    for scheme in schemes.into_iter().chain([Scheme::dpmpp_2m_sde(), Scheme::default()]) {
        let grid = Grid::get_sigmas_karras(1, 0.002, 80.0, 7.0);
        let problem = Problem::new(Edm, grid, scheme.clone()).shape([1]);
        let solution = piadm::Sampler::sample(&piadm::Sequential, &problem, &mut score);
        let sample = solution.unwrap_or_else(|error| panic!("{scheme:?}: {error}")).samples[[0, 0]];
        assert!((sample - 0.5).abs() < 0.05, "{scheme:?}: {sample}");
    }
}

#[test]
fn comfy_spaces_entries_and_indices() {
    let table = Discrete::stable_diffusion();
    // rint(scipy.stats.beta.ppf(1 - i/20, 0.6, 0.6) * 999)
    let found = times(Grid::beta(20, 0.6, 0.6), &table);
    assert_eq!(found, BETA_TIMESTEPS);
    // 1000 - 1 - int(i * (1000 / 30))
    let found = times(Grid::simple(30), &table);
    for (i, t) in found[..30].iter().enumerate() {
        assert_eq!(*t, 999.0 - (i as f64 * (1000.0 / 30.0)).floor());
    }
    assert_eq!(times(Grid::simple(1000), &table)[..1000], times(Grid::table(999, Spacing::Trailing), &table));
    // log sigma linear in the index: mpmath for index 99.9
    let log = |k: f64| (table.sigma(k) / table.alpha(k)).ln();
    for (grid, steps) in [(Grid::normal(11), 10), (Grid::sgm_uniform(10), 10)] {
        let found = times(grid.clone(), &table);
        for (i, t) in found[..10].iter().enumerate() {
            let index = 999.0 * (steps - i) as f64 / steps as f64;
            let (low, part) = (index.floor(), index.fract());
            let expected = (1.0 - part) * log(low) + part * log((low + 1.0).min(999.0));
            assert!((log(*t) - expected).abs() < 1e-12, "{grid:?} {i}");
        }
        assert_eq!(found[found.len() - 1], -1.0);
    }
    assert_eq!(times(Grid::normal(11), &table)[10], 0.0);
    // More levels than entries are fine between them; entries are not taken twice.
    let small = table_of(10);
    assert_eq!(times(Grid::normal(25), &small).len() - 1, 25);
    assert_eq!(times(Grid::sgm_uniform(25), &small).len() - 1, 25);
    refused_number(Grid::simple(11).times(&small), "steps", 11);
    refused_number(Grid::beta(11, 0.6, 0.6).times(&small), "steps", 11);
    refused_number(Grid::beta(9, 0.6, 0.6).times(&small), "steps", 9);
    for grid in [Grid::simple(4), Grid::normal(4), Grid::sgm_uniform(4), Grid::beta(4, 0.6, 0.6)] {
        assert!(matches!(grid.times(&Flow), Err(Error::Unsupported { what: "a grid of table entries", .. })));
    }
    // The same by its own recurrence: eight equal steps of 0.025 / 8, then steps that grow by the same amount each.
    let found = times(Grid::linear_quadratic(16, 0.025), &Flow);
    for i in 0..8 {
        assert!((found[i] - found[i + 1] - 0.025 / 8.0).abs() < 1e-15);
    }
    let steps: Vec<f64> = found[8..].windows(2).map(|pair| pair[0] - pair[1]).collect();
    for three in steps.windows(3) {
        assert!((three[2] - 2.0 * three[1] + three[0]).abs() < 1e-15);
    }
    // Mochi's own figures at 64 steps: linear_quadratic_schedule(64, 0.025), numpy
    let found = times(Grid::linear_quadratic(64, 0.025), &Flow);
    for (i, t) in LINEAR_QUADRATIC {
        assert!((found[i] - t).abs() < 1e-14, "{i}");
    }
    refused(Grid::linear_quadratic(3, 0.4).times(&Flow), "threshold");
}

#[test]
fn align_your_steps_is_the_published_table() {
    let models = [
        (AlignYourSteps::StableDiffusion, 14.615, 0.152),
        (AlignYourSteps::StableDiffusionXl, 14.615, 0.113),
        (AlignYourSteps::DeepFloydIf, 160.41, 0.030),
        (AlignYourSteps::StableVideoDiffusion, 700.0, 0.034),
    ];
    for (model, first, ninth) in models {
        let ten = times(Grid::align_your_steps(10, model), &Edm);
        assert_eq!((ten.len(), ten[0], ten[9], ten[10]), (11, first, ninth, 0.0));
        // with twice the steps, geometric means lie between
        let twenty = times(Grid::align_your_steps(20, model), &Edm);
        assert_eq!((twenty.len(), twenty[0], twenty[18], twenty[20]), (21, first, ninth, 0.0));
        for i in 0..9 {
            assert!((twenty[2 * i + 1] / (ten[i] * ten[i + 1]).sqrt() - 1.0).abs() < 1e-14);
        }
        assert_eq!(model.to_string().parse::<AlignYourSteps>().unwrap(), model);
    }
    // loglinear_interp of the authors, numpy, seven steps of Stable Diffusion
    let found = times(Grid::align_your_steps(7, AlignYourSteps::StableDiffusion), &Edm);
    assert_close(&found[..7], &AYS_SEVEN, 1e-14);
    // The timesteps that are published beside the sigmas.
    let published = [999.0, 850.0, 736.0, 645.0, 545.0, 455.0, 343.0, 233.0, 124.0, 24.0];
    let found = times(Grid::align_your_steps(10, AlignYourSteps::StableDiffusion), &Discrete::stable_diffusion());
    for (ours, theirs) in found.iter().zip(published) {
        assert!((ours - theirs).abs() < 1.0, "{ours} for {theirs}");
    }
    refused(
        Grid::align_your_steps(10, AlignYourSteps::StableVideoDiffusion).times(&Discrete::stable_diffusion()),
        "sigmas",
    );
}

#[test]
fn a_shift_multiplies_the_ratio() {
    for shift in [0.5, 1.0, 3.0, 1.15f64.exp()] {
        let moved = |t: f64| shift * t / (1.0 + (shift - 1.0) * t);
        for grid in [Grid::uniform(10), Grid::linear_quadratic(10, 0.025), Grid::new([0.9, 0.4, 0.0])] {
            let (before, after) = (times(grid.clone(), &Flow), times(grid.shift(shift), &Flow));
            for (before, after) in before.iter().zip(&after) {
                assert!((after - moved(*before)).abs() < 1e-15, "{shift}: {before} to {after}");
            }
        }
        // The same on any schedule, and the data stay.
        for (schedule, t_max, t_min) in schedules() {
            let grid = Grid::log_snr(6).between(t_max, t_min);
            let reached =
                shift <= 1.0 || schedule.range().1 == f64::INFINITY || schedule.alpha(schedule.range().1) == 0.0;
            let shifted = grid.clone().shift(shift).then_data().times(&*schedule);
            if !reached {
                refused(shifted, "shift");
                continue;
            }
            let (before, after) = (times(grid, &*schedule), shifted.unwrap());
            let expected: Vec<f64> = ratios(&*schedule, &before).iter().map(|ratio| ratio * shift).collect();
            assert_close(&ratios(&*schedule, &after[..7]), &expected, 1e-10);
            assert_eq!(after[7], schedule.range().0);
        }
    }
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        refused(Grid::uniform(4).shift(bad).times(&Flow), "shift");
    }
    // The bits of no shift are those without.
    assert_eq!(Grid::uniform(7).shift(1.0), Grid::uniform(7));
    // Flux: mu at its two ends, and half way between.
    let middle = |tokens| times(Grid::flux_timesteps(2, tokens), &Flow)[1];
    for (tokens, mu) in [(256, 0.5f64), (4096, 1.15), (2176, 0.825)] {
        assert!((middle(tokens) - mu.exp() / (mu.exp() + 1.0)).abs() < 1e-14);
    }
}
