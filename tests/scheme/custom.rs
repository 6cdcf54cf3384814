//! Lists of one's own.

use crate::oracle::assert_close;
use ndarray::{Array2, Array3, ArrayView2, ArrayViewMut2};
use piadm::{
    Acceptance, BoxError, Cpu, Error, Model, Nodes, Ou, Picard, Prediction, Problem, Rows, Sampler, Save, ScoreFn,
    Sequential,
    nodes::{NodeTerms, Normal},
    noise::{Address, NoiseKey, stream},
    schedule::Level,
    score_fn,
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
    let mut list = Nodes::empty(level(time(0)));
    for j in 1..=NODES {
        let mut terms = NodeTerms::new().c(0, Normal::dynamics(list.next_step()), number(j, 20));
        for lag in 1..=3.min(j) {
            terms = terms.a(lag, [0, 0], number(j, lag)).b(lag, [0, 0], number(j, 10 + lag));
        }
        list.push(level(time(j)), solution(j), &terms).unwrap();
    }
    let steps: Vec<usize> = list.nodes().iter().map(|n| n.step).collect();
    assert_eq!(steps, [0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8, 9, 9]);
    assert_eq!((list.steps(), list.last_step(), list.lookback()), (9, 9, 3));
    assert!(list.nodes()[..NODES].iter().all(|n| n.evaluate) && !list.nodes()[NODES].evaluate);

    let x = crate::oracle::starts(2, 1.0);
    let noise = crate::oracle::normals(9, 2);
    let problem = Problem::from_nodes(Cpu::new(), list.clone())
        .samples(2)
        .shape([1])
        .init(x.clone())
        .noise(noise.clone())
        .save(Save::All);
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

/// Two components and two normals per step: the network sees the first component, the second starts from noise.
#[test]
fn two_components_and_two_normals() {
    const STEPS: usize = 6;
    let time = |j: usize| 2.0 - 0.2 * j as f64;
    let velocity = NodeTerms::wide(2).c(1, Normal::new(stream::CORRECTOR_START, 0), 1.0);
    let mut list = Nodes::empty(level(time(0))).with_start(&velocity).unwrap();
    let a = |j: usize, lag: usize, to: usize, from: usize| {
        if lag <= j { number(j, 8 * lag + 2 * to + from) } else { 0.0 }
    };
    let b = |j: usize, lag: usize, to: usize| {
        if lag <= j { number(j, 50 + 2 * lag + to) } else { 0.0 }
    };
    let c = |j: usize, to: usize, normal: usize| number(j, 70 + 2 * to + normal);
    for j in 1..=STEPS {
        let both = [(1, 0), (1, 1), (2, 0), (2, 1)];
        let mut terms = NodeTerms::wide(2);
        for (lag, to) in both {
            // what is 0 may reach before the start
            let (x, v) = (a(j, lag, to, 0), a(j, lag, to, 1));
            terms = terms.a(lag, [to, 0], x).a(lag, [to, 1], v).b(lag, [to, 0], b(j, lag, to));
            let normal = Normal::new(stream::CORRECTOR_1 + lag as u32 - 1, j);
            terms = terms.c(to, normal, c(j, to, lag - 1));
        }
        list.push(level(time(j)), true, &terms).unwrap();
        for (lag, to) in both {
            assert_eq!(list.b(j, lag, to, 0), b(j, lag, to));
            assert_eq!([list.a(j, lag, to, 0), list.a(j, lag, to, 1)], [a(j, lag, to, 0), a(j, lag, to, 1)]);
            assert_eq!(list.c(j, to, lag - 1), c(j, to, lag - 1));
        }
    }
    let x = Array2::from_shape_fn((2, 3), |(i, k)| 0.5 * i as f64 - 0.3 * k as f64);
    let key = NoiseKey::new(9);
    let problem = Problem::from_nodes(Cpu::new(), list).samples(2).shape([3]).init(x.clone()).key(key);
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
    let mut list = Nodes::empty(level(2.0));
    let terms = NodeTerms::new().a(1, [0, 0], 2.0).b(1, [0, 0], 3.0).c(0, Normal::dynamics(1), 4.0);
    list.push(level(1.0), true, &terms).unwrap();
    assert_eq!((list.a(1, 1, 0, 0), list.b(1, 1, 0, 0), list.c(1, 0, 0)), (2.0, 3.0, 4.0));
    for (lag, to, from) in [(0, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)] {
        assert_eq!(list.a(1, lag, to, from), 0.0);
    }
    for (lag, to, head) in [(0, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)] {
        assert_eq!(list.b(1, lag, to, head), 0.0);
    }
    assert_eq!((list.c(1, 1, 0), list.c(1, 0, 1)), (0.0, 0.0));
    assert_eq!((list.a(2, 1, 0, 0), list.b(9, 1, 0, 0), list.c(2, 0, 0)), (0.0, 0.0, 0.0));
}

/// Only nodes whose output is used are asked for it.
#[test]
fn nodes_without_weight_are_not_evaluated() {
    let mut list = Nodes::empty(level(2.0));
    list.push(level(1.5), true, &NodeTerms::new().a(1, [0, 0], 1.0)).unwrap();
    let terms = NodeTerms::new().a(1, [0, 0], 0.5).a(2, [0, 0], 0.5).b(2, [0, 0], 0.2);
    list.push(level(1.0), true, &terms).unwrap();
    let asked: Vec<bool> = list.nodes().iter().map(|n| n.evaluate).collect();
    assert_eq!(asked, [true, false, false]);
    let x = crate::oracle::starts(1, 1.0);
    let problem = Problem::from_nodes(Cpu::new(), list).shape([1]).init(x.clone());
    let solution = Sequential.sample(&problem, &mut network()).unwrap();
    assert_eq!(solution.report.score_rows, 1);
    let expected = x[[0, 0]] + 0.2 * respond(x[[0, 0]], 2.0);
    assert_close(solution.samples[[0, 0]], expected, 1e-15, "sample");
}

/// What the builder says of terms: the setting's name.
fn refused(list: &mut Nodes, terms: &NodeTerms) -> &'static str {
    match list.push(level(1.0), true, terms) {
        Err(Error::Setting { name, .. }) => name,
        other => panic!("{terms:?}: {other:?}"),
    }
}

/// Lags before the start, components that are not there, numbers that are not finite and addresses out of range are
/// refused, and the list stays as it was.
#[test]
fn bad_nodes_are_refused() {
    let mut list = Nodes::empty(level(2.0)).with_start(&NodeTerms::wide(2)).unwrap();
    list.push(level(1.5), true, &NodeTerms::new().a(1, [0, 1], 1.0)).unwrap();
    let before = list.clone();
    let good = || NodeTerms::wide(2).a(1, [0, 0], 0.5).b(1, [1, 0], 0.1).c(1, Normal::dynamics(2), 0.2);
    for width in [0, 17, usize::MAX] {
        assert_eq!(refused(&mut list, &NodeTerms::wide(width)), "components", "{width}");
    }
    for lag in [0, 3, usize::MAX] {
        assert_eq!(refused(&mut list, &good().a(lag, [0, 0], 1e-300)), "lag", "{lag}");
        assert_eq!(refused(&mut list, &good().b(lag, [0, 0], 1e-300)), "lag", "{lag}");
    }
    // the node before has one component, the start has two, this one is to have two; a network has 16 outputs at the
    // most
    for terms in [
        good().a(1, [0, 1], 1.0),
        good().a(2, [0, 2], 1.0),
        good().a(1, [2, 0], 1.0),
        good().a(1, [0, usize::MAX], 1.0),
        good().a(1, [usize::MAX, 0], 1.0),
        good().b(1, [2, 0], 1.0),
        good().b(1, [0, 16], 1.0),
        good().b(1, [0, usize::MAX], 1.0),
        good().c(2, Normal::dynamics(2), 1.0),
        good().c(usize::MAX, Normal::dynamics(2), 1.0),
    ] {
        assert_eq!(refused(&mut list, &terms), "component");
    }
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(refused(&mut list, &good().a(1, [1, 0], bad)), "coefficient");
        assert_eq!(refused(&mut list, &good().b(2, [1, 0], bad)), "coefficient");
        assert_eq!(refused(&mut list, &good().c(0, Normal::dynamics(2), bad)), "coefficient");
        assert_eq!(refused(&mut list, &good().prefactor(bad)), "coefficient");
    }
    // finite numbers whose sum is not
    assert_eq!(refused(&mut list, &good().a(2, [1, 0], f64::MAX).a(2, [1, 0], f64::MAX)), "coefficient");
    for normal in [
        Normal::new(1 << 30, 2),
        Normal::new(u32::MAX, 2),
        Normal::dynamics(u32::MAX as usize),
        Normal::dynamics(1 << 32 | 5),
        Normal::dynamics(usize::MAX),
    ] {
        assert_eq!(refused(&mut list, &good().c(0, normal, 1.0)), "address of a normal", "{normal:?}");
    }
    assert_eq!(list, before);
    list.push(level(1.0), true, &good().c(0, Normal::new((1 << 30) - 1, u32::MAX as usize - 1), 1.0)).unwrap();
    list.push(level(0.9), true, &NodeTerms::wide(16).a(1, [15, 1], 1.0).b(1, [15, 15], 1.0)).unwrap();
    assert_eq!((list.nodes().len(), list.components(), list.heads(), list.most_normals()), (4, 16, 16, 2));
}

/// Zero reads nothing, and what is given twice counts twice.
#[test]
fn terms_add_up() {
    let mut list = Nodes::empty(level(2.0));
    let normal = Normal::dynamics(1);
    let twice = NodeTerms::new().a(1, [0, 0], 0.25).b(1, [0, 0], 0.5).c(0, normal, 1.0);
    let twice = twice.a(1, [0, 0], 0.5).b(1, [0, 0], 0.25).c(0, normal, 2.0);
    list.push(level(1.0), true, &twice.a(9, [0, 0], 0.0).b(9, [0, 0], 0.0)).unwrap();
    assert_eq!((list.a(1, 1, 0, 0), list.b(1, 1, 0, 0), list.c(1, 0, 0)), (0.75, 0.75, 3.0));
    assert_eq!((list.lookback(), list.normals(1)), (1, &[normal][..]));
    // what adds up to nothing is not evaluated
    let nothing = NodeTerms::new().b(1, [0, 0], 0.5).b(1, [0, 0], -0.5).a(2, [0, 0], 1.0).a(2, [0, 0], -1.0);
    list.push(level(0.5), true, &nothing).unwrap();
    assert_eq!((list.lookback(), list.nodes()[1].evaluate), (1, false));
}

#[test]
fn starts_and_numbers_come_first() {
    let name = |result: piadm::Result<Nodes>| match result {
        Err(Error::Setting { name, .. }) => name,
        Ok(_) => "fine",
        Err(other) => panic!("{other:?}"),
    };
    let empty = || Nodes::empty(level(2.0));
    let noise = |to| NodeTerms::wide(2).c(to, Normal::new(7, 3), 0.5);
    assert_eq!(name(empty().with_start(&noise(1))), "fine");
    assert_eq!(name(empty().with_start(&noise(0))), "terms of the start");
    assert_eq!(name(empty().with_start(&noise(1).a(1, [1, 0], 1.0))), "terms of the start");
    assert_eq!(name(empty().with_start(&noise(2))), "component");
    assert_eq!(name(empty().with_start(&NodeTerms::wide(17))), "components");
    assert_eq!(name(empty().numbered_from((1 << 24) + 1)), "first step");
    let mut long = empty();
    long.push(level(1.0), true, &NodeTerms::new().a(1, [0, 0], 1.0)).unwrap();
    assert_eq!([name(long.clone().numbered_from(1)), name(long.with_start(&noise(1)))], ["nodes"; 2]);
    // a run has 2^24 steps at the most
    let mut last = empty().numbered_from((1 << 24) - 1).unwrap();
    let stay = NodeTerms::new().a(1, [0, 0], 1.0);
    last.push(level(1.0), true, &stay).unwrap();
    assert_eq!((last.steps(), last.first_step(), last.last_step()), (1, (1 << 24) - 1, 1 << 24));
    let beyond = last.push(level(0.5), true, &stay);
    assert!(matches!(beyond, Err(Error::GridLength { points, max }) if points == max + 1), "{beyond:?}");
}

/// Answers the sum of two components, their difference and their product.
struct Pairs {
    components: usize,
    heads: usize,
}

impl Model for Pairs {
    fn prediction(&self) -> Prediction {
        Prediction::Score
    }

    fn components(&self) -> usize {
        self.components
    }

    fn heads(&self) -> usize {
        self.heads
    }
}

impl ScoreFn<Cpu<f64>> for Pairs {
    fn eval(
        &mut self,
        x: ArrayView2<'_, f64>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, f64>,
    ) -> Result<(), BoxError> {
        assert_eq!((x.nrows(), out.nrows()), (2 * rows.t.len(), 3 * rows.t.len()));
        for row in 0..rows.t.len() {
            for k in 0..x.ncols() {
                let (x, v) = (x[[2 * row, k]], x[[2 * row + 1, k]]);
                [x + v, x - v, x * v].into_iter().enumerate().for_each(|(head, y)| out[[3 * row + head, k]] = y);
            }
        }
        Ok(())
    }
}

/// A network that sees both components and answers three rows a state, nodes of unlike widths, written out.
#[test]
fn components_heads_and_widths() {
    let start = NodeTerms::wide(2).c(1, Normal::new(stream::CORRECTOR_START, 0), 0.5);
    let mut list = Nodes::empty(level(2.0)).with_start(&start).unwrap();
    // x' = x/2 + sum/8, v' = v/2 + product/4; then the third component keeps the difference, and what is left is the
    // sum of all
    let both = |terms: NodeTerms| terms.a(1, [0, 0], 0.5).a(1, [1, 1], 0.5).b(1, [0, 0], 0.125).b(1, [1, 2], 0.25);
    list.push(level(1.5), true, &both(NodeTerms::wide(2))).unwrap();
    list.push(level(1.0), true, &both(NodeTerms::wide(3)).b(1, [2, 1], 1.0)).unwrap();
    let sum = NodeTerms::new().a(1, [0, 0], 1.0).a(1, [0, 1], 1.0).a(1, [0, 2], 1.0);
    list.push(level(0.5), true, &sum).unwrap();
    assert_eq!(list.nodes().iter().map(|n| n.width).collect::<Vec<_>>(), [2, 2, 3, 1]);
    assert_eq!((list.components(), list.heads()), (3, 3));
    let x = Array2::from_shape_fn((2, 3), |(i, k)| 0.5 * i as f64 - 0.3 * k as f64);
    let key = NoiseKey::new(9);
    let problem = Problem::from_nodes(Cpu::new(), list.clone()).samples(2).shape([3]).init(x.clone()).key(key);
    let found = Sequential.sample(&problem, &mut Pairs { components: 2, heads: 3 }).unwrap();
    for sample in 0..2 {
        let mut start = [0.0; 3];
        key.fill_f64(Address { stream: stream::CORRECTOR_START, step: 0, sample }, 0, &mut start);
        for k in 0..3 {
            let (x, v) = (x[[sample as usize, k]], 0.5 * start[k]);
            let step = |x: f64, v: f64| (0.5 * x + 0.125 * (x + v), 0.5 * v + 0.25 * x * v);
            let (x1, v1) = step(x, v);
            let (x2, v2) = step(x1, v1);
            assert_close(found.samples[[sample as usize, k]], x2 + v2 + (x1 - v1), 1e-14, "sum");
        }
    }
    let parallel = Picard::default().acceptance(Acceptance::Exact);
    let parallel = parallel.sample(&problem, &mut Pairs { components: 2, heads: 3 }).unwrap();
    assert_eq!(parallel.samples.mapv(f64::to_bits), found.samples.mapv(f64::to_bits));
    // networks that do not fit the nodes
    for (components, heads, expected) in
        [(2, 2, "heads"), (0, 3, "model"), (3, 2, "model"), (3, 3, "components of a node")]
    {
        match Sequential.sample(&problem, &mut Pairs { components, heads }) {
            Err(Error::Setting { name, .. }) => assert_eq!(name, expected, "{components} and {heads}"),
            other => panic!("{components} and {heads}: {other:?}"),
        }
    }
}

/// A problem needs a list that ends with a step.
#[test]
fn unfinished_lists_are_refused() {
    let start = Nodes::empty(level(2.0));
    let mut stage = start.clone();
    let terms = NodeTerms::new().a(1, [0, 0], 1.0).b(1, [0, 0], 0.1);
    stage.push(level(1.5), true, &terms).unwrap();
    stage.push(level(1.0), false, &terms).unwrap();
    for list in [start, stage] {
        let problem = Problem::from_nodes(Cpu::new(), list).shape([1]);
        let solution = Sequential.sample(&problem, &mut network());
        assert!(matches!(solution, Err(Error::Setting { name: "list", .. })));
    }
}
