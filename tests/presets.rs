//! Published samplers against short transcriptions of their papers, written with plain arrays and without the engine.

mod common;

use common::{bits, two_modes};
use ndarray::{Array1, Array2, Axis};
use piadm::{
    Cpu, Form, NoiseKey, Ou, Picard, Policy, Prediction, Problem, Rows, Sampler, Save, Scheme, ScoreFn, TimeGrid,
    Window,
};

const DIM: usize = 3;
const SEED: u64 = 12;

fn problem(grid: &TimeGrid, stochasticity: f64) -> Problem<'static, Cpu<f64>> {
    let scheme = Scheme::Exponential { form: Form::Score, stochasticity };
    Problem::new(Cpu::new(), &Ou, grid.clone(), scheme, (1, DIM)).seed(SEED).with_save(Save::All)
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

/// One Picard sweep of a block, mathematics of arXiv 2405.15986: every node from the block's start and the scores of the last sweep.
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

/// Zhou and Sugiyama: in round r block n makes its sweep r - n, from the end of block n - 1 after that one's sweep r - n.
fn wavefront(grid: &TimeGrid, per_block: usize, depth: usize, ups: f64) -> Vec<Array1<f64>> {
    let times = grid.times();
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
    let grid = TimeGrid::uniform(4.1, 0.1, 20).unwrap();
    for (ups, depth) in [(1.0, 3), (0.0, 2), (1.0, 5), (0.5, 1)] {
        let preset = Picard { window: Window::Steps(5), ..Picard::zhou_sugiyama(1.0, depth) };
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
    let grid = TimeGrid::uniform(4.1, 0.1, 20).unwrap();
    for depth in [None, Some(3)] {
        let barrier = Picard { window: Window::Steps(7), ..Picard::piadm(1.0, depth) };
        let open = Picard { policy: Policy::Wavefront { blocks: 1 }, ..barrier.clone() };
        let run = |s: &Picard| s.sample(&problem(&grid, 1.0), &mut two_modes::<f64>(Prediction::Score)).unwrap();
        let (a, b) = (run(&barrier), run(&open));
        assert_eq!(bits(&a.samples), bits(&b.samples));
        assert_eq!(
            (a.report.rounds, a.report.sweeps, a.report.residuals),
            (b.report.rounds, b.report.sweeps, b.report.residuals)
        );
    }
}
