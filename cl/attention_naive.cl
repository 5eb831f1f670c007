// attention_naive: attention forward as its definition reads, one work-item per number.
//
// Computes, for each batch b, query head h (reading key-value head h / (H_Q / H_KV)) and query i:
//   attention_scores_naive    scores[i][j] = sum_d q[i][d] k[j][d]          raw: no scale, no mask
//   attention_softmax_naive   s_j = softmax_scale * scores[i][j] for the visible keys,
//                             m = max_j s_j,  l = sum_j exp(s_j - m),  lse[i] = m + ln(l),
//                             probabilities[i][j] = exp(s_j - m) / l, and 0 where j is hidden
//     with OPTIONS            s_j = softcap * tanh(s_j / softcap)               where softcap > 0
//                             s_j = s_j + bias[i][j] - alibi_slopes[h] * |i + offset - j|
//                             m = max(m, sinks[h]),  l = l + exp(sinks[h] - m)
//                             probabilities[i][j] times dropout's factor, last
//                             score_output[i][j] = s_j at the stage asked for, or the probability
//                             before dropout
//   attention_values_naive    out[i][:] = sum_j probabilities[i][j] v[j][:]  over the visible keys
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
//              HEAD_DIM          SEQLEN_K                SEQLEN_K           HEAD_DIM_V
//             +--------+        +---------+             +---------+         +--------+
//   SEQLEN_Q  |   q    | x k^T  |    .    | one         |---------| one     |   .    | one
//             |        |        |         | work-item   |  row    | work-   |        | work-item
//             +--------+        +---------+ per score   +---------+ item    +--------+ per element
//
// Launch, any local size, the global size rounded up to it:
//   scores global (SEQLEN_K, SEQLEN_Q, B * H_Q)   softmax global (SEQLEN_Q, B * H_Q)
//   values global (HEAD_DIM_V, SEQLEN_Q, B * H_Q)
// FLOPs: 2 HEAD_DIM per pair (hidden ones too) + 2 HEAD_DIM_V per visible pair.
// Bytes: nothing is reused on purpose: every product reads both of its factors; the scores are written
//   once and read three times (maximum, sum, weights), the probabilities written once and read
//   HEAD_DIM_V times. With OPTIONS, mask and bias are read with the scores once and by every element of
//   out, and what is exponentiated is written and read in the place of the probabilities.
// Numerics: fp32; sums in index order; m is subtracted from scores before they are scaled; out is
//   rounded to its storage type once.
// Limits: B H_Q below 2^31; 4 B H_Q SEQLEN_Q SEQLEN_K bytes of scores within one allocation.
// Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1.

#include "score_options.h"
#include "storage.h"

// ---- scores --------------------------------------------------------------------------------------

__kernel void attention_scores_naive(const __global storage_t *q, const __global storage_t *k,
                                     __global float *scores, const attention_args args) {
  const int j = (int)get_global_id(0);
  const int i = (int)get_global_id(1);
  const int bh = (int)get_global_id(2);
  if (bh >= args.batch * args.heads_q) return;
  if (j >= args.seqlen_k || i >= args.seqlen_q) return;
  const int b = bh / args.heads_q;
  const int h = bh % args.heads_q;
  const int h_kv = h / (args.heads_q / args.heads_kv);

  // 64-bit before the first product: B * H * SEQLEN * HEAD_DIM may pass 2^31.
  const size_t q_row = (size_t)bh * args.seqlen_q + i;
  const size_t kv_row = ((size_t)b * args.heads_kv + h_kv) * args.seqlen_k + j;

  float s = 0.0f;
  for (int d = 0; d < HEAD_DIM; d++) {
    s = fma(to_float(q[q_row * HEAD_DIM + d]), to_float(k[kv_row * HEAD_DIM + d]), s);
  }
  scores[q_row * args.seqlen_k + j] = s;
}

// ---- softmax -------------------------------------------------------------------------------------

// Works in place too: each row is read whole before the pass that overwrites it, or element by element
// just before it is overwritten.
__kernel void attention_softmax_naive(const __global float *scores, const __global int *key_lengths,
                                      const __global uchar *mask, const __global float *bias,
                                      const __global uchar *block_mask,
                                      const __global float *alibi_slopes,
                                      const __global float *sinks, __global float *probabilities,
                                      __global float *lse, __global float *score_output,
                                      const attention_args args, const attention_options options) {
  const int i = (int)get_global_id(0);
  const int bh = (int)get_global_id(1);
  if (bh >= args.batch * args.heads_q) return;
  if (i >= args.seqlen_q) return;
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

  // m is the largest score before its scale, whose sign goes into the scores, and is subtracted before
  // they are scaled: the difference is never above 0, and rounded by a part of itself, not of m.
  const float scale = fabs(own.softmax_scale);
  const float scale_sign = OPTIONS ? 1.0f : sign(args.softmax_scale);
  float m = head.sink;
#if OPTIONS
  // What the options make of the scores waits where the probabilities will be.
  for (int j = 0; j < args.seqlen_k; j++) {
    const float s = score(head, options, scores[j], i, j, first_key, end_key, score_output);
    probabilities[j] = s;
    m = fmax(m, s);
  }
  scores = probabilities;
#else
  for (int j = first_key; j < end_key; j++) m = fmax(m, scale_sign * scores[j]);
#endif
  // A row that sees no key has m = -inf, and -inf - -inf would be NaN: such a row subtracts 0.
  const float m_safe = OPTIONS && m == -INFINITY ? 0.0f : m;
  float l = head.sink == -INFINITY ? 0.0f : exp(head.sink - m_safe);
  for (int j = first_key; j < end_key; j++) l += exp(scale * (scale_sign * scores[j] - m_safe));
  for (int j = 0; j < args.seqlen_k; j++) {
    const int visible = OPTIONS ? scores[j] != -INFINITY : j >= first_key && j < end_key;
    const float p = visible ? exp(scale * (scale_sign * scores[j] - m_safe)) / l : 0.0f;
    if (OPTIONS && score_output && options.score_stage == STAGE_PROBABILITIES) score_output[j] = p;
    probabilities[j] = p * dropout_factor(head, options, i, j);
  }
  const int any_visible = sees_any(head, options, i, first_key, end_key, l);
  if (lse) lse[q_row] = any_visible ? LOG_SUM_EXP(own, m, l) : -INFINITY;
}

// ---- values --------------------------------------------------------------------------------------

// Hidden keys are left out, not multiplied by 0: their values may be NaN or infinite.
__kernel void attention_values_naive(const __global float *probabilities,
                                     const __global storage_t *v, const __global int *key_lengths,
                                     const __global uchar *mask, const __global float *bias,
                                     const __global uchar *block_mask, __global storage_t *out,
                                     const attention_args args, const attention_options options) {
  const int d = (int)get_global_id(0);
  const int i = (int)get_global_id(1);
  const int bh = (int)get_global_id(2);
  if (bh >= args.batch * args.heads_q) return;
  if (d >= HEAD_DIM_V || i >= args.seqlen_q) return;
  const int b = bh / args.heads_q;
  const int h = bh % args.heads_q;
  const int h_kv = h / (args.heads_q / args.heads_kv);
  const size_t q_row = (size_t)bh * args.seqlen_q + i;
  const size_t kv_row0 = ((size_t)b * args.heads_kv + h_kv) * args.seqlen_k;
  struct head_options head;
  options_of_head(&head, args, options, key_lengths, mask, bias, block_mask, 0, 0, 0, b, h);
  const int first_key = FIRST_KEY(head.own, i);
  const int end_key = END_KEY(head.own, i);

  float o = 0.0f;
  for (int j = first_key; j < end_key; j++) {
    if (hides(head, options, i, j)) continue;
    o = fma(probabilities[q_row * args.seqlen_k + j], to_float(v[(kv_row0 + j) * HEAD_DIM_V + d]),
            o);
  }
  store(out[q_row * HEAD_DIM_V + d], o);
}
