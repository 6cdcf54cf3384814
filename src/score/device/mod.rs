//! Scores for the device: the exact mixture, and any score of the CPU.

mod remote;

pub use remote::DeviceScore;

use crate::backend::cuda::device::launch;
use crate::backend::cuda::error::Answer;
use crate::backend::cuda::staging::{Buffer, Part, Pinned, Word};
use crate::backend::cuda::{DeviceArray, DeviceElem, DeviceRows, DeviceRowsMut, blocks_of_row};
use crate::backend::sum::LEAF;
use crate::backend::{Backend, Cpu, Cuda};
use crate::error::{BoxError, Error, Result};
use crate::score::{Mixture, Model, Prediction, Rows, ScoreFn, check_call, check_shapes};
use cudarc::driver::result;
use ndarray::{ArrayView2, ArrayViewMut2};

const MIXTURE_THREADS: u32 = 128;

/// What the host knows of a row at the modes of one width.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
struct LevelWord([f64; 4]);
// SAFETY: numbers in C's layout.
unsafe impl Word for LevelWord {}

/// A [`Mixture`] whose means live on a device: it gives the bits of the mixture on the CPU. It works for problems on
/// the backend that it was made with, or a clone of it; rows of another one are refused
/// ([`DeviceError::OtherBackend`](crate::cuda::DeviceError::OtherBackend)).
///
/// Cost: (2 + modes) dim multiplications per row for each of two passes over the means.
///
/// ```no_run
/// use piadm::{cuda::DeviceMixture, ndarray::array, score::Mixture, Cuda, Grid, Ou, Picard, Problem, Sampler, Scheme};
/// let mixture = Mixture::new([1.0, 1.0], array![[-1.0, 0.0], [1.0, 0.0]], [0.1, 0.1])?;
/// let backend = Cuda::<f32>::new(0)?;
/// let mut score = DeviceMixture::new(&backend, &mixture)?;
/// let grid = Grid::log_snr(100).between(8.0, 0.01);
/// let problem = Problem::on(backend, Ou, grid, Scheme::default()).samples(16).shape([2]);
/// let samples = Picard::default().sample(&problem, &mut score)?.samples.to_host()?;
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Debug)]
pub struct DeviceMixture<T> {
    backend: Cuda<T>,
    mixture: Mixture,
    means: DeviceArray<T>,
    /// Of every mode, which of the widths it has.
    width_of: Vec<u32>,
    widths: Vec<f64>,
    alpha: Vec<T>,
    levels: Vec<LevelWord>,
    distances: Buffer<f64>,
    coefficients: Buffer<T>,
}

impl<T: DeviceElem> DeviceMixture<T> {
    /// Copies the means to the backend's device.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Device`].
    pub fn new(backend: &Cuda<T>, mixture: &Mixture) -> Result<Self> {
        let means = mixture.means().mapv(T::of);
        let mut there = backend.alloc("means of a mixture", means.nrows(), means.ncols(), T::zero())?;
        backend.upload(means.view(), &mut there, 0)?;
        let (mut widths, mut width_of) = (Vec::new(), Vec::new());
        for &std in mixture.std() {
            let known = widths.iter().position(|w| *w == std);
            width_of.push(known.unwrap_or(widths.len()) as u32);
            if known.is_none() {
                widths.push(std);
            }
        }
        Ok(DeviceMixture {
            backend: backend.clone(),
            mixture: mixture.clone(),
            means: there,
            width_of,
            widths,
            alpha: Vec::new(),
            levels: Vec::new(),
            distances: Buffer::default(),
            coefficients: Buffer::default(),
        })
    }
}

impl<T> Model for DeviceMixture<T> {
    fn prediction(&self) -> Prediction {
        self.mixture.prediction()
    }
}

impl<T: DeviceElem> ScoreFn<Cuda<T>> for DeviceMixture<T> {
    fn eval(
        &mut self,
        x: DeviceRows<'_, T>,
        rows: &Rows<'_>,
        mut out: DeviceRowsMut<'_, T>,
    ) -> std::result::Result<(), BoxError> {
        let (count, dim) = (rows.len(), self.mixture.dim());
        check_shapes::<Cuda<T>>(x, rows, &out, Some(dim))?;
        self.alpha.clear();
        self.levels.clear();
        for (&alpha, &sigma) in rows.alpha.iter().zip(rows.sigma) {
            self.mixture.check_level(alpha, sigma)?;
            self.alpha.push(T::of(alpha));
            let level = |std: &f64| LevelWord(self.mixture.level(alpha, sigma, *std));
            self.levels.extend(self.widths.iter().map(level));
        }
        let device = &*self.backend.device;
        device.owns(x.stream())?;
        device.owns(out.stream())?;
        let mut queue = device.queue()?;
        let modes = self.mixture.modes();
        let distances = self.distances.room(device, "distances of a mixture", count * modes)?;
        let coefficients = self.coefficients.room(device, "coefficients of a mixture", count * (modes + 1))?;
        let [alpha, levels, width_of, log_weights] = queue.stage([
            Part::of(&self.alpha),
            Part::of(&self.levels),
            Part::of(&self.width_of),
            Part::of(self.mixture.log_weights()),
        ])?;
        let (from, to, means) = (x.address(), out.address(), self.means.address(device)?);
        let (jobs, leaves) = (count * modes, dim.div_ceil(LEAF) as u32);
        let (row_count, mode_count) = (count as u32, modes as u32);
        let (width_count, elements) = (self.widths.len() as u32, dim as u64);
        let blocks = blocks_of_row(dim, MIXTURE_THREADS);
        let (each, kernels) = (blocks as u32, &device.kernels);
        // SAFETY: states, outputs and means have the sizes that were checked; distances and coefficients have room for
        // every row and mode.
        unsafe {
            launch!(
                device,
                &kernels.mixture_distances,
                jobs,
                MIXTURE_THREADS,
                from,
                means,
                alpha,
                mode_count,
                elements,
                leaves,
                distances
            )?;
            launch!(
                device,
                &kernels.mixture_coefficients,
                count.div_ceil(MIXTURE_THREADS as usize),
                MIXTURE_THREADS,
                levels,
                width_of,
                log_weights,
                row_count,
                mode_count,
                width_count,
                distances,
                coefficients
            )?;
            launch!(
                device,
                &kernels.mixture_sum,
                count * blocks,
                MIXTURE_THREADS,
                from,
                means,
                coefficients,
                to,
                mode_count,
                elements,
                each
            )?;
        }
        Ok(())
    }
}

/// Runs a score of the CPU in a sampler on a device: states are copied to pinned host memory, outputs back.
///
/// For scores without a device implementation, and for checking one: the sampler's bits are those of the CPU.
///
/// ```no_run
/// use piadm::{cuda::HostScore, Cuda, Prediction, score_fn};
/// let score = score_fn::<f32>(Prediction::Score, |x, _, mut out| { out.zip_mut_with(&x, |o, x| *o = -x); Ok(()) });
/// let score = HostScore::new(score);
/// # fn is_score(_: impl piadm::ScoreFn<Cuda<f32>>) {}
/// # is_score(score);
/// ```
#[derive(Debug)]
pub struct HostScore<S> {
    score: S,
    /// Where states and outputs of a call lie on the host.
    states: Option<Pinned>,
    outputs: Option<Pinned>,
}

impl<S> HostScore<S> {
    /// Wraps a score.
    pub fn new(score: S) -> Self {
        HostScore { score, states: None, outputs: None }
    }

    /// The score again.
    pub fn into_inner(self) -> S {
        self.score
    }
}

impl<S: Model> Model for HostScore<S> {
    fn prediction(&self) -> Prediction {
        self.score.prediction()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.score)
    }
}

impl<T: DeviceElem, S: ScoreFn<Cpu<T>>> ScoreFn<Cuda<T>> for HostScore<S> {
    fn eval(
        &mut self,
        x: DeviceRows<'_, T>,
        rows: &Rows<'_>,
        mut out: DeviceRowsMut<'_, T>,
    ) -> std::result::Result<(), BoxError> {
        let dim = x.dim;
        let [seen, answered] = check_call::<Cuda<T>>(x, rows, &out, &self.score)?.map(|of_row| rows.len() * of_row);
        if seen * answered * dim == 0 {
            return Ok(());
        }
        let (stream, element) = (x.stream(), size_of::<T>());
        stream.context().bind_to_thread().answer()?;
        let states = Pinned::of_size(&mut self.states, stream.context(), seen * dim * element)?;
        let outputs = Pinned::of_size(&mut self.outputs, stream.context(), answered * dim * element)?;
        // SAFETY: the rows are so many elements on the device, and the memory holds as many.
        let states = unsafe { states.copy_from::<T>(x.address(), seen * dim, stream) }?;
        // NaN shows rows that the score forgets to write
        let answers = outputs.items(answered * dim, T::nan());
        let shape = |_| Error::TooLarge { what: "rows on the host", why: "shape overflow".into() };
        let from = ArrayView2::from_shape((seen, dim), &*states).map_err(shape)?;
        let to = ArrayViewMut2::from_shape((answered, dim), &mut *answers).map_err(shape)?;
        self.score.eval(from, rows, to)?;
        // the score may have worked with another device in this thread
        let (stream, to) = (out.stream().clone(), out.address());
        stream.context().bind_to_thread().answer()?;
        // SAFETY: the output has room for the answers, which are not written again before the copy was waited for.
        unsafe { result::memcpy_htod_async(to, answers, stream.cu_stream()) }.answer()?;
        stream.synchronize().answer()?;
        Ok(())
    }
}

impl<T: DeviceElem> Cuda<T> {
    /// Copies rows from the host to a new array, for states, labels or tables of a score of your own.
    ///
    /// ```
    /// use piadm::Cuda;
    /// match Cuda::<f32>::new(0) {
    ///     Ok(backend) => {
    ///         let table = backend.to_device(ndarray::arr2(&[[1.0, 2.0], [3.0, 4.0]]).view())?;
    ///         # let _ = table;
    ///     }
    ///     Err(error) => println!("{error}"), // no driver, no device
    /// }
    /// # Ok::<(), piadm::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::Device`].
    pub fn to_device(&self, rows: ArrayView2<'_, T>) -> Result<DeviceArray<T>> {
        let mut array = self.alloc("rows of a score", rows.nrows(), rows.ncols(), T::zero())?;
        self.upload(rows, &mut array, 0)?;
        Ok(array)
    }
}
