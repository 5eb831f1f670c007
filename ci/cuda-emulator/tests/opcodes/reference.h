// Values to try, arithmetic to compare with, and the comparison itself. Nothing here is shared with
// the emulator: 16-bit formats are decoded into and rounded from double by their definition.
#pragma once

#include <cfenv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "device.h"

namespace test {

template <class To, class From>
To bitCast(const From &from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

// ---- Rounding ------------------------------------------------------------------------------------

enum class Rounding { Nearest, Zero, Down, Up };

constexpr Rounding ROUNDINGS[] = {Rounding::Nearest, Rounding::Zero, Rounding::Down, Rounding::Up};

// As a modifier: ".rn", ...
std::string modifier(Rounding rounding);

// f() computed by the processor while it rounds so; f reads its operands from volatile variables.
template <class F>
auto withRounding(Rounding rounding, F f) {
  constexpr int MODES[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
  std::fesetround(MODES[static_cast<int>(rounding)]);
  const volatile auto value = f();
  std::fesetround(FE_TONEAREST);
  return static_cast<std::remove_cv_t<decltype(value)>>(value);
}

// An integer near x, by the rule.
long double roundToInteger(long double x, Rounding rounding);

// ---- 16-bit formats ------------------------------------------------------------------------------

struct Format {
  int fractionBits;
  int smallestExponent;  // of normal numbers
  int largestExponent;
};
constexpr Format HALF_FORMAT{10, -14, 15};
constexpr Format BFLOAT_FORMAT{7, -126, 127};

double decode(std::uint16_t bits, const Format &format);
// The number nearest to x by the rule; x is exact. NaN gives 0x7fff.
std::uint16_t encode(long double x, const Format &format, Rounding rounding = Rounding::Nearest);

inline double decode(Half x) { return decode(x.bits, HALF_FORMAT); }
inline double decode(Bfloat x) { return decode(x.bits, BFLOAT_FORMAT); }
template <class T>
T encodeAs(long double x, Rounding rounding = Rounding::Nearest) {
  return {encode(x, std::is_same_v<T, Half> ? HALF_FORMAT : BFLOAT_FORMAT, rounding)};
}

// ---- Modifiers -----------------------------------------------------------------------------------

// Subnormals become zeros of their sign.
template <class T>
T flushed(T x) {
  return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(T{0}, x) : x;
}
template <class T>
T flushedIf(bool ftz, T x) {
  return ftz ? flushed(x) : x;
}

template <class T>
T saturated(T x) {
  if (std::isnan(x) || x <= 0) return 0;
  return x < 1 ? x : T{1};
}

// ---- Values --------------------------------------------------------------------------------------

template <class T>
struct IsSixteen : std::bool_constant<std::is_same_v<T, Half> || std::is_same_v<T, Bfloat>> {};
template <class T>
struct IsPair : std::bool_constant<std::is_same_v<T, HalfPair> || std::is_same_v<T, BfloatPair>> {};

// Zeros, ones, limits, neighbours of powers of two, subnormals, infinities, NaN, random bits. A few
// of them where several operands are combined.
template <class T>
const std::vector<T> &values();
template <class T>
const std::vector<T> &fewValues();

template <class... T>
std::vector<std::tuple<T...>> product(const std::vector<T> &...lists) {
  std::vector<std::tuple<T...>> tuples;
  const std::size_t sizes[] = {lists.size()...};
  std::size_t total = 1;
  for (const std::size_t size : sizes) total *= size;
  tuples.reserve(total);
  for (std::size_t n = 0; n < total; ++n) {
    std::size_t rest = n;
    const auto pick = [&](const auto &list) {
      const auto &value = list[rest % list.size()];
      rest /= list.size();
      return value;
    };
    // Braces: in order.
    tuples.push_back(std::tuple<T...>{pick(lists)...});
  }
  return tuples;
}

// All combinations of the values of these types, as many as a test can afford.
template <class... A>
std::vector<std::tuple<A...>> combinations() {
  if constexpr (sizeof...(A) <= 2) {
    return product(values<A>()...);
  } else {
    return product(fewValues<A>()...);
  }
}

// ---- Comparison ----------------------------------------------------------------------------------

// The same bits; any NaN is as good as another.
template <class T>
bool same(const T &a, const T &b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
    return std::memcmp(&a, &b, sizeof a) == 0;
  } else if constexpr (IsSixteen<T>::value) {
    return (std::isnan(decode(a)) && std::isnan(decode(b))) || a.bits == b.bits;
  } else if constexpr (IsPair<T>::value) {
    return same(a.low, b.low) && same(a.high, b.high);
  } else {
    return a == b;
  }
}

template <class T>
std::string describe(const T &value) {
  std::ostringstream text;
  if constexpr (IsPair<T>::value) {
    text << "{" << describe(value.low) << ", " << describe(value.high) << "}";
  } else if constexpr (IsSixteen<T>::value) {
    text << decode(value) << std::hex << " (0x" << value.bits << ")";
  } else if constexpr (std::is_same_v<T, float>) {
    text << value << std::hex << " (0x" << bitCast<std::uint32_t>(value) << ")";
  } else if constexpr (std::is_same_v<T, double>) {
    text << value << std::hex << " (0x" << bitCast<std::uint64_t>(value) << ")";
  } else {
    text << +value << std::hex << " (0x"
         << (static_cast<std::uint64_t>(value) & (~std::uint64_t{0} >> (64 - 8 * sizeof value)))
         << ")";
  }
  return text.str();
}

// Instructions on %a0, %a1, ... against a function of the same arguments; accept(actual, expected,
// arguments...) decides.
template <class R, class... A, class F, class Accept>
void expectWithin(const std::string &instructions, const std::vector<std::tuple<A...>> &arguments,
                  F reference, Accept accept) {
  const std::vector<R> results = evaluate<R>(instructions, arguments);
  for (std::size_t n = 0; n < arguments.size(); ++n) {
    const R expected = std::apply(reference, arguments[n]);
    const bool good =
        std::apply([&](const A &...a) { return accept(results[n], expected, a...); }, arguments[n]);
    check(good, __FILE__, __LINE__, [&] {
      std::string text = instructions + "  with";
      std::apply([&](const A &...a) { ((text += " " + describe(a)), ...); }, arguments[n]);
      return text + " gives " + describe(results[n]) + ", not " + describe(expected);
    });
  }
}

template <class R, class... A, class F>
void expectAll(const std::string &instructions, const std::vector<std::tuple<A...>> &arguments,
               F reference) {
  expectWithin<R>(
      instructions, arguments, reference,
      [](const R &actual, const R &expected, const A &...) { return same(actual, expected); });
}

// "add.s32" becomes "add.s32 %d, %a0, %a1;".
std::string spell(const std::string &opcode, std::size_t arguments);

template <class R, class... A, class F>
void expect(const std::string &opcode, F reference) {
  expectAll<R>(spell(opcode, sizeof...(A)), combinations<A...>(), reference);
}

}  // namespace test
