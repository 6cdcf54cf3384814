//! A score on a device of its own, called from another one or from the CPU.

use crate::backend::cuda::error::Answer;
use crate::backend::cuda::{DeviceElem, DeviceRows, DeviceRowsMut};
use crate::backend::{Backend, Cpu, Cuda};
use crate::error::{BoxError, Result};
use crate::score::adapters::scratch::Scratch;
use crate::score::{Model, Prediction, Rows, ScoreFn, check_call};
use cudarc::driver::{CudaStream, result};
use ndarray::{ArrayView2, ArrayViewMut2};

/// A score that lives on a device of its own: the sampler may run on another device or on the CPU, and states and
/// outputs travel. As parts of a [`Split`](crate::score::Split) score, such scores let one image use several devices.
///
/// From another device rows are copied peer to peer, through the host where the devices cannot reach each other. The
/// call returns when the outputs are back.
///
/// ```no_run
/// use piadm::prelude::*;
/// use piadm::cuda::{DeviceMixture, DeviceScore};
/// use piadm::score::{Mixture, Split};
/// use piadm::{Cuda, ndarray::array};
/// let network = Mixture::new([1.0, 1.0], array![[-1.0, 0.0], [1.0, 0.0]], [0.1, 0.1])?; // or yours
/// let part = |device| -> piadm::Result<_> {
///     let backend = Cuda::<f32>::new(device)?;
///     Ok(DeviceScore::new(&backend, DeviceMixture::new(&backend, &network)?))
/// };
/// let mut score = Split::new((0..Cuda::<f32>::devices()?).map(part).collect::<piadm::Result<Vec<_>>>()?)?;
/// let problem = Problem::on(Cuda::new(0)?, Ou, Grid::log_snr(50).between(8.0, 0.01), Scheme::ddim()).shape([2]);
/// let image = Picard::default().window(Window::Grains { grains: 1 }).sample(&problem, &mut score)?.samples.to_host()?;
/// # Ok::<(), piadm::Error>(())
/// ```
#[derive(Debug)]
pub struct DeviceScore<T, S> {
    backend: Cuda<T>,
    score: S,
    states: Scratch,
    outputs: Scratch,
}

impl<T: DeviceElem, S> DeviceScore<T, S> {
    /// A score on this backend.
    pub fn new(backend: &Cuda<T>, score: S) -> Self {
        let (states, outputs) = Default::default();
        DeviceScore { backend: backend.clone(), score, states, outputs }
    }

    /// The score again.
    pub fn into_inner(self) -> S {
        self.score
    }
}

impl<T, S: Model> Model for DeviceScore<T, S> {
    fn prediction(&self) -> Prediction {
        self.score.prediction()
    }

    fn inner(&self) -> Option<&dyn Model> {
        Some(&self.score)
    }
}

/// Waits for a stream when it goes: whatever becomes of a call, no copy of it outlasts the arrays that it reads.
struct Finished<'a>(&'a CudaStream);

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        let _ = self.0.context().bind_to_thread();
        let _ = self.0.synchronize();
    }
}

/// Copies bytes from one device to another, on a stream of either.
///
/// # Safety
/// The addresses name so many bytes on the devices of their streams, and nothing on another stream is still to write or
/// read them.
unsafe fn copy(to: (u64, &CudaStream), from: (u64, &CudaStream), bytes: usize, on: &CudaStream) -> Result<()> {
    let ((to, to_stream), (from, from_stream)) = (to, from);
    let [there, here] = [to_stream, from_stream].map(|stream| stream.context().cu_ctx());
    // the score may have worked with another device in this thread
    on.context().bind_to_thread().answer()?;
    // SAFETY: the caller's promise; the contexts are alive as long as their streams.
    unsafe { result::memcpy_peer_async(there, to, here, from, bytes, on.cu_stream()) }.answer()
}

impl<T: DeviceElem, S: ScoreFn<Cuda<T>>> DeviceScore<T, S> {
    /// Calls the score with the states that are there.
    fn call(&mut self, rows: &Rows<'_>, [seen, answered]: [usize; 2], dim: usize) -> std::result::Result<(), BoxError> {
        let DeviceScore { backend, score, states, outputs } = self;
        let (_, states) = states.on("the states on another device", backend, [seen, dim])?;
        let (_, outputs) = outputs.on("the outputs on another device", backend, [answered, dim])?;
        score.eval(backend.view(states, 0..seen), rows, backend.view_mut(outputs, 0..answered))
    }
}

impl<T: DeviceElem, S: ScoreFn<Cuda<T>>> ScoreFn<Cpu<T>> for DeviceScore<T, S> {
    fn eval(
        &mut self,
        x: ArrayView2<'_, T>,
        rows: &Rows<'_>,
        mut out: ArrayViewMut2<'_, T>,
    ) -> std::result::Result<(), BoxError> {
        check_call::<Cpu<T>>(x, rows, &out, &self.score)?;
        let (counts @ [seen, answered], dim) = ([x.nrows(), out.nrows()], x.ncols());
        let (_, states) = self.states.on("the states on a device", &self.backend, [seen, dim])?;
        self.backend.upload(x, states, 0)?;
        self.call(rows, counts, dim)?;
        let (_, outputs) = self.outputs.on("the outputs on a device", &self.backend, [answered, dim])?;
        out.assign(&self.backend.download(outputs, 0..answered)?);
        Ok(())
    }
}

impl<T: DeviceElem, S: ScoreFn<Cuda<T>>> ScoreFn<Cuda<T>> for DeviceScore<T, S> {
    fn eval(
        &mut self,
        x: DeviceRows<'_, T>,
        rows: &Rows<'_>,
        mut out: DeviceRowsMut<'_, T>,
    ) -> std::result::Result<(), BoxError> {
        check_call::<Cuda<T>>(x, rows, &out, &self.score)?;
        let (counts @ [seen, answered], dim, element) = ([x.rows, out.rows], x.dim, size_of::<T>());
        if *x.stream() == *self.backend.stream() {
            return self.score.eval(x, rows, out);
        }
        if rows.is_empty() || dim == 0 {
            return Ok(());
        }
        // all that wrote the states or used the outputs so far was enqueued on the sampler's stream
        x.stream().context().bind_to_thread().answer()?;
        x.stream().synchronize().answer()?;
        let own = self.backend.stream().clone();
        let _finished = Finished(&own);
        let (_, states) = self.states.on("the states on another device", &self.backend, [seen, dim])?;
        let to = self.backend.view_mut(states, 0..seen).address();
        // SAFETY: both are so many rows. What filled the room and what reads it is enqueued on this stream too.
        unsafe { copy((to, &own), (x.address(), x.stream()), seen * dim * element, &own) }?;
        self.call(rows, counts, dim)?;
        let (_, outputs) = self.outputs.on("the outputs on another device", &self.backend, [answered, dim])?;
        let (from, stream) = (self.backend.view(outputs, 0..answered).address(), out.stream().clone());
        // SAFETY: both are so many rows. The score wrote the outputs on this stream.
        unsafe { copy((out.address(), &stream), (from, &own), answered * dim * element, &own) }?;
        // the sampler reads them on its own stream, which does not wait for this one
        own.synchronize().answer()?;
        Ok(())
    }
}
