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
// Launch: block (THREADS), grid (ceil(CAPACITY * WIDTH / (THREADS * EACH)), B * H_KV); neighbouring
//   threads move neighbouring elements, EACH times.
// FLOPs: none. Bytes: 2 B H_KV CAPACITY WIDTH elements, each read once and written once.
// Numerics: bits are copied, NaN included.
// Limits: CAPACITY * WIDTH below 2^31, B * H_KV at most 65535. A length below 0 or above CAPACITY - ADDED is taken
//   for the nearest that fits: nothing outside the tensors is touched, whatever lengths hold.

#include "cache_args.h"
#include "storage.h"

#ifndef THREADS
#define THREADS 256  // {32,64,128,256} threads per block
#endif
#ifndef EACH
#define EACH 4  // {1,2,4,8,16} elements per thread
#endif

// ---- append --------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(THREADS)
    cache_append(const storage_t *__restrict__ cache, const storage_t *__restrict__ x,
                 const int *__restrict__ lengths, storage_t *__restrict__ y,
                 const cache_args args) {
  const int bh = (int)blockIdx.y;
  const int length = min(max(lengths[bh / args.heads], 0), args.capacity - args.added);
  const unsigned first = (unsigned)length * args.width;
  const unsigned added = (unsigned)args.added * args.width;
  const unsigned elements = (unsigned)args.capacity * args.width;
  // Unsigned, since the last block's end may pass 2^31.
  const unsigned start = blockIdx.x * (THREADS * EACH) + threadIdx.x;

  // 64-bit before the first product: B * H_KV * CAPACITY * WIDTH may pass 2^31.
  cache += (size_t)bh * elements;
  x += (size_t)bh * added;
  y += (size_t)bh * elements;
  for (unsigned e = start; e < min(start + THREADS * EACH, elements); e += THREADS) {
    if (e >= first && e < first + added) {
      y[e] = x[e - first];
    } else {
      y[e] = cache[e];
    }
  }
}
