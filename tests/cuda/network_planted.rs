//! A fault planted into a copy of each kernel of networks in general: the tests of the layers find each, on the checked build.

use crate::harness;
use pareidolia_emulator::compile::{Build, files_below};
use std::fs;
use std::path::Path;
use std::process::Command;

/// File, a part of its text, what takes its place, the test that is to fail, and a word of why.
type Fault = (&'static str, &'static str, &'static str, &'static str, &'static str);

const FAULTS: [Fault; 22] = [
    (
        "network/conv2d.cu", // what is right of a row is the next one
        "gemm::inside(x, shape.in_width)",
        "gemm::inside(x, shape.in_width + 1)",
        "conv2d::conv2d_gives_the_bits_of_the_formula_round",
        "element",
    ),
    (
        "network/conv2d_images.cu", // no mirrors
        "from[int(crop.mirror ? tap.z : tap.y)]",
        "from[int(tap.y)]",
        "conv2d::conv2d_images",
        "conv2d_images",
    ),
    (
        "network/dense.cu", // what is behind the last input
        "k < inputs ? bytes : 0",
        "bytes",
        "dense::dense_gives",
        "element",
    ),
    (
        "network/pool.cu", // a plane too early
        "const uint32_t channel = within / out_plane;",
        "const uint32_t channel = (within + 1) / out_plane;",
        "pool::pool_gives",
        "pool",
    ),
    (
        "network/lrn.cu", // a barrier that is not there
        "__syncthreads();  // the band is normalised",
        "// the band is normalised",
        "pool::lrn_before_a_pooling",
        "kernel lrn_max_pool_f32",
    ),
    (
        "network/softmax.cu",
        "__syncthreads();  // the powers are written, one warp adds them",
        "",
        "softmax::softmax_gives",
        "kernel softmax_f32",
    ),
    (
        "network/average_crops.cu", // sums in single precision
        "double sum = 0.0;",
        "float sum = 0.0f;",
        "average_crops::average_crops_gives",
        "the means",
    ),
    (
        "network/pool_backward.cu", // a window too many
        "min((x + padding) / stride, int(shape.out_width) - 1)",
        "min((x + padding) / stride, int(shape.out_width))",
        "backward::pool_backward",
        "pool_backward",
    ),
    (
        "network/lrn_backward.cu", // of a channel that is not there
        "if (other >= 0 && other < channels) { sum",
        "if (other < channels) { sum",
        "backward::lrn_backward",
        "kernel lrn_backward_f32",
    ),
    (
        "network/depth_to_space.cu", // nothing is cut off
        "/ shape.width + shape.first;",
        "/ shape.width;",
        "backward::depth_to_space",
        "element",
    ),
    (
        "ascent/look.cu",
        "__syncthreads();  // the sums of twice as many are there",
        "",
        "ascent::look_gives",
        "kernel look_f32",
    ),
    (
        "ascent/zero_pixels.cu",
        "__syncthreads();  // all are counted, a warp sums up",
        "",
        "ascent::zero_pixels_gives",
        "kernel zero_pixels_f32",
    ),
    (
        "ascent/blur.cu", // a row too far
        "seen < 0 || seen >= size",
        "seen < 0 || seen > size",
        "ascent::blur_gives",
        "blur",
    ),
    (
        "ascent/draw_cppn.cu", // a crop's first column behind the last
        "if (!seen.is_there) { continue; }",
        "",
        "ascent_cppn::draw_cppn_gives",
        "kernel draw_cppn_f32",
    ),
    (
        "ascent/draw_cppn_backward.cu",
        "__syncthreads();  // the pixels' values and what terms get of them are there",
        "",
        "ascent_cppn::draw_cppn_backward_gives",
        "kernel draw_cppn_backward_f32",
    ),
    ("network/copy.cu", "rectify ? maximum(value, 0.0f) : value", "value", "pool::copy_rectifies", "element"),
    (
        "train/conv2d_weight_gradient.cu", // what is behind the last output
        "is_there && i * ROUND < columns ? 4 : 0",
        "is_there ? 4 : 0",
        "weight_gradient::conv2d_weight_gradient_gives_the_bits_of_the_rule_where",
        "the accumulators",
    ),
    (
        "train/dense_weight_gradient.cu", // a ring among the sums that wait
        "smem_waiting + 4 * WAITING",
        "smem_waiting + 3 * WAITING",
        "weight_gradient::dense_weight_gradient_gives",
        "without order",
    ),
    (
        "train/cross_entropy.cu", // warps without an image
        "if (image >= filled) { return; }",
        "",
        "train_steps::cross_entropy_gives",
        "kernel cross_entropy_f32",
    ),
    (
        "train/dropout.cu", // what is behind the last value
        "if (4 * quad + i < len)",
        "",
        "train_steps::dropout_drops",
        "the values",
    ),
    (
        "train/sgd_update.cu", // biases that are not there
        "if (output < shape.outputs)",
        "",
        "train_steps::sgd_update_gives",
        "kernel sgd_update_f32",
    ),
    (
        "train/turn_weights.cu",
        "__syncthreads();  // the tile is written, its columns are read",
        "",
        "train_steps::turn_weights_gives",
        "kernel turn_weights_f32",
    ),
];

#[test]
fn faults_planted_into_the_kernels_of_layers_are_found() {
    let Some(compiler) = harness::compiler() else { return };
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("network_planted");
    fs::create_dir_all(&work).unwrap();
    // All faults in one library: each is in a file, and so in kernels, of its own.
    let mut sources = files_below(&kernels, &["cu"]).unwrap();
    for (file, old, new, ..) in FAULTS {
        let text = fs::read_to_string(kernels.join(file)).unwrap();
        assert_eq!(text.matches(old).count(), 1, "{file} has {old:?} once");
        let patched = work.join(Path::new(file).file_name().unwrap());
        fs::write(&patched, text.replace(old, new)).unwrap();
        sources.iter_mut().filter(|source| source.ends_with(file)).for_each(|source| source.clone_from(&patched));
    }
    let library = work.join("kernels.so");
    compiler.library(&library, &sources, std::slice::from_ref(&kernels), Build::Checked, &work).unwrap();
    let mut missed = Vec::new();
    for (file, old, _, test, word) in FAULTS {
        let mut tests = Command::new(std::env::current_exe().unwrap());
        tests.env("PAREIDOLIA_EMULATOR_CHECKED", "1").env("PAREIDOLIA_EMULATOR_KERNELS", &library).arg(test);
        let output = tests.output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(text.contains("running 1 test"), "{test}: {text}");
        if output.status.success() || !text.contains(word) {
            missed.push(format!("{file}, {old:?}, {test}: {text}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}
