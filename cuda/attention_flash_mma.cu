// attention_flash_mma: attention forward in one kernel on tensor cores, fp16 or bf16 with fp32
// accumulation; scores never leave the registers.
//
// Computes, for each batch b, query head h (reading key-value head h / (H_Q / H_KV)) and query i:
//   s_j  = softmax_scale * sum_d q[i][d] k[j][d]      for the keys j that the band mask lets through
//   out[i][:] = sum_j exp(s_j - m) v[j][:] / l,   l = sum_j exp(s_j - m)
//   lse[i] = m + ln(l);   no visible key: out = 0, lse = -inf
// for any m near max_j s_j: which one, falls out of the quotient.
//
// Shapes (row-major): q [B, H_Q, SEQLEN_Q, HEAD_DIM]   k [B, H_KV, SEQLEN_K, HEAD_DIM]
//   v [B, H_KV, SEQLEN_K, HEAD_DIM_V]   out [B, H_Q, SEQLEN_Q, HEAD_DIM_V]   lse [B, H_Q, SEQLEN_Q]
//
// One block owns BLOCK_M query rows and walks over the keys, BLOCK_N at a time. Its warps split the
// rows, WARP_M = BLOCK_M / WARPS each, and nothing else: they share k_tile and v_tile, but no score, no
// maximum and no sum passes between them. A warp owns WARP_M / 16 blocks of 16 rows, so that each
// block of k or v that ldmatrix brings feeds 2 WARP_M / 16 products: with WARP_M = 32, one ldmatrix
// for 4 mma, which is what keeps shared memory below the tensor cores' pace.
//
//                  BLOCK_N keys                    HEAD_DIM_V
//                 +------------+                  +----------+
//       HEAD_DIM  |  k_tile^T  |         BLOCK_N  |  v_tile  |   k_tiles and v_tiles take turns in
//                 +------------+                  +----------+   a ring of STAGES tiles: while one
//       HEAD_DIM                                                 is multiplied, the next arrive
//      +--------+ +------------+        BLOCK_N   +----------+
//      | warp 0 | |     s      |-> p   +--------+ |   acc    |   acc = acc * alpha + p v
//      +--------+ | registers, |       | p, the | | registers|
//      | warp 1 | | d of mma   |       | same   | | d of mma |   p is s in another precision, in the
//      +--------+ |            |       | lanes, | |          |   same lanes: the d of one product has
//      |  ...   | |            |       | a of   | |          |   the layout of the next one's a
//      +--------+ +------------+       | mma    | +----------+
//       q_tile                         +--------+
//
//   step    2t: k_tile t            2t + 1: v_tile t        2t + 2: k_tile t + 1
//   wait    copies of this step     copies of this step     ...
//   barrier everyone's copies are here; the tile of the step before is free
//   start   copies of the step STAGES - 1 ahead, into the tile that became free
//   compute s, maximum              p, acc
//
// Launch: block (32 WARPS), grid (ceil(SEQLEN_Q / BLOCK_M), H_Q, B). Late query rows start first:
//   under a causal mask they are the long ones.
// FLOPs: 2 (HEAD_DIM + HEAD_DIM_V) per visible pair; tiles that hold no visible pair for the block are
//   not loaded, those that hold none for a warp are not multiplied by it.
// Bytes: q and out once; k and v SEQLEN_Q / BLOCK_M times. Extra memory: none.
// Shared memory: 2 max(HEAD_DIM, HEAD_DIM_V) (BLOCK_M + STAGES BLOCK_N) bytes. Per tile a warp reads
//   BLOCK_N (HEAD_DIM + HEAD_DIM_V) / 256 blocks of k and v, and of q WARP_M HEAD_DIM / 256 where the
//   registers do not hold them. No access has a bank conflict: swizzled_tiles.h.
// Registers of a lane: WARP_M (HEAD_DIM_V + BLOCK_N) / 32 for acc and s, WARP_M HEAD_DIM / 64 for q
//   where that is at most Q_REGISTERS, and some 50 more.
// Instructions per tile and warp that are no product: 1 ldmatrix for 2 WARP_M / 16 products; per score
//   of a lane 1 max, 2 adds, 1 mul, 1 ex2 and half a conversion; acc is rescaled only where a maximum
//   has grown by more than RESCALE_THRESHOLD.
// Numerics: products of 16-bit elements are exact within fp32's range and are added in fp32, in an order
//   that the tensor core chooses within 16. Scores are scaled after m is subtracted: m itself has weight 1.
//   p is rounded to the storage type for the second product, l adds it unrounded. out is rounded
//   once, to nearest even; beyond the range of fp16 that is an infinity.
// Limits: fp16 and bf16; compute capability 8.0; head dimensions that are multiples of 32 and fit the
//   registers; tensors start at multiples of 16 bytes; H_Q and B at most 65535; SEQLEN up to 2^29.
// Source: Dao, "FlashAttention-2", 2023, algorithm 1 and section 3.3: warps split the query rows. The
//   threshold before acc is rescaled: Dao, Shah and others, "FlashAttention-4", 2025.

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
#if HEAD_DIM > 256 || HEAD_DIM_V > 256
#error "HEAD_DIM and HEAD_DIM_V must be at most 256: acc has to fit the registers, q shared memory"
#endif
#if BLOCK_M != 16 * WARPS && BLOCK_M != 32 * WARPS
#error "BLOCK_M must be 16 or 32 times WARPS: a warp owns one or two blocks of 16 query rows"
#endif
#if WARPS_PER_SM % WARPS != 0
#error "WARPS_PER_SM must be a multiple of WARPS: blocks share a multiprocessor whole"
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
#define M_BLOCKS (WARP_M / 16)    // blocks of 16 query rows of a warp
#define Q_IN_REGISTERS (WARP_M * HEAD_DIM / 64 <= Q_REGISTERS)
#define LONGER_HEAD (HEAD_DIM > HEAD_DIM_V ? HEAD_DIM : HEAD_DIM_V)
#define Q_TILE (2 * BLOCK_M * LONGER_HEAD)   // bytes; out passes through it at the end
#define KV_TILE (2 * BLOCK_N * LONGER_HEAD)  // bytes
#define LOWEST_FLOAT -3.402823466e38f
// Weights are powers of 2 of what is above m_i. Up to 2^8 they fit fp16 and lose no bit that they
// would have kept below 1, so m_i and acc stay as they are until a score rises above that.
#define RESCALE_THRESHOLD 8.0f

static_assert(SHARED_BYTES == Q_TILE + STAGES * KV_TILE,
              "SHARED_BYTES is not the sum of the tiles");

// ---- where a thread is ---------------------------------------------------------------------------

// These read the special registers again wherever they are called. What comes of threadIdx and
// blockIdx the compiler would otherwise keep from before the loop to after it, and in the loop every
// register counts.

FORCE_INLINE int this_thread() {
  int x;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(x));
  return x;
}

FORCE_INLINE int this_lane() { return this_thread() % 32; }

// The first query row of the block.
FORCE_INLINE int block_row() {
  int x;
  asm volatile("mov.u32 %0, %%ctaid.x;" : "=r"(x));
  return ((int)gridDim.x - 1 - x) * BLOCK_M;
}

// A head's first row of q and out, and of k and v. 64-bit before the first product: B * H * SEQLEN *
// HEAD_DIM may pass 2^31.
FORCE_INLINE size_t query_row0(const attention_args &args) {
  int h, b;
  asm volatile("mov.u32 %0, %%ctaid.y;" : "=r"(h));
  asm volatile("mov.u32 %0, %%ctaid.z;" : "=r"(b));
  return ((size_t)b * args.heads_q + h) * args.seqlen_q;
}

FORCE_INLINE size_t key_row0(const attention_args &args) {
  int h, b;
  asm volatile("mov.u32 %0, %%ctaid.y;" : "=r"(h));
  asm volatile("mov.u32 %0, %%ctaid.z;" : "=r"(b));
  return ((size_t)b * args.heads_kv + h / (args.heads_q / args.heads_kv)) * args.seqlen_k;
}

// ---- rows, which the four lanes of a quad share ---------------------------------------------------

FORCE_INLINE float quad_largest(float x) {
  x = fmax(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmax(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

FORCE_INLINE float quad_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// What a lane holds of its warp's rows. In block r, half h, it is row 16 r + 8 h + lane / 4, of which
// acc[r][c][2 h] and [2 h + 1] are columns 8 c + lane % 4 * 2 and the next.
struct query_rows {
  float m_i[M_BLOCKS][2];  // what scores are measured from, not scaled
  float l_i[M_BLOCKS][2];  // this lane's share of the sum of the weights
  float acc[M_BLOCKS][HEAD_DIM_V / 8][4];
};

typedef float score_tile[M_BLOCKS][BLOCK_N / 8][4];  // keys for columns, as acc
typedef unsigned query_blocks[Q_IN_REGISTERS ? HEAD_DIM / 16 : 1][M_BLOCKS][4];

// ---- s = q k^T -----------------------------------------------------------------------------------

FORCE_INLINE void load_queries(const unsigned q_corner, const int x,
                               unsigned (&q_block)[M_BLOCKS][4]) {
#pragma unroll
  for (int r = 0; r < M_BLOCKS; r++) {
    load_block(q_block[r], chunk_at<HEAD_DIM>(q_corner, 16 * r, 2 * x));
  }
}

FORCE_INLINE void multiply_queries(const unsigned q_corner, query_blocks &q_blocks,
                                   const unsigned k_corner, score_tile &s) {
#pragma unroll
  for (int x = 0; x < HEAD_DIM / 16; x++) {
    if (!Q_IN_REGISTERS) load_queries(q_corner, x, q_blocks[0]);
#pragma unroll
    for (int c = 0; c < BLOCK_N / 16; c++) {
      unsigned k_block[4];
      load_block(k_block, chunk_at<HEAD_DIM>(k_corner, 16 * c, 2 * x));
#pragma unroll
      for (int r = 0; r < M_BLOCKS; r++) {
        const unsigned(&q_block)[4] = q_blocks[Q_IN_REGISTERS ? x : 0][r];
        // The first products start the sums, which saves setting them to 0.
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

// ---- mask ----------------------------------------------------------------------------------------

FORCE_INLINE void hide_scores(const attention_args &args, const int warp_row0, const int key,
                              score_tile &s) {
  const int lane = this_lane();
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

// ---- online softmax ------------------------------------------------------------------------------

// Raises m_i to the largest score where one is too far above it, and rescales what has been summed.
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
      m_new[r][h] = fmax(rows.m_i[r][h], quad_largest(m_tile));
      grows |= (m_new[r][h] - rows.m_i[r][h]) * scale > RESCALE_THRESHOLD;
    }
  }
  // All of a warp or none, so that the registers of acc are not touched under a condition of a lane.
  if (__any_sync(0xffffffffu, grows)) {
#pragma unroll
    for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
      for (int h = 0; h < 2; h++) {
        // m_i starts at the lowest float, not at -inf: a row that has seen no key yet has m_new = m_i,
        // and -inf - -inf would be NaN. Its weights are exp2(-inf - m_i) = 0.
        const float alpha = exp2_approximate((rows.m_i[r][h] - m_new[r][h]) * scale);
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

// The weights p of keys 16 x to 16 x + 15 of the tile, as blocks a of the next product.
FORCE_INLINE void take_weights(const score_tile &s, const int x, const float scale,
                               query_rows &rows, unsigned (&p)[M_BLOCKS][4]) {
#pragma unroll
  for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
    for (int e = 0; e < 4; e++) {
      const int h = e % 2;
      const float *const s_pair = &s[r][2 * x + e / 2][2 * h];
      // Not an fma of the score, scale and a scaled m_i: that product would be rounded and this one
      // not, and the largest weight exp2 of the difference where it is 1. l_i takes that in, and p,
      // which is rounded to the storage, does not; far from 0 the difference grows past all exponents.
      const float p0 = exp2_approximate((s_pair[0] - rows.m_i[r][h]) * scale);
      const float p1 = exp2_approximate((s_pair[1] - rows.m_i[r][h]) * scale);
      rows.l_i[r][h] += p0 + p1;
      p[r][e] = to_storage_pair(p0, p1);
    }
  }
}

// ---- acc = acc * alpha + p v ---------------------------------------------------------------------

// Weights are taken 16 keys at a time, between products that do not need them yet: the exponentials
// of one step hide behind the products of the step before.
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

// A weight of 0 does not hide a value that is NaN or infinite, and a tensor core takes all 16 keys of a
// block or none. So in tiles that some row of the block does not see whole, such values are replaced
// by 0 in shared memory, and added to the rows that see them from global memory, one key at a time.

// Replaces them in the chunks that this thread has copied: 1 if there were any.
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

// Adds those of the tile from `key` on to the rows that see them, with a weight of 1: any weight but 0
// gives the same.
FORCE_INLINE void add_wild_values(const attention_args &args, const storage_t *v,
                                  const int warp_row0, const int key, query_rows &rows) {
  const int lane = this_lane();
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
          const int row = warp_row0 + 16 * r + 8 * h + lane / 4;
          if (j >= FIRST_KEY(args, row) && j < END_KEY(args, row)) {
            rows.acc[r][c][2 * h] += v0;
            rows.acc[r][c][2 * h + 1] += v1;
          }
        }
      }
    }
  }
}

// ---- kernel --------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(THREADS, WARPS_PER_SM / WARPS)
    attention_flash_mma(const storage_t *__restrict__ q, const storage_t *__restrict__ k,
                        const storage_t *__restrict__ v, storage_t *__restrict__ out,
                        float *__restrict__ lse, const attention_args args) {
  // Aligned as swizzled tiles have to be.
  extern __shared__ __align__(128) unsigned char shared_memory[];
  const unsigned q_tile = shared_address(shared_memory);
  const unsigned kv_tiles = q_tile + Q_TILE;
  const int row0 = block_row();
  const size_t q_row0 = query_row0(args);
  const size_t kv_row0 = key_row0(args);

  // The band only moves forward: no row of the block sees a key before the first row's first or after
  // the last row's last, and all see what lies between the last row's first and the first row's last.
  const int last = min(row0 + BLOCK_M, args.seqlen_q) - 1;
  const int tiles_begin = FIRST_KEY(args, row0) / BLOCK_N * BLOCK_N;
  const int tiles_end = END_KEY(args, last);
  const int shared_begin = FIRST_KEY(args, last);
  const int shared_end = END_KEY(args, row0);

  // ---- copies: step 2 t brings k_tile t, step 2 t + 1 v_tile t, each a group

  const storage_t *k_own = own_chunk<HEAD_DIM>(k + (kv_row0 + tiles_begin) * HEAD_DIM, HEAD_DIM);
  const storage_t *v_own =
      own_chunk<HEAD_DIM_V>(v + (kv_row0 + tiles_begin) * HEAD_DIM_V, HEAD_DIM_V);
  const auto start_step = [&](const unsigned step, const int key) {
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
    // Empty after the last tile, so that groups keep in line with steps.
    commit_copies();
  };
  // The queries are part of step 0's group.
  load_tile_async<BLOCK_M, HEAD_DIM, THREADS>(
      q_tile, own_chunk<HEAD_DIM>(q + (q_row0 + row0) * HEAD_DIM, HEAD_DIM), HEAD_DIM,
      args.seqlen_q - row0, HEAD_DIM);
#pragma unroll
  for (unsigned step = 0; step < STAGES - 1; step++) {
    start_step(step, tiles_begin + (int)(step / 2) * BLOCK_N);
  }

  // ---- queries

  // Scores are scaled to units of log2, so that the weights are plain powers of 2. The sign goes into
  // q, which costs no rounding and lets the largest score be found before scaling.
  const float scale = SCORE_SCALE(args);
  // Read after write: the oldest of STAGES - 1 groups, step 0's, is here as far as this thread has
  // copied it, and no other thread's part of q_tile is touched before the barrier.
  wait_for_copies<STAGES - 2>();
  if (!(args.softmax_scale > 0.0f)) {
    const unsigned factor = to_storage_pair(sign(args.softmax_scale), sign(args.softmax_scale));
    const unsigned minus_0 = to_storage_pair(-0.0f, -0.0f);
    for_own_chunks<BLOCK_M, HEAD_DIM, THREADS>([=](int, int, const unsigned offset) {
      uint4 *const chunk = (uint4 *)(shared_memory + offset);
      const uint4 x = *chunk;
      *chunk = {fma_pair(x.x, factor, minus_0), fma_pair(x.y, factor, minus_0),
                fma_pair(x.z, factor, minus_0), fma_pair(x.w, factor, minus_0)};
    });
  }
  // Read after write: warps read the rows of q_tile that other warps have copied.
  __syncthreads();
  const int lane = this_lane();
  const int warp_row = this_thread() / 32 * WARP_M;
  const unsigned q_corner = q_tile + warp_row * (2 * HEAD_DIM) + block_of_lane<HEAD_DIM>(lane);
  query_blocks q_blocks;
  if (Q_IN_REGISTERS) {
#pragma unroll
    for (int x = 0; x < HEAD_DIM / 16; x++) {
      load_queries(q_corner, x, q_blocks[Q_IN_REGISTERS ? x : 0]);
    }
  }

  query_rows rows;
#pragma unroll
  for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      rows.m_i[r][half] = LOWEST_FLOAT;
      rows.l_i[r][half] = 0.0f;
    }
#pragma unroll
    for (int c = 0; c < HEAD_DIM_V / 8; c++) {
#pragma unroll
      for (int e = 0; e < 4; e++) rows.acc[r][c][e] = 0.0f;
    }
  }

  unsigned step = 0;
  for (int key = tiles_begin; key < tiles_end; key += BLOCK_N, step += 2) {
    const int all_visible = key >= shared_begin && key + BLOCK_N <= shared_end;
    const unsigned k_tile = kv_tiles + step % STAGES * KV_TILE;
    const unsigned v_tile = kv_tiles + (step + 1) % STAGES * KV_TILE;
    const unsigned k_corner = k_tile + block_of_lane_by_rows<HEAD_DIM>(lane);
    const unsigned v_corner = v_tile + block_of_lane<HEAD_DIM_V>(lane);
    score_tile s;

    // The k_tile is the oldest of the STAGES - 1 groups in flight.
    wait_for_copies<STAGES - 2>();
    // Read after write: every warp multiplies the k_tile that all threads have copied. Write after
    // read: the copies started next overwrite the v_tile before it, which slower warps may still have
    // been reading.
    __syncthreads();
    start_step(step + STAGES - 1, key + (STAGES - 1) / 2 * BLOCK_N);

    // Two copies of the rest, so that tiles in the middle have neither masks nor branches among their
    // products.
    if (all_visible) {
      multiply_queries(q_corner, q_blocks, k_corner, s);
      raise_maximum(s, scale, rows);
      // The same two hazards with the v_tile, and with the k_tile before it.
      wait_for_copies<STAGES - 2>();
      __syncthreads();
      start_step(step + STAGES, key + STAGES / 2 * BLOCK_N);
      multiply_values(s, scale, v_corner, rows);
    } else {
      // The same two hazards. Read after write, once more: every warp multiplies the chunks that
      // other threads have rid of wild values.
      const auto receive_values = [&] {
        wait_for_copies<STAGES - 2>();
        const int wild = __syncthreads_or(tame_own_values(shared_memory + (v_tile - q_tile)));
        start_step(step + STAGES, key + STAGES / 2 * BLOCK_N);
        return wild;
      };
      // Asked of a vote, so that the compiler knows the lanes to agree.
      const int warp_row0 = block_row() + this_thread() / 32 * WARP_M;
      const int warp_last = min(warp_row0 + WARP_M, args.seqlen_q) - 1;
      const int in_band =
          __any_sync(0xffffffffu, warp_row0 <= warp_last && key < END_KEY(args, warp_last) &&
                                      key + BLOCK_N > FIRST_KEY(args, warp_row0));
      if (!in_band) {
        receive_values();
        continue;
      }
      multiply_queries(q_corner, q_blocks, k_corner, s);
      hide_scores(args, warp_row0, key, s);
      raise_maximum(s, scale, rows);
      const int wild = receive_values();
      multiply_values(s, scale, v_corner, rows);
      if (wild) add_wild_values(args, v + key_row0(args) * HEAD_DIM_V, warp_row0, key, rows);
    }
  }

  // ---- divide by the row sums, and out through q_tile, so that a warp writes whole rows

  // Write after read: out goes where ldmatrix may just have read queries for other lanes, of the same
  // rows and warp if head dimensions are equal.
  if (HEAD_DIM == HEAD_DIM_V) {
    __syncwarp();
  } else {
    __syncthreads();
  }
  const int end_lane = this_lane();
  const int end_warp_row = this_thread() / 32 * WARP_M;
  const int end_row0 = block_row();
  const unsigned own_out = swizzled<HEAD_DIM_V>(end_warp_row + end_lane / 4, 0) + end_lane % 4 * 4;
  float own_m = 0.0f, own_l = 0.0f;
#pragma unroll
  for (int r = 0; r < M_BLOCKS; r++) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      const int row = end_row0 + end_warp_row + 16 * r + 8 * half + end_lane / 4;
      const int any_visible = FIRST_KEY(args, row) < END_KEY(args, row);
      const float l = quad_sum(rows.l_i[r][half]);
      const float l_inverse = any_visible ? reciprocal_approximate(l) : 0.0f;
#pragma unroll
      for (int c = 0; c < HEAD_DIM_V / 8; c++) {
        *(unsigned *)(shared_memory + chunk_at<HEAD_DIM_V>(own_out, 16 * r + 8 * half, c)) =
            to_storage_pair(rows.acc[r][c][2 * half] * l_inverse,
                            rows.acc[r][c][2 * half + 1] * l_inverse);
      }
      // A quad has four lanes and up to four rows: each lane writes the lse of one.
      if (end_lane % 4 == 2 * r + half) {
        own_m = rows.m_i[r][half];
        own_l = l;
      }
    }
  }
  const int own_row = end_row0 + end_warp_row + end_lane % 4 * 8 + end_lane / 4;
  if (lse && end_lane % 4 < 2 * M_BLOCKS && own_row < args.seqlen_q) {
    const int any_visible = FIRST_KEY(args, own_row) < END_KEY(args, own_row);
    lse[query_row0(args) + own_row] =
        any_visible ? fma(fabs(args.softmax_scale), own_m, ACCURATE_LOG(own_l)) : -INFINITY;
  }
  // Read after write: each lane reads 16 bytes that four lanes of its warp have written.
  __syncwarp();
  const int panel = PANEL_CHUNKS(HEAD_DIM_V);
  const unsigned row = end_warp_row + end_lane / panel;
  const unsigned chunk = end_lane % panel;
  storage_t *const out_own = out + (query_row0(args) + end_row0 + row) * HEAD_DIM_V + chunk * 8;
#pragma unroll
  for (int r = 0; r < WARP_M; r += 32 / panel) {
    if (end_row0 + (int)row + r >= args.seqlen_q) break;
#pragma unroll
    for (int c = 0; c < HEAD_DIM_V / 8; c += panel) {
      *(uint4 *)(out_own + r * HEAD_DIM_V + c * 8) =
          *(const uint4 *)(shared_memory + swizzled<HEAD_DIM_V>(row + r, chunk + c));
    }
  }
}
