// device.cuh: what every kernel file starts from.
//
// The same files are compiled by nvcc for a GPU and, for the emulated driver, by the host's C++ compiler, which takes the
// names of CUDA from emulator/include/cuda_on_host.h. Kernels use what that header has: threadIdx, blockIdx, blockDim,
// gridDim; __syncthreads, __syncwarp, __shfl_sync and its kin, votes; atomics on 32 and 64 bits; the integer and bit
// intrinsics; fmaf, sqrtf. Nothing of the C++ library, no device malloc, no printf, no <<<>>>.
//
// Arithmetic: -fmad=false -prec-div=true -prec-sqrt=true -ftz=false. A fused multiply-add is written fmaf; a maximum is
// `a > b ? a : b`, never fmaxf; a float becomes an integer only inside a proven range.
#pragma once

#include "common/tuning.cuh"

#include <stdint.h>

#ifndef PAREIDOLIA_ON_HOST
// The block's memory whose size the launch says: declares `type* name`.
#define DYNAMIC_SHARED(type, name)                            \
    extern __shared__ __align__(16) unsigned char smem_dynamic[]; \
    type* const name = reinterpret_cast<type*>(smem_dynamic)
#endif

constexpr unsigned FULL_WARP = 0xffffffffu;
