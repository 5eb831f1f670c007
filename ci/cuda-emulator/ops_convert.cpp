// cvt. A register may be wider than the type that cvt names: it is read in its lower bits, and
// written with the sign or with zeros in its upper ones.

#include <limits>

#include "operations.h"

namespace ptx {

namespace {

// The element of a lane in a register of this width, and back; little-endian, like PTX.
template <class T>
T read(const std::byte *registers, int width, int lane) {
  T value;
  std::memcpy(&value, registers + lane * width, sizeof value);
  return value;
}

template <class T>
void write(std::byte *registers, int width, int lane, T value) {
  if constexpr (std::is_integral_v<T>) {
    const s64 extended = static_cast<s64>(value);
    std::memcpy(registers + lane * width, &extended, static_cast<std::size_t>(width));
  } else {
    const u64 zero = 0;
    std::memcpy(registers + lane * width, &zero, static_cast<std::size_t>(width));
    std::memcpy(registers + lane * width, &value, sizeof value);
  }
}

template <class D, class S, class F>
void convert(Warp &warp, const Instruction &instruction, Mask lanes) {
  if (instruction.width[0] == sizeof(D) && instruction.width[1] == sizeof(S)) {
    D *d = warp.operand<D>(instruction, 0);
    const S *s = warp.operand<S>(instruction, 1);
#pragma GCC ivdep
    for (int lane = 0; lane < LANES; lane++) {
      const D value = F()(s[lane]);
      d[lane] = lanes >> lane & 1 ? value : d[lane];
    }
    return;
  }
  auto *d = warp.operand<std::byte>(instruction, 0);
  const auto *s = warp.operand<std::byte>(instruction, 1);
  for (Mask rest = lanes; rest; rest &= rest - 1) {
    const int lane = __builtin_ctz(rest);
    write<D>(d, instruction.width[0], lane, F()(read<S>(s, instruction.width[1], lane)));
  }
}

template <class D, class S, class F>
void addConversion(OperationTable &t, const std::string &name) {
  t.add("cvt" + name, {convert<D, S, F>, {result<D>.wide(), input<S>.wide()}});
}

// ---- Between integers ----------------------------------------------------------------------------

template <class D>
struct Truncate {
  template <class S>
  D operator()(S value) const {
    return static_cast<D>(value);
  }
};

template <class D>
struct Clamp {
  template <class S>
  D operator()(S value) const {
    const __int128 wide = value;
    if (wide < std::numeric_limits<D>::min()) return std::numeric_limits<D>::min();
    if (wide > std::numeric_limits<D>::max()) return std::numeric_limits<D>::max();
    return static_cast<D>(value);
  }
};

// ---- To integers ---------------------------------------------------------------------------------

template <Round mode, class T>
T integral(T value) {
  switch (mode) {
    case Round::Nearest:
      return std::nearbyint(value);
    case Round::Zero:
      return std::trunc(value);
    case Round::Down:
      return std::floor(value);
    case Round::Up:
      return std::ceil(value);
  }
}

// Out of range is the nearest integer in range. NaN is 0, but from f64, and to 64 bits, the
// highest bit alone.
template <class D, class T>
D clampToInteger(T value) {
  constexpr bool WIDE = std::is_same_v<T, f64> || sizeof(D) == 8;
  constexpr D NAN_INTEGER = WIDE ? static_cast<D>(u64{1} << (8 * sizeof(D) - 1)) : D{0};
  constexpr T LOW = static_cast<T>(std::numeric_limits<D>::min());
  // The power of two behind the largest value, which a float holds exactly.
  constexpr T HIGH = static_cast<T>(std::numeric_limits<D>::max() / 2 + 1) * 2;
  if (!(value > LOW)) return isNan(value) ? NAN_INTEGER : std::numeric_limits<D>::min();
  return value < HIGH ? static_cast<D>(value) : std::numeric_limits<D>::max();
}

template <class D, Round mode, bool ftz>
struct ToInteger {
  D operator()(f32 value) const { return clampToInteger<D>(integral<mode>(flush<ftz>(value))); }
  D operator()(f64 value) const { return clampToInteger<D>(integral<mode>(value)); }
  D operator()(f16 value) const { return clampToInteger<D>(integral<mode>(toFloat(value))); }
  D operator()(bf16 value) const { return clampToInteger<D>(integral<mode>(toFloat(value))); }
};

// ---- To floats -----------------------------------------------------------------------------------

// An f64 as an f32 that rounds on to any narrower format as the f64 would: cut off, with the last
// bit set if anything was lost.
f32 toOdd(f64 value) {
  const f64 cut = rounded<Round::Zero>(
      [](f64 x, f64, f64) { return static_cast<f64>(static_cast<f32>(x)); }, value);
  if (isNan(value) || cut == value) return static_cast<f32>(cut);
  return bitsAs<f32>(bitsAs<u32>(static_cast<f32>(cut)) | 1);
}

template <Round mode, class D, bool ftz = false, bool sat = false>
struct ToFloat {
  template <class S>
  D operator()(S value) const {
    if constexpr (std::is_same_v<D, f64>) {
      return saturate<sat>(toF64(value));
    } else if constexpr (std::is_same_v<D, f32>) {
      return saturate<sat>(flush<ftz>(toF32(value)));
    } else {
      return to16(value);
    }
  }

 private:
  template <class S>
  static f64 toF64(S value) {
    if constexpr (std::is_integral_v<S>) {
      if constexpr (sizeof(S) < 8) return static_cast<f64>(value);
      if constexpr (mode == Round::Nearest) return static_cast<f64>(value);
      return directed<f64>(value);
    } else if constexpr (std::is_same_v<S, f32>) {
      return static_cast<f64>(flush<ftz>(value));
    } else if constexpr (std::is_same_v<S, f64>) {
      return value;
    } else {
      return static_cast<f64>(toFloat(value));
    }
  }

  template <class S>
  static f32 toF32(S value) {
    if constexpr (std::is_same_v<S, f16> || std::is_same_v<S, bf16>) {
      return toFloat(value);
    } else if constexpr (std::is_same_v<S, f32>) {
      return flush<ftz>(value);
    } else if constexpr (mode == Round::Nearest) {
      return static_cast<f32>(value);
    } else {
      return directed<f32>(value);
    }
  }

  // The conversion while the processor rounds that way.
  template <class T, class S>
  static T directed(S value) {
    volatile S source = value;
    volatile T converted;
    std::fesetround(mode == Round::Zero ? FE_TOWARDZERO
                    : mode == Round::Up ? FE_UPWARD
                                        : FE_DOWNWARD);
    converted = static_cast<T>(source);
    std::fesetround(FE_TONEAREST);
    return converted;
  }

  template <class S>
  static D to16(S value) {
    f32 single;
    if constexpr (std::is_same_v<S, f32>) {
      single = flush<ftz>(value);
    } else if constexpr (std::is_same_v<S, f16> || std::is_same_v<S, bf16>) {
      single = toFloat(value);
    } else {
      // Integers too large for an f64 are infinite in 16 bits, or round like the f64 near them.
      single = toOdd(static_cast<f64>(value));
    }
    single = saturate<sat>(single);
    if constexpr (std::is_same_v<D, f16>) {
      return toF16<mode>(single);
    } else {
      return toBf16<mode>(single);
    }
  }
};

// To an integer that is still a float.
template <class D, Round mode, bool ftz, bool sat>
struct ToIntegral {
  f32 operator()(f32 value) const { return saturate<sat>(integral<mode>(flush<ftz>(value))); }
  f64 operator()(f64 value) const { return saturate<sat>(integral<mode>(value)); }
  f16 operator()(f16 value) const {
    return toF16<Round::Nearest>(saturate<sat>(integral<mode>(toFloat(value))));
  }
};

// Two results in one register: the first operand is the upper half.
template <class T, Round mode, bool relu>
void addPacked(OperationTable &t, const std::string &name) {
  t.pure<Pair<T>, f32, f32>(name, [](f32 hi, f32 lo) {
    const auto half = [](f32 value) {
      // .relu: negative numbers become +0, NaN stays.
      const f32 kept = relu && !(value > 0.0f) && !isNan(value) ? 0.0f : value;
      if constexpr (std::is_same_v<T, f16>) {
        return toF16<mode>(kept);
      } else {
        return toBf16<mode>(kept);
      }
    };
    return Pair<T>{half(lo), half(hi)};
  });
}

// ---- Registration --------------------------------------------------------------------------------

template <class D, class S>
void addIntegers(OperationTable &t, const std::string &d, const std::string &s) {
  addConversion<D, S, Truncate<D>>(t, d + s);
  addConversion<D, S, Clamp<D>>(t, ".sat" + d + s);
}

template <class D, class S, bool ftz>
void addToInteger(OperationTable &t, const std::string &types) {
  for (const char *sat : {"", ".sat"}) {  // which a conversion to an integer does always
    const std::string suffix = (ftz ? ".ftz" : "") + (sat + types);
    addConversion<D, S, ToInteger<D, Round::Nearest, ftz>>(t, ".rni" + suffix);
    addConversion<D, S, ToInteger<D, Round::Zero, ftz>>(t, ".rzi" + suffix);
    addConversion<D, S, ToInteger<D, Round::Down, ftz>>(t, ".rmi" + suffix);
    addConversion<D, S, ToInteger<D, Round::Up, ftz>>(t, ".rpi" + suffix);
  }
}

template <class D, class S, bool ftz = false, bool sat = false>
void addToFloat(OperationTable &t, const std::string &types) {
  const std::string suffix = (ftz ? ".ftz" : "") + ((sat ? ".sat" : "") + types);
  addConversion<D, S, ToFloat<Round::Nearest, D, ftz, sat>>(t, ".rn" + suffix);
  addConversion<D, S, ToFloat<Round::Zero, D, ftz, sat>>(t, ".rz" + suffix);
  addConversion<D, S, ToFloat<Round::Down, D, ftz, sat>>(t, ".rm" + suffix);
  addConversion<D, S, ToFloat<Round::Up, D, ftz, sat>>(t, ".rp" + suffix);
}

template <class D, bool ftz, bool sat>
void addToIntegral(OperationTable &t, const std::string &types) {
  const std::string suffix = (ftz ? ".ftz" : "") + ((sat ? ".sat" : "") + types);
  addConversion<D, D, ToIntegral<D, Round::Nearest, ftz, sat>>(t, ".rni" + suffix);
  addConversion<D, D, ToIntegral<D, Round::Zero, ftz, sat>>(t, ".rzi" + suffix);
  addConversion<D, D, ToIntegral<D, Round::Down, ftz, sat>>(t, ".rmi" + suffix);
  addConversion<D, D, ToIntegral<D, Round::Up, ftz, sat>>(t, ".rpi" + suffix);
}

template <class T>
void addInteger(OperationTable &t, const std::string &type) {
  addIntegers<T, u8>(t, type, ".u8");
  addIntegers<T, s8>(t, type, ".s8");
  addIntegers<T, u16>(t, type, ".u16");
  addIntegers<T, s16>(t, type, ".s16");
  addIntegers<T, u32>(t, type, ".u32");
  addIntegers<T, s32>(t, type, ".s32");
  addIntegers<T, u64>(t, type, ".u64");
  addIntegers<T, s64>(t, type, ".s64");
  addToInteger<T, f32, false>(t, type + ".f32");
  addToInteger<T, f32, true>(t, type + ".f32");
  addToInteger<T, f64, false>(t, type + ".f64");
  addToInteger<T, f16, false>(t, type + ".f16");
  addToFloat<f32, T>(t, ".f32" + type);
  addToFloat<f64, T>(t, ".f64" + type);
  addToFloat<f16, T>(t, ".f16" + type);
}

}  // namespace

void addConversions(OperationTable &t) {
  addInteger<u8>(t, ".u8");
  addInteger<s8>(t, ".s8");
  addInteger<u16>(t, ".u16");
  addInteger<s16>(t, ".s16");
  addInteger<u32>(t, ".u32");
  addInteger<s32>(t, ".s32");
  addInteger<u64>(t, ".u64");
  addInteger<s64>(t, ".s64");

  // Between floats: exact, so without a rounding in the name.
  addConversion<f32, f16, ToFloat<Round::Nearest, f32>>(t, ".f32.f16");
  addConversion<f32, f16, ToFloat<Round::Nearest, f32>>(t, ".ftz.f32.f16");
  addConversion<f64, f16, ToFloat<Round::Nearest, f64>>(t, ".f64.f16");
  addConversion<f32, bf16, ToFloat<Round::Nearest, f32>>(t, ".f32.bf16");
  addConversion<f64, f32, ToFloat<Round::Nearest, f64>>(t, ".f64.f32");
  addConversion<f64, f32, ToFloat<Round::Nearest, f64, true>>(t, ".ftz.f64.f32");
  addConversion<f32, f32, ToFloat<Round::Nearest, f32>>(t, ".f32.f32");
  addConversion<f32, f32, ToFloat<Round::Nearest, f32, true>>(t, ".ftz.f32.f32");
  addConversion<f32, f32, ToFloat<Round::Nearest, f32, false, true>>(t, ".sat.f32.f32");
  addConversion<f32, f32, ToFloat<Round::Nearest, f32, true, true>>(t, ".ftz.sat.f32.f32");
  addConversion<f64, f64, ToFloat<Round::Nearest, f64>>(t, ".f64.f64");
  addConversion<f64, f64, ToFloat<Round::Nearest, f64, false, true>>(t, ".sat.f64.f64");
  addConversion<f16, f16, ToFloat<Round::Nearest, f16>>(t, ".f16.f16");
  addConversion<f16, f16, ToFloat<Round::Nearest, f16, false, true>>(t, ".sat.f16.f16");
  // Rounded.
  addToFloat<f32, f64>(t, ".f32.f64");
  addToFloat<f32, f64, true>(t, ".f32.f64");
  addToFloat<f32, f64, false, true>(t, ".f32.f64");
  addToFloat<f16, f32>(t, ".f16.f32");
  addToFloat<f16, f32, true>(t, ".f16.f32");
  addToFloat<f16, f32, false, true>(t, ".f16.f32");
  addToFloat<f16, f64>(t, ".f16.f64");
  addToFloat<bf16, f32>(t, ".bf16.f32");
  addToIntegral<f32, false, false>(t, ".f32.f32");
  addToIntegral<f32, true, false>(t, ".f32.f32");
  addToIntegral<f32, false, true>(t, ".f32.f32");
  addToIntegral<f32, true, true>(t, ".f32.f32");
  addToIntegral<f64, false, false>(t, ".f64.f64");
  addToIntegral<f64, false, true>(t, ".f64.f64");
  addToIntegral<f16, false, false>(t, ".f16.f16");
  // Two at once.
  addPacked<f16, Round::Nearest, false>(t, "cvt.rn.f16x2.f32");
  addPacked<f16, Round::Nearest, true>(t, "cvt.rn.relu.f16x2.f32");
  addPacked<f16, Round::Zero, false>(t, "cvt.rz.f16x2.f32");
  addPacked<f16, Round::Zero, true>(t, "cvt.rz.relu.f16x2.f32");
  addPacked<bf16, Round::Nearest, false>(t, "cvt.rn.bf16x2.f32");
  addPacked<bf16, Round::Nearest, true>(t, "cvt.rn.relu.bf16x2.f32");
  addPacked<bf16, Round::Zero, false>(t, "cvt.rz.bf16x2.f32");
  addPacked<bf16, Round::Zero, true>(t, "cvt.rz.relu.bf16x2.f32");

  // To the 10 mantissa bits of tf32, ties away from zero.
  t.pure<u32, f32>("cvt.rna.tf32.f32", [](f32 value) {
    const u32 bits = bitsAs<u32>(value);
    const bool finite = (bits & 0x7f80'0000u) != 0x7f80'0000u;
    return isNan(value) ? NAN_F32 : finite ? (bits + 0x1000u) & ~0x1fffu : bits;
  });
}

}  // namespace ptx
