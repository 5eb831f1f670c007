// rotary_embedding: rotary position embedding of queries or keys.
//
//   y[first]  = cos[p][i] x[first] - sin[p][i] x[second]
//   y[second] = sin[p][i] x[first] + cos[p][i] x[second]
//   for each b, h, s, with p = positions[b][s] and i < ROTARY_DIM / 2; elements from ROTARY_DIM on are
//   copied. (first, second) is (2 i, 2 i + 1) interleaved, else (i, i + ROTARY_DIM / 2).
//
// Shapes (row-major): x, y [B, H, SEQLEN, HEAD_DIM]   positions [B, SEQLEN], int32
//   cos_table, sin_table [MAX_POSITIONS, ROTARY_DIM / 2], fp32
//
//   interleaved:  [0 0 1 1 2 2 3 3 . . . .]     pair of each element; . is copied
//   half-split:   [0 1 2 3 0 1 2 3 . . . .]
//                  <- ROTARY_DIM ->
//
// Launch: local (THREADS_N, THREADS_M), global (HEAD_DIM - ROTARY_DIM / 2, SEQLEN, B * H), each
//   rounded up: a work-item turns a pair or copies an element.
// FLOPs: 3 B H SEQLEN ROTARY_DIM. Bytes: x and y once; a token's angles are read by all of its heads,
//   from the cache but for the first.
// Numerics: fp32; of each sum the second product is rounded, the first is not; y is rounded to its
//   storage type once. What is copied keeps its bits, NaN included.
// Limits: B * H below 2^31. A position below 0 or above MAX_POSITIONS - 1 is taken for the nearest
//   that is in the tables: nothing outside them is read, whatever positions hold.
// Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, equation 34.

#include "rotary_args.h"
#include "storage.h"

#ifndef THREADS_N
#define THREADS_N 32  // {8,16,32,64,128} work-items along the pairs
#endif
#ifndef THREADS_M
#define THREADS_M 8  // {1,2,4,8,16,32} work-items along the tokens
#endif

// ---- rotation ------------------------------------------------------------------------------------

__attribute__((reqd_work_group_size(THREADS_N, THREADS_M, 1))) __kernel void rotary_embedding(
    const __global storage_t *restrict x, const __global float *restrict cos_table,
    const __global float *restrict sin_table, const __global int *restrict positions,
    __global storage_t *restrict y, const rotary_args args) {
  const int e = (int)get_global_id(0);
  const int s = (int)get_global_id(1);
  const int bh = (int)get_global_id(2);
  const int pairs = args.rotary_dim / 2;
  if (e >= args.head_dim - pairs || s >= args.seqlen) return;

  // 64-bit before the first product: B * H * SEQLEN * HEAD_DIM may pass 2^31.
  const size_t row = ((size_t)bh * args.seqlen + s) * args.head_dim;
  x += row;
  y += row;
  if (e >= pairs) {
    store_same(y[e + pairs], x[e + pairs]);
    return;
  }
  const size_t token = (size_t)(bh / args.heads) * args.seqlen + s;
  const size_t angle = (size_t)clamp(positions[token], 0, args.max_positions - 1) * pairs + e;
  const float c = cos_table[angle];
  const float d = sin_table[angle];
  const int first = args.interleaved ? 2 * e : e;
  const int second = first + (args.interleaved ? 1 : pairs);
  const float a = to_float(x[first]);
  const float b = to_float(x[second]);
  store(y[first], fma(a, c, -(b * d)));
  store(y[second], fma(b, c, a * d));
}
