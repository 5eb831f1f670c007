// Tiles in shared memory and their product, shared by the fp32 kernels.
//
// A block is a grid of THREADS_M x THREADS_N threads. Thread (ty, tx) owns the rows ty,
// ty + THREADS_M, ... of a result tile and of its columns
//   multiply_tiles              four neighbours at a time: COLUMN(tx, 0), COLUMN(tx, 1), ...
//   multiply_tiles_transposed   tx, tx + THREADS_N, ...
// Operands are read from shared memory 16 bytes at a time, a[row][x .. x + 3] in both.
//
// Shared memory answers a warp's 16-byte reads in passes of 128 bytes: four, or two where each lane l
// shares its address with its neighbour l ^ 1, or each with l ^ 2 (so NVIDIA's engineers on its forum,
// of compute capability 7.x; no manual says it), and more only where lanes of one pass ask for
// different addresses in one group of 4 banks. So a lane's bits are dealt out as
//
//   lane            bit 4   bit 3   bit 2   bit 1   bit 0
//   THREADS_N 8     ty 1    tx 2    tx 1    ty 0    tx 0     a warp: 4 rows x 8 columns
//   THREADS_N 16    tx 3    tx 2    tx 1    ty 0    tx 0     a warp: 2 rows x 16 columns
//
// and 16 lanes, one pass of two, are 2 neighbouring rows x 8 neighbouring columns without a conflict:
//   a[ty][x]             l and l ^ 1 read the same; a_stride / 4 is no multiple of 8, so the 2 rows are in
//                        different groups
//   b[x][COLUMN(tx, 0)]  l and l ^ 2 read the same; 128 contiguous bytes
//   b[tx][x]             l and l ^ 2 read the same; b_stride / 4 is odd, so 8 rows are in 8 groups
// Copies into a tile write 8 lanes' 16 bytes in a pass: 128 contiguous bytes, or, where a row is shorter,
// parts of 2 or 4 rows, of which the first and the last may share a group: one pass more.
#ifndef HEDDLE_LOCAL_TILES_H
#define HEDDLE_LOCAL_TILES_H

#include "async_copy.h"
#include "cuda_math.h"

#define COLUMN(tx, c) (4 * (tx) + (c) / 4 * (4 * THREADS_N) + (c) % 4)
// The smallest stride of rows of `columns` elements, a multiple of 4, that is an odd number of groups
// of 4 banks.
#define ODD_STRIDE(columns) (4 * ((columns) / 4 | 1))

FORCE_INLINE int thread_index() { return (int)(threadIdx.y * THREADS_N + threadIdx.x); }

FORCE_INLINE int thread_x() {
  const int thread = thread_index();
  return thread % 2 + thread / 4 % (THREADS_N / 2) * 2;
}

FORCE_INLINE int thread_y() {
  const int thread = thread_index();
  return thread / 2 % 2 + thread / (2 * THREADS_N) * 2;
}

// Neighbouring threads that copy neighbouring 16 bytes of a row: up to 128 bytes of it.
#define COPY_LANES(columns) ((columns) > 16 ? 8 : (columns) > 8 ? 4 : 2)

// Copies ROWS x COLUMNS elements of a row-major matrix into `tile`, 0 where the matrix has ended: only
// rows_left rows and columns_left columns of it remain. wait_for_copies and a barrier come before the
// first use. Rows that start at multiples of 16 bytes, and so hold a multiple of 4 elements, move 16
// bytes at a time, without waiting: each thread keeps to its place in a pattern of rows and columns that
// is laid over the tile again and again, so that the addresses of its copies differ by constants.
template <int ROWS, int COLUMNS>
FORCE_INLINE void load_tile(float *tile, const int tile_stride, const float *source,
                            const size_t source_stride, const int rows_left,
                            const int columns_left) {
  const int thread = thread_index();
  if (source_stride % 4 == 0) {
    const int lanes = COPY_LANES(COLUMNS);
    const int row = thread / lanes;
    const int column = thread % lanes * 4;
    tile += row * tile_stride + column;
    source += row * source_stride + column;
#pragma unroll
    for (int y = 0; y < ROWS; y += THREADS_M * THREADS_N / lanes) {
      if (ROWS % (THREADS_M * THREADS_N / lanes) != 0 && row + y >= ROWS) break;
#pragma unroll
      for (int x = 0; x < COLUMNS; x += 4 * lanes) {
        if (COLUMNS % (4 * lanes) != 0 && column + x >= COLUMNS) break;
        copy_async(tile + y * tile_stride + x, source + y * source_stride + x,
                   row + y < rows_left && column + x < columns_left);
      }
    }
  } else {
#pragma unroll 4
    for (int e = thread; e < ROWS * COLUMNS; e += THREADS_M * THREADS_N) {
      const int row = e / COLUMNS;
      const int column = e % COLUMNS;
      const int inside = row < rows_left && column < columns_left;
      tile[row * tile_stride + column] = inside ? source[row * source_stride + column] : 0.0f;
    }
  }
  commit_copies();
}

// Writes four neighbours of a row, of which the first columns_left exist: at once where rows start at
// multiples of 16 bytes, and so hold a multiple of 4 elements.
FORCE_INLINE void store_four(float *target, const int target_stride, const int columns_left,
                             const float *x) {
  if (target_stride % 4 == 0) {
    if (columns_left > 0) *(float4 *)target = {x[0], x[1], x[2], x[3]};
  } else {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      if (e < columns_left) target[e] = x[e];
    }
  }
}

// acc[0 .. 3] += a * b
FORCE_INLINE void multiply_four(const float a, const float4 b, float *acc) {
  acc[0] = fma(a, b.x, acc[0]);
  acc[1] = fma(a, b.y, acc[1]);
  acc[2] = fma(a, b.z, acc[2]);
  acc[3] = fma(a, b.w, acc[3]);
}

// acc[r][c] += sum_x a[ty + r * THREADS_M][x] * b[x][COLUMN(tx, c)] over x < DEPTH, with acc
// [ROWS][COLUMNS] in registers. The caller has put a barrier between the loads and this.
template <int ROWS, int COLUMNS, int DEPTH>
FORCE_INLINE void multiply_tiles(const float *a, const int a_stride, const float *b,
                                 const int b_stride, float *acc) {
  const int tx = thread_x();
  const int ty = thread_y();
#pragma unroll 2
  for (int x = 0; x < DEPTH; x += 4) {
    float4 a_x[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      a_x[r] = *(const float4 *)(a + (ty + r * THREADS_M) * a_stride + x);
    }
#pragma unroll
    for (int c = 0; c < COLUMNS; c += 4) {
#pragma unroll
      for (int y = 0; y < 4; y++) {
        const float4 b_xc = *(const float4 *)(b + (x + y) * b_stride + COLUMN(tx, c));
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
          const float a_rx = y == 0 ? a_x[r].x : y == 1 ? a_x[r].y : y == 2 ? a_x[r].z : a_x[r].w;
          multiply_four(a_rx, b_xc, acc + r * COLUMNS + c);
        }
      }
    }
  }
}

// The same with b's rows for columns: acc[r][c] += sum_x a[ty + r * THREADS_M][x] *
// b[tx + c * THREADS_N][x].
template <int ROWS, int COLUMNS, int DEPTH>
FORCE_INLINE void multiply_tiles_transposed(const float *a, const int a_stride, const float *b,
                                            const int b_stride, float *acc) {
  const int tx = thread_x();
  const int ty = thread_y();
#pragma unroll 2
  for (int x = 0; x < DEPTH; x += 4) {
    float4 b_x[COLUMNS];
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
      b_x[c] = *(const float4 *)(b + (tx + c * THREADS_N) * b_stride + x);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      const float4 a_rx = *(const float4 *)(a + (ty + r * THREADS_M) * a_stride + x);
#pragma unroll
      for (int c = 0; c < COLUMNS; c++) {
        float sum = acc[r * COLUMNS + c];
        sum = fma(a_rx.x, b_x[c].x, sum);
        sum = fma(a_rx.y, b_x[c].y, sum);
        sum = fma(a_rx.z, b_x[c].z, sum);
        acc[r * COLUMNS + c] = fma(a_rx.w, b_x[c].w, sum);
      }
    }
  }
}

// multiply_tiles where b's rows are keys from `key` on: row r only takes the keys it sees. A hidden
// key adds nothing even where b is NaN or infinite, which a weight of 0 would turn into NaN. With
// MARKED, a weight of -inf stands for a key that is hidden though it lies within the row's band.
template <int MARKED, int ROWS, int COLUMNS, int DEPTH>
FORCE_INLINE void multiply_visible_tiles(const float *a, const int a_stride, const float *b,
                                         const int b_stride, float *acc, const int key,
                                         const int *first_key, const int *end_key) {
  const int tx = thread_x();
  const int ty = thread_y();
#pragma unroll 1
  for (int x = 0; x < DEPTH; x++) {
    float4 b_x[COLUMNS / 4];
#pragma unroll
    for (int c = 0; c < COLUMNS; c += 4) {
      b_x[c / 4] = *(const float4 *)(b + x * b_stride + COLUMN(tx, c));
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
      const float a_rx = a[(ty + r * THREADS_M) * a_stride + x];
      if (key + x < first_key[r] || key + x >= end_key[r]) continue;
      if (MARKED && a_rx == -INFINITY) continue;
#pragma unroll
      for (int c = 0; c < COLUMNS; c += 4) multiply_four(a_rx, b_x[c / 4], acc + r * COLUMNS + c);
    }
  }
}

#endif
