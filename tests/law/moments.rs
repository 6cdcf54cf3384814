//! Linear networks: every state is a known combination of the start and the normals, so the joint law of the verified
//! states is known in full.

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis};
use piadm::backend::Real;
use piadm::nodes::{Correction, Langevin};
use piadm::sampler::{Entry, Linearisation};
use piadm::schedule::Level;
use piadm::{
    Cpu, Grid, Nodes, Ou, Picard, Prediction, Problem, Rows, Sampler, Save, Scheme, ScoreFn, Window, score_fn,
};
use std::collections::HashMap;

/// Variance of the data.
const VARIANCE: f64 = 0.3;
const SAMPLES: usize = 2_000;
const DIM: usize = 6;

/// The score of N(0, 0.3).
fn gain(level: &Level) -> f64 {
    -1.0 / (level.alpha * level.alpha * VARIANCE + level.sigma * level.sigma)
}

fn score<T: Real>() -> impl ScoreFn<Cpu<T>> {
    score_fn(Prediction::Score, |x: ArrayView2<'_, T>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, T>| {
        for (i, mut out) in out.rows_mut().into_iter().enumerate() {
            let g = -1.0 / (rows.alpha[i] * rows.alpha[i] * VARIANCE + rows.sigma[i] * rows.sigma[i]);
            out.zip_mut_with(&x.row(i), |out, x| *out = T::of(g * x.wide()));
        }
        Ok(())
    })
}

/// The first component of every node as a combination of the start and of the normals, in the order of their first use.
fn combinations(list: &Nodes) -> Vec<Vec<f64>> {
    let mut known = HashMap::new();
    for j in 0..list.nodes().len() {
        for normal in list.normals(j) {
            let next = known.len() + 1;
            known.entry((normal.stream, normal.step)).or_insert(next);
        }
    }
    let mut states: Vec<Vec<Vec<f64>>> = Vec::new();
    for (j, node) in list.nodes().iter().enumerate() {
        let mut state = vec![vec![0.0; known.len() + 1]; node.width];
        for (to, x) in state.iter_mut().enumerate() {
            for (k, normal) in list.normals(j).iter().enumerate() {
                x[known[&(normal.stream, normal.step)]] += list.c(j, to, k);
            }
            for lag in 1..=list.lookback().min(j) {
                let source = &states[j - lag];
                for (from, earlier) in source.iter().enumerate() {
                    let a = list.a(j, lag, to, from);
                    let b = if from == 0 { list.b(j, lag, to, 0) * gain(&list.nodes()[j - lag].level) } else { 0.0 };
                    x.iter_mut().zip(earlier).for_each(|(x, e)| *x += (a + b) * e);
                }
            }
        }
        if j == 0 {
            state[0][0] = 1.0;
        }
        states.push(state);
    }
    states.into_iter().map(|mut state| state.swap_remove(0)).collect()
}

/// Means, variances and covariances of the states at three steps against their exact values; returns how many guesses
/// were refused and the largest deviation in standard errors.
fn compare<T: Real>(list: &Nodes, sampler: &Picard) -> (usize, f64) {
    let steps = list.steps();
    let at = [steps / 3, 2 * steps / 3, steps];
    let problem = Problem::from_nodes(Cpu::<T>::new(), list.clone()).samples(SAMPLES).shape([DIM]).seed(5);
    let solution = sampler.sample(&problem.save(Save::Steps(at.to_vec())), &mut score::<T>()).unwrap();
    let states = solution.path.states();
    let combinations = combinations(list);
    let nodes = at.map(|step| list.nodes().iter().position(|n| n.solution && n.step == step).unwrap());
    let n = (SAMPLES * DIM) as f64;
    let mut worst: f64 = 0.0;
    let column = |i: usize| -> Vec<f64> { states.index_axis(Axis(0), i).iter().map(|x| x.wide()).collect() };
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for i in 0..3 {
        let (x, cx) = (column(i), &combinations[nodes[i]]);
        worst = worst.max((x.iter().sum::<f64>() / (n * dot(cx, cx)).sqrt()).abs());
        for k in 0..=i {
            let (y, cy) = (column(k), &combinations[nodes[k]]);
            // the product of two normals has the variance s^2 t^2 + cov^2
            let (cov, var) = (dot(cx, cy), dot(cx, cx) * dot(cy, cy));
            worst = worst.max(((dot(&x, &y) / n - cov) / ((var + cov * cov) / n).sqrt()).abs());
        }
    }
    (solution.report.verified.unwrap().refused.iter().sum(), worst)
}

fn grid(zero: bool) -> Grid {
    let grid = Grid::log_snr(24).between(4.0, 0.05);
    if zero { grid.then_data() } else { grid }
}

/// Iterations that guess badly, so that many guesses are refused, and the default.
fn samplers() -> Vec<Picard> {
    let wrong = Linearisation::Gaussian { variance: 2.0 };
    let iterations = [
        (Linearisation::FrozenScore, Entry::HeldData { variance: 0.0 }),
        (wrong, Entry::LinearData { variance: 1.0 }),
        (Linearisation::Identity, Entry::Copy),
        (Linearisation::Secant, Entry::Auto),
    ];
    let of = |(linearisation, entry)| Picard::exact_in_law().linearisation(linearisation).entry(entry);
    iterations.into_iter().map(of).collect()
}

fn lists() -> Vec<(&'static str, Nodes)> {
    let made = |scheme: &Scheme, zero| Nodes::new(&Ou, &grid(zero), scheme, Prediction::Score).unwrap();
    let second = Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: false };
    let langevin = Langevin { friction: 2.0, step: 0.3, steps: 24 };
    let correction = Correction::default().step(0.4).steps(3);
    let corrected = |scheme: &Scheme| {
        let block = (Window::Steps(6), &correction);
        Nodes::corrected(&Ou, &grid(true), scheme, Prediction::Score, 0..25, block).unwrap()
    };
    vec![
        ("first order", made(&Scheme::default(), false)),
        ("first order, to sigma = 0", made(&Scheme::default(), true)),
        ("2M", made(&second, false)),
        ("2M, to sigma = 0", made(&second, true)),
        ("Langevin", langevin.list(Level::at(&Ou, 0.7), Prediction::Score, 0).unwrap()),
        ("ODE, corrected", corrected(&Scheme::ddim())),
        ("2M, corrected", corrected(&second)),
    ]
}

#[test]
fn joint_covariances_are_exact() {
    for (name, list) in lists() {
        for (i, sampler) in samplers().iter().enumerate() {
            let mut all = 0;
            for window in [3, 8, 40] {
                let sampler = sampler.clone().window(Window::Nodes { nodes: window });
                let single = window == 8;
                let (refused, z) =
                    if single { compare::<f32>(&list, &sampler) } else { compare::<f64>(&list, &sampler) };
                let each = refused as f64 / SAMPLES as f64;
                println!("{name}, iteration {i}, window {window}: {each:.1} refused, {z:.2} standard errors");
                assert!(z < 4.7, "{name}, {sampler:?}: {z}");
                all += refused;
            }
            // guesses were wrong enough to be refused, where the nodes without noise do not stop most windows first
            assert!(all > SAMPLES / 10 || name.starts_with("ODE"), "{name}, iteration {i}: {all} refused");
        }
    }
}

/// The moments see a sampler that is not exact in law: guesses that are taken as they are after a few sweeps.
#[test]
fn covariances_see_what_is_not_exact() {
    let (_, list) = lists().swap_remove(0);
    let loose = &samplers()[0];
    let sampler = loose.clone().acceptance(piadm::Acceptance::change(0.6)).window(40);
    let problem = Problem::from_nodes(Cpu::<f64>::new(), list.clone()).samples(SAMPLES).shape([DIM]).seed(5);
    let samples: Array2<f64> = sampler.sample(&problem, &mut score::<f64>()).unwrap().samples;
    let exact = &combinations(&list)[list.nodes().len() - 1];
    let variance: f64 = exact.iter().map(|c| c * c).sum();
    let found = samples.mapv(|x| x * x).mean().unwrap();
    let z = (found / variance - 1.0) / (2.0 / samples.len() as f64).sqrt();
    assert!(z.abs() > 6.0, "{z}");
}
