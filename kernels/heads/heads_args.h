// What the heads kernels are told at run time. OpenCL C and CUDA C++ include this file; the host
// reads the struct's layout from it.
#ifndef HEDDLE_HEADS_ARGS_H
#define HEDDLE_HEADS_ARGS_H

typedef struct {
  int batch;  // BATCH
  int outer;  // second axis of x
  int inner;  // third axis of x
  int width;  // contiguous elements that move together
} heads_args;

// The host defines this to the size that it computed from the fields above: another size here stops
// the build before a wrong byte is sent.
#ifdef HEADS_ARGS_BYTES
typedef char heads_args_layout[sizeof(heads_args) == HEADS_ARGS_BYTES ? 1 : -1];
#endif

#endif
