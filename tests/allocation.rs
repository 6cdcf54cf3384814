//! The rounds of a run allocate nothing once arrays and lists have their sizes.

mod common;

use common::two_modes;
use piadm::{
    Acceptance, BoxError, Cpu, Grid, Model, Ou, Picard, Prediction, Problem, Rows, Sampler, Scheme, ScoreFn, Window,
    sampler::{Entry, Linearisation, Policy, Probes},
    score::{Clip, EdmPrecondition, Guided},
};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

struct Counting;
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is handed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Notes the number of allocations so far, at every call.
struct Noting<S> {
    inner: S,
    seen: Vec<usize>,
}

impl<S: Model> Model for Noting<S> {
    fn prediction(&self) -> Prediction {
        self.inner.prediction()
    }
}

impl<S: ScoreFn<Cpu<f32>>> ScoreFn<Cpu<f32>> for Noting<S> {
    fn eval(
        &mut self,
        x: ndarray::ArrayView2<'_, f32>,
        rows: &Rows<'_>,
        out: ndarray::ArrayViewMut2<'_, f32>,
    ) -> Result<(), BoxError> {
        self.seen.push(ALLOCATIONS.load(Ordering::Relaxed));
        self.inner.eval(x, rows, out)
    }
}

// one test, so that nothing else allocates meanwhile
#[test]
fn rounds_allocate_nothing() {
    let slow = Picard::default().acceptance(Acceptance::Error(1e-5)).window(Window::Steps(16));
    let frozen = slow.clone().linearisation(Linearisation::FrozenScore).entry(Entry::Copy);
    let samplers = [
        ("default", slow.clone()),
        ("frozen", frozen.clone()),
        ("linear entry", slow.clone().entry(Entry::LinearData { variance: 0.1 })),
        ("blocks", frozen.clone().policy(Policy::Blocks)),
        ("wavefront", frozen.clone().policy(Policy::Wavefront { blocks: 3 })),
        ("queue", slow.clone().row_budget(40)),
        ("Anderson", frozen.anderson(2)),
        ("probes", slow.clone().probes(Probes::default().every(8))),
        ("probes in a queue", slow.clone().probes(Probes::default().every(8)).row_budget(60)),
    ];
    // one thread: a thread pool allocates as it likes
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let mut failed = Vec::new();
    let mut check = |name: &str, sampler: &Picard, scheme: &Scheme, inner: Box<dyn ScoreFn<Cpu<f32>> + Send>| {
        let grid = Grid::log_snr(200).between(6.0, 0.05);
        let problem = Problem::new(Ou, grid, scheme.clone()).samples(5).shape([300]).seed(4);
        let mut score = Noting { inner, seen: Vec::with_capacity(10_000) };
        pool.install(|| sampler.sample(&problem, &mut score)).unwrap();
        let seen = &score.seen;
        assert!(seen.len() > 20, "{name}: {} rounds", seen.len());
        let early = seen.len() / 3;
        if seen[seen.len() - 1] > seen[early] {
            let rounds = seen.windows(2).map(|w| w[1] - w[0]).collect::<Vec<_>>();
            failed.push(format!("{name}, {scheme:?}: {rounds:?}"));
        }
    };
    let network = || two_modes::<f32>(Prediction::Data);
    for (name, sampler) in samplers {
        for scheme in
            [Scheme::default(), Scheme::Heun {}, Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: true }]
        {
            check(name, &sampler, &scheme, Box::new(network()));
        }
    }
    let lawful = Picard::exact_in_law().window(4);
    for scheme in [Scheme::default(), Scheme::SdeDpmSolverPp2M { eta: 1.0, lower_order_final: true }] {
        check("law", &lawful, &scheme, Box::new(network()));
        check("a queue under the law", &lawful.clone().row_budget(10), &scheme, Box::new(network()));
        check("frozen draft", &Picard::frozen_draft(4), &scheme, Box::new(network()));
    }
    let adapters: [(_, Box<dyn ScoreFn<Cpu<f32>> + Send>); 4] = [
        ("guided", Box::new(Guided::new(network(), 2.0).unwrap())),
        ("a guided pair", Box::new(Guided::pair(network(), network(), 2.0).unwrap())),
        ("clipped", Box::new(Clip::new(network(), -1.0, 1.0).unwrap())),
        ("preconditioned", Box::new(EdmPrecondition::new(network(), 0.5).unwrap())),
    ];
    for (name, score) in adapters {
        check(name, &slow, &Scheme::default(), score);
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
