// Addressed normals: Philox4x32-10 and Box-Muller in portable arithmetic, the twin of src/noise and src/portable.rs.

#define NORMAL_THREADS 256

INLINE uint4 philox4x32_10(uint4 c, u32 k0, u32 k1) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        u32 h0 = __umulhi(0xD2511F53u, c.x), l0 = 0xD2511F53u * c.x;
        u32 h1 = __umulhi(0xCD9E8D57u, c.z), l1 = 0xCD9E8D57u * c.z;
        c = make_uint4(h1 ^ c.y ^ k0, l1, h0 ^ c.w ^ k1, l0);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

INLINE float fma_apart(float a, float b, float c) { return add(mul(a, b), c); }
INLINE double fma_apart(double a, double b, double c) { return add(mul(a, b), c); }

INLINE float ln_portable(float u) {
    u32 word = __float_as_uint(u);
    float half = __uint_as_float((word & 0x007fffffu) | 0x3f000000u);
    bool low = half < 0.70710678118654752440f;
    float m = low ? add(half, half) : half;
    float e = __int2float_rn((int)(word >> 23) - 126 - (low ? 1 : 0));
    float x = sub(m, 1.0f), z = mul(x, x);
    float y = 7.0376836292e-2f;
    y = fma_apart(y, x, -1.1514610310e-1f);
    y = fma_apart(y, x, 1.1676998740e-1f);
    y = fma_apart(y, x, -1.2420140846e-1f);
    y = fma_apart(y, x, 1.4249322787e-1f);
    y = fma_apart(y, x, -1.6668057665e-1f);
    y = fma_apart(y, x, 2.0000714765e-1f);
    y = fma_apart(y, x, -2.4999993993e-1f);
    y = fma_apart(y, x, 3.3333331174e-1f);
    y = mul(mul(y, x), z);
    y = add(y, mul(e, -2.12194440e-4f));
    y = add(y, mul(-0.5f, z));
    return add(mul(e, 0.693359375f), add(x, y));
}

// ln of a normal number, see ln_scaled in src/portable.rs.
INLINE double ln_portable(double u) {
    u64 word = bits(u) + (0x3ff0000000000000ull - 0x3fe6a09e667f3bcdull);
    double m = from_bits((word & 0x000fffffffffffffull) + 0x3fe6a09e667f3bcdull);
    double k = sub(from_bits((word >> 52) | 0x4330000000000000ull), 4503599627371519.0);
    double f = sub(m, 1.0);
    double s = quotient(f, add(2.0, f));
    double z = mul(s, s), w = mul(z, z);
    double even = fma_apart(0.14795951016676445, w, 0.1818356433034001);
    even = fma_apart(even, w, 0.2857142874238819);
    even = fma_apart(even, w, 0.6666666666666734);
    double odd = fma_apart(0.1531405043182422, w, 0.2222219857311381);
    odd = fma_apart(odd, w, 0.39999999999414676);
    double r = mul(z, add(even, mul(z, odd)));
    double half_square = mul(mul(0.5, f), f);
    double tail = add(mul(s, add(half_square, r)), mul(k, 1.9082149292705877e-10));
    return sub(mul(k, from_bits(0x3fe62e42fee00000ull)), sub(sub(half_square, tail), f));
}

struct Float2 {
    float s, c;
};
struct Double2 {
    double s, c;
};

INLINE Float2 sin_cos(float a) {
    float z = mul(a, a);
    float s = fma_apart(-1.9515295891e-4f, z, 8.3321608736e-3f);
    s = fma_apart(s, z, -1.6666654611e-1f);
    s = fma_apart(mul(s, z), a, a);
    float c = fma_apart(2.443315711809948e-5f, z, -1.388731625493765e-3f);
    c = fma_apart(c, z, 4.166664568298827e-2f);
    c = add(add(mul(-0.5f, z), mul(mul(c, z), z)), 1.0f);
    return {s, c};
}

INLINE Double2 sin_cos(double a) {
    double z = mul(a, a);
    double s = fma_apart(1.5896827685378293e-10, z, -2.5050758649361576e-08);
    s = fma_apart(s, z, 2.7557313695203547e-06);
    s = fma_apart(s, z, -0.0001984126982981689);
    s = fma_apart(s, z, 0.008333333333322425);
    s = fma_apart(s, z, -0.16666666666666632);
    s = fma_apart(mul(s, z), a, a);
    double c = fma_apart(-1.1358536351502868e-11, z, 2.0875700838812654e-09);
    c = fma_apart(c, z, -2.755731417927428e-07);
    c = fma_apart(c, z, 2.480158728885163e-05);
    c = fma_apart(c, z, -0.0013888888888873056);
    c = fma_apart(c, z, 0.041666666666666595);
    c = add(add(mul(-0.5, z), mul(mul(c, z), z)), 1.0);
    return {s, c};
}

INLINE u32 nearest_quarter(u32 word) { return (word + 0x20000000u) >> 30; }
INLINE u32 cos_sign(u32 quarters) { return ((quarters + 1) & 2) << 30; }
INLINE u32 sin_sign(u32 quarters) { return (quarters & 2) << 30; }

#define UNIT_32 2.3283064365386963e-10
#define HALF_32 1.1641532182693481e-10

INLINE void box_muller(u32 radius, u32 angle, float &first, float &second) {
    float u = add(mul(__uint2float_rn(radius), (float)UNIT_32), (float)HALF_32);
    float r = root(mul(-2.0f, ln_portable(u)));
    u32 quarters = nearest_quarter(angle);
    float remainder = mul(__int2float_rn((int)(angle << 2)), (float)UNIT_32);
    Float2 sc = sin_cos(mul(remainder, 1.57079632679489661923f));
    bool odd = quarters & 1;
    float cosine = odd ? sc.s : sc.c, sine = odd ? sc.c : sc.s;
    first = mul(r, __uint_as_float(__float_as_uint(cosine) ^ cos_sign(quarters)));
    second = mul(r, __uint_as_float(__float_as_uint(sine) ^ sin_sign(quarters)));
}

INLINE double fraction(double high, u32 low) {
    return add(mul(high, UNIT_32), mul(__uint2double_rn(low), 5.42101086242752217004e-20));
}

INLINE void box_muller(u32 r0, u32 r1, u32 a0, u32 a1, double &first, double &second) {
    double u = add(fraction(__uint2double_rn(r0), r1), 2.71050543121376108502e-20);
    double r = root(mul(-2.0, ln_portable(u)));
    u32 quarters = nearest_quarter(a0);
    double remainder = fraction(__int2double_rn((int)((a0 << 2) | (a1 >> 30))), a1 << 2);
    Double2 sc = sin_cos(mul(remainder, 1.57079632679489661923));
    bool odd = quarters & 1;
    double cosine = odd ? sc.s : sc.c, sine = odd ? sc.c : sc.s;
    first = mul(r, from_bits(bits(cosine) ^ ((u64)cos_sign(quarters) << 32)));
    second = mul(r, from_bits(bits(sine) ^ ((u64)sin_sign(quarters) << 32)));
}

// A row of normals to be made.
struct NoiseRow {
    u32 row, stream, step, sample;
};

// Four elements a thread; `blocks` blocks of threads a row.
template <class T>
INLINE void normals(const NoiseRow *rows, T *out, u64 dim, u32 blocks, u32 k0, u32 k1) {
    NoiseRow r = rows[blockIdx.x / blocks];
    u64 quad = (u64)(blockIdx.x % blocks) * NORMAL_THREADS + threadIdx.x, column = 4 * quad;
    u32 count = width(dim, column);
    if (!count) return;
    uint4 w = philox4x32_10(make_uint4((u32)quad, r.step, r.sample, r.stream), k0, k1);
    float a, b, c, d;
    box_muller(w.x, w.y, a, b);
    box_muller(w.z, w.w, c, d);
    Quad<T> q = {{(T)a, (T)b, (T)c, (T)d}};
    store(out + (u64)r.row * dim + column, q, count, dim % 4 == 0);
}

KERNEL(NORMAL_THREADS)
normals_f32(const NoiseRow *rows, float *out, u64 dim, u32 blocks, u32 k0, u32 k1) { normals(rows, out, dim, blocks, k0, k1); }

KERNEL(NORMAL_THREADS)
normals_f64(const NoiseRow *rows, double *out, u64 dim, u32 blocks, u32 k0, u32 k1) { normals(rows, out, dim, blocks, k0, k1); }

// All 53 bits: a block of Philox gives two normals.
KERNEL(NORMAL_THREADS)
normals_double(const NoiseRow *rows, double *out, u64 dim, u32 blocks, u32 k0, u32 k1) {
    NoiseRow r = rows[blockIdx.x / blocks];
    u64 quad = (u64)(blockIdx.x % blocks) * NORMAL_THREADS + threadIdx.x, column = 4 * quad;
    u32 count = width(dim, column);
    if (!count) return;
    Quad<double> q;
#pragma unroll
    for (u32 half = 0; half < 2; ++half) {
        uint4 w = philox4x32_10(make_uint4((u32)(2 * quad + half), r.step, r.sample, r.stream | 0x80000000u), k0, k1);
        box_muller(w.x, w.y, w.z, w.w, q.v[2 * half], q.v[2 * half + 1]);
    }
    store(out + (u64)r.row * dim + column, q, count, dim % 4 == 0);
}
