//! The two ends: the step to sigma = 0, and a start at alpha = 0.

use crate::oracle::{
    KINDS, MODES, REGULAR, STOCHASTICITIES, assert_close, assert_row, data_form, exponential, normals, oracle,
    other_forms, output, own_kind, row, run, schedules, sde_two_m, starts, step, two_m,
};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use piadm::{
    Discrete, Edm, Error, Flow, Grid, Nodes, NoiseSchedule, Ou, Prediction, Rows, Scheme, VpCosine,
    nodes::{DdpmVariance, Form},
    score_fn,
};
use std::sync::Arc;

/// Every schedule with a grid that ends at sigma = 0.
fn to_data() -> Vec<(Arc<dyn NoiseSchedule>, Grid)> {
    schedules().into_iter().map(|(schedule, grid)| (schedule, grid.then_data())).collect()
}

#[test]
fn the_last_step_is_the_data_prediction_to_the_bit() {
    for (schedule, grid) in to_data() {
        let times = grid.times(&schedule).unwrap();
        let x = starts(3, schedule.prior_std(times[0]));
        let noise = normals(times.len() - 1, 3);
        for scheme in data_form() {
            let list = Nodes::new(&*schedule, &grid, &scheme, Prediction::Data).unwrap();
            let last = list.nodes().len() - 1;
            let node = list.nodes()[last];
            assert_eq!((node.level.sigma, node.level.alpha), (0.0, 1.0));
            assert!(!node.evaluate && node.posterior_std == 0.0);
            assert_eq!(row(&list, last), [0.0, 1.0, 0.0], "{scheme:?}, {schedule:?}");
            assert_eq!((list.a(last, 2, 0, 0), list.b(last, 2, 0, 0)), (0.0, 0.0));

            let mut predicted = Array2::zeros((3, 1));
            let mut score = score_fn(
                Prediction::Data,
                |x: ArrayView2<'_, f64>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, f64>| {
                    out.zip_mut_with(&x, |out, &x| *out = MODES.denoise(rows.alpha[0], rows.sigma[0], x));
                    predicted.assign(&out);
                    Ok(())
                },
            );
            let samples = run(&schedule, &grid, &scheme, &mut score, &x, &noise).samples;
            drop(score);
            let bits = |x: &Array2<f64>| x.mapv(f64::to_bits);
            assert_eq!(bits(&samples), bits(&predicted), "{scheme:?}, {schedule:?}");
        }
    }
}

/// For the other kinds the row is the map from the output to D, and the noise does not enter.
#[test]
fn the_last_step_folds_the_conversion_and_drops_the_noise() {
    for (schedule, grid) in to_data() {
        let times = grid.times(&schedule).unwrap();
        let t = times[times.len() - 2];
        let (alpha, sigma) = (schedule.alpha(t), schedule.sigma(t));
        for scheme in data_form() {
            for kind in KINDS {
                let list = Nodes::new(&*schedule, &grid, &scheme, kind).unwrap();
                let [a, b, c] = row(&list, list.nodes().len() - 1);
                let what = format!("{scheme:?}, {schedule:?}, {kind:?}");
                let (x, d) = (0.8, -0.3);
                let f = output(kind, alpha, sigma, x, d);
                let size = (a * x).abs() + (b * f).abs();
                assert_close(a * x + b * f, d, 1e-14 * size, &what);
                assert_eq!(c, 0.0, "{what}");
            }
        }
    }
}

/// Rectified flow of data that come scaled by one half: alpha need not be 1 where sigma is 0.
#[derive(Debug)]
struct Scaled;

impl NoiseSchedule for Scaled {
    fn log_alpha(&self, t: f64) -> f64 {
        Flow.log_alpha(t) + 0.5f64.ln()
    }
    fn alpha(&self, t: f64) -> f64 {
        0.5 * Flow.alpha(t)
    }
    fn sigma(&self, t: f64) -> f64 {
        t
    }
    fn time_of_log_snr(&self, lambda: f64) -> f64 {
        Flow.time_of_log_snr(lambda + 2.0f64.ln())
    }
    fn range(&self) -> (f64, f64) {
        (0.0, 1.0)
    }
    fn rates(&self, t: f64) -> (f64, f64) {
        Flow.rates(t)
    }
}

#[test]
fn the_last_step_scales_as_the_schedule_does() {
    for scheme in data_form() {
        let grid = Grid::new([0.8, 0.4, 0.0]);
        let list = Nodes::new(&Scaled, &grid, &scheme, Prediction::Data).unwrap();
        assert_eq!(row(&list, list.nodes().len() - 1), [0.0, 0.5, 0.0], "{scheme:?}");
    }
}

/// Frozen score and frozen noise end at sigma = 0 too, with their own rows.
#[test]
fn other_forms_reach_sigma_zero() {
    for ups in STOCHASTICITIES {
        let share = 1.0 + ups * ups;
        let (t, alpha, sigma) = (0.3, 0.7, 0.3);
        let row = |form| step(&Flow, &exponential(form, ups), own_kind(form), t, 0.0);
        let c = ups * sigma / alpha;
        let b = share * (1.0 / alpha - 1.0 + f64::ln(alpha));
        assert_row(row(Form::Score), [1.0 / alpha, b, c], 1e-13, "score");
        assert_row(row(Form::Noise), [1.0 / alpha, -share * sigma / alpha, c], 1e-14, "noise");
    }
}

/// The first step, the step into sigma = 0 and, on demand, the last step of 2M are steps of its one-step scheme.
#[test]
fn the_2m_falls_back_to_first_order() {
    for (schedule, grid) in to_data() {
        for eta in [0.0, 1.0] {
            let one = Scheme::SdeDpmSolverPp1 { eta };
            let new = |scheme: &Scheme, grid: &Grid| Nodes::new(&*schedule, grid, scheme, Prediction::Noise).unwrap();
            let times = grid.times(&schedule).unwrap();
            let steps = times.len() - 1;
            let short = Grid::new(&times[..steps]);
            for (grid, lower, first_order) in
                [(&grid, false, vec![1, steps]), (&short, false, vec![1]), (&short, true, vec![1, steps - 1])]
            {
                let (two, one) = (new(&sde_two_m(eta, lower), grid), new(&one, grid));
                for j in 1..grid.times(&schedule).unwrap().len() {
                    let same = row(&two, j) == row(&one, j) && two.b(j, 2, 0, 0) == 0.0;
                    assert_eq!(same, first_order.contains(&j), "{schedule:?}, step {j}");
                }
            }
        }
    }
}

#[test]
fn heun_asks_twice_a_step_and_once_into_sigma_zero() {
    for (grid, rows) in
        [(Grid::log_snr(10).between(9.0, 0.1), 20), (Grid::log_snr(10).between(9.0, 0.1).then_data(), 21)]
    {
        let steps = grid.times(&Edm).unwrap().len() - 1;
        let list = Nodes::new(&Edm, &grid, &Scheme::Heun {}, Prediction::Data).unwrap();
        assert_eq!(list.nodes().len(), 1 + rows);
        assert_eq!(list.nodes().iter().filter(|n| n.evaluate).count(), rows);
        assert_eq!((list.steps(), list.last_step()), (steps, steps));
        // A stage is at the time, and belongs to the step, of the solution after it.
        for pair in list.nodes().windows(2).filter(|pair| !pair[0].solution) {
            assert!(pair[1].solution);
            assert_eq!((pair[0].step, pair[0].level), (pair[1].step, pair[1].level));
        }
        let mut score = oracle(Prediction::Score, MODES);
        let heun = Scheme::Heun {};
        let report = run(&Edm, &grid, &heun, &mut score, &starts(2, 9.0), &normals(steps, 2)).report;
        assert_eq!((report.rounds, report.score_rows), (rows, 2 * rows));
    }
}

/// Schedules that start at alpha = 0.
fn from_pure_noise() -> Vec<(Arc<dyn NoiseSchedule>, Grid)> {
    let table = Discrete::new([0.95, 0.8, 0.5, 0.2, 0.05, 0.0]).unwrap();
    vec![
        (Arc::new(Flow), Grid::uniform(20).between(1.0, 0.0)),
        (Arc::new(VpCosine::default()), Grid::uniform(20).between(1.0, 0.0)),
        (Arc::new(table), Grid::uniform(6).between(5.0, -1.0)),
    ]
}

/// Coefficients on the start, on its data prediction and on the noise, as alpha -> 0 in the papers' formulas.
fn first_step(scheme: &Scheme, alpha: f64, sigma: f64) -> [f64; 3] {
    match *scheme {
        Scheme::Ddpm { variance: DdpmVariance::Large } => [0.0, alpha, 1.0],
        Scheme::Ddim { eta } => [sigma * (1.0 - eta * eta).sqrt(), alpha, eta * sigma],
        Scheme::DpmSolverPp2M { .. } | Scheme::Heun {} => [sigma, alpha, 0.0],
        Scheme::Exponential { stochasticity: eta, .. }
        | Scheme::SdeDpmSolverPp1 { eta }
        | Scheme::SdeDpmSolverPp2M { eta, .. }
            if eta == 0.0 =>
        {
            [sigma, alpha, 0.0]
        }
        _ => [0.0, alpha, sigma],
    }
}

#[test]
fn data_form_starts_at_pure_noise() {
    for (schedule, grid) in from_pure_noise() {
        let times = grid.times(&schedule).unwrap();
        assert_eq!((schedule.alpha(times[0]), schedule.sigma(times[0])), (0.0, 1.0));
        let (alpha, sigma) = (schedule.alpha(times[1]), schedule.sigma(times[1]));
        let (x, noise) = (starts(4, 1.0), normals(times.len() - 1, 4));
        let mean = MODES.denoise(0.0, 1.0, 0.0);
        assert_close(mean, 0.65 * 1.4 - 0.35, 1e-15, "mean of the data");
        for scheme in data_form() {
            let [a, b, c] = first_step(&scheme, alpha, sigma);
            let mut ends = Vec::new();
            for kind in REGULAR {
                let mut score = oracle(kind, MODES);
                let solution = run(&schedule, &grid, &scheme, &mut score, &x, &noise);
                let what = format!("{scheme:?}, {schedule:?}, {kind:?}");
                for (i, x) in x.iter().enumerate() {
                    let expected = a * x + b * mean + c * noise[[0, i, 0]];
                    assert_close(solution.path.states()[[1, i, 0]], expected, 1e-13, &what);
                }
                ends.push(solution.samples);
            }
            for end in &ends {
                let difference = (end - &ends[0]).mapv(f64::abs);
                let largest = difference.iter().fold(0.0f64, |m, d| m.max(*d));
                assert_close(largest, 0.0, 1e-12, &format!("{scheme:?}, {schedule:?}"));
                assert!(end.iter().all(|x| x.abs() < 3.0));
            }
        }
    }
}

/// After the infinite first step there is no slope to extrapolate: 2M takes a second step of first order.
#[test]
fn the_2m_recovers_from_an_infinite_step() {
    for (schedule, grid) in from_pure_noise() {
        let new = |s: Scheme| Nodes::new(&*schedule, &grid, &s, Prediction::Data).unwrap();
        let (two, one) = (new(two_m(false)), new(Scheme::Ddim { eta: 0.0 }));
        assert_row(row(&two, 2), row(&one, 2), 1e-14, "second step");
        assert_eq!((two.a(2, 2, 0, 0), two.b(2, 2, 0, 0)), (0.0, 0.0));
        assert!(two.b(3, 2, 0, 0) < 0.0);
    }
}

#[test]
fn what_divides_by_alpha_is_a_typed_error() {
    for (schedule, grid) in from_pure_noise() {
        let start = grid.times(&schedule).unwrap()[0];
        // The message says which part divides: the conversion of the output, or the scheme.
        let singular = |scheme: &Scheme, kind: Prediction, part: &str| match Nodes::new(&*schedule, &grid, scheme, kind)
        {
            Err(Error::Singular { step, time, what }) => {
                assert_eq!((step, time), (1, start));
                assert!(what.contains(part), "{scheme:?}, {kind:?}: {what}");
            }
            other => panic!("{scheme:?}, {kind:?}: {other:?}"),
        };
        for scheme in data_form() {
            singular(&scheme, Prediction::Score, "output");
            singular(&scheme, Prediction::Noise, "output");
        }
        for scheme in other_forms() {
            KINDS.into_iter().for_each(|kind| singular(&scheme, kind, "scheme in this form"));
        }
    }
}

/// Just below alpha = 0 everything is finite again, also on the Ornstein-Uhlenbeck process, which never reaches it.
#[test]
fn almost_pure_noise_is_not_singular() {
    let cases: [(&dyn NoiseSchedule, f64, f64); 3] =
        [(&Flow, 1.0 - 1e-9, 0.9), (&VpCosine::default(), 1.0 - 1e-9, 0.9), (&Ou, 40.0, 2.0)];
    for (schedule, t, u) in cases {
        for scheme in data_form().into_iter().chain(other_forms()) {
            for kind in KINDS {
                let row = step(schedule, &scheme, kind, t, u);
                assert!(row.iter().all(|v| v.is_finite()), "{scheme:?}, {schedule:?}");
            }
        }
    }
}
