// attention_naive: attention forward as its definition reads, one work-item per number.
//
// Computes, for each batch b, query head h (reading key-value head h / (H_Q / H_KV)) and query i:
//   attention_scores_naive    scores[i][j] = sum_d q[i][d] k[j][d]          raw: no scale, no mask
//   attention_softmax_naive   s_j = softmax_scale * scores[i][j] for the visible keys,
//                             m = max_j s_j,  l = sum_j exp(s_j - m),  lse[i] = m + ln(l),
//                             probabilities[i][j] = exp(s_j - m) / l, and 0 where j is hidden
//   attention_values_naive    out[i][:] = sum_j probabilities[i][j] v[j][:]  over the visible keys
//   No visible key: probabilities = 0, out = 0, lse = -inf.
//
// Shapes (row-major): q [B, H_Q, SEQLEN_Q, HEAD_DIM]   k [B, H_KV, SEQLEN_K, HEAD_DIM]
//   v [B, H_KV, SEQLEN_K, HEAD_DIM_V]   scores, probabilities [B, H_Q, SEQLEN_Q, SEQLEN_K]
//   out [B, H_Q, SEQLEN_Q, HEAD_DIM_V]   lse [B, H_Q, SEQLEN_Q]
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
//   HEAD_DIM_V times.
// Numerics: fp32; sums in index order; m is subtracted from scores before they are scaled; out is
//   rounded to its storage type once.
// Limits: B H_Q below 2^31; 4 B H_Q SEQLEN_Q SEQLEN_K bytes of scores within one allocation.
// Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1.

#include "attention_args.h"
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

// Works in place too: each row is read whole before the pass that overwrites it.
__kernel void attention_softmax_naive(const __global float *scores, __global float *probabilities,
                                      __global float *lse, const attention_args args) {
  const int i = (int)get_global_id(0);
  const int bh = (int)get_global_id(1);
  if (bh >= args.batch * args.heads_q) return;
  if (i >= args.seqlen_q) return;
  const size_t q_row = (size_t)bh * args.seqlen_q + i;
  scores += q_row * args.seqlen_k;
  probabilities += q_row * args.seqlen_k;
  const int first_key = FIRST_KEY(args, i);
  const int end_key = END_KEY(args, i);

  // m is the largest score before its scale, whose sign goes into the scores, and is subtracted before
  // they are scaled: the difference is never above 0, and rounded by a part of itself, not of m.
  const float scale = fabs(args.softmax_scale);
  const float scale_sign = sign(args.softmax_scale);
  float m = -INFINITY;
  for (int j = first_key; j < end_key; j++) m = fmax(m, scale_sign * scores[j]);
  float l = 0.0f;
  for (int j = first_key; j < end_key; j++) l += exp(scale * (scale_sign * scores[j] - m));
  for (int j = 0; j < args.seqlen_k; j++) {
    const int visible = j >= first_key && j < end_key;
    probabilities[j] = visible ? exp(scale * (scale_sign * scores[j] - m)) / l : 0.0f;
  }
  if (lse) lse[q_row] = first_key < end_key ? LOG_SUM_EXP(args, m, l) : -INFINITY;
}

// ---- values --------------------------------------------------------------------------------------

// Hidden keys are left out, not multiplied by 0: their values may be NaN or infinite.
__kernel void attention_values_naive(const __global float *probabilities,
                                     const __global storage_t *v, __global storage_t *out,
                                     const attention_args args) {
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
  const int first_key = FIRST_KEY(args, i);
  const int end_key = END_KEY(args, i);

  float o = 0.0f;
  for (int j = first_key; j < end_key; j++) {
    o = fma(probabilities[q_row * args.seqlen_k + j], to_float(v[(kv_row0 + j) * HEAD_DIM_V + d]),
            o);
  }
  store(out[q_row * HEAD_DIM_V + d], o);
}
