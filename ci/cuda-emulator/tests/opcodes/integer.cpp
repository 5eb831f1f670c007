// Integer arithmetic, logic, shifts and bit fields. The references work in 128 bits or bit by bit,
// after the pseudo-code of the PTX ISA, chapter "Instruction Set".
#include <algorithm>

#include "reference.h"

using namespace test;

namespace {

using i128 = __int128;
using u128 = unsigned __int128;

template <class T>
constexpr int WIDTH = 8 * sizeof(T);
template <class T>
constexpr bool SIGNED = std::is_signed_v<T>;

template <class T>
using Double =
    std::conditional_t<sizeof(T) == 2, std::conditional_t<SIGNED<T>, std::int32_t, std::uint32_t>,
                       std::conditional_t<SIGNED<T>, std::int64_t, std::uint64_t>>;

template <class T>
i128 product(T a, T b) {
  return SIGNED<T> ? static_cast<i128>(a) * b : static_cast<i128>(static_cast<u128>(a) * b);
}

template <class T>
T high(T a, T b) {
  return static_cast<T>(static_cast<u128>(product(a, b)) >> WIDTH<T>);
}

// Without the cases that the ISA leaves to the machine (a divisor of 0).
template <class T>
std::vector<std::tuple<T, T>> withDivisors() {
  std::vector<std::tuple<T, T>> all = combinations<T, T>();
  all.erase(std::remove_if(all.begin(), all.end(),
                           [](const auto &pair) { return std::get<1>(pair) == 0; }),
            all.end());
  return all;
}

template <class T>
int bit(T a, int k) {
  return static_cast<int>(static_cast<std::make_unsigned_t<T>>(a) >> k & 1);
}

template <class T>
T withBit(T d, int k, int value) {
  using U = std::make_unsigned_t<T>;
  return static_cast<T>(static_cast<U>(d) | static_cast<U>(static_cast<U>(value) << k));
}

template <class T>
T shiftedRight(T a, std::uint32_t count) {
  T d = 0;
  const int fill = SIGNED<T> ? bit(a, WIDTH<T> - 1) : 0;
  for (int k = 0; k < WIDTH<T>; ++k) {
    const std::uint64_t from = std::uint64_t{count} + k;
    d = withBit(d, k, from < WIDTH<T> ? bit(a, static_cast<int>(from)) : fill);
  }
  return d;
}

template <class T>
T shiftedLeft(T a, std::uint32_t count) {
  T d = 0;
  for (int k = 0; k < WIDTH<T>; ++k) {
    if (static_cast<std::uint32_t>(k) >= count) {
      d = withBit(d, k, bit(a, k - static_cast<int>(count)));
    }
  }
  return d;
}

// bfe: "pos and len are restricted to the 8-bit value range 0..255"; bits beyond the field, or of
// the field beyond the source, are its sign.
template <class T>
T extracted(T a, std::uint32_t b, std::uint32_t c) {
  const int msb = WIDTH<T> - 1;
  const int position = static_cast<int>(b & 0xff);
  const int length = static_cast<int>(c & 0xff);
  const int sign = !SIGNED<T> || length == 0 ? 0 : bit(a, std::min(position + length - 1, msb));
  T d = 0;
  for (int k = 0; k <= msb; ++k) {
    d = withBit(d, k, k < length && position + k <= msb ? bit(a, position + k) : sign);
  }
  return d;
}

template <class T>
T inserted(T a, T b, std::uint32_t c, std::uint32_t d) {
  T f = b;
  const std::uint32_t position = c & 0xff;
  const std::uint32_t length = d & 0xff;
  for (std::uint32_t k = 0; k < length && position + k < WIDTH<T>; ++k) {
    f &= static_cast<T>(~(T{1} << (position + k)));
    f |= static_cast<T>(static_cast<T>(bit(a, static_cast<int>(k))) << (position + k));
  }
  return f;
}

template <class T>
std::uint32_t highestBit(T a, bool shiftAmount) {
  const int sign = SIGNED<T> ? bit(a, WIDTH<T> - 1) : 0;
  for (int k = WIDTH<T> - 1; k >= 0; --k) {
    if (bit(a, k) != sign) return static_cast<std::uint32_t>(shiftAmount ? WIDTH<T> - 1 - k : k);
  }
  return 0xffffffff;
}

template <class T>
void arithmetic(const std::string &type) {
  expect<T, T, T>("add." + type, [](T a, T b) { return static_cast<T>(i128{a} + b); });
  expect<T, T, T>("sub." + type, [](T a, T b) { return static_cast<T>(i128{a} - b); });
  expect<T, T, T>("mul.lo." + type, [](T a, T b) { return static_cast<T>(product(a, b)); });
  expect<T, T, T>("mul.hi." + type, [](T a, T b) { return high(a, b); });
  expect<T, T, T, T>("mad.lo." + type, [](T a, T b, T c) {
    return static_cast<T>(static_cast<u128>(product(a, b)) + c);
  });
  expect<T, T, T, T>("mad.hi." + type,
                     [](T a, T b, T c) { return static_cast<T>(i128{high(a, b)} + c); });
  expect<T, T, T>("min." + type, [](T a, T b) { return a < b ? a : b; });
  expect<T, T, T>("max." + type, [](T a, T b) { return a > b ? a : b; });
  expect<T, T, T, T>("sad." + type, [](T a, T b, T c) {
    return static_cast<T>(i128{c} + (a < b ? i128{b} - a : i128{a} - b));
  });
  expectAll<T>(spell("div." + type, 2), withDivisors<T>(),
               [](T a, T b) { return static_cast<T>(i128{a} / b); });
  expectAll<T>(spell("rem." + type, 2), withDivisors<T>(),
               [](T a, T b) { return static_cast<T>(i128{a} % b); });
  if constexpr (SIGNED<T>) {
    expect<T, T>("abs." + type, [](T a) { return static_cast<T>(a < 0 ? -i128{a} : i128{a}); });
    expect<T, T>("neg." + type, [](T a) { return static_cast<T>(-i128{a}); });
  }
  expect<T, T, std::uint32_t>("shr." + type,
                              [](T a, std::uint32_t b) { return shiftedRight(a, b); });
  if constexpr (sizeof(T) < 8) {
    using W = Double<T>;
    expect<W, T, T>("mul.wide." + type, [](T a, T b) { return static_cast<W>(product(a, b)); });
    expect<W, T, T, W>("mad.wide." + type,
                       [](T a, T b, W c) { return static_cast<W>(product(a, b) + c); });
  }
  if constexpr (sizeof(T) > 2) {
    expect<T, T, std::uint32_t, std::uint32_t>(
        "bfe." + type, [](T a, std::uint32_t b, std::uint32_t c) { return extracted(a, b, c); });
    expect<std::uint32_t, T>("bfind." + type, [](T a) { return highestBit(a, false); });
    expect<std::uint32_t, T>("bfind.shiftamt." + type, [](T a) { return highestBit(a, true); });
  }
}

// What the ISA leaves to the machine must at least not end the process, and be the same each time:
// the emulator gives all ones, as NVIDIA's chips do, and the dividend as remainder.
template <class T>
void divisionByZero(const std::string &type) {
  std::vector<std::tuple<T, T>> pairs;
  for (const T a : values<T>()) pairs.push_back({a, T{0}});
  expectAll<T>(spell("div." + type, 2), pairs, [](T, T) { return static_cast<T>(-1); });
  expectAll<T>(spell("rem." + type, 2), pairs, [](T a, T) { return a; });
}

template <class T>
void logic(const std::string &type) {
  expect<T, T, T>("and." + type, [](T a, T b) { return static_cast<T>(a & b); });
  expect<T, T, T>("or." + type, [](T a, T b) { return static_cast<T>(a | b); });
  expect<T, T, T>("xor." + type, [](T a, T b) { return static_cast<T>(a ^ b); });
  expect<T, T>("not." + type, [](T a) { return static_cast<T>(~a); });
  expect<T, T>("cnot." + type, [](T a) { return static_cast<T>(a == 0 ? 1 : 0); });
  expect<T, T, std::uint32_t>("shl." + type,
                              [](T a, std::uint32_t b) { return shiftedLeft(a, b); });
  expect<T, T, std::uint32_t>("shr." + type,
                              [](T a, std::uint32_t b) { return shiftedRight(a, b); });
  if constexpr (sizeof(T) > 2) {
    expect<std::uint32_t, T>("popc." + type, [](T a) {
      std::uint32_t count = 0;
      for (int k = 0; k < WIDTH<T>; ++k) count += static_cast<std::uint32_t>(bit(a, k));
      return count;
    });
    expect<std::uint32_t, T>("clz." + type, [](T a) {
      std::uint32_t count = 0;
      while (count < WIDTH<T> && bit(a, WIDTH<T> - 1 - static_cast<int>(count)) == 0) ++count;
      return count;
    });
    expect<T, T>("brev." + type, [](T a) {
      T d = 0;
      for (int k = 0; k < WIDTH<T>; ++k) d = withBit(d, k, bit(a, WIDTH<T> - 1 - k));
      return d;
    });
    expect<T, T, T, std::uint32_t, std::uint32_t>(
        "bfi." + type,
        [](T a, T b, std::uint32_t c, std::uint32_t d) { return inserted(a, b, c, d); });
  }
}

// Two instructions each: the first leaves a carry, the second takes it. Together they add, subtract
// or multiply numbers of twice the width, whose upper half is the result.
template <class T>
void carries(const std::string &type, const char *registers) {
  using U = std::make_unsigned_t<T>;
  const std::string discard = std::string("{ .reg .") + registers + " %low; ";
  const auto wide = [](U high, U low) { return static_cast<u128>(high) << WIDTH<T> | low; };
  const auto combined = combinations<U, U, U, U>();
  for (const char *suffix : {"", ".cc"}) {
    expectAll<U>(discard + "add.cc." + type + " %low, %a0, %a1; addc" + suffix + "." + type +
                     " %d, %a2, %a3; }",
                 combined, [&](U lowA, U lowB, U highA, U highB) {
                   return static_cast<U>((wide(highA, lowA) + wide(highB, lowB)) >> WIDTH<T>);
                 });
    expectAll<U>(discard + "sub.cc." + type + " %low, %a0, %a1; subc" + suffix + "." + type +
                     " %d, %a2, %a3; }",
                 combined, [&](U lowA, U lowB, U highA, U highB) {
                   return static_cast<U>((wide(highA, lowA) - wide(highB, lowB)) >> WIDTH<T>);
                 });
    // mad.lo.cc leaves the carry of its sum to the next word's product.
    for (const char *half : {"lo", "hi"}) {
      expectAll<U>(discard + "mad.lo.cc." + type + " %low, %a0, %a1, %a2; madc." + half + suffix +
                       "." + type + " %d, %a0, %a1, %a3; }",
                   combined, [&](U a, U b, U c, U d) {
                     const i128 all = product(static_cast<T>(a), static_cast<T>(b));
                     const U low = static_cast<U>(all);
                     const U next = half == std::string("lo")
                                        ? low
                                        : static_cast<U>(static_cast<u128>(all) >> WIDTH<T>);
                     const U carry = static_cast<U>(low + c) < low ? 1 : 0;
                     return static_cast<U>(next + d + carry);
                   });
    }
  }
  expectAll<U>(
      discard + "mad.hi.cc." + type + " %low, %a0, %a1, %a2; addc." + type + " %d, %a3, 0; }",
      combined, [&](U a, U b, U c, U d) {
        const U top = static_cast<U>(high(static_cast<T>(a), static_cast<T>(b)));
        return static_cast<U>(d + (static_cast<U>(top + c) < top ? 1 : 0));
      });
  // The .cc of the second instruction: its carry, read by a third.
  const std::string third = "addc." + type + " %d, 0, 0; }";
  for (const bool subtracts : {false, true}) {
    const std::string op = subtracts ? "sub" : "add";
    expectAll<U>(discard + op + ".cc." + type + " %low, %a0, %a1; " + op + "c.cc." + type +
                     " %low, %a2, %a3; " + (subtracts ? "subc." + type + " %d, 0, 0; }" : third),
                 combined, [&](U lowA, U lowB, U highA, U highB) {
                   const u128 a = wide(highA, lowA);
                   const u128 b = wide(highB, lowB);
                   if (subtracts) return static_cast<U>(a < b ? -1 : 0);
                   // Of the sum of two halves and a carry, in more than 128 bits if need be.
                   const U low = static_cast<U>(lowA + lowB);
                   const u128 top = static_cast<u128>(highA) + highB + (low < lowA ? 1 : 0);
                   return static_cast<U>(top >> WIDTH<T>);
                 });
  }
}

template <class A, class B>
void dots(const std::string &types) {
  const auto byte = [](auto kind, std::uint32_t x, int k) {
    return static_cast<std::int64_t>(static_cast<decltype(kind)>(x >> 8 * k & 0xff));
  };
  const auto half = [](std::uint32_t x, int k) {
    const std::uint32_t bits = x >> 16 * k & 0xffff;
    return SIGNED<A> ? std::int64_t{static_cast<std::int16_t>(bits)} : std::int64_t{bits};
  };
  using U = std::uint32_t;
  expect<U, U, U, U>("dp4a." + types, [&](U a, U b, U c) {
    std::int64_t sum = c;
    for (int k = 0; k < 4; ++k) sum += byte(A{}, a, k) * byte(B{}, b, k);
    return static_cast<U>(sum);
  });
  for (const int part : {0, 1}) {
    expect<U, U, U, U>(std::string("dp2a.") + (part == 0 ? "lo." : "hi.") + types,
                       [&](U a, U b, U c) {
                         std::int64_t sum = c;
                         for (int k = 0; k < 2; ++k) sum += half(a, k) * byte(B{}, b, 2 * part + k);
                         return static_cast<U>(sum);
                       });
  }
}

// The byte that one nibble of prmt's selector picks of {b, a}.
std::uint32_t pickedByte(std::uint32_t a, std::uint32_t b, std::uint32_t index) {
  return static_cast<std::uint32_t>((std::uint64_t{b} << 32 | a) >> 8 * index) & 0xff;
}

}  // namespace

TEST("integer arithmetic") {
  arithmetic<std::uint16_t>("u16");
  arithmetic<std::int16_t>("s16");
  arithmetic<std::uint32_t>("u32");
  arithmetic<std::int32_t>("s32");
  arithmetic<std::uint64_t>("u64");
  arithmetic<std::int64_t>("s64");
}

TEST("integer division by zero") {
  divisionByZero<std::uint16_t>("u16");
  divisionByZero<std::int16_t>("s16");
  divisionByZero<std::uint32_t>("u32");
  divisionByZero<std::int32_t>("s32");
  divisionByZero<std::uint64_t>("u64");
  divisionByZero<std::int64_t>("s64");
}

TEST("logic and shifts") {
  logic<std::uint16_t>("b16");
  logic<std::uint32_t>("b32");
  logic<std::uint64_t>("b64");
}

TEST("sums of several words") {
  carries<std::uint32_t>("u32", "b32");
  carries<std::int32_t>("s32", "b32");
  carries<std::uint64_t>("u64", "b64");
  carries<std::int64_t>("s64", "b64");
}

TEST("dot products of bytes") {
  dots<std::uint8_t, std::uint8_t>("u32.u32");
  dots<std::uint8_t, std::int8_t>("u32.s32");
  dots<std::int8_t, std::uint8_t>("s32.u32");
  dots<std::int8_t, std::int8_t>("s32.s32");
}

TEST("saturating and 24-bit arithmetic") {
  using S = std::int32_t;
  using U = std::uint32_t;
  const auto clamp = [](std::int64_t x) {
    return static_cast<S>(std::clamp<std::int64_t>(x, INT32_MIN, INT32_MAX));
  };
  expect<S, S, S>("add.sat.s32", [&](S a, S b) { return clamp(std::int64_t{a} + b); });
  expect<S, S, S>("sub.sat.s32", [&](S a, S b) { return clamp(std::int64_t{a} - b); });
  expect<S, S, S, S>("mad.hi.sat.s32",
                     [&](S a, S b, S c) { return clamp(std::int64_t{high(a, b)} + c); });
  // The lowest 24 bits of each factor, with their sign.
  const auto low24 = [](S a) { return static_cast<std::int64_t>(a << 8 >> 8); };
  expect<U, U, U>("mul24.lo.u32", [](U a, U b) {
    return static_cast<U>(std::uint64_t{a & 0xffffff} * (b & 0xffffff));
  });
  expect<S, S, S>("mul24.lo.s32", [&](S a, S b) { return static_cast<S>(low24(a) * low24(b)); });
  expect<U, U, U, U>("mad24.lo.u32", [](U a, U b, U c) {
    return static_cast<U>(std::uint64_t{a & 0xffffff} * (b & 0xffffff) + c);
  });
  expect<S, S, S, S>("mad24.lo.s32",
                     [&](S a, S b, S c) { return static_cast<S>(low24(a) * low24(b) + c); });
}

TEST("lop3, shf, bmsk, szext") {
  using U = std::uint32_t;
  for (const U table : {0x00u, 0x80u, 0xfeu, 0x96u, 0xe8u, 0xcau, 0x1bu, 0xffu}) {
    expectAll<U>("lop3.b32 %d, %a0, %a1, %a2, " + std::to_string(table) + ";",
                 combinations<U, U, U>(), [&](U a, U b, U c) {
                   U d = 0;
                   for (int k = 0; k < 32; ++k) {
                     const int index = bit(a, k) << 2 | bit(b, k) << 1 | bit(c, k);
                     d = withBit(d, k, static_cast<int>(table >> index & 1));
                   }
                   return d;
                 });
  }
  for (const bool clamp : {false, true}) {
    const std::string mode = clamp ? "clamp" : "wrap";
    const auto amount = [clamp](U c) { return clamp ? std::min(c, 32u) : c & 31; };
    // shf: the operands are low, high, count; .l keeps the upper word, .r the lower.
    expect<U, U, U, U>("shf.l." + mode + ".b32", [&](U low, U high, U c) {
      const U n = amount(c);
      return n == 32 ? low : n == 0 ? high : high << n | low >> (32 - n);
    });
    expect<U, U, U, U>("shf.r." + mode + ".b32", [&](U low, U high, U c) {
      const U n = amount(c);
      return n == 32 ? high : n == 0 ? low : high << (32 - n) | low >> n;
    });
    expect<U, U, U>("bmsk." + mode + ".b32", [&](U a, U b) {
      const U position = clamp ? a : a & 31;
      const U count = clamp ? b : b & 31;
      U d = 0;
      for (U k = 0; k < 32; ++k) {
        if (k >= position && std::uint64_t{k} < std::uint64_t{position} + count) d |= 1u << k;
      }
      return d;
    });
    const auto kept = [&](U b) { return clamp ? std::min(b, 32u) : b & 31; };
    expect<U, U, U>("szext." + mode + ".u32",
                    [&](U a, U b) { return kept(b) == 32 ? a : a & ((1u << kept(b)) - 1); });
    expect<std::int32_t, std::int32_t, U>("szext." + mode + ".s32", [&](std::int32_t a, U b) {
      const U n = kept(b);
      std::int32_t d = 0;
      for (int k = 0; k < 32 && n > 0; ++k) d = withBit(d, k, bit(a, std::min<int>(k, n - 1)));
      return d;
    });
  }
}

TEST("prmt") {
  using U = std::uint32_t;
  expect<U, U, U, U>("prmt.b32", [](U a, U b, U c) {
    U d = 0;
    for (int k = 0; k < 4; ++k) {
      const U nibble = c >> 4 * k & 0xf;
      U byte = pickedByte(a, b, nibble & 7);
      if (nibble & 8) byte = byte & 0x80 ? 0xff : 0;
      d |= byte << 8 * k;
    }
    return d;
  });
  // Source: PTX ISA, table of prmt's modes: for each mode and each value of c[1:0], the indices of
  // the bytes of d from the highest down.
  struct Mode {
    const char *name;
    U sources[4];
  };
  const Mode modes[] = {
      {"f4e", {0x3210, 0x4321, 0x5432, 0x6543}}, {"b4e", {0x5670, 0x6701, 0x7012, 0x0123}},
      {"rc8", {0x0000, 0x1111, 0x2222, 0x3333}}, {"ecl", {0x3210, 0x3211, 0x3222, 0x3333}},
      {"ecr", {0x0000, 0x1110, 0x2210, 0x3210}}, {"rc16", {0x1010, 0x3232, 0x1010, 0x3232}}};
  for (const Mode &mode : modes) {
    expect<U, U, U, U>(std::string("prmt.b32.") + mode.name, [&](U a, U b, U c) {
      U d = 0;
      for (int k = 0; k < 4; ++k) d |= pickedByte(a, b, mode.sources[c & 3] >> 4 * k & 7) << 8 * k;
      return d;
    });
  }
}
