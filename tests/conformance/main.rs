//! What every backend must do, against plain loops written from the documentation: one suite, stamped on each of them.

mod combine;
#[path = "../common/mod.rs"]
mod common;
#[cfg(all(feature = "cuda", target_os = "linux"))]
#[path = "../cuda/device.rs"]
mod device;

use common::{exact, iterations, planes, two_components, two_modes};
use ndarray::{Array2, s};
use piadm::backend::{Change, NoiseRow, Plane, Planes, Program, RowRef, Vector};
use piadm::noise::{Address, NoiseKey};
use piadm::{
    Backend, Cpu, Error, Grid, Ou, Prediction, Problem, Sampler, Save, Scheme, ScoreFn, Sequential, backend::Real,
    sampler::Policy,
};

const DIMS: [usize; 12] = [1, 2, 3, 4, 5, 31, 127, 128, 129, 257, 384, 1030];

/// A number for every place, of both signs and several sizes.
fn value<T: Real>(i: usize) -> T {
    let x = (i as f64 * 0.618_034).fract() - 0.5;
    T::of(x * [1.0, 1e-3, 40.0][i % 3])
}

fn table<T: Real>(rows: usize, dim: usize, seed: usize) -> Array2<T> {
    Array2::from_shape_fn((rows, dim), |(r, i)| value(seed + 7919 * r + i))
}

/// The canonical sum, as docs/reproducibility.md has it.
fn canonical<T: Real>(values: &[T]) -> f64 {
    let mut total = 0.0;
    for leaf in values.chunks(128) {
        let mut lanes = [T::zero(); 32];
        for (lane, sum) in lanes.iter_mut().enumerate() {
            let at = |q: usize| leaf.get(4 * lane + q).copied().unwrap_or(T::zero());
            *sum = (at(0) + at(1)) + (at(2) + at(3));
        }
        for distance in [16, 8, 4, 2, 1] {
            for lane in 0..distance {
                lanes[lane] += lanes[lane + distance];
            }
        }
        total += lanes[0].wide();
    }
    total
}

fn assert_bits<T: Real>(found: &Array2<T>, expected: &Array2<T>, what: &str) {
    assert_eq!(found.dim(), expected.dim(), "{what}");
    for ((i, a), b) in found.indexed_iter().zip(expected) {
        assert!(a.same_bits(*b), "{what}: {i:?} is {a:?}, expected {b:?}");
    }
}

fn upload<B: Backend>(backend: &B, host: &Array2<B::Elem>) -> B::Array {
    let mut array = backend.alloc("a table", host.nrows(), host.ncols(), <B::Elem as Real>::of(f64::NAN)).unwrap();
    backend.upload(host.view(), &mut array, 0).unwrap();
    array
}

fn rows_go_there_and_back<B: Backend>(backend: &B) {
    for dim in DIMS {
        let host: Array2<B::Elem> = table(6, dim, dim);
        let array = upload(backend, &host);
        assert_bits(&backend.download(&array, 0..6).unwrap(), &host, "all");
        assert_bits(&backend.download(&array, 2..5).unwrap(), &host.slice(s![2..5, ..]).to_owned(), "some");
        // into rows of the host that are contiguous, and that are not
        let mut out = Array2::zeros((6, dim));
        backend.read(&array, out.view_mut()).unwrap();
        assert_bits(&out, &host, "read");
        let mut across = Array2::zeros((dim, 6));
        backend.read(&array, across.view_mut().reversed_axes()).unwrap();
        assert_bits(&across.t().to_owned(), &host, "read across");
        backend.read(&array, Array2::zeros((5, dim)).view_mut()).unwrap_err();
        let mut to = upload(backend, &table(5, dim, 3));
        backend.gather(&array, &[5, 0, 5], &mut to, 1).unwrap();
        let mut expected: Array2<B::Elem> = table(5, dim, 3);
        for (i, from) in [5, 0, 5].into_iter().enumerate() {
            expected.row_mut(1 + i).assign(&host.row(from));
        }
        assert_bits(&backend.download(&to, 0..5).unwrap(), &expected, "gathered");
        // a row that is not contiguous on the host
        let wide: Array2<B::Elem> = table(dim, 2, 9);
        backend.upload(wide.t(), &mut to, 3).unwrap();
        assert_bits(&backend.download(&to, 3..5).unwrap(), &wide.t().to_owned(), "transposed");
        let filled = backend.alloc("filled", 3, dim, <B::Elem as Real>::of(-2.5)).unwrap();
        let expected = Array2::from_elem((3, dim), <B::Elem as Real>::of(-2.5));
        assert_bits(&backend.download(&filled, 0..3).unwrap(), &expected, "filled");
    }
}

fn normals_are_addressed<B: Backend>(backend: &B) {
    let key = NoiseKey::new(0xdead_beef_0123);
    for dim in DIMS {
        let mut expected: Array2<B::Elem> = table(4, dim, 1);
        let mut array = upload(backend, &expected);
        let rows: Vec<NoiseRow> = [1, 3]
            .into_iter()
            .map(|row| NoiseRow { row, address: Address { stream: 1, step: 40 + row, sample: 7 * row } })
            .collect();
        for r in &rows {
            let out = expected.row_mut(r.row as usize);
            <B::Elem as Real>::fill_normals(key, r.address, 0, out.into_slice().unwrap());
        }
        backend.normals(key, &rows, &mut array).unwrap();
        assert_bits(&backend.download(&array, 0..4).unwrap(), &expected, "normals");
    }
}

fn what_is_not_finite_is_found<B: Backend>(backend: &B) {
    for dim in DIMS {
        let mut host: Array2<B::Elem> = table(7, dim, 2);
        host[[5, dim - 1]] = <B::Elem as Real>::of(f64::NEG_INFINITY);
        host[[3, dim / 2]] = <B::Elem as Real>::of(f64::NAN);
        let mut array = upload(backend, &host);
        for (range, found) in [(0..7, Some(3)), (4..7, Some(1)), (0..3, None), (6..7, None), (3..3, None)] {
            let mut view = backend.view_mut(&mut array, range);
            assert_eq!(B::first_not_finite(&mut view).unwrap(), found, "{dim} elements");
            // the same rows in two parts
            let [mut first, mut second] = B::split_mut(view, 1);
            let parts = [&mut first, &mut second].map(|part| B::first_not_finite(part).unwrap());
            assert_eq!(parts[0].or(parts[1].map(|row| row + 1)), found, "{dim} elements");
        }
    }
}

fn at(plane: Plane) -> usize {
    plane as usize
}

/// Two slots of five states and two rows of memory each.
const STATES: usize = 5;
const MEMORY: usize = 2;

fn tables<T: Real>(dim: usize) -> Vec<Array2<T>> {
    [2 * STATES, 2 * MEMORY, 6, 6, 6, 6, 6].iter().enumerate().map(|(i, rows)| table(*rows, dim, 1000 * i)).collect()
}

/// Runs something on the tables and gives back what they have become.
fn on_planes<B: Backend, R>(
    backend: &B,
    host: &[Array2<B::Elem>],
    job: impl FnOnce(&mut Planes<B>, &mut B::Scratch) -> R,
) -> (Vec<Array2<B::Elem>>, R) {
    let mut arrays: Vec<B::Array> = host.iter().map(|h| upload(backend, h)).collect();
    arrays.push(upload(backend, &variances(host[0].ncols())));
    let mut planes = planes(arrays, STATES, MEMORY);
    let answer = job(&mut planes, &mut B::Scratch::default());
    let host = Plane::ALL.iter().zip(host);
    (host.map(|(plane, h)| backend.download(&planes[*plane], 0..h.nrows()).unwrap()).collect(), answer)
}

/// Variances of the elements, in units of their mean.
fn variances<T: Real>(dim: usize) -> Array2<T> {
    Array2::from_shape_fn((1, dim), |(_, i)| T::of([0.0, 0.5, 2.5][i % 3]))
}

/// A recurrence with corrections, lookback and a copy in the second slot alone or in both.
fn program<T: Real>(slots: &[usize]) -> Program<T> {
    let mut program = Program::default();
    for &slot in slots {
        let state = |j: usize| RowRef::new(Plane::State, (slot * STATES + j) as u32);
        let memory = |j: usize| RowRef::new(Plane::Memory, (slot * MEMORY + j) as u32);
        let mut target = |out: RowRef, terms: &[(f64, RowRef, Option<RowRef>)]| {
            // corrections of some rows differ from element to element
            let shift = out.row.is_multiple_of(2).then(|| T::of(0.3));
            for &(coef, row, minus) in terms {
                match minus {
                    None => program.term(coef, row),
                    Some(minus) => program.correction(T::of(coef), row, minus, shift),
                }
            }
            program.target(out, None);
        };
        for j in 1..STATES {
            let r = j as u32;
            target(
                state(j),
                &[
                    (0.93, RowRef::new(Plane::Point, r), None),
                    (-0.21, RowRef::new(Plane::Output, r), None),
                    (0.11, memory(0), None),
                    (0.37, RowRef::new(Plane::Noise, r), None),
                    (0.88, state(j - 1), Some(RowRef::new(Plane::Point, r))),
                    (0.05, RowRef::new(Plane::EarlierOutput, r), Some(RowRef::new(Plane::EarlierPoint, r))),
                ],
            );
        }
        // corrections and plain terms in turn
        let output = |r| RowRef::new(Plane::Output, r);
        target(
            memory(1),
            &[
                (1.0, memory(0), None),
                (0.3, output(1), None),
                (-0.7, output(2), None),
                (0.6, state(1), Some(output(3))),
                (0.4, output(4), None),
            ],
        );
        target(memory(0), &[(1.0, state(2), None)]);
        target(state(1), &[]);
        program.segment(slot);
    }
    program
}

/// The program, element by element.
fn plainly<T: Real>(program: &Program<T>, tables: &mut [Array2<T>]) -> Vec<Change> {
    let mut changes = Vec::new();
    for target in &program.targets {
        let dim = tables[0].ncols();
        let (mut squares, mut change) = (Vec::new(), Change { sum: 0.0, moved: false, finite: true });
        for i in 0..dim {
            let of = |r: RowRef| tables[at(r.plane)][[r.row as usize, i]];
            let (mut plain, mut correction) = (T::zero(), T::zero());
            for term in &program.terms[target.terms.clone()] {
                match term.minus {
                    None => plain += term.coef * of(term.row),
                    Some(minus) => {
                        let v = variances::<T>(dim)[[0, i]];
                        let coef = term.shift.map_or(term.coef, |shift| term.coef * (v / (v + shift)));
                        correction += coef * (of(term.row) - of(minus));
                    }
                }
            }
            let (old, new) = (of(target.out), plain + correction);
            change.finite &= new.is_finite();
            let new = if new.is_finite() { new } else { old };
            change.moved |= !new.same_bits(old);
            squares.push((new - old) * (new - old));
            tables[at(target.out.plane)][[target.out.row as usize, i]] = new;
        }
        change.sum = canonical(&squares);
        changes.push(change);
    }
    changes
}

fn programs_run_in_order<B: Backend>(backend: &B) {
    for dim in DIMS {
        for slots in [&[0, 1][..], &[1], &[]] {
            for broken in [false, true] {
                let mut expected: Vec<Array2<B::Elem>> = tables(dim);
                if broken {
                    expected[at(Plane::Output)][[2, dim / 2]] = <B::Elem as Real>::of(f64::INFINITY);
                }
                let program = program(slots);
                let (found, changes) = on_planes(backend, &expected, |planes, scratch| {
                    let mut changes = vec![Change::default(); 3];
                    backend.run(&program, planes, scratch, &mut changes).unwrap();
                    changes
                });
                let plain = plainly(&program, &mut expected);
                for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
                    assert_bits(a, b, &format!("{dim} elements, {:?}", Plane::ALL[i]));
                }
                assert_eq!(changes, plain, "{dim} elements");
                assert_eq!(plain.iter().all(|c| c.finite), !broken || slots.is_empty());
            }
        }
    }
}

fn products_are_canonical_sums<B: Backend>(backend: &B) {
    let pairs = [(0, 0), (1, 0), (2, 1)];
    for dim in DIMS {
        let tables: Vec<Array2<B::Elem>> = tables(dim);
        let vectors: Vec<Vector> = (0..4)
            .flat_map(|r| {
                let of = |plane, minus: Option<Plane>| Vector {
                    row: RowRef::new(plane, r),
                    minus: minus.map(|plane| RowRef::new(plane, r)),
                };
                let output = of(Plane::Output, Some(Plane::EarlierOutput));
                [output, of(Plane::State, None), of(Plane::Noise, Some(Plane::Memory))]
            })
            .collect();
        let (_, found) = on_planes(backend, &tables, |planes, scratch| {
            let mut found = vec![1.0];
            backend.products(&vectors, 3, &pairs, planes, scratch, &mut found).unwrap();
            found
        });
        let of = |r: RowRef, i: usize| tables[at(r.plane)][[r.row as usize, i]];
        let element = |v: &Vector, i: usize| v.minus.map_or(of(v.row, i), |m| of(v.row, i) - of(m, i));
        let product = |a: &Vector, b: &Vector| {
            let values: Vec<B::Elem> = (0..dim).map(|i| element(a, i) * element(b, i)).collect();
            canonical(&values)
        };
        let expected: Vec<f64> =
            vectors.chunks(3).flat_map(|group| pairs.map(|(a, b)| product(&group[a], &group[b]))).collect();
        assert_eq!(found, expected, "{dim} elements");
    }
}

/// At a tolerance of zero every iteration ends in the sequential trajectory, which is that of the CPU.
fn samplers_agree<B: Backend>(backend: &B, wrap: impl Fn(Prediction) -> Box<dyn ScoreFn<B>>)
where
    Cpu<B::Elem>: Backend<Elem = B::Elem, Array = Array2<B::Elem>>,
{
    fn problem<B: Backend>(backend: B, case: usize) -> Problem<B> {
        let shape = (3, [5, 130][case % 2]);
        let grid = Grid::log_snr(12).between(6.0, 0.05);
        let problem = match case {
            0 => Problem::from_nodes(backend, two_components(12)).samples(shape.0).shape([shape.1]),
            1 => Problem::on(backend, Ou, grid, Scheme::default()).samples(shape.0).shape([shape.1]),
            _ => Problem::on(backend, Ou, grid, Scheme::Heun {}).samples(shape.0).shape([shape.1]),
        };
        problem.seed(11).save(Save::Steps(vec![4, 12]))
    }
    for case in 0..3 {
        let mut score = wrap(Prediction::Noise);
        let on_cpu =
            Sequential.sample(&problem(Cpu::<B::Elem>::new(), case), &mut two_modes(Prediction::Noise)).unwrap();
        let problem = problem(backend.clone(), case);
        let sequential = Sequential.sample(&problem, &mut *score).unwrap();
        let host = |samples: &B::Array| backend.download(samples, 0..3).unwrap();
        assert_bits(&host(&sequential.samples), &on_cpu.samples, "sequential");
        assert_eq!(sequential.path, on_cpu.path);
        for (i, iteration) in iterations().into_iter().enumerate() {
            let policy = [Policy::Sliding, Policy::Blocks, Policy::Wavefront { blocks: 2 }][i % 3];
            let sampler = exact(policy, [1, 3, 7, 12][i % 4], iteration);
            let parallel = sampler.sample(&problem, &mut *score).unwrap();
            assert_bits(&host(&parallel.samples), &on_cpu.samples, &format!("{sampler:?}"));
            assert_eq!(parallel.path, on_cpu.path);
        }
    }
}

macro_rules! conformance {
    ($($name:ident: $backend:expr, $wrap:expr;)*) => {$(
        mod $name {
            use super::*;
            #[test]
            fn rows() {
                rows_go_there_and_back(&$backend);
            }
            #[test]
            fn normals() {
                normals_are_addressed(&$backend);
            }
            #[test]
            fn not_finite() {
                what_is_not_finite_is_found(&$backend);
            }
            #[test]
            fn programs() {
                programs_run_in_order(&$backend);
            }
            #[test]
            fn products() {
                products_are_canonical_sums(&$backend);
            }
            #[test]
            fn combinations() {
                combine::views_are_combined(&$backend);
                combine::combinations_that_do_not_fit_are_refused(&$backend);
            }
            #[test]
            fn samplers() {
                samplers_agree(&$backend, $wrap);
            }
        }
    )*};
}

conformance! {
    cpu_f32: Cpu::<f32>::new(), |kind| Box::new(two_modes::<f32>(kind));
    cpu_f64: Cpu::<f64>::new(), |kind| Box::new(two_modes::<f64>(kind));
}

#[cfg(all(feature = "cuda", target_os = "linux"))]
conformance! {
    cuda_f32: device::cuda::<f32>(), |kind| Box::new(piadm::cuda::HostScore::new(two_modes::<f32>(kind)));
    cuda_f64: device::cuda::<f64>(), |kind| Box::new(piadm::cuda::HostScore::new(two_modes::<f64>(kind)));
}
