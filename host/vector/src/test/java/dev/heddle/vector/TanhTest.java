package dev.heddle.vector;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

class TanhTest {
  /**
   * Worst just above {@code 2x = ln(2) / 2}: there {@code t} is {@code 1 + 2p} with {@code p} near
   * -0.3, whose error doubles while the sum halves.
   */
  private static final double MAX_ULPS = 4.5;

  @Test
  void staysWithinItsUlpBoundFromTheLeastNumberOn() {
    // Every 997th float up to where it is 1, so every exponent and all sorts of mantissas.
    double worst = 0;
    int end = Float.floatToIntBits(12);
    float[] x = new float[1000];
    for (float sign : new float[] {-1, 1}) {
      for (int bits = 1; bits < end; bits += 997 * x.length) {
        for (int i = 0; i < x.length; i++) {
          x[i] = sign * Float.intBitsToFloat(Math.min(bits + 997 * i, end));
        }
        worst = Math.max(worst, ulps(1, x));
      }
    }
    assertThat(worst).isLessThan(MAX_ULPS);
  }

  @Test
  void capsOfAnySize() {
    for (float cap : new float[] {1e-37f, 1e-30f, 0.3f, 30, 50, 1e30f, Float.MAX_VALUE}) {
      float[] x = new float[400];
      for (int i = 0; i < x.length; i++) {
        x[i] = (i - 200) / 37f * Math.min(cap, 1e37f);
      }
      assertThat(ulps(cap, x)).as("cap %s", cap).isLessThan(MAX_ULPS);
    }
  }

  @Test
  void edgeValues() {
    assertThat(softcap(5, 0f, -0f)).containsExactly(0f, -0f);
    float infinity = Float.POSITIVE_INFINITY;
    assertThat(softcap(5, infinity, -infinity, 1e38f, -300)).containsExactly(5, -5, 5, -5);
    assertThat(softcap(Float.MIN_VALUE, 0, 1, -1))
        .containsExactly(0, Float.MIN_VALUE, -Float.MIN_VALUE);
    assertThat(softcap(5, Float.NaN, -Float.NaN, Float.intBitsToFloat(0x7F800001)))
        .containsOnly(Float.NaN);
  }

  /** Neither what lies around nor how many there are changes a result. */
  @Test
  void everyLengthIsComputedWholeAndAlike() {
    int most = 5 * Lanes.LANES;
    float[] all = new float[most];
    for (int i = 0; i < most; i++) {
      all[i] = (i * 37 % 101) / 20f - 2;
    }
    float[] expected = softcap(2, all);
    for (int length = 0; length <= most; length++) {
      float[] x = all.clone();
      Tanh.softcap(2, x, most - length, length);
      assertThat(Arrays.copyOfRange(x, most - length, most))
          .isEqualTo(Arrays.copyOfRange(expected, most - length, most));
      assertThat(Arrays.copyOf(x, most - length)).isEqualTo(Arrays.copyOf(all, most - length));
    }
  }

  /** The largest error, in units of the last place of what is right. */
  private static double ulps(float cap, float[] x) {
    float[] y = softcap(cap, x);
    double worst = 0;
    for (int i = 0; i < x.length; i++) {
      double expected = cap * Math.tanh((double) x[i] / cap);
      worst = Math.max(worst, Math.abs(y[i] - expected) / Math.ulp((float) expected));
    }
    return worst;
  }

  private static float[] softcap(float cap, float... values) {
    float[] y = values.clone();
    Tanh.softcap(cap, y, 0, y.length);
    return y;
  }
}
