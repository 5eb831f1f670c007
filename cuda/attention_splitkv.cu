// attention_splitkv: attention forward for few queries and many keys (decoding), the keys split over
// blocks so that one sequence fills the device.
//
// Computes, for each batch b, query head h (reading key-value head h / G, G = H_Q / H_KV), query i and
// split x, which holds the keys x KEYS_PER_SPLIT <= j < (x + 1) KEYS_PER_SPLIT:
//   s_j = sign(softmax_scale) sum_d q[i][d] k[j][d]     for the keys of x that the mask lets through
//   a = |softmax_scale|, of which the kernels make powers of 2: exp(a x) = 2^(a log2(e) x)
//   attention_splitkv    partial_m[x][i] = m_x = max_j s_j,  partial_l[x][i] = l_x = sum_j e_j,
//                        partial_out[x][i][:] = o_x = sum_j e_j v[j][:],  e_j = exp(a (s_j - m_x))
//   attention_combine    m = max_x m_x,  w_x = exp(a (m_x - m)),  l = sum_x w_x l_x,
//                        out[i][:] = sum_x w_x o_x[:] / l,  lse[i] = a m + ln(l)
//   No visible key: out = 0, lse = -inf.
//   With OPTIONS, keys at and behind key_lengths[b] are hidden; no other option is known here.
//
// Shapes (row-major): q [B, H_Q, SEQLEN_Q, HEAD_DIM]   k [B, H_KV, SEQLEN_K, HEAD_DIM]
//   v [B, H_KV, SEQLEN_K, HEAD_DIM_V]   out [B, H_Q, SEQLEN_Q, HEAD_DIM_V]   lse [B, H_Q, SEQLEN_Q]
//   key_lengths [B]
//   scratch, fp32 whatever DTYPE:   partial_out [SPLITS, B, H_Q, SEQLEN_Q, HEAD_DIM_V]
//   partial_m, partial_l [SPLITS, B, H_Q, SEQLEN_Q]       with SPLITS = ceil(SEQLEN_K / KEYS_PER_SPLIT)
//
// A row of a block is a query of one of the G query heads that read the same key-value head, so that
// one read of k and v serves all G:  row = i G + (h mod G).  The warps of a block take turns at the
// split's tiles of BLOCK_N keys, each on its own, and meet at the end.
//
//                 KEYS_PER_SPLIT
//     |warp 0|warp 1|warp 2|warp 3|warp 0|...        a warp's tile      scores: a lane is a key
//     +------+------+------+------+------+---         +--------------+
//     |  BLOCK_N keys     k, v    |      |            | l0 l1 .. l31 |  k_tile^T, a column per lane
//     +------+------+------+------+------+---         +--------------+
//                                             q_rows   s   BLOCK_M rows, one column per lane
//                                             in        -> p_tile
//   values: a lane is 16 bytes of a row of v, shared    +------------------------+
//   ROW_LANES lanes hold a row, and 32 / ROW_LANES      | l0 l1 .. l15 | key x   |  v_tile
//   rows are added up at a time                         | l16 .. l31   | key x+1 |
//                                                       +------------------------+
//
// Launch: attention_splitkv  block (32 WARPS), grid (SPLITS, ceil(SEQLEN_Q G / BLOCK_M), B H_KV)
//         attention_combine  block (8, 32), grid (SEQLEN_Q ceil(HEAD_DIM_V / 32), H_Q, B)
// FLOPs: 2 (HEAD_DIM + HEAD_DIM_V) per visible pair of a row; tiles that hold no visible pair are
//   skipped.
// Bytes: k and v ceil(SEQLEN_Q G / BLOCK_M) times: once where SEQLEN_Q G <= BLOCK_M, each byte by one
//   16-byte copy. That is SEQLEN_Q G / 2 flop per byte of fp32 and SEQLEN_Q G per byte of the others,
//   below the balance of a device (20 for fp32 arithmetic in compute capability 9.0), so that the
//   memory's bandwidth is the ceiling. The scratch is written and read once: 8 (HEAD_DIM_V + 2) bytes
//   per row and split, beside the split's KEYS_PER_SPLIT (HEAD_DIM + HEAD_DIM_V) elements.
// Shared memory: 4 BLOCK_M HEAD_DIM + max(WARPS (16 BLOCK_N (K_STRIDE + V_STRIDE) + 4 BLOCK_M BLOCK_N),
//   4 WARPS BLOCK_M (HEAD_DIM_V + 2)) bytes, with K_STRIDE the 16-byte pieces of a row of k, or one
//   more where that is even, and V_STRIDE those of v.
// Registers: BLOCK_M (COLUMNS_EACH + BLOCK_N / 32 + 2) for acc, s, m_i and l_i, and operands: 168 with 8
//   rows of 2-byte storage where shared memory has room for 12 warps in a multiprocessor.
// Numerics: fp32 arithmetic, fused multiply-adds, exp2 of differences in units of log2, maxima being
//   subtracted before scores are scaled; the weights are not rounded to the storage. m_x and l_x travel
//   apart: their sum, the split's log-sum-exp, would lose the low bits of l_x where m_x is large.
// Limits: HEAD_DIM and HEAD_DIM_V multiples of 16 bytes; tensors start at multiples of 16 bytes;
//   B H_KV, B, H_Q and the blocks along the rows at most 65535; SEQLEN up to 2^29, and for
//   attention_combine SEQLEN_Q ceil(HEAD_DIM_V / 32) below 2^31.
// Source: Dao, Haziza, Massa, Sizov, "Flash-Decoding for long-context inference", 2023; Milakov and
//   Gimelshein, "Online normalizer calculation for softmax", 2018, for merging partial sums.

#include "score_options.h"
#include "storage.h"

#ifndef BLOCK_M
#define BLOCK_M 8  // {4,8,16} rows, that is queries times query heads, per block
#endif
#ifndef BLOCK_N
#define BLOCK_N 32  // {32,64} keys per tile of a warp
#endif
#ifndef WARPS
#define WARPS 4  // {1,2,4,8} warps per block, each with tiles of its own
#endif
#ifndef KEYS_PER_SPLIT
#define KEYS_PER_SPLIT 256  // {64,128,256,512,1024,2048,4096} keys per block
#endif

#if KEYS_PER_SPLIT % BLOCK_N != 0
#error "KEYS_PER_SPLIT must be a multiple of BLOCK_N"
#endif
#if HEAD_DIM % 4 != 0 || HEAD_DIM_V % 4 != 0
#error "HEAD_DIM and HEAD_DIM_V must be multiples of 4: rows are read 16 bytes at a time"
#endif
#if (HEAD_DIM % 8 != 0 || HEAD_DIM_V % 8 != 0) && DTYPE != 0
#error "HEAD_DIM and HEAD_DIM_V must be multiples of 8: rows are read 16 bytes at a time"
#endif

#include "async_copy.h"
#include "cuda_math.h"

#define KEYS_EACH (BLOCK_N / 32)      // keys of a lane, for the scores
#define K_PIECES (HEAD_DIM / WIDE)    // 16-byte pieces of a row of k
#define V_PIECES (HEAD_DIM_V / WIDE)  // and of v
#define K_STRIDE (K_PIECES | 1)       // odd: 8 lanes' rows start in different groups of 4 banks
#define V_STRIDE V_PIECES             // lanes read neighbouring pieces
// Lanes that share a row of v: the power of 2 that holds it, at most the warp.
#define ROW_LANES \
  (V_PIECES > 16 ? 32 : V_PIECES > 8 ? 16 : V_PIECES > 4 ? 8 : V_PIECES > 2 ? 4 : V_PIECES)
#define PIECES_EACH \
  ((V_PIECES + ROW_LANES - 1) / ROW_LANES)  // pieces of a row of v that a lane owns
#define COLUMNS_EACH (PIECES_EACH * WIDE)   // columns of the output that it owns
#define Q_BYTES (4 * BLOCK_M * HEAD_DIM)
#define TILE_BYTES (16 * BLOCK_N * (K_STRIDE + V_STRIDE) + 4 * BLOCK_M * BLOCK_N)
#define MERGE_BYTES (4 * BLOCK_M * (HEAD_DIM_V + 2))

// Shared memory of a multiprocessor. Code for compute capability 8.0, which has 164 KiB, is what a host
// without a compiler runs on 9.0 too, so it is made for the 228 KiB there.
#if __CUDA_ARCH__ < 800
#define SM_SHARED_BYTES (64 * 1024)
#elif __CUDA_ARCH__ == 860 || __CUDA_ARCH__ == 890 || __CUDA_ARCH__ >= 1200
#define SM_SHARED_BYTES (100 * 1024)
#else
#define SM_SHARED_BYTES (228 * 1024)
#endif

// Blocks that share a multiprocessor and its registers, as shared memory, of which each takes 1 KiB more
// than it asks for, and 16 rows' accumulators let them: what one waits for, the others compute meanwhile.
// 8 warps in a block leave no room for half of another.
#define WARPS_PER_SM \
  (BLOCK_M > 8 || WARPS > 4 || (SHARED_BYTES + 1024) * 12 > SM_SHARED_BYTES * WARPS ? 8 : 12)
#define BLOCKS_PER_SM (WARPS_PER_SM / WARPS)
static_assert(WARPS_PER_SM % WARPS == 0, "blocks share a multiprocessor whole");
constexpr int UNROLL = BLOCK_M > 8 ? 1 : 2;  // of the inner loops: 16 rows leave no registers for 2

static_assert(SHARED_BYTES ==
                  Q_BYTES + WARPS * (TILE_BYTES > MERGE_BYTES ? TILE_BYTES : MERGE_BYTES),
              "SHARED_BYTES is not the sum of the tiles");

// ---- tiles ---------------------------------------------------------------------------------------

// Starts to copy a warp's tile of BLOCK_N rows of PIECES 16-byte pieces, 0 where the matrix has ended:
// only rows_left rows of it remain. 8 lanes read 128 neighbouring bytes, and each lane keeps to one row
// and piece of a pattern of 4 rows x 8 pieces that is laid over the tile again and again, so that
// addresses differ by constants.
template <int PIECES>
FORCE_INLINE void load_tile_async(uint4 *tile, const int tile_stride, const uint4 *source,
                                  const int rows_left) {
  const int row = (int)threadIdx.x % 32 / 8;
  const int piece = (int)threadIdx.x % 8;
  tile += row * tile_stride + piece;
  source += row * PIECES + piece;
#pragma unroll
  for (int y = 0; y < BLOCK_N; y += 4) {
#pragma unroll
    for (int x = 0; x < PIECES; x += 8) {
      if (PIECES % 8 != 0 && piece + x >= PIECES) break;
      copy_async(tile + y * tile_stride + x, source + y * PIECES + x, row + y < rows_left);
    }
  }
}

FORCE_INLINE float warp_largest(float x) {
#pragma unroll
  for (int lane = 1; lane < 32; lane *= 2) x = fmax(x, __shfl_xor_sync(0xffffffffu, x, lane));
  return x;
}

FORCE_INLINE float warp_sum(float x) {
#pragma unroll
  for (int lane = 1; lane < 32; lane *= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
  return x;
}

// The keys that each row of the block sees: first_key[r] <= j < end_key[r].
FORCE_INLINE void find_bounds(const attention_args args, const int row0, const int group,
                              int *first_key, int *end_key) {
  int i = row0 / group;
  int head = row0 % group;
#pragma unroll
  for (int r = 0; r < BLOCK_M; r++) {
    first_key[r] = FIRST_KEY(args, i);
    end_key[r] = END_KEY(args, i);
    head++;
    if (head == group) {
      head = 0;
      i++;
    }
  }
}

// acc[r][:] += p[r][x] v[x][:] over the keys x of a tile. MASKED: row r only takes the keys it sees. A
// hidden key adds nothing even where v is NaN or infinite, which a weight of 0 would turn into NaN.
template <int MASKED>
FORCE_INLINE void multiply_values(const float4 *p_tile, const uint4 *v_tile, float *acc,
                                  const int key, const int *first_key, const int *end_key) {
  const int lane = (int)threadIdx.x % 32;
#pragma unroll UNROLL
  for (int x = lane / ROW_LANES; x < BLOCK_N; x += 32 / ROW_LANES) {
    float p[BLOCK_M];
#pragma unroll
    for (int r = 0; r < BLOCK_M; r += 4) {
      const float4 p_r = p_tile[r / 4 * BLOCK_N + x];
      p[r] = p_r.x;
      p[r + 1] = p_r.y;
      p[r + 2] = p_r.z;
      p[r + 3] = p_r.w;
    }
#pragma unroll
    for (int piece = 0; piece < PIECES_EACH; piece++) {
      // Lanes past a row that fills no power of 2 repeat its last piece; what they add up is dropped.
      const int owned = min(lane % ROW_LANES + piece * ROW_LANES, V_PIECES - 1);
      float v_x[WIDE];
      to_floats(v_tile[x * V_STRIDE + owned], v_x);
#pragma unroll
      for (int r = 0; r < BLOCK_M; r++) {
        if (MASKED && (key + x < first_key[r] || key + x >= end_key[r])) continue;
#pragma unroll
        for (int c = 0; c < WIDE; c++) {
          const int e = r * COLUMNS_EACH + piece * WIDE + c;
          acc[e] = fma(p[r], v_x[c], acc[e]);
        }
      }
    }
  }
}

// ---- splits --------------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(32 * WARPS, BLOCKS_PER_SM)
    attention_splitkv(const storage_t *__restrict__ q, const storage_t *__restrict__ k,
                      const storage_t *__restrict__ v, float *__restrict__ partial_out,
                      float *__restrict__ partial_m, float *__restrict__ partial_l,
                      const int *__restrict__ key_lengths, const attention_args args,
                      const attention_options options) {
  extern __shared__ uint4 shared_memory[];
  float *const q_rows = (float *)shared_memory;
  uint4 *const tiles = shared_memory + Q_BYTES / 16;
  const int lane = (int)threadIdx.x % 32;
  const int warp = (int)threadIdx.x / 32;
  uint4 *const k_tile = tiles + warp * (TILE_BYTES / 16);
  uint4 *const v_tile = k_tile + BLOCK_N * K_STRIDE;
  float4 *const p_tile = (float4 *)(v_tile + BLOCK_N * V_STRIDE);
  const int split = (int)blockIdx.x;
  const int row0 = (int)blockIdx.y * BLOCK_M;
  const int b = (int)blockIdx.z / args.heads_kv;
  const int h_kv = (int)blockIdx.z % args.heads_kv;
  const int group = args.heads_q / args.heads_kv;
  const int rows = args.seqlen_q * group;

  // 64-bit before the first product: B * H * SEQLEN * HEAD_DIM may pass 2^31.
  const size_t q_row0 = ((size_t)b * args.heads_q + (size_t)h_kv * group) * args.seqlen_q;
  const size_t kv_row0 = ((size_t)b * args.heads_kv + h_kv) * args.seqlen_k;

  // The band only moves forward: no row of the block sees a key before the first row's first or after
  // the last row's last, and all see what lies between the last row's first and the first row's last.
  const int first = row0 / group;
  const int last = (min(row0 + BLOCK_M, rows) - 1) / group;
  const int split_begin = split * KEYS_PER_SPLIT;
  const attention_args own = args_of_sequence(args, options, key_lengths, b);
  const int split_end = min(split_begin + KEYS_PER_SPLIT, own.seqlen_k);
  const int tiles_begin = max(split_begin, FIRST_KEY(own, first) / BLOCK_N * BLOCK_N);
  const int tiles_end = min(split_end, END_KEY(own, last));
  const int shared_begin = FIRST_KEY(own, last);
  const int shared_end = END_KEY(own, first);
  // attention_combine reads no split of which a row sees nothing.
  if (tiles_begin >= tiles_end) return;

  // Differences are scaled to units of log2, so that the weights are plain powers of 2. The sign goes
  // into q, which costs no rounding and lets m_i be the largest score before scaling.
  const float scale = SCORE_SCALE(args);
  const int key0 = tiles_begin + warp * BLOCK_N;
  if (key0 < tiles_end) {
    load_tile_async<K_PIECES>(k_tile, K_STRIDE, (const uint4 *)(k + (kv_row0 + key0) * HEAD_DIM),
                              args.seqlen_k - key0);
    commit_copies();
    load_tile_async<V_PIECES>(v_tile, V_STRIDE, (const uint4 *)(v + (kv_row0 + key0) * HEAD_DIM_V),
                              args.seqlen_k - key0);
    commit_copies();
  }
  for (int e = (int)threadIdx.x; e < BLOCK_M * K_PIECES; e += 32 * WARPS) {
    const int row = row0 + e / K_PIECES;
    const int piece = e % K_PIECES;
    uint4 x = {0, 0, 0, 0};
    if (row < rows) {
      const size_t q_row = q_row0 + (size_t)(row % group) * args.seqlen_q + row / group;
      x = ((const uint4 *)(q + q_row * HEAD_DIM))[piece];
    }
    float q_x[WIDE];
    to_floats(x, q_x);
    const float s = sign(args.softmax_scale);
#pragma unroll
    for (int c = 0; c < WIDE; c += 4) {
      *(float4 *)(q_rows + e * WIDE + c) = {q_x[c] * s, q_x[c + 1] * s, q_x[c + 2] * s,
                                            q_x[c + 3] * s};
    }
  }

  float m_i[BLOCK_M], l_i[BLOCK_M];
  float acc[BLOCK_M * COLUMNS_EACH];
#pragma unroll
  for (int r = 0; r < BLOCK_M; r++) {
    m_i[r] = -INFINITY;
    l_i[r] = 0.0f;
  }
#pragma unroll
  for (int e = 0; e < BLOCK_M * COLUMNS_EACH; e++) acc[e] = 0.0f;

  // Read after write: every warp reads the q_rows that all have written.
  __syncthreads();
  for (int key = key0; key < tiles_end; key += WARPS * BLOCK_N) {
    const int all_visible = key >= shared_begin && key + BLOCK_N <= shared_end;
    const int next = key + WARPS * BLOCK_N;

    // ---- s = q k^T
    wait_for_copies<1>();
    // Read after write: each lane reads the rows of the k_tile that the warp's other lanes copied.
    __syncwarp();
    float s[BLOCK_M * KEYS_EACH];
#pragma unroll
    for (int e = 0; e < BLOCK_M * KEYS_EACH; e++) s[e] = 0.0f;
#pragma unroll UNROLL
    for (int piece = 0; piece < K_PIECES; piece++) {
      float k_x[KEYS_EACH][WIDE];
#pragma unroll
      for (int c = 0; c < KEYS_EACH; c++) {
        to_floats(k_tile[(lane + c * 32) * K_STRIDE + piece], k_x[c]);
      }
#pragma unroll
      for (int r = 0; r < BLOCK_M; r++) {
#pragma unroll
        for (int x = 0; x < WIDE; x += 4) {
          const float4 q_x = *(const float4 *)(q_rows + r * HEAD_DIM + piece * WIDE + x);
#pragma unroll
          for (int c = 0; c < KEYS_EACH; c++) {
            float sum = s[r * KEYS_EACH + c];
            sum = fma(q_x.x, k_x[c][x], sum);
            sum = fma(q_x.y, k_x[c][x + 1], sum);
            sum = fma(q_x.z, k_x[c][x + 2], sum);
            s[r * KEYS_EACH + c] = fma(q_x.w, k_x[c][x + 3], sum);
          }
        }
      }
    }
    // Write after read: the next k_tile overwrites the one that the warp's other lanes may still be
    // reading.
    __syncwarp();
    if (next < tiles_end) {
      load_tile_async<K_PIECES>(k_tile, K_STRIDE, (const uint4 *)(k + (kv_row0 + next) * HEAD_DIM),
                                args.seqlen_k - next);
    }
    commit_copies();

    // ---- mask
    if (!all_visible) {
      int first_key[BLOCK_M], end_key[BLOCK_M];
      find_bounds(own, row0, group, first_key, end_key);
#pragma unroll
      for (int r = 0; r < BLOCK_M; r++) {
#pragma unroll
        for (int c = 0; c < KEYS_EACH; c++) {
          const int j = key + lane + c * 32;
          if (j < first_key[r] || j >= end_key[r]) s[r * KEYS_EACH + c] = -INFINITY;
        }
      }
    }

    // ---- online softmax
#pragma unroll
    for (int r = 0; r < BLOCK_M; r++) {
      float m_tile = -INFINITY;
#pragma unroll
      for (int c = 0; c < KEYS_EACH; c++) m_tile = fmax(m_tile, s[r * KEYS_EACH + c]);
      const float m_new = fmax(m_i[r], warp_largest(m_tile));
      // A row that has seen no key yet has m_new = -inf, and -inf - -inf would be NaN: such a row
      // subtracts 0, which leaves its weights at exp2(-inf) = 0.
      const float m_safe = m_new == -INFINITY ? 0.0f : m_new;
      const float alpha = exp2_approximate((m_i[r] - m_safe) * scale);
      m_i[r] = m_new;
      // l_i is this lane's share of the row's sum; the shares meet after the last tile.
      l_i[r] *= alpha;
#pragma unroll
      for (int c = 0; c < KEYS_EACH; c++) {
        // Subtracted before it is scaled: never above 0, and rounded by a part of itself, not of m_i.
        s[r * KEYS_EACH + c] = exp2_approximate((s[r * KEYS_EACH + c] - m_safe) * scale);
        l_i[r] += s[r * KEYS_EACH + c];
      }
#pragma unroll
      for (int c = 0; c < COLUMNS_EACH; c++) acc[r * COLUMNS_EACH + c] *= alpha;
    }
#pragma unroll
    for (int r = 0; r < BLOCK_M; r += 4) {
#pragma unroll
      for (int c = 0; c < KEYS_EACH; c++) {
        p_tile[r / 4 * BLOCK_N + lane + c * 32] = {s[r * KEYS_EACH + c], s[(r + 1) * KEYS_EACH + c],
                                                   s[(r + 2) * KEYS_EACH + c],
                                                   s[(r + 3) * KEYS_EACH + c]};
      }
    }
    wait_for_copies<1>();
    // Read after write: each lane reads the weights that the warp's other lanes have just written and
    // the rows of the v_tile that they copied.
    __syncwarp();

    // ---- acc = acc * alpha + p v
    int first_key[BLOCK_M], end_key[BLOCK_M];
    if (all_visible) {
      multiply_values<0>(p_tile, v_tile, acc, key, first_key, end_key);
    } else {
      find_bounds(own, row0, group, first_key, end_key);
      multiply_values<1>(p_tile, v_tile, acc, key, first_key, end_key);
    }
    // Write after read: the next v_tile and the next weights overwrite those that the warp's other
    // lanes may still be reading.
    __syncwarp();
    if (next < tiles_end) {
      load_tile_async<V_PIECES>(v_tile, V_STRIDE,
                                (const uint4 *)(v + (kv_row0 + next) * HEAD_DIM_V),
                                args.seqlen_k - next);
    }
    commit_copies();
  }

  // ---- merge the warps' states
#pragma unroll
  for (int r = 0; r < BLOCK_M; r++) l_i[r] = warp_sum(l_i[r]);
#pragma unroll
  for (int lanes = ROW_LANES; lanes < 32; lanes *= 2) {
#pragma unroll
    for (int e = 0; e < BLOCK_M * COLUMNS_EACH; e++) {
      acc[e] += __shfl_xor_sync(0xffffffffu, acc[e], lanes);
    }
  }
  float *const merge_out = (float *)tiles;
  float *const merge_m = merge_out + WARPS * BLOCK_M * HEAD_DIM_V;
  float *const merge_l = merge_m + WARPS * BLOCK_M;
  // Write after read: the states overwrite the tiles that slower warps may still be reading.
  __syncthreads();
#pragma unroll
  for (int r = 0; r < BLOCK_M; r++) {
#pragma unroll
    for (int piece = 0; piece < PIECES_EACH; piece++) {
      const int owned = lane + piece * ROW_LANES;
      if (lane >= ROW_LANES || owned >= V_PIECES) continue;
#pragma unroll
      for (int c = 0; c < WIDE; c += 4) {
        const float *const x = acc + r * COLUMNS_EACH + piece * WIDE + c;
        *(float4 *)(merge_out + (warp * BLOCK_M + r) * HEAD_DIM_V + owned * WIDE + c) = {
            x[0], x[1], x[2], x[3]};
      }
    }
    if (lane == 0) {
      merge_m[warp * BLOCK_M + r] = m_i[r];
      merge_l[warp * BLOCK_M + r] = l_i[r];
    }
  }
  // Read after write: every thread adds up what all warps have written.
  __syncthreads();
  for (int e = (int)threadIdx.x; e < BLOCK_M * HEAD_DIM_V; e += 32 * WARPS) {
    const int row = e / HEAD_DIM_V;
    const int column = e % HEAD_DIM_V;
    if (row0 + row >= rows) break;
    float m = -INFINITY;
#pragma unroll
    for (int w = 0; w < WARPS; w++) m = fmax(m, merge_m[w * BLOCK_M + row]);
    const float m_safe = m == -INFINITY ? 0.0f : m;
    float l = 0.0f;
    float o = 0.0f;
#pragma unroll
    for (int w = 0; w < WARPS; w++) {
      const float weight = exp2_approximate((merge_m[w * BLOCK_M + row] - m_safe) * scale);
      l = fma(weight, merge_l[w * BLOCK_M + row], l);
      o = fma(weight, merge_out[(w * BLOCK_M + row) * HEAD_DIM_V + column], o);
    }
    const size_t partial_row = (size_t)split * args.batch * args.heads_q * args.seqlen_q + q_row0 +
                               (size_t)((row0 + row) % group) * args.seqlen_q +
                               (row0 + row) / group;
    partial_out[partial_row * HEAD_DIM_V + column] = o;
    if (column == 0) {
      partial_m[partial_row] = m;
      partial_l[partial_row] = l;
    }
  }
}

// ---- combine -------------------------------------------------------------------------------------

#define COMBINE_COLUMNS 32  // columns of out per block: 8 threads, 4 columns each
#define COMBINE_SPLITS 32   // splits added up at a time

extern "C" __global__ void __launch_bounds__(8 * COMBINE_SPLITS)
    attention_combine(const float *__restrict__ partial_out, const float *__restrict__ partial_m,
                      const float *__restrict__ partial_l, storage_t *__restrict__ out,
                      float *__restrict__ lse, const int *__restrict__ key_lengths,
                      const attention_args args, const attention_options options) {
  __shared__ float largest[8];
  __shared__ float4 sums[8][8];
  __shared__ float l_sums[8];
  const int tx = (int)threadIdx.x;
  const int ty = (int)threadIdx.y;
  const int thread = ty * 8 + tx;
  const int lane = thread % 32;
  const int warp = thread / 32;
  const int column_blocks = (HEAD_DIM_V + COMBINE_COLUMNS - 1) / COMBINE_COLUMNS;
  const int i = (int)(blockIdx.x / column_blocks);
  const int column = (int)(blockIdx.x % column_blocks) * COMBINE_COLUMNS + tx * 4;
  const int h = (int)blockIdx.y;
  const int b = (int)blockIdx.z;
  const size_t q_row = ((size_t)b * args.heads_q + h) * args.seqlen_q + i;
  const size_t q_rows = (size_t)args.batch * args.heads_q * args.seqlen_q;
  const attention_args own = args_of_sequence(args, options, key_lengths, b);
  const int first_key = FIRST_KEY(own, i);
  const int end_key = END_KEY(own, i);
  const int any_visible = first_key < end_key;

  // Only the splits that hold a key which the row sees have been written.
  const int splits_begin = any_visible ? first_key / KEYS_PER_SPLIT : 0;
  const int splits_end = any_visible ? (end_key - 1) / KEYS_PER_SPLIT + 1 : 0;

  // ---- largest
  float m = -INFINITY;
  for (int x = splits_begin + thread; x < splits_end; x += 8 * COMBINE_SPLITS) {
    m = fmax(m, partial_m[x * q_rows + q_row]);
  }
  m = warp_largest(m);
  if (lane == 0) largest[warp] = m;
  // Read after write: every thread reads all warps' largest.
  __syncthreads();
#pragma unroll
  for (int w = 0; w < 8; w++) m = fmax(m, largest[w]);
  const float scale = SCORE_SCALE(args);
  // All splits may hold nothing but scores of -inf, and -inf - -inf would be NaN.
  const float m_safe = m == -INFINITY ? 0.0f : m;

  // ---- sums
  float l = 0.0f;
  float4 o = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 4
  for (int x = splits_begin + ty; x < splits_end; x += COMBINE_SPLITS) {
    const size_t partial_row = x * q_rows + q_row;
    const float weight = exp2_approximate((partial_m[partial_row] - m_safe) * scale);
    l = fma(weight, partial_l[partial_row], l);
    if (column < HEAD_DIM_V) {
      const float4 o_x = *(const float4 *)(partial_out + partial_row * HEAD_DIM_V + column);
      o.x = fma(weight, o_x.x, o.x);
      o.y = fma(weight, o_x.y, o.y);
      o.z = fma(weight, o_x.z, o.z);
      o.w = fma(weight, o_x.w, o.w);
    }
  }
#pragma unroll
  for (int lanes = 8; lanes < 32; lanes *= 2) {
    l += __shfl_xor_sync(0xffffffffu, l, lanes);
    o.x += __shfl_xor_sync(0xffffffffu, o.x, lanes);
    o.y += __shfl_xor_sync(0xffffffffu, o.y, lanes);
    o.z += __shfl_xor_sync(0xffffffffu, o.z, lanes);
    o.w += __shfl_xor_sync(0xffffffffu, o.w, lanes);
  }
  if (lane < 8) sums[warp][tx] = o;
  if (lane == 0) l_sums[warp] = l;
  // Read after write: the first 8 threads add up all warps' sums.
  __syncthreads();
  if (ty != 0) return;
  l = 0.0f;
  o = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
  for (int w = 0; w < 8; w++) {
    l += l_sums[w];
    o.x += sums[w][tx].x;
    o.y += sums[w][tx].y;
    o.z += sums[w][tx].z;
    o.w += sums[w][tx].w;
  }

  // ---- divide by the row sums
  const float l_inverse = any_visible ? 1.0f / l : 0.0f;
  if (column < HEAD_DIM_V) {
    storage_t *const target = out + q_row * HEAD_DIM_V + column;
    target[0] = to_storage(o.x * l_inverse);
    target[1] = to_storage(o.y * l_inverse);
    target[2] = to_storage(o.z * l_inverse);
    target[3] = to_storage(o.w * l_inverse);
  }
  if (lse && column == 0) lse[q_row] = any_visible ? LOG_SUM_EXP(args, m, l) : -INFINITY;
}
