// setp, set, selp, slct, and logic on predicates.
#include <functional>

#include "reference.h"

using namespace test;

namespace {

// How two values stand to each other; unordered if one is NaN.
enum class Order { Less, Equal, Greater, Unordered };

template <class T>
constexpr std::uint16_t SMALLEST_NORMAL = std::is_same_v<T, Half> ? 0x0400 : 0x0080;

template <class T>
Order compare(T a, T b, bool ftz) {
  if constexpr (IsSixteen<T>::value) {
    // Flushed or not, a subnormal and zero are told apart by their values.
    const auto value = [ftz](T x) {
      const bool subnormal = std::fabs(decode(x)) < decode(T{SMALLEST_NORMAL<T>});
      return ftz && subnormal ? 0.0 : decode(x);
    };
    return compare(value(a), value(b), false);
  } else if constexpr (std::is_floating_point_v<T>) {
    const T x = flushedIf(ftz, a), y = flushedIf(ftz, b);
    if (std::isnan(x) || std::isnan(y)) return Order::Unordered;
    return x < y ? Order::Less : x > y ? Order::Greater : Order::Equal;
  } else {
    return a < b ? Order::Less : a > b ? Order::Greater : Order::Equal;
  }
}

// Source: PTX ISA, tables of comparison operators: the orders for which each is true.
struct Comparison {
  const char *name;
  bool less, equal, greater, unordered;

  bool holds(Order order) const {
    switch (order) {
      case Order::Less:
        return less;
      case Order::Equal:
        return equal;
      case Order::Greater:
        return greater;
      case Order::Unordered:
        break;
    }
    return unordered;
  }
};
constexpr Comparison EQUALITIES[] = {{"eq", false, true, false, false},
                                     {"ne", true, false, true, false}};
constexpr Comparison ORDERINGS[] = {{"lt", true, false, false, false},
                                    {"le", true, true, false, false},
                                    {"gt", false, false, true, false},
                                    {"ge", false, true, true, false}};
constexpr Comparison UNSIGNED[] = {{"lo", true, false, false, false},
                                   {"ls", true, true, false, false},
                                   {"hi", false, false, true, false},
                                   {"hs", false, true, true, false}};
constexpr Comparison UNORDERED[] = {
    {"equ", false, true, false, true}, {"neu", true, false, true, true},
    {"ltu", true, false, false, true}, {"leu", true, true, false, true},
    {"gtu", false, false, true, true}, {"geu", false, true, true, true},
    {"num", true, true, true, false},  {"nan", false, false, false, true}};

template <class T>
T one(bool holds) {
  return encodeAs<T>(holds ? 1 : 0);
}

template <class T>
void compareWith(const Comparison &comparison, const std::string &type, bool ftz) {
  const std::string op = comparison.name;
  const std::string rest = (ftz ? ".ftz." : ".") + type;
  const auto holds = [&](T a, T b) { return comparison.holds(compare(a, b, ftz)); };
  expect<bool, T, T>("setp." + op + rest, holds);
  // The second result is the opposite.
  expectAll<bool>("setp." + op + rest + " %p0|%d, %a0, %a1;", combinations<T, T>(),
                  [&](T a, T b) { return !holds(a, b); });
  // Combined with a predicate, plain or negated.
  const auto three = product(fewValues<T>(), fewValues<T>(), std::vector<bool>{false, true});
  const auto combined = [&](const char *logic, std::function<bool(bool, bool)> combine) {
    const std::string name = "setp." + op + "." + logic + rest;
    expectAll<bool>(name + " %d, %a0, %a1, %a2;", three,
                    [&](T a, T b, bool c) { return combine(holds(a, b), c); });
    expectAll<bool>(name + " %p0|%d, %a0, %a1, !%a2;", three,
                    [&](T a, T b, bool c) { return combine(!holds(a, b), !c); });
  };
  combined("and", [](bool p, bool c) { return p && c; });
  combined("or", [](bool p, bool c) { return p || c; });
  combined("xor", [](bool p, bool c) { return p != c; });
  const std::string set = "set." + op + (ftz ? ".ftz." : ".");
  expect<std::uint32_t, T, T>(set + "u32." + type,
                              [&](T a, T b) { return holds(a, b) ? 0xffffffffu : 0u; });
  expect<std::int32_t, T, T>(set + "s32." + type, [&](T a, T b) { return holds(a, b) ? -1 : 0; });
  expect<float, T, T>(set + "f32." + type, [&](T a, T b) { return holds(a, b) ? 1.0f : 0.0f; });
  expect<Half, T, T>(set + "f16." + type, [&](T a, T b) { return one<Half>(holds(a, b)); });
  expect<Bfloat, T, T>(set + "bf16." + type, [&](T a, T b) { return one<Bfloat>(holds(a, b)); });
  if constexpr (IsSixteen<T>::value) {
    expect<std::uint16_t, T, T>(set + "u16." + type, [&](T a, T b) {
      return static_cast<std::uint16_t>(holds(a, b) ? 0xffff : 0);
    });
    expect<std::int16_t, T, T>(set + "s16." + type, [&](T a, T b) {
      return static_cast<std::int16_t>(holds(a, b) ? -1 : 0);
    });
  }
}

template <class T>
void integers(const std::string &type) {
  for (const Comparison &comparison : EQUALITIES) compareWith<T>(comparison, type, false);
  for (const Comparison &comparison : ORDERINGS) compareWith<T>(comparison, type, false);
  if (std::is_unsigned_v<T>) {
    for (const Comparison &comparison : UNSIGNED) compareWith<T>(comparison, type, false);
  }
}

template <class T>
void floats(const std::string &type, bool ftz) {
  for (const Comparison &comparison : EQUALITIES) compareWith<T>(comparison, type, ftz);
  for (const Comparison &comparison : ORDERINGS) compareWith<T>(comparison, type, ftz);
  for (const Comparison &comparison : UNORDERED) compareWith<T>(comparison, type, ftz);
}

// Pairs: of p|q, p is for the lower numbers and q for the upper ones; set answers for each in its
// half.
template <class P, class T>
void comparePairs(const Comparison &comparison, const std::string &type, bool ftz) {
  const std::string op = comparison.name;
  const std::string rest = (ftz ? ".ftz." : ".") + type;
  const auto holds = [&](T a, T b) { return comparison.holds(compare(a, b, ftz)); };
  const auto low = [&](P a, P b) { return holds(a.low, b.low); };
  const auto high = [&](P a, P b) { return holds(a.high, b.high); };
  expectAll<bool>("setp." + op + rest + " %d|%p0, %a0, %a1;", combinations<P, P>(), low);
  expectAll<bool>("setp." + op + rest + " %p0|%d, %a0, %a1;", combinations<P, P>(), high);
  const auto three = product(fewValues<P>(), fewValues<P>(), std::vector<bool>{false, true});
  const auto combined = [&](const char *logic, std::function<bool(bool, bool)> combine) {
    const std::string name = "setp." + op + "." + logic + rest;
    expectAll<bool>(name + " %d|%p0, %a0, %a1, %a2;", three,
                    [&](P a, P b, bool c) { return combine(low(a, b), c); });
    expectAll<bool>(name + " %p0|%d, %a0, %a1, !%a2;", three,
                    [&](P a, P b, bool c) { return combine(high(a, b), !c); });
  };
  combined("and", [](bool p, bool c) { return p && c; });
  combined("or", [](bool p, bool c) { return p || c; });
  combined("xor", [](bool p, bool c) { return p != c; });
  const std::string set = "set." + op + (ftz ? ".ftz." : ".");
  expect<P, P, P>(set + type + "." + type, [&](P a, P b) {
    return P{one<T>(low(a, b)), one<T>(high(a, b))};
  });
  for (const char *integer : {"u32.", "s32."}) {
    expect<std::uint32_t, P, P>(set + integer + type, [&](P a, P b) {
      return (low(a, b) ? 0x0000ffffu : 0) | (high(a, b) ? 0xffff0000u : 0);
    });
  }
}

template <class P, class T>
void pairs(const std::string &type, bool ftz) {
  for (const Comparison &comparison : EQUALITIES) comparePairs<P, T>(comparison, type, ftz);
  for (const Comparison &comparison : ORDERINGS) comparePairs<P, T>(comparison, type, ftz);
  for (const Comparison &comparison : UNORDERED) comparePairs<P, T>(comparison, type, ftz);
}

template <class T>
void bits(const std::string &type) {
  for (const Comparison &comparison : EQUALITIES) compareWith<T>(comparison, type, false);
}

template <class T>
void selections(const std::string &type) {
  expectAll<T>("selp." + type + " %d, %a0, %a1, %a2;",
               product(fewValues<T>(), fewValues<T>(), std::vector<bool>{false, true}),
               [](T a, T b, bool c) { return c ? a : b; });
  expect<T, T, T, std::int32_t>("slct." + type + ".s32",
                                [](T a, T b, std::int32_t c) { return c >= 0 ? a : b; });
  // -0 counts as 0, NaN selects b; flushed, a small negative number is 0.
  for (const bool ftz : {false, true}) {
    expect<T, T, T, float>("slct" + std::string(ftz ? ".ftz." : ".") + type + ".f32",
                           [ftz](T a, T b, float c) { return flushedIf(ftz, c) >= 0 ? a : b; });
  }
}

}  // namespace

TEST("comparisons of integers") {
  bits<std::uint16_t>("b16");
  bits<std::uint32_t>("b32");
  bits<std::uint64_t>("b64");
  integers<std::uint16_t>("u16");
  integers<std::int16_t>("s16");
  integers<std::uint32_t>("u32");
  integers<std::int32_t>("s32");
  integers<std::uint64_t>("u64");
  integers<std::int64_t>("s64");
}

TEST("comparisons of floats") {
  floats<float>("f32", false);
  floats<float>("f32", true);
  floats<double>("f64", false);
  floats<Half>("f16", false);
  floats<Half>("f16", true);
  floats<Bfloat>("bf16", false);
}

TEST("comparisons of pairs of 16-bit floats") {
  pairs<HalfPair, Half>("f16x2", false);
  pairs<HalfPair, Half>("f16x2", true);
  pairs<BfloatPair, Bfloat>("bf16x2", false);
}

TEST("selp and slct") {
  selections<std::uint16_t>("b16");
  selections<std::uint16_t>("u16");
  selections<std::int16_t>("s16");
  selections<std::uint32_t>("b32");
  selections<std::uint32_t>("u32");
  selections<std::int32_t>("s32");
  selections<std::uint64_t>("b64");
  selections<std::uint64_t>("u64");
  selections<std::int64_t>("s64");
  selections<float>("f32");
  selections<double>("f64");
}

TEST("logic on predicates") {
  expect<bool, bool, bool>("and.pred", [](bool a, bool b) { return a && b; });
  expect<bool, bool, bool>("or.pred", [](bool a, bool b) { return a || b; });
  expect<bool, bool, bool>("xor.pred", [](bool a, bool b) { return a != b; });
  expect<bool, bool>("not.pred", [](bool a) { return !a; });
  expect<bool, bool>("mov.pred", [](bool a) { return a; });
  expectAll<bool>("and.pred %d, %a0, !%a1;", combinations<bool, bool>(),
                  [](bool a, bool b) { return a && !b; });
}
