//! Where grids begin and end: the last step to the data, ends that nobody set.

use crate::*;

#[test]
fn then_data_appends_the_step_to_sigma_zero() {
    let table = Discrete::cosine(100).unwrap();
    let found = times(Grid::table(9, SPACINGS[0]).then_data(), &table);
    assert_eq!(found.len() - 1, 10);
    assert_eq!(found[9..], [0.0, -1.0]);
    // It is there already, the grid is of another schedule, or the schedule does not know the data.
    let again = Grid::new(found).then_data();
    assert!(matches!(again.times(&table), Err(Error::GridOrder { index: 11, .. })));
    assert!(matches!(again.times(&Flow), Err(Error::GridRange { index: 0, .. })));
    assert!(matches!(Grid::uniform(4).then_data().times(&Flow), Err(Error::GridEnd { end: "t_min", .. })));
    // The grids of published samplers have it.
    let published = [
        Grid::ddpm_timesteps(4, Spacing::Trailing),
        Grid::dpm_solver_timesteps(4, Spacing::Linspace),
        Grid::euler_timesteps(4, Spacing::Linspace),
        Grid::get_sigmas_karras(4, 0.03, 10.0, 7.0),
    ];
    for grid in published {
        let sd = Discrete::stable_diffusion();
        assert_eq!(times(grid.clone(), &sd).len(), 5);
        assert!(matches!(grid.then_data().times(&sd), Err(Error::GridOrder { index: 5, .. })));
    }
    // What is before it is told as it was given.
    assert!(matches!(Grid::new([]).then_data().times(&Flow), Err(Error::GridLength { points: 0, .. })));
    let not_finite = Grid::new([0.5, f64::NAN]).then_data().times(&Flow);
    assert!(matches!(not_finite, Err(Error::GridNotFinite { index: 1, .. })));
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
    refused(Grid::uniform(2).between(1.0, 0.5).then_data().times(&Cut), "schedule.range().0");
    // Nor has it noise levels below its first time.
    refused(Grid::karras(2, 0.1, 2.0, 7.0).times(&Cut), "sigma_min");
    assert!(Grid::karras(2, 0.4, 2.0, 7.0).times(&Cut).is_ok());
}

#[test]
fn then_data_goes_with_no_step_at_all() {
    let sd = Discrete::stable_diffusion();
    let none = Resolution::Steps(0);
    let cases: [(Grid, &dyn NoiseSchedule, [f64; 2]); 16] = [
        (Grid::new([0.7]), &Flow, [0.7, 0.0]),
        (Grid::uniform(0).between(0.7, 0.2), &Flow, [0.7, 0.0]),
        (Grid::uniform(0), &Flow, [1.0, 0.0]),
        (Grid::log_snr(0), &VpLinear::default(), [1.0, 0.0]),
        (Grid::log_snr(0).between(0.9, 0.0), &VpLinear::default(), [0.9, 0.0]),
        (Grid::piadm(1.0, none), &VpLinear::default(), [1.0, 0.0]),
        (Grid::uniform(0), &sd, [999.0, -1.0]),
        (Grid::log_snr(0).between(0.7, 0.2), &Flow, [0.7, 0.0]),
        (Grid::log_snr(0), &sd, [999.0, -1.0]),
        (Grid::karras(0, 0.002, 80.0, 7.0), &Edm, [80.0, 0.0]),
        (Grid::karras(0, 0.002, 80.0, 7.0), &Ve, [6400.0, 0.0]),
        (Grid::piadm(1.0, none).between(3.0, 0.25), &Ou, [3.0, 0.0]),
        (Grid::piadm(1.0, none).between(3.0, 0.25), &Edm, [(3f64.exp() - 1.0).sqrt(), 0.0]),
        (Grid::table(0, Spacing::Leading { offset: 1 }), &sd, [1.0, -1.0]),
        (Grid::table(0, Spacing::Trailing), &sd, [999.0, -1.0]),
        (Grid::table(0, Spacing::Linspace), &sd, [0.0, -1.0]),
    ];
    for (grid, schedule, [noise, data]) in cases {
        let found = times(grid.clone().then_data(), schedule);
        assert_eq!((found.len(), found[1]), (2, data), "{grid:?}");
        assert!((found[0] - noise).abs() <= 1e-14 * noise, "{grid:?}: {found:?}");
        // Without the data it is no grid.
        match grid.times(schedule) {
            Err(Error::GridLength { points, .. }) => assert_eq!((points, grid), (1, Grid::new([0.7]))),
            result => refused_number(result, "steps", 0),
        }
    }
    // The grids of published samplers count the step to the data.
    for (grid, noise) in [
        (Grid::ddpm_timesteps(1, Spacing::Leading { offset: 1 }), 1.0),
        (Grid::dpm_solver_timesteps(1, Spacing::Leading { offset: 1 }), 501.0),
        (Grid::dpm_solver_timesteps(1, Spacing::Linspace), 999.0),
        (Grid::euler_timesteps(1, Spacing::Linspace), 0.0),
    ] {
        assert_eq!(times(grid, &sd), [noise, -1.0]);
    }
    assert_eq!(times(Grid::get_sigmas_karras(1, 0.002, 80.0, 7.0), &Edm), [80.0, 0.0]);
    // A single entry is enough.
    for spacing in SPACINGS {
        assert_eq!(times(Grid::table(0, spacing).then_data(), &table_of(1)), [0.0, -1.0]);
        assert_eq!(times(Grid::ddpm_timesteps(1, spacing), &table_of(1)), [0.0, -1.0]);
        assert_eq!(times(Grid::log_snr(0).then_data(), &table_of(1)), [0.0, -1.0]);
    }
}

#[test]
fn the_ends_are_those_of_the_schedule_unless_they_are_given() {
    assert_eq!(times(Grid::uniform(4), &Line(-2.0, 2.0)), [2.0, 1.0, 0.0, -1.0, -2.0]);
    assert_eq!(times(Grid::uniform(2), &VpLinear::default()), [1.0, 0.5, 0.0]);
    assert_eq!(times(Grid::uniform(2), &Flow), [1.0, 0.5, 0.0]);
    let found = times(Grid::log_snr(4), &Line(1.0, 5.0));
    assert_eq!((found[0], found[4]), (5.0, 1.0));
    assert_close(&found, &[5.0, 4.0, 3.0, 2.0, 1.0], 1e-14);
    // Of a table the first entry is the end, not the data before it.
    for (table, last) in [(Discrete::stable_diffusion(), 999.0), (table_of(7), 6.0)] {
        assert_eq!(times(Grid::uniform(2), &table), [last, last / 2.0, 0.0]);
        for grid in [Grid::uniform(20), Grid::log_snr(20), Grid::log_snr(20).then_data()] {
            let found = times(grid.clone(), &table);
            assert_eq!((found[0], found[20]), (last, 0.0), "{grid:?}");
            assert_eq!(found[21..], [-1.0][..found.len() - 21]);
            assert_eq!(found, times(grid.between(last, 0.0), &table));
        }
        // PIADM's are the same noise levels, in OU time.
        let tau = |t: f64| (1.0 + (table.sigma(t) / table.alpha(t)).powi(2)).ln();
        for resolution in [Resolution::Step(0.1), Resolution::Steps(40)] {
            let found = times(Grid::piadm(1.0, resolution), &table);
            assert!((found[0] - last).abs() < 1e-9 && found[found.len() - 1].abs() < 1e-9);
            let given = times(Grid::piadm(1.0, resolution).between(tau(last), tau(0.0)), &table);
            assert_eq!(found.len(), given.len());
            assert!(found.iter().zip(&given).all(|(a, b)| (a - b).abs() < 1e-9));
        }
    }
    // sigma = 0 at the data is an end for equal times alone, as alpha = 0 is.
    let table = Discrete::new(vec![0.9, 0.5, 0.0]).unwrap();
    assert_eq!(times(Grid::uniform(2), &table), [2.0, 1.0, 0.0]);
    no_end(Grid::log_snr(2), &table, "t_max", 2.0);
}

#[test]
fn the_range_of_a_network_narrows_the_ends() {
    struct Trained(f64, f64);
    impl Model for Trained {
        fn prediction(&self) -> Prediction {
            Prediction::Noise
        }
        fn time_range(&self) -> Option<(f64, f64)> {
            Some((self.0, self.1))
        }
    }
    let ends = |schedule: &Arc<dyn NoiseSchedule>, grid: Grid, model: Trained| {
        let problem = Problem::new(schedule.clone(), grid, Scheme::ddim()).shape([1]);
        let prepared = problem.prepare(&model)?;
        let nodes = prepared.list(0).nodes();
        piadm::Result::Ok((nodes[0].level.t, nodes[nodes.len() - 1].level.t))
    };
    let vp: Arc<dyn NoiseSchedule> = Arc::new(VpLinear::default());
    let ou: Arc<dyn NoiseSchedule> = Arc::new(Ou);
    let sd: Arc<dyn NoiseSchedule> = Arc::new(Discrete::stable_diffusion());
    for grid in [Grid::uniform(4), Grid::log_snr(4)] {
        assert_eq!(ends(&vp, grid.clone(), Trained(1e-3, 0.9)).unwrap(), (0.9, 1e-3));
        assert_eq!(ends(&vp, grid.clone(), Trained(1e-3, 2.0)).unwrap(), (1.0, 1e-3));
        assert_eq!(ends(&ou, grid.clone(), Trained(1e-3, 8.0)).unwrap(), (8.0, 1e-3));
        assert_eq!(ends(&sd, grid.clone(), Trained(-1.0, 1000.0)).unwrap(), (999.0, 0.0));
        assert_eq!(ends(&sd, grid.clone(), Trained(10.0, 980.0)).unwrap(), (980.0, 10.0));
        // Those that are given stay.
        let given = ends(&vp, grid.clone().between(0.8, 0.1), Trained(1e-3, 0.9));
        assert_eq!(given.unwrap(), (0.8, 0.1));
        let outside = ends(&vp, grid.between(1.0, 0.1), Trained(1e-3, 0.9));
        assert!(matches!(outside, Err(Error::TimeRange { time: 1.0, .. })));
    }
    for resolution in [Resolution::Step(0.1), Resolution::Steps(40)] {
        for (schedule, min, max) in [(&vp, 1e-3, 0.9), (&ou, 1e-3, 8.0), (&sd, 10.0, 980.0)] {
            let (first, last) = ends(schedule, Grid::piadm(1.0, resolution), Trained(min, max)).unwrap();
            assert!((first - max).abs() < 1e-9 && (last - min).abs() < 1e-9, "{first} to {last}");
        }
    }
    let infinite = ends(&ou, Grid::uniform(4), Trained(1e-3, f64::INFINITY));
    assert!(matches!(infinite, Err(Error::GridEnd { end: "t_max", .. })));
}

#[track_caller]
fn no_end(grid: Grid, schedule: &dyn NoiseSchedule, which: &str, at: f64) {
    match grid.times(schedule) {
        Err(Error::GridEnd { end, time }) => assert_eq!((end, time), (which, at), "{grid:?}"),
        other => panic!("{grid:?}: {other:?}"),
    }
}

#[test]
fn an_end_that_no_grid_can_have_must_be_given() {
    let equal_levels =
        [Grid::log_snr(4), Grid::piadm(1.0, Resolution::Step(0.1)), Grid::piadm(1.0, Resolution::Steps(9))];
    for grid in [Grid::uniform(4)].iter().chain(&equal_levels) {
        for grid in [grid.clone(), grid.clone().then_data()] {
            for schedule in [&Ou as &dyn NoiseSchedule, &Ve, &Edm, &EVERYWHERE] {
                no_end(grid.clone(), schedule, "t_max", f64::INFINITY);
            }
            no_end(grid.clone(), &Line(f64::NEG_INFINITY, 1.0), "t_min", f64::NEG_INFINITY);
            assert!(grid.between(2.0, 0.1).times(&Ou).is_ok());
        }
    }
    for grid in equal_levels {
        no_end(grid.clone(), &VpLinear::default(), "t_min", 0.0); // sigma = 0
        no_end(grid.clone(), &Flow, "t_max", 1.0); // alpha = 0
        assert!(grid.between(0.9, 0.1).times(&Flow).is_ok());
    }
    let message = Grid::log_snr(4).times(&VpLinear::default()).unwrap_err().to_string();
    assert!(message.contains("t_min = 0") && message.contains("Grid::between(t_max, t_min)"), "{message}");
}
