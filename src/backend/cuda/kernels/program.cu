// Programs: linear combinations of rows, run in order for each segment, see Program in src/backend/mod.rs. The recurrence over time is
// serial for every element; there is no reassociating scan, which would have another fixed point.

// coef * row, or coef * (row - minus). Rows are addresses; v are the variances of the elements.
template <class T>
struct Term {
    const T *row, *minus;
    T coef;
    // above 0 for a correction whose slope differs from element to element: coef * (v / (v + shift))
    T shift;
    // whether an earlier target of the segment has written one of the rows, or the target before holds it
    u32 dependent;
};

// The row `out` becomes the sum of the plain terms plus the sum of the corrections; `before` holds what it held.
template <class T>
struct Target {
    T *out;
    const T *before;
    u32 first, end, dependent, unused;
};

struct Segment {
    u32 first, end;
};

struct Change {
    double sum;
    u32 moved, finite;
};

#define MOVED 1u
#define BROKEN 2u

template <class T>
INLINE void accumulate(Quad<T> &sum, const Quad<T> &term) {
#pragma unroll
    for (u32 q = 0; q < 4; ++q) sum.v[q] = add(sum.v[q], term.v[q]);
}

// The row that was written last, and what it held before: the next target needs both, and neither is read again.
template <class T>
struct Last {
    Quad<T> fresh, old;
    const T *out, *before;
};

template <class T>
INLINE Quad<T> read(const T *row, const Last<T> &last, u64 column, u32 count, bool aligned) {
    if (row == last.out) return last.fresh;
    if (row == last.before) return last.old;
    return load(row + column, count, aligned);
}

// The product of a term; SHIFTS: whether there may be a shift.
template <bool SHIFTS, class T>
INLINE Quad<T> product(const Term<T> &term, const Last<T> &last, const T *variances, u64 column, u32 count, bool aligned) {
    Quad<T> x = read(term.row, last, column, count, aligned);
    if (term.minus) {
        Quad<T> y = read(term.minus, last, column, count, aligned);
#pragma unroll
        for (u32 q = 0; q < 4; ++q) x.v[q] = sub(x.v[q], y.v[q]);
    }
    Quad<T> coef = {{term.coef, term.coef, term.coef, term.coef}};
    if (SHIFTS && term.shift != 0) {
        Quad<T> v = load(variances + column, count, aligned);
#pragma unroll
        for (u32 q = 0; q < 4; ++q) coef.v[q] = mul(term.coef, quotient(v.v[q], add(v.v[q], term.shift)));
    }
#pragma unroll
    for (u32 q = 0; q < 4; ++q) x.v[q] = mul(coef.v[q], x.v[q]);
    return x;
}

// Elements that are not finite keep their old value; true if there are any.
template <class T>
INLINE bool guard(Quad<T> &fresh, const Quad<T> &old) {
    bool broken = false;
#pragma unroll
    for (u32 q = 0; q < 4; ++q)
        if (!finite(fresh.v[q])) {
            broken = true;
            fresh.v[q] = old.v[q];
        }
    return broken;
}

// Statistics of one leaf of a target.
template <class T>
INLINE void judge(const Quad<T> &fresh, const Quad<T> &old, bool broken, T *sum, u32 *flags) {
    Quad<T> square;
    bool moved = false;
#pragma unroll
    for (u32 q = 0; q < 4; ++q) {
        T e = sub(fresh.v[q], old.v[q]);
        square.v[q] = mul(e, e);
        moved |= bits(fresh.v[q]) != bits(old.v[q]);
    }
    T total = leaf_sum(square);
    u32 any_moved = __any_sync(FULL, moved), any_broken = __any_sync(FULL, broken);
    if (threadIdx.x % WARP == 0) {
        *sum = total;
        *flags = (any_moved ? MOVED : 0) | (any_broken ? BROKEN : 0);
    }
}

// Many elements: a warp runs all targets of a segment on one leaf, four elements a lane, with the newest row in registers. Programs with
// shifts are left to the other kernel: the divisions would take registers that this one has no room for.
#define WIDE_WARPS 4

template <class T>
INLINE void run_wide(const Term<T> *terms, const Target<T> *targets, const Segment *segments, T *sums, u32 *flags, u64 dim, u32 leaves,
                     u32 count_targets) {
    u32 groups = (leaves + WIDE_WARPS - 1) / WIDE_WARPS;
    u32 leaf = blockIdx.x % groups * WIDE_WARPS + threadIdx.x / WARP;
    if (leaf >= leaves) return;
    Segment segment = segments[blockIdx.x / groups];
    u64 column = (u64)leaf * LEAF + 4 * (threadIdx.x % WARP);
    u32 count = width(dim, column);
    bool aligned = dim % 4 == 0;
    Last<T> last = {};
    for (u32 t = segment.first; t < segment.end; ++t) {
        Target<T> target = targets[t];
        Quad<T> plain = {{0, 0, 0, 0}}, correction = {{0, 0, 0, 0}};
        for (u32 i = target.first; i < target.end; ++i) {
            Term<T> term = terms[i];
            Quad<T> p = product<false>(term, last, (const T *)nullptr, column, count, aligned);
            if (term.minus) accumulate(correction, p);
            else accumulate(plain, p);
        }
        Quad<T> old = load((const T *)target.out + column, count, aligned);
        accumulate(plain, correction);
        bool broken = guard(plain, old);
        store(target.out + column, plain, count, aligned);
        u64 at = (u64)leaf * count_targets + t;
        judge(plain, old, broken, sums + at, flags + at);
        last = {plain, old, target.out, target.before};
    }
}

KERNEL(WIDE_WARPS *WARP)
run_wide_f32(const Term<float> *terms, const Target<float> *targets, const Segment *segments, float *sums, u32 *flags, u64 dim, u32 leaves,
             u32 count) {
    run_wide(terms, targets, segments, sums, flags, dim, leaves, count);
}
KERNEL(WIDE_WARPS *WARP)
run_wide_f64(const Term<double> *terms, const Target<double> *targets, const Segment *segments, double *sums, u32 *flags, u64 dim,
             u32 leaves, u32 count) {
    run_wide(terms, targets, segments, sums, flags, dim, leaves, count);
}

// Few elements and long windows, and all programs with shifts: a block runs one leaf. Its warps fetch the products of the next targets at once, each those of one target,
// as far as they do not depend on targets before; then the first warp alone adds them in order.
#define TILE 8

template <class T, u32 KEPT>
struct Tile {
    T product[TILE][KEPT][LEAF];
    T old[TILE][LEAF];
    u32 broken[TILE];
};

// The lane's four elements lie 32 apart: no two lanes meet in a bank.
template <class T>
INLINE Quad<T> take(const T *leaf) {
    u32 lane = threadIdx.x % WARP;
    return {{leaf[lane], leaf[lane + WARP], leaf[lane + 2 * WARP], leaf[lane + 3 * WARP]}};
}
template <class T>
INLINE void put(T *leaf, const Quad<T> &q) {
#pragma unroll
    for (u32 i = 0; i < 4; ++i) leaf[threadIdx.x % WARP + i * WARP] = q.v[i];
}

template <class T, u32 KEPT>
INLINE void run_long(Tile<T, KEPT> &tile, const Term<T> *terms, const Target<T> *targets, const Segment *segments, const T *variances,
                     T *sums, u32 *flags, u64 dim, u32 leaves, u32 count_targets) {
    Segment segment = segments[blockIdx.x / leaves];
    u32 leaf = blockIdx.x % leaves, warp = threadIdx.x / WARP;
    u64 column = (u64)leaf * LEAF + 4 * (threadIdx.x % WARP);
    u32 count = width(dim, column);
    bool aligned = dim % 4 == 0;
    Last<T> last = {};
    for (u32 base = segment.first; base < segment.end; base += TILE) {
        u32 mine = base + warp;
        if (mine < segment.end) {
            Target<T> target = targets[mine];
            for (u32 i = target.first; i < target.end && i - target.first < KEPT; ++i) {
                Term<T> term = terms[i];
                if (!term.dependent)
                    put(tile.product[warp][i - target.first], product<true>(term, Last<T>{}, variances, column, count, aligned));
            }
            if (!target.dependent) put(tile.old[warp], load((const T *)target.out + column, count, aligned));
        }
        __syncthreads();
        if (warp == 0) {
            for (u32 w = 0; w < TILE && base + w < segment.end; ++w) {
                Target<T> target = targets[base + w];
                Quad<T> plain = {{0, 0, 0, 0}}, correction = {{0, 0, 0, 0}};
                for (u32 i = target.first; i < target.end; ++i) {
                    Term<T> term = terms[i];
                    bool kept = !term.dependent && i - target.first < KEPT;
                    Quad<T> p = kept ? take(tile.product[w][i - target.first]) : product<true>(term, last, variances, column, count, aligned);
                    if (term.minus) accumulate(correction, p);
                    else accumulate(plain, p);
                }
                Quad<T> old = target.dependent ? load((const T *)target.out + column, count, aligned) : take(tile.old[w]);
                accumulate(plain, correction);
                bool broken = __any_sync(FULL, guard(plain, old));
                store(target.out + column, plain, count, aligned);
                // for the warp that judges
                put(tile.product[w][0], plain);
                if (target.dependent) put(tile.old[w], old);
                if (threadIdx.x == 0) tile.broken[w] = broken;
                last = {plain, old, target.out, target.before};
            }
        }
        __syncthreads();
        if (mine < segment.end) {
            u64 at = (u64)leaf * count_targets + mine;
            judge(take(tile.product[warp][0]), take(tile.old[warp]), tile.broken[warp] != 0, sums + at, flags + at);
        }
    }
}

KERNEL(TILE *WARP)
run_long_f32(const Term<float> *terms, const Target<float> *targets, const Segment *segments, const float *variances, float *sums,
             u32 *flags, u64 dim, u32 leaves, u32 count) {
    __shared__ Tile<float, 8> tile;
    run_long(tile, terms, targets, segments, variances, sums, flags, dim, leaves, count);
}
KERNEL(TILE *WARP)
run_long_f64(const Term<double> *terms, const Target<double> *targets, const Segment *segments, const double *variances, double *sums,
             u32 *flags, u64 dim, u32 leaves, u32 count) {
    __shared__ Tile<double, 4> tile;
    run_long(tile, terms, targets, segments, variances, sums, flags, dim, leaves, count);
}

// Adds the leaves of every target in ascending order, in f64.
#define FOLD_THREADS 128

template <class T>
INLINE void fold_changes(const T *sums, const u32 *flags, u32 leaves, u32 count, Change *changes) {
    u32 t = blockIdx.x * FOLD_THREADS + threadIdx.x;
    if (t >= count) return;
    double sum = 0;
    u32 seen = 0;
// loads of many leaves are under way while the additions wait for each other
#pragma unroll 16
    for (u32 leaf = 0; leaf < leaves; ++leaf) {
        sum = add(sum, (double)sums[(u64)leaf * count + t]);
        seen |= flags[(u64)leaf * count + t];
    }
    changes[t] = {sum, seen & MOVED ? 1u : 0u, seen & BROKEN ? 0u : 1u};
}

KERNEL(FOLD_THREADS)
fold_changes_f32(const float *sums, const u32 *flags, u32 leaves, u32 count, Change *changes) {
    fold_changes(sums, flags, leaves, count, changes);
}
KERNEL(FOLD_THREADS)
fold_changes_f64(const double *sums, const u32 *flags, u32 leaves, u32 count, Change *changes) {
    fold_changes(sums, flags, leaves, count, changes);
}
