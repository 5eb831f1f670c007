// What attention's options tell a kernel at run time, and the generator of its dropout. OpenCL C and
// CUDA C++ include this file; the host reads the struct's layout from it.
//
// Which options there are is told by the tensors, null where absent, and by the members below. Kernels
// are compiled with OPTIONS 0 where there are none at all, and are then as fast as if these did not
// exist; with OPTIONS 1 they take any of them.
#ifndef HEDDLE_ATTENTION_OPTIONS_H
#define HEDDLE_ATTENTION_OPTIONS_H

typedef struct {
  // mask[b][h][i][j] is element j of row b * mask_stride_b + h * mask_stride_h + i * mask_stride_q of
  // SEQLEN_K elements; a stride is 0 along an axis that the mask does not have. bias alike.
  int mask_stride_b;
  int mask_stride_h;
  int mask_stride_q;
  int bias_stride_b;
  int bias_stride_h;
  int bias_stride_q;
  // Block (i / block_rows, j / block_keys) is an element of a matrix of ceil(SEQLEN_Q / block_rows) rows
  // of ceil(SEQLEN_K / block_keys) elements, of which b * block_stride_b + h * block_stride_h come before.
  int block_stride_b;
  int block_stride_h;
  int block_rows;
  int block_keys;
  int bottom_right;       // 1 where the band's diagonal ends at a sequence's last key
  int score_stage;        // what score_output holds: one of the stages below
  float softcap;          // 0 for none
  float dropout_scale;    // of the probabilities that stay: 1 / (1 - probability)
  int dropout_threshold;  // unsigned: smaller words drop; 0 for no dropout
  int seed_low;
  int seed_high;
} attention_options;

#ifdef ATTENTION_OPTIONS_BYTES
typedef char
    attention_options_layout[sizeof(attention_options) == ATTENTION_OPTIONS_BYTES ? 1 : -1];
#endif

#define STAGE_RAW 0
#define STAGE_SOFTCAPPED 1
#define STAGE_BIASED 2
#define STAGE_PROBABILITIES 3

// One round of Philox4x32 on the words x0 to x3 under the key k0, k1, and the step to the next round's
// key. A WORD is 32 bits without a sign, or a vector of such; MUL_HI(a, b) is the upper half of the
// 64-bit product, in the language's words.
// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
#define PHILOX_ROUNDS 10
#define PHILOX_ROUND(WORD, MUL_HI, x0, x1, x2, x3, k0, k1) \
  {                                                        \
    const WORD high0 = MUL_HI((WORD)(0xD2511F53u), x0);    \
    const WORD low0 = 0xD2511F53u * x0;                    \
    const WORD high1 = MUL_HI((WORD)(0xCD9E8D57u), x2);    \
    const WORD low1 = 0xCD9E8D57u * x2;                    \
    x0 = high1 ^ x1 ^ k0;                                  \
    x1 = low1;                                             \
    x2 = high0 ^ x3 ^ k1;                                  \
    x3 = low0;                                             \
    k0 += 0x9E3779B9u;                                     \
    k1 += 0xBB67AE85u;                                     \
  }

#endif
