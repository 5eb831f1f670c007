// Arithmetic of .f32 and .f64. Rounded operations are compared bit by bit with the processor's own
// in the same rounding mode, approximate ones by the error that the PTX ISA allows them.
#include <algorithm>
#include <functional>

#include "reference.h"

using namespace test;

namespace {

std::string suffix(bool ftz, bool sat, const char *type) {
  return std::string(ftz ? ".ftz" : "") + (sat ? ".sat" : "") + "." + type;
}

// Operations that round once, in all their spellings: no modifier means .rn.
template <class T>
void rounded(bool ftz, bool sat, const char *type) {
  const auto in = [ftz](T x) { return flushedIf(ftz, x); };
  const auto out = [ftz, sat](T x) {
    const T kept = flushedIf(ftz, x);
    return sat ? saturated(kept) : kept;
  };
  const std::string rest = suffix(ftz, sat, type);
  for (const Rounding rounding : ROUNDINGS) {
    const std::string round = modifier(rounding);
    std::vector<std::string> spellings = {round};
    if (rounding == Rounding::Nearest) spellings.push_back("");
    for (const std::string &spelling : spellings) {
      expect<T, T, T>("add" + spelling + rest, [&](T a, T b) {
        const volatile T x = in(a), y = in(b);
        return out(withRounding(rounding, [&] { return x + y; }));
      });
      expect<T, T, T>("sub" + spelling + rest, [&](T a, T b) {
        const volatile T x = in(a), y = in(b);
        return out(withRounding(rounding, [&] { return x - y; }));
      });
      expect<T, T, T>("mul" + spelling + rest, [&](T a, T b) {
        const volatile T x = in(a), y = in(b);
        return out(withRounding(rounding, [&] { return x * y; }));
      });
    }
    for (const char *name : {"fma", "mad"}) {
      expect<T, T, T, T>(name + round + rest, [&](T a, T b, T c) {
        const volatile T x = in(a), y = in(b), z = in(c);
        return out(withRounding(rounding, [&] { return std::fma(T{x}, T{y}, T{z}); }));
      });
    }
    if (sat) continue;
    expect<T, T, T>("div" + round + rest, [&](T a, T b) {
      const volatile T x = in(a), y = in(b);
      return out(withRounding(rounding, [&] { return x / y; }));
    });
    expect<T, T>("rcp" + round + rest, [&](T a) {
      const volatile T x = in(a);
      return out(withRounding(rounding, [&] { return 1 / x; }));
    });
    expect<T, T>("sqrt" + round + rest, [&](T a) {
      const volatile T x = in(a);
      return out(withRounding(rounding, [&] { return std::sqrt(T{x}); }));
    });
  }
}

// Source: PTX ISA, "min" and "max": a NaN loses against a number, or with .NaN wins; -0 < +0.
template <class T>
T extremum(T a, T b, bool larger, bool nan) {
  if (std::isnan(a) || std::isnan(b)) {
    if (nan || (std::isnan(a) && std::isnan(b))) return std::numeric_limits<T>::quiet_NaN();
    return std::isnan(a) ? b : a;
  }
  if (a == b) return std::signbit(a) == larger ? b : a;
  return (a > b) == larger ? a : b;
}

template <class T>
void exact(bool ftz, const char *type) {
  const auto in = [ftz](T x) { return flushedIf(ftz, x); };
  const std::string rest = suffix(ftz, false, type);
  expect<T, T>("neg" + rest, [&](T a) { return -in(a); });
  expect<T, T>("abs" + rest, [&](T a) { return std::fabs(in(a)); });
  for (const bool larger : {false, true}) {
    for (const bool nan : {false, true}) {
      if (nan && std::is_same_v<T, double>) continue;
      const std::string name =
          std::string(larger ? "max" : "min") + (ftz ? ".ftz" : "") + (nan ? ".NaN." : ".") + type;
      expect<T, T, T>(name, [&](T a, T b) { return extremum(in(a), in(b), larger, nan); });
    }
  }
}

template <class T>
void tested(const std::string &type) {
  const auto expectTest = [&](const std::string &test, std::function<bool(T)> reference) {
    expect<bool, T>("testp." + test + "." + type, reference);
  };
  expectTest("finite", [](T a) { return std::isfinite(a); });
  expectTest("infinite", [](T a) { return std::isinf(a); });
  expectTest("number", [](T a) { return !std::isnan(a); });
  expectTest("notanumber", [](T a) { return std::isnan(a); });
  // "As a special case, positive and negative zero are considered normal numbers."
  expectTest("normal", [](T a) { return a == 0 || std::isnormal(a); });
  expectTest("subnormal", [](T a) { return std::fpclassify(a) == FP_SUBNORMAL; });
  expect<T, T, T>("copysign." + type, [](T a, T b) { return std::copysign(b, a); });
}

// An approximate operation: what is not finite, and zeros, must be right; the rest as near as said,
// in units in the last place of the result or as an absolute error.
struct Allowance {
  double ulps;
  double absolute = 0;
};

bool near(float actual, double exact, bool ftz, Allowance allowance) {
  const float rounded = flushedIf(ftz, static_cast<float>(exact));
  if (same(actual, rounded)) return true;
  if (!std::isfinite(actual) || !std::isfinite(rounded)) return false;
  const double smallest = std::numeric_limits<float>::denorm_min();
  const double ulp =
      exact == 0 ? smallest : std::max(std::ldexp(1.0, std::ilogb(exact) - 23), smallest);
  const double allowed = std::max(allowance.ulps * ulp, allowance.absolute);
  // A result on the edge of what is flushed may come out as either.
  const double flushable = ftz ? std::numeric_limits<float>::min() * 1.0001 : 0;
  if (std::fabs(exact) <= flushable && actual == 0) return true;
  return std::fabs(actual - exact) <= allowed;
}

template <class F>
void approximate(const std::string &name, bool ftz, Allowance allowance, F reference,
                 const std::vector<std::tuple<float>> &arguments) {
  expectWithin<float>(
      name + suffix(ftz, false, "f32") + " %d, %a0;", arguments,
      [&](float a) { return static_cast<float>(reference(flushedIf(ftz, a))); },
      [&](float actual, float, float a) {
        return near(actual, reference(flushedIf(ftz, a)), ftz, allowance);
      });
}

// A sweep over magnitudes and signs, with the special values.
std::vector<std::tuple<float>> sweep(double least, double most) {
  std::vector<std::tuple<float>> list = combinations<float>();
  list.erase(std::remove_if(list.begin(), list.end(),
                            [&](const auto &x) {
                              const double a = std::fabs(std::get<0>(x));
                              return std::isfinite(a) && a != 0 && (a < least || a > most);
                            }),
             list.end());
  for (int k = 0; k <= 2000; ++k) {
    const auto magnitude = static_cast<float>(least * std::pow(most / least, k / 2000.0));
    list.push_back({magnitude});
    list.push_back({-magnitude});
  }
  return list;
}

}  // namespace

TEST("f32 arithmetic") {
  for (const bool ftz : {false, true}) {
    for (const bool sat : {false, true}) rounded<float>(ftz, sat, "f32");
    exact<float>(ftz, "f32");
  }
}

TEST("f64 arithmetic") {
  rounded<double>(false, false, "f64");
  exact<double>(false, "f64");
}

// Source: PTX ISA, "Floating Point Instructions": single-precision instructions that give NaN give
// the canonical NaN 0x7fffffff, and payloads are lost.
TEST("the bits of NaN in f32 results") {
  constexpr std::uint32_t ZERO = 0, ONE = 0x3f80'0000, INFINITE = 0x7f80'0000,
                          NEGATIVE = 0xff80'0000, PAYLOAD = 0xffc1'2345, SIGNALLING = 0x7f80'0001;
  const auto expectNan = [](const std::string &opcode, auto... bits) {
    const std::vector<std::tuple<decltype(bits)...>> arguments{{bits...}};
    const auto result = evaluate<std::uint32_t>(spell(opcode, sizeof...(bits)), arguments)[0];
    check(result == 0x7fff'ffff, __FILE__, __LINE__,
          [&] { return opcode + " gives NaN as 0x" + describe(result); });
  };
  for (const std::string ftz : {"", ".ftz"}) {
    const std::string type = ftz + ".f32";
    for (const std::string round : {".rn", ".rz", ".rm", ".rp"}) {
      expectNan("add" + round + type, INFINITE, NEGATIVE);
      expectNan("sub" + round + type, INFINITE, INFINITE);
      expectNan("mul" + round + type, ZERO, INFINITE);
      expectNan("div" + round + type, ZERO, ZERO);
      expectNan("fma" + round + type, ZERO, INFINITE, ONE);
      expectNan("sqrt" + round + type, NEGATIVE);
      for (const std::uint32_t nan : {PAYLOAD, SIGNALLING}) {
        for (const char *op : {"add", "sub", "mul", "div"}) {
          expectNan(op + round + type, nan, ONE);
          expectNan(op + round + type, ONE, nan);
        }
        expectNan("fma" + round + type, ONE, ONE, nan);
        expectNan("rcp" + round + type, nan);
      }
    }
    for (const char *op : {"rcp", "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos"}) {
      expectNan(op + (".approx" + type), PAYLOAD);
    }
    for (const char *op : {"sqrt", "rsqrt", "lg2"}) expectNan(op + (".approx" + type), NEGATIVE);
    for (const char *op : {"sin", "cos"}) expectNan(op + (".approx" + type), INFINITE);
    for (const char *op : {"div.approx", "div.full"}) {
      expectNan(op + type, ZERO, ZERO);
      expectNan(op + type, PAYLOAD, ONE);
    }
  }
  expectNan("tanh.approx.f32", PAYLOAD);
}

TEST("testp and copysign") {
  tested<float>("f32");
  tested<double>("f64");
}

// Source of the allowances: PTX ISA, "Floating Point Instructions": rcp and div.approx 1 and 2 ulp,
// sqrt and rsqrt relative 2^-23 and 2^-22.9, ex2 2 ulp, lg2 absolute 2^-22 near 1 and relative
// elsewhere, sin and cos 2^-20.5 in [-pi, pi], tanh relative 2^-11.
TEST("approximate f32 functions") {
  for (const bool ftz : {false, true}) {
    approximate(
        "rcp.approx", ftz, {1}, [](double a) { return 1 / a; }, sweep(1e-44, 3e38));
    approximate(
        "sqrt.approx", ftz, {1.01}, [](double a) { return std::sqrt(a); }, sweep(1e-44, 3e38));
    approximate(
        "rsqrt.approx", ftz, {2}, [](double a) { return 1 / std::sqrt(a); }, sweep(1e-44, 3e38));
    approximate(
        "ex2.approx", ftz, {2}, [](double a) { return std::exp2(a); }, sweep(1e-44, 200));
    approximate(
        "lg2.approx", ftz, {1, std::ldexp(1, -22)}, [](double a) { return std::log2(a); },
        sweep(1e-44, 3e38));
    const double trigonometric = std::pow(2, -20.5);
    approximate(
        "sin.approx", ftz, {0, trigonometric}, [](double a) { return std::sin(a); },
        sweep(1e-44, 3.14159));
    approximate(
        "cos.approx", ftz, {0, trigonometric}, [](double a) { return std::cos(a); },
        sweep(1e-44, 3.14159));
    for (const char *division : {"div.approx", "div.full"}) {
      // For divisors of a size between 2^-126 and 2^126; larger ones have their own rule.
      std::vector<std::tuple<float, float>> pairs;
      for (const auto &pair : combinations<float, float>()) {
        const float b = std::fabs(std::get<1>(pair));
        if (!std::isfinite(b) || b == 0 || (b >= 1.2e-38f && b <= 8.5e37f)) pairs.push_back(pair);
      }
      const auto quotient = [ftz](float a, float b) {
        return static_cast<double>(flushedIf(ftz, a)) / static_cast<double>(flushedIf(ftz, b));
      };
      expectWithin<float>(
          division + suffix(ftz, false, "f32") + " %d, %a0, %a1;", pairs,
          [&](float a, float b) { return static_cast<float>(quotient(a, b)); },
          [&](float actual, float, float a, float b) {
            return near(actual, quotient(a, b), ftz, {2});
          });
    }
  }
  // Source: PTX ISA, "div": for divisors of a size between 2^126 and 2^128 div.approx gives 0, or NaN
  // if the dividend is an infinity.
  for (const bool ftz : {false, true}) {
    const auto large = product<float, float>(values<float>(), {8.6e37f, -1.7e38f, 3.4e38f});
    expectWithin<float>(
        "div.approx" + suffix(ftz, false, "f32") + " %d, %a0, %a1;", large,
        [](float a, float) { return std::isfinite(a) ? 0 : std::nanf(""); },
        [](float actual, float expected, float, float) {
          return actual == expected || (std::isnan(actual) && std::isnan(expected));
        });
  }
  const double relative = std::ldexp(1, -11);
  expectWithin<float>(
      "tanh.approx.f32 %d, %a0;", sweep(1e-44, 100), [](float a) { return std::tanh(a); },
      [&](float actual, float expected, float) {
        return same(actual, expected) ||
               std::fabs(actual - expected) <= relative * std::fabs(expected);
      });
}

// rcp.approx.ftz.f64 and its rsqrt take the upper 32 bits of their operand for the whole and give
// the lower 32 bits of the result as zeros: 20 bits of mantissa, with one unit of error in the last.
TEST("approximate f64 functions") {
  const double relative = std::ldexp(1, -19);
  const auto upper = [](double a) {
    return flushed(bitCast<double>(bitCast<std::uint64_t>(a) & 0xffff'ffff'0000'0000u));
  };
  const auto accept = [&](double actual, double expected, double) {
    if (same(actual, expected)) return true;
    // A NaN that lives in the lower half alone looks like an infinity.
    const bool coarse = (bitCast<std::uint64_t>(actual) & 0xffff'ffff) == 0;
    if (flushed(expected) == 0) return actual == 0;
    return coarse && std::fabs(actual - expected) <= relative * std::fabs(expected);
  };
  expectWithin<double>(
      "rcp.approx.ftz.f64 %d, %a0;", combinations<double>(),
      [&](double a) { return flushed(1 / upper(a)); }, accept);
  expectWithin<double>(
      "rsqrt.approx.ftz.f64 %d, %a0;", combinations<double>(),
      [&](double a) { return 1 / std::sqrt(upper(a)); }, accept);
  expectWithin<double>(
      "rsqrt.approx.f64 %d, %a0;", combinations<double>(),
      [](double a) { return 1 / std::sqrt(a); },
      [](double actual, double expected, double) {
        return same(actual, expected) ||
               std::fabs(actual - expected) <= std::ldexp(std::fabs(expected), -20);
      });
}
