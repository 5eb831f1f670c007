// linear_cpu: a linear layer shaped for a processor's vector units.
//
//   y[i][o] = sum_x x[i][x] weight[x][o] + bias[o]
//
// Shapes (row-major): x [ROWS, IN_FEATURES]   weight [IN_FEATURES, OUT_FEATURES]
//   bias [OUT_FEATURES] or absent   y [ROWS, OUT_FEATURES]
//
// Output columns lie in the lanes: one work-item owns BLOCK_M rows of BLOCK_N / 16 vectors. Before
// its rows use it, a slab of weight is copied to where its rows are neighbours: left where it is, its
// rows lie OUT_FEATURES apart and fall into few sets of the cache.
//
//                              BLOCK_N columns
//                             +---------------+
//                   BLOCK_K   |     panel     |  copied once per BLOCK_M rows
//                             +---------------+
//          BLOCK_K
//         +-------+           +---------------+
//         |   x   | UNROLL_M  |      acc      |  BLOCK_M rows, UNROLL_M at a time in registers
//         +-------+           +---------------+
//
// Launch: global (ceil(OUT_FEATURES / BLOCK_N), ceil(ROWS / BLOCK_M)), local (1, 1).
// FLOPs: 2 ROWS IN_FEATURES OUT_FEATURES.
// Bytes: x is read OUT_FEATURES / BLOCK_N times, weight ROWS / BLOCK_M times, y written once.
// Private memory: 4 BLOCK_N (BLOCK_K + BLOCK_M) bytes, and in 16-bit storage 4 (UNROLL_M BLOCK_K +
//   BLOCK_N) for widened rows; the panel is meant to stay in L1.
// Numerics: fp32, fused multiply-adds in index order within BLOCK_K products, then the panels' sums,
//   the bias added last and y rounded to its storage type once.
// Source: Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.

#include "linear_args.h"
#include "force_inline.h"
#include "storage.h"
#include "vector_math.h"

#ifndef BLOCK_M
#define BLOCK_M 64  // {16,32,64,128} rows of y per work-item
#endif
#ifndef BLOCK_N
#define BLOCK_N 64  // {16,32,64,128} columns of y per work-item
#endif
#ifndef BLOCK_K
#define BLOCK_K 128  // {32,64,128,256} rows of weight per panel
#endif
#ifndef UNROLL_M
#define UNROLL_M 4  // {1,2,4,8,16} rows accumulated at the same time
#endif

#if BLOCK_N % 16 != 0
#error "BLOCK_N must be a multiple of 16, the lanes of a float16"
#endif
#if BLOCK_M % UNROLL_M != 0
#error "BLOCK_M must be a multiple of UNROLL_M"
#endif
#if BLOCK_N * UNROLL_M > 512
#error "BLOCK_N * UNROLL_M must be at most 512, or the accumulators leave the registers"
#endif

#define VECTORS (BLOCK_N / 16)  // float16 vectors in a row of the block

// ---- copy a slab of weight -----------------------------------------------------------------------

// `columns` of the panel's BLOCK_N columns exist in weight; the others become 0.
FORCE_INLINE void load_panel(const __global storage_t *weight, const size_t stride, const int depth,
                             const int columns, float16 *panel) {
  for (int x = 0; x < depth; x++) {
    const __global storage_t *row = weight + (size_t)x * stride;
    if (columns == BLOCK_N) {
#pragma unroll
      for (int c = 0; c < VECTORS; c++) panel[x * VECTORS + c] = load16(c, row);
    } else {
      for (int o = 0; o < BLOCK_N; o++) {
        ((float *)panel)[x * BLOCK_N + o] = o < columns ? to_float(row[o]) : 0.0f;
      }
    }
  }
}

// ---- UNROLL_M rows of acc += x panel -------------------------------------------------------------

// Rows from the block's row i on; past the last of `rows` rows, that row is read again and its sums
// are not stored.
FORCE_INLINE void multiply_rows(const __global storage_t *x, const size_t stride, const int i,
                                const int rows, const int depth, const float16 *panel,
                                float16 *acc) {
  float16 sum[UNROLL_M][VECTORS];
  const FLOATS *x_row[UNROLL_M];
  float widened[UNROLL_M][WIDENED(BLOCK_K)];
#pragma unroll
  for (int a = 0; a < UNROLL_M; a++) {
    x_row[a] = as_floats(x + (size_t)min(i + a, rows - 1) * stride, depth, widened[a]);
#pragma unroll
    for (int c = 0; c < VECTORS; c++) sum[a][c] = 0.0f;
  }
  for (int d = 0; d < depth; d++) {
#pragma unroll
    for (int a = 0; a < UNROLL_M; a++) {
      const float16 x_d = x_row[a][d];
#pragma unroll
      for (int c = 0; c < VECTORS; c++) sum[a][c] = fma(x_d, panel[d * VECTORS + c], sum[a][c]);
    }
  }
#pragma unroll
  for (int a = 0; a < UNROLL_M; a++) {
#pragma unroll
    for (int c = 0; c < VECTORS; c++) acc[(i + a) * VECTORS + c] += sum[a][c];
  }
}

// ---- kernel --------------------------------------------------------------------------------------

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void linear_cpu(
    const __global storage_t *restrict x, const __global storage_t *restrict weight,
    const __global storage_t *restrict bias, __global storage_t *restrict y,
    const linear_args args) {
  const int column0 = (int)get_group_id(0) * BLOCK_N;
  const int row0 = (int)get_group_id(1) * BLOCK_M;
  const int columns = min(BLOCK_N, args.out_features - column0);
  const int rows = min(BLOCK_M, args.rows - row0);

  // 64-bit before the first product: ROWS * IN_FEATURES may pass 2^31.
  x += (size_t)row0 * args.in_features;
  y += (size_t)row0 * args.out_features + column0;

  float16 panel[BLOCK_K * VECTORS];
  float16 acc[BLOCK_M * VECTORS];
  for (int e = 0; e < BLOCK_M * VECTORS; e++) acc[e] = 0.0f;

  for (int depth0 = 0; depth0 < args.in_features; depth0 += BLOCK_K) {
    const int depth = min(BLOCK_K, args.in_features - depth0);
    load_panel(weight + (size_t)depth0 * args.out_features + column0, args.out_features, depth,
               columns, panel);
    for (int i = 0; i < rows; i += UNROLL_M) {
      multiply_rows(x + depth0, args.in_features, i, rows, depth, panel, acc);
    }
  }

  for (int i = 0; i < rows; i++) {
    __global storage_t *y_row = y + (size_t)i * args.out_features;
    float widened[WIDENED(BLOCK_N)];
    FLOATS *sums = floats_to_fill(y_row, widened);
    for (int o = 0; o < columns; o++) {
      sums[o] = ((float *)acc)[i * BLOCK_N + o] + (bias ? to_float(bias[column0 + o]) : 0.0f);
    }
    store_floats(y_row, columns, sums);
  }
}
