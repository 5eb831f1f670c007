// cache_append: keys or values appended to a cache, as a new tensor.
//
//   y[b][h][j][:] = x[b][h][j - lengths[b]][:]   for lengths[b] <= j < lengths[b] + ADDED
//                   cache[b][h][j][:]            for the other rows
//
// Shapes (row-major): cache, y [B, H_KV, CAPACITY, WIDTH]   x [B, H_KV, ADDED, WIDTH]
//   lengths [B], int32
//
//   y of one head:  [cache: lengths[b] rows][x: ADDED rows][cache: the rest]
//                   three runs of elements, each contiguous on both sides
//
// Launch: local (THREADS), global (ceil(CAPACITY * WIDTH / (THREADS * EACH)) * THREADS, B * H_KV);
//   neighbouring work-items move neighbouring elements, EACH times.
// FLOPs: none. Bytes: 2 B H_KV CAPACITY WIDTH elements, each read once and written once.
// Numerics: bits are copied, NaN included.
// Limits: CAPACITY * WIDTH and B * H_KV below 2^31. A length below 0 or above CAPACITY - ADDED is taken
//   for the nearest that fits: nothing outside the tensors is touched, whatever lengths hold.

#include "cache_args.h"
#include "storage.h"

#ifndef THREADS
#define THREADS 64  // {1,16,32,64,128,256} work-items per work-group
#endif
#ifndef EACH
#define EACH 4  // {1,2,4,8,16,256,1024} elements per work-item
#endif

// ---- append --------------------------------------------------------------------------------------

__attribute__((reqd_work_group_size(THREADS, 1, 1))) __kernel void cache_append(
    const __global storage_t *restrict cache, const __global storage_t *restrict x,
    const __global int *restrict lengths, __global storage_t *restrict y, const cache_args args) {
  const int bh = (int)get_group_id(1);
  const int length = clamp(lengths[bh / args.heads], 0, args.capacity - args.added);
  const uint first = (uint)length * args.width;
  const uint added = (uint)args.added * args.width;
  const uint elements = (uint)args.capacity * args.width;
  // Unsigned, since the last group's end may pass 2^31.
  const uint start = (uint)get_group_id(0) * (THREADS * EACH) + (uint)get_local_id(0);

  // 64-bit before the first product: B * H_KV * CAPACITY * WIDTH may pass 2^31.
  cache += (size_t)bh * elements;
  x += (size_t)bh * added;
  y += (size_t)bh * elements;
  for (uint e = start; e < min(start + THREADS * EACH, elements); e += THREADS) {
    if (e >= first && e < first + added) {
      store_same(y[e], x[e - first]);
    } else {
      store_same(y[e], cache[e]);
    }
  }
}
