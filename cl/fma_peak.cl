// fma_peak: how many fused multiply-adds the device can do, measured with nothing else in the way.
//
//   every work-item:  chain[c] = chain[c] * factor + addend,  CHAINS independent chains of LANES lanes
//
// Shapes: sums [work-items], written so that no compiler can drop the arithmetic.
// Launch: local (get_local_size) as the device likes, one float16 work-item per core on a processor,
//   many float work-items on anything else.
// FLOPs: 2 CHAINS LANES iterations per work-item. Bytes: 4 per work-item.
// Numerics: factor is 1, so that the sums neither overflow nor become denormal and slow.
// Limits: none.

#ifndef LANES
#define LANES 16  // {1,16} lanes of a chain: a processor's vector unit, or a GPU's work-item
#endif
#ifndef CHAINS
#define CHAINS 16  // {8,16} chains, at least the latency of a multiply-add times those per cycle
#endif

#if LANES != 1 && LANES != 16
#error "LANES must be 1 or 16"
#endif

#include "peak_args.h"

#if LANES == 16
typedef float16 lanes_t;
#define SUM(x) ((x).s0 + (x).s7 + (x).sf)
#else
typedef float lanes_t;
#define SUM(x) (x)
#endif

// ---- kernel --------------------------------------------------------------------------------------

__kernel void fma_peak(__global float *sums, const peak_args args) {
  lanes_t chain[CHAINS];
  // Not the same in all work-items: what is, newer GPU compilers compute once for all of a warp.
#pragma unroll
  for (int c = 0; c < CHAINS; c++) chain[c] = (float)(c + (int)get_local_id(0));
  const lanes_t factor = args.factor;
  const lanes_t addend = args.addend;
  for (int n = 0; n < args.iterations; n++) {
#pragma unroll
    for (int c = 0; c < CHAINS; c++) chain[c] = fma(chain[c], factor, addend);
  }
  lanes_t sum = 0.0f;
#pragma unroll
  for (int c = 0; c < CHAINS; c++) sum += chain[c];
  sums[get_global_id(0)] = SUM(sum);
}
