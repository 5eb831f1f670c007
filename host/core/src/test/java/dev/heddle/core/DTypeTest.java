package dev.heddle.core;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class DTypeTest {

  /** Value of a pattern by the definition of the format: sign, exponent with bias, mantissa. */
  private static double byDefinition(DType dtype, int pattern) {
    int mantissaBits = dtype == DType.FP16 ? 10 : 7;
    int exponentBits = 15 - mantissaBits;
    int bias = (1 << (exponentBits - 1)) - 1;
    int exponent = (pattern >> mantissaBits) & ((1 << exponentBits) - 1);
    int mantissa = pattern & ((1 << mantissaBits) - 1);
    double sign = (pattern & 0x8000) == 0 ? 1 : -1;
    if (exponent == (1 << exponentBits) - 1) {
      return mantissa == 0 ? sign * Double.POSITIVE_INFINITY : Double.NaN;
    }
    double significand = exponent == 0 ? mantissa : mantissa + (1 << mantissaBits);
    int scale = Math.max(exponent, 1) - bias - mantissaBits;
    return sign * significand * Math.pow(2, scale);
  }

  @ParameterizedTest
  @EnumSource(names = {"FP16", "BF16"})
  void everyPatternDecodesByDefinitionAndEncodesToItself(DType dtype) {
    for (int pattern = 0; pattern < 1 << 16; pattern++) {
      double value = byDefinition(dtype, pattern);
      float decoded = dtype.decode((short) pattern);
      if (Double.isNaN(value)) {
        assertThat(decoded).isNaN();
        assertThat(dtype.decode(dtype.encode(decoded))).isNaN();
      } else if (Double.doubleToLongBits(decoded) != Double.doubleToLongBits(value)
          || dtype.encode(decoded) != (short) pattern) {
        throw new AssertionError("pattern " + Integer.toHexString(pattern) + " is " + decoded);
      }
    }
  }

  /**
   * Between each two neighbours: the midpoint goes to the even pattern, and the fp32 values on
   * either side of the midpoint to the nearer one.
   */
  @ParameterizedTest
  @EnumSource(names = {"FP16", "BF16"})
  void roundsToNearestTiesToEven(DType dtype) {
    int infinity = dtype == DType.FP16 ? 0x7C00 : 0x7F80;
    List<String> wrong = new ArrayList<>();
    for (int sign : new int[] {0, 0x8000}) {
      for (int low = 0; low < infinity; low++) {
        int high = low + 1;
        double below = byDefinition(dtype, low);
        // Rounding treats infinity as the value that the next pattern would have.
        double above =
            high == infinity ? 2 * below - byDefinition(dtype, low - 1) : byDefinition(dtype, high);
        float middle = (float) ((below + above) / 2);
        assertThat((double) middle).as("exact midpoint").isEqualTo((below + above) / 2);
        float signed = sign == 0 ? middle : -middle;
        int even = (low & 1) == 0 ? low : high;
        check(wrong, dtype, signed, sign | even);
        check(wrong, dtype, towardsZero(signed), sign | low);
        check(wrong, dtype, awayFromZero(signed), sign | high);
      }
    }
    assertThat(wrong).isEmpty();
  }

  @ParameterizedTest
  @EnumSource(names = {"FP16", "BF16"})
  void nanStaysNanWhateverItsPayload(DType dtype) {
    for (int bits : new int[] {0x7F800001, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF, 0x7FC00000}) {
      float nan = Float.intBitsToFloat(bits);
      assertThat(dtype.round(nan)).isNaN();
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FP16", "BF16"})
  void extremes(DType dtype) {
    assertThat(dtype.round(Float.POSITIVE_INFINITY)).isEqualTo(Float.POSITIVE_INFINITY);
    assertThat(dtype.round(Float.MAX_VALUE)).isEqualTo(Float.POSITIVE_INFINITY);
    assertThat(dtype.round(-Float.MAX_VALUE)).isEqualTo(Float.NEGATIVE_INFINITY);
    assertThat(Float.floatToRawIntBits(dtype.round(-0f))).isEqualTo(0x80000000);
    assertThat(Float.floatToRawIntBits(dtype.round(-Float.MIN_VALUE))).isEqualTo(0x80000000);
  }

  @ParameterizedTest
  @EnumSource(names = {"FP16", "BF16"})
  void aUnitInTheLastPlaceIsTheDistanceToTheNextValue(DType dtype) {
    int infinity = dtype == DType.FP16 ? 0x7C00 : 0x7F80;
    List<String> wrong = new ArrayList<>();
    for (int low = 0; low < infinity - 1; low++) {
      double unit = byDefinition(dtype, low + 1) - byDefinition(dtype, low);
      float value = (float) byDefinition(dtype, low);
      // Values in between, also those that round up, have the unit of the one below.
      for (float v : new float[] {value, -value, value + (float) (unit * 0.75)}) {
        if (dtype.ulp(v) != unit) {
          wrong.add(v + ": " + dtype.ulp(v));
        }
      }
    }
    assertThat(wrong).isEmpty();
    double last = byDefinition(dtype, infinity - 1) - byDefinition(dtype, infinity - 2);
    assertThat(dtype.ulp((float) byDefinition(dtype, infinity - 1))).isEqualTo(last);
    assertThat(dtype.ulp(Float.POSITIVE_INFINITY)).isEqualTo(last);
  }

  @Test
  void fp32IsKeptAndHasNoShortPattern() {
    assertThat(DType.FP32.round(0.1f)).isEqualTo(0.1f);
    assertThat(DType.FP32.ulp(-1)).isEqualTo(0x1p-23);
    assertThat(DType.FP32.ulp(Float.POSITIVE_INFINITY)).isEqualTo(0x1p104);
    assertThatThrownBy(() -> DType.FP32.encode(1)).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> DType.FP32.decode((short) 1))
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void labelsAndSizes() {
    assertThat(DType.FLOATING).map(DType::label).containsExactly("fp32", "fp16", "bf16");
    assertThat(DType.FLOATING).map(DType::bytes).containsExactly(4, 2, 2);
  }

  private static float towardsZero(float value) {
    return Float.intBitsToFloat(Float.floatToRawIntBits(value) - 1);
  }

  private static float awayFromZero(float value) {
    return Float.intBitsToFloat(Float.floatToRawIntBits(value) + 1);
  }

  private static void check(List<String> wrong, DType dtype, float value, int pattern) {
    if (dtype.encode(value) != (short) pattern) {
      wrong.add(value + " -> " + Integer.toHexString(dtype.encode(value) & 0xFFFF));
    }
  }
}
