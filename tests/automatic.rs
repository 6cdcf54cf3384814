//! The automatic window: deterministic by a given latency, exact, and a probe that leaves no trace in the results.

mod common;

use common::{bits, mixture, two_components, two_modes};
use ndarray::{Array2, ArrayView2, ArrayViewMut2};
use piadm::{
    Acceptance, Automatic, BoxError, Cpu, Error, Grid, Model, Ou, Piadm, Picard, Prediction, Problem, Report, Rows,
    Sampler, Save, Scheme, ScoreFn, Sequential, Stop, Window,
    nodes::Correction,
    problem::{Choice, Effort, Latency, Reason},
    sampler::{Dynamics, Linearisation, on_round},
};
use std::ops::ControlFlow;

fn problem(steps: usize, samples: usize, scheme: Scheme) -> Problem<Cpu<f32>> {
    let grid = Grid::log_snr(steps).between(6.0, 0.05);
    Problem::new(Ou, grid, scheme).samples(samples).shape([3]).seed(5)
}

/// `a` seconds per round and `b` seconds per row.
fn latency(a: f64, b: f64) -> Latency {
    Latency { points: vec![(1, a + b), (4096, a + 4096.0 * b)] }
}

fn given(latency: Latency) -> Automatic {
    Automatic::default().latency(latency)
}

fn choice(automatic: &Automatic, problem: &Problem<Cpu<f32>>) -> Choice {
    automatic.sample(problem, &mut two_modes::<f32>(Prediction::Score)).unwrap().report.choice.unwrap()
}

/// Counts what it is asked for, and may fail.
#[derive(Default)]
struct Watched {
    calls: usize,
    rows: usize,
    largest: usize,
    max_rows: Option<usize>,
    fails_from: Option<usize>,
    range: Option<(f64, f64)>,
    not_finite: bool,
}

impl Model for Watched {
    fn prediction(&self) -> Prediction {
        Prediction::Score
    }

    fn max_rows(&self) -> Option<usize> {
        self.max_rows
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        self.range
    }
}

impl ScoreFn<Cpu<f32>> for Watched {
    fn eval(
        &mut self,
        x: ArrayView2<'_, f32>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, f32>,
    ) -> Result<(), BoxError> {
        self.calls += 1;
        self.rows += rows.len();
        self.largest = self.largest.max(rows.len());
        if self.fails_from.is_some_and(|n| rows.len() >= n) {
            return Err("too many rows".into());
        }
        if self.not_finite {
            out.fill(f32::NAN);
            return Ok(());
        }
        two_modes::<f32>(Prediction::Score).eval(x, rows, out.view_mut())
    }
}

#[test]
fn the_window_follows_the_latency() {
    let p = problem(400, 1, Scheme::default());
    let constant = choice(&given(latency(1.0, 0.0)), &p);
    assert_eq!((constant.window, constant.reason), (Some(256), Reason::FewerRounds));
    let all = given(latency(1.0, 0.0)).max_window(usize::MAX);
    assert_eq!(choice(&all, &p).window, Some(400));
    let proportional = choice(&given(latency(0.0, 1.0)), &p);
    assert_eq!((proportional.window, proportional.reason), (None, Reason::RowCost));
    assert_eq!(proportional.sequential_seconds, Some(400.0));
    assert!(proportional.best.unwrap().seconds > 0.95 * 400.0);
    // the more a row costs, the shorter the window, and both ends are reached
    let row_costs = [0.0, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0];
    let windows: Vec<usize> =
        row_costs.iter().map(|&b| choice(&given(latency(1.0, b)), &p).window.unwrap_or(1)).collect();
    assert!(windows.windows(2).all(|w| w[0] >= w[1]), "{windows:?}");
    assert!(windows.iter().filter(|w| (2..256).contains(*w)).count() > 4, "{windows:?}");
    assert!(windows.iter().all(|w| w.is_power_of_two()), "{windows:?}");
    assert_eq!((windows[0], windows[9]), (256, 1));
    // a batch is an efficient call already
    let network = latency(1.0, 0.1);
    let one = choice(&given(network.clone()), &p).window.unwrap();
    let eight = choice(&given(network.clone()), &problem(400, 8, Scheme::default())).window.unwrap_or(1);
    let many = choice(&given(network), &problem(400, 512, Scheme::default()));
    assert!(one > eight && many.window.is_none(), "{one} {eight} {many}");
    let one_step = choice(&given(latency(1.0, 0.0)), &problem(1, 1, Scheme::default()));
    assert_eq!((one_step.window, one_step.reason), (None, Reason::OneStep));
}

#[test]
fn latency_between_and_beyond_its_points() {
    let l = Latency { points: vec![(2, 1.0), (4, 3.0), (8, 3.0)] };
    let at = [(0.0, 1.0), (1.0, 1.0), (2.0, 1.0), (3.0, 2.0), (4.0, 3.0), (8.0, 3.0), (16.0, 3.0), (32.0, 6.0)];
    at.iter().for_each(|&(rows, seconds)| assert_eq!(l.seconds(rows), seconds, "{rows}"));
    let falling = Latency { points: vec![(2, 3.0), (4, 1.0)] };
    assert_eq!((falling.seconds(3.0), falling.seconds(8.0), falling.seconds(16.0)), (2.0, 1.0, 2.0));
    let single = Latency { points: vec![(4, 1.0)] };
    assert_eq!((single.seconds(1.0), single.seconds(8.0), single.seconds(80.0)), (1.0, 1.0, 10.0));
    assert_eq!(Latency::default().seconds(5.0), 0.0);
}

/// The samples, the path and the counts are those of the sampler that was chosen, with a probe or without.
#[test]
fn the_chosen_sampler_runs() {
    for scheme in [Scheme::default(), Scheme::Heun {}, Scheme::DpmSolverPp2M { lower_order_final: false }] {
        for (network, tolerance) in [(latency(1.0, 0.01), 1e-2), (latency(1.0, 0.1), 1e-4), (latency(0.0, 1.0), 1e-2)] {
            let p = problem(60, 3, scheme.clone()).save(Save::Steps(vec![0, 7, 60]));
            let base = Picard::default().acceptance(Acceptance::Error(tolerance));
            let cached = given(network).base(base.clone());
            for automatic in [cached.clone(), cached.latency(None)] {
                let mut score = Watched::default();
                let found = automatic.sample(&p, &mut score).unwrap();
                let report: &Report = &found.report;
                let choice = report.choice.clone().unwrap();
                let mut again = Watched::default();
                let expected = match choice.window {
                    Some(w) => base.clone().window(Window::Steps(w)).sample(&p, &mut again).unwrap(),
                    None => Sequential.sample(&p, &mut again).unwrap(),
                };
                assert_eq!(bits(&found.samples), bits(&expected.samples));
                assert_eq!(found.path.at(7), expected.path.at(7));
                let counts = |r: &Report| (r.rounds, r.score_rows, r.score_calls, r.sample_rounds.clone(), r.stop);
                assert_eq!(counts(report), counts(&expected.report));
                assert_eq!(report.sampler, "automatic");
                assert_eq!(score.rows - report.score_rows, report.probe_rows);
                assert_eq!(report.probe_rows > 0, automatic.latency.is_none());
            }
        }
    }
}

#[test]
fn zero_tolerance() {
    let base = Picard::default().acceptance(Acceptance::Exact);
    let p = problem(80, 2, Scheme::default());
    let mut score = Watched::default();
    let zero = Automatic::default().base(base.clone());
    let solution = zero.sample(&p, &mut score).unwrap();
    let choice = solution.report.choice.unwrap();
    assert_eq!((choice.window, choice.reason, score.calls), (None, Reason::ZeroTolerance, 80));
    // one's own model overrules it, and the bits are the same
    let effort = Some(Effort { rounds: 5.0, reach: 0.1 });
    let parallel = zero.effort(effort).latency(latency(1.0, 1e-3));
    let exact = parallel.sample(&p, &mut Watched::default()).unwrap();
    assert!(exact.report.choice.is_some_and(|c| c.window.is_some()));
    assert_eq!(bits(&exact.samples), bits(&solution.samples));
    // a fixed depth is a known effort
    let depth = given(latency(1.0, 0.0)).base(Picard::piadm(1.0, Some(4)));
    let best = self::choice(&depth, &p).best.unwrap();
    assert_eq!((best.window, best.rounds), (80, 4.0));
}

#[test]
fn bad_settings() {
    let p = problem(20, 1, Scheme::default());
    let fails = |automatic: Automatic, wanted: &str| {
        let mut score = Watched::default();
        let failed = automatic.sample(&p, &mut score);
        assert!(matches!(&failed, Err(Error::Setting { name, .. }) if *name == wanted), "{wanted}: {failed:?}");
        assert_eq!(score.calls, 0);
    };
    let points = |points: &[(usize, f64)]| given(Latency { points: points.to_vec() });
    fails(points(&[]), "latency");
    fails(points(&[(0, 1.0)]), "latency rows");
    fails(points(&[(2, 1.0), (2, 2.0)]), "latency rows");
    fails(points(&[(4, 1.0), (2, 2.0)]), "latency rows");
    for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        fails(points(&[(1, 1.0), (2, seconds)]), "latency seconds");
    }
    fails(Automatic::default().max_window(0), "max_window");
    fails(Automatic::default().probe_share(f64::NAN), "probe_share");
    fails(Automatic::default().probe_share(-0.1), "probe_share");
    fails(Automatic::default().effort(Effort { rounds: f64::NAN, reach: 1.0 }), "effort.rounds");
    fails(Automatic::default().effort(Effort { rounds: 1.0, reach: 0.0 }), "effort.reach");
    let base = Picard::default().acceptance(Acceptance::Error(-1.0));
    assert!(matches!(
        Automatic::default().base(base).sample(&p, &mut Watched::default()),
        Err(Error::Setting { name: "acceptance.error", .. })
    ));
    // odd but right
    for odd in [
        points(&[(1, 1e300), (usize::MAX, 1e308)]),
        points(&[(usize::MAX - 1, 1.0), (usize::MAX, 1.0)]),
        Automatic::default().max_window(1),
        Automatic::default().probe_share(0.0),
        Automatic::default().probe_share(1e300).max_window(usize::MAX),
    ] {
        assert!(odd.sample(&p, &mut Watched::default()).unwrap().samples.iter().all(|x| x.is_finite()));
    }
}

#[test]
fn the_probe_is_a_guest() {
    let p = problem(200, 2, Scheme::default());
    let automatic = Automatic::default().probe_share(1e6);
    // calls are cut as in a run
    let mut score = Watched { max_rows: Some(5), ..Watched::default() };
    let report = automatic.sample(&p, &mut score).unwrap().report;
    assert_eq!(score.largest, 5);
    let points = report.choice.unwrap().latency.unwrap().points;
    assert_eq!(points.iter().map(|p| p.0).take(3).collect::<Vec<_>>(), [1, 2, 16], "{points:?}");
    assert!(points.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 <= w[1].1), "{points:?}");
    assert!(points.iter().all(|p| p.0 <= 2 * 200), "{points:?}");
    // errors come through
    let mut failing = Watched { fails_from: Some(9), ..Watched::default() };
    assert!(matches!(automatic.sample(&p, &mut failing), Err(Error::Score { .. })));
    assert!(matches!(Latency::measure(&p, &mut failing, &automatic), Err(Error::Score { .. })));
    let mut untrained = Watched { range: Some((1.0, 5.0)), ..Watched::default() };
    assert!(matches!(automatic.sample(&p, &mut untrained), Err(Error::TimeRange { .. })));
    assert_eq!(untrained.calls, 0);
    let mut broken = Watched { not_finite: true, ..Watched::default() };
    assert!(matches!(automatic.sample(&p, &mut broken), Err(Error::ScoreNotFinite { .. })));
    // an observer sees the run only
    let mut seen = Vec::new();
    let mut watch = on_round(|round| {
        seen.push(round.round);
        if round.round == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let cancelled = automatic.run(&p, &mut Watched::default(), &mut watch).unwrap();
    assert_eq!((seen, cancelled.report.stop, cancelled.report.rounds), (vec![1, 2, 3], Stop::Cancelled, 3));
    // a batch that does not fit is refused before anything is measured
    let x = Array2::<f32>::zeros((1, 3));
    let mut score = Watched::default();
    assert!(matches!(automatic.sample(&p.clone().init(x), &mut score), Err(Error::Shape { .. })));
    assert_eq!(score.calls, 0);
}

/// The model is a forecast, not a fit to one problem: at most twice, at least three quarters of the rounds that were
/// needed.
#[test]
fn forecast_of_rounds() {
    let mut score = mixture(4, 16, 0.3, 1.0, 3);
    for dynamics in [Dynamics::Sde, Dynamics::Ode] {
        for steps in [60, 250] {
            let piadm = Piadm::new(16, 0.01, dynamics).steps(steps).t_min(0.01);
            let recipe = piadm.recipe(&Ou, None).unwrap();
            let p = Problem::new(Ou, recipe.grid, recipe.scheme).samples(4).shape([16]).seed(2);
            for (a, b) in [(1.0, 0.0), (1.0, 0.02), (1.0, 0.2)] {
                let report = given(latency(a, b)).sample(&p, &mut score).unwrap().report;
                let (choice, rounds) = (report.choice.unwrap(), report.rounds as f64);
                let forecast = choice.best.unwrap().rounds;
                println!("{dynamics:?} {steps} steps, window {:?}: {rounds} rounds, {forecast}", choice.window);
                assert!(choice.window.is_some() && (0.75 * rounds..2.0 * rounds + 2.0).contains(&forecast));
                // steps that are taken one at a time are rounds of their own
                let begun = given(latency(a, b)).base(Picard::default().warm_up(40));
                let report = begun.sample(&p, &mut score).unwrap().report;
                let (forecast, rounds) = (report.choice.unwrap().best.unwrap().rounds, report.rounds as f64);
                assert!((0.75 * rounds..1.3 * rounds).contains(&forecast), "{forecast} for {rounds} rounds");
            }
        }
    }
}

/// A run tells the next one how many rounds it took: of an affine score a window waits for nothing.
#[test]
fn effort_of_a_run() {
    let mut affine = piadm::score_fn::<f32>(Prediction::Score, |x, _, mut out| {
        out.zip_mut_with(&x, |o, x| *o = -x);
        Ok(())
    });
    let p = problem(400, 1, Scheme::default());
    let mut twice = |row: f64| {
        let first = given(latency(1.0, row));
        let one = first.sample(&p, &mut affine).unwrap().report;
        let effort = one.choice.as_ref().unwrap().effort;
        let two = first.effort(effort).sample(&p, &mut affine).unwrap().report;
        [one, two].map(|report| {
            let choice = report.choice.unwrap();
            (choice.window, choice.best.unwrap().rounds - report.rounds as f64, choice.effort.unwrap())
        })
    };
    for row in [0.005, 0.01, 0.015, 0.02] {
        let [(before, _, effort), (after, ..)] = twice(row);
        assert!(effort.rounds < 8.0 && after > before, "{row}: {before:?} then {after:?}");
    }
    // where the window stays, its rounds are known better
    for row in [0.03, 0.04, 0.05] {
        let [(before, far, _), (after, near, _)] = twice(row);
        assert!(after == before && near.abs() < 0.3 * far.abs(), "{row}: {before:?} by {far}, {after:?} by {near}");
    }
    // where the model was right it stays
    let mut modes = two_modes::<f32>(Prediction::Score);
    let kept = given(latency(1.0, 0.01)).sample(&p, &mut modes).unwrap().report.choice.unwrap();
    assert!(kept.effort.unwrap().rounds > 3.0, "{kept:?}");
}

#[test]
fn lists_parts_and_other_bases() {
    let mut score = two_modes::<f32>(Prediction::Score);
    // a list of one's own with velocities
    let p = Problem::from_nodes(Cpu::<f32>::new(), two_components(40)).samples(2).shape([3]).seed(1);
    let zero = given(latency(1.0, 0.0)).effort(Effort { rounds: 4.0, reach: 0.1 });
    let zero = zero.base(Picard::default().acceptance(Acceptance::Exact));
    let found = zero.sample(&p, &mut score).unwrap();
    assert!(found.report.choice.is_some_and(|c| c.window.is_some()));
    assert_eq!(bits(&found.samples), bits(&Sequential.sample(&p, &mut score).unwrap().samples));
    // blocks and their corrections
    let grid = Grid::log_snr(30).between(5.0, 0.01);
    let p = Problem::new(Ou, grid, Scheme::Ddim { eta: 0.0 }).samples(4).shape([2]).seed(1);
    let p = p.correction(Window::OuTime { ou_time: 1.0 }, Correction::default());
    let found = Automatic::default().sample(&p, &mut score).unwrap();
    let sequential = Sequential.sample(&p, &mut score).unwrap();
    assert!(found.report.probe_rows > 0 && sequential.report.rounds > 30 + 10);
    // a window may hold far more nodes than its steps have on average, and the row budget is kept all the same
    let exact = Picard::default().acceptance(Acceptance::Exact);
    let effort = Some(Effort { rounds: 4.0, reach: 0.1 });
    for rows in 12..=64 {
        let base = exact.clone().row_budget(rows);
        let found = given(latency(1.0, 0.0)).base(base).effort(effort).sample(&p, &mut score);
        assert_eq!(found.map(|s| bits(&s.samples)).ok(), Some(bits(&sequential.samples)), "{rows} rows");
    }
    // slower iterations are expected to take more rounds
    let rounds = |base: Picard| {
        let automatic = given(latency(1.0, 0.0)).base(base);
        choice(&automatic, &problem(100, 1, Scheme::default())).best.unwrap().rounds
    };
    let default = rounds(Picard::default());
    let identity = rounds(Picard::default().linearisation(Linearisation::Identity));
    let precise = rounds(Picard::default().acceptance(Acceptance::Error(1e-3)));
    assert!(default < precise && precise < identity, "{default} {precise} {identity}");
}

#[cfg(feature = "serde")]
#[test]
fn settings_and_reports_are_kept() {
    let automatic = given(latency(1.0, 0.25)).max_window(32);
    let text = serde_json::to_string(&automatic).unwrap();
    assert_eq!(serde_json::from_str::<Automatic>(&text).unwrap(), automatic);
    assert_eq!(serde_json::from_str::<Automatic>("{}").unwrap(), Automatic::default());
    let p = problem(50, 2, Scheme::default());
    let report = automatic.sample(&p, &mut two_modes::<f32>(Prediction::Score)).unwrap().report;
    let shown = report.to_string();
    assert!(shown.contains("window") && shown.contains("it saves more rounds than its rows cost"), "{shown}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["choice"]["reason"], "fewer_rounds");
    assert_eq!(serde_json::from_value::<Report>(json.clone()).unwrap(), report);
    // a report of an earlier version
    let mut old = json;
    ["choice", "probe_rows", "probe_time"].iter().for_each(|k| drop(old.as_object_mut().unwrap().remove(*k)));
    assert_eq!(serde_json::from_value::<Report>(old).unwrap().choice, None);
}

#[test]
fn windows_keep_to_the_row_budget() {
    let grid = Grid::log_snr(100).between(8.0, 0.01);
    let problem = Problem::new(Ou, grid, Scheme::default()).samples(6).shape([2]).seed(1);
    let constant = Latency { points: vec![(4, 0.02), (1024, 0.02)] };
    let mut score = two_modes::<f32>(Prediction::Score);
    for (latency, budget) in [(Some(constant.clone()), 40), (Some(constant), 1), (None, 24), (None, 1)] {
        let base = Picard::default().row_budget(budget);
        let report = Automatic::default().base(base).latency(latency).sample(&problem, &mut score).unwrap().report;
        let window = report.choice.unwrap().window;
        assert!(window.is_none_or(|w| w <= budget), "{window:?} of {budget}");
        assert!(budget != 1 || window.is_none());
    }
}
