// Vector types, arithmetic with stated rounding, conversions and atomics of the CUDA device language.
// The sources are compiled with -ffp-contract=off, so that a product and a sum written apart stay apart.
#pragma once

#define EMU_VECTOR2(name, type, alignment) \
    struct alignas(alignment) name { \
        type x, y; \
    }; \
    static inline name make_##name(type x, type y) { return {x, y}; }
#define EMU_VECTOR4(name, type, alignment) \
    struct alignas(alignment) name { \
        type x, y, z, w; \
    }; \
    static inline name make_##name(type x, type y, type z, type w) { return {x, y, z, w}; }
EMU_VECTOR2(float2, float, 8)
EMU_VECTOR2(double2, double, 16)
EMU_VECTOR2(int2, int, 8)
EMU_VECTOR2(uint2, unsigned, 8)
EMU_VECTOR2(longlong2, long long, 16)
EMU_VECTOR2(ulonglong2, unsigned long long, 16)
EMU_VECTOR4(float4, float, 16)
EMU_VECTOR4(double4, double, 16)
EMU_VECTOR4(int4, int, 16)
EMU_VECTOR4(uint4, unsigned, 16)
#undef EMU_VECTOR2
#undef EMU_VECTOR4

namespace emu {
template <class To, class From>
To reinterpret(From from) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
// The type itself, not deduced: an atomic's operand converts to the type of what the pointer points to.
template <class T>
struct Operand {
    using Type = T;
};
} // namespace emu

static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __frcp_rn(float a) { return 1.0f / a; }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __dsqrt_rn(double a) { return sqrt(a); }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

static inline unsigned __float_as_uint(float a) { return emu::reinterpret<unsigned>(a); }
static inline int __float_as_int(float a) { return emu::reinterpret<int>(a); }
static inline float __uint_as_float(unsigned a) { return emu::reinterpret<float>(a); }
static inline float __int_as_float(int a) { return emu::reinterpret<float>(a); }
static inline long long __double_as_longlong(double a) { return emu::reinterpret<long long>(a); }
static inline double __longlong_as_double(long long a) { return emu::reinterpret<double>(a); }
static inline int __double2hiint(double a) { return (int)(emu::reinterpret<uint64_t>(a) >> 32); }
static inline int __double2loint(double a) { return (int)emu::reinterpret<uint64_t>(a); }
static inline double __hiloint2double(int high, int low) {
    return emu::reinterpret<double>((uint64_t)(unsigned)high << 32 | (unsigned)low);
}

static inline float __uint2float_rn(unsigned a) { return (float)a; }
static inline float __int2float_rn(int a) { return (float)a; }
static inline float __ull2float_rn(unsigned long long a) { return (float)a; }
static inline float __ll2float_rn(long long a) { return (float)a; }
static inline float __double2float_rn(double a) { return (float)a; }
static inline double __uint2double_rn(unsigned a) { return (double)a; }
static inline double __int2double_rn(int a) { return (double)a; }
static inline double __ull2double_rn(unsigned long long a) { return (double)a; }
static inline double __ll2double_rn(long long a) { return (double)a; }

static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((uint64_t)a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
static inline int __clz(int a) { return a ? __builtin_clz((unsigned)a) : 32; }
static inline int __clzll(long long a) { return a ? __builtin_clzll((unsigned long long)a) : 64; }
static inline int __ffs(int a) { return __builtin_ffs(a); }
static inline int __ffsll(long long a) { return __builtin_ffsll(a); }

static inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }

#define EMU_MIN_MAX(type) \
    static inline type min(type a, type b) { return b < a ? b : a; } \
    static inline type max(type a, type b) { return a < b ? b : a; }
EMU_MIN_MAX(int)
EMU_MIN_MAX(unsigned)
EMU_MIN_MAX(long)
EMU_MIN_MAX(unsigned long)
EMU_MIN_MAX(long long)
EMU_MIN_MAX(unsigned long long)
#undef EMU_MIN_MAX
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

// Loads and stores with a cache hint.
template <class T>
static inline T __ldg(const T* p) {
    return *p;
}
template <class T>
static inline T __ldcs(const T* p) {
    return *p;
}
template <class T>
static inline T __ldcg(const T* p) {
    return *p;
}
template <class T>
static inline void __stcs(T* p, typename emu::Operand<T>::Type value) {
    *p = value;
}
template <class T>
static inline void __stcg(T* p, typename emu::Operand<T>::Type value) {
    *p = value;
}

// One thread runs at a time and gives way at barriers only, so plain code is atomic. Only integers have the
// comparisons and the bit operations on a GPU.
#define EMU_ATOMIC(name, integers_only, result) \
    template <class T> \
    static inline T name(T* p, typename emu::Operand<T>::Type value) { \
        static_assert(std::is_integral<T>::value || !(integers_only), #name " takes integers"); \
        T old = *p; \
        *p = (result); \
        return old; \
    }
EMU_ATOMIC(atomicAdd, false, old + value)
EMU_ATOMIC(atomicExch, false, value)
EMU_ATOMIC(atomicSub, true, old - value)
EMU_ATOMIC(atomicMax, true, old < value ? value : old)
EMU_ATOMIC(atomicMin, true, value < old ? value : old)
EMU_ATOMIC(atomicOr, true, old | value)
EMU_ATOMIC(atomicAnd, true, old & value)
EMU_ATOMIC(atomicXor, true, old ^ value)
EMU_ATOMIC(atomicInc, true, old >= value ? 0 : old + 1)
#undef EMU_ATOMIC
template <class T>
static inline T atomicCAS(T* p, typename emu::Operand<T>::Type expected, typename emu::Operand<T>::Type value) {
    T old = *p;
    if (old == expected) *p = value;
    return old;
}
