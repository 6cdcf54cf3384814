//! Gaussian data, for which everything is known: the law of every node, the path of the probability flow; and orders of
//! convergence there and on a mixture.

use crate::oracle::{
    KINDS, MODES, Modes, assert_close, data_form, exponential, gaussian, normals, oracle, other_forms, output, run,
    schedules, sde_two_m, starts, two_m,
};
use ndarray::{Array2, Array3, Axis};
use piadm::{
    Edm, Flow, Grid, Nodes, NoiseSchedule, Ou, Prediction, Scheme,
    nodes::{DdpmVariance, Form, Node},
    schedule::Level,
};
use rand::{Rng, SeedableRng};
use std::sync::Arc;

/// A node as an affine function of the start's and the steps' standard normals.
#[derive(Clone, Debug)]
struct Affine {
    mean: f64,
    /// On the start's normal, then on those of the steps.
    weights: Vec<f64>,
}

impl Affine {
    fn variance(&self) -> f64 {
        self.weights.iter().map(|w| w * w).sum()
    }

    fn at(&self, start: f64, noise: impl Iterator<Item = f64>) -> f64 {
        let normals = std::iter::once(start).chain(noise);
        self.mean + self.weights.iter().zip(normals).map(|(w, z)| w * z).sum::<f64>()
    }
}

/// All nodes of a list for data N(mean, variance), from the list's coefficients alone, started from the law of its
/// first node. The output is affine in the state: slope * x + constant.
fn propagate(list: &Nodes, kind: Prediction, mean: f64, variance: f64) -> Vec<Affine> {
    let mut nodes: Vec<Affine> = Vec::new();
    for (j, node) in list.nodes().iter().enumerate() {
        let mut next = Affine { mean: 0.0, weights: vec![0.0; list.steps() + 1] };
        if j == 0 {
            next.mean = node.level.alpha * mean;
            next.weights[0] = marginal(&node.level, variance).sqrt();
        }
        for lag in 1..=list.lookback().min(j) {
            let (from, level) = (&nodes[j - lag], list.nodes()[j - lag].level);
            let (a, b) = (list.a(j, lag, 0, 0), list.b(j, lag, 0, 0));
            let slope = level.alpha * variance / marginal(&level, variance);
            let offset = mean - slope * level.alpha * mean;
            let on_state = a + b * output(kind, level.alpha, level.sigma, 1.0, slope);
            next.mean += on_state * from.mean + b * output(kind, level.alpha, level.sigma, 0.0, offset);
            for (to, from) in next.weights.iter_mut().zip(&from.weights) {
                *to += on_state * from;
            }
        }
        next.weights[node.step] += list.c(j, 0, 0);
        nodes.push(next);
    }
    nodes
}

/// Variance at a level for data of the given variance.
fn marginal(level: &Level, variance: f64) -> f64 {
    level.alpha * level.alpha * variance + level.sigma * level.sigma
}

fn list(schedule: &dyn NoiseSchedule, grid: &Grid, scheme: &Scheme, kind: Prediction) -> Nodes {
    Nodes::new(schedule, grid, scheme, kind).unwrap()
}

/// The sampler computes exactly the list, with one normal per step.
#[test]
fn the_sampler_walks_the_list() {
    let (mean, variance) = (0.7, 0.3);
    for (schedule, grid) in schedules() {
        let steps = grid.times(&schedule).unwrap().len() - 1;
        for scheme in data_form().into_iter().chain(other_forms()) {
            let kind = Prediction::Velocity;
            let list = list(&*schedule, &grid, &scheme, kind);
            let law = propagate(&list, kind, mean, variance);
            let (z, noise) = (starts(3, 1.0), normals(steps, 3));
            let x = z.mapv(|z| law[0].at(z, std::iter::empty()));
            let data = gaussian(mean, variance);
            let solution = run(&schedule, &grid, &scheme, &mut oracle(kind, data), &x, &noise);
            let ends = list.nodes().iter().zip(&law).filter(|(node, _)| node.solution);
            for (node, law) in ends {
                for (i, z) in z.iter().enumerate() {
                    let expected = law.at(*z, noise.index_axis(Axis(1), i).iter().copied());
                    let found = solution.path.states()[[node.step, i, 0]];
                    let what = format!("{scheme:?}, {schedule:?}, step {}", node.step);
                    assert_close(found, expected, 1e-11 * (1.0 + expected.abs()), &what);
                }
            }
        }
    }
}

/// All kinds of output are one oracle: the nodes agree to rounding.
#[test]
fn nodes_do_not_depend_on_the_kind_of_output() {
    for (schedule, grid) in schedules() {
        let times = grid.times(&schedule).unwrap();
        let x = starts(5, schedule.prior_std(times[0]));
        let noise = normals(times.len() - 1, 5);
        for scheme in data_form().into_iter().chain(other_forms()) {
            let states = |kind| {
                let solution = run(&schedule, &grid, &scheme, &mut oracle(kind, MODES), &x, &noise);
                solution.path.states().clone()
            };
            let reference = states(Prediction::Data);
            let size = reference.iter().fold(1.0f64, |m, v| m.max(v.abs()));
            for kind in KINDS {
                for (found, expected) in states(kind).iter().zip(&reference) {
                    let what = format!("{scheme:?}, {schedule:?}, {kind:?}");
                    assert_close(*found, *expected, 2e-12 * size, &what);
                }
            }
        }
    }
}

/// Schemes in data form know D exactly if the data are one point, so every node has the forward law; only the larger of
/// DDPM's variances is too large then.
#[test]
fn point_masses_are_exact_in_data_form() {
    let large = Scheme::Ddpm { variance: DdpmVariance::Large };
    for (schedule, grid) in schedules() {
        for scheme in data_form().into_iter().filter(|s| *s != large) {
            let list = list(&*schedule, &grid, &scheme, Prediction::Flow);
            let law = propagate(&list, Prediction::Flow, 1.3, 0.0);
            for (node, law) in list.nodes().iter().zip(&law) {
                let (alpha, sigma) = (node.level.alpha, node.level.sigma);
                // A stage and a solution at one time have the same law here.
                let what = format!("{scheme:?}, {schedule:?}, {node:?}");
                assert_close(law.mean, 1.3 * alpha, 1e-12 * (alpha + sigma), &what);
                assert_close(law.variance(), sigma * sigma, 1e-11 * sigma * sigma, &what);
            }
        }
    }
}

/// Ho et al., arXiv 2006.11239, section 3.2: the variance beta is optimal for data N(0, I). It is even exact, for every
/// length of the steps.
#[test]
fn the_larger_variance_of_ddpm_is_exact_for_unit_gaussians() {
    let large = Scheme::Ddpm { variance: DdpmVariance::Large };
    for steps in [1, 5] {
        let grid = Grid::log_snr(steps).between(4.0, 0.01);
        let list = list(&Ou, &grid, &large, Prediction::Noise);
        for law in propagate(&list, Prediction::Noise, 0.0, 1.0) {
            assert_close(law.variance(), 1.0, 1e-13, "variance");
        }
    }
}

/// From the mean of a Gaussian every scheme keeps to the mean, except Euler-Maruyama, which has the linear part to
/// first order only.
#[test]
fn means_of_gaussians_are_exact() {
    let euler = |s: &Scheme| matches!(s, Scheme::EulerMaruyama { .. });
    for (schedule, grid) in schedules() {
        for scheme in data_form().into_iter().chain(other_forms()).filter(|s| !euler(s)) {
            let list = list(&*schedule, &grid, &scheme, Prediction::Noise);
            let law = propagate(&list, Prediction::Noise, -0.8, 0.4);
            for (node, law) in list.nodes().iter().zip(law) {
                let what = format!("{scheme:?}, {schedule:?}, {node:?}");
                let size = node.level.alpha + node.level.sigma;
                assert_close(law.mean, -0.8 * node.level.alpha, 1e-12 * size, &what);
            }
        }
    }
}

/// log2 of the ratio of the errors at a number of steps and at twice that number.
fn order([coarse, fine]: [f64; 2]) -> f64 {
    (coarse / fine).log2()
}

#[track_caller]
fn assert_order(errors: [f64; 2], expected: f64, what: &str) {
    let found = order(errors);
    assert!((found - expected).abs() < 0.12, "{what}: order {found} from the errors {errors:?}");
}

fn expected_order(scheme: &Scheme) -> f64 {
    match scheme {
        Scheme::DpmSolverPp2M { .. } | Scheme::SdeDpmSolverPp2M { .. } | Scheme::Heun {} => 2.0,
        _ => 1.0,
    }
}

/// The noise levels of shared times in any number of steps, in time for Euler-Maruyama. The outermost levels are left
/// out: Euler's method is far from its limit there.
fn refined(times: &[f64], scheme: &Scheme, steps: usize) -> Grid {
    let (t_max, t_min) = (times[2], times[times.len() - 3]);
    match scheme {
        Scheme::EulerMaruyama { .. } => Grid::uniform(steps).between(t_max, t_min),
        _ => Grid::log_snr(steps).between(t_max, t_min),
    }
}

/// Euler-Maruyama on a table has order 1 only if the steps hit its entries, where the rates jump.
fn smooth(schedule: &dyn NoiseSchedule, scheme: &Scheme) -> bool {
    let table = format!("{schedule:?}").starts_with("Discrete");
    !(table && matches!(scheme, Scheme::EulerMaruyama { .. }))
}

/// The largest error over all nodes, so that no order is hidden where an error happens to change its sign.
#[test]
fn variances_of_gaussians_converge_with_their_order() {
    let variance = 0.5;
    for (schedule, grid) in schedules() {
        let times = grid.times(&schedule).unwrap();
        for scheme in data_form().into_iter().chain(other_forms()) {
            if !smooth(&*schedule, &scheme) {
                continue;
            }
            let errors = [200, 400].map(|steps| {
                let grid = refined(&times, &scheme, steps);
                let list = list(&*schedule, &grid, &scheme, Prediction::Data);
                let law = propagate(&list, Prediction::Data, 0.0, variance);
                let error =
                    |(node, law): (&Node, Affine)| (law.variance() / marginal(&node.level, variance) - 1.0).abs();
                let ends = list.nodes().iter().zip(law).filter(|(node, _)| node.solution);
                ends.map(error).fold(0.0, f64::max)
            });
            let what = format!("{scheme:?}, {schedule:?}");
            assert_order(errors, expected_order(&scheme), &what);
        }
    }
}

/// Every scheme without noise.
fn deterministic() -> Vec<Scheme> {
    vec![
        exponential(Form::Score, 0.0),
        exponential(Form::Noise, 0.0),
        exponential(Form::Data, 0.0),
        Scheme::EulerMaruyama { stochasticity: 0.0 },
        Scheme::Ddim { eta: 0.0 },
        Scheme::SdeDpmSolverPp1 { eta: 0.0 },
        two_m(false),
        two_m(true),
        sde_two_m(0.0, false),
        Scheme::Heun {},
    ]
}

/// The states at every fifth of a run without noise from `x`.
fn flow(
    schedule: &(impl NoiseSchedule + Clone + 'static),
    grid: &Grid,
    scheme: &Scheme,
    data: Modes,
    x: &Array2<f64>,
) -> Vec<Array2<f64>> {
    let steps = grid.times(schedule).unwrap().len() - 1;
    let noise = Array3::zeros((steps, x.nrows(), 1));
    let mut score = oracle(Prediction::Noise, data);
    let path = run(schedule, grid, scheme, &mut score, x, &noise).path;
    let fifth = |k: usize| path.at(k * steps / 5).unwrap().to_owned();
    (1..=5).map(fifth).collect()
}

fn largest_difference(x: &[Array2<f64>], y: &[Array2<f64>]) -> f64 {
    let pairs = x.iter().zip(y).flat_map(|(x, y)| x.iter().zip(y));
    pairs.fold(0.0, |m, (x, y)| m.max((x - y).abs()))
}

/// The probability flow of a Gaussian moves every quantile with the standard deviation.
#[test]
fn paths_of_the_gaussian_flow_converge_with_their_order() {
    let (mean, variance) = (0.7, 0.3);
    for (schedule, grid) in schedules() {
        let times = grid.times(&schedule).unwrap();
        for scheme in deterministic() {
            if !smooth(&*schedule, &scheme) {
                continue;
            }
            let errors = [200, 400].map(|steps| {
                let grid = refined(&times, &scheme, steps);
                let times = grid.times(&schedule).unwrap();
                let level = |k: usize| Level::at(&*schedule, times[k * steps / 5]);
                let t = level(0);
                let x = starts(4, marginal(&t, variance).sqrt());
                let exact = |u: Level| {
                    let stretch = (marginal(&u, variance) / marginal(&t, variance)).sqrt();
                    x.mapv(|x| mean * u.alpha + stretch * (x - mean * t.alpha))
                };
                let exact: Vec<_> = (1..=5).map(|k| exact(level(k))).collect();
                let found = flow(&schedule, &grid, &scheme, gaussian(mean, variance), &x);
                largest_difference(&found, &exact)
            });
            let what = format!("{scheme:?}, {schedule:?}");
            assert_order(errors, expected_order(&scheme), &what);
        }
    }
}

#[test]
fn paths_of_a_mixture_converge_with_their_order() {
    let cases: [(Arc<dyn NoiseSchedule>, f64, f64); 3] =
        [(Arc::new(Ou), 4.0, 0.05), (Arc::new(Flow), 0.9, 0.05), (Arc::new(Edm), 10.0, 0.1)];
    for (schedule, t_max, t_min) in cases {
        let grid = |steps| Grid::log_snr(steps).between(t_max, t_min);
        let x = starts(9, schedule.prior_std(t_max));
        let reference = flow(&schedule, &grid(6000), &Scheme::Heun {}, MODES, &x);
        for scheme in deterministic() {
            let errors = [400, 800]
                .map(|steps| largest_difference(&flow(&schedule, &grid(steps), &scheme, MODES, &x), &reference));
            let what = format!("{scheme:?}, {schedule:?}");
            assert_order(errors, expected_order(&scheme), &what);
        }
    }
}

/// The reverse equation on a mixture: coarse runs follow the path of a fine one, whose noise they get summed over their
/// steps as the linear part carries it. The noise is additive, so first-order schemes have strong order 1, and
/// extrapolating the drift along a rough path gains no order. Medians, because a path that takes another mode says
/// nothing of the order.
#[test]
fn stochastic_paths_of_a_mixture_converge() {
    const FINE: usize = 4096;
    const SAMPLES: usize = 200;
    let mut rng = rand::rngs::StdRng::seed_from_u64(5);
    let fine_noise = Array3::from_shape_fn((FINE, SAMPLES, 1), |_| rng.sample(rand_distr::StandardNormal));
    let grid = |steps| Grid::log_snr(steps).between(4.0, 0.05);
    let x = starts(SAMPLES, 1.0);
    let data = |scheme: &Scheme, steps| list(&Ou, &grid(steps), scheme, Prediction::Data);
    for scheme in [exponential(Form::Data, 1.0), exponential(Form::Data, 0.6), sde_two_m(1.0, false)] {
        let end = |steps: usize, noise: &Array3<f64>| {
            run(&Ou, &grid(steps), &scheme, &mut oracle(Prediction::Score, MODES), &x, noise).samples
        };
        let reference = end(FINE, &fine_noise);
        let fine = data(&scheme, FINE);
        let errors = [64, 512].map(|steps| {
            let (coarse, per_step) = (data(&scheme, steps), FINE / steps);
            let noise = Array3::from_shape_fn((steps, SAMPLES, 1), |(m, i, _)| {
                let walk = |sum: f64, k: usize| {
                    // Without the extrapolation the state's own coefficient is that of the linear part.
                    fine.a(k + 1, 1, 0, 0) * sum + fine.c(k + 1, 0, 0) * fine_noise[[k, i, 0]]
                };
                (m * per_step..(m + 1) * per_step).fold(0.0, walk) / coarse.c(m + 1, 0, 0)
            });
            let spread: f64 = noise.iter().map(|z| z * z).sum::<f64>() / noise.len() as f64;
            assert_close(spread, 1.0, 0.03, "variance of the summed normals");
            let mut errors = (end(steps, &noise) - &reference).mapv(f64::abs).into_raw_vec_and_offset().0;
            errors.sort_by(f64::total_cmp);
            errors[SAMPLES / 2]
        });
        let order = order(errors) / 3.0;
        assert!((0.85..1.2).contains(&order), "{scheme:?}: order {order} from the errors {errors:?}");
    }
}
