// The scalar types of PTX and the arithmetic on them that C++ does not have: 16-bit floats,
// flushing of subnormals, saturation, directed rounding.
#pragma once

#include <cfenv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace ptx {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;
using f32 = float;
using f64 = double;

template <class To, class From>
inline To bitsAs(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// What .f32 operations give for NaN, and the 16-bit formats.
constexpr u32 NAN_F32 = 0x7fff'ffff;
constexpr u16 NAN_16 = 0x7fff;

// ---- 16-bit floats -------------------------------------------------------------------------------

// IEEE binary16. All of its arithmetic goes through f32, which holds each of its values exactly.
struct f16 {
  u16 bits;
};

// The upper half of a binary32.
struct bf16 {
  u16 bits;
};

// Two of them in a 32-bit register, lo in the lower half.
template <class T>
struct Pair {
  T lo;
  T hi;
};
template <class T>
constexpr bool isPair = false;
template <class T>
constexpr bool isPair<Pair<T>> = true;
using f16x2 = Pair<f16>;
using bf16x2 = Pair<bf16>;

// Exact. Branch-free, so that loops over lanes become vector code.
inline f32 toFloat(f16 h) {
  // Exponent and mantissa moved into place, and the difference of the biases made up by a product,
  // which also normalises subnormals; infinities and NaNs get their exponent back.
  const u32 magnitude = (h.bits & 0x7fffu) << 13;
  const u32 scaled = bitsAs<u32>(bitsAs<f32>(magnitude) * bitsAs<f32>(0x7780'0000u));  // * 2^112
  const u32 special = magnitude >= 0x0f80'0000u ? 0x7f80'0000u : 0;
  return bitsAs<f32>(scaled | special | (h.bits & 0x8000u) << 16);
}

inline f32 toFloat(bf16 h) { return bitsAs<f32>(u32{h.bits} << 16); }

enum class Round { Nearest, Zero, Down, Up };

// Cuts a binary32 down to its upper bits, where `unit` is the lowest bit that stays; overflows carry
// into the exponent as they should.
template <Round mode>
inline u32 roundBits(u32 bits, int shift) {
  const u32 unit = u32{1} << shift;
  const u32 rest = bits & (unit - 1);
  const bool negative = bits >> 31;
  u32 kept = bits & ~(unit - 1);
  if (mode == Round::Nearest) {
    kept = (bits + (unit / 2 - 1) + (bits >> shift & 1)) & ~(unit - 1);
  } else if (mode == Round::Up) {
    kept += rest != 0 && !negative ? unit : 0;
  } else if (mode == Round::Down) {
    kept += rest != 0 && negative ? unit : 0;
  }
  return kept;
}

template <Round mode>
inline bf16 toBf16(f32 value) {
  const u32 bits = bitsAs<u32>(value);
  const u16 rounded = static_cast<u16>(roundBits<mode>(bits, 16) >> 16);
  return {(bits & 0x7fff'ffffu) > 0x7f80'0000u ? NAN_16 : rounded};
}

template <Round mode>
inline f16 toF16(f32 value) {
  const u32 bits = bitsAs<u32>(value);
  const u32 sign = bits >> 16 & 0x8000u;
  const u32 magnitude = bits & 0x7fff'ffffu;
  // Normal in binary16: cut the mantissa, then move the exponent to the smaller bias.
  const u32 normal = (roundBits<mode>(bits, 13) & 0x7fff'ffffu) - (112u << 23);
  // Subnormal: units of 2^-24, rounded as an integer.
  const f32 units = bitsAs<f32>(magnitude) * 0x1p24f;
  const bool away = (mode == Round::Up && sign == 0) || (mode == Round::Down && sign != 0);
  u32 subnormal;
  if (mode == Round::Nearest) {
    subnormal = bitsAs<u32>(units + 0x1p23f) - 0x4b00'0000u;  // the sum has units as its last bit
  } else {
    const u32 whole = static_cast<u32>(magnitude < 0x3880'0000u ? units : 0.0f);
    subnormal = whole + (away && static_cast<f32>(whole) != units ? 1 : 0);
  }
  const u32 largest = mode == Round::Nearest || away ? 0x7c00u : 0x7bffu;
  u32 result = magnitude < 0x3880'0000u ? subnormal : normal >> 13;
  // From 65536 on; 65520 and above have already been rounded to it by Nearest.
  result = magnitude >= 0x4780'0000u ? largest : result;
  result = magnitude == 0x7f80'0000u ? 0x7c00u : result;
  return {magnitude > 0x7f80'0000u ? NAN_16 : static_cast<u16>(result | sign)};
}

// ---- Modifiers -----------------------------------------------------------------------------------

// .ftz: subnormal inputs and results become zeros of the same sign.
template <bool on>
inline f32 flush(f32 value) {
  if (!on) return value;
  const u32 bits = bitsAs<u32>(value);
  return bitsAs<f32>((bits & 0x7f80'0000u) == 0 ? bits & 0x8000'0000u : bits);
}

template <bool on, class T>
inline T flush16(T value) {
  constexpr u16 EXPONENT = std::is_same_v<T, f16> ? 0x7c00 : 0x7f80;
  return on && (value.bits & EXPONENT) == 0 ? T{static_cast<u16>(value.bits & 0x8000)} : value;
}

// .sat: clamped to [0, 1], NaN to 0.
template <bool on, class T>
inline T saturate(T value) {
  if (!on) return value;
  return value > T{0} ? (value < T{1} ? value : T{1}) : T{0};
}

inline bool isNan(f32 value) { return value != value; }
inline bool isNan(f64 value) { return value != value; }
inline f32 canonicalNan(f32) { return bitsAs<f32>(NAN_F32); }
inline f64 canonicalNan(f64) { return bitsAs<f64>(u64{0x7fff'ffff'ffff'ffffu}); }

// The result of .f32 arithmetic, which has one NaN, whatever came in.
inline f32 canonical(f32 value) { return isNan(value) ? canonicalNan(value) : value; }

// min and max: a NaN loses against a number, unless propagated (.NaN), and -0 is less than +0.
// Written as selections, not branches, so that loops over lanes become vector code.
template <bool propagate, bool larger, class T>
inline T extremum(T a, T b) {
  using Bits = std::conditional_t<sizeof(T) == 4, u32, u64>;
  const Bits bitsA = bitsAs<Bits>(a);
  const Bits bitsB = bitsAs<Bits>(b);
  T value = (larger ? a > b : a < b) ? a : b;
  // Equal numbers differ in nothing but the signs of zeros.
  value = a == b ? bitsAs<T>(larger ? bitsA & bitsB : bitsA | bitsB) : value;
  value = isNan(a) ? b : value;
  value = isNan(b) ? a : value;
  const bool nan = propagate ? isNan(a) || isNan(b) : isNan(value);
  return nan ? canonicalNan(value) : value;
}

template <bool propagate, class T>
inline T minimum(T a, T b) {
  return extremum<propagate, false>(a, b);
}

template <bool propagate, class T>
inline T maximum(T a, T b) {
  return extremum<propagate, true>(a, b);
}

// ---- Arithmetic rounded as the instruction says --------------------------------------------------

// What the processor computes while another rounding than the usual is set. The operands pass
// through volatile variables so that the compiler computes nothing outside.
template <Round mode, class T, class F>
inline T rounded(F f, T a, T b = T{}, T c = T{}) {
  if constexpr (mode == Round::Nearest) {
    return f(a, b, c);
  } else {
    volatile T x = a;
    volatile T y = b;
    volatile T z = c;
    std::fesetround(mode == Round::Zero ? FE_TOWARDZERO
                    : mode == Round::Up ? FE_UPWARD
                                        : FE_DOWNWARD);
    volatile T value = f(x, y, z);
    std::fesetround(FE_TONEAREST);
    return value;
  }
}

}  // namespace ptx
