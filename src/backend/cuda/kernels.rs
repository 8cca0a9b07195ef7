//! The kernels, loaded once: a handle each, by the name that it has in its .cu file.

use crate::error::{Error, Result};
use crate::kernels as built;
use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaContext, CudaFunction, DriverError};
use cudarc::nvrtc::Ptx;
use std::sync::Arc;

/// Lists the kernels; a line each, in the order of the steps.
macro_rules! kernels {
    ($($name:ident,)*) => {
        /// Every kernel of kernels/.
        #[derive(Debug)]
        pub struct Kernels {
            $(pub $name: CudaFunction,)*
        }

        impl Kernels {
            /// Loads the image of this program into `context`. All kernels are looked up now: a driver that loads them lazily
            /// could not do so while a graph is captured.
            ///
            /// # Errors
            /// [`Error::NoDevice`] if this program has no kernels for the device, and what to do about it.
            pub fn load(context: &Arc<CudaContext>) -> Result<Kernels> {
                // Without kernels the driver is given a placeholder, which only an emulated one takes.
                let image = built::FATBIN.unwrap_or(PLACEHOLDER);
                let module = context.load_module(Ptx::from_binary(image.to_vec())).map_err(refusal)?;
                Ok(Kernels {
                    $($name: module.load_function(stringify!($name)).map_err(Error::launch(stringify!($name)))?,)*
                })
            }
        }
    };
}

kernels! {
    randomise_direct_f32,
    randomise_cppn_f32,
    select_u32,
    vary_direct_f32,
    vary_cppn_f32,
    render_direct_u8,
    compile_cppn_f32,
    render_cppn_u8,
    lenet_features_f32,
    lenet_features_few_f32,
    lenet_probabilities_f32,
    lenet_probabilities_some_f32,
    lenet_probabilities_few_f32,
    conv2d_images_96_f32,
    conv2d_images_64_f32,
    conv2d_images_few_f32,
    conv2d_128_f32,
    conv2d_96_f32,
    conv2d_64_f32,
    conv2d_32_f32,
    conv2d_few_f32,
    max_pool_f32,
    average_pool_f32,
    lrn_f32,
    max_pool_lrn_f32,
    lrn_max_pool_f32,
    dense_f32,
    dense_some_f32,
    dense_few_f32,
    softmax_f32,
    average_crops_f32,
    combine_f32,
    preprocess_f32,
    copy_f32,
    softmax_backward_f32,
    relu_backward_f32,
    max_pool_backward_f32,
    average_pool_backward_f32,
    lrn_backward_f32,
    depth_to_space_f32,
    add_f32,
    clip_f32,
    look_f32,
    climb_f32,
    blur_f32,
    zero_pixels_f32,
    draw_cppn_f32,
    look_cppn_f32,
    draw_cppn_backward_f32,
    add_bands_f32,
    cross_entropy_f32,
    conv2d_weight_gradient_f32,
    conv2d_weight_gradient_some_f32,
    conv2d_weight_gradient_few_f32,
    dense_weight_gradient_f32,
    dropout_f32,
    sgd_update_f32,
    turn_weights_f32,
    niche_argmax_direct_f32,
    niche_argmax_cppn_f32,
    insert_u64,
    elementary_f32,
    peak_fma_f32,
    peak_read_u32,
    peak_copy_u32,
}

/// Stands for the kernels where there are none.
const PLACEHOLDER: &[u8] = b"pareidolia: no kernels\0";

/// Why the driver does not take the kernels of this program.
fn refusal(source: DriverError) -> Error {
    if built::FATBIN.is_none() {
        return Error::NoDevice { reason: built::BUILT.to_string() };
    }
    match source.0 {
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        | CUresult::CUDA_ERROR_INVALID_PTX
        | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        | CUresult::CUDA_ERROR_INVALID_IMAGE => Error::NoDevice {
            reason: format!(
                "the kernels of this program are not for this GPU or its driver ({}); it has {}",
                crate::error::driver_text(&source),
                built::BUILT
            ),
        },
        _ => Error::Driver { action: "load the kernels", source },
    }
}
