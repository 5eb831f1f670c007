// Copies from global to shared memory that do not wait for the data and hold no register meanwhile:
// cp.async, from compute capability 8.0 on. Older devices copy through registers, and wait.
#ifndef HEDDLE_ASYNC_COPY_H
#define HEDDLE_ASYNC_COPY_H

#include "force_inline.h"

// Starts to copy 16 bytes, or to write 16 zero bytes where `inside` is 0. Both addresses are multiples
// of 16. The source is not read where `inside` is 0.
FORCE_INLINE void copy_async(void *target, const void *source, const int inside) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"((unsigned)__cvta_generic_to_shared(target)), "l"(source),
                 "r"(inside ? 16 : 0)
               : "memory");
#else
  float4 x = {0.0f, 0.0f, 0.0f, 0.0f};
  if (inside) x = *(const float4 *)source;
  *(float4 *)target = x;
#endif
}

// Waits for the copies that this thread has started. The other threads' copies, and these for the
// other threads, take a barrier after it.
FORCE_INLINE void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" : : : "memory");
#endif
}

#endif
