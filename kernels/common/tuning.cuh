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
