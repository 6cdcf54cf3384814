//! Scores on the device against the same on the CPU.

use crate::device::cuda;
use crate::operations::assert_same;
use ndarray::Array2;
use piadm::cuda::{DeviceElem, DeviceMixture, HostScore};
use piadm::{Backend, BoxError, Cpu, Cuda, Model, Prediction, Rows, ScoreFn, score::Mixture, score_fn};

fn wave(i: usize) -> f64 {
    (i as f64 * 0.7 + 0.1 * (i * i % 17) as f64).sin()
}

fn eval<T: DeviceElem>(
    device: &Cuda<T>,
    score: &mut dyn ScoreFn<Cuda<T>>,
    x: &Array2<T>,
    rows: &Rows<'_>,
) -> Result<Array2<T>, BoxError> {
    let states = device.to_device(x.view())?;
    let mut out = device.to_device(Array2::from_elem(x.dim(), T::nan()).view())?;
    score.eval(states.view(), rows, device.view_mut(&mut out, 0..x.nrows()))?;
    Ok(out.to_host()?)
}

fn mixtures<T: DeviceElem>()
where
    Mixture: ScoreFn<Cpu<T>>,
{
    let device = cuda::<T>();
    for (modes, dim) in [(1, 1), (2, 3), (3, 4), (5, 64), (9, 65), (7, 129), (4, 300), (2, 1030), (2, 4230)] {
        let means = Array2::from_shape_fn((modes, dim), |(k, i)| 1.5 * wave(k * dim + i));
        let weights: Vec<f64> = (0..modes).map(|k| 0.3 + k as f64).collect();
        let std: Vec<f64> = (0..modes).map(|k| 0.3 * ((k / 2) % 3) as f64).collect();
        let mixture = Mixture::new(weights, means, std).unwrap();
        for kind in [Prediction::Score, Prediction::Noise, Prediction::Data, Prediction::Velocity, Prediction::Flow] {
            let mut on_cpu = mixture.clone().predicting(kind);
            let mut on_device = DeviceMixture::new(&device, &on_cpu).unwrap();
            // from data to noise, a level without signal, far away
            let (alpha, sigma) = ([0.9, 1.0, 0.0, 1.0, 0.5], [0.4, 0.05, 1.0, 30.0, 0.8]);
            let x = Array2::from_shape_fn((5, dim), |(r, i)| {
                let far = if r == 4 { 1e15 } else { 1.0 };
                T::of(far * (alpha[r] * 1.5 * wave(i + dim) + sigma[r] * 1.2 * wave(3 * i + 5)))
            });
            let rows = Rows::new(&[0.0; 5], &alpha, &sigma, &[0; 5], &[0; 5]).unwrap();
            let mut expected = Array2::zeros(x.dim());
            on_cpu.eval(x.view(), &rows, expected.view_mut()).unwrap();
            let found = eval(&device, &mut on_device, &x, &rows).unwrap();
            assert_same(&expected, &found, &format!("{modes} modes, {dim} elements, {kind:?}"));
        }
    }
}

#[test]
fn mixtures_have_the_bits_of_the_cpu() {
    mixtures::<f32>();
    mixtures::<f64>();
}

#[test]
fn a_mixture_refuses_what_the_cpu_refuses() {
    let device = cuda::<f32>();
    let points = Mixture::new([1.0], Array2::zeros((1, 3)), [0.0]).unwrap();
    let mut score = DeviceMixture::new(&device, &points).unwrap();
    let x = Array2::zeros((1, 3));
    let rows = |sigma: &'static [f64]| Rows::new(&[0.0], &[1.0], sigma, &[0], &[0]).unwrap();
    assert!(eval(&device, &mut score, &x, &rows(&[0.5])).is_ok());
    assert!(eval(&device, &mut score, &x, &rows(&[0.0])).is_err());
    assert!(eval(&device, &mut score, &x, &rows(&[f64::NAN])).is_err());
    assert!(eval(&device, &mut score, &Array2::zeros((1, 4)), &rows(&[0.5])).is_err());
    assert!(eval(&device, &mut score, &Array2::zeros((2, 3)), &rows(&[0.5])).is_err());
}

#[test]
fn a_score_of_the_cpu_gets_its_rows_and_hands_back_its_own() {
    let device = cuda::<f64>();
    let mut sizes = Vec::new();
    let mut score = HostScore::new(score_fn::<f64>(Prediction::Score, |x, rows, mut out| {
        sizes.push(x.dim());
        if rows.t[0] < 0.0 {
            return Err("a negative time".into());
        }
        for (i, (x, mut out)) in x.rows().into_iter().zip(out.rows_mut()).enumerate() {
            out.assign(&(&x * rows.alpha[i]));
        }
        Ok(())
    }));
    assert_eq!(score.prediction(), Prediction::Score);
    for n in [1, 4, 2, 9] {
        let x = Array2::from_shape_fn((n, 5), |(i, j)| wave(7 * i + j));
        let alpha: Vec<f64> = (0..n).map(|i| i as f64).collect();
        let (zero, ids, slots) = (vec![0.0; n], vec![0; n], vec![0; n]);
        let rows = Rows::new(&zero, &alpha, &zero, &ids, &slots).unwrap();
        let expected = Array2::from_shape_fn((n, 5), |(i, j)| x[[i, j]] * alpha[i]);
        assert_same(&expected, &eval(&device, &mut score, &x, &rows).unwrap(), "rows of the score");
    }
    let rows = Rows::new(&[-1.0], &[1.0], &[1.0], &[0], &[0]).unwrap();
    let error = eval(&device, &mut score, &Array2::zeros((1, 5)), &rows).unwrap_err();
    assert_eq!(error.to_string(), "a negative time");
    drop(score);
    assert_eq!(sizes, [(1, 5), (4, 5), (2, 5), (9, 5), (1, 5)]);
}

/// Two backends have two streams: nothing would order what the score writes before what the sampler reads.
#[test]
fn rows_of_another_backend_are_refused() {
    let (first, second) = (cuda::<f32>(), cuda::<f32>());
    let mixture = Mixture::new([1.0], Array2::zeros((1, 3)), [0.5]).unwrap();
    let mut score = DeviceMixture::new(&first, &mixture).unwrap();
    let rows = Rows::new(&[0.0], &[1.0], &[0.5], &[0], &[0]).unwrap();
    let x = Array2::zeros((1, 3));
    let error = eval(&second, &mut score, &x, &rows).unwrap_err();
    assert!(error.to_string().contains("another CUDA backend"), "{error}");
    assert!(eval(&first.clone(), &mut score, &x, &rows).is_ok());
    let same_stream = Cuda::with_stream(first.stream().clone()).unwrap();
    assert!(eval(&same_stream, &mut score, &x, &rows).is_ok());

    let (mut ours, mut theirs) = (first.to_device(x.view()).unwrap(), second.to_device(x.view()).unwrap());
    first.gather(&theirs, &[0], &mut ours, 0).unwrap_err();
    second.gather(&theirs, &[0], &mut ours, 0).unwrap_err();
    first.upload(x.view(), &mut theirs, 0).unwrap_err();
    first.download(&theirs, 0..1).unwrap_err();
    first.normals(piadm::noise::NoiseKey::new(1), &[], &mut theirs).unwrap_err();
}

/// Its handle means another stream on every thread.
#[test]
fn the_default_stream_of_a_thread_is_refused() {
    let stream = cuda::<f32>().stream().context().per_thread_stream();
    assert!(matches!(Cuda::<f32>::with_stream(stream), Err(piadm::Error::Setting { name: "stream", .. })));
}

/// Whatever the score does to the thread, its rows arrive, also where states and outputs are those of two backends.
#[test]
fn a_score_of_the_cpu_may_change_the_context_of_its_thread() {
    let (first, second) = (cuda::<f32>(), cuda::<f32>());
    let mut score = HostScore::new(score_fn::<f32>(Prediction::Score, |x, _, mut out| {
        // SAFETY: no context is one that a thread may have.
        unsafe { piadm::cudarc::driver::result::ctx::set_current(std::ptr::null_mut()) }?;
        out.assign(&x);
        Ok(())
    }));
    let x = Array2::from_shape_fn((3, 5), |(i, j)| wave(i + 3 * j) as f32);
    let rows = Rows::new(&[0.0; 3], &[1.0; 3], &[1.0; 3], &[0; 3], &[0; 3]).unwrap();
    let states = first.to_device(x.view()).unwrap();
    let mut out = second.to_device(Array2::zeros(x.dim()).view()).unwrap();
    ScoreFn::<Cuda<f32>>::eval(&mut score, states.view(), &rows, second.view_mut(&mut out, 0..3)).unwrap();
    assert_same(&x, &out.to_host().unwrap(), "rows of the score");
}
