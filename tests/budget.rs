//! Rounds of bounded size: a queue of samples through a few windows.

mod common;

use common::{bits, two_modes};
use ndarray::Array2;
use piadm::{
    Coupling, Cpu, Error, Ou, Picard, Prediction, Problem, Round, Sampler, Save, Scheme, Sequential, TimeGrid,
    Tolerance, Window, on_round,
};
use std::ops::ControlFlow;

const SAMPLES: usize = 11;

fn problem(scheme: Scheme) -> Problem<'static, Cpu<f32>> {
    let grid = TimeGrid::log_snr(&Ou, 6.0, 0.05, 40).unwrap();
    Problem::new(Cpu::new(), &Ou, grid, scheme, (SAMPLES, 5)).seed(3)
}

fn picard(row_budget: Option<usize>) -> Picard {
    Picard { window: Window::Steps(8), row_budget, ..Picard::default() }
}

#[test]
fn a_sample_does_not_notice_the_queue() {
    let problem = problem(Scheme::default()).with_save(Save::All);
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
        drop(observer);
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
        assert!(rows > 0.5 * budget.min(44) as f64, "{rows} rows a round of {budget}");
    }
}

#[test]
fn exact_with_stages_and_waiting() {
    let mut score = two_modes::<f32>(Prediction::Noise);
    for scheme in [Scheme::Heun {}, Scheme::DpmSolverPp2M { lower_order_final: false }] {
        let problem = problem(scheme);
        let sequential: Array2<f32> = Sequential.sample(&problem, &mut score).unwrap().samples;
        for budget in [16, 17, 23, 40] {
            let exact = Picard { tolerance: Tolerance::ZERO, ..picard(Some(budget)) };
            let samples = exact.sample(&problem, &mut score).unwrap().samples;
            assert_eq!(bits(&samples), bits(&sequential), "budget {budget}");
        }
    }
}

#[test]
fn memory_is_that_of_the_open_windows() {
    let problem = problem(Scheme::default());
    let bytes = |budget| problem.memory_estimate(&picard(budget), Prediction::Data).unwrap();
    assert!(bytes(Some(8)) * 3 < bytes(None));
    assert_eq!(bytes(Some(88)), bytes(None));
}

#[test]
fn a_cancelled_queue_is_where_it_was() {
    let problem = problem(Scheme::default()).with_save(Save::All);
    let mut score = two_modes::<f32>(Prediction::Data);
    let all = Sequential.sample(&problem, &mut score).unwrap();
    let exact = Picard { tolerance: Tolerance::ZERO, ..picard(Some(16)) };
    let mut finished = Vec::new();
    let mut observer = on_round(|r: &Round<'_>| {
        finished = r.finished.to_vec();
        if r.round == 25 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let cut = exact.run(&problem, &mut score, &mut observer).unwrap();
    drop(observer);
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
    let coupled = Picard { coupling: Coupling::WholeBatch, ..picard(Some(80)) };
    for bad in [picard(Some(0)), picard(Some(7)), coupled.clone()] {
        let error = bad.sample(&problem, &mut score).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }) && error.to_string().starts_with("row_budget"), "{error}");
    }
    Picard { row_budget: Some(88), ..coupled }.sample(&problem, &mut score).unwrap();
}
