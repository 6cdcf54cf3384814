//! Predictor and corrector block by block.

mod common;

use common::{bits, exact, iterations, mixture};
use ndarray::{Array2, Array3, ArrayView2, ArrayViewMut2};
use piadm::noise::{Address, NormalPrecision};
use piadm::{
    Cpu, Grid, Observer, Ou, Picard, Prediction, Problem, Rows, Sampler, Save, Scheme, ScoreFn, Sequential, Window,
    nodes::{Correction, Form, Langevin},
    noise::NoiseKey,
    sampler::{Policy, Round},
    schedule::Level,
    score::Mixture,
    score_fn,
};
use std::ops::ControlFlow;

fn problem(steps: usize, shape: (usize, usize)) -> Problem<Cpu<f32>> {
    let grid = Grid::log_snr(steps).between(6.0, 0.05);
    Problem::new(Ou, grid, Scheme::Ddim { eta: 0.0 }).samples(shape.0).shape([shape.1]).seed(3)
}

const BLOCK: Window = Window::OuTime { ou_time: 1.0 };

/// The published iteration: a barrier at the end of every block and of every correction.
fn barriers() -> Picard {
    Picard::piadm(1.0, None).window(Window::Marked { marks: 1 })
}

#[test]
fn parallel_equals_sequential_bit_for_bit() {
    let mut score = mixture(4, 30, 0.3, 0.91, 2);
    let correction = Correction::default().friction(1.5).step(0.2).steps(6);
    let plain = problem(40, (3, 30)).save(Save::All);
    let problem = plain.clone().correction(BLOCK, correction);
    let reference = Sequential.sample(&problem, &mut score).unwrap();
    // windows that end inside of a correction, that hold several of them, and the published barriers
    let steps = [(5, Policy::Blocks), (64, Policy::Sliding)].map(|(steps, policy)| (Window::Steps(steps), policy));
    let marks = [(1, Policy::Blocks), (3, Policy::Sliding)].map(|(marks, policy)| (Window::Marked { marks }, policy));
    for iteration in iterations() {
        for (window, policy) in steps.into_iter().chain(marks) {
            let sampler = exact(policy, 1, iteration).window(window);
            let parallel = sampler.sample(&problem, &mut score).unwrap();
            assert_eq!(bits(&parallel.samples), bits(&reference.samples), "{sampler:?}");
            assert_eq!(parallel.path, reference.path);
        }
    }
    // and correction does something
    let uncorrected = Sequential.sample(&plain, &mut score).unwrap();
    assert_ne!(bits(&uncorrected.samples), bits(&reference.samples));
    // a sequence of blocks and their corrections
    let blocks = barriers().sample(&problem, &mut score).unwrap().report.sweeps.len() / 2;
    assert_eq!((reference.report.rounds, reference.report.steps), (40 + 6 * blocks, 40));
    assert!(blocks >= 5);
}

/// Few first-order ODE steps leave the wrong spread; the corrector mends it at the same number of predictor steps.
#[test]
fn correction_brings_the_law_closer_to_the_target() {
    let target = Mixture::new(vec![1.0], Array2::from_elem((1, 64), 0.5), vec![0.3]).unwrap();
    let level = Level::at(&Ou, 0.05);
    let variance = level.alpha.powi(2) * 0.09 + level.sigma.powi(2);
    let error = |x: &Array2<f32>| {
        let centred = x.mapv(|x| f64::from(x) - level.alpha * 0.5);
        (centred.mapv(|x| x * x).mean().unwrap() / variance - 1.0).abs()
    };
    for steps in [8, 16, 32] {
        let problem = problem(steps, (600, 64));
        let plain = Sequential.sample(&problem, &mut target.clone()).unwrap();
        let correction = Correction::default().friction(2.0).step(0.05).steps(60);
        let corrected = problem.correction(BLOCK, correction);
        let corrected = barriers().sample(&corrected, &mut target.clone()).unwrap();
        let (before, after) = (error(&plain.samples), error(&corrected.samples));
        println!("{steps} steps: relative error of the variance {before:.3} -> {after:.3}");
        assert!(after < 0.6 * before, "{steps} steps: {before} -> {after}");
    }
}

#[test]
fn rounds_and_samples_are_told_as_those_of_one_run() {
    struct Watch(Vec<(usize, usize)>, Vec<u32>);
    impl Observer<Cpu<f32>> for Watch {
        fn on_round(&mut self, round: &Round<'_>) -> ControlFlow<()> {
            self.0.push((round.round, round.finished[0]));
            ControlFlow::Continue(())
        }
        fn on_sample(&mut self, _: usize, id: u32, state: ndarray::ArrayView2<'_, f32>) {
            assert_eq!(state.dim(), (1, 5));
            self.1.push(id);
        }
    }
    let mut watch = Watch(vec![], vec![]);
    let problem = problem(30, (2, 5)).ids(vec![4, 8]).correction(BLOCK, Correction::default());
    let solution = barriers().run(&problem, &mut mixture(3, 5, 0.3, 0.91, 2), &mut watch).unwrap();
    let rounds: Vec<usize> = watch.0.iter().map(|r| r.0).collect();
    assert_eq!(rounds, (1..=solution.report.rounds).collect::<Vec<_>>());
    assert!(watch.0.windows(2).all(|w| w[0].1 <= w[1].1));
    assert_eq!(watch.0.last().unwrap().1, 30);
    assert_eq!(watch.1, [4, 8]);
}

/// The score of N(0, `VARIANCE`) data at each level.
const VARIANCE: f64 = 0.3;

fn slope(t: f64) -> f64 {
    1.0 / (VARIANCE * (-t).exp() + (1.0 - (-t).exp()))
}

fn gaussian() -> impl ScoreFn<Cpu<f64>> {
    score_fn(Prediction::Score, |x: ArrayView2<'_, f64>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, f64>| {
        for (i, (x, mut out)) in x.rows().into_iter().zip(out.rows_mut()).enumerate() {
            out.assign(&x.mapv(|x| -slope(rows.t[i]) * x));
        }
        Ok(())
    })
}

/// Two blocks of two steps; the clock has one unit per block.
const TIMES: [f64; 5] = [2.0, 1.4, 1.0, 0.5, 0.2];
const BLOCKS: [[usize; 2]; 2] = [[1, 2], [3, 4]];
fn correction() -> Correction {
    Correction::default().friction(1.7).step(0.3).steps(3)
}

/// (friction, time) of a Langevin step at time t.
fn units(t: f64) -> (f64, f64) {
    let sigma = (1.0 - (-t).exp()).sqrt();
    (1.7 / sigma, 0.3 * sigma)
}

fn blocks(shape: (usize, usize)) -> Problem<Cpu<f64>> {
    let scheme = Scheme::Exponential { form: Form::Score, stochasticity: 0.0 };
    let problem = Problem::on(Cpu::new(), Ou, Grid::new(TIMES.to_vec()), scheme).samples(shape.0).shape([shape.1]);
    problem.seed(11).save(Save::All).correction(BLOCK, correction())
}

/// The whole run written out: steps of the ODE, velocities and normals at their own addresses, the level that was
/// reached.
#[test]
fn every_step_is_the_one_written_out_by_hand() {
    let (ids, dim) = ([9u32, 4], 3);
    let key = NoiseKey::new(11).with_precision(NormalPrecision::Single);
    let normals = |stream, step, sample| {
        let mut out = [0.0; 3];
        key.fill_f64(Address { stream, step, sample }, 0, &mut out);
        out
    };
    let problem = blocks((2, dim)).ids(ids.to_vec());
    let solution = Sequential.sample(&problem, &mut gaussian()).unwrap();
    for (slot, &id) in ids.iter().enumerate() {
        let mut x = normals(0, 0, id);
        let mut corrector_step = 0;
        let close = |x: [f64; 3], step: usize| {
            let states = solution.path.at(step).unwrap();
            let wrong = x.iter().zip(states.row(slot)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(wrong < 1e-12, "step {step}: {wrong:e}");
        };
        close(x, 0);
        for [inner, end] in BLOCKS {
            for m in [inner, end] {
                let growth = (0.5 * (TIMES[m - 1] - TIMES[m])).exp();
                x = x.map(|x| growth * x - (growth - 1.0) * slope(TIMES[m - 1]) * x);
                if m == inner {
                    close(x, m);
                }
            }
            let t = TIMES[end];
            let (gamma, k) = units(t);
            let (g, q) = (gamma * k, (-gamma * k).exp());
            let mut w = normals(2, corrector_step, id);
            for _ in 0..3 {
                corrector_step += 1;
                let (z1, z2) = (normals(3, corrector_step, id), normals(4, corrector_step, id));
                for i in 0..dim {
                    let s = -slope(t) * x[i];
                    let mixed = (1.0 - q).powi(2) / (gamma * (1.0 - q * q).sqrt()) * z1[i];
                    let own = (2.0 * (g - 2.0 * (g / 2.0).tanh())).sqrt() / gamma * z2[i];
                    x[i] += (1.0 - q) / gamma * w[i] + (g - 1.0 + q) / (gamma * gamma) * s + mixed + own;
                    w[i] = q * w[i] + (1.0 - q) / gamma * s + (1.0 - q * q).sqrt() * z1[i];
                }
            }
            close(x, end);
        }
        assert_eq!(corrector_step, 6);
        let wrong = x.iter().zip(solution.samples.row(slot)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(wrong < 1e-12, "samples: {wrong:e}");
    }
}

/// The law, without a word about addresses: variances by the recursion of Gaussians, with covariances from integrals of
/// the equation.
#[test]
fn the_variance_is_that_of_the_exact_recursion() {
    let mut variance = 1.0;
    for [inner, end] in BLOCKS {
        for m in [inner, end] {
            let growth = (0.5 * (TIMES[m - 1] - TIMES[m])).exp();
            variance *= (growth - (growth - 1.0) * slope(TIMES[m - 1])).powi(2);
        }
        let t = TIMES[end];
        let (gamma, k) = units(t);
        let n = 2000;
        let (mut xx, mut xw, mut ww, mut push) = (0.0, 0.0, 0.0, 0.0);
        for i in 0..n {
            let left = k * (f64::from(i) + 0.5) / f64::from(n);
            let (to_x, to_w) = ((1.0 - (-gamma * left).exp()) / gamma, (-gamma * left).exp());
            let h = k / f64::from(n);
            xx += 2.0 * gamma * to_x * to_x * h;
            xw += 2.0 * gamma * to_x * to_w * h;
            ww += 2.0 * gamma * to_w * to_w * h;
            push += to_x * h;
        }
        let (keep, drift) = ((-gamma * k).exp(), (1.0 - (-gamma * k).exp()) / gamma);
        let m = [[1.0 - push * slope(t), drift], [-drift * slope(t), keep]];
        // covariance of (position, velocity)
        let (mut a, mut b, mut c) = (variance, 0.0, 1.0);
        for _ in 0..3 {
            let dot = |u: [f64; 2], v: [f64; 2]| u[0] * v[0] * a + (u[0] * v[1] + u[1] * v[0]) * b + u[1] * v[1] * c;
            (a, b, c) = (dot(m[0], m[0]) + xx, dot(m[0], m[1]) + xw, dot(m[1], m[1]) + ww);
        }
        variance = a;
    }
    let shape = (4000, 64);
    let x = Sequential.sample(&blocks(shape), &mut gaussian()).unwrap().samples;
    let found = x.mapv(|x| x * x).mean().unwrap();
    let error = (found / variance - 1.0) / (2.0 / (shape.0 * shape.1) as f64).sqrt();
    println!("variance {found:.5} for {variance:.5}: {error:.2} standard errors");
    assert!(error.abs() < 4.0, "{found} for {variance}: {error} standard errors");
}

/// Normals that are given are those of the predictor; the corrector keeps its own.
#[test]
fn given_noise_is_the_predictors() {
    let grid = Grid::new(TIMES.to_vec());
    let problem = Problem::on(Cpu::<f64>::new(), Ou, grid, Scheme::default()).samples(2).shape([3]).seed(11);
    let problem = problem.correction(BLOCK, correction());
    let mut given = Array3::zeros((4, 2, 3));
    for ((step, sample), row) in (0..4).flat_map(|m| [(m, 0), (m, 1)]).zip(given.rows_mut()) {
        let mut row = row;
        let key = NoiseKey::new(11).with_precision(NormalPrecision::Single);
        key.fill_f64(Address { stream: 1, step: step + 1, sample }, 0, row.as_slice_mut().unwrap());
    }
    let addressed = Sequential.sample(&problem, &mut gaussian()).unwrap();
    let with_given = Sequential.sample(&problem.noise(given), &mut gaussian()).unwrap();
    assert_eq!(bits(&addressed.samples), bits(&with_given.samples));
    assert_eq!(addressed.report.rounds, 4 + 6);
}

/// The documented units: friction over sigma, steps of sigma; the recipe's default for a dimension.
#[test]
fn corrections_are_in_units_of_the_noise_level() {
    for t in [0.01, 0.7, 5.0] {
        let (gamma, k) = units(t);
        let Langevin { friction, step, steps } = correction().at(&Level::at(&Ou, t));
        assert!((friction / gamma - 1.0).abs() < 1e-12 && (step / k - 1.0).abs() < 1e-12 && steps == 3, "t = {t}");
    }
    assert_eq!(Correction::default(), Correction::default().friction(2.0).step(0.1).steps(10));
    for (dim, steps) in [(1, 10), (100, 10), (784, 28), (1000, 32)] {
        assert_eq!(Correction::for_dim(dim), Correction::default().friction(2.0).step(1.0 / steps as f64).steps(steps));
    }
}
