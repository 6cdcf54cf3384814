//! Small problems whose sweeps, residuals and counters are worked out by hand: each of these tests turns red under a
//! wrong index, a wrong comparison or a missing term of the engine that other tests do not see.

mod common;

use common::{lv, push, staircase, stairs, start};
use ndarray::*;
use piadm::nodes::*;
use piadm::sampler::*;
use piadm::score::Chunked;
use piadm::*;
use std::ops::ControlFlow;

type V<'a> = ArrayView2<'a, f32>;
type W<'a> = ArrayViewMut2<'a, f32>;

fn ones() -> impl ScoreFn<Cpu<f32>> {
    score_fn(Prediction::Score, |_: V<'_>, _: &Rows<'_>, mut out: W<'_>| {
        out.fill(1.0);
        Ok(())
    })
}

#[test]
fn tolerances_and_residuals_by_hand() {
    let init = Array2::<f32>::zeros((1, 3));
    let list = staircase();
    let p = Problem::from_nodes(Cpu::<f32>::new(), list.clone()).shape([3]).init(init);
    let node = list.nodes()[3];
    for [absolute, relative, posterior] in [
        [0.75, 0.0, 0.0],
        [0.0, 0.75 / node.level.sigma * (1.0 + 1e-12), 0.0],
        [0.0, 0.0, 0.75 / node.posterior_std * (1.0 + 1e-12)],
    ] {
        let run = |scale: f64| {
            let [absolute, relative, posterior] = [absolute, relative, posterior].map(|value| value * scale);
            let acceptance = Acceptance::Change { absolute, relative, posterior };
            stairs(Policy::Sliding, acceptance).sample(&p, &mut ones()).unwrap().report
        };
        let r = run(1.0);
        if absolute > 0.0 {
            assert_eq!((r.rounds, r.max_residual, r.residuals[0]), (1, 0.75, 1.0));
        }
        assert!(run(0.99).rounds >= r.rounds);
    }
    // relative and posterior at one node only: tolerances that admit node 3, and just not
    for (name, scale) in [("relative", list.nodes()[3].level.sigma), ("posterior", list.nodes()[3].posterior_std)] {
        let of = |x: f64| {
            if name == "relative" {
                Acceptance::Change { absolute: 0.0, relative: x, posterior: 0.0 }
            } else {
                Acceptance::Change { absolute: 0.0, relative: 0.0, posterior: x }
            }
        };
        // node 2 must pass as well
        let two = if name == "relative" { list.nodes()[2].level.sigma } else { list.nodes()[2].posterior_std };
        let need = (0.75 / scale).max(0.5 / two);
        assert_eq!(
            stairs(Policy::Sliding, of(need * 1.001)).sample(&p, &mut ones()).unwrap().report.rounds,
            1,
            "{name}"
        );
        assert_eq!(
            stairs(Policy::Sliding, of(need * 0.999)).sample(&p, &mut ones()).unwrap().report.rounds,
            2,
            "{name}"
        );
    }
    let r = stairs(Policy::Blocks, Acceptance::change(1.0)).sample(&p, &mut ones()).unwrap().report;
    assert_eq!((r.rounds, r.max_residual, r.residuals[0]), (1, 1.0, 1.0));
    let depth = stairs(Policy::Blocks, Acceptance::change(0.6)).sweeps(Sweeps::Within(1));
    match depth.sample(&p, &mut ones()) {
        Err(Error::NotConverged { residuals, node: 3, sweeps: 1, residual, sample: 0 }) => {
            assert_eq!((residual, residuals), (0.75, vec![0.75, 1.0]))
        }
        e => panic!("{e:?}"),
    }
    match (stairs(Policy::Sliding, Acceptance::change(0.6)).sweeps(Sweeps::Within(1))).sample(&p, &mut ones()) {
        Err(Error::NotConverged { residuals, .. }) => assert_eq!(residuals.last(), Some(&1.0)),
        e => panic!("{e:?}"),
    }
    // an exact window has no residual, however far its nodes moved
    let r = stairs(Policy::Sliding, Acceptance::change(9.0))
        .window(Window::Steps(1))
        .sample(&p, &mut ones())
        .unwrap()
        .report;
    assert_eq!((r.rounds, r.max_residual), (4, 0.0));
    let r = stairs(Policy::Blocks, Acceptance::change(0.5))
        .window(Window::Steps(2))
        .sample(&p, &mut ones())
        .unwrap()
        .report;
    assert_eq!((r.rounds, r.max_residual, r.sweeps.as_slice()), (2, 0.5, [1, 1].as_slice()));
    let mut most = 0.0f64;
    let mut w = on_round(|r: &Round<'_>| {
        most = most.max(r.residual);
        ControlFlow::Continue(())
    });
    stairs(Policy::Sliding, Acceptance::change(0.75)).run(&p, &mut ones(), &mut w).unwrap();
    assert_eq!(most, 0.75);
}

#[test]
fn max_residual_is_the_largest_of_all_rounds() {
    let grid = Grid::log_snr(60).between(6.0, 0.05);
    let p = Problem::new(Ou, grid, Scheme::default()).samples(2).shape([3]).seed(1);
    let mut score = score_fn(Prediction::Score, |x: V<'_>, _: &Rows<'_>, mut out: W<'_>| {
        out.zip_mut_with(&x, |o, x| *o = -x + 0.5 * (3.0 * x).sin());
        Ok(())
    });
    let mut most = 0.0f64;
    let mut w = on_round(|r: &Round<'_>| {
        most = most.max(r.residual);
        ControlFlow::Continue(())
    });
    let s = Picard::default()
        .window(Window::Steps(8))
        .acceptance(Acceptance::change(0.05))
        .run(&p, &mut score, &mut w)
        .unwrap();
    assert!(most > 0.0);
    assert_eq!(most, s.report.max_residual);
}

#[test]
fn the_overflowing_sample_and_node_are_named() {
    let p = Problem::from_nodes(Cpu::<f32>::new(), staircase())
        .samples(2)
        .shape([3])
        .ids(vec![4, 9])
        .init(arr2(&[[0.0; 3], [1.0; 3]]));
    let mut list = staircase();
    let t = list.nodes()[2].level.t;
    let _ = &mut list;
    for s in [
        &Sequential as &dyn Sampler<Cpu<f32>>,
        &Picard::default(),
        &stairs(Policy::Blocks, Acceptance::Exact).window(Window::Steps(2)),
    ] {
        let mut big = Nodes::empty(lv(0, 4));
        for m in 1..=4 {
            push(&mut big, lv(m, 4), true, (&[1.0], &[if m == 3 { 1e10 } else { 0.25 }], &[0.0])).unwrap();
        }
        let q = Problem::from_nodes(Cpu::<f32>::new(), big)
            .samples(2)
            .shape([3])
            .ids(vec![4, 9])
            .init(arr2(&[[0.0; 3], [1.0; 3]]));
        let mut score = score_fn(Prediction::Score, |_: V<'_>, r: &Rows<'_>, mut out: W<'_>| {
            for (i, mut o) in out.rows_mut().into_iter().enumerate() {
                o.fill(if r.slot[i] == 1 && r.t[i] == t { 1e35 } else { 0.0 });
            }
            Ok(())
        });
        let e = s.sample(&q, &mut score);
        assert!(matches!(e, Err(Error::StateNotFinite { node: 3, sample: 9, .. })), "{e:?}");
    }
    let _ = p;
}

#[test]
fn a_failing_chunk_is_named() {
    let p = Problem::from_nodes(Cpu::<f32>::new(), staircase()).samples(2).shape([3]).ids(vec![4, 9]);
    for (call, node, sample) in [(1, 0, 4), (2, 2, 4), (3, 0, 9), (4, 2, 9)] {
        let mut calls = 0;
        let score = score_fn(Prediction::Score, |_: V<'_>, _: &Rows<'_>, mut out: W<'_>| {
            calls += 1;
            out.fill(0.0);
            if calls == call { Err("no".into()) } else { Ok(()) }
        });
        let e = Picard::default().sample(&p, &mut Chunked::new(score, 2).unwrap());
        match e {
            Err(Error::Score { round: 1, node: n, sample: s, .. }) => assert_eq!((n, s), (node, sample)),
            e => panic!("{e:?}"),
        }
    }
}

#[test]
fn a_range_is_met_up_to_rounding() {
    struct T((f64, f64));
    impl Model for T {
        fn prediction(&self) -> Prediction {
            Prediction::Score
        }

        fn time_range(&self) -> Option<(f64, f64)> {
            Some(self.0)
        }
    }

    impl ScoreFn<Cpu<f32>> for T {
        fn eval(&mut self, x: V<'_>, _: &Rows<'_>, mut out: W<'_>) -> std::result::Result<(), BoxError> {
            out.zip_mut_with(&x, |o, x| *o = -x);
            Ok(())
        }
    }
    let grid = Grid::uniform(10).between(6.0, 0.05);
    let p = Problem::new(Ou, grid, Scheme::default()).shape([3]);
    assert!(Sequential.sample(&p, &mut T((0.0, 6.0 * (1.0 - 1e-13)))).is_ok());
    assert!(Sequential.sample(&p, &mut T((0.0, 6.0 * (1.0 - 1e-6)))).is_err());
}

#[test]
fn sweeps_and_rounds_of_a_batch() {
    let grid = Grid::uniform(35).between(4.0, 0.0 + 0.5);
    let run = |ids: Vec<u32>| {
        let p = Problem::new(Ou, grid.clone(), Scheme::default()).shape([3]).ids(ids);
        // sample 1 is much harder than the others
        let mut score = score_fn(Prediction::Score, |x: V<'_>, r: &Rows<'_>, mut out: W<'_>| {
            for (i, mut o) in out.rows_mut().into_iter().enumerate() {
                let k = if r.id[i] == 1 { 5.0 } else { 0.1 };
                o.zip_mut_with(&x.row(i), |o, x| *o = -x + (k * x).sin());
            }
            Ok(())
        });
        Picard::piadm(1.0, None).coupling(Coupling::PerSample).sample(&p, &mut score).unwrap().report
    };
    let (easy, hard) = (run(vec![0]), run(vec![1]));
    assert!(easy.sweeps.iter().zip(&hard.sweeps).all(|(a, b)| a < b), "{:?} {:?}", easy.sweeps, hard.sweeps);
    assert_eq!(easy.sweeps.len(), 4, "3.5 units of time in blocks of 1");
    for ids in [vec![0, 1], vec![1, 0]] {
        let both = run(ids.clone());
        assert_eq!(both.sweeps, hard.sweeps);
        let of = |id: u32| if id == 1 { hard.rounds } else { easy.rounds };
        assert_eq!(both.sample_rounds, [of(ids[0]), of(ids[1])]);
    }
}

#[test]
fn a_normal_that_only_the_velocity_uses() {
    let mut list = start(lv(0, 4), 2, 0);
    for m in 1..=4 {
        let position = NodeTerms::wide(2).a(1, [0, 0], 1.0).a(1, [0, 1], 1.0);
        let both = position.a(1, [1, 1], 0.5).b(1, [1, 0], 0.1).c(1, nodes::Normal::dynamics(m), 1.0);
        list.push(lv(m, 4), true, &both).unwrap();
    }
    let p = Problem::from_nodes(Cpu::<f32>::new(), list).shape([3]).seed(2);
    let ones = Array3::<f32>::ones((4, 1, 3));
    let mut score = score_fn(Prediction::Score, |x: V<'_>, _: &Rows<'_>, mut out: W<'_>| {
        out.zip_mut_with(&x, |o, x| *o = -x);
        Ok(())
    });
    let a = Sequential.sample(&p, &mut score).unwrap().samples;
    let b = Sequential.sample(&p.clone().seed(2).noise(ones), &mut score).unwrap().samples;
    assert_ne!(a, b);
    let zero = Array3::<f32>::zeros((4, 1, 3));
    assert_ne!(a, Sequential.sample(&p.noise(zero), &mut score).unwrap().samples);
}

#[test]
fn a_guess_of_minus_zero_is_not_zero() {
    // the score tells -0 from +0, and a warm start brings a -0
    let mut list = Nodes::empty(lv(0, 4));
    for m in 1..=4 {
        push(&mut list, lv(m, 4), true, (&[0.5], &[if m == 1 { 0.0 } else { 1.0 }], &[0.0])).unwrap();
    }
    let init = Array2::<f32>::zeros((1, 3));
    let p = Problem::from_nodes(Cpu::<f32>::new(), list).shape([3]).init(init);
    let score = || {
        score_fn(Prediction::Score, |x: V<'_>, _: &Rows<'_>, mut out: W<'_>| {
            out.zip_mut_with(&x, |o, x| *o = if x.is_sign_negative() { -1.0 } else { 1.0 });
            Ok(())
        })
    };
    let seq = Sequential.sample(&p, &mut score()).unwrap();
    // the sequential path for a score of -1: its states are the fixed point of sweeps that start from -0
    let mut states = Array3::<f32>::zeros((5, 1, 3));
    for m in 0..5 {
        states.slice_mut(s![m, 0, ..]).fill([0.0, -0.0, -1.0, -1.5, -1.75][m]);
    }
    let path = Path::new((0..5).collect(), states).unwrap();
    for policy in [Policy::Blocks, Policy::Sliding] {
        assert_eq!(
            stairs(policy, Acceptance::Exact).sample(&p.clone().guesses(path.clone()), &mut score()).unwrap().samples,
            seq.samples
        );
    }
}

#[test]
fn a_stage_does_not_finish_a_step() {
    let grid = Grid::log_snr(5).between(6.0, 0.05);
    let p = Problem::new(Ou, grid, Scheme::Heun {}).shape([3]).seed(1);
    let mut score = score_fn(Prediction::Score, |x: V<'_>, _: &Rows<'_>, mut out: W<'_>| {
        out.zip_mut_with(&x, |o, x| *o = -x + 0.1 * x.sin());
        Ok(())
    });
    let mut seen = vec![];
    let mut w = on_round(|r: &Round<'_>| {
        seen.push(r.finished[0]);
        ControlFlow::Continue(())
    });
    Sequential.run(&p, &mut score, &mut w).unwrap();
    assert_eq!(seen, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
}

#[test]
fn either_component_may_overflow() {
    for big in [0, 1] {
        let mut list = start(lv(0, 4), 2, 0);
        let b = if big == 0 { [1e10, 0.1] } else { [0.1, 1e10] };
        for _ in 1..=4 {
            push(&mut list, lv(1, 4), true, (&[1.0, 0.0, 0.0, 1.0], &b, &[])).unwrap();
        }
        let p = Problem::from_nodes(Cpu::<f32>::new(), list).shape([3]).seed(2);
        let mut score = score_fn(Prediction::Score, |_: V<'_>, _: &Rows<'_>, mut out: W<'_>| {
            out.fill(1e35);
            Ok(())
        });
        for s in [&Sequential as &dyn Sampler<Cpu<f32>>, &Picard::default()] {
            assert!(matches!(s.sample(&p, &mut score), Err(Error::StateNotFinite { node: 1, .. })), "component {big}");
        }
    }
}

#[test]
fn block_ends_survive_rounding() {
    // times that are not exact in binary: ten steps of 0.1 are a block of length 1
    let grid = Grid::uniform(60).between(6.3, 0.3);
    let p = Problem::new(Ou, grid, Scheme::default()).shape([3]).seed(1);
    let mut score = score_fn(Prediction::Score, |x: V<'_>, _: &Rows<'_>, mut out: W<'_>| {
        out.zip_mut_with(&x, |o, x| *o = -x);
        Ok(())
    });
    let r = Picard::piadm(1.0, None).sample(&p, &mut score).unwrap().report;
    assert_eq!(r.sweeps.len(), 6);
}

/// The same oracle in other words is the same iteration: first guesses, slopes and steps are converted, not re-defined.
#[test]
fn the_kind_of_output_does_not_matter() {
    use common::{iterations, two_modes};
    let grid = Grid::log_snr(15).between(3.0, 0.1);
    for scheme in [Scheme::default(), Scheme::Heun {}, Scheme::DpmSolverPp2M { lower_order_final: false }] {
        for (linearisation, entry) in iterations() {
            let run = |kind| {
                let p = Problem::on(Cpu::<f64>::new(), Ou, grid.clone(), scheme.clone()).samples(2).shape([3]).seed(4);
                let s = Picard::default()
                    .policy(Policy::Blocks)
                    .window(Window::Steps(5))
                    .linearisation(linearisation)
                    .entry(entry)
                    .acceptance(Acceptance::Exact)
                    .sweeps(Sweeps::AtMost(2));
                s.sample(&p, &mut two_modes::<f64>(kind)).unwrap().samples
            };
            let score = run(Prediction::Score);
            for kind in [Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow] {
                let off = (&run(kind) - &score).iter().fold(0.0f64, |m, e| m.max(e.abs()));
                assert!(off < 1e-9, "{kind:?} {scheme:?} {linearisation:?} {entry:?}: {off:e}");
            }
        }
    }
}

#[test]
fn nodes_without_evaluation_pass_exactness_on() {
    let mut list = Nodes::empty(lv(0, 8));
    for m in 1..=8 {
        push(&mut list, lv(m, 8), true, (&[1.0], &[if m % 2 == 0 { 0.0 } else { 0.7 }], &[0.0])).unwrap();
    }
    assert_eq!(list.nodes().iter().filter(|n| n.evaluate).count(), 4);
    let p = Problem::from_nodes(Cpu::<f32>::new(), list).shape([3]).seed(2);
    let mut score = score_fn(Prediction::Score, |x: V<'_>, _: &Rows<'_>, mut out: W<'_>| {
        out.zip_mut_with(&x, |o, x| *o = (40.0 * x).sin());
        Ok(())
    });
    for policy in [Policy::Blocks, Policy::Sliding] {
        let r = stairs(policy, Acceptance::Exact).sample(&p, &mut score).unwrap().report;
        assert!(r.rounds <= 4, "{policy:?}: {} rounds for 4 evaluated nodes", r.rounds);
    }
}

#[test]
fn the_residual_of_a_block_leaves_exact_nodes_out() {
    let mut list = Nodes::empty(lv(0, 4));
    for b in [1.0, -0.5] {
        push(&mut list, lv(1, 4), true, (&[1.0], &[b], &[0.0])).unwrap();
    }
    let init = Array2::<f32>::zeros((1, 3));
    let p = Problem::from_nodes(Cpu::<f32>::new(), list).shape([3]).init(init);
    let r = stairs(Policy::Blocks, Acceptance::change(2.0)).sample(&p, &mut ones()).unwrap().report;
    assert_eq!((r.rounds, r.max_residual), (1, 0.5));
}
