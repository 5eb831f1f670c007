// Integer arithmetic, logic, shifts and bit fields. What C++ leaves undefined is as PTX defines it:
// sums wrap, shifts past the width give 0 or the sign, INT_MIN / -1 wraps. Division by zero PTX
// leaves to the machine: here all bits are set, and the remainder is the dividend.

#include <algorithm>
#include <limits>

#include "operations.h"

namespace ptx {

namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

template <class T>
constexpr int BITS = 8 * sizeof(T);

template <class T>
constexpr bool SIGNED = std::is_signed_v<T>;

// The type of the whole product.
template <class T>
using Wide = std::conditional_t<
    sizeof(T) == 2, std::conditional_t<SIGNED<T>, s32, u32>,
    std::conditional_t<sizeof(T) == 4, std::conditional_t<SIGNED<T>, s64, u64>,
                       std::conditional_t<SIGNED<T>, __int128, unsigned __int128>>>;

template <class T>
T addWrapping(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b));
}

template <class T>
T subtractWrapping(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b));
}

template <class T>
T multiplyLow(T a, T b) {
  return static_cast<T>(static_cast<u64>(a) * static_cast<u64>(b));
}

template <class T>
T multiplyHigh(T a, T b) {
  return static_cast<T>(static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b) >> BITS<T>);
}

template <class T>
Wide<T> multiplyWide(T a, T b) {
  return static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b);
}

template <class T>
T divide(T a, T b) {
  if (b == 0) return static_cast<T>(~T{0});
  if (SIGNED<T> && b == static_cast<T>(-1)) return subtractWrapping(T{0}, a);
  return static_cast<T>(a / b);
}

template <class T>
T remainder(T a, T b) {
  if (b == 0) return a;
  if (SIGNED<T> && b == static_cast<T>(-1)) return 0;
  return static_cast<T>(a % b);
}

template <class T>
T saturateTo(s64 value) {
  return static_cast<T>(
      std::clamp<s64>(value, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
}

// Shifts of any number of bits from the width on are all the same.
template <class T>
T shiftLeft(T a, u32 count) {
  return count >= BITS<T> ? T{0} : static_cast<T>(static_cast<u64>(a) << count);
}

template <class T>
T shiftRight(T a, u32 count) {
  return count >= BITS<T> ? static_cast<T>(a < 0 ? -1 : 0) : static_cast<T>(a >> count);
}

// The middle of hi:lo, shifted by up to 32 bits.
u32 funnelLeft(u32 lo, u32 hi, u32 count) {
  return static_cast<u32>(((u64{hi} << 32 | lo) << count) >> 32);
}

u32 funnelRight(u32 lo, u32 hi, u32 count) {
  return static_cast<u32>((u64{hi} << 32 | lo) >> count);
}

template <class T>
u32 countLeadingZeros(T a) {
  if (a == 0) return BITS<T>;
  return static_cast<u32>(sizeof(T) == 8 ? __builtin_clzll(a) : __builtin_clz(static_cast<u32>(a)));
}

// The position of the highest bit that differs from the sign.
template <class T>
u32 findHighest(T a) {
  const auto bits = static_cast<Unsigned<T>>(SIGNED<T> && a < 0 ? ~a : a);
  return bits == 0 ? ~u32{0} : BITS<T> - 1 - countLeadingZeros(bits);
}

template <class T>
T reverseBits(T a) {
  T reversed = 0;
  for (int k = 0; k < BITS<T>; k++) reversed |= (a >> k & 1) << (BITS<T> - 1 - k);
  return reversed;
}

// Ones from position on, so many, none beyond the width.
template <class T>
T fieldMask(u32 position, u32 length) {
  const T ones = length >= BITS<T> ? static_cast<T>(~T{0}) : static_cast<T>((T{1} << length) - 1);
  return shiftLeft<T>(ones, position);
}

template <class T>
T extractField(T a, u32 b, u32 c) {
  using U = Unsigned<T>;
  const u32 position = b & 255;
  const u32 length = c & 255;
  const U field = shiftRight<U>(static_cast<U>(a), position) & fieldMask<U>(0, length);
  if (!SIGNED<T> || length == 0) return static_cast<T>(field);
  const u32 top = std::min<u32>(position + length - 1, BITS<T> - 1);
  const bool negative = static_cast<U>(a) >> top & 1;
  const u32 kept = position > top ? 0 : top - position + 1;
  return static_cast<T>(negative ? field | ~fieldMask<U>(0, kept) : field);
}

template <class T>
T insertField(T a, T b, u32 c, u32 d) {
  const u32 position = c & 255;
  const T mask = fieldMask<T>(position, d & 255);
  return static_cast<T>((shiftLeft<T>(a, position) & mask) | (b & ~mask));
}

u32 selectByte(u32 a, u32 b, u32 selector) {
  const u32 byte = static_cast<u32>((u64{b} << 32 | a) >> (selector & 7) * 8) & 255;
  return selector & 8 ? (byte & 128 ? 255 : 0) : byte;
}

// Four bytes of a and b, each chosen by a nibble of c.
u32 permute(u32 a, u32 b, u32 c) {
  u32 value = 0;
  for (int k = 0; k < 4; k++) value |= selectByte(a, b, c >> 4 * k & 15) << 8 * k;
  return value;
}

// The special modes of prmt, by the nibbles that byte k takes for each value of c's lowest bits.
template <class F>
u32 permuteBy(u32 a, u32 b, u32 c, F nibble) {
  u32 value = 0;
  for (u32 k = 0; k < 4; k++) value |= selectByte(a, b, nibble(c & 3, k) & 7) << 8 * k;
  return value;
}

// Any function of three bits: bit 4a+2b+c of the table.
u32 lookUp(u32 a, u32 b, u32 c, u32 table) {
  u32 value = 0;
  for (u32 k = 0; k < 8; k++) {
    const u32 term = (k & 4 ? a : ~a) & (k & 2 ? b : ~b) & (k & 1 ? c : ~c);
    value |= table >> k & 1 ? term : 0;
  }
  return value;
}

template <class A, class B>
u32 dot4(u32 a, u32 b, u32 c) {
  for (int k = 0; k < 4; k++) {
    c += static_cast<u32>(static_cast<A>(a >> 8 * k) * static_cast<B>(b >> 8 * k));
  }
  return c;
}

template <class A, class B>
u32 dot2(u32 a, u32 b, u32 c, int half) {
  using A16 = std::conditional_t<SIGNED<A>, s16, u16>;
  for (int k = 0; k < 2; k++) {
    c += static_cast<u32>(static_cast<A16>(a >> 16 * k) * static_cast<B>(b >> 8 * (2 * half + k)));
  }
  return c;
}

// ---- Registration --------------------------------------------------------------------------------

template <class T>
void addArithmetic(OperationTable &t, const std::string &type) {
  t.pure<T, T, T>("add." + type, [](T a, T b) { return addWrapping(a, b); });
  t.pure<T, T, T>("sub." + type, [](T a, T b) { return subtractWrapping(a, b); });
  t.pure<T, T, T>("mul.lo." + type, [](T a, T b) { return multiplyLow(a, b); });
  t.pure<T, T, T>("mul.hi." + type, [](T a, T b) { return multiplyHigh(a, b); });
  t.pure<T, T, T, T>("mad.lo." + type,
                     [](T a, T b, T c) { return addWrapping(multiplyLow(a, b), c); });
  t.pure<T, T, T, T>("mad.hi." + type,
                     [](T a, T b, T c) { return addWrapping(multiplyHigh(a, b), c); });
  t.pure<T, T, T>("div." + type, [](T a, T b) { return divide(a, b); });
  t.pure<T, T, T>("rem." + type, [](T a, T b) { return remainder(a, b); });
  t.pure<T, T, T>("min." + type, [](T a, T b) { return std::min(a, b); });
  t.pure<T, T, T>("max." + type, [](T a, T b) { return std::max(a, b); });
  t.pure<T, T, T, T>("sad." + type, [](T a, T b, T c) {
    return addWrapping(c, a < b ? subtractWrapping(b, a) : subtractWrapping(a, b));
  });
  t.pure<T, T, u32>("shr." + type, [](T a, u32 count) { return shiftRight(a, count); });
  if constexpr (SIGNED<T>) {
    t.pure<T, T>("abs." + type, [](T a) { return a < 0 ? subtractWrapping(T{0}, a) : a; });
    t.pure<T, T>("neg." + type, [](T a) { return subtractWrapping(T{0}, a); });
  }
  if constexpr (sizeof(T) < 8) {
    using W = Wide<T>;
    t.pure<W, T, T>("mul.wide." + type, [](T a, T b) { return multiplyWide(a, b); });
    t.pure<W, T, T, W>("mad.wide." + type,
                       [](T a, T b, W c) { return addWrapping(multiplyWide(a, b), c); });
  }
  if constexpr (sizeof(T) > 2) {
    t.pure<T, T, u32, u32>("bfe." + type, [](T a, u32 b, u32 c) { return extractField(a, b, c); });
    t.pure<u32, T>("bfind." + type, [](T a) { return findHighest(a); });
    t.pure<u32, T>("bfind.shiftamt." + type, [](T a) {
      const u32 position = findHighest(a);
      return position == ~u32{0} ? position : BITS<T> - 1 - position;
    });
  }
}

template <class T>
void addLogic(OperationTable &t, const std::string &type) {
  t.pure<T, T, T>("and." + type, [](T a, T b) { return static_cast<T>(a & b); });
  t.pure<T, T, T>("or." + type, [](T a, T b) { return static_cast<T>(a | b); });
  t.pure<T, T, T>("xor." + type, [](T a, T b) { return static_cast<T>(a ^ b); });
  t.pure<T, T>("not." + type, [](T a) { return static_cast<T>(~a); });
  t.pure<T, T>("cnot." + type, [](T a) { return static_cast<T>(a == 0); });
  t.pure<T, T, u32>("shl." + type, [](T a, u32 count) { return shiftLeft(a, count); });
  t.pure<T, T, u32>("shr." + type, [](T a, u32 count) { return shiftRight(a, count); });
  if constexpr (sizeof(T) > 2) {
    t.pure<u32, T>("popc." + type, [](T a) { return static_cast<u32>(__builtin_popcountll(a)); });
    t.pure<u32, T>("clz." + type, [](T a) { return countLeadingZeros(a); });
    t.pure<T, T>("brev." + type, [](T a) { return reverseBits(a); });
    t.pure<T, T, T, u32, u32>("bfi." + type,
                              [](T a, T b, u32 c, u32 d) { return insertField(a, b, c, d); });
  }
}

template <class A, class B>
void addDots(OperationTable &t, const std::string &types) {
  t.pure<u32, u32, u32, u32>("dp4a." + types,
                             [](u32 a, u32 b, u32 c) { return dot4<A, B>(a, b, c); });
  t.pure<u32, u32, u32, u32>("dp2a.lo." + types,
                             [](u32 a, u32 b, u32 c) { return dot2<A, B>(a, b, c, 0); });
  t.pure<u32, u32, u32, u32>("dp2a.hi." + types,
                             [](u32 a, u32 b, u32 c) { return dot2<A, B>(a, b, c, 1); });
}

// Arithmetic of more than one word, with the carry bit in between. The sum is a + b + carry, and a
// difference a + ~b + carry, with the carry of a difference the opposite of a borrow.
template <class T, bool subtract, bool carryIn, bool carryOut>
void addWithCarry(Warp &warp, const Instruction &instruction, Mask lanes) {
  T *d = warp.operand<T>(instruction, 0);
  const T *a = warp.operand<T>(instruction, 1);
  const T *b = warp.operand<T>(instruction, 2);
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    const T y = subtract ? ~b[lane] : b[lane];
    const T in = carryIn ? warp.carry >> lane & 1 : subtract;
    const unsigned __int128 sum = static_cast<unsigned __int128>(a[lane]) + y + in;
    d[lane] = static_cast<T>(sum);
    if (carryOut) {
      const Mask out = static_cast<Mask>(sum >> BITS<T> & 1);
      warp.carry = (warp.carry & ~(Mask{1} << lane)) | out << lane;
    }
  }
}

template <class T, bool high, bool carryIn, bool carryOut>
void multiplyWithCarry(Warp &warp, const Instruction &instruction, Mask lanes) {
  T *d = warp.operand<T>(instruction, 0);
  const T *a = warp.operand<T>(instruction, 1);
  const T *b = warp.operand<T>(instruction, 2);
  const T *c = warp.operand<T>(instruction, 3);
  using U = Unsigned<T>;
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    const U product =
        static_cast<U>(high ? multiplyHigh(a[lane], b[lane]) : multiplyLow(a[lane], b[lane]));
    const U in = carryIn ? warp.carry >> lane & 1 : 0;
    const unsigned __int128 sum =
        static_cast<unsigned __int128>(product) + static_cast<U>(c[lane]) + in;
    d[lane] = static_cast<T>(sum);
    if (carryOut) {
      const Mask out = static_cast<Mask>(sum >> BITS<T> & 1);
      warp.carry = (warp.carry & ~(Mask{1} << lane)) | out << lane;
    }
  }
}

template <class T>
void addCarries(OperationTable &t, const std::string &type) {
  using U = Unsigned<T>;
  const std::vector<Slot> two = {result<U>, input<U>, input<U>};
  t.add("add.cc." + type, {addWithCarry<U, false, false, true>, two});
  t.add("addc." + type, {addWithCarry<U, false, true, false>, two});
  t.add("addc.cc." + type, {addWithCarry<U, false, true, true>, two});
  t.add("sub.cc." + type, {addWithCarry<U, true, false, true>, two});
  t.add("subc." + type, {addWithCarry<U, true, true, false>, two});
  t.add("subc.cc." + type, {addWithCarry<U, true, true, true>, two});
  const std::vector<Slot> three = {result<T>, input<T>, input<T>, input<T>};
  t.add("mad.lo.cc." + type, {multiplyWithCarry<T, false, false, true>, three});
  t.add("mad.hi.cc." + type, {multiplyWithCarry<T, true, false, true>, three});
  t.add("madc.lo." + type, {multiplyWithCarry<T, false, true, false>, three});
  t.add("madc.hi." + type, {multiplyWithCarry<T, true, true, false>, three});
  t.add("madc.lo.cc." + type, {multiplyWithCarry<T, false, true, true>, three});
  t.add("madc.hi.cc." + type, {multiplyWithCarry<T, true, true, true>, three});
}

}  // namespace

void addIntegerOperations(OperationTable &t) {
  addArithmetic<u16>(t, "u16");
  addArithmetic<s16>(t, "s16");
  addArithmetic<u32>(t, "u32");
  addArithmetic<s32>(t, "s32");
  addArithmetic<u64>(t, "u64");
  addArithmetic<s64>(t, "s64");
  addLogic<u16>(t, "b16");
  addLogic<u32>(t, "b32");
  addLogic<u64>(t, "b64");
  addCarries<u32>(t, "u32");
  addCarries<s32>(t, "s32");
  addCarries<u64>(t, "u64");
  addCarries<s64>(t, "s64");
  addDots<u8, u8>(t, "u32.u32");
  addDots<u8, s8>(t, "u32.s32");
  addDots<s8, u8>(t, "s32.u32");
  addDots<s8, s8>(t, "s32.s32");

  t.pure<s32, s32, s32>("add.sat.s32", [](s32 a, s32 b) { return saturateTo<s32>(s64{a} + b); });
  t.pure<s32, s32, s32>("sub.sat.s32", [](s32 a, s32 b) { return saturateTo<s32>(s64{a} - b); });
  t.pure<s32, s32, s32, s32>("mad.hi.sat.s32", [](s32 a, s32 b, s32 c) {
    return saturateTo<s32>(s64{multiplyHigh(a, b)} + c);
  });
  // 24-bit factors.
  t.pure<u32, u32, u32>("mul24.lo.u32",
                        [](u32 a, u32 b) { return (a & 0xffffff) * (b & 0xffffff); });
  t.pure<s32, s32, s32>("mul24.lo.s32", [](s32 a, s32 b) {
    return multiplyLow(static_cast<s32>(u32(a) << 8) >> 8, static_cast<s32>(u32(b) << 8) >> 8);
  });
  t.pure<u32, u32, u32, u32>(
      "mad24.lo.u32", [](u32 a, u32 b, u32 c) { return (a & 0xffffff) * (b & 0xffffff) + c; });
  t.pure<s32, s32, s32, s32>("mad24.lo.s32", [](s32 a, s32 b, s32 c) {
    return addWrapping(
        multiplyLow(static_cast<s32>(u32(a) << 8) >> 8, static_cast<s32>(u32(b) << 8) >> 8), c);
  });

  t.pure<u32, u32, u32, u32, u32>(
      "lop3.b32", [](u32 a, u32 b, u32 c, u32 table) { return lookUp(a, b, c, table); });
  t.pure<u32, u32, u32, u32>(
      "shf.l.wrap.b32", [](u32 lo, u32 hi, u32 count) { return funnelLeft(lo, hi, count & 31); });
  t.pure<u32, u32, u32, u32>(
      "shf.r.wrap.b32", [](u32 lo, u32 hi, u32 count) { return funnelRight(lo, hi, count & 31); });
  t.pure<u32, u32, u32, u32>("shf.l.clamp.b32", [](u32 lo, u32 hi, u32 count) {
    return funnelLeft(lo, hi, std::min(count, 32u));
  });
  t.pure<u32, u32, u32, u32>("shf.r.clamp.b32", [](u32 lo, u32 hi, u32 count) {
    return funnelRight(lo, hi, std::min(count, 32u));
  });
  t.pure<u32, u32, u32>("bmsk.clamp.b32",
                        [](u32 a, u32 b) { return fieldMask<u32>(std::min(a, 32u), b); });
  t.pure<u32, u32, u32>("bmsk.wrap.b32",
                        [](u32 a, u32 b) { return fieldMask<u32>(a & 31, b & 31); });
  t.pure<u32, u32, u32>("szext.clamp.u32", [](u32 a, u32 b) { return a & fieldMask<u32>(0, b); });
  t.pure<u32, u32, u32>("szext.wrap.u32",
                        [](u32 a, u32 b) { return a & fieldMask<u32>(0, b & 31); });
  t.pure<s32, s32, u32>("szext.clamp.s32", [](s32 a, u32 b) {
    return b == 0 ? 0 : extractField<s32>(a, 0, std::min(b, 32u));
  });
  t.pure<s32, s32, u32>("szext.wrap.s32", [](s32 a, u32 b) {
    return (b & 31) == 0 ? 0 : extractField<s32>(a, 0, b & 31);
  });

  t.pure<u32, u32, u32, u32>("prmt.b32", [](u32 a, u32 b, u32 c) { return permute(a, b, c); });
  t.pure<u32, u32, u32, u32>("prmt.b32.f4e", [](u32 a, u32 b, u32 c) {
    return permuteBy(a, b, c, [](u32 s, u32 k) { return s + k; });
  });
  t.pure<u32, u32, u32, u32>("prmt.b32.b4e", [](u32 a, u32 b, u32 c) {
    return permuteBy(a, b, c, [](u32 s, u32 k) { return s - k; });
  });
  t.pure<u32, u32, u32, u32>("prmt.b32.rc8", [](u32 a, u32 b, u32 c) {
    return permuteBy(a, b, c, [](u32 s, u32) { return s; });
  });
  t.pure<u32, u32, u32, u32>("prmt.b32.ecl", [](u32 a, u32 b, u32 c) {
    return permuteBy(a, b, c, [](u32 s, u32 k) { return std::max(s, k); });
  });
  t.pure<u32, u32, u32, u32>("prmt.b32.ecr", [](u32 a, u32 b, u32 c) {
    return permuteBy(a, b, c, [](u32 s, u32 k) { return std::min(s, k); });
  });
  t.pure<u32, u32, u32, u32>("prmt.b32.rc16", [](u32 a, u32 b, u32 c) {
    return permuteBy(a, b, c, [](u32 s, u32 k) { return (s & 1) * 2 + (k & 1); });
  });
}

}  // namespace ptx
