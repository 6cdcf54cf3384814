//! Unlike requests in one batch: each has the samples it has alone, bit for bit.

use crate::common::{bits, lookback_three, two_components, two_modes};
use piadm::{
    Acceptance, Cpu, Edm, Error, Grid, Guarantee, Ou, Parareal, Picard, Prediction, Problem, Sampler, Save, Scheme,
    Sequential, Window,
    backend::Real,
    nodes::Langevin,
    sampler::{Coupling, Entry, Linearisation, Policy},
    schedule::Level,
};

const DIM: usize = 3;

fn request<T: Real>(steps: usize, scheme: Scheme, samples: usize, seed: u64) -> Problem<Cpu<T>> {
    let grid = Grid::log_snr(steps).between(5.0, 0.05);
    Problem::on(Cpu::new(), Ou, grid, scheme).samples(samples).shape([DIM]).seed(seed)
}

/// Short and long, with and without noise, one and two evaluations per step, other schedules, lists of all kinds, seeds
/// and ids of their own.
fn requests<T: Real>() -> Vec<Problem<Cpu<T>>> {
    let langevin = Langevin { friction: 2.8, step: 0.05, steps: 16 };
    let langevin = langevin.list(Level::at(&Ou, 1.0), Prediction::Data, 0).unwrap();
    let karras = Grid::karras(13, 0.02, 10.0, 7.0);
    let list = |list| Problem::from_nodes(Cpu::<T>::new(), list).samples(2).shape([DIM]).seed(6);
    vec![
        request(10, Scheme::default(), 2, 1),
        request(70, Scheme::default(), 1, 1).ids(vec![7]),
        request(33, Scheme::Ddim { eta: 0.0 }, 3, 2),
        request(12, Scheme::Heun {}, 1, 3),
        request(25, Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: true }, 2, 4),
        request(1, Scheme::default(), 2, 5),
        request(10, Scheme::default(), 2, 9),
        Problem::on(Cpu::new(), Edm, karras, Scheme::dpmpp_2m()).shape([DIM]).seed(8),
        list(lookback_three(17)),
        list(two_components(9)),
        list(langevin),
    ]
}

fn check<T: Real>(sampler: &dyn Sampler<Cpu<T>>, alone: &dyn Sampler<Cpu<T>>, what: &str) {
    let mut score = two_modes::<T>(Prediction::Data);
    let batch = Problem::join(requests::<T>()).unwrap().save(Save::All);
    let joined = sampler.sample(&batch, &mut score).unwrap();
    let mut first = 0;
    for (i, request) in requests::<T>().into_iter().enumerate() {
        let own = alone.sample(&request.clone().save(Save::All), &mut score).unwrap();
        let slots = first..first + request.count();
        let rows = joined.samples.slice(ndarray::s![slots.clone(), ..]).to_owned();
        assert_eq!(bits(&rows), bits(&own.samples), "{what}, request {i}");
        assert_eq!(joined.report.sample_rounds[slots.clone()], own.report.sample_rounds, "{what}, request {i}");
        assert!(joined.report.sample_steps[slots.clone()].iter().all(|n| *n == own.report.steps));
        for &step in own.path.steps() {
            let (of_batch, of_own) = (joined.path.at(step).unwrap(), own.path.at(step).unwrap());
            assert_eq!(of_batch.slice(ndarray::s![slots.clone(), ..]), of_own, "{what}, request {i}, step {step}");
        }
        // steps that only others have
        for &step in joined.path.steps().iter().filter(|step| own.path.at(**step).is_none()) {
            let of_batch = joined.path.at(step).unwrap();
            assert!(of_batch.slice(ndarray::s![slots.clone(), ..]).iter().all(|x| x.wide().is_nan()));
        }
        first = slots.end;
    }
    assert_eq!(first, batch.count());
}

fn samplers() -> Vec<(&'static str, Picard)> {
    let window = |window| Picard::default().window(window);
    let frozen = Linearisation::FrozenScore;
    vec![
        ("secant", window(Window::Steps(8))),
        ("long windows", window(Window::Steps(64))),
        ("exact", window(Window::Steps(5)).acceptance(Acceptance::Exact)),
        ("nodes", window(Window::Nodes { nodes: 7 })),
        ("copied", window(Window::Steps(6)).entry(Entry::Copy).linearisation(Linearisation::Identity)),
        ("anderson", window(Window::Steps(6)).anderson(3).linearisation(frozen)),
    ]
}

#[test]
fn every_request_is_as_alone() {
    check::<f32>(&Sequential, &Sequential, "sequential");
    check::<f64>(&Sequential, &Sequential, "sequential");
    for (name, sampler) in samplers() {
        check::<f32>(&sampler, &sampler, name);
        check::<f64>(&sampler, &sampler, name);
    }
}

#[test]
fn a_budget_changes_nothing() {
    for (name, sampler) in samplers() {
        // Heun's nodes are twice its steps
        for rows in [130, 150, 333] {
            let queue = sampler.clone().row_budget(rows);
            check::<f32>(&queue, &sampler, &format!("{name} with {rows} rows"));
        }
    }
    let (name, sampler) = &samplers()[0];
    check::<f64>(&sampler.clone().row_budget(20), sampler, name);
}

#[test]
fn exact_requests_have_the_sequential_bits() {
    let exact = Picard::default().acceptance(Acceptance::Exact).window(Window::Steps(9));
    let mut score = two_modes::<f32>(Prediction::Data);
    let batch = Problem::join(requests::<f32>()).unwrap();
    let (parallel, sequential) = (exact.sample(&batch, &mut score).unwrap(), Sequential.sample(&batch, &mut score));
    let sequential = sequential.unwrap();
    assert_eq!(bits(&parallel.samples), bits(&sequential.samples));
    assert_eq!((parallel.report.guarantee, sequential.report.guarantee), (Guarantee::Bits, Guarantee::Bits));
}

/// A queue of requests of 10 to 500 steps, in any order, under a budget of 16 of the longest windows.
#[test]
fn a_queue_leaves_few_rows_idle() {
    let lengths = [10, 20, 50, 100, 250, 500];
    let queue = (0..300).map(|i| request::<f32>(lengths[i * 5 % 6], Scheme::default(), 2, i as u64));
    let batch = Problem::join(queue).unwrap();
    let budget = 16 * 64;
    for linearisation in [Linearisation::Secant, Linearisation::FrozenScore] {
        let sampler = Picard::default().row_budget(budget).linearisation(linearisation);
        let report = sampler.sample(&batch, &mut two_modes::<f32>(Prediction::Data)).unwrap().report;
        let idle = 1.0 - report.score_rows as f64 / (report.rounds * budget) as f64;
        println!("{linearisation:?}: {:.1} % of the rows idle in {} rounds", 100.0 * idle, report.rounds);
        assert!(idle < 0.05, "{idle}");
    }
}

#[test]
fn what_unlike_requests_cannot_have() {
    let two = || Problem::join([request::<f32>(10, Scheme::default(), 1, 1), request(12, Scheme::default(), 1, 1)]);
    let mut score = two_modes::<f32>(Prediction::Data);
    let named = |error: Error| match error {
        Error::Setting { name, .. } => name,
        Error::Unsupported { what, .. } => what,
        other => panic!("{other}"),
    };
    let mut refused = |sampler: &dyn Sampler<Cpu<f32>>| named(sampler.sample(&two().unwrap(), &mut score).unwrap_err());
    assert_eq!(refused(&Picard::default().policy(Policy::Blocks)), "a policy of blocks");
    assert_eq!(refused(&Picard::default().coupling(Coupling::WholeBatch)), "Coupling::WholeBatch");
    assert_eq!(refused(&Parareal::default()), "Parareal");
    assert_eq!(named(two().unwrap().coarse(2).unwrap_err()), "a coarse problem");
    let noise = ndarray::Array3::<f32>::zeros((10, 2, DIM));
    let given = two().unwrap().noise(noise);
    assert_eq!(named(Sequential.sample(&given, &mut score).unwrap_err()), "the given noise");
    assert_eq!(named(Problem::<Cpu<f32>>::join([]).unwrap_err()), "requests");
    let wide = Problem::new(Ou, Grid::uniform(4).between(3.0, 0.1), Scheme::default()).shape([4]);
    let other = Problem::join([request(10, Scheme::default(), 1, 1), wide]);
    assert!(matches!(other, Err(Error::Shape { .. })));
    for ids in [vec![1], vec![1, 2, 3]] {
        let other = Sequential.sample(&two().unwrap().ids(ids), &mut score);
        assert!(matches!(other, Err(Error::Unsupported { what: "Problem::ids", .. })));
    }
    assert!(Sequential.sample(&two().unwrap().ids(vec![4, 9]), &mut score).is_ok());
    // requests with the same nodes are like each other
    let like = || Problem::join([request::<f32>(10, Scheme::default(), 1, 1), request(10, Scheme::default(), 1, 2)]);
    let blocks = Picard::default().policy(Policy::Blocks);
    assert!(blocks.sample(&like().unwrap(), &mut score).is_ok());
}
