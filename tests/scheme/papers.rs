//! Whole runs against the algorithms of the papers, written out here in the papers' own variables.

use crate::oracle::{
    MODES, STOCHASTICITIES, assert_close, assert_row, exponential, normals, oracle, own_kind, run, schedules,
    sde_two_m, starts, step, two_m,
};
use ndarray::Axis;
use piadm::{
    Discrete, Edm, Flow, Grid, NoiseSchedule, Ou, Prediction, Scheme, VpCosine, VpLinear,
    grid::Spacing,
    nodes::{DdpmVariance, Form},
};
use std::sync::Arc;

const SAMPLES: usize = 7;

/// Compares a run with `algorithm`, which gets a start and the normals of its steps and returns the states at all grid
/// points.
fn assert_run(
    schedule: &(impl NoiseSchedule + Clone + 'static),
    grid: &Grid,
    scheme: &Scheme,
    kind: Prediction,
    algorithm: impl Fn(f64, &[f64]) -> Vec<f64>,
) {
    let times = grid.times(schedule).unwrap();
    let x = starts(SAMPLES, schedule.prior_std(times[0]));
    let noise = normals(times.len() - 1, SAMPLES);
    let solution = run(schedule, grid, scheme, &mut oracle(kind, MODES), &x, &noise);
    for (i, x) in x.iter().enumerate() {
        let noise = noise.index_axis(Axis(1), i);
        let expected = algorithm(*x, &noise.iter().copied().collect::<Vec<_>>());
        assert_eq!(expected.len(), times.len());
        for (m, expected) in expected.into_iter().enumerate() {
            let found = solution.path.states()[[m, i, 0]];
            let what = format!("{scheme:?}, {schedule:?}, {kind:?}, step {m}");
            assert_close(found, expected, 1e-11 * (1.0 + expected.abs()), &what);
        }
    }
}

/// The running product of 1 - beta, in the plainest way.
fn alphas_cumprod(betas: &[f64]) -> Vec<f64> {
    let product = |product: &mut f64, beta: &f64| {
        *product *= 1.0 - beta;
        Some(*product)
    };
    betas.iter().scan(1.0, product).collect()
}

fn betas(n: usize) -> Vec<f64> {
    (0..n).map(|i| 1e-3 + (0.2 - 1e-3) * i as f64 / (n - 1) as f64).collect()
}

/// Ho et al., arXiv 2006.11239, algorithm 2: every timestep of a table, both choices of the variance; no noise at last.
#[test]
fn ddpm_is_algorithm_2_of_its_paper() {
    let betas = betas(60);
    let bars = alphas_cumprod(&betas);
    let schedule = Discrete::new(bars.clone()).unwrap();
    let grid = Grid::table(59, Spacing::Linspace).then_data();
    for variance in [DdpmVariance::Small, DdpmVariance::Large] {
        let algorithm = |x: f64, noise: &[f64]| {
            let mut path = vec![x];
            for (m, i) in (0..60).rev().enumerate() {
                let x = path[m];
                let (alpha, sigma) = (bars[i].sqrt(), (1.0 - bars[i]).sqrt());
                let eps = (x - alpha * MODES.denoise(alpha, sigma, x)) / sigma;
                let mean = (x - betas[i] / (1.0 - bars[i]).sqrt() * eps) / (1.0 - betas[i]).sqrt();
                let before = if i == 0 { 1.0 } else { bars[i - 1] };
                let std = match variance {
                    _ if i == 0 => 0.0,
                    DdpmVariance::Small => (betas[i] * (1.0 - before) / (1.0 - bars[i])).sqrt(),
                    DdpmVariance::Large => betas[i].sqrt(),
                };
                path.push(mean + std * noise[m]);
            }
            path
        };
        let scheme = Scheme::Ddpm { variance };
        assert_run(&schedule, &grid, &scheme, Prediction::Noise, algorithm);
    }
}

/// Song et al., arXiv 2010.02502, equations 12 and 16, on a strided table.
#[test]
fn ddim_is_equation_12_of_its_paper() {
    let bars = alphas_cumprod(&betas(60));
    let schedule = Discrete::new(bars.clone()).unwrap();
    let grid = Grid::table(11, Spacing::Leading { offset: 1 });
    let index: Vec<usize> = grid.times(&schedule).unwrap().iter().map(|t| *t as usize).collect();
    for eta in [0.0, 0.3, 1.0] {
        let algorithm = |x: f64, noise: &[f64]| {
            let mut path = vec![x];
            for (m, pair) in index.windows(2).enumerate() {
                let x = path[m];
                let (t, u) = (bars[pair[0]], bars[pair[1]]);
                let d = MODES.denoise(t.sqrt(), (1.0 - t).sqrt(), x);
                let eps = (x - t.sqrt() * d) / (1.0 - t).sqrt();
                let std = eta * ((1.0 - u) / (1.0 - t)).sqrt() * (1.0 - t / u).sqrt();
                let direction = (1.0 - u - std * std).sqrt() * eps;
                path.push(u.sqrt() * d + direction + std * noise[m]);
            }
            path
        };
        assert_run(&schedule, &grid, &Scheme::Ddim { eta }, Prediction::Noise, algorithm);
    }
}

/// Song et al., arXiv 2011.13456: the reverse equation with f and g of the forward one, by Euler's method.
#[test]
fn euler_maruyama_is_made_of_f_and_g() {
    type Rates = fn(f64) -> (f64, f64);
    let beta = |t: f64| 0.1 + t * 19.9;
    let cases: [(Arc<dyn NoiseSchedule>, [f64; 2], Rates); 4] = [
        (Arc::new(Ou), [3.0, 0.1], |_| (-0.5, 1.0)),
        (Arc::new(VpLinear::default()), [0.9, 0.01], |t| {
            let beta = 0.1 + t * 19.9;
            (-0.5 * beta, beta)
        }),
        (Arc::new(Edm), [5.0, 0.2], |t| (0.0, 2.0 * t)),
        (Arc::new(Flow), [0.9, 0.05], |t| (-1.0 / (1.0 - t), 2.0 * t / (1.0 - t))),
    ];
    assert_eq!(beta(1.0), 20.0);
    for (schedule, [t_max, t_min], rates) in cases {
        let grid = Grid::uniform(40).between(t_max, t_min);
        let times = grid.times(&schedule).unwrap();
        for ups in STOCHASTICITIES {
            let algorithm = |x: f64, noise: &[f64]| {
                let mut path = vec![x];
                for (m, pair) in times.windows(2).enumerate() {
                    let (x, t, e) = (path[m], pair[0], pair[0] - pair[1]);
                    let (f, g2) = rates(t);
                    let (alpha, sigma) = (schedule.alpha(t), schedule.sigma(t));
                    let score = (alpha * MODES.denoise(alpha, sigma, x) - x) / (sigma * sigma);
                    let drift = -f * x + 0.5 * (1.0 + ups * ups) * g2 * score;
                    path.push(x + drift * e + ups * g2.sqrt() * e.sqrt() * noise[m]);
                }
                path
            };
            let scheme = Scheme::EulerMaruyama { stochasticity: ups };
            for kind in [Prediction::Score, Prediction::Velocity] {
                assert_run(&schedule, &grid, &scheme, kind, algorithm);
            }
        }
    }
}

/// Karras et al., arXiv 2206.00364, algorithm 1, from sigma to sigma; other schedules are this one in x/alpha.
fn karras_heun(x: f64, sigmas: &[f64]) -> Vec<f64> {
    let slope = |x: f64, sigma: f64| (x - MODES.denoise(1.0, sigma, x)) / sigma;
    let mut path = vec![x];
    for pair in sigmas.windows(2) {
        let (x, t, u) = (path[path.len() - 1], pair[0], pair[1]);
        let d = slope(x, t);
        let mut next = x + (u - t) * d;
        if u != 0.0 {
            next = x + (u - t) * (0.5 * d + 0.5 * slope(next, u));
        }
        path.push(next);
    }
    path
}

#[test]
fn heun_is_algorithm_1_of_karras() {
    let heun = Scheme::Heun {};
    let grid = Grid::karras(17, 0.002, 80.0, 7.0).then_data();
    let sigmas = grid.times(&Edm).unwrap();
    let algorithm = |x: f64, _: &[f64]| karras_heun(x, &sigmas);
    for kind in [Prediction::Data, Prediction::Noise] {
        assert_run(&Edm, &grid, &heun, kind, algorithm);
    }
    let cases: [(Arc<dyn NoiseSchedule>, f64); 3] =
        [(Arc::new(Ou), 4.0), (Arc::new(Flow), 0.95), (Arc::new(VpCosine::default()), 0.9)];
    for (schedule, t_max) in cases {
        let grid = Grid::log_snr(16).between(t_max, 0.02).then_data();
        let times = grid.times(&schedule).unwrap();
        let alpha = |m: usize| schedule.alpha(times[m]);
        let ratios: Vec<f64> = times.iter().map(|&t| schedule.sigma(t) / schedule.alpha(t)).collect();
        let algorithm = |x: f64, _: &[f64]| {
            let path = karras_heun(x / alpha(0), &ratios);
            path.into_iter().enumerate().map(|(m, x)| alpha(m) * x).collect()
        };
        assert_run(&schedule, &grid, &heun, Prediction::Flow, algorithm);
    }
}

/// Lu et al., arXiv 2211.01095, algorithm 2: DPM-Solver++(2M).
#[test]
fn dpm_solver_pp_2m_is_algorithm_2_of_its_paper() {
    for (schedule, grid) in schedules() {
        let times = grid.times(&schedule).unwrap();
        let lambda: Vec<f64> = times.iter().map(|&t| schedule.log_snr(t)).collect();
        for lower_order_final in [false, true] {
            let algorithm = |x: f64, _: &[f64]| {
                let (mut path, mut before) = (vec![x], None);
                for (m, pair) in times.windows(2).enumerate() {
                    let (x, t, u) = (path[m], pair[0], pair[1]);
                    let d = MODES.denoise(schedule.alpha(t), schedule.sigma(t), x);
                    let h = lambda[m + 1] - lambda[m];
                    let last = lower_order_final && m + 1 == times.len() - 1;
                    let used = match before {
                        Some(before) if !last => {
                            let r = (lambda[m] - lambda[m - 1]) / h;
                            (1.0 + 1.0 / (2.0 * r)) * d - 1.0 / (2.0 * r) * before
                        }
                        _ => d,
                    };
                    let kept = schedule.sigma(u) / schedule.sigma(t) * x;
                    path.push(kept - schedule.alpha(u) * ((-h).exp() - 1.0) * used);
                    before = Some(d);
                }
                path
            };
            let scheme = two_m(lower_order_final);
            assert_run(&schedule, &grid, &scheme, Prediction::Noise, algorithm);
        }
    }
}

/// SDE-DPM-Solver++(2M), midpoint form, in sigma as k-diffusion has it: t = -log sigma, noise level eta, plain
/// denoising into sigma = 0.
#[test]
fn the_stochastic_2m_is_the_midpoint_form() {
    let grid = Grid::karras(14, 0.02, 20.0, 7.0).then_data();
    let sigmas = grid.times(&Edm).unwrap();
    for eta in [0.0, 0.4, 1.0, 1.7] {
        let algorithm = |x: f64, noise: &[f64]| {
            let (mut path, mut old, mut h_last) = (vec![x], 0.0, 0.0);
            for (m, pair) in sigmas.windows(2).enumerate() {
                let (mut x, sigma, next) = (path[m], pair[0], pair[1]);
                let denoised = MODES.denoise(1.0, sigma, x);
                if next == 0.0 {
                    path.push(denoised);
                    break;
                }
                let h = sigma.ln() - next.ln();
                let renewed = 1.0 - (-h - eta * h).exp();
                x = next / sigma * (-eta * h).exp() * x + renewed * denoised;
                if m > 0 {
                    let r = h_last / h;
                    x += 0.5 * renewed * (1.0 / r) * (denoised - old);
                }
                path.push(x + noise[m] * next * (1.0 - (-2.0 * eta * h).exp()).sqrt());
                (old, h_last) = (denoised, h);
            }
            path
        };
        for kind in [Prediction::Data, Prediction::Velocity] {
            assert_run(&Edm, &grid, &sde_two_m(eta, false), kind, algorithm);
        }
    }
}

/// Lu et al., arXiv 2211.01095: SDE-DPM-Solver++(1), which has noise level 1.
#[test]
fn the_first_order_stochastic_solver_is_that_of_its_paper() {
    for (schedule, grid) in schedules() {
        let times = grid.times(&schedule).unwrap();
        let algorithm = |x: f64, noise: &[f64]| {
            let mut path = vec![x];
            for (m, pair) in times.windows(2).enumerate() {
                let (x, t, u) = (path[m], pair[0], pair[1]);
                let h = schedule.log_snr(u) - schedule.log_snr(t);
                let d = MODES.denoise(schedule.alpha(t), schedule.sigma(t), x);
                let kept = schedule.sigma(u) / schedule.sigma(t) * (-h).exp() * x;
                let renewed = 1.0 - (-2.0 * h).exp();
                let drift = schedule.alpha(u) * renewed * d;
                path.push(kept + drift + schedule.sigma(u) * renewed.sqrt() * noise[m]);
            }
            path
        };
        let scheme = Scheme::SdeDpmSolverPp1 { eta: 1.0 };
        assert_run(&schedule, &grid, &scheme, Prediction::Flow, algorithm);
    }
}

/// The exponential integrators' rows from their closed forms: frozen noise on every schedule, frozen score on
/// variance-exploding schedules and rectified flow.
#[test]
fn exponential_rows_have_their_closed_forms() {
    for (schedule, grid) in schedules() {
        let times = grid.times(&schedule).unwrap();
        for pair in times.windows(2) {
            let (t, u) = (pair[0], pair[1]);
            let (alpha_t, alpha_u) = (schedule.alpha(t), schedule.alpha(u));
            let (ratio_t, ratio_u) = (schedule.sigma(t) / alpha_t, schedule.sigma(u) / alpha_u);
            for ups in STOCHASTICITIES {
                let share = 1.0 + ups * ups;
                let c = ups * alpha_u * (ratio_t * ratio_t - ratio_u * ratio_u).sqrt();
                let weight = match schedule.alpha(0.5) {
                    1.0 => ratio_t * ratio_t - ratio_u * ratio_u,
                    0.5 => 2.0 * (1.0 - u) * (1.0 / (1.0 - t) - 1.0 / (1.0 - u) + ((1.0 - t) / (1.0 - u)).ln()),
                    _ => 2.0 * (alpha_u / alpha_t - 1.0),
                };
                let noise = -share * alpha_u * (ratio_t - ratio_u);
                for (form, b) in [(Form::Noise, noise), (Form::Score, 0.5 * share * weight)] {
                    let found = step(&*schedule, &exponential(form, ups), own_kind(form), t, u);
                    let what = format!("{schedule:?}, {form:?}, {t} to {u}");
                    assert_row(found, [alpha_u / alpha_t, b, c], 1e-11, &what);
                }
            }
        }
    }
}
