package dev.heddle.vector;

import static org.assertj.core.api.Assertions.assertThat;

import dev.heddle.core.DType;
import java.util.Arrays;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class RoundingTest {
  /**
   * Low bits around a tie for whatever number of them is dropped: bf16 drops 16, fp16 13, and more
   * of its subnormals, whose ties are then among the upper bits and their neighbours here.
   */
  private static final int[] LOW = {
    0, 1, 0x0FFF, 0x1000, 0x1001, 0x1FFF, 0x2000, 0x7FFF, 0x8000, 0x8001, 0xFFFF
  };

  /** Every sign, exponent and upper mantissa; NaN and infinities among them. */
  @ParameterizedTest
  @EnumSource(names = {"FP32", "FP16", "BF16"})
  void roundsAsTheTypeDoes(DType dtype) {
    int lows = LOW.length;
    float[] x = new float[(1 << 16) * lows];
    for (int upper = 0; upper < 1 << 16; upper++) {
      for (int i = 0; i < lows; i++) {
        x[upper * lows + i] = Float.intBitsToFloat(upper << 16 | LOW[i]);
      }
    }
    float[] rounded = x.clone();
    Rounding.round(dtype, rounded, 0, rounded.length);
    for (int i = 0; i < x.length; i++) {
      // Comparing bits tells 0 from -0; a NaN may keep its payload.
      if (Float.isNaN(x[i])
          ? !Float.isNaN(rounded[i])
          : bits(rounded[i]) != bits(dtype.round(x[i]))) {
        assertThat(Integer.toHexString(bits(rounded[i])))
            .as("%s of %h", dtype, bits(x[i]))
            .isEqualTo(Integer.toHexString(bits(dtype.round(x[i]))));
      }
    }
  }

  /** Whatever the length leaves for the last, and nothing before or after. */
  @ParameterizedTest
  @EnumSource(names = {"FP32", "FP16", "BF16"})
  void touchesItsElementsAndNoOther(DType dtype) {
    float third = 1 / 3f;
    for (int length = 0; length < 3 * Lanes.LANES; length++) {
      float[] x = new float[length + 4];
      Arrays.fill(x, third);
      Rounding.round(dtype, x, 3, length);
      for (int i = 0; i < x.length; i++) {
        boolean inside = i >= 3 && i < 3 + length;
        assertThat(x[i]).isEqualTo(inside ? dtype.round(third) : third);
      }
    }
  }

  private static int bits(float value) {
    return Float.floatToRawIntBits(value);
  }
}
