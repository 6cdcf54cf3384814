//! Parareal (SRDS): against a transcription of its formula, its exactness, its counting, its errors.

mod common;

use common::{bits, lookback_three, two_modes};
use ndarray::{Array1, Array2, Array3, Axis, s};
use piadm::{
    Acceptance, Cpu, Error, Grid, Nodes, Observer, Ou, Parareal, Picard, Prediction, Problem, Rows, Sampler, Save,
    Scheme, ScoreFn, Sequential, Stop,
    nodes::Form,
    noise::NoiseKey,
    sampler::{Round, on_round},
    score_fn,
};
use std::ops::ControlFlow;

const DIM: usize = 3;
const SEED: u64 = 12;

fn fixed(blocks: usize, iterations: usize) -> Parareal {
    Parareal::default().blocks(blocks).acceptance(Acceptance::Exact).max_iterations(iterations)
}

fn exact(blocks: Option<usize>) -> Parareal {
    Parareal::default().blocks(blocks).acceptance(Acceptance::Exact)
}

fn normals(stream: u32, step: usize) -> Array1<f64> {
    let mut out = vec![0.0; DIM];
    let address = piadm::noise::Address { stream, step: step as u32, sample: 0 };
    NoiseKey::new(SEED).fill_f64(address, 0, &mut out);
    Array1::from(out)
}

fn score_at(x: &Array1<f64>, t: f64) -> Array1<f64> {
    let (alpha, sigma) = ((-t / 2.0).exp(), (-(-t).exp_m1()).sqrt());
    let (x, mut out) = (x.clone().insert_axis(Axis(0)), Array2::zeros((1, DIM)));
    let (t, alpha, sigma) = ([t], [alpha], [sigma]);
    let rows = Rows::new(&t, &alpha, &sigma, &[0], &[0]).unwrap();
    two_modes::<f64>(Prediction::Score).eval(x.view(), &rows, out.view_mut()).unwrap();
    out.row(0).to_owned()
}

/// The starts of all blocks and the last state after each iteration, with the exponential integrator of arXiv
/// 2405.15986.
fn by_hand(times: &[f64], blocks: usize, ups: f64, iterations: usize) -> Vec<Vec<Array1<f64>>> {
    let steps = times.len() - 1;
    let ends: Vec<usize> = (0..=blocks).map(|n| n * steps / blocks).collect();
    let step = |x: &Array1<f64>, t: f64, u: f64, noise: &Array1<f64>| {
        let e = t - u;
        x * (e / 2.0).exp() + score_at(x, t) * ((1.0 + ups * ups) * (e / 2.0).exp_m1()) + noise
    };
    let fine_noise = |m: usize| normals(1, m) * (ups * (times[m - 1] - times[m]).exp_m1().sqrt());
    let fine = |n: usize, x: &Array1<f64>| {
        (ends[n] + 1..=ends[n + 1]).fold(x.clone(), |x, m| step(&x, times[m - 1], times[m], &fine_noise(m)))
    };
    let coarse = |n: usize, x: &Array1<f64>| {
        let through = |noise: Array1<f64>, m: usize| noise * ((times[m - 1] - times[m]) / 2.0).exp() + fine_noise(m);
        let noise = (ends[n] + 1..=ends[n + 1]).fold(Array1::zeros(DIM), through);
        step(x, times[ends[n]], times[ends[n + 1]], &noise)
    };
    let mut x = vec![normals(0, 0)];
    (0..blocks).for_each(|n| x.push(coarse(n, &x[n])));
    let mut all = vec![x.clone()];
    for _ in 0..iterations {
        let mut new = vec![x[0].clone()];
        for n in 0..blocks {
            new.push(coarse(n, &new[n]) + fine(n, &x[n]) - coarse(n, &x[n]));
        }
        x = new;
        all.push(x.clone());
    }
    all
}

#[test]
fn the_formula_of_the_paper() {
    for (steps, blocks) in [(20, 4), (22, 5), (17, 3), (9, 9), (12, 1)] {
        let grid = Grid::uniform(steps).between(4.1, 0.1);
        for ups in [0.0, 0.5, 1.0] {
            let scheme = Scheme::Exponential { form: Form::Score, stochasticity: ups };
            for kind in [Prediction::Score, Prediction::Noise, Prediction::Data] {
                let problem = Problem::on(Cpu::<f64>::new(), Ou, grid.clone(), scheme.clone())
                    .shape([DIM])
                    .seed(SEED)
                    .save(Save::All);
                let expected = by_hand(&grid.times(&Ou).unwrap(), blocks, ups, 3);
                for (iterations, expected) in expected.iter().enumerate().take(blocks + 1).skip(1) {
                    let run = fixed(blocks, iterations).sample(&problem, &mut two_modes::<f64>(kind)).unwrap();
                    for (n, x) in expected.iter().enumerate() {
                        let own = run.path.at(n * steps / blocks).unwrap().row(0).to_owned();
                        let off = (&own - x).iter().fold(0.0f64, |m, e| m.max(e.abs()));
                        assert!(off < 1e-12, "{steps}/{blocks} ups {ups} {kind:?} k {iterations} n {n}: {off:e}");
                    }
                    assert_eq!(run.samples.row(0), run.path.at(steps).unwrap().row(0));
                }
            }
        }
    }
}

#[test]
fn the_bits_of_sequential_sampling() {
    let grid = Grid::log_snr(23).between(6.0, 0.02);
    for scheme in common::schemes() {
        let list = Nodes::new(&Ou, &grid, &scheme, Prediction::Score).unwrap();
        if list.lookback() > 1 || list.nodes().len() > list.steps() + 1 {
            let problem = Problem::new(Ou, grid.clone(), scheme).samples(3).shape([200]);
            let refused = exact(None).sample(&problem, &mut two_modes::<f32>(Prediction::Score));
            assert!(matches!(refused, Err(piadm::Error::Unsupported { .. })));
            continue;
        }
        for kind in [Prediction::Score, Prediction::Velocity] {
            let problem =
                Problem::new(Ou, grid.clone(), scheme.clone()).samples(3).shape([200]).seed(5).save(Save::All);
            let sequential = Sequential.sample(&problem, &mut two_modes::<f32>(kind)).unwrap();
            for blocks in [None, Some(1), Some(2), Some(7), Some(12), Some(23)] {
                let run = exact(blocks).sample(&problem, &mut two_modes::<f32>(kind)).unwrap();
                assert_eq!(bits(&run.samples), bits(&sequential.samples), "{scheme:?} {blocks:?}");
                assert_eq!(run.path, sequential.path, "{scheme:?} {blocks:?}");
                let most = blocks.unwrap_or(5) * 23usize.div_ceil(blocks.unwrap_or(5)).max(2);
                assert!(run.report.converged() && run.report.rounds <= most, "{}", run.report);
            }
        }
    }
}

/// A score that is hard to guess, and counts its calls.
fn wild(calls: &std::cell::Cell<usize>) -> impl ScoreFn<Cpu<f32>> + '_ {
    score_fn::<f32>(Prediction::Score, move |x, _, mut out| {
        calls.set(calls.get() + 1);
        out.zip_mut_with(&x, |o, x| *o = -x + 0.3 * (9.0 * x).sin());
        Ok(())
    })
}

#[test]
fn rounds_and_rows_are_counted() {
    let grid = Grid::log_snr(24).between(6.0, 0.02);
    let problem = Problem::new(Ou, grid, Scheme::default()).samples(2).shape([5]).seed(3);
    for (blocks, length) in [(6, 4), (4, 6), (3, 8), (12, 2)] {
        for k in 1..=blocks {
            let calls = std::cell::Cell::new(0);
            let (mut rounds, mut rows) = (0, 0);
            let mut watch = on_round(|round: &Round<'_>| {
                rounds += 1;
                rows += round.rows;
                assert_eq!((round.round, round.steps), (rounds, 24));
                ControlFlow::Continue(())
            });
            let report = fixed(blocks, k).run(&problem, &mut wild(&calls), &mut watch).unwrap().report;
            assert_eq!(report.rounds, k * length + blocks - k, "{blocks} blocks, {k} iterations");
            assert_eq!((calls.get(), rounds, rows), (report.rounds, report.rounds, report.score_rows));
            // fine solves of iterations 0..k, from block k on one more evaluation for the coarse step
            let fine: usize = (0..k).map(|i| (blocks - i) * length).sum();
            assert_eq!(report.score_rows, 2 * (fine + blocks - k), "{blocks} blocks, {k} iterations");
            assert_eq!(report.sweeps, (1..=blocks).map(|n| n.min(k)).collect::<Vec<_>>());
            assert_eq!(report.sample_rounds, [report.rounds; 2]);
            assert_eq!(report.stop, if k < blocks { Stop::Depth } else { Stop::Converged });
        }
    }
}

#[test]
fn samples_stop_by_themselves() {
    let grid = Grid::log_snr(64).between(6.0, 0.02);
    // the second sample is of Gaussian data, where few iterations do
    let score = || {
        score_fn::<f64>(Prediction::Score, |x, rows: &Rows<'_>, mut out| {
            for ((x, mut out), id) in x.outer_iter().zip(out.outer_iter_mut()).zip(rows.id) {
                let size = if *id == 0 { 0.5 } else { 0.0 };
                out.zip_mut_with(&x, |o, x| *o = -x + size * (9.0 * x).sin());
            }
            Ok(())
        })
    };
    let problem = Problem::on(Cpu::<f64>::new(), Ou, grid, Scheme::default()).samples(2).shape([4]).seed(3);
    #[derive(Default)]
    struct Seen(Vec<(usize, u32, usize)>, usize);
    impl Observer<Cpu<f64>> for Seen {
        fn on_round(&mut self, round: &Round<'_>) -> ControlFlow<()> {
            self.1 = round.round;
            ControlFlow::Continue(())
        }
        fn on_sample(&mut self, slot: usize, id: u32, state: ndarray::ArrayView2<'_, f64>) {
            assert_eq!(state.dim(), (1, 4));
            self.0.push((slot, id, self.1 + 1));
        }
    }
    let mut seen = Seen::default();
    let both = Parareal::default().run(&problem, &mut score(), &mut seen).unwrap();
    let rounds = &both.report.sample_rounds;
    assert!(rounds[1] < rounds[0], "{rounds:?}");
    assert_eq!(seen.0, [(1, 1, rounds[1]), (0, 0, rounds[0])]);
    for id in 0..2 {
        let alone = Parareal::default().sample(&problem.clone().samples(1).ids([id]), &mut score()).unwrap();
        assert_eq!(alone.samples.row(0), both.samples.row(id as usize));
        assert_eq!(alone.report.rounds, rounds[id as usize]);
    }
    let sequential = Sequential.sample(&problem, &mut score()).unwrap();
    let off = (&both.samples - &sequential.samples).iter().fold(0.0f64, |m, e| m.max(e.abs()));
    assert!(off < 0.1 && both.report.max_residual < 0.1, "{off}");
}

#[test]
fn a_cancelled_run_stands_at_an_exact_state() {
    let grid = Grid::log_snr(23).between(6.0, 0.02);
    let problem = Problem::new(Ou, grid, Scheme::default()).samples(2).shape([5]).seed(3).save(Save::All);
    let calls = std::cell::Cell::new(0);
    let sequential = Sequential.sample(&problem, &mut wild(&calls)).unwrap();
    for settings in [exact(Some(5)), fixed(5, 2), exact(Some(23)), exact(Some(1))] {
        for at in 1..13 {
            let mut finished = Vec::new();
            let mut watch = on_round(|round: &Round<'_>| {
                finished = round.finished.to_vec();
                if round.round == at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let run = settings.run(&problem, &mut wild(&calls), &mut watch).unwrap();
            if run.report.rounds < at || run.report.stop != Stop::Cancelled {
                continue;
            }
            assert_eq!(run.report.sample_rounds, [at; 2]);
            let reached = finished[0];
            assert_eq!(run.path.steps().last(), Some(&reached));
            for step in 0..=reached {
                assert_eq!(run.path.at(step), sequential.path.at(step), "{settings:?} at {at}, step {step}");
            }
            assert_eq!(run.samples.view(), sequential.path.at(reached).unwrap());
        }
    }
}

#[test]
fn parts_of_a_grid_and_given_noise() {
    let grid = Grid::log_snr(20).between(6.0, 0.02);
    let mut xi = Array3::<f64>::zeros((20, 1, DIM));
    (0..20).for_each(|m| xi.slice_mut(s![m, 0, ..]).assign(&normals(1, m + 1)));
    let own = Problem::on(Cpu::<f64>::new(), Ou, grid, Scheme::default()).shape([DIM]).seed(SEED);
    let given = own.clone().noise(xi);
    let start = Array2::from_elem((1, DIM), 0.3);
    let mut score = two_modes::<f64>(Prediction::Noise);
    for at in [0, 7, 19] {
        let (own, given) = (own.clone().init_at(at, start.clone()), given.clone().init_at(at, start.clone()));
        let settings = Parareal::default().max_iterations(1);
        let (a, b) = (settings.sample(&own, &mut score).unwrap(), settings.sample(&given, &mut score).unwrap());
        assert_eq!((a.samples, a.report.rounds), (b.samples, b.report.rounds));
        let sequential = Sequential.sample(&own, &mut score).unwrap();
        assert_eq!(exact(None).sample(&given, &mut score).unwrap().samples, sequential.samples);
    }
}

#[test]
fn what_cannot_be_done_is_told() {
    let grid = Grid::log_snr(20).between(6.0, 0.02);
    let problem = |scheme| Problem::on(Cpu::<f64>::new(), Ou, grid.clone(), scheme).shape([DIM]);
    let mut score = two_modes::<f64>(Prediction::Noise);
    for scheme in [
        Scheme::Heun {},
        Scheme::DpmSolverPp2M { lower_order_final: false },
        Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: false },
    ] {
        let error = Parareal::default().sample(&problem(scheme), &mut score).unwrap_err();
        assert!(matches!(error, Error::Unsupported { what: "Parareal", .. }), "{error}");
    }
    let list = Problem::from_nodes(Cpu::<f64>::new(), lookback_three(9)).shape([DIM]);
    let error = Parareal::default().sample(&list, &mut score).unwrap_err();
    assert!(matches!(error, Error::Unsupported { what: "Parareal", .. }), "{error}");
    let fine = problem(Scheme::default());
    let bad = |settings: Parareal, expected: &str, score: &mut dyn ScoreFn<Cpu<f64>>| {
        let error = settings.sample(&fine, score).unwrap_err();
        assert!(matches!(error, Error::Setting { name, .. } if name == expected), "{error}");
    };
    for blocks in [0, 21, usize::MAX] {
        bad(Parareal::default().blocks(blocks), "blocks", &mut score);
    }
    bad(Parareal::default().max_iterations(0), "max_iterations", &mut score);
    bad(Parareal::default().acceptance(Acceptance::Error(f64::NAN)), "acceptance.error", &mut score);
    let mut nan = score_fn::<f64>(Prediction::Score, |_, _, mut out| {
        out.fill(f64::NAN);
        Ok(())
    });
    let error = Parareal::default().sample(&fine, &mut nan).unwrap_err();
    assert!(matches!(error, Error::ScoreNotFinite { round: 1, .. }), "{error}");
    // a coarse step overflows where no fine one does
    let mut huge = score_fn::<f32>(Prediction::Score, |_, _, mut out| {
        out.fill(1e38);
        Ok(())
    });
    let long = Grid::uniform(100).between(60.0, 1e-3);
    let steep = Scheme::Exponential { form: Form::Score, stochasticity: 1.0 };
    let steep = Problem::new(Ou, long, steep).shape([DIM]);
    let error = Parareal::default().sample(&steep, &mut huge).unwrap_err();
    assert!(matches!(error, Error::StateNotFinite { round: 1, node: 10, .. }), "{error}");
}

#[cfg(feature = "serde")]
#[test]
fn settings_survive_serialisation() {
    let settings = Parareal::default().blocks(3).acceptance(Acceptance::change(0.5)).max_iterations(2);
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<Parareal>(&text).unwrap(), settings);
    assert_eq!(serde_json::from_str::<Parareal>("{}").unwrap(), Parareal::default());
    assert!(serde_json::from_str::<Parareal>(r#"{"depth": 1}"#).is_err());
}

#[test]
fn agrees_with_picard() {
    let grid = Grid::log_snr(100).between(6.0, 0.02);
    let problem = Problem::new(Ou, grid, Scheme::Ddim { eta: 0.0 }).samples(4).shape([50]).seed(3);
    let mut score = two_modes::<f32>(Prediction::Noise);
    let run = |sampler: &dyn Sampler<Cpu<f32>>, score: &mut dyn ScoreFn<Cpu<f32>>| sampler.sample(&problem, score);
    let a = run(&Parareal::default(), &mut score).unwrap();
    let b = run(&Picard::default(), &mut score).unwrap();
    let off = (&a.samples - &b.samples).iter().fold(0.0f32, |m, e| m.max(e.abs()));
    assert!(off < 0.05 && a.report.rounds < 60, "{off} {}", a.report);
}
