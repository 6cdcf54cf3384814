//! Exactness in law: verified guesses leave paths with independent normals, whatever the iteration.
//!
//! `reference.rs` is the method once more, in plain loops; made wrong on purpose, it shows what each statistic sees.

#[path = "../common/mod.rs"]
mod common;
mod moments;
mod reference;
mod settings;
mod statistics;

use ndarray::{Array3, ArrayView2, ArrayViewMut2};
use piadm::noise::{Address, NoiseKey, stream};
use piadm::sampler::{Entry, Linearisation, on_round};
use piadm::{
    BoxError, Cpu, Grid, Guarantee, Model, Ou, Picard, Prediction, Problem, Rows, Sampler, Save, Scheme, ScoreFn,
    Sequential,
};
use reference::{Chain, DIM, Judged, Mutation, Run, Settings, State, denoised, run};
use statistics::{COLUMNS, Errors, errors};
use std::ops::ControlFlow;

const STEPS: usize = 128;
const WINDOW: usize = 32;
const SEED: u64 = 7;

fn grid() -> Grid {
    Grid::log_snr(STEPS).between(6.0, 0.02)
}

fn problem(samples: usize) -> Problem<Cpu<f64>> {
    Problem::on(Cpu::new(), Ou, grid(), Scheme::default()).samples(samples).shape([DIM]).seed(SEED)
}

/// The mixture of `reference.rs`, which notes where it is evaluated: round by round, sample and node.
struct Mixture {
    chain: Chain,
    seen: Vec<Vec<(usize, usize, State)>>,
}

impl Mixture {
    fn new() -> Self {
        let nodes = piadm::Nodes::new(&Ou, &grid(), &Scheme::default(), Prediction::Data).unwrap();
        let times: Vec<f64> = nodes.nodes().iter().map(|node| node.level.t).collect();
        Mixture { chain: Chain::new(&times), seen: Vec::new() }
    }

    fn node(&self, t: f64) -> usize {
        self.chain.levels.iter().position(|level| level.t == t).unwrap()
    }
}

impl Model for Mixture {
    fn prediction(&self) -> Prediction {
        Prediction::Data
    }
}

impl ScoreFn<Cpu<f64>> for Mixture {
    fn eval(
        &mut self,
        x: ArrayView2<'_, f64>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, f64>,
    ) -> Result<(), BoxError> {
        let mut seen = Vec::with_capacity(rows.len());
        for (i, x) in x.rows().into_iter().enumerate() {
            let (node, state) = (self.node(rows.t[i]), std::array::from_fn(|e| x[e]));
            let d = denoised(&self.chain.levels[node], &state);
            (0..DIM).for_each(|e| out[[i, e]] = d[e]);
            seen.push((rows.slot[i], node, state));
        }
        self.seen.push(seen);
        Ok(())
    }
}

/// The normals of a sample, step by step, and its start.
fn noise(id: u32) -> (State, Vec<State>) {
    let row = |stream: u32, step: usize| {
        let mut row = [0.0; DIM];
        NoiseKey::new(SEED).fill_f64(Address { stream, step: step as u32, sample: id }, 0, &mut row);
        row
    };
    (row(stream::INITIAL, 0), (1..=STEPS).map(|step| row(stream::DYNAMICS, step)).collect())
}

/// Runs the crate's sampler, and works out from outside which guesses it judged, and by which delta.
fn observed(sampler: &Picard, samples: usize) -> (Vec<Run>, piadm::Report) {
    let mut score = Mixture::new();
    let mut finished: Vec<Vec<usize>> = vec![vec![0; samples]];
    let mut watch = on_round(|round| {
        finished.push(round.finished.to_vec());
        ControlFlow::Continue(())
    });
    let solution = sampler.run(&problem(samples).save(Save::All), &mut score, &mut watch).unwrap();
    assert_eq!(solution.report.guarantee, Guarantee::Law);
    let states = solution.path.states();
    let chain = &score.chain;
    let mut runs: Vec<Run> = (0..samples)
        .map(|slot| {
            let path: Vec<State> = (0..=STEPS).map(|j| std::array::from_fn(|e| states[[j, slot, e]])).collect();
            let noise = noise(slot as u32).1;
            Run { states: path, noise, judged: Vec::new(), rounds: solution.report.sample_rounds[slot] }
        })
        .collect();
    for (round, seen) in score.seen.iter().enumerate() {
        for (slot, node, guess) in seen {
            // this round finished the nodes after `before`, up to `after`; the last of them was made anew
            let (before, after) = (finished[round][*slot], finished[round + 1][*slot]);
            if *node <= before || *node > after {
                continue;
            }
            let run = &mut runs[*slot];
            let (j, step) = (*node, chain.steps[node - 1]);
            let (x, d) = (run.states[j - 1], denoised(&chain.levels[j - 1], &run.states[j - 1]));
            let exact = |e: usize| step.a * x[e] + step.b * d[e] + step.c * run.noise[j - 1][e];
            let delta = std::array::from_fn(|e| (exact(e) - guess[e]) / step.c);
            let kept = j < after;
            assert!(!kept || run.states[j] == *guess, "an accepted state changed");
            run.judged.push(Judged { node: j, delta, kept });
        }
    }
    (runs, solution.report)
}

/// The iteration that both know.
fn plain(window: usize, copies: bool) -> Picard {
    let entry = if copies { Entry::Copy } else { Entry::HeldData { variance: 0.05 } };
    Picard::exact_in_law().window(window).linearisation(Linearisation::Gaussian { variance: 0.25 }).entry(entry)
}

fn settings(window: usize, copies: bool, mutation: Mutation) -> Settings {
    Settings { window, variance: 0.25, held: (!copies).then_some(0.05), redraft: false, mutation }
}

fn reference(samples: usize, settings: Settings) -> Vec<Run> {
    let chain = Mixture::new().chain;
    let one = |id| run(&chain, settings, noise(id), NoiseKey::new(SEED), id);
    (0..samples as u32).map(one).collect()
}

/// The crate and the plain loops agree on every state, every verdict and the number of rounds.
#[test]
fn the_crate_does_what_the_page_says() {
    let draft = |window| {
        let settings = settings(window, false, Mutation::None);
        (Picard::frozen_draft(window), Settings { held: Some(0.0), redraft: true, ..settings })
    };
    let both = |window, copies| (plain(window, copies), settings(window, copies, Mutation::None));
    let swept = [(3, false), (WINDOW, false), (STEPS, false), (3, true), (WINDOW, true)];
    let swept = swept.map(|(window, copies)| both(window, copies));
    for (sampler, settings) in swept.into_iter().chain([3, WINDOW, STEPS].map(draft)) {
        let (runs, _) = observed(&sampler, 60);
        for (ours, theirs) in runs.iter().zip(reference(60, settings)) {
            assert_eq!(ours.rounds, theirs.rounds);
            for (a, b) in ours.states.iter().flatten().zip(theirs.states.iter().flatten()) {
                assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "{a} for {b}");
            }
            if settings.held.is_some() {
                // the plain loops do not judge what was copied, which cannot be seen from outside
                let verdicts = |run: &Run| run.judged.iter().map(|j| (j.node, j.kept)).collect::<Vec<_>>();
                assert_eq!(verdicts(ours), verdicts(&theirs));
            }
        }
    }
}

/// Samples of the sequential sampler with another seed, in their first element.
fn sequential(samples: usize) -> Vec<f64> {
    let problem = problem(samples).seed(SEED + 1);
    Sequential.sample(&problem, &mut Mixture::new()).unwrap().samples.column(0).to_vec()
}

/// What each statistic sees. The crate and the plain loops are within chance; every mutation is seen somewhere, here or
/// by the tests of causality and of addresses.
#[test]
fn recovered_noise_is_normal_and_mutations_are_seen() {
    const SAMPLES: usize = 4_000;
    let (chain, ends) = (Mixture::new().chain, sequential(SAMPLES));
    println!("{:<24}{}", "", COLUMNS.map(|name| format!("{name:>9}")).concat());
    let show = |name: &str, found: Errors| {
        println!("{name:<24}{found}");
        found
    };
    for (name, sampler) in [
        ("the crate", plain(WINDOW, false)),
        ("the crate, secant", Picard::exact_in_law().window(WINDOW)),
        ("the crate, frozen draft", Picard::frozen_draft(WINDOW)),
    ] {
        let (runs, report) = observed(&sampler, SAMPLES);
        let found = show(name, errors(&chain, &runs, &ends));
        assert!(!found.red(), "{name}");
        let verified = report.verified.unwrap();
        // every node is kept, or made anew at the end of a round of its sample
        let anew: usize = verified.lengths.iter().sum();
        assert_eq!(anew, report.sample_rounds.iter().sum::<usize>());
        assert_eq!(verified.kept() + anew, SAMPLES * STEPS);
        let refused: usize = runs.iter().flat_map(|run| &run.judged).filter(|judged| !judged.kept).count();
        assert_eq!(verified.refused.iter().sum::<usize>(), refused);
    }
    let mutated = |mutation, copies| {
        let runs = reference(SAMPLES, settings(WINDOW, copies, mutation));
        errors(&chain, &runs, &ends)
    };
    assert!(!show("plain loops", mutated(Mutation::None, false)).red());
    assert!(!show("plain loops, copies", mutated(Mutation::None, true)).red());
    for mutation in [
        Mutation::FreshNormal,
        Mutation::NotReflected,
        Mutation::CorrectionsLeftOn,
        Mutation::AcceptedOverwritten,
        Mutation::CopiesJudged,
        Mutation::SlopesFromLater,
        Mutation::OwnSlope,
        Mutation::SharedUniform,
    ] {
        let copies = mutation == Mutation::CopiesJudged;
        let found = show(&format!("{mutation:?}"), mutated(mutation, copies));
        // those who look ahead are seen by the tests of causality, a number that is used twice by its address
        let elsewhere = [Mutation::SlopesFromLater, Mutation::OwnSlope, Mutation::SharedUniform];
        assert!(found.red() || elsewhere.contains(&mutation), "{mutation:?} is not seen");
    }
}

/// Samples whose states before node j move when the noise from j on is another one, and samples whose state at j does
/// not move by c |v| when xi_j moves by v.
fn causality(
    samples: usize,
    j: usize,
    states: impl Fn(&dyn Fn(usize, usize) -> State) -> Vec<Vec<State>>,
) -> [usize; 2] {
    let chain = Mixture::new().chain;
    let own: Vec<Vec<State>> = (0..samples as u32).map(|id| noise(id).1).collect();
    let other: Vec<Vec<State>> = (0..samples as u32).map(|id| noise(id + 100_000).1).collect();
    let shift = [3e-5, -8e-5, 5.2e-5, 1e-5, 0.0, -4e-5, 2e-5, 6e-5];
    let as_is = states(&|slot, step| own[slot][step - 1]);
    let later = states(&|slot, step| if step < j { own[slot][step - 1] } else { other[slot][step - 1] });
    let moved = states(&|slot, step| {
        let xi = own[slot][step - 1];
        if step == j { std::array::from_fn(|e| xi[e] + shift[e]) } else { xi }
    });
    let leaks = (0..samples).filter(|slot| as_is[*slot][..j] != later[*slot][..j]).count();
    let expected = chain.steps[j - 1].c * reference::dot(&shift, &shift).sqrt();
    let bent = (0..samples).filter(|slot| {
        let change: State = std::array::from_fn(|e| moved[*slot][j][e] - as_is[*slot][j][e]);
        (reference::dot(&change, &change).sqrt() / expected - 1.0).abs() > 1e-6
    });
    [leaks, bent.count()]
}

fn with_noise(sampler: &Picard, samples: usize, xi: &dyn Fn(usize, usize) -> State) -> Vec<Vec<State>> {
    let given = Array3::from_shape_fn((STEPS, samples, DIM), |(m, slot, e)| xi(slot, m + 1)[e]);
    let problem = problem(samples).noise(given).save(Save::All);
    let path = sampler.sample(&problem, &mut Mixture::new()).unwrap().path;
    let state = |slot: usize, j: usize| std::array::from_fn(|e| path.states()[[j, slot, e]]);
    (0..samples).map(|slot| (0..=STEPS).map(|j| state(slot, j)).collect()).collect()
}

/// Nothing at a node depends on the noise of later ones, and a node moves as far as its own normal does: for every
/// iteration and entry that is allowed. The plain loops show that leaks are seen.
#[test]
fn no_node_knows_later_noise() {
    const SAMPLES: usize = 64;
    for j in [STEPS / 2, 3 * STEPS / 4] {
        for (i, (linearisation, entry)) in common::iterations().into_iter().enumerate() {
            for window in [3, WINDOW, STEPS] {
                let sampler = Picard::exact_in_law().window(window).linearisation(linearisation).entry(entry);
                let sampler = sampler.redraft(i % 3 == 2);
                let [leaks, bent] = causality(SAMPLES, j, |xi| with_noise(&sampler, SAMPLES, xi));
                // a verdict may flip when its own noise moves
                assert!(leaks == 0 && bent <= SAMPLES / 50, "{sampler:?}: {leaks} {bent}");
            }
        }
        let chain = Mixture::new().chain;
        let leaky = |window, mutation, copies| {
            causality(SAMPLES, j, |xi| {
                let one = |id: u32| {
                    let given = (1..=STEPS).map(|step| xi(id as usize, step)).collect();
                    run(&chain, settings(window, copies, mutation), (noise(id).0, given), NoiseKey::new(SEED), id)
                        .states
                };
                (0..SAMPLES as u32).map(one).collect()
            })
        };
        let [leaks, bent] = leaky(WINDOW, Mutation::None, false);
        assert!(leaks == 0 && bent <= SAMPLES / 50, "{leaks} {bent}");
        for (window, mutation, copies, [least_leaks, least_bent]) in [
            (WINDOW, Mutation::SlopesFromLater, false, [SAMPLES / 8, 0]),
            (WINDOW, Mutation::OwnSlope, false, [0, SAMPLES / 20]),
            (3, Mutation::CopiesJudged, true, [0, SAMPLES / 4]),
        ] {
            let [leaks, bent] = leaky(window, mutation, copies);
            println!("{mutation:?}: {leaks} leaks, {bent} bent of {SAMPLES}");
            assert!(leaks >= least_leaks && bent >= least_bent, "{mutation:?}: {leaks} {bent}");
        }
    }
}
