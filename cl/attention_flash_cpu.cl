// attention_flash_cpu: attention forward shaped for a processor's vector units.
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
// Queries lie in the lanes: one work-item owns BLOCK_M query rows as BLOCK_M / 16 vectors and both
// products are computed transposed, so the softmax runs lane by lane without a single horizontal
// operation, and neither K nor V is ever packed or transposed (their elements are broadcast).
//
//            BLOCK_M queries                          BLOCK_M queries
//           +---------------+                        +---------------+
//           |     q_t       | HEAD_DIM               |  p_t (= s_t)  | BLOCK_N
//           +---------------+                        +---------------+
//   HEAD_DIM       x                         BLOCK_N        x
//   +------+ +---------------+              +-------+ +---------------+
//   |k tile| |     s_t       | BLOCK_N      |v tile | |     acc       | HEAD_DIM_V
//   |      | |  UNROLL_K at  |              |  ^T   | |  UNROLL_D at  |
//   |      | |  a time       |              |       | |  a time       |
//   +------+ +---------------+              +-------+ +---------------+
//   S^T = K Q^T                              O^T = O^T * alpha + V^T P^T
//
// Launch: global (ceil(SEQLEN_Q / BLOCK_M), H_Q, B), local (1, 1, 1). Late query rows start first:
//   under a causal mask they are the long ones.
// FLOPs: 2 (HEAD_DIM + HEAD_DIM_V) per visible pair; tiles that hold no visible pair are skipped, as
//   far as band, key_lengths and block_mask tell.
// Bytes: q and out once; k and v once per query block, from the cache when a head's fit there; mask and
//   bias once.
// Private memory: 4 BLOCK_M (HEAD_DIM + HEAD_DIM_V + BLOCK_N) bytes, and in 16-bit storage
//   4 max(UNROLL_K HEAD_DIM, BLOCK_N HEAD_DIM_V) for widened keys and values; meant to stay in L1 and L2.
// Numerics: fp32 throughout, fused multiply-adds; m_i is subtracted from scores before they are scaled;
//   exp2 by a polynomial of degree 6 (relative error below 8e-8); weights below 2^-126 of a row's
//   largest count as 0; out is rounded to its storage type once.
// Limits: SEQLEN up to 2^29.
// On AVX-512, compilers tuned for Skylake prefer 256-bit vectors when they vectorize loops on their
// own. The explicit float16 arithmetic here is not theirs to narrow, so it compiles to 512-bit code.
// Source: Dao, "FlashAttention-2", 2023, algorithm 1, with the roles of rows and lanes exchanged.

#include "force_inline.h"
#include "score_options.h"
#include "storage.h"
#include "vector_math.h"

#ifndef BLOCK_M
#define BLOCK_M 64  // {16,32,64,128} query rows per work-item
#endif
#ifndef BLOCK_N
#define BLOCK_N 64  // {16,32,64,128,256} keys per tile
#endif
#ifndef UNROLL_K
#define UNROLL_K 4  // {1,2,4,8,16} keys whose scores are accumulated at the same time
#endif
#ifndef UNROLL_D
#define UNROLL_D 4  // {1,2,4,8,16} output columns accumulated at the same time
#endif

#if BLOCK_M % 16 != 0
#error "BLOCK_M must be a multiple of 16, the lanes of a float16"
#endif
#if BLOCK_N % UNROLL_K != 0
#error "BLOCK_N must be a multiple of UNROLL_K"
#endif
#if BLOCK_M * UNROLL_K > 512
#error "BLOCK_M * UNROLL_K must be at most 512, or the accumulators leave the registers"
#endif
#if BLOCK_M * UNROLL_D > 512
#error "BLOCK_M * UNROLL_D must be at most 512, or the accumulators leave the registers"
#endif

#define VECTORS (BLOCK_M / 16)         // float16 vectors that hold one value per query row
#define WIDE_K (UNROLL_K * HEAD_DIM)   // elements of the keys that are widened at a time
#define WIDE_V (BLOCK_N * HEAD_DIM_V)  // and of the values, a whole tile

// ---- options, a row's keys or a key's rows at a time ---------------------------------------------

// x[a][b] = x[b][a]: as many times as there are bits in an index, its highest bit becomes its lowest.
FORCE_INLINE void transpose16(float16 *x) {
#pragma unroll
  for (int bit = 0; bit < 4; bit++) {
    float16 y[16];
#pragma unroll
    for (int a = 0; a < 8; a++) {
      const float16 u = x[a], v = x[a + 8];
      y[2 * a] = (float16)(u.s0, v.s0, u.s1, v.s1, u.s2, v.s2, u.s3, v.s3, u.s4, v.s4, u.s5, v.s5,
                           u.s6, v.s6, u.s7, v.s7);
      y[2 * a + 1] = (float16)(u.s8, v.s8, u.s9, v.s9, u.sa, v.sa, u.sb, v.sb, u.sc, v.sc, u.sd,
                               v.sd, u.se, v.se, u.sf, v.sf);
    }
#pragma unroll
    for (int a = 0; a < 16; a++) x[a] = y[a];
  }
}

// What is added to the scores of query i with the 16 keys from j on, of which n_keys exist: the bias, and
// -inf where a key is hidden.
FORCE_INLINE float16 added_to_row(const struct head_options head, const attention_options options,
                                  const int i, const int j, const int n_keys) {
  const int blocks_end = head.block_mask && j / options.block_keys != (j + 15) / options.block_keys;
  if (n_keys < 16 || blocks_end) {
    float each[16];
    for (int a = 0; a < 16; a++) {
      const int hidden = a >= n_keys || hides(head, options, i, j + a);
      each[a] = hidden ? -INFINITY : head.bias ? head.bias[i * head.bias_stride + j + a] : 0.0f;
    }
    return vload16(0, each);
  }
  if (hides_block(head, options, i, j)) return -INFINITY;
  float16 added = 0.0f;
  if (head.bias) added = vload16(0, head.bias + i * head.bias_stride + j);
  if (head.mask) {
    const int16 shown = convert_int16(vload16(0, head.mask + i * head.mask_stride + j)) != 0;
    added = select((float16)(-INFINITY), added, shown);
  }
  return added;
}

// Fills s_t with what is added to a tile of scores. Returns whether any of them is hidden.
FORCE_INLINE int add_to_tile(const struct head_options head, const attention_options options,
                             const int row0, const int rows, const int key, const int n_keys,
                             float16 *s_t) {
  int16 hidden = 0;
  for (int j = 0; j < n_keys; j += 16) {
    for (int c = 0; c < VECTORS; c++) {
      float16 added[16];
      for (int r = 0; r < 16; r++) {
        // Rows after the last query repeat it, so that masks are not read beyond their end.
        const int i = row0 + min(c * 16 + r, rows - 1);
        added[r] = added_to_row(head, options, i, key + j, n_keys - j);
        hidden |= added[r] == -INFINITY;
      }
      transpose16(added);
      for (int a = 0; a < 16; a++) s_t[(j + a) * VECTORS + c] = added[a];
    }
  }
  return any(hidden);
}

// score() of the queries in the lanes with key j, but for the band. `added` is from add_to_tile, or 0.
FORCE_INLINE float16 score_lanes(const struct head_options head, const attention_options options,
                                 const float16 product, const float16 added, const int16 query,
                                 const int j) {
  float16 s = head.raw_scale * product;
  if (options.softcap > 0.0f) s = options.softcap * tanh(s / options.softcap);
  if (head.slope != 0.0f) {
    s = fma(-head.slope, fabs(convert_float16(query + head.own.mask_offset - j)), s + added);
  } else {
    s += added;
  }
  return select(s, added, added == -INFINITY);
}

// Drops weights of a tile. Keys in fours share a counter; a tile starts with a whole four, and s_t ends
// with one. Marks of hidden keys stay.
FORCE_INLINE void drop_from_tile(const struct head_options head, const attention_options options,
                                 const int16 *query, const int key, const int n_keys,
                                 float16 *p_t) {
  for (int j = 0; j < n_keys; j += 4) {
    for (int c = 0; c < VECTORS; c++) {
      uint16 x0 = (key + j) / 4, x1 = as_uint16(query[c]), x2 = head.head, x3 = 0;
      uint k0 = options.seed_low, k1 = options.seed_high;
#pragma unroll
      for (int round = 0; round < PHILOX_ROUNDS; round++) {
        PHILOX_ROUND(uint16, mul_hi, x0, x1, x2, x3, k0, k1);
      }
      const uint16 words[4] = {x0, x1, x2, x3};
#pragma unroll
      for (int a = 0; a < 4; a++) {
        const float16 p = p_t[(j + a) * VECTORS + c];
        p_t[(j + a) * VECTORS + c] = select(min(p, 0.0f), p * options.dropout_scale,
                                            words[a] >= (uint)options.dropout_threshold);
      }
    }
  }
}

// ---- S^T = K Q^T, UNROLL_K keys at a time --------------------------------------------------------

// Scores of n_keys keys from k_tile on. With `masked`, keys are checked row by row: `key` is the
// index of the tile's first key. m_tile collects the largest score of each row. With `added`, s_t holds
// what add_to_tile put there.
FORCE_INLINE void score_tile(const int masked, const int added, const struct head_options head,
                             const attention_options options, const __global storage_t *k_tile,
                             float *widened, const int key, const int n_keys, const float16 *q_t,
                             const int16 *query, const int16 *first_key, const int16 *end_key,
                             float16 *s_t, float16 *m_tile) {
  for (int j = 0; j < n_keys; j += UNROLL_K) {
    float16 s[UNROLL_K][VECTORS];
    const FLOATS *k_row[UNROLL_K];
#pragma unroll
    for (int a = 0; a < UNROLL_K; a++) {
      // The last tile may end within the group: its last key is read again instead of what follows.
      k_row[a] = as_floats(k_tile + (size_t)(masked ? min(j + a, n_keys - 1) : j + a) * HEAD_DIM,
                           HEAD_DIM, widened + a * HEAD_DIM);
#pragma unroll
      for (int c = 0; c < VECTORS; c++) s[a][c] = 0.0f;
    }
    for (int d = 0; d < HEAD_DIM; d++) {
#pragma unroll
      for (int a = 0; a < UNROLL_K; a++) {
        const float16 k_d = k_row[a][d];
#pragma unroll
        for (int c = 0; c < VECTORS; c++) s[a][c] = fma(k_d, q_t[d * VECTORS + c], s[a][c]);
      }
    }
#pragma unroll
    for (int a = 0; a < UNROLL_K; a++) {
#pragma unroll
      for (int c = 0; c < VECTORS; c++) {
        if (OPTIONS) {
          const float16 added_here = added ? s_t[(j + a) * VECTORS + c] : 0.0f;
          s[a][c] = score_lanes(head, options, s[a][c], added_here, query[c], key + j + a);
        }
        if (masked) {
          const int16 j_key = key + j + a;
          s[a][c] = select((float16)(-INFINITY), s[a][c],
                           j_key >= first_key[c] & j_key < end_key[c] & (int16)(j + a) < n_keys);
        }
        s_t[(j + a) * VECTORS + c] = s[a][c];
        m_tile[c] = larger(m_tile[c], s[a][c]);
      }
    }
  }
}

// ---- O^T = O^T * alpha + V^T P^T, UNROLL_D columns at a time -------------------------------------

// The output columns of one group. A group that runs past HEAD_DIM_V computes the last column again,
// to the same value, so that the loops keep their constant length.
#if HEAD_DIM_V % UNROLL_D == 0
#define COLUMN(d, a) ((d) + (a))
#else
#define COLUMN(d, a) min((d) + (a), HEAD_DIM_V - 1)
#endif

// Columns d to d + UNROLL_D of the output. With `masked`, a hidden key adds nothing even where its
// value is NaN or infinite, which a weight of 0 would turn into NaN. With OPTIONS, a weight of -inf
// stands for one.
FORCE_INLINE void accumulate_columns(const int masked, const int d, const FLOATS *v_tile,
                                     const int key, const int n_keys, const float16 *p_t,
                                     const float16 *alpha, const int16 *first_key,
                                     const int16 *end_key, float16 *acc) {
  float16 o[UNROLL_D][VECTORS];
#pragma unroll
  for (int a = 0; a < UNROLL_D; a++) {
#pragma unroll
    for (int c = 0; c < VECTORS; c++) o[a][c] = acc[COLUMN(d, a) * VECTORS + c] * alpha[c];
  }
  for (int j = 0; j < n_keys; j++) {
    const FLOATS *v_row = v_tile + (size_t)j * HEAD_DIM_V;
    const int16 j_key = key + j;
#pragma unroll
    for (int a = 0; a < UNROLL_D; a++) {
      const float16 v_a = v_row[COLUMN(d, a)];
#pragma unroll
      for (int c = 0; c < VECTORS; c++) {
        const float16 sum = fma(v_a, p_t[j * VECTORS + c], o[a][c]);
        const int16 visible = OPTIONS ? p_t[j * VECTORS + c] != -INFINITY
                                      : j_key >= first_key[c] & j_key < end_key[c];
        o[a][c] = masked ? select(o[a][c], sum, visible) : sum;
      }
    }
  }
#pragma unroll
  for (int a = 0; a < UNROLL_D; a++) {
#pragma unroll
    for (int c = 0; c < VECTORS; c++) acc[COLUMN(d, a) * VECTORS + c] = o[a][c];
  }
}

// ---- one key tile --------------------------------------------------------------------------------

FORCE_INLINE void attend_tile(const int masked, const int added, const struct head_options head,
                              const attention_options options, const __global storage_t *k_tile,
                              const __global storage_t *v_tile, float *widened, const int key,
                              const int n_keys, const float scale, const float16 *q_t,
                              const int16 *query, const int16 *first_key, const int16 *end_key,
                              float16 *s_t, float16 *acc, float16 *m_i, float16 *l_i) {
  float16 m_tile[VECTORS], m_safe[VECTORS], alpha[VECTORS], l_tile[VECTORS];
  for (int c = 0; c < VECTORS; c++) m_tile[c] = -INFINITY;
  score_tile(masked, added, head, options, k_tile, widened, key, n_keys, q_t, query, first_key,
             end_key, s_t, m_tile);

  for (int c = 0; c < VECTORS; c++) {
    const float16 m_new = larger(m_i[c], m_tile[c]);
    // A row that has seen no key yet has m_new = -inf, and -inf - -inf would be NaN: such a row
    // subtracts 0, which leaves its weights at exp2(-inf) = 0.
    m_safe[c] = select(m_new, (float16)(0.0f), m_new == -INFINITY);
    alpha[c] = exp2_nonpositive((m_i[c] - m_safe[c]) * scale);
    m_i[c] = m_new;
    l_tile[c] = 0.0f;
  }
  for (int j = 0; j < n_keys; j++) {
#pragma unroll
    for (int c = 0; c < VECTORS; c++) {
      // Subtracted before it is scaled: never above 0, and rounded by a part of itself, not of m_i.
      const float16 s = s_t[j * VECTORS + c];
      const float16 p = exp2_nonpositive((s - m_safe[c]) * scale);
      s_t[j * VECTORS + c] = OPTIONS && masked ? select(p, s, s == -INFINITY) : p;
      l_tile[c] += p;
    }
  }
  if (OPTIONS && options.dropout_threshold != 0) {
    drop_from_tile(head, options, query, key, n_keys, s_t);
  }
  for (int c = 0; c < VECTORS; c++) l_i[c] = fma(l_i[c], alpha[c], l_tile[c]);

  const FLOATS *v_floats = as_floats(v_tile, n_keys * HEAD_DIM_V, widened);
  for (int d = 0; d < HEAD_DIM_V; d += UNROLL_D) {
    accumulate_columns(masked, d, v_floats, key, n_keys, s_t, alpha, first_key, end_key, acc);
  }
}

// ---- kernel --------------------------------------------------------------------------------------

__attribute__((reqd_work_group_size(1, 1, 1))) __kernel void attention_flash_cpu(
    const __global storage_t *restrict q, const __global storage_t *restrict k,
    const __global storage_t *restrict v, const __global int *restrict key_lengths,
    const __global uchar *restrict mask, const __global float *restrict bias,
    const __global uchar *restrict block_mask, const __global float *restrict alibi_slopes,
    const __global float *restrict sinks, __global storage_t *restrict out,
    __global float *restrict lse, const attention_args args, const attention_options options) {
  const int block = (int)(get_num_groups(0) - 1 - get_group_id(0));
  const int h = (int)get_group_id(1);
  const int b = (int)get_group_id(2);
  const int h_kv = h / (args.heads_q / args.heads_kv);
  const int row0 = block * BLOCK_M;
  const int rows = min(BLOCK_M, args.seqlen_q - row0);

  // 64-bit before the first product: B * H * SEQLEN * HEAD_DIM may pass 2^31.
  const size_t q_row0 = ((size_t)b * args.heads_q + h) * args.seqlen_q + row0;
  const size_t kv_row0 = ((size_t)b * args.heads_kv + h_kv) * args.seqlen_k;
  q += q_row0 * HEAD_DIM;
  k += kv_row0 * HEAD_DIM;
  v += kv_row0 * HEAD_DIM_V;
  out += q_row0 * HEAD_DIM_V;

  float16 q_t[HEAD_DIM * VECTORS];    // [HEAD_DIM][BLOCK_M]
  float16 s_t[BLOCK_N * VECTORS];     // [BLOCK_N][BLOCK_M], scores and then weights
  float16 acc[HEAD_DIM_V * VECTORS];  // [HEAD_DIM_V][BLOCK_M]
  float widened[WIDENED(WIDE_K > WIDE_V ? WIDE_K : WIDE_V)];  // of k, then of v, then of out
  float16 m_i[VECTORS], l_i[VECTORS];
  int16 query[VECTORS], first_key[VECTORS], end_key[VECTORS];
  struct head_options head;
  options_of_head(&head, args, options, key_lengths, mask, bias, block_mask, alibi_slopes, sinks, 0,
                  b, h);
  const attention_args own = head.own;

  // Differences are scaled to units of log2, so that the weights are plain powers of 2. The sign goes
  // into q, which costs no rounding and lets m_i be the largest score before scaling; with OPTIONS,
  // score_lanes() applies it.
  const float q_sign = OPTIONS ? 1.0f : sign(args.softmax_scale);
  const float scale = SCORE_SCALE(own);
  for (int r = 0; r < BLOCK_M; r++) {
    for (int d = 0; d < HEAD_DIM; d++) {
      ((float *)q_t)[d * BLOCK_M + r] =
          r < rows ? to_float(q[(size_t)r * HEAD_DIM + d]) * q_sign : 0.0f;
    }
    ((int *)query)[r] = row0 + r;
    ((int *)first_key)[r] = FIRST_KEY(own, row0 + r);
    ((int *)end_key)[r] = END_KEY(own, row0 + r);
  }
  for (int i = 0; i < HEAD_DIM_V * VECTORS; i++) acc[i] = 0.0f;
  for (int c = 0; c < VECTORS; c++) {
    // A sink is a key with a score of its own and no value.
    m_i[c] = head.sink;
    l_i[c] = head.sink != -INFINITY ? 1.0f : 0.0f;
  }

  // The band only moves forward: no row of the block sees a key before the first row's first or
  // after the last row's last, and all see what lies between the last row's first and the first
  // row's last.
  const int last = row0 + rows - 1;
  const int tiles_begin = FIRST_KEY(own, row0) / BLOCK_N * BLOCK_N;
  const int tiles_end = END_KEY(own, last);
  const int shared_begin = FIRST_KEY(own, last);
  const int shared_end = END_KEY(own, row0);
  int key = visible_tile(head, options, row0, last, tiles_begin, BLOCK_N, tiles_end);
  while (key < tiles_end) {
    const __global storage_t *k_tile = k + (size_t)key * HEAD_DIM;
    const __global storage_t *v_tile = v + (size_t)key * HEAD_DIM_V;
    const int n_keys = min(BLOCK_N, tiles_end - key);
    const int added = hides_some_of_tile(head, options, row0, last, key, key + n_keys - 1);
    const int hidden = added && add_to_tile(head, options, row0, rows, key, n_keys, s_t);
    if (key >= shared_begin && key + BLOCK_N <= shared_end && !hidden) {
      attend_tile(0, added, head, options, k_tile, v_tile, widened, key, BLOCK_N, scale, q_t, query,
                  first_key, end_key, s_t, acc, m_i, l_i);
    } else {
      attend_tile(1, added, head, options, k_tile, v_tile, widened, key, n_keys, scale, q_t, query,
                  first_key, end_key, s_t, acc, m_i, l_i);
    }
    key = visible_tile(head, options, row0, last, key + BLOCK_N, BLOCK_N, tiles_end);
  }

  for (int r = 0; r < rows; r++) {
    const float l = ((float *)l_i)[r];
    const int any_visible =
        sees_any(head, options, row0 + r, ((int *)first_key)[r], ((int *)end_key)[r], l);
    const float l_inverse = any_visible ? 1.0f / l : 0.0f;
    __global storage_t *out_row = out + (size_t)r * HEAD_DIM_V;
    FLOATS *o = floats_to_fill(out_row, widened);
    for (int d = 0; d < HEAD_DIM_V; d++) o[d] = ((float *)acc)[d * BLOCK_M + r] * l_inverse;
    store_floats(out_row, HEAD_DIM_V, o);
    if (lse) {
      lse[q_row0 + r] = any_visible ? LOG_SUM_EXP(own, ((float *)m_i)[r], l) : -INFINITY;
    }
  }
}
