//! Where cases run: on the CPU, or on a device with the same bits.

use piadm::ndarray::Array2;
use piadm::{Backend, Cpu, Result, ScoreFn, backend::Real, score::Mixture};

/// A score of a place.
pub type Score<'s, P> = Box<dyn ScoreFn<<P as Place>::On> + 's>;

/// A backend, and how scores of the CPU come to it.
pub trait Place {
    type Elem: Real;
    type On: Backend<Elem = Self::Elem>;
    const NAME: &'static str;

    fn backend(&self) -> Self::On;
    /// The place's own form of a mixture.
    fn mixture(&self, mixture: Mixture) -> Result<Score<'static, Self>>;
    /// Any score of the CPU.
    fn score<'s>(&self, score: impl ScoreFn<Cpu<Self::Elem>> + 's) -> Score<'s, Self>;

    /// All rows on the host.
    fn host(&self, array: &<Self::On as Backend>::Array, rows: usize) -> Result<Array2<Self::Elem>> {
        self.backend().download(array, 0..rows)
    }
}

/// The CPU.
pub struct Host<T>(pub Cpu<T>);

impl<T: Real> Place for Host<T>
where
    Mixture: ScoreFn<Cpu<T>>,
{
    type Elem = T;
    type On = Cpu<T>;
    const NAME: &'static str = "cpu";

    fn backend(&self) -> Cpu<T> {
        self.0
    }

    fn mixture(&self, mixture: Mixture) -> Result<Score<'static, Self>> {
        Ok(Box::new(mixture))
    }

    fn score<'s>(&self, score: impl ScoreFn<Cpu<T>> + 's) -> Score<'s, Self> {
        Box::new(score)
    }
}

#[cfg(all(feature = "cuda", target_os = "linux"))]
pub use on_device::Device;

#[cfg(all(feature = "cuda", target_os = "linux"))]
mod on_device {
    use super::{Place, Score};
    use piadm::cuda::{DeviceElem, DeviceMixture, HostScore};
    use piadm::{Cpu, Cuda, Result, ScoreFn, score::Mixture};

    /// The emulated device, or a real one with `PIADM_GPU=1`.
    pub struct Device<T>(pub Cuda<T>);

    impl<T: DeviceElem> Place for Device<T> {
        type Elem = T;
        type On = Cuda<T>;
        const NAME: &'static str = "device";

        fn backend(&self) -> Cuda<T> {
            self.0.clone()
        }

        fn mixture(&self, mixture: Mixture) -> Result<Score<'static, Self>> {
            Ok(Box::new(DeviceMixture::new(&self.0, &mixture)?))
        }

        fn score<'s>(&self, score: impl ScoreFn<Cpu<T>> + 's) -> Score<'s, Self> {
            Box::new(HostScore::new(score))
        }
    }
}
