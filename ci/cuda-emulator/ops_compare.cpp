// setp, set, selp, slct, and logic on predicates.

#include "operations.h"

namespace ptx {

namespace {

// ---- Comparisons ---------------------------------------------------------------------------------

// Each comparison is a type, so that setp and set share it.
#define COMPARISON(Name, expression)  \
  struct Name {                       \
    template <class T>                \
    bool operator()(T a, T b) const { \
      return expression;              \
    }                                 \
  }
COMPARISON(Equal, a == b);
COMPARISON(NotEqual, a<b || a> b);  // false for NaN, which integers do not have
COMPARISON(Less, a < b);
COMPARISON(LessEqual, a <= b);
COMPARISON(Greater, a > b);
COMPARISON(GreaterEqual, a >= b);
// True also where one is NaN.
COMPARISON(EqualUnordered, !(a < b || a > b));
COMPARISON(NotEqualUnordered, a != b);
COMPARISON(LessUnordered, !(a >= b));
COMPARISON(LessEqualUnordered, !(a > b));
COMPARISON(GreaterUnordered, !(a <= b));
COMPARISON(GreaterEqualUnordered, !(a < b));
COMPARISON(Ordered, a == a && b == b);
COMPARISON(Unordered, a != a || b != b);
#undef COMPARISON

// The comparison of 16-bit floats, and of flushed ones, is that of what they stand for.
template <class F, bool ftz>
struct AsFloats {
  template <class T>
  bool operator()(T a, T b) const {
    if constexpr (std::is_same_v<T, f32>) {
      return F()(flush<ftz>(a), flush<ftz>(b));
    } else {
      return F()(toFloat(flush16<ftz>(a)), toFloat(flush16<ftz>(b)));
    }
  }
};

// type: ".s32", or ".ftz.f32", where .ftz stands before both types of set.
template <class T, class F>
void addComparison(OperationTable &t, const std::string &op, const std::string &type, F f) {
  using Outcome = OperationTable::Outcome;
  t.compare<T, T>("setp." + op + type, f);
  t.compare<T, T>("setp." + op + ".and" + type, f, Outcome::And);
  t.compare<T, T>("setp." + op + ".or" + type, f, Outcome::Or);
  t.compare<T, T>("setp." + op + ".xor" + type, f, Outcome::Xor);
  const std::size_t last = type.rfind('.');
  const auto set = [&](const std::string &d, Outcome outcome, Slot slot) {
    t.compare<T, T>("set." + op + type.substr(0, last) + d + type.substr(last), f, outcome, slot);
  };
  set(".u32", Outcome::AllOnes, result<u32>);
  set(".s32", Outcome::AllOnes, result<u32>);
  if constexpr (isPair<T>) {
    const bool half = std::is_same_v<T, f16x2>;
    set(half ? ".f16x2" : ".bf16x2", half ? Outcome::HalfOne : Outcome::BrainOne, result<u32>);
  } else {
    set(".f32", Outcome::One, result<u32>);
    set(".f16", Outcome::HalfOne, result<u16>);
    set(".bf16", Outcome::BrainOne, result<u16>);
    if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>) {
      set(".u16", Outcome::AllOnes, result<u16>);
      set(".s16", Outcome::AllOnes, result<u16>);
    }
  }
}

template <class T>
void addEqualities(OperationTable &t, const std::string &type) {
  addComparison<T>(t, "eq", type, Equal());
  addComparison<T>(t, "ne", type, NotEqual());
}

template <class T>
void addIntegerComparisons(OperationTable &t, const std::string &type) {
  addEqualities<T>(t, type);
  addComparison<T>(t, "lt", type, Less());
  addComparison<T>(t, "le", type, LessEqual());
  addComparison<T>(t, "gt", type, Greater());
  addComparison<T>(t, "ge", type, GreaterEqual());
  if constexpr (std::is_unsigned_v<T>) {
    addComparison<T>(t, "lo", type, Less());
    addComparison<T>(t, "ls", type, LessEqual());
    addComparison<T>(t, "hi", type, Greater());
    addComparison<T>(t, "hs", type, GreaterEqual());
  }
}

template <class F, class T, bool ftz>
void addFloatComparison(OperationTable &t, const std::string &op, const std::string &type) {
  if constexpr (std::is_same_v<T, f64>) {
    addComparison<T>(t, op, type, F());
  } else {
    addComparison<T>(t, op, type, AsFloats<F, ftz>());
  }
}

template <class T, bool ftz = false>
void addFloatComparisons(OperationTable &t, const std::string &type) {
  addFloatComparison<Equal, T, ftz>(t, "eq", type);
  addFloatComparison<NotEqual, T, ftz>(t, "ne", type);
  addFloatComparison<Less, T, ftz>(t, "lt", type);
  addFloatComparison<LessEqual, T, ftz>(t, "le", type);
  addFloatComparison<Greater, T, ftz>(t, "gt", type);
  addFloatComparison<GreaterEqual, T, ftz>(t, "ge", type);
  addFloatComparison<EqualUnordered, T, ftz>(t, "equ", type);
  addFloatComparison<NotEqualUnordered, T, ftz>(t, "neu", type);
  addFloatComparison<LessUnordered, T, ftz>(t, "ltu", type);
  addFloatComparison<LessEqualUnordered, T, ftz>(t, "leu", type);
  addFloatComparison<GreaterUnordered, T, ftz>(t, "gtu", type);
  addFloatComparison<GreaterEqualUnordered, T, ftz>(t, "geu", type);
  addFloatComparison<Ordered, T, ftz>(t, "num", type);
  addFloatComparison<Unordered, T, ftz>(t, "nan", type);
}

// ---- Selection -----------------------------------------------------------------------------------

template <class T>
void select(Warp &warp, const Instruction &instruction, Mask lanes) {
  T *d = warp.operand<T>(instruction, 0);
  const T *a = warp.operand<T>(instruction, 1);
  const T *b = warp.operand<T>(instruction, 2);
  const Mask first = warp.predicate(instruction, 3);
#pragma GCC ivdep
  for (int lane = 0; lane < LANES; lane++) {
    const T value = first >> lane & 1 ? a[lane] : b[lane];
    d[lane] = lanes >> lane & 1 ? value : d[lane];
  }
}

template <class T>
void addSelections(OperationTable &t, const std::string &type) {
  t.add("selp." + type, {select<T>, {result<T>, input<T>, input<T>, input<bool>}});
  t.pure<T, T, T, s32>("slct." + type + ".s32", [](T a, T b, s32 c) { return c >= 0 ? a : b; });
  t.pure<T, T, T, f32>("slct." + type + ".f32", [](T a, T b, f32 c) { return c >= 0 ? a : b; });
  t.pure<T, T, T, f32>("slct.ftz." + type + ".f32",
                       [](T a, T b, f32 c) { return flush<true>(c) >= 0 ? a : b; });
}

// ---- Logic on predicates -------------------------------------------------------------------------

struct And {
  Mask operator()(Mask a, Mask b) const { return a & b; }
};
struct Or {
  Mask operator()(Mask a, Mask b) const { return a | b; }
};
struct Xor {
  Mask operator()(Mask a, Mask b) const { return a ^ b; }
};

template <class F>
void logic(Warp &warp, const Instruction &instruction, Mask lanes) {
  warp.setPredicate(instruction, 0, lanes,
                    F()(warp.predicate(instruction, 1), warp.predicate(instruction, 2)));
}

template <bool flip>
void copyPredicate(Warp &warp, const Instruction &instruction, Mask lanes) {
  const Mask value = warp.predicate(instruction, 1);
  warp.setPredicate(instruction, 0, lanes, flip ? ~value : value);
}

}  // namespace

void OperationTable::finish(Warp &warp, const Instruction &instruction, Mask lanes, Mask holds,
                            const Mask *upper) {
  const auto outcome = static_cast<Outcome>(instruction.variant);
  const int width = instruction.width[0];
  if (width > 0) {
    const u32 yes = outcome == Outcome::One        ? bitsAs<u32>(1.0f)
                    : outcome == Outcome::HalfOne  ? 0x3c00
                    : outcome == Outcome::BrainOne ? 0x3f80
                                                   : ~0u;
    auto *d = warp.operand<std::byte>(instruction, 0);
    for (Mask rest = lanes; rest; rest &= rest - 1) {
      const int lane = __builtin_ctz(rest);
      u32 value = holds >> lane & 1 ? yes : 0;
      if (upper) value = (value & 0xffff) | (*upper >> lane & 1 ? yes << 16 : 0);
      std::memcpy(d + lane * width, &value, static_cast<std::size_t>(width));
    }
    return;
  }
  Mask p = holds;
  Mask q = upper ? *upper : ~holds;
  if (outcome != Outcome::Predicate) {
    const Mask c = warp.predicate(instruction, instruction.operands - 1);
    p = outcome == Outcome::And ? p & c : outcome == Outcome::Or ? p | c : p ^ c;
    q = outcome == Outcome::And ? q & c : outcome == Outcome::Or ? q | c : q ^ c;
  }
  warp.setPredicate(instruction, 0, lanes, p);
  warp.setPredicate(instruction, 1, lanes, q);
}

void addComparisons(OperationTable &t) {
  addEqualities<u16>(t, ".b16");
  addEqualities<u32>(t, ".b32");
  addEqualities<u64>(t, ".b64");
  addIntegerComparisons<u16>(t, ".u16");
  addIntegerComparisons<s16>(t, ".s16");
  addIntegerComparisons<u32>(t, ".u32");
  addIntegerComparisons<s32>(t, ".s32");
  addIntegerComparisons<u64>(t, ".u64");
  addIntegerComparisons<s64>(t, ".s64");
  addFloatComparisons<f32>(t, ".f32");
  addFloatComparisons<f32, true>(t, ".ftz.f32");
  addFloatComparisons<f64>(t, ".f64");
  addFloatComparisons<f16>(t, ".f16");
  addFloatComparisons<f16, true>(t, ".ftz.f16");
  addFloatComparisons<bf16>(t, ".bf16");
  addFloatComparisons<f16x2>(t, ".f16x2");
  addFloatComparisons<f16x2, true>(t, ".ftz.f16x2");
  addFloatComparisons<bf16x2>(t, ".bf16x2");
  for (const char *type : {"b16", "u16", "s16"}) addSelections<u16>(t, type);
  for (const char *type : {"b32", "u32", "s32"}) addSelections<u32>(t, type);
  for (const char *type : {"b64", "u64", "s64"}) addSelections<u64>(t, type);
  addSelections<f32>(t, "f32");
  addSelections<f64>(t, "f64");
  const std::vector<Slot> two = {result<bool>, input<bool>, input<bool>};
  t.add("and.pred", {logic<And>, two});
  t.add("or.pred", {logic<Or>, two});
  t.add("xor.pred", {logic<Xor>, two});
  t.add("not.pred", {copyPredicate<true>, {result<bool>, input<bool>}});
  t.add("mov.pred", {copyPredicate<false>, {result<bool>, input<bool>}});
}

}  // namespace ptx
