// .f32 and .f64 arithmetic. Results of .rn, .rz, .rm and .rp are exact in the sense of IEEE 754; the
// .approx functions of a GPU come within a few units in the last place, and here they are what the C
// library gives, which is closer. Where a .f32 result is NaN it is the one NaN that GPUs give; .f64
// keeps the payloads of its operands.

#include <cmath>

#include "operations.h"

namespace ptx {

namespace {

// ---- f32 with .ftz and .sat ----------------------------------------------------------------------

template <bool ftz, bool sat = false>
f32 finish(f32 value) {
  return canonical(saturate<sat>(flush<ftz>(value)));
}

template <Round mode, bool ftz, bool sat>
void addRounded(OperationTable &t, const std::string &round, const std::string &suffix) {
  const auto name = [&](const char *op) { return op + round + suffix; };
  t.pure<f32, f32, f32>(name("add"), [](f32 a, f32 b) {
    const auto f = [](f32 x, f32 y, f32) { return x + y; };
    return finish<ftz, sat>(rounded<mode>(f, flush<ftz>(a), flush<ftz>(b)));
  });
  t.pure<f32, f32, f32>(name("sub"), [](f32 a, f32 b) {
    const auto f = [](f32 x, f32 y, f32) { return x - y; };
    return finish<ftz, sat>(rounded<mode>(f, flush<ftz>(a), flush<ftz>(b)));
  });
  t.pure<f32, f32, f32>(name("mul"), [](f32 a, f32 b) {
    const auto f = [](f32 x, f32 y, f32) { return x * y; };
    return finish<ftz, sat>(rounded<mode>(f, flush<ftz>(a), flush<ftz>(b)));
  });
  if (round.empty()) return;  // fma names its rounding always
  for (const char *op : {"fma", "mad"}) {
    t.pure<f32, f32, f32, f32>(name(op), [](f32 a, f32 b, f32 c) {
      const auto f = [](f32 x, f32 y, f32 z) { return std::fma(x, y, z); };
      return finish<ftz, sat>(rounded<mode>(f, flush<ftz>(a), flush<ftz>(b), flush<ftz>(c)));
    });
  }
  if (sat) return;
  t.pure<f32, f32, f32>(name("div"), [](f32 a, f32 b) {
    const auto f = [](f32 x, f32 y, f32) { return x / y; };
    return finish<ftz>(rounded<mode>(f, flush<ftz>(a), flush<ftz>(b)));
  });
  t.pure<f32, f32>(name("rcp"), [](f32 a) {
    const auto f = [](f32 x, f32, f32) { return 1.0f / x; };
    return finish<ftz>(rounded<mode>(f, flush<ftz>(a)));
  });
  t.pure<f32, f32>(name("sqrt"), [](f32 a) {
    const auto f = [](f32 x, f32, f32) { return std::sqrt(x); };
    return finish<ftz>(rounded<mode>(f, flush<ftz>(a)));
  });
}

template <bool ftz, bool sat>
void addRounded(OperationTable &t) {
  const std::string suffix = std::string(ftz ? ".ftz" : "") + (sat ? ".sat" : "") + ".f32";
  addRounded<Round::Nearest, ftz, sat>(t, "", suffix);
  addRounded<Round::Nearest, ftz, sat>(t, ".rn", suffix);
  addRounded<Round::Zero, ftz, sat>(t, ".rz", suffix);
  addRounded<Round::Down, ftz, sat>(t, ".rm", suffix);
  addRounded<Round::Up, ftz, sat>(t, ".rp", suffix);
}

template <bool ftz>
void addUnroundedF32(OperationTable &t) {
  const std::string suffix = ftz ? ".ftz.f32" : ".f32";
  const auto pure1 = [&](const char *name, auto f) { t.pure<f32, f32>(name + suffix, f); };
  pure1("neg", [](f32 a) { return -flush<ftz>(a); });
  pure1("abs", [](f32 a) { return std::fabs(flush<ftz>(a)); });
  pure1("rcp.approx", [](f32 a) { return finish<ftz>(1.0f / flush<ftz>(a)); });
  pure1("sqrt.approx", [](f32 a) { return finish<ftz>(std::sqrt(flush<ftz>(a))); });
  pure1("rsqrt.approx", [](f32 a) {
    return canonical(static_cast<f32>(1.0 / std::sqrt(static_cast<f64>(flush<ftz>(a)))));
  });
  pure1("ex2.approx", [](f32 a) { return finish<ftz>(std::exp2(flush<ftz>(a))); });
  pure1("lg2.approx", [](f32 a) { return finish<ftz>(std::log2(flush<ftz>(a))); });
  pure1("sin.approx", [](f32 a) { return finish<ftz>(std::sin(flush<ftz>(a))); });
  pure1("cos.approx", [](f32 a) { return finish<ftz>(std::cos(flush<ftz>(a))); });
  t.pure<f32, f32, f32>("div.full" + suffix,
                        [](f32 a, f32 b) { return finish<ftz>(flush<ftz>(a) / flush<ftz>(b)); });
  // The reciprocal of a divisor beyond 2^126 is subnormal, and taken for 0.
  t.pure<f32, f32, f32>("div.approx" + suffix, [](f32 a, f32 b) {
    const f32 dividend = flush<ftz>(a);
    const f32 divisor = flush<ftz>(b);
    const f32 product = dividend * std::copysign(0.0f, divisor);
    return finish<ftz>(std::fabs(divisor) > 0x1p126f ? product : dividend / divisor);
  });
  t.pure<f32, f32, f32>("min" + suffix,
                        [](f32 a, f32 b) { return minimum<false>(flush<ftz>(a), flush<ftz>(b)); });
  t.pure<f32, f32, f32>("max" + suffix,
                        [](f32 a, f32 b) { return maximum<false>(flush<ftz>(a), flush<ftz>(b)); });
  const std::string nan = ftz ? ".ftz.NaN.f32" : ".NaN.f32";
  t.pure<f32, f32, f32>("min" + nan,
                        [](f32 a, f32 b) { return minimum<true>(flush<ftz>(a), flush<ftz>(b)); });
  t.pure<f32, f32, f32>("max" + nan,
                        [](f32 a, f32 b) { return maximum<true>(flush<ftz>(a), flush<ftz>(b)); });
}

// ---- f64 -----------------------------------------------------------------------------------------

template <Round mode>
void addRoundedF64(OperationTable &t, const std::string &round) {
  const std::string suffix = round + ".f64";
  t.pure<f64, f64, f64>("add" + suffix, [](f64 a, f64 b) {
    return rounded<mode>([](f64 x, f64 y, f64) { return x + y; }, a, b);
  });
  t.pure<f64, f64, f64>("sub" + suffix, [](f64 a, f64 b) {
    return rounded<mode>([](f64 x, f64 y, f64) { return x - y; }, a, b);
  });
  t.pure<f64, f64, f64>("mul" + suffix, [](f64 a, f64 b) {
    return rounded<mode>([](f64 x, f64 y, f64) { return x * y; }, a, b);
  });
  if (round.empty()) return;
  for (const char *op : {"fma", "mad"}) {
    t.pure<f64, f64, f64, f64>(op + suffix, [](f64 a, f64 b, f64 c) {
      return rounded<mode>([](f64 x, f64 y, f64 z) { return std::fma(x, y, z); }, a, b, c);
    });
  }
  t.pure<f64, f64, f64>("div" + suffix, [](f64 a, f64 b) {
    return rounded<mode>([](f64 x, f64 y, f64) { return x / y; }, a, b);
  });
  t.pure<f64, f64>("rcp" + suffix,
                   [](f64 a) { return rounded<mode>([](f64 x, f64, f64) { return 1.0 / x; }, a); });
  t.pure<f64, f64>("sqrt" + suffix, [](f64 a) {
    return rounded<mode>([](f64 x, f64, f64) { return std::sqrt(x); }, a);
  });
}

// rcp.approx.ftz.f64 and its rsqrt see the upper halves of their operand and of their result only;
// compilers start their own divisions with them.
f64 upperHalf(f64 value) { return bitsAs<f64>(bitsAs<u64>(value) & 0xffff'ffff'0000'0000u); }

f64 flushF64(f64 value) {
  return (bitsAs<u64>(value) & 0x7ff0'0000'0000'0000u) == 0 ? std::copysign(0.0, value) : value;
}

void addUnroundedF64(OperationTable &t) {
  t.pure<f64, f64>("neg.f64", [](f64 a) { return -a; });
  t.pure<f64, f64>("abs.f64", [](f64 a) { return std::fabs(a); });
  t.pure<f64, f64, f64>("min.f64", [](f64 a, f64 b) { return minimum<false>(a, b); });
  t.pure<f64, f64, f64>("max.f64", [](f64 a, f64 b) { return maximum<false>(a, b); });
  t.pure<f64, f64>("rsqrt.approx.f64", [](f64 a) { return 1.0 / std::sqrt(a); });
  t.pure<f64, f64>("rcp.approx.ftz.f64",
                   [](f64 a) { return upperHalf(flushF64(1.0 / flushF64(upperHalf(a)))); });
  t.pure<f64, f64>("rsqrt.approx.ftz.f64",
                   [](f64 a) { return upperHalf(1.0 / std::sqrt(flushF64(upperHalf(a)))); });
}

// ---- Tests ---------------------------------------------------------------------------------------

template <class T>
void addTests(OperationTable &t, const std::string &type) {
  t.compare<T>("testp.finite." + type, [](T a) { return std::isfinite(a); });
  t.compare<T>("testp.infinite." + type, [](T a) { return std::isinf(a); });
  t.compare<T>("testp.number." + type, [](T a) { return !isNan(a); });
  t.compare<T>("testp.notanumber." + type, [](T a) { return isNan(a); });
  // Zeros count as normal.
  t.compare<T>("testp.normal." + type, [](T a) { return a == 0 || std::isnormal(a); });
  t.compare<T>("testp.subnormal." + type, [](T a) { return std::fpclassify(a) == FP_SUBNORMAL; });
  t.pure<T, T, T>("copysign." + type, [](T a, T b) { return std::copysign(b, a); });
}

}  // namespace

void addFloatOperations(OperationTable &t) {
  addRounded<false, false>(t);
  addRounded<false, true>(t);
  addRounded<true, false>(t);
  addRounded<true, true>(t);
  addUnroundedF32<false>(t);
  addUnroundedF32<true>(t);
  addRoundedF64<Round::Nearest>(t, "");
  addRoundedF64<Round::Nearest>(t, ".rn");
  addRoundedF64<Round::Zero>(t, ".rz");
  addRoundedF64<Round::Down>(t, ".rm");
  addRoundedF64<Round::Up>(t, ".rp");
  addUnroundedF64(t);
  addTests<f32>(t, "f32");
  addTests<f64>(t, "f64");
  t.pure<f32, f32>("tanh.approx.f32", [](f32 a) { return canonical(std::tanh(a)); });
}

}  // namespace ptx
