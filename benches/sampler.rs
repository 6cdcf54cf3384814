//! What the solver itself costs: whole runs with a score that only copies, a row of normals, the mixture's score.
//!
//! `cargo bench --bench sampler [-- host]`, with `host` only the lines of [`host`]; compare figures within one run
//! only. `scripts/bench-vs` compares those lines with the ones of another commit.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use ndarray::Array2;
use piadm::noise::{Address, stream};
use piadm::{
    Acceptance, Cpu, Grid, Ou, Picard, Prediction, Problem, Rows, Sampler, Scheme, ScoreFn, Sweeps, Window,
    noise::NoiseKey,
    sampler::{Entry, Linearisation, Policy},
    score::Mixture,
    score_fn,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Six sweeps of blocks of 64 steps: elements per second, one element being one row element of one sweep.
fn sweeps(c: &mut Criterion) {
    let mut group = c.benchmark_group("sweep");
    group.sample_size(10);
    for (samples, dim) in [(64, 2), (8, 784), (1, 12_288)] {
        for (name, linearisation) in [("identity", Linearisation::Identity), ("frozen", Linearisation::FrozenScore)] {
            let mut copy = score_fn::<f32>(Prediction::Data, |x, _, mut out| {
                out.assign(&x);
                Ok(())
            });
            let grid = Grid::log_snr(256).between(8.0, 0.01);
            let problem = Problem::new(Ou, grid, Scheme::default()).samples(samples).shape([dim]).seed(1);
            let sampler = Picard::default()
                .policy(Policy::Blocks)
                .window(Window::Steps(64))
                .linearisation(linearisation)
                .entry(Entry::Copy)
                .acceptance(Acceptance::Exact)
                .sweeps(Sweeps::AtMost(6));
            let rows = sampler.sample(&problem, &mut copy).expect("a run").report.score_rows;
            group.throughput(Throughput::Elements((rows * dim) as u64));
            group.bench_function(BenchmarkId::new(name, format!("{samples}x{dim}")), |b| {
                b.iter(|| sampler.sample(black_box(&problem), &mut copy));
            });
        }
    }
}

fn normals(c: &mut Criterion) {
    let mut group = c.benchmark_group("normals");
    let mut row = vec![0.0f32; 1 << 14];
    group.throughput(Throughput::Elements(row.len() as u64));
    group.bench_function("f32", |b| {
        let address = Address { stream: stream::DYNAMICS, step: 1, sample: 0 };
        b.iter(|| NoiseKey::new(black_box(1)).fill_f32(address, 0, &mut row));
    });
}

fn mixture(c: &mut Criterion) {
    let mut group = c.benchmark_group("mixture");
    for (modes, dim) in [(8, 64), (16, 1024)] {
        let means = Array2::from_shape_fn((modes, dim), |(k, i)| ((k * 31 + i * 17) % 13) as f64 / 6.0 - 1.0);
        let mut score = Mixture::new(vec![1.0; modes], means, vec![0.3; modes]).expect("a good mixture");
        let rows = 256;
        let x = Array2::from_shape_fn((rows, dim), |(i, j)| ((i * 7 + j * 3) % 11) as f32 / 5.0 - 1.0);
        let (t, alpha, sigma) = (vec![1.0; rows], vec![0.607; rows], vec![0.795; rows]);
        let (sample, slot) = (vec![0; rows], vec![0; rows]);
        let rows = Rows::new(&t, &alpha, &sigma, &sample, &slot).expect("equal lengths");
        let mut out = Array2::zeros(x.dim());
        group.throughput(Throughput::Elements(x.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("{modes} modes of {dim}")), |b| {
            b.iter(|| ScoreFn::<Cpu<f32>>::eval(&mut score, black_box(x.view()), &rows, out.view_mut()));
        });
    }
}

/// The secant and a score of a few operations, so that most of the time is the engine's: the default sampler, then six
/// sweeps of blocks. A line a case, `host_ns_per_node SAMPLESxWINDOWxELEMENTS[-blocks] NANOSECONDS fastest NANOSECONDS
/// nodes NODES`: the time outside the score, median and least over runs, divided by the nodes that are swept in a run.
/// Two builds do the same work if their nodes are equal.
fn host(least: Duration) {
    let sliding = Picard::default().window(Window::Steps(64));
    let blocks = sliding.clone().policy(Policy::Blocks).acceptance(Acceptance::Exact).sweeps(Sweeps::AtMost(6));
    // not affine, or the secant would be done after two rounds and the entry of new nodes be most of what is measured
    let mut score = score_fn::<f32>(Prediction::Score, |x, _, mut out| {
        out.zip_mut_with(&x, |f, x| *f = -x - x / (1.0 + x * x));
        Ok(())
    });
    for (samples, dim) in [(64, 2), (1, 784)] {
        // few steps: the shorter a run, the more likely one that no other load disturbs
        let grid = Grid::log_snr(128).between(8.0, 0.01);
        let problem = Problem::new(Ou, grid, Scheme::default()).samples(samples).shape([dim]).seed(1);
        for (suffix, sampler) in [("", &sliding), ("-blocks", &blocks)] {
            // the first run finds the memory not yet mapped
            let nodes = sampler.sample(&problem, &mut score).expect("a run").report.score_rows;
            let (mut times, started) = (Vec::new(), Instant::now());
            while times.is_empty() || started.elapsed() < least {
                times.push(sampler.sample(black_box(&problem), &mut score).expect("a run").report.solver_time);
            }
            times.sort_unstable();
            let [median, fastest] = [times.len() / 2, 0].map(|i| times[i].as_nanos() as f64 / nodes as f64);
            println!("host_ns_per_node {samples}x64x{dim}{suffix} {median:.1} fastest {fastest:.1} nodes {nodes}");
        }
    }
}

criterion_group!(benches, sweeps, normals, mixture);

fn main() {
    let has = |name: &str| std::env::args().any(|arg| arg == name);
    // without cargo's flag this is a test, of which one run is enough
    let least = if has("--bench") { Duration::from_millis(200) } else { Duration::ZERO };
    // from a thread of the pool, or every large kernel would wake the pool and wait for it
    rayon::scope(|_| host(least));
    if !has("host") {
        benches();
        Criterion::default().configure_from_args().final_summary();
    }
}
