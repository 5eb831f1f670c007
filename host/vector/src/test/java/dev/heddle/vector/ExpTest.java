package dev.heddle.vector;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

class ExpTest {
  /**
   * Bound of the whole range: half an ulp of the last product, the rest from f and the polynomial.
   */
  private static final double MAX_ULPS = 1.5;

  @Test
  void staysWithinItsUlpBoundOverTheWholeRange() {
    // Every 997th float from the underflow to 88, so every exponent and all sorts of mantissas.
    double worst = 0;
    float[] x = new float[2 * Lanes.PANEL];
    for (float sign : new float[] {-1, 1}) {
      int end = Float.floatToIntBits(sign < 0 ? -Exp.UNDERFLOW : 88);
      for (int bits = 0; bits < end; bits += 997 * x.length) {
        for (int i = 0; i < x.length; i++) {
          x[i] = sign * Float.intBitsToFloat(Math.min(bits + 997 * i, end));
        }
        float[] y = exp(x);
        for (int i = 0; i < x.length; i++) {
          double expected = StrictMath.exp(x[i]);
          worst = Math.max(worst, Math.abs(y[i] - expected) / Math.ulp((float) expected));
        }
      }
    }
    assertThat(worst).isLessThan(MAX_ULPS);
  }

  @Test
  void edgeValues() {
    assertThat(exp(0f, -0f)).containsExactly(1, 1);
    assertThat(exp(Float.NEGATIVE_INFINITY, -1e30f, -200, -88, Math.nextDown(Exp.UNDERFLOW)))
        .containsOnly(0);
    assertThat(exp(Exp.UNDERFLOW)[0]).isGreaterThanOrEqualTo(Float.MIN_NORMAL * 0.999f);
    assertThat(exp(-1e-40f, Float.MIN_VALUE)).containsExactly(1, 1);
    for (int payload : new int[] {0x7FC00000, 0x7FC00001, 0x7F800001, 0xFFFFFFFF, 0x7FC0BEEF}) {
      assertThat(exp(Float.intBitsToFloat(payload))[0]).isNaN();
    }
  }

  @Test
  void subtractsTheShiftAndSumsEachLane() {
    int rows = 6;
    float[] x = new float[rows * Lanes.PANEL];
    float[] shift = new float[Lanes.PANEL];
    float[] sum = new float[Lanes.PANEL];
    for (int i = 0; i < x.length; i++) {
      x[i] = (i * 37 % 101) / 10f;
    }
    for (int i = 0; i < shift.length; i++) {
      shift[i] = 10 + i;
    }
    float[] before = x.clone();
    int column = Lanes.LANES;
    Exp.expAndSum(x, column, rows, shift, sum, column);
    for (int lane = 0; lane < Lanes.PANEL; lane++) {
      boolean inColumn = lane >= column && lane < column + Lanes.LANES;
      double expected = 0;
      for (int r = 0; r < rows; r++) {
        int at = r * Lanes.PANEL + lane;
        if (inColumn) {
          double value = StrictMath.exp(before[at] - shift[lane]);
          assertThat((double) x[at]).isCloseTo(value, within(value));
          expected += value;
        } else {
          assertThat(x[at]).isEqualTo(before[at]);
        }
      }
      assertThat((double) sum[lane]).isCloseTo(expected, within(expected));
    }
  }

  private static org.assertj.core.data.Offset<Double> within(double value) {
    return org.assertj.core.data.Offset.offset(value * 1e-6);
  }

  /** Exponentials of any values, through a panel of two rows. */
  private static float[] exp(float... values) {
    float[] y = new float[values.length];
    float[] panel = new float[2 * Lanes.PANEL];
    for (int from = 0; from < values.length; from += panel.length) {
      int length = Math.min(panel.length, values.length - from);
      Arrays.fill(panel, 0);
      System.arraycopy(values, from, panel, 0, length);
      for (int c = 0; c < Lanes.PANEL; c += Lanes.LANES) {
        Exp.expAndSum(panel, c, 2, new float[Lanes.PANEL], new float[Lanes.PANEL], c);
      }
      System.arraycopy(panel, 0, y, from, length);
    }
    return y;
  }
}
