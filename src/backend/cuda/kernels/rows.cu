// Rows as a whole: filled, copied, checked.

#define ROW_THREADS 256

template <class T>
INLINE void fill(T *out, u64 len, T value) {
    for (u64 i = (u64)blockIdx.x * ROW_THREADS + threadIdx.x; i < len; i += (u64)gridDim.x * ROW_THREADS) out[i] = value;
}

KERNEL(ROW_THREADS) fill_f32(float *out, u64 len, float value) { fill(out, len, value); }
KERNEL(ROW_THREADS) fill_f64(double *out, u64 len, double value) { fill(out, len, value); }

// Row `first + i` of `out` becomes row rows[i] of `from`; four elements a thread, `blocks` blocks of threads a row.
template <class T>
INLINE void gather(const u32 *rows, const T *from, T *out, u64 first, u64 dim, u32 blocks) {
    u64 i = blockIdx.x / blocks, column = 4 * ((u64)(blockIdx.x % blocks) * ROW_THREADS + threadIdx.x);
    u32 count = width(dim, column);
    bool aligned = dim % 4 == 0;
    store(out + (first + i) * dim + column, load(from + (u64)rows[i] * dim + column, count, aligned), count, aligned);
}

KERNEL(ROW_THREADS)
gather_f32(const u32 *rows, const float *from, float *out, u64 first, u64 dim, u32 blocks) { gather(rows, from, out, first, dim, blocks); }
KERNEL(ROW_THREADS)
gather_f64(const u32 *rows, const double *from, double *out, u64 first, u64 dim, u32 blocks) { gather(rows, from, out, first, dim, blocks); }

// The smallest number of a row, counted from `first` on, that holds a value that is not finite.
template <class T>
INLINE void not_finite(const T *from, u64 first, u64 dim, u32 blocks, u32 *found) {
    u64 i = blockIdx.x / blocks, column = 4 * ((u64)(blockIdx.x % blocks) * ROW_THREADS + threadIdx.x);
    Quad<T> q = load(from + (first + i) * dim + column, width(dim, column), dim % 4 == 0);
    bool broken = !finite(q.v[0]) || !finite(q.v[1]) || !finite(q.v[2]) || !finite(q.v[3]);
    if (broken) atomicMin(found, (u32)i);
}

KERNEL(ROW_THREADS)
not_finite_f32(const float *from, u64 first, u64 dim, u32 blocks, u32 *found) { not_finite(from, first, dim, blocks, found); }
KERNEL(ROW_THREADS)
not_finite_f64(const double *from, u64 first, u64 dim, u32 blocks, u32 *found) { not_finite(from, first, dim, blocks, found); }
