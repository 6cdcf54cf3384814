//! The corrector: underdamped Langevin dynamics with exact steps.

mod common;

use common::{bits, mixture};
use ndarray::{ArrayView2, ArrayViewMut2};
use piadm::{
    Acceptance, Cpu, Error, Nodes, Ou, Picard, Prediction, Problem, Rows, Sampler, ScoreFn, Sequential, Window,
    nodes::Langevin,
    sampler::{Linearisation, Policy},
    schedule::Level,
    score_fn,
};

const PRECISION: f64 = 4.0;

fn level() -> Level {
    Level::at(&Ou, 1.0)
}

/// (A, B, noise covariance) of one step for the score s.
fn step(langevin: Langevin) -> ([[f64; 2]; 2], [f64; 2], [[f64; 2]; 2]) {
    let list = langevin.list(level(), Prediction::Score, 0).unwrap();
    let a = [[list.a(1, 1, 0, 0), list.a(1, 1, 0, 1)], [list.a(1, 1, 1, 0), list.a(1, 1, 1, 1)]];
    let c = [[list.c(1, 0, 0), list.c(1, 0, 1)], [list.c(1, 1, 0), list.c(1, 1, 1)]];
    let cov = |i: usize, j: usize| c[i][0] * c[j][0] + c[i][1] * c[j][1];
    (a, [list.b(1, 1, 0, 0), list.b(1, 1, 1, 0)], [[cov(0, 0), cov(0, 1)], [cov(1, 0), cov(1, 1)]])
}

/// Stationary variance of the position for the score -P x: the fixed point of V = M V M^T + N, by iteration.
fn stationary_variance(langevin: Langevin, precision: f64) -> f64 {
    let (a, b, noise) = step(langevin);
    let m = [[a[0][0] - precision * b[0], a[0][1]], [a[1][0] - precision * b[1], a[1][1]]];
    let mut v = [[0.0f64; 2]; 2];
    for _ in 0..200_000 {
        let mut next = noise;
        for (i, row) in next.iter_mut().enumerate() {
            for (j, out) in row.iter_mut().enumerate() {
                for k in 0..2 {
                    for l in 0..2 {
                        *out += m[i][k] * v[k][l] * m[j][l];
                    }
                }
            }
        }
        v = next;
    }
    v[0][0]
}

/// Known answer: target N(0, 1/4), friction 2 sqrt 2.
const TABLE: [(f64, f64); 4] = [(0.4, 9.24e-2), (0.2, 4.06e-2), (0.1, 1.90e-2), (0.05, 9.15e-3)];

#[test]
fn stationary_variance_by_the_exact_recursion() {
    for (k, excess) in TABLE {
        let langevin = Langevin { friction: 8.0f64.sqrt(), step: k, steps: 1 };
        let found = stationary_variance(langevin, PRECISION) - 1.0 / PRECISION;
        assert!((found / excess - 1.0).abs() < 6e-3, "k = {k}: {found:e} for {excess:e}");
    }
    // first order in the step
    let bias = |k| stationary_variance(Langevin { friction: 8.0f64.sqrt(), step: k, steps: 1 }, PRECISION) - 0.25;
    let order = (bias(0.01) / bias(0.005)).log2();
    assert!((order - 1.0).abs() < 0.02, "{order}");
}

#[test]
fn stationary_variance_by_sampling() {
    let mut score =
        score_fn(Prediction::Score, |x: ArrayView2<'_, f64>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, f64>| {
            out.zip_mut_with(&x, |o, x| *o = -PRECISION * x);
            Ok(())
        });
    for (k, excess) in [TABLE[0], TABLE[1]] {
        let langevin = Langevin { friction: 8.0f64.sqrt(), step: k, steps: (10.0 / k) as usize };
        let list = langevin.list(level(), Prediction::Score, 0).unwrap();
        let n = 400 * 250;
        let problem = Problem::from_nodes(Cpu::<f64>::new(), list).samples(400).shape([250]).seed(5);
        let sampler = Picard::default().linearisation(Linearisation::FrozenScore).window(Window::Steps(16));
        let sampler = sampler.acceptance(Acceptance::change(1e-6));
        let x = sampler.sample(&problem, &mut score).unwrap().samples;
        let variance = x.mapv(|x| x * x).mean().unwrap();
        let expected = 1.0 / PRECISION + excess;
        let error = (variance - expected) / (expected * (2.0 / n as f64).sqrt());
        assert!(error.abs() < 4.0, "k = {k}: {variance} for {expected}, {error} standard errors");
    }
}

/// The covariance of one step, integrated numerically: x = int (1 - e^{-gamma(k-r)})/gamma sqrt(2 gamma) dB_r and so
/// on.
#[test]
fn covariances_are_those_of_the_equation() {
    for (friction, k) in
        [(2.0, 0.3), (0.01, 0.5), (50.0, 0.4), (3.0, 1e-4), (1e-6, 1e-6), (2.0, 0.0499), (2.0, 0.0501), (1e4, 1e-3)]
    {
        let (a, b, noise) = step(Langevin { friction, step: k, steps: 1 });
        let n = 4000;
        let h = k / f64::from(n);
        let (mut xx, mut xw, mut ww) = (0.0, 0.0, 0.0);
        let (mut push, mut drift) = (0.0, 0.0);
        for i in 0..n {
            let left = k - (f64::from(i) + 0.5) * h; // time to the end
            let (to_x, to_w) = (-(-friction * left).exp_m1() / friction, (-friction * left).exp());
            xx += 2.0 * friction * to_x * to_x * h;
            xw += 2.0 * friction * to_x * to_w * h;
            ww += 2.0 * friction * to_w * to_w * h;
            push += to_x * h;
            drift += to_w * h;
        }
        let close = |found: f64, expected: f64, what: &str| {
            assert!(
                (found / expected - 1.0).abs() < 1e-4,
                "{what} at friction {friction}, k {k}: {found:e} for {expected:e}"
            );
        };
        close(noise[0][0], xx, "xx");
        close(noise[0][1], xw, "xw");
        close(noise[1][1], ww, "ww");
        close(b[0], push, "push");
        close(b[1], drift, "drift");
        close(a[0][1], drift, "velocity on position");
        close(a[1][1], (-friction * k).exp(), "velocity on velocity");
        assert_eq!((a[0][0], a[1][0]), (1.0, 0.0));
    }
}

#[test]
fn every_kind_of_output_gives_the_same_steps() {
    let run = |prediction: Prediction| {
        let mut score = mixture(3, 4, 0.3, 0.91, 1).predicting(prediction);
        let list = Langevin { friction: 2.0, step: 0.1, steps: 30 }.list(level(), prediction, 0).unwrap();
        let problem = Problem::from_nodes(Cpu::<f64>::new(), list).samples(2).shape([4]).seed(3);
        Sequential.sample(&problem, &mut score as &mut dyn ScoreFn<Cpu<f64>>).unwrap().samples
    };
    let score = run(Prediction::Score);
    for kind in [Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow] {
        assert!((&run(kind) - &score).iter().all(|e| e.abs() < 1e-10), "{kind:?}");
    }
}

#[test]
fn parallel_equals_sequential_bit_for_bit() {
    let mut score = mixture(3, 40, 0.3, 0.91, 1);
    for (friction, k) in [(2.0, 0.1), (0.05, 0.2), (40.0, 0.1), (2.0, 1e-5)] {
        let list = Langevin { friction, step: k, steps: 40 }.list(level(), Prediction::Score, 7).unwrap();
        let problem = Problem::from_nodes(Cpu::<f32>::new(), list).samples(3).shape([40]).seed(3);
        let sequential = Sequential.sample(&problem, &mut score).unwrap();
        for linearisation in
            [Linearisation::FrozenScore, Linearisation::Identity, Linearisation::Gaussian { variance: 0.5 }]
        {
            for policy in [Policy::Blocks, Policy::Sliding] {
                let window = Window::Steps(9);
                let exact = Picard::default()
                    .policy(policy)
                    .window(window)
                    .linearisation(linearisation)
                    .acceptance(Acceptance::Exact);
                let parallel = exact.sample(&problem, &mut score).unwrap();
                assert_eq!(bits(&parallel.samples), bits(&sequential.samples));
            }
        }
    }
}

#[test]
fn the_start_of_velocities_and_the_noise_have_streams_of_their_own() {
    let langevin = Langevin { friction: 2.0, step: 0.1, steps: 1 };
    let mut zero =
        score_fn(Prediction::Score, |_: ArrayView2<'_, f64>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, f64>| {
            out.fill(0.0);
            Ok(())
        });
    let x0 = ndarray::Array2::zeros((1, 3));
    let list: Nodes = langevin.list(level(), Prediction::Score, 5).unwrap();
    let problem = Problem::from_nodes(Cpu::<f64>::new(), list.clone()).shape([3]).ids(vec![9]).seed(4).init_at(5, x0);
    let found = Sequential.sample(&problem, &mut zero).unwrap().samples;
    let normals = |stream, step| {
        let mut out = [0.0; 3];
        piadm::noise::NoiseKey::new(4).fill_f64(piadm::noise::Address { stream, step, sample: 9 }, 0, &mut out);
        out
    };
    let (w, z1, z2) = (normals(2, 5), normals(3, 6), normals(4, 6));
    for i in 0..3 {
        let expected = list.a(1, 1, 0, 1) * w[i] + list.c(1, 0, 0) * z1[i] + list.c(1, 0, 1) * z2[i];
        assert!((found[(0, i)] - expected).abs() < 1e-15);
    }
}

#[test]
fn bad_settings() {
    for (friction, step, steps) in [
        (0.0, 0.1, 1),
        (f64::NAN, 0.1, 1),
        (1.0, 0.0, 1),
        (1.0, f64::INFINITY, 1),
        (1.0, 0.1, 0),
        (1.0, 0.1, usize::MAX),
    ] {
        let list = Langevin { friction, step, steps }.list(level(), Prediction::Score, 0);
        assert!(matches!(list, Err(Error::Setting { .. })), "{friction} {step} {steps}");
    }
    let data_end = Level::at(&Ou, 0.0);
    let list = Langevin { friction: 1.0, step: 0.1, steps: 1 }.list(data_end, Prediction::Noise, 0);
    assert!(matches!(list, Err(Error::Singular { .. })));
}
