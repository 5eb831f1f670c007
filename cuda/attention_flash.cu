// attention_flash: attention forward in one kernel, without the score matrix in memory.
//
// Computes, for each batch b, query head h (reading key-value head h / (H_Q / H_KV)) and query i:
//   s_j  = softmax_scale * sum_d q[i][d] k[j][d]      for the keys j that the band mask lets through
//   out[i][:] = sum_j exp(s_j - m) v[j][:] / l,   m = max_j s_j,   l = sum_j exp(s_j - m)
//   lse[i] = m + ln(l);   no visible key: out = 0, lse = -inf
// and with OPTIONS, between the score and its weight,
//   s_j  = softcap * tanh(s_j / softcap)                                        where softcap > 0
//   s_j  = s_j + bias[i][j] - alibi_slopes[h] * |i + offset - j|
//   sinks[h] in m and l;  v[j] times dropout's factor for (i, j);  no visible key: lse = sinks[h]
// where key_lengths[b] ends the keys and mask, block_mask or a bias of -inf hide some.
//
// Shapes (row-major): q [B, H_Q, SEQLEN_Q, HEAD_DIM]   k [B, H_KV, SEQLEN_K, HEAD_DIM]
//   v [B, H_KV, SEQLEN_K, HEAD_DIM_V]   out [B, H_Q, SEQLEN_Q, HEAD_DIM_V]   lse [B, H_Q, SEQLEN_Q]
//   key_lengths [B]   mask, bias [B or 1, H_Q or 1, SEQLEN_Q or 1, SEQLEN_K]   alibi_slopes, sinks [H_Q]
//   block_mask [B or 1, H_Q or 1, ceil(SEQLEN_Q / block_rows), ceil(SEQLEN_K / block_keys)]
//
// One block owns BLOCK_M query rows and walks over the keys, BLOCK_N at a time. Each thread owns
// BLOCK_M / THREADS_M rows: the softmax state m_i, l_i and its share of acc stay in registers.
//
//                      BLOCK_N keys                      HEAD_DIM_V
//                     +------------+                    +----------+
//           HEAD_DIM  |  k_tile^T  |           BLOCK_N  |  v_tile  |   each arrives while the other
//                     +------------+                    +----------+   is multiplied
//           HEAD_DIM
//          +--------+ +------------+          BLOCK_N   +----------+
//  BLOCK_M | q_tile | |     s      |-> p     +--------+ |   acc    |   acc = acc * alpha + p v
//          |        | | registers  |         | p_tile | | registers|
//          +--------+ +------------+         +--------+ +----------+
//
// Launch: block (THREADS_N, THREADS_M, 1), grid (ceil(SEQLEN_Q / BLOCK_M), H_Q, B). Late query rows
//   start first: under a causal mask they are the long ones.
// FLOPs: 2 (HEAD_DIM + HEAD_DIM_V) per visible pair; tiles that hold no visible pair are skipped, as
//   far as band, key_lengths and block_mask tell.
// Bytes: q and out once; k and v SEQLEN_Q / BLOCK_M times; mask and bias once. Extra memory: none.
// Shared memory, 4 bytes each: (BLOCK_M + BLOCK_N) Q_STRIDE + BLOCK_N V_STRIDE + BLOCK_M P_STRIDE, with
//   Q_STRIDE = HEAD_DIM, or HEAD_DIM + 4 where HEAD_DIM / 4 is even, V_STRIDE = HEAD_DIM_V rounded up to
//   a multiple of 4 THREADS_N, and P_STRIDE the odd multiple of THREADS_N from BLOCK_N on.
// Registers: BLOCK_M / THREADS_M (V_STRIDE / THREADS_N + BLOCK_N / THREADS_N + 2) for acc, s, m_i and
//   l_i, and operands: with 8 x 8 scores and 8 x 8 outputs a thread takes 254, so two blocks of 128
//   threads share a multiprocessor.
//   With OPTIONS a thread owns fewer scores and outputs: what options a head has is kept beside them.
// Arithmetic, 8 x 8 and 8 x 8: one 16-byte shared read for 16 multiply-adds. Shared memory needs two
//   passes for it, which other warps' multiply-adds cover: 4 warps' 64 reads take 128 cycles of the
//   256 that their multiply-adds take where a multiprocessor does 128 in a cycle. Per score, beside
//   HEAD_DIM + HEAD_DIM_V multiply-adds: a maximum, a multiply-add, an exp2, a shared write, a sum.
// Numerics: fp32 throughout, fused multiply-adds, exp2 of differences in units of log2, m_i being
//   subtracted from scores before they are scaled; weights below 2^-126 of the row's largest are 0.
//   Options that work on natural scores round them once more, to these, before.
// Limits: fp32 storage; HEAD_DIM and HEAD_DIM_V multiples of 4; tensors start at multiples of 16
//   bytes; H_Q and B at most 65535; SEQLEN up to 2^29; registers and shared memory bound the head
//   dimensions.
// Source: Dao, "FlashAttention-2", 2023, algorithm 1.

#include "score_options.h"

#ifndef BLOCK_M
#define BLOCK_M 64  // {16,32,64,128} query rows per block
#endif
#ifndef BLOCK_N
#define BLOCK_N 32  // {16,32,64,128} keys per tile
#endif
#ifndef THREADS_M
#define THREADS_M 8  // {4,8,16} threads along the query rows
#endif
#ifndef THREADS_N
#define THREADS_N 16  // {8,16} threads along the keys and the output's columns
#endif

#if BLOCK_M % THREADS_M != 0
#error "BLOCK_M must be a multiple of THREADS_M"
#endif
#if BLOCK_N % THREADS_N != 0
#error "BLOCK_N must be a multiple of THREADS_N"
#endif
#if HEAD_DIM % 4 != 0 || HEAD_DIM_V % 4 != 0
#error "HEAD_DIM and HEAD_DIM_V must be multiples of 4: rows are read 16 bytes at a time"
#endif
// acc and s are registers: 144 of the 255 that a thread may have.
#if BLOCK_M * (HEAD_DIM_V + BLOCK_N) > 144 * THREADS_M * THREADS_N
#error "BLOCK_M (HEAD_DIM_V + BLOCK_N) must be at most 144 THREADS_M THREADS_N"
#endif
// What options a head has takes registers too.
#if OPTIONS && BLOCK_M * (HEAD_DIM_V + BLOCK_N) > 120 * THREADS_M * THREADS_N
#error "BLOCK_M (HEAD_DIM_V + BLOCK_N) must be at most 120 THREADS_M THREADS_N with OPTIONS"
#endif

#include "local_tiles.h"

#define ROWS_EACH (BLOCK_M / THREADS_M)      // query rows of a thread
#define KEYS_EACH (BLOCK_N / THREADS_N)      // its keys of a tile
#define COLUMNS_EACH (V_STRIDE / THREADS_N)  // its columns of the output
#define Q_STRIDE ODD_STRIDE(HEAD_DIM)
#define K_STRIDE ODD_STRIDE(HEAD_DIM)
// A warp writes THREADS_N neighbours in each of 32 / THREADS_N rows of weights: with rows an odd multiple
// of THREADS_N apart these are all 32 banks.
#define P_STRIDE (THREADS_N * (BLOCK_N / THREADS_N | 1))
#define V_STRIDE ((HEAD_DIM_V + 4 * THREADS_N - 1) / (4 * THREADS_N) * (4 * THREADS_N))

static_assert(SHARED_BYTES == 4 * (BLOCK_M * Q_STRIDE + BLOCK_N * K_STRIDE + BLOCK_N * V_STRIDE +
                                   BLOCK_M * P_STRIDE),
              "SHARED_BYTES is not the sum of the tiles");

// ---- rows of the block, which THREADS_N lanes of a warp share ------------------------------------

// Lanes of the same row differ in bit 0 and in the bits from 2 on, see local_tiles.h.
FORCE_INLINE float row_largest(float x) {
  x = fmax(x, __shfl_xor_sync(0xffffffffu, x, 1));
#pragma unroll
  for (int lane = 4; lane < 2 * THREADS_N; lane *= 2) {
    x = fmax(x, __shfl_xor_sync(0xffffffffu, x, lane));
  }
  return x;
}

FORCE_INLINE float row_sum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
#pragma unroll
  for (int lane = 4; lane < 2 * THREADS_N; lane *= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
  return x;
}

// ---- options, one score at a time: their code is long, and 64 copies of it a thread would be longer --

// A thread's scores of a tile, by way of its own elements of the p_tile, where a loop finds them.
FORCE_INLINE void apply_options(float *s, float *p_tile, const struct head_options head,
                                const attention_options options, const int row0, const int last_row,
                                const int key) {
  const int tx = thread_x();
  const int ty = thread_y();
#pragma unroll
  for (int e = 0; e < ROWS_EACH * KEYS_EACH; e++) {
    p_tile[(ty + e / KEYS_EACH * THREADS_M) * P_STRIDE + tx + e % KEYS_EACH * THREADS_N] = s[e];
  }
#pragma unroll 1
  for (int e = 0; e < ROWS_EACH * KEYS_EACH; e++) {
    const int row = ty + e / KEYS_EACH * THREADS_M;
    const int column = tx + e % KEYS_EACH * THREADS_N;
    // Rows after the last query repeat it, so that masks are not read beyond their end.
    const int i = min(row0 + row, last_row);
    float *const x = p_tile + row * P_STRIDE + column;
    *x = score(head, options, *x, i, key + column, FIRST_KEY(head.own, row0 + row),
               END_KEY(head.own, row0 + row), 0);
  }
#pragma unroll
  for (int e = 0; e < ROWS_EACH * KEYS_EACH; e++) {
    s[e] = p_tile[(ty + e / KEYS_EACH * THREADS_M) * P_STRIDE + tx + e % KEYS_EACH * THREADS_N];
  }
}

// Dropout of a thread's own weights of a tile; hidden keys stay marked.
FORCE_INLINE void drop(float *p_tile, const struct head_options head,
                       const attention_options options, const int row0, const int key) {
  if (!OPTIONS || options.dropout_threshold == 0) return;
#pragma unroll 1
  for (int e = 0; e < ROWS_EACH * KEYS_EACH; e++) {
    const int row = thread_y() + e / KEYS_EACH * THREADS_M;
    const int column = thread_x() + e % KEYS_EACH * THREADS_N;
    float *const p = p_tile + row * P_STRIDE + column;
    if (*p != -INFINITY) *p *= dropout_factor(head, options, row0 + row, key + column);
  }
}

// ---- kernel --------------------------------------------------------------------------------------

// The 1 in the bounds: a block a multiprocessor is enough. Left to itself ptxas aims at more, and spills.
extern "C" __global__ void __launch_bounds__(THREADS_M *THREADS_N, 1)
    attention_flash(const float *__restrict__ q, const float *__restrict__ k,
                    const float *__restrict__ v, const int *__restrict__ key_lengths,
                    const uchar *__restrict__ mask, const float *__restrict__ bias,
                    const uchar *__restrict__ block_mask, const float *__restrict__ alibi_slopes,
                    const float *__restrict__ sinks, float *__restrict__ out,
                    float *__restrict__ lse, const attention_args args,
                    const attention_options options) {
  extern __shared__ float4 shared_memory[];
  float *const q_tile = (float *)shared_memory;
  float *const k_tile = q_tile + BLOCK_M * Q_STRIDE;
  float *const v_tile = k_tile + BLOCK_N * K_STRIDE;
  float *const p_tile = v_tile + BLOCK_N * V_STRIDE;
  const int tx = thread_x();
  const int ty = thread_y();
  const int block = (int)(gridDim.x - 1 - blockIdx.x);
  const int h = (int)blockIdx.y;
  const int b = (int)blockIdx.z;
  const int h_kv = h / (args.heads_q / args.heads_kv);
  const int row0 = block * BLOCK_M;

  // 64-bit before the first product: B * H * SEQLEN * HEAD_DIM may pass 2^31.
  const size_t q_row0 = ((size_t)b * args.heads_q + h) * args.seqlen_q + row0;
  const size_t kv_row0 = ((size_t)b * args.heads_kv + h_kv) * args.seqlen_k;

  const struct head_options head = options_of_head(args, options, key_lengths, mask, bias,
                                                   block_mask, alibi_slopes, sinks, 0, b, h);
  const attention_args own = head.own;

  // The band only moves forward: no row of the block sees a key before the first row's first or after
  // the last row's last, and all see what lies between the last row's first and the first row's last.
  const int last = min(row0 + BLOCK_M, args.seqlen_q) - 1;
  const int tiles_begin = FIRST_KEY(own, row0) / BLOCK_N * BLOCK_N;
  const int tiles_end = END_KEY(own, last);
  const int shared_begin = FIRST_KEY(own, last);
  const int shared_end = END_KEY(own, row0);

  int key = visible_tile(head, options, row0, last, tiles_begin, BLOCK_N, tiles_end);
  if (key < tiles_end) {
    load_tile<BLOCK_N, HEAD_DIM>(k_tile, K_STRIDE, k + (kv_row0 + key) * HEAD_DIM, HEAD_DIM,
                                 args.seqlen_k - key, HEAD_DIM);
  }
  load_tile<BLOCK_M, HEAD_DIM>(q_tile, Q_STRIDE, q + q_row0 * HEAD_DIM, HEAD_DIM,
                               args.seqlen_q - row0, HEAD_DIM);

  float m_i[ROWS_EACH], l_i[ROWS_EACH];
  float acc[ROWS_EACH * COLUMNS_EACH];
#pragma unroll
  for (int r = 0; r < ROWS_EACH; r++) {
    // A sink is a key with a score of its own and no value; one thread's share of the row's sum has its
    // weight.
    m_i[r] = head.sink;
    l_i[r] = tx == 0 && head.sink != -INFINITY ? 1.0f : 0.0f;
  }
#pragma unroll
  for (int e = 0; e < ROWS_EACH * COLUMNS_EACH; e++) acc[e] = 0.0f;

  wait_for_copies<0>();
  // Read after write: every thread multiplies the q_tile and k_tile that the others have loaded.
  __syncthreads();

  // Differences are scaled to units of log2, so that the weights are plain powers of 2. The sign goes
  // into q, which costs no rounding and lets m_i be the largest score before scaling; with
  // OPTIONS, score() applies it.
  const float scale = SCORE_SCALE(own);
  if (!OPTIONS && args.softmax_scale <= 0.0f) {
    for (int e = thread_index(); e < BLOCK_M * HEAD_DIM; e += THREADS_M * THREADS_N) {
      q_tile[e / HEAD_DIM * Q_STRIDE + e % HEAD_DIM] *= sign(args.softmax_scale);
    }
    // Read after write: every thread multiplies the q_tile that the others have turned round.
    __syncthreads();
  }

  while (key < tiles_end) {
    const int all_visible = key >= shared_begin && key + BLOCK_N <= shared_end && !hides_some(head);

    // ---- s = q k^T
    load_tile<BLOCK_N, V_STRIDE>(v_tile, V_STRIDE, v + (kv_row0 + key) * HEAD_DIM_V, HEAD_DIM_V,
                                 args.seqlen_k - key, HEAD_DIM_V);
    float s[ROWS_EACH * KEYS_EACH];
#pragma unroll
    for (int e = 0; e < ROWS_EACH * KEYS_EACH; e++) s[e] = 0.0f;
    multiply_tiles_transposed<ROWS_EACH, KEYS_EACH, HEAD_DIM>(q_tile, Q_STRIDE, k_tile, K_STRIDE,
                                                              s);
    wait_for_copies<0>();
    // Read after write: every thread is going to multiply the v_tile that the others have loaded.
    // Write after read: the next k_tile overwrites the one that slower threads may still be reading.
    __syncthreads();
    const int next = visible_tile(head, options, row0, last, key + BLOCK_N, BLOCK_N, tiles_end);
    if (next < tiles_end) {
      load_tile<BLOCK_N, HEAD_DIM>(k_tile, K_STRIDE, k + (kv_row0 + next) * HEAD_DIM, HEAD_DIM,
                                   args.seqlen_k - next, HEAD_DIM);
    }

    // ---- mask and options
    if (OPTIONS) {
      apply_options(s, p_tile, head, options, row0, last, key);
    } else if (!all_visible) {
#pragma unroll
      for (int r = 0; r < ROWS_EACH; r++) {
        const int first_key = FIRST_KEY(own, row0 + ty + r * THREADS_M);
        const int end_key = END_KEY(own, row0 + ty + r * THREADS_M);
#pragma unroll
        for (int c = 0; c < KEYS_EACH; c++) {
          const int j = key + tx + c * THREADS_N;
          if (j < first_key || j >= end_key) s[r * KEYS_EACH + c] = -INFINITY;
        }
      }
    }

    // ---- online softmax
#pragma unroll
    for (int r = 0; r < ROWS_EACH; r++) {
      float m_tile = -INFINITY;
#pragma unroll
      for (int c = 0; c < KEYS_EACH; c++) m_tile = fmax(m_tile, s[r * KEYS_EACH + c]);
      const float m_new = fmax(m_i[r], row_largest(m_tile));
      // A row that has seen no key yet has m_new = -inf, and -inf - -inf would be NaN: such a row
      // subtracts 0, which leaves its weights at exp2(-inf) = 0.
      const float m_safe = m_new == -INFINITY ? 0.0f : m_new;
      const float alpha = exp2_approximate((m_i[r] - m_safe) * scale);
      m_i[r] = m_new;
      // l_i is this thread's share of the row's sum; the shares meet after the last tile.
      l_i[r] *= alpha;
#pragma unroll
      for (int c = 0; c < KEYS_EACH; c++) {
        // Subtracted before it is scaled: never above 0, and rounded by a part of itself, not of m_i.
        const float p = exp2_approximate((s[r * KEYS_EACH + c] - m_safe) * scale);
        const int hidden = OPTIONS && !all_visible && s[r * KEYS_EACH + c] == -INFINITY;
        p_tile[(ty + r * THREADS_M) * P_STRIDE + tx + c * THREADS_N] = hidden ? -INFINITY : p;
        l_i[r] += p;
      }
#pragma unroll
      for (int c = 0; c < COLUMNS_EACH; c++) acc[r * COLUMNS_EACH + c] *= alpha;
    }
    drop(p_tile, head, options, row0, key);
    // Read after write: each lane multiplies the weights that the other lanes of its warp have just
    // written. No other warp reads or writes these rows of the p_tile.
    __syncwarp();

    // ---- acc = acc * alpha + p v
    if (all_visible) {
      multiply_tiles<ROWS_EACH, COLUMNS_EACH, BLOCK_N>(p_tile, P_STRIDE, v_tile, V_STRIDE, acc);
    } else {
      int first_key[ROWS_EACH], end_key[ROWS_EACH];
#pragma unroll
      for (int r = 0; r < ROWS_EACH; r++) {
        first_key[r] = FIRST_KEY(own, row0 + ty + r * THREADS_M);
        end_key[r] = END_KEY(own, row0 + ty + r * THREADS_M);
      }
      multiply_visible_tiles<OPTIONS, ROWS_EACH, COLUMNS_EACH, BLOCK_N>(
          p_tile, P_STRIDE, v_tile, V_STRIDE, acc, key, first_key, end_key);
    }
    wait_for_copies<0>();
    // Read after write: every thread is going to multiply the next k_tile that the others have
    // loaded. Write after read: the next v_tile and the next weights overwrite the v_tile and p_tile
    // that slower threads may still be reading.
    __syncthreads();
    key = next;
  }

  // ---- divide by the row sums
#pragma unroll
  for (int r = 0; r < ROWS_EACH; r++) {
    const int row = ty + r * THREADS_M;
    const float l = row_sum(l_i[r]);
    if (row0 + row >= args.seqlen_q) continue;
    const int any_visible = sees_any(head, options, row0 + row, FIRST_KEY(own, row0 + row),
                                     END_KEY(own, row0 + row), l);
    const float l_inverse = any_visible ? 1.0f / l : 0.0f;
#pragma unroll
    for (int c = 0; c < COLUMNS_EACH; c += 4) {
      const int column = COLUMN(tx, c);
      if (column < HEAD_DIM_V) {
        *(float4 *)(out + (q_row0 + row) * HEAD_DIM_V + column) = {
            acc[r * COLUMNS_EACH + c] * l_inverse, acc[r * COLUMNS_EACH + c + 1] * l_inverse,
            acc[r * COLUMNS_EACH + c + 2] * l_inverse, acc[r * COLUMNS_EACH + c + 3] * l_inverse};
      }
    }
    if (lse && tx == 0) {
      lse[q_row0 + row] = any_visible ? LOG_SUM_EXP(own, m_i[r], l) : -INFINITY;
    }
  }
}
