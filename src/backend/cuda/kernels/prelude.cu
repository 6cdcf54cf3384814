// Arithmetic that every kernel shares. All sources are compiled as one text, without any #include, by NVRTC, nvcc or clang; the tests
// compile the same text with a C++ compiler.
//
// Every operation that must have the bits of the CPU goes through the round-to-nearest intrinsics below: no compiler may contract those
// into a fused multiply-add.

typedef unsigned int u32;
typedef unsigned long long u64;

#define KERNEL(threads) extern "C" __global__ void __launch_bounds__(threads)
#define INLINE __device__ __forceinline__

// Elements of a leaf of the canonical sums: one warp, four elements a lane.
#define LEAF 128
#define WARP 32
#define FULL 0xffffffffu

INLINE float mul(float a, float b) { return __fmul_rn(a, b); }
INLINE float add(float a, float b) { return __fadd_rn(a, b); }
INLINE float sub(float a, float b) { return __fsub_rn(a, b); }
INLINE float quotient(float a, float b) { return __fdiv_rn(a, b); }
INLINE float root(float a) { return __fsqrt_rn(a); }
INLINE double mul(double a, double b) { return __dmul_rn(a, b); }
INLINE double add(double a, double b) { return __dadd_rn(a, b); }
INLINE double sub(double a, double b) { return __dsub_rn(a, b); }
INLINE double quotient(double a, double b) { return __ddiv_rn(a, b); }
INLINE double root(double a) { return __dsqrt_rn(a); }

INLINE u64 bits(float a) { return __float_as_uint(a); }
INLINE u64 bits(double a) { return (u64)__double_as_longlong(a); }
INLINE bool finite(float a) { return (__float_as_uint(a) & 0x7f800000u) != 0x7f800000u; }
INLINE bool finite(double a) { return ((u64)__double_as_longlong(a) & 0x7ff0000000000000ull) != 0x7ff0000000000000ull; }
INLINE double from_bits(u64 a) { return __longlong_as_double((long long)a); }

// Four neighbouring elements of a row.
template <class T>
struct Quad {
    T v[4];
};

// How many of the four elements from `column` on a row has.
INLINE u32 width(u64 dim, u64 column) { return column >= dim ? 0 : dim - column < 4 ? (u32)(dim - column) : 4; }

INLINE Quad<float> load_whole(const float *p) {
    float4 a = *(const float4 *)p;
    return {{a.x, a.y, a.z, a.w}};
}
INLINE Quad<double> load_whole(const double *p) {
    double2 a = ((const double2 *)p)[0], b = ((const double2 *)p)[1];
    return {{a.x, a.y, b.x, b.y}};
}
INLINE void store_whole(float *p, const Quad<float> &q) { *(float4 *)p = make_float4(q.v[0], q.v[1], q.v[2], q.v[3]); }
INLINE void store_whole(double *p, const Quad<double> &q) {
    ((double2 *)p)[0] = make_double2(q.v[0], q.v[1]);
    ((double2 *)p)[1] = make_double2(q.v[2], q.v[3]);
}

// Rows are aligned to whole quads where the dimension is a multiple of four. Elements beyond the row are +0.
template <class T>
INLINE Quad<T> load(const T *p, u32 count, bool aligned) {
    if (aligned) {
        if (count) return load_whole(p);
        return {{0, 0, 0, 0}};
    }
    Quad<T> q;
#pragma unroll
    for (u32 i = 0; i < 4; ++i) q.v[i] = i < count ? p[i] : (T)0;
    return q;
}

template <class T>
INLINE void store(T *p, const Quad<T> &q, u32 count, bool aligned) {
    if (aligned) {
        if (count) store_whole(p, q);
        return;
    }
#pragma unroll
    for (u32 i = 0; i < 4; ++i)
        if (i < count) p[i] = q.v[i];
}

// The canonical sum of a leaf; the result is that of lane 0.
template <class T>
INLINE T leaf_sum(const Quad<T> &q) {
    T sum = add(add(q.v[0], q.v[1]), add(q.v[2], q.v[3]));
#pragma unroll
    for (u32 distance = WARP / 2; distance; distance /= 2) sum = add(sum, __shfl_down_sync(FULL, sum, distance));
    return sum;
}
