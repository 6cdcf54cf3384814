//! Ours against the paths of diffusers and k-diffusion on a Gaussian mixture, from recorded states with recorded
//! normals (tests/peers/make.py). Which call of theirs is which of ours, and where they deviate: docs/peers.md.

use ndarray::{Array1, Array2, Array3, Axis, Ix1, Ix2, Ix3, array};
use piadm::grid::Spacing;
use piadm::nodes::Normal;
use piadm::{
    BoxError, Cpu, Discrete, Edm, Grid, Nodes, NoiseSchedule, Prediction, Problem, Sampler, Save, Scheme, ScoreFn,
    Sequential,
    nodes::{DdpmVariance, NodeTerms},
    schedule::Level,
    score::{Clip, Mixture},
};
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use std::path::Path;

#[path = "peers/schemes.rs"]
mod schemes;

type Test = Result<(), BoxError>;

/// Between two double precision implementations of the same step. Most agree to 1e-12; DDPMScheduler puts a floor of
/// 1e-20 under a variance that is 0, which adds noise of 1e-10.
const DOUBLE: f64 = 1e-8;
/// Against a scheduler that keeps its tables and states in single precision.
const SINGLE: f64 = 1e-5;
const STEPS: usize = 20;
const SPACINGS: [(&str, Spacing); 3] =
    [("leading", Spacing::Leading { offset: 1 }), ("trailing", Spacing::Trailing), ("linspace", Spacing::Linspace)];
const LARGE: Scheme = Scheme::Ddpm { variance: DdpmVariance::Large };

/// The recorded arrays of one peer.
struct Peer {
    bytes: Vec<u8>,
    init: Array2<f64>,
    noise: Array3<f64>,
}

impl Peer {
    fn read(name: &str) -> Result<Self, BoxError> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name);
        let mut peer = Peer { bytes: std::fs::read(file)?, init: array![[]], noise: array![[[]]] };
        peer.init = peer.tensor::<Ix2>("init")?;
        peer.noise = peer.tensor::<Ix3>("noise")?;
        Ok(peer)
    }

    fn tensor<D: ndarray::Dimension>(&self, name: &str) -> Result<ndarray::Array<f64, D>, BoxError> {
        let file = SafeTensors::deserialize(&self.bytes)?;
        let view = file.tensor(name).map_err(|error| format!("{name}: {error}"))?;
        let values = match view.dtype() {
            Dtype::F64 => view.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            Dtype::F32 => view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect(),
            other => return Err(format!("{name}: {other:?}").into()),
        };
        Ok(ndarray::ArrayD::from_shape_vec(view.shape(), values)?.into_dimensionality()?)
    }
}

/// What a peer's states are, in terms of x = alpha x_0 + sigma eps.
#[derive(Clone, Copy, PartialEq)]
enum Variables {
    /// x.
    Preserving,
    /// x / alpha.
    Exploding,
}

fn table() -> Discrete {
    Discrete::scaled_linear(1000, 0.00085, 0.012).expect("a valid table")
}

/// The mixture of make.py.
fn mixture(prediction: Prediction) -> Mixture {
    let means = array![[-1.0, 0.5, 0.3], [0.8, -0.6, 1.1], [0.4, 1.2, -0.9]];
    Mixture::new([0.5, 0.3, 0.2], means, [0.3, 0.2, 0.45]).expect("a valid mixture").predicting(prediction)
}

/// The levels of the points of a grid.
fn levels(schedule: &dyn NoiseSchedule, grid: &Grid) -> piadm::Result<Vec<Level>> {
    Ok(grid.times(schedule)?.into_iter().map(|t| Level::at(schedule, t)).collect())
}

/// Our path from `first`, in the peer's variables.
fn path(
    list: Nodes,
    score: &mut dyn ScoreFn<Cpu<f64>>,
    variables: Variables,
    noise: &Array3<f64>,
    first: &Array2<f64>,
) -> Result<Array3<f64>, BoxError> {
    let solutions = list.nodes().iter().filter(|node| node.solution);
    let scales: Vec<f64> = match variables {
        Variables::Preserving => solutions.map(|_| 1.0).collect(),
        Variables::Exploding => solutions.map(|node| node.level.alpha).collect(),
    };
    let init = first * scales[0];
    let problem = Problem::from_nodes(Cpu::new(), list).samples(first.dim().0).shape([first.dim().1]);
    let problem = problem.init(init).noise(noise.clone()).save(Save::All);
    let mut states = Sequential.sample(&problem, score)?.path.states().clone();
    for (mut state, scale) in states.axis_iter_mut(Axis(0)).zip(scales) {
        state /= scale;
    }
    Ok(states)
}

/// Largest difference of an element relative to itself, and where it is.
fn relative(ours: &Array3<f64>, theirs: &Array3<f64>) -> (f64, usize) {
    assert_eq!(ours.shape(), theirs.shape());
    let apart = |((m, _, _), &a): ((usize, usize, usize), &f64), b: f64| ((a - b).abs() / b.abs(), m);
    let all = ours.indexed_iter().zip(theirs).map(|(a, &b)| apart(a, b));
    all.fold((0.0, 0), |worst, next| if next.0 > worst.0 || next.0.is_nan() { next } else { worst })
}

fn assert_agrees(case: &str, ours: &Array3<f64>, theirs: &Array3<f64>, tolerance: f64) {
    let (worst, step) = relative(ours, theirs);
    println!("{case}: {worst:.1e} at step {step}");
    assert!(worst <= tolerance, "{case}: {worst:e} at step {step}");
}

/// sigma/alpha at every point.
fn assert_levels(case: &str, ours: &[Level], theirs: &Array1<f64>) {
    assert_eq!(ours.len(), theirs.len(), "{case}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        let ours = ours.sigma / ours.alpha;
        assert!((ours - theirs).abs() <= 1e-12 * theirs, "{case}: sigma/alpha {ours} for {theirs}");
    }
}

/// A case of diffusers on our grid and scheme: sigma/alpha of every point, every state, and the last state of the
/// scheduler as it is, in single precision.
fn assert_scheduler(peer: &Peer, case: &str, grid: &Grid, scheme: &Scheme, score: &mut dyn ScoreFn<Cpu<f64>>) -> Test {
    let theirs = peer.tensor::<Ix1>(&format!("{case}/levels"))?;
    assert_levels(case, &levels(&table(), grid)?, &theirs);
    assert_path(peer, case, Nodes::new(&table(), grid, scheme, score.prediction())?, score)
}

/// A case of diffusers on a list of nodes.
fn assert_path(peer: &Peer, case: &str, list: Nodes, score: &mut dyn ScoreFn<Cpu<f64>>) -> Test {
    let exploding = ["euler", "heun", "lms"].iter().any(|name| case.starts_with(name));
    let variables = if exploding { Variables::Exploding } else { Variables::Preserving };
    let theirs = peer.tensor::<Ix3>(&format!("{case}/states"))?;
    let first = theirs.index_axis(Axis(0), 0).to_owned();
    let ours = path(list, score, variables, &peer.noise, &first)?;
    assert_agrees(case, &ours, &theirs, DOUBLE);

    let single = peer.tensor::<Ix2>(&format!("{case}/single"))?;
    let last = ours.index_axis(Axis(0), ours.len_of(Axis(0)) - 1);
    let size = single.iter().fold(0.0f64, |size, x| size.max(x.abs()));
    let apart = (&last - &single).iter().fold(0.0f64, |worst, x| worst.max(x.abs())) / size;
    assert!(apart <= SINGLE, "{case}: {apart:e} from the scheduler in single precision");
    Ok(())
}

fn diffusers() -> Result<Peer, BoxError> {
    Peer::read("diffusers.safetensors")
}

/// Other numbers of steps, from the schedulers as they are: in single precision 1 - alphas_cumprod, and with it sigma,
/// has lost digits near the data.
#[test]
fn timesteps_of_the_schedulers() -> Test {
    let (peer, schedule) = (diffusers()?, table());
    for (name, spacing) in SPACINGS {
        for steps in [1, 2, 3, 7, 30, 64] {
            let theirs = |scheduler: &str| peer.tensor::<Ix1>(&format!("grids/{scheduler}/{name}/{steps}"));
            let ddpm = Grid::ddpm_timesteps(steps, spacing);
            let dpm = Grid::dpm_solver_timesteps(steps, spacing);
            for (grid, theirs) in [(ddpm, theirs("ddpm")?), (dpm, theirs("dpm")?)] {
                let times = grid.times(&schedule)?;
                assert_eq!((&times[..steps], &times[steps..]), (&theirs.to_vec()[..], &[-1.0][..]));
            }
            let euler = Grid::euler_timesteps(steps, spacing);
            let levels = levels(&schedule, &euler)?;
            assert_eq!(levels.len() - 1, steps);
            for (level, theirs) in levels.iter().zip(theirs("euler")?) {
                let ours = level.sigma / level.alpha;
                assert!((ours - theirs).abs() <= 2e-5 * theirs, "{name}, {steps} steps: sigma {ours} for {theirs}");
            }
        }
    }
    Ok(())
}

#[test]
fn timesteps_outside_the_table_are_refused() -> Test {
    let schedule = Discrete::linear(10, 1e-4, 0.02)?;
    let all = [Grid::ddpm_timesteps, Grid::dpm_solver_timesteps, Grid::euler_timesteps];
    for grid in all {
        for spacing in [Spacing::Leading { offset: 0 }, Spacing::Trailing, Spacing::Linspace] {
            for steps in [0, usize::MAX] {
                assert!(grid(steps, spacing).times(&schedule).is_err(), "{spacing:?}, {steps} steps");
            }
        }
        for steps in [1, 2, 5] {
            for offset in [10, usize::MAX] {
                let grid = grid(steps, Spacing::Leading { offset });
                assert!(grid.times(&schedule).is_err(), "offset {offset}");
            }
        }
    }
    // ten steps use the whole table, but an index of DPM-Solver's eleven
    for spacing in [Spacing::Leading { offset: 0 }, Spacing::Trailing, Spacing::Linspace] {
        assert_eq!(Grid::ddpm_timesteps(10, spacing).times(&schedule)?.len() - 1, 10);
        assert!(Grid::ddpm_timesteps(11, spacing).times(&schedule).is_err());
        let enough = Grid::dpm_solver_timesteps(10, spacing).times(&schedule).is_ok();
        assert_eq!(enough, spacing == Spacing::Trailing);
    }
    // levels between the entries are not limited by their number
    assert_eq!(Grid::euler_timesteps(25, Spacing::Linspace).times(&schedule)?.len() - 1, 25);
    assert!(Grid::get_sigmas_karras(0, 0.03, 15.0, 7.0).times(&Edm).is_err());
    assert_eq!(Grid::get_sigmas_karras(1, 0.03, 15.0, 7.0).times(&Edm)?, [15.0, 0.0]);
    Ok(())
}

#[test]
fn ddim_and_ddpm_schedulers() -> Test {
    let (peer, schedule) = (diffusers()?, table());
    for (name, spacing) in SPACINGS {
        let grid = Grid::ddpm_timesteps(STEPS, spacing);
        let mut cases = vec![("ddpm-small", Scheme::ddpm())];
        if spacing != Spacing::Linspace {
            cases.extend([("ddim", Scheme::ddim()), ("ddim-eta", Scheme::Ddim { eta: 1.0 })]);
        } else {
            cases.push(("ddpm-large", LARGE));
        }
        for (case, scheme) in cases {
            assert_scheduler(&peer, &format!("{case}/{name}"), &grid, &scheme, &mut mixture(Prediction::Noise))?;
            let timesteps = peer.tensor::<Ix1>(&format!("{case}/{name}/timesteps"))?;
            assert_eq!(timesteps, Array1::from(grid.times(&schedule)?[..STEPS].to_vec()));
        }
    }
    let grid = Grid::ddpm_timesteps(STEPS, Spacing::Leading { offset: 0 });
    assert_scheduler(&peer, "ddpm-large-0/leading", &grid, &LARGE, &mut mixture(Prediction::Noise))
}

#[test]
fn dpm_solver_multistep_scheduler() -> Test {
    let peer = diffusers()?;
    for (name, spacing) in SPACINGS {
        let grid = Grid::dpm_solver_timesteps(STEPS, spacing);
        for (case, scheme) in [("dpm", Scheme::dpm_solver_multistep(STEPS)), ("dpm-sde", Scheme::dpmpp_2m_sde())] {
            assert_scheduler(&peer, &format!("{case}/{name}"), &grid, &scheme, &mut mixture(Prediction::Noise))?;
        }
    }
    Ok(())
}

#[test]
fn euler_and_heun_discrete_schedulers() -> Test {
    let (peer, schedule) = (diffusers()?, table());
    for (name, spacing) in SPACINGS {
        let grid = Grid::euler_timesteps(STEPS, spacing);
        let times = grid.times(&schedule)?;
        for (case, scheme) in [("euler", Scheme::euler()), ("heun", Scheme::heun())] {
            let case = format!("{case}/{name}");
            assert_scheduler(&peer, &case, &grid, &scheme, &mut mixture(Prediction::Noise))?;
            // what their network sees: the index itself, where ours sees the time of the interpolated sigma
            let timesteps = peer.tensor::<Ix1>(&format!("{case}/timesteps"))?;
            let apart = timesteps.iter().zip(&times).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            println!("{case}: timesteps {apart:.1e}");
            assert!(apart < 3e-3, "{case}: {apart}");
            // what it starts from: normals in x with leading spacing, sigma times normals with the others
            let start = Level::at(&schedule, times[0]);
            let std = if name == "leading" { 1.0 } else { start.sigma };
            let theirs = peer.tensor::<Ix3>(&format!("{case}/states"))?.index_axis(Axis(0), 0).to_owned() * start.alpha;
            assert!(theirs.iter().zip(&peer.init).all(|(x, z)| (x - std * z).abs() < 1e-12), "{case}");
        }
    }
    Ok(())
}

#[test]
fn other_kinds_of_output_and_clipping() -> Test {
    let peer = diffusers()?;
    let grid = Grid::ddpm_timesteps(STEPS, Spacing::Trailing);
    for (case, scheme, kind) in [
        ("ddim-v/trailing", Scheme::ddim(), Prediction::Velocity),
        ("dpm-v/trailing", Scheme::dpmpp_2m(), Prediction::Velocity),
        ("heun-v/trailing", Scheme::heun(), Prediction::Velocity),
        ("dpm-sample/trailing", Scheme::dpmpp_2m(), Prediction::Data),
    ] {
        assert_scheduler(&peer, case, &grid, &scheme, &mut mixture(kind))?;
    }
    for (case, scheme) in [("ddpm-clip/trailing", Scheme::ddpm()), ("ddim-clip/trailing", Scheme::ddim())] {
        let mut clipped = Clip::new(mixture(Prediction::Noise), -1.0, 1.0)?;
        assert_scheduler(&peer, case, &grid, &scheme, &mut clipped)?;
    }
    Ok(())
}

/// `set_alpha_to_one = False` and `final_sigmas_type = "sigma_min"` end at entry 0 of the table.
#[test]
fn ends_at_the_smallest_noise_of_the_table() -> Test {
    let (peer, schedule) = (diffusers()?, table());
    let first_order = Scheme::DpmSolverPp2M { lower_order_final: true };
    for (case, spacing, scheme) in [
        ("ddim-end/leading", Spacing::Leading { offset: 1 }, Scheme::ddim()),
        ("euler-end/trailing", Spacing::Trailing, Scheme::euler()),
        ("dpm-end/trailing", Spacing::Trailing, Scheme::dpm_solver_multistep(STEPS)),
        ("dpm-end-euler/trailing", Spacing::Trailing, first_order),
    ] {
        let mut times = Grid::ddpm_timesteps(STEPS, spacing).times(&schedule)?;
        times[STEPS] = 0.0;
        assert_scheduler(&peer, case, &Grid::new(times), &scheme, &mut mixture(Prediction::Noise))?;
    }
    Ok(())
}

/// One step t -> u as a row of coefficients, pushed as a node at `level`.
fn push_step(list: &mut Nodes, scheme: &Scheme, t: f64, u: f64, level: Level, noise: Option<f64>) -> Test {
    let one = Nodes::new(&table(), &Grid::new([t, u]), scheme, Prediction::Noise)?;
    let noise = noise.unwrap_or_else(|| one.c(1, 0, 0));
    let terms = NodeTerms::new().a(1, [0, 0], one.a(1, 1, 0, 0)).b(1, [0, 0], one.b(1, 1, 0, 0));
    Ok(list.push(level, true, &terms.c(0, Normal::dynamics(list.next_step()), noise))?)
}

/// DDIMScheduler always steps 1000 / 20 indices down, also where `linspace` puts the next timestep elsewhere: it goes
/// from t to t - 50 and calls the result t - 53. A list of one's own does the same.
#[test]
fn ddim_scheduler_with_linspace_steps_to_another_level_than_it_evaluates() -> Test {
    let (peer, schedule) = (diffusers()?, table());
    let grid = Grid::ddpm_timesteps(STEPS, Spacing::Linspace);
    let levels = levels(&schedule, &grid)?;
    for (case, scheme) in [("ddim/linspace", Scheme::ddim()), ("ddim-eta/linspace", Scheme::Ddim { eta: 1.0 })] {
        let mut list = Nodes::empty(levels[0]);
        for pair in levels.windows(2) {
            push_step(&mut list, &scheme, pair[0].t, (pair[0].t - 50.0).max(-1.0), pair[1], None)?;
        }
        assert_path(&peer, case, list, &mut mixture(Prediction::Noise))?;

        // the consistent step is another one
        let theirs = peer.tensor::<Ix3>(&format!("{case}/states"))?;
        let list = Nodes::new(&schedule, &grid, &scheme, Prediction::Noise)?;
        let mut score = mixture(Prediction::Noise);
        let ours = path(list, &mut score, Variables::Preserving, &peer.noise, &peer.init)?;
        let (worst, _) = relative(&ours, &theirs);
        println!("{case}: {worst:.1e} from the consistent step");
        assert!(worst > 1e-2, "{case}: {worst}");
    }
    Ok(())
}

/// DDPMScheduler adds noise in its last step unless that starts from entry 0; with `fixed_large` its standard deviation
/// is sigma of the start, so the samples stay noisy. Ours ends without noise; a list of one's own adds it.
#[test]
fn ddpm_scheduler_with_large_variance_ends_with_noise() -> Test {
    let (peer, schedule) = (diffusers()?, table());
    for (name, spacing) in &SPACINGS[..2] {
        let case = format!("ddpm-large/{name}");
        let grid = Grid::ddpm_timesteps(STEPS, *spacing);
        let levels = levels(&schedule, &grid)?;
        let mut list = Nodes::empty(levels[0]);
        for (m, pair) in levels.windows(2).enumerate() {
            let noise = (m + 1 == STEPS).then_some(pair[0].sigma);
            push_step(&mut list, &LARGE, pair[0].t, pair[1].t, pair[1], noise)?;
        }
        assert_path(&peer, &case, list, &mut mixture(Prediction::Noise))?;
    }
    Ok(())
}

/// In the peer's variables, and in those of a variance-preserving table, where x/alpha is the peer's x.
#[test]
fn k_diffusion_samplers() -> Test {
    let peer = Peer::read("k_diffusion.safetensors")?;
    let table = Discrete::linear(1000, 1e-4, 0.02)?; // reaches sigma/alpha = 158
    let schedules: [(&dyn NoiseSchedule, Prediction); 2] = [(&Edm, Prediction::Data), (&table, Prediction::Noise)];
    for (schedule, kind) in schedules {
        let grid = Grid::get_sigmas_karras(STEPS, 0.03, 15.0, 7.0);
        for (case, scheme) in [
            ("sample_euler", Scheme::euler()),
            ("sample_heun", Scheme::heun()),
            ("sample_dpmpp_2m", Scheme::dpmpp_2m()),
            ("sample_dpmpp_2m_sde", Scheme::dpmpp_2m_sde()),
        ] {
            let theirs = peer.tensor::<Ix1>(&format!("{case}/levels"))?;
            assert_levels(case, &levels(schedule, &grid)?, &theirs);
            let list = Nodes::new(schedule, &grid, &scheme, kind)?;
            let ours = path(list, &mut mixture(kind), Variables::Exploding, &peer.noise, &peer.init)?;
            assert_agrees(case, &ours, &peer.tensor::<Ix3>(&format!("{case}/states"))?, DOUBLE);
        }
    }
    Ok(())
}
