//! Class probabilities of the images of a chunk, on the device.

use super::launcher::{Launcher, check_len};
use super::lenet::{FEATURES, HIDDEN, Lenet, PackedConv2};
use crate::error::{Error, Result};
use crate::network::lenet;
use crate::tuning;
use cudarc::driver::sys::CUfunction_attribute;
use cudarc::driver::{CudaFunction, CudaSlice, LaunchConfig, PushKernelArg};

/// Most bytes of shared memory that a block may ask for on every GPU since compute capability 8.0 (8.6 and 8.9 have the least).
const MAX_SHARED_BYTES: usize = 99 * 1024;

/// Classes for which there is room in shared memory, in blocks of few images.
pub const MAX_CLASSES: usize = MAX_SHARED_BYTES / (4 * tuning::LENET_PROBABILITIES_FEW_IMAGES as usize) - HIDDEN;

/// The largest batches for which kernels run in the shapes for few or some images. They decide how long it takes, never a bit.
#[derive(Clone, Copy, Debug)]
pub struct Thresholds {
    pub features_few: usize,
    pub probabilities_few: usize,
    pub probabilities_some: usize,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds {
            features_few: tuning::LENET_FEATURES_FEW_BATCH as usize,
            probabilities_few: tuning::LENET_PROBABILITIES_FEW_BATCH as usize,
            probabilities_some: tuning::LENET_PROBABILITIES_SOME_BATCH as usize,
        }
    }
}

/// A launch of lenet_features.
struct FeaturesShape<'a> {
    name: &'static str,
    kernel: &'a CudaFunction,
    images: u32,
    conv2_tile: u32,
}

/// A launch of lenet_probabilities.
struct ProbabilitiesShape<'a> {
    name: &'static str,
    kernel: &'a CudaFunction,
    images: u32,
    threads: u32,
    /// Images whose fc1 is in shared memory at a time.
    part: u32,
}

impl FeaturesShape<'_> {
    /// Dynamic shared memory of a block: pool1 and pixels of its images, conv1, two input channels of conv2.
    fn shared_bytes(&self) -> usize {
        let taps = |tile: usize| (5 * tile).next_multiple_of(4);
        let tile = self.conv2_tile as usize;
        let images = self.images as usize * (20 * 12 * 12 + lenet::INPUT.len());
        4 * (images + 2 * 5 * taps(10) + 20 + 2 * 50_usize.div_ceil(tile) * 5 * taps(tile))
    }
}

impl ProbabilitiesShape<'_> {
    /// Dynamic shared memory of a block: the ring of stages, later fc1's outputs and the logits.
    fn shared_bytes(&self, n_classes: usize) -> usize {
        let images = self.images as usize;
        let pitch = if images.is_multiple_of(8) { images + 4 } else { images };
        let stage = tuning::LENET_PROBABILITIES_STAGE_K as usize * (tuning::LENET_PROBABILITIES_ROW as usize + pitch);
        4 * (tuning::LENET_PROBABILITIES_STAGES as usize * stage).max((HIDDEN + n_classes) * self.part as usize)
    }
}

impl Launcher {
    /// Runs LeNet: writes the probabilities of `batch` images, `(n_classes, stride)`, of each row the first `batch`.
    ///
    /// `images` is `(batch, 28, 28)`. Returns before the device has finished.
    ///
    /// # Errors
    /// [`Error::Shape`] if a length does not match; [`Error::Launch`] if the driver refuses a launch.
    pub fn classify(
        &self,
        probabilities: &mut CudaSlice<f32>,
        lenet: &mut Lenet,
        images: &CudaSlice<u8>,
        batch: usize,
        stride: usize,
    ) -> Result<()> {
        self.lenet_features(lenet, images, batch)?;
        self.lenet_probabilities(probabilities, lenet, batch, stride)
    }

    /// The first kernel: writes `lenet.features`, `(batch, 800)`, of `images`. The rest is as [`Launcher::classify`] has it.
    pub(crate) fn lenet_features(&self, lenet: &mut Lenet, images: &CudaSlice<u8>, batch: usize) -> Result<()> {
        check_len("images", images, batch * lenet::INPUT.len())?;
        check_len("features", &lenet.features, batch * FEATURES)?;
        if batch == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let (shape, is_few) = self.features_shape(lenet, batch);
        let conv2 = if is_few { &lenet.conv2_few } else { &lenet.conv2 };
        let config = LaunchConfig {
            grid_dim: ((batch as u32).div_ceil(shape.images), 1, 1),
            block_dim: (tuning::LENET_FEATURES_THREADS, 1, 1),
            shared_mem_bytes: shape.shared_bytes() as u32,
        };
        let batch = batch as i32;
        let PackedConv2 { weights, bias } = conv2;
        let mut launch = self.stream.launch_builder(shape.kernel);
        launch.arg(&mut lenet.features).arg(images).arg(&lenet.mean).arg(&lenet.conv1).arg(weights).arg(bias);
        launch.arg(&lenet.scale).arg(&batch);
        // SAFETY: order and types are those of lenet_features_f32 and lenet_features_few_f32 in kernels/network/lenet_features.cu;
        // the lengths were checked, those of the weights are Lenet::new's; it writes features alone.
        unsafe { launch.launch(config) }.map_err(Error::launch(shape.name))?;
        Ok(())
    }

    /// The second kernel: writes `probabilities` of `lenet.features`. The rest is as [`Launcher::classify`] has it.
    pub(crate) fn lenet_probabilities(
        &self,
        probabilities: &mut CudaSlice<f32>,
        lenet: &Lenet,
        batch: usize,
        stride: usize,
    ) -> Result<()> {
        let n_classes = lenet.n_classes;
        check_len("features", &lenet.features, batch * FEATURES)?;
        check_len("probabilities", probabilities, n_classes * stride)?;
        if stride < batch {
            return Err(Error::Shape { what: "a row of probabilities", got: stride, want: batch });
        }
        if batch == 0 {
            return Ok(()); // a grid of no blocks is a launch error
        }
        let shape = self.probabilities_shape(lenet, batch);
        let config = LaunchConfig {
            grid_dim: ((batch as u32).div_ceil(shape.images), 1, 1),
            block_dim: (shape.threads, 1, 1),
            shared_mem_bytes: shape.shared_bytes(n_classes) as u32,
        };
        let (n_classes, batch, stride) = (n_classes as i32, batch as i32, stride as i32);
        let mut launch = self.stream.launch_builder(shape.kernel);
        launch.arg(probabilities).arg(&lenet.features).arg(&lenet.fc1_weights).arg(&lenet.fc1_bias);
        launch.arg(&lenet.fc2_weights).arg(&lenet.fc2_bias).arg(&n_classes).arg(&batch).arg(&stride);
        // SAFETY: order and types are those of lenet_probabilities_f32 and its kin in kernels/network/lenet_probabilities.cu; the
        // lengths were checked, those of the weights are Lenet::new's; it writes probabilities alone.
        unsafe { launch.launch(config) }.map_err(Error::launch(shape.name))?;
        Ok(())
    }

    /// The launch of the first kernel for `batch` images, and whether it is that for few.
    fn features_shape(&self, lenet: &Lenet, batch: usize) -> (FeaturesShape<'_>, bool) {
        let [few, many] = self.features_shapes();
        let is_few = batch <= lenet.thresholds.features_few;
        (if is_few { few } else { many }, is_few)
    }

    /// The launch of the second kernel for `batch` images.
    fn probabilities_shape(&self, lenet: &Lenet, batch: usize) -> ProbabilitiesShape<'_> {
        let Thresholds { probabilities_few, probabilities_some, .. } = lenet.thresholds;
        let shapes = self.probabilities_shapes().into_iter().zip([probabilities_some, probabilities_few, 0]);
        let mut fitting = shapes.filter(|(shape, beyond)| {
            batch.max(1) > *beyond && shape.shared_bytes(lenet.n_classes) <= MAX_SHARED_BYTES
        });
        fitting.next().expect("Lenet::check knows the most classes").0
    }

    /// Names of the kernels that take `batch` images.
    pub(crate) fn features_kernel(&self, lenet: &Lenet, batch: usize) -> &'static str {
        self.features_shape(lenet, batch).0.name
    }

    pub(crate) fn probabilities_kernel(&self, lenet: &Lenet, batch: usize) -> &'static str {
        self.probabilities_shape(lenet, batch).name
    }

    /// Lets the kernels have more shared memory than 48 KiB a block, which a driver gives only if it is told before. Not in a
    /// captured graph.
    ///
    /// # Errors
    /// [`Error::Launch`] or [`Error::Driver`] if the driver refuses.
    pub(super) fn allow_lenet_memory(&self) -> Result<()> {
        // cudarc makes the context this thread's own before other calls, but not before set_attribute.
        self.stream.context().bind_to_thread().map_err(Error::driver("use the context"))?;
        let features = self.features_shapes().map(|shape| (shape.name, shape.kernel, shape.shared_bytes()));
        let probabilities = self.probabilities_shapes().map(|shape| (shape.name, shape.kernel, MAX_SHARED_BYTES));
        for (name, kernel, bytes) in features.into_iter().chain(probabilities) {
            let most = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            kernel.set_attribute(most, bytes as i32).map_err(Error::launch(name))?;
            // In percent: all of a multiprocessor's memory that can be, so that as many blocks as can be share one.
            let share = CUfunction_attribute::CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT;
            kernel.set_attribute(share, 100).map_err(Error::launch(name))?;
        }
        Ok(())
    }

    /// For few images, and for more.
    fn features_shapes(&self) -> [FeaturesShape<'_>; 2] {
        [
            FeaturesShape {
                name: "lenet_features_few_f32",
                kernel: &self.kernels.lenet_features_few_f32,
                images: tuning::LENET_FEATURES_FEW_IMAGES,
                conv2_tile: tuning::LENET_FEATURES_FEW_CHANNELS,
            },
            FeaturesShape {
                name: "lenet_features_f32",
                kernel: &self.kernels.lenet_features_f32,
                images: tuning::LENET_FEATURES_IMAGES,
                conv2_tile: tuning::LENET_FEATURES_CHANNELS,
            },
        ]
    }

    /// From the most images a block to the fewest.
    fn probabilities_shapes(&self) -> [ProbabilitiesShape<'_>; 3] {
        [
            ProbabilitiesShape {
                name: "lenet_probabilities_f32",
                kernel: &self.kernels.lenet_probabilities_f32,
                images: tuning::LENET_PROBABILITIES_IMAGES,
                threads: tuning::LENET_PROBABILITIES_THREADS,
                part: tuning::LENET_PROBABILITIES_IMAGES / 2,
            },
            ProbabilitiesShape {
                name: "lenet_probabilities_some_f32",
                kernel: &self.kernels.lenet_probabilities_some_f32,
                images: tuning::LENET_PROBABILITIES_SOME_IMAGES,
                threads: tuning::LENET_PROBABILITIES_SOME_THREADS,
                part: tuning::LENET_PROBABILITIES_SOME_IMAGES,
            },
            ProbabilitiesShape {
                name: "lenet_probabilities_few_f32",
                kernel: &self.kernels.lenet_probabilities_few_f32,
                images: tuning::LENET_PROBABILITIES_FEW_IMAGES,
                threads: tuning::LENET_PROBABILITIES_FEW_THREADS,
                part: tuning::LENET_PROBABILITIES_FEW_IMAGES,
            },
        ]
    }
}
