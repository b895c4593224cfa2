extern "C" __global__ void kernel(
    float *out0,
    const float *in0,
    long long count)
{
    for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += (long long)gridDim.x * blockDim.x) {
        const float v0 = in0[i];
        const float v1 = 0.70710677f;
        const float v2 = v0 * v1;
        const float v3 = erff(v2);
        const float v4 = 1.0f;
        const float v5 = v3 + v4;
        const float v6 = v0 * v5;
        const float v7 = 0.5f;
        const float v8 = v6 * v7;
        out0[i] = v8;
    }
}
