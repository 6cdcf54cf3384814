//! Lists of one's own.

use crate::oracle::assert_close;
use ndarray::{Array2, Array3, ArrayView2, ArrayViewMut2};
use piadm::noise::{Address, stream};
use piadm::{
    Cpu, Discretisation, Error, Level, NodeTerms, NoiseKey, Ou, Prediction, Problem, Rows, Sampler, Save, ScoreFn,
    Sequential, score_fn,
};

fn level(t: f64) -> Level {
    Level::at(&Ou, t)
}

/// A network without meaning: it depends on state and time.
fn network() -> impl ScoreFn<Cpu<f64>> {
    score_fn(Prediction::Score, |x: ArrayView2<'_, f64>, rows: &Rows<'_>, mut out: ArrayViewMut2<'_, f64>| {
        for ((x, mut out), t) in x.outer_iter().zip(out.outer_iter_mut()).zip(rows.t) {
            out.zip_mut_with(&x, |out, &x| *out = respond(x, *t));
        }
        Ok(())
    })
}

fn respond(x: f64, t: f64) -> f64 {
    (x + t).sin()
}

/// Coefficients that differ from node to node and lag to lag.
fn number(node: usize, i: usize) -> f64 {
    0.3 * (1.7 * node as f64 + 2.9 * i as f64 + 0.4).cos()
}

/// Three lags, with a stage before every third solution; the recurrence written out.
#[test]
fn three_lags_and_stages() {
    const NODES: usize = 14;
    let time = |j: usize| 3.0 - 0.2 * j as f64;
    let solution = |j: usize| j % 3 != 1;
    let on_past = |j: usize, lag: usize, i: usize| if lag <= j { number(j, i + lag) } else { 0.0 };
    let mut list = Discretisation::empty(level(time(0)), 3, 1, 1).unwrap();
    for j in 1..=NODES {
        let a = [1, 2, 3].map(|lag| on_past(j, lag, 0));
        let b = [1, 2, 3].map(|lag| on_past(j, lag, 10));
        let terms = NodeTerms { a: &a, b: &b, c: &[number(j, 20)] };
        list.push(level(time(j)), solution(j), terms).unwrap();
    }
    let steps: Vec<usize> = list.nodes().iter().map(|n| n.step).collect();
    assert_eq!(steps, [0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9, 9]);
    assert_eq!((list.steps(), list.last_step(), list.lookback()), (9, 9, 3));
    assert!(list.nodes()[..NODES].iter().all(|n| n.evaluate) && !list.nodes()[NODES].evaluate);

    let x = crate::oracle::starts(2, 1.0);
    let noise = crate::oracle::normals(9, 2);
    let problem = Problem::from_list(Cpu::new(), list.clone(), (2, 1))
        .with_init(x.view())
        .with_noise(noise.view())
        .with_save(Save::All);
    let solution = Sequential.sample(&problem, &mut network()).unwrap();
    assert_eq!(solution.report.score_rows, 2 * NODES);
    for i in 0..2 {
        let mut states = vec![x[[i, 0]]];
        for j in 1..=NODES {
            let mut next = number(j, 20) * noise[[steps[j] - 1, i, 0]];
            for lag in 1..=3.min(j) {
                let past = states[j - lag];
                next += number(j, lag) * past;
                next += number(j, 10 + lag) * respond(past, time(j - lag));
            }
            states.push(next);
        }
        for (node, state) in list.nodes().iter().zip(&states).filter(|(node, _)| node.solution) {
            let found = solution.path.states()[[node.step, i, 0]];
            assert_close(found, *state, 1e-14, &format!("step {}", node.step));
        }
    }
}

/// Two components and two normals a step: the network sees the first component, the second starts at 0.
#[test]
fn two_components_and_two_normals() {
    const STEPS: usize = 6;
    let time = |j: usize| 2.0 - 0.2 * j as f64;
    let mut list = Discretisation::empty(level(time(0)), 2, 2, 2).unwrap();
    let a = |j: usize, lag: usize, to: usize, from: usize| {
        if lag <= j { number(j, 8 * lag + 2 * to + from) } else { 0.0 }
    };
    let b = |j: usize, lag: usize, to: usize| {
        if lag <= j { number(j, 50 + 2 * lag + to) } else { 0.0 }
    };
    let c = |j: usize, to: usize, normal: usize| number(j, 70 + 2 * to + normal);
    for j in 1..=STEPS {
        let both = [(1, 0), (1, 1), (2, 0), (2, 1)];
        let on_state = both.map(|(lag, to)| [a(j, lag, to, 0), a(j, lag, to, 1)]).concat();
        let on_output = both.map(|(lag, to)| b(j, lag, to));
        let on_noise = [c(j, 0, 0), c(j, 0, 1), c(j, 1, 0), c(j, 1, 1)];
        let terms = NodeTerms { a: &on_state, b: &on_output, c: &on_noise };
        list.push(level(time(j)), true, terms).unwrap();
        for (lag, to) in both {
            assert_eq!(list.b(j, lag, to), b(j, lag, to));
            assert_eq!([list.a(j, lag, to, 0), list.a(j, lag, to, 1)], [a(j, lag, to, 0), a(j, lag, to, 1)]);
            assert_eq!(list.c(j, to, lag - 1), c(j, to, lag - 1));
        }
    }
    let x = Array2::from_shape_fn((2, 3), |(i, k)| 0.5 * i as f64 - 0.3 * k as f64);
    let key = NoiseKey::new(9);
    let problem = Problem::from_list(Cpu::new(), list, (2, 3)).with_init(x.view()).with_key(key);
    let samples = Sequential.sample(&problem, &mut network()).unwrap().samples;
    let mut normals = Array3::<f64>::zeros((STEPS + 1, 2, 3));
    for sample in 0..2 {
        // The second component starts from normals of a stream of its own.
        let mut start = [0.0; 3];
        key.fill_f64(Address { stream: stream::CORRECTOR_START, step: 0, sample }, 0, &mut start);
        for step in 1..=STEPS {
            for normal in 0..2 {
                // A second independent normal of a step takes the next stream.
                let stream = stream::CORRECTOR_1 + normal as u32;
                let address = Address { stream, step: step as u32, sample };
                let mut row = [0.0; 3];
                key.fill_f64(address, 0, &mut row);
                (0..3).for_each(|k| normals[[step, normal, k]] = row[k]);
            }
        }
        for k in 0..3 {
            let mut states = vec![[x[[sample as usize, k]], start[k]]];
            for j in 1..=STEPS {
                let component = |to: usize| {
                    let noise: f64 = (0..2).map(|n| c(j, to, n) * normals[[j, n, k]]).sum();
                    let past: f64 = (1..=2.min(j))
                        .map(|lag| {
                            let [x, v] = states[j - lag];
                            a(j, lag, to, 0) * x + a(j, lag, to, 1) * v + b(j, lag, to) * respond(x, time(j - lag))
                        })
                        .sum();
                    past + noise
                };
                states.push([component(0), component(1)]);
            }
            assert_close(samples[[sample as usize, k]], states[STEPS][0], 1e-14, "position");
        }
    }
}

#[test]
fn coefficients_outside_a_list_are_zero() {
    let mut list = Discretisation::empty(level(2.0), 1, 1, 1).unwrap();
    list.push(level(1.0), true, NodeTerms { a: &[2.0], b: &[3.0], c: &[4.0] }).unwrap();
    assert_eq!((list.a(1, 1, 0, 0), list.b(1, 1, 0), list.c(1, 0, 0)), (2.0, 3.0, 4.0));
    for (lag, to, from) in [(0, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)] {
        assert_eq!(list.a(1, lag, to, from), 0.0);
    }
    assert_eq!((list.b(1, 0, 0), list.b(1, 2, 0), list.b(1, 1, 1)), (0.0, 0.0, 0.0));
    assert_eq!((list.c(1, 1, 0), list.c(1, 0, 1)), (0.0, 0.0));
    assert_eq!((list.a(2, 1, 0, 0), list.b(9, 1, 0), list.c(2, 0, 0)), (0.0, 0.0, 0.0));
}

/// Only nodes whose output is used are asked for it.
#[test]
fn nodes_without_weight_are_not_evaluated() {
    let mut list = Discretisation::empty(level(2.0), 2, 1, 0).unwrap();
    list.push(level(1.5), true, NodeTerms { a: &[1.0, 0.0], b: &[0.0, 0.0], c: &[] }).unwrap();
    list.push(level(1.0), true, NodeTerms { a: &[0.5, 0.5], b: &[0.0, 0.2], c: &[] }).unwrap();
    let asked: Vec<bool> = list.nodes().iter().map(|n| n.evaluate).collect();
    assert_eq!(asked, [true, false, false]);
    let x = crate::oracle::starts(1, 1.0);
    let problem = Problem::from_list(Cpu::new(), list, (1, 1)).with_init(x.view());
    let solution = Sequential.sample(&problem, &mut network()).unwrap();
    assert_eq!(solution.report.score_rows, 1);
    let expected = x[[0, 0]] + 0.2 * respond(x[[0, 0]], 2.0);
    assert_close(solution.samples[[0, 0]], expected, 1e-15, "sample");
}

#[test]
fn sizes_have_ranges() {
    let name = |lookback, components, normals| match Discretisation::empty(level(1.0), lookback, components, normals) {
        Err(Error::Setting { name, .. }) => name,
        Ok(_) => "fine",
        Err(other) => panic!("{other:?}"),
    };
    assert_eq!([name(0, 1, 1), name(17, 1, 1), name(16, 1, 1)], ["lookback", "lookback", "fine"]);
    assert_eq!([name(1, 0, 1), name(1, 3, 1), name(1, 2, 1)], ["components", "components", "fine"]);
    assert_eq!([name(1, 1, 3), name(1, 1, 2), name(1, 1, 0)], ["normals", "fine", "fine"]);
}

/// Wrong lengths, numbers that are not finite and lags before the start are refused, and the list stays as it was.
#[test]
fn bad_nodes_are_refused() {
    let mut list = Discretisation::empty(level(2.0), 2, 2, 1).unwrap();
    let before = list.clone();
    let (a, b, c) = ([0.5, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0], [0.2, 0.0]);
    for (what, found, expected, terms) in [
        ("a", 7, 8, NodeTerms { a: &a[..7], b: &b, c: &c }),
        ("b", 5, 4, NodeTerms { a: &a, b: &[0.0; 5], c: &c }),
        ("c", 1, 2, NodeTerms { a: &a, b: &b, c: &c[..1] }),
    ] {
        match list.push(level(1.0), true, terms) {
            Err(Error::Shape { what: w, found: f, expected: e }) => {
                assert_eq!((w, f, e), (what, vec![found], vec![expected]));
            }
            other => panic!("{other:?}"),
        }
    }
    let refused = |list: &mut Discretisation, a: &[f64], b: &[f64], c: &[f64]| match list.push(
        level(1.0),
        true,
        NodeTerms { a, b, c },
    ) {
        Err(Error::Setting { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(refused(&mut list, &[bad, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], &b, &c), "a");
        assert_eq!(refused(&mut list, &a, &[0.0, bad, 0.0, 0.0], &c), "b");
        assert_eq!(refused(&mut list, &a, &b, &[0.0, bad]), "c");
    }
    let (mut late_a, mut late_b) = (a, b);
    (late_a[7], late_b[3]) = (1e-300, 1e-300);
    assert_eq!(refused(&mut list, &late_a, &b, &c), "lag");
    assert_eq!(refused(&mut list, &a, &late_b, &c), "lag");
    assert_eq!(list, before);
    list.push(level(1.0), true, NodeTerms { a: &a, b: &b, c: &c }).unwrap();
    list.push(level(0.5), true, NodeTerms { a: &late_a, b: &late_b, c: &c }).unwrap();
    assert_eq!(list.nodes().len(), 3);
}

/// A problem needs a list that ends with a step.
#[test]
fn unfinished_lists_are_refused() {
    let start = Discretisation::empty(level(2.0), 1, 1, 1).unwrap();
    let mut stage = start.clone();
    let terms = NodeTerms { a: &[1.0], b: &[0.1], c: &[0.0] };
    stage.push(level(1.5), true, terms).unwrap();
    stage.push(level(1.0), false, terms).unwrap();
    for list in [start, stage] {
        let problem = Problem::from_list(Cpu::new(), list, (1, 1));
        let solution = Sequential.sample(&problem, &mut network());
        assert!(matches!(solution, Err(Error::Setting { name: "list", .. })));
    }
}
