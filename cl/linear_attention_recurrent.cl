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
//   HEAD_DIM  | S: each      |   columns of the state do not meet: a work-item owns COLUMNS of them and
//             | work-item's  |   takes them through all tokens in private memory; no barrier, no local
//             +----+----+----+   memory. z belongs to all columns: every work-item has its own.
//
// Launch: local (THREADS), global (ceil(HEAD_DIM_V / (THREADS * COLUMNS)) * THREADS, H_KV, B).
// FLOPs: 2 HEAD_DIM HEAD_DIM_V per token and key-value head to write, as much to look up where there is
//   beta, as much per token and query head to read.
// Bytes: v and out once; q, k, decay and beta once per work-item, from the cache but for the first.
// Private memory: 4 HEAD_DIM (COLUMNS + NORMALISED) bytes.
// Numerics: fp32, the state too, fused multiply-adds in index order; out is rounded to its storage type
//   once.
// Sources: Katharopoulos et al., "Transformers are RNNs", 2020, equations 16 to 20; Yang et al., "Gated
//   Linear Attention Transformers with Hardware-Efficient Training", 2023; Yang et al., "Gated Delta
//   Networks", 2024, equation 10.

#include "linear_attention_args.h"
#include "storage.h"

#ifndef THREADS
#define THREADS 64  // {1,2,4,8,16,32,64,128} work-items per work-group
#endif
#ifndef COLUMNS
#define COLUMNS 1  // {1,4,8,16} columns of the state per work-item
#endif

#if COLUMNS == 1
#define columns_t float
#define LOAD(x) (*(x))
#define STORE(y, x) (*(x) = (y))
#else
#define PASTE(a, b) a##b
#define NAME(a, b) PASTE(a, b)
#define columns_t NAME(float, COLUMNS)
#define LOAD(x) NAME(vload, COLUMNS)(0, x)
#define STORE(y, x) NAME(vstore, COLUMNS)(y, 0, x)
#endif

// ---- columns, of which the last work-item may have less than COLUMNS ------------------------------

#define LOAD_COLUMNS(TO_FLOAT)                                                       \
  float values[COLUMNS];                                                             \
  for (int c = 0; c < COLUMNS; c++) values[c] = c < columns ? TO_FLOAT(x[c]) : 0.0f; \
  return LOAD(values)
#define AS_IT_IS(x) (x)

FORCE_INLINE columns_t load_floats(const __global float *x, const int columns) {
  LOAD_COLUMNS(AS_IT_IS);
}

FORCE_INLINE columns_t load_elements(const __global storage_t *x, const int columns) {
  LOAD_COLUMNS(to_float);
}

FORCE_INLINE void store_elements(const columns_t y, __global storage_t *x, const int columns) {
  float values[COLUMNS];
  STORE(y, values);
  for (int c = 0; c < min(columns, COLUMNS); c++) store(x[c], values[c]);
}

// ---- feature map ---------------------------------------------------------------------------------

// elu(x) + 1 is x + 1 above 0, else exp(x).
FORCE_INLINE float feature(const float x, const int elu_plus_one) {
  return !elu_plus_one ? x : x > 0.0f ? x + 1.0f : exp(x);
}

// ---- recurrence ----------------------------------------------------------------------------------

__attribute__((reqd_work_group_size(THREADS, 1, 1))) __kernel void linear_attention_recurrent(
    const __global storage_t *restrict q, const __global storage_t *restrict k,
    const __global storage_t *restrict v, const __global float *restrict initial_state,
    const __global float *restrict initial_normaliser, const __global storage_t *restrict decay,
    const __global storage_t *restrict beta, __global storage_t *restrict out,
    __global float *restrict state, __global float *restrict normaliser,
    const linear_attention_args args) {
  const int column = (int)get_global_id(0) * COLUMNS;
  const int h_kv = (int)get_group_id(1);
  const int b = (int)get_group_id(2);
  const int columns = args.head_dim_v - column;
  if (columns <= 0) return;
  const int group = args.heads_q / args.heads_kv;

  // 64-bit before the first product: B * H * SEQLEN * HEAD_DIM may pass 2^31.
  const size_t head = (size_t)b * args.heads_kv + h_kv;
  const size_t q_row0 = ((size_t)b * args.heads_q + (size_t)h_kv * group) * args.seqlen;
  k += head * args.seqlen * HEAD_DIM;
  v += head * args.seqlen * args.head_dim_v + column;
  state += head * HEAD_DIM * args.head_dim_v + column;
  if (decay) decay += head * args.seqlen * args.decay_width;
  if (beta) beta += ((size_t)b * args.beta_heads + (args.beta_heads == 1 ? 0 : h_kv)) * args.seqlen;

  columns_t s[HEAD_DIM];
  for (int d = 0; d < HEAD_DIM; d++) s[d] = 0.0f;
  if (initial_state) {
    initial_state += head * HEAD_DIM * args.head_dim_v + column;
    for (int d = 0; d < HEAD_DIM; d++) {
      s[d] = load_floats(initial_state + (size_t)d * args.head_dim_v, columns);
    }
  }
#if NORMALISED
  float z[HEAD_DIM];
  for (int d = 0; d < HEAD_DIM; d++) {
    z[d] = initial_normaliser ? initial_normaliser[head * HEAD_DIM + d] : 0.0f;
  }
#endif

  for (int t = 0; t < args.seqlen; t++) {
    const __global storage_t *k_t = k + (size_t)t * HEAD_DIM;

    // ---- fade
    if (decay) {
      const __global storage_t *decay_t = decay + (size_t)t * args.decay_width;
      float gate = exp(to_float(decay_t[0]));
      for (int d = 0; d < HEAD_DIM; d++) {
        if (args.decay_width > 1) gate = exp(to_float(decay_t[d]));
        s[d] *= gate;
#if NORMALISED
        z[d] *= gate;
#endif
      }
    }

    // ---- write
    columns_t u = load_elements(v + (size_t)t * args.head_dim_v, columns);
    if (beta) {
      columns_t found = 0.0f;
      for (int d = 0; d < HEAD_DIM; d++) {
        const float key = feature(to_float(k_t[d]), args.elu_plus_one);
        found = fma((columns_t)(key), s[d], found);
      }
      u = to_float(beta[t]) * (u - found);
    }
    for (int d = 0; d < HEAD_DIM; d++) {
      const float key = feature(to_float(k_t[d]), args.elu_plus_one);
      s[d] = fma((columns_t)(key), u, s[d]);
#if NORMALISED
      z[d] += key;
#endif
    }

    // ---- read
    for (int g = 0; g < group; g++) {
      const size_t q_row = q_row0 + (size_t)g * args.seqlen + t;
      columns_t o = 0.0f;
#if NORMALISED
      float sum = 0.0f;
#endif
      for (int d = 0; d < HEAD_DIM; d++) {
        const float query = feature(to_float(q[q_row * HEAD_DIM + d]), args.elu_plus_one);
        o = fma((columns_t)(query), s[d], o);
#if NORMALISED
        sum = fma(query, z[d], sum);
#endif
      }
      o *= args.scale;
#if NORMALISED
      o /= sum;
#endif
      store_elements(o, out + q_row * args.head_dim_v + column, columns);
    }
  }

  // ---- what is left
  for (int d = 0; d < HEAD_DIM; d++) {
    float values[COLUMNS];
    STORE(s[d], values);
    for (int c = 0; c < min(columns, COLUMNS); c++) {
      state[(size_t)d * args.head_dim_v + c] = values[c];
    }
  }
#if NORMALISED
  // The same in every work-item: the first writes it.
  if (column == 0) {
    for (int d = 0; d < HEAD_DIM; d++) normaliser[head * HEAD_DIM + d] = z[d];
  }
#endif
}
