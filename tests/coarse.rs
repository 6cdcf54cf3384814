//! Coarse problems that share their noise with the fine one, and first guesses from them.

mod common;

use common::{bits, lookback_three, schemes, two_modes};
use ndarray::{Array2, Array3, ArrayView2, Axis};
use piadm::{
    Acceptance, Cpu, Edm, Error, Grid, NoiseSchedule, Ou, Path, Picard, Prediction, Problem, Rows, Sampler, Save,
    Scheme, ScoreFn, Sequential, VpLinear, Window,
    nodes::{DdpmVariance, Form},
    score_fn,
};
use std::sync::Arc;

type P = Problem<Cpu<f64>>;

/// A network that always says the same.
fn silent(kind: Prediction, value: f64) -> impl ScoreFn<Cpu<f64>> {
    score_fn::<f64>(kind, move |_, _: &Rows<'_>, mut out| {
        out.fill(value);
        Ok(())
    })
}

/// Schemes whose noise over a coarse step is the sum of that over the fine ones, and what they freeze.
fn additive() -> Vec<(Scheme, Prediction)> {
    let mut all = vec![
        (Scheme::Ddpm { variance: DdpmVariance::Small }, Prediction::Data),
        (Scheme::Ddim { eta: 1.0 }, Prediction::Data),
        (Scheme::SdeDpmSolverPp1 { eta: 1.3 }, Prediction::Data),
        (Scheme::SdeDpmSolverPp2M { eta: 0.6, lower_order_final: false }, Prediction::Data),
    ];
    for (form, kind) in
        [(Form::Score, Prediction::Score), (Form::Noise, Prediction::Noise), (Form::Data, Prediction::Data)]
    {
        for stochasticity in [0.5, 1.0] {
            all.push((Scheme::Exponential { form, stochasticity }, kind));
        }
    }
    all
}

fn off(a: ArrayView2<'_, f64>, b: ArrayView2<'_, f64>) -> f64 {
    (&a - &b).iter().fold(0.0f64, |m, e| m.max(e.abs()))
}

#[test]
fn without_the_network_coarse_and_fine_are_one_path() {
    let start = Array2::from_shape_fn((2, 5), |(i, j)| 0.3 * i as f64 - 0.2 * j as f64);
    let schedules: [Arc<dyn NoiseSchedule>; 3] = [Arc::new(Ou), Arc::new(VpLinear::default()), Arc::new(Edm)];
    for schedule in schedules {
        let (_, t_max) = schedule.range();
        let grid = Grid::log_snr(23).between(t_max.min(3.0), 0.01);
        let grids = [grid.clone(), grid.clone().then_data()];
        for (grid, (scheme, kind)) in grids.iter().flat_map(|g| additive().into_iter().map(move |s| (g, s))) {
            // the scheme divides by the final sigma
            if *grid == grids[1] && kind != Prediction::Data {
                continue;
            }
            let steps = grid.times(&schedule).unwrap().len() - 1;
            let all: P =
                Problem::on(Cpu::new(), schedule.clone(), grid.clone(), scheme.clone()).samples(2).shape([5]).seed(9);
            for every in [1, 2, 6, 23, 100] {
                let late = all.clone().init_at(6 / every * every, start.clone());
                for fine in [all.clone(), late].map(|p| p.save(Save::All)) {
                    let a = Sequential.sample(&fine, &mut silent(kind, 0.0)).unwrap();
                    let b = Sequential.sample(&fine.coarse(every).unwrap(), &mut silent(kind, 0.0)).unwrap();
                    for &step in b.path.steps() {
                        let (fine, coarse) = (a.path.at((step * every).min(steps)), b.path.at(step));
                        let off = off(fine.unwrap(), coarse.unwrap());
                        assert!(off < 1e-11, "{scheme:?} every {every} step {step}: {off:e}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_coarse_normal_has_unit_variance_and_is_made_of_its_own_steps() {
    let dim = 40_000;
    let grid = Grid::uniform(12).between(2.0, 0.1);
    for scheme in [
        Scheme::Ddim { eta: 0.7 },
        Scheme::Ddpm { variance: DdpmVariance::Large },
        Scheme::EulerMaruyama { stochasticity: 1.0 },
        Scheme::default(),
    ] {
        let problem: P = Problem::on(Cpu::new(), Ou, grid.clone(), scheme.clone()).shape([dim]).seed(4);
        let coarse = problem.coarse(4).unwrap();
        // the normals from the states: x' = a x + c xi without the network
        let kind = if matches!(scheme, Scheme::EulerMaruyama { .. }) { Prediction::Score } else { Prediction::Data };
        let path = Sequential.sample(&coarse, &mut silent(kind, 0.0)).unwrap().path;
        let whole = Grid::new(grid.times(&Ou).unwrap().into_iter().step_by(4).collect::<Vec<_>>());
        let list = piadm::Nodes::new(&Ou, &whole, &scheme, kind).unwrap();
        let normals: Vec<_> = (1..=3)
            .map(|j| (&path.at(j).unwrap() - &(&path.at(j - 1).unwrap() * list.a(j, 1, 0, 0))) / list.c(j, 0, 0))
            .collect();
        let mean = |a: &Array2<f64>, b: &Array2<f64>| (a * b).sum() / dim as f64;
        for i in 0..3 {
            for j in 0..=i {
                let (expected, error) = (f64::from(u8::from(i == j)), 5.0 * (2.0 / dim as f64).sqrt());
                let found = mean(&normals[i], &normals[j]);
                assert!((found - expected).abs() < error, "{scheme:?} {i} {j}: {found}");
            }
        }
    }
}

#[test]
fn one_step_each_is_the_problem_itself() {
    let grid = Grid::log_snr(12).between(5.0, 0.02);
    for scheme in schemes() {
        let problem: P = Problem::on(Cpu::new(), Ou, grid.clone(), scheme.clone()).samples(2).shape([7]).seed(2);
        let problem = problem.save(Save::All);
        let run = |p: &P| Sequential.sample(p, &mut two_modes::<f64>(Prediction::Score)).unwrap();
        let (own, coarse) = (run(&problem), run(&problem.coarse(1).unwrap()));
        assert_eq!(bits(&own.samples), bits(&coarse.samples), "{scheme:?}");
        let refined = problem.refine(&own.path, 1).unwrap();
        assert_eq!(refined, own.path);
    }
}

#[test]
fn a_coarse_problem_can_be_made_coarser() {
    let grid = Grid::log_snr(24).between(5.0, 0.02);
    let problem: P = Problem::on(Cpu::new(), Ou, grid, Scheme::default()).samples(2).shape([7]).seed(2);
    let mut score = two_modes::<f64>(Prediction::Score);
    let once = Sequential.sample(&problem.coarse(6).unwrap(), &mut score).unwrap();
    let twice = Sequential.sample(&problem.coarse(2).unwrap().coarse(3).unwrap(), &mut score).unwrap();
    assert!(off(once.samples.view(), twice.samples.view()) < 1e-12);
}

/// With a prediction that is constant the coarse path knows everything.
#[test]
fn refined_paths_of_a_constant_prediction_are_exact() {
    let grid = Grid::log_snr(22).between(5.0, 0.02).then_data();
    for (scheme, kind) in additive() {
        let steps = if kind == Prediction::Data { 23 } else { 22 };
        let grid = Grid::new(&grid.times(&Ou).unwrap()[..=steps]);
        let problem: P =
            Problem::on(Cpu::new(), Ou, grid, scheme.clone()).samples(2).shape([5]).seed(9).save(Save::All);
        let fine = Sequential.sample(&problem, &mut silent(kind, 0.4)).unwrap();
        for every in [5, 23] {
            let coarse = Sequential.sample(&problem.coarse(every).unwrap(), &mut silent(kind, 0.4)).unwrap();
            let refined = problem.refine(&coarse.path, every).unwrap();
            assert_eq!(refined.steps(), fine.path.steps());
            for (m, (a, b)) in refined.states().outer_iter().zip(fine.path.states().outer_iter()).enumerate() {
                assert!(off(a, b) < 1e-11, "{scheme:?} every {every} step {m}: {:e}", off(a, b));
            }
        }
    }
}

#[test]
fn refined_paths_go_through_the_coarse_states() {
    let grid = Grid::log_snr(22).between(5.0, 0.02);
    for scheme in schemes() {
        let problem: P = Problem::on(Cpu::new(), Ou, grid.clone(), scheme.clone()).samples(2).shape([5]).seed(9);
        let start = Array2::from_elem((2, 5), 0.1);
        for problem in [problem.clone(), problem.init_at(10, start.clone())] {
            let mut score = two_modes::<f64>(Prediction::Data);
            let coarse = Sequential.sample(&problem.coarse(5).unwrap(), &mut score).unwrap().path;
            let refined = problem.refine(&coarse, 5).unwrap();
            for &step in coarse.steps() {
                assert_eq!(coarse.at(step), refined.at((5 * step).min(22)), "{scheme:?}");
            }
        }
    }
}

#[test]
fn any_guess_leads_to_the_sequential_bits() {
    let grid = Grid::log_snr(40).between(5.0, 0.02);
    let problem = Problem::new(Ou, grid, Scheme::default()).samples(2).shape([70]).seed(2);
    let mut score = two_modes::<f32>(Prediction::Noise);
    let expected = bits(&Sequential.sample(&problem, &mut score).unwrap().samples);
    let coarse = Sequential.sample(&problem.coarse(8).unwrap(), &mut score).unwrap().path;
    let own = |steps: Vec<usize>, value: f32| {
        let n = steps.len();
        Path::new(steps, Array3::from_elem((n, 2, 70), value)).unwrap()
    };
    let refined = problem.refine(&coarse, 8).unwrap();
    let paths = [refined, own(vec![0], 0.0), own((0..=40).collect(), 7.0), own(vec![3, 50], -1e5)];
    for path in paths.map(Arc::new) {
        for window in [5, 40] {
            let exact = Picard::default().window(Window::Steps(window)).acceptance(Acceptance::Exact);
            let run = exact.sample(&problem.clone().guesses(path.clone()), &mut score).unwrap();
            assert_eq!(bits(&run.samples), expected);
        }
    }
}

#[test]
fn what_cannot_be_done_is_told() {
    let grid = Grid::log_snr(20).between(5.0, 0.02);
    let problem: P = Problem::on(Cpu::new(), Ou, grid, Scheme::default()).samples(2).shape([3]);
    let start = Array2::zeros((2, 3));
    let setting = |result: piadm::Result<()>, expected: &str| {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::Setting { name, .. } if name == expected), "{error}");
    };
    setting(problem.coarse(0).map(drop), "every");
    setting(problem.clone().init_at(7, start.clone()).coarse(5).map(drop), "every");
    setting(problem.clone().init_at(20, start).coarse(5).map(drop), "start step");
    let own = Problem::from_nodes(Cpu::<f64>::new(), lookback_three(9)).samples(2).shape([3]);
    assert!(matches!(own.coarse(2), Err(Error::Unsupported { what: "a coarse problem", .. })));
    let mut score = two_modes::<f64>(Prediction::Noise);
    let path = Sequential.sample(&problem.coarse(5).unwrap(), &mut score).unwrap().path;
    for every in [4, 7] {
        setting(problem.refine(&path, every).map(drop), "steps of the coarse path");
    }
    setting(problem.refine(&path, 0).map(drop), "every");
    let other = Path::new(path.steps().to_vec(), Array3::zeros((5, 2, 4))).unwrap();
    assert!(matches!(problem.refine(&other, 5), Err(Error::Shape { .. })));
    let mut broken = path.states().clone();
    broken.index_axis_mut(Axis(0), 1).fill(f64::NAN);
    let broken = Path::new(path.steps().to_vec(), broken).unwrap();
    setting(problem.refine(&broken, 5).map(drop), "the path of first guesses");
}
