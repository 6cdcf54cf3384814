//! CHORDS: against a transcription of its algorithm, the bits of its slowest core, its counting, its errors.

mod common;

use common::{bits, lookback_three, two_modes};
use ndarray::{Array1, Array2, Axis};
use piadm::{
    Chords, Cpu, Error, Flow, Grid, Guarantee, Nodes, NoiseSchedule, Observer, Ou, Prediction, Problem, Rows, Sampler,
    Save, Scheme, ScoreFn, Sequential, Stop,
    nodes::Form,
    noise::NoiseKey,
    sampler::{Round, on_round},
    score_fn,
};
use std::ops::ControlFlow;

const DIM: usize = 3;
const SEED: u64 = 12;
/// The starts that the paper recommends for 8 cores and 50 steps.
const EIGHT: [usize; 8] = [0, 2, 4, 8, 16, 24, 32, 40];

type State = Array1<f64>;
/// A state and the drift there.
type Evaluation = (State, State);
type Rectification<'a> = &'a dyn Fn(&Evaluation, &Evaluation, f64, f64) -> State;

/// Cores and their starts.
fn chords(starts: &[usize]) -> Chords {
    Chords::default().cores(starts.len()).starts(starts.to_vec())
}

fn start() -> State {
    let mut out = vec![0.0; DIM];
    NoiseKey::new(SEED).fill_f64(piadm::noise::Address { stream: 0, step: 0, sample: 0 }, 0, &mut out);
    Array1::from(out)
}

/// The output of `two_modes` at a time of a schedule.
fn network(schedule: &dyn NoiseSchedule, kind: Prediction, x: &State, t: f64) -> State {
    let (x, mut out) = (x.clone().insert_axis(Axis(0)), Array2::zeros((1, DIM)));
    let (t, alpha, sigma) = ([t], [schedule.alpha(t)], [schedule.sigma(t)]);
    let rows = Rows::new(&t, &alpha, &sigma, &[0], &[0]).unwrap();
    two_modes::<f64>(kind).eval(x.view(), &rows, out.view_mut()).unwrap();
    out.row(0).to_owned()
}

/// The drift at a time, the step between two times, and the rectification between two times by the slower core's
/// evaluation in place of the own one.
struct Solver<'a> {
    drift: &'a dyn Fn(&State, f64) -> State,
    step: &'a dyn Fn(&Evaluation, f64, f64) -> State,
    rectification: Rectification<'a>,
}

/// The algorithm of arXiv 2507.15260, core by core: core k first jumps k - 1 times along the starts, each jump in a
/// round, and then takes one step in a round. Where the steps it has taken are a multiple of its distance to core k -
/// 1, that core is where core k was that many steps ago, and rectifies it. Returns every core's result and the round in
/// which it was there.
fn by_hand(times: &[f64], starts: &[usize], solver: &Solver<'_>) -> Vec<(State, usize)> {
    let steps = times.len() - 1;
    let cores = starts.len();
    let mut x = vec![start(); cores];
    let mut at = vec![0; cores];
    let mut anchors: Vec<Option<(usize, Evaluation)>> = vec![None; cores];
    let mut results = vec![None; cores];
    let mut round = 0;
    while results.iter().any(Option::is_none) {
        let before = at.clone();
        let active: Vec<usize> = (0..cores).filter(|k| before[*k] < steps).collect();
        let drift = |k: &usize| (x[*k].clone(), (solver.drift)(&x[*k], times[at[*k]]));
        // fast cores end first, so the active ones are 0, 1, ...
        let evaluations: Vec<Evaluation> = active.iter().map(drift).collect();
        for (&k, own) in active.iter().zip(&evaluations) {
            let from = before[k];
            let to = if round < k { starts[round + 1] } else { from + 1 };
            x[k] = (solver.step)(own, times[from], times[to]);
            at[k] = to;
            if k == 0 || round < k {
                continue;
            }
            let distance = starts[k] - starts[k - 1];
            if (from - starts[k]).is_multiple_of(distance) {
                anchors[k] = Some((from, own.clone()));
            }
            if (to - starts[k]).is_multiple_of(distance) {
                let (anchor, at_anchor) = anchors[k].as_ref().unwrap();
                assert_eq!(before[k - 1], *anchor);
                x[k] += &(solver.rectification)(&evaluations[k - 1], at_anchor, times[*anchor], times[to]);
            }
        }
        round += 1;
        for k in active.into_iter().filter(|k| at[*k] == steps) {
            results[k] = Some((x[k].clone(), round));
        }
    }
    results.into_iter().flatten().collect()
}

/// Every core's result against a transcription, and the rounds it took.
fn compare(problem: &Problem<Cpu<f64>>, kind: Prediction, times: &[f64], starts: &[usize], solver: &Solver<'_>) {
    let steps = times.len() - 1;
    for (k, (expected, rounds)) in by_hand(times, starts, solver).iter().enumerate() {
        let run = chords(starts).output(k + 1).sample(problem, &mut two_modes::<f64>(kind)).unwrap();
        let off = (&run.samples.row(0) - expected).iter().fold(0.0f64, |m, e| m.max(e.abs()));
        assert!(off < 1e-12, "{steps} steps, {starts:?}, core {}: {off:e}", k + 1);
        assert_eq!(run.report.rounds, *rounds);
        assert_eq!(run.report.rounds, k + steps - starts[k]);
    }
}

/// The paper's own setting: Euler's method in the time of a flow, where the network is the drift.
#[test]
fn the_formula_of_the_paper() {
    let starts: [&[usize]; 7] =
        [&EIGHT, &[0, 3, 6, 12, 24, 36], &[0, 8, 16, 32], &[0, 25], &[0, 1, 2, 3], &[0, 7, 9, 20], &[0]];
    let grid = Grid::uniform(50).between(1.0, 0.0);
    let problem = Problem::on(Cpu::<f64>::new(), Flow, grid.clone(), Scheme::ddim()).shape([DIM]).seed(SEED);
    let solver = Solver {
        drift: &|x, t| network(&Flow, Prediction::Flow, x, t),
        step: &|(x, f), t, u| x + f * (u - t),
        rectification: &|(x, f), (own_x, own_f), t, u| (f - own_f) * (u - t) + x - own_x,
    };
    let times = grid.times(&Flow).unwrap();
    for starts in starts {
        compare(&problem, Prediction::Flow, &times, starts, &solver);
    }
    // what is corrected is far more than rounding, so the comparison means something
    let mut plain = chords(&EIGHT).sample(&problem, &mut two_modes::<f64>(Prediction::Flow)).unwrap().samples;
    plain -= &by_hand(&times, &EIGHT, &Solver { rectification: &|_, _, _, _| Array1::zeros(DIM), ..solver })[7].0;
    assert!(plain.iter().any(|e| e.abs() > 1e-2), "{plain}");
}

/// Other schemes take the difference of their own steps, from the anchor to where the core has arrived.
#[test]
fn other_schemes_and_kinds_of_output() {
    let grid = Grid::log_snr(21).between(5.0, 0.05);
    let times = grid.times(&Ou).unwrap();
    for (scheme, kind) in [
        (Scheme::ddim(), Prediction::Data),
        (Scheme::Exponential { form: Form::Score, stochasticity: 0.0 }, Prediction::Score),
        (Scheme::EulerMaruyama { stochasticity: 0.0 }, Prediction::Score),
    ] {
        let step = |(x, f): &Evaluation, t: f64, u: f64| {
            let (e, ratio) = (t - u, Ou.sigma(u) / Ou.sigma(t));
            match scheme {
                Scheme::Ddim { .. } => x * ratio + f * (Ou.alpha(u) - Ou.alpha(t) * ratio),
                Scheme::Exponential { .. } => x * (e / 2.0).exp() + f * (e / 2.0).exp_m1(),
                _ => x * (1.0 + e / 2.0) + f * (e / 2.0),
            }
        };
        let solver = Solver {
            drift: &|x, t| network(&Ou, kind, x, t),
            step: &step,
            rectification: &|slower, own, t, u| step(slower, t, u) - step(own, t, u),
        };
        let problem = Problem::on(Cpu::<f64>::new(), Ou, grid.clone(), scheme.clone()).shape([DIM]).seed(SEED);
        compare(&problem, kind, &times, &[0, 2, 5, 11], &solver);
        // the same oracle with another kind of output has other coefficients and the same result
        let run = |kind| chords(&[0, 4, 9]).sample(&problem, &mut two_modes::<f64>(kind)).unwrap().samples;
        let off = run(kind) - run(Prediction::Velocity);
        assert!(off.iter().all(|e| e.abs() < 1e-12), "{off}");
    }
}

/// A step to zero noise at the end, and a start inside the grid.
#[test]
fn ends_and_parts_of_a_grid() {
    let grid = Grid::log_snr(19).between(5.0, 0.05).then_data();
    let whole = Problem::on(Cpu::<f64>::new(), Ou, grid, Scheme::ddim()).shape([DIM]).seed(SEED).save(Save::All);
    let mut score = two_modes::<f64>(Prediction::Noise);
    let sequential = Sequential.sample(&whole, &mut score).unwrap();
    let fast = chords(&[0, 5, 10]).sample(&whole, &mut score).unwrap();
    let off = (&fast.samples - &sequential.samples).iter().fold(0.0f64, |m, e| m.max(e.abs()));
    assert!(off < 0.1 && off > 0.0, "{off}");
    let rest = whole.clone().init_at(8, sequential.path.at(8).unwrap().to_owned());
    let exact = chords(&[0, 3, 6]).output(1).sample(&rest, &mut score).unwrap();
    assert_eq!((exact.samples, exact.report.rounds), (sequential.samples.clone(), 12));
    let fast = chords(&[0, 3, 6]).sample(&rest, &mut score).unwrap();
    let off = (&fast.samples - &sequential.samples).iter().fold(0.0f64, |m, e| m.max(e.abs()));
    assert!(off < 0.1 && off > 0.0 && fast.report.rounds == 8, "{off} {}", fast.report);
}

#[test]
fn the_slowest_core_has_the_bits_of_sequential_sampling() {
    let grid = Grid::log_snr(50).between(6.0, 0.02);
    for scheme in [Scheme::ddim(), Scheme::EulerMaruyama { stochasticity: 0.0 }] {
        for kind in [Prediction::Score, Prediction::Velocity] {
            let problem =
                Problem::new(Ou, grid.clone(), scheme.clone()).samples(3).shape([200]).seed(5).save(Save::All);
            let sequential = Sequential.sample(&problem, &mut two_modes::<f32>(kind)).unwrap();
            for cores in [1, 4, 8] {
                let settings = Chords::default().cores(cores).output(1);
                let run = settings.sample(&problem, &mut two_modes::<f32>(kind)).unwrap();
                assert_eq!(bits(&run.samples), bits(&sequential.samples), "{scheme:?}");
                assert_eq!(run.path, sequential.path);
                let report = run.report;
                assert_eq!((report.rounds, report.score_rows, report.max_residual), (50, 150, 0.0));
                assert_eq!((report.stop, report.guarantee), (Stop::Converged, Guarantee::Bits));
            }
        }
    }
}

#[test]
fn rounds_and_rows_are_counted() {
    let grid = Grid::log_snr(50).between(6.0, 0.02);
    let problem = Problem::new(Ou, grid, Scheme::ddim()).samples(2).shape([5]).seed(3).save(Save::All);
    let sequential = Sequential.sample(&problem, &mut two_modes::<f32>(Prediction::Noise)).unwrap();
    let mut errors = Vec::new();
    for output in 1..=8 {
        let mut watched = Vec::new();
        let mut watch = on_round(|round: &Round<'_>| {
            watched.push((round.rows, round.finished.to_vec()));
            ControlFlow::Continue(())
        });
        let settings = Chords::default().output(output);
        let run = settings.run(&problem, &mut two_modes::<f32>(Prediction::Noise), &mut watch).unwrap();
        let rounds = output - 1 + 50 - EIGHT[output - 1];
        // core k is in its place after k rounds, and then takes one step in a round
        let of_core = |core: usize| (rounds - core).min(50 - EIGHT[core]);
        let rows = (0..output).map(of_core).sum::<usize>();
        let report = &run.report;
        assert_eq!((report.rounds, report.score_rows, report.score_calls), (rounds, 2 * rows, rounds));
        assert_eq!(run.report.sample_rounds, [rounds; 2]);
        assert_eq!(watched.iter().map(|(rows, _)| rows).sum::<usize>(), 2 * rows);
        let last = watched.pop().unwrap();
        assert_eq!(last.1, [50; 2]);
        assert!(watched.iter().zip(1..).all(|((_, finished), round)| *finished == [round; 2]));
        // the path is exact as far as the slowest core has come
        for step in 0..=rounds {
            assert_eq!(run.path.at(step), sequential.path.at(step), "output {output}, step {step}");
        }
        assert_eq!(run.path.at(50).unwrap(), run.samples);
        let error = |step: usize| {
            let off = &run.path.at(step).unwrap() - &sequential.path.at(step).unwrap();
            off.iter().fold(0.0, |m: f32, e| m.max(e.abs()))
        };
        assert!((0..=50).all(|step| error(step) < 0.2) && error(50) < 0.05);
        errors.push(error(50));
        if output > 1 {
            assert_eq!((run.report.stop, run.report.guarantee), (Stop::Depth, Guarantee::None));
            // the last rectification of a slow core may be less than a rounding
            assert!(run.report.residuals.iter().all(|r| *r > 0.0 || output < 5));
        }
    }
    // faster cores err more
    assert!(errors.is_sorted() && errors[0] == 0.0 && errors[7] > 1e-3, "{errors:?}");
}

/// Samples do not depend on their batch, on the size of a call, or on the room that other samples take.
#[test]
fn a_sample_does_not_depend_on_its_batch() {
    let grid = Grid::log_snr(50).between(6.0, 0.02);
    let problem = Problem::new(Ou, grid, Scheme::ddim()).samples(5).shape([130]).seed(3);
    let run = |problem: &Problem<Cpu<f32>>, score: &mut dyn ScoreFn<Cpu<f32>>| {
        Chords::default().sample(problem, score).unwrap()
    };
    let all = run(&problem, &mut two_modes::<f32>(Prediction::Noise));
    let mut chunked = piadm::score::Chunked::new(two_modes::<f32>(Prediction::Noise), 3).unwrap();
    assert_eq!(bits(&run(&problem, &mut chunked).samples), bits(&all.samples));
    for id in 0..5 {
        let alone = run(&problem.clone().samples(1).ids([id]), &mut two_modes::<f32>(Prediction::Noise));
        assert_eq!(alone.samples.row(0), all.samples.row(id as usize));
        assert_eq!(alone.report.residuals[0], all.report.residuals[id as usize]);
    }
}

#[derive(Default)]
struct Seen(Vec<(usize, u32)>);

impl Observer<Cpu<f32>> for Seen {
    fn on_sample(&mut self, slot: usize, id: u32, state: ndarray::ArrayView2<'_, f32>) {
        assert_eq!(state.dim(), (1, 4));
        self.0.push((slot, id));
    }
}

#[test]
fn a_cancelled_run_stands_at_an_exact_state() {
    let grid = Grid::log_snr(30).between(6.0, 0.02);
    let problem = Problem::new(Ou, grid, Scheme::ddim()).shape([4]).seed(3).ids([7, 2]).save(Save::All);
    let mut score = two_modes::<f32>(Prediction::Noise);
    let sequential = Sequential.sample(&problem, &mut score).unwrap();
    let settings = chords(&[0, 4, 9, 18]);
    for at in 1..15 {
        let mut watch = on_round(|round: &Round<'_>| match round.round == at {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        let run = settings.run(&problem, &mut score, &mut watch).unwrap();
        assert_eq!((run.report.stop, run.report.guarantee), (Stop::Cancelled, Guarantee::None));
        assert_eq!((run.report.rounds, &*run.report.sample_rounds), (at, &[at; 2][..]));
        assert_eq!(run.path.steps().last(), Some(&at));
        for step in 0..=at {
            assert_eq!(run.path.at(step), sequential.path.at(step), "at {at}, step {step}");
        }
        assert_eq!(run.samples, sequential.path.at(at).unwrap());
    }
    // a break in the last round comes too late
    let mut watch = on_round(|round: &Round<'_>| match round.round == 15 {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    });
    assert_eq!(settings.run(&problem, &mut score, &mut watch).unwrap().report.stop, Stop::Depth);
    let mut seen = Seen::default();
    settings.run(&problem, &mut score, &mut seen).unwrap();
    assert_eq!(seen.0, [(0, 7), (1, 2)]);
}

#[test]
fn default_starts_suit_grids_of_other_lengths() {
    for cores in 1..=9 {
        for steps in [40, 47, 50, 64, 100, 1000] {
            let grid = Grid::log_snr(steps).between(6.0, 0.02);
            let problem = Problem::on(Cpu::<f64>::new(), Ou, grid, Scheme::ddim()).shape([2]).seed(1);
            let run = Chords::default().cores(cores).sample(&problem, &mut two_modes::<f64>(Prediction::Data));
            assert!(run.unwrap().report.rounds <= steps, "{cores} cores, {steps} steps");
        }
    }
}

#[test]
fn what_cannot_be_done_is_told() {
    let grid = Grid::log_snr(20).between(6.0, 0.02);
    let problem = |scheme| Problem::on(Cpu::<f64>::new(), Ou, grid.clone(), scheme).shape([DIM]);
    let mut score = two_modes::<f64>(Prediction::Noise);
    let four = chords(&[0, 3, 6, 12]);
    for scheme in [
        Scheme::Heun {},
        Scheme::DpmSolverPp2M { lower_order_final: false },
        Scheme::Ddim { eta: 0.5 },
        Scheme::default(),
        Scheme::ddpm(),
    ] {
        let error = four.sample(&problem(scheme), &mut score).unwrap_err();
        assert!(matches!(error, Error::Unsupported { what: "Chords", .. }), "{error}");
    }
    let list = Problem::from_nodes(Cpu::<f64>::new(), lookback_three(20)).shape([DIM]);
    let error = four.sample(&list, &mut score).unwrap_err();
    assert!(matches!(error, Error::Unsupported { what: "Chords", .. }), "{error}");
    let euler = Nodes::new(&Ou, &grid, &Scheme::ddim(), Prediction::Noise).unwrap();
    let list = Problem::from_nodes(Cpu::<f64>::new(), euler).shape([DIM]);
    for output in [1, 4] {
        let error = four.clone().output(output).sample(&list, &mut score).unwrap_err();
        assert!(matches!(error, Error::Unsupported { what: "a coarse problem", .. }), "{error}");
    }
    // alpha is 0 in f64, so the first steps do not use the network
    let far = Problem::on(Cpu::<f64>::new(), Ou, Grid::uniform(20).between(3000.0, 0.1), Scheme::ddim()).shape([DIM]);
    assert!(Sequential.sample(&far, &mut two_modes::<f64>(Prediction::Data)).is_ok());
    let error = four.sample(&far, &mut two_modes::<f64>(Prediction::Data)).unwrap_err();
    assert!(matches!(error, Error::Unsupported { what: "Chords", .. }), "{error}");
    let two = Problem::join([problem(Scheme::ddim()), problem(Scheme::ddim()).seed(1)]).unwrap();
    let error = four.sample(&two, &mut score).unwrap_err();
    assert!(matches!(error, Error::Unsupported { what: "Chords", .. }), "{error}");

    let fine = problem(Scheme::ddim());
    let mut bad = |settings: Chords, expected: &str| {
        let error = settings.sample(&fine, &mut score).unwrap_err();
        assert!(matches!(error, Error::Setting { name, .. } if name == expected), "{error}");
    };
    for cores in [0, 10, usize::MAX] {
        bad(Chords::default().cores(cores), "cores");
    }
    bad(Chords::default().cores(8).starts(vec![0, 5]), "cores");
    bad(Chords::default().cores(0).starts(vec![]), "starts");
    // core 2 ends before core 1 reaches its start, core 3 before core 2 does
    for starts in [&[1, 5][..], &[0, 5, 5], &[0, 5, 3], &[0, 20], &[0, 5, usize::MAX], &[0, 11], &[0, 2, 13]] {
        bad(chords(starts), "starts");
    }
    for output in [0, 9, usize::MAX] {
        bad(Chords::default().output(output), "output");
    }
    // eight cores do not fit on so few steps
    let short = Problem::on(Cpu::<f64>::new(), Ou, Grid::log_snr(12).between(6.0, 0.02), Scheme::ddim()).shape([DIM]);
    let error = Chords::default().output(3).sample(&short, &mut score).unwrap_err();
    assert!(matches!(error, Error::Setting { name: "cores", .. }), "{error}");

    let mut nan = score_fn::<f64>(Prediction::Noise, |_, _, mut out| {
        out.fill(f64::NAN);
        Ok(())
    });
    let error = four.sample(&fine, &mut nan).unwrap_err();
    assert!(matches!(error, Error::ScoreNotFinite { round: 1, .. }), "{error}");
    // a jump overflows where no step does
    let mut huge = score_fn::<f32>(Prediction::Score, |_, _, mut out| {
        out.fill(1e38);
        Ok(())
    });
    let long = Grid::uniform(100).between(60.0, 1e-3);
    let steep = Scheme::Exponential { form: Form::Score, stochasticity: 0.0 };
    let steep = Problem::new(Ou, long, steep).shape([DIM]);
    let error = chords(&[0, 40]).sample(&steep, &mut huge).unwrap_err();
    assert!(matches!(error, Error::StateNotFinite { round: 1, node: 40, .. }), "{error}");
}
