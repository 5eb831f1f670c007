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
#define STAGES 3  // {2,3,4} tiles of keys or values in shared memory
#endif
#ifndef Q_REGISTERS
#define Q_REGISTERS 32  // {0,16,32,48,64} registers of a lane that may hold the queries all along
#endif
#ifndef WARPS_PER_SM
#define WARPS_PER_SM 8  // {8,12,16} warps that have to fit the registers of a multiprocessor
#endif

#if __CUDA_ARCH__ < 800
#error "attention_flash_mma needs compute capability 8.0: mma.sync.m16n8k16 and cp.async"
#endif
#if DTYPE != 1 && DTYPE != 2
#error "attention_flash_mma takes fp16 (DTYPE 1) and bf16 (DTYPE 2)"
#endif
#if HEAD_DIM % 32 != 0 || HEAD_DIM_V % 32 != 0
#error "HEAD_DIM and HEAD_DIM_V must be multiples of 32: tiles are swizzled in panels of 32 or 64"
#endif
#if BLOCK_M != 16 * WARPS && BLOCK_M != 32 * WARPS
#error "BLOCK_M must be 16 or 32 times WARPS: a warp owns one or two blocks of 16 query rows"
#endif
#if BLOCK_M / WARPS * (HEAD_DIM_V + BLOCK_N) > 6144
#error "BLOCK_M / WARPS * (HEAD_DIM_V + BLOCK_N) must be at most 6144: acc and s are in registers"
#endif
#if (HEAD_DIM % 64 != 0 || HEAD_DIM_V % 64 != 0) && BLOCK_N % (8 * WARPS) != 0
#error "BLOCK_N must be a multiple of 8 * WARPS where a head dimension is no multiple of 64"
#endif

#include "cuda_math.h"
#include "mma.h"
#include "swizzled_tiles.h"

#define THREADS (32 * WARPS)
#define WARP_M (BLOCK_M / WARPS)  // query rows of a warp
#define M_BLOCKS (WARP_M / 16)
#define Q_IN_REGISTERS (WARP_M * HEAD_DIM / 64 <= Q_REGISTERS)
#define LONGER_HEAD (HEAD_DIM > HEAD_DIM_V ? HEAD_DIM : HEAD_DIM_V)
#define Q_TILE (2 * BLOCK_M * LONGER_HEAD)   // bytes
#define KV_TILE (2 * BLOCK_N * LONGER_HEAD)  // bytes
#define RESCALE_THRESHOLD 8.0f
#define LOWEST_FLOAT -3.402823466e38f

static_assert(SHARED_BYTES == Q_TILE + STAGES * KV_TILE,
              "SHARED_BYTES is not the sum of the tiles");

FORCE_INLINE float reciprocal_approximate(const float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

FORCE_INLINE float quad_largest(float x) {
  x = fmax(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmax(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

FORCE_INLINE float quad_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// ---- what a lane holds of its warp's query rows --------------------------------------------------

// Row of the block of 16 that element e of a fragment belongs to: g or g + 8, see mma.h.
struct query_rows {
  float m_i[M_BLOCKS][2];  // reference of the weights' exponents, in units of log2
  float l_i[M_BLOCKS][2];  // this lane's share of the sum of weights
  float acc[M_BLOCKS][HEAD_DIM_V / 8][4];
};

typedef float score_tile[M_BLOCKS][BLOCK_N / 8][4];
typedef unsigned query_fragments[Q_IN_REGISTERS ? HEAD_DIM / 16 : 1][M_BLOCKS][4];

// ---- s = q k^T

FORCE_INLINE void multiply_queries(const unsigned q_corner, query_fragments &q_blocks,
                                   const unsigned k_corner, score_tile &s) {
#pragma unroll
  for (int x = 0; x < HEAD_DIM / 16; x++) {
    if (!Q_IN_REGISTERS) {
#pragma unroll
      for (int r = 0; r < M_BLOCKS; r++) {
        load_block(q_blocks[0][r], chunk_at<HEAD_DIM>(q_corner, 16 * r, 2 * x));
      }
    }
#pragma unroll
    for (int c = 0; c < BLOCK_N / 16; c++) {
      unsigned k_block[4];
      load_block(k_block, chunk_at<HEAD_DIM>(k_corner, 16 * c, 2 * x));
#pragma unroll
      for (int r = 0; r < M_BLOCKS; r++) {
        const unsigned(&q_block)[4] = q_blocks[Q_IN_REGISTERS ? x : 0][r];
        if (x == 0) {
          multiply(s[r][2 * c], q_block, k_block[0], k_block[1]);
          multiply(s[r][2 * c + 1], q_block, k_block[2], k_block[3]);
        } else {
          multiply_add(s[r][2 * c], q_block, k_block[0], k_block[1]);
          multiply_add(s[r][2 * c + 1], q_block, k_block[2], k_block[3]);
        }
      }
    }
  }
}

// ---- mask

FORCE_INLINE void hide(const attention_args &args, const int row0, const int key, score_tile &s) {
  const int lane = (int)threadIdx.x % 32;
#pragma unroll
  for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int row = row0 + 16 * r + e / 2 * 8 + lane / 4;
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

FORCE_INLINE void raise_maximum(const score_tile &s, const float scale, query_rows &rows) {
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
      m_new[r][h] = fmax(rows.m_i[r][h], quad_largest(m_tile) * scale);
      grows |= m_new[r][h] > rows.m_i[r][h] + RESCALE_THRESHOLD;
    }
  }
  if (__any_sync(0xffffffffu, grows)) {
#pragma unroll
    for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        const float alpha = exp2_approximate(rows.m_i[r][h] - m_new[r][h]);
        rows.m_i[r][h] = m_new[r][h];
        rows.l_i[r][h] *= alpha;
#pragma unroll
        for (int c = 0; c < HEAD_DIM_V / 8; c++) {
          rows.acc[r][c][2 * h] *= alpha;
          rows.acc[r][c][2 * h + 1] *= alpha;
        }
      }
    }
  }
}

FORCE_INLINE void take_weights(const score_tile &s, const int x, const float scale,
                               query_rows &rows, unsigned (&p)[M_BLOCKS][4]) {
#pragma unroll
  for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int h = e % 2;
      const float p0 = exp2_approximate(fma(s[r][2 * x + e / 2][2 * h], scale, -rows.m_i[r][h]));
      const float p1 =
          exp2_approximate(fma(s[r][2 * x + e / 2][2 * h + 1], scale, -rows.m_i[r][h]));
      rows.l_i[r][h] += p0 + p1;
      p[r][e] = to_storage_pair(p0, p1);
    }
  }
}

// ---- acc = acc * alpha + p v

FORCE_INLINE void multiply_values(const score_tile &s, const float scale, const unsigned v_corner,
                                  query_rows &rows) {
#pragma unroll
  for (int x = 0; x < BLOCK_N / 16; x++) {
    unsigned p[M_BLOCKS][4];
    take_weights(s, x, scale, rows, p);
#pragma unroll
    for (int c = 0; c < HEAD_DIM_V / 16; c++) {
      unsigned v_block[4];
      load_block_transposed(v_block, chunk_at<HEAD_DIM_V>(v_corner, 16 * x, 2 * c));
#pragma unroll
      for (int r = 0; r < M_BLOCKS; r++) {
        multiply_add(rows.acc[r][2 * c], p[r], v_block[0], v_block[1]);
        multiply_add(rows.acc[r][2 * c + 1], p[r], v_block[2], v_block[3]);
      }
    }
  }
}

// Takes NaN and infinities out of the chunks of the v_tile that this thread has copied: 1 if there
// were any.
FORCE_INLINE int tame_own_values(unsigned char *const v_tile) {
  int wild = 0;
  for_own_chunks<BLOCK_N, HEAD_DIM_V, THREADS>([&](int, int, const unsigned offset) {
    uint4 *const chunk = (uint4 *)(v_tile + offset);
    const uint4 x = *chunk;
    const unsigned signs = wild_signs(x.x) | wild_signs(x.y) | wild_signs(x.z) | wild_signs(x.w);
    if (signs & 0x80008000u) {
      *chunk = {x.x & ~wild_bits(x.x), x.y & ~wild_bits(x.y), x.z & ~wild_bits(x.z),
                x.w & ~wild_bits(x.w)};
      wild = 1;
    }
  });
  return wild;
}

FORCE_INLINE void add_wild_values(const attention_args &args, const storage_t *const v,
                                  const int row0, const int key, query_rows &rows) {
  const int lane = (int)threadIdx.x % 32;
#pragma unroll 1
  for (int j = key; j < min(key + BLOCK_N, args.seqlen_k); j++) {
#pragma unroll
    for (int c = 0; c < HEAD_DIM_V / 8; c++) {
      const unsigned x = *(const unsigned *)(v + (size_t)j * HEAD_DIM_V + 8 * c + lane % 4 * 2);
      const unsigned wild = x & wild_bits(x);
      const float v0 = to_float((storage_t)wild);
      const float v1 = to_float((storage_t)(wild >> 16));
#pragma unroll
      for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
          const int row = row0 + 16 * r + 8 * h + lane / 4;
          if (j >= FIRST_KEY(args, row) && j < END_KEY(args, row)) {
            rows.acc[r][c][2 * h] += v0;
            rows.acc[r][c][2 * h + 1] += v1;
          }
        }
      }
    }
  }
}

extern "C" __global__ void __launch_bounds__(THREADS, WARPS_PER_SM / WARPS)
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

  const storage_t *k_own = own_chunk<HEAD_DIM>(k + (kv_row0 + tiles_begin) * HEAD_DIM, HEAD_DIM);
  const storage_t *v_own =
      own_chunk<HEAD_DIM_V>(v + (kv_row0 + tiles_begin) * HEAD_DIM_V, HEAD_DIM_V);
  const auto start_step = [&](const unsigned step) {
    const int key = tiles_begin + (int)(step / 2) * BLOCK_N;
    const unsigned tile = kv_tiles + step % STAGES * KV_TILE;
    if (key < tiles_end) {
      if (step % 2 == 0) {
        load_tile_async<BLOCK_N, HEAD_DIM, THREADS>(tile, k_own, HEAD_DIM, args.seqlen_k - key,
                                                    HEAD_DIM);
        k_own += BLOCK_N * HEAD_DIM;
      } else {
        load_tile_async<BLOCK_N, HEAD_DIM_V, THREADS>(tile, v_own, HEAD_DIM_V, args.seqlen_k - key,
                                                      HEAD_DIM_V);
        v_own += BLOCK_N * HEAD_DIM_V;
      }
    }
    commit_copies();
  };

  load_tile_async<BLOCK_M, HEAD_DIM, THREADS>(q_tile,
                                              own_chunk<HEAD_DIM>(q + q_row0 * HEAD_DIM, HEAD_DIM),
                                              HEAD_DIM, args.seqlen_q - row0, HEAD_DIM);
#pragma unroll
  for (unsigned step = 0; step < STAGES - 1; step++) start_step(step);

  const float scale = SCORE_SCALE(args);
  wait_for_copies<STAGES - 2>();
  if (!(args.softmax_scale > 0.0f)) {
    const unsigned factor = to_storage_pair(sign(args.softmax_scale), sign(args.softmax_scale));
    for_own_chunks<BLOCK_M, HEAD_DIM, THREADS>([=](int, int, const unsigned offset) {
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

  const unsigned q_corner = q_tile + warp_row * (2 * HEAD_DIM) + block_of_lane<HEAD_DIM>(lane);
  query_fragments q_blocks;
  if (Q_IN_REGISTERS) {
#pragma unroll
    for (int x = 0; x < HEAD_DIM / 16; x++) {
#pragma unroll
      for (int r = 0; r < M_BLOCKS; r++) {
        load_block(q_blocks[Q_IN_REGISTERS ? x : 0][r],
                   chunk_at<HEAD_DIM>(q_corner, 16 * r, 2 * x));
      }
    }
  }

  query_rows rows;
#pragma unroll
  for (int r = 0; r < M_BLOCKS; r++) {
    rows.m_i[r][0] = rows.m_i[r][1] = LOWEST_FLOAT;
    rows.l_i[r][0] = rows.l_i[r][1] = 0.0f;
#pragma unroll
    for (int c = 0; c < HEAD_DIM_V / 8; c++) {
#pragma unroll
      for (int e = 0; e < 4; e++) rows.acc[r][c][e] = 0.0f;
    }
  }

  unsigned step = 0;
  for (int key = tiles_begin; key < tiles_end; key += BLOCK_N, step += 2) {
    const unsigned k_corner =
        kv_tiles + step % STAGES * KV_TILE + block_of_lane_by_rows<HEAD_DIM>(lane);
    const unsigned v_corner =
        kv_tiles + (step + 1) % STAGES * KV_TILE + block_of_lane<HEAD_DIM_V>(lane);
    score_tile s;
    wait_for_copies<STAGES - 2>();
    __syncthreads();
    start_step(step + STAGES - 1);
    if (key >= shared_begin && key + BLOCK_N <= shared_end) {
      multiply_queries(q_corner, q_blocks, k_corner, s);
      raise_maximum(s, scale, rows);
      wait_for_copies<STAGES - 2>();
      __syncthreads();
      start_step(step + STAGES);
      multiply_values(s, scale, v_corner, rows);
      continue;
    }
    const int warp_last = min(warp_row0 + WARP_M, args.seqlen_q) - 1;
    const int in_band =
        __any_sync(0xffffffffu, warp_row0 <= warp_last && key < END_KEY(args, warp_last) &&
                                    key + BLOCK_N > FIRST_KEY(args, warp_row0));
    if (in_band) {
      multiply_queries(q_corner, q_blocks, k_corner, s);
      hide(args, warp_row0, key, s);
      raise_maximum(s, scale, rows);
    }
    wait_for_copies<STAGES - 2>();
    const int wild =
        __syncthreads_or(tame_own_values(shared_memory + Q_TILE + (step + 1) % STAGES * KV_TILE));
    start_step(step + STAGES);
    if (in_band) {
      multiply_values(s, scale, v_corner, rows);
      if (wild) add_wild_values(args, v + kv_row0 * HEAD_DIM_V, warp_row0, key, rows);
    }
  }

  // ---- divide by the row sums
  float m_own = 0.0f, l_own = 0.0f;
  const unsigned own_out = swizzled<HEAD_DIM_V>(warp_row + lane / 4, 0) + lane % 4 * 4;
#pragma unroll
  for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int row = warp_row0 + 16 * r + 8 * h + lane / 4;
      const int any_visible = FIRST_KEY(args, row) < END_KEY(args, row);
      const float l = quad_sum(rows.l_i[r][h]);
      const float l_inverse = any_visible ? reciprocal_approximate(l) : 0.0f;
#pragma unroll
      for (int c = 0; c < HEAD_DIM_V / 8; c++) {
        *(unsigned *)(shared_memory + chunk_at<HEAD_DIM_V>(own_out, 16 * r + 8 * h, c)) =
            to_storage_pair(rows.acc[r][c][2 * h] * l_inverse,
                            rows.acc[r][c][2 * h + 1] * l_inverse);
      }
      if (lane % 4 == 2 * r + h) {
        m_own = rows.m_i[r][h];
        l_own = l;
      }
    }
  }
  const int own_row = warp_row0 + lane % 4 * 8 + lane / 4;
  if (lse && lane % 4 < 2 * M_BLOCKS && own_row < args.seqlen_q) {
    const int any_visible = FIRST_KEY(args, own_row) < END_KEY(args, own_row);
    lse[q_row0 - row0 + own_row] = any_visible ? LOG_SUM_EXP(args, m_own, l_own) : -INFINITY;
  }
  __syncwarp();
  const int panel = PANEL_CHUNKS(HEAD_DIM_V);
  const unsigned out_row = warp_row + (unsigned)lane / panel;
  const unsigned out_chunk = (unsigned)lane % panel;
  storage_t *const out_own = out + (q_row0 + out_row) * HEAD_DIM_V + out_chunk * 8;
#pragma unroll
  for (int r = 0; r < WARP_M; r += 32 / panel) {
#pragma unroll
    for (int c = 0; c < HEAD_DIM_V / 8; c += panel) {
      const uint4 x =
          *(const uint4 *)(shared_memory + swizzled<HEAD_DIM_V>(out_row + r, out_chunk + c));
      if (row0 + (int)out_row + r < args.seqlen_q) *(uint4 *)(out_own + r * HEAD_DIM_V + c * 8) = x;
    }
  }
}
