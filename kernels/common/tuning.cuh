// tuning.cuh: the constants of launch shapes, each in one place. build.rs makes crate::tuning from this file: a line
// `constexpr int NAME = VALUE;` becomes `pub const NAME: u32 = VALUE;`.
#pragma once


// randomise_cppn, vary_cppn: warps of a block, a candidate each.
constexpr int RANDOMISE_CPPN_WARPS = 4;
constexpr int VARY_CPPN_WARPS = 4;
// render_cppn: warps of a block; rows of 32 pixels that a warp has in registers at once; and bytes of a block's shared memory,
// unless capacity asks for more. 28 x 28 pixels are 24.5 rows, and an SM of 228 KiB takes five such blocks.
constexpr int RENDER_CPPN_WARPS = 5;
constexpr int RENDER_CPPN_ROWS = 5;
constexpr int RENDER_CPPN_SHARED = 45056;
