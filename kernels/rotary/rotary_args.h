// What the rotary kernels are told at run time. OpenCL C and CUDA C++ include this file; the host reads
// the struct's layout from it.
#ifndef HEDDLE_ROTARY_ARGS_H
#define HEDDLE_ROTARY_ARGS_H

typedef struct {
  int heads;          // H
  int seqlen;         // SEQLEN
  int head_dim;       // HEAD_DIM
  int rotary_dim;     // ROTARY_DIM: leading elements that are turned
  int interleaved;    // 1: pairs are neighbours; 0: they are ROTARY_DIM / 2 apart
  int max_positions;  // MAX_POSITIONS: rows of the tables
} rotary_args;

// The host defines this to the size that it computed from the fields above: another size here stops
// the build before a wrong byte is sent.
#ifdef ROTARY_ARGS_BYTES
typedef char rotary_args_layout[sizeof(rotary_args) == ROTARY_ARGS_BYTES ? 1 : -1];
#endif

#endif
