//! What the other files share: data with a known oracle, schedules with grids, schemes, comparisons.

use ndarray::{Array2, Array3, ArrayView2, ArrayViewMut2};
use piadm::{
    Cpu, Discrete, Edm, Flow, Grid, Nodes, NoiseSchedule, Ou, Prediction, Problem, Rows, Sampler, Save, Scheme,
    ScoreFn, Sequential, Solution, Ve, VpCosine, VpLinear,
    grid::Spacing,
    nodes::{DdpmVariance, Form},
    score_fn,
};
use std::sync::Arc;

pub const KINDS: [Prediction; 5] =
    [Prediction::Score, Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow];

/// The kinds of output that are defined where alpha = 0.
pub const REGULAR: [Prediction; 3] = [Prediction::Data, Prediction::Velocity, Prediction::Flow];

/// The output of a network of this kind, by definition, from the state and the data prediction. Linear in both.
pub fn output(kind: Prediction, alpha: f64, sigma: f64, x: f64, d: f64) -> f64 {
    let eps = (x - alpha * d) / sigma;
    match kind {
        Prediction::Score => -eps / sigma,
        Prediction::Noise => eps,
        Prediction::Data => d,
        Prediction::Velocity => alpha * eps - sigma * d,
        Prediction::Flow => eps - d,
        other => panic!("{other:?} has no definition here"),
    }
}

/// Two normal modes of one variance; one Gaussian if the means agree.
#[derive(Clone, Copy, Debug)]
pub struct Modes {
    pub weight: f64,
    pub means: [f64; 2],
    pub variance: f64,
}

/// Unequal modes, so that no error cancels by symmetry.
pub const MODES: Modes = Modes { weight: 0.35, means: [-1.0, 1.4], variance: 0.09 };

pub fn gaussian(mean: f64, variance: f64) -> Modes {
    Modes { weight: 0.5, means: [mean, mean], variance }
}

impl Modes {
    /// E[x_0 | x] by Bayes' rule.
    pub fn denoise(&self, alpha: f64, sigma: f64, x: f64) -> f64 {
        let var = alpha * alpha * self.variance + sigma * sigma;
        let log = self.means.map(|m| -(x - alpha * m) * (x - alpha * m) / (2.0 * var));
        let second = 1.0 / (1.0 + self.weight / (1.0 - self.weight) * (log[0] - log[1]).exp());
        let mean = |m: f64| m + alpha * self.variance / var * (x - alpha * m);
        (1.0 - second) * mean(self.means[0]) + second * mean(self.means[1])
    }
}

/// The exact network of the given kind. It refuses to be asked where there is no noise.
pub fn oracle(kind: Prediction, data: Modes) -> impl ScoreFn<Cpu<f64>> {
    score_fn(kind, move |x: ArrayView2<'_, f64>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, f64>| {
        for (i, (x, mut out)) in x.outer_iter().zip(out.outer_iter_mut()).enumerate() {
            let (alpha, sigma) = (rows.alpha[i], rows.sigma[i]);
            if sigma == 0.0 {
                return Err("evaluated at sigma = 0".into());
            }
            out.zip_mut_with(&x, |out, &x| *out = output(kind, alpha, sigma, x, data.denoise(alpha, sigma, x)));
        }
        Ok(())
    })
}

/// Runs the sequential sampler from `x` (samples x dim) with the given normals and keeps every step.
pub fn run(
    schedule: &(impl NoiseSchedule + Clone + 'static),
    grid: &Grid,
    scheme: &Scheme,
    score: &mut dyn ScoreFn<Cpu<f64>>,
    x: &Array2<f64>,
    noise: &Array3<f64>,
) -> Solution<Cpu<f64>> {
    let problem = Problem::on(Cpu::new(), schedule.clone(), grid.clone(), scheme.clone())
        .samples(x.nrows())
        .shape([x.ncols()])
        .init(x.clone())
        .noise(noise.clone())
        .save(Save::All);
    Sequential.sample(&problem, score).unwrap()
}

/// Starts spread over [-2, 2] standard deviations `std`, one sample per row.
pub fn starts(samples: usize, std: f64) -> Array2<f64> {
    let place = |i: usize| (i as f64 + 0.3) / samples as f64;
    Array2::from_shape_fn((samples, 1), |(i, _)| std * (4.0 * place(i) - 2.0))
}

/// Numbers of the size of normals; nothing here needs them to be normal.
pub fn normals(steps: usize, samples: usize) -> Array3<f64> {
    Array3::from_shape_fn((steps, samples, 1), |(m, i, _)| 1.5 * (12.9898 * m as f64 + 78.233 * i as f64 + 0.7).sin())
}

/// Every schedule with an ordinary grid that stays off both ends.
pub fn schedules() -> Vec<(Arc<dyn NoiseSchedule>, Grid)> {
    let table = Discrete::linear(100, 1e-3, 0.2).unwrap();
    let on =
        |schedule: Arc<dyn NoiseSchedule>, t_max: f64, t_min: f64| (schedule, Grid::log_snr(12).between(t_max, t_min));
    vec![
        on(Arc::new(Ou), 5.0, 0.02),
        on(Arc::new(VpLinear::default()), 0.9, 0.01),
        on(Arc::new(VpCosine::default()), 0.95, 0.02),
        (Arc::new(table), Grid::table(12, Spacing::Linspace)),
        on(Arc::new(Ve), 100.0, 0.01),
        on(Arc::new(Edm), 10.0, 0.05),
        on(Arc::new(Flow), 0.97, 0.03),
    ]
}

pub const STOCHASTICITIES: [f64; 3] = [0.0, 0.6, 1.0];

/// Every scheme in data form; they end exactly at sigma = 0 and may start at alpha = 0.
pub fn data_form() -> Vec<Scheme> {
    let mut all = vec![
        Scheme::Ddpm { variance: DdpmVariance::Small },
        Scheme::Ddpm { variance: DdpmVariance::Large },
        two_m(false),
        sde_two_m(0.5, false),
        sde_two_m(1.0, false),
        sde_two_m(1.0, true),
        Scheme::Heun {},
    ];
    all.extend(STOCHASTICITIES.map(|ups| exponential(Form::Data, ups)));
    all.extend(STOCHASTICITIES.map(|eta| Scheme::Ddim { eta }));
    all.extend([0.0, 0.5, 2.5].map(|eta| Scheme::SdeDpmSolverPp1 { eta }));
    all
}

/// Every scheme that divides by alpha at the start of a step.
pub fn other_forms() -> Vec<Scheme> {
    let mut all = Vec::new();
    for stochasticity in STOCHASTICITIES {
        all.push(exponential(Form::Score, stochasticity));
        all.push(exponential(Form::Noise, stochasticity));
        all.push(Scheme::EulerMaruyama { stochasticity });
    }
    all
}

pub fn exponential(form: Form, stochasticity: f64) -> Scheme {
    Scheme::Exponential { form, stochasticity }
}

pub fn two_m(lower_order_final: bool) -> Scheme {
    Scheme::DpmSolverPp2M { lower_order_final }
}

pub fn sde_two_m(eta: f64, lower_order_final: bool) -> Scheme {
    Scheme::SdeDpmSolverPp2M { eta, lower_order_final }
}

/// The kind of output that a form freezes: the list then holds the scheme's own coefficients.
pub fn own_kind(form: Form) -> Prediction {
    match form {
        Form::Score => Prediction::Score,
        Form::Noise => Prediction::Noise,
        Form::Data => Prediction::Data,
    }
}

/// (a, b, c) of a node at the first lag.
pub fn row(list: &Nodes, node: usize) -> [f64; 3] {
    [list.a(node, 1, 0, 0), list.b(node, 1, 0, 0), list.c(node, 0, 0)]
}

/// (a, b, c) of one step from `t` to `u`.
pub fn step(schedule: &dyn NoiseSchedule, scheme: &Scheme, kind: Prediction, t: f64, u: f64) -> [f64; 3] {
    let grid = Grid::new([t, u]);
    row(&Nodes::new(schedule, &grid, scheme, kind).unwrap(), 1)
}

#[track_caller]
pub fn assert_close(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!(
        (found - expected).abs() <= tolerance,
        "{what}: {found:e} instead of {expected:e}, off by {:e} (allowed {tolerance:e})",
        (found - expected).abs()
    );
}

/// Each number to `relative` of the largest: some are sums that vanish.
#[track_caller]
pub fn assert_like(found: [f64; 3], expected: [f64; 3], relative: f64, what: &str) {
    let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (name, (found, expected)) in ["a", "b", "c"].iter().zip(found.iter().zip(expected)) {
        assert_close(*found, expected, relative * largest, &format!("{what}, {name}"));
    }
}

/// Each number to `relative` of itself.
#[track_caller]
pub fn assert_row(found: [f64; 3], expected: [f64; 3], relative: f64, what: &str) {
    for (name, (found, expected)) in ["a", "b", "c"].iter().zip(found.iter().zip(expected)) {
        let tolerance = relative * expected.abs();
        assert_close(*found, expected, tolerance, &format!("{what}, {name}"));
    }
}
