// cuda_on_host.h: the dialect of CUDA that the kernels are written in, for the host's C++ compiler, which reads it before
// every .cu file. Threads of a block are coroutines on one system thread (src/engine/), so a block's shared memory is a
// thread-local variable, and a barrier or an exchange within a warp is a call of the engine. Blocks may run side by side:
// atomics are real.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "engine.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#ifdef EMULATOR_CHECKED
// A gap before each variable, so that an index past the end of one does not fall into the next. `used`, since the compiler
// would not load what nobody writes.
struct alignas(16) EmulatorGap {
    unsigned char bytes[256];
};
#define EMULATOR_GAP_NAME_(n) emulator_gap_##n
#define EMULATOR_GAP_NAME(n) EMULATOR_GAP_NAME_(n)
#define __shared__ static thread_local __attribute__((used)) EmulatorGap EMULATOR_GAP_NAME(__COUNTER__); static thread_local __attribute__((used))
#else
#define __shared__ static thread_local
#endif
#define DYNAMIC_SHARED(type, name) type* const name = reinterpret_cast<type*>(emulator_thread->dynamic_shared)

#define EMULATOR_INLINE static inline __attribute__((always_inline))

// ---- vectors ----

#define EMULATOR_VECTORS(T, name, align2, align4)                       \
    struct name##1 { T x; };                                            \
    struct alignas(align2) name##2 { T x, y; };                         \
    struct alignas(align4) name##4 { T x, y, z, w; };                   \
    EMULATOR_INLINE name##1 make_##name##1(T x) { return {x}; }         \
    EMULATOR_INLINE name##2 make_##name##2(T x, T y) { return {x, y}; } \
    EMULATOR_INLINE name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
#define EMULATOR_VECTOR3(T, name)  \
    struct name##3 { T x, y, z; }; \
    EMULATOR_INLINE name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }
EMULATOR_VECTORS(signed char, char, 2, 4)
EMULATOR_VECTORS(unsigned char, uchar, 2, 4)
EMULATOR_VECTORS(short, short, 4, 8)
EMULATOR_VECTORS(unsigned short, ushort, 4, 8)
EMULATOR_VECTORS(int, int, 8, 16)
EMULATOR_VECTORS(unsigned, uint, 8, 16)
EMULATOR_VECTORS(long long, longlong, 16, 16)
EMULATOR_VECTORS(unsigned long long, ulonglong, 16, 16)
EMULATOR_VECTORS(float, float, 8, 16)
EMULATOR_VECTORS(double, double, 16, 16)
EMULATOR_VECTOR3(signed char, char)
EMULATOR_VECTOR3(unsigned char, uchar)
EMULATOR_VECTOR3(short, short)
EMULATOR_VECTOR3(unsigned short, ushort)
EMULATOR_VECTOR3(int, int)
EMULATOR_VECTOR3(float, float)
EMULATOR_VECTOR3(double, double)
EMULATOR_INLINE uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

// ---- where a thread stands ----

#define threadIdx (emulator_thread->thread_idx)
#define blockIdx (emulator_thread->block_idx)
#define blockDim (emulator_thread->block_dim)
#define gridDim (emulator_thread->grid_dim)
#define warpSize 32

// ---- barriers ----

// The place a call stands at, known without a macro in the kernel's way.
#define EMULATOR_PLACE const char *file = __builtin_FILE(), int line = __builtin_LINE()
#define EMULATOR_SITE(what) const EmulatorSite site = {file, line, what}

EMULATOR_INLINE void __syncthreads(EMULATOR_PLACE) {
    EMULATOR_SITE("__syncthreads");
    emulator_engine->barrier(emulator_thread, &site, 0, 0);
}
EMULATOR_INLINE int __syncthreads_or(int predicate, EMULATOR_PLACE) {
    EMULATOR_SITE("__syncthreads_or");
    return emulator_engine->barrier(emulator_thread, &site, 1, predicate != 0);
}
EMULATOR_INLINE int __syncthreads_and(int predicate, EMULATOR_PLACE) {
    EMULATOR_SITE("__syncthreads_and");
    return emulator_engine->barrier(emulator_thread, &site, 2, predicate != 0);
}
EMULATOR_INLINE int __syncthreads_count(int predicate, EMULATOR_PLACE) {
    EMULATOR_SITE("__syncthreads_count");
    return emulator_engine->barrier(emulator_thread, &site, 3, predicate != 0);
}
EMULATOR_INLINE void __syncwarp(unsigned mask = 0xffffffffu, EMULATOR_PLACE) {
    EMULATOR_SITE("__syncwarp");
    emulator_engine->exchange(emulator_thread, &site, 1, mask, 0);
}
EMULATOR_INLINE void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
EMULATOR_INLINE void __threadfence_block() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
EMULATOR_INLINE void __threadfence_system() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

// ---- exchanges within a warp ----

template <class T>
EMULATOR_INLINE uint64_t emulator_bits(T value) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "a lane exchanges 32 or 64 bits");
    uint64_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    return bits;
}
template <class T>
EMULATOR_INLINE T emulator_value(uint64_t bits) {
    T value;
    __builtin_memcpy(&value, &bits, sizeof(T));
    return value;
}
// The value of lane `source`, of the thread itself if `inside` is false.
template <class T>
EMULATOR_INLINE T emulator_shuffle(const EmulatorSite& site, unsigned mask, T value, int source, bool inside) {
    const EmulatorMeeting* met = emulator_engine->exchange(emulator_thread, &site, 0, mask, emulator_bits(value));
    if (!inside) { return value; }
    if (!(met->present >> source & 1)) { emulator_engine->misuse(emulator_thread, &site); }
    return emulator_value<T>(met->values[source]);
}
template <class T>
EMULATOR_INLINE T __shfl_sync(unsigned mask, T value, int source, int width = 32, EMULATOR_PLACE) {
    EMULATOR_SITE("__shfl_sync");
    const int lane = emulator_thread->lane;
    return emulator_shuffle(site, mask, value, (lane & ~(width - 1)) | (source & (width - 1)), true);
}
template <class T>
EMULATOR_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATOR_PLACE) {
    EMULATOR_SITE("__shfl_up_sync");
    const int lane = emulator_thread->lane, source = lane - int(delta);
    return emulator_shuffle(site, mask, value, source, source >= (lane & ~(width - 1)));
}
template <class T>
EMULATOR_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32, EMULATOR_PLACE) {
    EMULATOR_SITE("__shfl_down_sync");
    const int lane = emulator_thread->lane, source = lane + int(delta);
    return emulator_shuffle(site, mask, value, source, source <= (lane | (width - 1)));
}
template <class T>
EMULATOR_INLINE T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32, EMULATOR_PLACE) {
    EMULATOR_SITE("__shfl_xor_sync");
    const int lane = emulator_thread->lane, source = lane ^ lanes;
    return emulator_shuffle(site, mask, value, source, source <= (lane | (width - 1)));
}

// The lanes of `mask` whose value `test` accepts.
template <class Test>
EMULATOR_INLINE unsigned emulator_vote(const EmulatorSite& site, unsigned mask, uint64_t value, Test test) {
    const EmulatorMeeting* met = emulator_engine->exchange(emulator_thread, &site, 0, mask, value);
    unsigned votes = 0;
    for (int lane = 0; lane < 32; ++lane) {
        if ((met->present >> lane & 1) && test(met->values[lane])) { votes |= 1u << lane; }
    }
    return votes;
}
EMULATOR_INLINE unsigned __ballot_sync(unsigned mask, int predicate, EMULATOR_PLACE) {
    EMULATOR_SITE("__ballot_sync");
    return emulator_vote(site, mask, predicate != 0, [](uint64_t value) { return value != 0; });
}
EMULATOR_INLINE int __any_sync(unsigned mask, int predicate, EMULATOR_PLACE) {
    EMULATOR_SITE("__any_sync");
    return emulator_vote(site, mask, predicate != 0, [](uint64_t value) { return value != 0; }) != 0;
}
EMULATOR_INLINE int __all_sync(unsigned mask, int predicate, EMULATOR_PLACE) {
    EMULATOR_SITE("__all_sync");
    return emulator_vote(site, mask, predicate != 0, [](uint64_t value) { return value == 0; }) == 0;
}
template <class T>
EMULATOR_INLINE unsigned __match_any_sync(unsigned mask, T value, EMULATOR_PLACE) {
    EMULATOR_SITE("__match_any_sync");
    const uint64_t own = emulator_bits(value);
    return emulator_vote(site, mask, own, [own](uint64_t other) { return other == own; });
}
template <class T>
EMULATOR_INLINE unsigned __match_all_sync(unsigned mask, T value, int* all, EMULATOR_PLACE) {
    EMULATOR_SITE("__match_all_sync");
    const uint64_t own = emulator_bits(value);
    const bool same = emulator_vote(site, mask, own, [own](uint64_t other) { return other != own; }) == 0;
    *all = same;
    return same ? mask : 0;
}
EMULATOR_INLINE unsigned __activemask() { return emulator_engine->active(emulator_thread); }

template <class T, class Fold>
EMULATOR_INLINE T emulator_reduce(const EmulatorSite& site, unsigned mask, T value, Fold fold) {
    const EmulatorMeeting* met = emulator_engine->exchange(emulator_thread, &site, 0, mask, emulator_bits(value));
    bool first = true;
    T result = value;
    for (int lane = 0; lane < 32; ++lane) {
        if (met->present >> lane & 1) {
            const T other = emulator_value<T>(met->values[lane]);
            result = first ? other : fold(result, other);
            first = false;
        }
    }
    return result;
}
#define EMULATOR_REDUCE(T, name, expression)                                             \
    EMULATOR_INLINE T __reduce_##name##_sync(unsigned mask, T value, EMULATOR_PLACE) {   \
        EMULATOR_SITE("__reduce_" #name "_sync");                                        \
        return emulator_reduce(site, mask, value, [](T a, T b) -> T { return expression; }); \
    }
EMULATOR_REDUCE(unsigned, add, a + b)
EMULATOR_REDUCE(unsigned, min, a < b ? a : b)
EMULATOR_REDUCE(unsigned, max, a > b ? a : b)
EMULATOR_REDUCE(unsigned, and, a & b)
EMULATOR_REDUCE(unsigned, or, a | b)
EMULATOR_REDUCE(unsigned, xor, a ^ b)
EMULATOR_REDUCE(int, add, int(unsigned(a) + unsigned(b)))
EMULATOR_REDUCE(int, min, a < b ? a : b)
EMULATOR_REDUCE(int, max, a > b ? a : b)

// ---- atomics ----

template <class T>
EMULATOR_INLINE T atomicAdd(T* p, T value) { return __atomic_fetch_add(p, value, __ATOMIC_SEQ_CST); }
template <class T>
EMULATOR_INLINE T atomicSub(T* p, T value) { return __atomic_fetch_sub(p, value, __ATOMIC_SEQ_CST); }
template <class T>
EMULATOR_INLINE T atomicAnd(T* p, T value) { return __atomic_fetch_and(p, value, __ATOMIC_SEQ_CST); }
template <class T>
EMULATOR_INLINE T atomicOr(T* p, T value) { return __atomic_fetch_or(p, value, __ATOMIC_SEQ_CST); }
template <class T>
EMULATOR_INLINE T atomicXor(T* p, T value) { return __atomic_fetch_xor(p, value, __ATOMIC_SEQ_CST); }
template <class T>
EMULATOR_INLINE T atomicExch(T* p, T value) { return __atomic_exchange_n(p, value, __ATOMIC_SEQ_CST); }
template <class T>
EMULATOR_INLINE T atomicCAS(T* p, T want, T value) {
    __atomic_compare_exchange_n(p, &want, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    return want;
}
template <class T, class Better>
EMULATOR_INLINE T emulator_atomic_best(T* p, T value, Better better) {
    T old = __atomic_load_n(p, __ATOMIC_SEQ_CST);
    while (better(value, old) && !__atomic_compare_exchange_n(p, &old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
    return old;
}
template <class T>
EMULATOR_INLINE T atomicMax(T* p, T value) { return emulator_atomic_best(p, value, [](T a, T b) { return a > b; }); }
template <class T>
EMULATOR_INLINE T atomicMin(T* p, T value) { return emulator_atomic_best(p, value, [](T a, T b) { return a < b; }); }
// CUDA's 64 bits are unsigned long long; uint64_t may be another type of the same size.
#define EMULATOR_ATOMIC64(name)                                                                                                     \
    EMULATOR_INLINE unsigned long long name(unsigned long long* p, unsigned long value) { return name(p, (unsigned long long)value); } \
    EMULATOR_INLINE unsigned long long name(unsigned long long* p, unsigned value) { return name(p, (unsigned long long)value); }      \
    EMULATOR_INLINE unsigned long long name(unsigned long long* p, int value) { return name(p, (unsigned long long)value); }           \
    EMULATOR_INLINE unsigned name(unsigned* p, int value) { return name(p, (unsigned)value); }
EMULATOR_ATOMIC64(atomicAdd)
EMULATOR_ATOMIC64(atomicMax)
EMULATOR_ATOMIC64(atomicMin)
EMULATOR_ATOMIC64(atomicAnd)
EMULATOR_ATOMIC64(atomicOr)
EMULATOR_ATOMIC64(atomicXor)
EMULATOR_ATOMIC64(atomicExch)
EMULATOR_INLINE unsigned long long atomicCAS(unsigned long long* p, unsigned long want, unsigned long value) {
    return atomicCAS(p, (unsigned long long)want, (unsigned long long)value);
}

// ---- integers and bits ----

EMULATOR_INLINE int __popc(unsigned x) { return __builtin_popcount(x); }
EMULATOR_INLINE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
EMULATOR_INLINE int __ffs(int x) { return __builtin_ffs(x); }
EMULATOR_INLINE int __ffsll(long long x) { return __builtin_ffsll(x); }
EMULATOR_INLINE int __clz(int x) { return x == 0 ? 32 : __builtin_clz(unsigned(x)); }
EMULATOR_INLINE int __clzll(long long x) { return x == 0 ? 64 : __builtin_clzll((unsigned long long)x); }
EMULATOR_INLINE unsigned __brev(unsigned x) {
    unsigned y = 0;
    for (int bit = 0; bit < 32; ++bit) { y |= (x >> bit & 1) << (31 - bit); }
    return y;
}
EMULATOR_INLINE unsigned long long __brevll(unsigned long long x) {
    return (unsigned long long)__brev(unsigned(x)) << 32 | __brev(unsigned(x >> 32));
}
EMULATOR_INLINE unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
EMULATOR_INLINE int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
EMULATOR_INLINE unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
EMULATOR_INLINE long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }
EMULATOR_INLINE unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    const unsigned long long bytes = (unsigned long long)y << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i) { result |= unsigned(bytes >> ((selector >> (4 * i) & 7) * 8) & 0xff) << (8 * i); }
    return result;
}
EMULATOR_INLINE unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return unsigned((((unsigned long long)high << 32 | low) << (shift & 31)) >> 32);
}
EMULATOR_INLINE unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return unsigned(((unsigned long long)high << 32 | low) >> (shift & 31));
}

#define EMULATOR_INTEGER_MIN_MAX(T)                              \
    EMULATOR_INLINE T min(T a, T b) { return a < b ? a : b; }    \
    EMULATOR_INLINE T max(T a, T b) { return a > b ? a : b; }
EMULATOR_INTEGER_MIN_MAX(int)
EMULATOR_INTEGER_MIN_MAX(unsigned)
EMULATOR_INTEGER_MIN_MAX(long)
EMULATOR_INTEGER_MIN_MAX(unsigned long)
EMULATOR_INTEGER_MIN_MAX(long long)
EMULATOR_INTEGER_MIN_MAX(unsigned long long)

// ---- bits of floats, loads, roundings ----

EMULATOR_INLINE unsigned __float_as_uint(float x) { return emulator_value<unsigned>(emulator_bits(x)); }
EMULATOR_INLINE int __float_as_int(float x) { return emulator_value<int>(emulator_bits(x)); }
EMULATOR_INLINE float __uint_as_float(unsigned x) { return emulator_value<float>(x); }
EMULATOR_INLINE float __int_as_float(int x) { return emulator_value<float>(unsigned(x)); }
EMULATOR_INLINE long long __double_as_longlong(double x) { return emulator_value<long long>(emulator_bits(x)); }
EMULATOR_INLINE double __longlong_as_double(long long x) { return emulator_value<double>((unsigned long long)x); }
EMULATOR_INLINE int __double2hiint(double x) { return int(emulator_bits(x) >> 32); }
EMULATOR_INLINE int __double2loint(double x) { return int(emulator_bits(x)); }
EMULATOR_INLINE double __hiloint2double(int high, int low) {
    return emulator_value<double>((unsigned long long)unsigned(high) << 32 | unsigned(low));
}

template <class T>
EMULATOR_INLINE T __ldg(const T* p) { return *p; }
template <class T>
EMULATOR_INLINE T __ldcs(const T* p) { return *p; }
template <class T>
EMULATOR_INLINE T __ldcg(const T* p) { return *p; }
template <class T>
EMULATOR_INLINE void __stcs(T* p, T value) { *p = value; }
template <class T>
EMULATOR_INLINE void __stcg(T* p, T value) { *p = value; }

EMULATOR_INLINE float __fmaf_rn(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
EMULATOR_INLINE float __fadd_rn(float a, float b) { return a + b; }
EMULATOR_INLINE float __fsub_rn(float a, float b) { return a - b; }
EMULATOR_INLINE float __fmul_rn(float a, float b) { return a * b; }
EMULATOR_INLINE float __fdiv_rn(float a, float b) { return a / b; }
EMULATOR_INLINE float __fsqrt_rn(float a) { return __builtin_sqrtf(a); }
EMULATOR_INLINE double __fma_rn(double a, double b, double c) { return __builtin_fma(a, b, c); }
EMULATOR_INLINE double __dadd_rn(double a, double b) { return a + b; }
EMULATOR_INLINE double __dsub_rn(double a, double b) { return a - b; }
EMULATOR_INLINE double __dmul_rn(double a, double b) { return a * b; }
EMULATOR_INLINE double __ddiv_rn(double a, double b) { return a / b; }
EMULATOR_INLINE double __dsqrt_rn(double a) { return __builtin_sqrt(a); }

// To an integer as the device does it: NaN is 0, what is out of range is the nearest end.
template <class I, class F>
EMULATOR_INLINE I emulator_to_integer(F x, F low, F high, I lowest, I highest) {
    return x != x ? I(0) : x <= low ? lowest : x >= high ? highest : I(x);
}
EMULATOR_INLINE unsigned __float2uint_rz(float x) { return emulator_to_integer<unsigned>(x, 0.0f, 4294967296.0f, 0u, 0xffffffffu); }
EMULATOR_INLINE int __float2int_rz(float x) { return emulator_to_integer<int>(x, -2147483648.0f, 2147483648.0f, INT32_MIN, INT32_MAX); }
EMULATOR_INLINE int __float2int_rn(float x) { return __float2int_rz(__builtin_rintf(x)); }
EMULATOR_INLINE unsigned __float2uint_rn(float x) { return __float2uint_rz(__builtin_rintf(x)); }
EMULATOR_INLINE int __float2int_rd(float x) { return __float2int_rz(__builtin_floorf(x)); }
EMULATOR_INLINE unsigned __double2uint_rz(double x) { return emulator_to_integer<unsigned>(x, 0.0, 4294967296.0, 0u, 0xffffffffu); }
EMULATOR_INLINE int __double2int_rz(double x) { return emulator_to_integer<int>(x, -2147483648.0, 2147483648.0, INT32_MIN, INT32_MAX); }
EMULATOR_INLINE unsigned long long __double2ull_rz(double x) {
    return emulator_to_integer<unsigned long long>(x, 0.0, 18446744073709551616.0, 0ull, ~0ull);
}
EMULATOR_INLINE float __uint2float_rn(unsigned x) { return float(x); }
EMULATOR_INLINE float __int2float_rn(int x) { return float(x); }
EMULATOR_INLINE float __double2float_rn(double x) { return float(x); }
EMULATOR_INLINE double __uint2double_rn(unsigned x) { return double(x); }
EMULATOR_INLINE double __ull2double_rn(unsigned long long x) { return double(x); }
EMULATOR_INLINE float __ull2float_rn(unsigned long long x) { return float(x); }
EMULATOR_INLINE float __saturatef(float x) { return x >= 0.0f ? (x <= 1.0f ? x : 1.0f) : 0.0f; }

#define __CUDA_ON_HOST__ 1
#define assert(condition) ((void)0)

// ---- the list of kernels ----

template <class T>
struct EmulatorKind { static constexpr uint8_t value = 0; };
template <class T>
struct EmulatorKind<T*> { static constexpr uint8_t value = 2; };
template <class T>
struct EmulatorKind<const T*> { static constexpr uint8_t value = 1; };

template <auto kernel>
struct EmulatorCall;
template <class... A, void (*kernel)(A...)>
struct EmulatorCall<kernel> {
    static constexpr uint32_t sizes[] = {sizeof(A)..., 0};
    static constexpr uint8_t kinds[] = {EmulatorKind<A>::value..., 0};
    static constexpr uint32_t count = sizeof...(A);
    static void call(void** arguments) { call(arguments, sequence()); }

private:
    template <unsigned... I>
    struct Sequence {};
    template <unsigned n, unsigned... I>
    struct Make : Make<n - 1, n - 1, I...> {};
    template <unsigned... I>
    struct Make<0, I...> { using type = Sequence<I...>; };
    static typename Make<count>::type sequence() { return {}; }
    template <unsigned... I>
    static void call(void** arguments, Sequence<I...>) {
        (void)arguments;
        kernel(*static_cast<A*>(arguments[I])...);
    }
};
struct EmulatorRegistration {
    EmulatorKernel kernel;
    template <class Call>
    EmulatorRegistration(const char* name, uint32_t max_threads, Call)
        : kernel{name, &Call::call, Call::sizes, Call::kinds, Call::count, max_threads, emulator_first_kernel} {
        emulator_first_kernel = &kernel;
    }
};
// What __launch_bounds__ says first; 0 if there are none.
constexpr uint32_t emulator_first(uint32_t first = 0, uint32_t = 0, uint32_t = 0) { return first; }
#define EMULATOR_KERNEL(name, ...) \
    static EmulatorRegistration emulator_registration_##name(#name, emulator_first(__VA_ARGS__), EmulatorCall<&name>());
