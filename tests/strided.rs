//! Windows that reach further than their rows: against a transcription, their rows, what they refuse.

mod common;

use common::{bits, lookback_three, two_modes};
use ndarray::{Array1, Array2, Axis};
use piadm::{
    Acceptance, Cpu, Error, Grid, NoiseSchedule, Ou, Picard, Prediction, Problem, Rows, Sampler, Save, Scheme, ScoreFn,
    Sequential, Sweeps, Window,
    noise::Address,
    sampler::{Entry, Linearisation, Policy, Round, on_round},
    score_fn,
};

const DIM: usize = 3;
const SEED: u64 = 4;

type State = Array1<f64>;

fn normal(stream: u32, step: usize) -> State {
    common::normal(SEED, DIM, Address { stream, step: step as u32, sample: 0 })
}

fn data_at(x: &State, t: f64) -> State {
    let (x, mut out) = (x.clone().insert_axis(Axis(0)), Array2::zeros((1, DIM)));
    let (t, alpha, sigma) = ([t], [Ou.alpha(t)], [Ou.sigma(t)]);
    let rows = Rows::new(&t, &alpha, &sigma, &[0], &[0]).unwrap();
    two_modes::<f64>(Prediction::Data).eval(x.view(), &rows, out.view_mut()).unwrap();
    out.row(0).to_owned()
}

/// The reverse SDE's steps x' = p x + q D + c xi of the exponential integrator in data form, and what is known of their
/// levels.
struct Chain {
    t: Vec<f64>,
    noise: Vec<State>,
}

impl Chain {
    fn step(&self, m: usize) -> [f64; 3] {
        let (before, now) = (self.t[m - 1], self.t[m]);
        let (alpha, sigma) = (Ou.alpha(now), Ou.sigma(now));
        let decay = (Ou.alpha(before) / Ou.sigma(before) * sigma / alpha).powi(2);
        [sigma / Ou.sigma(before) * decay.sqrt(), alpha * (1.0 - decay), sigma * (1.0 - decay).sqrt()]
    }

    /// The data prediction for Gaussian data of variance v with this centre.
    fn around(&self, x: &State, centre: &State, m: usize, v: f64) -> State {
        let (alpha, sigma2) = (Ou.alpha(self.t[m]), Ou.sigma(self.t[m]).powi(2));
        (x * (alpha * v) + centre * sigma2) / (alpha * alpha * v + sigma2)
    }

    /// The centre that gives this data prediction.
    fn centre(&self, x: &State, data: &State, m: usize, v: f64) -> State {
        let (alpha, sigma2) = (Ou.alpha(self.t[m]), Ou.sigma(self.t[m]).powi(2));
        (data * (alpha * alpha * v + sigma2) - x * (alpha * v)) / sigma2
    }

    fn log_snr(&self, m: usize) -> f64 {
        (Ou.alpha(self.t[m]) / Ou.sigma(self.t[m])).ln()
    }

    /// A straight line in log-SNR through the centres at two nodes.
    fn line(&self, (i, a): (usize, &State), (k, b): (usize, &State), m: usize) -> State {
        let along = (self.log_snr(m) - self.log_snr(i)) / (self.log_snr(k) - self.log_snr(i));
        a * (1.0 - along) + b * along
    }
}

/// A frozen score, a held entry, a bound on the change: states and rounds, and the rows of every round.
fn by_hand(grid: &Grid, rows: usize, stride: usize, tolerance: f64) -> (Vec<State>, Vec<usize>) {
    const V: f64 = 0.05;
    let t = grid.times(&Ou).unwrap();
    let n = t.len() - 1;
    let noise = (0..=n).map(|m| normal(1, m)).collect();
    let chain = Chain { t, noise };
    let mut x = vec![normal(0, 0); n + 1];
    let near = rows - rows / 4;
    let reach = near + rows / 4 * stride;
    let (mut lo, mut hi, mut limits, mut taken) = (0, 0, 3, Vec::new());
    let mut centres: Vec<(usize, State)> = Vec::new();
    while lo < n {
        // entries: the last centre is held; without one it is 0
        let held = centres.last().map_or(Array1::zeros(DIM), |(_, centre)| centre.clone());
        for m in hi + 1..=n.min(lo + reach) {
            let [p, q, c] = chain.step(m);
            x[m] = &x[m - 1] * p + chain.around(&x[m - 1], &held, m - 1, V) * q + &chain.noise[m] * c;
        }
        hi = n.min(lo + reach);
        let mut evaluated: Vec<usize> = Vec::new();
        for m in lo..hi {
            let all = limits == 3 || hi - lo <= rows;
            if evaluated.len() < rows && (m < lo + near || all || m % stride == 0) {
                evaluated.push(m);
            }
        }
        taken.push(evaluated.len());
        let data: Vec<State> = evaluated.iter().map(|m| data_at(&x[*m], chain.t[*m])).collect();
        centres = evaluated.iter().zip(&data).map(|(m, data)| (*m, chain.centre(&x[*m], data, *m, V))).collect();
        let old = x.clone();
        for m in lo + 1..=hi {
            let [p, q, c] = chain.step(m);
            let i = m - 1;
            x[m] = match evaluated.iter().position(|e| *e == i) {
                Some(e) => {
                    // the output is that of the old state; its score is frozen: D moves by x / alpha
                    let moved = &x[i] - &old[i];
                    &old[i] * p + &data[e] * q + &moved * (p + q / Ou.alpha(chain.t[i]))
                }
                None => {
                    let before = centres.iter().rposition(|(e, _)| *e < i).unwrap();
                    let centre = match centres.get(before + 1) {
                        Some((k, b)) => chain.line((centres[before].0, &centres[before].1), (*k, b), i),
                        None => centres[before].1.clone(),
                    };
                    &x[i] * p + chain.around(&x[i], &centre, i, V) * q
                }
            } + &chain.noise[m] * c;
        }
        let skipped = (lo..hi).find(|m| !evaluated.contains(m)).unwrap_or(hi);
        let failed = |m: &usize| {
            let change = &x[*m] - &old[*m];
            *m == skipped || (change.dot(&change) / DIM as f64).sqrt() > tolerance
        };
        let end = (lo + 1..hi).find(failed).unwrap_or(hi);
        limits = if end - lo < near.min(hi - lo) { 0 } else { 3.min(limits + 1) };
        lo = end;
    }
    (x, taken)
}

#[test]
fn the_interpolation_between_evaluated_nodes() {
    let grid = Grid::log_snr(150).between(6.0, 0.02);
    let problem = Problem::on(Cpu::<f64>::new(), Ou, grid.clone(), Scheme::default()).shape([DIM]).seed(SEED);
    let mut unlike = 0;
    for (rows, stride, tolerance) in [(16, 3, 0.02), (8, 4, 0.1), (24, 2, 0.005), (12, 3, 0.3)] {
        let (expected, rows_by_hand) = by_hand(&grid, rows, stride, tolerance);
        for kind in [Prediction::Data, Prediction::Noise] {
            let sampler = Picard::default()
                .window(rows)
                .far_stride(stride)
                .linearisation(Linearisation::FrozenScore)
                .entry(Entry::HeldData { variance: 0.05 })
                .acceptance(Acceptance::change(tolerance));
            let mut taken = Vec::new();
            let mut watch = on_round(|round: &Round<'_>| taken.push(round.rows));
            let problem = problem.clone().save(Save::All);
            let run = sampler.run(&problem, &mut two_modes::<f64>(kind), &mut watch).unwrap();
            assert_eq!(taken, rows_by_hand, "{rows} rows, stride {stride}");
            assert!(taken.iter().all(|taken| *taken <= rows));
            for (m, expected) in expected.iter().enumerate() {
                let state = run.path.states().index_axis(Axis(0), m).row(0).to_owned();
                let off = (&state - expected).iter().fold(0.0f64, |m, e| m.max(e.abs()));
                assert!(off < 1e-9, "{rows} rows, stride {stride}, {kind:?}, step {m}: {off:e}");
            }
            let plain = sampler.far_stride(None).sample(&problem, &mut two_modes::<f64>(kind)).unwrap();
            unlike += usize::from(bits(&plain.samples) != bits(&run.samples));
        }
    }
    assert!(unlike >= 4, "{unlike} of 8 runs differ from plain windows");
}

#[test]
fn settings_that_do_not_go_with_a_stride_are_refused() {
    let grid = Grid::log_snr(20).between(5.0, 0.05);
    let problem = Problem::new(Ou, grid, Scheme::default()).shape([2]).seed(SEED);
    let strided = Picard::default().window(8).far_stride(3);
    for (sampler, what) in [
        (strided.clone().far_stride(1), "far_stride = 1"),
        (strided.clone().policy(Policy::Blocks), "blocks"),
        (strided.clone().window(Window::OuTime { ou_time: 0.5 }), "times or marks"),
        (strided.clone().window(Window::Marked { marks: 1 }), "times or marks"),
        (strided.clone().acceptance(Acceptance::Law), "Law"),
        (strided.clone().anderson(2), "Anderson"),
        (strided.clone().far_stride(65), "far_stride = 65"),
        (strided.clone().sweeps(Sweeps::AtMost(3)), "a bound on sweeps"),
    ] {
        let error = sampler.sample(&problem, &mut two_modes::<f32>(Prediction::Data)).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. } | Error::Setting { .. }), "{error:?}");
        assert!(error.to_string().contains(what), "{error}");
    }
    let kernels = Problem::from_nodes(Cpu::<f32>::new(), lookback_three(5)).shape([2]).seed(SEED);
    let mut kernel = score_fn::<f32>(Prediction::Next, |x, _, mut out| {
        out.assign(&x);
        Ok(())
    });
    assert!(strided.sample(&kernels, &mut kernel).is_err());
    // without room for far rows it is the plain window
    let narrow = |stride: Option<usize>| {
        let sampler = Picard::default().window(3).far_stride(stride);
        bits(&sampler.sample(&problem, &mut two_modes::<f32>(Prediction::Data)).unwrap().samples)
    };
    assert_eq!(narrow(Some(3)), narrow(None));
    let exact =
        strided.acceptance(Acceptance::Exact).sample(&problem, &mut two_modes::<f32>(Prediction::Data)).unwrap();
    assert_eq!(exact.samples, Sequential.sample(&problem, &mut two_modes::<f32>(Prediction::Data)).unwrap().samples);
}
