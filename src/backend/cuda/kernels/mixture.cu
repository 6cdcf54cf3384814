// The exact oracle of a mixture of Gaussians, the twin of src/score/mixture/oracle.rs.

// e^x, see exp_f64 in src/portable.rs.
INLINE double exp_portable(double x) {
    const double round = 6755399441055744.0;
    if (x > 710.0) x = 710.0;
    if (x < -746.0) x = -746.0;
    double rounded = add(mul(x, 1.44269504088896340736), round);
    double k = sub(rounded, round);
    double high = sub(x, mul(k, from_bits(0x3fe62e42fee00000ull)));
    double low = mul(k, 1.9082149292705877e-10);
    double r = sub(high, low);
    double r2 = mul(r, r), r4 = mul(r2, r2);
    double q01 = fma_apart(0.16666666666666413, r, 0.5000000000000011);
    double q23 = fma_apart(0.008333333333494336, r, 0.041666666666530267);
    double q45 = fma_apart(0.0001984126950677048, r, 0.0013888888943597937);
    double q67 = fma_apart(2.7557586274389912e-06, r, 2.4801493135862242e-05);
    double q89 = fma_apart(2.5000069870288764e-08, r, 2.763023405413257e-07);
    double inner = add(add(q45, mul(r2, q67)), mul(r4, q89));
    double q = add(add(q01, mul(r2, q23)), mul(r4, inner));
    double e = add(1.0, add(high, sub(mul(r2, q), low)));
    u64 power = bits(rounded) - bits(round) + 2048;
    u64 first = power >> 1, second = power - first;
    return mul(mul(e, from_bits((first - 1) << 52)), from_bits((second - 1) << 52));
}

// What the host knows of a row at the modes of one width.
struct Level {
    double half, log, slope, weight;
};

#define MIXTURE_THREADS 128
#define MIXTURE_WARPS (MIXTURE_THREADS / WARP)

// Leaves that a block sums between two barriers.
#define MIXTURE_LEAVES 32

// Squared distances between alpha times the means and the states: a block takes one row and one mode. Its warps sum leaves side by side,
// one thread adds them in order: a row alone would otherwise be one warp's.
template <class T>
INLINE void mixture_distances(T *sums, const T *x, const T *means, const T *alpha, u32 modes, u64 dim, u32 leaves, double *distances) {
    u64 row = blockIdx.x / modes, mode = blockIdx.x % modes;
    u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    bool aligned = dim % 4 == 0;
    T scale = alpha[row];
    double total = 0;
    for (u32 base = 0; base < leaves; base += MIXTURE_LEAVES) {
        u32 end = leaves - base < MIXTURE_LEAVES ? leaves : base + MIXTURE_LEAVES;
        for (u32 leaf = base + warp; leaf < end; leaf += MIXTURE_WARPS) {
            u64 column = (u64)leaf * LEAF + 4 * lane;
            u32 count = width(dim, column);
            Quad<T> a = load(x + row * dim + column, count, aligned), m = load(means + mode * dim + column, count, aligned);
#pragma unroll
            for (u32 q = 0; q < 4; ++q) {
                T e = sub(a.v[q], mul(scale, m.v[q]));
                a.v[q] = mul(e, e);
            }
            T sum = leaf_sum(a);
            if (lane == 0) sums[leaf - base] = sum;
        }
        __syncthreads();
        if (threadIdx.x == 0)
            for (u32 leaf = base; leaf < end; ++leaf) total = add(total, (double)sums[leaf - base]);
        __syncthreads();
    }
    if (threadIdx.x == 0) distances[blockIdx.x] = total;
}

KERNEL(MIXTURE_THREADS)
mixture_distances_f32(const float *x, const float *means, const float *alpha, u32 modes, u64 dim, u32 leaves, double *distances) {
    __shared__ float sums[MIXTURE_LEAVES];
    mixture_distances(sums, x, means, alpha, modes, dim, leaves, distances);
}
KERNEL(MIXTURE_THREADS)
mixture_distances_f64(const double *x, const double *means, const double *alpha, u32 modes, u64 dim, u32 leaves, double *distances) {
    __shared__ double sums[MIXTURE_LEAVES];
    mixture_distances(sums, x, means, alpha, modes, dim, leaves, distances);
}

// The coefficients of a row: gamma, then one a mode; a thread takes a row.
template <class T>
INLINE void mixture_coefficients(const Level *levels, const u32 *width_of, const double *log_weights, u32 rows, u32 modes, u32 widths,
                                 double *distances, T *coefficients) {
    const double far = 1e300, most = 1.7976931348623157e308;
    u32 row = blockIdx.x * MIXTURE_THREADS + threadIdx.x;
    if (row >= rows) return;
    const Level *level = levels + (u64)row * widths;
    double *d = distances + (u64)row * modes;
    T *c = coefficients + (u64)row * (modes + 1);
    double max = -most;
    for (u32 k = 0; k < modes; ++k) {
        Level v = level[width_of[k]];
        double near = d[k] < far ? d[k] : far;
        double l = sub(sub(log_weights[k], v.log), mul(near, v.half));
        l = l > -most ? l : -most;
        d[k] = l;
        max = max > l ? max : l;
    }
    double total = 0;
    for (u32 k = 0; k < modes; ++k) {
        d[k] = exp_portable(sub(d[k], max));
        total = add(total, d[k]);
    }
    double share = quotient(1.0, total), gamma = 0;
    for (u32 k = 0; k < modes; ++k) {
        Level v = level[width_of[k]];
        double r = mul(d[k], share);
        gamma = add(gamma, mul(r, v.slope));
        c[k + 1] = (T)mul(r, v.weight);
    }
    c[0] = (T)gamma;
}

KERNEL(MIXTURE_THREADS)
mixture_coefficients_f32(const Level *levels, const u32 *width_of, const double *log_weights, u32 rows, u32 modes, u32 widths,
                         double *distances, float *coefficients) {
    mixture_coefficients(levels, width_of, log_weights, rows, modes, widths, distances, coefficients);
}
KERNEL(MIXTURE_THREADS)
mixture_coefficients_f64(const Level *levels, const u32 *width_of, const double *log_weights, u32 rows, u32 modes, u32 widths,
                         double *distances, double *coefficients) {
    mixture_coefficients(levels, width_of, log_weights, rows, modes, widths, distances, coefficients);
}

// gamma x + sum_k c_k m_k; four elements a thread, `blocks` blocks of threads a row.
template <class T>
INLINE void mixture_sum(const T *x, const T *means, const T *coefficients, T *out, u32 modes, u64 dim, u32 blocks) {
    u64 row = blockIdx.x / blocks, column = 4 * ((u64)(blockIdx.x % blocks) * MIXTURE_THREADS + threadIdx.x);
    u32 count = width(dim, column);
    bool aligned = dim % 4 == 0;
    const T *c = coefficients + row * (modes + 1);
    Quad<T> sum = load(x + row * dim + column, count, aligned);
#pragma unroll
    for (u32 q = 0; q < 4; ++q) sum.v[q] = mul(c[0], sum.v[q]);
    for (u32 k = 0; k < modes; ++k) {
        T weight = c[k + 1];
        if (weight == 0) continue;
        Quad<T> m = load(means + k * dim + column, count, aligned);
#pragma unroll
        for (u32 q = 0; q < 4; ++q) sum.v[q] = add(sum.v[q], mul(weight, m.v[q]));
    }
    store(out + row * dim + column, sum, count, aligned);
}

KERNEL(MIXTURE_THREADS)
mixture_sum_f32(const float *x, const float *means, const float *coefficients, float *out, u32 modes, u64 dim, u32 blocks) {
    mixture_sum(x, means, coefficients, out, modes, dim, blocks);
}
KERNEL(MIXTURE_THREADS)
mixture_sum_f64(const double *x, const double *means, const double *coefficients, double *out, u32 modes, u64 dim, u32 blocks) {
    mixture_sum(x, means, coefficients, out, modes, dim, blocks);
}
