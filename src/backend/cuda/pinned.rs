//! Memory of the host that the device writes to, or reads from, while the host does something else.

use super::Launcher;
use crate::error::{Error, Result};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DevicePtrMut, DeviceRepr, ValidAsZeroBits, result};
use std::sync::Arc;

/// A page-locked buffer. cudarc's own orders its uses by an event, which a captured copy must not wait on; here the stream does,
/// and whoever reads has it synchronised first.
#[derive(Debug)]
pub struct Pinned<T> {
    pointer: *mut T,
    len: usize,
    stream: Arc<CudaStream>,
}

impl<T: DeviceRepr + ValidAsZeroBits> Pinned<T> {
    /// `len` elements, all bits 0.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn zeros(launcher: &Launcher, len: usize) -> Result<Pinned<T>> {
        let refused = "allocate page-locked memory";
        let stream = Arc::clone(launcher.stream());
        stream.context().bind_to_thread().map_err(Error::driver(refused))?;
        // SAFETY: the memory is freed when this is dropped, and written in full before it is read: all zeros are a T.
        let pointer = unsafe {
            let pointer = result::malloc_host(len * size_of::<T>(), 0).map_err(Error::driver(refused))?.cast::<T>();
            pointer.write_bytes(0, len);
            pointer
        };
        Ok(Pinned { pointer, len, stream })
    }

    /// Lets the stream copy the first `len` elements of `from` here, after what it has to do before. May be captured.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn copy_from(&mut self, from: &CudaSlice<T>, len: usize) -> Result<()> {
        assert!(len <= self.len && len <= from.len());
        let refused = "copy from the device";
        self.stream.context().bind_to_thread().map_err(Error::driver(refused))?;
        let (source, _nothing_to_record) = from.device_ptr(&self.stream);
        // SAFETY: both have the elements. Nothing of the host uses the memory before the stream is synchronised: `get` does that,
        // and so does `drop`.
        unsafe {
            let target = std::slice::from_raw_parts_mut(self.pointer, len);
            result::memcpy_dtoh_async(target, source, self.stream.cu_stream()).map_err(Error::driver(refused))
        }
    }

    /// Lets the stream copy the first `len` elements to `to`, after what it has to do before. May be captured.
    ///
    /// # Errors
    /// [`Error::Driver`].
    pub fn copy_to(&self, to: &mut CudaSlice<T>, len: usize) -> Result<()> {
        assert!(len <= self.len && len <= to.len());
        let refused = "copy to the device";
        self.stream.context().bind_to_thread().map_err(Error::driver(refused))?;
        let (target, _nothing_to_record) = to.device_ptr_mut(&self.stream);
        // SAFETY: both have the elements. The host writes them again only when the stream is synchronised: `get_mut` does that, and so
        // does `drop`.
        unsafe {
            let source = std::slice::from_raw_parts(self.pointer, len);
            result::memcpy_htod_async(target, source, self.stream.cu_stream()).map_err(Error::driver(refused))
        }
    }

    /// The elements to write to, once all work so far is done.
    ///
    /// # Errors
    /// [`Error::Driver`], also for what went wrong in a kernel before.
    pub fn get_mut(&mut self) -> Result<&mut [T]> {
        self.stream.synchronize().map_err(Error::driver("finish the work"))?;
        // SAFETY: the stream uses them no more, and nothing is launched while `self` is borrowed.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.pointer, self.len) })
    }

    /// The elements, once all work so far is done.
    ///
    /// # Errors
    /// [`Error::Driver`], also for what went wrong in a kernel before.
    pub fn get(&self) -> Result<&[T]> {
        self.stream.synchronize().map_err(Error::driver("finish a generation"))?;
        // SAFETY: the stream writes here no more, and nothing is put into it while `self` is borrowed.
        Ok(unsafe { std::slice::from_raw_parts(self.pointer, self.len) })
    }
}

impl<T> Drop for Pinned<T> {
    fn drop(&mut self) {
        let context = self.stream.context();
        context.record_err(self.stream.synchronize());
        // SAFETY: it was allocated by malloc_host, and nothing uses it any more.
        context.record_err(unsafe { result::free_host(self.pointer.cast()) });
    }
}
