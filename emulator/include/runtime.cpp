// runtime.cpp: the part of a library of compiled kernels that is the same in all: its door, and, in a checked build, the
// callbacks that the compiler's -fsanitize=thread puts before every load and store. This file itself is not instrumented.
#include "engine.h"

// Until a driver has come: the list of kernels is made while the library is loaded, by instrumented code.
static const EmulatorEngine nobody = {nullptr, nullptr, nullptr, nullptr, [](const void*, size_t, int, const void*) {}};
const EmulatorEngine* emulator_engine = &nobody;
thread_local EmulatorThread* emulator_thread = nullptr;
const EmulatorKernel* emulator_first_kernel = nullptr;

#define DOOR extern "C" __attribute__((visibility("default")))

DOOR const EmulatorKernel* emulator_attach(const EmulatorEngine* engine) {
    emulator_engine = engine;
    return emulator_first_kernel;
}

// Where this system thread keeps which of the block's threads it runs.
DOOR EmulatorThread** emulator_slot() { return &emulator_thread; }

#ifdef EMULATOR_CHECKED
#define ACCESS(address, size, kind) emulator_engine->access(const_cast<const void*>(address), size, kind, __builtin_return_address(0))
#define READ_WRITE(size)                                                            \
    extern "C" void __tsan_read##size(void* p) { ACCESS(p, size, 4); }              \
    extern "C" void __tsan_write##size(void* p) { ACCESS(p, size, 5); }             \
    extern "C" void __tsan_volatile_read##size(void* p) { ACCESS(p, size, 4); }     \
    extern "C" void __tsan_volatile_write##size(void* p) { ACCESS(p, size, 5); }    \
    extern "C" void __tsan_unaligned_read##size(void* p) { ACCESS(p, size, 0); }    \
    extern "C" void __tsan_unaligned_write##size(void* p) { ACCESS(p, size, 1); }
READ_WRITE(1)
READ_WRITE(2)
READ_WRITE(4)
READ_WRITE(8)
READ_WRITE(16)

extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_update(void**, void*) {}
extern "C" void __tsan_vptr_read(void**) {}
extern "C" void __tsan_read_range(void* p, size_t size) { ACCESS(p, size, 0); }
extern "C" void __tsan_write_range(void* p, size_t size) { ACCESS(p, size, 1); }
extern "C" void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
extern "C" void __tsan_atomic_signal_fence(int) {}

// Block copies that the compiler makes or the source names.
extern "C" void* __tsan_memcpy(void* to, const void* from, size_t size) {
    ACCESS(from, size, 0);
    ACCESS(to, size, 1);
    return __builtin_memcpy(to, from, size);
}
extern "C" void* __tsan_memmove(void* to, const void* from, size_t size) {
    ACCESS(from, size, 0);
    ACCESS(to, size, 1);
    return __builtin_memmove(to, from, size);
}
extern "C" void* __tsan_memset(void* to, int value, size_t size) {
    ACCESS(to, size, 1);
    return __builtin_memset(to, value, size);
}

#define FETCH(bits, name, builtin)                                                                                   \
    extern "C" uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t* p, uint##bits##_t value, int) {   \
        ACCESS((const volatile void*)p, bits / 8, 2);                                                                \
        return builtin(p, value, __ATOMIC_SEQ_CST);                                                                  \
    }
#define ATOMICS(bits)                                                                                                \
    FETCH(bits, fetch_add, __atomic_fetch_add)                                                                       \
    FETCH(bits, fetch_sub, __atomic_fetch_sub)                                                                       \
    FETCH(bits, fetch_and, __atomic_fetch_and)                                                                       \
    FETCH(bits, fetch_or, __atomic_fetch_or)                                                                         \
    FETCH(bits, fetch_xor, __atomic_fetch_xor)                                                                       \
    FETCH(bits, exchange, __atomic_exchange_n)                                                                       \
    extern "C" uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t* p, int) {                    \
        ACCESS((const volatile void*)p, bits / 8, 2);                                                                \
        return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                                 \
    }                                                                                                                \
    extern "C" void __tsan_atomic##bits##_store(volatile uint##bits##_t* p, uint##bits##_t value, int) {             \
        ACCESS((const volatile void*)p, bits / 8, 2);                                                                \
        __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                                                \
    }                                                                                                                \
    extern "C" bool __tsan_atomic##bits##_compare_exchange_strong(volatile uint##bits##_t* p, uint##bits##_t* want,  \
                                                                  uint##bits##_t value, int, int) {                  \
        ACCESS((const volatile void*)p, bits / 8, 2);                                                                \
        return __atomic_compare_exchange_n(p, want, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);               \
    }                                                                                                                \
    extern "C" uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(volatile uint##bits##_t* p, uint##bits##_t want, \
                                                                         uint##bits##_t value, int, int) {           \
        ACCESS((const volatile void*)p, bits / 8, 2);                                                                \
        __atomic_compare_exchange_n(p, &want, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                     \
        return want;                                                                                                 \
    }
ATOMICS(32)
ATOMICS(64)
#endif
