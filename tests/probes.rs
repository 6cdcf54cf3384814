//! Probes: against a transcription, their rows, exact bits, what they refuse.

mod common;

use common::{bits, two_modes};
use ndarray::{Array1, Array2, Axis};
use piadm::{
    Acceptance, Automatic, Cpu, Error, Grid, NoiseSchedule, Ou, Picard, Prediction, Problem, Rows, Sampler, Save,
    Scheme, ScoreFn, Sequential, Window,
    noise::Address,
    sampler::{Entry, Linearisation, Policy, Probes, Round, on_round},
    score::Mixture,
    score_fn,
};

const DIM: usize = 5;
const SEED: u64 = 4;

type State = Array1<f64>;

fn normal(stream: u32, step: usize) -> State {
    common::normal(SEED, DIM, Address { stream, step: step as u32, sample: 0 })
}

/// Four modes that lie in a plane, so that two directions matter.
fn modes(kind: Prediction) -> Mixture {
    let means = ndarray::array![
        [1.0, 0.2, 0.0, -0.4, 0.5],
        [-0.8, 0.5, 0.3, 0.0, -0.2],
        [0.3, -1.0, 0.6, 0.4, 0.1],
        [0.0, 0.3, -0.9, 0.8, -0.6]
    ];
    Mixture::new([0.25, 0.2, 0.3, 0.25], means, [0.25, 0.3, 0.2, 0.25]).unwrap().predicting(kind)
}

fn data_at(x: &State, t: f64) -> State {
    let (x, mut out) = (x.clone().insert_axis(Axis(0)), Array2::zeros((1, DIM)));
    let (t, alpha, sigma) = ([t], [Ou.alpha(t)], [Ou.sigma(t)]);
    let rows = Rows::new(&t, &alpha, &sigma, &[0], &[0]).unwrap();
    modes(Prediction::Data).eval(x.view(), &rows, out.view_mut()).unwrap();
    out.row(0).to_owned()
}

/// c such that the sum of c_m v_m is the projection of z, by elimination.
fn projection(vectors: &[State], z: &State) -> Vec<f64> {
    let k = vectors.len();
    let mut rows: Vec<Vec<f64>> = (0..k)
        .map(|m| (0..k).map(|l| vectors[m].dot(&vectors[l])).chain(std::iter::once(vectors[m].dot(z))).collect())
        .collect();
    for m in 0..k {
        for l in (0..k).filter(|l| *l != m) {
            let factor = rows[l][m] / rows[m][m];
            (0..=k).for_each(|i| rows[l][i] -= factor * rows[m][i]);
        }
    }
    (0..k).map(|m| rows[m][k] / rows[m][m]).collect()
}

struct Site {
    node: usize,
    directions: Vec<State>,
    images: Vec<State>,
}

impl Site {
    fn new(node: usize, before: Option<&Site>, k: usize, (y, data, t): (&State, &State, f64)) -> Self {
        let mut directions: Vec<State> = Vec::new();
        for m in 0..k {
            let mut v = match before {
                Some(site) => site.images[m].clone(),
                None => normal(6, 8 * node + m) / (DIM as f64).sqrt(),
            };
            if before.is_some() {
                for u in &directions {
                    let along = u.dot(&v);
                    v = v - u * along;
                }
                v = &v / v.dot(&v).sqrt();
            }
            directions.push(v);
        }
        let eps = 0.3 * Ou.sigma(t);
        let images = directions.iter().map(|u| (data_at(&(y + u * eps), t) - data) / eps).collect();
        Site { node, directions, images }
    }
}

/// The reverse SDE by the exponential integrator in data form: secant, copied guesses, a bound on the change. States,
/// and the rows of every round.
fn by_hand(t: &[f64], window: usize, (k, every): (usize, usize), tolerance: f64) -> (Vec<State>, Vec<usize>) {
    let n = t.len() - 1;
    let step = |m: usize| {
        let (before, now) = (t[m - 1], t[m]);
        let (alpha, sigma) = (Ou.alpha(now), Ou.sigma(now));
        let decay = (Ou.alpha(before) / Ou.sigma(before) * sigma / alpha).powi(2);
        [sigma / Ou.sigma(before) * decay.sqrt(), alpha * (1.0 - decay), sigma * (1.0 - decay).sqrt()]
    };
    let noise: Vec<State> = (0..=n).map(|m| normal(1, m)).collect();
    let mut x = vec![normal(0, 0); n + 1];
    let mut points: Vec<Option<(State, State)>> = vec![None; n + 1];
    let (mut slopes, mut own, mut variance) = (vec![0.0; n + 1], vec![false; n + 1], 0.25);
    let (mut lo, mut hi, mut taken, mut site) = (0, 0, Vec::new(), None::<Site>);
    while lo < n {
        let end = n.min(lo + window);
        for m in hi + 1..=end {
            x[m] = x[hi].clone();
        }
        hi = end;
        let first = (lo..hi).find(|m| points[*m].is_none());
        let data: Vec<State> = (0..hi).map(|m| if m < lo { State::zeros(DIM) } else { data_at(&x[m], t[m]) }).collect();
        taken.push(hi - lo);
        if let Some(node) = first.filter(|node| site.as_ref().is_none_or(|site| *node >= site.node + every)) {
            site = Some(Site::new(node, site.as_ref(), k, (&x[node], &data[node], t[node])));
            *taken.last_mut().unwrap() += k;
        }
        for m in lo..hi {
            let (alpha, sigma) = (Ou.alpha(t[m]), Ou.sigma(t[m]));
            if let Some((y, f)) = &points[m] {
                let (dy, df) = (&x[m] - y, &data[m] - f);
                if dy.dot(&dy) > (8.0 * f64::EPSILON).powi(2) * x[m].dot(&x[m]) {
                    (slopes[m], own[m]) = ((df.dot(&dy) / dy.dot(&dy)).clamp(0.0, 2.0 / alpha), true);
                }
            }
            points[m] = Some((x[m].clone(), data[m].clone()));
            if own[m] {
                let signal = alpha * slopes[m];
                let v = if signal < 1.0 { signal * sigma * sigma / (alpha * alpha * (1.0 - signal)) } else { 100.0 };
                variance = v.clamp(0.0, 100.0);
            } else {
                slopes[m] = alpha * variance / (alpha * alpha * variance + sigma * sigma);
            }
        }
        let site = site.as_ref().unwrap();
        let old = x.clone();
        // what a sweep changes that passes it on with the slopes alone
        let mut alone = x.clone();
        for m in lo + 1..=hi {
            let [p, q, c] = step(m);
            let i = m - 1;
            let own = &old[i] * p + &data[i] * q + &noise[m] * c;
            alone[m] = &own + &((&alone[i] - &old[i]) * (p + q * slopes[i]));
            x[m] = own + (&x[i] - &old[i]) * (p + q * slopes[i]);
            if i > lo {
                let along = projection(&site.directions, &(&alone[i] - &old[i]));
                for ((c, u), image) in along.iter().zip(&site.directions).zip(&site.images) {
                    x[m] = &x[m] + &((image - &(u * slopes[i])) * (q * c));
                }
            }
        }
        let failed = |m: &usize| {
            let change = &x[*m] - &old[*m];
            (change.dot(&change) / DIM as f64).sqrt() > tolerance
        };
        lo = (lo + 1..hi).find(failed).unwrap_or(hi);
    }
    (x, taken)
}

fn probed(k: usize, every: usize) -> Picard {
    Picard::default().probes(Probes::default().directions(k).every(every))
}

#[test]
fn a_transcription() {
    let grid = Grid::log_snr(120).between(6.0, 0.02);
    let t = grid.times(&Ou).unwrap();
    let problem = Problem::on(Cpu::<f64>::new(), Ou, grid, Scheme::default()).shape([DIM]).seed(SEED).save(Save::All);
    for (window, k, every, tolerance) in [(16, 2, 8, 0.01), (8, 1, 5, 0.05), (24, 3, 1, 0.003), (40, 3, 16, 0.02)] {
        let (expected, rows_by_hand) = by_hand(&t, window, (k, every), tolerance);
        for kind in [Prediction::Data, Prediction::Noise, Prediction::Score, Prediction::Velocity, Prediction::Flow] {
            let sampler = probed(k, every).window(window).entry(Entry::Copy).acceptance(Acceptance::change(tolerance));
            let mut taken = Vec::new();
            let mut watch = on_round(|round: &Round<'_>| taken.push(round.rows));
            let run = sampler.run(&problem, &mut modes(kind), &mut watch).unwrap();
            assert_eq!(taken, rows_by_hand, "window {window}, {k} directions, {kind:?}");
            assert_eq!(run.report.score_rows, taken.iter().sum::<usize>());
            for (m, expected) in expected.iter().enumerate() {
                let state = run.path.states().index_axis(Axis(0), m).row(0).to_owned();
                let off = (&state - expected).iter().fold(0.0f64, |m, e| m.max(e.abs()));
                assert!(off < 1e-7, "window {window}, {k} directions, {kind:?}, step {m}: {off:e}");
            }
            let plain = sampler.probes(None).sample(&problem, &mut modes(kind)).unwrap();
            assert_ne!(bits(&plain.samples), bits(&run.samples));
        }
    }
}

/// Multistep and staged lists, either precision, budgets, more directions than elements: at tolerance 0 the bits of
/// sequential sampling.
#[test]
fn exact_bits() {
    for (k, every, window) in [(7, 1, 9), (2, 4, 16), (1, 32, 1), (4, 3, 5)] {
        for scheme in
            [Scheme::default(), Scheme::ddim(), Scheme::DpmSolverPp2M { lower_order_final: true }, Scheme::Heun {}]
        {
            let grid = Grid::log_snr(40).between(6.0, 0.02);
            let problem =
                Problem::on(Cpu::<f32>::new(), Ou, grid, scheme.clone()).samples(3).shape([5]).seed(2).save(Save::All);
            let whole = Sequential.sample(&problem, &mut two_modes::<f32>(Prediction::Noise)).unwrap();
            let exact = probed(k, every).window(window).acceptance(Acceptance::Exact);
            for budget in [None, Some(4 * (window + k) + 1)] {
                let sampler = exact.clone().row_budget(budget);
                let run = sampler.sample(&problem, &mut two_modes::<f32>(Prediction::Noise)).unwrap();
                assert_eq!(bits(&run.samples), bits(&whole.samples), "{sampler:?}, {scheme:?}");
                assert_eq!(run.path, whole.path);
            }
        }
    }
}

/// One step, one element, no samples, windows beyond the grid, many steps; a score that errs or answers NaN in the row
/// of a probe, which is the last of its round.
#[test]
fn odd_inputs() {
    let sampler = probed(3, 4).window(64);
    for (steps, dim) in [(1, 1), (2, 7), (10_000, 1)] {
        let grid = Grid::log_snr(steps).between(6.0, 0.02);
        let problem = Problem::on(Cpu::<f32>::new(), Ou, grid, Scheme::default()).samples(2).shape([dim]).seed(3);
        let mut score = two_modes::<f32>(Prediction::Data);
        let exact = sampler.clone().acceptance(Acceptance::Exact).sample(&problem, &mut score).unwrap();
        assert_eq!(bits(&exact.samples), bits(&Sequential.sample(&problem, &mut score).unwrap().samples));
        assert!(sampler.sample(&problem.clone().samples(0), &mut score).is_err());
        for bad in [1, 3] {
            let (mut calls, mut inner) = (0, two_modes::<f32>(Prediction::Data));
            let mut score = score_fn::<f32>(Prediction::Data, |x, rows, mut out| {
                calls += 1;
                inner.eval(x, rows, out.view_mut())?;
                if calls == bad {
                    out.row_mut(rows.len() - 1).fill(f32::NAN);
                }
                Ok(())
            });
            match sampler.sample(&problem, &mut score) {
                Err(Error::ScoreNotFinite { round, .. }) => assert_eq!(round, bad),
                // the run was over before
                other => assert!(other.is_ok() && steps < bad, "{other:?}"),
            }
        }
        let mut calls = 0;
        let mut errs = score_fn::<f32>(Prediction::Data, |_, _, mut out| {
            calls += 1;
            out.fill(calls as f32);
            if calls == 3 { Err("out of memory".into()) } else { Ok(()) }
        });
        assert!(matches!(sampler.sample(&problem, &mut errs), Ok(_) | Err(Error::Score { round: 3, .. })));
    }
}

#[test]
fn what_probes_refuse() {
    let problem = |nodes| Problem::from_nodes(Cpu::<f64>::new(), nodes).shape([2]);
    let grid = Grid::log_snr(20).between(6.0, 0.02);
    let simple = Problem::on(Cpu::<f64>::new(), Ou, grid, Scheme::ddim()).shape([2]);
    let with = probed(2, 8);
    for (sampler, expected) in [
        (probed(0, 8), "probes.directions = 0"),
        (probed(8, 8), "probes.directions = 8"),
        (probed(2, 0), "probes.every = 0"),
        (with.clone().linearisation(Linearisation::Identity), "take Linearisation::Secant"),
        (with.clone().policy(Policy::Blocks), "take Policy::Sliding"),
        (with.clone().acceptance(Acceptance::Law), "save no rounds"),
        (with.clone().anderson(2), "set anderson to 0"),
        (with.clone().far_stride(3), "far_stride"),
        (with.clone().window(Window::Grains { grains: 1 }), "window in steps"),
        (with.clone().window(8).row_budget(9), "row_budget = 9"),
    ] {
        let error = sampler.sample(&simple, &mut two_modes::<f64>(Prediction::Data)).unwrap_err();
        assert!(matches!(error, Error::Setting { .. } | Error::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
    let automatic = Automatic::default().base(with.clone());
    let error = automatic.sample(&simple, &mut two_modes::<f64>(Prediction::Data)).unwrap_err();
    assert!(error.to_string().contains("leave probes out"), "{error}");
    // a single site is no wrong setting
    assert!(probed(2, usize::MAX).sample(&simple, &mut two_modes::<f64>(Prediction::Data)).is_ok());
    let phase = common::lists::phase_space(10);
    let error = with.sample(&problem(phase), &mut common::lists::PhaseSpace).unwrap_err();
    assert!(error.to_string().contains("several components"), "{error}");
}
