package dev.heddle.core;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * Storage type of a tensor's elements. Operands have one of the {@link #FLOATING} types, and
 * arithmetic is fp32 or wider whatever the storage; the others are for lengths and masks.
 */
public enum DType {
  /** IEEE 754 binary32. */
  FP32(4),
  /** IEEE 754 binary16: 1 sign, 5 exponent, 10 mantissa bits. */
  FP16(2),
  /** bfloat16: 1 sign, 8 exponent, 7 mantissa bits; the upper half of an fp32. */
  BF16(2),
  /** 32-bit signed integer: lengths and positions. */
  INT32(4),
  /** One byte, 0 or 1: boolean masks. */
  BOOL(1);

  /** The types that operands may have. */
  public static final List<DType> FLOATING =
      Arrays.stream(values()).filter(DType::isFloating).toList();

  private final int bytes;

  DType(int bytes) {
    this.bytes = bytes;
  }

  /** Size of one element in bytes. */
  public int bytes() {
    return bytes;
  }

  /**
   * Name as users write it: {@code fp32}, {@code fp16}, {@code bf16}, {@code int32}, {@code bool}.
   */
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** Whether it stores floating-point numbers. */
  public boolean isFloating() {
    return this != INT32 && this != BOOL;
  }

  /**
   * Checks the type of an operation's operands.
   *
   * @throws IllegalArgumentException when it is not a floating-point type
   */
  static void requireFloating(DType dtype) {
    if (!dtype.isFloating()) {
      throw new IllegalArgumentException(
          "dtype " + dtype.label() + "; operands are fp32, fp16 or bf16");
    }
  }

  /** Whether an element is a 16-bit pattern that {@link #encode} makes. */
  public boolean isHalf() {
    return this == FP16 || this == BF16;
  }

  /**
   * Distance from the largest storable value that is no larger than {@code |value|} to the next:
   * the unit in the last place there. At the end of the range, the distance below.
   */
  public double ulp(float value) {
    float magnitude = Math.abs(value);
    if (this == FP32) {
      return Math.ulp(Math.min(magnitude, Float.MAX_VALUE));
    }
    int infinity = encode(Float.POSITIVE_INFINITY);
    int pattern = Math.min(encode(magnitude), infinity - 1);
    if (decode((short) pattern) > magnitude) {
      pattern--;
    }
    int next = pattern + 1 == infinity ? pattern : pattern + 1;
    return (double) decode((short) next) - decode((short) (next - 1));
  }

  /**
   * The nearest value that this type can store, ties to even. A boolean is 1 for anything but 0; an
   * integer is exact up to 2^24.
   */
  public float round(float value) {
    return switch (this) {
      case FP32 -> value;
      case FP16, BF16 -> decode(encode(value));
      case INT32 -> (float) (int) Math.rint(value);
      case BOOL -> value == 0 ? 0 : 1;
    };
  }

  /**
   * The 16-bit pattern of {@code value} rounded to this type, ties to even; a NaN stays a NaN.
   *
   * @throws IllegalStateException for a type that has no 16-bit pattern
   */
  public short encode(float value) {
    return switch (this) {
      case FP32, INT32, BOOL -> throw new IllegalStateException(label() + " has no 16-bit pattern");
      case FP16 -> Float.floatToFloat16(value);
      case BF16 -> {
        int bits = Float.floatToRawIntBits(value);
        if (Float.isNaN(value)) {
          // Rounding could carry a NaN's mantissa into the exponent or clear it; keep it quiet.
          yield (short) ((bits >>> 16) | 0x0040);
        }
        yield (short) ((bits + 0x7FFF + ((bits >>> 16) & 1)) >>> 16);
      }
    };
  }

  /**
   * The value of a 16-bit pattern of this type.
   *
   * @throws IllegalStateException for a type that has no 16-bit pattern
   */
  public float decode(short pattern) {
    return switch (this) {
      case FP32, INT32, BOOL -> throw new IllegalStateException(label() + " has no 16-bit pattern");
      case FP16 -> Float.float16ToFloat(pattern);
      case BF16 -> Float.intBitsToFloat(pattern << 16);
    };
  }
}
