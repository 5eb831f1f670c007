// What the kernels that measure a device's ceilings are told at run time. OpenCL C and CUDA C++
// include this file; the host reads the struct's layout from it.
#ifndef HEDDLE_PEAK_ARGS_H
#define HEDDLE_PEAK_ARGS_H

typedef struct {
  int iterations;  // multiply-adds per chain
  float factor;    // 1, unknown to the compiler
  float addend;    // 0, unknown to the compiler
} peak_args;

// The host defines this to the size that it computed from the fields above: another size here stops
// the build before a wrong byte is sent.
#ifdef PEAK_ARGS_BYTES
typedef char peak_args_layout[sizeof(peak_args) == PEAK_ARGS_BYTES ? 1 : -1];
#endif

#endif
