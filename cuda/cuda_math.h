// What OpenCL C has built in and CUDA C++ lacks where it is compiled without any header, as by NVRTC.
//
// max and min of ints, and fabs, fma, fmax, exp and log of floats need nothing from here: CUDA C++
// resolves them by their arguments' types.
#ifndef HEDDLE_CUDA_MATH_H
#define HEDDLE_CUDA_MATH_H

#include "force_inline.h"

#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif

FORCE_INLINE float sign(const float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f; }

// 2^x by the one instruction that the special function unit has for it: relative error below 2^-22,
// 2^0 and 2^-inf exact, 0 below 2^-126. exp2 spends three more on results below that.
FORCE_INLINE float exp2_approximate(const float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// 1 / x, relative error below 2^-23; 0 where x is infinite, an infinity where it is below 2^-126.
FORCE_INLINE float reciprocal_approximate(const float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

#endif
