// Arithmetic of .f16, .bf16 and their pairs. A sum, product or fma of 16-bit floats is computed in
// f32 or f64, where it is exact or has so many bits to spare that rounding twice gives the same as
// rounding once.

#include <cmath>

#include "operations.h"

namespace ptx {

namespace {

f16 narrow(f32 value, f16) { return toF16<Round::Nearest>(value); }
bf16 narrow(f32 value, bf16) { return toBf16<Round::Nearest>(value); }

// An f64 rounded to f32 so that rounding it on to 16 bits is as rounding the f64 itself: its last
// bit is set if the f64 lay between two f32.
f32 roundToOdd(f64 value) {
  const f32 near = static_cast<f32>(value);
  if (isNan(value) || static_cast<f64>(near) == value || std::isinf(near)) return near;
  const u32 bits = bitsAs<u32>(near);
  if (bits & 1) return near;
  // The other neighbour of the value is the odd one: away from zero if near is closer to it.
  return bitsAs<f32>(std::fabs(static_cast<f64>(near)) < std::fabs(value) ? bits + 1 : bits - 1);
}

// Exact: products of two such numbers have 22 bits at most, and f64 has room for every sum of a
// product and an f16. A bf16 may lie too far away from the product; then it or the product is so
// small beside the other that only its sign matters, which the f64 fma keeps by rounding to odd.
template <class T>
T fusedMultiplyAdd(T a, T b, T c) {
  const f64 product = static_cast<f64>(toFloat(a)) * toFloat(b);
  const f64 addend = toFloat(c);
  const f64 sum = product + addend;
  if (std::isinf(sum) || isNan(sum)) return narrow(static_cast<f32>(sum), T());
  // What the sum has lost (Knuth's two-sum, exact in f64).
  const f64 part = sum - product;
  const f64 lost = (product - (sum - part)) + (addend - part);
  f64 odd = sum;
  if (lost != 0 && (bitsAs<u64>(sum) & 1) == 0) {
    const bool away = (lost > 0) == (sum > 0);
    odd = bitsAs<f64>(bitsAs<u64>(sum) + (away ? 1 : -1));
  }
  return narrow(roundToOdd(odd), T());
}

// The relu of a result: negative numbers become +0, NaN stays.
template <bool on>
f32 positive(f32 value) {
  return on && !isNan(value) && !(value > 0.0f) ? 0.0f : value;
}

// ---- Registration of one function for single numbers and for pairs -------------------------------

template <class T, class F>
struct ForPair {
  template <class... S>
  Pair<T> operator()(S... s) const {
    return {F()(s.lo...), F()(s.hi...)};
  }
};

template <class T, class F>
void add1(OperationTable &t, const std::string &name, const std::string &type, F) {
  t.pure<T, T>(name + type, F());
  t.pure<Pair<T>, Pair<T>>(name + type + "x2", ForPair<T, F>());
}

template <class T, class F>
void add2(OperationTable &t, const std::string &name, const std::string &type, F) {
  t.pure<T, T, T>(name + type, F());
  t.pure<Pair<T>, Pair<T>, Pair<T>>(name + type + "x2", ForPair<T, F>());
}

template <class T, class F>
void add3(OperationTable &t, const std::string &name, const std::string &type, F) {
  t.pure<T, T, T, T>(name + type, F());
  t.pure<Pair<T>, Pair<T>, Pair<T>, Pair<T>>(name + type + "x2", ForPair<T, F>());
}

template <bool ftz, bool sat>
struct Add {
  template <class T>
  T operator()(T a, T b) const {
    const f32 sum = toFloat(flush16<ftz>(a)) + toFloat(flush16<ftz>(b));
    return flush16<ftz>(narrow(saturate<sat>(sum), T()));
  }
};
template <bool ftz, bool sat>
struct Subtract {
  template <class T>
  T operator()(T a, T b) const {
    const f32 difference = toFloat(flush16<ftz>(a)) - toFloat(flush16<ftz>(b));
    return flush16<ftz>(narrow(saturate<sat>(difference), T()));
  }
};
template <bool ftz, bool sat>
struct Multiply {
  template <class T>
  T operator()(T a, T b) const {
    const f32 product = toFloat(flush16<ftz>(a)) * toFloat(flush16<ftz>(b));
    return flush16<ftz>(narrow(saturate<sat>(product), T()));
  }
};
template <bool ftz, bool sat, bool relu>
struct Fma {
  template <class T>
  T operator()(T a, T b, T c) const {
    const T value = fusedMultiplyAdd(flush16<ftz>(a), flush16<ftz>(b), flush16<ftz>(c));
    return flush16<ftz>(narrow(positive<relu>(saturate<sat>(toFloat(value))), T()));
  }
};
template <bool ftz, bool larger, bool propagate>
struct Extremum {
  template <class T>
  T operator()(T a, T b) const {
    const f32 x = toFloat(flush16<ftz>(a));
    const f32 y = toFloat(flush16<ftz>(b));
    return narrow(extremum<propagate, larger>(x, y), T());
  }
};
template <bool ftz>
struct Negate {
  template <class T>
  T operator()(T a) const {
    return {static_cast<u16>(flush16<ftz>(a).bits ^ 0x8000)};
  }
};
template <bool ftz>
struct Absolute {
  template <class T>
  T operator()(T a) const {
    return {static_cast<u16>(flush16<ftz>(a).bits & 0x7fff)};
  }
};
template <bool ftz>
struct Exp2 {
  template <class T>
  T operator()(T a) const {
    return flush16<ftz>(narrow(std::exp2(toFloat(flush16<ftz>(a))), T()));
  }
};
struct Tanh {
  template <class T>
  T operator()(T a) const {
    return narrow(std::tanh(toFloat(a)), T());
  }
};

template <class T, bool ftz>
void addCommon(OperationTable &t, const std::string &type) {
  const std::string modifiers = ftz ? ".ftz" : "";
  for (const char *round : {"", ".rn"}) {
    add2<T>(t, "add" + (round + modifiers), type, Add<ftz, false>());
    add2<T>(t, "sub" + (round + modifiers), type, Subtract<ftz, false>());
    add2<T>(t, "mul" + (round + modifiers), type, Multiply<ftz, false>());
  }
  add3<T>(t, "fma.rn" + modifiers, type, Fma<ftz, false, false>());
  add3<T>(t, "fma.rn" + modifiers + ".relu", type, Fma<ftz, false, true>());
  add2<T>(t, "min" + modifiers, type, Extremum<ftz, false, false>());
  add2<T>(t, "max" + modifiers, type, Extremum<ftz, true, false>());
  add2<T>(t, "min" + modifiers + ".NaN", type, Extremum<ftz, false, true>());
  add2<T>(t, "max" + modifiers + ".NaN", type, Extremum<ftz, true, true>());
  add1<T>(t, "neg" + modifiers, type, Negate<ftz>());
  add1<T>(t, "abs" + modifiers, type, Absolute<ftz>());
}

template <bool ftz>
void addSaturated(OperationTable &t) {
  const std::string modifiers = ftz ? ".ftz.sat" : ".sat";
  for (const char *round : {"", ".rn"}) {
    add2<f16>(t, "add" + (round + modifiers), ".f16", Add<ftz, true>());
    add2<f16>(t, "sub" + (round + modifiers), ".f16", Subtract<ftz, true>());
    add2<f16>(t, "mul" + (round + modifiers), ".f16", Multiply<ftz, true>());
  }
  add3<f16>(t, "fma.rn" + modifiers, ".f16", Fma<ftz, true, false>());
}

}  // namespace

void addHalfOperations(OperationTable &t) {
  addCommon<f16, false>(t, ".f16");
  addCommon<f16, true>(t, ".f16");
  addCommon<bf16, false>(t, ".bf16");
  addSaturated<false>(t);
  addSaturated<true>(t);
  add1<f16>(t, "ex2.approx", ".f16", Exp2<false>());
  add1<bf16>(t, "ex2.approx.ftz", ".bf16", Exp2<true>());
  add1<f16>(t, "tanh.approx", ".f16", Tanh());
  add1<bf16>(t, "tanh.approx", ".bf16", Tanh());
}

}  // namespace ptx
