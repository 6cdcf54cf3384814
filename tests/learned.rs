//! Steps of networks that answer more than one row: the learned variance of guided-diffusion, and diffusers' clipped
//! DDIM, against transcriptions with plain loops.

mod common;

use common::{bits, normal, two_modes};
use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis};
use piadm::{
    Acceptance, Cpu, Discrete, Error, Grid, Model, Path, Picard, Prediction, Problem, Rows, Sampler, Save, Scheme,
    ScoreFn, Sequential, Solution, Window,
    backend::Real,
    grid::Spacing,
    nodes::DdpmVariance,
    noise::{Address, stream},
    score::{Clip, ClipResidual, LearnedVariance},
    score_fn,
};

const DIM: usize = 5;
const STEPS: usize = 40;
const SEED: u64 = 11;

fn problem<T: Real>(scheme: Scheme) -> Problem<Cpu<T>> {
    let grid = Grid::ddpm_timesteps(STEPS, Spacing::Leading { offset: 0 });
    let schedule = Discrete::linear(1000, 1e-4, 0.02).unwrap();
    Problem::on(Cpu::new(), schedule, grid, scheme).samples(3).shape([DIM]).seed(SEED).save(Save::All)
}

/// Where the variance lies between its bounds: a smooth function of state and level.
fn place(x: f64, sigma: f64) -> f64 {
    0.9 * (2.0 * x + sigma).sin()
}

/// Two modes and, in every second row, the place of the variance.
fn network<T: Real>(kind: Prediction, place: fn(f64, f64) -> f64) -> impl ScoreFn<Cpu<T>> {
    let mut modes = two_modes::<T>(kind);
    score_fn(kind, move |x: ArrayView2<'_, T>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, T>| {
        let mut outputs = Array2::zeros(x.raw_dim());
        modes.eval(x, rows, outputs.view_mut())?;
        for (i, output) in outputs.rows().into_iter().enumerate() {
            out.row_mut(2 * i).assign(&output);
            out.row_mut(2 * i + 1).zip_mut_with(&x.row(i), |v, x| *v = T::of(place(x.wide(), rows.sigma[i])));
        }
        Ok(())
    })
}

fn states(solution: &Solution<Cpu<f64>>) -> Vec<Array2<f64>> {
    let path: &Path<f64> = &solution.path;
    path.states().axis_iter(Axis(0)).map(|states| states.to_owned()).collect()
}

#[test]
fn the_bounds_are_those_of_ddpm() {
    for (v, variance) in [(-1.0, DdpmVariance::Small), (1.0, DdpmVariance::Large)] {
        let at = if v < 0.0 { |_: f64, _: f64| -1.0 } else { |_: f64, _: f64| 1.0 };
        for kind in [Prediction::Noise, Prediction::Velocity, Prediction::Data] {
            let mut kernel = LearnedVariance::new(network::<f64>(kind, at));
            let learned = Sequential.sample(&problem(Scheme::Kernel {}), &mut kernel).unwrap();
            let ddpm = Sequential.sample(&problem(Scheme::Ddpm { variance }), &mut two_modes::<f64>(kind)).unwrap();
            for (found, expected) in states(&learned).iter().zip(states(&ddpm)) {
                let off = (found - &expected).fold(0.0, |max: f64, x| max.max(x.abs()));
                assert!(off < 1e-12, "{v} {kind:?}: {off}");
            }
        }
    }
}

/// guided-diffusion's `p_sample` with `clip_denoised` and `learned_range`, by its betas: respaced timesteps have the
/// betas 1 - alphas_cumprod[i] / alphas_cumprod[i - 1].
#[test]
fn learned_range_is_that_of_the_paper() {
    let schedule = Discrete::linear(1000, 1e-4, 0.02).unwrap();
    let clip = 0.8;
    let mut kernel = LearnedVariance::new(network::<f64>(Prediction::Noise, place)).clip(-clip, clip).unwrap();
    let solution = Sequential.sample(&problem(Scheme::Kernel {}), &mut kernel).unwrap();
    let path = states(&solution);
    assert_eq!(path.len(), STEPS + 1);
    let mut modes = two_modes::<f64>(Prediction::Noise);
    let timestep = |m: usize| (STEPS - 1 - m) * (1000 / STEPS);
    let mut clipped = 0;
    for sample in 0..3 {
        for m in 0..STEPS {
            let abar = schedule.alphas_cumprod()[timestep(m)];
            let before = if m + 1 == STEPS { 1.0 } else { schedule.alphas_cumprod()[timestep(m + 1)] };
            let beta = 1.0 - abar / before;
            let x = path[m].row(sample);
            let (alpha, sigma) = (abar.sqrt(), (1.0 - abar).sqrt());
            let mut eps = Array2::zeros((1, DIM));
            let row = Rows::new(&[0.0], std::slice::from_ref(&alpha), std::slice::from_ref(&sigma), &[0], &[0]);
            modes.eval(x.insert_axis(Axis(0)), &row.unwrap(), eps.view_mut()).unwrap();
            let address = Address { stream: stream::DYNAMICS, step: m as u32 + 1, sample: sample as u32 };
            let noise: Array1<f64> = normal(SEED, DIM, address);
            for e in 0..DIM {
                let data = (x[e] - sigma * eps[[0, e]]) / alpha;
                clipped += usize::from(data.abs() > clip);
                let data = data.clamp(-clip, clip);
                let mean = beta * before.sqrt() / (1.0 - abar) * data
                    + (1.0 - before) * (1.0 - beta).sqrt() / (1.0 - abar) * x[e];
                let frac = (place(x[e], sigma) + 1.0) / 2.0;
                let (small, large) = (beta * (1.0 - before) / (1.0 - abar), beta);
                let log_variance = frac * large.ln() + (1.0 - frac) * small.ln();
                let std = if m + 1 == STEPS { 0.0 } else { (0.5 * log_variance).exp() };
                let expected = mean + std * noise[e];
                let found = path[m + 1][[sample, e]];
                assert!((found - expected).abs() < 1e-10, "step {m}, {e}: {found} for {expected}");
            }
        }
    }
    // the clip matters, and not everywhere
    assert!(clipped > 20 && clipped < 3 * STEPS * DIM - 20, "{clipped}");
}

fn parallel_has_the_bits<T: Real>() {
    for window in [1, 7, STEPS] {
        let sampler = Picard::default().acceptance(Acceptance::Exact).window(Window::Steps(window));
        let problem = problem::<T>(Scheme::Kernel {});
        let kernel = || LearnedVariance::new(network::<T>(Prediction::Noise, place)).clip(-1.0, 1.0).unwrap();
        let sequential = Sequential.sample(&problem, &mut kernel()).unwrap();
        let parallel = sampler.sample(&problem, &mut kernel()).unwrap();
        assert_eq!(bits(&parallel.samples), bits(&sequential.samples));

        let problem = self::problem::<T>(Scheme::DdimClipped { eta: 0.6 });
        let score = || ClipResidual::new(two_modes::<T>(Prediction::Noise), -1.0, 1.0).unwrap();
        let sequential = Sequential.sample(&problem, &mut score()).unwrap();
        let parallel = sampler.sample(&problem, &mut score()).unwrap();
        assert_eq!(bits(&parallel.samples), bits(&sequential.samples));
    }
}

#[test]
fn exact_acceptance_has_the_sequential_bits() {
    parallel_has_the_bits::<f32>();
    parallel_has_the_bits::<f64>();
}

#[test]
fn few_rounds_and_a_small_error() {
    let near = |scheme: Scheme, score: &mut dyn ScoreFn<Cpu<f64>>| {
        let problem = problem::<f64>(scheme.clone());
        let sequential = Sequential.sample(&problem, score).unwrap();
        let parallel = Picard::default().acceptance(Acceptance::Error(1e-3)).sample(&problem, score).unwrap();
        let off = (&parallel.samples - &sequential.samples).fold(0.0, |max: f64, x| max.max(x.abs()));
        println!("{scheme}: {} rounds, {off:.1e}", parallel.report.rounds);
        assert!(parallel.report.rounds <= STEPS / 3 && off < 1e-2, "{scheme}: {} {off}", parallel.report.rounds);
    };
    let kernel = LearnedVariance::new(network::<f64>(Prediction::Noise, place));
    near(Scheme::Kernel {}, &mut kernel.clip(-1.0, 1.0).unwrap());
    let clipped = ClipResidual::new(two_modes::<f64>(Prediction::Noise), -1.0, 1.0);
    near(Scheme::DdimClipped { eta: 0.0 }, &mut clipped.unwrap());
}

/// diffusers' DDIM step, written as in the paper (arXiv 2010.02502, equation 12) with clipped data and the noise as
/// predicted.
#[test]
fn clipped_ddim_keeps_the_noise() {
    let schedule = Discrete::linear(1000, 1e-4, 0.02).unwrap();
    let timestep = |m: usize| (STEPS - 1 - m) * (1000 / STEPS);
    for eta in [0.0, 0.6, 1.0] {
        for kind in [Prediction::Noise, Prediction::Velocity, Prediction::Data, Prediction::Score] {
            let mut score = ClipResidual::new(two_modes::<f64>(kind), -0.7, 0.7).unwrap();
            let solution = Sequential.sample(&problem(Scheme::DdimClipped { eta }), &mut score).unwrap();
            let path = states(&solution);
            let mut modes = two_modes::<f64>(Prediction::Noise);
            for m in 0..STEPS {
                let abar = schedule.alphas_cumprod()[timestep(m)];
                let before = if m + 1 == STEPS { 1.0 } else { schedule.alphas_cumprod()[timestep(m + 1)] };
                let (alpha, sigma) = (abar.sqrt(), (1.0 - abar).sqrt());
                let variance = eta * eta * (1.0 - before) / (1.0 - abar) * (1.0 - abar / before);
                let mut eps = Array2::zeros((3, DIM));
                let (alphas, sigmas) = ([alpha; 3], [sigma; 3]);
                let rows = Rows::new(&[0.0; 3], &alphas, &sigmas, &[0; 3], &[0; 3]).unwrap();
                modes.eval(path[m].view(), &rows, eps.view_mut()).unwrap();
                for sample in 0..3 {
                    let address = Address { stream: stream::DYNAMICS, step: m as u32 + 1, sample: sample as u32 };
                    let noise = normal(SEED, DIM, address);
                    for e in 0..DIM {
                        let (x, eps) = (path[m][[sample, e]], eps[[sample, e]]);
                        let data = ((x - sigma * eps) / alpha).clamp(-0.7, 0.7);
                        let expected = before.sqrt() * data
                            + (1.0 - before - variance).max(0.0).sqrt() * eps
                            + variance.sqrt() * noise[e];
                        let found = path[m + 1][[sample, e]];
                        assert!((found - expected).abs() < 1e-10, "{eta} {kind:?} {m}: {found} for {expected}");
                    }
                }
            }
        }
    }
}

/// Within the limits both are DDIM; beyond them, clipping with the noise computed anew is something else.
#[test]
fn clipping_acts_where_it_should() {
    let noise = || two_modes::<f64>(Prediction::Noise);
    let plain = Sequential.sample(&problem(Scheme::ddim()), &mut noise()).unwrap().samples;
    let clipped = |limit: f64| {
        let mut score = ClipResidual::new(noise(), -limit, limit).unwrap();
        Sequential.sample(&problem(Scheme::DdimClipped { eta: 0.0 }), &mut score).unwrap().samples
    };
    assert_eq!(clipped(1e6), plain);
    let anew = Sequential.sample(&problem(Scheme::ddim()), &mut Clip::new(noise(), -0.7, 0.7).unwrap()).unwrap();
    assert!((clipped(0.7) - anew.samples).iter().any(|x| x.abs() > 1e-3));
}

#[test]
fn what_does_not_go_together() {
    fn name<T>(result: piadm::Result<T>) -> &'static str {
        match result.err().expect("an error") {
            Error::Setting { name, .. } => name,
            Error::Unsupported { what, .. } => what,
            other => panic!("{other}"),
        }
    }
    let noise = || two_modes::<f32>(Prediction::Noise);
    let learned = |kind| LearnedVariance::new(network::<f32>(kind, place));
    // a network is no kernel, and one head is not two
    assert_eq!(name(Sequential.sample(&problem(Scheme::Kernel {}), &mut noise())), "Scheme::Kernel");
    assert_eq!(name(Sequential.sample(&problem(Scheme::DdimClipped { eta: 0.0 }), &mut noise())), "heads");
    assert_eq!(name(problem::<f32>(Scheme::DdimClipped { eta: 2.0 }).prepare(&noise())), "eta");
    assert_eq!(name(ClipResidual::new(noise(), 1.0, f64::NAN)), "min, max");
    assert_eq!(name(learned(Prediction::Noise).clip(1.0, 1.0)), "min, max");
    let mut twice = LearnedVariance::new(learned(Prediction::Noise));
    assert_eq!((twice.heads(), twice.is_continuous()), (1, true));
    let error = Sequential.sample(&problem(Scheme::Kernel {}), &mut twice).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("LearnedVariance"), "{source}");
    // not a number reaches the sampler, and is found there
    let mut poisoned = LearnedVariance::new(network::<f32>(Prediction::Noise, |_, _| f64::NAN));
    let error = Picard::default().sample(&problem(Scheme::Kernel {}), &mut poisoned).unwrap_err();
    assert!(matches!(error, Error::ScoreNotFinite { .. }), "{error}");
}
