package dev.heddle.tornado.kernels;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.DType;
import dev.heddle.core.kernel.Siblings;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * The arithmetic that stands for bit patterns on a device gives what core's {@link DType} gives.
 */
class StorageTest {
  private static final int FLOATS = 2_000_000;

  private static int code(DType dtype) {
    return switch (dtype) {
      case FP32 -> Storage.FP32;
      case FP16 -> Storage.FP16;
      case BF16 -> Storage.BF16;
      case INT32, BOOL -> throw new IllegalArgumentException(dtype.label());
    };
  }

  /** Equal bits, all NaNs being one. */
  private static void assertSame(float actual, float expected, String what) {
    if (Float.floatToIntBits(actual) != Float.floatToIntBits(expected)) {
      assertThat(actual).as(what).isEqualTo(expected);
    }
  }

  private static void assertEncoded(float value, DType dtype) {
    short actual = Storage.encode(value, code(dtype));
    short expected = dtype.encode(value);
    boolean same = Float.isNaN(value) ? Float.isNaN(dtype.decode(actual)) : actual == expected;
    if (!same) {
      assertThat(actual & 0xFFFF)
          .as("%s, bits %08x, as %s", value, Float.floatToRawIntBits(value), dtype)
          .isEqualTo(expected & 0xFFFF);
    }
  }

  @Test
  void codesAreThoseThatTheHostSends() {
    for (DType dtype : DType.FLOATING) {
      assertThat(code(dtype)).isEqualTo(Siblings.code(dtype));
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FP16", "BF16"})
  void everyPatternHasItsValue(DType dtype) {
    for (int pattern = 0; pattern < 1 << 16; pattern++) {
      assertSame(
          Storage.decode((short) pattern, code(dtype)),
          dtype.decode((short) pattern),
          "%04x".formatted(pattern));
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FP16", "BF16"})
  void everyPatternItsNeighbourhoodAndEveryTieIsRounded(DType dtype) {
    for (int pattern = 0; pattern < 1 << 16; pattern++) {
      float value = dtype.decode((short) pattern);
      // Exact half way to the next pattern, the larger one in magnitude; as fp32 it is exact too.
      float tie = (float) ((value + (double) dtype.decode((short) (pattern + 1))) / 2);
      for (float near : new float[] {value, tie}) {
        assertEncoded(near, dtype);
        assertEncoded(Math.nextUp(near), dtype);
        assertEncoded(Math.nextDown(near), dtype);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FP16", "BF16"})
  void beyondTheLargestNumberIsInfinityFromHalfAUnitOn(DType dtype) {
    float largest = dtype.decode((short) (dtype.encode(Float.POSITIVE_INFINITY) - 1));
    float tie = (float) (largest + dtype.ulp(largest) / 2);
    for (float sign : new float[] {1, -1}) {
      assertThat(dtype.decode(Storage.encode(sign * tie, code(dtype)))).isInfinite();
      assertThat(dtype.decode(Storage.encode(sign * Math.nextDown(tie), code(dtype))))
          .isEqualTo(sign * largest);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FP16", "BF16"})
  void floatsOfAllBitPatternsAreRounded(DType dtype) {
    SplittableRandom random = new SplittableRandom(11);
    for (int draw = 0; draw < FLOATS; draw++) {
      assertEncoded(Float.intBitsToFloat(random.nextInt()), dtype);
    }
  }

  @Test
  void bitsOfAnFp32HaveItsValue() {
    SplittableRandom random = new SplittableRandom(12);
    for (int draw = 0; draw < FLOATS; draw++) {
      int bits = random.nextInt();
      assertSame(Storage.floatOf(bits), Float.intBitsToFloat(bits), "%08x".formatted(bits));
    }
    for (float value :
        new float[] {
          0.0f,
          -0.0f,
          Float.MIN_VALUE,
          Float.MIN_NORMAL,
          Float.MAX_VALUE,
          1.0f,
          Float.POSITIVE_INFINITY,
          Float.NEGATIVE_INFINITY,
          Float.NaN,
          -Float.MIN_VALUE
        }) {
      assertSame(Storage.floatOf(Float.floatToRawIntBits(value)), value, "" + value);
    }
  }
}
