//! A score in parts on several devices and on the host: the bits of the whole.

use crate::common::mixture;
use crate::{child, device};
use piadm::cuda::{DeviceElem, DeviceMixture, DeviceScore, HostScore};
use piadm::score::{Fault, Mixture, OnFailure, Padded, Shares, Split};
use piadm::{
    Acceptance, Backend, Cpu, Cuda, Error, Grid, Ou, Picard, Prediction, Problem, Sampler, Scheme, ScoreFn, score_fn,
};

type Part<B> = Box<dyn ScoreFn<B> + Send>;

fn problem<B: Backend>(backend: B) -> Problem<B> {
    let grid = Grid::log_snr(20).between(6.0, 0.05);
    Problem::on(backend, Ou, grid, Scheme::default()).samples(2).shape([37]).seed(3)
}

fn oracle() -> Mixture {
    mixture(3, 37, 0.3, 1.0, 7).predicting(Prediction::Data)
}

/// The oracle on a device of its own, called from anywhere.
fn remote<T: DeviceElem>(backend: &Cuda<T>) -> DeviceScore<T, DeviceMixture<T>> {
    DeviceScore::new(backend, DeviceMixture::new(backend, &oracle()).unwrap())
}

fn on_devices<T: DeviceElem>(devices: usize)
where
    Mixture: ScoreFn<Cpu<T>>,
{
    let sampler = Picard::default().window(9).acceptance(Acceptance::Error(1e-3));
    let here = sampler.sample(&problem(Cpu::<T>::new()), &mut oracle()).unwrap();
    let first = Cuda::<T>::new(0).unwrap();
    // a stream of its own, on another device if there is one
    let second = Cuda::<T>::new(devices - 1).unwrap();
    // the sampler's own stream, another one, the host, and one with calls of a fixed size
    for shares in [Shares::Equal, Shares::OnDemand] {
        let parts: [Part<Cuda<T>>; 5] = [
            Box::new(DeviceMixture::new(&first, &oracle()).unwrap()),
            Box::new(remote(&second)),
            Box::new(HostScore::new(oracle())),
            Box::new(Padded::new(remote(&first), 4).unwrap()),
            Box::new(Padded::new(remote(&second), 2).unwrap()),
        ];
        let mut split = Split::new(parts).unwrap().shares(shares.clone()).unwrap();
        let there = sampler.sample(&problem(first.clone()), &mut split).unwrap();
        assert_eq!(there.samples.to_host().unwrap(), here.samples);
        assert_eq!(there.report.rounds, here.report.rounds);
        let all = there.report.parts.iter().all(|part| part.rows > 0);
        assert!(all || shares == Shares::OnDemand, "{:?}", there.report.parts);
    }
    // a sampler on the CPU whose network is on devices
    let parts: Vec<Part<Cpu<T>>> = vec![Box::new(oracle()), Box::new(remote(&first)), Box::new(remote(&second))];
    let mixed = sampler.sample(&problem(Cpu::<T>::new()), &mut Split::new(parts).unwrap()).unwrap();
    assert_eq!(mixed.samples, here.samples);
    // alone, without a split
    let alone = sampler.sample(&problem(first), &mut remote(&second)).unwrap().samples.to_host().unwrap();
    assert_eq!(alone, here.samples);
}

#[test]
fn parts_on_one_device() {
    device::install();
    on_devices::<f32>(1);
    on_devices::<f64>(1);
}

#[test]
fn parts_on_two_devices() {
    if !device::is_real() {
        child::passes("split::child_two_devices", &[("FAKE_CUDA_DEVICES", "2")]);
        for lazy in ["1", "2"] {
            child::passes("split::child_two_devices", &[("FAKE_CUDA_DEVICES", "2"), ("FAKE_CUDA_LAZY", lazy)]);
        }
    } else if Cuda::<f32>::devices().unwrap() > 1 {
        on_devices::<f32>(2);
    }
}

#[test]
#[ignore = "run by another test"]
fn child_two_devices() {
    device::install();
    on_devices::<f32>(2);
    on_devices::<f64>(2);
}

/// Numbers that are not finite are found on the device, and another part takes over.
#[test]
fn a_part_on_a_device_fails() {
    device::install();
    let backend = Cuda::<f32>::new(0).unwrap();
    let broken = || {
        HostScore::new(score_fn::<f32>(Prediction::Data, |x, _, mut out| {
            out.assign(&x);
            let last = out.nrows() - 1;
            out[[last, 36]] = f32::NAN;
            Ok(())
        }))
    };
    let parts =
        || -> [Part<Cuda<f32>>; 2] { [Box::new(DeviceMixture::new(&backend, &oracle()).unwrap()), Box::new(broken())] };
    let sampler = Picard::default().window(9);
    let error = sampler.sample(&problem(backend.clone()), &mut Split::new(parts()).unwrap()).unwrap_err();
    let Error::Score { round: 1, source, .. } = error else { panic!("{error}") };
    let part = source.downcast_ref::<Error>();
    assert!(matches!(part, Some(Error::Part { part: 1, source: Fault::NotFinite { sample: 1, .. } })), "{source}");
    let mut split = Split::new(parts()).unwrap().on_failure(OnFailure::MoveOn);
    let found = sampler.sample(&problem(backend.clone()), &mut split).unwrap();
    let whole = sampler.sample(&problem(Cpu::<f32>::new()), &mut oracle()).unwrap();
    assert_eq!(found.samples.to_host().unwrap(), whole.samples);
    assert!(found.report.parts[1].failure.is_some() && found.report.parts[1].rows == 0);
}
