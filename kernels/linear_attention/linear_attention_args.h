// What the linear attention kernels are told at run time. OpenCL C and CUDA C++ include this file; the
// host reads the struct's layout from it.
#ifndef HEDDLE_LINEAR_ATTENTION_ARGS_H
#define HEDDLE_LINEAR_ATTENTION_ARGS_H

typedef struct {
  int heads_q;       // H_Q
  int heads_kv;      // H_KV
  int seqlen;        // SEQLEN
  int head_dim_v;    // HEAD_DIM_V
  int decay_width;   // elements of a row of decay: HEAD_DIM or 1; 0 where nothing decays
  int beta_heads;    // heads of beta: H_KV or 1; 0 where there is none
  int elu_plus_one;  // 1: queries and keys go through elu(x) + 1; 0: they are taken as they are
  float scale;       // factor on out
} linear_attention_args;

// The host defines this to the size that it computed from the fields above: another size here stops
// the build before a wrong byte is sent.
#ifdef LINEAR_ATTENTION_ARGS_BYTES
typedef char
    linear_attention_args_layout[sizeof(linear_attention_args) == LINEAR_ATTENTION_ARGS_BYTES ? 1
                                                                                              : -1];
#endif

#endif
