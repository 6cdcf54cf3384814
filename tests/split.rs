//! One network as several parts: the bits of the whole, parts that work at the same time, and parts that fail.
#![cfg(feature = "rayon")]

mod common;

use common::lists::{PhaseSpace, phase_space};
use common::{Gathering, bits, two_modes};
use ndarray::{ArrayView2, ArrayViewMut2};
use piadm::backend::Real;
use piadm::problem::Latency;
use piadm::sampler::on_round;
use piadm::score::{Chunked, Fault, OnFailure, Padded, Shares, Split};
use piadm::{
    Acceptance, Automatic, BoxError, Cpu, Error, Grid, Model, Ou, Picard, Prediction, Problem, Rows, Sampler, Scheme,
    ScoreFn, Sequential, Window, score_fn,
};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Part<T> = Box<dyn ScoreFn<Cpu<T>> + Send>;

fn problem<T: Real>() -> Problem<Cpu<T>> {
    let grid = Grid::log_snr(40).between(6.0, 0.02);
    Problem::on(Cpu::new(), Ou, grid, Scheme::default()).samples(3).shape([5]).seed(2)
}

fn modes<T: Real>() -> Part<T> {
    Box::new(two_modes::<T>(Prediction::Data))
}

fn same_bits<T: Real>() {
    let picard = Picard::default().acceptance(Acceptance::Error(1e-3));
    let samplers: [&dyn Sampler<Cpu<T>>; 4] = [
        &Sequential,
        &picard.clone().window(7),
        &picard.clone().window(16).row_budget(20),
        &Picard::exact_in_law().window(9),
    ];
    for sampler in samplers {
        let whole = sampler.sample(&problem::<T>(), &mut two_modes::<T>(Prediction::Data)).unwrap();
        for parts in [1, 2, 5] {
            let speeds = Shares::Speeds((1..=parts).map(|k| k as f64).collect());
            for shares in [Shares::Equal, speeds, Shares::Measured, Shares::OnDemand] {
                let mut mixed: Vec<Part<T>> = (0..parts).map(|_| modes()).collect();
                // parts with bounds and fixed sizes of their own
                mixed[parts / 2] = Box::new(Chunked::new(modes(), 2).unwrap());
                if parts > 2 {
                    mixed[1] = Box::new(Padded::new(modes(), 3).unwrap());
                }
                let mut split = Split::new(mixed).unwrap().threads(2).unwrap().shares(shares.clone()).unwrap();
                assert_eq!(split.max_rows(), None);
                let found = sampler.sample(&problem::<T>(), &mut split).unwrap();
                assert_eq!(bits(&found.samples), bits(&whole.samples), "{parts} parts, {shares:?}");
                assert_eq!(found.report.score_rows, whole.report.score_rows);
                let of_parts: usize = found.report.parts.iter().map(|part| part.rows).sum();
                assert_eq!((of_parts, found.report.parts.len()), (found.report.score_rows, parts));
                assert!(parts > 2 || found.report.evaluations == found.report.score_rows);
                assert!(whole.report.parts.is_empty());
            }
        }
    }
}

#[test]
fn a_split_score_has_the_bits_of_the_whole() {
    same_bits::<f32>();
    same_bits::<f64>();
}

#[test]
fn components_and_heads_are_kept_together() {
    let problem = Problem::from_nodes(Cpu::<f64>::new(), phase_space(30)).samples(2).shape([4]).seed(1);
    let sampler = Picard::default().window(8).acceptance(Acceptance::Exact);
    let whole = sampler.sample(&problem, &mut PhaseSpace).unwrap().samples;
    let mut parts: Vec<Part<f64>> = vec![Box::new(PhaseSpace), Box::new(Chunked::new(PhaseSpace, 2).unwrap())];
    parts.push(Box::new(Padded::new(PhaseSpace, 4).unwrap()));
    let mut split = Split::new(parts).unwrap();
    assert_eq!((split.components(), split.heads(), split.grain()), (2, 3, 6));
    assert_eq!(bits(&sampler.sample(&problem, &mut split).unwrap().samples), bits(&whole));
}

/// Parts that can only go on together are called at the same time, from any thread.
#[test]
fn parts_work_at_the_same_time() {
    let all = 6;
    let gathering = Arc::new(Gathering::default());
    let part = || {
        let gathering = gathering.clone();
        score_fn(Prediction::Data, move |x: ArrayView2<'_, f32>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, f32>| {
            assert_eq!(x.nrows(), 1);
            out.assign(&x);
            gathering.meet(all)
        })
    };
    let problem = Problem::new(Ou, Grid::log_snr(12).between(6.0, 0.02), Scheme::ddim()).shape([2]);
    // windows of six nodes until the last ones
    let mut first = on_round(|round| if round.round < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) });
    let sampler = Picard::default().window(6).acceptance(Acceptance::Exact);
    let mut run = || sampler.run(&problem, &mut Split::new((0..all).map(|_| part())).unwrap(), &mut first).unwrap();
    assert_eq!(run().report.score_rows, 18);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let mut first = on_round(|round| if round.round < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) });
    let mut split = Split::new((0..all).map(|_| part())).unwrap();
    assert_eq!(pool.install(|| sampler.run(&problem, &mut split, &mut first).unwrap().report.score_rows), 18);
}

/// Part 2 of four does `fault` in its third call.
fn failing(fault: fn(&mut ArrayViewMut2<'_, f32>) -> Result<(), BoxError>) -> Split<impl ScoreFn<Cpu<f32>> + Send> {
    let part = |part: usize| {
        let (mut modes, mut calls) = (two_modes::<f32>(Prediction::Data), 0);
        score_fn(Prediction::Data, move |x: ArrayView2<'_, f32>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, f32>| {
            calls += 1;
            modes.eval(x, rows, out.view_mut())?;
            if (part, calls) == (2, 3) { fault(&mut out) } else { Ok(()) }
        })
    };
    Split::new((0..4).map(part)).unwrap()
}

type Breaks = fn(&mut ArrayViewMut2<'_, f32>) -> Result<(), BoxError>;
const FAULTS: [Breaks; 3] = [
    |_| Err("out of memory".into()),
    |_| panic!("index out of bounds"),
    |out| {
        let last = out.nrows() - 1;
        out[[last, 3]] = f32::NAN;
        Ok(())
    },
];

#[test]
fn a_part_that_fails_is_named() {
    for (fault, text) in FAULTS.into_iter().zip(["out of memory", "it panicked: index", "it answered a number that is"])
    {
        let mut split = failing(fault);
        let sampler = Picard::default().window(8);
        let error = sampler.sample(&problem(), &mut split).unwrap_err();
        let Error::Score { round: 3, source, .. } = &error else { panic!("{error}") };
        let source = source.downcast_ref::<Error>().unwrap();
        let Error::Part { part: 2, source } = source else { panic!("{source}") };
        assert!(source.to_string().starts_with(text), "{source}");
        match source {
            Fault::Failed(error) => assert_eq!(error.to_string(), "out of memory"),
            Fault::Panicked(message) => assert_eq!(message, "index out of bounds"),
            // the last of the two rows of part 2 in a round of 24
            Fault::NotFinite { sample, time } => assert!(*sample == 2 && *time > 0.02, "{sample} {time}"),
            other => panic!("{other}"),
        }
        // it goes on when it is asked again
        assert!(sampler.sample(&problem(), &mut split).is_ok());
        let mut split = failing(fault).shares(Shares::OnDemand).unwrap();
        let error = (0..1000).find_map(|_| sampler.sample(&problem(), &mut split).err()).unwrap();
        let Error::Score { source, .. } = &error else { panic!("{error}") };
        assert!(matches!(source.downcast_ref(), Some(Error::Part { part: 2, .. })), "{source}");
    }
}

#[test]
fn the_others_take_over() {
    let sampler = Picard::default().window(8);
    let whole = sampler.sample(&problem(), &mut modes::<f32>()).unwrap();
    for fault in FAULTS {
        let mut split = failing(fault).on_failure(OnFailure::MoveOn);
        let found = sampler.sample(&problem(), &mut split).unwrap();
        assert_eq!(bits(&found.samples), bits(&whole.samples));
        let (parts, rows) = (&found.report.parts, found.report.score_rows);
        assert!(parts.iter().enumerate().all(|(part, work)| work.failure.is_some() == (part == 2)), "{parts:?}");
        assert_eq!((parts.iter().map(|part| part.rows).sum::<usize>(), parts[2].rows), (rows, 12));
        assert_eq!(split.grain(), 3);
        // the next run leaves it out, until it is restored
        assert_eq!(sampler.sample(&problem(), &mut split).unwrap().report.parts[2].rows, 0);
        split.restore();
        assert_eq!(sampler.sample(&problem(), &mut split).unwrap().report.parts[2].failure, None);
    }
    // the same where the clock decides which part is called for a third time in which round
    for fault in FAULTS {
        let mut split = failing(fault).on_failure(OnFailure::MoveOn).shares(Shares::OnDemand).unwrap();
        let mut runs = 0;
        while split.parts()[2].failure.is_none() && runs < 1000 {
            let found = sampler.sample(&problem(), &mut split).unwrap();
            assert_eq!(bits(&found.samples), bits(&whole.samples));
            let rows: usize = found.report.parts.iter().map(|part| part.rows).sum();
            assert_eq!(rows, found.report.score_rows);
            runs += 1;
        }
        assert_eq!(split.grain(), 3);
    }
    // what no part can answer is not their fault: the next run asks all of them again
    let wild = |_| {
        let mut wrong = 1;
        score_fn::<f32>(Prediction::Data, move |x, _, mut out| {
            out.assign(&x);
            if wrong > 0 {
                out.fill(f32::INFINITY);
            }
            wrong = 0;
            Ok(())
        })
    };
    let split = || Split::new((0..3).map(wild)).unwrap().on_failure(OnFailure::MoveOn);
    for mut split in [split(), split().shares(Shares::OnDemand).unwrap()] {
        let error = sampler.sample(&problem(), &mut split).unwrap_err();
        let Error::Score { round: 1, source, .. } = error else { panic!("{error}") };
        assert!(matches!(source.downcast_ref(), Some(Error::Part { source: Fault::NotFinite { .. }, .. })), "{source}");
        assert!(sampler.sample(&problem(), &mut split).unwrap().report.parts.iter().all(|part| part.failure.is_none()));
    }
}

#[test]
fn what_is_no_split_score() {
    let kind = |error: Error| match error {
        Error::Setting { name, .. } => name,
        Error::Unsupported { what, .. } | Error::Shape { what, .. } => what,
        other => panic!("{other}"),
    };
    assert_eq!(kind(Split::new(Vec::<Part<f32>>::new()).unwrap_err()), "parts");
    let unlike: Vec<Part<f32>> = vec![modes(), Box::new(two_modes(Prediction::Score))];
    assert_eq!(kind(Split::new(unlike).unwrap_err()), "a split score");
    let unlike: Vec<Part<f32>> = vec![Box::new(two_modes(Prediction::Score)), Box::new(PhaseSpace)];
    assert_eq!(kind(Split::new(unlike).unwrap_err()), "a split score");
    assert_eq!(kind(Split::new([Bounded(Some(3)), Bounded(Some(0))]).unwrap_err()), "max_rows");
    let two = || Split::new([Bounded(None), Bounded(Some(5))]).unwrap();
    assert_eq!(kind(two().threads(0).unwrap_err()), "threads");
    for speeds in [vec![1.0], vec![1.0, 2.0, 3.0]] {
        assert_eq!(kind(two().shares(Shares::Speeds(speeds)).unwrap_err()), "the speeds of parts");
    }
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(kind(two().shares(Shares::Speeds(vec![1.0, wrong])).unwrap_err()), "speeds");
    }
    // the times on which all parts were trained
    assert_eq!(two().time_range(), Some((0.5, 4.0)));
}

struct Bounded(Option<usize>);

impl Model for Bounded {
    fn prediction(&self) -> Prediction {
        Prediction::Data
    }

    fn max_rows(&self) -> Option<usize> {
        self.0
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        Some(if self.0.is_some() { (0.1, 4.0) } else { (0.5, 9.0) })
    }
}

/// A part that takes a known time per row gets rows in proportion to its speed.
#[test]
fn shares_follow_the_speed() {
    follow_the_speed(Shares::Measured);
    follow_the_speed(Shares::OnDemand);
}

fn follow_the_speed(shares: Shares) {
    let part = |row: Duration| {
        score_fn(Prediction::Data, move |x: ArrayView2<'_, f32>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, f32>| {
            out.assign(&x);
            std::thread::sleep(row * rows.len() as u32);
            Ok(())
        })
    };
    let rows = 40;
    let (x, numbers) = (ndarray::Array2::<f32>::ones((rows, 2)), vec![0.5; rows]);
    let known = Rows::new(&numbers, &numbers, &numbers, &[0; 40], &[0; 40]).unwrap();
    let mut split = Split::new([part(Duration::from_millis(1)), part(Duration::from_millis(4))]).unwrap();
    split = split.shares(shares).unwrap();
    let clock = Instant::now();
    for _ in 0..3 {
        split.eval(x.view(), &known, ndarray::Array2::zeros((rows, 2)).view_mut()).unwrap();
    }
    let [fast, slow] = split.parts() else { panic!() };
    assert!(
        fast.time >= Duration::from_millis(fast.rows as u64)
            && slow.time >= Duration::from_millis(4 * slow.rows as u64)
    );
    assert!(clock.elapsed() >= slow.time, "a part works while the call lasts");
    // measured: 20 + 20 rows at first, then about 32 + 8; on demand 10 for the slow one before the fast one has 30
    assert!(fast.rows > slow.rows + 10, "{fast:?} {slow:?}");
}

#[test]
fn a_window_of_grains_gives_every_part_a_row() {
    let problem = Problem::new(Ou, Grid::log_snr(40).between(6.0, 0.02), Scheme::ddim()).shape([2]).seed(1);
    let mut split = Split::new((0..6).map(|_| modes::<f32>())).unwrap();
    for (grains, rows) in [(1, 6), (2, 12), (50, 40)] {
        let mut most = 0;
        let mut watch = on_round(|round| {
            most = most.max(round.rows);
            ControlFlow::Continue(())
        });
        let sampler = Picard::default().window(Window::Grains { grains });
        let found = sampler.run(&problem, &mut split, &mut watch).unwrap();
        assert_eq!(most, rows);
        let nodes = Picard::default().window(Window::Nodes { nodes: 6 * grains });
        assert_eq!(found.samples, nodes.sample(&problem, &mut modes::<f32>()).unwrap().samples);
    }
    // a split score inside of another: seven rows at once and one
    let inner = Split::new((0..7).map(|_| modes::<f32>())).unwrap();
    let parts: [Part<f32>; 2] = [Box::new(inner), modes()];
    let mut eight = Split::new(parts).unwrap();
    assert_eq!(eight.grain(), 8);
    let short = problem.clone();
    let found = Picard::default().window(Window::Grains { grains: 1 }).sample(&short, &mut eight).unwrap();
    let [seven, one] = &found.report.parts[..] else { panic!() };
    assert!(one.rows <= found.report.rounds && seven.rows > 5 * one.rows, "{seven:?} {one:?}");
    // a session in steps does not care how many parts there are, one in grains is made for that number
    let steps = Picard::default().window(5);
    let mut session = steps.session(&problem.prepare(&split).unwrap()).unwrap();
    let mut four = Split::new((0..4).map(|_| modes::<f32>())).unwrap();
    session.run(&problem.prepare(&four).unwrap(), &mut four).unwrap();
    let sampler = Picard::default().window(Window::Grains { grains: 1 });
    let six = problem.prepare(&split).unwrap();
    let mut session = sampler.session(&six).unwrap();
    session.run(&six, &mut split).unwrap();
    let mut two = Split::new((0..2).map(|_| modes::<f32>())).unwrap();
    let error = session.run(&problem.prepare(&two).unwrap(), &mut two).unwrap_err();
    assert!(matches!(error, Error::Unsupported { what: "a session", .. }), "{error}");
    let none = Picard::default().window(Window::Grains { grains: 0 }).sample(&problem, &mut split).unwrap_err();
    assert!(matches!(none, Error::Setting { name: "window.grains", .. }), "{none}");
    assert_eq!("grains=2".parse::<Window>().unwrap(), Window::Grains { grains: 2 });
    assert_eq!(Window::Grains { grains: 2 }.to_string(), "grains=2");
}

/// On devices that take a second per row, one row after another.
#[test]
fn parts_that_pay() {
    let p = Problem::new(Ou, Grid::log_snr(200).between(6.0, 0.05), Scheme::ddim()).shape([3]).seed(5);
    let given = |points| Automatic::default().latency(Latency { points });
    let four = || Split::new((0..4).map(|_| two_modes::<f32>(Prediction::Score))).unwrap();
    let serial = given(vec![(1, 1.0), (4, 1.0), (8, 2.0), (512, 128.0)]);
    let choice = serial.sample(&p, &mut four()).unwrap().report.choice.unwrap();
    let seconds: Vec<f64> = choice.by_parts.iter().map(|(_, seconds)| *seconds).collect();
    assert_eq!(
        choice.by_parts.iter().map(|(parts, _)| *parts).collect::<Vec<_>>(),
        (0..11).map(|k| 1 << k).collect::<Vec<_>>()
    );
    assert!(seconds.is_sorted_by(|a, b| a >= b), "{seconds:?}");
    // on one part a window saves only that it gets shorter at the end, by 0.4 of its share of the run in the model
    assert!(seconds[0] <= 200.0 && seconds[0] > 200.0 * (1.0 - 0.4 * 8.0 / 200.0), "{seconds:?}");
    // four parts are those that there are, and four rows at once are four times as fast but for that and for waiting
    assert!((seconds[2] - choice.best.unwrap().seconds).abs() < 1e-9);
    assert!((0.24..0.27).contains(&(seconds[2] / seconds[0])), "{seconds:?}");
    let pays = choice.parts_that_pay().unwrap();
    assert!((16..=128).contains(&pays) && choice.to_string().contains(&format!("up to {pays} of them")), "{choice}");
    let whole = serial.sample(&p, &mut modes()).unwrap().report.choice.unwrap();
    assert_eq!((whole.parts_that_pay(), whole.by_parts.len()), (None, 0));
    // six parts: windows of six steps and their doubles are tried
    let six = || Split::new((0..6).map(|_| two_modes::<f32>(Prediction::Score))).unwrap();
    let tiles = given(vec![(1, 1.0), (6, 1.0), (12, 2.0), (600, 100.0)]);
    let window = tiles.sample(&p, &mut six()).unwrap().report.choice.unwrap().best.unwrap().window;
    assert!(window % 6 == 0, "{window}");
}

/// The smallest sizes, windows beyond the grid, and many steps.
#[test]
fn odd_sizes() {
    let picard = |window: usize| Picard::default().window(window);
    for (steps, samples, dim) in [(1, 1, 1), (2, 3, 1), (5, 1, 130), (10_000, 1, 1)] {
        let grid = Grid::log_snr(steps).between(6.0, 0.02);
        let problem = Problem::new(Ou, grid, Scheme::default()).samples(samples).shape([dim]).seed(4);
        for sampler in [&Sequential as &dyn Sampler<Cpu<f32>>, &picard(64), &picard(20_000)] {
            let found = sampler.sample(&problem, &mut modes()).unwrap();
            if found.report.rounds == 10_000 {
                continue; // so many calls of sleeping threads show nothing new
            }
            let whole = found.samples;
            let mut split = Split::new((0..3).map(|_| modes::<f32>())).unwrap();
            assert_eq!(sampler.sample(&problem, &mut split).unwrap().samples, whole);
            let parts = (0..2).map(|_| Padded::new(modes::<f32>(), 3).unwrap());
            assert_eq!(sampler.sample(&problem, &mut Split::new(parts).unwrap()).unwrap().samples, whole);
        }
        let automatic = Automatic::default();
        assert!(automatic.sample(&problem, &mut Split::new((0..3).map(|_| modes::<f32>())).unwrap()).is_ok());
    }
}
