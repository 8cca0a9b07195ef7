//! What a launch needs: the device's context, the one stream that orders everything, and the kernels.

use super::kernels::Kernels;
use crate::error::{Error, Result};
use cudarc::driver::sys::{CUdevice_attribute, CUfunction_attribute, CUgraphInstantiate_flags, CUstreamCaptureMode};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaGraph, CudaSlice, CudaStream, DeviceRepr, DeviceSlice, ValidAsZeroBits,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The way to a device. Each kernel's wrapper is a method of it, in the file of its step.
#[derive(Debug)]
pub struct Launcher {
    pub(super) stream: Arc<CudaStream>,
    /// For copies beside the work of the other.
    beside: Arc<CudaStream>,
    pub(super) kernels: Kernels,
    allocated: AtomicU64,
}

impl Launcher {
    /// Opens device number `ordinal`. The driver must be there: [`device::list`](super::device::list) says whether it is.
    ///
    /// # Errors
    /// [`Error::NoDevice`] if it cannot be used; [`Error::Driver`] if the driver refuses otherwise.
    pub fn new(ordinal: u32) -> Result<Launcher> {
        let context = CudaContext::new(ordinal as usize).map_err(Error::driver("open a context"))?;
        // SAFETY: all work goes through one stream, which orders it, but for copies of what that work leaves alone. With tracking, a
        // launch would wait on events recorded before a capture, which the driver refuses inside one; so this comes before the first
        // allocation.
        unsafe { context.disable_event_tracking() };
        let kernels = Kernels::load(&context)?;
        let new_stream = || context.new_stream().map_err(Error::driver("make a stream"));
        let (stream, beside) = (new_stream()?, new_stream()?);
        Ok(Launcher { stream, beside, kernels, allocated: AtomicU64::new(0) })
    }

    /// The stream that orders everything.
    pub fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// A buffer of `len` elements, all bits 0; of one if `len` is 0, since the driver gives no empty ones.
    ///
    /// # Errors
    /// [`Error::Driver`] if there is no room.
    pub fn zeros<T: DeviceRepr + ValidAsZeroBits>(&self, len: usize) -> Result<CudaSlice<T>> {
        let buffer = self.stream.alloc_zeros(len.max(1)).map_err(Error::driver("allocate memory"))?;
        self.allocated.fetch_add(buffer.num_bytes() as u64, Relaxed);
        Ok(buffer)
    }

    /// A buffer that holds `values`; of one, all bits 0, if there are none.
    ///
    /// # Errors
    /// [`Error::Driver`] if there is no room.
    pub fn upload<T: DeviceRepr + ValidAsZeroBits>(&self, values: &[T]) -> Result<CudaSlice<T>> {
        let mut buffer = self.zeros(values.len())?;
        self.upload_part(&mut buffer, 0, values)?;
        Ok(buffer)
    }

    /// Copies `values` into `buffer`, from element `start` on.
    ///
    /// # Errors
    /// [`Error::Shape`] if they reach beyond its end, [`Error::Driver`].
    pub fn upload_part<T: DeviceRepr>(&self, buffer: &mut CudaSlice<T>, start: usize, values: &[T]) -> Result<()> {
        check_len("a buffer to copy to", buffer, start + values.len())?;
        if values.is_empty() {
            return Ok(());
        }
        let mut part = buffer.slice_mut(start..start + values.len());
        self.stream.memcpy_htod(values, &mut part).map_err(Error::driver("copy to the device"))
    }

    /// What `buffer` holds once all work so far is done.
    ///
    /// # Errors
    /// [`Error::Driver`], also for what went wrong in a kernel before.
    pub fn download<T: DeviceRepr>(&self, buffer: &CudaSlice<T>) -> Result<Vec<T>> {
        self.download_part(buffer, 0, buffer.len())
    }

    /// `len` elements of `buffer`, from element `start` on, once all work so far is done.
    ///
    /// # Errors
    /// [`Error::Shape`] if they reach beyond its end; [`Error::Driver`], also for what went wrong in a kernel before.
    pub fn download_part<T: DeviceRepr>(&self, buffer: &CudaSlice<T>, start: usize, len: usize) -> Result<Vec<T>> {
        self.reader().part(buffer, start, len)
    }

    /// Reads what is there once all work so far is done.
    pub fn reader(&self) -> Reader<'_> {
        Reader { stream: &self.stream }
    }

    /// Reads at once, while work goes on: what it reads must have been there when the host last waited for all work, and no work since
    /// may write to it.
    pub fn reader_beside(&self) -> Reader<'_> {
        Reader { stream: &self.beside }
    }

    /// Records what `launch` launches on the stream, of which there must be something; none of it is done. `action` is what the driver
    /// refuses, if it does. The graph holds pointers of the buffers: whoever keeps it drops it before them.
    ///
    /// # Errors
    /// Those of `launch`; [`Error::Driver`].
    pub fn record(&self, action: &'static str, launch: impl FnOnce() -> Result<()>) -> Result<CudaGraph> {
        self.stream
            .begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
            .map_err(Error::driver(action))?;
        let launched = launch();
        // Ended in any case: the stream would go on recording.
        let graph = self.stream.end_capture(CUgraphInstantiate_flags(0)).map_err(Error::driver(action));
        launched?;
        let graph = graph?.expect("what is recorded has kernels");
        graph.upload().map_err(Error::driver(action))?;
        Ok(graph)
    }

    /// Waits for all work so far.
    ///
    /// # Errors
    /// [`Error::Driver`], for what went wrong in a kernel before.
    pub fn synchronise(&self) -> Result<()> {
        self.stream.synchronize().map_err(Error::driver("finish the work"))
    }

    /// Bytes of the device's memory that nobody has taken.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn free_memory(&self) -> Result<u64> {
        // Buffers that were dropped are free once the stream has come to that.
        self.synchronise()?;
        let (free, _) = self.stream.context().mem_get_info().map_err(Error::driver("ask for free memory"))?;
        Ok(free as u64)
    }

    /// Bytes of shared memory that a block may have at most, where it was allowed (`Launcher::set_shared`).
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn most_shared(&self) -> Result<u64> {
        let most = CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN;
        let most = self.stream.context().attribute(most).map_err(Error::driver("ask for the size of shared memory"))?;
        Ok(most as u64)
    }

    /// Lets launches of `kernel` have up to `bytes` of shared memory a block.
    pub(super) fn set_shared(&self, kernel: &CudaFunction, bytes: u64) -> Result<()> {
        self.stream.context().bind_to_thread().map_err(Error::driver("use the device"))?;
        let shared = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        kernel.set_attribute(shared, bytes as i32).map_err(Error::driver("ask for shared memory"))
    }

    /// Bytes of all buffers that were made so far.
    pub fn allocated(&self) -> u64 {
        self.allocated.load(Relaxed)
    }
}

/// Brings to the host what is on the device; [`Launcher::reader`] and [`Launcher::reader_beside`] say when.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    stream: &'a Arc<CudaStream>,
}

impl Reader<'_> {
    /// `len` elements of `buffer`, from element `start` on.
    ///
    /// # Errors
    /// [`Error::Shape`] if they reach beyond its end; [`Error::Driver`], also for what went wrong in a kernel before.
    pub fn part<T: DeviceRepr>(self, buffer: &CudaSlice<T>, start: usize, len: usize) -> Result<Vec<T>> {
        check_len("a buffer to copy from", buffer, start + len)?;
        if len == 0 {
            return Ok(Vec::new());
        }
        let part = buffer.slice(start..start + len);
        let values = self.stream.clone_dtoh(&part).map_err(Error::driver("copy from the device"))?;
        self.stream.synchronize().map_err(Error::driver("finish the work"))?;
        Ok(values)
    }

    /// The slots `at`, which ascend, of a `buffer` of slots of `len` elements: all from the first to the last come over, in one copy.
    ///
    /// # Errors
    /// Those of [`Reader::part`].
    pub fn slots<T: DeviceRepr + Clone>(self, buffer: &CudaSlice<T>, len: usize, at: &[usize]) -> Result<Vec<Vec<T>>> {
        let (Some(&first), Some(&last)) = (at.first(), at.last()) else { return Ok(Vec::new()) };
        let values = self.part(buffer, first * len, (last + 1 - first) * len)?;
        if at.len() == 1 {
            return Ok(vec![values]);
        }
        Ok(at.iter().map(|&slot| values[(slot - first) * len..][..len].to_vec()).collect())
    }
}

/// Checks that `what` has at least `want` elements.
///
/// # Errors
/// [`Error::Shape`].
pub(super) fn check_len<T>(what: &'static str, buffer: &impl DeviceSlice<T>, want: usize) -> Result<()> {
    match buffer.len() {
        got if got < want => Err(Error::Shape { what, got, want }),
        _ => Ok(()),
    }
}
