//! A small network in candle against the same network in plain loops.

use candle_core::{DType, Device, Tensor, WithDType};
use piadm::ndarray::{Array2, ArrayView2, array};
use piadm::{
    Acceptance, BoxError, Cpu, Grid, Ou, Picard, Prediction, Problem, Rows, Sampler, Scheme, ScoreFn, Sequential,
    backend::Real, score::Guided, score_map,
};
use piadm_candle::{CandleScore, Error, column, gather};

const DIM: usize = 6;
const HIDDEN: usize = 20;

/// Weights of two linear layers and of the time's embedding.
struct Weights {
    first: Array2<f64>,
    time: Array2<f64>,
    second: Array2<f64>,
}

impl Weights {
    fn new() -> Self {
        let wave = |shape, pace: f64| Array2::from_shape_fn(shape, |(i, j)| (pace * (1 + i * 31 + j * 7) as f64).sin());
        Weights {
            first: wave((DIM, HIDDEN), 0.37) * 0.4,
            time: wave((2, HIDDEN), 0.71) * 0.5,
            second: wave((HIDDEN, DIM), 1.13) * 0.2,
        }
    }

    /// tanh(x first + [sin t, cos t] time) second
    fn plain<T: Real>(&self, x: ArrayView2<'_, T>, rows: &Rows<'_>) -> Array2<T> {
        let wide = x.mapv(Real::wide);
        let embedding = Array2::from_shape_fn((rows.len(), 2), |(i, j)| [rows.t[i].sin(), rows.t[i].cos()][j]);
        let hidden = (wide.dot(&self.first) + embedding.dot(&self.time)).mapv(f64::tanh);
        hidden.dot(&self.second).mapv(T::of)
    }
}

fn tensor<T: Real + WithDType>(a: &Array2<f64>) -> Tensor {
    let values: Vec<T> = a.iter().map(|v| T::of(*v)).collect();
    Tensor::from_vec(values, a.dim(), &Device::Cpu).unwrap()
}

/// How weights lie in memory.
enum Layout {
    /// As they are used, in x out.
    Contiguous,
    /// As candle's `Linear` has them, out x in.
    Transposed,
}

/// The same network in candle.
fn network<T: Real + WithDType>(layout: Layout) -> impl FnMut(&Tensor, &Rows<'_>) -> Result<Tensor, BoxError> {
    let w = Weights::new();
    let weights = |a| match layout {
        Layout::Contiguous => tensor::<T>(&a),
        Layout::Transposed => tensor::<T>(&a).t().unwrap().contiguous().unwrap().t().unwrap(),
    };
    let [first, time, second] = [w.first, w.time, w.second].map(weights);
    move |x, rows| {
        let t = column(rows.t, x)?;
        let embedding = Tensor::cat(&[t.sin()?, t.cos()?], 1)?;
        let hidden = (x.matmul(&first)? + embedding.matmul(&time)?)?.tanh()?;
        Ok(hidden.matmul(&second)?)
    }
}

fn problem<T: Real>(samples: usize) -> Problem<Cpu<T>> {
    let grid = Grid::log_snr(60).between(6.0, 0.02);
    Problem::on(Cpu::new(), Ou, grid, Scheme::default()).samples(samples).shape([DIM]).seed(3)
}

/// The largest difference, in units of the largest element of `a`.
fn difference<T: Real>(a: &Array2<T>, b: &Array2<T>) -> f64 {
    let largest = |values: Array2<T>| values.iter().map(|v| v.wide().abs()).fold(0.0, f64::max);
    largest(a - b) / largest(a.clone())
}

fn same_as_plain<T: Real + WithDType>(tolerance: f64) {
    let weights = Weights::new();
    let mut plain = score_map(Prediction::Noise, move |x: ArrayView2<'_, T>, rows| weights.plain(x, rows));
    let mut candle = CandleScore::new(Prediction::Noise, &Device::Cpu, network::<T>(Layout::Contiguous));
    let problem = problem::<T>(5);
    let expected = Sequential.sample(&problem, &mut plain).unwrap().samples;
    let found = Sequential.sample(&problem, &mut candle).unwrap().samples;
    assert!(difference(&expected, &found) < tolerance, "{}", difference(&expected, &found));
}

#[test]
fn a_candle_network_samples_as_the_plain_one_f64() {
    same_as_plain::<f64>(1e-12);
}

#[test]
fn a_candle_network_samples_as_the_plain_one_f32() {
    same_as_plain::<f32>(1e-5);
}

/// Products of a few rows round otherwise than those of many where the weights are transposed, as in candle's `Linear`:
/// see the README.
#[test]
fn a_network_whose_rows_depend_on_their_number_samples_alike() {
    let mut score = CandleScore::new(Prediction::Noise, &Device::Cpu, network::<f64>(Layout::Transposed));
    let problem = problem::<f64>(5);
    let expected = Sequential.sample(&problem, &mut score).unwrap().samples;
    let found = Picard::default().sample(&problem, &mut score).unwrap();
    assert!(found.report.rounds < 60, "{}", found.report);
    assert!(difference(&expected, &found.samples) < 1e-2, "{}", difference(&expected, &found.samples));
}

fn parallel_has_the_bits_of_sequential<T: Real + WithDType>() {
    let mut score = CandleScore::new(Prediction::Noise, &Device::Cpu, network::<T>(Layout::Contiguous));
    let problem = problem::<T>(5);
    let expected = Sequential.sample(&problem, &mut score).unwrap().samples;
    let exact = Picard::default().acceptance(Acceptance::Exact);
    let found = exact.sample(&problem, &mut score).unwrap().samples;
    assert!(expected.iter().zip(&found).all(|(a, b)| a.same_bits(*b)), "{}", difference(&expected, &found));
}

#[test]
fn parallel_has_the_bits_of_sequential_f32() {
    parallel_has_the_bits_of_sequential::<f32>();
}

#[test]
fn parallel_has_the_bits_of_sequential_f64() {
    parallel_has_the_bits_of_sequential::<f64>();
}

/// The output of one call for states [[0, 1, 2], [3, 4, 5]].
fn call(network: impl FnMut(&Tensor, &Rows<'_>) -> Result<Tensor, BoxError>) -> Result<Array2<f32>, BoxError> {
    let x = Array2::from_shape_fn((2, 3), |(i, j)| (3 * i + j) as f32);
    let mut out = Array2::from_elem((2, 3), f32::NAN);
    let rows = Rows::new(&[0.5, 0.25], &[1.0; 2], &[1.0; 2], &[0, 1], &[0, 1]).unwrap();
    let mut score = CandleScore::new(Prediction::Data, &Device::Cpu, network);
    ScoreFn::<Cpu<f32>>::eval(&mut score, x.view(), &rows, out.view_mut())?;
    Ok(out)
}

fn refused(network: impl FnMut(&Tensor, &Rows<'_>) -> Result<Tensor, BoxError>) -> Error {
    call(network).unwrap_err().downcast_ref::<Error>().unwrap().clone()
}

#[test]
fn outputs_of_any_layout_are_read_right() {
    let states = array![[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]];
    assert_eq!(call(|x, _| Ok(x.clone())).unwrap(), states);
    assert_eq!(call(|x, _| Ok(x.t()?.contiguous()?.t()?)).unwrap(), states);
    assert_eq!(call(|x, _| Ok(Tensor::cat(&[&x.neg()?, x, x], 0)?.narrow(0, 2, 2)?)).unwrap(), states);
    assert_eq!(call(|x, _| Ok(Tensor::cat(&[&x.neg()?, x], 1)?.narrow(1, 3, 3)?)).unwrap(), states);
    assert_eq!(call(|x, rows| Ok(column(rows.t, x)?.broadcast_as((2, 3))?)).unwrap(), array![[0.5; 3], [0.25; 3]]);
    // states of another layout, which no sampler gives
    let (x, mut out) = (states.t().to_owned(), Array2::<f32>::zeros((2, 3)));
    let rows = Rows::new(&[0.5; 2], &[1.0; 2], &[1.0; 2], &[0; 2], &[0; 2]).unwrap();
    let mut score = CandleScore::new(Prediction::Data, &Device::Cpu, |x, _| Ok((x * 2.0)?));
    ScoreFn::<Cpu<f32>>::eval(&mut score, x.t(), &rows, out.view_mut()).unwrap();
    assert_eq!(out, states * 2.0);
}

#[test]
fn wrong_outputs_are_typed_errors() {
    let shape = |found: &[usize]| Error::Shape { found: found.to_vec(), expected: vec![2, 3] };
    assert_eq!(refused(|x, _| Ok(x.t()?)), shape(&[3, 2]));
    assert_eq!(refused(|x, _| Ok(x.flatten_all()?)), shape(&[6]));
    assert_eq!(refused(|x, _| Ok(x.narrow(0, 0, 1)?)), shape(&[1, 3]));
    let dtype = Error::DType { found: DType::F64, expected: DType::F32 };
    assert_eq!(refused(|x, _| Ok(x.to_dtype(DType::F64)?)), dtype);
    assert_eq!(
        dtype.to_string(),
        "the output of the model is F64, expected F32: convert it with to_dtype in the closure"
    );
}

#[test]
fn errors_of_candle_reach_the_caller_of_the_sampler() {
    let mut score = CandleScore::new(Prediction::Noise, &Device::Cpu, |x, _| Ok(x.matmul(x)?));
    let error = Sequential.sample(&problem::<f32>(2), &mut score).unwrap_err();
    let piadm::Error::Score { source, .. } = error else { panic!("{error}") };
    assert!(source.downcast_ref::<candle_core::Error>().is_some(), "{source}");
}

#[test]
fn settings_reach_the_sampler() {
    let mut largest = 0;
    let mut score = CandleScore::new(Prediction::Noise, &Device::Cpu, |x, rows| {
        largest = largest.max(rows.len());
        Ok(x.clone())
    })
    .max_rows(7);
    Picard::default().sample(&problem::<f32>(2), &mut score).unwrap();
    assert_eq!(largest, 7);
    let mut score = CandleScore::new(Prediction::Noise, &Device::Cpu, |x, _| Ok(x.clone())).time_range(0.02, 5.0);
    let error = Sequential.sample(&problem::<f32>(2), &mut score).unwrap_err();
    assert!(matches!(error, piadm::Error::TimeRange { .. }), "{error}");
}

#[test]
fn columns_have_the_dtype_of_the_states() {
    for dtype in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let like = Tensor::zeros((1, 1), dtype, &Device::Cpu).unwrap();
        let column = column(&[0.1, -2.0], &like).unwrap();
        assert_eq!((column.dtype(), column.dims()), (dtype, &[2, 1][..]));
        let wide = column.to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap();
        assert!((wide[0][0] - 0.1).abs() < 1e-3 && wide[1][0] == -2.0);
    }
    let like = Tensor::zeros((1, 1), DType::F64, &Device::Cpu).unwrap();
    assert_eq!(column(&[0.1], &like).unwrap().to_vec2::<f64>().unwrap(), [[0.1]]);
}

#[test]
fn closures_see_samples_in_their_shape() {
    let mut score = CandleScore::new(Prediction::Noise, &Device::Cpu, |x, rows| {
        assert_eq!(x.dims(), [rows.len(), 2, 1, 3]);
        assert_eq!(column(rows.t, x)?.dims(), [rows.len(), 1, 1, 1]);
        Ok(x.broadcast_mul(&column(rows.sigma, x)?)?)
    });
    let shaped = problem::<f64>(2).shape([2, 1, 3]);
    let found = Sequential.sample(&shaped, &mut score).unwrap().samples;
    let mut flat = CandleScore::new(Prediction::Noise, &Device::Cpu, |x, rows| {
        assert_eq!(x.dims(), [rows.len(), DIM]);
        Ok(x.broadcast_mul(&column(rows.sigma, x)?)?)
    });
    assert_eq!(found, Sequential.sample(&problem::<f64>(2), &mut flat).unwrap().samples);
    // a shape that is not that of the rows, which no sampler gives
    let rows = Rows::new(&[0.5; 2], &[1.0; 2], &[1.0; 2], &[0; 2], &[0; 2]).unwrap().with_shape(&[2, 2]);
    let (x, mut out) = (Array2::<f32>::zeros((2, 3)), Array2::<f32>::zeros((2, 3)));
    let error = ScoreFn::<Cpu<f32>>::eval(&mut flat, x.view(), &rows, out.view_mut()).unwrap_err();
    assert_eq!(error.to_string(), "the states has shape [2, 3], expected [2, 2, 2]");
}

/// The data of each sample, which its label says, and 0 without a label: guidance in one call gives scale times the
/// label, and so do two calls.
#[test]
fn conditions_are_those_of_the_sample_and_guidance_is_one_call() {
    let table = Tensor::new(&[[1f64; DIM], [2.0; DIM], [-3.0; DIM]], &Device::Cpu).unwrap();
    let mut calls = 0;
    let labelled = CandleScore::new(Prediction::Data, &Device::Cpu, |_x, rows| {
        calls += 1;
        let (half, all) = (rows.len() / 2, rows.len());
        assert_eq!(rows.slot[..half], rows.slot[half..]);
        let zeros = gather(&table.zeros_like()?, &rows.range(half..all))?;
        Ok(Tensor::cat(&[gather(&table, &rows.range(0..half))?, zeros], 0)?)
    });
    let last = Grid::log_snr(12).between(6.0, 0.02).then_data();
    let problem = Problem::on(Cpu::<f64>::new(), Ou, last, Scheme::ddim()).samples(3).shape([DIM]);
    let solution = Picard::default().sample(&problem, &mut Guided::new(labelled, 2.0).unwrap()).unwrap();
    assert_eq!(calls, solution.report.score_calls);
    let expected = array![[2.0], [4.0], [-6.0]];
    assert!((&solution.samples - &expected).iter().all(|d| d.abs() < 1e-12), "{:?}", solution.samples);
    // a table for fewer samples
    let mut short = CandleScore::new(Prediction::Data, &Device::Cpu, |_x, rows| Ok(gather(&table, rows)?));
    let error = Sequential.sample(&problem.samples(4), &mut short).unwrap_err();
    let piadm::Error::Score { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("no condition for sample 3 of the batch"), "{source}");
}

/// Without the feature, candle's CUDA device is a placeholder that refuses everything.
#[cfg(not(feature = "cuda"))]
#[test]
fn a_device_that_candle_cannot_use_is_an_error() {
    let device = Device::Cuda(candle_core::CudaDevice);
    let mut score = CandleScore::new(Prediction::Noise, &device, |x, _| Ok(x.clone()));
    let error = Sequential.sample(&problem::<f32>(2), &mut score).unwrap_err();
    let piadm::Error::Score { source, .. } = error else { panic!("{error}") };
    let candle = source.downcast_ref::<candle_core::Error>();
    assert!(matches!(candle, Some(candle_core::Error::NotCompiledWithCudaSupport)), "{source}");
}
