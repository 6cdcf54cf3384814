//! Time grids: numbers computed independently (numpy, mpmath), properties of the builders, and refusals.

use piadm::Error;
use piadm::grid::{MAX_STEPS, Resolution, TimeGrid};
use piadm::schedule::{Discrete, Edm, Flow, NoiseSchedule, Ou, Ve, VpCosine, VpLinear};

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64], relative: f64) {
    assert_eq!(found.len(), expected.len());
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= relative * b.abs(), "point {i}: {a:e} instead of {b:e}");
    }
}

/// A uniform, a log-SNR and a PIADM grid for each schedule, with its ends.
fn schedules() -> [(Box<dyn NoiseSchedule>, f64, f64); 7] {
    [
        (Box::new(Ou), 8.0, 1e-3),
        (Box::new(VpLinear::default()), 1.0, 1e-5),
        (Box::new(VpCosine::default()), 0.9946, 1e-3),
        (Box::new(Discrete::linear(1000, 1e-4, 0.02).unwrap()), 999.0, 0.0),
        (Box::new(Ve), 6400.0, 4e-6),
        (Box::new(Edm), 80.0, 0.002),
        (Box::new(Flow), 0.999, 0.001),
    ]
}

#[test]
fn uniform_steps_are_equal() {
    let grid = TimeGrid::uniform(3.0, -1.0, 7).unwrap();
    let expected: Vec<f64> = (0..8).map(|i| 3.0 - 4.0 * f64::from(i) / 7.0).collect();
    assert_eq!(grid.steps(), 7);
    for (a, b) in grid.times().iter().zip(&expected) {
        assert!((a - b).abs() < 1e-15);
    }
    assert_eq!(TimeGrid::uniform(0.3, 0.1, 1).unwrap().times(), &[0.3, 0.1]);
    // Ends of opposite sign whose distance is no f64.
    let wide = TimeGrid::uniform(f64::MAX, f64::MIN, 2).unwrap();
    assert_eq!(wide.times(), &[f64::MAX, 0.0, f64::MIN]);
}

#[test]
fn log_snr_steps_are_equal() {
    for (schedule, t_max, t_min) in schedules() {
        let grid = TimeGrid::log_snr(&*schedule, t_max, t_min, 50).unwrap();
        assert_eq!(grid.steps(), 50);
        assert_eq!((grid.times()[0], grid.times()[50]), (t_max, t_min));
        let lambda: Vec<f64> = grid.times().iter().map(|&t| schedule.log_snr(t)).collect();
        let h = (lambda[50] - lambda[0]) / 50.0;
        for pair in lambda.windows(2) {
            assert!((pair[1] - pair[0] - h).abs() < 1e-12, "{schedule:?}");
        }
    }
    // The middle of [1e-3, 1] in log-SNR, by mpmath.
    let middle = TimeGrid::log_snr(&VpLinear::default(), 1.0, 1e-3, 2).unwrap().times()[1];
    assert_close(&[middle], &[0.30463140976877486], 1e-14);
}

#[test]
fn karras_is_the_published_formula() {
    // (80^(1/7) + i/5 (0.002^(1/7) - 80^(1/7)))^7, by mpmath.
    let expected = [80.0, 24.40834178658011, 5.838947631011887, 0.9654169263318948, 0.08508720268939023, 0.002];
    let grid = TimeGrid::karras(&Edm, 0.002, 80.0, 7.0, 5).unwrap();
    assert_close(grid.times(), &expected, 1e-14);
    assert_eq!((grid.times()[0], grid.times()[5]), (80.0, 0.002));
    // The same ratios sigma/alpha for other schedules; Ve has sigma^2 for time.
    let squares = expected.map(|ratio| ratio * ratio);
    assert_close(TimeGrid::karras(&Ve, 0.002, 80.0, 7.0, 5).unwrap().times(), &squares, 1e-14);
    for schedule in [&Ou as &dyn NoiseSchedule, &VpLinear::default(), &Flow] {
        let grid = TimeGrid::karras(schedule, 0.002, 80.0, 7.0, 5).unwrap();
        let ratios: Vec<f64> = grid.times().iter().map(|&t| (-schedule.log_snr(t)).exp()).collect();
        assert_close(&ratios, &expected, 1e-12);
    }
    // rho = 1 is uniform in sigma, rho to infinity geometric; neither extreme overflows.
    assert_close(TimeGrid::karras(&Edm, 1.0, 4.0, 1.0, 3).unwrap().times(), &[4.0, 3.0, 2.0, 1.0], 1e-15);
    assert_close(TimeGrid::karras(&Edm, 1.0, 8.0, 1e300, 3).unwrap().times(), &[8.0, 4.0, 2.0, 1.0], 1e-15);
    let steep = TimeGrid::karras(&Edm, 1.0, 4.0, 1e-3, 2).unwrap();
    assert_close(steep.times(), &[4.0, 4.0 * 0.5f64.powf(1e-3), 1.0], 1e-15);
}

#[test]
fn karras_reaches_the_ends_of_a_table() {
    // The extreme sigmas as somebody computes them in f32 from the table.
    let table = Discrete::scaled_linear(1000, 0.00085, 0.012).unwrap();
    let sigma = |k: usize| {
        let a = table.alphas_cumprod()[k] as f32;
        f64::from(((1.0 - a) / a).sqrt())
    };
    let grid = TimeGrid::karras(&table, sigma(0), sigma(999), 7.0, 20).unwrap();
    assert!((grid.times()[0] - 999.0).abs() < 1e-3 && grid.times()[20].abs() < 1e-3);
    // Within a millionth above the end it is the end, beyond it is an error.
    let top = table.sigma(999.0) / table.alpha(999.0);
    let grid = TimeGrid::karras(&table, 0.1, top * (1.0 + 5e-7), 7.0, 20).unwrap();
    assert_eq!(grid.times()[0], 999.0);
    refused(TimeGrid::karras(&table, 0.1, 14.7, 7.0, 20), "sigma_max");
}

#[test]
fn piadm_cuts_blocks_and_shrinks_steps() {
    let (t_max, t_min, eps) = (4.3, 0.01, 0.1);
    let grid = TimeGrid::piadm(&Ou, t_max, t_min, 1.0, Resolution::Step(eps)).unwrap();
    let times = grid.times();
    // Clock lengths: 1, 1, 1, 0.3 + log(1/0.3) = 1.504 and log 30 = 3.401.
    assert_eq!(grid.steps(), 10 + 10 + 10 + 16 + 35);
    for (index, end) in [(0, 4.3), (10, 3.3), (20, 2.3), (30, 1.3), (46, 0.3), (81, 0.01)] {
        assert!((times[index] - end).abs() < 1e-15, "block end {end}");
    }
    assert_eq!((times[0], times[81]), (t_max, t_min));
    for (i, pair) in times.windows(2).enumerate() {
        let step = pair[0] - pair[1];
        // Never longer than e min(1, t): below 1 the clock is log t, and 1 - e^{-e} < e.
        assert!(step <= eps * pair[0].min(1.0) * (1.0 + 1e-12), "step {i}");
        if i >= 46 {
            assert!(((pair[0] / pair[1]).ln() - 30f64.ln() / 35.0).abs() < 1e-13, "geometric at {i}");
        }
    }
}

#[test]
fn piadm_spends_a_given_number_of_steps() {
    // Seven blocks of 6.5 -> 0.01; counts and times from an independent numpy version.
    let grid = TimeGrid::piadm(&Ou, 6.5, 0.01, 1.0, Resolution::Steps(40)).unwrap();
    let picked: Vec<f64> = [1, 15, 20, 25, 30, 39].iter().map(|&i| grid.times()[i]).collect();
    let expected = [6.25, 2.75, 1.5, 0.5, 0.13572088082974537, 0.01297970036552327];
    assert_eq!(grid.steps(), 40);
    assert_close(&picked, &expected, 1e-14);
    // One step for each block, although the last has most of the clock.
    let grid = TimeGrid::piadm(&Ou, 6.5, 0.01, 1.0, Resolution::Steps(7)).unwrap();
    assert_eq!(grid.times(), &[6.5, 5.5, 4.5, 3.5, 2.5, 1.5, 0.5, 0.01]);
    // Any number from the number of blocks on is hit exactly.
    for n in 7..200 {
        let grid = TimeGrid::piadm(&Ou, 6.5, 0.01, 1.0, Resolution::Steps(n)).unwrap();
        assert_eq!(grid.steps(), n);
        for end in [5.5, 4.5, 3.5, 2.5, 1.5, 0.5] {
            assert!(grid.times().contains(&end), "{n} steps, block end {end}");
        }
    }
}

#[test]
fn piadm_ignores_rounding_in_block_and_step_counts() {
    // 0.3 / 0.1 and 0.7 / 0.1 are not integers in f64.
    for (t_max, t_min, blocks) in [(1.3, 1.0, 3), (1.7, 1.0, 7), (2.1, 2.0, 1)] {
        let coarse = TimeGrid::piadm(&Ou, t_max, t_min, 0.1, Resolution::Step(1.0)).unwrap();
        assert_eq!(coarse.steps(), blocks);
        let fine = TimeGrid::piadm(&Ou, t_max, t_min, 0.1, Resolution::Step(0.01)).unwrap();
        assert_eq!(fine.steps(), 10 * blocks);
    }
    // A block longer than the grid is one block.
    let one = TimeGrid::piadm(&Ou, 3.0, 2.0, 100.0, Resolution::Steps(4)).unwrap();
    assert_eq!(one.times(), &[3.0, 2.75, 2.5, 2.25, 2.0]);
}

#[test]
fn piadm_has_the_same_noise_levels_for_every_schedule() {
    let build = |s: &dyn NoiseSchedule| TimeGrid::piadm(s, 5.0, 0.05, 1.0, Resolution::Step(0.2));
    let reference = build(&Ou).unwrap();
    for (schedule, ..) in schedules() {
        let grid = build(&*schedule).unwrap();
        assert_eq!(grid.steps(), reference.steps());
        for (&t, &tau) in grid.times().iter().zip(reference.times()) {
            let error = schedule.log_snr(t) - Ou.log_snr(tau);
            assert!(error.abs() < 1e-12, "{schedule:?} {t} {tau}");
        }
    }
    assert_eq!(build(&Flow).unwrap().times().len(), reference.times().len());
}

#[test]
fn index_spacings_are_those_of_diffusers() {
    // numpy: arange(0, n) * (N // n) + 1; round(arange(N, 0, -N/n)) - 1; round(linspace(0, N-1, n)).
    let check = |grid: TimeGrid, first: [f64; 5], last: [f64; 3], sum: f64| {
        let times = grid.times();
        assert_eq!(times[..5], first);
        assert_eq!(times[times.len() - 3..], last);
        assert_eq!(times.iter().sum::<f64>(), sum);
    };
    let first = [941.0, 921.0, 901.0, 881.0, 861.0];
    check(TimeGrid::leading(1000, 47, 1).unwrap(), first, [41.0, 21.0, 1.0], 22608.0);
    // N/n = 20.83..: 937.5 goes to 937 in f64, as it does in numpy.
    let first = [999.0, 978.0, 957.0, 936.0, 916.0];
    check(TimeGrid::trailing(1000, 47).unwrap(), first, [61.0, 41.0, 20.0], 24448.0);
    let first = [999.0, 979.0, 959.0, 939.0, 919.0];
    check(TimeGrid::trailing(1000, 49).unwrap(), first, [59.0, 39.0, 19.0], 25450.0);
    let first = [999.0, 978.0, 956.0, 935.0, 914.0];
    check(TimeGrid::linspace(1000, 47).unwrap(), first, [43.0, 21.0, 0.0], 23976.0);
    // Halves go to even: 832.5 and 499.5 and 166.5.
    let halves = TimeGrid::linspace(1000, 6).unwrap();
    assert_eq!(halves.times(), &[999.0, 832.0, 666.0, 500.0, 333.0, 166.0, 0.0]);
    let halves = TimeGrid::trailing(1000, 15).unwrap();
    assert_eq!(halves.times()[..6], [999.0, 937.0, 874.0, 811.0, 749.0, 687.0]);
    // All indices of the table.
    let all: Vec<f64> = (0..50).rev().map(f64::from).collect();
    for grid in [TimeGrid::leading(50, 49, 0), TimeGrid::trailing(50, 49), TimeGrid::linspace(50, 49)] {
        assert_eq!(grid.unwrap().times(), all);
    }
    for steps in 1..1000 {
        let table = Discrete::cosine(1000).unwrap();
        for grid in
            [TimeGrid::leading(1000, steps, 0), TimeGrid::trailing(1000, steps), TimeGrid::linspace(1000, steps)]
        {
            let grid = grid.unwrap();
            assert_eq!(grid.steps(), steps);
            grid.check(&table).unwrap();
        }
    }
}

#[test]
fn then_data_appends_the_step_to_sigma_zero() {
    let table = Discrete::cosine(100).unwrap();
    let grid = TimeGrid::leading(100, 9, 0).unwrap().then_data(&table).unwrap();
    assert_eq!(grid.steps(), 10);
    assert_eq!(grid.times()[9..], [0.0, -1.0]);
    // It is there already, the grid is of another schedule, or the schedule does not know the data.
    assert!(matches!(grid.clone().then_data(&table), Err(Error::GridOrder { index: 11, .. })));
    assert!(matches!(grid.then_data(&Flow), Err(Error::GridRange { index: 0, .. })));
    #[derive(Debug)]
    struct Cut;
    impl NoiseSchedule for Cut {
        fn log_alpha(&self, t: f64) -> f64 {
            Ou.log_alpha(t)
        }
        fn sigma(&self, t: f64) -> f64 {
            Ou.sigma(t)
        }
        fn time_of_log_snr(&self, lambda: f64) -> f64 {
            Ou.time_of_log_snr(lambda).clamp(0.1, 9.0)
        }
        fn range(&self) -> (f64, f64) {
            (0.1, 9.0)
        }
        fn rates(&self, t: f64) -> (f64, f64) {
            Ou.rates(t)
        }
    }
    refused(TimeGrid::uniform(1.0, 0.5, 2).unwrap().then_data(&Cut), "schedule.range().0");
    // Nor has it noise levels below its first time.
    refused(TimeGrid::karras(&Cut, 0.1, 2.0, 7.0, 2), "sigma_min");
    assert!(TimeGrid::karras(&Cut, 0.4, 2.0, 7.0, 2).is_ok());
}

#[track_caller]
fn refused(result: piadm::Result<TimeGrid>, setting: &str) {
    match result {
        Err(Error::Setting { name, .. }) => assert_eq!(name, setting),
        other => panic!("{other:?} instead of a refusal of {setting}"),
    }
}

#[test]
fn times_must_be_finite_and_strictly_decrease() {
    use Error::{GridLength, GridNotFinite, GridOrder};
    assert!(matches!(TimeGrid::new([]), Err(GridLength { points: 0, .. })));
    assert!(matches!(TimeGrid::new([1.0]), Err(GridLength { points: 1, .. })));
    assert!(matches!(TimeGrid::new(vec![0.0; MAX_STEPS + 2]), Err(GridLength { max, .. }) if max == MAX_STEPS + 1));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(matches!(TimeGrid::new([2.0, bad, 1.0]), Err(GridNotFinite { index: 1, .. })));
    }
    assert!(matches!(TimeGrid::new([2.0, 1.0, 1.0]), Err(GridOrder { index: 2, .. })));
    assert!(matches!(TimeGrid::new([2.0, 3.0, 1.0]), Err(GridOrder { index: 1, .. })));
    let outside = TimeGrid::new([0.9, 0.5, -0.1]).unwrap().check(&Flow);
    assert!(matches!(outside, Err(Error::GridRange { index: 2, .. })));
}

#[test]
fn bad_lengths_are_refused_by_every_builder_without_allocating() {
    let table = Discrete::linear(10, 1e-4, 0.02).unwrap();
    for steps in [0, MAX_STEPS + 1, usize::MAX] {
        for grid in [
            TimeGrid::uniform(1.0, 0.0, steps),
            TimeGrid::log_snr(&Ou, 1.0, 0.1, steps),
            TimeGrid::karras(&Edm, 0.1, 1.0, 7.0, steps),
            TimeGrid::piadm(&Ou, 1.0, 0.1, 0.5, Resolution::Steps(steps)),
            TimeGrid::leading(1000, steps, 0),
            TimeGrid::trailing(1000, steps),
            TimeGrid::linspace(1000, steps),
        ] {
            assert!(matches!(grid, Err(Error::Setting { name: "steps", .. })), "{grid:?}");
        }
    }
    for tiny in [1e-9, 1e-300, f64::MIN_POSITIVE / 4.0] {
        let by_step = TimeGrid::piadm(&Ou, 9.0, 0.1, 1.0, Resolution::Step(tiny));
        assert!(matches!(by_step, Err(Error::GridLength { .. })));
        let by_block = TimeGrid::piadm(&Ou, 9.0, 0.1, tiny, Resolution::Step(1.0));
        assert!(matches!(by_block, Err(Error::GridLength { .. })));
    }
    // Points that collide in f64.
    let (one, next) = (1.0, 1.0 + f64::EPSILON);
    for grid in [
        TimeGrid::uniform(next, one, 2),
        TimeGrid::log_snr(&Edm, next, one, 3),
        TimeGrid::karras(&Edm, one, next, 7.0, 3),
        TimeGrid::piadm(&Ou, next, one, 1.0, Resolution::Steps(3)),
    ] {
        assert!(matches!(grid, Err(Error::GridOrder { .. })), "{grid:?}");
    }
    refused(TimeGrid::leading(10, 10, 0), "steps");
    refused(TimeGrid::trailing(10, 10), "steps");
    refused(TimeGrid::linspace(10, 10), "steps");
    refused(TimeGrid::trailing(0, 1), "n_train");
    refused(TimeGrid::linspace(usize::MAX, 1), "n_train");
    refused(TimeGrid::leading(10, 4, 2), "offset");
    refused(TimeGrid::leading(10, 4, usize::MAX), "offset");
    assert!(TimeGrid::leading(10, 4, 1).unwrap().check(&table).is_ok());
}

#[test]
fn bad_numbers_are_refused_by_every_builder() {
    let step = Resolution::Step(0.1);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refused(TimeGrid::uniform(bad, 0.0, 2), "t_max");
        refused(TimeGrid::uniform(1.0, bad, 2), "t_min");
        refused(TimeGrid::log_snr(&Ou, bad, 0.1, 2), "t_max");
        refused(TimeGrid::log_snr(&Ou, 1.0, bad, 2), "t_min");
        refused(TimeGrid::piadm(&Ou, bad, 0.1, 1.0, step), "t_max");
    }
    for bad in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
        refused(TimeGrid::karras(&Edm, bad, 1.0, 7.0, 2), "sigma_min");
        refused(TimeGrid::karras(&Edm, 0.1, bad, 7.0, 2), "sigma_max");
        refused(TimeGrid::karras(&Edm, 0.1, 1.0, bad, 2), "rho");
        refused(TimeGrid::piadm(&Ou, 2.0, bad, 1.0, step), "t_min");
        refused(TimeGrid::piadm(&Ou, 2.0, 0.1, bad, step), "h");
        refused(TimeGrid::piadm(&Ou, 2.0, 0.1, 1.0, Resolution::Step(bad)), "Resolution::Step");
    }
    for (t_max, t_min) in [(0.5, 0.5), (0.1, 0.5)] {
        refused(TimeGrid::uniform(t_max, t_min, 2), "t_max");
        refused(TimeGrid::log_snr(&Ou, t_max, t_min, 2), "t_max");
        refused(TimeGrid::piadm(&Ou, t_max, t_min, 1.0, step), "t_max");
        refused(TimeGrid::karras(&Edm, t_min, t_max, 7.0, 2), "sigma_max");
    }
    refused(TimeGrid::piadm(&Ou, 6.5, 0.01, 1.0, Resolution::Steps(6)), "Resolution::Steps");
    // Infinite log-SNR, and times or noise levels that the schedule does not have.
    refused(TimeGrid::log_snr(&Flow, 1.0, 0.1, 2), "t_max");
    refused(TimeGrid::log_snr(&Flow, 0.9, 0.0, 2), "t_min");
    assert!(matches!(TimeGrid::log_snr(&Flow, 1.5, 0.1, 2), Err(Error::GridRange { index: 0, .. })));
    assert!(matches!(TimeGrid::log_snr(&Flow, 0.5, -0.1, 2), Err(Error::GridRange { index: 2, .. })));
    refused(TimeGrid::karras(&VpLinear::default(), 0.002, 200.0, 7.0, 2), "sigma_max");
    refused(TimeGrid::piadm(&VpLinear::default(), 11.0, 0.1, 1.0, step), "t_max");
    let table = Discrete::linear(1000, 1e-4, 0.02).unwrap();
    assert!(TimeGrid::karras(&table, 1e-6, 100.0, 7.0, 20).is_ok()); // entry 0 is not the end: -1 is
}

#[test]
fn serde_keeps_the_invariants() {
    // Dyadic times: serde_json reads other decimals to the last bit only with its float_roundtrip feature.
    let grid = TimeGrid::uniform(1.0, 0.0, 4).unwrap();
    let json = serde_json::to_string(&grid).unwrap();
    assert_eq!(json, "[1.0,0.75,0.5,0.25,0.0]");
    assert_eq!(serde_json::from_str::<TimeGrid>(&json).unwrap(), grid);
    let error = serde_json::from_str::<TimeGrid>("[1.0, 2.0]").unwrap_err();
    assert!(error.to_string().contains("strictly decrease"), "{error}");
    let setting = Resolution::Step(0.25);
    let json = serde_json::to_string(&setting).unwrap();
    assert_eq!(serde_json::from_str::<Resolution>(&json).unwrap(), setting);
}
