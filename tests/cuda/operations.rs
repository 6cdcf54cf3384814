//! Every operation of the backend on random input of odd sizes, CPU against device.

use crate::common::planes;
use crate::device::cuda;
use ndarray::{Array2, s};
use piadm::backend::{Change, Limit, NoiseRow, Plane, Planes, Program, RowRef, Summand, Term, Vector};
use piadm::cuda::DeviceElem;
use piadm::noise::{Address, NoiseKey, NormalPrecision};
use piadm::{Backend, Cpu, Cuda, backend::Real};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const DIMS: [usize; 16] = [1, 2, 3, 4, 5, 7, 64, 127, 128, 129, 130, 256, 300, 513, 640, 1100];

/// Equal bits; all NaN are one.
pub fn same<T: Real>(a: T, b: T) -> bool {
    a.same_bits(b) || (a.is_nan() && b.is_nan())
}

pub fn assert_same<T: Real>(a: &Array2<T>, b: &Array2<T>, what: &str) {
    assert_eq!(a.dim(), b.dim(), "{what}");
    for ((i, x), y) in a.indexed_iter().zip(b) {
        assert!(same(*x, *y), "{what}: element {i:?} is {x:?} on the CPU and {y:?} on the device");
    }
}

/// Numbers of many sizes, now and then one that is no number.
fn random_rows<T: Real>(rng: &mut StdRng, rows: usize, dim: usize, odd: f64) -> Array2<T> {
    Array2::from_shape_fn((rows, dim), |_| {
        let x: f64 = rng.random_range(-2.0..2.0);
        T::of(match rng.random_range(0.0..1.0) {
            p if p < odd => [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, 1e300, 1e38][rng.random_range(0..6)],
            p if p < 2.0 * odd => x * 1e-42,
            p if p < 3.0 * odd => x * 1e20,
            _ => x,
        })
    })
}

/// The arrays of both sides and the shape of the slots.
struct Case<T: DeviceElem> {
    slots: usize,
    state_rows: usize,
    memory_rows: usize,
    rows: [usize; 7],
    host: Vec<Array2<T>>,
}

impl<T: DeviceElem> Case<T> {
    fn random(rng: &mut StdRng, dim: usize) -> Self {
        let (slots, state_rows, memory_rows) =
            (rng.random_range(1..=5), rng.random_range(1..=24), rng.random_range(0..=4));
        let rows = [slots * state_rows, slots * memory_rows, 9, 9, 8, rng.random_range(0..=6), rng.random_range(0..=6)];
        let odd = if rng.random_bool(0.5) { 0.01 } else { 0.0 };
        let host = rows.iter().map(|&rows| random_rows(rng, rows, dim, odd)).collect();
        Case { slots, state_rows, memory_rows, rows, host }
    }

    /// A row that a slot may read.
    fn row(&self, rng: &mut StdRng, slot: usize) -> RowRef {
        loop {
            let i = if rng.random_bool(0.4) { 0 } else { rng.random_range(0..7) };
            let row = match i {
                0 => slot * self.state_rows + rng.random_range(0..self.state_rows),
                1 if self.memory_rows > 0 => slot * self.memory_rows + rng.random_range(0..self.memory_rows),
                1 => continue,
                _ if self.rows[i] > 0 => rng.random_range(0..self.rows[i]),
                _ => continue,
            };
            return RowRef::new(Plane::ALL[i], row as u32);
        }
    }

    /// A row that a slot may write.
    fn target(&self, rng: &mut StdRng, slot: usize, chained: Option<usize>) -> RowRef {
        if self.memory_rows > 0 && rng.random_bool(0.2) {
            let row = slot * self.memory_rows + rng.random_range(0..self.memory_rows);
            return RowRef::new(Plane::Memory, row as u32);
        }
        let within = chained.unwrap_or_else(|| rng.random_range(0..self.state_rows));
        RowRef::new(Plane::State, (slot * self.state_rows + within) as u32)
    }

    fn program(&mut self, rng: &mut StdRng) -> Program<T> {
        let mut program = Program::default();
        // some points are copies of states, as in a sweep
        let mut copies = vec![None; self.slots * self.state_rows];
        for point in 0..self.rows[2] {
            let state = rng.random_range(0..copies.len());
            let row = self.host[0].row(state).to_owned();
            self.host[2].row_mut(point).assign(&row);
            copies[state] = Some(RowRef::new(Plane::Point, point as u32));
        }
        for slot in 0..self.slots {
            if rng.random_bool(0.2) {
                continue;
            }
            let chain = rng.random_bool(0.6);
            for i in 0..rng.random_range(1..=30) {
                let chained = (chain && self.state_rows > 1).then(|| 1 + i % (self.state_rows - 1));
                if let Some(within) = chained {
                    // the recurrence: from the state just written
                    let row = (slot * self.state_rows + within - 1) as u32;
                    program.term(0.9, RowRef::new(Plane::State, row));
                }
                for _ in 0..rng.random_range(0..=10) {
                    let minus = rng.random_bool(0.4).then(|| self.row(rng, slot));
                    let coef = T::of(rng.random_range(-1.0..1.0));
                    let shift = rng.random_bool(0.2).then(|| T::of(rng.random_range(1e-6..3.0)));
                    program.terms.push(Term { coef, row: self.row(rng, slot), minus, shift });
                }
                let out = self.target(rng, slot, chained);
                // a copy is what the row held until it is overwritten
                let before = (out.plane == Plane::State).then(|| copies[out.row as usize].take()).flatten();
                program.target(out, before);
            }
            program.segment(slot);
        }
        program
    }

    /// Copies the arrays to a backend and runs something there; returns what the arrays have become.
    fn on<B: Backend<Elem = T>, R>(
        &self,
        backend: &B,
        job: impl FnOnce(&mut Planes<B>, &mut B::Scratch) -> R,
    ) -> (Vec<Array2<T>>, R) {
        let dim = self.host[0].ncols();
        let mut arrays: Vec<B::Array> = self
            .host
            .iter()
            .map(|host| {
                let mut array = backend.alloc("a plane", host.nrows(), dim, T::nan()).unwrap();
                backend.upload(host.view(), &mut array, 0).unwrap();
                array
            })
            .collect();
        let mut variances = backend.alloc("variances", 1, dim, T::zero()).unwrap();
        let row = Array2::from_shape_fn((1, dim), |(_, i)| T::of((i % 7) as f64 * 0.4));
        backend.upload(row.view(), &mut variances, 0).unwrap();
        arrays.push(variances);
        let mut scratch = B::Scratch::default();
        let mut planes = planes(arrays, self.state_rows, self.memory_rows);
        let answer = job(&mut planes, &mut scratch);
        let all = Plane::ALL.iter().zip(self.rows);
        (all.map(|(plane, rows)| backend.download(&planes[*plane], 0..rows).unwrap()).collect(), answer)
    }
}

fn programs<T: DeviceElem>(seeds: std::ops::Range<u64>) {
    let (cpu, device) = (Cpu::<T>::new(), cuda::<T>());
    for seed in seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let dim = DIMS[seed as usize % DIMS.len()];
        let mut case = Case::<T>::random(&mut rng, dim);
        let program = case.program(&mut rng);
        let (expected, on_cpu) = case.on(&cpu, |planes, scratch| {
            let mut changes: Vec<Change> = Vec::new();
            cpu.run(&program, planes, scratch, &mut changes).unwrap();
            changes
        });
        let (found, on_device) = case.on(&device, |planes, scratch| {
            let mut changes: Vec<Change> = Vec::new();
            device.run(&program, planes, scratch, &mut changes).unwrap();
            changes
        });
        for (i, (a, b)) in expected.iter().zip(&found).enumerate() {
            assert_same(a, b, &format!("seed {seed}, {dim} elements, {:?}", Plane::ALL[i]));
        }
        assert_eq!(on_cpu.len(), on_device.len());
        for (t, (a, b)) in on_cpu.iter().zip(&on_device).enumerate() {
            let equal = same(a.sum, b.sum) && a.moved == b.moved && a.finite == b.finite;
            assert!(equal, "seed {seed}, {dim} elements, target {t}: {a:?} on the CPU, {b:?} on the device");
        }
    }
}

#[test]
fn programs_f32() {
    programs::<f32>(0..160);
}

#[test]
fn programs_f64() {
    programs::<f64>(160..256);
}

fn inner_products<T: DeviceElem>() {
    let (cpu, device) = (Cpu::<T>::new(), cuda::<T>());
    for seed in 0..64 {
        let mut rng = StdRng::seed_from_u64(1000 + seed);
        let dim = DIMS[seed as usize % DIMS.len()];
        let case = Case::<T>::random(&mut rng, dim);
        let width = rng.random_range(1..=7usize);
        let vectors: Vec<Vector> = (0..width * rng.random_range(0..=9))
            .map(|_| Vector { row: case.row(&mut rng, 0), minus: rng.random_bool(0.5).then(|| case.row(&mut rng, 0)) })
            .collect();
        let pairs: Vec<(usize, usize)> =
            (0..rng.random_range(1..=28)).map(|_| (rng.random_range(0..width), rng.random_range(0..width))).collect();
        let (_, expected) = case.on(&cpu, |planes, scratch| {
            let mut all = Vec::new();
            cpu.products(&vectors, width, &pairs, planes, scratch, &mut all).unwrap();
            all
        });
        let (_, found) = case.on(&device, |planes, scratch| {
            let mut all = Vec::new();
            device.products(&vectors, width, &pairs, planes, scratch, &mut all).unwrap();
            all
        });
        assert_eq!(expected.len(), vectors.len() / width * pairs.len());
        assert_eq!(expected.len(), found.len());
        for (a, b) in expected.iter().zip(&found) {
            assert!(same(*a, *b), "seed {seed}, {dim} elements: {a:e} on the CPU, {b:e} on the device");
        }
    }
}

#[test]
fn inner_products_in_both_precisions() {
    inner_products::<f32>();
    inner_products::<f64>();
}

/// Random coefficients, now and then 0, for every row or for all.
fn coefficients(rng: &mut StdRng, rows: usize) -> Vec<f64> {
    let count = if rng.random_bool(0.3) { 1 } else { rows };
    (0..count).map(|_| if rng.random_bool(0.3) { 0.0 } else { rng.random_range(-2.0..2.0) }).collect()
}

fn combinations<T: DeviceElem>() {
    let (cpu, device) = (Cpu::<T>::new(), cuda::<T>());
    for seed in 0..128 {
        let mut rng = StdRng::seed_from_u64(3000 + seed);
        let dim = DIMS[seed as usize % DIMS.len()];
        let rows = rng.random_range(1..=9);
        let host: [Array2<T>; 4] = std::array::from_fn(|_| random_rows(&mut rng, 12, dim, 0.02));
        let there: Vec<_> = host.iter().map(|h| device.to_device(h.view()).unwrap()).collect();
        let firsts: [usize; 5] = std::array::from_fn(|_| rng.random_range(0..=12 - rows));
        let part = |k: usize| firsts[k]..firsts[k] + rows;
        let by: [Vec<f64>; 4] = std::array::from_fn(|_| coefficients(&mut rng, rows));
        let held = rng.random_range(0..8);
        let count = rng.random_range(0..=4);
        let map: Vec<[f64; 2]> = coefficients(&mut rng, rows).into_iter().map(|p| [p, p - 2.5]).collect();
        let bounds = rng.random_bool(0.6).then(|| (-rng.random_range(0.0..1.0), rng.random_range(0.0..1.0)));

        let mut expected = host[3].clone();
        let summands: Vec<_> = (0..count)
            .map(|k| Summand { by: &by[k], rows: (k != held).then(|| cpu.view(&host[k], part(k))) })
            .collect();
        let limit = bounds.map(|(low, high)| Limit { map: &map, x: cpu.view(&host[0], part(4)), low, high });
        cpu.combine(&summands, limit, cpu.view_mut(&mut expected, part(3))).unwrap();

        let mut found = device.to_device(host[3].view()).unwrap();
        let summands: Vec<_> = (0..count)
            .map(|k| Summand { by: &by[k], rows: (k != held).then(|| device.view(&there[k], part(k))) })
            .collect();
        let limit = bounds.map(|(low, high)| Limit { map: &map, x: device.view(&there[0], part(4)), low, high });
        device.combine(&summands, limit, device.view_mut(&mut found, part(3))).unwrap();
        assert_same(&expected, &found.to_host().unwrap(), &format!("seed {seed}, {dim} elements, {count} summands"));
    }
}

#[test]
fn combinations_of_views() {
    combinations::<f32>();
    combinations::<f64>();
}

fn normals<T: DeviceElem>(key: NoiseKey) {
    let (cpu, device) = (Cpu::<T>::new(), cuda::<T>());
    for (i, dim) in DIMS.into_iter().chain([1023, 2500]).enumerate() {
        let rows = 7;
        let wanted: Vec<NoiseRow> = [0, 2, 3, 6]
            .into_iter()
            .map(|row| {
                let address = Address { stream: row % 3, step: 17 * row + i as u32, sample: u32::MAX - row };
                NoiseRow { row, address }
            })
            .collect();
        let mut expected = cpu.alloc("normals", rows, dim, T::of(0.5)).unwrap();
        let mut found = device.alloc("normals", rows, dim, T::of(0.5)).unwrap();
        cpu.normals(key, &wanted, &mut expected).unwrap();
        device.normals(key, &wanted, &mut found).unwrap();
        assert_same(&expected, &found.to_host().unwrap(), &format!("{dim} elements"));
        assert!(expected.row(1).iter().all(|v| *v == T::of(0.5)) && expected[[3, 0]] != T::of(0.5));
    }
}

#[test]
fn normals_of_every_precision() {
    let key = NoiseKey::new(0x0123_4567_89ab_cdef);
    normals::<f32>(key);
    normals::<f64>(key);
    normals::<f64>(key.with_precision(NormalPrecision::Double));
}

fn rows<T: DeviceElem>() {
    let (cpu, device) = (Cpu::<T>::new(), cuda::<T>());
    for seed in 0..32 {
        let mut rng = StdRng::seed_from_u64(2000 + seed);
        let dim = DIMS[seed as usize % DIMS.len()];
        let host = random_rows::<T>(&mut rng, 11, dim, 0.0);
        let mut there = device.to_device(host.view()).unwrap();
        assert_same(&host, &there.to_host().unwrap(), "there and back");
        let taken = device.to_device(host.view()).unwrap().into_slice();
        assert_eq!(device.stream().clone_dtoh(&taken).unwrap(), host.as_slice().unwrap());
        let part = device.view(&there, 3..9);
        assert_eq!((part.rows(), part.dim()), (6, dim));
        assert_same(&host.slice(s![3..9, ..]).to_owned(), &part.to_host().unwrap(), "a part");
        assert_same(&host.slice(s![4..5, ..]).to_owned(), &device.download(&there, 4..5).unwrap(), "one row");

        let list: Vec<u32> = (0..rng.random_range(0..=8)).map(|_| rng.random_range(0..11)).collect();
        let first = rng.random_range(0..=12 - list.len());
        let mut expected = cpu.alloc("rows", 12, dim, T::of(3.0)).unwrap();
        let mut found = device.alloc("rows", 12, dim, T::of(3.0)).unwrap();
        cpu.gather(&host, &list, &mut expected, first).unwrap();
        device.gather(&there, &list, &mut found, first).unwrap();
        assert_same(&expected, &found.to_host().unwrap(), "gathered rows");

        // what is not finite in one row, or in two
        assert_eq!(Cuda::first_not_finite(&mut device.view_mut(&mut there, 0..11)).unwrap(), None);
        let mut broken = host.clone();
        for _ in 0..2 {
            let at = [rng.random_range(2..11), rng.random_range(0..dim)];
            broken[at] = [T::nan(), T::infinity(), T::neg_infinity()][rng.random_range(0..3)];
            let mut there = device.to_device(broken.view()).unwrap();
            for range in [0..11, 3..8, 10..11, 5..5] {
                let expected = Cpu::first_not_finite(&mut cpu.view_mut(&mut broken, range.clone())).unwrap();
                let found = Cuda::first_not_finite(&mut device.view_mut(&mut there, range)).unwrap();
                assert_eq!(found, expected, "seed {seed}");
            }
        }
    }
}

#[test]
fn rows_are_copied_gathered_and_checked() {
    rows::<f32>();
    rows::<f64>();
}

#[test]
fn rows_without_elements_and_arrays_without_rows() {
    let device = cuda::<f32>();
    let mut empty = device.alloc("nothing", 0, 5, 1.0).unwrap();
    assert_eq!(empty.to_host().unwrap().dim(), (0, 5));
    assert_eq!(Cuda::first_not_finite(&mut device.view_mut(&mut empty, 0..0)).unwrap(), None);
    let mut one = device.alloc("one", 1, 5, 1.0).unwrap();
    device.normals(NoiseKey::new(1), &[], &mut one).unwrap();
    device.gather(&empty, &[], &mut one, 0).unwrap();
    assert_eq!(one.to_host().unwrap(), Array2::from_elem((1, 5), 1.0));
}

#[test]
fn rows_that_are_not_there_are_refused() {
    let device = cuda::<f32>();
    let from = device.alloc("from", 2, 3, 0.0).unwrap();
    let mut to = device.alloc("to", 2, 3, 0.0).unwrap();
    device.gather(&from, &[2], &mut to, 0).unwrap_err();
    device.gather(&from, &[0, 1], &mut to, 1).unwrap_err();
    let address = Address { stream: 0, step: 0, sample: 0 };
    device.normals(NoiseKey::new(1), &[NoiseRow { row: 2, address }], &mut to).unwrap_err();
    device.upload(Array2::zeros((1, 4)).view(), &mut to, 0).unwrap_err();
    device.upload(Array2::zeros((1, 3)).view(), &mut to, 2).unwrap_err();
    device.alloc("too much", usize::MAX / 2, 3, 0.0).unwrap_err();
    // noise of another length has no rows for a program
    let arrays: Vec<_> =
        [3, 3, 3, 3, 2, 3, 3, 3].iter().map(|&dim| device.alloc("a plane", 2, dim, 0.0).unwrap()).collect();
    let mut planes = planes(arrays, 2, 2);
    let mut program = Program::default();
    program.copy(RowRef::new(Plane::Noise, 1), RowRef::new(Plane::State, 0));
    program.segment(0);
    device.run(&program, &mut planes, &mut Default::default(), &mut Vec::new()).unwrap_err();
}
