//! Sessions, deadlines and guarantees.

use crate::common::{bits, lookback_three, two_components, two_modes};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use piadm::{
    Acceptance, Cpu, Error, Grid, Guarantee, Ou, Parareal, Picard, Prediction, Problem, Rows, Sampler, Save, Scheme,
    Sequential, Solution, Stop, Sweeps, Window,
    backend::Real,
    sampler::{Entry, Linearisation, Policy, on_round},
    score_fn,
};
use std::ops::ControlFlow;

fn problem<T: Real>(scheme: Scheme) -> Problem<Cpu<T>> {
    let grid = Grid::log_snr(80).between(6.0, 0.02);
    Problem::on(Cpu::new(), Ou, grid, scheme).samples(3).shape([5]).seed(1)
}

fn rms<T: Real>(a: &Array2<T>, b: &Array2<T>) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (a.wide() - b.wide()).powi(2)).sum();
    (sum / a.len() as f64).sqrt()
}

/// Every run of a session is that of a sampler made for it, whatever ran before.
#[test]
fn a_session_remembers_nothing() {
    let secant = Picard::default().window(Window::Steps(16));
    let queue = secant.clone().row_budget(33);
    let blocks = secant.clone().policy(Policy::Blocks).linearisation(Linearisation::FrozenScore).anderson(2);
    let lists = [lookback_three(40), two_components(40)]
        .map(|list| Problem::from_nodes(Cpu::<f32>::new(), list).samples(3).shape([5]));
    let problems = [problem::<f32>(Scheme::default()), problem(Scheme::Heun {})].into_iter().chain(lists);
    for problem in problems.map(|problem| problem.save(Save::Steps(vec![0, 7, 40]))) {
        let mut score = two_modes::<f32>(Prediction::Data);
        for sampler in [&secant, &queue, &blocks] {
            let sampler = &sampler.clone().row_budget(sampler.row_budget.map(|rows| 2 * rows));
            let mut prepared = problem.prepare(&score).unwrap();
            let mut session = sampler.session(&prepared).unwrap();
            for seed in [3, 3, 8, 0] {
                prepared.reseed(seed);
                session.run(&prepared, &mut score).unwrap();
                let fresh = sampler.sample(&problem.clone().seed(seed), &mut score).unwrap();
                assert_eq!(bits(&session.samples().to_owned()), bits(&fresh.samples));
                let (own, other) = (session.report(), &fresh.report);
                assert_eq!((own.rounds, own.score_rows, &own.sweeps), (other.rounds, other.score_rows, &other.sweeps));
                assert_eq!((&own.sample_rounds, &own.residuals), (&other.sample_rounds, &other.residuals));
                let mut rows = Array2::zeros((3, 5));
                session.copy_samples(rows.view_mut()).unwrap();
                assert_eq!(rows, fresh.samples);
            }
            // a run that is cut off leaves nothing behind
            let mut cut =
                on_round(|round| if round.round == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) });
            session.observe(&prepared, &mut score, &mut cut).unwrap();
            assert_eq!(session.report().stop, Stop::Cancelled);
            session.run(&prepared, &mut score).unwrap();
            let fresh = sampler.sample(&problem.clone().seed(0), &mut score).unwrap();
            assert_eq!(bits(&session.samples().to_owned()), bits(&fresh.samples));
        }
    }
}

#[test]
fn a_session_takes_other_starts_and_refuses_other_shapes() {
    let mut score = two_modes::<f64>(Prediction::Data);
    let problem = problem::<f64>(Scheme::default());
    let mut prepared = problem.prepare(&score).unwrap();
    let mut session = Picard::default().session(&prepared).unwrap();
    let x = Array2::from_shape_fn((3, 5), |(s, i)| (s as f64 - i as f64) / 3.0);
    prepared.restart(x.view()).unwrap();
    session.run(&prepared, &mut score).unwrap();
    let fresh = Picard::default().sample(&problem.clone().init(x), &mut score).unwrap();
    assert_eq!(bits(&session.samples().to_owned()), bits(&fresh.samples));
    assert!(matches!(prepared.restart(Array2::zeros((2, 5)).view()), Err(Error::Shape { .. })));
    assert!(matches!(prepared.restart(Array2::from_elem((3, 5), f64::NAN).view()), Err(Error::Setting { .. })));
    let grid = Grid::log_snr(81).between(6.0, 0.02);
    let other =
        Problem::on(Cpu::<f64>::new(), Ou, grid, Scheme::default()).samples(3).shape([5]).prepare(&score).unwrap();
    assert!(matches!(session.run(&other, &mut score), Err(Error::Unsupported { what: "a session", .. })));
    let dim = Problem::on(Cpu::<f64>::new(), Ou, Grid::log_snr(80).between(6.0, 0.02), Scheme::default())
        .samples(3)
        .shape([6]);
    let other = dim.prepare(&score).unwrap();
    assert!(matches!(session.run(&other, &mut score), Err(Error::Unsupported { what: "a session", .. })));
    assert!(matches!(session.copy_samples(Array2::zeros((1, 1)).view_mut()), Err(Error::Shape { .. })));
    session.run(&prepared, &mut score).unwrap();
    assert_eq!(bits(&session.samples().to_owned()), bits(&fresh.samples));
}

/// What is left at a deadline is a guess that gets better with every round, and the run says what it is.
#[test]
fn a_deadline_is_met_with_guesses() {
    let schemes = [Scheme::default(), Scheme::Ddim { eta: 0.0 }, Scheme::dpmpp_2m(), Scheme::Heun {}];
    for scheme in schemes {
        for entry in [Entry::Auto, Entry::Copy] {
            let problem = problem::<f64>(scheme.clone()).save(Save::All);
            let mut score = two_modes::<f64>(Prediction::Data);
            let sampler = Picard::default().window(Window::Steps(16)).entry(entry);
            let whole = sampler.sample(&problem, &mut score).unwrap();
            let errors = [2, whole.report.rounds * 3 / 4, whole.report.rounds].map(|rounds| {
                let early = sampler.clone().deadline(rounds);
                let found = early.sample(&problem, &mut score).unwrap();
                assert_eq!(found.report.rounds, rounds);
                assert!(found.samples.iter().all(|x| x.is_finite()));
                assert_eq!(found.path.steps().len(), 81);
                assert_eq!(found.path.at(80).unwrap(), found.samples);
                // what was final before the deadline is what it is without one
                let done = found.path.states().outer_iter().zip(whole.path.states().outer_iter());
                assert!(done.take_while(|(a, b)| a == b).count() >= 3, "{scheme:?}");
                let late = rounds < whole.report.rounds;
                assert_eq!(found.report.stop, if late { Stop::Deadline } else { Stop::Converged });
                assert_eq!(found.report.guarantee, if late { Guarantee::None } else { Guarantee::Error(1e-2) });
                rms(&found.samples, &whole.samples)
            });
            println!("{scheme:?}, {entry:?}: {errors:?} of {} rounds", whole.report.rounds);
            assert!(errors[2] == 0.0);
            // copies of an early state are no data; predictions are near them
            if entry == Entry::Auto {
                assert!(errors[1] < 0.5 && errors[1] <= errors[0], "{scheme:?}: {errors:?}");
            }
        }
    }
}

/// Data far from 0: guesses made from the last evaluation are near them after a few rounds, whatever the window.
#[test]
fn a_deadline_uses_the_last_evaluation() {
    let mean = 5.0;
    let grid = Grid::log_snr(80).between(6.0, 0.02);
    for scheme in [Scheme::Ddim { eta: 0.0 }, Scheme::default()] {
        let problem = Problem::on(Cpu::<f64>::new(), Ou, grid.clone(), scheme.clone()).samples(40).shape([3]).seed(1);
        // data N(5, 0.01), the network gives the data
        let mut score =
            score_fn(Prediction::Data, |x: ArrayView2<'_, f64>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, f64>| {
                for (i, (x, mut out)) in x.rows().into_iter().zip(out.rows_mut()).enumerate() {
                    let (alpha, sigma) = (rows.alpha[i], rows.sigma[i]);
                    let gain = alpha * 0.01 / (alpha * alpha * 0.01 + sigma * sigma);
                    out.assign(&x.mapv(|x| mean + gain * (x - alpha * mean)));
                }
                Ok(())
            });
        for (window, deadline) in [(8, 1), (8, 2), (8, 3), (8, 5), (16, 1), (16, 3)] {
            let sampler = Picard::default().window(Window::Steps(window)).deadline(deadline);
            let found = sampler.sample(&problem, &mut score).unwrap();
            assert_eq!(found.report.stop, Stop::Deadline);
            let centre = found.samples.mean().unwrap();
            assert!((centre - mean).abs() < 0.3, "{scheme:?}, window {window}, {deadline} rounds: {centre}");
        }
    }
}

/// After a score that failed, or was not finite, a session goes on as if nothing had been.
#[test]
fn a_session_survives_errors() {
    let problem = problem::<f32>(Scheme::default());
    let mut good = two_modes::<f32>(Prediction::Data);
    let prepared = problem.prepare(&good).unwrap();
    for sampler in [
        Picard::default().window(Window::Steps(9)),
        Picard::default().window(Window::Steps(9)).row_budget(20),
        Picard::default().window(Window::Steps(9)).sweeps(Sweeps::Within(3)).acceptance(Acceptance::Exact),
    ] {
        let fresh = sampler.sample(&problem, &mut good);
        let mut session = sampler.session(&prepared).unwrap();
        for round in 1..5 {
            for value in [f32::NAN, f32::INFINITY] {
                let mut calls = 0;
                let mut bad = score_fn(
                    Prediction::Data,
                    |x: ArrayView2<'_, f32>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, f32>| {
                        calls += 1;
                        out.assign(&x);
                        match (calls == round, value.is_nan()) {
                            (true, true) => out[[0, 0]] = value,
                            (true, false) => return Err("no network".into()),
                            _ => {}
                        }
                        Ok(())
                    },
                );
                assert!(session.run(&prepared, &mut bad).is_err());
            }
            match (session.run(&prepared, &mut good), &fresh) {
                (Ok(()), Ok(fresh)) => assert_eq!(bits(&session.samples().to_owned()), bits(&fresh.samples)),
                (Err(error), Err(fresh)) => assert_eq!(error.to_string(), fresh.to_string()),
                (now, _) => panic!("{now:?}"),
            }
        }
    }
}

#[test]
fn deadlines_of_queues_and_of_lists() {
    let mut score = two_modes::<f32>(Prediction::Data);
    let queue = Picard::default().row_budget(20).window(Window::Steps(12)).deadline(3);
    let found = queue.sample(&problem::<f32>(Scheme::default()), &mut score).unwrap();
    assert_eq!((found.report.rounds, found.report.stop), (3, Stop::Deadline));
    // a sample that has not begun is at its start
    let start = queue.clone().deadline(1).row_budget(12);
    let found = start.sample(&problem::<f32>(Scheme::default()), &mut score).unwrap();
    assert_eq!(found.report.sample_rounds, [1, 0, 0]);
    for list in [lookback_three(40), two_components(40)] {
        let problem = Problem::from_nodes(Cpu::<f32>::new(), list).samples(3).shape([5]);
        let found = queue.clone().row_budget(None).sample(&problem, &mut score).unwrap();
        assert!(found.samples.iter().all(|x| x.is_finite()) && found.report.stop == Stop::Deadline);
    }
    assert!(queue.deadline(0).sample(&problem(Scheme::default()), &mut score).is_err());
}

#[test]
fn runs_say_what_they_guarantee() {
    let mut score = two_modes::<f64>(Prediction::Data);
    let problem = problem::<f64>(Scheme::default());
    let mut of = |sampler: &dyn Sampler<Cpu<f64>>| -> Guarantee {
        let Solution { report, .. } = sampler.sample(&problem, &mut score).unwrap();
        assert!(report.to_string().contains("guarantee"));
        report.guarantee
    };
    let picard = |acceptance| Picard::default().acceptance(acceptance);
    assert_eq!(of(&Sequential), Guarantee::Bits);
    assert_eq!(of(&picard(Acceptance::Exact)), Guarantee::Bits);
    assert_eq!(of(&picard(Acceptance::Error(3e-3))), Guarantee::Error(3e-3));
    assert_eq!(of(&picard(Acceptance::change(3e-3))), Guarantee::None);
    assert_eq!(of(&picard(Acceptance::Exact).sweeps(Sweeps::AtMost(2))), Guarantee::None);
    assert_eq!(of(&picard(Acceptance::Exact).sweeps(Sweeps::Within(80))), Guarantee::Bits);
    assert_eq!(of(&Parareal::default().acceptance(Acceptance::Exact)), Guarantee::Bits);
    assert_eq!(of(&Parareal::default().max_iterations(1)), Guarantee::None);
    assert_eq!(of(&Picard::zhou_sugiyama(1.0, 2)), Guarantee::None);
}
