package dev.heddle.tornado.kernels;

import uk.ac.manchester.tornado.api.math.TornadoMath;
import uk.ac.manchester.tornado.api.types.arrays.FloatArray;
import uk.ac.manchester.tornado.api.types.arrays.ShortArray;

/**
 * Elements of tensors in each storage type, as fp32 numbers.
 *
 * <p>A tensor comes twice: as floats, and as the 16-bit patterns of the same memory; the constant
 * {@code dtype} says which to use. It folds away, and with it the branch and the view that is not
 * used. Indices count elements of the payload; the guard band in front is skipped here.
 *
 * <p>TornadoVM's OpenCL backend has no {@code Float.intBitsToFloat} and no inverse of it, so
 * numbers are put together and taken apart by exact arithmetic: integers below 2^24 become floats
 * without rounding, and every other step is a multiplication by a power of two. No step needs
 * subnormal numbers unless the value is one, so that devices without them lose nothing else.
 */
@SuppressWarnings("IdentityBinaryExpression") // value != value: TornadoVM has no Float.isNaN
public final class Storage {
  /** {@code dtype} of IEEE 754 binary32; the constants are those of cl/storage.h. */
  public static final int FP32 = 0;

  /** {@code dtype} of IEEE 754 binary16. */
  public static final int FP16 = 1;

  /** {@code dtype} of bfloat16, the upper half of an fp32. */
  public static final int BF16 = 2;

  private static final float TWO_16 = 0x1p16f;
  private static final float TWO_32 = 0x1p32f;
  private static final float TWO_64 = 0x1p64f;
  private static final float ROUND = 0x1p23f; // added, it leaves no fraction bits: ties to even

  private Storage() {}

  // ---- tensors ---------------------------------------------------------------------------------

  /** Element {@code index} of a tensor whose storage varies. */
  public static float load(FloatArray tensor, ShortArray tensorBits, int index, int dtype) {
    if (dtype == FP32) {
      return tensor.get(Tensors.BAND + index);
    } else {
      return decode(tensorBits.get(Tensors.BAND + index), dtype);
    }
  }

  /** Rounds {@code value} to the storage type, once and to the nearest, and stores it. */
  public static void store(
      FloatArray tensor, ShortArray tensorBits, int index, float value, int dtype) {
    if (dtype == FP32) {
      tensor.set(Tensors.BAND + index, value);
    } else {
      tensorBits.set(Tensors.BAND + index, encode(value, dtype));
    }
  }

  /** Copies an element's bits, NaN included. */
  public static void copy(
      FloatArray source,
      ShortArray sourceBits,
      int sourceIndex,
      FloatArray target,
      ShortArray targetBits,
      int targetIndex,
      int dtype) {
    if (dtype == FP32) {
      target.set(Tensors.BAND + targetIndex, source.get(Tensors.BAND + sourceIndex));
    } else {
      targetBits.set(Tensors.BAND + targetIndex, sourceBits.get(Tensors.BAND + sourceIndex));
    }
  }

  /** Element {@code index} of a tensor that is fp32 whatever the storage of the others. */
  public static float load(FloatArray tensor, int index) {
    return tensor.get(Tensors.BAND + index);
  }

  /** Stores element {@code index} of a tensor that is fp32 whatever the storage of the others. */
  public static void store(FloatArray tensor, int index, float value) {
    tensor.set(Tensors.BAND + index, value);
  }

  // ---- bit patterns ----------------------------------------------------------------------------

  /** The value of a 16-bit pattern. */
  static float decode(short pattern, int dtype) {
    return dtype == FP16 ? decodeFp16(pattern) : floatOf(pattern << 16);
  }

  /** The number whose fp32 pattern is {@code bits}, as {@code Float.intBitsToFloat} has it. */
  static float floatOf(int bits) {
    int exponent = (bits >>> 23) & 0xFF;
    int fraction = bits & 0x7FFFFF;
    // value = integer * 2^(e - 150), and e = 1 again where the exponent bits are 0. The lower six
    // bits of e multiply first, so that nothing on the way is smaller than the result; at 255 the
    // result overflows to infinity.
    int integer = exponent == 0 ? fraction : fraction + 0x800000;
    int e = exponent == 0 ? 1 : exponent;
    float power = (float) (1 << (e & 15));
    power *= (e & 16) != 0 ? TWO_16 : 1.0f;
    power *= (e & 32) != 0 ? TWO_32 : 1.0f;
    float root = (e & 64) != 0 ? 0x1p-43f : 0x1p-75f;
    root *= (e & 128) != 0 ? TWO_64 : 1.0f;
    float magnitude = (float) integer * power * root * root;
    // A NaN constant is one that TornadoVM cannot print: infinity less itself is one too.
    magnitude = exponent == 255 && fraction != 0 ? magnitude - magnitude : magnitude;
    return bits < 0 ? -magnitude : magnitude;
  }

  private static float decodeFp16(short pattern) {
    int exponent = (pattern >>> 10) & 0x1F;
    int fraction = pattern & 0x3FF;
    int integer = exponent == 0 ? fraction : fraction + 0x400;
    int e = exponent == 0 ? 1 : exponent;
    // 2^31 is no int: where e is 31 the number is infinite or NaN, and told apart below.
    float magnitude = (float) integer * (float) (1 << (e & 31)) * 0x1p-25f;
    magnitude = e == 31 ? Float.POSITIVE_INFINITY : magnitude;
    magnitude = e == 31 && fraction != 0 ? magnitude - magnitude : magnitude;
    return pattern < 0 ? -magnitude : magnitude;
  }

  /** The 16-bit pattern of {@code value} rounded to the nearest, ties to even; NaN stays NaN. */
  static short encode(float value, int dtype) {
    int fractionBits = dtype == FP16 ? 10 : 7;
    int smallest = dtype == FP16 ? -14 : -126; // exponent of the smallest normal number
    int infinity = dtype == FP16 ? 0x7C00 : 0x7F80;
    int quiet = dtype == FP16 ? 0x200 : 0x40; // the fraction bit that a quiet NaN has

    // |value| = t * 2^e with 1 <= t < 2. A zero stays a zero, an infinity an infinity.
    float t = TornadoMath.abs(value);
    int e = 0;
    for (int up = 0; up < 3; up++) {
      e -= t < 1.0f ? 64 : 0;
      t *= t < 1.0f ? TWO_64 : 1.0f;
    }
    e += t >= TWO_64 ? 64 : 0;
    t *= t >= TWO_64 ? 0x1p-64f : 1.0f;
    e += t >= TWO_32 ? 32 : 0;
    t *= t >= TWO_32 ? 0x1p-32f : 1.0f;
    e += t >= TWO_16 ? 16 : 0;
    t *= t >= TWO_16 ? 0x1p-16f : 1.0f;
    e += t >= 0x1p8f ? 8 : 0;
    t *= t >= 0x1p8f ? 0x1p-8f : 1.0f;
    e += t >= 0x1p4f ? 4 : 0;
    t *= t >= 0x1p4f ? 0x1p-4f : 1.0f;
    e += t >= 0x1p2f ? 2 : 0;
    t *= t >= 0x1p2f ? 0x1p-2f : 1.0f;
    e += t >= 0x1p1f ? 1 : 0;
    t *= t >= 0x1p1f ? 0x1p-1f : 1.0f;

    // Below the smallest normal number the unit in the last place no longer shrinks. Adding ROUND
    // leaves no fraction bits; a carry runs into the exponent, as it should. No quotient: devices
    // may
    // round those as they like. (The one below tells the sign of a zero.)
    int below = TornadoMath.min(TornadoMath.max(smallest - e, 0), 30);
    float units = t * (float) (1 << fractionBits) * (float) (1 << (30 - below)) * 0x1p-30f;
    int rounded = (int) (TornadoMath.min(units, 2048.0f) + ROUND - ROUND);
    int pattern = rounded + (TornadoMath.max(e - smallest, 0) << fractionBits);
    pattern = TornadoMath.min(pattern, infinity);
    pattern = value != value ? infinity + quiet : pattern;
    return (short) (value < 0.0f || 1.0f / value < 0.0f ? pattern | 0x8000 : pattern);
  }
}
