//! What holds for every setting, on random ones: small problems by the hundred, every seed the same on every machine.

mod common;

use common::{bits, lookback_three, push, schemes, start, two_components, two_modes};
use ndarray::{ArrayView2, ArrayViewMut2, s};
use piadm::{
    Acceptance, Cpu, Edm, Error, Flow, Grid, Nodes, NoiseSchedule, Ou, Picard, Prediction, Problem, Report, Rows,
    Sampler, Save, ScoreFn, Sequential, Solution, Sweeps, Window,
    backend::Real,
    nodes::Correction,
    problem::Variances,
    sampler::{Coupling, Entry, Linearisation, Policy, Probes, Round, on_round},
    schedule::Level,
    score_fn,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::ops::ControlFlow;

const SEEDS: u64 = 400;

fn pick<T: Clone>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())].clone()
}

/// Lags, stages, components, normals, marks and unused nodes as they come; sometimes from a start without signal.
fn random_list(rng: &mut StdRng, steps: usize) -> Nodes {
    let (lookback, n, k) = (rng.random_range(1..=5usize), rng.random_range(1..=2usize), rng.random_range(0..=2usize));
    let from_noise = rng.random_bool(0.2);
    let level = |m: usize| {
        let part = 1.0 - m as f64 / (steps as f64 + 0.5);
        if from_noise { Level::at(&Flow, part) } else { Level::at(&Ou, 3.0 * part) }
    };
    let first = if rng.random_bool(0.3) { rng.random_range(1..5) } else { 0 };
    let mut list = start(level(0), n, first);
    for m in 1..=steps {
        let stages = rng.random_range(0..6usize).saturating_sub(3);
        for stage in 0..=stages {
            let (mut a, mut b, mut c) = (vec![0.0; lookback * n * n], vec![0.0; lookback * n], vec![0.0; n * k]);
            let lags = lookback.min(list.nodes().len());
            for (values, share) in [(&mut a[..lags * n * n], 0.5), (&mut b[..lags * n], 0.2), (&mut c[..], 0.3)] {
                let used = |rng: &mut StdRng| if rng.random_bool(0.7) { rng.random_range(-0.5..1.0) } else { 0.0 };
                values.iter_mut().for_each(|v| *v = share * used(rng));
            }
            push(&mut list, level(m), stage == stages, (&a, &b, &c)).unwrap();
        }
        if rng.random_bool(0.2) {
            list.mark();
        }
    }
    list
}

fn random_picard(rng: &mut StdRng, steps: usize) -> Picard {
    let blocks = pick(rng, &[1, 2, 3, usize::MAX]);
    let lengths = [1, 2, 3, 5, 8, steps, usize::MAX];
    let times = [1e-3, 0.3, 1.0, 4.0, f64::INFINITY];
    let window = match rng.random_range(0..10) {
        0..3 => Window::OuTime { ou_time: pick(rng, &times) },
        3 => Window::Nodes { nodes: pick(rng, &lengths) },
        4 => Window::Marked { marks: pick(rng, &lengths) },
        _ => Window::Steps(pick(rng, &lengths)),
    };
    let linearisations = [
        Linearisation::FrozenScore,
        Linearisation::Identity,
        Linearisation::Gaussian { variance: 0.2 },
        Linearisation::Secant,
        Linearisation::Secant,
    ];
    let entries = [
        Entry::Auto,
        Entry::Copy,
        Entry::HeldData { variance: 0.0 },
        Entry::HeldData { variance: 0.3 },
        Entry::LinearData { variance: 0.2 },
    ];
    let picard = Picard::default()
        .policy(pick(rng, &[Policy::Sliding, Policy::Blocks, Policy::Wavefront { blocks }]))
        .window(window)
        .linearisation(pick(rng, &linearisations))
        .entry(pick(rng, &entries))
        .anderson(rng.random_range(0..=9usize).saturating_sub(3))
        .acceptance(Acceptance::Exact);
    let counted = matches!(window, Window::Steps(_) | Window::Nodes { .. });
    if counted && picard.policy == Policy::Sliding && rng.random_bool(0.5) {
        return picard.anderson(0).far_stride(rng.random_range(2..=5));
    }
    picard
}

/// Scores that couple the elements, that overflow where guesses are wild, and that are flat.
fn odd<T: Real>(prediction: Prediction, kind: usize) -> impl ScoreFn<Cpu<T>> {
    score_fn(prediction, move |x: ArrayView2<'_, T>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, T>| {
        for (x, mut out) in x.rows().into_iter().zip(out.rows_mut()) {
            let mean = x.iter().map(|v| v.wide()).sum::<f64>() / x.len() as f64;
            for (x, out) in x.iter().zip(out.iter_mut()) {
                let x = x.wide();
                *out = T::of(match kind {
                    0 => (3.0 * mean + x).sin() * 2.0 - 0.3 * x,
                    1 => (1e30 * mean.signum()) * f64::from(u8::from(mean.abs() > 2.0)) + x.cos(),
                    _ => (x * 4.0).round() * 0.25,
                });
            }
        }
        Ok(())
    })
}

fn random_problem<T: Real>(rng: &mut StdRng, seed: u64) -> (Problem<Cpu<T>>, Prediction, usize) {
    let (samples, dim, steps) = (rng.random_range(1..=6), pick(rng, &[1, 3, 130]), rng.random_range(1..=14));
    let kinds = [Prediction::Score, Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow];
    let schedules: [(&'static dyn NoiseSchedule, f64); 3] = [(&Ou, 6.0), (&Edm, 20.0), (&Flow, 1.0)];
    let problem = match rng.random_range(0..6) {
        0 => Problem::from_nodes(Cpu::new(), lookback_three(steps)).samples(samples).shape([dim]),
        1 => Problem::from_nodes(Cpu::new(), two_components(steps)).samples(samples).shape([dim]),
        2 => Problem::from_nodes(Cpu::new(), random_list(rng, steps)).samples(samples).shape([dim]),
        _ => {
            let (schedule, t_max) = pick(rng, &schedules);
            let grid = Grid::uniform(steps).between(t_max, 0.02);
            let grid = if rng.random_bool(0.4) { grid.then_data() } else { grid };
            let problem = Problem::on(Cpu::new(), schedule, grid, pick(rng, &schemes())).samples(samples).shape([dim]);
            let block = pick(rng, &[Window::Steps(1), Window::Steps(3), Window::OuTime { ou_time: 1.0 }]);
            let correction = Correction::default().friction(2.0).step(0.2).steps(rng.random_range(1..=4));
            if rng.random_bool(0.3) { problem.correction(block, correction) } else { problem }
        }
    };
    (problem.seed(seed).save(Save::All), pick(rng, &kinds), steps)
}

/// All of a report that does not depend on the batch, sample by sample, and its sums.
fn per_sample(report: &Report) -> (&[usize], &[f64], usize, f64, &[usize], bool) {
    let Report { sample_rounds, residuals, score_rows, max_residual, sweeps, .. } = report;
    (sample_rounds, residuals, *score_rows, *max_residual, sweeps, report.converged())
}

fn assert_same<T: Real>(a: &Solution<Cpu<T>>, b: &Solution<Cpu<T>>, what: &str) {
    assert_eq!(bits(&a.samples), bits(&b.samples), "{what}");
    assert_eq!(a.path, b.path, "{what}");
    assert_eq!(per_sample(&a.report), per_sample(&b.report), "{what}");
}

fn check<T: Real>(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (problem, prediction, steps) = random_problem::<T>(&mut rng, seed);
    let mut own = StdRng::seed_from_u64(!seed);
    let spread = (0..problem.dim()).map(|_| pick(&mut own, &[0.0, 1e-30, 1e-3, 1.0, 1.0, 50.0, 1e30]));
    let variances = Variances::new(spread.collect()).ok().filter(|_| own.random_bool(0.5));
    let problem = match variances {
        Some(variances) => problem.variances(variances),
        None => problem,
    };
    let mut score: Box<dyn ScoreFn<Cpu<T>>> = match rng.random_range(0..6) {
        kind @ 0..3 => Box::new(odd(prediction, kind)),
        _ => Box::new(two_modes(prediction)),
    };
    // a state that overflows, or a singular formula
    let Ok(sequential) = Sequential.sample(&problem, &mut *score) else { return };
    for _ in 0..3 {
        let sampler = random_picard(&mut rng, steps);
        let probes = Probes::default().directions(own.random_range(1..=7)).every(own.random_range(1..=5));
        let probed = sampler.clone().policy(Policy::Sliding).linearisation(Linearisation::Secant).anderson(0);
        let probed = probed.far_stride(None).probes(probes);
        let fits = own.random_bool(0.5) && problem.memory_estimate(&probed, &prediction).is_ok();
        let sampler = if fits { probed } else { sampler };
        let least = (1..).find(|rows| problem.memory_estimate(&sampler.clone().row_budget(*rows), &prediction).is_ok());
        let least = least.unwrap();
        let row_budget = Some(least + rng.random_range(0..=3 * least));
        let limits = [(Coupling::WholeBatch, None), (Coupling::PerSample, None), (Coupling::PerSample, row_budget)];
        let (coupling, rows) = pick(&mut rng, &limits);
        let exact = sampler.clone().coupling(coupling).row_budget(rows);
        let what = format!("seed {seed}: {} samples x {}, {exact:?}", problem.count(), problem.dim());
        let parallel = exact.sample(&problem, &mut *score).unwrap();
        assert_eq!(bits(&parallel.samples), bits(&sequential.samples), "{what}");
        assert_eq!(parallel.path, sequential.path, "{what}");
        assert!(parallel.report.converged(), "{what}");

        // cancelled anywhere, it is where the sequential run passes
        let end = rng.random_range(1..=parallel.report.rounds.max(1));
        let (mut finished, mut rows) = (Vec::new(), 0);
        let mut observer = on_round(|r: &Round<'_>| {
            (finished, rows) = (r.finished.to_vec(), rows + r.rows);
            if r.round == end { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let cut = exact.run(&problem, &mut *score, &mut observer).unwrap();
        assert_eq!(rows, cut.report.score_rows, "{what}");
        let reached = finished.iter().min().unwrap() + 1;
        assert_eq!(cut.path.steps(), &sequential.path.steps()[..reached], "{what}");
        assert_eq!(cut.path.states(), sequential.path.states().slice(s![..reached, .., ..]), "{what}");

        // with a tolerance too, a sample notices neither the queue nor its batch
        let tolerances = [Acceptance::Error(1e-2), Acceptance::change(0.1), Acceptance::Exact];
        let loose = sampler
            .acceptance(pick(&mut rng, &tolerances))
            .sweeps(pick(&mut rng, &[Sweeps::Unbounded, Sweeps::AtMost(1), Sweeps::AtMost(3)]));
        let loose = if loose.far_stride.is_some() { loose.sweeps(Sweeps::Unbounded) } else { loose };
        let what = format!("seed {seed}: budget {row_budget:?}, {loose:?}");
        let all = match loose.sample(&problem, &mut *score) {
            Err(Error::StateNotFinite { .. }) => continue,
            all => all.unwrap(),
        };
        let queued = loose.clone().row_budget(row_budget).sample(&problem, &mut *score).unwrap();
        assert_same(&queued, &all, &what);
        let i = rng.random_range(0..problem.count());
        let alone = loose.sample(&problem.clone().samples(1).ids([i as u32]), &mut *score).unwrap();
        assert_eq!(bits(&alone.samples), bits(&all.samples.slice(s![i..=i, ..]).to_owned()), "{what}");
        assert_eq!(alone.report.sample_rounds[0], all.report.sample_rounds[i], "{what}");
        assert_eq!(alone.report.residuals[0], all.report.residuals[i], "{what}");

        // one open block is a barrier
        let [blocks, one] = [Policy::Blocks, Policy::Wavefront { blocks: 1 }].map(|policy| {
            let sampler = loose.clone().policy(policy).far_stride(None).probes(None);
            sampler.sample(&problem, &mut *score).ok()
        });
        if let (Some(blocks), Some(one)) = (blocks, one) {
            assert_same(&one, &blocks, &what);
        }
    }
}

#[test]
fn every_promise_on_random_settings() {
    for seed in 0..SEEDS {
        if seed % 2 == 0 { check::<f32>(seed) } else { check::<f64>(seed) }
    }
}

/// A number that is not finite ends the run in its own round, with its sample and time.
#[test]
fn bad_numbers_on_random_settings() {
    for seed in 0..SEEDS {
        let mut rng = StdRng::seed_from_u64(seed);
        let (samples, steps, bad) = (rng.random_range(1..=5u32), rng.random_range(2..=12), rng.random_range(1..6));
        let grid = Grid::log_snr(steps).between(6.0, 0.05);
        let scheme = pick(&mut rng, &schemes());
        let problem = Problem::new(Ou, grid, scheme).samples(samples as usize).shape([3]).seed(seed);
        let (id, value) = (rng.random_range(0..samples), pick(&mut rng, &[f32::NAN, f32::INFINITY]));
        let sampler = random_picard(&mut rng, steps);
        let (mut good, mut rounds, mut spoilt) = (two_modes::<f32>(Prediction::Data), 0, None);
        let mut score =
            score_fn(Prediction::Data, |x: ArrayView2<'_, f32>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, f32>| {
                good.eval(x, rows, out.view_mut())?;
                rounds += 1;
                let row = (0..rows.id.len()).rev().find(|i| rounds >= bad && rows.id[*i] == id);
                if let Some(row) = row {
                    out[[row, 1]] = value;
                    spoilt = spoilt.or(Some((rounds, rows.t[row])));
                }
                Ok(())
            });
        let run = sampler.sample(&problem, &mut score);
        drop(score);
        match (run, spoilt) {
            (Ok(_), None) => {}
            (Err(Error::ScoreNotFinite { round, time, sample, .. }), Some(first)) => {
                assert_eq!(((round, time), sample), (first, id), "seed {seed}, {sampler:?}");
            }
            (run, spoilt) => panic!("seed {seed}: {:?} for {spoilt:?}, {sampler:?}", run.map(|_| ())),
        }
    }
}
