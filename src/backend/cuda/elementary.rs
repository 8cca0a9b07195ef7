//! Elementary functions of an array, on the device: what shows that its arithmetic is that of `math.rs`.

use super::launcher::{Launcher, check_len};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

/// A function of [`crate::math`]; the numbers are those of kernels/math/elementary.cu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Elementary {
    Sin = 0,
    Exp = 1,
    Exp2 = 2,
    Log2 = 3,
    Root = 4,
    PowNeg = 5,
    Sigmoid = 6,
    Gaussian = 7,
    ClippedLinear = 8,
}

impl Launcher {
    /// Writes `function` of each of the first `length` elements of `x` to `y`; `n` is the root's and the power's. Returns before
    /// the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    pub fn elementary(
        &self,
        y: &mut CudaSlice<f32>,
        x: &CudaSlice<f32>,
        length: u32,
        function: Elementary,
        n: u32,
    ) -> Result<()> {
        check_len("y", y, length as usize)?;
        check_len("x", x, length as usize)?;
        if length == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let config = LaunchConfig {
            grid_dim: (length.div_ceil(tuning::ELEMENTARY_THREADS), 1, 1),
            block_dim: (tuning::ELEMENTARY_THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        let function = function as u32;
        let mut launch = self.stream.launch_builder(&self.kernels.elementary_f32);
        launch.arg(y).arg(x).arg(&length).arg(&function).arg(&n);
        // SAFETY: order and types are those of elementary_f32 in kernels/math/elementary.cu; lengths were checked; it writes y
        // alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("elementary_f32"))?;
        Ok(())
    }
}
