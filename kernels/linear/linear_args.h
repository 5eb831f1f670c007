// What the linear kernels are told at run time. OpenCL C and CUDA C++ include this file; the host
// reads the struct's layout from it.
#ifndef HEDDLE_LINEAR_ARGS_H
#define HEDDLE_LINEAR_ARGS_H

typedef struct {
  int rows;          // ROWS of x and y
  int in_features;   // IN_FEATURES: columns of x, rows of weight
  int out_features;  // OUT_FEATURES: columns of weight and y
} linear_args;

// The host defines this to the size that it computed from the fields above: another size here stops
// the build before a wrong byte is sent.
#ifdef LINEAR_ARGS_BYTES
typedef char linear_args_layout[sizeof(linear_args) == LINEAR_ARGS_BYTES ? 1 : -1];
#endif

#endif
