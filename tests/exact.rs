//! At a tolerance of zero every parallel run has the bits of the sequential one.

mod common;

use common::{bits, exact, iterations, lookback_three, mixture, schemes, two_components, two_modes};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, s};
use piadm::{
    Cpu, Edm, Flow, Grid, Nodes, NoiseSchedule, Ou, Picard, Prediction, Problem, Rows, Sampler, Save, Scheme, ScoreFn,
    Sequential, Sweeps, VpCosine, Window, backend::Real, sampler::Policy, score::Chunked, score_fn,
};
use rayon::prelude::*;
use std::sync::Arc;

const STEPS: usize = 24;

fn ou_problem<T: Real>(scheme: Scheme, samples: usize, dim: usize) -> Problem<Cpu<T>> {
    let grid = Grid::log_snr(STEPS).between(6.0, 0.05);
    Problem::on(Cpu::<T>::new(), Ou, grid, scheme).samples(samples).shape([dim]).seed(11)
}

/// Both policies, windows 1, 2, 7, steps and more than steps, all linearisations and entries.
fn samplers() -> Vec<Picard> {
    let mut all = Vec::new();
    for policy in [Policy::Blocks, Policy::Sliding, Policy::Wavefront { blocks: 3 }] {
        for window in [1, 2, 7, STEPS, STEPS + 3] {
            all.extend(iterations().into_iter().map(|iteration| exact(policy, window, iteration)));
        }
    }
    for (policy, anderson) in [(Policy::Sliding, 2), (Policy::Blocks, 1), (Policy::Wavefront { blocks: 2 }, 6)] {
        all.extend([0, 6].map(|i| exact(policy, 7, iterations()[i]).anderson(anderson)));
    }
    let by_time = |policy| exact(policy, 1, iterations()[5]).window(Window::OuTime { ou_time: 1.0 });
    all.extend([by_time(Policy::Blocks), by_time(Policy::Sliding)]);
    all.push(exact(Policy::Sliding, 7, iterations()[2]).coupling(piadm::sampler::Coupling::WholeBatch));
    all.push(exact(Policy::Blocks, 7, iterations()[0]).coupling(piadm::sampler::Coupling::WholeBatch));
    all
}

fn assert_exact<T: Real>(problem: &Problem<Cpu<T>>, score: &mut dyn ScoreFn<Cpu<T>>, samplers: &[Picard], what: &str) {
    let sequential = Sequential.sample(problem, score).unwrap();
    assert!(sequential.samples.iter().all(|v| v.is_finite()));
    for sampler in samplers {
        let parallel = sampler.sample(problem, score).unwrap();
        assert_eq!(bits(&parallel.samples), bits(&sequential.samples), "{what} with {sampler:?}");
        assert!(parallel.report.converged());
    }
}

fn every_scheme<T: Real>() {
    for scheme in schemes() {
        let mut score = two_modes::<T>(Prediction::Noise);
        assert_exact(&ou_problem(scheme.clone(), 3, 5), &mut score, &samplers(), &format!("{scheme:?}"));
    }
}

#[test]
fn every_scheme_f32() {
    every_scheme::<f32>();
}

#[test]
fn every_scheme_f64() {
    every_scheme::<f64>();
}

#[test]
fn every_kind_of_output_and_schedule() {
    let cosine = Arc::new(VpCosine::default());
    let schedules: [(Arc<dyn NoiseSchedule>, f64, f64); 4] =
        [(Arc::new(Ou), 6.0, 0.05), (cosine, 1.0, 0.02), (Arc::new(Edm), 20.0, 0.05), (Arc::new(Flow), 1.0, 0.02)];
    for (schedule, t_max, t_min) in schedules {
        for prediction in
            [Prediction::Score, Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow]
        {
            let starts_without_signal = schedule.alpha(t_max) == 0.0;
            if starts_without_signal && matches!(prediction, Prediction::Score | Prediction::Noise) {
                continue;
            }
            for scheme in [Scheme::default(), Scheme::DpmSolverPp2M { lower_order_final: false }, Scheme::Heun {}] {
                let grid = Grid::uniform(STEPS).between(t_max, t_min).then_data();
                let problem = Problem::new(schedule.clone(), grid, scheme).samples(2).shape([3]).seed(3);
                let mut score = two_modes::<f32>(prediction);
                assert_exact(&problem, &mut score, &samplers(), &format!("{schedule:?} {prediction:?}"));
            }
        }
    }
}

#[test]
fn mixtures_of_every_size() {
    for dim in [1, 2, 127, 128, 129, 700] {
        let mut score = mixture(4, dim, 0.3, 0.91, 5);
        for scheme in [Scheme::default(), Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: false }] {
            let chosen: Vec<Picard> = samplers().into_iter().step_by(5).collect();
            assert_exact::<f32>(&ou_problem(scheme.clone(), 2, dim), &mut score, &chosen, &format!("f32 {dim}"));
            assert_exact::<f64>(&ou_problem(scheme, 2, dim), &mut score, &chosen, &format!("f64 {dim}"));
        }
    }
}

#[test]
fn lists_of_the_users_own() {
    for list in [lookback_three(20), two_components(20)] {
        assert!(list.nodes().iter().any(|n| n.evaluate));
        let problem = Problem::from_nodes(Cpu::<f32>::new(), list.clone()).samples(3).shape([4]).seed(5);
        assert_exact(
            &problem,
            &mut two_modes::<f32>(Prediction::Score),
            &samplers(),
            &format!("L = {}", list.lookback()),
        );
    }
}

#[test]
fn chunks_do_not_change_bits() {
    let problem = ou_problem(Scheme::default(), 3, 5);
    let whole = Sequential.sample(&problem, &mut two_modes::<f32>(Prediction::Score)).unwrap();
    for max_rows in [1, 2, 5, 7, 64, 1000] {
        let mut score = Chunked::new(two_modes::<f32>(Prediction::Score), max_rows).unwrap();
        assert_exact(&problem, &mut score, &samplers()[..12], &format!("{max_rows} rows per call"));
        let cut = Picard::default().sample(&problem, &mut score).unwrap();
        assert!(cut.report.score_calls >= cut.report.score_rows.div_ceil(max_rows));
        let again = Sequential.sample(&problem, &mut score).unwrap();
        assert_eq!(bits(&again.samples), bits(&whole.samples));
    }
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    let mut score = mixture(5, 40, 0.3, 0.91, 2);
    let sampler = Picard::default(); // even with a tolerance
    let run = |ids: Vec<u32>, score: &mut dyn ScoreFn<Cpu<f32>>| {
        let problem = ou_problem(Scheme::default(), ids.len(), 40).ids(ids);
        let solution = sampler.sample(&problem, score).unwrap();
        (solution.samples, solution.report.sample_rounds)
    };
    let (together, rounds) = run(vec![0, 1, 2, 3, 70_000], &mut score);
    let (permuted, permuted_rounds) = run(vec![3, 70_000, 1, 0, 2], &mut score);
    for (place, id) in [(0, 3), (1, 4), (2, 1), (3, 0), (4, 2)] {
        assert_eq!(permuted.row(place), together.row(id));
        assert_eq!(permuted_rounds[place], rounds[id]);
    }
    for (i, id) in [0, 1, 2, 3, 70_000].into_iter().enumerate() {
        let (alone, alone_rounds) = run(vec![id], &mut score);
        assert_eq!(bits(&alone), bits(&together.slice(s![i..i + 1, ..]).to_owned()));
        assert_eq!(alone_rounds[0], rounds[i]);
    }
    assert_ne!(together.row(0), together.row(1));
}

#[test]
fn threads_do_not_change_bits() {
    // rows long enough to be cut between threads, many short ones, and runs too small to be shared
    for (samples, dim) in [(2, 5000), (40, 600), (3, 20)] {
        let run = || {
            let mut score = mixture(3, dim, 0.3, 0.91, 9);
            let problem: Problem<Cpu<f32>> = ou_problem(Scheme::default(), samples, dim);
            let solution = Picard::default().sample(&problem, &mut score).unwrap();
            let report = solution.report;
            (bits(&solution.samples), report.residuals, report.rounds, report.score_rows)
        };
        let outside = run();
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(run), outside, "{threads} threads");
            // several runs on the same threads
            let several: Vec<_> = pool.install(|| (0..4).into_par_iter().map(|_| run()).collect());
            assert!(several.iter().all(|r| *r == outside), "{threads} threads");
        }
    }
}

#[test]
fn odd_numbers_from_the_score() {
    // -0, subnormal and huge values, by the sign and size of the state
    let odd = |x: f32| match x {
        x if x > 1.0 => -0.0,
        x if x > 0.5 => 1e-40,
        x if x > 0.0 => -1e-38,
        x if x > -0.5 => 1e18,
        x if x > -1e3 => -1e18,
        _ => 0.0,
    };
    let mut score =
        score_fn(Prediction::Data, |x: ArrayView2<'_, f32>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, f32>| {
            out.zip_mut_with(&x, |o, x| *o = odd(*x));
            Ok(())
        });
    for scheme in [Scheme::default(), Scheme::Ddim { eta: 0.0 }, Scheme::Heun {}] {
        assert_exact(&ou_problem(scheme, 2, 6), &mut score, &samplers(), "odd values");
    }
    // the sign of a zero state matters to this one
    let mut signs =
        score_fn(Prediction::Data, |x: ArrayView2<'_, f32>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, f32>| {
            out.zip_mut_with(&x, |o, x| *o = if x.is_sign_negative() { -0.0 } else { 0.0 });
            Ok(())
        });
    let zeros = Array2::from_shape_fn((2, 6), |(_, j)| if j % 2 == 0 { 0.0 } else { -0.0 });
    let problem = ou_problem(Scheme::Ddim { eta: 0.0 }, 2, 6).init(zeros);
    assert_exact(&problem, &mut signs, &samplers(), "signed zeros");
}

/// After k sweeps the first k nodes are final, and all of them after as many sweeps as there are nodes.
#[test]
fn k_sweeps_finish_k_nodes() {
    for (scheme, nodes_a_step) in [(Scheme::default(), 1), (Scheme::Heun {}, 2)] {
        let problem = ou_problem(scheme, 2, 5).save(Save::All);
        let mut score = two_modes::<f32>(Prediction::Score);
        let sequential = Sequential.sample(&problem, &mut score).unwrap();
        for iteration in iterations() {
            for k in [1, 2, 3, 8, STEPS] {
                let all = exact(Policy::Blocks, STEPS, iteration);
                let sampler = all.clone().sweeps(Sweeps::AtMost(k));
                let swept = sampler.sample(&problem, &mut score).unwrap();
                assert!(swept.report.rounds <= k);
                for m in 0..=k / nodes_a_step {
                    assert_eq!(swept.path.at(m), sequential.path.at(m), "step {m} after {k} sweeps, {iteration:?}");
                }
                let full = all.sample(&problem, &mut score).unwrap();
                assert!(full.report.sweeps[0] <= STEPS * nodes_a_step);
            }
        }
    }
}

/// What is saved on the way are the sequential states too, also where new nodes take the rows of finished ones.
#[test]
fn saved_paths_are_exact() {
    let mut score = two_modes::<f32>(Prediction::Score);
    for scheme in [Scheme::default(), Scheme::DpmSolverPp2M { lower_order_final: false }, Scheme::Heun {}] {
        let problem = ou_problem(scheme, 3, 5).save(Save::All);
        let sequential = Sequential.sample(&problem, &mut score).unwrap();
        for sampler in samplers() {
            let parallel = sampler.sample(&problem, &mut score).unwrap();
            assert_eq!(parallel.path, sequential.path, "{sampler:?}");
        }
    }
}

/// A guess is only a guess: any warm start gives the same bits.
#[test]
fn warm_starts_change_rounds_only() {
    let mut score = two_modes::<f32>(Prediction::Score);
    let base = || ou_problem(Scheme::default(), 2, 5);
    let cold = Sequential.sample(&base().save(Save::All), &mut score).unwrap();
    let sampler = exact(Policy::Sliding, 8, iterations()[5]);
    let exact_guess = sampler.sample(&base().guesses(cold.path.clone()), &mut score).unwrap();
    assert_eq!(bits(&exact_guess.samples), bits(&cold.samples));
    assert_eq!(exact_guess.report.rounds, STEPS.div_ceil(8), "a perfect guess is accepted window by window");
    let sparse = Sequential.sample(&base().save(Save::Steps(vec![0, 10, 20])), &mut score).unwrap();
    assert_eq!(sparse.path.steps(), [0, 10, 20]);
    for sampler in samplers() {
        let warm = sampler.sample(&base().guesses(sparse.path.clone()), &mut score).unwrap();
        assert_eq!(bits(&warm.samples), bits(&cold.samples));
    }
}

#[test]
fn given_noise_and_starts_in_the_middle() {
    let mut score = two_modes::<f64>(Prediction::Score);
    let sampler = exact(Policy::Sliding, 7, iterations()[3]);
    let addressed = Sequential.sample(&ou_problem(Scheme::default(), 2, 5).save(Save::All), &mut score).unwrap();
    // the same normals, handed over as an array
    let mut noise = ndarray::Array3::zeros((STEPS, 2, 5));
    for (m, mut of_step) in noise.axis_iter_mut(Axis(0)).enumerate() {
        for (sample, mut row) in of_step.axis_iter_mut(Axis(0)).enumerate() {
            let address = piadm::noise::Address {
                stream: piadm::noise::stream::DYNAMICS,
                step: m as u32 + 1,
                sample: sample as u32,
            };
            piadm::noise::NoiseKey::new(11).fill_f64(address, 0, row.as_slice_mut().unwrap());
        }
    }
    let given = ou_problem(Scheme::default(), 2, 5).noise(noise.clone());
    assert_eq!(bits(&sampler.sample(&given, &mut score).unwrap().samples), bits(&addressed.samples));
    // from the state of step 9 on the trajectory is the same, noise included
    let middle = addressed.path.at(9).unwrap().to_owned();
    let resumed = ou_problem(Scheme::default(), 2, 5).init_at(9, middle);
    for sampler in samplers() {
        let solution = sampler.sample(&resumed, &mut score).unwrap();
        assert_eq!(bits(&solution.samples), bits(&addressed.samples));
        assert_eq!(solution.report.steps, STEPS - 9);
    }
    // image to image: alpha x0 + sigma xi with the noise of the initial state
    let x0 = Array2::from_shape_fn((2, 5), |(i, j)| 0.1 * (i as f64) - 0.2 * j as f64);
    let noised = ou_problem(Scheme::default(), 2, 5).data_at(9, x0.clone()).save(Save::Steps(vec![9]));
    let solution = Sequential.sample(&noised, &mut score).unwrap();
    let list =
        Nodes::new(&Ou, &Grid::log_snr(STEPS).between(6.0, 0.05), &Scheme::default(), Prediction::Score).unwrap();
    let level = list.nodes()[9].level;
    let mut xi = [0.0; 5];
    piadm::noise::NoiseKey::new(11).fill_f64(piadm::noise::Address { stream: 0, step: 0, sample: 1 }, 0, &mut xi);
    for (j, xi) in xi.iter().enumerate() {
        let expected = level.alpha * x0[(1, j)] + level.sigma * xi;
        assert_eq!(solution.path.at(9).unwrap()[(1, j)], expected);
    }
}

/// Rounding does not pile up over ten thousand steps in single precision, and parallel runs still have the bits of the
/// sequential one.
#[test]
fn ten_thousand_steps_in_single_precision() {
    const LONG: usize = 10_000;
    let grid = Grid::log_snr(LONG).between(6.0, 0.01);
    let mut start = Array2::<f32>::zeros((2, 3));
    let mut noise = ndarray::Array3::<f32>::zeros((LONG, 2, 3));
    let normals = |step, out: &mut [f32]| {
        piadm::noise::NoiseKey::new(5).fill_f32(piadm::noise::Address { stream: 0, step, sample: 0 }, 0, out);
    };
    normals(0, start.as_slice_mut().unwrap());
    noise.outer_iter_mut().zip(1..).for_each(|(mut of_step, step)| normals(step, of_step.as_slice_mut().unwrap()));
    let (wide_start, wide_noise) = (start.mapv(f64::from), noise.mapv(f64::from));
    for (scheme, kind) in [
        (Scheme::default(), Prediction::Data),
        (Scheme::Ddim { eta: 0.0 }, Prediction::Noise),
        (Scheme::Ddim { eta: 0.0 }, Prediction::Data),
    ] {
        let narrow = Problem::new(Ou, grid.clone(), scheme.clone()).samples(2).shape([3]);
        let narrow = narrow.init(start.clone()).noise(noise.clone());
        let wide = Problem::on(Cpu::<f64>::new(), Ou, grid.clone(), scheme.clone()).samples(2).shape([3]);
        let wide = wide.init(wide_start.clone()).noise(wide_noise.clone());
        let found = Sequential.sample(&narrow, &mut two_modes::<f32>(kind)).unwrap().samples;
        let expected = Sequential.sample(&wide, &mut two_modes::<f64>(kind)).unwrap().samples;
        let worst = found.iter().zip(&expected).fold(0.0, |worst, (f, e)| f64::max(worst, (f64::from(*f) - e).abs()));
        assert!(worst < 1e-4, "{scheme:?}, {kind:?}: {worst:e}");
        let windows = [(Policy::Sliding, 64), (Policy::Sliding, LONG), (Policy::Blocks, 500)];
        let chosen = windows.map(|(policy, window)| exact(policy, window, iterations()[7]));
        assert_exact(&narrow, &mut two_modes::<f32>(kind), &chosen, &format!("{scheme:?}, {kind:?}"));
    }
}

/// Changes so small that their squares are zero are changes all the same.
#[test]
fn tiny_states() {
    let grid = Grid::log_snr(40).between(6.0, 0.05);
    let start = Array2::from_shape_fn((1, 3), |(_, j)| 1e-25 * (j + 1) as f32);
    let problem = Problem::new(Ou, grid, Scheme::Ddim { eta: 0.0 }).shape([3]);
    let problem = problem.init(start);
    let windows = [5, 40].map(|window| iterations().into_iter().map(move |i| exact(Policy::Sliding, window, i)));
    let chosen: Vec<Picard> = windows.into_iter().flatten().collect();
    assert_exact(&problem, &mut two_modes::<f32>(Prediction::Noise), &chosen, "1e-25");
}
