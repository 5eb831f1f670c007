// linear_tiled: a linear layer with both operands tiled through shared memory.
//
//   y[i][o] = sum_x x[i][x] weight[x][o] + bias[o]
//
// Shapes (row-major): x [ROWS, IN_FEATURES]   weight [IN_FEATURES, OUT_FEATURES]
//   bias [OUT_FEATURES] or absent   y [ROWS, OUT_FEATURES]
//
//                                BLOCK_K  +------+ weight tile
//                                         |      |
//                                         +------+
//                 x tile BLOCK_K           BLOCK_N
//             +---------+                 +------+
//    BLOCK_M  |         |                 |  y   | one block; each thread owns
//             +---------+                 +------+ BLOCK_M / THREADS_M x BLOCK_N / THREADS_N of it
//
// Tiles come in two pairs: one is multiplied while the other arrives.
//
// Launch: block (THREADS_N, THREADS_M),
//   grid (ceil(OUT_FEATURES / BLOCK_N), ceil(ROWS / BLOCK_M)).
// FLOPs: 2 ROWS IN_FEATURES OUT_FEATURES.
// Bytes: x is read OUT_FEATURES / BLOCK_N times, weight ROWS / BLOCK_M times, y written once.
// Shared memory: 8 (BLOCK_M (BLOCK_K + 4) + BLOCK_K BLOCK_N) bytes.
// Registers: BLOCK_M / THREADS_M (BLOCK_N / THREADS_N + 4) + 16 and addresses.
// Numerics: fp32, fused multiply-adds in index order, the bias added last.
// Limits: fp32 storage; tensors start at multiples of 16 bytes; the blocks along ROWS at most 65535.
// Source: the classic blocked product; see Kirk and Hwu, "Programming Massively Parallel Processors".

#include "linear_args.h"

#ifndef BLOCK_M
#define BLOCK_M 64  // {16,32,64,128} rows of y per block
#endif
#ifndef BLOCK_N
#define BLOCK_N 64  // {32,64,128} columns of y per block
#endif
#ifndef BLOCK_K
#define BLOCK_K 16  // {8,16,32} depth of a pair of tiles
#endif
#ifndef THREADS_M
#define THREADS_M 16  // {8,16} threads along the rows
#endif
#ifndef THREADS_N
#define THREADS_N 16  // {8,16} threads along the columns
#endif

#if BLOCK_M % THREADS_M != 0
#error "BLOCK_M must be a multiple of THREADS_M"
#endif
#if BLOCK_N % (4 * THREADS_N) != 0
#error "BLOCK_N must be a multiple of 4 THREADS_N"
#endif
#if BLOCK_K * (BLOCK_M + BLOCK_N) > 4096
#error "BLOCK_K (BLOCK_M + BLOCK_N) must be at most 4096: two pairs of tiles in shared memory"
#endif

#include "local_tiles.h"

#define ROWS_EACH (BLOCK_M / THREADS_M)     // rows of y that a thread owns
#define COLUMNS_EACH (BLOCK_N / THREADS_N)  // columns of y that a thread owns
#define X_STRIDE ODD_STRIDE(BLOCK_K)        // rows start in different banks
#define WEIGHT_STRIDE BLOCK_N

// ---- tiles ---------------------------------------------------------------------------------------

// Starts to load the tiles that begin at column `depth` of x and row `depth` of weight.
FORCE_INLINE void load_tiles(const float *x, const float *weight, const linear_args args,
                             const int row0, const int column0, const int depth, float *x_tile,
                             float *weight_tile) {
  // 64-bit before the first product: ROWS * IN_FEATURES may pass 2^31.
  load_tile<BLOCK_M, BLOCK_K>(x_tile, X_STRIDE, x + (size_t)row0 * args.in_features + depth,
                              args.in_features, args.rows - row0, args.in_features - depth);
  load_tile<BLOCK_K, BLOCK_N>(
      weight_tile, WEIGHT_STRIDE, weight + (size_t)depth * args.out_features + column0,
      args.out_features, args.in_features - depth, args.out_features - column0);
}

// ---- kernel --------------------------------------------------------------------------------------

// The 1 in the bounds: a block a multiprocessor is enough. Left to itself ptxas aims at more, and spills.
extern "C" __global__ void __launch_bounds__(THREADS_M *THREADS_N, 1)
    linear_tiled(const float *__restrict__ x, const float *__restrict__ weight,
                 const float *__restrict__ bias, float *__restrict__ y, const linear_args args) {
  __shared__ __align__(16) float x_tile[2][BLOCK_M * X_STRIDE];
  __shared__ __align__(16) float weight_tile[2][BLOCK_K * WEIGHT_STRIDE];
  const int tx = thread_x();
  const int ty = thread_y();
  const int column0 = (int)blockIdx.x * BLOCK_N;
  const int row0 = (int)blockIdx.y * BLOCK_M;
  // Columns are compared within the block: OUT_FEATURES rounded up to BLOCK_N may pass 2^31.
  const int columns_left = args.out_features - column0;

  float acc[ROWS_EACH * COLUMNS_EACH];
#pragma unroll
  for (int e = 0; e < ROWS_EACH * COLUMNS_EACH; e++) acc[e] = 0.0f;

  load_tiles(x, weight, args, row0, column0, 0, x_tile[0], weight_tile[0]);
  for (int depth = 0; depth < args.in_features; depth += BLOCK_K) {
    const int now = depth / BLOCK_K % 2;
    wait_for_copies<0>();
    // Read after write: every thread multiplies what the others have loaded. Write after read: the
    // next tiles overwrite those before these, which slower threads may still have been reading.
    __syncthreads();
    if (depth + BLOCK_K < args.in_features) {
      load_tiles(x, weight, args, row0, column0, depth + BLOCK_K, x_tile[1 - now],
                 weight_tile[1 - now]);
    }
    multiply_tiles<ROWS_EACH, COLUMNS_EACH, BLOCK_K>(x_tile[now], X_STRIDE, weight_tile[now],
                                                     WEIGHT_STRIDE, acc);
  }

#pragma unroll
  for (int r = 0; r < ROWS_EACH; r++) {
    const int row = row0 + ty + r * THREADS_M;
#pragma unroll
    for (int c = 0; c < COLUMNS_EACH; c++) {
      const int column = COLUMN(tx, c);
      if (row < args.rows && column < columns_left) {
        y[(size_t)row * args.out_features + column0 + column] =
            acc[r * COLUMNS_EACH + c] + (bias ? bias[column0 + column] : 0.0f);
      }
    }
  }
}
