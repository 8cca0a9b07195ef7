// ptx.cuh: instructions that CUDA C++ has no name for, each with its plain twin for the host.
#pragma once

#include "common/device.cuh"

// Starts to copy 16 bytes to shared memory, past the registers; both addresses are multiples of 16. They are there for this
// thread after copies_wait, for others after a barrier that follows it.
static __device__ __forceinline__ void copy_16_bytes(float* shared, const float* global) {
#ifdef PAREIDOLIA_ON_HOST
    for (int i = 0; i < 4; ++i) { shared[i] = global[i]; }
#else
    const uint32_t address = uint32_t(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global) : "memory");
#endif
}

// Makes a group of the copies that this thread started since the last one; it may be empty.
static __device__ __forceinline__ void copies_commit() {
#ifndef PAREIDOLIA_ON_HOST
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until all but the last `PENDING` groups of this thread have arrived.
template <int PENDING>
static __device__ __forceinline__ void copies_wait() {
#ifndef PAREIDOLIA_ON_HOST
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}
