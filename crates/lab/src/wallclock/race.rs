//! Seconds of several samplers on the same images, measured in turn.

use super::entrants::Entrant;
use crate::equal_error::Setting;
use crate::presets::OURS;
use crate::stats::{median, row_errors};
use ndarray::{Array2, s};
use networks::Network;
use piadm::sampler::Dynamics;
use piadm::{Acceptance, Automatic, BoxError, Cpu, Picard, Problem, Report, Rows, Sampler, Sequential, score_fn};
use rayon::ThreadPool;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Images to take turns with where one image is sampled, for their rounds differ.
pub const IMAGES: usize = 8;
/// Calls of which the median is the seconds of a call, at least; short ones are called for as long as this.
const CALLS: usize = 3;
const CALLING: Duration = Duration::from_millis(3);

/// Someone who takes part.
pub struct Contender {
    name: &'static str,
    /// Steps; `None` without a window.
    window: Option<usize>,
    /// In the sampler's own units; `None` for sequential sampling.
    tolerance: Option<f64>,
    sampler: Box<dyn Sampler<Cpu<f32>>>,
    /// With the batch of the first image.
    problem: Problem<Cpu<f32>>,
    /// Whether it runs on a single thread.
    single: bool,
    /// Whether it converges to the reference, which is the first contender.
    same_path: bool,
}

/// Sequential sampling, the parallel samplers, `Automatic`, and the short run of a second-order scheme.
pub fn contenders(setting: Setting, dim: usize, chosen: &[&Entrant], few: Option<usize>) -> Vec<Contender> {
    let contender = |name, tolerance, sampler| {
        let problem = setting.first_order(dim);
        Contender { name, window: None, tolerance, sampler, problem, single: false, same_path: true }
    };
    let mut all = vec![contender("sequential", None, Box::new(Sequential))];
    if setting.samples == 1 {
        all.push(Contender { single: true, ..contender("sequential, 1 thread", None, Box::new(Sequential)) });
    }
    for Entrant { preset, window, outcome } in chosen {
        let (ours, tolerance) = (preset.name == OURS, outcome.tolerance);
        let name = if ours { "picard (default)" } else { preset.name };
        let entrant = contender(name, Some(tolerance), (preset.sampler)(*window, tolerance));
        all.push(Contender { window: preset.windowed.then_some(*window), ..entrant });
        if ours {
            let automatic = Automatic::default().base(Picard::default().acceptance(Acceptance::Error(tolerance)));
            all.push(contender("automatic, with probe", Some(tolerance), Box::new(automatic)));
        }
    }
    all.extend(few.map(|steps| Contender {
        problem: Setting { steps, ..setting }.second_order(dim),
        same_path: false,
        ..contender("2nd order, few steps", None, Box::new(Sequential))
    }));
    all
}

/// One setting.
#[derive(Debug, Serialize, Deserialize)]
pub struct Race {
    /// The reverse SDE or the ODE.
    pub dynamics: Dynamics,
    pub steps: usize,
    pub images: usize,
    /// Runs of everyone.
    pub turns: usize,
    pub lines: Vec<Line>,
}

/// What came of it; medians over the runs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Line {
    pub sampler: String,
    pub steps: usize,
    /// Steps; the last run's choice where the sampler chooses.
    pub window: Option<usize>,
    pub tolerance: Option<f64>,
    /// Of the slowest image of a run.
    pub rounds: f64,
    /// Network rows per step and image.
    pub rows: f64,
    /// Rms difference to the reference, of images of samplers that converge to it.
    pub error: Option<f64>,
    pub seconds: f64,
    /// Shortest and longest run.
    pub range: (f64, f64),
    /// Share of the seconds that was spent outside of the network.
    pub solver: f64,
    /// Share of the seconds that the network takes for the same calls one straight after another; of parallel samplers.
    #[serde(default)]
    pub straight: Option<f64>,
    /// Seconds of the fastest sequential run of the same turn over its own.
    pub ratio: f64,
    /// c(images) / (W c(R)): the ratio of a solver that costs nothing, c being the seconds per row and R the rows of a
    /// call.
    pub bound: f64,
}

/// Inputs and outputs of calls on up to so many rows, with sizes and times as in a window; the arithmetic does not
/// depend on the values.
struct Sheet {
    x: Array2<f32>,
    out: Array2<f32>,
    t: Vec<f64>,
    halves: Vec<f64>,
    ids: Vec<u32>,
    slots: Vec<usize>,
}

impl Sheet {
    fn new(rows: usize, dim: usize) -> Self {
        let x = Array2::from_shape_fn((rows, dim), |(i, j)| ((i * 7 + j * 3) % 23) as f32 / 8.0 - 1.4);
        let t = (0..rows).map(|i| 0.5 + i as f64 / rows as f64).collect();
        Sheet { out: Array2::zeros(x.dim()), x, t, halves: vec![0.5; rows], ids: vec![0; rows], slots: vec![0; rows] }
    }

    fn call(&mut self, network: &mut dyn Network, rows: usize) -> Result<(), BoxError> {
        let all = Rows::new(&self.t, &self.halves, &self.halves, &self.ids, &self.slots).ok_or("lengths differ")?;
        network.eval(self.x.slice(s![..rows, ..]), &all.range(0..rows), self.out.slice_mut(s![..rows, ..]))
    }
}

/// Seconds of one call on so many rows.
pub fn call(network: &mut dyn Network, rows: usize) -> Result<f64, BoxError> {
    let mut sheet = Sheet::new(rows, network.dim());
    sheet.call(network, rows)?;
    let (mut seconds, calling) = (Vec::new(), Instant::now());
    while seconds.len() < CALLS || calling.elapsed() < CALLING {
        let started = Instant::now();
        sheet.call(network, rows)?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    Ok(median(seconds))
}

/// Seconds of calls on so many rows each, one straight after another.
fn straight(network: &mut dyn Network, calls: &[usize]) -> Result<f64, BoxError> {
    let mut sheet = Sheet::new(*calls.iter().max().expect("a run calls the network"), network.dim());
    for rows in calls.iter().take(CALLS) {
        sheet.call(network, *rows)?;
    }
    let started = Instant::now();
    for rows in calls {
        sheet.call(network, *rows)?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Does something on a single thread, or else on all.
fn on<T: Send>(single: Option<&ThreadPool>, job: impl FnOnce() -> T + Send) -> T {
    match single {
        Some(pool) => pool.install(job),
        None => job(),
    }
}

/// What a contender did, turn by turn.
#[derive(Default)]
struct Record {
    seconds: Vec<f64>,
    /// A row of an average call.
    row_seconds: Vec<f64>,
    /// Rows of the calls of the last run.
    calls: Vec<usize>,
    /// Seconds of these calls, one straight after another.
    straight: Vec<f64>,
    errors: Vec<f64>,
    reports: Vec<Report>,
}

/// Lets everyone run `turns` times, one after another in each turn. The first contender is the reference of errors, the
/// fastest of those that are `sequential` by name that of seconds.
pub fn race(
    network: &mut dyn Network,
    setting: Setting,
    contenders: &[Contender],
    single: &ThreadPool,
    turns: usize,
) -> Result<Vec<Line>, BoxError> {
    let mut records: Vec<Record> = contenders.iter().map(|_| Record::default()).collect();
    let mut first_row = Vec::new();
    for turn in 0..turns {
        let ids: Vec<u32> = match setting.samples {
            1 => vec![(turn % IMAGES) as u32],
            n => (0..n as u32).collect(),
        };
        let mut reference: Option<Array2<f32>> = None;
        for (contender, record) in contenders.iter().zip(&mut records) {
            let problem = contender.problem.clone().samples(ids.len()).ids(ids.clone());
            record.calls.clear();
            record.calls.reserve(2 * setting.steps);
            let mut recorded = score_fn(network.prediction(), |x, rows, out| {
                record.calls.push(rows.len());
                network.eval(x, rows, out)
            });
            let (seconds, solution) = on(contender.single.then_some(single), || {
                let started = Instant::now();
                let solution = contender.sampler.sample(&problem, &mut recorded);
                (started.elapsed().as_secs_f64(), solution)
            });
            let solution = solution?;
            record.seconds.push(seconds);
            match &reference {
                None => reference = Some(solution.samples),
                Some(reference) if contender.same_path => {
                    record.errors.extend(row_errors(solution.samples.view(), reference.view()));
                }
                Some(_) => {}
            }
            record.reports.push(solution.report);
        }
        // what a row costs, in the same turn
        let mut alone = || call(network, setting.samples);
        first_row.push(alone()?.min(single.install(&mut alone)?) / setting.samples as f64);
        for (contender, record) in contenders.iter().zip(&mut records) {
            if contender.tolerance.is_some() {
                record.straight.push(straight(network, &record.calls)?);
            }
            let report = &record.reports[turn];
            let rows = report.score_rows.div_ceil(report.score_calls);
            let seconds = on(contender.single.then_some(single), || call(network, rows))?;
            record.row_seconds.push(seconds / rows as f64);
        }
    }
    let fastest: Vec<f64> = (0..turns)
        .map(|turn| {
            let sequential = contenders.iter().zip(&records).filter(|(c, _)| c.name.starts_with("sequential"));
            sequential.map(|(_, r)| r.seconds[turn]).fold(f64::INFINITY, f64::min)
        })
        .collect();
    let lines = contenders.iter().zip(&records).map(|(c, r)| line(c, r, setting, &fastest, &first_row));
    Ok(lines.collect())
}

fn line(contender: &Contender, record: &Record, setting: Setting, fastest: &[f64], first_row: &[f64]) -> Line {
    let Record { seconds, row_seconds, straight, errors, reports, .. } = record;
    let of = |f: &dyn Fn(&Report) -> f64| median(reports.iter().map(f));
    // evaluations of the sequential reference over those of this sampler
    let work = |r: &Report| (setting.steps * setting.samples) as f64 / r.score_rows as f64;
    let bounds = reports.iter().zip(row_seconds).zip(first_row).map(|((r, row), first)| work(r) * first / row);
    let last = &reports[reports.len() - 1];
    Line {
        sampler: contender.name.to_owned(),
        steps: last.steps,
        window: contender.window.or_else(|| last.choice.as_ref()?.window),
        tolerance: contender.tolerance,
        rounds: of(&|r| r.rounds as f64),
        rows: of(&Report::rows_per_step),
        error: (!errors.is_empty()).then(|| median(errors.iter().copied())),
        seconds: median(seconds.iter().copied()),
        range: seconds.iter().fold((f64::INFINITY, 0.0), |(low, high), s| (f64::min(low, *s), f64::max(high, *s))),
        solver: of(&|r| r.solver_time.as_secs_f64() / r.total_time().as_secs_f64()),
        straight: (!straight.is_empty()).then(|| median(straight.iter().zip(seconds).map(|(s, all)| s / all))),
        ratio: median(fastest.iter().zip(seconds).map(|(f, s)| f / s)),
        bound: median(bounds),
    }
}
