#include "attention_args.h"

#ifndef BLOCK_M
#define BLOCK_M 128  // {64,128,256} query rows per block
#endif
#ifndef BLOCK_N
#define BLOCK_N 64  // {32,64,128} keys per tile
#endif
#ifndef WARPS
#define WARPS 4  // {4,8} warps of a block, which share its query rows
#endif
#ifndef STAGES
#define STAGES 3  // {2,3,4,6} tiles of keys or values in shared memory
#endif
#ifndef Q_IN_REGISTERS
#define Q_IN_REGISTERS 0  // {0,1} whether the queries are read from shared memory once, or per tile
#endif
#ifndef BLOCKS_PER_SM
#define BLOCKS_PER_SM 2  // {1,2,3,4} blocks that have to fit the registers of a multiprocessor
#endif

#include "cuda_math.h"
#include "mma.h"
#include "swizzled_tiles.h"

#define THREADS (32 * WARPS)
#define WARP_M (BLOCK_M / WARPS)  // query rows of a warp
#define M_BLOCKS (WARP_M / 16)
#define LONGER_HEAD (HEAD_DIM > HEAD_DIM_V ? HEAD_DIM : HEAD_DIM_V)
#define Q_TILE (2 * BLOCK_M * LONGER_HEAD)   // bytes
#define KV_TILE (2 * BLOCK_N * LONGER_HEAD)  // bytes
#define RESCALE_THRESHOLD 8.0f

static_assert(SHARED_BYTES == Q_TILE + STAGES * KV_TILE, "SHARED_BYTES is not the sum of the tiles");

FORCE_INLINE float quad_largest(float x) {
  x = fmax(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmax(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

FORCE_INLINE float quad_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS_PER_SM)
    attention_flash_mma(const storage_t *__restrict__ q, const storage_t *__restrict__ k,
                        const storage_t *__restrict__ v, storage_t *__restrict__ out,
                        float *__restrict__ lse, const attention_args args) {
  extern __shared__ __align__(128) unsigned char shared_memory[];
  const unsigned q_tile = shared_address(shared_memory);
  const unsigned kv_tiles = q_tile + Q_TILE;
  const int lane = (int)threadIdx.x % 32;
  const int warp_row = (int)threadIdx.x / 32 * WARP_M;
  const int block = (int)(gridDim.x - 1 - blockIdx.x);
  const int h = (int)blockIdx.y;
  const int b = (int)blockIdx.z;
  const int h_kv = h / (args.heads_q / args.heads_kv);
  const int row0 = block * BLOCK_M;

  // 64-bit before the first product: B * H * SEQLEN * HEAD_DIM may pass 2^31.
  const size_t q_row0 = ((size_t)b * args.heads_q + h) * args.seqlen_q + row0;
  const size_t kv_row0 = ((size_t)b * args.heads_kv + h_kv) * args.seqlen_k;

  const int last = min(row0 + BLOCK_M, args.seqlen_q) - 1;
  const int tiles_begin = FIRST_KEY(args, row0) / BLOCK_N * BLOCK_N;
  const int tiles_end = END_KEY(args, last);
  const int shared_begin = FIRST_KEY(args, last);
  const int shared_end = END_KEY(args, row0);
  const int warp_row0 = row0 + warp_row;
  const int warp_last = min(warp_row0 + WARP_M, args.seqlen_q) - 1;
  const int warp_begin = FIRST_KEY(args, warp_row0);
  const int warp_end = warp_row0 <= warp_last ? END_KEY(args, warp_last) : 0;
  const int warp_shared_begin = FIRST_KEY(args, warp_last);
  const int warp_shared_end = END_KEY(args, warp_row0);

  const auto start_step = [&](const unsigned step) {
    const int key = tiles_begin + (int)(step / 2) * BLOCK_N;
    const unsigned tile = kv_tiles + step % STAGES * KV_TILE;
    if (key < tiles_end) {
      if (step % 2 == 0) {
        load_tile_async<BLOCK_N, HEAD_DIM, THREADS>(tile, k + (kv_row0 + key) * HEAD_DIM, HEAD_DIM,
                                                    args.seqlen_k - key, HEAD_DIM);
      } else {
        load_tile_async<BLOCK_N, HEAD_DIM_V, THREADS>(tile, v + (kv_row0 + key) * HEAD_DIM_V,
                                                      HEAD_DIM_V, args.seqlen_k - key, HEAD_DIM_V);
      }
    }
    commit_copies();
  };

  load_tile_async<BLOCK_M, HEAD_DIM, THREADS>(q_tile, q + q_row0 * HEAD_DIM, HEAD_DIM,
                                              args.seqlen_q - row0, HEAD_DIM);
#pragma unroll
  for (unsigned step = 0; step < STAGES - 1; step++) start_step(step);

  const float scale = SCORE_SCALE(args);
  wait_for_copies<STAGES - 2>();
  if (!(args.softmax_scale > 0.0f)) {
    const unsigned factor = to_storage_pair(sign(args.softmax_scale), sign(args.softmax_scale));
    for_own_chunks<BLOCK_M, HEAD_DIM, THREADS>([=](const unsigned offset, int, int) {
      uint4 *const chunk = (uint4 *)(shared_memory + offset);
      uint4 x = *chunk;
      x.x = fma_pair(x.x, factor, 0x80008000u);
      x.y = fma_pair(x.y, factor, 0x80008000u);
      x.z = fma_pair(x.z, factor, 0x80008000u);
      x.w = fma_pair(x.w, factor, 0x80008000u);
      *chunk = x;
    });
  }
  __syncthreads();

  const unsigned q_corner =
      q_tile + warp_row * (2 * HEAD_DIM) + block_of_lane<HEAD_DIM>(lane);
  unsigned q_all[Q_IN_REGISTERS ? HEAD_DIM / 16 : 1][M_BLOCKS][4];
  if (Q_IN_REGISTERS) {
#pragma unroll
    for (int x = 0; x < HEAD_DIM / 16; x++) {
#pragma unroll
      for (int r = 0; r < M_BLOCKS; r++) {
        load_block(q_all[Q_IN_REGISTERS ? x : 0][r], block_at<HEAD_DIM>(q_corner, 16 * r, x));
      }
    }
  }

  float m_i[M_BLOCKS][2], l_i[M_BLOCKS][2];
  float acc[M_BLOCKS][HEAD_DIM_V / 8][4];
#pragma unroll
  for (int r = 0; r < M_BLOCKS; r++) {
    m_i[r][0] = m_i[r][1] = -INFINITY;
    l_i[r][0] = l_i[r][1] = 0.0f;
#pragma unroll
    for (int c = 0; c < HEAD_DIM_V / 8; c++) {
#pragma unroll
      for (int e = 0; e < 4; e++) acc[r][c][e] = 0.0f;
    }
  }

  unsigned step = 0;
  for (int key = tiles_begin; key < tiles_end; key += BLOCK_N, step += 2) {
    const int in_band = key < warp_end && key + BLOCK_N > warp_begin;
    const unsigned k_corner =
        kv_tiles + step % STAGES * KV_TILE + block_of_lane<HEAD_DIM>(lane);
    const unsigned v_corner =
        kv_tiles + (step + 1) % STAGES * KV_TILE + block_of_lane<HEAD_DIM_V>(lane);
    float s[M_BLOCKS][BLOCK_N / 8][4];
    float subtrahend[M_BLOCKS][2];

    // ---- s = q k^T
    wait_for_copies<STAGES - 2>();
    __syncthreads();
    start_step(step + STAGES - 1);
    if (in_band) {
#pragma unroll
      for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
        for (int c = 0; c < BLOCK_N / 8; c++) {
#pragma unroll
          for (int e = 0; e < 4; e++) s[r][c][e] = 0.0f;
        }
      }
#pragma unroll
      for (int x = 0; x < HEAD_DIM / 16; x++) {
        if (!Q_IN_REGISTERS) {
#pragma unroll
          for (int r = 0; r < M_BLOCKS; r++) {
            load_block(q_all[0][r], block_at<HEAD_DIM>(q_corner, 16 * r, x));
          }
        }
#pragma unroll
        for (int c = 0; c < BLOCK_N / 16; c++) {
          unsigned k_block[4];
          load_block(k_block, block_at<HEAD_DIM>(k_corner, 16 * c, x));
#pragma unroll
          for (int r = 0; r < M_BLOCKS; r++) {
            const unsigned(&q_block)[4] = q_all[Q_IN_REGISTERS ? x : 0][r];
            multiply_add(s[r][2 * c], q_block, k_block[0], k_block[2]);
            multiply_add(s[r][2 * c + 1], q_block, k_block[1], k_block[3]);
          }
        }
      }

      // ---- mask
      if (key < warp_shared_begin || key + BLOCK_N > warp_shared_end) {
#pragma unroll
        for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
          for (int e = 0; e < 4; e++) {
            const int row = warp_row0 + 16 * r + e / 2 * 8 + lane / 4;
            const int first_key = FIRST_KEY(args, row);
            const int end_key = END_KEY(args, row);
#pragma unroll
            for (int c = 0; c < BLOCK_N / 8; c++) {
              const int j = key + 8 * c + lane % 4 * 2 + e % 2;
              if (j < first_key || j >= end_key) s[r][c][e] = -INFINITY;
            }
          }
        }
      }

      // ---- online softmax
      float m_new[M_BLOCKS][2];
      int grows = 0;
#pragma unroll
      for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
          float m_tile = -INFINITY;
#pragma unroll
          for (int c = 0; c < BLOCK_N / 8; c++) {
            m_tile = fmax(m_tile, fmax(s[r][c][2 * h], s[r][c][2 * h + 1]));
          }
          m_new[r][h] = fmax(m_i[r][h], quad_largest(m_tile) * scale);
          grows |= m_new[r][h] > m_i[r][h] + RESCALE_THRESHOLD;
        }
      }
      if (__any_sync(0xffffffffu, grows)) {
#pragma unroll
        for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
          for (int h = 0; h < 2; h++) {
            const float m_safe = m_new[r][h] == -INFINITY ? 0.0f : m_new[r][h];
            const float alpha = exp2_approximate(m_i[r][h] - m_safe);
            m_i[r][h] = m_new[r][h];
            l_i[r][h] *= alpha;
#pragma unroll
            for (int c = 0; c < HEAD_DIM_V / 8; c++) {
              acc[r][c][2 * h] *= alpha;
              acc[r][c][2 * h + 1] *= alpha;
            }
          }
        }
      }
#pragma unroll
      for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
          subtrahend[r][h] = m_i[r][h] == -INFINITY ? 0.0f : m_i[r][h];
        }
      }
    }

    // ---- acc = acc * alpha + p v
    wait_for_copies<STAGES - 2>();
    int wild = 0;
    if (key >= shared_begin && key + BLOCK_N <= shared_end) {
      __syncthreads();
    } else {
      unsigned zeros = 0;
      for_own_chunks<BLOCK_N, HEAD_DIM_V, THREADS>([&](const unsigned offset, int, int) {
        const uint4 x = *(const uint4 *)(shared_memory + Q_TILE + (step + 1) % STAGES * KV_TILE + offset);
        zeros = fma_pair(x.x, 0, zeros);
        zeros = fma_pair(x.y, 0, zeros);
        zeros = fma_pair(x.z, 0, zeros);
        zeros = fma_pair(x.w, 0, zeros);
      });
      wild = __syncthreads_or(zeros != 0);
    }
    start_step(step + STAGES);
    if (in_band) {
      const auto weights = [&](const int x, unsigned(&p)[M_BLOCKS][4]) {
#pragma unroll
        for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
          for (int e = 0; e < 4; e++) {
            const int h = e % 2;
            const float *const s_pair = &s[r][2 * x + e / 2][2 * h];
            const float p0 = exp2_approximate(fma(s_pair[0], scale, -subtrahend[r][h]));
            const float p1 = exp2_approximate(fma(s_pair[1], scale, -subtrahend[r][h]));
            l_i[r][h] += p0 + p1;
            p[r][e] = to_storage_pair(p0, p1);
          }
        }
      };
      if (!wild) {
#pragma unroll
        for (int x = 0; x < BLOCK_N / 16; x++) {
          unsigned p[M_BLOCKS][4];
          weights(x, p);
#pragma unroll
          for (int c = 0; c < HEAD_DIM_V / 16; c++) {
            unsigned v_block[4];
            load_block_transposed(v_block, block_at<HEAD_DIM_V>(v_corner, 16 * x, c));
#pragma unroll
            for (int r = 0; r < M_BLOCKS; r++) {
              multiply_add(acc[r][2 * c], p[r], v_block[0], v_block[1]);
              multiply_add(acc[r][2 * c + 1], p[r], v_block[2], v_block[3]);
            }
          }
        }
      } else {
        unsigned p[BLOCK_N / 16][M_BLOCKS][4];
#pragma unroll
        for (int x = 0; x < BLOCK_N / 16; x++) weights(x, p[x]);
#pragma unroll
        for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll 1
          for (int row = 0; row < 16; row++) {
            const int first_key = FIRST_KEY(args, warp_row0 + 16 * r + row);
            const int end_key = END_KEY(args, warp_row0 + 16 * r + row);
            unsigned visible[BLOCK_N / 16][2];
#pragma unroll
            for (int x = 0; x < BLOCK_N / 8; x++) {
              const int j = key + 8 * x + lane % 4 * 2;
              visible[x / 2][x % 2] = (j >= first_key && j < end_key ? 0xffffu : 0u) |
                                      (j + 1 >= first_key && j + 1 < end_key ? 0xffff0000u : 0u);
            }
#pragma unroll
            for (int c = 0; c < HEAD_DIM_V / 16; c++) {
              float sum[2][4];
#pragma unroll
              for (int e = 0; e < 8; e++) sum[e / 4][e % 4] = acc[r][2 * c + e / 4][e % 4];
#pragma unroll
              for (int x = 0; x < BLOCK_N / 16; x++) {
                unsigned v_block[4];
                load_block_transposed(v_block, block_at<HEAD_DIM_V>(v_corner, 16 * x, c));
                multiply_add(sum[0], p[x][r], v_block[0] & visible[x][0], v_block[1] & visible[x][1]);
                multiply_add(sum[1], p[x][r], v_block[2] & visible[x][0], v_block[3] & visible[x][1]);
              }
#pragma unroll
              for (int e = 0; e < 8; e++) {
                if (row == lane / 4 + e / 2 % 2 * 8) acc[r][2 * c + e / 4][e % 4] = sum[e / 4][e % 4];
              }
            }
          }
        }
      }
    }
  }

  // ---- divide by the row sums
#pragma unroll
  for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int row = warp_row0 + 16 * r + 8 * h + lane / 4;
      const int any_visible = FIRST_KEY(args, row) < END_KEY(args, row);
      const float l = quad_sum(l_i[r][h]);
      const float l_inverse = any_visible ? 1.0f / l : 0.0f;
#pragma unroll
      for (int c = 0; c < HEAD_DIM_V / 8; c++) {
        const unsigned offset =
            swizzled<HEAD_DIM_V>(warp_row + 16 * r + 8 * h + lane / 4, c) + lane % 4 * 4;
        *(unsigned *)(shared_memory + offset) =
            to_storage_pair(acc[r][c][2 * h] * l_inverse, acc[r][c][2 * h + 1] * l_inverse);
      }
      if (lse && lane % 4 == 0 && row < args.seqlen_q) {
        lse[q_row0 + row - row0] = any_visible ? LOG_SUM_EXP(args, m_i[r][h], l) : -INFINITY;
      }
    }
  }
  __syncwarp();
#pragma unroll
  for (int e = lane; e < WARP_M * HEAD_DIM_V / 8; e += 32) {
    const int row = warp_row + e / (HEAD_DIM_V / 8);
    const int chunk = e % (HEAD_DIM_V / 8);
    if (row0 + row < args.seqlen_q) {
      *(uint4 *)(out + (q_row0 + row) * HEAD_DIM_V + chunk * 8) =
          *(const uint4 *)(shared_memory + swizzled<HEAD_DIM_V>(row, chunk));
    }
  }
}
