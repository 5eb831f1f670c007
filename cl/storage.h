// What an element of a tensor is: the host defines DTYPE to one of the three below. Arithmetic is fp32
// whatever the storage; here is where the two meet, and nowhere else. No extension is needed:
// cl_khr_fp16 is arithmetic in fp16, pointers to half and conversions from and to it are OpenCL C 1.2.
#ifndef HEDDLE_STORAGE_H
#define HEDDLE_STORAGE_H

#include "force_inline.h"

#define FP32 0
#define FP16 1
#define BF16 2

// Macros and no typedef: the host reads a parameter's type from the compiled kernel, where a typedef
// would hide it. Macros below, too, since half has pointers but, without the extension, no values.
//
//   to_float(x)         the element x as fp32
//   store(x, y)         x = y, rounded to the nearest, ties to even; a NaN stays one
//   store_same(x, y)    x = y where both are elements: bits are copied, NaN included
#if DTYPE == FP32
#define storage_t float
#define to_float(x) (x)
#define store(x, y) (x) = (y)
#define store_same(x, y) (x) = (y)
#elif DTYPE == FP16
#define storage_t half
#define to_float(x) vload_half(0, &(x))
#define store(x, y) vstore_half_rte(y, 0, &(x))
#define store_same(x, y) *(__global ushort *)&(x) = *(const __global ushort *)&(y)
#elif DTYPE == BF16
#define storage_t ushort
#define to_float(x) as_float((uint)(x) << 16)  // bf16 is the upper half of a float
#define store(x, y) (x) = to_storage(y)
#define store_same(x, y) (x) = (y)
#endif

#if DTYPE == BF16
FORCE_INLINE ushort to_storage(const float x) {
  const uint bits = as_uint(x);
  // A NaN stays one: the addition below could carry it over into an infinity or a zero.
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return (ushort)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
#endif

// ---- runs of elements, 16 at a time, for the processor-shaped kernels ----------------------------

#if DTYPE == FP32
#define load16(i, x) vload16(i, x)
#elif DTYPE == FP16
// The bits go through private memory, which is to say registers, for PoCL's sake: up to 3.1 at least,
// its vload_half16 and vstore_half16 take x to be a multiple of 16 bytes, which nobody promised.
FORCE_INLINE float16 load16(const size_t i, const __global storage_t *x) {
  const ushort16 bits = vload16(i, (const __global ushort *)x);
  return vload_half16(0, (const half *)&bits);
}

FORCE_INLINE void store16(const float16 y, const size_t i, __global storage_t *x) {
  ushort16 bits;
  vstore_half16_rte(y, 0, (half *)&bits);
  vstore16(bits, i, (__global ushort *)x);
}
#elif DTYPE == BF16
FORCE_INLINE float16 load16(const size_t i, const __global storage_t *x) {
  return as_float16(convert_uint16(vload16(i, x)) << 16);
}

FORCE_INLINE void store16(const float16 y, const size_t i, __global storage_t *x) {
  const uint16 bits = as_uint16(y);
  const uint16 rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  vstore16(convert_ushort16(select(rounded, (uint16)(0x7fff), isnan(y))), i, x);
}
#endif

// Where each element is used in many lanes, it should be fp32 before: as_floats gives n elements of x,
// in place where they are fp32, else in `floats`. And where a row is written element by element,
// floats_to_fill is where it is put as fp32, for store_floats to bring to x.
#if DTYPE == FP32
#define FLOATS __global float
#define WIDENED(n) 1
#define as_floats(x, n, floats) (x)
#define floats_to_fill(x, floats) (x)
#define store_floats(x, n, floats)
#else
#define FLOATS float
#define WIDENED(n) (n)
#define floats_to_fill(x, floats) (floats)

FORCE_INLINE const FLOATS *as_floats(const __global storage_t *x, const int n, float *floats) {
  for (int i = 0; i < n / 16; i++) vstore16(load16(i, x), i, floats);
  for (int i = n / 16 * 16; i < n; i++) floats[i] = to_float(x[i]);
  return floats;
}

FORCE_INLINE void store_floats(__global storage_t *x, const int n, const float *floats) {
  for (int i = 0; i < n / 16; i++) store16(vload16(i, floats), i, x);
  for (int i = n / 16 * 16; i < n; i++) store(x[i], floats[i]);
}
#endif

#endif
