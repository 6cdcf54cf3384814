//! Seconds of several samplers on the same images, measured in turn.

use super::equal_error::{Setting, errors};
use super::fit::median;
use super::network::Network;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use piadm::{BoxError, Cpu, Model, Prediction, Problem, Report, Rows, Sampler, ScoreFn, Solution};
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
    pub name: String,
    /// Steps; `None` without a window.
    pub window: Option<usize>,
    /// In the sampler's own units.
    pub tolerance: Option<f64>,
    pub sampler: Box<dyn Sampler<Cpu<f32>>>,
    /// With the batch of the first image.
    pub problem: Problem<Cpu<f32>>,
    /// Whether it runs on a single thread.
    pub single: bool,
    /// Whether it converges to the reference, which is the first contender.
    pub same_path: bool,
}

/// What came of it; medians over the runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Line {
    pub sampler: String,
    pub steps: usize,
    /// Steps; the last run's choice where the sampler chooses.
    pub window: Option<usize>,
    pub tolerance: Option<f64>,
    /// Of the slowest image of a run.
    pub rounds: f64,
    /// Network rows a step and image.
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
    /// c(images) / (W c(R)): the ratio of a solver that costs nothing, c being the seconds a row and R the rows of a
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
    let mut sheet = Sheet::new(calls.iter().copied().max().unwrap_or(0), network.dim());
    for rows in calls.iter().take(CALLS) {
        sheet.call(network, *rows)?;
    }
    let started = Instant::now();
    for rows in calls {
        sheet.call(network, *rows)?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// A network, and the rows of the calls that it got.
struct Recorded<'n> {
    network: &'n mut dyn Network,
    calls: Vec<usize>,
}

impl Model for Recorded<'_> {
    fn prediction(&self) -> Prediction {
        self.network.prediction()
    }

    fn max_rows(&self) -> Option<usize> {
        self.network.max_rows()
    }

    fn time_range(&self) -> Option<(f64, f64)> {
        self.network.time_range()
    }
}

impl ScoreFn<Cpu<f32>> for Recorded<'_> {
    fn eval(&mut self, x: ArrayView2<'_, f32>, rows: &Rows<'_>, out: ArrayViewMut2<'_, f32>) -> Result<(), BoxError> {
        self.calls.push(rows.len());
        self.network.eval(x, rows, out)
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
            let mut recorded = Recorded { network: &mut *network, calls: Vec::with_capacity(2 * setting.steps) };
            let mut timed = || -> Result<(f64, Solution<Cpu<f32>>), BoxError> {
                let started = Instant::now();
                let solution = contender.sampler.sample(&problem, &mut recorded)?;
                Ok((started.elapsed().as_secs_f64(), solution))
            };
            let (seconds, solution) = if contender.single { single.install(&mut timed)? } else { timed()? };
            record.seconds.push(seconds);
            match &reference {
                Some(reference) if contender.same_path => record.errors.extend(errors(&solution.samples, reference)),
                Some(_) => {}
                None => reference = Some(solution.samples),
            }
            record.reports.push(solution.report);
            record.calls = recorded.calls;
        }
        // what a row costs, in the same turn
        let mut alone = || call(network, setting.samples);
        first_row.push(alone()?.min(single.install(&mut alone)?) / setting.samples as f64);
        for (contender, record) in contenders.iter().zip(&mut records) {
            if contender.tolerance.is_some() {
                record.straight.push(straight(network, &record.calls)?);
            }
            let Some(report) = record.reports.last() else { continue };
            let rows = report.score_rows.div_ceil(report.score_calls.max(1)).max(1);
            let mut some = || call(network, rows);
            let seconds = if contender.single { single.install(&mut some)? } else { some()? };
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
    let steps = reports.first().map_or(0, |r| r.steps);
    // evaluations of the sequential reference over those of this sampler
    let work = |r: &Report| (setting.steps * setting.samples) as f64 / r.score_rows.max(1) as f64;
    let bounds = reports.iter().zip(row_seconds).zip(first_row).map(|((r, row), first)| work(r) * first / row);
    let chosen = reports.last().and_then(|r| r.choice.as_ref()).and_then(|c| c.window);
    Line {
        sampler: contender.name.clone(),
        steps,
        window: contender.window.or(chosen),
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
