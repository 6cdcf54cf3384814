//! What each core of CHORDS returns, and in how many rounds: what the program `chords` measures and shows.

use crate::cli::Progress;
use crate::stats::{median, row_errors};
use crate::subject::Subject;
use crate::table::{short, table};
use piadm::{BoxError, Chords, Cpu, Grid, NoiseSchedule, Ou, Problem, Sampler, Scheme, ScoreFn, Sequential};
use serde::{Deserialize, Serialize};

/// Ornstein-Uhlenbeck times of the ends of all grids.
const ENDS: (f64, f64) = (8.0, 0.01);

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name for [`Subject::load`].
    pub problem: String,
    /// Of every grid.
    pub steps: usize,
    /// Of a run.
    pub samples: usize,
    /// Numbers of cores.
    pub cores: Vec<usize>,
    /// Of the noise.
    pub seeds: Vec<u64>,
}

/// The result of a core.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CoreResult {
    /// Rounds until it is there.
    pub rounds: usize,
    /// Score rows per step and sample of a run that waits for it.
    pub rows: f64,
    /// Rms difference to the sequential sample over its elements, median over samples.
    pub error: f64,
}

/// The results of all cores on a grid.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    grid: String,
    cores: usize,
    seed: u64,
    /// Slowest first.
    results: Vec<CoreResult>,
}

/// Everything that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    problem: String,
    steps: usize,
    samples: usize,
    rows: Vec<Row>,
}

/// The results of all cores, slowest first.
pub fn core_results(
    problem: &Problem<Cpu<f32>>,
    score: &mut dyn ScoreFn<Cpu<f32>>,
    cores: usize,
) -> Result<Vec<CoreResult>, BoxError> {
    let sequential = Sequential.sample(problem, score)?.samples;
    let result = |core| {
        let solution = Chords::default().cores(cores).output(core).sample(problem, score)?;
        let error = median(row_errors(solution.samples.view(), sequential.view()));
        Ok(CoreResult { rounds: solution.report.rounds, rows: solution.report.rows_per_step(), error })
    };
    (1..=cores).map(result).collect()
}

/// Ornstein-Uhlenbeck times that are uniform in the time sigma / (alpha + sigma) of a rectified flow.
pub fn flow_uniform(steps: usize) -> Grid {
    let flow_time = |t: f64| Ou.sigma(t) / (Ou.alpha(t) + Ou.sigma(t));
    let (first, last) = (flow_time(ENDS.0), flow_time(ENDS.1));
    let time = |m: usize| {
        let s = first + (last - first) * m as f64 / steps as f64;
        Ou.time_of_log_snr(((1.0 - s) / s).ln())
    };
    Grid::new((0..=steps).map(time).collect::<Vec<_>>())
}

/// Measures all of the plan, with DDIM.
pub fn measure(plan: &Plan) -> Result<Results, BoxError> {
    let &Plan { steps, samples, .. } = plan;
    let mut subject = Subject::load(&plan.problem)?;
    let progress = Progress::new("chords", 2 * plan.cores.len() * plan.seeds.len());
    let mut results = Results { problem: plan.problem.clone(), steps, samples, rows: Vec::new() };
    let grids = [("log-SNR", Grid::log_snr(steps).between(ENDS.0, ENDS.1)), ("flow time", flow_uniform(steps))];
    for (name, grid) in grids {
        for &cores in &plan.cores {
            for &seed in &plan.seeds {
                let problem = Problem::on(Cpu::new(), Ou, grid.clone(), Scheme::ddim());
                let problem = problem.samples(samples).shape([subject.dim]).seed(seed);
                let results_of_cores = core_results(&problem, subject.score.as_mut(), cores)?;
                results.rows.push(Row { grid: name.to_owned(), cores, seed, results: results_of_cores });
                progress.next(&format!("uniform in {name}, {cores} cores, seed {seed}"));
            }
        }
    }
    Ok(results)
}

/// A table for every grid and number of cores.
pub fn text(results: &Results) -> String {
    let Results { problem, steps, samples, rows } = results;
    let mut text = format!(
        "{problem}, DDIM, {steps} steps, {samples} samples. Error: rms difference to the sequential sample, median of \
         the samples; rows: score rows per step and sample of\na run that waits for this core.\n"
    );
    for group in rows.chunk_by(|a, b| (&a.grid, a.cores) == (&b.grid, b.cores)) {
        let line = |core: usize| {
            let of_seeds: Vec<&CoreResult> = group.iter().map(|row| &row.results[core]).collect();
            let CoreResult { rounds, rows, .. } = of_seeds[0];
            let errors = of_seeds.iter().map(|result| result.error);
            let middle = short(Some(median(errors.clone())));
            let counts = [(core + 1).to_string(), rounds.to_string(), format!("{rows:.2}"), middle];
            counts.into_iter().chain(errors.map(|error| short(Some(error)))).collect()
        };
        let seeds = group.iter().map(|row| format!("seed {}", row.seed));
        let titles = ["core", "rounds", "rows", "median error"].map(String::from).into_iter().chain(seeds);
        let lines = table(titles, 0, (0..group[0].cores).map(line));
        text += &format!("\nuniform in {}, {} cores\n{lines}", group[0].grid, group[0].cores);
    }
    text
}
