// engine.h: what compiled kernels and the engine that runs them (src/engine/) know of each other. Each struct has its twin in
// src/engine/abi.rs.
#pragma once

#include <stddef.h>
#include <stdint.h>

struct uint3 {
    unsigned x, y, z;
};

// A thread of a block. Everything but the identity of its lane is what CUDA names threadIdx, blockIdx, ...
struct EmulatorThread {
    uint3 thread_idx, block_idx, block_dim, grid_dim;
    unsigned lane, warp;
    unsigned char* dynamic_shared;
};

// The place in a source file that a barrier, a warp's exchange or an atomic was called from.
struct EmulatorSite {
    const char* file;
    int line;
    const char* what;
};

// What the lanes of a warp brought to an exchange; 0 for those that took no part, which are not in `present`.
struct EmulatorMeeting {
    uint64_t values[32];
    unsigned present;
};

// What the engine does for kernels.
struct EmulatorEngine {
    // __syncthreads and its kin: kind 0 plain, 1 or, 2 and, 3 count.
    int (*barrier)(EmulatorThread*, const EmulatorSite*, int kind, int predicate);
    // All lanes of `mask` meet, each with a value. What is returned is good until the lane's next exchange.
    const EmulatorMeeting* (*exchange)(EmulatorThread*, const EmulatorSite*, int orders_memory, unsigned mask, uint64_t value);
    // Lanes of the warp that have not left the kernel.
    unsigned (*active)(EmulatorThread*);
    // A rule is broken that no access shows, such as a shuffle from a lane that takes no part.
    void (*misuse)(EmulatorThread*, const EmulatorSite*);
    // Checked build: a load (0), a store (1) or an atomic (2) is about to happen; plus 4 where the address must
    // be a multiple of the size.
    void (*access)(const void* address, size_t size, int kind, const void* pc);
};

// A kernel, as its .cu file declares it.
struct EmulatorKernel {
    const char* name;
    void (*call)(void** arguments);
    const uint32_t* argument_sizes;
    const uint8_t* argument_kinds;  // 0 a value, 1 a pointer to const, 2 a pointer
    uint32_t n_arguments;
    uint32_t max_threads;  // of __launch_bounds__; 0 without
    const EmulatorKernel* next;
};

extern const EmulatorEngine* emulator_engine;
extern thread_local EmulatorThread* emulator_thread;
extern const EmulatorKernel* emulator_first_kernel;
