#include "reference.h"

#include <algorithm>
#include <random>

namespace test {

std::string modifier(Rounding rounding) {
  constexpr const char *NAMES[] = {".rn", ".rz", ".rm", ".rp"};
  return NAMES[static_cast<int>(rounding)];
}

long double roundToInteger(long double x, Rounding rounding) {
  switch (rounding) {
    case Rounding::Zero:
      return std::trunc(x);
    case Rounding::Down:
      return std::floor(x);
    case Rounding::Up:
      return std::ceil(x);
    case Rounding::Nearest:
      break;
  }
  const long double below = std::floor(x);
  const long double over = x - below;
  if (over != 0.5L) return over < 0.5L ? below : below + 1;
  return std::fmod(below, 2.0L) == 0 ? below : below + 1;
}

double decode(std::uint16_t bits, const Format &format) {
  const int fraction = bits & ((1 << format.fractionBits) - 1);
  const int exponent = (bits & 0x7fff) >> format.fractionBits;
  const int special = (1 << (15 - format.fractionBits)) - 1;
  double magnitude;
  if (exponent == special) {
    magnitude = fraction == 0 ? std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(fraction, format.smallestExponent - format.fractionBits);
  } else {
    magnitude = std::ldexp(fraction + (1 << format.fractionBits),
                           format.smallestExponent + exponent - 1 - format.fractionBits);
  }
  return bits & 0x8000 ? -magnitude : magnitude;
}

std::uint16_t encode(long double x, const Format &format, Rounding rounding) {
  if (std::isnan(x)) return 0x7fff;
  const auto sign = static_cast<std::uint16_t>(std::signbit(x) ? 0x8000 : 0);
  const auto infinity =
      static_cast<std::uint16_t>(0x7fff >> format.fractionBits << format.fractionBits);
  if (std::isinf(x)) return sign | infinity;
  if (x == 0) return sign;
  const int exponent = std::max(std::ilogb(x), format.smallestExponent);
  const int unit = exponent - format.fractionBits;
  const long double units = std::fabs(roundToInteger(std::ldexp(x, -unit), rounding));
  // Units of a subnormal have no implicit bit; one too many carries into the exponent by itself.
  const auto magnitude =
      static_cast<std::uint32_t>(units) +
      (static_cast<std::uint32_t>(exponent - format.smallestExponent) << format.fractionBits);
  if (magnitude < infinity) return static_cast<std::uint16_t>(sign | magnitude);
  // Too large: to infinity, unless the rule rounds towards zero here.
  const bool towardsZero = rounding == Rounding::Zero ||
                           (rounding == Rounding::Down && sign == 0) ||
                           (rounding == Rounding::Up && sign != 0);
  return static_cast<std::uint16_t>(sign | (towardsZero ? infinity - 1 : infinity));
}

std::string spell(const std::string &opcode, std::size_t arguments) {
  std::string text = opcode + " %d";
  for (std::size_t k = 0; k < arguments; ++k) text += ", %a" + std::to_string(k);
  return text + ";";
}

namespace {

template <class T>
std::vector<T> integers(bool few) {
  constexpr T LEAST = std::numeric_limits<T>::min();
  constexpr T MOST = std::numeric_limits<T>::max();
  std::vector<T> list = {0, 1, 2, 3, 7, 8, static_cast<T>(-1), MOST, LEAST};
  constexpr int BITS = 8 * sizeof(T);
  std::mt19937_64 random(1);
  if (!few) {
    for (const int value : {5, 6, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127}) {
      list.push_back(static_cast<T>(value));
      list.push_back(static_cast<T>(-value));
    }
    for (int bit = 7; bit < BITS; bit += 4) {
      list.push_back(static_cast<T>(std::uint64_t{1} << bit));
      list.push_back(static_cast<T>((std::uint64_t{1} << bit) - 1));
      list.push_back(static_cast<T>((std::uint64_t{1} << bit) + 1));
    }
    list.push_back(MOST - 1);
    list.push_back(LEAST + 1);
  } else {
    for (const int value : {20, 31, 33, 65}) list.push_back(static_cast<T>(value));
  }
  for (int k = 0; k < (few ? 4 : 8); ++k) list.push_back(static_cast<T>(random()));
  return list;
}

template <class T>
std::vector<T> floats(bool few) {
  using Limits = std::numeric_limits<T>;
  constexpr T INF = Limits::infinity();
  std::vector<T> magnitudes = {
      0, 1, T(1.5), T(0.1), Limits::denorm_min(), Limits::min(), Limits::max(), INF};
  if (!few) {
    const T more[] = {2,
                      3,
                      T(0.5),
                      T(2.5),
                      T(3.5),
                      10,
                      100,
                      T(1000.75),
                      T(1e-3),
                      T(1e10),
                      T(3e-30),
                      T(2e30),
                      1 + Limits::epsilon(),
                      1 - Limits::epsilon() / 2,
                      Limits::min() - Limits::denorm_min(),
                      Limits::min() / 3,
                      Limits::max() / 2,
                      1 / Limits::epsilon(),
                      1 / Limits::epsilon() + 1,
                      T(2147483648.0),
                      T(4294967296.0),
                      T(9.2233720368547758e18),
                      T(65504),
                      T(65520),
                      T(6e-5),
                      T(3e-8),
                      T(33554431),
                      T(0.7071067811865476),
                      T(3.141592653589793),
                      T(1.00048828125),
                      T(1.0009765625),
                      T(1.00390625)};
    magnitudes.insert(magnitudes.end(), std::begin(more), std::end(more));
  }
  std::mt19937_64 random(2);
  std::vector<T> list;
  for (const T magnitude : magnitudes) {
    list.push_back(magnitude);
    list.push_back(-magnitude);
  }
  list.push_back(Limits::quiet_NaN());
  // Any bits, and numbers of moderate size.
  for (int k = 0; k < (few ? 0 : 12); ++k) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;
    list.push_back(bitCast<T>(static_cast<Bits>(random())));
  }
  std::normal_distribution<T> normal(0, 2);
  for (int k = 0; k < (few ? 2 : 12); ++k) list.push_back(normal(random));
  return list;
}

template <class T>
std::vector<T> sixteens(bool few) {
  std::vector<T> list;
  const Format format = std::is_same_v<T, Half> ? HALF_FORMAT : BFLOAT_FORMAT;
  const auto infinity =
      static_cast<std::uint16_t>(0x7fff >> format.fractionBits << format.fractionBits);
  const auto smallestNormal = static_cast<std::uint16_t>(1 << format.fractionBits);
  std::vector<int> magnitudes = {
      0, 1, smallestNormal, infinity - 1, infinity, encode(1, format), encode(1.5L, format)};
  if (!few) {
    for (const int more : {2, 3, smallestNormal - 1, smallestNormal + 1, infinity - 2,
                           encode(1, format) + 1, encode(1, format) - 1}) {
      magnitudes.push_back(more);
    }
    for (const double value : {0.1, 2.0, 2.5, 3.0, 7.75, 100.0, 250.0, 1e-3, 0.33, 1e4}) {
      magnitudes.push_back(encode(value, format));
    }
  }
  for (const int magnitude : magnitudes) {
    list.push_back({static_cast<std::uint16_t>(magnitude)});
    list.push_back({static_cast<std::uint16_t>(magnitude | 0x8000)});
  }
  list.push_back({0x7fff});
  list.push_back({static_cast<std::uint16_t>(infinity | 0x8001)});
  std::mt19937 random(3);
  for (int k = 0; k < (few ? 2 : 16); ++k) list.push_back({static_cast<std::uint16_t>(random())});
  return list;
}

// Each value with another one beside it.
template <class P, class T>
std::vector<P> pairs(const std::vector<T> &singles) {
  std::vector<P> list;
  for (std::size_t k = 0; k < singles.size(); ++k) {
    list.push_back({singles[k], singles[(7 * k + 3) % singles.size()]});
  }
  return list;
}

template <class T>
std::vector<T> make(bool few) {
  if constexpr (std::is_same_v<T, bool>) {
    return {false, true};
  } else if constexpr (std::is_same_v<T, HalfPair>) {
    return pairs<HalfPair>(sixteens<Half>(few));
  } else if constexpr (std::is_same_v<T, BfloatPair>) {
    return pairs<BfloatPair>(sixteens<Bfloat>(few));
  } else if constexpr (IsSixteen<T>::value) {
    return sixteens<T>(few);
  } else if constexpr (std::is_floating_point_v<T>) {
    return floats<T>(few);
  } else {
    return integers<T>(few);
  }
}

}  // namespace

template <class T>
const std::vector<T> &values() {
  static const std::vector<T> list = make<T>(false);
  return list;
}

template <class T>
const std::vector<T> &fewValues() {
  static const std::vector<T> list = make<T>(true);
  return list;
}

#define INSTANTIATE(T)                        \
  template const std::vector<T> &values<T>(); \
  template const std::vector<T> &fewValues<T>()
INSTANTIATE(bool);
INSTANTIATE(std::uint8_t);
INSTANTIATE(std::int8_t);
INSTANTIATE(std::uint16_t);
INSTANTIATE(std::int16_t);
INSTANTIATE(std::uint32_t);
INSTANTIATE(std::int32_t);
INSTANTIATE(std::uint64_t);
INSTANTIATE(std::int64_t);
INSTANTIATE(float);
INSTANTIATE(double);
INSTANTIATE(Half);
INSTANTIATE(Bfloat);
INSTANTIATE(HalfPair);
INSTANTIATE(BfloatPair);
#undef INSTANTIATE

}  // namespace test
