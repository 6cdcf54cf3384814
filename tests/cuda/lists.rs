//! What lists can say in general, on a device with the bits of the CPU: unlike requests, kernels, unlike widths,
//! several heads, deadlines, corrections.

use crate::common::lists::{PhaseSpace, chain, far_lags, kernel, phase_space, smooth, unlike_widths};
use crate::common::{lookback_three, two_components, two_modes};
use crate::device::cuda;
use crate::operations::assert_same;
use piadm::cuda::{DeviceElem, HostScore};
use piadm::{
    Acceptance, Backend, Cpu, Grid, Nodes, Ou, Picard, Prediction, Problem, Sampler, Save, Scheme, ScoreFn, Sequential,
    Window,
    nodes::Correction,
    sampler::{Linearisation, Policy},
};

/// The same samples, path, rounds, rows and residuals on both.
fn same<T: DeviceElem, S: ScoreFn<Cpu<T>>>(
    on_cpu: &Problem<Cpu<T>>,
    on_device: &Problem<piadm::Cuda<T>>,
    sampler: &Picard,
    mut score: S,
    what: &str,
) {
    let host = sampler.sample(on_cpu, &mut score).unwrap();
    let device = sampler.sample(on_device, &mut HostScore::new(score)).unwrap();
    assert_same(&host.samples, &device.samples.to_host().unwrap(), what);
    for (a, b) in host.path.states().outer_iter().zip(device.path.states().outer_iter()) {
        assert_same(&a.to_owned(), &b.to_owned(), what);
    }
    let (a, b) = (&host.report, &device.report);
    assert_eq!(
        (a.rounds, a.score_rows, a.stop, &a.sample_rounds),
        (b.rounds, b.score_rows, b.stop, &b.sample_rounds),
        "{what}"
    );
    assert_eq!((&a.residuals, a.max_residual), (&b.residuals, b.max_residual), "{what}");
}

fn samplers() -> [Picard; 4] {
    let window = Picard::default().window(Window::Steps(7));
    [
        window.clone(),
        window.clone().acceptance(Acceptance::Exact).linearisation(Linearisation::FrozenScore).anderson(2),
        window.clone().row_budget(400).window(Window::Nodes { nodes: 11 }),
        window.deadline(3),
    ]
}

fn requests<B: Backend>(backend: &B) -> Problem<B> {
    let scheme = |steps, scheme, samples, seed| {
        let grid = Grid::log_snr(steps).between(5.0, 0.05);
        Problem::on(backend.clone(), Ou, grid, scheme).samples(samples).shape([5]).seed(seed)
    };
    let list = |list| Problem::from_nodes(backend.clone(), list).shape([5]).seed(9);
    let all = [
        scheme(10, Scheme::default(), 2, 1),
        scheme(45, Scheme::default(), 1, 2),
        scheme(20, Scheme::Heun {}, 1, 3),
        scheme(16, Scheme::dpmpp_2m(), 2, 3),
        list(lookback_three(12)),
        list(two_components(12)),
    ];
    Problem::join(all).unwrap().save(Save::All)
}

fn unlike_requests<T: DeviceElem>() {
    let device = cuda::<T>();
    for sampler in samplers() {
        let what = format!("{sampler:?}");
        same(&requests(&Cpu::new()), &requests(&device), &sampler, two_modes::<T>(Prediction::Data), &what);
    }
}

fn own_lists<T: DeviceElem>() {
    fn check<T: DeviceElem, S: ScoreFn<Cpu<T>>>(list: &Nodes, score: impl Fn() -> S, exact: bool) {
        let host = Problem::from_nodes(Cpu::new(), list.clone()).samples(3).shape([130]).seed(2).save(Save::All);
        let device = Problem::from_nodes(cuda::<T>(), list.clone()).samples(3).shape([130]).seed(2).save(Save::All);
        for sampler in samplers() {
            let acceptance = if exact { Acceptance::Exact } else { sampler.acceptance };
            let sampler = sampler.acceptance(acceptance);
            same(&host, &device, &sampler, score(), &format!("{} nodes, {sampler:?}", list.nodes().len()));
        }
    }
    check::<T, _>(&far_lags(2), smooth::<T>, false);
    check::<T, _>(&unlike_widths(12), smooth::<T>, false);
    check::<T, _>(&phase_space(12), || PhaseSpace, false);
    check::<T, _>(&chain(12), kernel::<T>, true);
}

#[test]
fn unlike_requests_are_as_on_the_cpu() {
    unlike_requests::<f32>();
    unlike_requests::<f64>();
}

#[test]
fn own_lists_are_as_on_the_cpu() {
    own_lists::<f32>();
    own_lists::<f64>();
}

#[test]
fn corrections_are_as_on_the_cpu() {
    fn problem<B: Backend>(backend: B) -> Problem<B> {
        let grid = Grid::log_snr(14).between(5.0, 0.05);
        let problem =
            Problem::on(backend, Ou, grid, Scheme::Ddim { eta: 0.0 }).samples(2).shape([5]).seed(4).save(Save::All);
        problem.correction(Window::OuTime { ou_time: 1.0 }, Correction::default().steps(4))
    }
    let marked = Picard::default().policy(Policy::Blocks).window(Window::Marked { marks: 1 });
    for sampler in samplers().into_iter().chain([marked]) {
        let score = two_modes::<f32>(Prediction::Data);
        same(&problem(Cpu::new()), &problem(cuda::<f32>()), &sampler, score, &format!("{sampler:?}"));
    }
    let mut score = HostScore::new(two_modes::<f32>(Prediction::Data));
    let exact = Picard::default().acceptance(Acceptance::Exact);
    let parallel = exact.sample(&problem(cuda::<f32>()), &mut score).unwrap().samples.to_host().unwrap();
    let sequential = Sequential.sample(&problem(cuda::<f32>()), &mut score).unwrap().samples.to_host().unwrap();
    assert_same(&sequential, &parallel, "exact");
}

#[test]
fn a_session_on_a_device_is_used_again() {
    let mut score = HostScore::new(two_modes::<f32>(Prediction::Data));
    let grid = Grid::log_snr(20).between(5.0, 0.05);
    let problem = Problem::on(cuda::<f32>(), Ou, grid, Scheme::default()).samples(2).shape([5]);
    let mut prepared = problem.prepare(&score).unwrap();
    let mut session = Picard::default().session(&prepared).unwrap();
    for seed in [4, 5, 4] {
        prepared.reseed(seed);
        session.run(&prepared, &mut score).unwrap();
        let fresh = Picard::default().sample(&problem.clone().seed(seed), &mut score).unwrap();
        let mut rows = ndarray::Array2::zeros((2, 5));
        session.copy_samples(rows.view_mut()).unwrap();
        assert_same(&fresh.samples.to_host().unwrap(), &rows, "session");
    }
}
