// Inner products in the canonical order: of every group of vectors those of the given pairs.

// row, or row - minus.
template <class T>
struct Vector {
    const T *row, *minus;
};

struct Pair {
    u32 a, b;
};

#define PRODUCT_WARPS 4
// The most vectors of a group.
#define MOST_VECTORS 8

// A warp takes one leaf of one group. A lane keeps its elements of all vectors in shared memory, which no other lane touches.
template <class T>
INLINE void products(T (*kept)[MOST_VECTORS][LEAF], const Vector<T> *vectors, const Pair *pairs, u32 width_of_group, u32 count_pairs,
                     u64 jobs, u64 dim, u32 leaves, T *sums) {
    u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    u64 job = (u64)blockIdx.x * PRODUCT_WARPS + warp;
    if (job >= jobs) return;
    u64 group = job / leaves, column = job % leaves * LEAF + 4 * lane;
    u32 count = width(dim, column);
    bool aligned = dim % 4 == 0;
    // neighbouring vectors often begin with the same row
    Quad<T> newest = {{0, 0, 0, 0}};
    const T *newest_row = nullptr;
    for (u32 v = 0; v < width_of_group; ++v) {
        Vector<T> vector = vectors[group * width_of_group + v];
        if (vector.row != newest_row) newest = load(vector.row + column, count, aligned);
        newest_row = vector.row;
        Quad<T> x = newest;
        if (vector.minus) {
            Quad<T> y = load(vector.minus + column, count, aligned);
#pragma unroll
            for (u32 q = 0; q < 4; ++q) x.v[q] = sub(x.v[q], y.v[q]);
        }
#pragma unroll
        for (u32 q = 0; q < 4; ++q) kept[warp][v][lane + q * WARP] = x.v[q];
    }
    for (u32 p = 0; p < count_pairs; ++p) {
        Pair pair = pairs[p];
        Quad<T> product;
#pragma unroll
        for (u32 q = 0; q < 4; ++q) product.v[q] = mul(kept[warp][pair.a][lane + q * WARP], kept[warp][pair.b][lane + q * WARP]);
        T sum = leaf_sum(product);
        // pairs of neighbouring groups lie together, for the kernel that adds the leaves
        if (lane == 0) sums[(job % leaves) * (jobs / leaves * count_pairs) + group * count_pairs + p] = sum;
    }
}

KERNEL(PRODUCT_WARPS *WARP)
products_f32(const Vector<float> *vectors, const Pair *pairs, u32 width_of_group, u32 count_pairs, u64 jobs, u64 dim, u32 leaves, float *sums) {
    __shared__ float kept[PRODUCT_WARPS][MOST_VECTORS][LEAF];
    products(kept, vectors, pairs, width_of_group, count_pairs, jobs, dim, leaves, sums);
}
KERNEL(PRODUCT_WARPS *WARP)
products_f64(const Vector<double> *vectors, const Pair *pairs, u32 width_of_group, u32 count_pairs, u64 jobs, u64 dim, u32 leaves,
             double *sums) {
    __shared__ double kept[PRODUCT_WARPS][MOST_VECTORS][LEAF];
    products(kept, vectors, pairs, width_of_group, count_pairs, jobs, dim, leaves, sums);
}

// Adds the leaves of every sum in ascending order, in f64.
template <class T>
INLINE void fold_sums(const T *sums, u32 leaves, u64 count, double *totals) {
    u64 t = (u64)blockIdx.x * FOLD_THREADS + threadIdx.x;
    if (t >= count) return;
    double sum = 0;
#pragma unroll 16
    for (u32 leaf = 0; leaf < leaves; ++leaf) sum = add(sum, (double)sums[leaf * count + t]);
    totals[t] = sum;
}

KERNEL(FOLD_THREADS)
fold_sums_f32(const float *sums, u32 leaves, u64 count, double *totals) { fold_sums(sums, leaves, count, totals); }
KERNEL(FOLD_THREADS)
fold_sums_f64(const double *sums, u32 leaves, u64 count, double *totals) { fold_sums(sums, leaves, count, totals); }
