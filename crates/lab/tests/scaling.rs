//! What the `scaling` example measures with: fits of lines, and quality against the target.

use approx::assert_relative_eq;
use lab::residuals::Residuals;
use lab::scaling::{MEMORY, MODES, SAMPLES, STD, Setting, T_MIN};
use lab::stats::{Fit, median};
use ndarray::Array2;
use piadm::{Ou, sampler::Dynamics, schedule::Level, score::Mixture};

#[test]
fn a_fit_recovers_a_line() {
    let x = [0.0, 1.0, 2.0, 4.0];
    let y = x.map(|x| 3.0 - 0.5 * x).to_vec();
    let fit = Fit::new(&x, &[y.clone(), y]).unwrap();
    assert_relative_eq!(fit.intercept, 3.0, epsilon = 1e-12);
    assert_relative_eq!(fit.slope, -0.5, epsilon = 1e-12);
    for error in [fit.seeds_error, fit.line_error, Some(fit.residual_rms)] {
        assert!(error.unwrap() < 1e-12);
    }
}

#[test]
fn the_errors_of_a_slope_are_those_of_the_formulas() {
    // slopes 1 and 2: mean 1.5, deviation sqrt(1/2), over sqrt 2
    let fit = Fit::new(&[0.0, 1.0, 2.0], &[vec![0.0, 1.0, 2.0], vec![0.0, 2.0, 4.0]]).unwrap();
    assert_relative_eq!(fit.slope, 1.5, epsilon = 1e-12);
    assert_relative_eq!(fit.seeds_error.unwrap(), 0.5, epsilon = 1e-12);
    assert!(fit.line_error.unwrap() < 1e-12);
    // equal seeds off the line: residuals 1/3, -2/3, 1/3 and spread 2 give sqrt(2/3 / 1 / 2)
    let fit = Fit::new(&[-1.0, 0.0, 1.0], &[vec![1.0, 0.0, 1.0], vec![1.0, 0.0, 1.0]]).unwrap();
    assert_relative_eq!(fit.line_error.unwrap(), (1f64 / 3.0).sqrt(), epsilon = 1e-12);
    assert_eq!(fit.seeds_error, Some(0.0));
    assert_relative_eq!(fit.residual_rms, (2f64 / 9.0).sqrt(), epsilon = 1e-12);
}

#[test]
fn fits_of_too_little_are_none() {
    assert!(Fit::new(&[1.0], &[vec![2.0]]).is_none());
    assert!(Fit::new(&[1.0, 1.0], &[vec![2.0, 3.0]]).is_none());
    assert!(Fit::new(&[1.0, 2.0], &[]).is_none());
    let fit = Fit::new(&[1.0, 2.0], &[vec![2.0, 3.0]]).unwrap();
    assert_eq!((fit.seeds_error, fit.line_error), (None, None));
}

#[test]
fn medians() {
    assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
    assert!(median([]).is_nan());
}

/// Residuals of exact samples at t = 0.01 whose residuals are scaled and shifted.
fn residuals(scale: f64, shift: f64) -> Residuals {
    const DIM: usize = 64;
    let means =
        Array2::from_shape_fn(
            (MODES, DIM),
            |(mode, i)| if (i >> (mode % 6)) & 1 == 0 { 1.0 } else { -1.0 + 0.1 * mode as f64 },
        );
    let level = Level::at(&Ou, T_MIN);
    let v = level.alpha.powi(2) * STD.powi(2) + level.sigma.powi(2);
    let mixture = Mixture::new(vec![1.0; MODES], means.clone(), vec![STD; MODES]).unwrap();
    let noise = Mixture::new(vec![1.0], Array2::zeros((1, DIM)), vec![1.0]).unwrap().sample(512, 5).unwrap();
    let samples = Array2::from_shape_fn(noise.dim(), |(row, i)| {
        (level.alpha * means[[row % MODES, i]] + v.sqrt() * (shift + scale * noise[[row, i]])) as f32
    });
    Residuals::new(samples.view(), &mixture, &level)
}

#[test]
fn exact_samples_have_a_divergence_of_one_over_their_number() {
    let exact = residuals(1.0, 0.0);
    let n = (512 * 64) as f64;
    assert!((0.0..5.0 / n).contains(&exact.kl()), "{}", exact.kl());
    assert_eq!(exact.occupancy(MODES), (vec![512 / MODES; MODES], 0.0));
    assert_eq!(exact.modes[..MODES], [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn wrong_variances_and_means_are_seen() {
    let wide = residuals(1.1, 0.0);
    assert_relative_eq!(wide.variance_ratio, 1.21, epsilon = 0.03);
    assert_relative_eq!(wide.kl(), 0.5 * (0.21 - 1.21f64.ln()), epsilon = 2e-3);
    let shifted = residuals(1.0, 0.2);
    assert_relative_eq!(shifted.mean, 0.2, epsilon = 0.02);
    assert_relative_eq!(shifted.kl(), 0.02, epsilon = 4e-3);
}

#[test]
fn pooled_moments_are_those_of_all_residuals() {
    let parts = [(1.0, 2.0, 0), (-1.0, 4.0, 1)].map(|(mean, variance_ratio, mode)| Residuals {
        mean,
        variance_ratio,
        modes: vec![mode],
    });
    let all = Residuals::pooled(parts.iter());
    // mean square (3 + 5)/2, less the mean 0 squared
    assert_eq!((all.mean, all.variance_ratio), (0.0, 4.0));
    assert_eq!(all.modes, [0, 1]);
    // two samples in two of eight modes: 2 (1 - 1/4)^2 + 6 (1/4)^2 over 1/4
    assert_relative_eq!(all.occupancy(MODES).1, 6.0, epsilon = 1e-12);
}

#[test]
fn a_run_is_close_to_the_sequential_one_and_counts_its_rounds() {
    let run = Setting { dim: 16, dynamics: Dynamics::Sde, steps: 64 }.run(3).unwrap();
    assert_eq!(run.rounds, run.sweeps.iter().sum::<usize>());
    assert_eq!(run.sweeps.len(), 7);
    assert_relative_eq!(run.mean_sweeps(), run.rounds as f64 / 7.0);
    assert!(run.rms_end <= run.rms_path && run.rms_path < 1e-2);
    assert_eq!(run.parallel.modes, run.sequential.modes);
    assert_eq!(run.parallel.modes.len(), SAMPLES);
}

#[test]
fn steps_are_cut_where_memory_ends() {
    let small = Setting { dim: 16, dynamics: Dynamics::Ode, steps: 64 };
    assert_eq!(small.capped().unwrap(), small);
    let large = Setting { dim: 16384, dynamics: Dynamics::Sde, steps: 16 * 16384 };
    let capped = large.capped().unwrap();
    assert!(capped.steps < large.steps && capped.memory().unwrap() <= MEMORY);
    let double = Setting { steps: 2 * capped.steps, ..capped };
    assert!(double.memory().unwrap() > MEMORY);
}
