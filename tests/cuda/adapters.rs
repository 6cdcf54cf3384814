//! Adapters of scores on the device: the bits of the CPU, without a copy to the host.

use crate::common::mixture;
use crate::device::{cuda, is_real};
use crate::operations::assert_same;
use ndarray::Array2;
use piadm::cuda::{DeviceElem, DeviceMixture, DeviceRows, DeviceRowsMut, HostScore};
use piadm::{
    Backend, BoxError, Cpu, Cuda, Error, Grid, Model, Ou, Picard, Prediction, Problem, Rows, Sampler, Save, Scheme,
    ScoreFn, Sequential, Window,
    score::{Chunked, Clip, EdmPrecondition, Guided, Mixture},
};

const DIM: usize = 67;

/// Both sides of a mixture.
fn oracle<T: DeviceElem>(device: &Cuda<T>, kind: Prediction, seed: u64) -> (Mixture, DeviceMixture<T>) {
    let mixture = mixture(3, DIM, 0.3, 1.0, seed).predicting(kind);
    let there = DeviceMixture::new(device, &mixture).unwrap();
    (mixture, there)
}

/// The same samples, path, rounds and rows by every sampler.
fn same<T: DeviceElem>(
    device: &Cuda<T>,
    what: &str,
    (mut here, mut there): (impl ScoreFn<Cpu<T>>, impl ScoreFn<Cuda<T>>),
) {
    fn problem<B: Backend>(backend: B) -> Problem<B> {
        let grid = Grid::log_snr(14).between(5.0, 0.05);
        Problem::on(backend, Ou, grid, Scheme::default()).samples(3).shape([DIM]).seed(6).save(Save::All)
    }
    let (a, b) = (problem(Cpu::<T>::new()), problem(device.clone()));
    let picard = Picard::default().window(Window::Steps(5));
    for (on_cpu, on_device) in [
        (Sequential.sample(&a, &mut here).unwrap(), Sequential.sample(&b, &mut there).unwrap()),
        (picard.sample(&a, &mut here).unwrap(), picard.sample(&b, &mut there).unwrap()),
    ] {
        assert_same(&on_cpu.samples, &on_device.samples.to_host().unwrap(), what);
        assert_eq!(on_cpu.path, on_device.path, "{what}");
        let counts = |report: &piadm::Report| (report.rounds, report.score_calls, report.score_rows);
        assert_eq!(counts(&on_cpu.report), counts(&on_device.report), "{what}");
        assert_eq!(on_cpu.report.residuals, on_device.report.residuals, "{what}");
    }
}

fn adapters<T: DeviceElem>()
where
    Mixture: ScoreFn<Cpu<T>>,
{
    let device = cuda::<T>();
    for kind in [Prediction::Score, Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow] {
        let ((one, one_there), (two, two_there)) = (oracle(&device, kind, 1), oracle(&device, kind, 2));
        let (halves, halves_there) = (Halves(one.clone(), two.clone()), Halves(one_there, two_there));
        let guided = (Guided::new(halves, 2.5).unwrap(), Guided::new(halves_there, 2.5).unwrap());
        same(&device, &format!("guided, {kind:?}"), guided);
        let (one_there, two_there) = (oracle(&device, kind, 1).1, oracle(&device, kind, 2).1);
        let pair = (Guided::pair(one.clone(), two, 1.5).unwrap(), Guided::pair(one_there, two_there, 1.5).unwrap());
        same(&device, &format!("a guided pair, {kind:?}"), pair);
        let clip = (Clip::new(one, -0.6, 0.9).unwrap(), Clip::new(oracle(&device, kind, 1).1, -0.6, 0.9).unwrap());
        same(&device, &format!("clipped, {kind:?}"), clip);
    }
    let (raw, raw_there) = oracle(&device, Prediction::Data, 3);
    let edm = (EdmPrecondition::new(raw, 0.5).unwrap(), EdmPrecondition::new(raw_there, 0.5).unwrap());
    same(&device, "preconditioned", edm);
    // adapters of adapters, and calls of few rows
    let nest = |kind| (oracle(&device, kind, 4), oracle(&device, kind, 5));
    let ((a, a_there), (b, b_there)) = nest(Prediction::Noise);
    let here = Clip::new(Guided::pair(a, Chunked::new(b, 2).unwrap(), 3.0).unwrap(), -1.0, 1.0).unwrap();
    let there = Clip::new(Guided::pair(a_there, Chunked::new(b_there, 2).unwrap(), 3.0).unwrap(), -1.0, 1.0).unwrap();
    assert_eq!((here.max_rows(), there.max_rows()), (Some(2), Some(2)));
    same(&device, "nested", (here, there));
}

#[test]
fn adapters_have_the_bits_of_the_cpu() {
    adapters::<f32>();
    adapters::<f64>();
}

/// One network for both: the first half of the rows goes to one score, the second to the other.
struct Halves<C, U>(C, U);

impl<C: Model, U> Model for Halves<C, U> {
    fn prediction(&self) -> Prediction {
        self.0.prediction()
    }
}

impl<B: Backend, C: ScoreFn<B>, U: ScoreFn<B>> ScoreFn<B> for Halves<C, U> {
    fn eval(&mut self, x: B::View<'_>, rows: &Rows<'_>, mut out: B::ViewMut<'_>) -> Result<(), BoxError> {
        let (first, second) = (0..rows.len() / 2, rows.len() / 2..rows.len());
        self.0.eval(B::part(x, first.clone()), &rows.range(first.clone()), B::part_mut(&mut out, first))?;
        self.1.eval(B::part(x, second.clone()), &rows.range(second.clone()), B::part_mut(&mut out, second))
    }
}

/// Notes what was asked of the driver so far, at every call.
struct Noting<S>(S, Vec<piadm_cuda_emulator::Counts>);

impl<S: Model> Model for Noting<S> {
    fn prediction(&self) -> Prediction {
        self.0.prediction()
    }
}

impl<S: ScoreFn<Cuda<f32>>> ScoreFn<Cuda<f32>> for Noting<S> {
    fn eval(&mut self, x: DeviceRows<'_, f32>, rows: &Rows<'_>, out: DeviceRowsMut<'_, f32>) -> Result<(), BoxError> {
        self.1.push(piadm_cuda_emulator::counts_of_this_thread());
        self.0.eval(x, rows, out)
    }
}

#[test]
fn rounds_neither_allocate_nor_wait() {
    if is_real() {
        return;
    }
    let device = cuda::<f32>();
    let pair = Guided::pair(oracle(&device, Prediction::Data, 1).1, oracle(&device, Prediction::Data, 2).1, 2.0);
    let inner = Clip::new(pair.unwrap(), -1.0, 1.0).unwrap();
    let mut score = Noting(EdmPrecondition::new(inner, 0.5).unwrap(), Vec::new());
    let grid = Grid::log_snr(60).between(5.0, 0.05);
    let problem = Problem::on(device, Ou, grid, Scheme::default()).samples(3).shape([DIM]);
    Sequential.sample(&problem, &mut score).unwrap();
    let seen = &score.1;
    assert_eq!(seen.len(), 60);
    let later = seen[59] - seen[5];
    assert_eq!((later.device_allocations, later.device_frees, later.pinned_allocations), (0, 0, 0));
    // the inputs; the states twice; three kernels of each mixture; the difference and the sum; the clip; the output
    let plain = {
        let problem = problem.clone();
        let mut score = Noting(oracle(problem.backend(), Prediction::Data, 1).1, Vec::new());
        Sequential.sample(&problem, &mut score).unwrap();
        score.1[59] - score.1[5]
    };
    assert_eq!(later.launches - plain.launches, 54 * (1 + 2 + 3 + 2 + 1 + 1));
    assert_eq!((later.synchronisations, later.device_to_host), (plain.synchronisations, plain.device_to_host));
}

fn eval(
    device: &Cuda<f32>,
    score: &mut dyn ScoreFn<Cuda<f32>>,
    x: &Array2<f32>,
    rows: &Rows<'_>,
) -> Result<Array2<f32>, BoxError> {
    let states = device.to_device(x.view())?;
    let mut out = device.to_device(Array2::from_elem(x.dim(), f32::NAN).view())?;
    score.eval(states.view(), rows, device.view_mut(&mut out, 0..x.nrows()))?;
    Ok(out.to_host()?)
}

/// Calls of few rows and of many, of other lengths, on another stream, and again on the CPU: arrays are made anew where
/// they must be.
#[test]
fn calls_differ_in_rows_lengths_and_places() {
    let (first, second) = (cuda::<f32>(), cuda::<f32>());
    let network = || {
        piadm::score_fn::<f32>(Prediction::Noise, |x, rows, mut out| {
            for (i, (x, mut out)) in x.rows().into_iter().zip(out.rows_mut()).enumerate() {
                out.assign(&(&x * (1.0 + i as f32 / rows.len() as f32)));
            }
            Ok(())
        })
    };
    let mut here = EdmPrecondition::new(Guided::new(network(), 3.0).unwrap(), 0.5).unwrap();
    let mut there = EdmPrecondition::new(Guided::new(HostScore::new(network()), 3.0).unwrap(), 0.5).unwrap();
    for (i, (n, dim)) in [(3, 5), (1, 5), (7, 5), (7, 4), (2, 130), (0, 5), (4, 0), (5, 5)].into_iter().enumerate() {
        let x = Array2::from_shape_fn((n, dim), |(r, j)| ((r * dim + j) as f32 * 0.7).sin());
        let level: Vec<f64> = (0..n).map(|r| 0.3 + 0.1 * r as f64).collect();
        let (ids, slots) = (vec![0; n], vec![0; n]);
        let rows = Rows::new(&level, &level, &level, &ids, &slots).unwrap();
        let mut expected = Array2::zeros(x.dim());
        here.eval(x.view(), &rows, expected.view_mut()).unwrap();
        let device = [&first, &second][i % 2];
        assert_same(&expected, &eval(device, &mut there, &x, &rows).unwrap(), &format!("{n} rows of {dim}"));
    }
}

/// A score on the device that only says what it is.
struct Bounded(Prediction, Option<usize>);

impl Model for Bounded {
    fn prediction(&self) -> Prediction {
        self.0
    }

    fn max_rows(&self) -> Option<usize> {
        self.1
    }
}

impl ScoreFn<Cuda<f32>> for Bounded {
    fn eval(&mut self, x: DeviceRows<'_, f32>, _: &Rows<'_>, mut out: DeviceRowsMut<'_, f32>) -> Result<(), BoxError> {
        let stream = x.stream().clone();
        Ok(stream.memcpy_dtod(&x.view(), &mut out.view_mut())?)
    }
}

#[test]
fn what_cannot_be_is_a_typed_error() {
    let device = cuda::<f32>();
    let x = Array2::from_elem((2, 3), 0.5);
    let error = |score: &mut dyn ScoreFn<Cuda<f32>>, alpha: f64, sigma: f64, x: &Array2<f32>| {
        let (alpha, sigma) = ([alpha; 2], [sigma; 2]);
        let rows = Rows::new(&[0.1; 2], &alpha, &sigma, &[0; 2], &[0; 2]).unwrap();
        eval(&device, score, x, &rows).unwrap_err().downcast::<Error>().map(|e| *e).unwrap()
    };
    let plain = || Bounded(Prediction::Noise, None);
    let narrow = Bounded(Prediction::Noise, Some(1));
    let setting = |error: Error| match error {
        Error::Setting { name, .. } => name,
        other => panic!("{other}"),
    };
    assert_eq!(setting(error(&mut Guided::new(narrow, 2.0).unwrap(), 0.8, 0.6, &x)), "max_rows");
    let unlike = &mut Guided::pair(plain(), Bounded(Prediction::Data, None), 2.0).unwrap();
    assert!(matches!(error(unlike, 0.8, 0.6, &x), Error::Unsupported { .. }));
    let (clip, edm) = (&mut Clip::new(plain(), 0.0, 1.0).unwrap(), &mut EdmPrecondition::new(plain(), 0.5).unwrap());
    assert_eq!(setting(error(clip, 0.0, 1.0, &x)), "alpha");
    assert_eq!(setting(error(clip, 1.0, 0.0, &x)), "sigma");
    assert_eq!(setting(error(edm, 0.0, 1.0, &x)), "alpha");
    assert_eq!(setting(error(edm, 1.0, f64::NAN, &x)), "sigma");
    let long = Array2::from_elem((3, 3), 0.5);
    for score in [clip as &mut dyn ScoreFn<Cuda<f32>>, edm, &mut Guided::new(plain(), 2.0).unwrap()] {
        assert!(matches!(error(score, 0.8, 0.6, &long), Error::Shape { .. }));
    }
}
