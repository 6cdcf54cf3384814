//! The device's kernels against a device copy in the same run, and whole samplers: `cargo bench --features cuda --bench
//! cuda`.
//!
//! A table, then one line of JSON. Bandwidth counts the bytes that a pass must move (tests/cuda/bytes.rs counts what it
//! does move); seconds are those of the whole operation as the sampler calls it, with its launches and the answer that
//! it waits for. `--emulated` runs the same at toy sizes in the tests' stand-in for the driver, to check the program
//! itself: its seconds mean nothing.

use ndarray::Array2;
use piadm::backend::{NoiseRow, Plane, Planes, Program, RowRef, Vector};
use piadm::cuda::{DeviceMixture, SOURCE};
use piadm::noise::{Address, NoiseKey};
use piadm::{
    Backend, BoxError, Cuda, Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme, Sequential, Window,
    sampler::Linearisation, score::Mixture,
};
use serde_json::{Value, json};
use std::time::Instant;

type Device = Cuda<f32>;

/// Shapes of a round: nodes of a window, samples, elements.
const SHAPES: [(usize, usize, usize); 7] = [
    (64, 1, 784),
    (64, 64, 784),
    (1000, 1, 784),
    (64, 1, 12_288),
    (64, 64, 12_288),
    (16, 1, 196_608),
    (16, 16, 196_608),
];

/// The least seconds of an operation over several runs, after one to warm up.
fn seconds(device: &Device, mut job: impl FnMut() -> piadm::Result<()>) -> piadm::Result<f64> {
    job()?;
    device.synchronize()?;
    let (begin, mut least, mut runs) = (Instant::now(), f64::INFINITY, 0);
    while runs < 3 || (runs < 200 && begin.elapsed().as_secs_f64() < 0.3) {
        let clock = Instant::now();
        job()?;
        device.synchronize()?;
        least = least.min(clock.elapsed().as_secs_f64());
        runs += 1;
    }
    Ok(least)
}

fn row(plane: Plane, index: usize) -> RowRef {
    RowRef::new(plane, index as u32)
}

/// The sweep of windows whose points lie sample after sample.
fn sweep(nodes: usize, samples: usize) -> Program<f32> {
    let mut program = Program::default();
    for sample in 0..samples {
        let at = |plane, node: usize| row(plane, sample * (nodes + 1) + node);
        for j in 1..=nodes {
            program.term(0.9, at(Plane::Point, j - 1));
            program.term(0.05, at(Plane::Output, j - 1));
            program.term(0.1, at(Plane::Noise, j));
            if j > 1 {
                program.correction(0.8, at(Plane::State, j - 1), at(Plane::Point, j - 1), None);
            }
            program.target(at(Plane::State, j), (j < nodes).then(|| at(Plane::Point, j)));
        }
        program.segment(sample);
    }
    program
}

/// Seconds and GB/s of every operation of a round, and of a copy of as many bytes.
fn kernels(device: &Device, (nodes, samples, dim): (usize, usize, usize)) -> piadm::Result<Vec<Value>> {
    let rows = (nodes + 1) * samples;
    let key = NoiseKey::new(1);
    let mut arrays = Vec::new();
    for plane in Plane::ALL {
        // neither lookback nor variances here
        let rows = if let Plane::Memory | Plane::Variances = plane { 0 } else { rows };
        let mut array = device.alloc("a plane", rows, dim, 0.0)?;
        let address = |r: usize| Address { stream: 16 + plane as u32, step: 0, sample: r as u32 };
        let list: Vec<NoiseRow> = (0..rows).map(|r| NoiseRow { row: r as u32, address: address(r) }).collect();
        device.normals(key, &list, &mut array)?;
        arrays.push(array);
    }
    let arrays = arrays.try_into().map_err(|_| ()).expect("a plane for each");
    let mut planes = Planes::<Device>::new(arrays, nodes + 1, 0);
    let stream = device.stream().clone();
    let elements = nodes * samples * dim;
    let mut lines = Vec::new();
    let mut push = |name: &str, bytes: usize, seconds: f64| {
        lines.push(json!({
            "operation": name, "nodes": nodes, "samples": samples, "dim": dim, "bytes": bytes,
            "seconds": seconds, "gb_per_s": bytes as f64 / seconds / 1e9,
        }));
    };
    {
        // from the noise to the earlier outputs, which nobody needs
        let (from, to) = planes.pair(Plane::Noise, Plane::EarlierOutput);
        let copy = seconds(device, || {
            let mut to = device.view_mut(to, 0..rows);
            let copied = stream.memcpy_dtod(&device.view(from, 0..rows).view(), &mut to.view_mut());
            copied.map_err(|e| piadm::cuda::DeviceError::from(e).into())
        })?;
        push("device copy", 8 * rows * dim, copy);
        let list: Vec<u32> = (0..samples).flat_map(|s| (0..nodes).map(move |j| (s * (nodes + 1) + j) as u32)).collect();
        push("gather", 8 * elements, seconds(device, || device.gather(from, &list, to, 0))?);
        let list: Vec<NoiseRow> =
            list.iter().map(|&row| NoiseRow { row, address: Address { stream: 1, step: row, sample: 0 } }).collect();
        push("normals", 4 * elements, seconds(device, || device.normals(key, &list, to))?);
    }
    let mut scratch = Default::default();
    let mut changes = Vec::new();
    let program = sweep(nodes, samples);
    let time = seconds(device, || device.run(&program, &mut planes, &mut scratch, &mut changes))?;
    push("sweep", 16 * elements, time);
    let vectors: Vec<Vector> = (0..samples)
        .flat_map(|s| (0..nodes).map(move |j| s * (nodes + 1) + j))
        .flat_map(|r| {
            [
                Vector { row: row(Plane::Output, r), minus: Some(row(Plane::EarlierOutput, r)) },
                Vector { row: row(Plane::Point, r), minus: Some(row(Plane::EarlierPoint, r)) },
                Vector { row: row(Plane::Point, r), minus: None },
            ]
        })
        .collect();
    let pairs = [(0, 1), (1, 1), (2, 2)];
    let mut products = Vec::new();
    let time = seconds(device, || device.products(&vectors, 3, &pairs, &planes, &mut scratch, &mut products))?;
    push("slopes", 16 * elements, time);
    Ok(lines)
}

/// Seconds of whole runs on the exact score of a mixture of eight modes.
fn samplers(device: &Device, steps: usize, samples: usize, dim: usize) -> piadm::Result<Vec<Value>> {
    let sign = |(k, i): (usize, usize)| if (k * 31 + i * 17 + k * i) % 13 > 6 { 1.0 } else { -1.0 };
    let mixture = Mixture::new(vec![1.0; 8], Array2::from_shape_fn((8, dim), sign), vec![0.3; 8])?;
    let mut score = DeviceMixture::new(device, &mixture.predicting(Prediction::Data))?;
    let grid = Grid::log_snr(steps).between(8.0, 0.01);
    let problem = Problem::on(device.clone(), Ou, grid, Scheme::default()).samples(samples).shape([dim]).seed(1);
    let parallel = |linearisation| Picard::default().linearisation(linearisation).window(Window::Steps(64));
    let runs: [(&str, Box<dyn Sampler<Device>>); 3] = [
        ("sequential", Box::new(Sequential)),
        ("secant, window 64", Box::new(parallel(Linearisation::Secant))),
        ("frozen score, window 64", Box::new(parallel(Linearisation::FrozenScore))),
    ];
    let mut lines = Vec::new();
    for (name, sampler) in &runs {
        sampler.sample(&problem, &mut score)?;
        let clock = Instant::now();
        let solution = sampler.sample(&problem, &mut score)?;
        device.synchronize()?;
        lines.push(json!({
            "sampler": name, "steps": steps, "samples": samples, "dim": dim, "rounds": solution.report.rounds,
            "score_rows": solution.report.score_rows, "seconds": clock.elapsed().as_secs_f64(),
        }));
    }
    Ok(lines)
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or(f64::NAN)
}

fn main() -> Result<(), BoxError> {
    let emulated = std::env::args().any(|a| a == "--emulated");
    if emulated {
        piadm_cuda_emulator::install(SOURCE)?;
    }
    let device = Device::new(0)?;
    let context = device.stream().context();
    let name = if emulated { "emulated".to_owned() } else { context.name().unwrap_or_default() };
    println!("device: {name}");
    let (shapes, sizes) = if emulated {
        (vec![(6, 2, 132)], vec![(12, 1, 20)])
    } else {
        let sizes = [784, 12_288, 196_608].into_iter().flat_map(|dim| [(500, 1, dim), (500, 64, dim)]);
        // 64 windows of 196,608 elements would need 20 GB and more: a queue of the same samples says nothing new
        (SHAPES.to_vec(), sizes.filter(|(_, samples, dim)| samples * dim < 1 << 23).collect())
    };
    let mut all = Vec::new();
    println!(
        "{:<12} {:>6} {:>8} {:>8} {:>12} {:>9} {:>8}",
        "operation", "nodes", "samples", "dim", "seconds", "GB/s", "of copy"
    );
    for shape in shapes {
        let lines = kernels(&device, shape)?;
        let copy = lines.first().map_or(f64::NAN, |l| number(l, "gb_per_s"));
        for line in lines {
            println!(
                "{:<12} {:>6} {:>8} {:>8} {:>12.3e} {:>9.1} {:>7.0}%",
                line["operation"].as_str().unwrap_or_default(),
                number(&line, "nodes"),
                number(&line, "samples"),
                number(&line, "dim"),
                number(&line, "seconds"),
                number(&line, "gb_per_s"),
                100.0 * number(&line, "gb_per_s") / copy
            );
            all.push(line);
        }
    }
    println!(
        "\n{:<24} {:>6} {:>8} {:>8} {:>7} {:>11} {:>10}",
        "sampler", "steps", "samples", "dim", "rounds", "rows", "seconds"
    );
    for (steps, samples, dim) in sizes {
        for line in samplers(&device, steps, samples, dim)? {
            println!(
                "{:<24} {:>6} {:>8} {:>8} {:>7} {:>11} {:>10.4}",
                line["sampler"].as_str().unwrap_or_default(),
                number(&line, "steps"),
                number(&line, "samples"),
                number(&line, "dim"),
                number(&line, "rounds"),
                number(&line, "score_rows"),
                number(&line, "seconds")
            );
            all.push(line);
        }
    }
    println!("{}", json!({ "device": name, "lines": all }));
    Ok(())
}
