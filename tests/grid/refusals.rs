//! What is no grid, and what the errors say.

use crate::*;

/// A table of a length that no table can have.
#[derive(Debug)]
struct Long(usize);

impl NoiseSchedule for Long {
    fn log_alpha(&self, t: f64) -> f64 {
        Ou.log_alpha(t)
    }
    fn sigma(&self, t: f64) -> f64 {
        Ou.sigma(t)
    }
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        Ou.time_of_log_snr(lambda)
    }
    fn range(&self) -> (f64, f64) {
        (0.0, f64::INFINITY)
    }
    fn table(&self) -> Option<usize> {
        Some(self.0)
    }
    fn rates(&self, t: f64) -> (f64, f64) {
        Ou.rates(t)
    }
}

#[test]
fn a_table_has_one_entry_at_least_and_not_too_many() {
    for entries in [0, MAX_STEPS + 1, usize::MAX] {
        for grid in [Grid::euler_timesteps(3, Spacing::Linspace), Grid::table(1, Spacing::Trailing)] {
            refused(grid.times(&Long(entries)), "schedule.table()");
        }
    }
}

/// The grids that stand at entries of a table.
fn of_tables(steps: usize, spacing: Spacing) -> [Grid; 4] {
    [
        Grid::table(steps, spacing),
        Grid::ddpm_timesteps(steps, spacing),
        Grid::dpm_solver_timesteps(steps, spacing),
        Grid::euler_timesteps(steps, spacing),
    ]
}

#[test]
fn what_does_not_go_together_is_refused() {
    let table = Discrete::cosine(100).unwrap();
    let unsupported = |grid: &Grid, schedule: &dyn NoiseSchedule, asked: &str, words: &str| match grid.times(schedule) {
        Err(Error::Unsupported { what, with, .. }) => {
            assert_eq!(what, asked, "{grid:?}");
            assert!(with.contains(words), "{with}");
        }
        other => panic!("{grid:?}: {other:?}"),
    };
    // Ends for grids that have their own.
    let mut own: Vec<Grid> = SPACINGS.into_iter().flat_map(|spacing| of_tables(4, spacing)).collect();
    own.push(Grid::new([3.0, 2.0, 1.0]));
    own.push(Grid::karras(4, 0.1, 2.0, 7.0));
    own.push(Grid::get_sigmas_karras(4, 0.1, 2.0, 7.0));
    for grid in own {
        assert!(grid.times(&table).is_ok(), "{grid:?}");
        let bounded = grid.between(2.0, 0.5);
        unsupported(&bounded, &table, "Grid::between", "(2.0, 0.5)");
        unsupported(&bounded.then_data(), &table, "Grid::between", "(2.0, 0.5)");
    }
    // Entries of a table where there is none.
    for grid in SPACINGS.into_iter().flat_map(|spacing| of_tables(4, spacing)) {
        unsupported(&grid, &Ou, "a grid of table entries", "Ou");
        unsupported(&grid, &Flow, "a grid of table entries", "Flow");
        unsupported(&grid.then_data(), &Ou, "a grid of table entries", "Ou");
    }
}

#[test]
fn times_must_be_finite_and_strictly_decrease() {
    use Error::{GridLength, GridNotFinite, GridOrder};
    let given = |times: &[f64]| Grid::new(times).times(&EVERYWHERE);
    assert!(matches!(given(&[]), Err(GridLength { points: 0, .. })));
    assert!(matches!(given(&[1.0]), Err(GridLength { points: 1, .. })));
    assert!(matches!(given(&vec![0.0; MAX_STEPS + 2]), Err(GridLength { max, .. }) if max == MAX_STEPS + 1));
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(matches!(given(&[2.0, bad, 1.0]), Err(GridNotFinite { index: 1, .. })));
    }
    assert!(matches!(given(&[2.0, 1.0, 1.0]), Err(GridOrder { index: 2, .. })));
    assert!(matches!(given(&[2.0, 3.0, 1.0]), Err(GridOrder { index: 1, .. })));
    let outside = Grid::new([0.9, 0.5, -0.1]).times(&Flow);
    assert!(matches!(outside, Err(Error::GridRange { index: 2, .. })));
    let outside = Grid::uniform(4).between(1.5, 0.0).times(&Flow);
    assert!(matches!(outside, Err(Error::GridRange { index: 0, .. })));
}

#[test]
fn bad_lengths_are_refused_by_every_builder_without_allocating() {
    let (table, small) = (Discrete::cosine(1000).unwrap(), Discrete::linear(10, 1e-4, 0.02).unwrap());
    for steps in [0, MAX_STEPS + 1, usize::MAX] {
        let spaced: [(Grid, &dyn NoiseSchedule); 7] = [
            (Grid::uniform(steps).between(1.0, 0.0), &EVERYWHERE),
            (Grid::log_snr(steps).between(1.0, 0.1), &Ou),
            (Grid::karras(steps, 0.1, 1.0, 7.0), &Edm),
            (Grid::piadm(0.5, Resolution::Steps(steps)).between(1.0, 0.1), &Ou),
            (Grid::table(steps, SPACINGS[0]), &table),
            (Grid::table(steps, SPACINGS[1]), &table),
            (Grid::table(steps, SPACINGS[2]), &table),
        ];
        for (grid, schedule) in spaced {
            refused_number(grid.times(schedule), "steps", steps);
            if steps > 0 {
                refused_number(grid.then_data().times(schedule), "steps", steps);
            }
        }
        for grid in SPACINGS.into_iter().flat_map(|spacing| of_tables(steps, spacing)) {
            refused_number(grid.times(&table), "steps", steps);
        }
        refused_number(Grid::get_sigmas_karras(steps, 0.1, 1.0, 7.0).times(&Edm), "steps", steps);
    }
    for tiny in [1e-9, 1e-300, f64::MIN_POSITIVE / 4.0] {
        let by_step = Grid::piadm(1.0, Resolution::Step(tiny)).between(9.0, 0.1).times(&Ou);
        assert!(matches!(by_step, Err(Error::GridLength { .. })));
        let by_block = Grid::piadm(tiny, Resolution::Step(1.0)).between(9.0, 0.1).times(&Ou);
        assert!(matches!(by_block, Err(Error::GridLength { .. })));
    }
    // Points that collide in f64.
    let (one, next) = (1.0, 1.0 + f64::EPSILON);
    for found in [
        Grid::uniform(2).between(next, one).times(&EVERYWHERE),
        Grid::log_snr(3).between(next, one).times(&Edm),
        Grid::karras(3, one, next, 7.0).times(&Edm),
        Grid::piadm(1.0, Resolution::Steps(3)).between(next, one).times(&Ou),
    ] {
        assert!(matches!(found, Err(Error::GridOrder { .. })), "{found:?}");
    }
    let leading = |steps: usize, offset: usize| Grid::table(steps, Spacing::Leading { offset }).times(&small);
    refused_number(leading(10, 0), "steps", 10);
    refused_number(Grid::table(10, Spacing::Trailing).times(&small), "steps", 10);
    refused_number(Grid::table(10, Spacing::Linspace).times(&small), "steps", 10);
    for spacing in SPACINGS {
        refused_number(Grid::table(1, spacing).times(&table_of(1)), "steps", 1);
    }
    refused_number(leading(4, 2), "offset", 2);
    refused_number(leading(4, usize::MAX), "offset", usize::MAX);
    assert!(leading(4, 1).is_ok());
}

/// Also where the step to the data is one of those that the user counts.
#[test]
fn a_refusal_has_the_number_that_was_given() {
    let table = Discrete::cosine(1000).unwrap();
    for spacing in SPACINGS {
        refused_number(Grid::table(1000, spacing).times(&table), "steps", 1000);
        refused_number(Grid::table(1000, spacing).then_data().times(&table), "steps", 1000);
        assert_eq!(times(Grid::ddpm_timesteps(1000, spacing), &table).len() - 1, 1000);
        for steps in [1001, 2000] {
            for (i, grid) in of_tables(steps, spacing).into_iter().enumerate() {
                match (i, spacing) {
                    // Euler's levels lie between the entries.
                    (3, Spacing::Linspace) => assert_eq!(times(grid, &table).len() - 1, steps),
                    _ => refused_number(grid.times(&table), "steps", steps),
                }
            }
        }
        let dpm = Grid::dpm_solver_timesteps(1000, spacing);
        match spacing {
            Spacing::Trailing => assert_eq!(times(dpm, &table).len() - 1, 1000),
            _ => refused_number(dpm.times(&table), "steps", 1000),
        }
        assert_eq!(times(Grid::dpm_solver_timesteps(999, spacing), &table).len() - 1, 999);
    }
    for grid in of_tables(4, Spacing::Leading { offset: 777 }) {
        refused_number(grid.times(&table), "offset", 777);
    }
    let message = Grid::ddpm_timesteps(2000, Spacing::Trailing).times(&table).unwrap_err().to_string();
    assert!(message.starts_with("steps = 2000: "), "{message}");
    let most = MAX_STEPS + 1;
    refused_number(Grid::get_sigmas_karras(most, 0.1, 1.0, 7.0).times(&Edm), "steps", most);
}

#[test]
fn bad_numbers_are_refused_by_every_builder() {
    let step = Resolution::Step(0.1);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        refused(Grid::uniform(2).between(bad, 0.0).times(&EVERYWHERE), "t_max");
        refused(Grid::uniform(2).between(1.0, bad).times(&EVERYWHERE), "t_min");
        refused(Grid::log_snr(2).between(bad, 0.1).times(&Ou), "t_max");
        refused(Grid::log_snr(2).between(1.0, bad).times(&Ou), "t_min");
        refused(Grid::piadm(1.0, step).between(bad, 0.1).times(&Ou), "t_max");
    }
    for bad in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
        refused(Grid::karras(2, bad, 1.0, 7.0).times(&Edm), "sigma_min");
        refused(Grid::karras(2, 0.1, bad, 7.0).times(&Edm), "sigma_max");
        refused(Grid::karras(2, 0.1, 1.0, bad).times(&Edm), "rho");
        refused(Grid::piadm(1.0, step).between(2.0, bad).times(&Ou), "t_min");
        refused(Grid::piadm(bad, step).between(2.0, 0.1).times(&Ou), "h");
        refused(Grid::piadm(1.0, Resolution::Step(bad)).between(2.0, 0.1).times(&Ou), "Resolution::Step");
    }
    for (t_max, t_min) in [(0.5, 0.5), (0.1, 0.5)] {
        refused(Grid::uniform(2).between(t_max, t_min).times(&EVERYWHERE), "t_max");
        refused(Grid::log_snr(2).between(t_max, t_min).times(&Ou), "t_max");
        refused(Grid::piadm(1.0, step).between(t_max, t_min).times(&Ou), "t_max");
        refused(Grid::karras(2, t_min, t_max, 7.0).times(&Edm), "sigma_max");
    }
    refused(Grid::piadm(1.0, Resolution::Steps(6)).between(6.5, 0.01).times(&Ou), "Resolution::Steps");
    // Infinite log-SNR, and times or noise levels that the schedule does not have.
    refused(Grid::log_snr(2).between(1.0, 0.1).times(&Flow), "t_max");
    refused(Grid::log_snr(2).between(0.9, 0.0).times(&Flow), "t_min");
    assert!(matches!(Grid::log_snr(2).between(1.5, 0.1).times(&Flow), Err(Error::GridRange { index: 0, .. })));
    assert!(matches!(Grid::log_snr(2).between(0.5, -0.1).times(&Flow), Err(Error::GridRange { index: 2, .. })));
    refused(Grid::karras(2, 0.002, 200.0, 7.0).times(&VpLinear::default()), "sigma_max");
    refused(Grid::piadm(1.0, step).between(11.0, 0.1).times(&VpLinear::default()), "t_max");
    let table = Discrete::linear(1000, 1e-4, 0.02).unwrap();
    assert!(Grid::karras(20, 1e-6, 100.0, 7.0).times(&table).is_ok()); // entry 0 is not the end: -1 is
}
