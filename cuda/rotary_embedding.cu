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
// Launch: block (THREADS_N, THREADS_M), grid (1, ceil(SEQLEN / THREADS_M), B * H): THREADS_N neighbours
//   take a token's pairs, and then the elements that are copied, by turns.
// FLOPs: 3 B H SEQLEN ROTARY_DIM. Bytes: x and y once; a token's angles are read by all of its heads,
//   from the cache but for the first.
// Numerics: fp32; of each sum the second product is rounded, the first is not; y is rounded to its
//   storage type once. What is copied keeps its bits, NaN included.
// Limits: B * H and SEQLEN / THREADS_M at most 65535. A position below 0 or above MAX_POSITIONS - 1 is taken for the nearest
//   that is in the tables: nothing outside them is read, whatever positions hold.
// Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021, equation 34.

#include "rotary_args.h"
#include "storage.h"

#ifndef THREADS_N
#define THREADS_N 32  // {8,16,32,64,128} threads along the pairs
#endif
#ifndef THREADS_M
#define THREADS_M 8  // {1,2,4,8} threads along the tokens
#endif

// ---- rotation ------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(THREADS_N *THREADS_M)
    rotary_embedding(const storage_t *__restrict__ x, const float *__restrict__ cos_table,
                     const float *__restrict__ sin_table, const int *__restrict__ positions,
                     storage_t *__restrict__ y, const rotary_args args) {
  const int lane = (int)threadIdx.x;
  const int s = (int)(blockIdx.y * THREADS_M + threadIdx.y);
  const int bh = (int)blockIdx.z;
  if (s >= args.seqlen) return;
  const int pairs = args.rotary_dim / 2;
  const int step = args.interleaved ? 2 : 1;
  const int distance = args.interleaved ? 1 : pairs;

  // 64-bit before the first product: B * H * SEQLEN * HEAD_DIM may pass 2^31.
  const size_t row = ((size_t)bh * args.seqlen + s) * args.head_dim;
  const size_t token = (size_t)(bh / args.heads) * args.seqlen + s;
  const size_t angles = (size_t)min(max(positions[token], 0), args.max_positions - 1) * pairs;
  x += row;
  y += row;
  cos_table += angles;
  sin_table += angles;
  for (int i = lane; i < pairs; i += THREADS_N) {
    const int first = i * step;
    const int second = first + distance;
    const float a = to_float(x[first]);
    const float b = to_float(x[second]);
    y[first] = to_storage(fma(a, cos_table[i], -(b * sin_table[i])));
    y[second] = to_storage(fma(b, cos_table[i], a * sin_table[i]));
  }
  for (int e = args.rotary_dim + lane; e < args.head_dim; e += THREADS_N) y[e] = x[e];
}
