//! Lists that no scheme of the crate makes: far lags, nodes of unlike widths, several heads, what is seen and what is
//! not.

use crate::common::bits;
use crate::common::lists::{PhaseSpace, far_lags, level, phase_space, smooth, unlike_widths};
use piadm::nodes::Normal;
use piadm::noise::stream;
use piadm::{
    Acceptance, Cpu, Error, Nodes, Picard, Problem, Sampler, Save, ScoreFn, Sequential, Window,
    backend::Real,
    nodes::NodeTerms,
    sampler::{Linearisation, Policy, on_round},
};
use std::ops::ControlFlow;

fn sampler(linearisation: Linearisation, window: Window) -> Picard {
    Picard::default().acceptance(Acceptance::Exact).linearisation(linearisation).window(window)
}

const ITERATIONS: [Linearisation; 4] = [
    Linearisation::FrozenScore,
    Linearisation::Identity,
    Linearisation::Gaussian { variance: 0.5 },
    Linearisation::Secant,
];

/// Whatever the iteration, window, policy and budget: the bits of the sequential sampler, and a node more in every
/// round.
fn universal<T: Real, S: ScoreFn<Cpu<T>>>(list: Nodes, mut score: S) {
    let problem = Problem::from_nodes(Cpu::<T>::new(), list.clone()).samples(3).shape([4]).seed(3).save(Save::All);
    let sequential = Sequential.sample(&problem, &mut score).unwrap();
    let check = |sampler: &Picard, score: &mut S| {
        let parallel = sampler.sample(&problem, score).unwrap();
        assert_eq!(bits(&parallel.samples), bits(&sequential.samples), "{sampler:?}");
        assert_eq!(parallel.path, sequential.path, "{sampler:?}");
        let rounds = *parallel.report.sample_rounds.iter().max().unwrap();
        assert!(rounds <= sequential.report.rounds, "{sampler:?}");
        rounds
    };
    for linearisation in ITERATIONS {
        for window in [Window::Steps(1), Window::Steps(3), Window::Nodes { nodes: 5 }, Window::Steps(64)] {
            let sliding = sampler(linearisation, window);
            check(&sliding, &mut score);
            check(&sliding.clone().policy(Policy::Blocks), &mut score);
            check(&sliding.clone().policy(Policy::Wavefront { blocks: 3 }), &mut score);
            check(&sliding.clone().anderson(2), &mut score);
        }
        let all = Window::Steps(1000);
        let rounds = check(&sampler(linearisation, all), &mut score);
        println!("{linearisation:?}: {rounds} rounds for {}", sequential.report.rounds);
        let queue = sampler(linearisation, all).row_budget(list.nodes().len() + 3);
        check(&queue, &mut score);
    }
}

#[test]
fn lags_of_forty_nodes() {
    assert_eq!(far_lags(5).lookback(), 42);
    universal::<f32, _>(far_lags(5), smooth::<f32>());
    universal::<f64, _>(far_lags(4), smooth::<f64>());
}

#[test]
fn nodes_of_unlike_widths() {
    universal::<f32, _>(unlike_widths(24), smooth::<f32>());
    universal::<f64, _>(unlike_widths(24), smooth::<f64>());
}

#[test]
fn networks_of_several_components_and_heads() {
    universal::<f32, _>(phase_space(24), PhaseSpace);
    universal::<f64, _>(phase_space(24), PhaseSpace);
}

/// With n evaluated nodes in the window, k rounds make k of them final.
#[test]
fn k_sweeps_make_k_nodes_exact() {
    let problem = Problem::from_nodes(Cpu::<f64>::new(), phase_space(30)).samples(2).shape([3]).seed(3);
    for linearisation in ITERATIONS {
        let mut watch = on_round(|round| {
            assert!(round.finished.iter().all(|n| *n >= round.round), "{linearisation:?}: {round:?}");
            ControlFlow::Continue(())
        });
        sampler(linearisation, Window::Steps(30)).run(&problem, &mut PhaseSpace, &mut watch).unwrap();
    }
}

#[test]
fn a_sequential_step_by_hand() {
    // one step of the phase space from known normals
    let problem = Problem::from_nodes(Cpu::<f64>::new(), phase_space(1)).shape([1]).seed(3);
    let normal = |stream, step| {
        let mut xi = [0.0];
        let address = piadm::noise::Address { stream, step, sample: 0 };
        piadm::noise::NoiseKey::new(3).fill_f64(address, 0, &mut xi);
        xi[0]
    };
    let (x, v) = (normal(stream::INITIAL, 0), normal(stream::CORRECTOR_START, 0));
    let far = (x - v) * (x - v);
    let expected = (0.0 + 1.0 * x + 0.1 * v) + 0.01 * far.min(4.0);
    let found = Sequential.sample(&problem, &mut PhaseSpace).unwrap().samples[[0, 0]];
    assert!((found - expected).abs() < 1e-15, "{found} {expected}");
}

#[test]
fn networks_that_do_not_fit() {
    let named = |result: piadm::Result<piadm::Solution<Cpu<f32>>>| match result {
        Err(Error::Setting { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    // two components are seen, the list has one
    let narrow = Problem::from_nodes(Cpu::<f32>::new(), far_lags(2)).shape([2]);
    assert_eq!(named(Sequential.sample(&narrow, &mut PhaseSpace)), "components of a node");
    // three heads are used, the network has one
    let heads = Problem::from_nodes(Cpu::<f32>::new(), phase_space(2)).shape([2]);
    assert_eq!(named(Sequential.sample(&heads, &mut smooth::<f32>())), "heads");
}

/// Noise that is given must be there for every node that takes it.
#[test]
fn given_noise_lacks_no_step() {
    for step in [0, 13] {
        let mut list = Nodes::empty(level(0, 12));
        for m in 1..=12 {
            let noise = Normal::dynamics(if m == 6 { step } else { m });
            list.push(level(m, 12), true, &NodeTerms::new().a(1, [0, 0], 0.9).b(1, [0, 0], 0.1).c(0, noise, 0.5))
                .unwrap();
        }
        let problem = Problem::from_nodes(Cpu::<f32>::new(), list)
            .samples(2)
            .shape([3])
            .noise(ndarray::Array3::zeros((12, 2, 3)));
        let found = Sequential.sample(&problem, &mut smooth::<f32>());
        assert!(matches!(found, Err(Error::Setting { name: "the given noise", .. })));
    }
}

/// One component with two normals of streams of its own: nothing of the corrector's is drawn.
#[test]
fn normals_are_those_that_are_named() {
    let mut list = Nodes::empty(level(0, 1));
    let terms = NodeTerms::new().c(0, Normal::dynamics(1), 1.0).c(0, Normal::new(stream::USER + 3, 9), 10.0);
    list.push(level(1, 1), true, &terms).unwrap();
    let problem = Problem::from_nodes(Cpu::<f64>::new(), list).shape([1]).seed(8).ids(vec![77]);
    let normal = |stream, step| {
        let mut xi = [0.0];
        piadm::noise::NoiseKey::new(8).fill_f64(piadm::noise::Address { stream, step, sample: 77 }, 0, &mut xi);
        xi[0]
    };
    let found = Sequential.sample(&problem, &mut smooth::<f64>()).unwrap().samples[[0, 0]];
    assert_eq!(found, normal(stream::DYNAMICS, 1) + 10.0 * normal(stream::USER + 3, 9));
}
