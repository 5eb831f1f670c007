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
// Launch: any local size, global (WIDTH, OUTER * INNER, BATCH) rounded up to it; neighbouring
//   work-items move neighbouring elements on both sides.
// FLOPs: none. Bytes: 2 BATCH OUTER INNER WIDTH elements, each read once and written once.
// Numerics: bits are copied, NaN included.
// Limits: OUTER * INNER below 2^31.

#include "heads_args.h"
#include "storage.h"

// ---- transpose -----------------------------------------------------------------------------------

__kernel void heads_transpose(const __global storage_t *restrict x, __global storage_t *restrict y,
                              const heads_args args) {
  const int e = (int)get_global_id(0);
  const int row = (int)get_global_id(1);
  const int b = (int)get_global_id(2);
  if (b >= args.batch) return;
  if (e >= args.width || row >= args.outer * args.inner) return;
  const int o = row / args.inner;
  const int i = row % args.inner;

  // 64-bit before the first product: BATCH * OUTER * INNER * WIDTH may pass 2^31.
  const size_t plane = (size_t)b * args.outer * args.inner;
  const size_t source = plane + (size_t)o * args.inner + i;
  const size_t target = plane + (size_t)i * args.outer + o;
  store_same(y[target * args.width + e], x[source * args.width + e]);
}
