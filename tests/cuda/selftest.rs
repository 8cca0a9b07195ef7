//! `pareidolia selftest` on a GPU: it tries every kernel, finds a fault in each, and says when the device is lost.

use crate::harness;
use crate::left_out::left_out;
use crate::program::{pareidolia, run};
use pareidolia::experiment::selftest::KERNELS;
use pareidolia::experiment::selftest::report::{Outcome, Report};
use pareidolia_emulator::compile::{Build, files_below, kernels};
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the kernels.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// What `selftest` with `args` and these settings of the emulated driver says, which must end with `code`: its report, and stderr.
/// `None`, and said so, where there is no driver.
#[track_caller]
fn selftest(code: i32, args: &[&str], settings: &[(&str, &str)]) -> Option<(Report, String)> {
    let folder = tempfile::tempdir().unwrap();
    let args = [&["selftest", "--device", "cuda:0", "--json"], args].concat();
    let mut command = pareidolia(&folder, &args)?;
    command.envs(settings.iter().copied());
    let (stdout, stderr) = run(command, code);
    assert!(!stderr.contains("panicked"), "{stderr}");
    Some((serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}")), stderr))
}

#[test]
fn selftest_tries_every_kernel_of_the_program() {
    let files = files_below(&sources(), &["cu"]).unwrap();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    let mut all: Vec<String> = texts.flat_map(|text| kernels(&text)).map(|(name, _)| name).collect();
    all.sort();
    let mut tried: Vec<&str> = KERNELS.iter().map(|(name, ..)| *name).collect();
    tried.sort_unstable();
    assert_eq!(tried, all, "each kernel of kernels/ has a line in experiment::selftest::KERNELS");
    if let Some(report) = pareidolia::kernels::report() {
        let mut built: Vec<String> = report.kernels.into_iter().map(|resources| resources.kernel).collect();
        built.dedup();
        assert_eq!(tried, built, "and of those that nvcc has compiled");
    }
}

#[test]
fn selftest_passes_on_a_good_device() {
    for args in [&[][..], &["--quick"]] {
        let Some((report, stderr)) = selftest(0, args, &[]) else { return };
        assert!(report.passed && report.not_tried.is_empty() && !stderr.contains("error"), "{report:#?}{stderr}");
        let names: Vec<&str> = report.checks.iter().map(|check| check.name.as_str()).collect();
        let kernels: Vec<&str> = KERNELS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(names[..kernels.len()], kernels);
        assert_eq!(names[kernels.len()..].iter().filter(|name| name.starts_with("run-mnist-")).count(), 4);
        assert_eq!(
            names[kernels.len() + 4..],
            [
                "run-series",
                "run-resumed",
                "run-network",
                "run-gradients",
                "run-ascent",
                "run-training",
                "run-ascent-cppn"
            ]
        );
        for check in &report.checks {
            assert!(check.result == Outcome::Ok && check.first_difference.is_none(), "{check:?}");
            assert!(check.cases > 0 && check.elements > 0 && check.largest_batch > 0, "{check:?}");
            assert!(check.device_seconds > 0.0, "{check:?}");
        }
        assert_eq!((report.quick, report.device.starts_with("cuda:0, ")), (!args.is_empty(), true), "{report:#?}");
    }
}

#[test]
fn selftest_prints_a_table_of_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["selftest", "--device", "auto", "--quick", "select", "insert_u64"];
    let Some(command) = pareidolia(&folder, &args) else { return };
    let (stdout, _) = run(command, 0);
    let lines: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(stdout.contains("on cuda:0, ") && stdout.contains("(--device auto: the first GPU)"), "{stdout}");
    for name in ["select_u32", "insert_u64"] {
        let line = lines.iter().find(|line| line.first() == Some(&name)).unwrap_or_else(|| panic!("{stdout}"));
        assert_eq!((line[5], line[6]), ("s", "ok"), "{stdout}");
    }
    assert!(stdout.contains("2 of 2 checks ok") && !stdout.contains("vary_cppn"), "{stdout}");

    let unknown = pareidolia(&folder, &["selftest", "--device", "cuda:0", "selekt"]).unwrap();
    let (stdout, stderr) = run(unknown, 2);
    assert!(stdout.is_empty() && stderr.contains("\"selekt\"") && stderr.contains("select_u32, "), "{stderr}");
}

#[test]
fn selftest_says_that_the_device_is_lost_and_ends() {
    if harness::is_real() {
        return;
    }
    let settings = [("PAREIDOLIA_EMULATOR_LOST_AFTER", "100")];
    let Some((report, stderr)) = selftest(1, &["--quick"], &settings) else { return };
    let (last, before) = report.checks.split_last().unwrap();
    assert!(!before.is_empty() && before.iter().all(|check| check.result == Outcome::Ok), "{report:#?}");
    assert_eq!(last.result, Outcome::Failed);
    assert!(last.failure.as_ref().unwrap().contains("on the GPU: "), "{last:?}");
    assert_eq!(before.len() + 1 + report.not_tried.len(), KERNELS.len() + 11);
    assert!(!report.passed && report.not_tried.contains(&"run-network".to_string()), "{report:#?}");
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(
        errors.len() == 1 && errors[0].contains("the device has failed") && errors[0].contains(&last.name),
        "{stderr}"
    );
}

/// A fault: kernel, file, a part of its text, and what takes its place.
type Fault = (&'static str, &'static str, &'static str, &'static str);

/// One a kernel, each in what this kernel alone goes through: a wrong constant, one too many or too few, another order.
const FAULTS: [Fault; 65] = [
    ("elementary_f32", "math/elementary.cu", "math::pow_neg(x[i], n)", "math::pow_neg(x[i], n + 1)"),
    ("randomise_direct_f32", "genome/randomise_direct.cu", "place % chunk.batch, 0)", "place % chunk.batch, 1)"),
    ("randomise_cppn_f32", "genome/randomise_cppn.cu", "below(word, N_ACTIVATIONS)", "below(word, N_ACTIVATIONS - 1)"),
    ("select_u32", "archive/select.cu", "words.w[3] >> 31 == 1", "words.w[3] >> 30 == 3"),
    ("vary_direct_f32", "genome/vary_direct.cu", "math::pow_neg(bound, eta + 1)", "math::pow_neg(bound, eta)"),
    (
        "vary_cppn_f32",
        "genome/vary_cppn.cu",
        "unit(amounts.word(i)), rules.weight_eta)",
        "unit(amounts.word(i)), rules.weight_eta + 1)",
    ),
    (
        "render_direct_u8",
        "image/render_direct.cu",
        "pixel(four.gene[2]) << 16 | pixel(four.gene[3]) << 24",
        "pixel(four.gene[3]) << 16 | pixel(four.gene[2]) << 24",
    ),
    ("compile_cppn_f32", "image/compile_cppn.cu", "edge = own_edges[i];", "edge = own_edges[n_edges - 1 - i];"),
    (
        "render_cppn_u8",
        "image/render_cppn.cu",
        "p[k] = fmaf(weight, value[k * WARP_SIZE], p[k]);",
        "p[k] = weight * value[k * WARP_SIZE] + p[k];",
    ),
    (
        "lenet_features_f32",
        "network/lenet_features.cu",
        "const float bias = conv2_bias[group * TILE + channel];",
        "const float bias = conv2_bias[group * TILE + channel] + (TILE == LENET_FEATURES_CHANNELS ? 1e-6f : 0.0f);",
    ),
    (
        "lenet_features_few_f32",
        "network/lenet_features.cu",
        "sums[channel][r][c] = fmaf(x[r][c + tap], w[tap * TILE + channel], sums[channel][r][c]);",
        "const int k = TILE == LENET_FEATURES_FEW_CHANNELS ? KERNEL - 1 - tap : tap;
         sums[channel][r][c] = fmaf(x[r][c + k], w[k * TILE + channel], sums[channel][r][c]);",
    ),
    (
        "lenet_probabilities_f32",
        "network/lenet_probabilities.cu",
        "float sum = 0.0f;",
        "float sum = T::IMAGES == LENET_PROBABILITIES_IMAGES ? 1e-6f : 0.0f;",
    ),
    (
        "lenet_probabilities_some_f32",
        "network/lenet_probabilities.cu",
        "for (int k = 0; k < HIDDEN; k += 4) {",
        "for (int k = 0; k < HIDDEN - (T::IMAGES == LENET_PROBABILITIES_SOME_IMAGES ? 4 : 0); k += 4) {",
    ),
    (
        "lenet_probabilities_few_f32",
        "network/lenet_probabilities.cu",
        "float sum = fc2_bias[output];",
        "float sum = fc2_bias[T::IMAGES == LENET_PROBABILITIES_FEW_IMAGES && output > 0 ? output - 1 : output];",
    ),
    (
        "conv2d_images_96_f32", // no mean
        "network/conv2d_images.cu",
        "means[i] = *reinterpret_cast<const float*>(mean_from + int(tap.w));",
        "means[i] = T::ROWS == 96 ? 0.0f : *reinterpret_cast<const float*>(mean_from + int(tap.w));",
    ),
    (
        "conv2d_images_64_f32", // always the first crop
        "network/conv2d_images.cu",
        "crops[seen % image_shape.n_crops]",
        "crops[T::ROWS == 64 ? 0 : seen % image_shape.n_crops]",
    ),
    (
        "conv2d_images_few_f32", // as if it began at the top
        "network/conv2d_images.cu",
        "(int(crop.y) + y) * int(image_shape.row)",
        "((T::COLUMNS == CONV2D_FEW_COLUMNS ? 0 : int(crop.y)) + y) * int(image_shape.row)",
    ),
    (
        "conv2d_128_f32", // a column to the right
        "network/conv2d.cu",
        "const int x = int(position % shape.out_width * shape.stride) - int(shape.padding);",
        "const int x = int(position % shape.out_width * shape.stride) - int(shape.padding) + int(T::ROWS == 128);",
    ),
    (
        "conv2d_96_f32", // without the last row
        "network/conv2d.cu",
        "gemm::inside(y, shape.in_height)",
        "gemm::inside(y, int(shape.in_height) - int(T::ROWS == 96))",
    ),
    (
        "conv2d_64_f32", // without the last column
        "network/conv2d.cu",
        "gemm::inside(x, shape.in_width)",
        "gemm::inside(x, int(shape.in_width) - int(T::ROWS == 64))",
    ),
    (
        "conv2d_32_f32", // every group with the first one's biases
        "network/conv2d.cu",
        "bias + group * shape.rows + first_row",
        "bias + (T::ROWS == 32 && T::COLUMNS == CONV2D_COLUMNS ? 0 : group * shape.rows) + first_row",
    ),
    (
        "conv2d_few_f32", // without the last stage
        "network/conv2d.cu",
        "shape.padded_k / T::STAGE_K, fetch",
        "shape.padded_k / T::STAGE_K - int(T::COLUMNS == CONV2D_FEW_COLUMNS), fetch",
    ),
    (
        "max_pool_f32", // without the last column of a window
        "network/pool.cu",
        "largest(plane, window, shape.in_width);",
        "largest(plane, {window.top, window.bottom, window.left, window.right - 1, 0}, shape.in_width);",
    ),
    (
        "average_pool_f32", // one too many positions
        "network/pool.cu",
        "average(plane, window, shape) :",
        "average(plane, {window.top, window.bottom, window.left, window.right, window.counted + 1}, shape) :",
    ),
    (
        "lrn_f32", // as if channels ended with a block's part
        "network/lrn.cu",
        "const int end = min(channel + half, channels - 1);",
        "const int end = min(channel + half, last - 1);",
    ),
    (
        "max_pool_lrn_f32", // likewise
        "network/lrn.cu",
        "first, last, channels, rule,",
        "first, last, last, rule,",
    ),
    (
        "lrn_max_pool_f32", // likewise
        "network/lrn.cu",
        "channel + HALF < channels ? from[size_t(channel + HALF)",
        "channel + HALF < last ? from[size_t(channel + HALF)",
    ),
    (
        "dense_f32", // without the last image
        "network/dense.cu",
        "int(shape.batch - first_image) - my_image;",
        "int(shape.batch - first_image) - my_image - int(T::ROWS == DENSE_ROWS);",
    ),
    (
        "dense_some_f32", // without the last input
        "network/dense.cu",
        "int(shape.k) - stage * T::STAGE_K - my_k;",
        "int(shape.k) - stage * T::STAGE_K - my_k - int(T::ROWS == DENSE_SOME_ROWS);",
    ),
    (
        "dense_few_f32", // every block with the first one's biases
        "network/dense.cu",
        "gemm::begin<T>(sums, bias + first_row,",
        "gemm::begin<T>(sums, bias + (T::ROWS == DENSE_FEW_ROWS ? 0 : first_row),",
    ),
    ("softmax_f32", "network/softmax.cu", "math::exp(in[c] - best)", "math::exp(in[c])"),
    ("average_crops_f32", "network/average_crops.cu", "double sum = 0.0;", "float sum = 0.0f;"),
    ("combine_f32", "network/combine.cu", "b < a || b != b ? b : a", "b < a ? b : a"), // NaN is forgotten
    ("preprocess_f32", "network/copy.cu", "* scales[channel];", "* scales[0];"),
    ("copy_f32", "network/copy.cu", "maximum(value, 0.0f) : value", "maximum(value, -0.0f) : value"),
    (
        "softmax_backward_f32",
        "network/softmax_backward.cu",
        "(c == wanted ? 1.0f : 0.0f)",
        "(c == wanted ? 1.0f : 1e-6f)",
    ),
    ("relu_backward_f32", "network/relu_backward.cu", "> 0.0f ? g", ">= 0.0f ? g"),
    ("max_pool_backward_f32", "network/pool_backward.cu", "mine > other", "mine >= other"), // the last of equals
    (
        "average_pool_backward_f32", // one too many positions
        "network/pool_backward.cu",
        "window.counted : inside)",
        "window.counted + 1 : inside)",
    ),
    (
        "lrn_backward_f32", // as if channels ended with a block's part
        "network/lrn_backward.cu",
        "const int end = min(j + half, channels - 1);",
        "const int end = min(j + half, last - 1);",
    ),
    (
        "depth_to_space_f32", // phases transposed
        "network/depth_to_space.cu",
        "y % shape.stride) * shape.stride + x % shape.stride",
        "x % shape.stride) * shape.stride + y % shape.stride",
    ),
    ("add_f32", "network/add.cu", "*to + next[", "*to - next["),
    ("clip_f32", "ascent/clip.cu", "now * scales[within / plane]", "now * scales[0]"),
    ("look_f32", "ascent/look.cu", "early < rest ? early : rest", "early < rest ? rest : early"),
    (
        "climb_f32", // two roundings
        "ascent/climb.cu",
        "fmaf(states[image].rate, g, x[at])",
        "(states[image].rate * g + x[at])",
    ),
    ("blur_f32", "ascent/blur.cu", "? -1 - seen :", "? -seen :"), // the edge's value once
    ("zero_pixels_f32", "ascent/zero_pixels.cu", "my_keys[pixel] < found", "my_keys[pixel] <= found"),
    ("draw_cppn_f32", "ascent/draw_cppn.cu", "* eye.scale[channel];", "* eye.scale[0];"),
    ("look_cppn_f32", "ascent/look_cppn.cu", "classes[size_t(image) * n_crops]", "classes[image]"), // another image's
    (
        "draw_cppn_backward_f32", // two roundings
        "ascent/draw_cppn_backward.cu",
        "sum = fmaf(q[at], value[at], sum);",
        "sum = q[at] * value[at] + sum;",
    ),
    ("add_bands_f32", "ascent/add_bands.cu", "band < n_bands;", "band + 1 < n_bands;"),
    ("cross_entropy_f32", "train/cross_entropy.cu", "probability - 1.0f : probability", "probability : probability"),
    (
        "conv2d_weight_gradient_f32", // without the last row
        "train/conv2d_weight_gradient.cu",
        "gemm::inside(top, shape.in_height)",
        "gemm::inside(top, int(shape.in_height) - int(T::ROWS == CONV2D_GRADIENT_ROWS))",
    ),
    (
        "conv2d_weight_gradient_some_f32", // every group with the first one's inputs
        "train/conv2d_weight_gradient.cu",
        "in += size_t(group) * shape.in_group;",
        "in += size_t(T::ROWS == CONV2D_GRADIENT_SOME_ROWS ? 0 : group) * shape.in_group;",
    ),
    (
        "conv2d_weight_gradient_few_f32", // no biases
        "train/conv2d_weight_gradient.cu",
        "i * ROUND == rows ? 1.0f : 0.0f",
        "i * ROUND == rows && T::ROWS != CONV2D_GRADIENT_FEW_ROWS ? 1.0f : 0.0f",
    ),
    (
        "dense_weight_gradient_f32", // slots in another order
        "train/dense_weight_gradient.cu",
        "__brev(turn) >> 28",
        "turn",
    ),
    ("dropout_f32", "train/dropout.cu", "step->iteration}", "step->iteration + 1}"),
    ("sgd_update_f32", "train/sgd_update.cu", "rate * shape.bias_rate", "rate"),
    (
        "turn_weights_f32", // not turned
        "train/turn_weights.cu",
        "shape.taps - shape.multiple - ky / shape.stride",
        "ky / shape.stride",
    ),
    (
        "niche_argmax_direct_f32",
        "archive/niche_argmax.cu",
        "content_term(n + 1, n_genes)",
        "content_term(n + 1, n_genes + 1)",
    ),
    (
        "niche_argmax_cppn_f32",
        "archive/niche_argmax.cu",
        "uint32_t(edge.source) | uint32_t(edge.target) << 16",
        "uint32_t(edge.target) | uint32_t(edge.source) << 16",
    ),
    ("insert_u64", "archive/insert.cu", "smem_order[(n_niches - 1) / 2]", "smem_order[n_niches / 2]"),
    ("peak_fma_f32", "peak/peak_fma.cu", "{ sum += chain[c]; }", "{ sum += c > 0 ? chain[c] : 0.0f; }"),
    (
        "peak_read_u32", // 32 bits of a sum
        "peak/peak_read.cu",
        "uint64_t(quad.x) + quad.y + quad.z + quad.w",
        "uint64_t(quad.x + quad.y) + quad.z + quad.w",
    ),
    ("peak_copy_u32", "peak/peak_copy.cu", "{ to[at + i * stride] = quad[i]; }", "{ to[at + i * stride] = quad[0]; }"),
];

#[test]
fn selftest_finds_a_fault_in_every_kernel() {
    if harness::is_real() {
        return;
    }
    let compiler = match pareidolia_emulator::compiler() {
        Ok(compiler) => compiler,
        Err(why) => return left_out(&why.to_string()),
    };
    assert_eq!(FAULTS.map(|(kernel, ..)| kernel), KERNELS.map(|(name, ..)| name), "a fault a kernel");
    // All of them at once: each check gets its inputs from the host, so that none sees the fault of another kernel.
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join("selftest");
    let mut files = files_below(&sources(), &["cu"]).unwrap();
    for source in &mut files {
        let mut text = fs::read_to_string(&source).unwrap();
        for (kernel, _, old, new) in FAULTS.iter().filter(|(_, file, ..)| source.ends_with(file)) {
            assert_eq!(text.matches(old).count(), 1, "{kernel}: {} has {old:?} once", source.display());
            text = text.replace(old, new);
        }
        *source = work.join(source.file_name().unwrap());
        fs::create_dir_all(&work).unwrap();
        fs::write(&*source, text).unwrap();
    }
    let library = work.join("kernels.so");
    compiler.library(&library, &files, &[sources()], Build::Fast, &work).unwrap();
    let settings = [("PAREIDOLIA_EMULATOR_KERNELS", library.to_str().unwrap())];
    for args in [&[][..], &["--quick"]] {
        let (report, stderr) = selftest(1, args, &settings).unwrap();
        assert!(!report.passed && report.not_tried.is_empty(), "{report:#?}");
        for check in &report.checks {
            assert_eq!(check.result, Outcome::Differs, "{args:?}: {check:?}");
            assert!(check.differing > 0 && check.first_difference.is_some(), "{check:?}");
            assert!(stderr.contains(&check.name), "{stderr}");
        }
    }
}
