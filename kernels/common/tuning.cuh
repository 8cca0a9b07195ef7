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
