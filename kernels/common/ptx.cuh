// ptx.cuh: instructions that CUDA C++ has no name for, each with its plain twin for the host. The host
// copies at once: a wait or a barrier that is missing behind a copy does not show there.
#pragma once

#include "common/device.cuh"

// Starts to copy a float to shared memory, past the registers. It is there for this thread after copies_wait, for others after
// a barrier that follows it.
static __device__ __forceinline__ void copy_float(float* shared, const float* global) {
#ifdef PAREIDOLIA_ON_HOST
    *shared = *global;
#else
    const uint32_t address = uint32_t(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(address), "l"(global) : "memory");
#endif
}

// As copy_float, four floats; both addresses are multiples of 16 bytes.
static __device__ __forceinline__ void copy_float4(float* shared, const float* global) {
#ifdef PAREIDOLIA_ON_HOST
    *reinterpret_cast<float4*>(shared) = *reinterpret_cast<const float4*>(global);
#else
    const uint32_t address = uint32_t(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(global) : "memory");
#endif
}

// As copy_float of `bytes`, 4 or 0: with 0 it writes 0 and reads nothing.
static __device__ __forceinline__ void copy_float_or_zero(float* shared, const float* global, uint32_t bytes) {
#ifdef PAREIDOLIA_ON_HOST
    *shared = bytes == 4 ? *global : 0.0f;
#else
    const uint32_t address = uint32_t(__cvta_generic_to_shared(shared));
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(address), "l"(global), "r"(bytes) : "memory");
#endif
}

// As copy_float_or_zero where `wanted`, else it does nothing, without a branch.
static __device__ __forceinline__ void copy_float_or_zero_if(bool wanted, float* shared, const float* global, uint32_t bytes) {
#ifdef PAREIDOLIA_ON_HOST
    if (wanted) { *shared = bytes == 4 ? *global : 0.0f; }
#else
    const uint32_t address = uint32_t(__cvta_generic_to_shared(shared));
    asm volatile("{ .reg .pred p; setp.ne.u32 p, %3, 0; @p cp.async.ca.shared.global [%0], [%1], 4, %2; }" ::"r"(address),
                 "l"(global), "r"(bytes), "r"(uint32_t(wanted))
                 : "memory");
#endif
}

// As copy_float4 where `is_there`, else writes 0 and reads nothing.
static __device__ __forceinline__ void copy_float4_or_zero(float* shared, const float* global, bool is_there) {
#ifdef PAREIDOLIA_ON_HOST
    *reinterpret_cast<float4*>(shared) =
        is_there ? *reinterpret_cast<const float4*>(global) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#else
    const uint32_t address = uint32_t(__cvta_generic_to_shared(shared));
    const int bytes = is_there ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(global), "r"(bytes) : "memory");
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
