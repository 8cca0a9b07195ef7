// tuning.cuh: the constants of launch shapes, each in one place. build.rs makes crate::tuning from this file: a line
// `constexpr int NAME = VALUE;` becomes `pub const NAME: u32 = VALUE;`.
#pragma once

// Threads of a warp.
constexpr int WARP_SIZE = 32;

// select: threads of a block, a pair each.
constexpr int SELECT_THREADS = 128;
// randomise_direct, vary_direct: threads of a block, a block of random words each: four genes, of both children.
constexpr int DIRECT_THREADS = 128;
// render_direct: threads of a block, and pixels of a thread: what one store of 32 bits writes.
constexpr int RENDER_DIRECT_THREADS = 256;
constexpr int RENDER_DIRECT_PIXELS = 4;
// elementary: threads of a block, a number each.
constexpr int ELEMENTARY_THREADS = 256;
// randomise_cppn, vary_cppn: warps of a block, a candidate each.
constexpr int RANDOMISE_CPPN_WARPS = 4;
constexpr int VARY_CPPN_WARPS = 4;
// render_cppn: warps of a block; rows of 32 pixels that a warp has in registers at once; and bytes of a block's shared memory,
// unless capacity asks for more. 28 x 28 pixels are 24.5 rows, and an SM of 228 KiB takes five such blocks.
constexpr int RENDER_CPPN_WARPS = 5;
constexpr int RENDER_CPPN_ROWS = 5;
constexpr int RENDER_CPPN_SHARED = 45056;

// lenet_features: threads of a block; its images, and channels of conv2 that a thread makes.
constexpr int LENET_FEATURES_THREADS = 128;
constexpr int LENET_FEATURES_IMAGES = 4;
constexpr int LENET_FEATURES_CHANNELS = 13;
// The same for batches of few images, and the largest of these: 6 images for each of an H100's 132 multiprocessors, where both
// take as long by estimate.
constexpr int LENET_FEATURES_FEW_IMAGES = 2;
constexpr int LENET_FEATURES_FEW_CHANNELS = 7;
constexpr int LENET_FEATURES_FEW_BATCH = 792;

// lenet_probabilities: what a row of fc1's 500 outputs is padded to; inputs of fc1 in a stage, and stages in shared memory.
constexpr int LENET_PROBABILITIES_ROW = 512;
constexpr int LENET_PROBABILITIES_STAGE_K = 8;
constexpr int LENET_PROBABILITIES_STAGES = 4;
// Images and threads of a block.
constexpr int LENET_PROBABILITIES_IMAGES = 64;
constexpr int LENET_PROBABILITIES_THREADS = 256;
// The same for batches of some images, and the largest of these: two blocks a multiprocessor.
constexpr int LENET_PROBABILITIES_SOME_IMAGES = 16;
constexpr int LENET_PROBABILITIES_SOME_THREADS = 256;
constexpr int LENET_PROBABILITIES_SOME_BATCH = 4224;
// And of few: one block a multiprocessor.
constexpr int LENET_PROBABILITIES_FEW_IMAGES = 4;
constexpr int LENET_PROBABILITIES_FEW_THREADS = 128;
constexpr int LENET_PROBABILITIES_FEW_BATCH = 528;

// conv2d, conv2d_images: k's of a stage; threads of a block and positions that it makes; fewer threads where it makes few channels.
constexpr int CONV2D_STAGE_K = 8;
constexpr int CONV2D_THREADS = 256;
constexpr int CONV2D_COLUMNS = 256;
constexpr int CONV2D_NARROW_THREADS = 128;
// The same for batches of few images.
constexpr int CONV2D_FEW_THREADS = 64;
constexpr int CONV2D_FEW_COLUMNS = 32;

// dense: what k is rounded up to: whole stages of every shape.
constexpr int DENSE_PADDED_K = 32;
// Outputs, images and threads of a block; for some images; for few.
constexpr int DENSE_ROWS = 128;
constexpr int DENSE_COLUMNS = 256;
constexpr int DENSE_THREADS = 256;
constexpr int DENSE_SOME_ROWS = 64;
constexpr int DENSE_SOME_COLUMNS = 64;
constexpr int DENSE_SOME_THREADS = 64;
constexpr int DENSE_FEW_ROWS = 8;
constexpr int DENSE_FEW_COLUMNS = 16;
constexpr int DENSE_FEW_THREADS = 32;

// pool, pool_backward: threads of a block, an output each.
constexpr int POOL_THREADS = 256;
// lrn: threads of a block, a position each; channels that a thread goes through.
constexpr int LRN_THREADS = 128;
constexpr int LRN_CHANNELS = 32;
// lrn_backward: threads of a block, a position each; with sums of 63 channels they take 31.5 KiB of shared memory.
constexpr int LRN_BACKWARD_THREADS = 64;
// lrn_max_pool: threads of a block, and positions of a plane that it normalises at a time.
constexpr int LRN_MAX_POOL_THREADS = 256;
constexpr int LRN_MAX_POOL_POSITIONS = 512;
// The sizes of normalisation that are fused with a pooling: all that the networks have.
constexpr int LRN_FUSED_SIZE = 5;
// softmax: threads of a block, which makes a warp's worth of images; softmax_backward: a logit each.
constexpr int SOFTMAX_THREADS = 256;
// average_crops: threads of a block, a class of an image each.
constexpr int AVERAGE_CROPS_THREADS = 256;
// combine: threads of a block, likewise; and its rules.
constexpr int COMBINE_THREADS = 256;
constexpr int COMBINE_MEAN = 0;
constexpr int COMBINE_MIN = 1;
// add, copy, depth_to_space, preprocess, relu_backward: threads of a block, a value each.
constexpr int COPY_THREADS = 256;

// clip, climb, blur: threads of a block, a value each.
constexpr int ASCENT_THREADS = 256;
// look: accumulators of a squared norm, and threads of a block, which makes an image: backend::ascent says as many.
constexpr int NORM_LANES = 256;
// zero_pixels: threads of a block, which makes an image.
constexpr int ZERO_PIXELS_THREADS = 512;
// draw_cppn, draw_cppn_backward: threads of a block, a pixel each, at most; half or a quarter where programs are long.
constexpr int DRAW_CPPN_THREADS = 128;
// Pixels of a band: BAND of src/genome/cppn/gradient.rs.
constexpr int DRAWN_BAND = 2048;
// add_bands: threads of a block, a term each; look_cppn: warps of a block, an image each.
constexpr int ADD_BANDS_THREADS = 128;
constexpr int LOOK_CPPN_WARPS = 4;

// Accumulators of a weight gradient: SLOTS of src/network/gradient.rs.
constexpr int GRADIENT_SLOTS = 16;
// conv2d_weight_gradient: positions of a stage; weights of an output and outputs that a block makes, and its threads; for layers of
// few weights or outputs.
constexpr int CONV2D_GRADIENT_STAGE_K = 8;
constexpr int CONV2D_GRADIENT_ROWS = 128;
constexpr int CONV2D_GRADIENT_COLUMNS = 128;
constexpr int CONV2D_GRADIENT_THREADS = 128;
constexpr int CONV2D_GRADIENT_SOME_ROWS = 64;
constexpr int CONV2D_GRADIENT_SOME_COLUMNS = 64;
constexpr int CONV2D_GRADIENT_SOME_THREADS = 64;
constexpr int CONV2D_GRADIENT_FEW_ROWS = 32;
constexpr int CONV2D_GRADIENT_FEW_COLUMNS = 32;
constexpr int CONV2D_GRADIENT_FEW_THREADS = 64;
// dense_weight_gradient: images of a stage, and stages; inputs and outputs of a block, and its threads.
constexpr int DENSE_GRADIENT_STAGE_K = 4;
constexpr int DENSE_GRADIENT_STAGES = 4;
constexpr int DENSE_GRADIENT_ROWS = 64;
constexpr int DENSE_GRADIENT_COLUMNS = 64;
constexpr int DENSE_GRADIENT_THREADS = 64;
// sgd_update: threads of a block, four weights each.
constexpr int SGD_UPDATE_THREADS = 256;
// turn_weights: threads of a block, which moves 32 times 32 weights.
constexpr int TURN_WEIGHTS_THREADS = 256;
// cross_entropy: warps of a block, an image each.
constexpr int CROSS_ENTROPY_WARPS = 4;
// dropout: threads of a block, a block of random words each: four values.
constexpr int DROPOUT_THREADS = 256;

// niche_argmax: threads of a block, a niche of a run each.
constexpr int NICHE_ARGMAX_THREADS = 256;
// insert: threads of a block, a run each; at least two warps.
constexpr int INSERT_THREADS = 256;
// insert: niches of a run at most: what four bytes each leave of a block's shared memory.
constexpr int INSERT_MAX_NICHES = 8192;

// peak_fma: threads of a block; chains of a thread, and links of each in a turn of the loop.
constexpr int PEAK_FMA_THREADS = 256;
constexpr int PEAK_FMA_CHAINS = 8;
constexpr int PEAK_FMA_UNROLLED = 16;
// peak_read, peak_copy: threads of a block, and quads of words that a thread has under way.
constexpr int PEAK_THREADS = 256;
constexpr int PEAK_UNROLLED = 4;
