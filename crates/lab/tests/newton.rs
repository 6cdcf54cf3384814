//! Newton's method: its derivatives, its fixed point, its order, its rounds.

use lab::equal_error::{Case, Setting};
use lab::newton::{Newton, Settings, Tangent};
use lab::presets::{OURS, preset};
use lab::stats::{rms, row_errors};
use lab::subject::{Subject, random_mixture};
use ndarray::{Array2, ArrayView2};
use piadm::sampler::Dynamics::{self, Ode, Sde};
use piadm::sampler::Linearisation;
use piadm::score::Mixture;
use piadm::{Acceptance, BoxError, Cpu, Picard, Prediction, Problem, Rows, Sampler, Save, ScoreFn, Sequential};

const ALL: usize = usize::MAX;

fn setting(dynamics: Dynamics, steps: usize, samples: usize) -> Setting {
    Setting { dynamics, steps, samples, seed: 5 }
}

fn settings(window: usize, tolerance: f64, deadline: Option<usize>) -> Settings {
    Settings { seed: 5, window, tolerance, deadline }
}

fn difference(a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>) -> f64 {
    rms(a.iter().zip(b))
}

fn of_mixture(mixture: Mixture) -> Newton {
    let dim = mixture.dim();
    Newton::new(Box::new(mixture.clone()), Box::new(mixture), dim)
}

fn normals(rows: usize, dim: usize, seed: u64) -> Array2<f32> {
    let normal = Mixture::new([1.0], Array2::zeros((1, dim)), [1.0]).unwrap();
    normal.sample(rows, seed).unwrap().mapv(|v| v as f32)
}

/// Times of an Ornstein-Uhlenbeck process, with alpha and sigma.
fn levels() -> [Vec<f64>; 3] {
    let t: Vec<f64> = (0..12).map(|i| 8.0 * 0.56f64.powi(i)).collect();
    let (alpha, variance) = (t.iter().map(|t| (-t / 2.0).exp()), t.iter().map(|t| -(-t).exp_m1()));
    [alpha.collect(), variance.map(f64::sqrt).collect(), t]
}

/// Relative differences of f to the score, and of J v to central differences of the score with this step.
fn check(
    tangent: &dyn Tangent,
    x: &Array2<f32>,
    score: impl Fn(&Array2<f64>, &Rows<'_>) -> Array2<f64>,
    h: f64,
) -> [f64; 2] {
    let [alpha, sigma, t] = levels();
    let rows = Rows::new(&t, &alpha, &sigma, &[0; 12], &[0; 12]).unwrap();
    let v = normals(12, x.ncols(), 9);
    let (f, jv) = tangent.product(x.view(), &rows, v.view()).unwrap();
    let (x, step) = (x.mapv(f64::from), v.mapv(f64::from) * h);
    let expected = score(&x, &rows);
    let along = (score(&(&x + &step), &rows) - score(&(&x - &step), &rows)) / (2.0 * h);
    [(f, expected), (jv, along)].map(|(found, expected)| {
        let found = found.mapv(f64::from);
        let size = |a: &Array2<f64>| row_errors(a.view(), Array2::zeros(a.dim()).view());
        let errors = row_errors(found.view(), expected.view());
        let worst = errors.iter().zip(size(&expected)).map(|(error, size)| error / size).fold(0.0, f64::max);
        println!("{worst:.1e}");
        worst
    })
}

#[test]
fn products_are_derivatives_of_a_mixture() {
    let dim = 8;
    // halfway between modes of unlike width, where the responsibilities move most
    for kind in [Prediction::Score, Prediction::Data, Prediction::Velocity] {
        let means = normals(3, dim, 1).mapv(f64::from);
        let mixture = Mixture::new([1.0, 2.0, 1.5], means.clone(), [0.3, 0.5, 0.4]).unwrap().predicting(kind);
        let [alpha, sigma, _] = levels();
        let noise = normals(12, dim, 2);
        let x = Array2::from_shape_fn((12, dim), |(i, e)| {
            (alpha[i] * 0.5 * (means[[0, e]] + means[[1, e]])) as f32 + 0.3 * sigma[i] as f32 * noise[[i, e]]
        });
        let score = |x: &Array2<f64>, rows: &Rows<'_>| {
            let mut out = Array2::zeros(x.dim());
            ScoreFn::<Cpu<f64>>::eval(&mut mixture.clone(), x.view(), rows, out.view_mut()).unwrap();
            out
        };
        let [f, jv] = check(&mixture, &x, score, 1e-5);
        assert!(f < 1e-6 && jv < 1e-6, "{kind:?}: {f:e} {jv:e}");
    }
}

#[test]
fn products_are_derivatives_of_the_network() {
    let tangent = networks::MlpTangent::load(None).unwrap();
    let score = |x: &Array2<f64>, rows: &Rows<'_>| {
        let mut out = Array2::zeros(x.dim());
        let mut network = networks::load("mlp", None).unwrap();
        network.eval(x.mapv(|v| v as f32).view(), rows, out.view_mut()).unwrap();
        out.mapv(f64::from)
    };
    let [f, jv] = check(&tangent, &normals(12, 784, 3), score, 1e-2);
    assert!(f < 1e-5 && jv < 1e-3, "{f:e} {jv:e}");
}

#[test]
fn without_tolerance_it_is_sequential_sampling() {
    for name in ["mlp", "mixture-64", "patches"] {
        let mut newton = Newton::load(name).unwrap().unwrap();
        for dynamics in [Sde, Ode] {
            let setting = setting(dynamics, 20, 2);
            for problem in [setting.first_order(newton.dim), setting.second_order(newton.dim)] {
                let sequential = Sequential.sample(&problem, newton.score()).unwrap().samples;
                for window in [1, 6, ALL] {
                    let solution = newton.run(&problem, &settings(window, 0.0, None)).unwrap();
                    let error = difference(solution.samples(), sequential.view());
                    println!("{name} {dynamics:?} {window}: {error:e} {:?}", solution.sample_rounds);
                    assert!(error < 1e-6, "{name} {dynamics:?} {window}: {error:e}");
                    assert!(solution.sample_rounds.iter().all(|rounds| *rounds <= 20));
                }
            }
        }
    }
}

/// The rms errors of all states after each sweep of one window over all steps, from the first guess on.
fn errors(newton: &mut Newton, problem: &Problem<Cpu<f32>>, sweeps: usize) -> Result<Vec<f64>, BoxError> {
    let sequential = Sequential.sample(&problem.clone().save(Save::All), newton.score())?;
    let path = sequential.path.states();
    let mut errors = Vec::new();
    for rounds in 0..=sweeps {
        let states = newton.run(problem, &settings(ALL, 0.0, Some(rounds)))?.states;
        assert_eq!(states.dim(), path.dim());
        errors.push(rms(states.iter().zip(path)));
    }
    Ok(errors)
}

fn shown(errors: &[f64]) -> String {
    errors.iter().map(|error| format!("{error:.1e} ")).collect()
}

#[test]
fn errors_are_squared() {
    let mut newton = of_mixture(random_mixture(8, 16, 0.5, 3).unwrap());
    for dynamics in [Sde, Ode] {
        let setting = setting(dynamics, 40, 8);
        for problem in [setting.first_order(16), setting.second_order(16)] {
            let errors = errors(&mut newton, &problem, 9).unwrap();
            println!("{dynamics:?}: {}", shown(&errors));
            // from where the method converges to where rounding shows
            let pairs = errors.windows(2).filter(|pair| (1e-4..6e-2).contains(&pair[0]));
            assert!(pairs.clone().count() >= 2);
            pairs.for_each(|pair| assert!(pair[1] < 20.0 * pair[0].powi(2) + 1e-6, "{}", shown(&errors)));
        }
    }
}

#[test]
fn a_tolerance_bounds_the_error_and_saves_rounds() {
    for name in ["mlp", "mixture-64"] {
        let mut newton = Newton::load(name).unwrap().unwrap();
        for dynamics in [Sde, Ode] {
            let setting = setting(dynamics, 40, 4);
            for problem in [setting.first_order(newton.dim), setting.second_order(newton.dim)] {
                let sequential = Sequential.sample(&problem, newton.score()).unwrap().samples;
                let solution = newton.run(&problem, &settings(8, 1e-3, None)).unwrap();
                let error = difference(solution.samples(), sequential.view());
                println!("{name} {dynamics:?}: {error:.1e} {:?}", solution.sample_rounds);
                assert!(error > 0.0 && error < 2e-3, "{name} {dynamics:?}: {error:e}");
                assert!(solution.sample_rounds.iter().all(|rounds| *rounds < 32));
            }
        }
    }
}

/// The slope of Gaussian data of variance 0.25 in place of a derivative.
struct Gaussian(Prediction);

impl Tangent for Gaussian {
    fn product(
        &self,
        x: ArrayView2<'_, f32>,
        rows: &Rows<'_>,
        v: ArrayView2<'_, f32>,
    ) -> Result<(Array2<f32>, Array2<f32>), BoxError> {
        let slope = |i: usize| self.0.gaussian_slope(rows.alpha[i], rows.sigma[i], 0.25) as f32;
        Ok((x.to_owned(), Array2::from_shape_fn(v.dim(), |(i, e)| slope(i) * v[[i, e]])))
    }
}

/// Window, entry and acceptance are those of the crate: with the same slopes, both take the same rounds.
#[test]
fn with_other_slopes_it_is_picard() {
    for name in ["mlp", "patches"] {
        let Subject { score, dim } = Subject::load(name).unwrap();
        let prediction = score.prediction();
        let mut newton = Newton::new(score, Box::new(Gaussian(prediction)), dim);
        for dynamics in [Sde, Ode] {
            let setting = setting(dynamics, 60, 4);
            for problem in [setting.first_order(dim), setting.second_order(dim)] {
                let sampler = Picard::default().linearisation(Linearisation::Gaussian { variance: 0.25 });
                let sampler = sampler.window(12).acceptance(Acceptance::Error(1e-2));
                let picard = sampler.sample(&problem, newton.score()).unwrap();
                // Gaussian slopes count the estimate twice
                let solution = newton.run(&problem, &settings(12, 5e-3, None)).unwrap();
                let error = difference(solution.samples(), picard.samples.view());
                println!("{name} {dynamics:?}: {error:.1e} {:?}", solution.sample_rounds);
                assert_eq!(solution.sample_rounds, picard.report.sample_rounds);
                assert_eq!(solution.rows, picard.report.score_rows);
                assert!(error < 1e-4, "{name} {dynamics:?}: {error:e}");
            }
        }
    }
}

#[test]
fn exact_slopes_take_no_more_rounds_than_measured_ones() {
    let (mut newton, mut subject) = (Newton::load("mlp").unwrap().unwrap(), Subject::load("mlp").unwrap());
    for dynamics in [Sde, Ode] {
        let setting = setting(dynamics, 50, 4);
        let exact = newton.equal_error(&setting.first_order(newton.dim), setting.seed, 8, 5e-3).unwrap().unwrap();
        let mut case = Case::new(subject.score.as_mut(), subject.dim, setting).unwrap();
        let measured = case.equal_error(preset(OURS), 8, 5e-3).unwrap().unwrap();
        println!("{dynamics:?}: {exact:?}\n{measured:?}");
        assert!(exact.error <= 5e-3 && exact.rounds <= measured.rounds);
    }
}

#[test]
fn one_sweep_is_exact_for_gaussian_data() {
    let mean = normals(1, 32, 4).mapv(f64::from);
    let mut newton = of_mixture(Mixture::new([1.0], mean, [0.7]).unwrap());
    for dynamics in [Sde, Ode] {
        let setting = setting(dynamics, 50, 4);
        for problem in [setting.first_order(32), setting.second_order(32)] {
            let errors = errors(&mut newton, &problem, 1).unwrap();
            println!("{dynamics:?}: {}", shown(&errors));
            assert!(errors[0] > 1e-2 && errors[1] < 3e-6, "{errors:?}");
        }
    }
}
