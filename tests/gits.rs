//! Grids of few steps by dynamic programming: against exhaustive search, and the error that they save.

mod common;

use common::mixture;
use ndarray::{Array2, Axis};
use piadm::{
    Acceptance, BoxError, Cpu, Edm, Error, Flow, Grid, Picard, Prediction, Problem, Sampler, Scheme, ScoreFn,
    Sequential, VpLinear,
    backend::Real,
    gits::{Metric, StepCosts},
    score::Mixture,
    score_map,
};

const DIM: usize = 16;

/// Costs without a pattern, negative ones among them.
fn arbitrary(count: usize, seed: f64) -> StepCosts {
    let costs = Array2::from_shape_fn((count, count), |(i, j)| ((i * 37 + j * 11) as f64 * seed).sin() * (j as f64));
    let times: Vec<f64> = (0..count).rev().map(|i| i as f64).collect();
    StepCosts::new(times, costs).unwrap()
}

/// The least cost of all ways to go from time `from` to the last in so many steps.
fn exhaustive(costs: &StepCosts, from: usize, steps: usize, gamma: f64) -> (f64, Vec<usize>) {
    let last = costs.times().len() - 1;
    if steps == 1 {
        return (costs.costs()[[from, last]], vec![from, last]);
    }
    let ways = (from + 1..last).filter(|j| last - j >= steps - 1).map(|j| {
        let (rest, mut path) = exhaustive(costs, j, steps - 1, gamma);
        path.insert(0, from);
        (costs.costs()[[from, j]] + gamma * rest, path)
    });
    ways.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

#[test]
fn dynamic_programming_is_exhaustive_search() {
    for seed in [0.7, 1.3, 2.9] {
        let costs = arbitrary(13, seed);
        for steps in 1..=12 {
            for gamma in [0.8, 1.0, 1.15] {
                let (least, path) = exhaustive(&costs, 0, steps, gamma);
                let (found, total) = costs.best(steps, gamma).unwrap();
                assert_eq!(found, path);
                assert!((total - least).abs() < 1e-12 * least.abs().max(1.0));
            }
        }
    }
}

fn karras(steps: usize) -> Grid {
    Grid::karras(steps, 0.002, 80.0, 7.0)
}

fn problem(grid: Grid, scheme: Scheme, samples: usize, seed: u64) -> Problem<Cpu<f64>> {
    Problem::on(Cpu::new(), Edm, grid, scheme).samples(samples).shape([DIM]).seed(seed)
}

fn teacher(samples: usize, seed: u64) -> Problem<Cpu<f64>> {
    problem(karras(60), Scheme::dpmpp_2m(), samples, seed)
}

fn network() -> Mixture {
    mixture(8, DIM, 0.02f64.sqrt(), 0.25, 5)
}

/// Mean distance of the ends from those of 400 steps of second order.
fn error(grid: Grid, ends: &Array2<f64>) -> f64 {
    let problem = problem(grid, Scheme::euler(), ends.nrows(), 900);
    let samples = Sequential.sample(&problem, &mut network()).unwrap().samples;
    let off = (&samples - ends).map_axis(Axis(1), |row| row.dot(&row).sqrt());
    off.mean().unwrap()
}

#[test]
fn a_third_of_the_error_of_few_euler_steps_is_saved() {
    let reference = problem(karras(400), Scheme::dpmpp_2m(), 2000, 900);
    let ends =
        Picard::default().acceptance(Acceptance::Error(1e-6)).sample(&reference, &mut network()).unwrap().samples;
    for metric in [Metric::L2, Metric::Deviation] {
        let costs = StepCosts::measure(&teacher(256, 1), &Sequential, &mut network(), metric).unwrap();
        for steps in [5, 6, 8, 10] {
            let (plain, chosen) = (error(karras(steps), &ends), error(costs.grid(steps, 1.0).unwrap(), &ends));
            println!("{metric}, {steps} steps: {plain:.3} by rho = 7, {chosen:.3} chosen");
            // two grids of 5 steps nearly tie by their deviation, and the worse of them may be chosen
            let bound = if metric == Metric::Deviation && steps == 5 { 0.87 } else { 0.7 };
            assert!(chosen < bound * plain, "{metric}, {steps} steps: {chosen} against {plain}");
        }
    }
}

/// The total cost, by many samples, of the grid that few samples choose.
#[test]
fn few_trajectories_are_enough() {
    let many = StepCosts::measure(&teacher(2048, 77), &Sequential, &mut network(), Metric::L2).unwrap();
    for (samples, bound) in [(32, 0.03), (256, 0.01)] {
        for seed in 0..5 {
            let few = StepCosts::measure(&teacher(samples, seed), &Sequential, &mut network(), Metric::L2).unwrap();
            for steps in [5, 8, 10] {
                let (path, _) = few.best(steps, 1.0).unwrap();
                let cost: f64 = path.windows(2).map(|ends| many.costs()[[ends[0], ends[1]]]).sum();
                let (_, least) = many.best(steps, 1.0).unwrap();
                assert!(cost < (1.0 + bound) * least, "{samples} samples, {steps} steps: {cost} against {least}");
            }
        }
    }
}

/// A step of the teacher's own, from DDIM's path, costs nothing, on every schedule and for every kind of output.
#[test]
fn the_steps_of_an_euler_teacher_are_free() {
    fn free<T: Real>(problem: Problem<Cpu<T>>, tolerance: f64)
    where
        Mixture: ScoreFn<Cpu<T>>,
    {
        for kind in [Prediction::Data, Prediction::Noise, Prediction::Velocity] {
            let mut network = network().predicting(kind);
            let problem = problem.clone().samples(3).shape([DIM]);
            let costs = StepCosts::measure(&problem, &Sequential, &mut network, Metric::L1).unwrap();
            let longest = costs.costs()[[0, costs.times().len() - 1]];
            for i in 1..costs.times().len() {
                let cost = costs.costs()[[i - 1, i]];
                assert!(cost < tolerance * longest, "{kind:?} {i}: {cost} of {longest}");
            }
            assert!(longest > 0.0);
        }
    }
    let ddim = Scheme::ddim();
    free(problem(karras(20), ddim.clone(), 3, 0), 1e-10);
    free(Problem::on(Cpu::<f64>::new(), Flow, Grid::uniform(20).between(0.98, 0.0), ddim.clone()), 1e-10);
    free(Problem::on(Cpu::<f32>::new(), VpLinear::default(), Grid::uniform(20).between(1.0, 0.01), ddim), 1e-4);
}

/// By hand: three times, one sample, a point mass at 0, so that D = 0 and the trajectory is a ray from the origin; and
/// a network whose D is 1 from the second time on, so that the ray bends.
#[test]
fn costs_by_hand() {
    let grid = Grid::new([4.0, 2.0, 1.0]);
    let mut bends = score_map(Prediction::Data, |x: ndarray::ArrayView2<'_, f64>, rows: &piadm::Rows<'_>| {
        Array2::from_shape_fn(x.dim(), |(i, j)| f64::from(u8::from(rows.t[i] < 3.0 && j == 0)))
    });
    let problem =
        Problem::on(Cpu::<f64>::new(), Edm, grid, Scheme::euler()).shape([2]).init(ndarray::array![[4.0, 4.0]]);
    // the path: (4, 4), (2, 2), then D = (1, 0): (2, 2) - 1 (1/2, 1) = (1.5, 1)
    let costs = |metric| {
        let costs = StepCosts::measure(&problem, &Sequential, &mut bends, metric).unwrap();
        (costs.costs()[[0, 1]], costs.costs()[[1, 2]], costs.costs()[[0, 2]])
    };
    let mut costs = costs;
    // a single step ends at (1, 1)
    assert_eq!(costs(Metric::L1), (0.0, 0.0, 0.5));
    assert_eq!(costs(Metric::L2), (0.0, 0.0, 0.5));
    let (first, second, both) = costs(Metric::Deviation);
    // the line from (4, 4) to (1.5, 1); (1, 1) is off it by |cross((-3, -3), (-2.5, -3))| / |(2.5, 3)|
    let expected = (9.0f64 - 7.5) / (2.5f64 * 2.5 + 9.0).sqrt();
    assert!((both - expected).abs() < 1e-12 && first.abs() < 1e-12 && second.abs() < 1e-7, "{first} {second} {both}");
}

#[test]
fn written_and_read() {
    let costs = arbitrary(5, 0.7);
    let text = serde_json::to_string(&costs).unwrap();
    assert_eq!(serde_json::from_str::<StepCosts>(&text).unwrap(), costs);
    for bad in [
        r#"{"times": [1, 0], "costs": [[0, 1]]}"#,
        r#"{"times": [1, 0], "costs": [[0, 1], [0]]}"#,
        r#"{"times": [], "costs": []}"#,
        r#"{"times": [1, 0], "costs": [[0, 1], [0, 0]], "gamma": 1}"#,
    ] {
        assert!(serde_json::from_str::<StepCosts>(bad).is_err(), "{bad}");
    }
    assert_eq!("l2".parse::<Metric>().unwrap(), Metric::L2);
}

#[test]
fn what_cannot_be_measured() {
    fn name(result: piadm::Result<StepCosts>) -> &'static str {
        match result.unwrap_err() {
            Error::Setting { name, .. } => name,
            Error::Unsupported { what, .. } => what,
            Error::Score { .. } => "score",
            Error::ScoreNotFinite { .. } => "not finite",
            other => panic!("{other}"),
        }
    }
    let of = |problem: &Problem<Cpu<f64>>| name(StepCosts::measure(problem, &Sequential, &mut network(), Metric::L2));
    assert_eq!(of(&problem(karras(5), Scheme::dpmpp_2m_sde(), 2, 0)), "StepCosts::measure");
    assert_eq!(of(&teacher(0, 0)), "samples");
    let joined = Problem::join([teacher(1, 0), problem(karras(5), Scheme::ddim(), 1, 0)]).unwrap();
    assert_eq!(of(&joined), "StepCosts::measure");
    let from_noise = Problem::on(Cpu::<f64>::new(), Flow, Grid::uniform(5), Scheme::ddim()).samples(2).shape([DIM]);
    let mut data = network().predicting(Prediction::Data);
    assert_eq!(name(StepCosts::measure(&from_noise, &Sequential, &mut data, Metric::L2)), "time");
    let with = |answer: f64| {
        let mut network =
            score_map(Prediction::Data, move |x: ndarray::ArrayView2<'_, f64>, rows: &piadm::Rows<'_>| {
                let out: Result<_, BoxError> = if rows.len() > 2 { Err("no".into()) } else { Ok(x.mapv(|_| answer)) };
                out
            });
        let problem = problem(karras(5), Scheme::ddim(), 2, 0);
        name(StepCosts::measure(&problem, &Sequential, &mut network, Metric::L2))
    };
    assert_eq!(with(f64::NAN), "not finite");
    let costs = arbitrary(4, 1.0);
    for (steps, gamma, what) in [(0, 1.0, "steps"), (4, 1.0, "steps"), (2, 0.0, "gamma"), (2, f64::NAN, "gamma")] {
        let Err(Error::Setting { name, .. }) = costs.best(steps, gamma) else { panic!("no error") };
        assert_eq!(name, what);
    }
    let nan = Array2::from_elem((2, 2), f64::NAN);
    assert_eq!(name(StepCosts::new([1.0, 0.0], nan)), "cost of a step");
}
