// Linear combinations of the rows of views, the twin of src/backend/cpu/views.rs.

#define MOST_SUMMANDS 4

// by * rows; rows are those of the output where there is no address.
template <class T>
struct Summand {
    const T *rows;
    const double *by;
    // from one row's coefficient to the next: 0 where one is that of all rows
    u64 step;
};

// The bounds are those of p x + q y, y being the sum; none without a map.
template <class T>
struct Combination {
    Summand<T> summands[MOST_SUMMANDS];
    u64 count;
    const T *x;
    const double *map;
    u64 map_step;
    double low, high;
    T *out;
    u64 dim, blocks;
};

// Four elements a thread, `blocks` blocks of threads a row.
template <class T>
INLINE void combine(const Combination<T> &c) {
    u64 row = blockIdx.x / c.blocks, column = 4 * (blockIdx.x % c.blocks * ROW_THREADS + threadIdx.x);
    u64 at = row * c.dim + column;
    u32 count = width(c.dim, column);
    bool aligned = c.dim % 4 == 0, first = true;
    Quad<T> sum = {{0, 0, 0, 0}};
#pragma unroll
    for (u32 k = 0; k < MOST_SUMMANDS; ++k) {
        if (k >= c.count) continue;
        const Summand<T> &summand = c.summands[k];
        T by = (T)summand.by[row * summand.step];
        if (by == 0) continue;
        Quad<T> value = load((summand.rows ? summand.rows : c.out) + at, count, aligned);
#pragma unroll
        for (u32 q = 0; q < 4; ++q) {
            T product = mul(by, value.v[q]);
            sum.v[q] = first ? product : add(sum.v[q], product);
        }
        first = false;
    }
    if (c.map) {
        double p = c.map[2 * row * c.map_step], q = c.map[2 * row * c.map_step + 1];
        Quad<T> x = {{0, 0, 0, 0}};
        if (p != 0) x = load(c.x + at, count, aligned);
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            double known = p != 0 ? mul(p, (double)x.v[i]) : 0;
            double value = add(known, mul(q, (double)sum.v[i]));
            double bound = value < c.low ? c.low : value > c.high ? c.high : value;
            if (finite(value) && value != bound) sum.v[i] = (T)quotient(sub(bound, known), q);
        }
    }
    store(c.out + at, sum, count, aligned);
}

KERNEL(ROW_THREADS) combine_f32(Combination<float> c) { combine(c); }
KERNEL(ROW_THREADS) combine_f64(Combination<double> c) { combine(c); }
