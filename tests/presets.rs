//! Published samplers against short transcriptions of their papers, written with plain arrays and without the engine.

mod common;

use common::{bits, two_modes};
use ndarray::{Array1, Array2, Axis};
use piadm::{
    Acceptance, Cpu, Error, Grid, NoiseSchedule, Ou, Picard, Prediction, Problem, Rows, Sampler, Save, Scheme, ScoreFn,
    Sequential, Sweeps, Window,
    nodes::Form,
    noise::NoiseKey,
    sampler::{Entry, Policy, Round, on_round},
};

const DIM: usize = 3;
const SEED: u64 = 12;

fn problem(grid: &Grid, stochasticity: f64) -> Problem<Cpu<f64>> {
    let scheme = Scheme::Exponential { form: Form::Score, stochasticity };
    Problem::on(Cpu::new(), Ou, grid.clone(), scheme).shape([DIM]).seed(SEED).save(Save::All)
}

/// Start and normals of all steps, by their addresses.
fn noise(steps: usize) -> (Array1<f64>, Array2<f64>) {
    let row = |stream: u32, step: usize| {
        let mut out = vec![0.0; DIM];
        let address = piadm::noise::Address { stream, step: step as u32, sample: 0 };
        NoiseKey::new(SEED).fill_f64(address, 0, &mut out);
        Array1::from(out)
    };
    let mut xi = Array2::zeros((steps + 1, DIM));
    (1..=steps).for_each(|m| xi.row_mut(m).assign(&row(1, m)));
    (row(0, 0), xi)
}

fn score_at(x: &Array1<f64>, t: f64) -> Array1<f64> {
    let (alpha, sigma) = ((-t / 2.0).exp(), (-(-t).exp_m1()).sqrt());
    let (x, mut out) = (x.clone().insert_axis(Axis(0)), Array2::zeros((1, DIM)));
    let (t, alpha, sigma) = ([t], [alpha], [sigma]);
    let rows = Rows::new(&t, &alpha, &sigma, &[0], &[0]).unwrap();
    two_modes::<f64>(Prediction::Score).eval(x.view(), &rows, out.view_mut()).unwrap();
    out.row(0).to_owned()
}

/// One Picard sweep of a block, mathematics of arXiv 2405.15986: every node from the block's start and the scores of
/// the last sweep.
fn sweep(
    times: &[f64],
    start: &Array1<f64>,
    old: &[Array1<f64>],
    xi: &Array2<f64>,
    first: usize,
    ups: f64,
) -> Vec<Array1<f64>> {
    let scores: Vec<Array1<f64>> = old.iter().zip(times).map(|(y, t)| score_at(y, *t)).collect();
    (0..old.len())
        .map(|m| {
            let tau = |j: usize| times[0] - times[j];
            let mut y = start * (tau(m) / 2.0).exp();
            for j in 0..m {
                let e: f64 = times[j] - times[j + 1];
                let step = &scores[j] * ((1.0 + ups * ups) * (e / 2.0).exp_m1())
                    + &xi.row(first + j + 1) * (ups * e.exp_m1().sqrt());
                y += &(step * ((tau(m) - tau(j + 1)) / 2.0).exp());
            }
            y
        })
        .collect()
}

/// Zhou and Sugiyama: in round r block n makes its sweep r - n, from the end of block n - 1 after that one's sweep r -
/// n.
fn wavefront(grid: &Grid, per_block: usize, depth: usize, ups: f64) -> Vec<Array1<f64>> {
    let times = grid.times(&Ou).unwrap();
    let steps = times.len() - 1;
    let (x0, xi) = noise(steps);
    let blocks = steps / per_block;
    // ends[n][j]: end of block n after sweep j
    let mut ends: Vec<Vec<Array1<f64>>> = Vec::new();
    let mut path = vec![x0.clone()];
    for n in 0..blocks {
        let of_block = &times[n * per_block..=(n + 1) * per_block];
        let start = |j: usize| if n == 0 { x0.clone() } else { ends[n - 1][j].clone() };
        let mut nodes = vec![start(0); per_block + 1];
        let mut own = Vec::new();
        for j in 0..depth {
            nodes[0] = start(j);
            nodes = sweep(of_block, &start(j), &nodes, &xi, n * per_block, ups);
            own.push(nodes[per_block].clone());
        }
        path.extend(nodes.into_iter().skip(1));
        ends.push(own);
    }
    path
}

#[test]
fn zhou_and_sugiyama() {
    let grid = Grid::uniform(20).between(4.1, 0.1);
    for (ups, depth) in [(1.0, 3), (0.0, 2), (1.0, 5), (0.5, 1)] {
        let preset = Picard::zhou_sugiyama(1.0, depth).window(Window::Steps(5));
        assert_eq!(preset.policy, Policy::Wavefront { blocks: depth });
        let run = preset.sample(&problem(&grid, ups), &mut two_modes::<f64>(Prediction::Score)).unwrap();
        assert_eq!(run.report.rounds, 4 + depth - 1, "depth {depth}");
        assert_eq!(run.report.sweeps, [depth; 4]);
        for (m, expected) in wavefront(&grid, 5, depth, ups).iter().enumerate() {
            let state = run.path.states().index_axis(Axis(0), m).row(0).to_owned();
            let off = (&state - expected).iter().fold(0.0f64, |m, e| m.max(e.abs()));
            assert!(off < 1e-12, "depth {depth}, step {m}: {off:e}");
        }
    }
}

#[test]
fn a_wavefront_of_one_block_has_a_barrier() {
    let grid = Grid::uniform(20).between(4.1, 0.1);
    for depth in [None, Some(3)] {
        let barrier = Picard::piadm(1.0, depth).window(Window::Steps(7));
        let open = barrier.clone().policy(Policy::Wavefront { blocks: 1 });
        let run = |s: &Picard| s.sample(&problem(&grid, 1.0), &mut two_modes::<f64>(Prediction::Score)).unwrap();
        let (a, b) = (run(&barrier), run(&open));
        assert_eq!(bits(&a.samples), bits(&b.samples));
        assert_eq!(
            (a.report.rounds, a.report.sweeps, a.report.residuals),
            (b.report.rounds, b.report.sweeps, b.report.residuals)
        );
    }
}

/// The same for schemes that look back, where changes of nodes before the block matter to it.
#[test]
fn of_two_lags_too() {
    let grid = Grid::log_snr(20).between(6.0, 0.05);
    for scheme in [Scheme::DpmSolverPp2M { lower_order_final: false }, Scheme::Heun {}] {
        let problem = Problem::on(Cpu::<f64>::new(), Ou, grid.clone(), scheme).samples(2).shape([DIM]).seed(SEED);
        let [blocks, wavefront] = [Policy::Blocks, Policy::Wavefront { blocks: 1 }].map(|policy| {
            let acceptance = Acceptance::change(0.1);
            let sampler = Picard::default().policy(policy).window(Window::Steps(3)).acceptance(acceptance);
            sampler.sample(&problem, &mut two_modes::<f64>(Prediction::Score)).unwrap()
        });
        assert_eq!(bits(&wavefront.samples), bits(&blocks.samples));
        assert_eq!(wavefront.report.rounds, blocks.report.rounds);
    }
}

/// States or residuals of all nodes.
type Sweep = Vec<Array1<f64>>;

/// Gaussian elimination with pivots.
fn solve(mut a: Vec<Vec<f64>>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for k in 0..n {
        let pivot = (k..n).max_by(|i, j| a[*i][k].abs().total_cmp(&a[*j][k].abs())).unwrap();
        a.swap(k, pivot);
        b.swap(k, pivot);
        for i in (0..n).filter(|i| *i != k) {
            let factor = a[i][k] / a[k][k];
            let pivot = a[k].clone();
            a[i].iter_mut().zip(pivot).for_each(|(x, p)| *x -= factor * p);
            b[i] -= factor * b[k];
        }
    }
    (0..n).map(|k| b[k] / a[k][k]).collect()
}

/// Tang et al.: after sweep k node k is final; node j behind it goes on by the differences of the last m + 1 sweeps,
/// combined so that the residuals of nodes k + 1 ..= j would be least.
fn parataa(grid: &Grid, memory: usize, sweeps: usize, ups: f64) -> (Vec<Array1<f64>>, usize) {
    let times = grid.times(&Ou).unwrap();
    let n = times.len() - 1;
    let (x0, xi) = noise(n);
    let mut y = vec![x0.clone(); n + 1];
    let (mut g, mut r) = (Vec::<Sweep>::new(), Vec::<Sweep>::new());
    let mut moved = 0;
    for k in 1..=sweeps {
        let swept = sweep(&times, &x0, &y, &xi, 0, ups);
        r.push(swept.iter().zip(&y).map(|(g, y)| g - y).collect());
        y = swept.clone();
        g.push(swept);
        let columns = memory.min(k - 1);
        if k == sweeps || columns == 0 {
            continue;
        }
        let last = g.len() - 1;
        let d = |of: &[Sweep], a: usize, j: usize| &of[last - a][j] - &of[last - a - 1][j];
        for (j, y) in y.iter_mut().enumerate().skip(k + 1) {
            let sum = |f: &dyn Fn(usize) -> f64| (k + 1..=j).map(f).sum::<f64>();
            let mut m: Vec<Vec<f64>> =
                (0..columns).map(|a| (0..columns).map(|b| sum(&|i| d(&r, a, i).dot(&d(&r, b, i)))).collect()).collect();
            let trace: f64 = (0..columns).map(|a| m[a][a]).sum();
            (0..columns).for_each(|a| m[a][a] += 1e-8 * trace);
            let rhs = (0..columns).map(|a| sum(&|i| d(&r, a, i).dot(&r[last][i]))).collect();
            // safeguard: not where the residual has risen
            let size = |of: &[Array1<f64>]| (k + 1..=j).map(|i| of[i].dot(&of[i])).sum::<f64>();
            if size(&r[last]) > size(&r[last - 1]) {
                continue;
            }
            moved += 1;
            for (a, theta) in solve(m, rhs).into_iter().enumerate() {
                *y = &*y - &(d(&g, a, j) * theta);
            }
        }
    }
    (y, moved)
}

#[test]
fn tang_and_others() {
    let grid = Grid::uniform(12).between(3.1, 0.1);
    for (ups, memory, sweeps) in [(1.0, 1, 4), (0.0, 2, 5), (1.0, 3, 7), (0.5, 2, 3)] {
        let preset = Picard::parataa(12, memory, 1e-3)
            .policy(Policy::Blocks)
            .window(Window::Steps(12))
            .acceptance(Acceptance::Exact)
            .sweeps(Sweeps::AtMost(sweeps));
        let run = preset.sample(&problem(&grid, ups), &mut two_modes::<f64>(Prediction::Score)).unwrap();
        assert_eq!(run.report.rounds, sweeps);
        let (expected, moved) = parataa(&grid, memory, sweeps, ups);
        assert!(moved > 5, "{moved} nodes accelerated");
        let plain = preset.anderson(0).sample(&problem(&grid, ups), &mut two_modes::<f64>(Prediction::Score));
        assert_ne!(bits(&plain.unwrap().samples), bits(&run.samples));
        for (m, expected) in expected.iter().enumerate() {
            let state = run.path.states().index_axis(Axis(0), m).row(0).to_owned();
            let off = (&state - expected).iter().fold(0.0f64, |m, e| m.max(e.abs()));
            assert!(off < 1e-7, "memory {memory}, step {m}: {off:e}");
        }
    }
}

#[test]
fn acceleration_helps_the_frozen_score() {
    let grid = Grid::log_snr(200).between(8.0, 0.01);
    let problem =
        Problem::on(Cpu::<f64>::new(), Ou, grid, Scheme::Exponential { form: Form::Data, stochasticity: 0.0 })
            .samples(4)
            .shape([16])
            .seed(5);
    let mut score = common::mixture(8, 16, 0.3, 0.91, 2);
    let with = Picard::parataa(200, 3, 1e-3);
    let rounds = |s: &Picard, score: &mut dyn ScoreFn<Cpu<f64>>| s.sample(&problem, score).unwrap().report.rounds;
    let (with, without) = (rounds(&with, &mut score), rounds(&with.clone().anderson(0), &mut score));
    println!("{with} rounds with, {without} without");
    assert!(with < without);
}

/// ParaSolver, with one step per subinterval: `first` sequential steps, then windows of `window` nodes whose new nodes
/// are made by the scheme's own steps from the last data prediction, swept by the sum of all steps from the start of
/// the window; it moves to the first node that changed by more than `tolerance` standard deviations of the posterior.
/// Returns the states and the number of rounds.
fn parasolver(grid: &Grid, eta: f64, (window, first): (usize, usize), tolerance: f64) -> (Sweep, usize) {
    let times = grid.times(&Ou).unwrap();
    let n = times.len() - 1;
    let (x0, xi) = noise(n);
    let level = |m: usize| (Ou.alpha(times[m]), Ou.sigma(times[m]));
    let posterior = |m: usize| {
        let ((a, s), (before_a, before_s)) = (level(m), level(m - 1));
        s * (1.0 - (before_a * s / (a * before_s)).powi(2)).sqrt()
    };
    let data = |x: &Array1<f64>, m: usize| {
        let (alpha, sigma) = level(m);
        (x + score_at(x, times[m]) * sigma * sigma) / alpha
    };
    // arXiv 2010.02502, equation 12
    let step = |x: &Array1<f64>, data: &Array1<f64>, m: usize| {
        let ((alpha, sigma), (before_alpha, before_sigma)) = (level(m), level(m - 1));
        let predicted = (x - data * before_alpha) / before_sigma;
        let c = eta * posterior(m);
        data * alpha + predicted * (sigma * sigma - c * c).sqrt() + &xi.row(m) * c
    };
    let mut x = vec![x0; n + 1];
    let mut held = data(&x[0], 0);
    for m in 1..=first {
        held = data(&x[m - 1], m - 1);
        x[m] = step(&x[m - 1], &held, m);
    }
    let (mut lo, mut hi, mut rounds) = (first, first, first);
    while lo < n {
        let end = n.min(lo + window);
        for m in hi + 1..=end {
            x[m] = step(&x[m - 1], &held, m);
        }
        hi = end;
        let all: Sweep = (lo..hi).map(|m| data(&x[m], m)).collect();
        let old = x.clone();
        let mut failed = None;
        for m in lo + 1..=hi {
            x[m] = &x[m - 1] + &(step(&old[m - 1], &all[m - 1 - lo], m) - &old[m - 1]);
            let change = &x[m] - &old[m];
            if failed.is_none() && (change.dot(&change) / DIM as f64).sqrt() > tolerance * posterior(m) {
                failed = Some(m);
            }
        }
        held = all[all.len() - 1].clone();
        lo = failed.unwrap_or(hi);
        rounds += 1;
    }
    (x, rounds)
}

#[test]
fn lu_and_others() {
    let grid = Grid::log_snr(40).between(6.0, 0.02);
    for (eta, window, first, tolerance) in
        [(1.0, 8, 5, 0.55), (1.0, 30, 2, 0.1), (1.0, 5, 1, 0.3), (0.0, 16, 1, 0.05), (0.0, 100, 3, 0.01)]
    {
        let scheme = Scheme::Ddim { eta };
        let problem = Problem::on(Cpu::<f64>::new(), Ou, grid.clone(), scheme).shape([DIM]).seed(SEED).save(Save::All);
        let (expected, rounds) = parasolver(&grid, eta, (window, first), tolerance);
        for kind in [Prediction::Score, Prediction::Data, Prediction::Noise] {
            let preset = Picard::parasolver(window, first, tolerance);
            let run = preset.sample(&problem, &mut two_modes::<f64>(kind)).unwrap();
            assert_eq!(run.report.rounds, rounds, "eta {eta}, window {window}");
            for (m, expected) in expected.iter().enumerate() {
                let state = run.path.states().index_axis(Axis(0), m).row(0).to_owned();
                let off = (&state - expected).iter().fold(0.0f64, |m, e| m.max(e.abs()));
                assert!(off < 1e-11, "eta {eta}, window {window}, {kind:?}, step {m}: {off:e}");
            }
            // what tells it from ParaDiGMS
            for other in [preset.clone().warm_up(0), preset.entry(Entry::Copy)] {
                let other = other.sample(&problem, &mut two_modes::<f64>(kind)).unwrap();
                assert_ne!(bits(&other.samples), bits(&run.samples));
            }
        }
    }
}

/// Steps of the warm-up are sequential ones, whatever the scheme, and do not change what a run converges to.
#[test]
fn a_warm_up_takes_single_steps() {
    let grid = Grid::log_snr(30).between(6.0, 0.05);
    for (scheme, stages) in
        [(Scheme::default(), 1), (Scheme::DpmSolverPp2M { lower_order_final: false }, 1), (Scheme::Heun {}, 2)]
    {
        let problem = Problem::new(Ou, grid.clone(), scheme).samples(3).shape([DIM]).seed(SEED).save(Save::All);
        let run = |sampler: &dyn Sampler<Cpu<f32>>, rows: &mut Vec<usize>| {
            let mut watch = on_round(|round: &Round<'_>| rows.push(round.rows));
            sampler.run(&problem, &mut two_modes::<f32>(Prediction::Noise), &mut watch).unwrap()
        };
        let sequential = run(&Sequential, &mut Vec::new());
        let exact = Picard::default().window(10).acceptance(Acceptance::Exact);
        for warm_up in [0, 1, 4, 29, 30, usize::MAX] {
            let mut rows = Vec::new();
            let warm = run(&exact.clone().warm_up(warm_up), &mut rows);
            assert_eq!(warm.path, sequential.path, "warm-up {warm_up}");
            // a step of two stages takes a round or two, and evaluates its guess of the inner one
            let single = warm_up.min(30);
            assert!(rows.iter().take(single).all(|rows| *rows <= 3 * stages), "{rows:?}");
            assert!(stages == 2 || single >= 20 || rows[single] == 30, "{rows:?}");
            // the queue reserves the rows of the window, and no sample changes another
            let mut rows = Vec::new();
            let queued = run(&exact.clone().warm_up(warm_up).row_budget(20 * stages), &mut rows);
            assert_eq!(queued.path, sequential.path);
            assert!(rows.iter().all(|rows| *rows <= 20 * stages), "{rows:?}");
        }
        let narrow = exact.clone().window(Window::Nodes { nodes: 1 }).warm_up(3);
        assert_eq!(run(&narrow, &mut Vec::new()).path, sequential.path);
    }
    for policy in [Policy::Blocks, Policy::Wavefront { blocks: 2 }] {
        let sampler = Picard::default().policy(policy).warm_up(1);
        let error = sampler.sample(&problem(&grid, 1.0), &mut two_modes::<f64>(Prediction::Score)).unwrap_err();
        assert!(matches!(error, Error::Unsupported { what: "a warm-up", .. }), "{error}");
    }
}
