// attention_staged: attention forward in three kernels, the products tiled through local memory.
//
// Computes, for each batch b, query head h (reading key-value head h / (H_Q / H_KV)) and query i:
//   attention_scores_staged    scores[i][j] = sum_d q[i][d] k[j][d]          raw: no scale, no mask
//   attention_softmax_staged   s_j = softmax_scale * scores[i][j] for the visible keys,
//                              m = max_j s_j,  l = sum_j exp(s_j - m),  lse[i] = m + ln(l),
//                              probabilities[i][j] = exp(s_j - m) / l, and 0 where j is hidden
//     with OPTIONS             s_j = softcap * tanh(s_j / softcap)              where softcap > 0
//                              s_j = s_j + bias[i][j] - alibi_slopes[h] * |i + offset - j|
//                              m = max(m, sinks[h]),  l = l + exp(sinks[h] - m)
//                              probabilities[i][j] times dropout's factor, last
//                              score_output[i][j] = s_j at the stage asked for, or the probability
//                              before dropout
//   attention_values_staged    out[i][:] = sum_j probabilities[i][j] v[j][:]  over the visible keys
//   No visible key: probabilities = 0, out = 0, lse = -inf, or sinks[h].
//   Hidden is what lies outside the band or at and behind key_lengths[b], and what mask, block_mask or a
//   bias of -inf hides.
//
// Shapes (row-major): q [B, H_Q, SEQLEN_Q, HEAD_DIM]   k [B, H_KV, SEQLEN_K, HEAD_DIM]
//   v [B, H_KV, SEQLEN_K, HEAD_DIM_V]   scores, probabilities [B, H_Q, SEQLEN_Q, SEQLEN_K]
//   out [B, H_Q, SEQLEN_Q, HEAD_DIM_V]   lse [B, H_Q, SEQLEN_Q]   score_output as scores
//   key_lengths [B]   mask, bias [B or 1, H_Q or 1, SEQLEN_Q or 1, SEQLEN_K]   alibi_slopes, sinks [H_Q]
//   block_mask [B or 1, H_Q or 1, ceil(SEQLEN_Q / block_rows), ceil(SEQLEN_K / block_keys)]
//
//   scores                     softmax                        values
//            BLOCK_N keys       SEQLEN_K                               BLOCK_N columns
//           +-------+          +--------------------+                 +-------+
//   BLOCK_K |  k^T  |          |t0 t1 .. t0 t1 .. ..| one row per     |   v   | BLOCK_K keys
//           +-------+          +--------------------+ work-group,     +-------+
//   +-----+ +-------+                                 SOFTMAX_    +-----+ +-------+
//   |  q  | |scores | BLOCK_M                         THREADS     |  p  | |  out  | BLOCK_M
//   +-----+ +-------+                                 at a time   +-----+ +-------+
//
// Launch:
//   scores   local (THREADS_N, THREADS_M, 1), groups (ceil(SEQLEN_K / BLOCK_N),
//            ceil(SEQLEN_Q / BLOCK_M), B * H_Q)
//   softmax  local (SOFTMAX_THREADS, 1), groups (SEQLEN_Q, B * H_Q)
//   values   local (THREADS_N, THREADS_M, 1), groups (ceil(HEAD_DIM_V / BLOCK_N),
//            ceil(SEQLEN_Q / BLOCK_M), B * H_Q)
// FLOPs: 2 HEAD_DIM per pair (hidden ones too) + 2 HEAD_DIM_V per visible pair.
// Bytes: q SEQLEN_K / BLOCK_N times, k and v SEQLEN_Q / BLOCK_M times; the scores are
//   written raw, read three times (maximum, sum, weights), written as probabilities, and read
//   HEAD_DIM_V / BLOCK_N times, rounded up. With OPTIONS, mask and bias are read as often as the raw
//   scores and the probabilities together, what is exponentiated is written and read in the place of the
//   probabilities, and values does not load key tiles that block_mask hides from all BLOCK_M rows.
// Local memory: 4 (BLOCK_M (BLOCK_K + 1) + BLOCK_K (BLOCK_N + 1)) bytes in the products,
//   4 SOFTMAX_THREADS bytes in the softmax.
// Private memory: 4 BLOCK_M / THREADS_M (BLOCK_N / THREADS_N + 2) bytes in the products.
// Numerics: fp32, fused multiply-adds; m is subtracted from scores before they are scaled; row sums by a
//   tree; out is rounded to its storage type once.
// Limits: 4 B H_Q SEQLEN_Q SEQLEN_K bytes of scores within one allocation.
// Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1.

#include "score_options.h"

#ifndef BLOCK_M
#define BLOCK_M 64  // {16,32,64,128} query rows per work-group
#endif
#ifndef BLOCK_N
#define BLOCK_N 64  // {16,32,64,128} columns of a product per work-group: keys, or values' columns
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
#ifndef SOFTMAX_THREADS
#define SOFTMAX_THREADS 64  // {16,32,64,128,256} work-items per row of the softmax
#endif

#if BLOCK_M % THREADS_M != 0
#error "BLOCK_M must be a multiple of THREADS_M"
#endif
#if BLOCK_N % THREADS_N != 0
#error "BLOCK_N must be a multiple of THREADS_N"
#endif

#include "local_tiles.h"

#define ROWS_EACH (BLOCK_M / THREADS_M)     // rows of a product that a work-item owns
#define COLUMNS_EACH (BLOCK_N / THREADS_N)  // columns of a product that a work-item owns
#define A_STRIDE (BLOCK_K + 1)              // odd: rows start in different banks
#define B_STRIDE (BLOCK_N + 1)

// ---- scores --------------------------------------------------------------------------------------

__attribute__((reqd_work_group_size(THREADS_N, THREADS_M, 1))) __kernel void
attention_scores_staged(const __global storage_t *restrict q, const __global storage_t *restrict k,
                        __global float *restrict scores, const attention_args args) {
  __local float q_tile[BLOCK_M * A_STRIDE];
  __local float k_tile[BLOCK_K * B_STRIDE];
  const int tx = (int)get_local_id(0);
  const int ty = (int)get_local_id(1);
  const int key0 = (int)get_group_id(0) * BLOCK_N;
  const int row0 = (int)get_group_id(1) * BLOCK_M;
  const int bh = (int)get_group_id(2);
  const int b = bh / args.heads_q;
  const int h = bh % args.heads_q;
  const int h_kv = h / (args.heads_q / args.heads_kv);

  // 64-bit before the first product: B * H * SEQLEN * HEAD_DIM may pass 2^31.
  const size_t q_row0 = (size_t)bh * args.seqlen_q + row0;
  const size_t kv_row0 = ((size_t)b * args.heads_kv + h_kv) * args.seqlen_k + key0;

  float acc[ROWS_EACH * COLUMNS_EACH];
  for (int e = 0; e < ROWS_EACH * COLUMNS_EACH; e++) acc[e] = 0.0f;

  for (int depth = 0; depth < HEAD_DIM; depth += BLOCK_K) {
    load_tile(BLOCK_M, BLOCK_K, q_tile, A_STRIDE, q + q_row0 * HEAD_DIM + depth, HEAD_DIM,
              args.seqlen_q - row0, HEAD_DIM - depth, 1.0f);
    load_tile_transposed(BLOCK_N, BLOCK_K, k_tile, B_STRIDE, k + kv_row0 * HEAD_DIM + depth,
                         HEAD_DIM, args.seqlen_k - key0, HEAD_DIM - depth);
    // Read after write: every work-item multiplies what the others have just loaded.
    barrier(CLK_LOCAL_MEM_FENCE);
    multiply_tiles(ROWS_EACH, COLUMNS_EACH, BLOCK_K, q_tile, A_STRIDE, k_tile, B_STRIDE, acc);
    // Write after read: the next tiles overwrite what slower work-items may still be reading.
    barrier(CLK_LOCAL_MEM_FENCE);
  }

  for (int r = 0; r < ROWS_EACH; r++) {
    const int row = ty + r * THREADS_M;
    for (int c = 0; c < COLUMNS_EACH; c++) {
      const int key = key0 + tx + c * THREADS_N;
      if (row0 + row < args.seqlen_q && key < args.seqlen_k) {
        scores[(q_row0 + row) * args.seqlen_k + key] = acc[r * COLUMNS_EACH + c];
      }
    }
  }
}

// ---- softmax -------------------------------------------------------------------------------------

// The largest of the work-items' values, or their sum; the same on every work-item.
FORCE_INLINE float reduce_row(const int largest, const float value, __local float *partial) {
  const int t = (int)get_local_id(0);
  partial[t] = value;
  for (int width = SOFTMAX_THREADS / 2; width > 0; width /= 2) {
    // Read after write: the lower half reads what the upper half has just written.
    barrier(CLK_LOCAL_MEM_FENCE);
    if (t < width) {
      partial[t] = largest ? fmax(partial[t], partial[t + width]) : partial[t] + partial[t + width];
    }
  }
  // Read after write: all read the result of work-item 0.
  barrier(CLK_LOCAL_MEM_FENCE);
  const float result = partial[0];
  // Write after read: the next reduction overwrites the result.
  barrier(CLK_LOCAL_MEM_FENCE);
  return result;
}

// Works in place too: a work-item only ever writes elements that it alone reads.
__attribute__((reqd_work_group_size(SOFTMAX_THREADS, 1, 1))) __kernel void attention_softmax_staged(
    const __global float *scores, const __global int *key_lengths, const __global uchar *mask,
    const __global float *bias, const __global uchar *block_mask,
    const __global float *alibi_slopes, const __global float *sinks, __global float *probabilities,
    __global float *lse, __global float *score_output, const attention_args args,
    const attention_options options) {
  __local float partial[SOFTMAX_THREADS];
  const int t = (int)get_local_id(0);
  const int i = (int)get_group_id(0);
  const int bh = (int)get_group_id(1);
  const size_t q_row = (size_t)bh * args.seqlen_q + i;
  scores += q_row * args.seqlen_k;
  probabilities += q_row * args.seqlen_k;
  if (OPTIONS && score_output) score_output += q_row * args.seqlen_k;
  struct head_options head;
  options_of_head(&head, args, options, key_lengths, mask, bias, block_mask, alibi_slopes, sinks,
                  score_output != 0, bh / args.heads_q, bh % args.heads_q);
  const attention_args own = head.own;
  const int first_key = FIRST_KEY(own, i);
  const int end_key = END_KEY(own, i);

  // m_i is the largest score before its scale, whose sign goes into the scores, and is subtracted
  // before they are scaled: the difference is never above 0, and rounded by a part of itself, not of
  // m_i.
  const float scale = fabs(own.softmax_scale);
  const float scale_sign = OPTIONS ? 1.0f : sign(args.softmax_scale);
  float m_i = head.sink;
#if OPTIONS
  // What the options make of the scores waits where the probabilities will be.
  for (int j = t; j < args.seqlen_k; j += SOFTMAX_THREADS) {
    const float s = score(head, options, scores[j], i, j, first_key, end_key, score_output);
    probabilities[j] = s;
    m_i = fmax(m_i, s);
  }
  scores = probabilities;
#else
  for (int j = t; j < args.seqlen_k; j += SOFTMAX_THREADS) {
    if (j >= first_key && j < end_key) m_i = fmax(m_i, scale_sign * scores[j]);
  }
#endif
  m_i = reduce_row(1, m_i, partial);

  // A row that sees no key has m_i = -inf, and -inf - -inf would be NaN: such a row subtracts 0.
  const float m_safe = OPTIONS && m_i == -INFINITY ? 0.0f : m_i;
  float l_i = t > 0 || head.sink == -INFINITY ? 0.0f : exp(head.sink - m_safe);
  for (int j = t; j < args.seqlen_k; j += SOFTMAX_THREADS) {
    if (j >= first_key && j < end_key) l_i += exp(scale * (scale_sign * scores[j] - m_safe));
  }
  l_i = reduce_row(0, l_i, partial);

  for (int j = t; j < args.seqlen_k; j += SOFTMAX_THREADS) {
    const int visible = OPTIONS ? scores[j] != -INFINITY : j >= first_key && j < end_key;
    const float p = visible ? exp(scale * (scale_sign * scores[j] - m_safe)) / l_i : 0.0f;
    if (OPTIONS && score_output && options.score_stage == STAGE_PROBABILITIES) score_output[j] = p;
    probabilities[j] = p * dropout_factor(head, options, i, j);
  }
  if (lse && t == 0) {
    const int any_visible = sees_any(head, options, i, first_key, end_key, l_i);
    lse[q_row] = any_visible ? LOG_SUM_EXP(own, m_i, l_i) : -INFINITY;
  }
}

// ---- values --------------------------------------------------------------------------------------

// Marks what the options hide of a tile of probabilities, rows from row0 and keys from `key` on, as
// multiply_visible_tiles reads it. Each work-item marks elements that it has loaded itself.
FORCE_INLINE void mark_hidden(__local float *p_tile, const struct head_options head,
                              const attention_options options, const int row0, const int last_row,
                              const int key, const int end_key) {
  const int thread = (int)(get_local_id(1) * THREADS_N + get_local_id(0));
  for (int e = thread; e < BLOCK_M * BLOCK_K; e += THREADS_M * THREADS_N) {
    const int i = row0 + e / BLOCK_K;
    const int j = key + e % BLOCK_K;
    if (i <= last_row && j < end_key && hides(head, options, i, j)) {
      p_tile[e / BLOCK_K * A_STRIDE + e % BLOCK_K] = -INFINITY;
    }
  }
}

__attribute__((reqd_work_group_size(THREADS_N, THREADS_M, 1))) __kernel void
attention_values_staged(const __global float *restrict probabilities,
                        const __global storage_t *restrict v,
                        const __global int *restrict key_lengths,
                        const __global uchar *restrict mask, const __global float *restrict bias,
                        const __global uchar *restrict block_mask, __global storage_t *restrict out,
                        const attention_args args, const attention_options options) {
  __local float p_tile[BLOCK_M * A_STRIDE];
  __local float v_tile[BLOCK_K * B_STRIDE];
  const int tx = (int)get_local_id(0);
  const int ty = (int)get_local_id(1);
  const int column0 = (int)get_group_id(0) * BLOCK_N;
  const int row0 = (int)get_group_id(1) * BLOCK_M;
  const int bh = (int)get_group_id(2);
  const int b = bh / args.heads_q;
  const int h = bh % args.heads_q;
  const int h_kv = h / (args.heads_q / args.heads_kv);
  const size_t q_row0 = (size_t)bh * args.seqlen_q + row0;
  const size_t kv_row0 = ((size_t)b * args.heads_kv + h_kv) * args.seqlen_k;

  struct head_options head;
  options_of_head(&head, args, options, key_lengths, mask, bias, block_mask, 0, 0, 0, b, h);
  const attention_args own = head.own;

  int first_key[ROWS_EACH], end_key[ROWS_EACH];
  for (int r = 0; r < ROWS_EACH; r++) {
    first_key[r] = FIRST_KEY(own, row0 + ty + r * THREADS_M);
    end_key[r] = END_KEY(own, row0 + ty + r * THREADS_M);
  }
  float acc[ROWS_EACH * COLUMNS_EACH];
  for (int e = 0; e < ROWS_EACH * COLUMNS_EACH; e++) acc[e] = 0.0f;

  // The band only moves forward: no row of the tile sees a key before the first row's first or after
  // the last row's last, and all see what lies between the last row's first and the first row's last.
  const int last = min(row0 + BLOCK_M, args.seqlen_q) - 1;
  const int tiles_begin = FIRST_KEY(own, row0) / BLOCK_K * BLOCK_K;
  const int tiles_end = END_KEY(own, last);
  const int shared_begin = FIRST_KEY(own, last);
  const int shared_end = END_KEY(own, row0);
  int key = visible_tile(head, options, row0, last, tiles_begin, BLOCK_K, tiles_end);
  while (key < tiles_end) {
    load_float_tile(BLOCK_M, BLOCK_K, p_tile, A_STRIDE,
                    probabilities + q_row0 * args.seqlen_k + key, args.seqlen_k,
                    args.seqlen_q - row0, args.seqlen_k - key, 1.0f);
    if (hides_some(head)) mark_hidden(p_tile, head, options, row0, last, key, tiles_end);
    load_tile(BLOCK_K, BLOCK_N, v_tile, B_STRIDE, v + (kv_row0 + key) * HEAD_DIM_V + column0,
              HEAD_DIM_V, args.seqlen_k - key, HEAD_DIM_V - column0, 1.0f);
    // Read after write: every work-item multiplies what the others have just loaded.
    barrier(CLK_LOCAL_MEM_FENCE);
    if (key >= shared_begin && key + BLOCK_K <= shared_end && !hides_some(head)) {
      multiply_tiles(ROWS_EACH, COLUMNS_EACH, BLOCK_K, p_tile, A_STRIDE, v_tile, B_STRIDE, acc);
    } else {
      multiply_visible_tiles(OPTIONS, ROWS_EACH, COLUMNS_EACH, BLOCK_K, p_tile, A_STRIDE, v_tile,
                             B_STRIDE, acc, key, first_key, end_key);
    }
    // Write after read: the next tiles overwrite what slower work-items may still be reading.
    barrier(CLK_LOCAL_MEM_FENCE);
    key = visible_tile(head, options, row0, last, key + BLOCK_K, BLOCK_K, tiles_end);
  }

  for (int r = 0; r < ROWS_EACH; r++) {
    const int row = ty + r * THREADS_M;
    for (int c = 0; c < COLUMNS_EACH; c++) {
      const int column = column0 + tx + c * THREADS_N;
      if (row0 + row < args.seqlen_q && column < HEAD_DIM_V) {
        store(out[(q_row0 + row) * HEAD_DIM_V + column], acc[r * COLUMNS_EACH + c]);
      }
    }
  }
}
