// What every attention kernel is told at run time, and the one device-side form of the band mask.
// OpenCL C and CUDA C++ include this file; the host reads the struct's layout from it.
//
// HEAD_DIM and HEAD_DIM_V are not here: they are macros, so that compilers can unroll over them.
#ifndef HEDDLE_ATTENTION_ARGS_H
#define HEDDLE_ATTENTION_ARGS_H

typedef struct {
  int batch;            // B
  int heads_q;          // H_Q, a multiple of heads_kv
  int heads_kv;         // H_KV
  int seqlen_q;         // SEQLEN_Q
  int seqlen_k;         // SEQLEN_K
  int mask_left;        // keys visible before the diagonal, at most SEQLEN_Q + SEQLEN_K
  int mask_right;       // keys visible after the diagonal, at most SEQLEN_Q + SEQLEN_K
  int mask_offset;      // key on query 0's diagonal: 0, or SEQLEN_K - SEQLEN_Q
  float softmax_scale;  // factor on Q K^T
} attention_args;

// The host defines this to the size that it computed from the fields above: another size here stops
// the build before a wrong byte is sent.
#ifdef ATTENTION_ARGS_BYTES
typedef char attention_args_layout[sizeof(attention_args) == ATTENTION_ARGS_BYTES ? 1 : -1];
#endif

// Query i sees the keys FIRST_KEY(args, i) <= j < END_KEY(args, i); none when that is empty. Both
// grow with i. The host cuts the sides and refuses sequences above 2^29, so no sum here overflows.
#define FIRST_KEY(args, i) max(0, (i) + (args).mask_offset - (args).mask_left)
#define END_KEY(args, i) min((args).seqlen_k, (i) + (args).mask_offset + (args).mask_right + 1)

// exp(x) = exp2(x * LOG2_E). The flash kernels give q the sign of softmax_scale and multiply what
// scores are below the largest by this. Never 0, which would turn a hidden key's -inf into NaN: where
// softmax_scale is 0, the sign has made every score 0 already.
#define LOG2_E 1.44269504088896340736f
#define SCORE_SCALE(args) \
  ((args).softmax_scale == 0.0f ? 1.0f : fabs((args).softmax_scale) * LOG2_E)

// ln(l), better than OpenCL requires log to be (3 units in the last place; llvmpipe uses half of
// them): one Newton step on l exp(-y) = 1.
#define ACCURATE_LOG(l) (log(l) + fma(l, exp(-log(l)), -1.0f))

// Log-sum-exp of a row from its largest score m, which has softmax_scale's sign but not yet its size,
// and its sum of weights l. Not for rows without a visible key.
#define LOG_SUM_EXP(args, m, l) fma(fabs((args).softmax_scale), m, ACCURATE_LOG(l))

#endif
