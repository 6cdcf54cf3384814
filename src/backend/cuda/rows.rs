//! Arrays on a device, and the views of their rows that a score sees.

use super::DeviceElem;
use super::device::Device;
use super::error::Answer;
use crate::error::Result;
use cudarc::driver::{CudaSlice, CudaStream, CudaView, CudaViewMut, DevicePtr, DevicePtrMut, DeviceSlice};
use ndarray::Array2;
use std::fmt::{Debug, Formatter};
use std::ops::Range;
use std::sync::Arc;

/// An array on a device, rows x dim, every row contiguous.
pub struct DeviceArray<T> {
    pub(crate) slice: CudaSlice<T>,
    /// Where it was made.
    pub(super) device: Arc<Device>,
    pub(crate) rows: usize,
    pub(crate) dim: usize,
}

impl<T> DeviceArray<T> {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All its rows.
    pub fn view(&self) -> DeviceRows<'_, T> {
        DeviceRows { array: self, start: 0, rows: self.rows, dim: self.dim }
    }

    /// The slice itself, for libraries that take memory over: the first `rows * dim` elements are the rows. Nothing is
    /// copied.
    pub fn into_slice(self) -> CudaSlice<T> {
        let array = std::mem::ManuallyDrop::new(self);
        // SAFETY: slice and device are moved out once each; what is left are two numbers, and nothing of it is dropped.
        let (slice, _device) =
            unsafe { (std::ptr::read(&raw const array.slice), std::ptr::read(&raw const array.device)) };
        slice
    }

    /// Where it lies, for work on the device's stream.
    pub(crate) fn address(&self, device: &Device) -> Result<u64> {
        device.owns(self.slice.stream())?;
        Ok(self.slice.device_ptr(self.slice.stream()).0)
    }
}

impl<T> Drop for DeviceArray<T> {
    /// Freeing needs the context, which a thread that has not worked with the device does not have.
    fn drop(&mut self) {
        let _ = self.slice.context().bind_to_thread();
    }
}

impl<T: DeviceElem> DeviceArray<T> {
    /// Copies all rows to the host; waits for the work that was enqueued before.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) if the device has failed.
    pub fn to_host(&self) -> Result<Array2<T>> {
        self.view().to_host()
    }
}

impl<T> Debug for DeviceArray<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceArray {{ rows: {}, dim: {} }}", self.rows, self.dim)
    }
}

/// Rows of an array on a device as a score reads them: contiguous, rows x dim.
///
/// What writes them has been enqueued on [`stream`](DeviceRows::stream); enqueue what reads them there too, and nothing
/// needs to wait. The backend records no events for cudarc: work on another stream must be ordered by the score itself,
/// before and after.
#[derive(Clone, Copy)]
pub struct DeviceRows<'a, T> {
    pub(super) array: &'a DeviceArray<T>,
    /// First element.
    pub(crate) start: usize,
    pub(crate) rows: usize,
    pub(crate) dim: usize,
}

impl<'a, T> DeviceRows<'a, T> {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The stream on which the rows are written.
    pub fn stream(&self) -> &'a Arc<CudaStream> {
        self.array.slice.stream()
    }

    /// The rows for calls of cudarc, `rows * dim` elements.
    pub fn view(&self) -> CudaView<'a, T> {
        self.array.slice.slice(self.start..self.start + self.rows * self.dim)
    }

    /// Some of the rows.
    pub(super) fn part(self, rows: Range<usize>) -> Self {
        DeviceRows { start: self.start + rows.start * self.dim, rows: rows.len(), ..self }
    }

    pub(crate) fn address(&self) -> u64 {
        self.array.slice.device_ptr(self.array.slice.stream()).0 + (self.start * size_of::<T>()) as u64
    }
}

impl<T: DeviceElem> DeviceRows<'_, T> {
    /// Copies the rows to the host; waits for the work that was enqueued before.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) if the device has failed;
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn to_host(&self) -> Result<Array2<T>> {
        use crate::error::Error;
        let what = "rows on the host";
        let len = self.rows * self.dim;
        let mut host = Vec::new();
        host.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { what, bytes: len * size_of::<T>() })?;
        host.resize(len, T::default());
        if len > 0 {
            self.stream().memcpy_dtoh(&self.view(), &mut host).answer()?;
            self.stream().synchronize().answer()?;
        }
        Array2::from_shape_vec((self.rows, self.dim), host)
            .map_err(|_| Error::TooLarge { what, why: "shape overflow".into() })
    }
}

impl<T> Debug for DeviceRows<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceRows {{ rows: {}, dim: {} }}", self.rows, self.dim)
    }
}

/// Rows of an array on a device as a score writes them: contiguous, rows x dim.
///
/// Enqueue the work that writes them on [`stream`](DeviceRowsMut::stream): the sampler reads them there afterwards, and
/// nothing needs to wait. Work on another stream must be ordered by the score itself, before and after.
pub struct DeviceRowsMut<'a, T> {
    pub(super) view: CudaViewMut<'a, T>,
    pub(super) device: &'a Arc<Device>,
    pub(crate) rows: usize,
    pub(crate) dim: usize,
}

impl<T> DeviceRowsMut<'_, T> {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The stream on which the rows are read afterwards.
    pub fn stream(&self) -> &Arc<CudaStream> {
        self.view.stream()
    }

    /// The rows for calls of cudarc, `rows * dim` elements.
    pub fn view_mut(&mut self) -> CudaViewMut<'_, T> {
        self.view.slice_mut(..)
    }

    /// Some of the rows.
    pub(super) fn part(&mut self, rows: Range<usize>) -> DeviceRowsMut<'_, T> {
        let elements = rows.start * self.dim..rows.end * self.dim;
        DeviceRowsMut { view: self.view.slice_mut(elements), rows: rows.len(), device: self.device, dim: self.dim }
    }

    pub(crate) fn address(&mut self) -> u64 {
        let stream = self.view.stream().clone();
        self.view.device_ptr_mut(&stream).0
    }
}

impl<'a, T> DeviceRowsMut<'a, T> {
    /// The rows before this one, and those from it on.
    pub(super) fn split_at(mut self, row: usize) -> [Self; 2] {
        let DeviceRowsMut { device, rows, dim, .. } = self;
        let (first, second) = self.view.split_at_mut(row * dim);
        [(first, row), (second, rows - row)].map(|(view, rows)| {
            // SAFETY: only the lifetime changes. `self` is used up, so that nothing but the two views, which do not
            // overlap, reaches its memory for the rest of 'a; what cudarc's views refer to was borrowed for 'a, and
            // dropping one does nothing.
            let view = unsafe { std::mem::transmute::<CudaViewMut<'_, T>, CudaViewMut<'a, T>>(view) };
            DeviceRowsMut { view, device, rows, dim }
        })
    }
}

impl<T> Debug for DeviceRowsMut<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeviceRowsMut {{ rows: {}, dim: {} }}", self.rows, self.dim)
    }
}
