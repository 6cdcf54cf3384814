//! Cases that JSON cannot say: own lists, own starts and noise, warm starts, correctors, observers, adapters of scores.

use crate::common::{lookback_three, push, two_components, two_modes};
use crate::dyadic;
use crate::line::{Line, Watch, cells};
use crate::place::Place;
use ndarray::{Array2, Array3, ArrayView2, ArrayViewMut2};
use piadm::noise::NormalPrecision;
use piadm::{
    Acceptance, Automatic, Cpu, Grid, Nodes, Ou, Parareal, Path, Piadm, Picard, Prediction, Problem, Rows, Sampler,
    Save, Scheme, ScoreFn, Sequential, Solution, Window,
    backend::Real,
    nodes::{Correction, Langevin},
    noise::NoiseKey,
    problem::{Latency, Variances},
    sampler::{Dynamics, Entry, Linearisation, Policy},
    schedule::Level,
    score::Chunked,
    score_fn,
};
use std::error::Error;

/// What a run gives.
pub type Run<P> = Result<Solution<<P as Place>::On>, Box<dyn Error>>;

/// Runs cases one after another.
pub struct Runner<'p, P> {
    place: &'p P,
    dtype: &'static str,
    lines: Vec<Line>,
}

impl<'p, P: Place> Runner<'p, P> {
    /// All cases of this place.
    pub fn all(place: &'p P, dtype: &'static str) -> Vec<Line> {
        let mut runner = Runner { place, dtype, lines: Vec::new() };
        dyadic::cases(&mut runner);
        lists(&mut runner);
        starts(&mut runner);
        samplers(&mut runner);
        observers(&mut runner);
        if P::NAME == "cpu" {
            starts_on_cpu(&mut runner);
            samplers_on_cpu(&mut runner);
        }
        runner.lines
    }

    /// One case whose numbers depend on exp and log.
    fn case(&mut self, name: &str, run: impl FnOnce(&P, &mut Watch) -> Run<P>) {
        self.add(name, false, run);
    }

    pub fn add(&mut self, name: &str, dyadic: bool, run: impl FnOnce(&P, &mut Watch) -> Run<P>) {
        let place = self.place;
        let cells = cells(place, |watch| run(place, watch));
        self.lines.push(Line { name: format!("{name}/{}", self.dtype), backend: P::NAME, dyadic, cells });
    }
}

const STEPS: usize = 20;
const SHAPE: (usize, usize) = (3, 5);

fn grid() -> Grid {
    Grid::log_snr(STEPS).between(5.0, 0.05)
}

/// The problem that most cases change in one way.
fn problem<P: Place>(place: &P, scheme: Scheme) -> Problem<P::On> {
    Problem::on(place.backend(), Ou, grid(), scheme).samples(SHAPE.0).shape([SHAPE.1]).seed(11).save(Save::All)
}

fn sde<P: Place>(place: &P) -> Problem<P::On> {
    problem(place, Scheme::default())
}

fn ode<P: Place>(place: &P) -> Problem<P::On> {
    problem(place, Scheme::Ddim { eta: 0.0 })
}

fn list<P: Place>(place: &P, list: Nodes) -> Problem<P::On> {
    Problem::from_nodes(place.backend(), list).samples(SHAPE.0).shape([SHAPE.1]).seed(12).save(Save::All)
}

fn value(i: usize) -> f64 {
    (i as f64 * 0.37).sin()
}

fn states<T: Real>() -> Array2<T> {
    Array2::from_shape_fn(SHAPE, |(s, i)| T::of(value(5 * s + i)))
}

fn normals<T: Real>(steps: usize) -> Array3<T> {
    Array3::from_shape_fn((steps, SHAPE.0, SHAPE.1), |(m, s, i)| T::of(value(31 * m + 7 * s + i)))
}

/// Runs a sampler with the score of two modes, the network giving the data.
fn go<P: Place>(place: &P, watch: &mut Watch, sampler: &dyn Sampler<P::On>, problem: &Problem<P::On>) -> Run<P> {
    let mut score = place.score(two_modes::<P::Elem>(Prediction::Data));
    Ok(sampler.run(problem, &mut score, watch)?)
}

fn window(steps: usize) -> Picard {
    Picard::default().window(Window::Steps(steps))
}

fn blocks(steps: usize) -> Picard {
    window(steps).policy(Policy::Blocks).anderson(2).linearisation(Linearisation::FrozenScore)
}

fn lists<P: Place>(r: &mut Runner<'_, P>) {
    r.case("list_one_node", |p, w| {
        let mut one = Nodes::empty(Level::at(&Ou, 2.0));
        push(&mut one, Level::at(&Ou, 1.0), true, (&[0.9], &[0.1], &[0.3]))?;
        go(p, w, &window(8), &list(p, one))
    });
    r.case("list_three_lags", |p, w| go(p, w, &window(5), &list(p, lookback_three(STEPS))));
    r.case("list_two_components", |p, w| go(p, w, &window(6), &list(p, two_components(STEPS))));
    r.case("list_langevin", |p, w| {
        let langevin = Langevin { friction: 2.8, step: 0.05, steps: 16 };
        go(p, w, &blocks(8), &list(p, langevin.list(Level::at(&Ou, 1.0), Prediction::Data, 3)?))
    });
}

fn starts<P: Place>(r: &mut Runner<'_, P>) {
    r.case("save_steps", |p, w| go(p, w, &window(8), &sde(p).save(Save::Steps(vec![0, 3, STEPS]))));
    r.case("warm_start", |p, w| {
        let other = go(p, &mut Watch::new(), &Sequential, &sde(p).seed(7))?;
        go(p, w, &window(8), &sde(p).guesses(other.path))
    });
    r.case("given_init_and_noise", |p, w| {
        let (x, noise) = (states::<P::Elem>(), normals::<P::Elem>(STEPS));
        go(p, w, &window(8), &sde(p).init(x).noise(noise))
    });
    r.case("data_at", |p, w| {
        let x = states::<P::Elem>();
        go(p, w, &window(8), &sde(p).data_at(6, x))
    });
    r.case("variances", |p, w| {
        let variances = Variances::new((0..SHAPE.1).map(|i| 0.1 + i as f64).collect())?;
        let sampler = window(8).linearisation(Linearisation::Gaussian { variance: 0.1 });
        go(p, w, &sampler, &sde(p).variances(variances))
    });
}

fn starts_on_cpu<P: Place>(r: &mut Runner<'_, P>) {
    r.case("save_nothing", |p, w| go(p, w, &window(8), &sde(p).save(Save::Nothing)));
    r.case("guess_at_two_steps", |p, w| {
        let path = Path::new(vec![4, 9], normals::<P::Elem>(2))?;
        let sampler = window(5).policy(Policy::Wavefront { blocks: 2 });
        go(p, w, &sampler, &ode(p).guesses(path))
    });
    for every in [3, 4] {
        r.case(&format!("coarse_{every}"), |p, w| go(p, w, &Sequential, &sde(p).coarse(every)?));
        r.case(&format!("refine_{every}"), |p, w| {
            let fine = sde(p);
            let rough = go(p, &mut Watch::new(), &Sequential, &fine.coarse(every)?)?;
            let path = fine.refine(&rough.path, every)?;
            go(p, w, &window(8), &fine.clone().guesses(path))
        });
    }
    r.case("init_at", |p, w| {
        let x = states::<P::Elem>();
        go(p, w, &blocks(4), &sde(p).init_at(5, x))
    });
    r.case("given_noise_sequential", |p, w| {
        let noise = normals::<P::Elem>(STEPS);
        go(p, w, &Sequential, &sde(p).noise(noise))
    });
    r.case("ids", |p, w| go(p, w, &window(8), &sde(p).ids(vec![9, 2, 1_000_000])));
    r.case("double_normals", |p, w| {
        go(p, w, &window(8), &sde(p).key(NoiseKey::new(5).with_precision(NormalPrecision::Double)))
    });
    r.case("variances_in_blocks", |p, w| {
        let variances = Variances::new(vec![0.0, 0.01, 1.0, 1.0, 50.0])?;
        let sampler = blocks(6).linearisation(Linearisation::Gaussian { variance: 0.3 });
        go(p, w, &sampler, &ode(p).variances(variances))
    });
    r.case("init_of_wrong_shape", |p, w| {
        let x = Array2::zeros((2, 2));
        go(p, w, &window(8), &sde(p).init(x))
    });
}

/// The problem with a corrector after every block.
fn corrected<P: Place>(problem: Problem<P::On>) -> Problem<P::On> {
    problem.correction(Window::OuTime { ou_time: 1.0 }, Correction::default().friction(1.5).step(0.2).steps(4))
}

/// Blocks that end where blocks of the scheme and corrections do.
fn marked() -> Picard {
    blocks(1).window(Window::Marked { marks: 1 })
}

fn samplers<P: Place>(r: &mut Runner<'_, P>) {
    r.case("corrector_marked", |p, w| go(p, w, &marked(), &corrected::<P>(ode(p))));
    r.case("corrector_blocks", |p, w| go(p, w, &blocks(4), &corrected::<P>(ode(p))));
    r.case("recipe_ode", |p, w| {
        let recipe = Piadm::new(SHAPE.1, 0.3, Dynamics::Ode).steps(24).recipe(&Ou, None)?;
        let problem =
            Problem::on(p.backend(), Ou, recipe.grid, recipe.scheme).samples(SHAPE.0).shape([SHAPE.1]).save(Save::All);
        let (block, correction) = recipe.correction.ok_or("no corrector")?;
        let sampler = recipe.sampler.window(Window::Marked { marks: 1 });
        go(p, w, &sampler, &problem.correction(block, correction))
    });
    r.case("budget_secant", |p, w| {
        let sampler = window(6).row_budget(13);
        go(p, w, &sampler, &sde(p).samples(9).ids(0..9))
    });
}

fn samplers_on_cpu<P: Place>(r: &mut Runner<'_, P>) {
    r.case("corrector_sequential", |p, w| go(p, w, &Sequential, &corrected::<P>(ode(p))));
    r.case("corrector_sliding", |p, w| go(p, w, &window(8), &corrected::<P>(ode(p))));
    r.case("recipe_sde", |p, w| {
        let recipe = Piadm::new(SHAPE.1, 0.3, Dynamics::Sde).recipe(&Ou, None)?;
        let problem =
            Problem::on(p.backend(), Ou, recipe.grid, recipe.scheme).samples(SHAPE.0).shape([SHAPE.1]).save(Save::All);
        go(p, w, &recipe.sampler, &problem)
    });
    r.case("recipe_tolerance", |p, w| {
        let acceptance = Some(Acceptance::Error(0.05));
        let recipe = Piadm::new(SHAPE.1, 0.3, Dynamics::Sde).acceptance(acceptance).depth(2);
        let recipe = recipe.recipe(&Ou, Some((0.2, 3.0)))?;
        let problem =
            Problem::on(p.backend(), Ou, recipe.grid, recipe.scheme).samples(SHAPE.0).shape([SHAPE.1]).save(Save::All);
        go(p, w, &recipe.sampler, &problem)
    });
    for (name, part) in [("frozen", blocks(6)), ("copied", window(6).entry(Entry::Copy))] {
        r.case(&format!("budget_{name}"), |p, w| {
            let sampler = part.row_budget(20);
            go(p, w, &sampler, &sde(p).samples(11).ids(0..11))
        });
    }
    // a call of constant time, and one whose time is that of its rows
    for (name, seconds) in [("parallel", [0.02, 0.02]), ("sequential", [0.001, 1.0])] {
        r.case(&format!("automatic_{name}"), |p, w| {
            let latency = Some(Latency { points: vec![(1, seconds[0]), (1000, seconds[1])] });
            go(p, w, &Automatic::default().latency(latency), &sde(p))
        });
    }
    for (name, sampler) in
        [("picard", Box::new(window(8)) as Box<dyn Sampler<P::On>>), ("sequential", Box::new(Sequential))]
    {
        r.case(&format!("chunked_{name}"), |p, w| {
            let mut score = p.score(Chunked::new(two_modes::<P::Elem>(Prediction::Noise), 2)?);
            Ok(sampler.run(&sde(p), &mut score, w)?)
        });
    }
    r.case("parareal_init_at", |p, w| {
        let x = states::<P::Elem>();
        go(p, w, &Parareal::default().blocks(3), &sde(p).init_at(4, x))
    });
    r.case("score_breaks", |p, w| {
        let mut score = p.score(breaks::<P::Elem>(3));
        Ok(window(4).run(&sde(p), &mut score, w)?)
    });
}

/// Is not finite from call `at` on.
fn breaks<T: Real>(at: usize) -> impl ScoreFn<Cpu<T>> {
    let mut calls = 0;
    score_fn(Prediction::Data, move |x: ArrayView2<'_, T>, _: &Rows<'_>, mut out: ArrayViewMut2<'_, T>| {
        calls += 1;
        out.assign(&x);
        if calls >= at {
            out[[0, 0]] = T::of(f64::NAN);
        }
        Ok(())
    })
}

/// Runs that are cancelled in their third round.
fn observers<P: Place>(r: &mut Runner<'_, P>) {
    fn cut<P: Place>(r: &mut Runner<'_, P>, name: &str, sampler: &dyn Sampler<P::On>) {
        r.case(name, |p, w| {
            w.last = Some(3);
            go(p, w, sampler, &ode(p))
        });
    }
    cut(r, "cut_picard", &window(6));
    cut(r, "cut_blocks", &blocks(3));
    cut(r, "cut_parareal", &Parareal::default());
    if P::NAME == "cpu" {
        cut(r, "cut_sequential", &Sequential);

        cut(r, "cut_wavefront", &window(3).policy(Policy::Wavefront { blocks: 3 }));
        cut(r, "cut_queue", &window(6).row_budget(7));
    }
}
