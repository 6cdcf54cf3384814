//! Oracles that answer the next state: kernels that are not affine in what they see.

use crate::common::bits;
use crate::common::lists::{chain, kernel, mixed};
use ndarray::{Array3, ArrayView2, ArrayViewMut2};
use piadm::{
    Acceptance, Backend, Cpu, Error, Grid, Nodes, Ou, Picard, Prediction, Problem, Rows, Sampler, Scheme, Sequential,
    Window,
    backend::Real,
    nodes::NodeTerms,
    sampler::{Entry, Linearisation, Policy, on_round},
    schedule::Level,
    score::Kernel,
    score_fn,
};
use std::ops::ControlFlow;

fn problem<T: Real>(list: Nodes) -> Problem<Cpu<T>> {
    Problem::from_nodes(Cpu::new(), list).samples(3).shape([5]).seed(4)
}

fn exact(linearisation: Linearisation, window: usize) -> Picard {
    let window = Window::Steps(window);
    Picard::default().acceptance(Acceptance::Exact).linearisation(linearisation).window(window)
}

const ITERATIONS: [Linearisation; 3] = [Linearisation::FrozenScore, Linearisation::Identity, Linearisation::Secant];

fn same_bits<T: Real>() {
    for list in [chain(30), mixed(30)] {
        let problem = problem::<T>(list);
        let sequential = Sequential.sample(&problem, &mut kernel::<T>()).unwrap();
        for linearisation in ITERATIONS {
            for window in [1, 4, 30] {
                for (policy, anderson) in
                    [(Policy::Sliding, 0), (Policy::Blocks, 2), (Policy::Wavefront { blocks: 2 }, 0)]
                {
                    let sampler = exact(linearisation, window).policy(policy).anderson(anderson);
                    let parallel = sampler.sample(&problem, &mut kernel::<T>()).unwrap();
                    assert_eq!(bits(&parallel.samples), bits(&sequential.samples), "{sampler:?}");
                    assert!(parallel.report.rounds <= 30 * 2);
                }
            }
        }
    }
}

#[test]
fn exact_acceptance_has_the_sequential_bits() {
    same_bits::<f32>();
    same_bits::<f64>();
}

/// After k rounds the first k nodes are final, and a good slope makes it far fewer.
#[test]
fn k_sweeps_make_k_nodes_exact() {
    for linearisation in ITERATIONS {
        let mut rounds = 0;
        let mut watch = on_round(|round| {
            assert!(round.finished.iter().all(|n| *n >= round.round), "{linearisation:?}: {round:?}");
            rounds = round.round;
            ControlFlow::Continue(())
        });
        exact(linearisation, 40).run(&problem::<f64>(chain(40)), &mut kernel::<f64>(), &mut watch).unwrap();
        println!("{linearisation:?}: {rounds} rounds for 40 nodes");
        assert!(rounds < 40);
    }
}

/// A kernel that says that it is continuous may be accepted by an estimated error.
#[test]
fn an_estimated_error_is_kept() {
    let problem = problem::<f64>(chain(60));
    let sequential = Sequential.sample(&problem, &mut kernel::<f64>()).unwrap();
    let sampler = exact(Linearisation::Secant, 32).acceptance(Acceptance::Error(1e-4));
    let mut smooth = Kernel::new(kernel::<f64>()).continuous().evaluations_per_row(2);
    let parallel = sampler.sample(&problem, &mut smooth).unwrap();
    assert_eq!(parallel.report.evaluations, 2 * parallel.report.score_rows);
    let worst = (&parallel.samples - &sequential.samples).iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    assert!(worst < 1e-3, "{worst}");
    assert!(parallel.report.rounds < 30, "{}", parallel.report.rounds);
}

#[test]
fn kernels_are_addressed() {
    // another batch, another order: the same samples
    let of = |ids: Vec<u32>| {
        let problem = Problem::from_nodes(Cpu::<f32>::new(), chain(20)).shape([5]).seed(4).ids(ids);
        exact(Linearisation::Secant, 7).sample(&problem, &mut kernel::<f32>()).unwrap().samples
    };
    let all = of(vec![5, 1, 9]);
    for (i, id) in [5, 1, 9].into_iter().enumerate() {
        assert_eq!(of(vec![id]).row(0), all.row(i));
    }
}

#[test]
fn what_a_kernel_cannot_have() {
    fn name<B: Backend>(result: piadm::Result<piadm::Solution<B>>) -> &'static str {
        match result {
            Err(Error::Setting { name, .. }) => name,
            Err(Error::Unsupported { what, .. }) => what,
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("no error"),
        }
    }
    let with = |sampler: Picard, problem: &Problem<Cpu<f32>>| name(sampler.sample(problem, &mut kernel::<f32>()));
    let chained = problem::<f32>(chain(10));
    let gaussian = Linearisation::Gaussian { variance: 1.0 };
    assert_eq!(with(exact(gaussian, 4), &chained), "Linearisation::Gaussian");
    for entry in [Entry::HeldData { variance: 0.0 }, Entry::LinearData { variance: 0.1 }] {
        assert_eq!(with(exact(Linearisation::Secant, 4).entry(entry), &chained), "an entry that holds the data");
    }
    let noise = Array3::<f32>::zeros((10, 3, 5));
    assert_eq!(with(exact(Linearisation::Secant, 4), &chained.clone().noise(noise)), "given noise");
    // one that says nothing may jump
    for acceptance in [Acceptance::Error(1e-2), Acceptance::change(1e-2)] {
        assert_eq!(with(exact(Linearisation::Secant, 4).acceptance(acceptance), &chained), "a tolerance");
    }
    // an answer that makes two nodes
    let mut twice = Nodes::empty(Level::at(&Ou, 2.0));
    twice.push(Level::at(&Ou, 1.0), true, &NodeTerms::new().b(1, [0, 0], 1.0)).unwrap();
    twice.push(Level::at(&Ou, 0.5), true, &NodeTerms::new().b(2, [0, 0], 1.0)).unwrap();
    assert_eq!(with(exact(Linearisation::Secant, 2), &problem(twice)), "a kernel");
    // a stage and the end of its step would take the same random numbers
    let mut stages = Nodes::empty(Level::at(&Ou, 2.0));
    stages.push(Level::at(&Ou, 1.5), false, &NodeTerms::new().b(1, [0, 0], 1.0)).unwrap();
    stages.push(Level::at(&Ou, 1.0), true, &NodeTerms::new().b(1, [0, 0], 1.0)).unwrap();
    assert_eq!(with(exact(Linearisation::Secant, 2), &problem(stages)), "a kernel");
    let grid = Grid::uniform(4).between(3.0, 0.1);
    let scheme = Problem::new(Ou, grid, Scheme::default()).shape([2]);
    assert!(matches!(Sequential.sample(&scheme, &mut kernel::<f32>()), Err(Error::Singular { .. })));
    // networks see no destinations
    let mut seen =
        score_fn(Prediction::Data, |x: ArrayView2<'_, f32>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, f32>| {
            assert!(rows.to.t.is_empty() && rows.to.key.is_empty());
            out.assign(&x);
            Ok(())
        });
    let grid = Grid::uniform(4).between(3.0, 0.1);
    let scheme = Problem::new(Ou, grid, Scheme::default()).shape([2]);
    Sequential.sample(&scheme, &mut seen).unwrap();
}
