// Copies from global to shared memory that do not wait for the data and hold no register meanwhile:
// cp.async, from compute capability 8.0 on. Older devices copy through registers, and wait.
#ifndef HEDDLE_ASYNC_COPY_H
#define HEDDLE_ASYNC_COPY_H

#include "force_inline.h"

// An address of shared memory in 32 bits, as the instructions that name their memory take it.
FORCE_INLINE unsigned shared_address(const void *pointer) {
  return (unsigned)__cvta_generic_to_shared(pointer);
}

// Starts to copy 16 bytes to shared memory, or to write 16 zero bytes there where `inside` is 0. Both
// addresses are multiples of 16. The source is not read where `inside` is 0.
FORCE_INLINE void copy_async(const unsigned target, const void *source, const int inside) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(target), "l"(source), "r"(inside ? 16 : 0)
               : "memory");
#endif
}

FORCE_INLINE void copy_async(void *target, const void *source, const int inside) {
#if __CUDA_ARCH__ >= 800
  copy_async(shared_address(target), source, inside);
#else
  uint4 x = {0, 0, 0, 0};
  if (inside) x = *(const uint4 *)source;
  *(uint4 *)target = x;
#endif
}

// Makes the copies that this thread has started since the last call a group.
FORCE_INLINE void commit_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" : : : "memory");
#endif
}

// Waits for all of this thread's groups but the PENDING newest. A barrier has to follow before other
// threads read what this one has copied.
template <int PENDING>
FORCE_INLINE void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" : : "n"(PENDING) : "memory");
#endif
}

#endif
