// setp, set, selp, slct, and logic on predicates.
#include <functional>

#include "reference.h"

using namespace test;

namespace {

// How two values stand to each other; unordered if one is NaN.
enum class Order { Less, Equal, Greater, Unordered };

template <class T>
Order compare(T a, T b, bool ftz) {
  if constexpr (IsSixteen<T>::value) {
    // Only f16 has .ftz: below its smallest normal number.
    const auto flushed = [&](double x) { return ftz && std::fabs(x) < 0x1p-14 ? 0.0 : x; };
    return compare(flushed(decode(a)), flushed(decode(b)), false);
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

Half one(Half) { return {0x3c00}; }
Bfloat one(Bfloat) { return {0x3f80}; }

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
  expect<std::uint32_t, T, T>("set." + op + (ftz ? ".ftz" : "") + ".u32." + type,
                              [&](T a, T b) { return holds(a, b) ? 0xffffffffu : 0u; });
  expect<std::int32_t, T, T>("set." + op + (ftz ? ".ftz" : "") + ".s32." + type,
                             [&](T a, T b) { return holds(a, b) ? -1 : 0; });
  expect<float, T, T>("set." + op + (ftz ? ".ftz" : "") + ".f32." + type,
                      [&](T a, T b) { return holds(a, b) ? 1.0f : 0.0f; });
  if constexpr (IsSixteen<T>::value) {
    expect<T, T, T>("set." + op + (ftz ? ".ftz." : ".") + type + "." + type,
                    [&](T a, T b) { return holds(a, b) ? one(T()) : T{0}; });
  }
}

// The lower halves make p and the lower half of a number, the upper ones q and the upper half.
template <class P>
void comparePairsWith(const Comparison &comparison, const std::string &type, bool ftz) {
  const std::string op = comparison.name;
  const std::string rest = (ftz ? ".ftz." : ".") + type;
  const auto low = [&](P a, P b) { return comparison.holds(compare(a.low, b.low, ftz)); };
  const auto high = [&](P a, P b) { return comparison.holds(compare(a.high, b.high, ftz)); };
  const auto two = product(fewValues<P>(), fewValues<P>());
  const auto three = product(fewValues<P>(), fewValues<P>(), std::vector<bool>{false, true});
  expectAll<bool>("setp." + op + rest + " %d|%p0, %a0, %a1;", two, low);
  expectAll<bool>("setp." + op + rest + " %p0|%d, %a0, %a1;", two, high);
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
  const auto halves = [&](P a, P b, std::uint32_t yes) {
    return (low(a, b) ? yes : 0) | (high(a, b) ? yes << 16 : 0);
  };
  const std::string set = "set." + op + (ftz ? ".ftz." : ".");
  for (const char *integer : {"u32.", "s32."}) {
    expectAll<std::uint32_t>(set + integer + type + " %d, %a0, %a1;", two,
                             [&](P a, P b) { return halves(a, b, 0xffff); });
  }
  expectAll<std::uint32_t>(set + type + "." + type + " %d, %a0, %a1;", two,
                           [&](P a, P b) { return halves(a, b, one(a.low).bits); });
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

template <class P>
void pairs(const std::string &type, bool ftz) {
  for (const Comparison &comparison : EQUALITIES) comparePairsWith<P>(comparison, type, ftz);
  for (const Comparison &comparison : ORDERINGS) comparePairsWith<P>(comparison, type, ftz);
  for (const Comparison &comparison : UNORDERED) comparePairsWith<P>(comparison, type, ftz);
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

TEST("comparisons of pairs of floats") {
  pairs<HalfPair>("f16x2", false);
  pairs<HalfPair>("f16x2", true);
  pairs<BfloatPair>("bf16x2", false);
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
