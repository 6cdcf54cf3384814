//! The exact oracle of a Gaussian mixture against closed forms, finite differences and identities.

use approx::assert_relative_eq;
use piadm::ndarray::{Array, Array1, Array2, ArrayView1, Dimension, array, s};
use piadm::{Cpu, Error, Prediction, Rows, ScoreFn, backend::Real, score::Mixture};

const KINDS: [Prediction; 5] =
    [Prediction::Score, Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow];
/// (alpha, sigma) of several schedules.
const LEVELS: [(f64, f64); 5] = [(0.95, 0.31224989991992), (0.6, 0.8), (0.01, 0.99995), (1.0, 20.0), (0.4, 0.6)];

/// Numbers without a pattern, in [-1, 1).
fn scatter(i: usize) -> f64 {
    let mut z = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z >> 11) as f64) / (1u64 << 52) as f64 - 1.0
}

/// Every element within the larger of two bounds.
fn assert_close<D: Dimension>(found: &Array<f64, D>, expected: &Array<f64, D>, relative: f64, absolute: f64) {
    assert_eq!(found.shape(), expected.shape());
    for (f, e) in found.iter().zip(expected) {
        assert!((f - e).abs() <= absolute.max(relative * e.abs()), "{f:e} for {e:e} in {found} for {expected}");
    }
}

fn cloud(modes: usize, dim: usize) -> Mixture {
    let weights: Vec<f64> = (0..modes).map(|k| 1.0 + k as f64).collect();
    let std: Vec<f64> = (0..modes).map(|k| 0.2 + 0.15 * (k % 3) as f64).collect();
    let means = Array2::from_shape_fn((modes, dim), |(k, i)| 1.5 * scatter(k * dim + i));
    Mixture::new(weights, means, std).unwrap()
}

/// Evaluates states at one level per row.
fn eval<T: Real>(mixture: &mut Mixture, x: &Array2<T>, levels: &[(f64, f64)]) -> Array2<T>
where
    Mixture: ScoreFn<Cpu<T>>,
{
    let n = x.nrows();
    let (alpha, sigma): (Vec<f64>, Vec<f64>) = levels.iter().cycle().take(n).copied().unzip();
    let (t, sample, slot) = (vec![0.5; n], vec![0; n], vec![0; n]);
    let rows = Rows::new(&t, &alpha, &sigma, &sample, &slot).unwrap();
    let mut out = Array2::from_elem(x.raw_dim(), T::nan());
    mixture.eval(x.view(), &rows, out.view_mut()).unwrap();
    out
}

fn at(mixture: &Mixture, kind: Prediction, x: &[f64], alpha: f64, sigma: f64) -> Array1<f64> {
    let x = ArrayView1::from(x).insert_axis(piadm::ndarray::Axis(0)).to_owned();
    eval(&mut mixture.clone().predicting(kind), &x, &[(alpha, sigma)]).row(0).to_owned()
}

#[test]
fn score_is_the_gradient_of_the_log_density() {
    let mixture = cloud(4, 3);
    for (case, &(alpha, sigma)) in LEVELS.iter().enumerate() {
        let x: Vec<f64> = (0..3).map(|i| (alpha + sigma) * 1.3 * scatter(90 + 3 * case + i)).collect();
        let score = at(&mixture, Prediction::Score, &x, alpha, sigma);
        for i in 0..3 {
            let h = 1e-4 * (alpha * 0.2 + sigma);
            let density = |steps: f64| {
                let mut y = x.clone();
                y[i] += steps * h;
                mixture.log_density(&y, alpha, sigma).unwrap()
            };
            let slope = (8.0 * (density(1.0) - density(-1.0)) - (density(2.0) - density(-2.0))) / (12.0 * h);
            assert_relative_eq!(score[i], slope, max_relative = 1e-8, epsilon = 1e-8 / sigma);
        }
    }
}

#[test]
fn density_has_mass_one() {
    let mixture = Mixture::new([1.0, 2.0, 0.5], array![[-1.0], [0.3], [2.0]], [0.2, 0.0, 0.6]).unwrap();
    let normal = Mixture::new([1.0], array![[0.5, 0.0, -2.0]], [2.0]).unwrap();
    let exact = -0.5 * (1.0 / 5.0) - 1.5 * (2.0 * std::f64::consts::PI * 5.0).ln();
    assert_relative_eq!(normal.log_density(&[0.5, 1.0, -2.0], 1.0, 1.0).unwrap(), exact, max_relative = 1e-14);
    for (alpha, sigma) in [(0.9, 0.4), (0.0, 1.0), (1.0, 0.1)] {
        let density = |i: i32| mixture.log_density(&[f64::from(i) * 1e-2], alpha, sigma).unwrap().exp();
        let mass: f64 = (-1000..1000).map(|i| density(i) * 1e-2).sum();
        assert_relative_eq!(mass, 1.0, max_relative = 1e-9);
    }
}

#[test]
fn every_kind_holds_the_same_data_and_score() {
    let mixture = cloud(5, 7);
    for (case, &(alpha, sigma)) in LEVELS.iter().enumerate() {
        let x: Vec<f64> = (0..7).map(|i| (alpha + sigma) * 1.5 * scatter(500 + 7 * case + i)).collect();
        let data = at(&mixture, Prediction::Data, &x, alpha, sigma);
        let score = at(&mixture, Prediction::Score, &x, alpha, sigma);
        for kind in KINDS {
            let f = at(&mixture, kind, &x, alpha, sigma);
            let ((p, q), (ps, qs)) = (kind.data_map(alpha, sigma), kind.score_map(alpha, sigma));
            for i in 0..7 {
                let size = (p * x[i]).abs() + 1.0;
                assert_relative_eq!(p * x[i] + q * f[i], data[i], epsilon = 1e-12 * size);
                assert_relative_eq!(ps * x[i] + qs * f[i], score[i], epsilon = 1e-12 * ((ps * x[i]).abs() + qs.abs()));
            }
        }
    }
}

#[test]
fn one_mode_is_the_gaussian_oracle() {
    for std in [0.0, 0.5, 1.0, 3.0] {
        let mixture = Mixture::new([2.5], array![[0.7, -1.2]], [std]).unwrap();
        for (alpha, sigma) in LEVELS {
            let x = [1.1, -0.3];
            let v = alpha * alpha * std * std + sigma * sigma;
            for i in 0..2 {
                let m = [0.7, -1.2][i];
                let data = m + alpha * std * std / v * (x[i] - alpha * m);
                let noise = sigma / v * (x[i] - alpha * m);
                let expected = [-noise / sigma, noise, data, alpha * noise - sigma * data, noise - data];
                for (kind, expected) in KINDS.into_iter().zip(expected) {
                    let found = at(&mixture, kind, &x, alpha, sigma)[i];
                    assert_relative_eq!(found, expected, max_relative = 1e-11, epsilon = 1e-13 * (1.0 + 1.0 / v));
                }
            }
        }
    }
}

/// Modes at +-m with equal weights: D = gamma x + (sigma^2 / v) m tanh(alpha m x / v) in one dimension.
#[test]
fn two_modes_are_a_tanh_near_and_far() {
    let m = 1.3;
    for std in [0.0, 0.4] {
        let mixture = Mixture::new([1.0, 1.0], array![[-m], [m]], [std, std]).unwrap();
        for (alpha, sigma) in [(0.9, 0.4), (1.0, 1e-3), (1.0, 80.0), (1e-8, 1.0), (0.0, 1.0), (0.5, 1e-60)] {
            for x in [-1e8, -30.0, -2.0, -1e-9, 0.0, 1e-5, 0.1, 1.1, 5.0, 1e4, 1e8] {
                let v = alpha * alpha * std * std + sigma * sigma;
                let tanh = (alpha * m * x / v).tanh();
                let expected = alpha * std * std / v * x + sigma * sigma / v * m * tanh;
                let found = at(&mixture, Prediction::Data, &[x], alpha, sigma)[0];
                // the logits are rounded to 1e-16 of the squared distance over the variance
                let logit = (x.abs() + m).powi(2) / v;
                let slack = if tanh.abs() < 1.0 { (4e-16 * logit).min(1.0) } else { 0.0 };
                assert_relative_eq!(
                    found,
                    expected,
                    max_relative = 1e-12,
                    epsilon = sigma * sigma / v * m * slack + 1e-15
                );
            }
        }
    }
}

#[test]
fn extremes_stay_exact() {
    // sigma = 0 where modes have width: the score of the data
    let mixture = cloud(3, 2);
    let score = at(&mixture, Prediction::Score, &[0.2, -0.4], 1.0, 0.0);
    let near = at(&mixture, Prediction::Score, &[0.2, -0.4], 1.0, 1e-9);
    assert!(score.iter().all(|s| s.is_finite()));
    assert_close(&score, &near, 1e-12, 0.0);
    assert_close(&at(&mixture, Prediction::Data, &[0.2, -0.4], 1.0, 0.0), &array![0.2, -0.4], 1e-15, 0.0);

    // alpha = 0: nothing is known, D is the mean, velocity -D, flow x - D, score -x
    let x = [0.5, -2.0];
    let mean = mixture.mean();
    assert_close(&at(&mixture, Prediction::Data, &x, 0.0, 1.0), &mean, 1e-14, 0.0);
    assert_close(&at(&mixture, Prediction::Velocity, &x, 0.0, 1.0), &-&mean, 1e-14, 0.0);
    assert_close(&at(&mixture, Prediction::Flow, &x, 0.0, 1.0), &(Array1::from(x.to_vec()) - &mean), 1e-14, 0.0);
    assert_eq!(at(&mixture, Prediction::Score, &x, 0.0, 1.0), array![-0.5, 2.0]);

    // points at a tiny noise level: the nearest one, and a score of 1/sigma^2
    let points = Mixture::new([1.0, 1.0], array![[0.0, 0.0], [1.0, 1.0]], [0.0, 0.0]).unwrap();
    assert_eq!(at(&points, Prediction::Data, &[1e-9, 0.0], 1.0, 1e-100), array![0.0, 0.0]);
    assert_close(&at(&points, Prediction::Score, &[1.0, 3.0], 1.0, 1e-100), &array![0.0, -2e200], 1e-12, 0.0);

    // squared distances that overflow: the widest mode is responsible
    let wide = Mixture::new([1.0, 1.0], array![[0.0], [1.0]], [0.1, 0.5]).unwrap();
    for x in [1e200, -1e160, 1e155] {
        assert_relative_eq!(at(&wide, Prediction::Score, &[x], 1.0, 0.0)[0], -x / 0.25, max_relative = 1e-12);
    }
    let x = array![[1e25_f32], [-3e19]];
    let out = eval(&mut wide.clone(), &x, &[(1.0, 0.0)]);
    assert_close(&out.mapv(f64::from), &x.mapv(|x| -f64::from(x) / 0.25), 1e-6, 0.0);

    // even where no logarithm of a weight is finite any more, some point is the answer
    let far = at(&points, Prediction::Data, &[1e200, 0.0], 1.0, 1e-10);
    assert!(far.iter().all(|d| (0.0..=1.0).contains(d)), "{far}");

    // +0 and -0 are one state, and what is not finite stays visible
    let zeros = eval(&mut cloud(3, 2), &array![[0.0_f32, -0.0], [-0.0, 0.0]], &[(0.8, 0.6)]);
    assert_eq!(zeros.row(0), zeros.row(1));
    for kind in KINDS {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let out = eval(&mut points.clone().predicting(kind), &array![[0.1, bad]], &[(0.8, 0.6)]);
            assert!(!out[[0, 1]].is_finite(), "{kind:?} of {bad}");
        }
    }
}

#[test]
fn single_precision_agrees_with_double() {
    for (modes, dim) in [(1, 1), (8, 64), (5, 300)] {
        let mixture = cloud(modes, dim);
        let data = mixture.sample(12, 3).unwrap();
        let x = Array2::from_shape_fn((12, dim), |(i, j)| {
            let (alpha, sigma) = LEVELS[i % LEVELS.len()];
            f64::from((alpha * data[[i, j]] + sigma * 1.7 * scatter(i * dim + j)) as f32)
        });
        for kind in KINDS {
            let double = eval(&mut mixture.clone().predicting(kind), &x, &LEVELS);
            let single = eval(&mut mixture.clone().predicting(kind), &x.mapv(|x| x as f32), &LEVELS);
            for (i, (single, double)) in single.rows().into_iter().zip(double.rows()).enumerate() {
                let scale = double.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
                let error = single.iter().zip(double).map(|(s, d)| (f64::from(*s) - d).abs()).fold(0.0, f64::max);
                assert!(
                    error < 2e-5 * scale,
                    "{modes} modes, {dim} elements, {kind:?}, row {i}: {error:e} of {scale:e}"
                );
            }
        }
    }
}

/// All bits of a batch, row by row, whatever the batches and threads.
fn rows_do_not_see_each_other<T: Real>(bits: fn(T) -> u64)
where
    Mixture: ScoreFn<Cpu<T>>,
{
    for (modes, dim) in [(3, 5), (1, 3), (7, 130), (40, 64)] {
        let mut mixture = cloud(modes, dim).predicting(Prediction::Velocity);
        let x = Array2::from_shape_fn((100, dim), |(i, j)| T::of(1.5 * scatter(i * dim + j)));
        let levels: Vec<(f64, f64)> = LEVELS.iter().cycle().take(100).copied().collect();
        let alone: Vec<Vec<u64>> = (0..100)
            .map(|i| {
                eval(&mut mixture, &x.slice(s![i..i + 1, ..]).to_owned(), &levels[i..])
                    .iter()
                    .map(|v| bits(*v))
                    .collect()
            })
            .collect();
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for batch in [2, 7, 100] {
                for from in (0..100).step_by(batch) {
                    let to = (from + batch).min(100);
                    let x = x.slice(s![from..to, ..]).to_owned();
                    let out = pool.install(|| eval(&mut mixture.clone(), &x, &levels[from..]));
                    for (i, row) in out.rows().into_iter().enumerate() {
                        let row: Vec<u64> = row.iter().map(|v| bits(*v)).collect();
                        assert_eq!(row, alone[from + i], "{threads} threads, batch {batch}, row {}", from + i);
                    }
                }
            }
        }
    }
}

#[test]
fn row_bits_do_not_depend_on_batch_or_threads() {
    rows_do_not_see_each_other::<f32>(|v| u64::from(v.to_bits()));
    rows_do_not_see_each_other::<f64>(f64::to_bits);
}

#[test]
fn views_of_any_layout_are_read_and_written() {
    let mut mixture = cloud(3, 4);
    let x = Array2::from_shape_fn((6, 4), |(i, j)| scatter(i * 4 + j));
    let levels = [(0.8, 0.6)];
    let expected = eval(&mut mixture, &x, &levels);
    let (columns, mut out) = (x.t().as_standard_layout().into_owned(), Array2::zeros((4, 6)));
    let rows = Rows::new(&[0.5; 6], &[0.8; 6], &[0.6; 6], &[0; 6], &[0; 6]).unwrap();
    mixture.eval(columns.t(), &rows, out.view_mut().reversed_axes()).unwrap();
    assert_eq!(out.t(), expected);
}

#[test]
fn samples_follow_the_law() {
    let mixture =
        Mixture::new([1.0, 3.0, 6.0], array![[-4.0, 0.0, 1.0], [4.0, 1.0, 0.0], [0.0, 9.0, 0.0]], [0.5, 1.0, 0.0])
            .unwrap();
    let n = 20_000;
    let x = mixture.sample(n, 11).unwrap();
    let (mean, variance) = (mixture.mean(), mixture.variance());
    for i in 0..3 {
        let column = x.column(i);
        let found = column.sum() / n as f64;
        let spread = column.iter().map(|x| (x - mean[i]).powi(2)).sum::<f64>() / n as f64;
        assert!((found - mean[i]).abs() < 4.0 * (variance[i] / n as f64).sqrt(), "mean {i}: {found}");
        assert_relative_eq!(spread, variance[i], max_relative = 0.05);
    }
    // the third mode is a point; its share is 0.6 with a standard error of 0.0035
    let hits = x.rows().into_iter().filter(|r| r == array![0.0, 9.0, 0.0]).count();
    assert!((hits as f64 / n as f64 - 0.6).abs() < 0.014, "{hits} of {n}");
    assert_eq!(mixture.sample(5, 11).unwrap(), x.slice(s![..5, ..]));
    assert_ne!(mixture.sample(5, 12).unwrap(), x.slice(s![..5, ..]));
}

#[test]
fn bad_mixtures_and_calls_are_typed_errors() {
    let means = array![[0.0, 1.0], [2.0, 3.0]];
    let new = |w: &[f64], s: &[f64]| Mixture::new(w, means.clone(), s);
    for (weights, std) in [
        ([0.0, 1.0], [1.0, 1.0]),
        ([-1.0, 2.0], [1.0, 1.0]),
        ([f64::NAN, 1.0], [1.0, 1.0]),
        ([f64::MAX, f64::MAX], [1.0, 1.0]),
        ([1.0, 1.0], [-0.1, 1.0]),
        ([1.0, 1.0], [1.0, f64::INFINITY]),
    ] {
        assert!(matches!(new(&weights, &std), Err(Error::Setting { .. })), "{weights:?} {std:?}");
    }
    assert!(matches!(Mixture::new([1.0], array![[f64::NAN]], [1.0]), Err(Error::Setting { name: "means", .. })));
    assert!(matches!(new(&[1.0], &[1.0, 1.0]), Err(Error::Shape { .. })));
    assert!(matches!(new(&[1.0, 1.0], &[1.0; 3]), Err(Error::Shape { .. })));
    assert!(matches!(Mixture::new([], Array2::zeros((0, 2)), []), Err(Error::Shape { .. })));
    assert!(matches!(Mixture::new([1.0], Array2::zeros((1, 0)), [1.0]), Err(Error::Shape { .. })));

    let points = new(&[1.0, 1.0], &[0.0, 1.0]).unwrap();
    assert!(matches!(points.log_density(&[0.0], 1.0, 1.0), Err(Error::Shape { .. })));
    let call = |alpha: f64, sigma: f64, x: Array2<f64>, shape: (usize, usize)| {
        let mut out = Array2::zeros(shape);
        let (alpha, sigma) = ([alpha], [sigma]);
        let rows = Rows::new(&[0.0], &alpha, &sigma, &[0], &[0]).unwrap();
        let error = points.clone().eval(x.view(), &rows, out.view_mut()).err()?;
        Some(error.downcast::<Error>().expect("a typed error"))
    };
    for (alpha, sigma) in
        [(1.0, 0.0), (-1.0, 1.0), (1.0, -1.0), (f64::NAN, 1.0), (1.0, f64::INFINITY), (1.0, 1e-170), (1.0, 1e160)]
    {
        assert!(matches!(points.log_density(&[0.0, 0.0], alpha, sigma), Err(Error::Setting { .. })), "{alpha} {sigma}");
        assert!(
            matches!(*call(alpha, sigma, Array2::zeros((1, 2)), (1, 2)).unwrap(), Error::Setting { .. }),
            "{alpha} {sigma}"
        );
    }
    assert!(call(1.0, 0.5, Array2::zeros((1, 2)), (1, 2)).is_none());
    for (x, out) in [((1, 3), (1, 3)), ((2, 2), (2, 2)), ((1, 2), (1, 1)), ((0, 2), (0, 2))] {
        assert!(matches!(*call(1.0, 0.5, Array2::zeros(x), out).unwrap(), Error::Shape { .. }), "{x:?} {out:?}");
    }
}
