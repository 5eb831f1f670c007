// fma_peak: how many fused multiply-adds the device can do, measured with nothing else in the way.
//
//   every thread:  chain[c] = chain[c] * factor + addend,  CHAINS independent chains
//
// Shapes: sums [threads], written so that no compiler can drop the arithmetic.
// Launch: a one-dimensional grid of blocks of at most 1024 threads, several per multiprocessor.
// FLOPs: 2 CHAINS iterations per thread. Bytes: 4 per thread.
// Numerics: factor is 1, so that the sums neither overflow nor become denormal and slow.
// Limits: none.

#ifndef CHAINS
#define CHAINS 16  // {8,16} chains, at least the latency of a multiply-add times those per cycle
#endif

#include "peak_args.h"

// ---- kernel --------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(1024) fma_peak(float *sums, const peak_args args) {
  float chain[CHAINS];
  // Not the same in all threads: what is, newer GPU compilers compute once for all of a warp.
#pragma unroll
  for (int c = 0; c < CHAINS; c++) chain[c] = (float)(c + (int)threadIdx.x);
  const float factor = args.factor;
  const float addend = args.addend;
  for (int n = 0; n < args.iterations; n++) {
#pragma unroll
    for (int c = 0; c < CHAINS; c++) chain[c] = fma(chain[c], factor, addend);
  }
  float sum = 0.0f;
#pragma unroll
  for (int c = 0; c < CHAINS; c++) sum += chain[c];
  sums[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}
