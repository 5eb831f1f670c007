// What the cache kernels are told at run time. OpenCL C and CUDA C++ include this file; the host reads
// the struct's layout from it.
#ifndef HEDDLE_CACHE_ARGS_H
#define HEDDLE_CACHE_ARGS_H

typedef struct {
  int heads;     // H_KV
  int capacity;  // CAPACITY: rows of a cache
  int added;     // ADDED: rows of x
  int width;     // WIDTH: elements of a row
} cache_args;

// The host defines this to the size that it computed from the fields above: another size here stops
// the build before a wrong byte is sent.
#ifdef CACHE_ARGS_BYTES
typedef char cache_args_layout[sizeof(cache_args) == CACHE_ARGS_BYTES ? 1 : -1];
#endif

#endif
