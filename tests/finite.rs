//! Numbers that are not finite, runs that are cut short: what must not slip through a window.

mod common;

use common::{push, two_modes};
use ndarray::{Array3, ArrayView2, ArrayViewMut2};
use piadm::{
    Acceptance, Cpu, Error, Grid, Nodes, Ou, Piadm, Picard, Prediction, Problem, Rows, Sampler, Save, Scheme, ScoreFn,
    Sequential, Stop, Window,
    sampler::{Coupling, Dynamics, Entry, Linearisation, Policy, on_round},
    schedule::Level,
    score_fn,
};
use std::ops::ControlFlow;

type View<'a> = ArrayView2<'a, f32>;
type ViewMut<'a> = ArrayViewMut2<'a, f32>;

fn level(m: usize) -> Level {
    Level::at(&Ou, 3.0 - 0.4 * m as f64)
}

fn problem(steps: usize) -> Problem<Cpu<f32>> {
    let grid = Grid::log_snr(steps).between(6.0, 0.05);
    Problem::new(Ou, grid, Scheme::Ddim { eta: 0.0 }).samples(2).shape([3]).seed(1)
}

/// A score that answers `value` at one time and 0 elsewhere.
fn spike(time: f64, value: f32) -> impl ScoreFn<Cpu<f32>> {
    score_fn(Prediction::Score, move |_: View<'_>, rows: &Rows<'_>, mut out: ViewMut<'_>| {
        for (i, mut out) in out.rows_mut().into_iter().enumerate() {
            out.fill(if rows.t[i] == time { value } else { 0.0 });
        }
        Ok(())
    })
}

/// The trajectory overflows at node 4 and is constant before: a window whose other guesses are right must not jump over
/// it.
#[test]
fn an_overflow_is_not_jumped_over() {
    let mut list = Nodes::empty(level(0));
    for m in 1..=6 {
        let b = if m == 4 { 1e30 } else { 1.0 };
        push(&mut list, level(m), true, (&[1.0], &[b], &[0.0])).unwrap();
    }
    let time = list.nodes()[3].level.t;
    let problem = Problem::from_nodes(Cpu::<f32>::new(), list).shape([2]);
    let sequential = Sequential.sample(&problem, &mut spike(time, 1e30));
    assert!(matches!(sequential, Err(Error::StateNotFinite { node: 4, .. })));
    for policy in [Policy::Sliding, Policy::Blocks] {
        for acceptance in [Acceptance::Exact, Acceptance::default()] {
            let sampler = Picard::default().policy(policy).entry(Entry::Copy).acceptance(acceptance);
            let parallel = sampler.sample(&problem, &mut spike(time, 1e30));
            assert!(matches!(parallel, Err(Error::StateNotFinite { node: 4, .. })), "{policy:?} {acceptance:?}");
        }
    }
}

/// An output that no node of its own window uses is found when it is remembered.
#[test]
fn nan_that_only_the_second_lag_uses() {
    let mut list = Nodes::empty(level(0));
    for m in 1..=6 {
        let b = if m == 1 { [0.1, 0.0] } else { [0.0, 0.1] };
        push(&mut list, level(m), true, (&[1.0, 0.0], &b, &[0.0])).unwrap();
    }
    let time = list.nodes()[3].level.t;
    let problem = Problem::from_nodes(Cpu::<f32>::new(), list).shape([2]);
    let narrow = Picard::default().window(Window::Steps(1));
    for sampler in [&Sequential as &dyn Sampler<Cpu<f32>>, &narrow, &Picard::default()] {
        let result = sampler.sample(&problem, &mut spike(time, f32::NAN));
        assert!(matches!(result, Err(Error::ScoreNotFinite { node: 3, .. })), "{result:?}");
    }
}

#[test]
fn bad_noise_and_bad_horizons() {
    let mut noise = Array3::<f32>::zeros((20, 2, 3));
    noise[(4, 1, 1)] = f32::NAN;
    let result = Sequential.sample(&problem(20).noise(noise.clone()), &mut two_modes::<f32>(Prediction::Score));
    assert!(matches!(result, Err(Error::Setting { name: "the given noise", .. })));
    let sde = || Piadm::new(4, 0.1, Dynamics::Sde);
    for bad in [f64::NAN, -3.0, 0.0, f64::INFINITY] {
        assert!(sde().t_max(bad).recipe(&Ou, Some((0.01, 7.0))).is_err());
        assert!(sde().t_min(bad).recipe(&Ou, Some((0.01, 7.0))).is_err());
    }
}

/// A slope that does not fit f32 costs rounds, not the result.
#[test]
fn slopes_beyond_the_number_format() {
    let mut list = Nodes::empty(level(0));
    for m in 1..=5 {
        let tiny = Level::at(&Ou, 1e-40 / f64::from(m));
        push(&mut list, tiny, true, (&[0.9], &[0.1], &[0.0])).unwrap();
    }
    let problem = Problem::from_nodes(Cpu::<f32>::new(), list).shape([2]);
    let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| {
        out.zip_mut_with(&x, |o, x| *o = -x);
        Ok(())
    });
    let linearisation = Linearisation::Gaussian { variance: 0.0 };
    let sampler = Picard::default().acceptance(Acceptance::Exact).linearisation(linearisation);
    let sequential = Sequential.sample(&problem, &mut score).unwrap();
    assert_eq!(sampler.sample(&problem, &mut score).unwrap().samples, sequential.samples);
}

#[test]
fn a_cancelled_run_says_how_far_it_came() {
    let problem = problem(20).save(Save::All);
    let mut stop = on_round(|r| if r.round == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
    let cut = Sequential.run(&problem, &mut two_modes::<f32>(Prediction::Score), &mut stop).unwrap();
    assert_eq!((cut.report.stop, cut.path.steps()), (Stop::Cancelled, &[0, 1, 2, 3][..]));
    assert_eq!(cut.path.at(3).unwrap(), cut.samples);
    // breaking after the last round cancels nothing
    for sampler in [&Sequential as &dyn Sampler<Cpu<f32>>, &Picard::default()] {
        let mut late = on_round(|r| match r.finished.iter().all(|f| *f == r.steps) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        let whole = sampler.run(&problem, &mut two_modes::<f32>(Prediction::Score), &mut late).unwrap();
        assert_eq!((whole.report.stop, whole.path.steps().len()), (Stop::Converged, 21));
    }
}

/// Where a batch moves with its slowest sample, only nodes that really leave count.
#[test]
fn residuals_are_those_of_nodes_that_left() {
    let mut score = score_fn(Prediction::Score, |x: View<'_>, rows: &Rows<'_>, mut out: ViewMut<'_>| {
        for (i, mut out) in out.rows_mut().into_iter().enumerate() {
            let k: f32 = if rows.slot[i] == 0 { 1.0 } else { 40.0 };
            out.zip_mut_with(&x.row(i), |o, x| *o = -x + (k * x).sin() * 0.3 * k.sqrt());
        }
        Ok(())
    });
    let (coupling, acceptance) = (Coupling::WholeBatch, Acceptance::change(0.05));
    let sampler = Picard::default().window(Window::Steps(6)).coupling(coupling).acceptance(acceptance);
    let mut before = 0;
    let mut alone = 0;
    let mut watch = on_round(|r| {
        if r.finished[0] - before == 1 {
            assert_eq!(r.residual, 0.0, "round {}: the one node that left is exact", r.round);
            alone += 1;
        }
        before = r.finished[0];
        ControlFlow::Continue(())
    });
    sampler.run(&problem(12), &mut score, &mut watch).unwrap();
    assert!(alone > 0);
}
