// linear_mma: a linear layer on tensor cores, fp16 or bf16 with fp32 accumulation.
//
//   y[i][o] = sum_x x[i][x] weight[x][o] + bias[o]
//
// Shapes (row-major): x [ROWS, IN_FEATURES]   weight [IN_FEATURES, OUT_FEATURES]
//   bias [OUT_FEATURES] or absent   y [ROWS, OUT_FEATURES]
//
//                                BLOCK_K  +------+ weight tile     STAGES pairs of tiles in a ring:
//                                         |      |                 one is multiplied while the
//                                         +------+                 others arrive
//                 x tile BLOCK_K           BLOCK_N
//             +---------+                 +---+---+  one block; warp (wm, wn) owns a part of WARP_M x
//    BLOCK_M  |         |                 |0,0|0,1|  WARP_N = BLOCK_M / 2 x BLOCK_N / (WARPS / 2)
//             |         |                 +---+---+  and multiplies it in pieces of 16 x 16 x 16:
//             +---------+                 |1,0|1,1|  WARP_M / 16 + WARP_N / 16 ldmatrix for
//                                         +---+---+  WARP_M / 16 * WARP_N / 8 mma
//
// Launch: block (32 WARPS), grid (ceil(OUT_FEATURES / BLOCK_N), ceil(ROWS / BLOCK_M)).
// FLOPs: 2 ROWS IN_FEATURES OUT_FEATURES.
// Bytes: x is read OUT_FEATURES / BLOCK_N times, weight ROWS / BLOCK_M times, y written once.
// Shared memory: 2 STAGES BLOCK_K (BLOCK_M + BLOCK_N) bytes; y passes through the same.
// Registers: WARP_M WARP_N / 32 accumulators, (WARP_M + WARP_N) / 4 of operands, and some 40 more.
// Numerics: products of 16-bit elements are exact within fp32's range and are added in fp32 in an
//   order that the tensor core chooses within 16; the bias is added last and the sum rounded once, to
//   nearest even.
// Limits: fp16 and bf16; compute capability 8.0; tensors start at multiples of 16 bytes; the blocks along
//   ROWS at most 65535. Rows of x and weight are copied 16 bytes at a time where IN_FEATURES and
//   OUT_FEATURES are multiples of 8, else an element at a time through registers, which is several
//   times slower.
// Source: Kerr et al., "CUTLASS: Fast Linear Algebra in CUDA C++", 2017: tiles of a block, a warp and
//   an instruction.

#include "linear_args.h"

#ifndef BLOCK_M
#define BLOCK_M 128  // {64,128} rows of y per block
#endif
#ifndef BLOCK_N
#define BLOCK_N 128  // {64,128} columns of y per block
#endif
#ifndef BLOCK_K
#define BLOCK_K 32  // {32,64} depth of a pair of tiles
#endif
#ifndef WARPS
#define WARPS 4  // {4,8} warps of a block: two along the rows, the others along the columns
#endif
#ifndef STAGES
#define STAGES 4  // {2,3,4,5} pairs of tiles in shared memory
#endif

#if __CUDA_ARCH__ < 800
#error "linear_mma needs compute capability 8.0: mma.sync.m16n8k16 and cp.async"
#endif
#if DTYPE != 1 && DTYPE != 2
#error "linear_mma takes fp16 (DTYPE 1) and bf16 (DTYPE 2)"
#endif

#if BLOCK_M * BLOCK_N > STAGES * BLOCK_K * (BLOCK_M + BLOCK_N)
#error "BLOCK_M * BLOCK_N must be at most STAGES * BLOCK_K * (BLOCK_M + BLOCK_N): y passes through"
#endif

#include "mma.h"
#include "swizzled_tiles.h"

#define THREADS (32 * WARPS)
#define WARP_M (BLOCK_M / 2)            // rows of y that a warp owns
#define WARP_N (BLOCK_N / (WARPS / 2))  // columns of y that a warp owns
#define X_TILE (2 * BLOCK_M * BLOCK_K)  // bytes
#define WEIGHT_TILE (2 * BLOCK_K * BLOCK_N)
#define STAGE (X_TILE + WEIGHT_TILE)

static_assert(SHARED_BYTES == STAGES * STAGE, "SHARED_BYTES is not the sum of the tiles");
static_assert((WARP_N & (WARP_N - 1)) == 0,
              "a warp's columns have to start where chunk_at may add up to WARP_N / 8 chunks");

// ---- tiles ---------------------------------------------------------------------------------------

// Eight neighbours, of which the first columns_left exist; the others are 0.
FORCE_INLINE uint4 gather(const storage_t *first, const int columns_left) {
  unsigned pairs[4];
#pragma unroll
  for (int e = 0; e < 4; e++) {
    const unsigned low = 2 * e < columns_left ? first[2 * e] : 0;
    const unsigned high = 2 * e + 1 < columns_left ? first[2 * e + 1] : 0;
    pairs[e] = low | high << 16;
  }
  return {pairs[0], pairs[1], pairs[2], pairs[3]};
}

// Copies a tile of which only rows_left rows and columns_left columns remain: without waiting where
// rows of the matrix start at multiples of 16 bytes, else element by element through registers.
template <int TILE_ROWS, int TILE_COLUMNS>
FORCE_INLINE void load_tile(unsigned char *tile, const storage_t *source, const int source_stride,
                            const int rows_left, const int columns_left) {
  if (source_stride % 8 == 0) {
    load_tile_async<TILE_ROWS, TILE_COLUMNS, THREADS>(
        shared_address(tile), own_chunk<TILE_COLUMNS>(source, source_stride), source_stride,
        rows_left, columns_left);
  } else {
    const int row = own_row<TILE_COLUMNS>();
    const int column = own_column<TILE_COLUMNS>();
    for_own_chunks<TILE_ROWS, TILE_COLUMNS, THREADS>(
        [=](const int r, const int c, const unsigned offset) {
          const int left = row + r < rows_left ? columns_left - column - c : 0;
          *(uint4 *)(tile + offset) =
              gather(source + (size_t)(row + r) * source_stride + column + c, left);
        });
  }
}

// ---- kernel --------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(THREADS)
    linear_mma(const storage_t *__restrict__ x, const storage_t *__restrict__ weight,
               const storage_t *__restrict__ bias, storage_t *__restrict__ y,
               const linear_args args) {
  extern __shared__ __align__(128) unsigned char shared_memory[];
  const int lane = (int)threadIdx.x % 32;
  const int warp_row = (int)threadIdx.x / 32 % 2 * WARP_M;
  const int warp_column = (int)threadIdx.x / 64 * WARP_N;
  const int column0 = (int)blockIdx.x * BLOCK_N;
  const int row0 = (int)blockIdx.y * BLOCK_M;
  // Columns are compared within the block: OUT_FEATURES rounded up to BLOCK_N may pass 2^31.
  const int columns_left = args.out_features - column0;
  // 64-bit before the first product: ROWS * IN_FEATURES may pass 2^31.
  const storage_t *const x_rows = x + (size_t)row0 * args.in_features;
  const storage_t *const weight_columns = weight + column0;

  // Starts the copies of a step's tiles and makes them a group, an empty one after the last step, so
  // that groups keep in line with steps.
  const auto start_step = [&](const int step) {
    const int depth = step * BLOCK_K;
    unsigned char *const tiles = shared_memory + (unsigned)step % STAGES * STAGE;
    if (depth < args.in_features) {
      load_tile<BLOCK_M, BLOCK_K>(tiles, x_rows + depth, args.in_features, args.rows - row0,
                                  args.in_features - depth);
      load_tile<BLOCK_K, BLOCK_N>(tiles + X_TILE,
                                  weight_columns + (size_t)depth * args.out_features,
                                  args.out_features, args.in_features - depth, columns_left);
    }
    commit_copies();
  };
#pragma unroll 1
  for (int step = 0; step < STAGES - 1; step++) start_step(step);

  float acc[WARP_M / 16][WARP_N / 8][4];
#pragma unroll
  for (int r = 0; r < WARP_M / 16; r++) {
#pragma unroll
    for (int c = 0; c < WARP_N / 8; c++) {
#pragma unroll
      for (int e = 0; e < 4; e++) acc[r][c][e] = 0.0f;
    }
  }

  const unsigned x_lane = warp_row * (2 * BLOCK_K) + block_of_lane<BLOCK_K>(lane);
  const unsigned weight_lane = X_TILE + swizzled<BLOCK_N>(lane % 16, warp_column / 8 + lane / 16);
  const int steps = (args.in_features + BLOCK_K - 1) / BLOCK_K;
#pragma unroll 1
  for (int step = 0; step < steps; step++) {
    // This step's tiles are the oldest of the STAGES - 1 groups in flight.
    wait_for_copies<STAGES - 2>();
    // Read after write: every warp multiplies what all threads have copied. Write after read: the
    // copies started below overwrite the tiles of the step before, which slower warps may still have
    // been reading.
    __syncthreads();
    start_step(step + STAGES - 1);

    const unsigned tiles = shared_address(shared_memory) + (unsigned)step % STAGES * STAGE;
#pragma unroll
    for (int k = 0; k < BLOCK_K / 16; k++) {
      unsigned x_blocks[WARP_M / 16][4];
#pragma unroll
      for (int r = 0; r < WARP_M / 16; r++) {
        load_block(x_blocks[r], chunk_at<BLOCK_K>(tiles + x_lane, 16 * r, 2 * k));
      }
#pragma unroll
      for (int c = 0; c < WARP_N / 16; c++) {
        unsigned weight_block[4];
        load_block_transposed(weight_block, chunk_at<BLOCK_N>(tiles + weight_lane, 16 * k, 2 * c));
#pragma unroll
        for (int r = 0; r < WARP_M / 16; r++) {
          multiply_add(acc[r][2 * c], x_blocks[r], weight_block[0], weight_block[1]);
          multiply_add(acc[r][2 * c + 1], x_blocks[r], weight_block[2], weight_block[3]);
        }
      }
    }
  }

  // ---- y through shared memory, so that a warp writes whole rows

  // Write after read: y overwrites tiles that slower warps may still be reading. No copy is in flight
  // any more, for the last groups were empty.
  __syncthreads();
#pragma unroll
  for (int c = 0; c < WARP_N / 8; c++) {
    const int column = warp_column + 8 * c + lane % 4 * 2;
    const float bias0 = bias && column < columns_left ? to_float(bias[column0 + column]) : 0.0f;
    const float bias1 =
        bias && column + 1 < columns_left ? to_float(bias[column0 + column + 1]) : 0.0f;
#pragma unroll
    for (int r = 0; r < WARP_M / 16; r++) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const int row = warp_row + 16 * r + 8 * h + lane / 4;
        *(unsigned *)(shared_memory + swizzled<BLOCK_N>(row, warp_column / 8 + c) + lane % 4 * 4) =
            to_storage_pair(acc[r][c][2 * h] + bias0, acc[r][c][2 * h + 1] + bias1);
      }
    }
  }
  // Read after write: rows of the block are written to y by threads of other warps.
  __syncthreads();
  storage_t *const y_corner = y + (size_t)row0 * args.out_features + column0;
  const int row = own_row<BLOCK_N>();
  const int column = own_column<BLOCK_N>();
  for_own_chunks<BLOCK_M, BLOCK_N, THREADS>([=](const int r, const int c, const unsigned offset) {
    const int left = columns_left - column - c;
    if (row0 + row + r >= args.rows || left <= 0) return;
    const uint4 chunk = *(const uint4 *)(shared_memory + offset);
    storage_t *const target = y_corner + (size_t)(row + r) * args.out_features + column + c;
    if (args.out_features % 8 == 0) {
      *(uint4 *)target = chunk;
    } else {
      const unsigned pairs[4] = {chunk.x, chunk.y, chunk.z, chunk.w};
#pragma unroll
      for (int e = 0; e < 8; e++) {
        if (e < left) target[e] = (storage_t)(pairs[e / 2] >> (e % 2 * 16));
      }
    }
  });
}
