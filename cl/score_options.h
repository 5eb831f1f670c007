// What attention's options do to the scores of one head of one sequence. Included by every kernel that
// knows them, whichever OPTIONS it is compiled with: with 0 all of this folds away.
//
// Options that work on scores in natural units make kernels keep them there: `own.softmax_scale`, the
// factor that is left between a kernel's scores and natural ones, is 1 then. Without such options scores
// stay products of q and k, with the scale's sign, as they are without any.
#ifndef HEDDLE_SCORE_OPTIONS_H
#define HEDDLE_SCORE_OPTIONS_H

#include "attention_args.h"
#include "attention_options.h"
#include "force_inline.h"

#ifndef OPTIONS
#define OPTIONS 0
#endif

// Pointers are to what concerns the head, null where the option is off. A tag and no typedef: the host
// takes each typedef of a struct for one that it has to fill.
struct head_options {
  attention_args own;                // the band as the sequence's own number of keys makes it
  const __global uchar *mask;        // element j of row i * mask_stride: key j for query i
  const __global float *bias;        // alike, with bias_stride
  const __global uchar *block_mask;  // rows of block_columns blocks
  size_t mask_stride;
  size_t bias_stride;
  int block_columns;
  int head;         // b * H_Q + h
  float raw_scale;  // from a product of q and k to a score as the kernel keeps it
  float slope;      // ALiBi's; 0 without it
  float sink;       // -inf without one
};

// Written through a pointer and not returned: what LLVM makes of an inlined function that returns a
// struct is unknown to Oclgrind. `natural` asks for natural scores whatever the options. Kernels that
// only need to know what is hidden have no slopes and no sinks.
FORCE_INLINE void options_of_head(struct head_options *head, const attention_args args,
                                  const attention_options options, const __global int *key_lengths,
                                  const __global uchar *mask, const __global float *bias,
                                  const __global uchar *block_mask,
                                  const __global float *alibi_slopes, const __global float *sinks,
                                  const int natural, const int b, const int h) {
  head->own = args;
  head->mask = 0;
  head->bias = 0;
  head->block_mask = 0;
  head->mask_stride = 0;
  head->bias_stride = 0;
  head->block_columns = 0;
  head->head = b * args.heads_q + h;
  head->raw_scale = 1.0f;
  head->slope = 0.0f;
  head->sink = -INFINITY;
  if (!OPTIONS) return;

  if (key_lengths) {
    // Nothing outside the tensors is touched, whatever the lengths are.
    head->own.seqlen_k = min(max(key_lengths[b], 0), args.seqlen_k);
    if (options.bottom_right) head->own.mask_offset = head->own.seqlen_k - args.seqlen_q;
  }
  if (mask) {
    const size_t row = (size_t)b * options.mask_stride_b + (size_t)h * options.mask_stride_h;
    head->mask = mask + row * args.seqlen_k;
    head->mask_stride = (size_t)options.mask_stride_q * args.seqlen_k;
  }
  if (bias) {
    const size_t row = (size_t)b * options.bias_stride_b + (size_t)h * options.bias_stride_h;
    head->bias = bias + row * args.seqlen_k;
    head->bias_stride = (size_t)options.bias_stride_q * args.seqlen_k;
  }
  if (block_mask) {
    head->block_mask =
        block_mask + (size_t)b * options.block_stride_b + (size_t)h * options.block_stride_h;
    head->block_columns = (args.seqlen_k + options.block_keys - 1) / options.block_keys;
  }
  if (alibi_slopes) head->slope = alibi_slopes[h];
  if (sinks) head->sink = sinks[h];
  if (natural || options.softcap > 0.0f || bias || alibi_slopes || sinks ||
      args.softmax_scale == 0.0f) {
    head->raw_scale = args.softmax_scale;
    head->own.softmax_scale = 1.0f;
  } else {
    head->raw_scale = sign(args.softmax_scale);
  }
}

// ---- what is hidden ------------------------------------------------------------------------------

// Whether keys within the band may be hidden.
FORCE_INLINE int hides_some(const struct head_options head) {
  return OPTIONS && (head.mask || head.bias || head.block_mask);
}

// Whether the block mask hides key j from query i.
FORCE_INLINE int hides_block(const struct head_options head, const attention_options options,
                             const int i, const int j) {
  if (!head.block_mask) return 0;
  const size_t row = i / options.block_rows;
  return !head.block_mask[row * head.block_columns + j / options.block_keys];
}

// Whether key j, which lies within the band, is hidden from query i.
FORCE_INLINE int hides(const struct head_options head, const attention_options options, const int i,
                       const int j) {
  if (head.mask && !head.mask[i * head.mask_stride + j]) return 1;
  if (head.bias && head.bias[i * head.bias_stride + j] == -INFINITY) return 1;
  return hides_block(head, options, i, j);
}

// Whether query i, whose band is [first_key, end_key) and whose weights add up to l, sees any key. Only
// a sum of 0 has to be asked where it comes from: none visible, or scores of -inf by overflow.
FORCE_INLINE int sees_any(const struct head_options head, const attention_options options,
                          const int i, const int first_key, const int end_key, const float l) {
  if (!OPTIONS) return first_key < end_key;
  if (l != 0.0f) return 1;
  for (int j = first_key; j < end_key; j++) {
    if (!hides(head, options, i, j)) return 1;
    // A hidden block is passed at once.
    if (hides_block(head, options, i, j)) j += options.block_keys - 1 - j % options.block_keys;
  }
  return 0;
}

// Whether a block that shows something (or, with `shown` 0, that does not) meets the queries from
// first_row to last_row and the keys from first_key to last_key.
FORCE_INLINE int meets_block(const struct head_options head, const attention_options options,
                             const int shown, const int first_row, const int last_row,
                             const int first_key, const int last_key) {
  for (int y = first_row / options.block_rows; y <= last_row / options.block_rows; y++) {
    for (int x = first_key / options.block_keys; x <= last_key / options.block_keys; x++) {
      if ((head.block_mask[(size_t)y * head.block_columns + x] != 0) == shown) return 1;
    }
  }
  return 0;
}

// The first tile of tile_keys keys, from `key` on and before `end`, of which the block mask shows
// something to one of the queries from first_row to last_row. All work-items of a group go through
// the same tiles.
FORCE_INLINE int visible_tile(const struct head_options head, const attention_options options,
                              const int first_row, const int last_row, int key, const int tile_keys,
                              const int end) {
  if (!OPTIONS || !head.block_mask) return key;
  while (key < end &&
         !meets_block(head, options, 1, first_row, last_row, key, min(key + tile_keys, end) - 1)) {
    key += tile_keys;
  }
  return key;
}

// Whether keys of a tile may be hidden, or have a bias, beyond the band.
FORCE_INLINE int hides_some_of_tile(const struct head_options head, const attention_options options,
                                    const int first_row, const int last_row, const int first_key,
                                    const int last_key) {
  if (!hides_some(head)) return 0;
  return head.mask || head.bias ||
         meets_block(head, options, 0, first_row, last_row, first_key, last_key);
}

// ---- scores --------------------------------------------------------------------------------------

FORCE_INLINE float softcapped(const attention_options options, const float raw) {
  return options.softcap > 0.0f ? options.softcap * tanh(raw / options.softcap) : raw;
}

FORCE_INLINE float biased(const struct head_options head, const float capped, const int i,
                          const int j) {
  const float sum = head.bias ? capped + head.bias[i * head.bias_stride + j] : capped;
  return fma(-head.slope, fabs((float)(i + head.own.mask_offset - j)), sum);
}

// What is exponentiated of query i's product with key j: -inf where hidden. score_output is the row of
// that output or null, and gets the stages before the probabilities.
FORCE_INLINE float score(const struct head_options head, const attention_options options,
                         const float product, const int i, const int j, const int first_key,
                         const int end_key, __global float *score_output) {
  const int in_band = j >= first_key && j < end_key;
  if (!OPTIONS) return in_band ? product : -INFINITY;
  const float raw = head.raw_scale * product;
  const float capped = softcapped(options, raw);
  const int visible = in_band && !hides(head, options, i, j);
  const float s = visible ? biased(head, capped, i, j) : -INFINITY;
  if (score_output) {
    if (options.score_stage == STAGE_RAW) score_output[j] = raw;
    if (options.score_stage == STAGE_SOFTCAPPED) score_output[j] = capped;
    if (options.score_stage == STAGE_BIASED) score_output[j] = s;
  }
  return s;
}

// ---- dropout -------------------------------------------------------------------------------------

// What the probability of key j for query i is multiplied by.
FORCE_INLINE float dropout_factor(const struct head_options head, const attention_options options,
                                  const int i, const int j) {
  if (!OPTIONS || options.dropout_threshold == 0) return 1.0f;
  uint x0 = j / 4, x1 = i, x2 = head.head, x3 = 0;
  uint k0 = options.seed_low, k1 = options.seed_high;
#pragma unroll
  for (int round = 0; round < PHILOX_ROUNDS; round++) {
    PHILOX_ROUND(uint, mul_hi, x0, x1, x2, x3, k0, k1);
  }
  const uint even = j % 4 < 2 ? x0 : x2;
  const uint odd = j % 4 < 2 ? x1 : x3;
  const uint word = j % 2 == 0 ? even : odd;
  return word >= (uint)options.dropout_threshold ? options.dropout_scale : 0.0f;
}

#endif
