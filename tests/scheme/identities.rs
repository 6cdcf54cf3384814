//! Schemes that are the same scheme, schedules that are the same schedule, steps that compose.

use crate::oracle::{
    KINDS, STOCHASTICITIES, assert_close, assert_like, assert_row, data_form, exponential, other_forms, own_kind, row,
    schedules, sde_two_m, step, two_m,
};
use piadm::{
    Grid, Nodes, NoiseSchedule, Ou, Prediction, Scheme,
    nodes::{DdpmVariance, Form},
};

const FORMS: [Form; 3] = [Form::Score, Form::Noise, Form::Data];

/// Both schemes give the same rows on every schedule, for every kind of output, on the way down and into sigma = 0.
fn assert_same(left: &Scheme, right: &Scheme) {
    for (schedule, grid) in schedules() {
        let grid = grid.then_data();
        for kind in KINDS {
            let list = |s: &Scheme| Nodes::new(&*schedule, &grid, s, kind).unwrap();
            let (l, r) = (list(left), list(right));
            assert_eq!(l.nodes(), r.nodes());
            for j in 1..l.nodes().len() {
                let what = format!("{left:?}, {right:?}, {schedule:?}, {kind:?}, node {j}");
                assert_like(row(&l, j), row(&r, j), 1e-13, &what);
            }
        }
    }
}

#[test]
fn ancestral_sampling_is_ddim_is_the_data_form() {
    let ddpm = Scheme::Ddpm { variance: DdpmVariance::Small };
    assert_same(&ddpm, &Scheme::Ddim { eta: 1.0 });
    assert_same(&ddpm, &exponential(Form::Data, 1.0));
    assert_same(&Scheme::Ddim { eta: 0.0 }, &exponential(Form::Data, 0.0));
}

#[test]
fn the_data_form_is_sde_dpm_solver_with_the_square_of_the_stochasticity() {
    for ups in STOCHASTICITIES {
        let eta = ups * ups;
        assert_same(&exponential(Form::Data, ups), &Scheme::SdeDpmSolverPp1 { eta });
    }
}

#[test]
fn the_stochastic_2m_without_noise_is_the_2m() {
    for (schedule, grid) in schedules() {
        for last in [false, true] {
            let list = |scheme: Scheme| Nodes::new(&*schedule, &grid, &scheme, Prediction::Flow).unwrap();
            assert_eq!(list(two_m(last)), list(sde_two_m(0.0, last)));
        }
    }
}

/// DDIM and the probability-flow exponential integrator with frozen noise are one formula.
#[test]
fn the_noise_form_without_noise_is_ddim() {
    assert_same(&exponential(Form::Noise, 0.0), &Scheme::Ddim { eta: 0.0 });
}

/// Variance-preserving schedules are the Ornstein-Uhlenbeck process in the time -2 log alpha; only Euler's method
/// depends on the clock.
#[test]
fn variance_preserving_schedules_are_ornstein_uhlenbeck() {
    let preserving = |s: &dyn NoiseSchedule| (s.alpha(0.5).powi(2) + s.sigma(0.5).powi(2) - 1.0).abs() < 1e-12;
    let mut compared = 0;
    for (schedule, grid) in schedules() {
        if !preserving(&*schedule) {
            continue;
        }
        let clock = |t: &f64| -2.0 * schedule.log_alpha(*t);
        let ou_grid = Grid::new(grid.times(&schedule).unwrap().iter().map(clock).collect::<Vec<_>>());
        let timeless = |scheme: &Scheme| !matches!(scheme, Scheme::EulerMaruyama { .. });
        for scheme in data_form().into_iter().chain(other_forms()).filter(timeless) {
            for kind in KINDS {
                let own = Nodes::new(&*schedule, &grid, &scheme, kind).unwrap();
                let ou = Nodes::new(&Ou, &ou_grid, &scheme, kind).unwrap();
                for j in 1..own.nodes().len() {
                    let what = format!("{scheme:?}, {schedule:?}, {kind:?}, node {j}");
                    assert_like(row(&own, j), row(&ou, j), 1e-12, &what);
                    let second = |l: &Nodes| [l.a(j, 2, 0, 0), l.b(j, 2, 0, 0), 0.0];
                    assert_like(second(&own), second(&ou), 1e-11, &format!("{what}, second lag"));
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1000);
}

/// The row of PIADM (arXiv 2405.15986, equation 3.2) on the Ornstein-Uhlenbeck process.
#[test]
fn the_score_form_on_ornstein_uhlenbeck_is_the_row_of_the_paper() {
    for (t, u) in [(5.0, 4.9), (2.0, 0.5), (0.1, 0.09), (3.0, 0.0), (1e-3, 1e-4)] {
        for ups in STOCHASTICITIES {
            let e: f64 = t - u;
            let expected = [(0.5 * e).exp(), (1.0 + ups * ups) * (0.5 * e).exp_m1(), ups * e.exp_m1().sqrt()];
            let scheme = exponential(Form::Score, ups);
            let found = step(&Ou, &scheme, Prediction::Score, t, u);
            assert_row(found, expected, 1e-13, &format!("{t} to {u}, ups = {ups}"));
        }
    }
}

/// With a frozen oracle an exponential integrator is exact, so two steps are one: a = a1 a2, b = a2 b1 + b2,
/// c^2 = a2^2 c1^2 + c2^2. Together with the limit of short steps this fixes every coefficient.
#[test]
fn exponential_integrators_compose() {
    for (schedule, grid) in schedules() {
        let times = grid.times(&schedule).unwrap();
        let (t, middle, u) = (times[2], times[5], times[9]);
        for form in FORMS {
            for ups in STOCHASTICITIES {
                let of = |t, u| step(&*schedule, &exponential(form, ups), own_kind(form), t, u);
                let ([a1, b1, c1], [a2, b2, c2]) = (of(t, middle), of(middle, u));
                let both = [a1 * a2, a2 * b1 + b2, (a2 * a2 * c1 * c1 + c2 * c2).sqrt()];
                let what = format!("{schedule:?}, {form:?}, ups = {ups}");
                assert_row(of(t, u), both, 1e-12, &what);
            }
        }
    }
}

/// Noise level ups^2 of a scheme's short steps.
fn noise_level(scheme: &Scheme) -> f64 {
    match *scheme {
        Scheme::Exponential { stochasticity, .. } | Scheme::EulerMaruyama { stochasticity } => {
            stochasticity * stochasticity
        }
        Scheme::Ddim { eta } => eta * eta,
        Scheme::SdeDpmSolverPp1 { eta } | Scheme::SdeDpmSolverPp2M { eta, .. } => eta,
        Scheme::Ddpm { .. } => 1.0,
        _ => 0.0,
    }
}

/// Coefficients on state, score and noise of the list's last step, with the score frozen. Before the step the state
/// counts as its start: a multistep scheme sees it only in differences, which are of second order.
fn frozen_last_step(list: &Nodes) -> [f64; 3] {
    let nodes = list.nodes();
    let last = nodes.len() - 1;
    let start = (0..last).rev().find(|&j| nodes[j].solution).unwrap();
    let (mut x, mut f) = (vec![0.0; last + 1], vec![0.0; last + 1]);
    x[..=start].fill(1.0);
    for j in start + 1..=last {
        for lag in 1..=list.lookback().min(j) {
            let a = list.a(j, lag, 0, 0);
            x[j] += a * x[j - lag];
            f[j] += a * f[j - lag] + list.b(j, lag, 0, 0);
        }
    }
    [x[last], f[last], list.c(last, 0, 0)]
}

/// Every scheme solves dx = [-f x + (1 + ups^2)/2 g^2 s] dr + ups g dB: short steps show the rates, which are taken
/// here from alpha and sigma by differences.
#[test]
fn short_steps_have_the_rates_of_the_reverse_equation() {
    for (schedule, grid) in schedules() {
        // In the middle of an interval of the table, where the rates do not jump.
        let t = grid.times(&schedule).unwrap()[6].floor().max(0.0) + 0.37;
        let d = 1e-4;
        let f = (schedule.log_alpha(t + d) - schedule.log_alpha(t - d)) / (2.0 * d);
        let variance = |t: f64| schedule.sigma(t).powi(2);
        let g2 = (variance(t + d) - variance(t - d)) / (2.0 * d) - 2.0 * f * variance(t);
        let e = 1e-6;
        let grid = Grid::new([t + 2.0 * e, t + e, t]);
        for scheme in data_form().into_iter().chain(other_forms()) {
            let list = Nodes::new(&*schedule, &grid, &scheme, Prediction::Score).unwrap();
            let [a, b, c] = frozen_last_step(&list);
            let eta = noise_level(&scheme);
            let what = format!("{scheme:?}, {schedule:?}");
            let tolerance = 1e-4 * (f.abs() + g2);
            assert_close((a - 1.0) / e, -f, tolerance, &format!("{what}, drift"));
            assert_close(b / e, 0.5 * (1.0 + eta) * g2, tolerance, &format!("{what}, score"));
            assert_close(c * c / e, eta * g2, tolerance, &format!("{what}, noise"));
        }
    }
}
