// Arithmetic of .f16, .bf16 and their pairs, against sums and products in long double that round
// once.
#include <algorithm>

#include "reference.h"

using namespace test;

namespace {

// a + b, or beside it and on the right side of everything that 16 bits can tell apart.
long double sum(long double a, long double b) {
  const long double s = a + b;
  if (!std::isfinite(s)) return s;
  const long double part = s - a;
  const long double lost = (a - (s - part)) + (b - part);
  // Only where s has few bits can it be a number, or the middle between two, of a 16-bit format.
  if (lost == 0 || static_cast<float>(s) != s) return s;
  return std::nextafter(s, lost > 0 ? HUGE_VALL : -HUGE_VALL);
}

template <class T>
T flushedIf16(bool ftz, T a) {
  const std::uint16_t exponent = std::is_same_v<T, Half> ? 0x7c00 : 0x7f80;
  if (ftz && (a.bits & exponent) == 0) a.bits &= 0x8000;
  return a;
}

template <class T>
constexpr const char *NAME = std::is_same_v<T, Half> ? "f16" : "bf16";

template <class T>
using PairOf = std::conditional_t<std::is_same_v<T, Half>, HalfPair, BfloatPair>;

// One function of numbers, for the opcode and for its twin that takes pairs.
template <class T, class F>
void both1(const std::string &name, F f) {
  expect<T, T>(name + "." + NAME<T>, f);
  using P = PairOf<T>;
  expect<P, P>(name + "." + NAME<T> + "x2", [&](P a) { return P{f(a.low), f(a.high)}; });
}

template <class T, class F>
void both2(const std::string &name, F f) {
  expect<T, T, T>(name + "." + NAME<T>, f);
  using P = PairOf<T>;
  expect<P, P, P>(name + "." + NAME<T> + "x2", [&](P a, P b) {
    return P{f(a.low, b.low), f(a.high, b.high)};
  });
}

template <class T, class F>
void both3(const std::string &name, F f) {
  expect<T, T, T, T>(name + "." + NAME<T>, f);
  using P = PairOf<T>;
  expect<P, P, P, P>(name + "." + NAME<T> + "x2", [&](P a, P b, P c) {
    return P{f(a.low, b.low, c.low), f(a.high, b.high, c.high)};
  });
}

template <class T>
void arithmetic(bool ftz, bool sat) {
  const std::string modifiers = std::string(ftz ? ".ftz" : "") + (sat ? ".sat" : "");
  const auto in = [ftz](T a) { return static_cast<long double>(decode(flushedIf16(ftz, a))); };
  const auto out = [ftz, sat](long double x) {
    return flushedIf16(ftz, encodeAs<T>(sat ? saturated(x) : x));
  };
  for (const char *round : {"", ".rn"}) {
    both2<T>("add" + (round + modifiers), [&](T a, T b) { return out(sum(in(a), in(b))); });
    both2<T>("sub" + (round + modifiers), [&](T a, T b) { return out(sum(in(a), -in(b))); });
    both2<T>("mul" + (round + modifiers), [&](T a, T b) { return out(in(a)*in(b)); });
  }
  both3<T>("fma.rn" + modifiers, [&](T a, T b, T c) { return out(sum(in(a)*in(b), in(c))); });
  if (sat) return;
  both3<T>("fma.rn" + modifiers + ".relu", [&](T a, T b, T c) {
    const long double x = sum(in(a)*in(b), in(c));
    return out(x <= 0 ? 0 : x);
  });
  both1<T>("neg" + modifiers,
           [&](T a) { return T{static_cast<std::uint16_t>(flushedIf16(ftz, a).bits ^ 0x8000)}; });
  both1<T>("abs" + modifiers,
           [&](T a) { return T{static_cast<std::uint16_t>(flushedIf16(ftz, a).bits & 0x7fff)}; });
  for (const bool larger : {false, true}) {
    for (const bool nan : {false, true}) {
      both2<T>((larger ? "max" : "min") + modifiers + (nan ? ".NaN" : ""), [&](T a, T b) {
        const long double x = in(a), y = in(b);
        if (std::isnan(x) || std::isnan(y)) {
          if (nan || (std::isnan(x) && std::isnan(y))) return T{0x7fff};
          return std::isnan(x) ? flushedIf16(ftz, b) : flushedIf16(ftz, a);
        }
        // "+0.0 > -0.0"
        const bool first = x == y ? std::signbit(x) != larger : (x > y) == larger;
        return flushedIf16(ftz, first ? a : b);
      });
    }
  }
}

// Within an error relative to the result, or of a few units of the smallest number.
template <class T, class F>
void approximate(const std::string &name, double relative, bool ftz, F f) {
  const auto near = [&](T actual, T a) {
    const double x = decode(flushedIf16(ftz, a));
    const T exact = flushedIf16(ftz, encodeAs<T>(f(x)));
    if (same(actual, exact)) return true;
    const double smallest = decode(T{1});
    return std::fabs(decode(actual) - f(x)) <= std::max(relative * std::fabs(f(x)), 2 * smallest);
  };
  expectWithin<T>(
      name + "." + NAME<T> + " %d, %a0;", combinations<T>(),
      [&](T a) { return encodeAs<T>(f(decode(a))); },
      [&](T actual, T, T a) { return near(actual, a); });
  using P = PairOf<T>;
  expectWithin<P>(
      name + "." + NAME<T> + "x2 %d, %a0;", combinations<P>(),
      [&](P a) {
        return P{encodeAs<T>(f(decode(a.low))), encodeAs<T>(f(decode(a.high)))};
      },
      [&](P actual, P, P a) { return near(actual.low, a.low) && near(actual.high, a.high); });
}

}  // namespace

TEST("f16 arithmetic") {
  for (const bool ftz : {false, true}) {
    for (const bool sat : {false, true}) arithmetic<Half>(ftz, sat);
  }
}

TEST("bf16 arithmetic") { arithmetic<Bfloat>(false, false); }

// Source of the errors: PTX ISA: ex2.approx of f16 relative 2^-9.9, of bf16 2^-7; tanh.approx of f16
// absolute 2^-10.987, of bf16 2^-8.
TEST("approximate functions of 16-bit floats") {
  const auto exp2 = [](double x) { return std::exp2(x); };
  const auto tanh = [](double x) { return std::tanh(x); };
  approximate<Half>("ex2.approx", std::pow(2, -9.9), false, exp2);
  approximate<Bfloat>("ex2.approx.ftz", std::pow(2, -7), true, exp2);
  approximate<Half>("tanh.approx", std::pow(2, -10), false, tanh);
  approximate<Bfloat>("tanh.approx", std::pow(2, -8), false, tanh);
}
