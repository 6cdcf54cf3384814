//! What one image gains: sequential and parallel sampling in turn, and a few pictures for the eye.

use super::network::{self, Network};
use super::picture::Picture;
use super::{Options, median, path_errors};
use ndarray::Array2;
use piadm::sampler::Dynamics;
use piadm::{BoxError, Cpu, Grid, Ou, Picard, Problem, Sampler, Scheme, Sequential, Solution};

const STEPS: usize = 1000;
const WINDOW: usize = 16;
const TURNS: usize = 9;
/// Images of a picture, and the steps and the window that they are sampled with.
const IMAGES: usize = 16;
const IMAGE_STEPS: usize = 250;
const IMAGE_WINDOW: usize = 64;

/// Samples that are denoised in the last step.
fn problem(net: &dyn Network, o: &Options, samples: usize, steps: usize) -> Problem<Cpu<f32>> {
    let scheme = match o.dynamics {
        Dynamics::Sde => Scheme::default(),
        Dynamics::Ode => Scheme::Ddim { eta: 0.0 },
    };
    let grid = Grid::log_snr(steps - 1).between(8.0, 0.01).then_data();
    Problem::new(Ou, grid, scheme).samples(samples).shape([net.dim()]).seed(o.seed)
}

/// One run and its seconds, without what the solution costs to look at.
fn run(
    sampler: &dyn Sampler<Cpu<f32>>,
    problem: &Problem<Cpu<f32>>,
    net: &mut dyn Network,
) -> Result<(Solution<Cpu<f32>>, f64), BoxError> {
    let clock = std::time::Instant::now();
    let solution = sampler.sample(problem, net)?;
    Ok((solution, clock.elapsed().as_secs_f64()))
}

/// Measures one image, then draws some.
pub fn show(o: &Options) -> Result<(), BoxError> {
    let mut net = network::load(&o.network, o.weights.as_deref())?;
    let steps = o.steps.unwrap_or(STEPS);
    if steps < 2 {
        return Err(format!("--steps {steps}: expected at least 2 steps").into());
    }
    let window = o.window.unwrap_or(WINDOW);
    let parallel = Picard::default().window(window);
    let one = problem(&*net, o, 1, steps);
    let mut seconds = [Vec::new(), Vec::new()];
    let mut solutions = Vec::new();
    for turn in 0..=TURNS {
        solutions = Vec::new();
        for (which, sampler) in [&Sequential as &dyn Sampler<Cpu<f32>>, &parallel].into_iter().enumerate() {
            let (solution, taken) = run(sampler, &one, &mut *net)?;
            // the first turn touches memory for the first time
            if turn > 0 {
                seconds[which].push(taken);
            }
            solutions.push(solution);
        }
    }
    let seconds = seconds.map(|all| median(&all));
    let error = path_errors(&solutions[1].samples, &solutions[0].samples)[0];
    let names = ["sequential", "parallel"];
    if o.json {
        for (i, solution) in solutions.iter().enumerate() {
            let mut line = serde_json::to_value(&solution.report)?;
            if let Some(fields) = line.as_object_mut() {
                fields.insert("sampler".into(), names[i].into());
                fields.insert("window".into(), (i == 1).then_some(window).into());
                fields.insert("rows_per_step".into(), solution.report.rows_per_step().into());
                fields.insert("seconds".into(), seconds[i].into());
                fields.insert("turns".into(), TURNS.into());
                fields.insert("rms_to_sequential".into(), [0.0, error][i].into());
            }
            println!("{line}");
        }
    } else {
        let kind = if o.dynamics == Dynamics::Sde { "SDE" } else { "ODE" };
        println!("one image of the {}, {steps} {kind} steps, medians of {TURNS} turns", o.network);
        for (i, solution) in solutions.iter().enumerate() {
            let report = &solution.report;
            let note = if i == 0 { String::new() } else { format!(", window {window}, rms difference {error:.0e}") };
            println!("{:<12}{:>6} rounds{:>9.4} s{note}", names[i], report.rounds, seconds[i]);
        }
        println!("{:<12}{:.1} times the speed\n", "gain", seconds[0] / seconds[1]);
    }
    std::fs::create_dir_all(&o.output).map_err(|e| format!("{}: {e}", o.output.display()))?;
    if o.weights.is_some() || o.network != "mlp" {
        return pictures(o, &mut *net, &o.network);
    }
    pictures(o, &mut *net, "mlp")?;
    pictures(o, &mut *network::load("unet", None)?, "unet")
}

/// The same images sequentially and in parallel, beside each other.
fn pictures(o: &Options, net: &mut dyn Network, name: &str) -> Result<(), BoxError> {
    let problem = problem(net, o, IMAGES, IMAGE_STEPS);
    let (reference, _) = run(&Sequential, &problem, net)?;
    let (solution, _) = run(&Picard::default().window(IMAGE_WINDOW), &problem, net)?;
    let draw = |samples: &Array2<f32>| Picture::grid(samples.view(), 4, net.norm());
    let file = o.output.join(if name == "mlp" { "comparison.png".into() } else { format!("comparison-{name}.png") });
    Picture::beside(&[draw(&reference.samples)?, draw(&solution.samples)?]).enlarged(2).save(&file)?;
    if !o.json {
        let error = median(&path_errors(&solution.samples, &reference.samples));
        let (rounds, fewer) = (reference.report.rounds, solution.report.rounds);
        println!(
            "{}: {IMAGES} images of the {name}, left in {rounds} rounds, right in {fewer} (window {IMAGE_WINDOW}), \
             rms difference {error:.0e}",
            file.display()
        );
    }
    Ok(())
}
