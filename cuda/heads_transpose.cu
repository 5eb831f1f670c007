// heads_transpose: swaps the two middle axes, to split a projection into heads and to merge it back.
//
//   y[b][i][o][:] = x[b][o][i][:]
//
// Shapes (row-major): x [BATCH, OUTER, INNER, WIDTH]   y [BATCH, INNER, OUTER, WIDTH]
//   [B, SEQLEN, H, HEAD_DIM] -> [B, H, SEQLEN, HEAD_DIM] splits, the same call with OUTER and INNER
//   exchanged merges.
//
//   x:  o0 [i0 ----][i1 ----][i2 ----]        y:  i0 [o0 ----][o1 ----]
//       o1 [i0 ----][i1 ----][i2 ----]            i1 [o0 ----][o1 ----]
//          runs of WIDTH elements move whole      i2 [o0 ----][o1 ----]
//
// Launch: block (LANES, ROWS), grid (ceil(OUTER * INNER / ROWS), BATCH): LANES neighbours move a run,
//   16 bytes each at a time where runs are multiples of 16 bytes, else an element each.
// FLOPs: none. Bytes: 2 BATCH OUTER INNER WIDTH elements, each read once and written once.
// Numerics: bits are copied, NaN included.
// Limits: BATCH at most 65535; OUTER * INNER below 2^31; tensors start at multiples of 16 bytes.

#include "heads_args.h"
#include "storage.h"

#define LANES 16
#define ROWS 16

// ---- transpose -----------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(LANES *ROWS)
    heads_transpose(const storage_t *__restrict__ x, storage_t *__restrict__ y,
                    const heads_args args) {
  const int lane = (int)threadIdx.x;
  const int row = (int)(blockIdx.x * ROWS + threadIdx.y);
  const int b = (int)blockIdx.y;
  if (row >= args.outer * args.inner) return;
  const int o = row / args.inner;
  const int i = row % args.inner;

  // 64-bit before the first product: BATCH * OUTER * INNER * WIDTH may pass 2^31.
  const size_t plane = (size_t)b * args.outer * args.inner;
  const size_t source = plane + (size_t)o * args.inner + i;
  const size_t target = plane + (size_t)i * args.outer + o;
  x += source * args.width;
  y += target * args.width;
  if (args.width % WIDE == 0) {
    for (int e = lane; e < args.width / WIDE; e += LANES) ((uint4 *)y)[e] = ((const uint4 *)x)[e];
  } else {
    for (int e = lane; e < args.width; e += LANES) y[e] = x[e];
  }
}
