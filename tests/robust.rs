//! Bad input and failing scores: a typed error or a right result, never a panic.

mod common;

use common::{bits, two_modes};
use ndarray::{Array2, Array3, ArrayView2, ArrayViewMut2};
use piadm::{
    Acceptance, Cpu, Error, Grid, Model, Observer, Ou, Path, Piadm, Picard, Prediction, Problem, Rows, Sampler, Save,
    Scheme, ScoreFn, Sequential, Stop, Sweeps, Window,
    sampler::{Dynamics, Entry, Linearisation, Policy, on_round},
    score::Chunked,
    score_fn,
};
use std::ops::ControlFlow;

type View<'a> = ArrayView2<'a, f32>;
type ViewMut<'a> = ArrayViewMut2<'a, f32>;

fn problem(steps: usize, shape: (usize, usize)) -> Problem<Cpu<f32>> {
    let grid = Grid::log_snr(steps).between(6.0, 0.05);
    Problem::new(Ou, grid, Scheme::default()).samples(shape.0).shape([shape.1]).seed(1)
}

fn run(sampler: &dyn Sampler<Cpu<f32>>, problem: &Problem<Cpu<f32>>) -> Result<piadm::Solution<Cpu<f32>>, Error> {
    sampler.sample(problem, &mut two_modes::<f32>(Prediction::Score))
}

fn samplers() -> Vec<Box<dyn Sampler<Cpu<f32>>>> {
    vec![
        Box::new(Sequential),
        Box::new(Picard::default()),
        Box::new(Picard::piadm(1.0, None)),
        Box::new(Picard::paradigms(8, 0.1)),
    ]
}

#[test]
fn sizes() {
    for sampler in samplers() {
        assert!(matches!(run(&*sampler, &problem(5, (0, 3))), Err(Error::Setting { name: "samples", .. })));
        assert!(matches!(run(&*sampler, &problem(5, (3, 0))), Err(Error::Setting { name: "shape", .. })));
        for (samples, dim) in [(1, usize::MAX), (usize::MAX, 1), (usize::MAX, usize::MAX), (1 << 23, 1 << 33)] {
            let failed = run(&*sampler, &problem(5, (samples, dim)));
            let typed =
                matches!(failed, Err(Error::Setting { .. } | Error::TooLarge { .. } | Error::OutOfMemory { .. }));
            assert!(typed, "{samples} x {dim}");
        }
        for (steps, shape) in [(1, (1, 1)), (1, (3, 2)), (2, (1, 1)), (300, (1, 1))] {
            let solution = run(&*sampler, &problem(steps, shape)).unwrap();
            let reference = run(&Sequential, &problem(steps, shape)).unwrap();
            assert_eq!(solution.samples.dim(), shape);
            let far = (&solution.samples - &reference.samples).iter().any(|e| e.abs() > 0.1);
            assert!(!far, "{steps} steps of {shape:?}");
        }
    }
    assert!(matches!(
        Grid::log_snr(usize::MAX).between(6.0, 0.05).times(&Ou),
        Err(Error::Setting { name: "steps", .. })
    ));
    assert!(matches!(Grid::uniform(0).between(6.0, 0.05).times(&Ou), Err(Error::Setting { name: "steps", .. })));
}

#[test]
fn settings() {
    let with = |f: fn(&mut Picard)| {
        let mut sampler = Picard::default();
        f(&mut sampler);
        run(&sampler, &problem(10, (2, 2)))
    };
    let bad: [fn(&mut Picard); 12] = [
        |s| s.window = Window::Steps(0),
        |s| s.window = Window::OuTime { ou_time: f64::NAN },
        |s| s.window = Window::OuTime { ou_time: 0.0 },
        |s| s.window = Window::OuTime { ou_time: -1.0 },
        |s| s.acceptance = Acceptance::change(f64::NAN),
        |s| s.acceptance = Acceptance::change(-1.0),
        |s| s.acceptance = Acceptance::Change { absolute: 0.0, relative: f64::INFINITY, posterior: 0.0 },
        |s| s.acceptance = Acceptance::Change { absolute: 0.0, relative: 0.0, posterior: f64::NAN },
        |s| s.sweeps = Sweeps::Within(0),
        |s| s.linearisation = Linearisation::Gaussian { variance: f64::NAN },
        |s| s.linearisation = Linearisation::Gaussian { variance: -0.5 },
        |s| s.entry = Entry::HeldData { variance: f64::INFINITY },
    ];
    for (i, f) in bad.into_iter().enumerate() {
        assert!(matches!(with(f), Err(Error::Setting { .. })), "bad setting {i}");
    }
    // odd but right
    let good: [fn(&mut Picard); 5] = [
        |s| s.window = Window::Steps(usize::MAX),
        |s| s.window = Window::OuTime { ou_time: f64::INFINITY },
        |s| s.window = Window::OuTime { ou_time: 1e-300 },
        |s| s.sweeps = Sweeps::Within(usize::MAX),
        |s| s.linearisation = Linearisation::Gaussian { variance: 1e300 },
    ];
    for (i, f) in good.into_iter().enumerate() {
        assert!(with(f).is_ok_and(|s| s.samples.iter().all(|x| x.is_finite())), "good setting {i}");
    }
    for piadm in
        [Piadm::new(0, 0.1, Dynamics::Sde), Piadm::new(3, 0.0, Dynamics::Sde), Piadm::new(3, f64::NAN, Dynamics::Ode)]
    {
        assert!(matches!(piadm.recipe(&Ou, None), Err(Error::Setting { .. })));
    }
}

#[test]
fn shapes() {
    let x = Array2::<f32>::zeros((2, 4));
    assert!(matches!(run(&Sequential, &problem(5, (2, 3)).init(x)), Err(Error::Shape { .. })));
    let nan = Array2::from_elem((2, 3), f32::NAN);
    assert!(matches!(run(&Sequential, &problem(5, (2, 3)).init(nan)), Err(Error::Setting { .. })));
    let x = Array2::<f32>::zeros((2, 3));
    for step in [5, 6, usize::MAX] {
        let late = problem(5, (2, 3)).init_at(step, x.clone());
        assert!(matches!(run(&Sequential, &late), Err(Error::Setting { name: "start step", .. })), "{step}");
    }
    let noise = Array3::<f32>::zeros((4, 2, 3));
    assert!(matches!(run(&Sequential, &problem(5, (2, 3)).noise(noise)), Err(Error::Shape { .. })));
    let path = Path::new(vec![0, 1], Array3::<f32>::zeros((2, 2, 4))).unwrap();
    assert!(matches!(run(&Picard::default(), &problem(5, (2, 3)).guesses(path)), Err(Error::Shape { .. })));
    assert!(Path::new(vec![1, 0], Array3::<f32>::zeros((2, 2, 4))).is_err());
    let late = problem(5, (2, 3)).save(Save::Steps(vec![2, 6]));
    assert!(matches!(run(&Sequential, &late), Err(Error::Setting { name: "saved step", .. })));
}

/// A score that misbehaves in one call.
fn failing(round: usize, act: impl Fn(ViewMut<'_>) -> Result<(), piadm::BoxError>) -> impl ScoreFn<Cpu<f32>> {
    let mut calls = 0;
    let mut good = two_modes::<f32>(Prediction::Score);
    score_fn(Prediction::Score, move |x: View<'_>, rows: &Rows<'_>, mut out: ViewMut<'_>| {
        calls += 1;
        good.eval(x, rows, out.view_mut())?;
        if calls == round { act(out) } else { Ok(()) }
    })
}

#[test]
fn failing_scores() {
    for sampler in samplers() {
        for round in [1, 2, 3] {
            let mut score = failing(round, |_| Err("out of memory".into()));
            match sampler.sample(&problem(40, (2, 3)).ids(vec![8, 9]), &mut score) {
                Err(Error::Score { round: r, sample: 8, source, .. }) => {
                    assert_eq!((r, source.to_string().as_str()), (round, "out of memory"));
                }
                other => panic!("{other:?}"),
            }
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut score = failing(round, move |mut out| {
                    let last = out.nrows() - 1;
                    out[(last, 2)] = bad;
                    Ok(())
                });
                let result = sampler.sample(&problem(40, (2, 3)).ids(vec![8, 9]), &mut score);
                match result {
                    Err(Error::ScoreNotFinite { round: r, sample: 9, time, .. }) => {
                        assert_eq!(r, round);
                        assert!((0.05..=6.0).contains(&time));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

#[test]
fn rows_left_unwritten_are_found() {
    let mut lazy = score_fn(Prediction::Score, |x: View<'_>, _: &Rows<'_>, mut out: ViewMut<'_>| {
        out.row_mut(0).assign(&x.row(0));
        Ok(())
    });
    let failed = Picard::default().sample(&problem(10, (2, 3)), &mut lazy);
    assert!(matches!(failed, Err(Error::ScoreNotFinite { round: 1, node: 1, sample: 0, .. })), "{failed:?}");
}

#[test]
fn unstable_trajectories_are_an_error_and_wild_guesses_are_not() {
    // the sequential trajectory itself overflows f32
    let mut explosive = score_fn(Prediction::Score, |x: View<'_>, _: &Rows<'_>, mut out: ViewMut<'_>| {
        out.zip_mut_with(&x, |o, x| *o = (1e6 * x).clamp(-3e38, 3e38));
        Ok(())
    });
    for sampler in samplers() {
        let failed = sampler.sample(&problem(40, (1, 2)), &mut explosive);
        assert!(matches!(failed, Err(Error::StateNotFinite { .. })), "{failed:?}");
    }
    // guesses far off the trajectory overflow within a window, the trajectory does not
    let mut steep = score_fn(Prediction::Data, |x: View<'_>, _: &Rows<'_>, mut out: ViewMut<'_>| {
        out.zip_mut_with(&x, |o, x| *o = if x.abs() < 6.0 { 0.5 } else { (x * 1e12).clamp(-3e38, 3e38) });
        Ok(())
    });
    let problem = problem(40, (2, 3));
    let sequential = Sequential.sample(&problem, &mut steep).unwrap();
    let wild = Array3::from_elem((1, 2, 3), 3e30);
    let path = Path::new(vec![0], wild).unwrap();
    for window in [7, 40] {
        let sampler = Picard::default().acceptance(Acceptance::Exact).window(Window::Steps(window));
        let solution = sampler.sample(&problem.clone().guesses(path.clone()), &mut steep).unwrap();
        assert_eq!(bits(&solution.samples), bits(&sequential.samples));
    }
}

#[test]
fn limits_of_the_score() {
    assert!(Chunked::new(two_modes::<f32>(Prediction::Score), 0).is_err());
    struct Trained(f64, f64, Option<usize>);
    impl Model for Trained {
        fn prediction(&self) -> Prediction {
            Prediction::Score
        }

        fn time_range(&self) -> Option<(f64, f64)> {
            Some((self.0, self.1))
        }

        fn max_rows(&self) -> Option<usize> {
            self.2
        }
    }

    impl ScoreFn<Cpu<f32>> for Trained {
        fn eval(&mut self, x: View<'_>, _: &Rows<'_>, mut out: ViewMut<'_>) -> Result<(), piadm::BoxError> {
            out.zip_mut_with(&x, |o, x| *o = -x);
            Ok(())
        }
    }
    for sampler in samplers() {
        let sample = |mut score: Trained| sampler.sample(&problem(10, (1, 2)), &mut score);
        assert!(sample(Trained(0.05, 6.0, None)).is_ok());
        // the last node at 0.05 is never evaluated
        assert!(sample(Trained(0.06, 6.0, None)).is_ok());
        assert!(matches!(sample(Trained(0.05, 5.9, None)), Err(Error::TimeRange { time: 6.0, .. })));
        assert!(matches!(sample(Trained(1.0, 6.0, None)), Err(Error::TimeRange { .. })));
        assert!(matches!(sample(Trained(f64::NAN, 6.0, None)), Err(Error::Setting { .. })));
        assert!(matches!(sample(Trained(0.05, 6.0, Some(0))), Err(Error::Setting { .. })));
    }
    // a recipe stays inside the trained range by itself
    let recipe = Piadm::new(3000, 0.001, Dynamics::Sde).eps(0.1).recipe(&Ou, Some((0.01, 7.0))).unwrap();
    let times = recipe.grid.times(&Ou).unwrap();
    assert_eq!(times[0], 7.0);
    assert!((times[times.len() - 1] / 0.01 - 1.0).abs() < 1e-12);
}

#[test]
fn stalls() {
    let slow = |sweeps, policy| Picard::default().policy(policy).sweeps(sweeps).acceptance(Acceptance::change(1e-6));
    for policy in [Policy::Blocks, Policy::Sliding] {
        match run(&slow(Sweeps::Within(2), policy), &problem(60, (2, 3))) {
            Err(Error::NotConverged { sweeps: 2, residual, residuals, .. }) => {
                assert!(residual > 1e-6);
                assert_eq!(residuals.first(), Some(&residual));
                assert!(residuals.len() > 1);
            }
            other => panic!("{other:?}"),
        }
        let accepted = run(&slow(Sweeps::AtMost(2), policy), &problem(60, (2, 3))).unwrap();
        assert_eq!(accepted.report.stop, Stop::Depth);
        assert!(accepted.report.max_residual > 1e-6);
        assert!(!accepted.report.converged());
        let free = slow(Sweeps::Unbounded, policy);
        assert!(accepted.report.rounds < run(&free, &problem(60, (2, 3))).unwrap().report.rounds);
    }
}

#[test]
fn observers_watch_cancel_and_receive() {
    struct Watch {
        rounds: Vec<(usize, usize, Vec<usize>)>,
        samples: Vec<(usize, u32, Vec<f32>)>,
        stop_after: usize,
    }
    impl Observer<Cpu<f32>> for Watch {
        fn on_round(&mut self, round: &piadm::sampler::Round<'_>) -> ControlFlow<()> {
            self.rounds.push((round.round, round.rows, round.finished.to_vec()));
            if round.round == self.stop_after { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
        fn on_sample(&mut self, slot: usize, id: u32, state: View<'_>) {
            self.samples.push((slot, id, state.iter().copied().collect()));
        }
    }
    let problem = problem(60, (3, 4)).ids(vec![5, 6, 7]);
    for sampler in samplers() {
        let mut watch = Watch { rounds: vec![], samples: vec![], stop_after: usize::MAX };
        let solution = sampler.run(&problem, &mut two_modes::<f32>(Prediction::Score), &mut watch).unwrap();
        assert_eq!(watch.rounds.len(), solution.report.rounds);
        assert_eq!(watch.rounds.iter().map(|r| r.1).sum::<usize>(), solution.report.score_rows);
        assert_eq!(watch.rounds.last().unwrap().2, [60; 3]);
        assert!(watch.rounds.windows(2).all(|w| w[0].2.iter().zip(&w[1].2).all(|(a, b)| a <= b)));
        watch.samples.sort_by_key(|s| s.0);
        for (i, (slot, id, state)) in watch.samples.iter().enumerate() {
            assert_eq!((*slot, *id), (i, 5 + i as u32));
            assert_eq!(*state, solution.samples.row(i).to_vec());
        }
        assert_eq!(watch.samples.len(), 3);
        // cancelled after two rounds: the states reached so far
        let mut cancel = Watch { rounds: vec![], samples: vec![], stop_after: 2 };
        let cut = sampler.run(&problem, &mut two_modes::<f32>(Prediction::Score), &mut cancel).unwrap();
        assert_eq!((cut.report.stop, cut.report.rounds), (Stop::Cancelled, 2));
        assert!(cut.samples.iter().all(|v| v.is_finite()));
    }
    let mut seen = 0;
    let mut watch = on_round(|r| {
        seen = r.round;
        ControlFlow::Continue(())
    });
    Sequential.run(&problem, &mut two_modes::<f32>(Prediction::Score), &mut watch).unwrap();
    assert_eq!(seen, 60);
}
