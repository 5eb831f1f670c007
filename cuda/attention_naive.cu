// attention_naive: attention forward as its definition reads, one thread per number.
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
//             |        |        |         | thread      |  row    | thread  |        | thread
//             +--------+        +---------+ per score   +---------+         +--------+ per element
//
// Launch, blocks of any shape of at most 256 threads, the grid rounded up to them:
//   scores threads (SEQLEN_K, SEQLEN_Q, B * H_Q)   softmax threads (SEQLEN_Q, B * H_Q)
//   values threads (HEAD_DIM_V, SEQLEN_Q, B * H_Q)
// FLOPs: 2 HEAD_DIM per pair (hidden ones too) + 2 HEAD_DIM_V per visible pair.
// Bytes: nothing is reused on purpose: 8 HEAD_DIM read per score, 8 per product in values; the scores
//   are written once and read three times (maximum, sum, weights), the probabilities written once and
//   read HEAD_DIM_V times.
// Numerics: fp32; sums in index order; m is subtracted from scores before they are scaled.
// Limits: fp32 storage; B H_Q and the blocks along SEQLEN_Q at most 65535, as every grid's second and
//   third axis; 4 B H_Q SEQLEN_Q SEQLEN_K bytes of scores within one allocation.
// Source: Vaswani et al., "Attention Is All You Need", 2017, equation 1.

#include "attention_args.h"
#include "cuda_math.h"

// ---- scores --------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(256)
    attention_scores_naive(const float *q, const float *k, float *scores,
                           const attention_args args) {
  const int j = (int)(blockIdx.x * blockDim.x + threadIdx.x);
  const int i = (int)(blockIdx.y * blockDim.y + threadIdx.y);
  const int bh = (int)(blockIdx.z * blockDim.z + threadIdx.z);
  if (bh >= args.batch * args.heads_q) return;
  if (j >= args.seqlen_k || i >= args.seqlen_q) return;
  const int b = bh / args.heads_q;
  const int h = bh % args.heads_q;
  const int h_kv = h / (args.heads_q / args.heads_kv);

  // 64-bit before the first product: B * H * SEQLEN * HEAD_DIM may pass 2^31.
  const size_t q_row = (size_t)bh * args.seqlen_q + i;
  const size_t kv_row = ((size_t)b * args.heads_kv + h_kv) * args.seqlen_k + j;

  float s = 0.0f;
  for (int d = 0; d < HEAD_DIM; d++) s = fma(q[q_row * HEAD_DIM + d], k[kv_row * HEAD_DIM + d], s);
  scores[q_row * args.seqlen_k + j] = s;
}

// ---- softmax -------------------------------------------------------------------------------------

// Works in place too: each row is read whole before the pass that overwrites it.
extern "C" __global__ void __launch_bounds__(256)
    attention_softmax_naive(const float *scores, float *probabilities, float *lse,
                            const attention_args args) {
  const int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
  const int bh = (int)(blockIdx.y * blockDim.y + threadIdx.y);
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
extern "C" __global__ void __launch_bounds__(256)
    attention_values_naive(const float *probabilities, const float *v, float *out,
                           const attention_args args) {
  const int d = (int)(blockIdx.x * blockDim.x + threadIdx.x);
  const int i = (int)(blockIdx.y * blockDim.y + threadIdx.y);
  const int bh = (int)(blockIdx.z * blockDim.z + threadIdx.z);
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
    o = fma(probabilities[q_row * args.seqlen_k + j], v[(kv_row0 + j) * HEAD_DIM_V + d], o);
  }
  out[q_row * HEAD_DIM_V + d] = o;
}
