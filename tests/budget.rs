//! Rounds of bounded size: a queue of samples through a few windows.

mod common;

use common::{bits, push, two_modes};
use ndarray::Array2;
use piadm::{
    Acceptance, Cpu, Error, Flow, Grid, Nodes, Ou, Picard, Prediction, Problem, Sampler, Save, Scheme, Sequential,
    Window,
    sampler::{Coupling, Entry, Policy, Round, on_round},
    schedule::Level,
};
use std::ops::ControlFlow;

const SAMPLES: usize = 11;

fn problem(scheme: Scheme) -> Problem<Cpu<f32>> {
    let grid = Grid::log_snr(40).between(6.0, 0.05);
    Problem::on(Cpu::new(), Ou, grid, scheme).samples(SAMPLES).shape([5]).seed(3)
}

fn picard(row_budget: Option<usize>) -> Picard {
    Picard::default().window(Window::Steps(8)).row_budget(row_budget)
}

#[test]
fn a_sample_does_not_notice_the_queue() {
    let problem = problem(Scheme::default()).save(Save::All);
    let mut score = two_modes::<f32>(Prediction::Data);
    let all = picard(None).sample(&problem, &mut score).unwrap();
    for budget in [8, 9, 15, 16, 31, 64, 87] {
        let (mut most, mut order) = (0, Vec::new());
        let mut observer = on_round(|r: &Round<'_>| {
            most = most.max(r.rows);
            order.push(r.finished.to_vec());
            ControlFlow::Continue(())
        });
        let queued = picard(Some(budget)).run(&problem, &mut score, &mut observer).unwrap();
        assert!(most <= budget && 2 * most > budget.min(88), "{most} of {budget}");
        assert_eq!(bits(&queued.samples), bits(&all.samples), "budget {budget}");
        assert_eq!(queued.path, all.path);
        assert_eq!(queued.report.score_rows, all.report.score_rows);
        assert_eq!(queued.report.sample_rounds, all.report.sample_rounds);
        assert!(queued.report.rounds >= all.report.rounds);
        // samples run in the order of the batch
        if budget < 16 {
            let started = |o: &Vec<usize>| o.iter().filter(|steps| **steps > 0).count();
            assert!(order.iter().all(|o| o.windows(2).all(|w| w[0] >= w[1])), "{order:?}");
            assert!(order.windows(2).all(|w| started(&w[1]) - started(&w[0]) <= 2));
        }
        // rounds are full: there is work for all of them but the last ones
        let rows = queued.report.score_rows as f64 / queued.report.rounds as f64;
        assert!(rows > 0.5 * budget.min(44) as f64, "{rows} rows per round of {budget}");
    }
}

/// Windows that grow on the way must not make a sample wait: the slopes that it measures are those of its last two
/// rounds.
#[test]
fn nor_do_samples_whose_windows_grow() {
    let mut score = two_modes::<f32>(Prediction::Data);
    let by_time = Window::OuTime { ou_time: 1.0 };
    for (policy, window, scheme) in [
        (Policy::Sliding, Window::Steps(4), Scheme::Heun {}),
        (Policy::Sliding, by_time, Scheme::default()),
        (Policy::Blocks, Window::Steps(4), Scheme::default()),
        (Policy::Blocks, by_time, Scheme::DpmSolverPp2M { lower_order_final: false }),
        (Policy::Wavefront { blocks: 3 }, Window::Steps(3), Scheme::default()),
    ] {
        let problem = problem(scheme);
        let all = Picard::default().policy(policy).window(window);
        let free = all.sample(&problem, &mut score).unwrap();
        for budget in 8..70 {
            let queue = all.clone().row_budget(budget);
            let queued = match queue.sample(&problem, &mut score) {
                Err(Error::Setting { .. }) => continue,
                queued => queued.unwrap(),
            };
            assert_eq!(bits(&queued.samples), bits(&free.samples), "budget {budget}, {policy:?}");
            assert_eq!(queued.report.sample_rounds, free.report.sample_rounds, "budget {budget}, {policy:?}");
            assert_eq!(queued.report.sweeps, free.report.sweeps, "budget {budget}, {policy:?}");
        }
    }
}

/// Where a first guess overflows, the node starts from the newest state, not from what the last sample has left in the
/// lane.
#[test]
fn guesses_that_overflow_are_not_those_of_another_sample() {
    // the start has no signal: there is no prediction to hold for a score
    let mut list = Nodes::empty(Level::at(&Flow, 1.0));
    for m in 1..=12 {
        let level = Level::at(&Flow, 1.0 - f64::from(m) / 12.5);
        push(&mut list, level, true, (&[0.95], &[0.05], &[0.1])).unwrap();
    }
    let problem = Problem::from_nodes(Cpu::<f32>::new(), list).samples(SAMPLES).shape([5]).seed(3);
    let mut score = two_modes::<f32>(Prediction::Score);
    let entry = Entry::HeldData { variance: 0.05 };
    let loose = |row_budget| picard(row_budget).entry(entry).acceptance(Acceptance::change(0.05));
    let all = loose(None).sample(&problem, &mut score).unwrap();
    let queued = loose(Some(8)).sample(&problem, &mut score).unwrap();
    assert_eq!(bits(&queued.samples), bits(&all.samples));
}

/// A sample whose window needs no network for a while takes no part in the rounds of the others.
#[test]
fn rounds_of_a_sample_are_those_with_its_rows() {
    let level = |m: usize| Level::at(&Ou, 3.0 - 0.14 * m as f64);
    let mut list = Nodes::empty(level(0));
    for m in 1..=20 {
        let b = if m % 5 < 2 { 0.2 } else { 0.0 };
        push(&mut list, level(m), true, (&[0.9], &[b], &[0.3])).unwrap();
    }
    let problem = Problem::from_nodes(Cpu::<f32>::new(), list).samples(SAMPLES).shape([5]).seed(3);
    let mut score = two_modes::<f32>(Prediction::Score);
    let sampler = Picard::default().window(Window::Steps(2));
    let all = sampler.sample(&problem, &mut score).unwrap().report.sample_rounds;
    let alone = (0..SAMPLES as u32).map(|id| {
        let problem = problem.clone().samples(1).ids([id]);
        sampler.sample(&problem, &mut score).unwrap().report.rounds
    });
    assert_eq!(all, alone.collect::<Vec<_>>());
}

#[test]
fn exact_with_stages() {
    let mut score = two_modes::<f32>(Prediction::Noise);
    for scheme in [Scheme::Heun {}, Scheme::DpmSolverPp2M { lower_order_final: false }] {
        let problem = problem(scheme);
        let sequential: Array2<f32> = Sequential.sample(&problem, &mut score).unwrap().samples;
        for budget in [16, 17, 23, 40] {
            let exact = picard(Some(budget)).acceptance(Acceptance::Exact);
            let samples = exact.sample(&problem, &mut score).unwrap().samples;
            assert_eq!(bits(&samples), bits(&sequential), "budget {budget}");
        }
    }
}

#[test]
fn memory_is_that_of_the_open_windows() {
    // rows so long that they outweigh what is noted of them
    let grid = Grid::log_snr(40).between(6.0, 0.05);
    let problem = Problem::new(Ou, grid, Scheme::default()).samples(SAMPLES).shape([500]);
    let bytes = |budget| problem.memory_estimate(&picard(budget), &Prediction::Data).unwrap();
    assert!(bytes(Some(8)) * 3 < bytes(None));
    assert_eq!(bytes(Some(88)), bytes(None));
}

#[test]
fn a_cancelled_queue_is_where_it_was() {
    let problem = problem(Scheme::default()).save(Save::All);
    let mut score = two_modes::<f32>(Prediction::Data);
    let all = Sequential.sample(&problem, &mut score).unwrap();
    let exact = picard(Some(16)).acceptance(Acceptance::Exact);
    let mut finished = Vec::new();
    let mut observer = on_round(|r: &Round<'_>| {
        finished = r.finished.to_vec();
        if r.round == 25 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let cut = exact.run(&problem, &mut score, &mut observer).unwrap();
    assert!(finished.contains(&0) && finished.contains(&40), "{finished:?}");
    for (slot, &steps) in finished.iter().enumerate() {
        let expected = all.path.states().index_axis(ndarray::Axis(0), steps).row(slot).to_owned();
        assert_eq!(cut.samples.row(slot), expected, "sample {slot} at step {steps}");
    }
    assert_eq!(cut.path.steps(), [0]);
}

#[test]
fn budgets_that_cannot_be_kept_are_typed_errors() {
    let problem = problem(Scheme::default());
    let mut score = two_modes::<f32>(Prediction::Data);
    let coupled = picard(Some(80)).coupling(Coupling::WholeBatch);
    for bad in [picard(Some(0)), picard(Some(7))] {
        let error = bad.sample(&problem, &mut score).unwrap_err();
        assert!(matches!(error, Error::Setting { name: "row_budget", .. }), "{error}");
    }
    let error = coupled.sample(&problem, &mut score).unwrap_err();
    assert!(matches!(error, Error::Unsupported { what: "a row budget", .. }), "{error}");
    coupled.row_budget(88).sample(&problem, &mut score).unwrap();
}
