// linear_tiled: a linear layer with both operands tiled through local memory.
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
//    BLOCK_M  |         |                 |  y   | one work-group; each work-item owns
//             +---------+                 +------+ BLOCK_M / THREADS_M x BLOCK_N / THREADS_N of it
//
// Launch: local (THREADS_N, THREADS_M),
//   global (ceil(OUT_FEATURES / BLOCK_N) * THREADS_N, ceil(ROWS / BLOCK_M) * THREADS_M).
// FLOPs: 2 ROWS IN_FEATURES OUT_FEATURES.
// Bytes: x is read OUT_FEATURES / BLOCK_N times, weight ROWS / BLOCK_M times, y written once.
// Local memory: 4 (BLOCK_M (BLOCK_K + 1) + BLOCK_K (BLOCK_N + 1)) bytes.
// Private memory: 4 BLOCK_M / THREADS_M (BLOCK_N / THREADS_N + 2) bytes at most.
// Numerics: fp32, fused multiply-adds in index order, the bias added last and y
//   rounded to its storage type once.
// Source: the classic blocked product; see Kirk and Hwu, "Programming Massively Parallel Processors".

#include "linear_args.h"

#ifndef BLOCK_M
#define BLOCK_M 64  // {16,32,64,128} rows of y per work-group
#endif
#ifndef BLOCK_N
#define BLOCK_N 64  // {16,32,64,128} columns of y per work-group
#endif
#ifndef BLOCK_K
#define BLOCK_K 16  // {8,16,32} depth of a pair of tiles
#endif
#ifndef THREADS_M
#define THREADS_M 16  // {8,16} work-items along the rows
#endif
#ifndef THREADS_N
#define THREADS_N 16  // {8,16} work-items along the columns
#endif

#if BLOCK_M % THREADS_M != 0
#error "BLOCK_M must be a multiple of THREADS_M"
#endif
#if BLOCK_N % THREADS_N != 0
#error "BLOCK_N must be a multiple of THREADS_N"
#endif

#include "local_tiles.h"

#define ROWS_EACH (BLOCK_M / THREADS_M)     // rows of y that a work-item owns
#define COLUMNS_EACH (BLOCK_N / THREADS_N)  // columns of y that a work-item owns
#define X_STRIDE (BLOCK_K + 1)              // odd: rows start in different banks
#define WEIGHT_STRIDE (BLOCK_N + 1)

// ---- kernel --------------------------------------------------------------------------------------

__attribute__((reqd_work_group_size(THREADS_N, THREADS_M, 1))) __kernel void linear_tiled(
    const __global storage_t *restrict x, const __global storage_t *restrict weight,
    const __global storage_t *restrict bias, __global storage_t *restrict y,
    const linear_args args) {
  __local float x_tile[BLOCK_M * X_STRIDE];
  __local float weight_tile[BLOCK_K * WEIGHT_STRIDE];
  const int tx = (int)get_local_id(0);
  const int ty = (int)get_local_id(1);
  const int column0 = (int)get_group_id(0) * BLOCK_N;
  const int row0 = (int)get_group_id(1) * BLOCK_M;

  float acc[ROWS_EACH * COLUMNS_EACH];
  for (int e = 0; e < ROWS_EACH * COLUMNS_EACH; e++) acc[e] = 0.0f;

  for (int depth = 0; depth < args.in_features; depth += BLOCK_K) {
    // 64-bit before the first product: ROWS * IN_FEATURES may pass 2^31.
    load_tile(BLOCK_M, BLOCK_K, x_tile, X_STRIDE, x + (size_t)row0 * args.in_features + depth,
              args.in_features, args.rows - row0, args.in_features - depth, 1.0f);
    load_tile(BLOCK_K, BLOCK_N, weight_tile, WEIGHT_STRIDE,
              weight + (size_t)depth * args.out_features + column0, args.out_features,
              args.in_features - depth, args.out_features - column0, 1.0f);
    // Read after write: every work-item multiplies what the others have just loaded.
    barrier(CLK_LOCAL_MEM_FENCE);
    multiply_tiles(ROWS_EACH, COLUMNS_EACH, BLOCK_K, x_tile, X_STRIDE, weight_tile, WEIGHT_STRIDE,
                   acc);
    // Write after read: the next tiles overwrite what slower work-items may still be reading.
    barrier(CLK_LOCAL_MEM_FENCE);
  }

  for (int r = 0; r < ROWS_EACH; r++) {
    const int row = row0 + ty + r * THREADS_M;
    for (int c = 0; c < COLUMNS_EACH; c++) {
      const int column = column0 + tx + c * THREADS_N;
      if (row < args.rows && column < args.out_features) {
        store(y[(size_t)row * args.out_features + column],
              acc[r * COLUMNS_EACH + c] + (bias ? to_float(bias[column]) : 0.0f));
      }
    }
  }
}
