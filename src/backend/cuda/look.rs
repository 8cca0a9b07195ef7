//! What a step of the ascent sees, on the device.

use super::arena::{Place, narrow};
use super::ascent::Climbing;
use super::launcher::{Launcher, check_len};
use crate::backend::ascent::{AscentRule, NORM_LANES};
use crate::error::{Error, Result};
use crate::tuning;
use cudarc::driver::{CudaSlice, LaunchConfig, PushKernelArg};

const _: () = assert!(tuning::NORM_LANES as usize == NORM_LANES, "tuning.cuh has it as backend::ascent");

/// The class probabilities of images, `(n_classes, stride)`.
#[derive(Clone, Copy, Debug)]
pub struct Answers<'a> {
    pub probabilities: &'a CudaSlice<f32>,
    pub n_classes: usize,
    pub stride: usize,
}

impl Launcher {
    /// Writes the states of the `n` images of `climbing` from `first` on, as far as they have not stopped: of their `answers`, which are
    /// the first `n` of each row, and of `gradient` of `arena`, that of the network's input. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses the launch.
    #[allow(clippy::too_many_arguments, reason = "what a launch takes")]
    pub fn look(
        &self,
        climbing: &mut Climbing,
        rule: &AscentRule,
        answers: Answers,
        arena: &CudaSlice<f32>,
        gradient: Place,
        first: usize,
        n: usize,
    ) -> Result<()> {
        let Answers { probabilities, n_classes, stride } = answers;
        if stride < n {
            return Err(Error::Shape { what: "a row of probabilities", got: stride, want: n });
        }
        check_len("probabilities", probabilities, n_classes * stride)?;
        if n == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        climbing.check(first, n)?;
        let from = gradient.of(arena, "the gradient of the network's input", n, climbing.shape.len())?;
        let [images, channels, plane] = climbing.sizes(n)?;
        let config =
            LaunchConfig { grid_dim: (images, 1, 1), block_dim: (tuning::NORM_LANES, 1, 1), shared_mem_bytes: 0 };
        let (n_classes, stride) = (narrow("classes", n_classes)?, narrow("a row of probabilities", stride)?);
        let gradient_image = narrow("an image", gradient.image)?;
        let Climbing { states, scales, classes, .. } = climbing;
        let (mut states, classes) = (states.slice_mut(first..), classes.slice(first..));
        let mut launch = self.stream.launch_builder(&self.kernels.look_f32);
        launch.arg(&mut states).arg(&from).arg(&*scales).arg(probabilities).arg(&classes);
        launch.arg(&rule.early).arg(&rule.late).arg(&rule.max_rate);
        launch.arg(&n_classes).arg(&stride).arg(&channels).arg(&plane).arg(&gradient_image);
        // SAFETY: order and types are those of look_f32 in kernels/ascent/look.cu; the lengths were checked, the classes by
        // Climbing::new; it writes states alone.
        unsafe { launch.launch(config) }.map_err(Error::launch("look_f32"))?;
        Ok(())
    }
}
