//! A device that kernels are tried on: launches by its clock, and buffers with guards behind what is to be written.

use super::tally::Tally;
use crate::backend::cuda::Launcher;
use crate::error::{Error, Result};
use cudarc::driver::sys::CUevent_flags;
use cudarc::driver::{CudaSlice, DeviceRepr, ValidAsZeroBits};
use std::fmt::Debug;
use std::sync::Arc;

/// Elements that stand behind what a kernel is to write, and must stay as they are.
pub const GUARDS: usize = 67;
/// Such a number: a NaN of bits that no arithmetic makes.
pub const GUARD_F32: f32 = f32::from_bits(0x7fab_cdef);

/// The device.
#[derive(Clone, Copy, Debug)]
pub struct Gpu<'a> {
    pub launcher: &'a Arc<Launcher>,
}

impl Gpu<'_> {
    /// A buffer that holds `values`.
    ///
    /// # Errors
    /// [`Error::Driver`] if there is no room.
    pub fn upload<T: DeviceRepr + ValidAsZeroBits>(&self, values: &[T]) -> Result<CudaSlice<T>> {
        self.launcher.upload(values)
    }

    /// A buffer for `len` elements, filled with `guard`, so that nothing of a case before is there; [`GUARDS`] more stand behind.
    ///
    /// # Errors
    /// [`Error::Driver`] if there is no room.
    pub fn guarded<T: DeviceRepr + ValidAsZeroBits + Copy>(&self, len: usize, guard: T) -> Result<CudaSlice<T>> {
        self.launcher.upload(&vec![guard; len + GUARDS])
    }

    /// The first `len` elements of `buffer`; those behind must still be `guard`.
    ///
    /// # Errors
    /// [`Error::Driver`], also for what went wrong in a kernel before.
    pub fn read<T: DeviceRepr + Debug>(
        &self,
        tally: &mut Tally,
        what: &str,
        buffer: &CudaSlice<T>,
        len: usize,
        guard: T,
    ) -> Result<Vec<T>> {
        debug_assert!(buffer.len() > len, "no guards");
        let mut values = self.launcher.download(buffer)?;
        let behind = values.split_off(len);
        tally.untouched(&format!("what is behind {what}"), &guard, &behind);
        Ok(values)
    }

    /// Does `launches`, and adds what they take.
    ///
    /// # Errors
    /// Theirs; [`Error::Driver`] also for what went wrong in a kernel.
    pub fn timed(&self, tally: &mut Tally, launches: impl FnOnce(&Launcher) -> Result<()>) -> Result<()> {
        let refused = "time a kernel";
        let event = || self.launcher.stream().record_event(Some(CUevent_flags::CU_EVENT_DEFAULT));
        let start = event().map_err(Error::driver(refused))?;
        launches(self.launcher)?;
        let end = event().map_err(Error::driver(refused))?;
        tally.seconds += f64::from(start.elapsed_ms(&end).map_err(Error::driver(refused))?) / 1e3;
        Ok(())
    }
}
