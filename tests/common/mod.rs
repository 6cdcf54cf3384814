//! What several test files share.
#![allow(dead_code)] // every test file uses a part

pub mod lists;

use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2};
use piadm::backend::Planes;
use piadm::nodes::Normal;
use piadm::noise::{Address, NoiseKey, stream};
use piadm::{
    Acceptance, Backend, BoxError, Cpu, Nodes, Ou, Picard, Prediction, Rows, Scheme, ScoreFn, Window,
    backend::Real,
    nodes::{BhVariant, Clock, DdpmVariance, Form, Method, NodeTerms, SolverType},
    sampler::{Entry, Linearisation, Policy},
    schedule::Level,
    score::Mixture,
    score_fn,
};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// The normals of an address.
pub fn normal(seed: u64, dim: usize, address: Address) -> Array1<f64> {
    let mut out = Array1::zeros(dim);
    NoiseKey::new(seed).fill_f64(address, 0, out.as_slice_mut().unwrap());
    out
}

/// Every scheme of the crate.
pub fn schemes() -> Vec<Scheme> {
    let mut all = vec![
        Scheme::EulerMaruyama { stochasticity: 1.0 },
        Scheme::Ddpm { variance: DdpmVariance::Small },
        Scheme::Ddpm { variance: DdpmVariance::Large },
        Scheme::Ddim { eta: 0.0 },
        Scheme::Ddim { eta: 0.7 },
        Scheme::SdeDpmSolverPp1 { eta: 1.3 },
        Scheme::DpmSolverPp2M { lower_order_final: false },
        Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: true },
        Scheme::Heun {},
    ];
    for form in [Form::Score, Form::Noise, Form::Data] {
        for stochasticity in [0.0, 0.5, 1.0] {
            all.push(Scheme::Exponential { form, stochasticity });
        }
    }
    all.extend(named());
    all
}

/// Schemes of other libraries, with several evaluations or a long memory.
pub fn named() -> Vec<Scheme> {
    let uni_pc = |order, corrector, variant| Scheme::UniPc { order, corrector, variant, lower_order_final: true };
    let dpm = |order, eta, solver| Scheme::DpmSolverPp { order, eta, solver, lower_order_final: true };
    let edm = |heun, s_noise| Scheme::EdmStochastic { heun, s_churn: 6.0, s_tmin: 0.05, s_tmax: 5.0, s_noise };
    let mut all = vec![
        uni_pc(1, true, BhVariant::Bh1),
        uni_pc(2, true, BhVariant::Bh2),
        uni_pc(2, false, BhVariant::Bh1),
        uni_pc(3, true, BhVariant::Bh2),
        Scheme::Deis { order: 3, lower_order_final: false },
        Scheme::Lms { order: 4, lower_order_final: true },
        Scheme::Ipndm { order: 4, lower_order_final: true },
        dpm(2, 0.0, SolverType::Heun),
        dpm(3, 0.0, SolverType::Midpoint),
        dpm(3, 1.0, SolverType::Heun),
        Scheme::DpmSolverPp2S { eta: 0.0 },
        Scheme::DpmSolverPp2S { eta: 1.0 },
        Scheme::Dpm2 { eta: 0.6 },
        Scheme::Lcm {},
        edm(false, 1.0),
        edm(true, 1.0),
    ];
    for method in [Method::Midpoint, Method::Heun, Method::Rk4] {
        all.extend([Clock::Flow, Clock::Sigma, Clock::LogSnr].map(|clock| Scheme::RungeKutta { method, clock }));
    }
    all
}

/// Every linearisation with every entry.
pub fn iterations() -> Vec<(Linearisation, Entry)> {
    let gaussian = Linearisation::Gaussian { variance: 0.25 };
    let held = Entry::HeldData { variance: 0.25 };
    vec![
        (Linearisation::FrozenScore, Entry::Copy),
        (Linearisation::FrozenScore, Entry::HeldData { variance: 0.0 }),
        (Linearisation::Identity, Entry::Copy),
        (Linearisation::Identity, held),
        (gaussian, Entry::Copy),
        (gaussian, held),
        (Linearisation::Secant, Entry::Copy),
        (Linearisation::Secant, Entry::Auto),
        (Linearisation::Secant, Entry::LinearData { variance: 0.1 }),
    ]
}

/// A parallel sampler that must reproduce the sequential bits.
pub fn exact(policy: Policy, window: usize, (linearisation, entry): (Linearisation, Entry)) -> Picard {
    let window = Window::Steps(window);
    Picard::default()
        .policy(policy)
        .window(window)
        .linearisation(linearisation)
        .entry(entry)
        .acceptance(Acceptance::Exact)
}

/// The bits of all elements.
pub fn bits<T: Real>(x: &Array2<T>) -> Vec<u64> {
    x.iter().map(|v| v.wide().to_bits()).collect()
}

/// The score of two equal modes at +-1 of variance 0.09 in every coordinate: cheap, elementwise, not affine.
pub fn two_modes<T: Real>(prediction: Prediction) -> impl ScoreFn<Cpu<T>> {
    score_fn(prediction, move |x: ArrayView2<'_, T>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, T>| {
        for (i, (x, mut out)) in x.rows().into_iter().zip(out.rows_mut()).enumerate() {
            let (alpha, sigma) = (rows.alpha[i], rows.sigma[i]);
            let v = alpha * alpha * 0.09 + sigma * sigma;
            for (x, out) in x.iter().zip(out.iter_mut()) {
                let x = x.wide();
                let w = (alpha * x / v).tanh();
                let data = w + alpha * 0.09 / v * (x - alpha * w);
                let noise = (x - alpha * data) / sigma;
                *out = T::of(match prediction {
                    Prediction::Score => (alpha * w - x) / v,
                    Prediction::Noise => noise,
                    Prediction::Data => data,
                    Prediction::Velocity => alpha * noise - sigma * data,
                    Prediction::Flow => noise - data,
                    _ => f64::NAN,
                });
            }
        }
        Ok(())
    })
}

/// Equal modes of standard deviation `std` whose means are normal with variance `spread` a coordinate.
pub fn mixture(modes: usize, dim: usize, std: f64, spread: f64, seed: u64) -> Mixture {
    use ndarray_rand::RandomExt;
    use ndarray_rand::rand::SeedableRng;
    let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
    let normal = rand_distr::Normal::new(0.0, spread.sqrt()).unwrap();
    let means = Array2::random_using((modes, dim), normal, &mut rng);
    Mixture::new(vec![1.0; modes], means, vec![std; modes]).unwrap()
}

/// Terms from dense tables, as papers print them: `a` by lag, component out and component in, `b` by lag and component,
/// `c` by component and normal. With one component the normals have the streams that recorded runs had, with two they
/// are the corrector's.
pub fn dense(components: usize, step: usize, a: &[f64], b: &[f64], c: &[f64]) -> NodeTerms {
    let n = components;
    let streams =
        if n == 1 { [stream::DYNAMICS, stream::CORRECTOR_START] } else { [stream::CORRECTOR_1, stream::CORRECTOR_2] };
    let mut terms = NodeTerms::wide(n);
    for (i, a) in a.iter().enumerate() {
        terms = terms.a(1 + i / (n * n), [i / n % n, i % n], *a);
    }
    for (i, b) in b.iter().enumerate() {
        terms = terms.b(1 + i / n, [i % n, 0], *b);
    }
    let normals = c.len() / n;
    for (i, c) in c.iter().enumerate() {
        terms = terms.c(i / normals, Normal::new(streams[i % normals], step), *c);
    }
    terms
}

/// A list with so many components, whose second one starts from N(0, I).
pub fn start(level: Level, components: usize, step: usize) -> Nodes {
    let list = Nodes::empty(level).numbered_from(step).unwrap();
    if components == 1 {
        return list;
    }
    list.with_start(&NodeTerms::wide(2).c(1, Normal::new(stream::CORRECTOR_START, step), 1.0)).unwrap()
}

/// Adds a node by [`dense`] terms.
pub fn push(list: &mut Nodes, level: Level, solution: bool, (a, b, c): (&[f64], &[f64], &[f64])) -> piadm::Result<()> {
    let components = list.nodes()[0].width;
    list.push(level, solution, &dense(components, list.next_step(), a, b, c))
}

/// The arrays of a backend's programs, in the order of their numbers.
pub fn planes<B: Backend>(arrays: Vec<B::Array>, state_rows: usize, memory_rows: usize) -> Planes<B> {
    Planes::new(arrays.try_into().unwrap(), state_rows, memory_rows)
}

/// A list that no scheme makes: three lags, a stage every other step, a node that is not evaluated.
pub fn lookback_three(steps: usize) -> Nodes {
    let level = |m: usize| Level::at(&Ou, 3.0 * (1.0 - m as f64 / (steps as f64 + 0.5)));
    let mut list = Nodes::empty(level(0));
    for m in 1..=steps {
        let j = list.nodes().len();
        let lag = |l: usize, value: f64| if j >= l { value } else { 0.0 };
        if m % 2 == 0 {
            let (a, b) = ([0.9, 0.0, lag(3, 0.05)], [0.03, 0.0, lag(3, 0.01)]);
            push(&mut list, level(m), false, (&a, &b, &[0.0])).unwrap();
        }
        let j = list.nodes().len();
        let lag = |l: usize, value: f64| if j >= l { value } else { 0.0 };
        // after every fifth step the network is not asked: the next node only copies
        let last = if m % 5 == 1 { 0.0 } else { 0.05 };
        let (a, b) = ([0.8, lag(2, 0.1), lag(3, -0.05)], [last, lag(2, 0.02), lag(3, -0.01)]);
        push(&mut list, level(m), true, (&a, &b, &[0.2])).unwrap();
    }
    list
}

/// Underdamped Langevin steps of length 0.2 and friction 2 (Euler): position and velocity, two normals.
pub fn two_components(steps: usize) -> Nodes {
    let level = Level::at(&Ou, 1.0);
    let mut list = start(level, 2, 0);
    let k = 0.2;
    for _ in 0..steps {
        let (a, b) = ([1.0, k, 0.0, 1.0 - 2.0 * k], [0.5 * k * k, k]);
        push(&mut list, level, true, (&a, &b, &[0.05, 0.02, 0.0, (4.0f64 * k).sqrt()])).unwrap();
    }
    list
}

/// Level m of n, evenly from t = 3 on.
pub fn lv(m: usize, n: usize) -> Level {
    Level::at(&Ou, 3.0 * (1.0 - m as f64 / (n as f64 + 0.5)))
}

/// x_m = x_{m-1} + f/4 with f = 1: copied guesses of a window of four change by 1/4, 1/2, 3/4, 1 in the first sweep.
pub fn staircase() -> Nodes {
    let mut list = Nodes::empty(lv(0, 4));
    for m in 1..=4 {
        push(&mut list, lv(m, 4), true, (&[1.0], &[0.25], &[])).unwrap();
    }
    list
}

/// Frozen score and copied guesses.
pub fn stairs(policy: Policy, acceptance: Acceptance) -> Picard {
    Picard::default().policy(policy).entry(Entry::Copy).linearisation(Linearisation::FrozenScore).acceptance(acceptance)
}

/// Where threads meet that can only go on together.
#[derive(Default)]
pub struct Gathering {
    here: Mutex<usize>,
    changed: Condvar,
}

impl Gathering {
    /// Waits until `all` have come; after two minutes an error.
    pub fn meet(&self, all: usize) -> Result<(), BoxError> {
        let mut here = self.here.lock().unwrap();
        *here += 1;
        self.changed.notify_all();
        let waited = self.changed.wait_timeout_while(here, Duration::from_secs(120), |n| *n % all != 0).unwrap();
        if waited.1.timed_out() { Err("the others did not come".into()) } else { Ok(()) }
    }
}
