//! Quality measures against closed forms, their errors against the scatter over seeds, and their invariances.

mod input;

use approx::assert_relative_eq;
use piadm::ndarray::{Array1, Array2, ArrayView2, Axis, array, concatenate, s};
use piadm::quality::{
    Estimate, energy_distance, frechet, frechet_diagonal, frechet_exact, gaussian_kl, mode_occupancy,
    sliced_wasserstein,
};
use piadm::{Result, score::Mixture};

type Measure = fn(ArrayView2<'_, f64>, ArrayView2<'_, f64>) -> Result<Estimate>;

fn sliced(x: ArrayView2<'_, f64>, y: ArrayView2<'_, f64>) -> Result<Estimate> {
    sliced_wasserstein(x, y, 40, 11)
}

const MEASURES: [(&str, Measure); 4] =
    [("energy", energy_distance), ("sliced", sliced), ("frechet", frechet), ("diagonal", frechet_diagonal)];

/// Rows of N(0, I).
fn normal(n: usize, dim: usize, seed: u64) -> Array2<f64> {
    Mixture::new([1.0], Array2::zeros((1, dim)), [1.0]).unwrap().sample(n, seed).unwrap()
}

/// The same numbers for every caller, in [-1, 1).
fn scatter(n: usize, m: usize, seed: usize) -> Array2<f64> {
    Array2::from_shape_fn((n, m), |(i, j)| (((i * m + j + 1) * (seed + 3)) as f64 * 12.9898).sin())
}

/// A rotation by Gram and Schmidt.
fn rotation(dim: usize) -> Array2<f64> {
    let mut q = scatter(dim, dim, 1) + 0.5 * Array2::<f64>::eye(dim);
    for i in 0..dim {
        for j in 0..i {
            let (a, b) = (q.row(i).to_owned(), q.row(j).to_owned());
            q.row_mut(i).scaled_add(-a.dot(&b), &b);
        }
        let norm = q.row(i).dot(&q.row(i)).sqrt();
        q.row_mut(i).mapv_inplace(|v| v / norm);
    }
    q
}

/// How estimates over seeds relate to the exact value and to their own errors.
#[derive(Debug)]
struct Calibration {
    /// Mean of the value minus the exact one, in standard errors of that mean.
    bias: f64,
    /// Root mean square of the errors over the standard deviation of the values.
    ratio: f64,
}

fn calibrate(exact: f64, seeds: u64, estimate: impl Fn(u64) -> Estimate) -> Calibration {
    let all: Vec<Estimate> = (0..seeds).map(estimate).collect();
    let n = seeds as f64;
    let mean = all.iter().map(|e| e.value).sum::<f64>() / n;
    let variance = all.iter().map(|e| (e.value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let claimed = all.iter().map(|e| e.error.powi(2)).sum::<f64>() / n;
    Calibration { bias: (mean - exact) / (variance / n).sqrt(), ratio: (claimed / variance).sqrt() }
}

/// erf by its power series.
fn erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for k in 1..60 {
        term *= -x * x / f64::from(k);
        sum += term / f64::from(2 * k + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

/// E|N(mean, 2)|, the distance of two normals of variance 1.
fn mean_distance(mean: f64) -> f64 {
    2.0 / std::f64::consts::PI.sqrt() * (-mean * mean / 4.0).exp() + mean * erf(mean / 2.0)
}

#[test]
fn energy_distance_is_its_double_sum() {
    for (n, m, dim) in [(4, 4, 1), (23, 31, 3), (50, 7, 17)] {
        let (x, y) = (scatter(n, dim, 4), scatter(m, dim, 9) + 0.2);
        let sum = |a: &Array2<f64>, b: &Array2<f64>| -> f64 {
            let distance = |r: &Array1<f64>| r.dot(r).sqrt();
            a.rows().into_iter().flat_map(|a| b.rows().into_iter().map(move |b| distance(&(&a - &b)))).sum()
        };
        let (p, q) = (n as f64, m as f64);
        let expected = 2.0 * sum(&x, &y) / (p * q) - sum(&x, &x) / (p * (p - 1.0)) - sum(&y, &y) / (q * (q - 1.0));
        let found = energy_distance(x.view(), y.view()).unwrap().value;
        assert_relative_eq!(found, expected, epsilon = 1e-13);
    }
    let (x, y) = (Array2::<f64>::zeros((9, 2)), Array2::zeros((6, 2)) + array![3.0, 4.0]);
    assert_eq!(energy_distance(x.view(), y.view()).unwrap(), Estimate { value: 10.0, error: 0.0 });
}

#[test]
fn closed_forms_hold_within_honest_errors() {
    let (n, m, dim, shift, std) = (200, 300, 3, 0.7, 1.5);
    let sets = |seed| (normal(n, dim, seed), normal(m, dim, 1000 + seed) * std + shift);
    let exact = dim as f64 * (shift * shift + (std - 1.0f64).powi(2));
    let line = calibrate(2.0 * mean_distance(1.0) - 2.0 * mean_distance(0.0), 200, |seed| {
        energy_distance(normal(n, 1, seed).view(), (normal(m, 1, 1000 + seed) + 1.0).view()).unwrap()
    });
    let slices = calibrate(exact / dim as f64, 200, |seed| {
        let (x, y) = sets(seed);
        sliced_wasserstein(x.view(), y.view(), 60, seed).unwrap()
    });
    let full = calibrate(exact, 200, |seed| {
        let (x, y) = sets(seed);
        frechet(x.view(), y.view()).unwrap()
    });
    let diagonal = calibrate(exact, 200, |seed| {
        let (x, y) = sets(seed);
        frechet_diagonal(x.view(), y.view()).unwrap()
    });
    let divergence = 0.5 * (std * std + shift * shift - 1.0 - (std * std).ln());
    let (mean, variance) = (Array1::zeros(dim), Array1::ones(dim));
    let kl = calibrate(divergence, 200, |seed| gaussian_kl(sets(seed).1.view(), mean.view(), variance.view()).unwrap());
    for (name, c) in [("energy", line), ("sliced", slices), ("full", full), ("diagonal", diagonal), ("kl", kl)] {
        assert!(c.bias.abs() < 3.5, "{name}: {c:?}");
        assert!((0.8..1.2).contains(&c.ratio), "{name}: {c:?}");
    }
}

#[test]
fn equal_laws_are_at_zero_with_an_error_too_large_by_the_root_of_two() {
    let (mean, variance) = (Array1::zeros(2), Array1::ones(2));
    let mut all: Vec<(&str, Calibration)> = MEASURES
        .iter()
        .map(|&(name, measure)| {
            let estimate = |seed| measure(normal(150, 2, seed).view(), normal(200, 2, 5000 + seed).view()).unwrap();
            (name, calibrate(0.0, 300, estimate))
        })
        .collect();
    let kl = |seed| gaussian_kl(normal(150, 2, seed).view(), mean.view(), variance.view()).unwrap();
    all.push(("kl", calibrate(0.0, 300, kl)));
    for (name, c) in all {
        assert!(c.bias.abs() < 3.5, "{name}: {c:?}");
        assert!((1.15..1.65).contains(&c.ratio), "{name}: {c:?}");
    }
}

#[test]
fn errors_fall_as_one_over_the_root_of_n_or_over_n_at_equality() {
    for (name, measure) in MEASURES {
        for (shift, power) in [(1.0, 0.5), (0.0, 1.0)] {
            let error = |n: usize| -> f64 {
                let one = |s| measure(normal(n, 2, s).view(), (normal(n, 2, 700 + s) + shift).view()).unwrap();
                (0..20).map(|s| one(s).error.powi(2)).sum::<f64>().sqrt()
            };
            let found = (error(100) / error(900)).ln() / 9.0f64.ln();
            // what the finite number of directions adds does not fall with n
            let slack = if name == "sliced" && shift > 0.0 { 0.45 } else { 0.12 };
            assert!(found > power - slack && found < power + 0.12, "{name}, shift {shift}: n^-{found}");
        }
    }
}

#[test]
fn sliced_distance_of_a_translation_is_that_of_its_projections() {
    let x = Array2::<f64>::zeros((60, 5));
    let a = array![1.0, -2.0, 0.0, 0.5, 3.0];
    let exact = a.dot(&a) / 5.0;
    // points have no sampling noise: only the directions scatter
    let c = calibrate(exact, 100, |seed| sliced_wasserstein(x.view(), (&x + &a).view(), 50, seed).unwrap());
    assert!(c.bias.abs() < 3.5 && (0.85..1.2).contains(&c.ratio), "{c:?}");
    let error = |p| sliced_wasserstein(x.view(), (&x + &a).view(), p, 3).unwrap().error;
    assert!((2.0..8.0).contains(&(error(100) / error(1600))), "4 expected");
    // a line has two directions and one distance
    let point = Array2::<f64>::zeros((40, 1));
    let found = sliced_wasserstein(point.view(), (Array2::zeros((70, 1)) + 3.0).view(), 4, 0).unwrap();
    assert!((found.value - 9.0).abs() < 1e-12 && found.error < 1e-6, "{found}");
    // the same numbers in sets of different sizes
    let x = scatter(40, 1, 2);
    let y = concatenate![Axis(0), x, x, x] + 3.0;
    let found = sliced_wasserstein(x.view(), y.view(), 4, 0).unwrap();
    assert!((found.value - 9.0).abs() < 2.0 * found.error && (0.4..1.2).contains(&found.error), "{found}");
}

#[test]
fn frechet_distance_of_known_gaussians() {
    // two by two: tr (A^1/2 B A^1/2)^1/2 = (tr AB + 2 (det A det B)^1/2)^1/2
    for seed in 0..50_usize {
        let random = |k: usize| {
            let m = scatter(2, 2, 2 * seed + k);
            m.dot(&m.t()) + 0.01 * Array2::<f64>::eye(2)
        };
        let (a, b) = (random(0), random(1));
        let det = |m: &Array2<f64>| m[[0, 0]] * m[[1, 1]] - m[[0, 1]] * m[[1, 0]];
        let overlap = (a.dot(&b).diag().sum() + 2.0 * (det(&a) * det(&b)).sqrt()).sqrt();
        let expected = 0.25 + a.diag().sum() + b.diag().sum() - 2.0 * overlap;
        let (zero, mean) = (array![0.0, 0.0], array![0.3, -0.4]);
        let found = frechet_exact((zero.view(), a.view()), (mean.view(), b.view())).unwrap();
        assert_relative_eq!(found, expected, epsilon = 1e-12);
    }
    // B = T A T has the map T from A to B, so the overlap is tr AT, for any A and T
    for dim in [1, 3, 20, 60] {
        let (m, t) = (scatter(dim, dim, 3), scatter(dim, dim, 8));
        let a = m.dot(&m.t()) / dim as f64 + 0.1 * Array2::<f64>::eye(dim);
        let t = t.dot(&t.t()) / dim as f64 + 0.2 * Array2::<f64>::eye(dim);
        let b = t.dot(&a).dot(&t);
        let b = (&b + &b.t()) / 2.0;
        let zero = Array1::zeros(dim);
        let expected = a.diag().sum() + b.diag().sum() - 2.0 * a.dot(&t).diag().sum();
        let found = frechet_exact((zero.view(), a.view()), (zero.view(), b.view())).unwrap();
        assert_relative_eq!(found, expected, epsilon = 1e-12 * dim as f64);
        assert!(frechet_exact((zero.view(), a.view()), (zero.view(), a.view())).unwrap() < 1e-12 * dim as f64);
    }
    // rank one: the overlap of aa' and bb' is |a.b|; and no spread at all
    let (a, b, zero) = (array![[1.0, 2.0, -1.0]], array![[0.5, 0.0, 2.0]], Array1::zeros(3));
    let (p, q) = (a.t().dot(&a), b.t().dot(&b));
    let found = frechet_exact((zero.view(), p.view()), (zero.view(), q.view())).unwrap();
    assert_relative_eq!(found, 6.0 + 4.25 - 3.0, epsilon = 1e-6);
    let none = Array2::zeros((3, 3));
    assert_eq!(frechet_exact((zero.view(), none.view()), (zero.view(), q.view())).unwrap(), 4.25);
}

#[test]
fn fitted_covariances_are_those_of_correlated_samples() {
    let (l, k) = (array![[1.0, 0.0], [0.8, 0.5]], array![[0.6, 0.0], [-0.4, 1.2]]);
    let (mean_x, mean_y) = (array![1e4, 0.0], array![1e4, 0.3]);
    let exact = frechet_exact((mean_x.view(), l.dot(&l.t()).view()), (mean_y.view(), k.dot(&k.t()).view())).unwrap();
    let sets = |s| (normal(200, 2, s).dot(&l.t()) + &mean_x, normal(260, 2, 90 + s).dot(&k.t()) + &mean_y);
    let measured = |measure: Measure| {
        move |s| {
            let (x, y) = sets(s);
            measure(x.view(), y.view()).unwrap()
        }
    };
    let c = calibrate(exact, 60, measured(frechet));
    assert!(c.bias.abs() < 3.5 && (0.75..1.35).contains(&c.ratio), "{c:?}");
    // a line has no other covariance than the variance
    let (x, y) = (normal(9, 1, 1), normal(7, 1, 2) + 1.0);
    let (full, diagonal) = (frechet(x.view(), y.view()).unwrap(), frechet_diagonal(x.view(), y.view()).unwrap());
    assert_relative_eq!(full.value, diagonal.value, max_relative = 1e-12);
    assert_relative_eq!(full.error, diagonal.error, max_relative = 1e-12);
    // and the diagonal does not see how coordinates are correlated
    assert!(calibrate(exact, 60, measured(frechet_diagonal)).bias < -10.0);
}

#[test]
fn rows_may_be_permuted_and_space_turned() {
    let (x, y) = (normal(300, 4, 1) * array![0.3, 1.0, 1.0, 2.0], normal(260, 4, 2) + 0.4);
    let reversed = |a: &Array2<f64>| a.slice(s![..;-1, ..]).to_owned();
    let turn = rotation(4);
    assert!((turn.dot(&turn.t()) - Array2::<f64>::eye(4)).iter().all(|e| e.abs() < 1e-12));
    let offset = array![5.0, -3.0, 1.0, 2.0];
    let moved = |a: &Array2<f64>| a.dot(&turn) + &offset;
    for (name, measure) in MEASURES {
        let of = |x: &Array2<f64>, y: &Array2<f64>| measure(x.view(), y.view()).unwrap();
        let here = of(&x, &y);
        let other_order = of(&reversed(&x), &y);
        let exchanged = of(&y, &x);
        for other in [other_order, exchanged] {
            assert!((other.value - here.value).abs() < 0.3 * here.error, "{name}: {here} and {other}");
            assert!((0.5..2.0).contains(&(other.error / here.error)), "{name}: {here} and {other}");
        }
        if name == "energy" {
            assert_relative_eq!(other_order.value, here.value, max_relative = 1e-12);
            assert_relative_eq!(exchanged.value, here.value, max_relative = 1e-12);
        }
        let there = of(&moved(&x), &moved(&y));
        match name {
            "energy" | "frechet" => {
                assert_relative_eq!(there.value, here.value, max_relative = 1e-9);
                assert_relative_eq!(there.error, here.error, max_relative = 1e-7);
            }
            "sliced" => assert!((there.value - here.value).abs() < 3.0 * here.error, "{here} and {there}"),
            _ => assert!((there.value - here.value).abs() > 3.0 * here.error, "{here} and {there}"),
        }
    }
}

/// The bits of every measure of one pair of sets.
fn all_bits(x: &Array2<f64>, y: &Array2<f64>) -> Vec<u64> {
    let mut all: Vec<Estimate> = MEASURES.iter().map(|(_, m)| m(x.view(), y.view()).unwrap()).collect();
    let (mean, variance) = (Array1::zeros(x.ncols()), Array1::ones(x.ncols()));
    all.push(gaussian_kl(x.view(), mean.view(), variance.view()).unwrap());
    let mixture = Mixture::new([1.0, 1.0], scatter(2, x.ncols(), 6), [0.9, 1.1]).unwrap();
    all.extend(mode_occupancy(x.view(), &mixture, 1.2).unwrap().modes);
    all.iter().flat_map(|e| [e.value.to_bits(), e.error.to_bits()]).collect()
}

#[test]
fn bits_do_not_depend_on_threads() {
    let (x, y) = (normal(203, 9, 1), normal(150, 9, 2) * 1.1);
    let here = all_bits(&x, &y);
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| all_bits(&x, &y)), here, "{threads} threads");
    }
}

#[test]
fn single_precision_columns_and_views_give_the_same() {
    let (x, y) = (normal(100, 3, 1), normal(90, 3, 2) + 0.5);
    let (x32, y32) = (x.mapv(|v| v as f32), y.mapv(|v| v as f32));
    let wide = (x32.mapv(f64::from), y32.mapv(f64::from));
    let narrow = energy_distance(x32.view(), y32.view()).unwrap();
    assert_eq!(narrow, energy_distance(wide.0.view(), wide.1.view()).unwrap());
    let columns = x.t().as_standard_layout().to_owned();
    assert_eq!(frechet(columns.t(), y.view()).unwrap(), frechet(x.view(), y.view()).unwrap());
}

#[test]
fn sorted_sets_have_the_errors_of_shuffled_ones() {
    let ordered = |seed| {
        let mut x = normal(200, 1, seed).into_raw_vec_and_offset().0;
        x.sort_by(f64::total_cmp);
        Array2::from_shape_vec((200, 1), x).unwrap()
    };
    let c = calibrate(1.0, 150, |s| frechet(ordered(s).view(), (ordered(900 + s) + 1.0).view()).unwrap());
    assert!(c.bias.abs() < 3.5 && (0.8..1.25).contains(&c.ratio), "{c:?}");
}

#[test]
fn modes_are_counted_with_binomial_errors() {
    let mixture = Mixture::new([0.1, 0.6, 0.3], array![[-3.0, 0.0], [3.0, 0.0], [0.0, 4.0]], [0.3, 0.5, 0.2]).unwrap();
    for (k, weight) in [0.1, 0.6, 0.3].into_iter().enumerate() {
        let part = |seed| mode_occupancy(mixture.sample(400, seed).unwrap().view(), &mixture, 6.0).unwrap().modes[k];
        let c = calibrate(weight, 300, part);
        assert!(c.bias.abs() < 3.5 && (0.88..1.15).contains(&c.ratio), "mode {k}: {c:?}");
    }
    // a narrow light mode inside a wide heavy one: the posterior decides, not the distance
    let nested = Mixture::new([0.9, 0.1], array![[0.0], [0.2]], [1.0, 0.01]).unwrap();
    let x = array![[0.1], [0.2], [0.205], [0.25], [-2.9], [3.1], [100.0]];
    let count = |radius| {
        let o = mode_occupancy(x.view(), &nested, radius).unwrap();
        [o.modes[0].value, o.modes[1].value, o.outside.value].map(|part| (part * 7.0).round())
    };
    assert_eq!(count(3.0), [3.0, 2.0, 2.0]);
    assert_eq!(count(f64::INFINITY), [5.0, 2.0, 0.0]);
    // the radius counts deviations of a coordinate
    let wide = Mixture::new([1.0], Array2::zeros((1, 100)), [2.0]).unwrap();
    let x = Array2::from_elem((1, 100), 2.9);
    assert_eq!(mode_occupancy(x.view(), &wide, 1.5).unwrap().outside.value, 0.0);
    assert_eq!(mode_occupancy(x.view(), &wide, 1.4).unwrap().outside.value, 1.0);
    let none = mode_occupancy(x.view(), &wide, 1.5).unwrap().outside;
    assert!(none.error > 0.1, "one sample says little: {none}");
}
