// Tiles in local memory and their product, shared by the work-group-shaped kernels.
//
// A work-group is a grid of THREADS_M x THREADS_N work-items. Work-item (ty, tx) owns the elements in
// rows ty, ty + THREADS_M, ... and columns tx, tx + THREADS_N, ... of a result tile: neighbours in x
// read neighbouring words of a tile's row, and all of them the same word of a tile's column.
#ifndef HEDDLE_LOCAL_TILES_H
#define HEDDLE_LOCAL_TILES_H

#include "force_inline.h"
#include "storage.h"

// Copies tile_rows x tile_columns elements of a row-major matrix into `tile`, 0 where the matrix has
// ended: only rows_left rows and columns_left columns of it remain. No barrier. C has no templates: a
// macro makes load_tile for elements of tensors and load_float_tile for what is fp32 whatever they are.
#define LOAD_TILE(name, element_t, as_float_of)                                                   \
  FORCE_INLINE void name(const int tile_rows, const int tile_columns, __local float *tile,        \
                         const int tile_stride, const __global element_t *source,                 \
                         const size_t source_stride, const int rows_left, const int columns_left, \
                         const float factor) {                                                    \
    const int thread = (int)(get_local_id(1) * THREADS_N + get_local_id(0));                      \
    for (int e = thread; e < tile_rows * tile_columns; e += THREADS_M * THREADS_N) {              \
      const int row = e / tile_columns;                                                           \
      const int column = e % tile_columns;                                                        \
      const int inside = row < rows_left && column < columns_left;                                \
      tile[row * tile_stride + column] =                                                          \
          inside ? as_float_of(source[(size_t)row * source_stride + column]) * factor : 0.0f;     \
    }                                                                                             \
  }
LOAD_TILE(load_tile, storage_t, to_float)
LOAD_TILE(load_float_tile, float, )

// load_tile with tile[column][row] = source[row][column]; global reads stay contiguous.
FORCE_INLINE void load_tile_transposed(const int tile_rows, const int tile_columns,
                                       __local float *tile, const int tile_stride,
                                       const __global storage_t *source, const size_t source_stride,
                                       const int rows_left, const int columns_left) {
  const int thread = (int)(get_local_id(1) * THREADS_N + get_local_id(0));
  for (int e = thread; e < tile_rows * tile_columns; e += THREADS_M * THREADS_N) {
    const int row = e / tile_columns;
    const int column = e % tile_columns;
    const int inside = row < rows_left && column < columns_left;
    tile[column * tile_stride + row] =
        inside ? to_float(source[(size_t)row * source_stride + column]) : 0.0f;
  }
}

// acc[r][c] += sum_x a[ty + r * THREADS_M][x] * b[x][tx + c * THREADS_N] over x < depth, with acc
// [rows][columns] in registers. The caller has put a barrier between the loads and this.
FORCE_INLINE void multiply_tiles(const int rows, const int columns, const int depth,
                                 const __local float *a, const int a_stride, const __local float *b,
                                 const int b_stride, float *acc) {
  const int tx = (int)get_local_id(0);
  const int ty = (int)get_local_id(1);
  for (int x = 0; x < depth; x++) {
    for (int r = 0; r < rows; r++) {
      const float a_rx = a[(ty + r * THREADS_M) * a_stride + x];
      for (int c = 0; c < columns; c++) {
        acc[r * columns + c] =
            fma(a_rx, b[x * b_stride + tx + c * THREADS_N], acc[r * columns + c]);
      }
    }
  }
}

// multiply_tiles where b's rows are keys from `key` on: row r only takes the keys it sees. A hidden
// key adds nothing even where b is NaN or infinite, which a weight of 0 would turn into NaN. With
// `marked`, a weight of -inf stands for a key that is hidden though it lies within the row's band.
FORCE_INLINE void multiply_visible_tiles(const int marked, const int rows, const int columns,
                                         const int depth, const __local float *a,
                                         const int a_stride, const __local float *b,
                                         const int b_stride, float *acc, const int key,
                                         const int *first_key, const int *end_key) {
  const int tx = (int)get_local_id(0);
  const int ty = (int)get_local_id(1);
  for (int x = 0; x < depth; x++) {
    for (int r = 0; r < rows; r++) {
      if (key + x < first_key[r] || key + x >= end_key[r]) continue;
      const float a_rx = a[(ty + r * THREADS_M) * a_stride + x];
      if (marked && a_rx == -INFINITY) continue;
      for (int c = 0; c < columns; c++) {
        acc[r * columns + c] =
            fma(a_rx, b[x * b_stride + tx + c * THREADS_N], acc[r * columns + c]);
      }
    }
  }
}

#endif
