// For functions that take a compile-time constant, such as a tile's size or whether it is masked: it
// only pays once the function is inlined, and compilers left to themselves keep large ones as calls
// that test it in the inner loop.
#ifndef HEDDLE_FORCE_INLINE_H
#define HEDDLE_FORCE_INLINE_H

#define FORCE_INLINE __device__ __forceinline__

#endif
