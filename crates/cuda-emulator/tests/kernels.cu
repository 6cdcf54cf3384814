// Kernels for the emulator's own tests: right ones, and planted bugs that it must report.
typedef unsigned int u32;
typedef unsigned long long u64;
#define FULL 0xffffffffu
#define BLOCK 128

struct Affine {
    float factor;
    double4 shift; // 16-byte alignment: parameters are copied to aligned places
    u32 n;
};

extern "C" __global__ void __launch_bounds__(BLOCK) affine(float* out, const float* in, Affine p) {
    u32 i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < p.n) out[i] = __fadd_rn(__fmul_rn(p.factor, in[i]), (float)p.shift.w);
}

// Sums of blocks: warp shuffles, then shared memory passed by pointer to a template, for two types.
template <class T>
__device__ __forceinline__ T block_sum(T value, T* parts) {
    u32 lane = threadIdx.x & 31u, warp = threadIdx.x >> 5, warps = (blockDim.x + 31u) >> 5;
    for (int offset = 16; offset; offset >>= 1) value += __shfl_down_sync(FULL, value, offset);
    if (lane == 0) parts[warp] = value;
    __syncthreads();
    T sum = 0;
    for (u32 i = 0; i < warps; ++i) sum += parts[i];
    return sum;
}
#define DEFINE_SUM(NAME, T) \
    extern "C" __global__ void NAME(T* out, const T* in) { \
        __shared__ T parts[BLOCK / 32]; \
        T sum = block_sum<T>(in[blockIdx.x * blockDim.x + threadIdx.x], parts); \
        if (threadIdx.x == 0) out[blockIdx.x] = sum; \
    }
DEFINE_SUM(sum_f32, float)
DEFINE_SUM(sum_f64, double)

__device__ __forceinline__ float reversed(float value) {
    __shared__ float all[64], spare;
    if (threadIdx.x == 0) spare = 1.0f;
    __syncthreads();
    all[threadIdx.x] = value;
    __syncthreads();
    return all[63 - threadIdx.x] * spare;
}
// Shared memory of a function that is called twice: it keeps its values within the block.
extern "C" __global__ void reverse_twice(float* out, const float* in) {
    out[threadIdx.x] = reversed(reversed(in[threadIdx.x]));
}

extern "C" __global__ void intrinsics(u32* words, double* numbers) {
    u32 i = threadIdx.x;
    u32 odd = __ballot_sync(FULL, i & 1u), any = __any_sync(FULL, i == 7u), all = __all_sync(FULL, i == 7u);
    __syncwarp();
    __syncwarp(FULL);
    atomicMax(&words[0], i);
    atomicMin(&words[1], i);
    atomicAdd(&words[2], 1);
    atomicOr(&words[3], 1u << i);
    if (i != 0) return;
    words[4] = odd;
    words[5] = any;
    words[6] = all;
    words[7] = __umulhi(0xffffffffu, 0xffffffffu);
    words[8] = (u32)(__umul64hi(~0ull, ~0ull) >> 32);
    words[9] = __float_as_uint(__fsqrt_rn(__uint2float_rn(2u)));
    words[10] = isnan(__uint_as_float(0x7fc00000u)) && isfinite(1.0) && !isfinite(__int_as_float(0x7f800000));
    words[11] = __float_as_uint(__double2float_rn(__hiloint2double(0x3ff00000, 0)));
    float2 a = make_float2(1.0f, 2.0f);
    ulonglong2 b = make_ulonglong2(3ull, 4ull);
    numbers[0] = __dadd_rn(__dmul_rn(1.0 + 0x1p-30, 1.0 - 0x1p-30), -1.0); // 0 unless contracted
    numbers[1] = __fma_rn(1.0 + 0x1p-30, 1.0 - 0x1p-30, -1.0);
    numbers[2] = __ddiv_rn(__dsub_rn((double)a.y, (double)a.x), (double)b.y);
    numbers[3] = __longlong_as_double(__double_as_longlong(__dsqrt_rn(2.0)));
    numbers[4] = (double)__fadd_rn(__fmul_rn(1.0f + 0x1p-15f, 1.0f - 0x1p-15f), -1.0f);
    numbers[5] = (double)__fmaf_rn(1.0f + 0x1p-15f, 1.0f - 0x1p-15f, -1.0f);
}

// Reads shared memory before it is written: NaN in every block, whatever the block before left there.
extern "C" __global__ void stale_shared(float* out) {
    __shared__ float t[32];
    out[blockIdx.x * blockDim.x + threadIdx.x] = t[threadIdx.x];
    t[threadIdx.x] = 1.0f;
}

extern "C" __global__ void bug_missing_barrier(float* out, const float* in) {
    __shared__ float t[64];
    t[threadIdx.x] = in[threadIdx.x];
    out[threadIdx.x] = t[63 - threadIdx.x];
}
// Only an order in which late warps come first shows this: t is overwritten before it has been read.
extern "C" __global__ void bug_missing_second_barrier(float* out, const float* in) {
    __shared__ float t[64];
    t[threadIdx.x] = in[threadIdx.x];
    __syncthreads();
    float other = t[threadIdx.x < 32 ? threadIdx.x + 32 : threadIdx.x];
    if (threadIdx.x >= 32) t[threadIdx.x] = -1.0f;
    out[threadIdx.x] = other;
}
extern "C" __global__ void bug_divergent_barrier(float* out, const float* in) {
    if (threadIdx.x < 32) __syncthreads();
    out[threadIdx.x] = in[0];
}
extern "C" __global__ void bug_two_barriers(float* out, const float* in) {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    out[threadIdx.x] = in[0];
}
extern "C" __global__ void bug_past_the_end(float* out, const float* in) { out[threadIdx.x + 1] = in[threadIdx.x]; }
extern "C" __global__ void bug_before_the_start(float* out, const float* in) {
    out[(int)threadIdx.x - 1] = in[threadIdx.x];
}
extern "C" __global__ void bug_exited_lane(float* out, const float* in) {
    if (threadIdx.x >= 20) return;
    out[threadIdx.x] = __shfl_down_sync(FULL, in[threadIdx.x], 1);
}
extern "C" __global__ void bug_left_out_lane(float* out, const float* in) {
    out[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, in[threadIdx.x], 1);
}
extern "C" __global__ void bug_lane_at_barrier(float* out, const float* in) {
    if (threadIdx.x & 1u) {
        __syncthreads();
    } else {
        __syncwarp();
    }
    out[threadIdx.x] = in[threadIdx.x];
}
extern "C" __global__ void bug_stack(float* out, const float* in) {
    volatile float deep[100000];
    for (int i = 99999; i >= 0; --i) deep[i] = in[0];
    out[threadIdx.x] = deep[threadIdx.x];
}
