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
// One work-group owns BLOCK_M query rows and walks over the keys, BLOCK_N at a time. Each work-item
// owns BLOCK_M / THREADS_M rows: the softmax state m_i, l_i and its share of acc stay in registers.
//
//                      BLOCK_N keys                      HEAD_DIM_V
//                     +------------+                    +----------+
//           HEAD_DIM  |  k_tile^T  |           BLOCK_N  |  v_tile  |   k_tile and v_tile take turns
//                     +------------+                    +----------+   in one buffer
//           HEAD_DIM
//          +--------+ +------------+          BLOCK_N   +----------+
//  BLOCK_M | q_tile | |     s      |-> p     +--------+ |   acc    |   acc = acc * alpha + p v
//          |        | | registers  |         | p_tile | | registers|
//          +--------+ +------------+         +--------+ +----------+
//
// Launch: local (THREADS_N, THREADS_M, 1), groups (ceil(SEQLEN_Q / BLOCK_M), H_Q, B). Late query rows
//   start first: under a causal mask they are the long ones.
// FLOPs: 2 (HEAD_DIM + HEAD_DIM_V) per visible pair; tiles that hold no visible pair are skipped, as
//   far as band, key_lengths and block_mask tell.
// Bytes: q and out once; k and v SEQLEN_Q / BLOCK_M times; mask and bias once. Extra memory: none.
// Local memory, 4 bytes each: BLOCK_M (HEAD_DIM + 1) + max(HEAD_DIM (BLOCK_N + 1),
//   BLOCK_N V_STRIDE) + BLOCK_M (BLOCK_N + 1) + BLOCK_M THREADS_N, with V_STRIDE = HEAD_DIM_V rounded
//   up to a multiple of THREADS_N.
// Private memory, 4 bytes each: BLOCK_M / THREADS_M (V_STRIDE / THREADS_N + BLOCK_N / THREADS_N + 5).
// Numerics: fp32 throughout, fused multiply-adds, exp2 of differences in units of log2, m_i being
//   subtracted from scores before they are scaled; out is rounded to its storage type once. Options that
//   work on natural scores round them once more, to these, before.
// Limits: SEQLEN up to 2^29; the device's local memory bounds the head dimensions.
// Source: Dao, "FlashAttention-2", 2023, algorithm 1.

#include "score_options.h"

#ifndef BLOCK_M
#define BLOCK_M 32  // {8,16,32,64,128} query rows per work-group
#endif
#ifndef BLOCK_N
#define BLOCK_N 32  // {8,16,32,64,128} keys per tile
#endif
#ifndef THREADS_M
#define THREADS_M 16  // {8,16} work-items along the query rows
#endif
#ifndef THREADS_N
#define THREADS_N 16  // {8,16} work-items along the keys and the output's columns
#endif

#if BLOCK_M % THREADS_M != 0
#error "BLOCK_M must be a multiple of THREADS_M"
#endif
#if BLOCK_N % THREADS_N != 0
#error "BLOCK_N must be a multiple of THREADS_N"
#endif

#include "local_tiles.h"

#define ROWS_EACH (BLOCK_M / THREADS_M)                          // query rows of a work-item
#define KEYS_EACH (BLOCK_N / THREADS_N)                          // its keys of a tile
#define COLUMNS_EACH ((HEAD_DIM_V + THREADS_N - 1) / THREADS_N)  // its columns of the output
#define Q_STRIDE (HEAD_DIM + 1)  // odd: rows start in different banks
#define K_STRIDE (BLOCK_N + 1)
#define P_STRIDE (BLOCK_N + 1)
#define V_STRIDE (COLUMNS_EACH * THREADS_N)
#define K_TILE (HEAD_DIM * K_STRIDE)
#define V_TILE (BLOCK_N * V_STRIDE)

// ---- kernel --------------------------------------------------------------------------------------

__attribute__((reqd_work_group_size(THREADS_N, THREADS_M, 1))) __kernel void attention_flash(
    const __global storage_t *restrict q, const __global storage_t *restrict k,
    const __global storage_t *restrict v, const __global int *restrict key_lengths,
    const __global uchar *restrict mask, const __global float *restrict bias,
    const __global uchar *restrict block_mask, const __global float *restrict alibi_slopes,
    const __global float *restrict sinks, __global storage_t *restrict out,
    __global float *restrict lse, const attention_args args, const attention_options options) {
  __local float q_tile[BLOCK_M * Q_STRIDE];
  __local float kv_tile[K_TILE > V_TILE ? K_TILE : V_TILE];
  __local float p_tile[BLOCK_M * P_STRIDE];
  __local float partial[BLOCK_M * THREADS_N];
  const int tx = (int)get_local_id(0);
  const int ty = (int)get_local_id(1);
  const int block = (int)(get_num_groups(0) - 1 - get_group_id(0));
  const int h = (int)get_group_id(1);
  const int b = (int)get_group_id(2);
  const int h_kv = h / (args.heads_q / args.heads_kv);
  const int row0 = block * BLOCK_M;

  // 64-bit before the first product: B * H * SEQLEN * HEAD_DIM may pass 2^31.
  const size_t q_row0 = ((size_t)b * args.heads_q + h) * args.seqlen_q + row0;
  const size_t kv_row0 = ((size_t)b * args.heads_kv + h_kv) * args.seqlen_k;

  struct head_options head;
  options_of_head(&head, args, options, key_lengths, mask, bias, block_mask, alibi_slopes, sinks, 0,
                  b, h);
  const attention_args own = head.own;

  // Differences are scaled to units of log2, so that the weights are plain powers of 2. The sign goes
  // into q, which costs no rounding and lets m_i be the largest score before scaling; with OPTIONS,
  // score() applies it. The first barrier of the loop stands between this and the first use.
  const float scale = SCORE_SCALE(own);
  load_tile(BLOCK_M, HEAD_DIM, q_tile, Q_STRIDE, q + q_row0 * HEAD_DIM, HEAD_DIM,
            args.seqlen_q - row0, HEAD_DIM, OPTIONS ? 1.0f : sign(args.softmax_scale));

  float m_i[ROWS_EACH], l_i[ROWS_EACH], alpha[ROWS_EACH];
  float acc[ROWS_EACH * COLUMNS_EACH];
  int query[ROWS_EACH], first_key[ROWS_EACH], end_key[ROWS_EACH];
  for (int r = 0; r < ROWS_EACH; r++) {
    // A sink is a key with a score of its own and no value; one work-item's share of the row's sum has
    // its weight.
    m_i[r] = head.sink;
    l_i[r] = tx == 0 && head.sink != -INFINITY ? 1.0f : 0.0f;
    // Rows after the last query repeat it, so that masks are not read beyond their end.
    query[r] = min(row0 + ty + r * THREADS_M, args.seqlen_q - 1);
    first_key[r] = FIRST_KEY(own, row0 + ty + r * THREADS_M);
    end_key[r] = END_KEY(own, row0 + ty + r * THREADS_M);
  }
  for (int e = 0; e < ROWS_EACH * COLUMNS_EACH; e++) acc[e] = 0.0f;

  // The band only moves forward: no row of the block sees a key before the first row's first or after
  // the last row's last, and all see what lies between the last row's first and the first row's last.
  const int last = min(row0 + BLOCK_M, args.seqlen_q) - 1;
  const int tiles_begin = FIRST_KEY(own, row0) / BLOCK_N * BLOCK_N;
  const int tiles_end = END_KEY(own, last);
  const int shared_begin = FIRST_KEY(own, last);
  const int shared_end = END_KEY(own, row0);
  int key = visible_tile(head, options, row0, last, tiles_begin, BLOCK_N, tiles_end);
  while (key < tiles_end) {
    const int all_visible = key >= shared_begin && key + BLOCK_N <= shared_end && !hides_some(head);

    // ---- s = q k^T
    load_tile_transposed(BLOCK_N, HEAD_DIM, kv_tile, K_STRIDE, k + (kv_row0 + key) * HEAD_DIM,
                         HEAD_DIM, args.seqlen_k - key, HEAD_DIM);
    // Read after write: every work-item multiplies the k_tile (and, the first time, the q_tile) that
    // the others have just loaded.
    barrier(CLK_LOCAL_MEM_FENCE);
    float s[ROWS_EACH * KEYS_EACH];
    for (int e = 0; e < ROWS_EACH * KEYS_EACH; e++) s[e] = 0.0f;
    multiply_tiles(ROWS_EACH, KEYS_EACH, HEAD_DIM, q_tile, Q_STRIDE, kv_tile, K_STRIDE, s);

    // ---- mask and options, and the largest score of each row
    for (int r = 0; r < ROWS_EACH; r++) {
      float largest = -INFINITY;
      for (int c = 0; c < KEYS_EACH; c++) {
        const int j = key + tx + c * THREADS_N;
        s[r * KEYS_EACH + c] =
            score(head, options, s[r * KEYS_EACH + c], query[r], j, first_key[r], end_key[r], 0);
        largest = fmax(largest, s[r * KEYS_EACH + c]);
      }
      partial[(ty + r * THREADS_M) * THREADS_N + tx] = largest;
    }
    // Read after write: each work-item reads the partial maxima of its rows. Write after read: the
    // v_tile overwrites the k_tile that slower work-items may still be reading.
    barrier(CLK_LOCAL_MEM_FENCE);
    load_tile(BLOCK_N, V_STRIDE, kv_tile, V_STRIDE, v + (kv_row0 + key) * HEAD_DIM_V, HEAD_DIM_V,
              args.seqlen_k - key, HEAD_DIM_V, 1.0f);

    // ---- online softmax
    for (int r = 0; r < ROWS_EACH; r++) {
      float m_tile = -INFINITY;
      for (int t = 0; t < THREADS_N; t++) {
        m_tile = fmax(m_tile, partial[(ty + r * THREADS_M) * THREADS_N + t]);
      }
      const float m_new = fmax(m_i[r], m_tile);
      // A row that has seen no key yet has m_new = -inf, and -inf - -inf would be NaN: such a row
      // subtracts 0, which leaves its weights at exp2(-inf) = 0.
      const float m_safe = m_new == -INFINITY ? 0.0f : m_new;
      alpha[r] = exp2((m_i[r] - m_safe) * scale);
      m_i[r] = m_new;
      // l_i is this work-item's share of the row's sum; the shares meet after the last tile.
      l_i[r] *= alpha[r];
      for (int c = 0; c < KEYS_EACH; c++) {
        // Subtracted before it is scaled: never above 0, and rounded by a part of itself, not of m_i.
        const float p = exp2((s[r * KEYS_EACH + c] - m_safe) * scale);
        l_i[r] += p;
        const int hidden = OPTIONS && !all_visible && s[r * KEYS_EACH + c] == -INFINITY;
        const int j = key + tx + c * THREADS_N;
        p_tile[(ty + r * THREADS_M) * P_STRIDE + tx + c * THREADS_N] =
            hidden ? -INFINITY : p * dropout_factor(head, options, query[r], j);
      }
      for (int c = 0; c < COLUMNS_EACH; c++) acc[r * COLUMNS_EACH + c] *= alpha[r];
    }
    // Read after write: every work-item multiplies the p_tile and v_tile that the others have just
    // written.
    barrier(CLK_LOCAL_MEM_FENCE);

    // ---- acc = acc * alpha + p v
    if (all_visible) {
      multiply_tiles(ROWS_EACH, COLUMNS_EACH, BLOCK_N, p_tile, P_STRIDE, kv_tile, V_STRIDE, acc);
    } else {
      multiply_visible_tiles(OPTIONS, ROWS_EACH, COLUMNS_EACH, BLOCK_N, p_tile, P_STRIDE, kv_tile,
                             V_STRIDE, acc, key, first_key, end_key);
    }
    // Write after read: the next k_tile overwrites the v_tile, and the next weights the p_tile, that
    // slower work-items may still be reading.
    barrier(CLK_LOCAL_MEM_FENCE);
    key = visible_tile(head, options, row0, last, key + BLOCK_N, BLOCK_N, tiles_end);
  }

  // ---- divide by the row sums
  for (int r = 0; r < ROWS_EACH; r++) partial[(ty + r * THREADS_M) * THREADS_N + tx] = l_i[r];
  // Read after write: each work-item adds up the shares of its rows.
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int r = 0; r < ROWS_EACH; r++) {
    const int row = ty + r * THREADS_M;
    if (row0 + row >= args.seqlen_q) continue;
    float l = 0.0f;
    for (int t = 0; t < THREADS_N; t++) l += partial[row * THREADS_N + t];
    const int any_visible = sees_any(head, options, row0 + row, first_key[r], end_key[r], l);
    const float l_inverse = any_visible ? 1.0f / l : 0.0f;
    for (int c = 0; c < COLUMNS_EACH; c++) {
      const int column = tx + c * THREADS_N;
      if (column < HEAD_DIM_V) {
        store(out[(q_row0 + row) * HEAD_DIM_V + column], acc[r * COLUMNS_EACH + c] * l_inverse);
      }
    }
    if (lse && tx == 0) {
      lse[q_row0 + row] = any_visible ? LOG_SUM_EXP(own, m_i[r], l) : -INFINITY;
    }
  }
}
