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

#endif
