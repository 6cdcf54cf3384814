// The CUDA device language, as far as kernels without #include use it, for a host C++17 compiler.
// Everything here is written for one reader: the kernel source, which is included after it.
#pragma once
#include "emulator.h"
#include <math.h>
#include <string.h>
#include <type_traits>
#include <utility>

namespace emu {

// Of the thread that runs now; the scheduler sets them before it lets a thread go on.
extern uint3 thread_index, block_index;
extern dim3 block_size, grid_size;
extern unsigned lane;

using Fold = uint64_t (*)(const uint64_t* values, unsigned mask);

// Waits for every lane of `mask` and returns the value that lane `source` brought, or, with a fold, the fold
// of all values.
uint64_t exchange(const char* what, int line, unsigned mask, uint64_t value, int source, Fold fold);
void wait_for_block(int line);

template <class T>
uint64_t to_bits(T value) {
    static_assert(std::is_arithmetic<T>::value, "warp intrinsics take numbers of up to 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    return bits;
}
template <class T>
T from_bits(uint64_t bits) {
    T value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

struct Max {
    template <class T>
    static T of(T a, T b) {
        return a > b ? a : b;
    }
};
struct Min {
    template <class T>
    static T of(T a, T b) {
        return a < b ? a : b;
    }
};
struct Sum {
    template <class T>
    static T of(T a, T b) {
        return a + b;
    }
};
struct Or {
    template <class T>
    static T of(T a, T b) {
        return a | b;
    }
};
struct And {
    template <class T>
    static T of(T a, T b) {
        return a & b;
    }
};

template <class T, class Op>
uint64_t fold(const uint64_t* values, unsigned mask) {
    bool first = true;
    T result{};
    for (int i = 0; i < 32; ++i) {
        if (!(mask >> i & 1)) continue;
        T value = from_bits<T>(values[i]);
        result = first ? value : Op::of(result, value);
        first = false;
    }
    return to_bits(result);
}

// The intrinsics at which a thread may wait. `line` names the call in reports, and threads that meet at
// different lines have diverged.
struct At {
    int line;

    void sync_threads() const { wait_for_block(line); }
    void sync_warp(unsigned mask = 0xffffffffu) const { exchange("__syncwarp", line, mask, 0, (int)lane, nullptr); }

    template <class T>
    T shfl(unsigned mask, T value, int source, int width = 32) const {
        int segment = (int)lane & ~(width - 1);
        return read("__shfl_sync", mask, value, segment + (source & (width - 1)));
    }
    template <class T>
    T shfl_down(unsigned mask, T value, unsigned delta, int width = 32) const {
        unsigned source = lane + delta, end = (lane & ~(unsigned)(width - 1)) + (unsigned)width;
        return read("__shfl_down_sync", mask, value, source < end ? (int)source : (int)lane);
    }
    template <class T>
    T shfl_up(unsigned mask, T value, unsigned delta, int width = 32) const {
        int source = (int)lane - (int)delta, segment = (int)lane & ~(width - 1);
        return read("__shfl_up_sync", mask, value, source >= segment ? source : (int)lane);
    }
    template <class T>
    T shfl_xor(unsigned mask, T value, int bits, int width = 32) const {
        int source = (int)lane ^ bits, end = ((int)lane & ~(width - 1)) + width;
        return read("__shfl_xor_sync", mask, value, source < end ? source : (int)lane);
    }

    unsigned ballot(unsigned mask, int predicate) const {
        return reduce<unsigned, Or>("__ballot_sync", mask, predicate ? 1u << lane : 0u);
    }
    int any(unsigned mask, int predicate) const {
        return reduce<unsigned, Or>("__any_sync", mask, predicate ? 1u : 0u) != 0;
    }
    int all(unsigned mask, int predicate) const {
        return reduce<unsigned, And>("__all_sync", mask, predicate ? 1u : 0u) != 0;
    }
    template <class T>
    T reduce_max(unsigned mask, T value) const {
        return reduce<T, Max>("__reduce_max_sync", mask, value);
    }
    template <class T>
    T reduce_min(unsigned mask, T value) const {
        return reduce<T, Min>("__reduce_min_sync", mask, value);
    }
    template <class T>
    T reduce_add(unsigned mask, T value) const {
        return reduce<T, Sum>("__reduce_add_sync", mask, value);
    }

private:
    template <class T>
    T read(const char* what, unsigned mask, T value, int source) const {
        return from_bits<T>(exchange(what, line, mask, to_bits(value), source, nullptr));
    }
    template <class T, class Op>
    T reduce(const char* what, unsigned mask, T value) const {
        return from_bits<T>(exchange(what, line, mask, to_bits(value), (int)lane, fold<T, Op>));
    }
};

// A `__shared__` declaration first reports that the thread has come to it; the first report of a block fills
// the variables with 0xff, so that what an earlier block left is never read. Lazily, because most kernels
// use little of the shared memory that the whole source declares.
inline void enter_shared(unsigned declaration) {
    if (shared[declaration].poisoned_in_block != block_number) poison_shared(declaration);
}

// Calls a kernel whose parameters lie behind an array of pointers, as the driver passes them.
template <auto Function>
struct Caller;
template <class... A, void (*Function)(A...)>
struct Caller<Function> {
    static constexpr size_t sizes[sizeof...(A) + 1] = {sizeof(A)..., 0};
    static constexpr size_t count = sizeof...(A);
    template <size_t... I>
    static void call_with(void** p, std::index_sequence<I...>) {
        Function(*static_cast<A*>(p[I])...);
    }
    static void call(void** p) { call_with(p, std::index_sequence_for<A...>{}); }
};
constexpr unsigned launch_bound(unsigned threads = 0, unsigned = 0, unsigned = 0) { return threads; }

} // namespace emu

#define EMU_KERNEL(function, ...) \
    {#function, emu::Caller<&::function>::sizes, emu::Caller<&::function>::count, \
     emu::launch_bound(__VA_ARGS__), &emu::Caller<&::function>::call}

#define threadIdx (emu::thread_index)
#define blockIdx (emu::block_index)
#define blockDim (emu::block_size)
#define gridDim (emu::grid_size)
static constexpr int warpSize = 32;

#define __syncthreads emu::At{__LINE__}.sync_threads
#define __syncwarp emu::At{__LINE__}.sync_warp
#define __shfl_sync emu::At{__LINE__}.shfl
#define __shfl_down_sync emu::At{__LINE__}.shfl_down
#define __shfl_up_sync emu::At{__LINE__}.shfl_up
#define __shfl_xor_sync emu::At{__LINE__}.shfl_xor
#define __ballot_sync emu::At{__LINE__}.ballot
#define __any_sync emu::At{__LINE__}.any
#define __all_sync emu::At{__LINE__}.all
#define __reduce_max_sync emu::At{__LINE__}.reduce_max
#define __reduce_min_sync emu::At{__LINE__}.reduce_min
#define __reduce_add_sync emu::At{__LINE__}.reduce_add
static inline void __threadfence() {}
static inline void __threadfence_block() {}

#include "intrinsics.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(n) __attribute__((aligned(n)))

// Each declaration lies in a section of its own, whose ends the linker names: kernels.cpp has the table.
#define EMU_TEXT(x) #x
#define EMU_SHARED(declaration) \
    emu::enter_shared(declaration); \
    static __attribute__((section("emu_shared_" EMU_TEXT(declaration)), used))
#define EMU_SHARED_NUMBERED(declaration) EMU_SHARED(declaration)
#define __shared__ EMU_SHARED_NUMBERED(__COUNTER__)
