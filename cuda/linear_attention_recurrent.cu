// linear_attention_recurrent: linear attention as its recurrence reads, token by token.
//
// Computes, for each batch b and key-value head h, with the state S and f the feature map, for each
// token t in order:
//   S = diag(exp(decay[t])) S                          where there is decay
//   u = v[t], and beta[t] (v[t] - f(k[t]) S)           where there is beta
//   S = S + f(k[t])^T u
//   z = diag(exp(decay[t])) z + f(k[t])                where NORMALISED
//   out[t] = scale f(q[t]) S, over f(q[t]) z where NORMALISED, for each query head that reads h
// and leaves the last S in state, the last z in normaliser.
//
// Shapes (row-major): q [B, H_Q, SEQLEN, HEAD_DIM]   k [B, H_KV, SEQLEN, HEAD_DIM]
//   v [B, H_KV, SEQLEN, HEAD_DIM_V]   out [B, H_Q, SEQLEN, HEAD_DIM_V]
//   initial_state, state [B, H_KV, HEAD_DIM, HEAD_DIM_V], initial_normaliser, normaliser
//   [B, H_KV, HEAD_DIM], fp32   decay [B, H_KV, SEQLEN, decay_width]   beta [B, beta_heads, SEQLEN]
//   Null where the problem has none: initial_state (zeros), initial_normaliser, decay, beta, normaliser.
//
//              HEAD_DIM_V
//             +----+----+----+
//   HEAD_DIM  | S: one       |   columns of the state do not meet: a thread owns one and takes it through
//             | column a     |   all tokens in registers; no barrier, no shared memory. z belongs to all
//             | thread       |   columns: every thread has its own.
//             +----+----+----+
//
// Launch: block (THREADS), grid (ceil(HEAD_DIM_V / THREADS), H_KV, B).
// FLOPs: 2 HEAD_DIM HEAD_DIM_V per token and key-value head to write, as much to look up where there is
//   beta, as much per token and query head to read.
// Bytes: v and out once; q, k, decay and beta once per warp, from the cache but for the first.
// Registers: HEAD_DIM (1 + NORMALISED) for the state, as far as a thread has them; the rest is in local
//   memory.
// Numerics: fp32, the state too, fused multiply-adds in index order; out is rounded to its storage type
//   once.
// Limits: B and H_KV at most 65535.
// Sources: Katharopoulos et al., "Transformers are RNNs", 2020, equations 16 to 20; Yang et al., "Gated
//   Linear Attention Transformers with Hardware-Efficient Training", 2023; Yang et al., "Gated Delta
//   Networks", 2024, equation 10.

#include "linear_attention_args.h"
#include "storage.h"

#ifndef THREADS
#define THREADS 64  // {32,64,128} threads per block
#endif
// ---- feature map ---------------------------------------------------------------------------------

// elu(x) + 1 is x + 1 above 0, else exp(x).
FORCE_INLINE float feature(const float x, const int elu_plus_one) {
  return !elu_plus_one ? x : x > 0.0f ? x + 1.0f : exp(x);
}

// ---- recurrence ----------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(THREADS) linear_attention_recurrent(
    const storage_t *__restrict__ q, const storage_t *__restrict__ k,
    const storage_t *__restrict__ v, const float *__restrict__ initial_state,
    const float *__restrict__ initial_normaliser, const storage_t *__restrict__ decay,
    const storage_t *__restrict__ beta, storage_t *__restrict__ out, float *__restrict__ state,
    float *__restrict__ normaliser, const linear_attention_args args) {
  const int column = (int)(blockIdx.x * THREADS + threadIdx.x);
  const int h_kv = (int)blockIdx.y;
  const int b = (int)blockIdx.z;
  if (column >= args.head_dim_v) return;
  const int group = args.heads_q / args.heads_kv;

  // 64-bit before the first product: B * H * SEQLEN * HEAD_DIM may pass 2^31.
  const size_t head = (size_t)b * args.heads_kv + h_kv;
  const size_t q_row0 = ((size_t)b * args.heads_q + (size_t)h_kv * group) * args.seqlen;
  k += head * args.seqlen * HEAD_DIM;
  v += head * args.seqlen * args.head_dim_v + column;
  state += head * HEAD_DIM * args.head_dim_v + column;
  if (decay) decay += head * args.seqlen * args.decay_width;
  if (beta) beta += ((size_t)b * args.beta_heads + (args.beta_heads == 1 ? 0 : h_kv)) * args.seqlen;

  float s[HEAD_DIM];
#pragma unroll
  for (int d = 0; d < HEAD_DIM; d++) s[d] = 0.0f;
  if (initial_state) {
    initial_state += head * HEAD_DIM * args.head_dim_v + column;
#pragma unroll
    for (int d = 0; d < HEAD_DIM; d++) {
      s[d] = initial_state[(size_t)d * args.head_dim_v];
    }
  }
#if NORMALISED
  float z[HEAD_DIM];
#pragma unroll
  for (int d = 0; d < HEAD_DIM; d++) {
    z[d] = initial_normaliser ? initial_normaliser[head * HEAD_DIM + d] : 0.0f;
  }
#endif

  for (int t = 0; t < args.seqlen; t++) {
    const storage_t *k_t = k + (size_t)t * HEAD_DIM;

    // ---- fade
    if (decay) {
      const storage_t *decay_t = decay + (size_t)t * args.decay_width;
      float gate = exp(to_float(decay_t[0]));
#pragma unroll
      for (int d = 0; d < HEAD_DIM; d++) {
        if (args.decay_width > 1) gate = exp(to_float(decay_t[d]));
        s[d] *= gate;
#if NORMALISED
        z[d] *= gate;
#endif
      }
    }

    // ---- write
    float u = to_float(v[(size_t)t * args.head_dim_v]);
    if (beta) {
      float found = 0.0f;
#pragma unroll
      for (int d = 0; d < HEAD_DIM; d++) {
        const float key = feature(to_float(k_t[d]), args.elu_plus_one);
        found = fma(key, s[d], found);
      }
      u = to_float(beta[t]) * (u - found);
    }
#pragma unroll
    for (int d = 0; d < HEAD_DIM; d++) {
      const float key = feature(to_float(k_t[d]), args.elu_plus_one);
      s[d] = fma(key, u, s[d]);
#if NORMALISED
      z[d] += key;
#endif
    }

    // ---- read
    for (int g = 0; g < group; g++) {
      const size_t q_row = q_row0 + (size_t)g * args.seqlen + t;
      float o = 0.0f;
#if NORMALISED
      float sum = 0.0f;
#endif
#pragma unroll
      for (int d = 0; d < HEAD_DIM; d++) {
        const float query = feature(to_float(q[q_row * HEAD_DIM + d]), args.elu_plus_one);
        o = fma(query, s[d], o);
#if NORMALISED
        sum = fma(query, z[d], sum);
#endif
      }
      o *= args.scale;
#if NORMALISED
      o /= sum;
#endif
      out[q_row * args.head_dim_v + column] = to_storage(o);
    }
  }

  // ---- what is left
#pragma unroll
  for (int d = 0; d < HEAD_DIM; d++) {
    state[(size_t)d * args.head_dim_v] = s[d];
  }
#if NORMALISED
  // The same in every thread: the first writes it.
  if (column == 0) {
#pragma unroll
    for (int d = 0; d < HEAD_DIM; d++) normaliser[head * HEAD_DIM + d] = z[d];
  }
#endif
}
