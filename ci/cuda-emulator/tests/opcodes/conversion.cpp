// cvt. Integers and floats become a long double, which holds each of them exactly, and are rounded
// from there by the rule in the name.
#include <algorithm>

#include "reference.h"

using namespace test;

namespace {

template <class T>
std::string nameOf() {
  if constexpr (std::is_same_v<T, Half>) {
    return "f16";
  } else if constexpr (std::is_same_v<T, Bfloat>) {
    return "bf16";
  } else if constexpr (std::is_floating_point_v<T>) {
    return sizeof(T) == 4 ? "f32" : "f64";
  } else {
    return (std::is_signed_v<T> ? "s" : "u") + std::to_string(8 * sizeof(T));
  }
}

template <class T>
long double exactly(T x, bool ftz = false) {
  if constexpr (IsSixteen<T>::value) {
    return decode(x);
  } else if constexpr (std::is_same_v<T, float>) {
    return flushedIf(ftz, x);
  } else {
    return x;
  }
}

template <class T>
T roundedTo(long double x, Rounding rounding) {
  if constexpr (IsSixteen<T>::value) {
    return encodeAs<T>(x, rounding);
  } else {
    const volatile long double value = x;
    return withRounding(rounding, [&] { return static_cast<T>(value); });
  }
}

// The result of a narrow type in a register of 32 bits: its sign or zeros above it.
template <class D, class S, class F>
void expectConversion(const std::string &name, F reference) {
  if constexpr (sizeof(D) == 1 || sizeof(S) == 1) {
    // 8-bit types stand in the lower bits of wider registers, and what lies above counts for nothing.
    using Source = std::conditional_t<sizeof(S) == 1, std::uint32_t, S>;
    using Result = std::conditional_t<sizeof(D) == 1, std::uint32_t, D>;
    expect<Result, Source>(name, [&](Source a) {
      if constexpr (sizeof(D) == 1) {
        return static_cast<Result>(std::int32_t{reference(static_cast<S>(a))});
      } else {
        return reference(static_cast<S>(a));
      }
    });
  } else {
    expect<D, S>(name, reference);
  }
}

template <class D>
D clamped(long double x) {
  const auto least = static_cast<long double>(std::numeric_limits<D>::min());
  const auto most = static_cast<long double>(std::numeric_limits<D>::max());
  return static_cast<D>(std::min(std::max(x, least), most));
}

template <class D, class S>
void betweenIntegers() {
  const std::string types = nameOf<D>() + "." + nameOf<S>();
  expectConversion<D, S>("cvt." + types, [](S a) { return static_cast<D>(a); });
  expectConversion<D, S>("cvt.sat." + types, [](S a) { return clamped<D>(exactly(a)); });
}

// Source: PTX ISA, "cvt": "cvt.*i" rounds to an integer; out of range is clamped; NaN is
// 0 if the source is not .f64 and the destination not of 64 bits, else 1 << (its width - 1).
template <class D, class S>
void toInteger(bool ftz) {
  constexpr const char *MODES[] = {".rni", ".rzi", ".rmi", ".rpi"};
  for (const Rounding rounding : ROUNDINGS) {
    for (const char *sat : {"", ".sat"}) {
      expectConversion<D, S>(
          "cvt" + std::string(MODES[static_cast<int>(rounding)]) + (ftz ? ".ftz" : "") + sat + "." +
              nameOf<D>() + "." + nameOf<S>(),
          [&](S a) {
            const long double x = exactly(a, ftz);
            if (std::isnan(x)) {
              const bool wide = std::is_same_v<S, double> || sizeof(D) == 8;
              return static_cast<D>(wide ? std::uint64_t{1} << (8 * sizeof(D) - 1) : 0);
            }
            return clamped<D>(roundToInteger(x, rounding));
          });
    }
  }
}

template <class D, class S>
void toFloat(bool ftz = false, bool sat = false) {
  for (const Rounding rounding : ROUNDINGS) {
    const std::string name = "cvt" + modifier(rounding) + (ftz ? ".ftz" : "") +
                             (sat ? ".sat" : "") + "." + nameOf<D>() + "." + nameOf<S>();
    expectConversion<D, S>(name, [&](S a) {
      const long double x = exactly(a, ftz);
      D d = roundedTo<D>(sat ? saturated(x) : x, rounding);
      if constexpr (std::is_same_v<D, float>) d = flushedIf(ftz, d);
      return d;
    });
  }
}

// To an integer, but in the same format.
template <class T>
void toIntegral(bool ftz, bool sat) {
  constexpr const char *MODES[] = {".rni", ".rzi", ".rmi", ".rpi"};
  for (const Rounding rounding : ROUNDINGS) {
    const std::string type = nameOf<T>();
    expect<T, T>("cvt" + std::string(MODES[static_cast<int>(rounding)]) + (ftz ? ".ftz" : "") +
                     (sat ? ".sat" : "") + "." + type + "." + type,
                 [&](T a) {
                   const long double x = exactly(a, ftz);
                   // What has no fraction, and zeros with their sign, stay.
                   const bool kept = std::isnan(x) || std::isinf(x) || x == 0;
                   const long double whole =
                       kept ? x : std::copysign(roundToInteger(x, rounding), x);
                   return roundedTo<T>(sat ? saturated(whole) : whole, Rounding::Nearest);
                 });
  }
}

template <class D, class S>
void widened(const std::string &modifiers, bool ftz, bool sat) {
  expect<D, S>("cvt" + modifiers + "." + nameOf<D>() + "." + nameOf<S>(), [&](S a) {
    const long double x = exactly(a, ftz);
    D d = roundedTo<D>(sat ? saturated(x) : x, Rounding::Nearest);
    if constexpr (std::is_same_v<D, float>) d = flushedIf(ftz, d);
    return d;
  });
}

template <class T>
void integer() {
  betweenIntegers<T, std::uint8_t>();
  betweenIntegers<T, std::int8_t>();
  betweenIntegers<T, std::uint16_t>();
  betweenIntegers<T, std::int16_t>();
  betweenIntegers<T, std::uint32_t>();
  betweenIntegers<T, std::int32_t>();
  betweenIntegers<T, std::uint64_t>();
  betweenIntegers<T, std::int64_t>();
  toInteger<T, float>(false);
  toInteger<T, float>(true);
  toInteger<T, double>(false);
  toInteger<T, Half>(false);
  toFloat<float, T>();
  toFloat<double, T>();
  toFloat<Half, T>();
}

template <class P, class T>
void packed(const std::string &type) {
  for (const Rounding rounding : {Rounding::Nearest, Rounding::Zero}) {
    for (const bool relu : {false, true}) {
      expect<P, float, float>("cvt" + modifier(rounding) + (relu ? ".relu." : ".") + type + ".f32",
                              [&](float a, float b) {
                                const auto convert = [&](float x) {
                                  // .relu: negative results become 0; NaN stays NaN.
                                  return encodeAs<T>(relu && x <= 0 ? 0 : x, rounding);
                                };
                                return P{convert(b), convert(a)};
                              });
    }
  }
}

}  // namespace

TEST("conversions from and to integers") {
  integer<std::uint8_t>();
  integer<std::int8_t>();
  integer<std::uint16_t>();
  integer<std::int16_t>();
  integer<std::uint32_t>();
  integer<std::int32_t>();
  integer<std::uint64_t>();
  integer<std::int64_t>();
}

namespace {

// In registers of 64 bits on both sides: what lies above the source counts for nothing, and the
// result is extended by its sign or by zeros.
template <class D, class S>
void inWideRegisters() {
  using Wide = std::uint64_t;
  expect<Wide, Wide>("cvt." + nameOf<D>() + "." + nameOf<S>(), [](Wide a) {
    const auto d = static_cast<D>(static_cast<S>(a));
    return std::is_signed_v<D>
               ? static_cast<Wide>(std::int64_t{static_cast<std::make_signed_t<D>>(d)})
               : static_cast<Wide>(d);
  });
}

template <class D>
void inWideRegisters() {
  inWideRegisters<D, std::uint8_t>();
  inWideRegisters<D, std::int8_t>();
  inWideRegisters<D, std::uint16_t>();
  inWideRegisters<D, std::int16_t>();
  inWideRegisters<D, std::uint32_t>();
  inWideRegisters<D, std::int32_t>();
}

}  // namespace

TEST("conversions in registers wider than their types") {
  inWideRegisters<std::uint8_t>();
  inWideRegisters<std::int8_t>();
  inWideRegisters<std::uint16_t>();
  inWideRegisters<std::int16_t>();
  inWideRegisters<std::uint32_t>();
  inWideRegisters<std::int32_t>();
}

TEST("conversions between floats") {
  widened<float, Half>("", false, false);
  widened<float, Half>(".ftz", false, false);
  widened<double, Half>("", false, false);
  widened<float, Bfloat>("", false, false);
  widened<double, float>("", false, false);
  widened<double, float>(".ftz", true, false);
  for (const bool sat : {false, true}) {
    const std::string saturates = sat ? ".sat" : "";
    widened<float, float>(saturates, false, sat);
    widened<float, float>(".ftz" + saturates, true, sat);
    widened<double, double>(saturates, false, sat);
    widened<Half, Half>(saturates, false, sat);
    toFloat<float, double>(false, sat);
    toFloat<Half, float>(false, sat);
    for (const bool ftz : {false, true}) toIntegral<float>(ftz, sat);
    toIntegral<double>(false, sat);
  }
  toFloat<float, double>(true);
  toFloat<Half, float>(true);
  toFloat<Half, double>();
  toFloat<Bfloat, float>();
  toIntegral<Half>(false, false);
}

TEST("conversions of pairs") {
  packed<HalfPair, Half>("f16x2");
  packed<BfloatPair, Bfloat>("bf16x2");
}

// Half of all 16-bit numbers are too many for values(); a cvt takes them all.
TEST("all 16-bit floats, and the values next to the middle between them") {
  std::vector<std::tuple<Half>> halves;
  std::vector<std::tuple<Bfloat>> bfloats;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    halves.push_back({Half{static_cast<std::uint16_t>(bits)}});
    bfloats.push_back({Bfloat{static_cast<std::uint16_t>(bits)}});
  }
  expectAll<float>("cvt.f32.f16 %d, %a0;", halves,
                   [](Half a) { return static_cast<float>(decode(a)); });
  expectAll<float>("cvt.f32.bf16 %d, %a0;", bfloats,
                   [](Bfloat a) { return static_cast<float>(decode(a)); });
  const auto between = [](const Format &format) {
    std::vector<std::tuple<float>> list;
    for (std::uint32_t bits = 0; bits < 0x8000; bits += 5) {
      const double low = decode(static_cast<std::uint16_t>(bits), format);
      const double high = decode(static_cast<std::uint16_t>(bits + 1), format);
      if (!std::isfinite(high)) continue;
      const auto middle = static_cast<float>((low + high) / 2);
      for (const float x : {middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e30f)}) {
        list.push_back({x});
        list.push_back({-x});
      }
    }
    return list;
  };
  for (const Rounding rounding : ROUNDINGS) {
    expectAll<Half>("cvt" + modifier(rounding) + ".f16.f32 %d, %a0;", between(HALF_FORMAT),
                    [&](float a) { return encodeAs<Half>(a, rounding); });
    expectAll<Bfloat>("cvt" + modifier(rounding) + ".bf16.f32 %d, %a0;", between(BFLOAT_FORMAT),
                      [&](float a) { return encodeAs<Bfloat>(a, rounding); });
  }
}

// Source: PTX ISA, "cvt.rna.tf32.f32": to 10 bits of mantissa, ties away from zero.
TEST("tf32") {
  const auto reference = [](float a) {
    if (!std::isfinite(a) || a == 0) return a;
    const int unit = std::max(std::ilogb(a), -126) - 10;
    const double units = std::ldexp(static_cast<double>(a), -unit);
    const double magnitude = std::ldexp(std::floor(std::fabs(units) + 0.5), unit);
    return static_cast<float>(std::copysign(magnitude, static_cast<double>(a)));
  };
  std::vector<std::tuple<float>> list = combinations<float>();
  for (std::uint32_t bits = 0x3f801000; bits < 0x3f808000; bits += 0x800) {
    for (const std::uint32_t near : {bits - 1, bits, bits + 1})
      list.push_back({bitCast<float>(near)});
  }
  expectAll<float>("cvt.rna.tf32.f32 %d, %a0;", list, reference);
}
