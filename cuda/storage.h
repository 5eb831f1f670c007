// What an element of a tensor is: the host defines DTYPE to one of the three below. Arithmetic is fp32
// whatever the storage; these functions are where the two meet. No header of the toolkit is needed.
#ifndef HEDDLE_STORAGE_H
#define HEDDLE_STORAGE_H

#include "force_inline.h"

#define FP32 0
#define FP16 1
#define BF16 2

#if DTYPE == FP32
typedef float storage_t;
#else
typedef unsigned short storage_t;  // the bits; CUDA C++ has no 2-byte float of its own
#endif

// Elements in 16 bytes, the widest that one instruction moves.
#if DTYPE == FP32
#define WIDE 4
#else
#define WIDE 8
#endif

FORCE_INLINE float to_float(const storage_t x) {
#if DTYPE == FP32
  return x;
#elif DTYPE == FP16
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
  return y;
#else
  return __int_as_float((int)x << 16);  // bf16 is the upper half of a float
#endif
}

// Rounds to nearest, ties to even.
FORCE_INLINE storage_t to_storage(const float x) {
#if DTYPE == FP32
  return x;
#elif DTYPE == FP16
  storage_t y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
#elif __CUDA_ARCH__ >= 800
  storage_t y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
#else
  const unsigned bits = (unsigned)__float_as_int(x);
  // A NaN stays one: the addition below could carry it over into an infinity or a zero.
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return (storage_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
#endif
}

#if DTYPE != FP32 && __CUDA_ARCH__ >= 800
// Two elements that are neighbours in memory share a register, the first in its low half.
FORCE_INLINE unsigned to_storage_pair(const float x, const float y) {
  unsigned pair;
#if DTYPE == FP16
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(y), "f"(x));
#else
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(y), "f"(x));
#endif
  return pair;
}

// x y + z of both neighbours, each rounded once.
FORCE_INLINE unsigned fma_pair(const unsigned x, const unsigned y, const unsigned z) {
  unsigned pair;
#if DTYPE == FP16
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(pair) : "r"(x), "r"(y), "r"(z));
#else
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(pair) : "r"(x), "r"(y), "r"(z));
#endif
  return pair;
}

// The sign bits are set of those of the two that are NaN or infinite: exponents of ones carry into
// them. What the other bits are has no meaning.
FORCE_INLINE unsigned wild_signs(const unsigned pair) {
#if DTYPE == FP16
  return (pair & 0x7c007c00u) + 0x04000400u;
#else
  return (pair & 0x7f807f80u) + 0x00800080u;
#endif
}

// All ones for those of the two that are NaN or infinite.
FORCE_INLINE unsigned wild_bits(const unsigned pair) {
  return (wild_signs(pair) >> 15 & 0x00010001u) * 0xffffu;
}
#endif

// The WIDE elements of 16 bytes.
FORCE_INLINE void to_floats(const uint4 x, float *y) {
#if DTYPE == FP32
  y[0] = __int_as_float((int)x.x);
  y[1] = __int_as_float((int)x.y);
  y[2] = __int_as_float((int)x.z);
  y[3] = __int_as_float((int)x.w);
#else
  y[0] = to_float((storage_t)x.x);
  y[1] = to_float((storage_t)(x.x >> 16));
  y[2] = to_float((storage_t)x.y);
  y[3] = to_float((storage_t)(x.y >> 16));
  y[4] = to_float((storage_t)x.z);
  y[5] = to_float((storage_t)(x.z >> 16));
  y[6] = to_float((storage_t)x.w);
  y[7] = to_float((storage_t)(x.w >> 16));
#endif
}

#endif
