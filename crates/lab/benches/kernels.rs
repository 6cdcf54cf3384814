//! The CPU kernels against what the memory and other generators give in the same run: sweep, slopes, normals.
//!
//! `cargo bench --bench kernels [-- --rounds N] [--only TEXT]`; a table, then one line of JSON. RAYON_NUM_THREADS sets
//! the number of threads, of the triad as of the kernels; normals are of one thread. Compare figures within one run
//! only.

use clap::Parser;
use lab::{cli::positive, stats::median, table::table};
use ndarray::Array2;
use piadm::backend::{NoiseRow, Plane, Planes, Program, RowRef, Vector};
use piadm::noise::{Address, stream};
use piadm::{Backend, BoxError, Cpu, backend::Real, noise::NoiseKey};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;
use rayon::prelude::*;
use serde_json::json;
use std::hint::black_box;
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

/// Samples, steps of the window, elements of a row.
type Shape = (usize, usize, usize);
/// The first is that of a window in the cache, the last two exceed every cache.
const SHAPES: [Shape; 6] = [(1, 64, 784), (8, 64, 784), (64, 64, 2), (1000, 16, 2), (32, 64, 4096), (2, 16, 1 << 18)];
/// Elements of each array of the triad: more than the caches hold.
const TRIAD: usize = 1 << 25;
/// Normals per call.
const NORMALS: usize = 1 << 14;

/// Something that is timed.
struct Work<'a> {
    name: String,
    /// Elements of a run.
    elements: usize,
    /// Bytes that must go to or come from memory, an element.
    bytes: usize,
    /// Runs until there is enough to time.
    run: Box<dyn FnMut() + 'a>,
}

impl Work<'_> {
    /// Seconds of a run: mean and least of about 10 ms.
    fn seconds(&mut self) -> (f64, f64) {
        let (mut runs, mut sum, mut least) = (0.0, 0.0, f64::INFINITY);
        while sum < 0.01 {
            let started = Instant::now();
            (self.run)();
            let seconds = started.elapsed().as_secs_f64();
            (runs, sum, least) = (runs + 1.0, sum + seconds, least.min(seconds));
        }
        (sum / runs, least)
    }
}

/// a = b + s c on all threads.
fn triad() -> Work<'static> {
    let (mut a, b, c) = (vec![0.0f32; TRIAD], vec![1.0f32; TRIAD], vec![2.0f32; TRIAD]);
    let run = move || {
        let chunk = 1 << 14;
        let rows = a.par_chunks_mut(chunk).zip(b.par_chunks(chunk)).zip(c.par_chunks(chunk));
        rows.for_each(|((a, b), c)| a.iter_mut().zip(b).zip(c).for_each(|((a, b), c)| *a = b + 3.0 * c));
        black_box(&a);
    };
    Work { name: "triad".into(), elements: TRIAD, bytes: 12, run: Box::new(run) }
}

/// The arrays of a window; there is no memory, and no term has a shift.
fn planes<T: Real>((samples, window, dim): Shape) -> Planes<Cpu<T>> {
    let value = |i: usize, j: usize, k: usize| T::of(((i * 7 + j * 3 + k * 5) % 23) as f64 / 8.0 - 1.4);
    let arrays = Plane::ALL.map(|plane| match plane {
        Plane::Memory | Plane::Variances => Array2::zeros((0, dim)),
        _ => Array2::from_shape_fn((samples * (window + 1), dim), |(i, j)| value(i, j, plane as usize)),
    });
    Planes::new(arrays, window + 1, 0)
}

fn row(plane: Plane, row: usize) -> RowRef {
    RowRef::new(plane, row as u32)
}

/// The sweep of a one-step scheme with noise: a x + B f + C xi + W (x' - x).
fn program<T: Real>((samples, window, _): Shape, a: f64) -> Program<T> {
    let mut program = Program::default();
    for slot in 0..samples {
        for at in slot * (window + 1) + 1..(slot + 1) * (window + 1) {
            program.term(a, row(Plane::Point, at - 1));
            program.term(0.3, row(Plane::Output, at - 1));
            program.term(0.1, row(Plane::Noise, at));
            if at > slot * (window + 1) + 1 {
                program.correction(T::of(0.5), row(Plane::State, at - 1), row(Plane::Point, at - 1), None);
            }
            program.target(row(Plane::State, at), None);
        }
        program.segment(slot);
    }
    program
}

fn name(what: &str, (samples, window, dim): Shape, size: usize) -> String {
    format!("{what}, f{}, {samples} x {window} x {dim}", 8 * size)
}

/// A sweep with its norms: reads point, output, noise and old state, writes the state.
fn sweep<'a, T: Real>(shape: Shape) -> Work<'a> {
    // in turn, so that every run changes the states
    let (mut planes, mut programs) = (planes::<T>(shape), [program(shape, 0.6), program(shape, 0.7)]);
    let (mut scratch, mut changes) = (Default::default(), Vec::new());
    let elements = shape.0 * shape.1 * shape.2;
    let run = move || {
        programs.swap(0, 1);
        let done = Cpu::new().run(&programs[0], &mut planes, &mut scratch, &mut changes);
        assert!(done.is_ok() && changes.iter().all(|c| c.finite && c.moved));
    };
    Work { name: name("sweep", shape, size_of::<T>()), elements, bytes: 5 * size_of::<T>(), run: Box::new(run) }
}

/// The inner products of the secant: reads point and output of this round and of the one before.
fn slopes<'a, T: Real>(shape: Shape) -> Work<'a> {
    let planes = planes::<T>(shape);
    let (mut scratch, mut products) = (Default::default(), Vec::new());
    let rows = shape.0 * (shape.1 + 1);
    let vectors = (0..rows).flat_map(|i| {
        let moved = |now, before| Vector { row: row(now, i), minus: Some(row(before, i)) };
        let point = Vector { row: row(Plane::Point, i), minus: None };
        [moved(Plane::Output, Plane::EarlierOutput), moved(Plane::Point, Plane::EarlierPoint), point]
    });
    let vectors: Vec<Vector> = vectors.collect();
    let run = move || {
        let pairs = [(0, 1), (1, 1), (2, 2)];
        let done = Cpu::new().products(&vectors, 3, &pairs, &planes, &mut scratch, &mut products);
        assert!(done.is_ok() && products.len() == 3 * rows);
    };
    let name = name("slopes", shape, size_of::<T>());
    Work { name, elements: rows * shape.2, bytes: 4 * size_of::<T>(), run: Box::new(run) }
}

/// The window's noise made anew, on all threads.
fn noise<'a>(shape: Shape) -> Work<'a> {
    let (samples, window, dim) = shape;
    let mut out = Array2::zeros((samples * window, dim));
    let address = |row: usize| Address { stream: stream::DYNAMICS, step: row as u32, sample: 0 };
    let rows: Vec<NoiseRow> = (0..out.nrows()).map(|i| NoiseRow { row: i as u32, address: address(i) }).collect();
    let elements = out.len();
    let run = move || assert!(Cpu::<f32>::new().normals(NoiseKey::new(1), &rows, &mut out).is_ok());
    Work { name: name("noise made anew", shape, 4), elements, bytes: 4, run: Box::new(run) }
}

/// Normals on one thread: the crate's, and rand_distr's with the generator that is fastest for it.
fn normals<'a>() -> [Work<'a>; 3] {
    let work = |name: &str, run: Box<dyn FnMut()>| Work { name: name.into(), elements: NORMALS, bytes: 4, run };
    let mut out = vec![0.0f32; NORMALS];
    let address = Address { stream: stream::DYNAMICS, step: 1, sample: 0 };
    let own = move || {
        NoiseKey::new(black_box(1)).fill_f32(address, 0, &mut out);
        black_box(&out);
    };
    let (mut out, mut rng) = (vec![0.0f32; NORMALS], SmallRng::seed_from_u64(1));
    let small = move || {
        out.iter_mut().for_each(|x| *x = rng.sample(StandardNormal));
        black_box(&out);
    };
    let (mut out, mut rng) = (vec![0.0f32; NORMALS], rand::rngs::StdRng::seed_from_u64(1));
    let standard = move || {
        out.iter_mut().for_each(|x| *x = rng.sample(StandardNormal));
        black_box(&out);
    };
    [
        work("normals, this crate", Box::new(own)),
        work("normals, rand_distr with SmallRng", Box::new(small)),
        work("normals, rand_distr with StdRng", Box::new(standard)),
    ]
}

/// Times the CPU kernels and memory in the same run. RAYON_NUM_THREADS sets the number of threads.
#[derive(Parser)]
#[command(name = "kernels")]
struct Options {
    /// Runs of everyone
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = positive)]
    rounds: usize,
    /// Only the kernels with TEXT in their names
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Cargo's own
    #[arg(long, hide = true)]
    bench: bool,
}

fn run(Options { rounds, only, .. }: Options, out: &mut dyn Write) -> Result<ExitCode, BoxError> {
    let mut works = vec![triad()];
    works.extend(SHAPES.map(sweep::<f32>));
    works.extend(SHAPES.map(slopes::<f32>));
    works.push(sweep::<f64>(SHAPES[4]));
    works.extend([SHAPES[1], SHAPES[5]].map(noise));
    works.extend(normals());
    works.retain(|work| work.name == "triad" || work.name.contains(&only));
    let mut seconds = vec![Vec::new(); works.len()];
    for _ in 0..rounds {
        for (work, seconds) in works.iter_mut().zip(&mut seconds) {
            seconds.push(work.seconds());
        }
    }
    let rates: Vec<Vec<f64>> = works
        .iter()
        .zip(&seconds)
        .map(|(work, seconds)| seconds.iter().map(|(s, _)| (work.elements * work.bytes) as f64 / s / 1e9).collect())
        .collect();
    let (mut lines, mut all) = (Vec::new(), Vec::new());
    for ((work, seconds), own) in works.iter().zip(&seconds).zip(&rates) {
        let Work { name, elements, bytes, .. } = work;
        let nanoseconds = 1e9 * median(seconds.iter().map(|s| s.0)) / *elements as f64;
        let least = 1e9 * seconds.iter().map(|s| s.1).fold(f64::INFINITY, f64::min) / *elements as f64;
        let rate = median(own.iter().copied());
        let share = median(own.iter().zip(&rates[0]).map(|(own, triad)| own / triad));
        let figures = [format!("{nanoseconds:.3}"), format!("{least:.3}"), bytes.to_string(), format!("{rate:.1}")];
        lines.push([name.clone()].into_iter().chain(figures).chain([format!("{:.0} %", 100.0 * share)]).collect());
        all.push(json!({
            "name": name, "nanoseconds": nanoseconds, "least": least, "bytes": bytes, "rate": rate, "of_triad": share
        }));
    }
    let threads = rayon::current_num_threads();
    writeln!(
        out,
        "{threads} threads, normals 1; medians of {rounds} runs in turn; bytes: what must be read and written once\n"
    )?;
    writeln!(out, "{}", table(["", "ns per element", "least", "bytes", "GB/s", "of the triad"], 1, lines))?;
    writeln!(out, "{}", json!({ "threads": threads, "kernels": all }))?;
    Ok(ExitCode::SUCCESS)
}

fn main() -> ExitCode {
    lab::cli::main(run)
}
