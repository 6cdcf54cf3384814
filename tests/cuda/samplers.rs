//! Whole samplers: the same samples, rounds, rows and residuals on the CPU and on a device, for random settings.

use crate::common::{lookback_three, mixture, schemes, two_components, two_modes};
use crate::device::cuda;
use crate::operations::assert_same;
use ndarray::{Array2, Array3};
use piadm::cuda::{DeviceElem, DeviceMixture, HostScore};
use piadm::noise::NormalPrecision;
use piadm::{
    Acceptance, Backend, Chords, Cpu, Edm, Error, Flow, Grid, NoiseSchedule, Ou, Parareal, Path, Piadm, Picard,
    Prediction, Problem, Report, Sampler, Save, ScoreFn, Sequential, Solution, Sweeps, Window,
    noise::NoiseKey,
    problem::Variances,
    sampler::{Coupling, Entry, Linearisation, Policy, Probes},
    score::Mixture,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn pick<T: Clone>(rng: &mut StdRng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())].clone()
}

/// What a random problem starts from and follows.
struct Given<T> {
    seed: u64,
    samples: usize,
    dim: usize,
    steps: usize,
    kind: usize,
    scheme: piadm::Scheme,
    init: Option<Array2<T>>,
    noise: Option<Array3<T>>,
    path: Option<Path<T>>,
    variances: Option<Variances>,
}

impl<T: DeviceElem> Given<T> {
    fn random(rng: &mut StdRng, seed: u64) -> Self {
        let (samples, dim) = (rng.random_range(1..=4), pick(rng, &[1, 3, 4, 130, 140]));
        let steps = rng.random_range(2..=12);
        let value = |i: usize| T::of((i as f64 * 0.37).sin());
        let kind = rng.random_range(0..5);
        let has = |rng: &mut StdRng, p: f64| kind > 1 && rng.random_bool(p);
        let all = Array3::from_shape_fn((steps, samples, dim), |(m, s, i)| value(m * 31 + s * 7 + i));
        Given {
            seed,
            samples,
            dim,
            steps,
            kind,
            scheme: pick(rng, &schemes()),
            init: has(rng, 0.2).then(|| Array2::from_shape_fn((samples, dim), |(s, i)| value(s * 5 + i))),
            noise: has(rng, 0.2).then(|| all.clone()),
            path: has(rng, 0.2).then(|| Path::new((1..=steps).collect(), all.clone()).unwrap()),
            variances: has(rng, 0.3).then(|| Variances::new((0..dim).map(|i| 0.1 + (i % 5) as f64).collect()).unwrap()),
        }
    }

    fn problem<B: Backend<Elem = T>>(&self, backend: B) -> Problem<B> {
        let shape = (self.samples, self.dim);
        let schedules: [(&'static dyn NoiseSchedule, f64); 3] = [(&Ou, 6.0), (&Edm, 20.0), (&Flow, 1.0)];
        let problem = match self.kind {
            0 => Problem::from_nodes(backend, lookback_three(self.steps)).samples(shape.0).shape([shape.1]),
            1 => Problem::from_nodes(backend, two_components(self.steps)).samples(shape.0).shape([shape.1]),
            kind => {
                let (schedule, t_max) = schedules[kind - 2];
                let grid = Grid::uniform(self.steps).between(t_max, 0.02);
                Problem::on(backend, schedule, grid, self.scheme.clone()).samples(shape.0).shape([shape.1])
            }
        };
        let precision = if self.seed.is_multiple_of(3) { NormalPrecision::Double } else { NormalPrecision::Single };
        let mut problem = problem.key(NoiseKey::new(self.seed).with_precision(precision)).save(Save::All);
        if let Some(x) = &self.init {
            problem = problem.init(x.clone());
        }
        if let Some(noise) = &self.noise {
            problem = problem.noise(noise.clone());
        }
        if let Some(path) = &self.path {
            problem = problem.guesses(path.clone());
        }
        match &self.variances {
            Some(variances) => problem.variances(variances.clone()),
            None => problem,
        }
    }
}

fn random_picard(rng: &mut StdRng, steps: usize) -> Picard {
    let gaussian = Linearisation::Gaussian { variance: 0.2 };
    let secant = Linearisation::Secant;
    let lawful = Picard::exact_in_law()
        .window(Window::Nodes { nodes: pick(rng, &[1, 2, 5, 9]) })
        .linearisation(pick(rng, &[Linearisation::FrozenScore, Linearisation::Identity, gaussian, secant]))
        .entry(pick(rng, &[Entry::Auto, Entry::Copy, Entry::HeldData { variance: 0.3 }]))
        .redraft(rng.random_bool(0.2));
    if rng.random_bool(0.3) {
        return lawful;
    }
    let policies = [Policy::Sliding, Policy::Blocks, Policy::Wavefront { blocks: 2 }];
    let picard = Picard::default()
        .policy(pick(rng, &policies))
        .window(Window::Steps(pick(rng, &[1, 2, 3, 7, steps])))
        .linearisation(pick(rng, &[Linearisation::FrozenScore, Linearisation::Identity, gaussian, secant, secant]))
        .entry(pick(rng, &[Entry::Auto, Entry::Copy, Entry::HeldData { variance: 0.3 }]))
        .anderson(rng.random_range(0..=9usize).saturating_sub(3))
        .acceptance(pick(
            rng,
            &[Acceptance::Exact, Acceptance::Error(1e-2), Acceptance::Error(1e-4), Acceptance::change(0.05)],
        ))
        .sweeps(pick(rng, &[Sweeps::Unbounded, Sweeps::Unbounded, Sweeps::AtMost(2)]))
        .coupling(pick(rng, &[Coupling::PerSample, Coupling::PerSample, Coupling::WholeBatch]))
        .deadline(pick(rng, &[None, None, None, Some(4)]));
    if picard.policy == Policy::Sliding && rng.random_bool(0.3) {
        return picard.anderson(0).sweeps(Sweeps::Unbounded).far_stride(3);
    }
    if (picard.policy, picard.linearisation) == (Policy::Sliding, secant) && rng.random_bool(0.5) {
        return picard.anderson(0).probes(Probes::default().directions(rng.random_range(1..=7)).every(3));
    }
    picard
}

/// All of a report but the seconds.
fn counts(report: &Report) -> Report {
    let seconds = std::time::Duration::ZERO;
    let mut report = report.clone();
    (report.score_time, report.solver_time) = (seconds, seconds);
    report
}

type Answer<B> = Result<Solution<B>, Error>;

fn assert_equal<T: DeviceElem>(a: Answer<Cpu<T>>, b: Answer<piadm::Cuda<T>>, what: &str) {
    match (a, b) {
        (Ok(a), Ok(b)) => {
            assert_same(&a.samples, &b.samples.to_host().unwrap(), what);
            assert_eq!(a.path, b.path, "{what}");
            assert_eq!(format!("{:?}", counts(&a.report)), format!("{:?}", counts(&b.report)), "{what}");
        }
        (Err(a), Err(b)) => assert_eq!(a.to_string(), b.to_string(), "{what}"),
        (a, b) => panic!("{what}: {:?} on the CPU, {:?} on the device", a.map(|_| "done"), b.map(|_| "done")),
    }
}

fn random_settings<T: DeviceElem>(seeds: std::ops::Range<u64>) {
    let device = cuda::<T>();
    let (mut runs, mut samples) = (0, 0);
    for seed in seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let given = Given::<T>::random(&mut rng, seed);
        let kind = pick(&mut rng, &[Prediction::Score, Prediction::Noise, Prediction::Data, Prediction::Flow]);
        let (on_cpu, on_device) = (given.problem(Cpu::new()), given.problem(device.clone()));
        let mut score = HostScore::new(two_modes::<T>(kind));
        for turn in 0..2 {
            let sampler = random_picard(&mut rng, given.steps);
            let what = format!("seed {seed}: {} samples x {}, {sampler:?}", given.samples, given.dim);
            let mut own = two_modes::<T>(kind);
            if turn == 0 {
                assert_equal(Sequential.sample(&on_cpu, &mut own), Sequential.sample(&on_device, &mut score), &what);
            }
            let answer = sampler.sample(&on_cpu, &mut own);
            (runs, samples) = (runs + 1, samples + usize::from(answer.is_ok()));
            assert_equal(answer, sampler.sample(&on_device, &mut score), &what);
        }
    }
    // equal errors alone would prove little
    assert!(2 * samples > runs, "{samples} of {runs} runs gave samples");
}

#[test]
fn random_settings_f32() {
    random_settings::<f32>(0..60);
}

#[test]
fn random_settings_f64() {
    random_settings::<f64>(60..90);
}

/// The samplers beside `Picard`.
fn others<T: DeviceElem>()
where
    Mixture: ScoreFn<Cpu<T>>,
{
    let device = cuda::<T>();
    let oracle = mixture(3, 65, 0.3, 1.0, 5).predicting(Prediction::Score);
    let mut on_device = DeviceMixture::new(&device, &oracle).unwrap();
    let mut on_cpu = oracle;
    let grid = Grid::log_snr(24).between(6.0, 0.05);
    for scheme in [piadm::Scheme::Ddim { eta: 0.0 }, piadm::Scheme::Ddim { eta: 0.7 }] {
        let a = Problem::on(Cpu::<T>::new(), Ou, grid.clone(), scheme.clone()).samples(3).shape([65]).seed(4);
        let b = Problem::on(device.clone(), Ou, grid.clone(), scheme.clone()).samples(3).shape([65]).seed(4);
        let parareal = Parareal::default();
        let (a, b) = (parareal.sample(&a, &mut on_cpu), parareal.sample(&b, &mut on_device));
        assert!(a.is_ok());
        assert_equal(a, b, &format!("parareal, {scheme:?}"));
    }
    let longer = Grid::log_snr(50).between(6.0, 0.05);
    let a = Problem::on(Cpu::<T>::new(), Ou, longer.clone(), piadm::Scheme::ddim()).samples(3).shape([65]).seed(4);
    let b = Problem::on(device.clone(), Ou, longer, piadm::Scheme::ddim()).samples(3).shape([65]).seed(4);
    for chords in [Chords::default(), Chords::default().cores(3).starts(vec![0, 1, 20])] {
        let (a, b) = (chords.sample(&a, &mut on_cpu), chords.sample(&b, &mut on_device));
        assert!(a.is_ok());
        assert_equal(a, b, "chords");
    }
    // the paper's samplers; that of the ODE has its Langevin corrector between the blocks
    for dynamics in [piadm::sampler::Dynamics::Sde, piadm::sampler::Dynamics::Ode] {
        let recipe = Piadm::new(65, 0.3, dynamics).steps(30).recipe(&Ou, None).unwrap();
        let (grid, scheme) = (recipe.grid.clone(), recipe.scheme.clone());
        let mut a = Problem::on(Cpu::<T>::new(), Ou, grid.clone(), scheme.clone()).samples(2).shape([65]).seed(5);
        let mut b = Problem::on(device.clone(), Ou, grid, scheme).samples(2).shape([65]).seed(5);
        let mut samplers = vec![recipe.sampler.clone()];
        if let Some((block, correction)) = recipe.correction {
            (a, b) = (a.correction(block, correction), b.correction(block, correction));
            samplers = vec![recipe.sampler.window(Window::Marked { marks: 1 }), Picard::default()];
        }
        for sampler in samplers {
            let (a, b) = (sampler.sample(&a, &mut on_cpu), sampler.sample(&b, &mut on_device));
            assert!(a.is_ok());
            assert_equal(a, b, &format!("the recipe, {dynamics:?}, {sampler:?}"));
        }
    }
}

#[test]
fn every_sampler_of_the_crate() {
    others::<f32>();
    others::<f64>();
}

/// Enough elements for the kernels that run warps side by side, and windows long enough for those that prepare targets
/// together.
#[test]
fn large_rows_and_long_windows() {
    let device = cuda::<f32>();
    for (modes, dim, samples, steps, window) in [(2, 2600, 2, 12, 6), (2, 36, 1, 150, 150)] {
        let oracle = mixture(modes, dim, 0.3, 1.0, 7).predicting(Prediction::Data);
        let mut on_device = DeviceMixture::new(&device, &oracle).unwrap();
        let mut on_cpu = oracle;
        let grid = Grid::log_snr(steps).between(6.0, 0.05);
        let scheme = piadm::Scheme::default();
        let a = Problem::new(Ou, grid.clone(), scheme.clone()).samples(samples).shape([dim]).seed(9);
        let b = Problem::on(device.clone(), Ou, grid, scheme).samples(samples).shape([dim]).seed(9);
        let sampler = Picard::default().window(Window::Steps(window));
        let (a, b) = (sampler.sample(&a, &mut on_cpu), sampler.sample(&b, &mut on_device));
        assert!(a.is_ok());
        assert_equal(a, b, &format!("{dim} elements, {steps} steps"));
    }
}

/// Inputs at the edge, and scores that go wrong: the same answer, or the same error, as on the CPU.
#[test]
fn edges_and_bad_scores() {
    fn bad(kind: usize) -> impl ScoreFn<Cpu<f32>> {
        let (mut good, mut round) = (two_modes::<f32>(Prediction::Noise), 0);
        piadm::score_fn(Prediction::Noise, move |x, rows, mut out| {
            round += 1;
            good.eval(x, rows, out.view_mut())?;
            match kind {
                1 if round == 3 => Err("the network is gone".into()),
                2 if round == 3 => {
                    out.fill(f32::NAN);
                    Ok(())
                }
                3 if round == 2 => {
                    out.last_mut().into_iter().for_each(|v| *v = f32::INFINITY);
                    Ok(())
                }
                _ => Ok(()),
            }
        })
    }
    let device = cuda::<f32>();
    for (samples, dim, steps, window) in [(0, 3, 4, 2), (1, 1, 1, 1), (2, 1, 1, 50), (1, 129, 6, 500), (3, 0, 4, 2)] {
        for kind in 0..4 {
            let problem = || Grid::log_snr(steps).between(6.0, 0.05);
            let shape = (samples, dim);
            let a = Problem::new(Ou, problem(), piadm::Scheme::default()).samples(shape.0).shape([shape.1]).seed(2);
            let b = Problem::on(device.clone(), Ou, problem(), piadm::Scheme::default())
                .samples(shape.0)
                .shape([shape.1])
                .seed(2);
            let what = format!("{samples} samples x {dim}, {steps} steps, window {window}, score {kind}");
            let sampler = Picard::default().window(Window::Steps(window));
            let (on_cpu, on_device) =
                (sampler.sample(&a, &mut bad(kind)), sampler.sample(&b, &mut HostScore::new(bad(kind))));
            assert_eq!(on_cpu.is_ok(), samples > 0 && dim > 0 && (kind == 0 || steps == 1), "{what}");
            assert_equal(on_cpu, on_device, &what);
            let (on_cpu, on_device) =
                (Sequential.sample(&a, &mut bad(kind)), Sequential.sample(&b, &mut HostScore::new(bad(kind))));
            assert_equal(on_cpu, on_device, &what);
        }
    }
}

/// Requests of unlike lengths, schedules and starts in one batch, in one session whose runs begin anew.
#[test]
fn joined_requests_and_sessions() {
    fn batch<B: Backend<Elem = f32>>(backend: &B) -> Problem<B> {
        let request = |steps, seed, samples| {
            let grid = Grid::log_snr(steps).between(6.0, 0.05);
            Problem::on(backend.clone(), Ou, grid, piadm::Scheme::default()).samples(samples).shape([130]).seed(seed)
        };
        let flow = Grid::uniform(9).between(0.98, 0.02);
        let flow = Problem::on(backend.clone(), Flow, flow, piadm::Scheme::Heun {}).shape([130]).seed(8);
        let init = Array2::from_elem((1, 130), 0.5);
        Problem::join([request(5, 3, 1), request(20, 4, 2).save(Save::All), flow.init(init)]).unwrap()
    }
    let device = cuda::<f32>();
    let mut score = two_modes::<f32>(Prediction::Noise);
    let mut on_device = HostScore::new(two_modes::<f32>(Prediction::Noise));
    for sampler in [Picard::default(), Picard::default().window(Window::Steps(4)).anderson(2)] {
        let (a, b) = (batch(&Cpu::new()), batch(&device));
        let answer = sampler.sample(&a, &mut score);
        assert!(answer.is_ok());
        assert_equal(answer, sampler.sample(&b, &mut on_device), "joined requests");
        let (mut a, mut b) = (a.prepare(&score).unwrap(), b.prepare(&on_device).unwrap());
        let (mut on_cpu, mut there) = (sampler.session(&a).unwrap(), sampler.session(&b).unwrap());
        for seed in 0..3 {
            a.reseed(seed);
            b.reseed(seed);
            on_cpu.run(&a, &mut score).unwrap();
            there.run(&b, &mut on_device).unwrap();
            let expected = on_cpu.samples().to_owned();
            assert_same(&expected, &there.samples().to_host().unwrap(), "a session");
            let mut copied = Array2::zeros((4, 130));
            there.copy_samples(copied.view_mut()).unwrap();
            assert_same(&expected, &copied, "copied samples");
            assert_eq!(format!("{:?}", counts(on_cpu.report())), format!("{:?}", counts(there.report())));
        }
    }
}
