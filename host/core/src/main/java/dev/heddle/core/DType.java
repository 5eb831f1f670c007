package dev.heddle.core;

/** Storage type of a tensor's elements; arithmetic is fp32 or wider whatever the storage. */
public enum DType {
  /** IEEE 754 binary32. */
  FP32(4),
  /** IEEE 754 binary16: 1 sign, 5 exponent, 10 mantissa bits. */
  FP16(2),
  /** bfloat16: 1 sign, 8 exponent, 7 mantissa bits; the upper half of an fp32. */
  BF16(2);

  private final int bytes;

  DType(int bytes) {
    this.bytes = bytes;
  }

  /** Size of one element in bytes. */
  public int bytes() {
    return bytes;
  }

  /** Name as users write it: {@code fp32}, {@code fp16}, {@code bf16}. */
  public String label() {
    return name().toLowerCase(java.util.Locale.ROOT);
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

  /** The nearest value that this type can store, ties to even. */
  public float round(float value) {
    return switch (this) {
      case FP32 -> value;
      case FP16, BF16 -> decode(encode(value));
    };
  }

  /**
   * The 16-bit pattern of {@code value} rounded to this type, ties to even; a NaN stays a NaN.
   *
   * @throws IllegalStateException for fp32, which has no 16-bit pattern
   */
  public short encode(float value) {
    return switch (this) {
      case FP32 -> throw new IllegalStateException("fp32 has no 16-bit pattern");
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
   * @throws IllegalStateException for fp32, which has no 16-bit pattern
   */
  public float decode(short pattern) {
    return switch (this) {
      case FP32 -> throw new IllegalStateException("fp32 has no 16-bit pattern");
      case FP16 -> Float.float16ToFloat(pattern);
      case BF16 -> Float.intBitsToFloat(pattern << 16);
    };
  }
}
