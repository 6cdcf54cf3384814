//! What goes wrong with devices: no driver, no device, old ones, no memory, a device that fails on the way. Never a
//! panic.

use crate::common::two_modes;
use crate::{child, device};
use ndarray::Array2;
use piadm::cuda::{DeviceError, HostScore};
use piadm::{
    Backend, Cpu, Cuda, Error, Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme,
    sampler::{Round, on_round},
};
use std::ops::ControlFlow;

fn problem<B: Backend>(backend: B) -> Problem<B> {
    let grid = Grid::log_snr(30).between(6.0, 0.05);
    Problem::on(backend, Ou, grid, Scheme::default()).samples(2).shape([37]).seed(3)
}

fn device_error<T>(answer: Result<T, Error>) -> DeviceError {
    match answer {
        Err(Error::Device(error)) => error,
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("no error"),
    }
}

/// Names a child test and what it is run with.
macro_rules! in_a_child {
    ($($name:ident => $child:ident with [$($setting:expr),*]),* $(,)?) => {$(
        #[test]
        fn $name() {
            if !device::is_real() {
                child::passes(concat!("failures::", stringify!($child)), &[$($setting),*]);
            }
        }
    )*};
}

in_a_child!(
    without_a_driver => child_no_driver with [],
    without_a_device => child_no_device with [("FAKE_CUDA_DEVICES", "0")],
    a_device_that_is_not_there => child_no_such_device with [("FAKE_CUDA_DEVICES", "2")],
    an_old_device => child_old_device with [("FAKE_CUDA_CC", "75")],
    an_old_driver => child_old_driver with [("FAKE_CUDA_DRIVER", "11040")],
    without_memory => child_no_memory with [("FAKE_CUDA_FREE_BYTES", "3000000")],
    the_second_device => child_second_device with [("FAKE_CUDA_DEVICES", "2")],
    copies_that_outlive_their_backend => child_dropped_backend with [("FAKE_CUDA_LAZY", "1")],
);

#[test]
#[ignore = "run by another test"]
fn child_no_driver() {
    // nothing is installed here; a machine with a driver has nothing to show
    if let Err(Error::Device(error)) = Cuda::<f32>::new(0) {
        assert!(matches!(error, DeviceError::NoDriver(_) | DeviceError::NoDevice { .. }), "{error}");
        assert!(matches!(device_error(Cuda::<f64>::new(7)), DeviceError::NoDriver(_) | DeviceError::NoDevice { .. }));
    }
}

#[test]
#[ignore = "run by another test"]
fn child_no_device() {
    device::install();
    assert_eq!(Cuda::<f32>::devices().unwrap(), 0);
    assert_eq!(device_error(Cuda::<f32>::new(0)), DeviceError::NoDevice { ordinal: 0, count: 0 });
}

#[test]
#[ignore = "run by another test"]
fn child_no_such_device() {
    device::install();
    assert_eq!(Cuda::<f32>::devices().unwrap(), 2);
    assert_eq!(device_error(Cuda::<f32>::new(2)), DeviceError::NoDevice { ordinal: 2, count: 2 });
}

#[test]
#[ignore = "run by another test"]
fn child_old_device() {
    device::install();
    assert_eq!(device_error(Cuda::<f32>::new(0)), DeviceError::Unsupported { major: 7, minor: 5 });
}

#[test]
#[ignore = "run by another test"]
fn child_old_driver() {
    device::install();
    assert_eq!(device_error(Cuda::<f32>::new(0)), DeviceError::OldDriver { version: 11040 });
}

#[test]
#[ignore = "run by another test"]
fn child_no_memory() {
    let device = device::cuda::<f32>();
    match device.alloc("states", 1000, 1000, 0.0) {
        Err(Error::OutOfMemory { what, bytes }) => assert_eq!((what, bytes), ("states", 4_000_000)),
        other => panic!("{other:?}"),
    }
    // a smaller one still goes, and so does a whole run
    assert!(device.alloc("states", 10, 10, 0.0).is_ok());
    let mut score = HostScore::new(two_modes::<f32>(Prediction::Noise));
    assert!(Picard::default().sample(&problem(device.clone()), &mut score).is_ok());
    let grid = Grid::log_snr(30).between(6.0, 0.05);
    let large = Problem::on(device, Ou, grid, Scheme::default()).samples(200).shape([3000]);
    let error = Picard::default().sample(&large, &mut score).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
}

#[test]
#[ignore = "run by another test"]
fn child_second_device() {
    device::install();
    let second = Cuda::<f32>::new(1).unwrap();
    let mut score = HostScore::new(two_modes::<f32>(Prediction::Noise));
    let found = Picard::default().sample(&problem(second), &mut score).unwrap().samples.to_host().unwrap();
    let expected = Picard::default().sample(&problem(Cpu::<f32>::new()), &mut two_modes(Prediction::Noise)).unwrap();
    assert_eq!(expected.samples, found);
}

#[test]
fn a_device_that_fails_on_the_way() {
    if device::is_real() {
        return;
    }
    for calls in ["1", "2", "3", "5", "8", "13", "21", "34", "55"] {
        child::passes("failures::child_lost", &[("FAKE_CUDA_FAIL_AFTER", calls)]);
    }
}

#[test]
#[ignore = "run by another test"]
fn child_lost() {
    device::install();
    let mut score = HostScore::new(two_modes::<f32>(Prediction::Noise));
    let answer = Cuda::new(0).and_then(|device| Picard::default().sample(&problem(device), &mut score));
    match answer {
        Err(Error::Device(DeviceError::Driver { code, .. })) => assert_eq!(code, 700),
        Err(Error::Score { source, .. }) => assert!(source.to_string().contains("700"), "{source}"),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("the device did not fail"),
    }
}

/// After the first rounds a round neither allocates nor waits more than for its answers.
#[test]
fn rounds_allocate_nothing_and_wait_for_their_answers_alone() {
    if device::is_real() {
        return;
    }
    child::passes("failures::child_counts", &[]);
}

#[test]
#[ignore = "run by another test"]
fn child_counts() {
    let device = device::cuda::<f32>();
    let oracle = crate::common::mixture(2, 37, 0.3, 1.0, 5).predicting(Prediction::Noise);
    let mut score = piadm::cuda::DeviceMixture::new(&device, &oracle).unwrap();
    let mut counts = Vec::new();
    let mut observer = on_round(|_: &Round<'_>| {
        counts.push(piadm_cuda_emulator::counts());
        ControlFlow::Continue(())
    });
    let sampler = Picard::default().window(piadm::Window::Steps(8));
    sampler.run(&problem(device), &mut score, &mut observer).unwrap();
    assert!(counts.len() > 6);
    for pair in counts.windows(2).skip(2) {
        let (before, after) = (&pair[0], &pair[1]);
        assert_eq!(after.device_allocations, before.device_allocations);
        assert_eq!(after.pinned_allocations, before.pinned_allocations);
        // of the slopes, the sweep, and the nodes that enter
        assert!(after.synchronisations - before.synchronisations <= 3);
        assert!(after.launches - before.launches <= 12, "{}", after.launches - before.launches);
    }
}

#[test]
fn errors_say_what_to_do() {
    let error = Error::from(DeviceError::OldDriver { version: 11040 });
    assert!(error.to_string().contains("CUDA 12.0 or newer"));
    let error = Error::from(DeviceError::Unsupported { major: 7, minor: 5 });
    assert!(error.to_string().contains("8.0 (Ampere) or newer"));
}

/// A score and a sampler on a stream that somebody else has made; the score works on the views alone.
#[test]
fn a_stream_of_another_library() {
    use piadm::cuda::{DeviceRows, DeviceRowsMut};
    use piadm::{BoxError, Model, Rows, ScoreFn, score_fn};

    struct Same;
    impl Model for Same {
        fn prediction(&self) -> Prediction {
            Prediction::Velocity
        }
    }
    impl ScoreFn<Cuda<f32>> for Same {
        fn eval(
            &mut self,
            x: DeviceRows<'_, f32>,
            _: &Rows<'_>,
            mut out: DeviceRowsMut<'_, f32>,
        ) -> Result<(), BoxError> {
            let stream = out.stream().clone();
            stream.memcpy_dtod(&x.view(), &mut out.view_mut())?;
            Ok(())
        }
    }

    device::install();
    let context = piadm::cudarc::driver::CudaContext::new(0).unwrap();
    for stream in [context.default_stream(), context.new_stream().unwrap()] {
        let device = Cuda::<f32>::with_stream(stream.clone()).unwrap();
        assert_eq!(device.stream().cu_stream(), stream.cu_stream());
        let found = Picard::default().sample(&problem(device), &mut Same).unwrap().samples.to_host().unwrap();
        let mut on_cpu = score_fn::<f32>(Prediction::Velocity, |x, _, mut out| {
            out.assign(&x);
            Ok(())
        });
        let expected: Array2<f32> = Picard::default().sample(&problem(Cpu::new()), &mut on_cpu).unwrap().samples;
        assert_eq!(expected, found);
    }
}

/// A backend that is dropped frees the memory that its copies read.
#[test]
#[ignore = "run by another test"]
fn child_dropped_backend() {
    let host = Array2::from_shape_fn((3, 5), |(i, j)| (5 * i + j) as f32);
    let array = device::cuda().to_device(host.view()).unwrap();
    assert_eq!(array.to_host().unwrap(), host);
}

/// A thread that has not worked with the device has no context of it.
#[test]
fn arrays_and_scores_dropped_in_another_thread() {
    let device = device::cuda::<f32>();
    let mixture = crate::common::mixture(2, 37, 0.3, 1.0, 5).predicting(Prediction::Noise);
    let mut score = piadm::cuda::DeviceMixture::new(&device, &mixture).unwrap();
    let samples = Picard::default().sample(&problem(device.clone()), &mut score).unwrap().samples;
    let freed = std::thread::spawn(move || {
        drop((samples, score));
        piadm_cuda_emulator::counts_of_this_thread().device_frees
    });
    // samples, means, distances, coefficients
    let freed = freed.join().unwrap();
    assert!(device::is_real() || freed == 4, "{freed}");
    // cudarc keeps what has gone wrong for the next call
    device.alloc("rows", 1, 1, 0.0).unwrap();
}
