//! Small things on their way to the device and back: row numbers, programs, decisions.
//!
//! They pass through pinned memory that is kept, so that a round neither allocates nor waits but for the one answer
//! that it reads. What was staged stays until the next answer has arrived: then all that was enqueued before has run,
//! and the room is free again.

use super::device::Device;
use super::error::{Answer, out_of_memory};
use crate::error::{Error, Result};
use cudarc::driver::{CudaContext, CudaSlice, CudaStream, DevicePtr, DeviceRepr, result};
use std::ffi::c_void;
use std::ptr;
use std::sync::{Arc, MutexGuard};

/// Values that are copied to a device as they lie in memory.
///
/// # Safety
/// The type has a fixed layout (`repr(C)` or a number) and every pattern of bits of its fields is a value.
pub unsafe trait Word: Copy + Send + Sync + 'static {}
// SAFETY: numbers.
unsafe impl Word for u32 {}
// SAFETY: as above.
unsafe impl Word for f32 {}
// SAFETY: as above.
unsafe impl Word for f64 {}
// SAFETY: as above.
unsafe impl Word for [f64; 2] {}

/// Where parts of a staged block begin.
const ALIGNMENT: usize = 16;
/// Bytes of the first room.
const FIRST: usize = 1 << 16;
/// Bytes of host rows that go through pinned memory at once.
pub(crate) const PIECE: usize = 1 << 22;

/// Host memory that the device reads and writes directly.
#[derive(Debug)]
pub(crate) struct Pinned {
    start: *mut u8,
    len: usize,
    context: Arc<CudaContext>,
}

// SAFETY: plain memory without ties to a thread; it is only reached through `&mut Pinned` or under the staging's lock.
unsafe impl Send for Pinned {}

impl Pinned {
    fn new(context: &Arc<CudaContext>, len: usize) -> Result<Self> {
        // SAFETY: the memory is written before it is read: by `stage` and `upload` from the host, by `copy_from` from
        // the device, and by `items`.
        let start = unsafe { result::malloc_host(len, 0) }.map_err(|e| out_of_memory(e, "pinned staging", len))?;
        Ok(Pinned { start: start.cast(), len, context: context.clone() })
    }

    /// The memory in `place`, made anew if it has less than `len` bytes. The device must not be using it.
    pub fn of_size<'a>(place: &'a mut Option<Pinned>, context: &Arc<CudaContext>, len: usize) -> Result<&'a mut Self> {
        let kept = match place.take().filter(|old| old.len >= len) {
            Some(old) => old,
            None => Pinned::new(context, len.next_power_of_two().max(FIRST))?,
        };
        Ok(place.insert(kept))
    }

    /// Copies `count` items from the device and waits for them, and for all work on the stream before.
    ///
    /// # Safety
    /// `from` names so many items on the device of the stream, and they fit.
    pub unsafe fn copy_from<W: Word>(&mut self, from: u64, count: usize, stream: &CudaStream) -> Result<&mut [W]> {
        // SAFETY: the caller's promise; bytes that came from items of type `W` are such items.
        unsafe {
            let bytes = std::slice::from_raw_parts_mut(self.start, count * size_of::<W>());
            result::memcpy_dtoh_async(bytes, from, stream.cu_stream()).answer()?;
            stream.synchronize().answer()?;
            Ok(std::slice::from_raw_parts_mut(self.start.cast(), count))
        }
    }

    /// The first `count` items, all set to `value`; fewer if they do not fit.
    pub fn items<W: Word>(&mut self, count: usize, value: W) -> &mut [W] {
        let count = count.min(self.len / size_of::<W>());
        let start = self.start.cast::<W>();
        // SAFETY: pinned memory is aligned to pages; all items are written before they are lent.
        unsafe {
            (0..count).for_each(|i| start.add(i).write(value));
            std::slice::from_raw_parts_mut(start, count)
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = self.context.bind_to_thread();
        // SAFETY: `start` came from `malloc_host` and is freed once. A failure leaves nothing to be done.
        let _ = unsafe { result::free_host(self.start.cast::<c_void>()) };
    }
}

/// The room.
pub(crate) struct Staging {
    /// On its way to the device: here, and there.
    up: Option<(Pinned, CudaSlice<u8>)>,
    used: usize,
    /// On its way back.
    down: Option<Pinned>,
}

impl Staging {
    pub fn new() -> Self {
        Staging { up: None, used: 0, down: None }
    }
}

/// A part of a block.
pub(crate) struct Part<'a> {
    start: *const u8,
    bytes: usize,
    items: std::marker::PhantomData<&'a [u8]>,
}

impl<'a> Part<'a> {
    pub fn of<W: Word>(items: &'a [W]) -> Self {
        Part { start: items.as_ptr().cast(), bytes: size_of_val(items), items: std::marker::PhantomData }
    }
}

/// The right to enqueue: one operation at a time, from its first staged block to the answer that it reads.
pub(crate) struct Queue<'a> {
    pub device: &'a Device,
    pub staging: MutexGuard<'a, Staging>,
}

impl Queue<'_> {
    /// Copies the parts to the device, as one block, and says where each of them lies there until the operation has
    /// ended.
    pub fn stage<const N: usize>(&mut self, parts: [Part<'_>; N]) -> Result<[u64; N]> {
        let mut addresses = [0; N];
        let bytes: usize = parts.iter().map(|p| p.bytes.next_multiple_of(ALIGNMENT)).sum();
        if bytes == 0 {
            return Ok(addresses);
        }
        self.make_room(bytes)?;
        let begin = self.staging.used;
        let stream = self.device.stream();
        let Some((host, device)) = &mut self.staging.up else { return Ok(addresses) };
        let there = device.device_ptr(stream).0;
        let mut at = begin;
        for (address, part) in addresses.iter_mut().zip(&parts) {
            *address = there + at as u64;
            // SAFETY: `make_room` has made `host.len - begin >= bytes`; the parts' sizes add up to at most that; source
            // and room do not overlap, and no copy that is under way reads this room: `used` only returns to 0 after
            // the stream was waited for.
            unsafe { ptr::copy_nonoverlapping(part.start, host.start.add(at), part.bytes) };
            at += part.bytes.next_multiple_of(ALIGNMENT);
        }
        // SAFETY: both ranges lie inside their allocations, which live as long as the staging, and the host's is not
        // written again before the stream was waited for.
        unsafe {
            let block = std::slice::from_raw_parts(host.start.add(begin), bytes);
            result::memcpy_htod_async(there + begin as u64, block, stream.cu_stream()).answer()?;
        }
        self.staging.used = at;
        Ok(addresses)
    }

    /// Copies items to a place on the device.
    pub fn upload<W: Word>(&mut self, items: &[W], to: u64) -> Result<()> {
        let piece = (PIECE / size_of::<W>()).max(1);
        for (i, items) in items.chunks(piece).enumerate() {
            let bytes = size_of_val(items);
            self.make_room(bytes)?;
            let (used, stream) = (self.staging.used, self.device.stream());
            let Some((host, _)) = &mut self.staging.up else { return Ok(()) };
            let to = to + (i * piece * size_of::<W>()) as u64;
            // SAFETY: as in `stage`; the caller names room for the items on the device.
            unsafe {
                ptr::copy_nonoverlapping(items.as_ptr().cast(), host.start.add(used), bytes);
                let block = std::slice::from_raw_parts(host.start.add(used), bytes);
                result::memcpy_htod_async(to, block, stream.cu_stream()).answer()?;
            }
            self.staging.used = (used + bytes).next_multiple_of(ALIGNMENT);
        }
        Ok(())
    }

    /// Copies items from the device to the end of `out` and waits for them.
    pub fn fetch<W: Word>(&mut self, from: u64, count: usize, out: &mut Vec<W>) -> Result<()> {
        let piece = (PIECE / size_of::<W>()).max(1);
        out.try_reserve(count)
            .map_err(|_| Error::OutOfMemory { what: "rows on the host", bytes: count * size_of::<W>() })?;
        let mut done = 0;
        while done < count {
            let items = piece.min(count - done);
            let bytes = items * size_of::<W>();
            let from = from + (done * size_of::<W>()) as u64;
            // what was copied into the old memory was waited for
            let host = Pinned::of_size(&mut self.staging.down, self.device.context(), bytes)?;
            // SAFETY: the caller names `count` items that live on the device; the room is large enough.
            out.extend_from_slice(unsafe { host.copy_from::<W>(from, items, self.device.stream()) }?);
            // all that was enqueued before has run
            self.staging.used = 0;
            done += items;
        }
        Ok(())
    }

    /// Room for a block of so many bytes at `used`.
    fn make_room(&mut self, bytes: usize) -> Result<()> {
        let free = |staging: &Staging| staging.up.as_ref().map_or(0, |(host, _)| host.len - staging.used);
        if free(&self.staging) >= bytes {
            return Ok(());
        }
        self.device.stream().synchronize().answer()?;
        self.staging.used = 0;
        if free(&self.staging) >= bytes {
            return Ok(());
        }
        self.staging.up = None;
        let len = (4 * bytes).next_power_of_two().max(FIRST);
        let host = Pinned::new(self.device.context(), len)?;
        let device = self.device.bytes("staging", len)?;
        self.staging.up = Some((host, device));
        Ok(())
    }
}

/// A buffer on the device that grows.
#[derive(Debug)]
pub(crate) struct Buffer<W>(Option<CudaSlice<W>>);

impl<W> Default for Buffer<W> {
    fn default() -> Self {
        Buffer(None)
    }
}

impl<W> Drop for Buffer<W> {
    /// As of a [`DeviceArray`](super::DeviceArray): the thread may be one that has not worked with the device.
    fn drop(&mut self) {
        let _ = self.0.as_ref().map(|slice| slice.context().bind_to_thread());
    }
}

impl<W: DeviceRepr> Buffer<W> {
    /// Where `len` items have room; what was there is lost if it grows.
    pub fn room(&mut self, device: &Device, what: &'static str, len: usize) -> Result<u64> {
        if self.0.as_ref().is_none_or(|slice| slice.len() < len) {
            self.0 = None;
            self.0 = Some(device.allocate(what, len.next_power_of_two())?);
        }
        Ok(self.0.as_ref().map_or(0, |slice| slice.device_ptr(slice.stream()).0))
    }
}
