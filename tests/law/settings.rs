//! Bits, rounds, and what cannot be had.

use crate::common::{self, bits, lists, two_modes};
use crate::statistics::apart;
use ndarray::{Array2, Array3, ArrayView2, ArrayViewMut2, s};
use piadm::backend::Real;
use piadm::nodes::{Correction, Langevin, NodeTerms, Normal};
use piadm::sampler::{Coupling, Entry, Policy};
use piadm::schedule::Level;
use piadm::{
    Acceptance, Automatic, Cpu, Error, Grid, Guarantee, Nodes, Ou, Parareal, Picard, Prediction, Problem, Rows,
    Sampler, Save, Scheme, Sequential, Stop, Sweeps, Window, score::Mixture, score_fn,
};

const STEPS: usize = 24;

fn grid() -> Grid {
    Grid::log_snr(STEPS).between(6.0, 0.05).then_data()
}

fn problem<T: Real>(scheme: Scheme) -> Problem<Cpu<T>> {
    Problem::on(Cpu::new(), Ou, grid(), scheme).samples(5).shape([7]).seed(3)
}

/// Schemes with noise, Langevin steps, and both together.
fn problems<T: Real>() -> Vec<Problem<Cpu<T>>> {
    let mut all = Vec::new();
    for scheme in common::schemes() {
        let list = Nodes::new(&Ou, &grid(), &scheme, Prediction::Score).unwrap();
        if list.has_noise() {
            all.push(problem(scheme.clone()));
        }
        let correction = Correction::default().steps(4);
        all.push(problem(scheme).correction(Window::Steps(8), correction));
    }
    let langevin = Langevin { friction: 2.0, step: 0.1, steps: STEPS };
    let list = langevin.list(Level::at(&Ou, 0.5), Prediction::Score, 0).unwrap();
    all.push(Problem::from_nodes(Cpu::new(), list).samples(5).shape([7]).seed(3));
    all
}

fn window_of_one<T: Real>() {
    for problem in problems::<T>() {
        let problem = problem.save(Save::All);
        let mut score = two_modes::<T>(Prediction::Score);
        let sequential = Sequential.sample(&problem, &mut score).unwrap();
        for nodes in [1, 2, 5, 100] {
            for (i, (linearisation, entry)) in common::iterations().into_iter().enumerate() {
                let sampler = Picard::exact_in_law().window(Window::Nodes { nodes }).redraft(i % 3 == 2);
                let sampler = sampler.linearisation(linearisation).entry(entry);
                let solution = sampler.sample(&problem, &mut score).unwrap();
                assert_eq!((solution.report.stop, solution.report.guarantee), (Stop::Converged, Guarantee::Law));
                assert!(solution.report.rounds <= sequential.report.rounds, "{sampler:?}");
                if nodes == 1 {
                    assert_eq!(bits(&solution.samples), bits(&sequential.samples));
                    assert_eq!(solution.path, sequential.path);
                }
            }
        }
        let marked = Picard::exact_in_law().entry(Entry::Copy).redraft(true).window(Window::Marked { marks: 1 });
        let rounds = marked.sample(&problem, &mut score).unwrap().report.rounds;
        // a churned step begins with a node that no output makes: the copy of it costs a block one round
        let churned = format!("{problem:?}").contains("EdmStochastic");
        let most = sequential.report.rounds + if churned { STEPS / 8 } else { 0 };
        assert!(rounds <= most, "{rounds} for {most}");
    }
}

#[test]
fn a_window_of_one_has_the_sequential_bits_f32() {
    window_of_one::<f32>();
}

#[test]
fn a_window_of_one_has_the_sequential_bits_f64() {
    window_of_one::<f64>();
}

/// Same seed, same window, same iteration: the same samples alone, in any batch and order, under any budget and on any
/// number of threads.
#[test]
fn samples_do_not_depend_on_the_batch() {
    for (linearisation, entry) in common::iterations() {
        let sampler = Picard::exact_in_law().window(8).linearisation(linearisation).entry(entry);
        let problem = Problem::new(Ou, grid(), Scheme::default()).samples(6).shape([700]).seed(3);
        let mut score = two_modes::<f32>(Prediction::Noise);
        let all = sampler.sample(&problem, &mut score).unwrap();
        let other = problem.clone().ids([4, 0, 5, 2, 1, 3]);
        let budget = sampler.clone().row_budget(17).sample(&other, &mut score).unwrap();
        for (place, id) in [4, 0, 5, 2, 1, 3].into_iter().enumerate() {
            assert_eq!(budget.samples.row(place), all.samples.row(id));
            assert_eq!(budget.report.sample_rounds[place], all.report.sample_rounds[id]);
            let alone = sampler.sample(&problem.clone().samples(1).ids([id as u32]), &mut score).unwrap();
            assert_eq!(alone.samples.row(0), all.samples.row(id));
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let threads = pool.install(|| sampler.sample(&problem, &mut two_modes::<f32>(Prediction::Noise)).unwrap());
        assert_eq!(bits(&threads.samples), bits(&all.samples));
    }
}

/// Unlike requests in one batch, in f32 and with a session that is used again.
#[test]
fn unlike_requests_and_sessions() {
    let request = |scheme, steps, seed| {
        let grid = Grid::log_snr(steps).between(6.0, 0.05);
        Problem::new(Ou, grid, scheme).samples(2).shape([40]).seed(seed)
    };
    let second = Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: true };
    let requests = [request(Scheme::default(), 30, 1), request(second, 12, 2), request(Scheme::default(), 55, 3)];
    let mut score = two_modes::<f32>(Prediction::Noise);
    for sampler in [Picard::exact_in_law().window(9), Picard::exact_in_law().window(9).row_budget(20)] {
        let joined = sampler.sample(&Problem::join(requests.clone()).unwrap(), &mut score).unwrap();
        for (i, request) in requests.iter().enumerate() {
            let alone = sampler.sample(request, &mut score).unwrap();
            assert_eq!(joined.samples.slice(s![2 * i..2 * i + 2, ..]), alone.samples);
        }
        let mut prepared = requests[1].prepare(&score).unwrap();
        let mut session = sampler.session(&prepared).unwrap();
        for seed in [8, 2] {
            prepared.reseed(seed);
            session.run(&prepared, &mut score).unwrap();
        }
        let alone = sampler.sample(&requests[1], &mut score).unwrap();
        assert_eq!(session.samples(), alone.samples);
        assert_eq!(session.report().verified, alone.report.verified);
    }
}

/// No two nodes share a normal, so none share the uniform number that is addressed by it.
#[test]
fn addresses_are_distinct() {
    let correction = Correction::default();
    for scheme in common::schemes() {
        let block = (Window::Steps(5), &correction);
        let corrected = Nodes::corrected(&Ou, &grid(), &scheme, Prediction::Noise, 0..STEPS + 1, block).unwrap();
        for list in [Nodes::new(&Ou, &grid(), &scheme, Prediction::Noise).unwrap(), corrected] {
            let mut all: Vec<Normal> = (0..list.nodes().len()).flat_map(|j| list.normals(j).to_vec()).collect();
            let count = all.len();
            all.sort_by_key(|normal| (normal.stream, normal.step));
            all.dedup();
            assert_eq!(all.len(), count, "{scheme:?}");
        }
    }
}

#[test]
fn what_cannot_be_verified_is_said() {
    let law = Picard::exact_in_law;
    let stochastic = problem::<f32>(Scheme::default());
    let path = Sequential.sample(&stochastic.clone().save(Save::All), &mut two_modes(Prediction::Score)).unwrap().path;
    let shared = {
        let mut list = Nodes::empty(Level::at(&Ou, 1.0));
        for _ in 0..3 {
            let terms = NodeTerms::new().a(1, [0, 0], 0.9).b(1, [0, 0], 0.1).c(0, Normal::dynamics(1), 0.1);
            list.push(Level::at(&Ou, 1.0), true, &terms).unwrap();
        }
        Problem::from_nodes(Cpu::<f32>::new(), list).shape([7])
    };
    let cases: [(Picard, Problem<Cpu<f32>>, &str); 8] = [
        (law().policy(Policy::Blocks), stochastic.clone(), "blocks"),
        (law().policy(Policy::Wavefront { blocks: 2 }), stochastic.clone(), "blocks"),
        (law().coupling(Coupling::WholeBatch), stochastic.clone(), "WholeBatch"),
        (law().sweeps(Sweeps::AtMost(3)), stochastic.clone(), "sweeps"),
        (law().anderson(2), stochastic.clone(), "Anderson"),
        (law(), stochastic.clone().guesses(path), "guesses"),
        (law(), problem(Scheme::ddim()), "without noise"),
        (law(), shared, "noise is used elsewhere"),
    ];
    for (sampler, problem, word) in cases {
        let error = sampler.sample(&problem, &mut two_modes::<f32>(Prediction::Score)).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains(word) && error.to_string().contains("Acceptance::Law"), "{error}");
    }
    // seven components with one normal, and one component with seven: one by one they can be had
    let wide = {
        let mut list = Nodes::empty(Level::at(&Ou, 1.0));
        let terms = (0..7).fold(NodeTerms::wide(7), |terms, to| terms.a(1, [to, 0], 0.5));
        list.push(Level::at(&Ou, 0.9), true, &terms.b(1, [0, 0], 0.1).c(6, Normal::dynamics(1), 0.1)).unwrap();
        Problem::from_nodes(Cpu::<f32>::new(), list).shape([7])
    };
    let noisy = {
        let mut list = Nodes::empty(Level::at(&Ou, 1.0));
        let terms = NodeTerms::new().a(1, [0, 0], 0.5).b(1, [0, 0], 0.1);
        let terms = (0..7).fold(terms, |terms, k| terms.c(0, Normal::new(16 + k, 1), 0.1));
        list.push(Level::at(&Ou, 0.9), true, &terms).unwrap();
        Problem::from_nodes(Cpu::<f32>::new(), list).shape([7])
    };
    for alone in [&wide, &noisy] {
        law().sample(alone, &mut two_modes::<f32>(Prediction::Score)).unwrap();
    }
    let error = law().sample(&Problem::join([wide, noisy]).unwrap(), &mut two_modes::<f32>(Prediction::Score));
    assert!(error.unwrap_err().to_string().contains("14 components and normals"));
    let parareal = Parareal::default().acceptance(Acceptance::Law);
    let error = parareal.sample(&stochastic, &mut two_modes::<f32>(Prediction::Score)).unwrap_err();
    assert!(matches!(error, Error::Unsupported { what: "Parareal", .. }));
    let kernel = Problem::from_nodes(Cpu::<f32>::new(), lists::mixed(STEPS)).shape([7]);
    let error = law().sample(&kernel, &mut lists::kernel::<f32>()).unwrap_err();
    assert!(error.to_string().contains("kernel"), "{error}");
}

/// Inputs at the edge: an error that says what is wrong, or samples.
#[test]
fn edges() {
    let law = || Picard::exact_in_law().window(8);
    let of = |steps: usize, samples: usize, dim: usize| {
        let grid = Grid::log_snr(steps).between(6.0, 0.05);
        Problem::new(Ou, grid, Scheme::default()).samples(samples).shape([dim]).seed(2)
    };
    let mut score = two_modes::<f32>(Prediction::Score);
    assert!(law().sample(&of(5, 0, 2), &mut score).is_err());
    assert!(law().sample(&of(5, 2, 0), &mut score).is_err());
    assert!(law().window(0).sample(&of(5, 2, 2), &mut score).is_err());
    for (steps, dim) in [(1, 1), (2, 1), (1, 5), (40, 1)] {
        for sampler in [law(), Picard::frozen_draft(8), law().window(1000)] {
            let sequential = Sequential.sample(&of(steps, 3, dim), &mut score).unwrap();
            let solution = sampler.sample(&of(steps, 3, dim), &mut score).unwrap();
            assert!(solution.samples.iter().all(|x| x.is_finite()));
            assert!(solution.report.rounds <= sequential.report.rounds);
            if steps == 1 {
                assert_eq!(solution.samples, sequential.samples);
            }
        }
    }
    // a network that answers NaN, or fails, in its third round; the session is usable afterwards
    let problem = of(40, 2, 3);
    let prepared = problem.prepare(&score).unwrap();
    let mut session = law().session(&prepared).unwrap();
    let expected = law().sample(&problem, &mut score).unwrap();
    for fails in [false, true] {
        let mut calls = 0;
        let mut broken =
            score_fn(Prediction::Score, |_: ArrayView2<'_, f32>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, f32>| {
                calls += 1;
                out.fill(if calls == 3 && !fails { f32::NAN } else { 0.1 });
                if calls == 3 && fails { Err("no more".into()) } else { Ok(()) }
            });
        let error = session.run(&prepared, &mut broken).unwrap_err();
        match error {
            Error::ScoreNotFinite { round, .. } => assert!(!fails && round == 3),
            Error::Score { round, .. } => assert!(fails && round == 3),
            other => panic!("{other}"),
        }
        session.run(&prepared, &mut score).unwrap();
        assert_eq!(
            (session.samples(), &session.report().verified),
            (expected.samples.view(), &expected.report.verified)
        );
    }
}

/// Ten thousand steps in f32: steps so short that rounding is part of every change. It refuses some guesses, but few.
#[test]
fn many_steps_in_single_precision() {
    fn report<T: Real>() -> piadm::Report {
        let grid = Grid::log_snr(10_000).between(6.0, 0.01);
        let problem = Problem::on(Cpu::<T>::new(), Ou, grid, Scheme::default()).samples(2).shape([16]).seed(2);
        let solution =
            Picard::exact_in_law().window(500).sample(&problem, &mut two_modes::<T>(Prediction::Noise)).unwrap();
        assert!(solution.samples.iter().all(|x| x.wide().is_finite()));
        solution.report
    }
    let (single, double) = (report::<f32>(), report::<f64>());
    println!("{} rounds in f32, {} in f64", single.rounds, double.rounds);
    assert!(single.rounds < 2 * double.rounds, "{} and {}", single.rounds, double.rounds);
}

/// A run that is cut short guarantees nothing, and one that chooses its window keeps the law.
#[test]
fn deadlines_and_automatic_windows() {
    let problem = problem::<f32>(Scheme::default());
    let mut score = two_modes::<f32>(Prediction::Score);
    let cut = Picard::exact_in_law().deadline(2).sample(&problem, &mut score).unwrap();
    assert_eq!((cut.report.stop, cut.report.guarantee), (Stop::Deadline, Guarantee::None));
    let chosen = Automatic::default().base(Picard::exact_in_law()).sample(&problem, &mut score).unwrap();
    assert!([Guarantee::Law, Guarantee::Bits].contains(&chosen.report.guarantee));
}

/// The law is that of all samples: those that finish first are a biased selection.
#[test]
fn those_who_finish_first_are_no_fair_selection() {
    const SAMPLES: usize = 4_000;
    let means = ndarray::array![[-1.5, 0.0], [1.5, 0.0]];
    let mut score = Mixture::new(vec![0.5, 0.5], means, vec![0.1, 0.8]).unwrap();
    let grid = Grid::log_snr(64).between(6.0, 0.01);
    let problem = Problem::on(Cpu::<f64>::new(), Ou, grid, Scheme::default()).samples(SAMPLES).shape([2]).seed(6);
    let wide = |samples: &Array2<f64>, slots: &[usize]| {
        slots.iter().filter(|slot| samples[[**slot, 0]] > -1.0).count() as f64 / slots.len() as f64
    };
    let all: Vec<usize> = (0..SAMPLES).collect();
    let sequential = wide(&Sequential.sample(&problem.clone().seed(7), &mut score).unwrap().samples, &all);
    let solution = Picard::exact_in_law().window(32).sample(&problem, &mut score).unwrap();
    let deviation = (0.5 / SAMPLES as f64).sqrt();
    let share = wide(&solution.samples, &all);
    println!("{:.0} % are in the wider mode, sequentially {:.0} %", 100.0 * share, 100.0 * sequential);
    assert!((share - sequential).abs() < 4.0 * deviation);
    let rounds = &solution.report.sample_rounds;
    for most in 3..=8 {
        let early: Vec<usize> = all.iter().copied().filter(|slot| rounds[*slot] <= most).collect();
        println!(
            "{:.0} % of the {} samples done in {most} rounds",
            100.0 * wide(&solution.samples, &early),
            early.len()
        );
    }
    let early: Vec<usize> = all.iter().copied().filter(|slot| rounds[*slot] <= 4).collect();
    assert!(early.len() > 100 && (wide(&solution.samples, &early) - share).abs() > 0.1);
}

/// First guesses that overflow in f32 are no proposals: what is kept of them is not the node's own formula. One node
/// has a coefficient so large that a held prediction overflows where the network's small answer does not. The first
/// node is judged before it is ever swept.
#[test]
fn guesses_that_overflow_are_no_proposals() {
    overflow_at::<1>();
    overflow_at::<8>();
}

fn overflow_at<const AT: usize>() {
    const SAMPLES: usize = 400;
    let mut list = Nodes::empty(Level::at(&Ou, 2.0));
    for m in 1..=16 {
        let b = if m == AT { 3e38 } else { 0.3 };
        let terms = NodeTerms::new().a(1, [0, 0], 0.5).b(1, [0, 0], b).c(0, Normal::dynamics(m), 0.8);
        list.push(Level::at(&Ou, 2.0 - 0.1 * m as f64), true, &terms).unwrap();
    }
    let large = list.nodes()[AT - 1].level.t;
    let mut score = score_fn::<f32>(
        Prediction::Data,
        move |x: ArrayView2<'_, f32>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, f32>| {
            for (i, mut out) in out.rows_mut().into_iter().enumerate() {
                let scale = if rows.t[i] == large { 1e-38 } else { 1.0 };
                out.zip_mut_with(&x.row(i), |out, x| *out = scale * (2.0 * x).tanh());
            }
            Ok(())
        },
    );
    // far from 0, so that the first prediction overflows
    let start = Array2::from_elem((SAMPLES, 2), 10.0f32);
    let problem = Problem::from_nodes(Cpu::<f32>::new(), list).shape([2]).init(start).seed(4).save(Save::All);
    let mut noise = Array3::<f32>::zeros((16, SAMPLES, 2));
    let key = piadm::noise::NoiseKey::new(4);
    for ((m, sample), mut row) in ndarray::indices((16, SAMPLES)).into_iter().zip(noise.rows_mut()) {
        let address =
            piadm::noise::Address { stream: piadm::noise::stream::DYNAMICS, step: m as u32 + 1, sample: sample as u32 };
        key.fill_f32(address, 0, row.as_slice_mut().unwrap());
    }
    for entry in [Entry::HeldData { variance: 1.0 }, Entry::Auto, Entry::LinearData { variance: 0.5 }] {
        let sampler = Picard::exact_in_law().window(16).entry(entry);
        let mut states = |noise: &Array3<f32>| {
            let path = sampler.sample(&problem.clone().noise(noise.clone()), &mut score).unwrap().path;
            path.states().slice(s![AT, .., ..]).to_owned()
        };
        let mut moved = noise.clone();
        moved.slice_mut(s![AT - 1, .., 0]).mapv_inplace(|x| x + 0.03);
        let change: Array2<f32> = &states(&moved) - &states(&noise);
        let bent = change.rows().into_iter().filter(|d| (d.dot(d).sqrt() / (0.8 * 0.03) - 1.0).abs() > 1e-3);
        let bent = bent.count();
        assert!(bent <= SAMPLES / 50, "{entry:?}: {bent} of {SAMPLES}");
        // and the law of the last states
        let parallel = sampler.sample(&problem, &mut score).unwrap().samples;
        let sequential = Sequential.sample(&problem.clone().seed(5), &mut score).unwrap().samples;
        let ends = |x: &Array2<f32>| x.iter().map(|x| f64::from(*x)).collect();
        assert!(apart(ends(&parallel), ends(&sequential)) < 2.6);
    }
}
