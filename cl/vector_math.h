// Arithmetic on 16 lanes that the processor-shaped kernels share.
#ifndef HEDDLE_VECTOR_MATH_H
#define HEDDLE_VECTOR_MATH_H

#include "force_inline.h"

// The larger of each lane. Written as a comparison, which is one instruction, where fmax would spend
// three on ignoring a NaN. When a lane of b is NaN the result is NaN.
FORCE_INLINE float16 larger(const float16 a, const float16 b) { return select(b, a, a > b); }

// 2^x for x <= 0 or NaN; 0 below -126, NaN for NaN.
//   x = n + f with n the nearest integer and |f| <= 1/2;  2^x = 2^n * 2^f.
// Adding ROUND leaves n, already biased by 127, in the low mantissa bits of the sum: shifted left by
// 23 they are the bits of 2^n. 2^f is a minimax polynomial with relative error below 2e-9 before
// rounding and 8e-8 after, fitted with the coefficient of f^0 held at 1 so that 2^0 is exactly 1.
FORCE_INLINE float16 exp2_nonpositive(const float16 x) {
  const float ROUND = 12582912.0f + 127.0f;  // 1.5 * 2^23 + exponent bias
  const float16 t = select(x, (float16)(-126.0f), x < -126.0f);
  const float16 n = t + ROUND;
  const float16 f = t - (n - ROUND);
  float16 p = 1.535336196e-4f;
  p = fma(p, f, 1.339887502e-3f);
  p = fma(p, f, 9.618436918e-3f);
  p = fma(p, f, 5.550332367e-2f);
  p = fma(p, f, 2.402264774e-1f);
  p = fma(p, f, 6.931471825e-1f);
  p = fma(p, f, 1.0f);
  return select(p * as_float16(as_int16(n) << 23), (float16)(0.0f), x < -126.0f);
}

#endif
