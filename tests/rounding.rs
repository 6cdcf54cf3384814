//! Where a tolerance lies below the rounding of large states, f32 takes no more rounds than f64 for it.

mod common;

use common::{mixture, two_modes};
use ndarray::Axis;
use piadm::{
    Acceptance, Cpu, Edm, Grid, NoiseSchedule, Ou, Picard, Prediction, Problem, Sampler, Scheme, ScoreFn, Sequential,
    backend::Real,
};
use std::sync::Arc;

const SAMPLES: usize = 8;

#[derive(Clone)]
struct Setting {
    name: &'static str,
    schedule: Arc<dyn NoiseSchedule>,
    grid: Grid,
    scheme: Scheme,
}

/// EDM's noise from 1e6, whose states have no digits of 1e-2 in f32, and a process that begins at an alpha of 1e-22,
/// where an error of 1e-2 at the end would allow one of 1e-13.
fn settings() -> [Setting; 2] {
    let karras = Grid::karras(128, 0.01, 1e6, 7.0);
    let late = Grid::log_snr(256).between(100.0, 0.01);
    [
        Setting { name: "EDM, 2M", schedule: Arc::new(Edm), grid: karras, scheme: Scheme::dpmpp_2m() },
        Setting { name: "OU, SDE", schedule: Arc::new(Ou), grid: late, scheme: Scheme::default() },
    ]
}

/// Mean rounds, and the median and the largest rms error of a sample.
fn run<T: Real>(setting: &Setting, dim: usize, score: &mut dyn ScoreFn<Cpu<T>>) -> [f64; 3] {
    let Setting { schedule, grid, scheme, .. } = setting.clone();
    let problem = Problem::on(Cpu::<T>::new(), schedule, grid, scheme).samples(SAMPLES).shape([dim]).seed(3);
    let sequential = Sequential.sample(&problem, score).unwrap().samples;
    let run = Picard::default().acceptance(Acceptance::Error(1e-2)).sample(&problem, score).unwrap();
    let off = (&run.samples - &sequential).mapv(|e| e.wide().powi(2));
    let mut errors = off.mean_axis(Axis(1)).unwrap().mapv(f64::sqrt).to_vec();
    errors.sort_by(f64::total_cmp);
    let rounds = run.report.sample_rounds.iter().sum::<usize>() as f64 / SAMPLES as f64;
    [rounds, errors[SAMPLES / 2], errors[SAMPLES - 1]]
}

#[test]
fn large_states_take_no_more_rounds_in_f32() {
    for setting in settings() {
        let compare = |what: &str, [single, double]: [[f64; 3]; 2]| {
            println!("{}, {what}: f32 {single:.5?}, f64 {double:.5?}", setting.name);
            assert!(single[0] <= double[0] + 1.0, "{} rounds in f32, {} in f64", single[0], double[0]);
            assert!(single[1] < 1e-2 && single[2] < 1e-2 + double[2]);
        };
        for (modes, dim) in [(16, 64), (16, 2)] {
            let score = mixture(modes, dim, 0.3, 0.91, 1);
            let both = [run::<f32>(&setting, dim, &mut score.clone()), run::<f64>(&setting, dim, &mut score.clone())];
            compare(&format!("{modes} modes in {dim} dimensions"), both);
        }
        for kind in [Prediction::Noise, Prediction::Data] {
            let both = [run(&setting, 64, &mut two_modes::<f32>(kind)), run(&setting, 64, &mut two_modes::<f64>(kind))];
            compare(&format!("two modes, {kind:?}"), both);
        }
    }
}

/// Zero tolerance still means the bits.
#[test]
fn exact_runs_do_not_round() {
    let [setting, _] = settings();
    let Setting { schedule, grid, scheme, .. } = setting;
    let problem = Problem::new(schedule, grid, scheme).samples(2).shape([8]).seed(3);
    let mut score = two_modes::<f32>(Prediction::Data);
    let exact = Picard::default().acceptance(Acceptance::Exact).sample(&problem, &mut score).unwrap();
    assert_eq!(exact.samples, Sequential.sample(&problem, &mut score).unwrap().samples);
}
